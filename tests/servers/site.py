"""The apps that the servers of these tests serve."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from tests.apps import mirror, show
from wsgibatch import BatchMiddleware


def _stuck(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Waits for ever at ``/stuck``."""
    if environ["PATH_INFO"] == "/stuck":
        threading.Event().wait()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"quick"]


sequential = BatchMiddleware(show)
threads = BatchMiddleware(show, executor="threads", workers=4)
mirrored = BatchMiddleware(mirror, dialect="django", max_requests=100, durations=False)
stuck = BatchMiddleware(_stuck)
