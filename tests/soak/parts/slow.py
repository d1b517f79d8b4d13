"""Slow clients of real servers: they hold up nobody, nothing runs that they have not sent whole, and nothing is held when they are gone.

The workers ``gthread`` and ``gevent`` of gunicorn have no limit on how slowly a client may read or write, since their ``--timeout`` is about a
worker that does nothing at all: there it is the proxy in front that ends slow clients, and none is ended here. A ``sync`` worker does one thing at a
time, so that a slow client keeps it from everything else, and ``--timeout`` ends both: that is a row of its own.
"""

import importlib.util
import json
import resource
import select
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from tests.servers import run, wire
from tests.soak.report import Bounds, Row
from tests.soak.slow_clients import ENDPOINTS, ITEMS, Idle, Reader, Slow, Writer, Wrong, batch, check, head, rest

S = TypeVar("S", bound=Slow)

title = "200 clients at a time that read 1 KB/s or write 1 B/s, on a gunicorn that others use; what they hold up, lose or leave behind is found"
COUNT, ENDED, STREAMS = 200, 4, 1000
"""Slow clients at a time; those that the server ends; streams in which nothing happens."""
SECONDS, WARM = 25, 3
"""Of slowness, and of that before the baseline is taken."""
OTHERS = 4
"""Clients at a time that are not slow."""
EACH = 64 << 10
"""Bytes that a stream may hold in which nothing happens."""
_NOISE = 2 << 20
"""Bytes by which the memory of a process differs for nothing: Python takes it by the MiB."""
_MEASURED = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
"""The C library keeps some of what is freed, for each thread by itself: for 200 threads more, and for longer, than what is looked for."""
_PATIENCE = 30
_TIMEOUT = 2
"""Seconds after which gunicorn ends a worker that does nothing at all; it looks once a second."""
_ENOUGH = 5


class Server:
    """A gunicorn that serves ``tests.soak.patient``."""

    def __init__(self, base: str, folder: Path) -> None:
        self.base, self._folder = base, folder

    def held(self, path: str = "/held") -> dict[str, Any]:
        """What the worker holds that answers.

        :raises Wrong: when it is not well.
        """
        answer = wire.exchanged(self.base, "GET", path, [("Host", "shop.example")])
        if answer.status != 200:
            raise Wrong(f"{path} was answered with {answer}")
        told: dict[str, Any] = json.loads(answer.body)
        return told

    def settled(self, before: dict[str, Any] | None = None) -> dict[str, Any]:
        """What it holds once all slow clients are let go of, and no more is held than *before*; or when that takes too long."""
        until = time.monotonic() + _PATIENCE
        last = self.held()
        while True:
            time.sleep(0.2)
            now = self.held()
            done = not now["in_hand"] and now["descriptors"] == last["descriptors"] and not (before and [*grown(before, now)])
            if done or time.monotonic() >= until:
                return now
            last = now

    def post(self, name: str, number: int) -> None:
        """An ordinary batch.

        :raises Wrong: when it is not answered right.
        """
        tokens = [f"{name}-{number}-{index}" for index in range(ITEMS)]
        body = batch(tokens, 10)
        with wire.connected(self.base) as connection:
            connection.sendall(head(ENDPOINTS[number % len(ENDPOINTS)], body) + body)
            check(rest(connection), tokens, 10)

    def post_everywhere(self, name: str, row: Row) -> None:
        """An ordinary batch to each endpoint; one that is not answered right is found."""
        for number in range(len(ENDPOINTS)):
            _well(row, partial(self.post, name, number))

    def ran(self) -> Counter[str]:
        """How often each token has run."""
        return Counter((self._folder / "notes").read_text().split())


