"""Processes, for each process of the server, that are made when batches need them.

Hooks, time limits and the order of a batch stay here, in threads that wait for the workers.
"""

from .._limits import Ticket
from ..errors import ConfigError
from ..settings import Settings
from ._lanes import CrewExecutor
from ._pool import ThreadCrew
from ._remote import NotSent, Outcome, RemoteApp, Task
from ._workers import Workers


class ProcessesExecutor(CrewExecutor["ProcessCrew"]):
    """The executor ``processes``."""

    def __init__(self, settings: Settings) -> None:
        if settings.worker_app is None:
            raise ConfigError("worker_app: the executor 'processes' needs to know what its workers import, such as 'shop:app'")
        super().__init__(settings.workers, lambda: ProcessCrew(settings.workers))
        self.app = RemoteApp(settings.worker_app, self._run, settings.max_response)

    def _run(self, task: Task, until: float | None) -> Outcome:
        crew = self.crews.made()
        if crew is None:
            raise NotSent("the executor was closed meanwhile")
        return crew.workers.run(task, until)


class ProcessCrew(ThreadCrew):
    """Threads, and as many processes."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        # A worker that is held up is replaced.
        self.workers = Workers(lambda: most + self.left)

    def leave(self, ticket: Ticket, stop: bool) -> None:
        super().leave(ticket, stop)
        self.workers.look_again()

    def close(self) -> None:
        super().close()
        self.workers.close()
