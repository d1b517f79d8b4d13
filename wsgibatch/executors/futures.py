"""An executor of :mod:`concurrent.futures` that the user has, or names what makes it: a pool that other work shares, or a whole cluster.

Without ``worker_app`` it is one whose calls run in this process: they take the units of a batch from each other, in the context of the batch
request. With ``worker_app`` each item is a call of its own, wherever that runs, and threads of ours wait for them.
"""

import concurrent.futures
import os
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from io import BytesIO
from time import monotonic
from typing import Any, TypeAlias
from uuid import uuid4

from .._log import log_refusing
from ..errors import ConfigError
from ..settings import Settings
from ._lanes import CrewExecutor
from ._pool import Job, PerProcess, ThreadCrew
from ._remote import NotSent, Outcome, RemoteApp, Task, TooLate, WorkerDied, run

Source: TypeAlias = Executor | Callable[[], Executor]

# The second is new in Python 3.14.
_ELSEWHERE = tuple(
    getattr(concurrent.futures, name) for name in ("ProcessPoolExecutor", "InterpreterPoolExecutor") if hasattr(concurrent.futures, name)
)


class FuturesExecutor(CrewExecutor[ThreadCrew]):
    """The executor that is made for an executor of :mod:`concurrent.futures`.

    :param source: that, or what makes one: called once in each process, when the first batch needs it.
    :raises ConfigError: when there is none, or it is known to run calls elsewhere and nothing says what is to be run there.
    """

    def __init__(self, settings: Settings, source: Source | None = None) -> None:
        if source is None:
            raise ConfigError("executor: 'futures' is what your own executor becomes: give that, or 'package.module:name' of what makes it")
        if settings.worker_app is None and _is_elsewhere(source):
            raise ConfigError(f"worker_app: {source!r} runs calls elsewhere, and needs to know what to import there, such as 'shop:app'")
        user = _User()
        self._pools = PerProcess(lambda: Pool(source, user))
        if settings.worker_app is None:
            super().__init__(settings.workers, lambda: FuturesCrew(settings.workers, self._pools.get()))
        else:
            super().__init__(settings.workers, lambda: ThreadCrew(settings.workers))
            self.app = RemoteApp(settings.worker_app, self._run, settings.max_response)

    def close(self) -> None:
        pool, left = self._pools.pop(), self.left
        super().close()
        if pool is not None:
            pool.close(wait=not left)

    def _run(self, task: Task, until: float | None) -> Outcome:
        return self._pools.get().run(task, until)


class FuturesCrew(ThreadCrew):
    """The threads of the user's executor, and some of our own that stand in for those of batches."""

    def __init__(self, most: int, pool: "Pool") -> None:
        super().__init__(most)
        self._pool = pool
        self._told = False

    def start(self, job: Job, stand_in: bool = False) -> None:
        if stand_in:
            super().start(job, stand_in)
            return
        try:
            self._pool.submit(job).add_done_callback(self._ended)
        except Exception as error:
            self._tell(error)
            raise RuntimeError("the executor takes no calls") from error

    def _ended(self, future: "Future[None]") -> None:
        """A job raises nothing; so what is raised is why there was none."""
        error = None if future.cancelled() else future.exception()
        if error is not None:
            self._tell(error)

    def _tell(self, error: BaseException) -> None:
        # Once, since every batch would say so again; and not of an end that all executors come to.
        if not self._told and "interpreter shutdown" not in str(error):
            self._told = True
            log_refusing(error)


class _User:
    """The process that has used an executor which was handed over: after a fork its threads are gone, and it does not know."""

    def __init__(self) -> None:
        self._pid: int | None = None

    def here(self) -> bool:
        """Is it this process? The first one that asks it is."""
        self._pid = self._pid or os.getpid()
        return self._pid == os.getpid()


class Pool:
    """The user's executor, in one process."""

    def __init__(self, source: Source, user: _User) -> None:
        self._source, self._user = source, user
        self._lock = threading.Lock()
        self._executor: Executor | None = None

    def submit(self, call: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Have *call* run; where an executor that we have made is broken, by another one.

        :raises Exception: whatever the executor, or what makes it, raises; nothing has been submitted then.
        """
        executor = self._get()
        try:
            return executor.submit(call, *arguments)
        except BrokenExecutor:
            if executor is self._source:
                raise
        with self._lock:
            # Many find out at once.
            if self._executor is executor:
                self._executor = None
                executor.shutdown(wait=False)
        return self._get().submit(call, *arguments)

    def run(self, task: Task, until: float | None) -> Outcome:
        """Have *task* run elsewhere, and wait for what comes of it.

        :raises InvalidAnswer: when nobody takes the task, when it is late, or when who has taken it does not answer.
        """
        worker_app, environ, body, limit = task
        try:
            left = None if until is None else until - monotonic()
            future = self.submit(_run_whole, worker_app, environ, body.read(), limit, left, uuid4().hex)
        except Exception as error:
            raise NotSent(f"the executor takes no call: {error!r}") from error
        try:
            return _outcome(future, until)
        except TooLate:
            raise
        except Exception as error:
            # What is called raises nothing, so it is the executor that tells of itself.
            raise WorkerDied(f"the executor has lost the call: {error!r}") from error

    def close(self, wait: bool) -> None:
        """Give back what we have made."""
        if self._executor is not None and self._executor is not self._source:
            self._executor.shutdown(wait=wait)

    def _get(self) -> Executor:
        with self._lock:
            if self._executor is None:
                self._executor = self._handed(self._source) if isinstance(self._source, Executor) else _made(self._source)
            return self._executor

    def _handed(self, executor: Executor) -> Executor:
        if not self._user.here():
            raise RuntimeError("the executor was used before this process was forked: name what makes one instead")
        return executor


def _run_whole(worker_app: str, environ: dict[str, Any], body: bytes, limit: int, left: float | None, nonce: str) -> Outcome:
    """A task whose body has crossed with its other values.

    :param nonce: for engines that keep what a function has returned to the same arguments.
    """
    return run(worker_app, environ, BytesIO(body), limit, left)


def _made(make: Callable[[], Executor]) -> Executor:
    executor: object = make()
    if not isinstance(executor, Executor):
        raise TypeError(f"{make!r} has made {executor!r}, which is no concurrent.futures.Executor")
    return executor


def _outcome(future: "Future[Outcome]", until: float | None) -> Outcome:
    try:
        return future.result(None if until is None else max(0.0, until - monotonic()))
    except TimeoutError:
        if future.cancel():
            raise TooLate from None
    # It runs and cannot be stopped; nobody waits for it any more, but it counts as left behind until it ends.
    return future.result()


def _is_elsewhere(source: Source) -> bool:
    return issubclass(source, _ELSEWHERE) if isinstance(source, type) else isinstance(source, _ELSEWHERE)