def grown(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """What a worker holds *now* that it should not, *before* slow clients came and after they went."""
    if now["in_hand"]:
        yield f"{now['in_hand']} batches are in hand whose clients are gone"
    if now["pid"] != before["pid"]:
        yield "another worker answers than before"
    for what, more in (("threads", 2), ("descriptors", 2), ("bytes", before["bytes"] / 10)):
        if now[what] > before[what] + more:
            yield f"{now[what]} {what} are held, {before[what]} were"


@contextmanager
def _served(kind: str, *arguments: str) -> Iterator[Server]:
    executor = "gevent" if kind == "gevent" else "threads"
    with tempfile.TemporaryDirectory() as folder:
        command = ["--worker-class", kind, *arguments, "tests.soak.patient:site"]
        with run.gunicorn(*command, env={"FOLDER": folder, "EXECUTOR": executor, **_MEASURED}) as base:
            yield Server(base, Path(folder))


def _well(row: Row, call: Callable[[], object]) -> bool:
    """Has *call* raised nothing? What it has is found."""
    try:
        call()
    except Exception as error:
        row.findings.append(f"{type(error).__name__}: {error}"[:600])
        return False
    return True


def _kept(stack: ExitStack, client: S) -> S:
    """*client*, whose connection is closed with *stack*."""
    stack.enter_context(client.connection)
    return client


def _slow(make: type[Slow], kind: str, row: Row, bounds: Bounds) -> None:
    """A short wave of slow clients, by which all is made that is made once, and then the one that counts."""
    seconds = max(1, int(min(SECONDS * row.wanted / COUNT, bounds.left / 3)))
    threads = ["--threads", str(row.wanted + OTHERS + 1)] if kind == "gthread" else []
    with _served(kind, *threads) as server:
        _wave(make, server, "warm", Row("", 0, row.wanted, 0.0, row.findings), min(WARM, seconds))
        before = server.settled()
        answered, clients = _wave(make, server, "slow", row, seconds)
        after = server.settled(before)
        server.post_everywhere("after", row)
        ran = server.ran()
    row.findings += [*grown(before, after), *(f"logged: {error}" for error in after["logged"][:_ENOUGH])]
    wrong = [(client.fate, token) for client in clients for token in client.tokens if not client.ran_well(ran[token])]
    row.findings += [f"{token}, whose client {fate}, has run {ran[token]} times" for fate, token in wrong[:_ENOUGH]]
    told = ", ".join(f"{what} {before[what]} to {after[what]}" for what in ("threads", "descriptors"))
    row.remark = f"slow for {seconds} s, {answered} batches of others; {told}, MiB {before['bytes'] >> 20} to {after['bytes'] >> 20}"


def _wave(make: type[Slow], server: Server, name: str, row: Row, seconds: int) -> tuple[int, list[Slow]]:
    """Have as many slow clients as *row* wants be slow for some *seconds*; how many batches of others were answered meanwhile, and the clients."""
    with _others(server, row, name) as answered, ThreadPoolExecutor(OTHERS) as pool, ExitStack() as stack:
        clients = [_kept(stack, make(server.base, name, number)) for number in range(row.wanted)]
        patient = clients
        for _ in range(seconds):
            second = time.monotonic() + 1
            patient = [client for client in patient if _well(row, client.step)]
            time.sleep(max(0.0, second - time.monotonic()))
        # None of them has ended yet, and none keeps an answer from anybody else.
        server.post_everywhere(f"{name}-amid", row)
        in_hand = server.held()["in_hand"]
        if in_hand < len(clients):
            row.findings.append(f"{in_hand} batches of {len(clients)} slow clients are in hand after {seconds} seconds")
        row.count += sum(pool.map(lambda client: _well(row, client.end), patient))
    return answered.total(), clients


@contextmanager
def _others(server: Server, row: Row, name: str) -> Iterator[Counter[str]]:
    """Others post until the block is left; how many batches of each have been answered."""
    stop = threading.Event()
    answered: Counter[str] = Counter()

    def post(other: str) -> None:
        while not stop.is_set() and len(row.findings) < _ENOUGH:
            if _well(row, partial(server.post, other, answered[other])):
                answered[other] += 1

    with ThreadPoolExecutor(OTHERS) as pool:
        for number in range(OTHERS):
            pool.submit(post, f"{name}-other{number}")
        try:
            yield answered
        finally:
            stop.set()


def _ended(row: Row, bounds: Bounds) -> None:
    """The server's timeout ends clients that write 1 B/s to workers which do one thing at a time."""
    with _served("sync", "--workers", str(row.wanted), "--timeout", str(_TIMEOUT)) as server, ExitStack() as stack:
        clients = [_kept(stack, Writer(server.base, "ended", number)) for number in range(row.wanted)]
        waiting = list(clients)
        patience = min(_PATIENCE, bounds.left)
        until = time.monotonic() + patience
        while waiting and time.monotonic() < until:
            for client in waiting:
                client.step()
            time.sleep(1)
            over, _, _ = select.select([client.connection for client in waiting], [], [], 0)
            row.count += sum(_well(row, client.see_end) for client in waiting if client.connection in over)
            waiting = [client for client in waiting if client.connection not in over]
        _well(row, partial(server.post, "after", 0))
        ran = server.ran()
    # A client for which there was no time is one too few, and nobody knows whether it would have been ended.
    row.findings += [f"a client was not ended after {client.sent} bytes" for client in waiting if patience == _PATIENCE]
    row.findings += [f"{token} was never sent whole, and has run" for client in clients for token in client.tokens if ran[token]][:_ENOUGH]
    row.remark = f"ended after {max(client.sent for client in clients)} of {len(clients[0].body)} bytes at most"


def _idle(row: Row, bounds: Bounds) -> None:
    """Streams in which nothing happens: each holds little, and the later ones no more than those before."""
    with _served("gevent", "--worker-connections", str(2 * STREAMS)) as server, ExitStack() as stack:
        _well(row, partial(server.post, "warm", ENDPOINTS.index("/streamed")))
        clients: list[Idle] = []
        held = [server.held()["bytes"]]
        for end in (row.wanted // 2, row.wanted):
            more = [_kept(stack, Idle(server.base, "idle", number)) for number in range(len(clients), end)]
            clients += [client for client in more if _well(row, client.step)]
            held.append(server.held()["bytes"])
        server.held("/go")
        row.count = sum(_well(row, client.end) for client in clients)
    first, second = (after - before for before, after in pairwise(held))
    if first + second > EACH * row.wanted + _NOISE:
        row.findings.append(f"{first + second} bytes are held for {row.wanted} streams")
    if second > 1.25 * first + _NOISE:
        row.findings.append(f"{second} bytes are held for the second half of the streams, {first} for the first")
    row.remark = f"{(first + second) / row.wanted / 1024:.1f} KiB for each, {second / (row.wanted - row.wanted // 2) / 1024:.1f} in the second half"


_ROWS: dict[str, tuple[int, Callable[[Row, Bounds], None]]] = {
    "readers, gthread": (COUNT, partial(_slow, Reader, "gthread")),
    "writers, gthread": (COUNT, partial(_slow, Writer, "gthread")),
    "readers, gevent": (COUNT, partial(_slow, Reader, "gevent")),
    "writers, gevent": (COUNT, partial(_slow, Writer, "gevent")),
    "writers, sync": (ENDED, _ended),
    "idle streams, gevent": (STREAMS, _idle),
}


def soak(bounds: Bounds) -> Iterator[Row]:
    _open_many(2 * STREAMS)
    for name, share in bounds.shared(list(_ROWS)):
        usual, count = _ROWS[name]
        # More than is usual would wait for threads that nobody has.
        row = Row(name, 0, min(usual, bounds.wanted(usual)), 0.0, [])
        began = time.monotonic()
        if name.endswith("gevent") and importlib.util.find_spec("gevent") is None:
            row.wanted, row.remark = 0, "left out, since gevent is not installed"
        else:
            _well(row, partial(count, row, share))
        row.seconds = time.monotonic() - began
        yield row


def _open_many(files: int) -> None:
    """Let this process, and the servers that it starts, have so many *files* open, as far as they may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = files if hard == resource.RLIM_INFINITY else min(files, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
