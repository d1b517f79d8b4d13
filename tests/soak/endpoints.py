"""The middlewares that faults come upon: every executor that runs in a plain process, in every order, with limits, streams and stores that fail."""

import itertools
import threading
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from random import Random
from typing import Any, NamedTuple

from tests.soak import faulty
from wsgibatch import BatchMiddleware
from wsgibatch.idempotency import IdempotencyMiddleware

TIMEOUT = 0.2


class Fickle(Executor):
    """Runs calls in threads, unless it does one of the things that executors do: raise, be broken, or have a call cancelled by somebody else."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(4)
        self._chance = Random(0)
        self._lock = threading.Lock()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        with self._lock:
            fate = self._chance.random()
        if fate < 0.05:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if fate < 0.1:
            raise BrokenExecutor("a worker has died")
        if fate < 0.2:
            cancelled: Future[Any] = Future()
            cancelled.cancel()
            return cancelled
        return self._pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


class Shutting(ThreadPoolExecutor):
    """Is shut down in use, after some calls, with what has not begun."""

    def __init__(self) -> None:
        super().__init__(4)
        self._numbers = itertools.count()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        if next(self._numbers) == 500:
            self.shutdown(wait=False, cancel_futures=True)
        return super().submit(fn, *args, **kwargs)


class Endpoint(NamedTuple):
    """A middleware, and what may come upon its batches."""

    name: str
    middleware: BatchMiddleware
    kinds: tuple[str, ...] = ("raise",)
    """Faults of items."""
    keyed: bool = False
    """Do items that write have keys? Then one may be a 503, where the store fails."""
    limited: bool = False
    """Has an item a limit? Then any may be late on a busy machine."""
    streamed: bool = False
    weight: int = 20
    """How many batches come here, for each other's; fewer where a fault takes its time."""
    store: IdempotencyMiddleware | None = None

    def close(self) -> None:
        self.middleware.close()
        if self.store is not None:
            self.store.close()


_EXECUTORS: dict[str, dict[str, Any]] = {
    "sequential": {"executor": "sequential"},
    "threads": {"executor": "threads", "workers": 4},
    "limited": {"executor": "threads", "workers": 4, "timeout": TIMEOUT, "deadline": 10.0},
    "futures": {"executor": lambda: ThreadPoolExecutor(4), "workers": 4},
    "fickle": {"executor": Fickle, "workers": 4},
    "shutting": {"executor": Shutting, "workers": 4},
    "processes": {"executor": "processes", "workers": 2, "worker_app": "tests.soak.faulty:app"},
}
_WEIGHTS = {"limited": 2, "processes": 8}
ORDERS = ("barrier", "free", "sequential")


def endpoints(stores: dict[str, Any]) -> list[Endpoint]:
    """All of them, those with *stores* among them."""
    made: list[Endpoint] = []
    for (word, settings), order, stream in itertools.product(_EXECUTORS.items(), ORDERS, (False, True)):
        if word == "processes" and (stream or order != "free"):
            # One is enough to kill.
            continue
        kinds = ("raise", "late") if word == "limited" else ("raise", "die") if word == "processes" else ("raise",)
        middleware = BatchMiddleware(faulty.app, order=order, stream=stream, max_requests=64, **settings)
        made.append(
            Endpoint(
                f"{word} {order}{' streamed' if stream else ''}",
                middleware,
                kinds,
                limited=word == "limited",
                streamed=stream,
                weight=_WEIGHTS.get(word, 20),
            )
        )
    for name, store in stores.items():
        guarded = IdempotencyMiddleware(faulty.app, store=store)
        middleware = BatchMiddleware(guarded, executor="threads", workers=4, max_requests=64)
        made.append(Endpoint(f"store {name}", middleware, keyed=True, weight=1 if name == "silent" else 20, store=guarded))
    return made
