"""A batch that stops at its first failure, where its units are run in order: they can all be spawned at once, and none behind a failure is run."""

from ._limits import Ticket
from .model import Answers, Unit
from .protocols import Work


class Stopping:
    """Does the work on the units of one batch up to the first that fails; those behind it have no answers. It stands before all other work."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.late = work.late
        self._stopped = False

    def call(self, unit: Unit, ticket: Ticket | None = None) -> Answers:
        return () if self._stopped else self._heeded(self._work.call(unit, ticket))

    def unstarted(self, unit: Unit) -> Answers:
        return () if self._stopped else self._heeded(self._work.unstarted(unit))

    def _heeded(self, answers: Answers) -> Answers:
        self._stopped = any(answer.status >= 400 for answer in answers)
        return answers
