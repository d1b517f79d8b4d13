"""The middlewares that faults come upon: every executor that runs in a plain process, in every order, with limits, streams and stores that fail."""

import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any, NamedTuple

from tests.soak import faulty
from tests.soak.backends import KEEPING, SOUND
from tests.soak.linked import Atomic
from tests.soak.tally import Fault, Tally
from wsgibatch import BatchMiddleware
from wsgibatch.idempotency import IdempotencyMiddleware
from wsgibatch.model import Group

TIMEOUT = 0.2
PATHS = ("/batch", "/$batch")
"""In multipart the second one is that of OData."""
ORDERS = ("barrier", "free", "sequential")
_RATE = 0.1


class Fickle(Executor):
    """Runs calls in threads, unless it does one of the things that executors do: raise, be broken, or have a call cancelled by somebody else."""

    _chance = Random(0)
    """Of all of them, since one that was broken is replaced."""

    def __init__(self, tally: Tally) -> None:
        self._pool = ThreadPoolExecutor(4)
        self._tally = tally

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        fate = self._chance.random()
        if fate < 0.06:
            self._tally.count(Fault.REFUSING)
            raise RuntimeError("cannot schedule new futures after shutdown")
        if fate < 0.12:
            self._tally.count(Fault.BROKEN)
            raise BrokenExecutor("a worker has died")
        if fate < 0.22:
            self._tally.count(Fault.CANCELLED)
            cancelled: Future[Any] = Future()
            cancelled.cancel()
            return cancelled
        return self._pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


class Shutting(ThreadPoolExecutor):
    """Is shut down in use, by its last call that is not refused, with what has not begun."""

    def __init__(self, calls: int, tally: Tally) -> None:
        super().__init__(4)
        self._numbers, self._last = itertools.count(1), calls
        self._tally = tally
        self.over = False

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future = super().submit(fn, *args, **kwargs)
        if next(self._numbers) == self._last:
            self.over = True
            self._tally.count(Fault.SHUT)
            self.shutdown(wait=False, cancel_futures=True)
        return future


class Shared:
    """An executor that batches share, until it has been shut down; then they share another one. A process that was forked has its own."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._chance = Random(0)
        self._made: tuple[int, Shutting] | None = None

    def executor(self) -> Shutting:
        pid = os.getpid()
        if self._made is None or self._made[0] != pid or self._made[1].over:
            # Two threads may each make one, and then both are used.
            self._made = pid, Shutting(self._chance.randint(1, 5), self._tally)
        return self._made[1]

    def close(self) -> None:
        if self._made is not None:
            self._made[1].shutdown()


COMMITTED, ROLLED_BACK = ["left", "hook of commit"], ["left with an exception", "hook of rollback"]
"""What becomes of a transaction."""


@contextmanager
def nothing_undone() -> Iterator[Group]:
    """A transaction of an app that has none to make: its members are told where it is noted what becomes of it."""
    group, noted = Group(), list[str]()
    group.environ[faulty.TRANSACTION] = noted
    group.on_commit(partial(noted.append, COMMITTED[1]))
    group.on_rollback(partial(noted.append, ROLLED_BACK[1]))
    try:
        yield group
    except BaseException:
        noted.append(ROLLED_BACK[0])
        raise
    noted.append(COMMITTED[0])


class Endpoint(NamedTuple):
    """Middlewares that are alike, and what may come upon their batches."""

    name: str
    opened: Callable[[], BatchMiddleware]
    """The middleware for a batch."""
    lasting: bool = True
    """Is it the same for all batches? Otherwise it is closed behind each."""
    order: str = "free"
    """In which its items run, whatever of them may run at the same time."""
    kinds: tuple[str, ...] = ("raise",)
    """Faults of items."""
    rate: float = _RATE
    """How many of all items have one of these."""
    keyed: float = 0.0
    """How many items have keys that somebody heeds?"""
    limited: bool = False
    """Has an item a limit? Then any may be late on a busy machine."""
    elsewhere: bool = False
    """Do items run in other processes, so that nobody here knows how often?"""
    threads: int = 5
    """How many may wait for its next batch: its workers, and one that looks after them, or its store."""
    weight: int = 20
    """How many batches come here, for each other's; fewer where a fault takes its time."""
    store: IdempotencyMiddleware | None = None
    unsound: bool = False
    """May its store fail?"""
    keeps: bool = False
    """Does its store keep a reply for as long as a client needs to send a batch again?"""
    atomic: Atomic = None
    """What it makes of groups."""
    shared: Shared | None = None
    """What its middlewares do not close."""

    @property
    def failing(self) -> str:
        """The kind of fault that its store fails, so that an item is not run."""
        return f"{self.name} fails"

    @contextmanager
    def open(self) -> Iterator[BatchMiddleware]:
        """The middleware for one batch."""
        middleware = self.opened()
        try:
            yield middleware
        finally:
            if not self.lasting:
                middleware.close()

    def close(self) -> None:
        if self.lasting:
            self.opened().close()
        for behind in (self.store, self.shared):
            if behind is not None:
                behind.close()


