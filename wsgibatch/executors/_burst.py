"""Reporting in bursts: a hop through the story for each short unit would cost more than the unit."""

from collections import deque
from collections.abc import Callable

from ..model import Answers, Done, Unit

SECONDS = 0.001
"""Time in the app after which a burst ends, so that long units are told of at once."""
BYTES = 64 << 10
"""Bytes of answers after which it ends whatever the time, so that large answers are soon written and let go of."""


def burst(waiting: deque[Unit], call: Callable[[Unit], Answers]) -> list[Done]:
    """Run units from *waiting*, which other threads may be emptying too, until it is empty or it is time to report."""
    done: list[Done] = []
    spent, size = 0.0, 0
    while spent < SECONDS and size < BYTES:
        try:
            unit = waiting.popleft()
        except IndexError:
            break
        answers = call(unit)
        done.append((unit, answers))
        for answer in answers:
            spent += answer.duration
            size += len(answer.body)
    return done
