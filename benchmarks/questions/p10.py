"""P10: what does a request pay that is no batch?"""

from collections.abc import Callable
from typing import Any

from wsgibatch import BatchMiddleware

from ..answers import Figure, Row
from ..apps.trivial import app
from ..measure import alone, figure, interleaved
from ..work import WSGIApp, environ_of

title = "time of a request that is no batch, through the middleware, beyond that of a direct call"
CALLS = 1000


def ask() -> list[Row]:
    return [Row(f"{method} of another path", alone(_measure, method), 0.2, "µs") for method in ("GET", "POST")]


def _measure(method: str) -> Figure:
    environ = environ_of(method, "/items/7")
    direct, through = interleaved(_calls(app, environ), _calls(BatchMiddleware(app), environ))
    return figure([(one - other) / CALLS * 1e6 for one, other in zip(through, direct, strict=True)])


def _calls(called: WSGIApp, environ: dict[str, Any]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(CALLS):
            called(environ, _ignore)

    return run


def _ignore(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
    pass
