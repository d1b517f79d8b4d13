"""A pool of threads, one per process, that is made when the first batch needs it."""

from .._limits import Limits
from ..protocols import Lane, Work
from ..settings import Settings
from ._lanes import lane_of
from ._pool import PerProcess, ThreadCrew


class ThreadsExecutor:
    """The executor ``threads``."""

    concurrent = True
    can_leave = True
    app = None

    def __init__(self, settings: Settings) -> None:
        self._workers = settings.workers
        self._crews = PerProcess(lambda: ThreadCrew(settings.workers))

    @property
    def left(self) -> int:
        crew = self._crews.made()
        return crew.left if crew else 0

    def open(self, work: Work, limits: Limits) -> Lane:
        return lane_of(work, limits, self._crews.get(), self._workers)

    def close(self) -> None:
        crew = self._crews.pop()
        if crew is not None:
            crew.close()
