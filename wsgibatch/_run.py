"""The state of a running batch: what is ready, what is done, what can be written.

A :class:`Run` knows neither threads nor time. It is asked which units are ready to start, it is told which are done, and it hands them out to be
written, in the order of the batch. Draining comes before asking what is ready: it opens the window.
"""

from collections.abc import Iterable

from ._plan import Plan
from .model import Answers, Done, Unit


class Run:
    """One batch on its way from a plan to answers."""

    def __init__(self, plan: Plan) -> None:
        self._units, self._alone = plan.units, plan.alone
        # A refused item is answered before anything starts.
        self._answers: list[Answers | None] = [None if unit[0].refusal is None else (unit[0].refusal,) for unit in plan.units]
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
        units, alone, answers = self._units, self._alone, self._answers
        for position in range(max(self._started, self._drained), min(len(units), self._drained + window)):
            if answers[position] is None:
                if alone and (self._barrier or (alone[position] and self._running)):
                    break
                ready.append(units[position])
                self._running += 1
                self._barrier = bool(alone) and alone[position]
            self._started = position + 1
        return ready

    def take(self, done: Iterable[Done]) -> None:
        """These units are done."""
        answers = self._answers
        for unit, answered in done:
            answers[unit[0].index] = answered
            self._running -= 1
        if not self._running:
            self._barrier = False

    def drain(self) -> list[Done]:
        """The units that can be written now, each handed out once."""
        drained: list[Done] = []
        answers, units = self._answers, self._units
        for position in range(self._drained, len(units)):
            answered = answers[position]
            if answered is None:
                break
            drained.append((units[position], answered))
            # What is written need not be kept.
            answers[position] = None
        self._drained += len(drained)
        return drained
