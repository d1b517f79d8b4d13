"""executors: what does each cost where there is nothing to gain, and what does it gain where there is something?"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .. import apps
from ..answers import Figure, Row
from ..contestants import batch
from ..measure import alone, figure, interleaved_by_the_wall, ratio
from ..work import gets

title = "executors beside sequential, N=100: what a tiny item costs more, and how many times faster items are that wait or compute"
COUNT = 100
CORES = os.cpu_count() or 1
COSTS = {"threads": 4, "futures": 4, "gevent": 4, "processes": CORES}
"""Workers of each."""
GAINS = [
    ("threads", 16, "waiting"),
    ("futures", 16, "waiting"),
    ("gevent", 16, "waiting"),
    ("processes", CORES, "computing"),
    ("threads", CORES, "computing"),
]
WORDS = {"futures": "a ThreadPoolExecutor", "waiting": "wait 5 ms", "computing": "compute 2 ms"}


def ask() -> list[Row]:
    costs = [Row(f"{WORDS.get(name, name)}, {workers} workers", alone(_cost, name, workers), None, "µs more") for name, workers in COSTS.items()]
    gains = [
        Row(f"{WORDS.get(name, name)}, {workers} workers, items that {WORDS[app]}", alone(_gain, name, workers, app), None, "x", ">=")
        for name, workers, app in GAINS
    ]
    return costs + gains


def _cost(name: str, workers: int) -> Figure:
    sequential, other = _both(name, workers, "trivial")
    return figure([(one - base) / COUNT * 1e6 for one, base in zip(other, sequential, strict=True)])


def _gain(name: str, workers: int, app: str) -> Figure:
    return ratio(*_both(name, workers, app))


def _both(name: str, workers: int, app: str) -> list[list[float]]:
    """Seconds of a batch in sequence, and of one in the executor."""
    if name == "gevent":
        from gevent import monkey

        monkey.patch_all()
    behind, work = apps.load(app).app, gets(COUNT)
    settings: dict[str, Any] = {"executor": ThreadPoolExecutor(workers) if name == "futures" else name, "workers": workers}
    if name == "processes":
        settings["worker_app"] = f"{apps.__name__}.{app}:app"
    return interleaved_by_the_wall(batch.prepare(behind, work), batch.prepare(behind, work, **settings))
