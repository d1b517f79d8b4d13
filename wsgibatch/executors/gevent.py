"""A greenlet for each item that waits, under a server that runs on gevent.

Greenlets take turns only where one of them waits, so an item that computes holds up its whole process, and is late only once it waits again. One
that is late is stopped: ``gevent.GreenletExit`` is raised in it, and the log tells where it was waiting.
"""

from typing import Any

from .._limits import Ticket
from ..errors import ConfigError
from ..settings import Settings
from ._lanes import CrewExecutor
from ._pool import Job


class GeventExecutor(CrewExecutor["GreenletCrew"]):
    """The executor ``gevent``."""

    def __init__(self, settings: Settings) -> None:
        """:raises ConfigError: when gevent is not installed."""
        try:
            import gevent.monkey
            import gevent.pool
        except ImportError as error:
            raise ConfigError(f"executor: 'gevent' needs gevent ({error}): pip install 'wsgibatch[gevent]'") from error
        # A server may patch the process long after this, so whether it is patched is not asked before the first batch.
        super().__init__(settings.workers, lambda: GreenletCrew(gevent))


class GreenletCrew:
    """As many greenlets as there are pullers: one costs little, and holds nothing that could run out.

    :param gevent: the library.
    :raises RuntimeError: when it has not patched what the lanes and the items wait with.
    """

    def __init__(self, gevent: Any) -> None:
        if not (gevent.monkey.is_module_patched("threading") and gevent.monkey.is_module_patched("queue")):
            raise RuntimeError(
                "the executor 'gevent' needs a process that gevent has patched: serve the app with gunicorn --worker-class gevent,"
                " or call gevent.monkey.patch_all() first"
            )
        # No lock is needed: greenlets take turns only where they wait.
        self.left = 0
        self.worker = gevent.getcurrent
        self._greenlets = gevent.pool.Group()

    def start(self, job: Job, stand_in: bool = False) -> None:
        self._greenlets.spawn(job)

    def leave(self, ticket: Ticket, stop: bool) -> None:
        self.left += 1
        self._greenlets.discard(ticket.worker)
        if stop:
            ticket.worker.kill(block=False)

    def back(self, ticket: Ticket) -> None:
        self.left -= 1

    def close(self) -> None:
        """Wait for those that still run something; not for one that was left behind, since it may never end."""
        self._greenlets.join()