_EXECUTORS: dict[str, dict[str, Any]] = {
    "sequential": {"executor": "sequential", "atomic": "stop"},
    "threads": {"executor": "threads", "workers": 4, "atomic": nothing_undone},
    "limited": {"executor": "threads", "workers": 4, "timeout": TIMEOUT, "deadline": 10.0, "atomic": nothing_undone},
    "futures": {"executor": lambda: ThreadPoolExecutor(4), "workers": 4},
    "fickle": {"workers": 4, "atomic": "stop"},
    "shutting": {"workers": 4},
    "processes": {"executor": "processes", "workers": 2, "worker_app": "tests.soak.noted:app"},
}
_KINDS: dict[str, dict[str, Any]] = {
    "limited": {"kinds": ("raise", "late", "late"), "rate": 0.2, "limited": True, "weight": 3},
    "processes": {"kinds": ("raise", "raise", "raise", "die", "die"), "rate": 0.25, "elsewhere": True, "weight": 12},
}
_LEASE = 3.0
_STORED = 10
_WEIGHTS = {"memory": 20, "sqlite": 20, "failing": 20, "full": 22, "silent": 4, "killed": 15}


def endpoints(stores: dict[str, Any], tally: Tally) -> list[Endpoint]:
    """All of them, those with *stores* among them."""
    made: list[Endpoint] = []
    for (word, given), order, stream in itertools.product(_EXECUTORS.items(), ORDERS, (False, True)):
        if word == "processes" and (stream or order != "free"):
            # One is enough to kill.
            continue
        name = f"{word} {order}{' streamed' if stream else ''}"
        settings = {"path": PATHS, "order": order, "stream": stream, "max_requests": 64, **given}
        if word == "shutting":
            made.append(_shutting(name, order, settings, tally))
            continue
        if word == "fickle":
            settings["executor"] = partial(Fickle, tally)
        middleware = BatchMiddleware(faulty.app, **settings)
        # It has no other.
        kept = "sequential" if word == "sequential" else order
        made.append(Endpoint(name, partial(_same, middleware), order=kept, atomic=given.get("atomic"), **_KINDS.get(word, {})))
    return made + [stored(name, store, _WEIGHTS.get(name, _STORED)) for name, store in stores.items()]


def stored(name: str, store: Any, weight: int = 1, workers: int = 4, order: Any = "barrier") -> Endpoint:
    """One whose items may have keys, with *store* behind it."""
    # Until a third of its lease is over a key is remembered, and its store with it.
    guarded = IdempotencyMiddleware(faulty.app, store=store, lease=_LEASE)
    middleware = BatchMiddleware(guarded, path=PATHS, executor="threads", workers=workers, order=order, max_requests=64, atomic=nothing_undone)
    return Endpoint(
        f"store {name}",
        partial(_same, middleware),
        order=order,
        # An app that is broken off leaves its key lost for a day, and many of those the replies that are asked for again no room.
        rate=0.0 if name in KEEPING else _RATE,
        # With many keys a store that has a bound comes to it soon.
        keyed=0.6 if name in KEEPING else 0.35,
        weight=weight,
        threads=workers + 1,
        store=guarded,
        unsound=name not in SOUND,
        keeps=name in KEEPING,
        atomic=nothing_undone,
    )


def _shutting(name: str, order: str, settings: dict[str, Any], tally: Tally) -> Endpoint:
    """One whose batches share an executor for as long as it takes calls. To make a middleware, which each does, takes as long as a batch."""
    shared = Shared(tally)
    return Endpoint(
        name, lambda: BatchMiddleware(faulty.app, executor=shared.executor(), **settings), lasting=False, order=order, weight=7, shared=shared
    )


def _same(middleware: BatchMiddleware) -> BatchMiddleware:
    return middleware
