"""P8: do items that wait, wait side by side?

The least that ``workers`` threads can take for N items that sleep for *t* is ``ceil(N / workers) * t``; what is told is the N that comes out worst.
"""

import math
import time
from collections.abc import Callable
from time import perf_counter
from typing import Any

from ..answers import Figure, Row
from ..apps import trivial
from ..contestants import batch
from ..measure import alone, figure, timed
from ..work import gets

title = "items that sleep, in threads, times the least they can take; the worst of N = 1, as many as workers, 16, 64"
COUNTS = (1, 16, 64)
"""Items of a batch. Where there are as many as workers, what the batch costs itself stands beside the time of one whole wave."""
BARS = {0.010: 1.10, 0.100: 1.02}
ROUNDS = 7


def ask() -> list[Row]:
    return [
        Row(f"{seconds * 1e3:.0f} ms, {workers} workers", alone(_measure, seconds, workers), bar, "x")
        for seconds, bar in BARS.items()
        for workers in (4, 16)
    ]


def _measure(seconds: float, workers: int) -> Figure:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        time.sleep(seconds)
        return trivial.app(environ, start_response)

    figures = []
    for count in sorted({*COUNTS, workers}):
        # Preparing sends the batch once, so the pool stands when the clock starts.
        once = batch.prepare(app, gets(count), executor="threads", workers=workers)
        least = math.ceil(count / workers) * seconds
        figures.append(figure([timed(once, 1, perf_counter) / least for _ in range(ROUNDS)]))
        once.verify()
    return max(figures, key=lambda found: found.value)
