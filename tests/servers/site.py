"""The apps that the servers of these tests serve."""

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.apps import mirror, show
from wsgibatch import BatchMiddleware


def _stuck(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Waits for ever at ``/stuck``."""
    if environ["PATH_INFO"] == "/stuck":
        threading.Event().wait()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"quick"]


def _noting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Notes its path in the file ``ran``, and waits at ``/wait`` until there is a file ``go``."""
    path, folder = environ["PATH_INFO"], Path(os.environ["FOLDER"])
    with (folder / "ran").open("a") as ran:
        print(path, file=ran)
    while path == "/wait" and not (folder / "go").exists():
        time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [path.encode(), b" " * 10_000]


sequential = BatchMiddleware(show)
threads = BatchMiddleware(show, executor="threads", workers=4)
mirrored = BatchMiddleware(mirror, dialect="django", max_requests=100, durations=False)
stuck = BatchMiddleware(_stuck)
streaming = BatchMiddleware(_noting, max_requests=1000, stream=True)
