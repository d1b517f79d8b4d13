"""An app that computes, for about two milliseconds, and holds the interpreter's lock meanwhile."""

from collections.abc import Callable
from typing import Any

from . import trivial

label = "computing app"


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    sum(number * number for number in range(25_000))
    return trivial.app(environ, start_response)
