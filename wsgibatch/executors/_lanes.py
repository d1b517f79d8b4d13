"""The way of one batch through workers that run side by side.

All units of a batch stand in one queue. *Pullers*, jobs that a crew of workers runs, empty it. They are recruited one by another, so that a batch of
short units, which the first puller is done with before a second has woken up, pays for one of them and not for all.

The thread of the batch request is one of the workers: it takes units from the queue instead of waiting, so a batch gets on even while other batches
hold all workers. Where it has to look on, for a time limit or to send what is done, a puller stands in for it.
"""

import queue
from collections import deque
from collections.abc import Sequence
from contextvars import copy_context
from time import monotonic

from .._limits import Limits, Ticket
from ..model import Answers, Done, Unit
from ..protocols import Lane, Work
from ._burst import burst
from ._pool import Crew


def lane_of(work: Work, limits: Limits, crew: Crew, workers: int) -> Lane:
    """A lane on which at most *workers* units run at a time."""
    return WatchedLane(work, limits, crew, workers) if limits.watched else PullersLane(work, crew, workers)


class _Lane:
    """A queue of units, and the pullers that empty it."""

    def __init__(self, work: Work, crew: Crew, pullers: int) -> None:
        self._work, self._crew = work, crew
        self._context = copy_context()
        self._waiting: deque[Unit] = deque()
        # By way of the module, since gevent may have put another class in its place since it was imported.
        self._done: queue.SimpleQueue[list[Done] | BaseException] = queue.SimpleQueue()
        # A token for each puller that may still be started; taking one from a deque is atomic.
        self._places = deque([None] * pullers)

    def ready(self) -> bool:
        return not self._done.empty()

    def close(self) -> None:
        self._waiting.clear()

    def _take_place(self) -> bool:
        try:
            self._places.pop()
        except IndexError:
            return False
        return True

    def _give_place_back(self) -> bool:
        """Is a puller free to end? What was spawned between its last look and giving the place back has recruited nobody."""
        self._places.append(None)
        return not self._waiting or not self._take_place()

    def _pull(self) -> None:
        try:
            self._empty()
        except BaseException as error:
            self._done.put(error)

    def _empty(self) -> None:
        """Run units until there are none."""
        raise NotImplementedError


class PullersLane(_Lane):
    """A lane where the batch's own thread is one of the workers."""

    def __init__(self, work: Work, crew: Crew, workers: int) -> None:
        super().__init__(work, crew, workers - 1)

    def spawn(self, units: Sequence[Unit]) -> None:
        self._waiting.extend(units)
        self._recruit()

    def wait(self) -> list[Done]:
        return burst(self._waiting, self._run) or _opened(self._done.get())

    def _recruit(self) -> None:
        """Start one puller, if there is more to do than the calling thread takes next, and a place."""
        if len(self._waiting) < 2 or not self._take_place():
            return
        try:
            self._crew.start(self._pull)
        except RuntimeError:
            # The interpreter is ending, or the system gives no more threads; those that there are do the work.
            self._places.append(None)

    def _empty(self) -> None:
        while True:
            self._recruit()
            if done := burst(self._waiting, self._run):
                self._done.put(done)
            elif self._give_place_back():
                return

    def _run(self, unit: Unit) -> Answers:
        return self._context.copy().run(self._work.call, unit)


class WatchedLane(_Lane):
    """A lane where the batch's own thread looks on, and leaves behind what is late."""

    def __init__(self, work: Work, limits: Limits, crew: Crew, workers: int) -> None:
        super().__init__(work, crew, workers)
        self._limits, self._workers = limits, workers
        self._running: dict[int, Ticket] = {}
        self._over = False
        """Is nothing more started?"""
        self._stranded = False
        """Could no worker be had?"""

    def spawn(self, units: Sequence[Unit]) -> None:
        self._waiting.extend(units)
        self._recruit()

    def wait(self) -> list[Done]:
        while True:
            done = self._late() + self._unstarted()
            if not done and self._stranded and self._waiting:
                # Rather than not at all, one runs here, where nobody can leave it behind.
                unit = self._waiting.popleft()
                done.append((unit, self._work.call(unit)))
            try:
                if not done:
                    done += _opened(self._done.get(timeout=self._patience()))
                while True:
                    done += _opened(self._done.get_nowait())
            except queue.Empty:
                if done:
                    return done

    def close(self) -> None:
        self._over = True
        super().close()

    def _patience(self) -> float | None:
        """Seconds after which something may be late, be it something that is not running yet; None where nothing ever is."""
        now = monotonic()
        ends = [self._limits.end(ticket.started) for ticket in [*self._running.values()]] or [self._limits.end(now)]
        known = [end for end in ends if end is not None]
        return max(0.0, min(known) - now) if known else None

    def _late(self) -> list[Done]:
        """What is late by now, and is left behind."""
        late: list[Done] = []
        for ticket in [*self._running.values()]:
            end = self._limits.end(ticket.started)
            if end is not None and end <= monotonic() and ticket.leave():
                self._running.pop(ticket.unit[0].index, None)
                self._over = self._over or self._limits.holds(ticket.unit)
                self._crew.leave(ticket)
                late.append((ticket.unit, self._work.late(ticket)))
                self._places.append(None)
                self._recruit()
        return late

    def _unstarted(self) -> list[Done]:
        """What nobody will start any more."""
        self._over = self._over or self._limits.over()
        unstarted: list[Done] = []
        while self._over and self._waiting:
            try:
                unit = self._waiting.popleft()
            except IndexError:
                break
            unstarted.append((unit, self._work.unstarted(unit)))
        return unstarted

    def _recruit(self) -> None:
        """Start one puller, if there is something to do, and a place. Where there is no other, it stands in for the batch's own thread."""
        stand_in = len(self._places) == self._workers
        if not self._waiting or self._over or not self._take_place():
            return
        try:
            self._crew.start(self._pull, stand_in)
        except RuntimeError:
            self._places.append(None)
            self._stranded = stand_in

    def _empty(self) -> None:
        while not self._over:
            try:
                unit = self._waiting.popleft()
            except IndexError:
                if self._give_place_back():
                    return
                continue
            self._recruit()
            ticket = Ticket(unit, self._crew.worker())
            self._running[unit[0].index] = ticket
            done: list[Done] | BaseException
            try:
                done = [(unit, self._context.copy().run(self._work.call, unit, ticket))]
            except BaseException as error:
                # Work does not raise, but a worker that is stopped may be anywhere in it.
                done = error
            if not ticket.claim():
                self._crew.back(ticket)
                return
            self._running.pop(unit[0].index, None)
            self._done.put(done)


def _opened(done: list[Done] | BaseException) -> list[Done]:
    if isinstance(done, BaseException):
        raise done
    return done
