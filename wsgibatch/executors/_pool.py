"""Threads of our own, for calls that may never return.

Those of :class:`concurrent.futures.ThreadPoolExecutor` are waited for when the interpreter ends, and no more than its bound can ever be started. A
call that was left behind would so hold a place for good, and the process with it.
"""

import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from .._limits import Ticket

Job = Callable[[], None]
T = TypeVar("T")


class Crew(Protocol):
    """Whoever runs the pullers of all batches of one process."""

    left: int
    """Calls that were left behind and have not ended yet."""

    def start(self, job: Job, stand_in: bool = False) -> None:
        """Have *job* run, as soon as there is a worker for it; or now, where it *stands in* for a thread that only looks on.

        :raises RuntimeError: when nothing can be started.
        """

    def worker(self) -> object:
        """The worker that asks, for the tickets of what it runs."""

    def leave(self, ticket: Ticket, stop: bool) -> None:
        """A call is left behind: its worker does not count any more, and *stop* has it stopped, where that can be done."""

    def back(self, ticket: Ticket) -> None:
        """A call that was left behind has ended, in its worker."""

    def close(self) -> None:
        """End the workers that have nothing to do, and the others when they are done. It waits for none that was left behind."""


class PerProcess(Generic[T]):
    """Something that a process makes when it first needs it. What was made before a fork is of no use after it: its threads are gone."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        # Without a lock, since a fork could copy it locked.
        self._made: dict[int, T] = {}

    def get(self) -> T:
        pid = os.getpid()
        return self._made.get(pid) or self._made.setdefault(pid, self._make())

    def made(self) -> T | None:
        """What this process has made, if it has."""
        return self._made.get(os.getpid())

    def pop(self) -> T | None:
        """The same, and forget it."""
        return self._made.pop(os.getpid(), None)


class ThreadCrew:
    """At most *most* threads, made one by one as they are needed, and some more in the place of those that are held up."""

    def __init__(self, most: int) -> None:
        self.left = 0
        self._most = most
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._waiting: deque[Job] = deque()
        self._idle = 0
        self._closed = False
        # By way of the module, since gevent may have put another class in its place since it was imported.
        self._handed: queue.SimpleQueue[Job | None] = queue.SimpleQueue()

    def start(self, job: Job, stand_in: bool = False) -> None:
        with self._lock:
            if self._idle:
                self._idle -= 1
                self._handed.put(job)
            elif stand_in or len(self._threads) < self._most + self.left:
                self._begin(job)
            else:
                self._waiting.append(job)

    def worker(self) -> object:
        return threading.current_thread()

    def leave(self, ticket: Ticket, stop: bool) -> None:
        with self._lock:
            self.left += 1
            # Where there can be no other thread, it is for those that there are to get there.
            with suppress(RuntimeError):
                if self._waiting:
                    self._begin(self._waiting[0])
                    self._waiting.popleft()

    def back(self, ticket: Ticket) -> None:
        with self._lock:
            self.left -= 1

    def close(self) -> None:
        """End the threads that have nothing to do, and the others when they are done."""
        with self._lock:
            self._closed = True
            threads = [] if self.left else list(self._threads)
            for _ in range(self._idle):
                self._handed.put(None)
            self._idle = 0
        for thread in threads:
            thread.join()

    def _begin(self, job: Job) -> None:
        # They end with the process, whatever they are at: nobody waits for them any more by then.
        thread = threading.Thread(target=self._work, args=(job,), name="wsgibatch", daemon=True)
        thread.start()
        self._threads.add(thread)

    def _work(self, job: Job | None) -> None:
        while job is not None:
            job()
            job = self._next()

    def _next(self) -> Job | None:
        with self._lock:
            surplus = len(self._threads) > self._most + self.left
            if self._waiting and not surplus:
                return self._waiting.popleft()
            if self._closed or surplus:
                self._threads.discard(threading.current_thread())
                return None
            self._idle += 1
        return self._handed.get()
