"""P5: does an item of a large batch cost more than one of a small batch?"""

from collections.abc import Callable

from ..answers import Figure, Row
from ..apps.trivial import app
from ..contestants import batch
from ..measure import alone, figure, interleaved
from ..work import Work, gets, parts, routes

title = "growth: time per item at N=10,000 over N=100, trivial app"
SMALL, LARGE = 100, 10_000


def ask() -> list[Row]:
    return [
        Row("JSON", alone(_measure, gets), 1.3, "x"),
        Row("list of routes", alone(_measure, routes), 1.3, "x"),
        Row("multipart", alone(_measure, parts), 1.3, "x"),
    ]


def _measure(work: Callable[[int], Work]) -> Figure:
    small, large = interleaved(batch.prepare(app, work(SMALL)), batch.prepare(app, work(LARGE)))
    return figure([(one / LARGE) / (other / SMALL) for one, other in zip(large, small, strict=True)])
