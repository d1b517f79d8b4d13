"""A pool of threads, one per process, that is made when the first batch needs it.

The thread of the batch request is one of the workers: it takes units from the queue of its batch instead of waiting, so a batch gets on even
while other batches hold the whole pool. The others are *pullers*, pool threads that empty the same queue. They are recruited one by another, so
that a batch of short items, which the first thread is done with before a second has woken up, pays for one of them and not for all.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from queue import SimpleQueue

from ..model import Answers, Done, Unit
from ..protocols import Call, Lane
from ..settings import Settings
from ._burst import burst


class ThreadsExecutor:
    """The executor ``threads``."""

    concurrent = True

    def __init__(self, settings: Settings) -> None:
        self._workers = settings.workers
        # By process, since threads made before a fork are gone after it; without a lock, since a fork could copy it locked.
        self._pools: dict[int, ThreadPoolExecutor] = {}

    def open(self, call: Call) -> Lane:
        return ThreadsLane(call, self._start, self._workers - 1)

    def close(self) -> None:
        pool = self._pools.pop(os.getpid(), None)
        if pool is not None:
            pool.shutdown()

    def _start(self, pull: Callable[[], None]) -> None:
        """Have a thread of the pool call *pull*.

        :raises RuntimeError: when the interpreter is ending.
        """
        pid = os.getpid()
        pool = self._pools.get(pid) or self._pools.setdefault(pid, ThreadPoolExecutor(self._workers, "wsgibatch"))
        pool.submit(pull)


class ThreadsLane:
    """One queue of units, emptied by the batch's own thread and at most *helpers* pullers."""

    def __init__(self, call: Call, start: Callable[[Callable[[], None]], None], helpers: int) -> None:
        self._call, self._start = call, start
        self._context = copy_context()
        self._waiting: deque[Unit] = deque()
        self._done: SimpleQueue[list[Done] | BaseException] = SimpleQueue()
        # A token for each puller that may still be started; taking one from a deque is atomic.
        self._places = deque([None] * helpers)

    def spawn(self, units: Sequence[Unit]) -> None:
        self._waiting.extend(units)
        self._recruit()

    def wait(self) -> list[Done]:
        done = burst(self._waiting, self._run) or self._done.get()
        if isinstance(done, BaseException):
            raise done
        return done

    def close(self) -> None:
        self._waiting.clear()

    def _recruit(self) -> None:
        """Start one puller, if there is more to do than the calling thread takes next, and a place."""
        if len(self._waiting) < 2 or not self._take_place():
            return
        try:
            self._start(self._pull)
        except RuntimeError:
            # The interpreter is ending and starts no more threads; those that there are do the work.
            self._places.append(None)

    def _take_place(self) -> bool:
        try:
            self._places.pop()
        except IndexError:
            return False
        return True

    def _pull(self) -> None:
        try:
            self._empty()
        except BaseException as error:
            self._done.put(error)

    def _empty(self) -> None:
        while True:
            self._recruit()
            done = burst(self._waiting, self._run)
            if done:
                self._done.put(done)
                continue
            self._places.append(None)
            # What was spawned between the last look and giving the place back has recruited nobody.
            if not self._waiting or not self._take_place():
                return

    def _run(self, unit: Unit) -> Answers:
        return self._context.copy().run(self._call, unit)
