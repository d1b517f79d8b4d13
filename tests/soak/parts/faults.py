"""Random batches with random faults, from many clients at once: no answer is lost or changed, and nothing is held that was not held before."""

import ctypes
import faulthandler
import gc
import itertools
import logging
import os
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import time as real_time
from typing import TypeVar

from tests.soak import backends, endings, faulty, noted
from tests.soak.clients import Client
from tests.soak.endpoints import Endpoint, endpoints, stored
from tests.soak.forks import fork
from tests.soak.listening import Listener
from tests.soak.report import Bounds, Row
from tests.soak.tally import COUNT as EACH
from tests.soak.tally import Fault, Tally, raising

T = TypeVar("T")
title = "items in random batches with random faults, of 64 clients at once; any answer that is lost, doubled or another's is found"
COUNT = 1_000_000
CLIENTS = 64
_WARM_LEAST, _WARM_MOST = 10_000, 50_000
"""A third of all items, within these bounds, comes before the baseline is taken: by then everything has been made many times, and closed again."""
_ENOUGH = 5
_LATE, _FORGOTTEN = 1 / 3, 1 / 20
"""Of items, how many a busy machine may make late, and of how many a store that has too many replies may forget theirs."""
_AROUND = 8
"""Threads that are none of an endpoint: this one, and those that spoil what stores keep replies in."""
_HEAPS = -8
"""What <malloc.h> calls M_ARENA_MAX."""
_PATIENCE = 120
"""Seconds after which it is held that something hangs."""
_WAITING = 128
"""Items of a batch that may wait for a file that is locked: many, since each waits for seconds."""


class Hanging(Exception):
    """Clients get on no more; it says where all threads are."""


