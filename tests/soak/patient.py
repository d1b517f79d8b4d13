"""What a server serves whose clients are slow: three batch endpoints, and what its process holds, at ``/held``.

An item ``/lines/<token>/<count>`` is written down each time that it runs, and answered with that many numbered lines of its token; one at
``/wait/<token>/<count>`` waits before it answers until somebody has been at ``/go``.
"""

import ctypes
import gc
import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.soak.listening import Listener
from wsgibatch import BatchMiddleware

_notes = os.open(Path(os.environ["FOLDER"]) / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
_go = threading.Event()
_in_hand: set[object] = set()
"""The calls for batches of slow clients whose answers the server has not closed."""
_listener = Listener()
_listener.attach(logging.WARNING)


def _lines(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    _, kind, token, count = environ["PATH_INFO"].split("/")
    os.write(_notes, f"{token}\n".encode())
    if kind == "wait":
        _go.wait()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return ["".join(f"{token} {number:>40}\n" for number in range(int(count))).encode()]


_ENDPOINTS = {
    "/whole": BatchMiddleware(_lines, path="/whole"),
    "/streamed": BatchMiddleware(_lines, path="/streamed", stream=True),
    "/pooled": BatchMiddleware(_lines, path="/pooled", stream=True, executor=os.environ["EXECUTOR"], workers=4),
}


def site(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path in _ENDPOINTS:
        return _Answer(_ENDPOINTS[path], environ, start_response)
    if path == "/go":
        _go.set()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(_held()).encode()]


class _Answer:
    """The answer of an endpoint; that to a slow client is in hand until the server closes it."""

    def __init__(self, endpoint: BatchMiddleware, environ: dict[str, Any], start_response: Callable[..., Any]) -> None:
        if "HTTP_X_SLOW" in environ:
            _in_hand.add(self)
        try:
            self._body = endpoint(environ, start_response)
        except BaseException:
            _in_hand.discard(self)
            raise

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        _in_hand.discard(self)
        if hasattr(self._body, "close"):
            self._body.close()


def _held() -> dict[str, Any]:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "pid": os.getpid(),
        "threads": len([*Path("/proc/self/task").iterdir()]),
        "descriptors": len([*Path("/proc/self/fd").iterdir()]),
        "bytes": pages * os.sysconf("SC_PAGE_SIZE"),
        "in_hand": len(_in_hand),
        "logged": [repr(error) for error in _listener.kept],
    }
