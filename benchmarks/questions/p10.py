"""P10: what does a request pay that is no batch?"""

from wsgibatch import BatchMiddleware

from ..answers import Figure, Row
from ..apps.trivial import app
from ..measure import alone
from ..single import beyond
from ..work import environ_of

title = "time of a request that is no batch, through the middleware, beyond that of a direct call"


def ask() -> list[Row]:
    return [Row(f"{method} of another path", alone(_measure, method), 0.2, "µs") for method in ("GET", "POST")]


def _measure(method: str) -> Figure:
    # Nobody changes it.
    environ = environ_of(method, "/items/7")
    return beyond(BatchMiddleware(app), app, lambda: environ)
