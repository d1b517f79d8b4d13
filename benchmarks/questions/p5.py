"""P5: does an item of a large batch cost more than one of a small batch?"""

from collections.abc import Callable

from ..answers import Figure, Row
from ..apps.trivial import app
from ..contestants import batch
from ..measure import alone, figure, interleaved
from ..work import Work, gets, parts, routes

title = "growth: time per item at N=10,000, times the same at N=100, trivial app"
SMALL, LARGE = 100, 10_000
FEW = (1, 10, 1_000)
"""Beside them, without a bar: what a batch costs itself is shared by its items."""


def ask() -> list[Row]:
    few = [Row(f"JSON, N={count:,} over N={SMALL}", alone(_measure, gets, count), None, "x") for count in FEW]
    return [
        *few,
        Row("JSON", alone(_measure, gets), 1.3, "x"),
        Row("list of routes", alone(_measure, routes), 1.3, "x"),
        Row("multipart", alone(_measure, parts), 1.3, "x"),
    ]


def _measure(work: Callable[[int], Work], count: int = LARGE) -> Figure:
    small, large = interleaved(batch.prepare(app, work(SMALL)), batch.prepare(app, work(count)))
    return figure([(one / count) / (other / SMALL) for one, other in zip(large, small, strict=True)])
