"""An app that does what its path says, and most of what can be done wrong; it answers with what it has seen of its item, token and all.

A path is ``/<kind>/<token>``, and for what raises ``/raise/<token>/<where>/<what>``.
"""

import itertools
import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests import raising

LATE = 0.6
"""Seconds that an item takes which is late."""
LARGE = 20_000
"""Dots behind a large answer."""


ERRORS = raising.ERRORS | {"value-error": ValueError, "recursion": raising.endless}
WHERE = ("call", "write", "iteration", "close")


_numbers = itertools.count()
"""Of whatever begins or ends."""


class Run:
    """One run of an item, from when it came here until it was closed."""

    def __init__(self, transaction: Any) -> None:
        """:param transaction: of its group."""
        self.transaction = transaction
        self.began, self.ended = next(_numbers), -1

    def end(self) -> None:
        self.ended = next(_numbers)


class Body:
    """An answer that fails on its way, or when it is closed."""

    def __init__(self, data: bytes, where: str, what: str, run: Run) -> None:
        self._where, self._what, self._run = where, what, run
        self._pieces = iter((b"", data))

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = next(self._pieces, None)
        if piece is not None:
            return piece
        raise ERRORS[self._what]() if self._where == "iteration" else StopIteration

    def close(self) -> None:
        self._run.end()
        if self._where == "close":
            raise ERRORS[self._what]()  # noqa: RSE102 - it makes the error


# In a worker nobody else listens, and all would be printed.
logging.getLogger("wsgibatch").addHandler(logging.NullHandler())

ran: Counter[str] = Counter()
"""How often each token came here, until somebody takes it out."""
runs: dict[str, Run] = {}
"""How it came here last."""
TRANSACTION = "soak.transaction"
"""Where the environ of a member of a group has its transaction."""
_lock = threading.Lock()
# Whoever forks has it, so that it is free on both sides.
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def taken(token: str) -> int:
    """How often *token* came, and forget it."""
    with _lock:
        runs.pop(token, None)
        return ran.pop(token, 0)


def seen(token: str, method: str, headers: list[str | None], body: bytes) -> str:
    """What the app answers to an item that comes with these: whoever has sent it can tell whether it came as it was sent.

    :param headers: the values of ``Content-Type`` (of which a dialect may add the charset), ``X-Client`` and ``Idempotency-Key``.
    """
    told = " ".join(str(value).partition(";")[0] for value in headers)
    return f"{token} {method} {body.decode('latin-1')} {told}"


def headers_of(line: str, kind: str = "ok") -> list[tuple[str, str]]:
    """The headers of an answer to a path of this *kind*."""
    return [("Content-Type", "application/json" if kind == "json" else "text/plain"), ("X-Seen", line)]


def body_of(line: str, kind: str) -> bytes:
    """Its body, where nothing goes wrong; in JSON others can refer to its token."""
    if kind == "json":
        return b'{"of":"%s"}' % line.partition(" ")[0].encode()
    return line.encode() + b"." * (LARGE if kind == "large" else 0)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    token = environ["PATH_INFO"].split("/")[2]
    run = Run(environ.get(TRANSACTION))
    with _lock:
        ran[token] += 1
        runs[token] = run
    try:
        return _answer(environ, start_response, run)
    finally:
        run.end()


def _answer(environ: dict[str, Any], start_response: Callable[..., Any], run: Run) -> Iterable[bytes]:
    _, kind, token, *rest = environ["PATH_INFO"].split("/")
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    came = [environ.get(name) for name in ("CONTENT_TYPE", "HTTP_X_CLIENT", "HTTP_IDEMPOTENCY_KEY")]
    line = seen(token, environ["REQUEST_METHOD"], came, body)
    if kind == "late":
        time.sleep(LATE)
    elif kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "raise":
        return _failing(line, rest[0], rest[1], start_response, run)
    status = "404 Not Found" if kind == "missing" else "200 OK"
    start_response(status, headers_of(line, kind))
    return [body_of(line, kind)]


def _failing(line: str, where: str, what: str, start_response: Callable[..., Any], run: Run) -> Iterable[bytes]:
    if where == "call":
        raise ERRORS[what]()  # noqa: RSE102 - it makes the error
    write = start_response("200 OK", headers_of(line))
    if where == "write":
        write(line.encode())
        raise ERRORS[what]()  # noqa: RSE102 - it makes the error
    return Body(line.encode(), where, what, run)
