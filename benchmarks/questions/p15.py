"""P15, its line about waiting: Flask-Aggregator and django-batch-requests run items one by one, where they are not given threads of their own.

The bare loop stands for both: it is the least that running one by one can take.
"""

import time
from collections.abc import Callable
from time import perf_counter
from typing import Any

from ..answers import Figure, Row
from ..apps import trivial
from ..contestants import bare, batch
from ..measure import alone, ratio, timed
from ..work import gets

title = "items that wait 5 ms, on 16 threads, over the same one by one, N=64"
SECONDS, COUNT, WORKERS = 0.005, 64, 16
ROUNDS = 9


def ask() -> list[Row]:
    return [Row(f"{WORKERS} threads", alone(_measure), 1 / 8, "x")]


def _app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    time.sleep(SECONDS)
    return trivial.app(environ, start_response)


def _measure() -> Figure:
    sent = gets(COUNT)
    ours, theirs = batch.prepare(_app, sent, executor="threads", workers=WORKERS), bare.prepare(_app, sent)
    times = [(timed(ours, 1, perf_counter), timed(theirs, 1, perf_counter)) for _ in range(ROUNDS)]
    return ratio(*zip(*times, strict=True))
