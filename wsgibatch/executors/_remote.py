"""Items that are answered elsewhere: the app that stands here in the place of theirs, and what is done there.

Only plain values cross. What an app raises does not, since nobody knows whether it can be pickled: its traceback crosses as text, and is logged
once, here.
"""

import sys
import traceback
from collections.abc import Callable, Iterable
from functools import cache
from io import BytesIO
from time import monotonic
from typing import IO, Any, TypeAlias
from wsgiref.util import FileWrapper

from .._answer import CRASHED, LATE, InvalidAnswer, Response, validated
from .._inherit import DEADLINE
from .._lookup import named
from ..model import SAFE, Fault

Task: TypeAlias = tuple[str, dict[str, Any], IO[bytes], int]
"""``worker_app``, an environ of plain values, a body at its start, and the bytes that the answer may have."""
Outcome: TypeAlias = tuple[bytes | None, Any, Any]
"""A body, a status line and headers; or None, a fault, and what the log is told."""
Send: TypeAlias = Callable[[Task, float | None], Outcome]
"""Has a worker :func:`run` a task, by a moment on the clock of :func:`time.monotonic`, and waits for what comes of it."""

_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})


class NotSent(InvalidAnswer):
    """Nobody has got the task, so it has not been run."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Fault(503, "no-worker", "Not run: there is no worker for this request."))


class WorkerDied(InvalidAnswer):
    """Who had the task has not answered, and never will. It may have been run."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Fault(502, "worker-died", "The worker of this request died. What the request was to do may have been done."))


class TooLate(InvalidAnswer):
    """The time of the item was up before a worker had begun with it, as far as can be told."""

    def __init__(self) -> None:
        super().__init__("no worker was free in time", LATE)


class RemoteApp:
    """A WSGI app that has its requests answered by another one elsewhere.

    :param worker_app: that other one, ``package.module:name``.
    :param limit: bytes that an answer may have.
    """

    def __init__(self, worker_app: str, send: Send, limit: int) -> None:
        self._worker_app, self._send, self._limit = worker_app, send, limit

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        plain = {key: value for key, value in environ.items() if key != DEADLINE and _is_plain(value)}
        body = environ["wsgi.input"]
        if not body.seekable():
            # Some hook has put it there, and it may have to be sent twice.
            body = BytesIO(body.read())
        task = self._worker_app, plain, body, self._limit
        until = environ.get(DEADLINE)
        try:
            answer, status, headers = self._send(task, until)
        except WorkerDied:
            if environ["REQUEST_METHOD"] not in SAFE:
                raise
            body.seek(0)
            answer, status, headers = self._send(task, until)
        if answer is None:
            raise InvalidAnswer(f"in its worker:\n{headers}", Fault(*status))
        start_response(status, headers)
        return [answer]


def _is_plain(value: object) -> bool:
    return type(value) in _PLAIN or (type(value) is tuple and all(map(_is_plain, value)))


def run(worker_app: str, environ: dict[str, Any], body: IO[bytes], limit: int, left: float | None = None) -> Outcome:
    """What a worker does for one item. Nothing is raised.

    :param left: seconds that the item has. The clocks of two machines have nothing to do with each other.
    """
    environ = {**environ, "wsgi.input": body, "wsgi.errors": sys.stderr, "wsgi.file_wrapper": FileWrapper, "wsgi.multiprocess": True}
    if left is not None:
        environ[DEADLINE] = monotonic() + left
    try:
        response = Response(limit)
        given = response.body(_app(worker_app)(environ, response.start_response))
        # What comes of it is plain, whatever the app made it of.
        answer = validated(response.status, response.headers, given, environ["REQUEST_METHOD"])
    except BaseException as error:
        fault = error.fault if isinstance(error, InvalidAnswer) else CRASHED
        return None, tuple(fault), traceback.format_exc()
    return answer.body, f"{answer.status} {answer.reason}", answer.headers


@cache
def _app(worker_app: str) -> Any:
    """The app of this process. One that cannot be had is looked for again."""
    return named(worker_app)
