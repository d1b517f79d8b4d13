"""Times that can be trusted on a machine that does other things as well.

What is compared runs in one process, in alternation, and what is told is the median of rounds. The garbage collector stays on: what a contestant
leaves it to do is part of what it costs.
"""

import faulthandler
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from time import perf_counter, process_time
from typing import Generic, ParamSpec, TypeVar

from .answers import Figure

P = ParamSpec("P")
T = TypeVar("T")

ROUNDS, FEWEST = 41, 7
LONGEST = 15.0
"""Seconds after which there are no further rounds, once there are the fewest."""
PATIENCE = 900
"""Seconds after which a process of its own is held to hang; none takes more than a few minutes."""
SECONDS = 0.02
"""Of one contestant in one round, at least: long against a tick of the clock and a switch of processes."""


class Checked(Generic[T]):
    """A run whose last answer is looked at behind the rounds as well, when no clock runs: what was well only once is not measured."""

    def __init__(self, run: Callable[[], T], check: Callable[[T], None]) -> None:
        """:param check: raises when an answer of *run* is not what it should be."""
        self._run, self.check = run, check
        self._last: list[T] = []

    def __call__(self) -> T:
        # An answer is let go of before the next one is made, as in a server.
        self._last.clear()
        answer = self._run()
        self._last.append(answer)
        return answer

    def verify(self) -> None:
        """Look at the last answer."""
        self.check(self._last[-1])

    def tried(self) -> "Checked[T]":
        """Run it once, and look at its answer."""
        self()
        self.verify()
        return self


def verify(*runs: Callable[[], object]) -> None:
    """Look at what those of *runs* answered last that can be looked at."""
    for run in runs:
        if isinstance(run, Checked):
            run.verify()


def alone(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """*function*, called in a process of its own: what was imported or measured before it does not matter.

    :raises BrokenProcessPool: when that process hangs, which it tells on its standard error with where it does.
    """
    limited = partial(faulthandler.dump_traceback_later, PATIENCE, exit=True)
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=limited) as pool:
        return pool.submit(function, *args, **kwargs).result()


def interleaved(*runs: Callable[[], object]) -> list[list[float]]:
    """Seconds of one call of each of *runs*: a list for each of them, with an entry per round. What is :class:`Checked` is looked at behind them.

    What counts is the time that the processor works for this process, so that what it does for others meanwhile is left out.
    """
    return _rounds(runs, ROUNDS, SECONDS, process_time)


def interleaved_by_the_wall(*runs: Callable[[], object]) -> list[list[float]]:
    """The same by the clock on the wall, as it has to be where threads or servers matter: many short rounds, since others do disturb some of them."""
    return _rounds(runs, 5 * ROUNDS, SECONDS / 5, perf_counter)


def _rounds(runs: Sequence[Callable[[], object]], rounds: int, seconds: float, clock: Callable[[], float]) -> list[list[float]]:
    numbers = [repetitions(run, seconds) for run in runs]
    times: list[list[float]] = [[] for _ in runs]
    end = perf_counter() + LONGEST
    for turn in range(rounds):
        if turn >= FEWEST and perf_counter() > end:
            break
        # Every other round goes backwards, so that none always runs behind the same other.
        for place in range(len(runs)) if turn % 2 else reversed(range(len(runs))):
            times[place].append(timed(runs[place], numbers[place], clock) / numbers[place])
    verify(*runs)
    return times


def ratio(times: Sequence[float], to: Sequence[float]) -> Figure:
    """How many times *to*, round by round, the contestant with *times* took."""
    return figure([one / other for one, other in zip(times, to, strict=True)])


def figure(values: Sequence[float]) -> Figure:
    """The median of *values*, and the quartiles around it."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Figure(middle, low, high)


def repetitions(run: Callable[[], object], seconds: float) -> int:
    number = 1
    while timed(run, number, perf_counter) < seconds:
        number *= 2
    return number


def timed(run: Callable[[], object], number: int, clock: Callable[[], float]) -> float:
    started = clock()
    for _ in range(number):
        run()
    return clock() - started
