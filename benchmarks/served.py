"""What is served, and how."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.servers import run
from wsgibatch import BatchMiddleware

from . import ROOT, apps


@contextmanager
def gunicorn(what: str) -> Iterator[str]:
    """The base url of a gunicorn that serves *what*, a call of something here, with one process and threads; connections may rest for a minute."""
    with run.gunicorn("--worker-class", "gthread", "--threads", "8", "--keep-alive", "60", f"{__name__}:{what}", cwd=ROOT) as base:
        yield base


def make(name: str) -> BatchMiddleware:
    """The app of that name behind a batch endpoint."""
    return BatchMiddleware(apps.load(name).app, max_requests=10_000)


def bridged() -> BatchMiddleware:
    """The app of :mod:`benchmarks.contestants.fastapi_loopback`, brought to WSGI by a2wsgi, behind a batch endpoint."""
    from a2wsgi import ASGIMiddleware

    from .contestants import fastapi_loopback

    # Two libraries have two types for the same thing.
    app: Any = fastapi_loopback.app
    return BatchMiddleware(ASGIMiddleware(app), max_requests=10_000)
