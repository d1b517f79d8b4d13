"""The state of a running batch: what is ready, what is done, what can be written.

A :class:`Run` knows neither threads nor time. It is asked which units are ready to start, it is told which are done, and it hands them out to be
written, in the order of the batch. Draining comes before asking what is ready: it opens the window.
"""

from collections.abc import Iterable
from typing import Any

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
        start, end = max(self._started, self._drained), min(len(units), self._drained + window)
        if not alone:
            ready = [units[position] for position in range(start, end) if answers[position] is None]
            self._started = max(start, end)
            self._running += len(ready)
            return ready
        for position in range(start, end):
            if answers[position] is None:
                if self._barrier or (alone[position] and self._running):
                    break
                ready.append(units[position])
                self._running += 1
                self._barrier = alone[position]
            self._started = position + 1
        return ready

    def take(self, done: Iterable[Done]) -> None:
        """These units are done."""
        answers = self._answers
        count = 0
        for unit, answered in done:
            answers[unit[0].index] = answered
            count += 1
        self._running -= count
        if not self._running:
            self._barrier = False

    def drain(self) -> list[Done]:
        """The units that can be written now, each handed out once."""
        answers, start = self._answers, self._drained
        end = start
        while end < len(answers) and answers[end] is not None:
            end += 1
        drained: list[Any] = list(zip(self._units[start:end], answers[start:end], strict=True))
        # What is written need not be kept.
        answers[start:end] = [None] * (end - start)
        self._drained = end
        return drained
