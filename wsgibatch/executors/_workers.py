"""Processes of our own, that answer one item at a time each.

Those of :class:`concurrent.futures.ProcessPoolExecutor` break together: when one is killed, nobody knows any more which items were run. They are as
many for good, so calls that were left behind would use them up, and the process that made them cannot end before they do. Here a worker has one
item, so what is known of the worker is known of the item; and since no worker imports the main module anew, scripts need not be prepared for it.
"""

import contextlib
import os
import pickle
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from io import SEEK_END, BufferedReader, BufferedWriter, BytesIO
from shutil import copyfileobj
from tempfile import TemporaryFile
from time import monotonic
from typing import IO, cast

from ._remote import NotSent, Outcome, Task, TooLate, WorkerDied, run

_START = "import sys; sys.path[:] = sys.argv[1:]; del sys.argv[1:]; from wsgibatch.executors._workers import serve; serve()"
_LOOK = 1.0
"""Seconds between two looks at what nobody tells."""
_PATIENCE = 5.0
"""Seconds that a worker with nothing to do has for ending."""
_IN_MEMORY = 256 << 10
"""Bytes of a body up to which a worker holds it in memory."""
_PIECE = 64 << 10


class Workers:
    """At most *most()* processes, made one by one as they are needed."""

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        self._starting = 0
        self._queue: deque[object] = deque()
        """Who waits for a worker, so that nobody who comes back for another passes them by."""
        self._closed = False
        self._over = threading.Event()
        weakref.finalize(self, _finish, self._all, self._over, os.getpid())

    def run(self, task: Task, until: float | None) -> Outcome:
        """Wait for a worker, and for what it makes of *task*.

        :raises InvalidAnswer: when there is none, none in time, or when it dies.
        """
        while True:
            worker, fresh = self._take(until)
            try:
                outcome = worker.run(task, until)
            except NotSent:
                self._drop(worker)
                if fresh:
                    raise
                # It has died while it had nothing to do.
                continue
            except BaseException:
                self._drop(worker)
                raise
            self._give_back(worker)
            return outcome

    def look_again(self) -> None:
        """There may be more workers than before."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """End the workers that have nothing to do, and the others when they are done."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            self._all.difference_update(idle)
        _end(idle)

    def _take(self, until: float | None) -> "tuple[Worker, bool]":
        """A worker, and whether it is a new one."""
        with self._changed:
            self._await_turn(until)
            if self._over.is_set():
                raise NotSent("this process ends")
            if self._idle:
                return self._idle.pop(), False
            self._starting += 1
        worker = None
        try:
            worker = Worker()
        except OSError as error:
            raise NotSent(f"no worker can be started: {error}") from error
        finally:
            with self._changed:
                self._starting -= 1
                if worker is None:
                    self._changed.notify_all()
                else:
                    self._all.add(worker)
        return worker, True

    def _await_turn(self, until: float | None) -> None:
        """Wait until there is a worker, or may be another, and nobody else has waited longer for it.

        :raises TooLate: when time is up before that.
        """
        turn = object()
        self._queue.append(turn)
        try:
            while self._queue[0] is not turn or not (self._idle or len(self._all) + self._starting < self._most()):
                self._changed.wait(None if until is None else max(0.0, until - monotonic()))
                if until is not None and monotonic() >= until:
                    raise TooLate
        finally:
            self._queue.remove(turn)
            self._changed.notify_all()

    def _give_back(self, worker: "Worker") -> None:
        with self._changed:
            wanted = not self._closed and len(self._all) + self._starting <= self._most()
            if wanted:
                self._idle.append(worker)
            else:
                self._all.discard(worker)
            self._changed.notify_all()
        if not wanted:
            # It may take its time, for which nobody has to wait.
            threading.Thread(target=_end, args=([worker],), name="wsgibatch", daemon=True).start()

    def _drop(self, worker: "Worker") -> None:
        """Let go of a worker that is dead, or of which nobody knows what it is at."""
        worker.end()
        with self._changed:
            self._all.discard(worker)
            self._changed.notify_all()


