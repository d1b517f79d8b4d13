"""The apps that the servers of these tests serve."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
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


def _noting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Notes its path in the file ``ran``, and waits at ``/wait`` until there is a file ``go``."""
    path, folder = environ["PATH_INFO"], Path(os.environ["FOLDER"])
    with (folder / "ran").open("a") as ran:
        print(path, file=ran)
    while path == "/wait" and not (folder / "go").exists():
        time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [path.encode(), b" " * 10_000]


def _photos(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers an upload with the digests of its files, and with the most bytes that this process and the one that started it have held so far."""
    form = flask.Request(environ)
    streams: dict[str, Any] = {name: file.stream for name, file in form.files.items()}
    files = {name: [form.files[name].filename, hashlib.file_digest(stream, "sha256").hexdigest()] for name, stream in streams.items()}
    peaks = [_peak(process) for process in (os.getpid(), os.getppid())]
    start_response("201 Created", [("Content-Type", "application/json")])
    return [json.dumps({"fields": form.form, "files": files, "peaks": peaks}).encode()]


def _peak(process: int) -> int:
    [line] = [line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) << 10


sequential = BatchMiddleware(show)
threads = BatchMiddleware(show, executor="threads", workers=4)
mirrored = BatchMiddleware(mirror, dialect="django", max_requests=100, durations=False)
stuck = BatchMiddleware(_stuck)
streaming = BatchMiddleware(_noting, max_requests=1000, stream=True)
photos = BatchMiddleware(_photos, dialect="django", executor="threads", workers=4, max_body=128 << 20)
photos_elsewhere = BatchMiddleware(
    _photos, dialect="django", executor="processes", workers=1, worker_app="tests.servers.site:_photos", max_body=128 << 20
)
