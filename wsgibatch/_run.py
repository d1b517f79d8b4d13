"""The state of a running batch: what is ready, what is done, what can be written.

A :class:`Run` knows neither threads nor time. It is asked which units are ready to start, it is told which are done, and it hands them out to be
written, in the order of the batch. Draining comes before asking what is ready: it opens the window.
"""

from collections.abc import Sequence
from typing import Any

from ._plan import Links, Plan
from .model import Answers, Done, Unit


class Run:
    """One batch on its way from a plan to answers.

    :param ordered: are they handed out in the order of the batch, rather than as they come?
    """

    def __init__(self, plan: Plan, ordered: bool = True) -> None:
        self._units, self._alone, self._echoes = plan.units, plan.alone, plan.echoes
        # A refused item is answered before anything starts.
        self._done: list[Done | None] = [None if unit[0].refusal is None else (unit, (unit[0].refusal,)) for unit in plan.units]
        self._silent = {echo for echoes in plan.echoes.values() for echo in echoes}
        self._fresh = None if ordered else [place for place, done in enumerate(self._done) if done is not None]
        """Where the order is not kept, the places of what is done and has not been handed out."""
        self._started = 0
        self._running = 0
        self._drained = 0
        self._barrier = False

    @property
    def drained(self) -> bool:
        """Has every unit been handed out with its answers?"""
        return self._drained == len(self._units)

    def ready(self, window: int) -> list[Unit]:
        """The units to start now, at most *window* of them ahead of what is drained."""
        ready: list[Unit] = []
        units, alone, done, silent = self._units, self._alone, self._done, self._silent
        start = max(self._started, self._drained) if self._fresh is None else self._started
        end = min(len(units), self._drained + window)
        if start >= end:
            return ready
        if not alone:
            ready = [units[place] for place in range(start, end) if done[place] is None]
            if silent:
                ready = [unit for unit in ready if unit[0].index not in silent]
            self._started = max(start, end)
            self._running += len(ready)
            return ready
        for place in range(start, end):
            if done[place] is None and not (silent and place in silent):
                if self._barrier or (alone[place] and self._running):
                    break
                ready.append(units[place])
                self._running += 1
                self._barrier = alone[place]
            self._started = place + 1
        return ready

    def take(self, done: Sequence[Done]) -> None:
        """These units are done."""
        kept = self._done
        for one in done:
            kept[one[0][0].index] = one
        if self._echoes or self._fresh is not None:
            for unit, answers in done:
                self._tell(unit[0].index, answers)
        self._running -= len(done)
        if not self._running:
            self._barrier = False

    def drain(self) -> list[Done]:
        """The units that can be written now, each handed out once."""
        if self._fresh is not None:
            return self._drain_fresh(self._fresh)
        done, start = self._done, self._drained
        end = _first_missing(done, start)
        if end == start:
            return []
        drained: list[Any] = done[start:end]
        # What is written need not be kept.
        done[start:end] = [None] * (end - start)
        self._drained = end
        return drained

    def _drain_fresh(self, places: list[int]) -> list[Done]:
        drained: list[Any] = [self._done[place] for place in places]
        for place in places:
            self._done[place] = (self._units[place], ())
        self._drained += len(places)
        self._fresh = []
        return drained

    def _tell(self, place: int, answers: Answers) -> None:
        """What has come at *place* is the answer to all its equals as well."""
        echoes = self._echoes.get(place, ())
        for echo in echoes:
            self._done[echo] = (self._units[echo], answers)
        if self._fresh is not None:
            self._fresh += [place, *echoes]


def _first_missing(done: list[Done | None], start: int) -> int:
    """The first place from *start* on that is not done yet; behind the last one, where all are."""
    try:
        return done.index(None, start)
    except ValueError:
        return len(done)


BURST_SECONDS, BURST_BYTES = 0.001, 64 << 10
"""Time in the app, and bytes of answers, after which a chain of units hands out what it has; as lanes report."""


