"""The least an app can do: what is measured with it is everything but the app."""

from collections.abc import Callable
from typing import Any

label = "trivial app"


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "11")])
    return [b'{"ok":true}']
