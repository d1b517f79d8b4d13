"""One unit after the other, in the thread of the batch request: no pool, no hand-over, nothing to wait for."""

from collections import deque
from collections.abc import Sequence

from ..model import Done, Unit
from ..protocols import Call, Lane
from ..settings import Settings
from ._burst import burst


class SequentialExecutor:
    """The executor ``sequential``."""

    concurrent = False

    def __init__(self, settings: Settings) -> None:
        """There is nothing to set."""

    def open(self, call: Call) -> Lane:
        return SequentialLane(call)

    def close(self) -> None:
        """There is nothing to give back."""


class SequentialLane:
    """Runs what was spawned while it is waited for."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._waiting: deque[Unit] = deque()

    def spawn(self, units: Sequence[Unit]) -> None:
        self._waiting.extend(units)

    def wait(self) -> list[Done]:
        return burst(self._waiting, self._call)

    def close(self) -> None:
        self._waiting.clear()
