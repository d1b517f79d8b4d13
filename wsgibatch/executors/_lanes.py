"""The way of one batch through workers that run side by side.

All units of a batch stand in one queue. *Pullers*, jobs that a crew of workers runs, empty it. They are recruited one by another, so that a batch of
short units, which the first puller is done with before a second has woken up, pays for one of them and not for all.

The thread of the batch request is one of the workers: it takes units from the queue instead of waiting, so a batch gets on even while other batches
hold all workers. Where it has to look on, for a time limit or to send what is done, a puller stands in for it.
"""

import queue
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from functools import partial
from time import monotonic
from typing import Generic, TypeVar

from .._limits import Limits, Ticket
from ..model import Answers, Done, Unit
from ..protocols import Lane, Work
from ._burst import burst
from ._pool import Crew, PerProcess

C = TypeVar("C", bound=Crew)


class CrewExecutor(Generic[C]):
    """An executor with a crew in each process, that is made when the first batch needs it."""

    concurrent = True
    can_leave = True
    app: Callable[..., Iterable[bytes]] | None = None

    def __init__(self, workers: int, make: Callable[[], C]) -> None:
        """:param workers: units of a batch that run at a time."""
        self._workers = workers
        self.crews = PerProcess(make)

    @property
    def left(self) -> int:
        crew = self.crews.made()
        return crew.left if crew else 0

    def open(self, work: Work, limits: Limits) -> Lane:
        return lane_of(work, limits, self.crews.get(), self._workers)

    def close(self) -> None:
        crew = self.crews.pop()
        if crew is not None:
            crew.close()


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
        self._places = deque([None] * pullers)
        """A token for each puller that may still be started; taking one from a deque is atomic."""

    def ready(self) -> bool:
        return not self._done.empty()

    def close(self) -> None:
        self._waiting.clear()

    def _next(self) -> Unit | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def _give_back(self, places: deque[None]) -> bool:
        """Is a puller from *places* free to end? What was spawned between its last look and giving the place back has recruited nobody."""
        places.append(None)
        return not self._waiting or not _taken(places)

    def _pull(self, places: deque[None]) -> None:
        try:
            self._empty(places)
        except BaseException as error:
            self._done.put(error)

    def _empty(self, places: deque[None]) -> None:
        """Run units until there are none, in a puller whose place is one of *places*."""
        raise NotImplementedError


def _taken(places: deque[None]) -> bool:
    try:
        places.pop()
    except IndexError:
        return False
    return True


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
        if len(self._waiting) < 2 or not _taken(self._places):
            return
        try:
            self._crew.start(partial(self._pull, self._places))
        except RuntimeError:
            # The interpreter is ending, or the system gives no more threads; those that there are do the work.
            self._places.append(None)

    def _empty(self, places: deque[None]) -> None:
        while True:
            self._recruit()
            if done := burst(self._waiting, self._run):
                self._done.put(done)
            elif self._give_back(places):
                return

    def _run(self, unit: Unit) -> Answers:
        return self._context.copy().run(self._work.call, unit)


class WatchedLane(_Lane):
    """A lane where the batch's own thread looks on, and leaves behind what is late."""

    def __init__(self, work: Work, limits: Limits, crew: Crew, workers: int) -> None:
        super().__init__(work, crew, workers - 1)
        self._limits = limits
        self._own: deque[None] = deque([None])
        """The place of the puller that stands in for the batch's own thread, which no other batch can hold up."""
        self._running: dict[int, tuple[Ticket, deque[None]]] = {}
        """What runs, by the index of its first item, and the places that its puller is of."""
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
            if not done and self._stranded and (unit := self._next()) is not None:
                # Rather than not at all, one runs here, where nobody can leave it behind.
                done.append((unit, self._run(unit, Ticket(unit, self._limits))))
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
        for ticket, _ in [*self._running.values()]:
            if ticket.leave():
                # Its client is gone, which is no reason to break off what it writes.
                self._crew.leave(ticket, stop=False)

    def _patience(self) -> float | None:
        """Seconds after which something may be late, be it something that is not running yet; None where nothing will be."""
        now = monotonic()
        ends = [self._limits.end(ticket.started) for ticket, _ in [*self._running.values()] if not ticket.settled]
        if not self._over:
            ends.append(self._limits.end(now))
        known = [end for end in ends if end is not None]
        return max(0.0, min(known) - now) if known else None

    def _late(self) -> list[Done]:
        """What is late by now, and is left behind."""
        late: list[Done] = []
        for ticket, places in [*self._running.values()]:
            end = self._limits.end(ticket.started)
            if end is not None and end <= monotonic() and ticket.leave():
                self._running.pop(ticket.unit[0].index, None)
                self._crew.leave(ticket, stop=True)
                self._over = self._over or self._limits.holds(ticket.unit) or self._limits.exceeded(self._crew.left)
                late.append((ticket.unit, self._work.late(ticket)))
                places.append(None)
                self._recruit()
        return late

    def _unstarted(self) -> list[Done]:
        """What nobody will start any more."""
        self._over = self._over or self._limits.over()
        unstarted: list[Done] = []
        while self._over and (unit := self._next()) is not None:
            unstarted.append((unit, self._work.unstarted(unit)))
        return unstarted

    def _recruit(self) -> None:
        """Start one puller, if there is something to do, and a place: before all others the one that stands in for the batch's own thread."""
        if not self._waiting or self._over:
            return
        places = next((places for places in (self._own, self._places) if _taken(places)), None)
        if places is None:
            return
        stand_in = places is self._own
        self._stranded = False
        try:
            self._crew.start(partial(self._pull, places), stand_in)
        except RuntimeError:
            places.append(None)
            self._stranded = stand_in

    def _empty(self, places: deque[None]) -> None:
        while True:
            unit = self._next()
            if unit is None:
                if self._give_back(places):
                    return
                continue
            self._recruit()
            ticket = Ticket(unit, self._limits, self._crew.worker())
            self._running[unit[0].index] = ticket, places
            done: list[Done] | BaseException
            try:
                # Asked only now: whoever looks on has either made it known that all is over, or finds what is running.
                over = self._over or self._limits.over()
                done = [(unit, self._work.unstarted(unit) if over else self._run(unit, ticket))]
            except BaseException as error:
                # Work does not raise, but a worker that is stopped may be anywhere in it.
                done = error
            if not ticket.claim():
                self._crew.back(ticket)
                return
            self._running.pop(unit[0].index, None)
            self._done.put(done)

    def _run(self, unit: Unit, ticket: Ticket) -> Answers:
        answers = self._context.copy().run(self._work.call, unit, ticket)
        # On a busy machine it may be done before anybody has looked; that does not put it in time.
        return self._work.late(ticket) if ticket.late and not ticket.settled else answers


def _opened(done: list[Done] | BaseException) -> list[Done]:
    if isinstance(done, BaseException):
        raise done
    return done
