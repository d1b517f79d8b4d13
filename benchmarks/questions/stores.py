"""stores: what does a store of idempotency records add to a request?

A request that is new costs a ``begin`` and a ``finish``, one that is repeated a ``begin``. Beside them stands the least that its database can do: a
bare insert, or the round trip of a bare ``SET NX PX``. What is told is the median of single calls, by the clock on the wall, and how much longer one
takes than another is told round by round: of the medians of as many calls, which take turns.
"""

import sqlite3
import statistics
import tempfile
from collections.abc import Callable
from contextlib import closing
from time import perf_counter

from redis import Redis

from tests.servers import redis as servers
from wsgibatch.model import Claimed
from wsgibatch.protocols import Store
from wsgibatch.stores import store_of

from ..answers import Row, Unable, not_run
from ..measure import alone, figure, ratio

title = "a new request (begin and finish) and a repeated one (begin), by store, beside one bare write"
CALLS, ROUND = 4_000, 100
"""In all, and those that a round has."""
VALUE = b"x" * 500
NEW_BARS = {"sqlite": 5.0, "redis": 4.0}
"""Bare writes that a new request may take. It writes twice, looks before it does, and keeps the rows findable by their end."""

Run = Callable[[int], object]


def ask() -> list[Row]:
    with tempfile.TemporaryDirectory() as directory:
        rows = [*_rows("memory", alone(_memory)), *_rows("sqlite", alone(_sqlite, directory))]
    program = servers.program()
    if program is None:
        return [*rows, not_run("redis, new over bare", NEW_BARS["redis"], "x", Unable("no redis-server is installed"))]
    with servers.running(program) as server:
        return [*rows, *_rows("redis", alone(_redis, server.url))]


def _rows(name: str, times: dict[str, list[float]]) -> list[Row]:
    rows = [Row(f"{name}, {what}", figure([seconds * 1e6 for seconds in found]), None, "µs") for what, found in times.items()]
    if "bare" in times:
        rows.append(Row(f"{name}, new over bare", ratio(_medians(times["new"]), _medians(times["bare"])), NEW_BARS[name], "x"))
    return rows


def _medians(times: list[float]) -> list[float]:
    """Of each round."""
    return [statistics.median(times[start : start + ROUND]) for start in range(0, len(times), ROUND)]


def _memory() -> dict[str, list[float]]:
    return _timed(_of_store(store_of("memory://")))


def _sqlite(directory: str) -> dict[str, list[float]]:
    store = store_of(f"sqlite:///{directory}/records.db")
    with closing(store), closing(sqlite3.connect(f"{directory}/bare.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("CREATE TABLE bare (key TEXT PRIMARY KEY, value BLOB)")
        return _timed({**_of_store(store), "bare": lambda number: connection.execute("INSERT INTO bare VALUES (?, ?)", (f"{number:064}", VALUE))})


def _redis(url: str) -> dict[str, list[float]]:
    store = store_of(url)
    with closing(store), closing(Redis.from_url(url)) as client:
        return _timed({**_of_store(store), "bare": lambda number: client.set(f"{number:064}", VALUE, nx=True, px=60_000)})


def _of_store(store: Store) -> dict[str, Run]:
    def new(number: int) -> None:
        claim = store.begin(f"{number:064}", bytes(32), 30, 60, "execute")
        if not isinstance(claim, Claimed) or not store.finish(f"{number:064}", claim.owner, VALUE, 60):
            raise RuntimeError("the key was not new")

    return {"new": new, "repeated": lambda number: store.begin(f"{number:064}", bytes(32), 30, 60, "execute")}


def _timed(runs: dict[str, Run]) -> dict[str, list[float]]:
    """Seconds of each call; the contestants take turns, and each number comes once."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    # The first tenth is for connections and caches.
    for number in range(-CALLS // 10, CALLS):
        for name, run in runs.items():
            started = perf_counter()
            run(number)
            seconds = perf_counter() - started
            if number >= 0:
                times[name].append(seconds)
    return times
