"""Random batches with random faults, from many clients at once: no answer is lost or changed, and nothing is held that was not held before."""

import ctypes
import faulthandler
import gc
import logging
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time as real_time

from tests.soak.backends import backends
from tests.soak.clients import Client
from tests.soak.endpoints import Endpoint, endpoints
from tests.soak.faulty import LATE
from tests.soak.listening import Listener
from tests.soak.report import Bounds, Row

title = "items in random batches with random faults, of 64 clients at once; any answer that is lost, doubled or another's is found"
COUNT = 1_000_000
CLIENTS = 64
_WARM = 20
"""The part of all items, as a divisor, after which the baseline is taken: by then everything has been made once, and closed again."""
_WARM_LEAST = 10_000
_ENOUGH = 5
_PATIENCE = 120
"""Seconds after which it is held that something hangs."""
_SOON = 10
"""Seconds in which a process ends; two are enough, but where the machine has much else to do."""
_FORKS, _EXITS = 100, 5
"""Forks in the middle of it, and processes that end in the middle of a batch."""


class Hanging(Exception):
    """Clients get on no more; it says where all threads are."""


def soak(bounds: Bounds) -> Iterator[Row]:
    wanted = bounds.wanted(COUNT)
    row = Row("items", 0, wanted, 0.0, [])
    began = time.monotonic()
    listener = Listener()
    listener.attach(logging.WARNING)
    try:
        with _jumping_clock():
            warm = Row("", 0, max(_WARM_LEAST, wanted // _WARM), 0.0, row.findings)
            _posted(warm, bounds, 0)
            before = _held()
            _posted(row, bounds, CLIENTS)
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
    yield _ends(bounds)


def _posted(row: Row, bounds: Bounds, first: int) -> None:
    """Have clients, numbered from *first* on, post until *row* has its count; then close all that they have posted to."""
    with backends() as stores:
        all_of_them = endpoints(stores)
        clients = [Client(number, all_of_them) for number in range(first, first + CLIENTS)]
        forks = _load(clients, row, bounds, all_of_them)
        for endpoint in all_of_them:
            endpoint.close()
    failed = sum((client.failed for client in clients), Counter())
    told = ", ".join(f"{count} items {status}" for status, count in sorted(failed.items()))
    row.remark = f"{told}, {sum(client.refused for client in clients)} batches told to come again, {forks} forks"


def _load(clients: list[Client], row: Row, bounds: Bounds, all_of_them: list[Endpoint]) -> int:
    """Have *clients* post all at once; the number of forks in the middle of it."""
    lock, stop = threading.Lock(), threading.Event()

    def run(client: Client) -> None:
        while not stop.is_set():
            try:
                posted = client.post()
            except Exception as error:
                with lock:
                    row.findings.append(f"{type(error).__name__}: {error}"[:600])
                    if len(row.findings) >= _ENOUGH:
                        stop.set()
                continue
            with lock:
                row.count += posted
                if row.count >= row.wanted or time.monotonic() >= bounds.until:
                    stop.set()

    threads = [threading.Thread(target=run, args=(client,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    forks = _forked(stop, all_of_them, row)
    _await(threads, row, stop)
    return forks


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


def _forked(stop: threading.Event, all_of_them: list[Endpoint], row: Row) -> int:
    """Fork now and then: the child posts a batch of its own to what its parent uses."""
    usable = [endpoint for endpoint in all_of_them if endpoint.name.partition(" ")[0] in ("sequential", "threads", "futures")]
    for number in range(_FORKS):
        if stop.wait(0.5):
            return number
        pid = os.fork()
        if not pid:
            faulthandler.dump_traceback_later(_PATIENCE, exit=True)
            try:
                client = Client(1000 + number, usable)
                # Where the client is gone, nothing is looked at.
                while not client.post():
                    continue
                os._exit(0)
            except BaseException:
                os._exit(2)
        _, status = os.waitpid(pid, 0)
        if status:
            row.findings.append(f"a batch of a process that was forked failed: {os.waitstatus_to_exitcode(status)}")
            if len(row.findings) >= _ENOUGH:
                stop.set()
    return _FORKS


@contextmanager
def _jumping_clock() -> Iterator[None]:
    """The time of day jumps by up to a day each time that somebody looks."""
    jumps = random.Random(0)
    time.time = lambda: real_time() + jumps.uniform(-86_400, 86_400)
    try:
        yield
    finally:
        time.time = real_time


def _held() -> tuple[int, int, float]:
    """Threads, file descriptors, and MiB of memory."""
    # Calls that were left behind end by themselves, and their threads behind them.
    threads = threading.active_count() + 1
    while threading.active_count() < threads:
        threads = threading.active_count()
        time.sleep(2 * LATE)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return threading.active_count(), len(os.listdir("/proc/self/fd")), pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)  # noqa: PTH208 - a path has no such number


def _grown(before: tuple[int, int, float], after: tuple[int, int, float]) -> Iterator[str]:
    for what, least, now, more in zip(("threads", "file descriptors", "MiB"), before, after, (2, 2, before[2] / 10), strict=True):
        if now > least + more:
            yield f"{now:.0f} {what} are held, {least:.0f} were"


_ENDING = """
import sys
import threading
import time
from tests.soak.clients import Client
from tests.soak.endpoints import endpoints

found = [endpoint for endpoint in endpoints({"memory": "memory://"}) if endpoint.name.startswith(sys.argv[1])]
def run(client):
    while True:
        client.post()
for number in range(8):
    threading.Thread(target=run, args=(Client(number, found),), daemon=True).start()
threading.Event().wait(1)
print(time.monotonic(), flush=True)
"""


def _ends(bounds: Bounds) -> Row:
    """Processes whose main thread ends while batches run: they end, and soon. The clock is the machine's, and the same in every process."""
    row = Row("ends with items in flight", 0, _EXITS if bounds.inputs is None else 1, 0.0, [])
    began = time.monotonic()
    slowest = 0.0
    for word in ("threads", "limited", "futures", "store", "processes")[: row.wanted]:
        row.count += 1
        command = [sys.executable, "-W", "ignore", "-c", _ENDING, word]
        try:
            ended = subprocess.run(command, check=False, capture_output=True, timeout=_PATIENCE)
        except subprocess.TimeoutExpired as error:
            row.findings.append(f"{word}: {error}")
            continue
        if ended.returncode or not ended.stdout:
            row.findings.append(f"{word}: ended with {ended.returncode}: {ended.stderr[-300:]!r}")
            continue
        took = time.monotonic() - float(ended.stdout)
        slowest = max(slowest, took)
        if took > _SOON:
            row.findings.append(f"{word}: took {took:.1f} seconds to end")
    row.remark = f"the slowest took {slowest:.1f} s"
    row.seconds = time.monotonic() - began
    return row
