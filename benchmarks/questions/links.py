"""links: what do dependencies cost, where every item has one?"""

from collections.abc import Callable

from ..answers import Figure, Row
from ..apps.trivial import app
from ..contestants import batch
from ..measure import alone, interleaved, interleaved_by_the_wall, ratio
from ..work import Work, chained, requests, spread

title = "time of 10,000 items with 10,000 dependencies, times that of the same batch without, trivial app"
COUNT = 10_000


def ask() -> list[Row]:
    return [
        Row(f"{name}, {executor}", alone(_measure, work, executor), 2.0, "x")
        for executor in ("sequential", "threads")
        for name, work in (("each waits for the one before it", chained), ("each waits for any before it", spread))
    ]


def _measure(work: Callable[[int], Work], executor: str) -> Figure:
    rounds = interleaved_by_the_wall if executor == "threads" else interleaved
    loose, linked = rounds(*(batch.prepare(app, made(COUNT), executor=executor, workers=4) for made in (requests, work)))
    return ratio(linked, loose)