class LinkedRun(Run):
    """The same for units that wait for each other.

    :param prompt: is everything handed out at once, whatever it costs?
    """

    def __init__(self, plan: Plan, links: Links, ordered: bool = True, prompt: bool = False) -> None:
        # Where a batch stops at a failure its units run one by one, and nobody knows yet which of those that are refused are answered at all.
        super().__init__(plan, ordered or links.stops)
        self._prompt = prompt
        self._places, self._sequence, self._stops = links.places, links.sequence, links.stops
        self._waits, self._dependants = links.waits, links.dependants
        # The next to be written may stand anywhere in a sequence that is not the batch's own, so there is no window on one.
        self._straight = self._sequence == list(range(len(self._units)))
        self._next = 0
        self._spent, self._size = 0.0, 0
        self._held: set[int] = set()
        self._released: list[Unit] = []
        for place, unit in enumerate(self._units):
            if _refused(unit):
                self._settle(place)
            else:
                # A refused member of a group does not speak for the others.
                self._done[place] = None
        if self._stops:
            first = next((turn for turn, place in enumerate(self._sequence) if _refused(self._units[place])), len(self._units))
            self._leave_out(first + 1)
        if self._fresh is not None:
            self._fresh = [place for place, done in enumerate(self._done) if done is not None]

    def ready(self, window: int) -> list[Unit]:
        """As :meth:`Run.ready`. What still has to wait is passed by, and started once all that it waits for is done."""
        ready, self._released = self._released, []
        units, alone, sequence, waits = self._units, self._alone, self._sequence, self._waits
        end = min(len(sequence), self._drained + window) if self._straight else len(sequence)
        while self._next < end and not self._barrier:
            place = sequence[self._next]
            if not _refused(units[place]) and place not in self._silent:
                if alone and alone[place]:
                    if self._running or self._held:
                        break
                    self._barrier = True
                if waits[place]:
                    self._held.add(place)
                else:
                    self._running += 1
                    ready.append(units[place])
            self._next += 1
        return ready

    def take(self, done: Sequence[Done]) -> None:
        places, kept, dependants = self._places, self._done, self._dependants
        for one in done:
            unit, answers = one
            place = places[unit[0].index]
            kept[place] = one
            for answer in answers:
                self._spent += answer.duration
                self._size += len(answer.body)
            self._running -= 1
            if self._echoes or self._fresh is not None:
                self._tell(place, answers)
            if dependants[place]:
                self._settle(place)
            if self._stops and any(answer.status >= 400 for answer in answers):
                # Units behind it may have been spawned, and are not called; those that are refused may have been passed by.
                self._leave_out(self._sequence.index(place) + 1)
        if not self._running:
            self._barrier = False

    def drain(self) -> list[Done]:
        """As :meth:`Run.drain`, without the units that are left out."""
        # One by one the answers to a chain of short units would cost more to write than to get.
        if self._released and not self._prompt and self._spent < BURST_SECONDS and self._size < BURST_BYTES:
            return []
        self._spent, self._size = 0.0, 0
        drained = super().drain()
        return [done for done in drained if done[1]] if self._stops else drained

    def _settle(self, place: int) -> None:
        """The unit at *place* is done: whoever was passed by and waited for it last may start."""
        waits = self._waits
        for dependant in self._dependants[place]:
            waits[dependant] -= 1
            if not waits[dependant] and dependant in self._held:
                self._held.remove(dependant)
                self._released.append(self._units[dependant])
                self._running += 1

    def _leave_out(self, turn: int) -> None:
        """Neither run nor answer what comes from *turn* on in the sequence."""
        for place in self._sequence[turn:]:
            self._done[place] = (self._units[place], ())
        del self._sequence[turn:]


def _refused(unit: Unit) -> bool:
    return unit[0].refusal is not None and len(unit) == 1
