"""The apps that the servers of these tests serve."""

import hashlib
import json
import resource
import threading
from collections.abc import Callable, Iterable
from typing import Any

import flask

from tests.apps import mirror, show
from wsgibatch import BatchMiddleware


def _stuck(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Waits for ever at ``/stuck``."""
    if environ["PATH_INFO"] == "/stuck":
        threading.Event().wait()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"quick"]


def _photos(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers an upload with the digests of its files, and with the most memory that this process has had so far, in bytes."""
    form = flask.Request(environ)
    files = {name: [file.filename, hashlib.file_digest(file.stream, "sha256").hexdigest()] for name, file in form.files.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    start_response("201 Created", [("Content-Type", "application/json")])
    return [json.dumps({"fields": form.form, "files": files, "peak": peak}).encode()]


sequential = BatchMiddleware(show)
threads = BatchMiddleware(show, executor="threads", workers=4)
mirrored = BatchMiddleware(mirror, dialect="django", max_requests=100, durations=False)
stuck = BatchMiddleware(_stuck)
photos = BatchMiddleware(_photos, dialect="django", executor="threads", workers=4, max_body=128 << 20)
