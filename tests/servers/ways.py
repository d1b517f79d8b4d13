"""An app with a batch endpoint for each executor and each way to use it, for servers that are to stand all of them.

It keeps notes, in the memory of its process, and has two places where an item waits: ``/late`` for ever, ``/gate/<port>`` until the gate there is
opened.
"""

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

from tests.servers.gate import pass_gate
from wsgibatch import BatchMiddleware

_notes: dict[str, str] = {}


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    _, kind, name = f"{environ['PATH_INFO']}/".split("/", 2)
    status, answer = "200 OK", "fine"
    if kind == "late":
        threading.Event().wait()
    elif kind == "gate":
        pass_gate(int(name.strip("/")))
    elif kind == "pid":
        answer = str(os.getpid())
    elif kind == "notes":
        answer = _note(environ, name)
        status = "200 OK" if answer else "404 Not Found"
    start_response(status, [("Content-Type", "text/plain")])
    return [answer.encode()]


def _note(environ: dict[str, Any], name: str) -> str:
    if environ["REQUEST_METHOD"] == "POST":
        added = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode()
        _notes[name] = _notes.get(name, "") + added
    elif environ["REQUEST_METHOD"] == "DELETE":
        return _notes.pop(name, "")
    return _notes.get(name, "")


SECONDS = 1.0
"""Of the limited endpoints."""
EXECUTORS = ("sequential", "threads", "gevent")
WAYS: dict[str, dict[str, Any]] = {"plain": {}, "limited": {"timeout": SECONDS}, "streamed": {"stream": True}}

_endpoints = {
    path: BatchMiddleware(app, path=path, executor=executor, workers=4, **settings)
    for executor in EXECUTORS
    for way, settings in WAYS.items()
    # It cannot leave an item behind.
    if (executor, way) != ("sequential", "limited")
    for path in [f"/{executor}/{way}"]
}


def site(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The app, or the batch endpoint ``/<executor>/<way>``."""
    answer: Iterable[bytes] = _endpoints.get(environ["PATH_INFO"], app)(environ, start_response)
    return answer
