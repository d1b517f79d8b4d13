"""An app that waits, as for a database."""

import time
from collections.abc import Callable
from typing import Any

from . import WAIT, trivial

label = "waiting app"


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    time.sleep(WAIT)
    return trivial.app(environ, start_response)