class Worker:
    """A process that runs :func:`serve`, seen from the one that started it."""

    def __init__(self) -> None:
        # By way of the module, since gevent may have put another class in its place since it was imported.
        self._process = subprocess.Popen([sys.executable, "-c", _START, *map(str, sys.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._tasks = cast("BufferedWriter", self._process.stdin)
        self._outcomes = cast("BufferedReader", self._process.stdout)
        self._told = selectors.DefaultSelector()
        self._told.register(self._outcomes, selectors.EVENT_READ)
        self._idle = True

    def run(self, task: Task, until: float | None) -> Outcome:
        """Send *task*, and wait for what comes of it.

        :raises NotSent: when the worker is dead already.
        :raises WorkerDied: when it dies now.
        """
        worker_app, environ, body, limit = task
        size = body.seek(0, SEEK_END)
        body.seek(0)
        self._idle = False
        try:
            pickle.dump((worker_app, environ, size, limit, until), self._tasks)
            copyfileobj(body, self._tasks, _PIECE)
            self._tasks.flush()
            if size > _IN_MEMORY:
                self._await_storage()
        except (EOFError, OSError) as error:
            # What has not come whole is never run.
            raise NotSent(f"the worker has ended, with {self._status()}") from error
        try:
            self._wait()
            outcome: Outcome = pickle.load(self._outcomes)  # noqa: S301  # Both ends are ours.
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise WorkerDied(f"the worker has ended, with {self._status()}") from error
        self._idle = True
        return outcome

    def hang_up(self) -> None:
        """Have it end, once it is done with what it is at."""
        with contextlib.suppress(OSError):
            self._tasks.close()

    def end(self, patience: float = 0) -> None:
        """Have it end now, killed where it has not by itself after some seconds of *patience*."""
        self.hang_up()
        try:
            self._process.wait(patience if self._idle else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._told.close()
        self._outcomes.close()

    def disown(self) -> None:
        """Leave it to another process, of which the present one is a fork."""
        # What was about to be written then is written by that one.
        self._tasks.raw.close()
        # Its lock may be held by a thread that the fork does not have.
        self._outcomes.raw.close()
        self._process.returncode = 0

    def _await_storage(self) -> None:
        """Wait until the worker has found room for all of a body.

        :raises EOFError: when it has died instead.
        """
        self._wait()
        # Past the buffer: what is in there already would not be waited for again.
        if not os.read(self._outcomes.fileno(), 1):
            raise EOFError

    def _wait(self) -> None:
        """Wait until there is something to read.

        A process that its app has forked may keep the pipe open when it is dead.
        """
        dead = False
        while not self._told.select(_LOOK):
            if dead:
                raise EOFError
            dead = self._process.poll() is not None

    def _status(self) -> str:
        """How it has ended: the exit status, or the signal below zero."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LOOK)
        return f"status {self._process.returncode}"


def _finish(workers: set[Worker], over: threading.Event, home: int) -> None:
    """End what the process *home* has started, which ends."""
    over.set()
    if os.getpid() == home:
        _end([*workers])
        return
    for worker in workers:
        worker.disown()


def _end(workers: list[Worker]) -> None:
    for worker in workers:
        worker.hang_up()
    until = monotonic() + _PATIENCE
    for worker in workers:
        worker.end(max(0.0, until - monotonic()))


def serve() -> None:
    """What a worker does: run tasks until there is nobody any more to send them."""
    # Ctrl-C, and the end of a whole group of processes, are for whoever it works for: that one ends it when its work is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    # A task that ends in the middle is the end, too, and so is an outcome that nobody takes.
    with (
        contextlib.suppress(EOFError, BrokenPipeError, pickle.UnpicklingError),
        os.fdopen(os.dup(0), "rb") as tasks,
        os.fdopen(os.dup(1), "wb") as outcomes,
    ):
        # What the app prints, or would read, has no place in there.
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        # A process that the app forks may live on when this one is dead, and whoever writes to it would never know.
        for end in (tasks, outcomes):
            os.register_at_fork(after_in_child=end.raw.close)
        while True:
            worker_app, environ, size, limit, until = pickle.load(tasks)  # noqa: S301  # Both ends are ours.
            with _received(tasks, size) as body:
                if size > _IN_MEMORY:
                    outcomes.write(b"!")
                    outcomes.flush()
                # The clock is that of the whole system.
                outcome = run(worker_app, environ, body, limit, None if until is None else until - monotonic())
            pickle.dump(outcome, outcomes)
            outcomes.flush()


def _received(tasks: IO[bytes], size: int) -> IO[bytes]:
    """The body of a task, which comes behind it: whole before anything runs, and in a temporary file where it is large.

    :raises EOFError: when it has not come whole.
    """
    body = BytesIO() if size <= _IN_MEMORY else TemporaryFile()  # noqa: SIM115 - it is closed by the one who asks for it
    while size:
        piece = tasks.read(min(size, _PIECE))
        if not piece:
            raise EOFError
        body.write(piece)
        size -= len(piece)
    body.seek(0)
    return body


def _follow(parent: int) -> None:
    """End with the process that this one works for, however it ends, and whatever this one is at."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)
