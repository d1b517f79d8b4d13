"""Apps that any process can import, for executors whose items run elsewhere."""

import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.executors.gate import visit


class Body:
    """Tells the log when it is closed."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self._environ = environ

    def __iter__(self) -> Iterator[bytes]:
        yield self._environ["PATH_INFO"].encode()

    def close(self) -> None:
        note(self._environ, "end")


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    """Answers with its path, once the gate ``X-Gate`` has let it; the file ``X-Log`` is told when it begins and when it has ended.

    A number in the path is its status, and it fails in the way that the path says.
    """
    path = environ["PATH_INFO"]
    note(environ, "begin")
    if "HTTP_X_GATE" in environ:
        visit(environ["HTTP_X_GATE"], path.removeprefix("/"))
    for word in path.split("/"):
        if word in FAILURES:
            FAILURES[word](environ)
    status = next((word for word in path.split("/") if word.isdigit()), "200")
    start_response(f"{status} Told", [("Content-Type", "text/plain"), ("X-Process", str(os.getpid()))])
    return Body(environ)


def note(environ: dict[str, Any], what: str) -> None:
    """A line in the log. It is short, so it stands in there whole."""
    if "HTTP_X_LOG" in environ:
        log = os.open(environ["HTTP_X_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(log, f"{what} {environ['wsgibatch.item']} {environ['PATH_INFO']}\n".encode())
        os.close(log)


class Unpicklable(Exception):
    """Cannot cross to another process, nor be made anew there."""

    def __init__(self, one: object, two: object) -> None:
        super().__init__("a secret")
        self.lock = threading.Lock()


def _raises(environ: dict[str, Any]) -> None:
    raise ValueError("a secret")


def _unpicklable(environ: dict[str, Any]) -> None:
    raise Unpicklable(1, 2)


def _exits(environ: dict[str, Any]) -> None:
    raise SystemExit("a secret")


def _interrupts(environ: dict[str, Any]) -> None:
    raise KeyboardInterrupt


def _dies(environ: dict[str, Any]) -> None:
    os._exit(3)


def _forks(environ: dict[str, Any], fork: Callable[[], int] = os.fork) -> None:
    if not fork():
        try:
            visit(environ["HTTP_X_GATE"], "child")
        finally:
            os._exit(0)


def _orphans(environ: dict[str, Any]) -> None:
    # As an extension does it, of which Python is not told: the child holds on to all that was open.
    _forks(environ, ctypes.PyDLL(None).fork)
    os._exit(3)


FAILURES = {
    "forks": _forks,
    "orphans": _orphans,
    "raises": _raises,
    "unpicklable": _unpicklable,
    "exits": _exits,
    "interrupts": _interrupts,
    "dies": _dies,
}


def spoilt(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers what is no HTTP."""
    start_response("200 OK", [("X-A", "a\r\nb")])
    return [b""]


def endless(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers for as long as it is listened to."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    while True:
        yield b"x" * 1000


def patient(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers with the seconds that it has left."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(environ["wsgibatch.deadline"] - time.monotonic()).encode()]


def printing(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Says something on every way out, and reads what it finds on the way in."""
    print("printed")
    os.write(1, b"written\n")
    environ["wsgi.errors"].write("told\n")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.read(0, 10)]


not_an_app = 42
