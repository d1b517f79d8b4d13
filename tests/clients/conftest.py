"""Servers for the clients."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from benchmarks.answers import Unable
from benchmarks.apart import environment
from benchmarks.contestants.flask_batch import PACKAGES
from tests.servers.run import free_port, gunicorn, running

DIALECTS = ("multipart", "django", "graph", "odata", "aggregator", "kinto", "facebook")


class Server(NamedTuple):
    """A gunicorn with a batch endpoint."""

    base: str
    dialect: str

    @property
    def batch(self) -> str:
        return self.base + "/batch"

    def posts(self) -> int:
        """The batches that it has been sent."""
        return self.seen().get("/batch", 0)

    def seen(self) -> dict[str, int]:
        """The requests that it has been sent, by their path."""
        found: dict[str, int] = requests.get(self.base + "/seen", timeout=10).json()
        return found


@pytest.fixture(scope="session", params=DIALECTS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One for each dialect."""
    with gunicorn("--worker-class", "gthread", "--threads", "8", f"tests.clients.site:make({request.param!r})") as base:
        yield Server(base, request.param)


@pytest.fixture(scope="session")
def multipart_server() -> Iterator[Server]:
    """For what has nothing to do with a dialect."""
    with gunicorn("--worker-class", "gthread", "--threads", "8", "tests.clients.site:make('multipart')") as base:
        yield Server(base, "multipart")


@pytest.fixture(scope="session")
def flask_batch_server() -> Iterator[str]:
    """The base url of the server of Flask-Batch as it comes from PyPI, among packages of its time."""
    try:
        python = environment(PACKAGES)
    except Unable as reason:
        pytest.skip(f"no environment for Flask-Batch can be made here: {reason}")
    port = free_port()
    with running([str(python), str(Path(__file__).with_name("old_server.py")), str(port)], port) as base:
        yield base