def soak(bounds: Bounds) -> Iterator[Row]:
    wanted = bounds.wanted(COUNT)
    share = min(1.0, wanted / COUNT)
    each = _least(share)
    row = Row("items", 0, wanted, 0.0, [])
    began = time.monotonic()
    tally = Tally()
    kinds: set[str] = set()
    listener = Listener()
    listener.attach(logging.WARNING)
    # With one heap for all threads what is freed can be given back; with one for each, how much of it can is chance.
    ctypes.CDLL(None).mallopt(_HEAPS, 1)
    try:
        with _jumping_clock(tally):
            warm = Row("", 0, max(_WARM_LEAST, min(wanted // 3, _WARM_MOST)), 0.0, row.findings)
            # Its many threads leave memory in pieces, of which the system gets back only some; so it comes first, both times.
            _waited(warm, bounds, 0, 0, Tally())
            _posted(warm, bounds, CLIENTS, 0, Tally())
            before = _held()
            kinds |= _waited(row, bounds, 2 * CLIENTS, each, tally)
            kinds |= _posted(row, bounds, 3 * CLIENTS, round(EACH * share), tally)
            after = _held()
        row.findings += _grown(before, after)
        row.remark = f"threads {before[0]} to {after[0]}, descriptors {before[1]} to {after[1]}, MiB {before[2]:.0f} to {after[2]:.0f}; {row.remark}"
    except Hanging as error:
        row.findings.append(f"hangs: {error}")
    finally:
        listener.detach()
    row.findings += [f"logged: {error!r}" for error in listener.kept[:_ENOUGH]]
    row.seconds = time.monotonic() - began
    yield row
    kinds |= set(Fault) | {raising(where, error) for where in faulty.WHERE for error in faulty.ERRORS}
    yield tally.row(kinds, each, row.seconds)
    yield endings.row(share)


def _least(share: float) -> int:
    """How often each kind of fault is to come upon this *share* of the inputs: with fewer than all of them, as often as can be relied on."""
    mean = EACH * share
    return EACH if share == 1 else max(0, int(mean - 3 * mean**0.5))


def _posted(row: Row, bounds: Bounds, first: int, forks: int, tally: Tally) -> set[str]:
    """Have clients, numbered from *first* on, post until *row* has its count, and fork meanwhile; then close all that they have posted to.

    :returns: how stores may have failed.
    """
    with backends.backends() as stores, noted.notes() as notes:
        all_of_them = endpoints(stores, tally)
        clients = [Client(number, all_of_them, tally) for number in range(first, first + CLIENTS)]
        _load(clients, row, partial(_over, row, bounds), partial(fork, forks, all_of_them, row, tally))
        # What was left behind is over, and nothing has been closed.
        threads = _settled_threads()
        last = Client(first + CLIENTS, all_of_them, tally)
        for endpoint in all_of_them:
            _found(row, partial(last.post_ordinary, endpoint))
        _settle([*clients, last], all_of_them, row)
        row.findings += [*noted.too_often(notes)[:_ENOUGH], *backends.too_many(stores["memory"])]
    row.findings += _shares(clients, threads, all_of_them)
    failed = sum((client.failed for client in clients), Counter())
    told = ", ".join(f"{count} items {status}" for status, count in sorted(failed.items()))
    row.remark = f"{told}, {_sum(clients, 'refused')} batches told to come again"
    row.remark += f", {_sum(clients, 'again')} items sent again and {_sum(clients, 'forgotten')} forgotten"
    left_out = [name for name in backends.PERHAPS if name not in stores]
    if left_out:
        row.remark += f"; not possible here: {', '.join(left_out)}"
    return {endpoint.failing for endpoint in all_of_them if endpoint.store is not None and endpoint.name.removeprefix("store ") not in backends.SOUND}


def _shares(clients: list[Client], threads: int, all_of_them: list[Endpoint]) -> Iterator[str]:
    """What is well as long as it is seldom, or little."""
    for what, part, whole, share in (
        ("late, and need not have been", "slow", "limited", _LATE),
        ("run again, and their replies should have been kept", "forgotten", "again", _FORGOTTEN),
    ):
        some, of = _sum(clients, part), _sum(clients, whole)
        if some > share * of + _ENOUGH:
            yield f"{some} items of {of} were {what}"
    most = _AROUND + sum(endpoint.threads for endpoint in all_of_them)
    if threads > most:
        yield f"{threads} threads are there, and may be {most}: {', '.join(thread.name for thread in threading.enumerate())}"[:1000]


def _sum(clients: list[Client], name: str) -> int:
    """What all *clients* have counted under this *name*."""
    return sum(getattr(client, name) for client in clients)


def _over(row: Row, bounds: Bounds) -> bool:
    return row.count >= row.wanted or time.monotonic() >= bounds.until


def _waited(row: Row, bounds: Bounds, first: int, each: int, tally: Tally) -> set[str]:
    """The same with a store that waits for seconds before it fails: by itself, since no fork is held up by it then."""
    with backends.locked_for_long() as store:
        endpoint = stored("locked for long", store, workers=_WAITING, order="free")
        clients = [Client(number, [endpoint], tally) for number in range(first, first + CLIENTS)]
        _load(clients, row, lambda: tally.of(endpoint.failing) >= each or time.monotonic() >= bounds.until)
        _settle(clients, [endpoint], row)
    return {endpoint.failing}


def _load(clients: list[Client], row: Row, enough: Callable[[], bool], meanwhile: Callable[[threading.Event], None] | None = None) -> None:
    """Have *clients* post all at once until it is *enough*; *meanwhile* something else is done here.

    :raises Hanging: when they get on no more.
    """
    lock, stop = threading.Lock(), threading.Event()

    def run(client: Client) -> None:
        while not stop.is_set():
            posted = _found(row, client.post)
            with lock:
                row.count += posted or 0
                if enough() or len(row.findings) >= _ENOUGH:
                    stop.set()

    threads = [threading.Thread(target=run, args=(client,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    if meanwhile is not None:
        meanwhile(stop)
    _await(threads, row, stop)


def _found(row: Row, call: Callable[[], T]) -> T | None:
    """What *call* gives; what it raises is found."""
    try:
        return call()
    except Exception as error:
        row.findings.append(f"{type(error).__name__}: {error}"[:600])
        return None


def _settle(clients: list[Client], all_of_them: list[Endpoint], row: Row) -> None:
    """Close all that *clients* have posted to; then nothing is started any more, and what has run twice is known."""
    for endpoint in all_of_them:
        endpoint.close()
    for client in clients:
        _found(row, partial(client.settle, time.monotonic()))


def _await(threads: list[threading.Thread], row: Row, stop: threading.Event) -> None:
    """Wait until *threads* have heeded *stop*, for as long as they get on.

    :raises Hanging: when nothing is counted any more, or one of them does not end.
    """
    before = None
    while not stop.wait(_PATIENCE):
        if row.count == before:
            raise Hanging(_stacks())
        before = row.count
    until = time.monotonic() + _PATIENCE
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        raise Hanging(_stacks())


def _stacks() -> str:
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read()


@contextmanager
def _jumping_clock(tally: Tally) -> Iterator[None]:
    """The time of day jumps by up to a day each time that somebody looks."""
    jumps, looks = random.Random(0), itertools.count()

    def jumped() -> float:
        next(looks)
        return real_time() + jumps.uniform(-86_400, 86_400)

    time.time = jumped
    try:
        yield
    finally:
        time.time = real_time
        tally.count(Fault.JUMPED, next(looks))


def _settled_threads() -> int:
    """How many there are, once calls that were left behind have ended by themselves, and their threads behind them."""
    threads = threading.active_count() + 1
    while threading.active_count() < threads:
        threads = threading.active_count()
        time.sleep(2 * faulty.LATE)
    return threads


def _held() -> tuple[int, int, float]:
    """Threads, file descriptors, and MiB of memory."""
    threads = _settled_threads()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return threads, len(os.listdir("/proc/self/fd")), pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)  # noqa: PTH208 - a path has no such number


def _grown(before: tuple[int, int, float], after: tuple[int, int, float]) -> Iterator[str]:
    threads = f"threads ({', '.join(thread.name for thread in threading.enumerate())})"
    for what, least, now, more in zip((threads, "file descriptors", "MiB"), before, after, (2, 2, before[2] / 10), strict=True):
        if now > least + more:
            yield f"{now:.0f} {what} are held, {least:.0f} were"
