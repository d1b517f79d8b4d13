"""One unit after the other, in the thread of the batch request: no pool, no hand-over, nothing to wait for."""

from collections import deque
from collections.abc import Sequence

from .._limits import Limits, Ticket
from ..model import Done, Unit
from ..protocols import Lane, Work
from ..settings import Settings
from ._burst import burst


class SequentialExecutor:
    """The executor ``sequential``."""

    concurrent = False
    can_leave = False
    left = 0
    app = None

    def __init__(self, settings: Settings) -> None:
        """There is nothing to set."""

    def open(self, work: Work, limits: Limits) -> Lane:
        return SteppingLane(work, limits) if limits.watched else SequentialLane(work)

    def close(self) -> None:
        """There is nothing to give back."""


class SequentialLane:
    """Runs what was spawned while it is waited for."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._waiting: deque[Unit] = deque()

    def spawn(self, units: Sequence[Unit]) -> None:
        self._waiting.extend(units)

    def wait(self) -> list[Done]:
        return burst(self._waiting, self._work.call)

    def ready(self) -> bool:
        return False

    def close(self) -> None:
        self._waiting.clear()


class SteppingLane(SequentialLane):
    """Looks at the time before each unit, and between the items of a group; hands out the answers to a unit before it takes the next."""

    def __init__(self, work: Work, limits: Limits) -> None:
        super().__init__(work)
        self._limits = limits

    def wait(self) -> list[Done]:
        if self._limits.over():
            units = [*self._waiting]
            self._waiting.clear()
            return [(unit, self._work.unstarted(unit)) for unit in units]
        unit = self._waiting.popleft()
        return [(unit, self._work.call(unit, Ticket(unit, self._limits)))]
