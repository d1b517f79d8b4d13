"""P3: how many times the bare loop does a batch take, with an app that takes no time itself?"""

from collections.abc import Callable

from ..answers import Figure, Row
from ..apps.trivial import app
from ..contestants import bare, batch
from ..measure import alone, interleaved, ratio
from ..work import Work, gets, posts

title = "time, times that of the bare loop, trivial app, N=100"
COUNT = 100


def ask() -> list[Row]:
    return [
        Row("plain GETs", alone(_measure, gets), 14, "x"),
        Row("3 headers and a JSON body", alone(_measure, posts), 19, "x"),
    ]


def _measure(work: Callable[[int], Work]) -> Figure:
    requests = work(COUNT)
    bare_times, batch_times = interleaved(bare.prepare(app, requests), batch.prepare(app, requests))
    return ratio(batch_times, bare_times)
