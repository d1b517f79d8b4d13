"""keys: what does a request pay for idempotent replies, without a key and with one?"""

from collections.abc import Callable
from itertools import count
from typing import Any

from wsgibatch.idempotency import IdempotencyMiddleware

from ..answers import Figure, Row
from ..apps.trivial import app
from ..measure import alone
from ..single import beyond
from ..work import BODY, HEADERS, environ_of

title = "time of a request through the middleware of idempotent replies, beyond that of a direct call"


def ask() -> list[Row]:
    rows = [Row(f"{method} without a key", alone(_without, method), 2.0, "µs") for method in ("GET", "POST")]
    # A store in memory takes next to no time itself.
    return [
        *rows,
        Row("POST that is executed and kept", alone(_executed), None, "µs"),
        Row("POST that is answered as before", alone(_again), None, "µs"),
    ]


def _without(method: str) -> Figure:
    # Nobody changes it.
    environ = environ_of(method, "/items/7", HEADERS, BODY)
    return _over(lambda: environ)


def _executed() -> Figure:
    numbers = count()
    return _over(lambda: _keyed(str(next(numbers))))


def _again() -> Figure:
    return _over(lambda: _keyed("again"))


def _over(environ: Callable[[], dict[str, Any]]) -> Figure:
    return beyond(IdempotencyMiddleware(app), app, environ)


def _keyed(key: str) -> dict[str, Any]:
    environ = environ_of("POST", "/items/7", {**HEADERS, "Authorization": "Bearer anna", "Idempotency-Key": key}, BODY)
    # The memory of one process is not for servers of several, and says so.
    return environ | {"wsgi.multiprocess": False}
