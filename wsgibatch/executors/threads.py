"""A pool of threads, one per process, that is made when the first batch needs it."""

from ..settings import Settings
from ._lanes import CrewExecutor
from ._pool import ThreadCrew


class ThreadsExecutor(CrewExecutor[ThreadCrew]):
    """The executor ``threads``."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.workers, lambda: ThreadCrew(settings.workers))
