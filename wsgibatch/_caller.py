"""One item through a WSGI app: the server's side of PEP 3333.

Whatever the app raises becomes a 500 whose body says nothing of it; the traceback is logged once.
"""

import signal
import traceback
from collections.abc import Callable, Iterable
from copy import copy
from io import BytesIO
from time import monotonic, perf_counter
from typing import Any

from ._answer import CRASHED, LATE, InvalidAnswer, Response, validated
from ._inherit import DEADLINE, MARK, URI_KEYS, template
from ._limits import Limits, Ticket
from ._log import log_failure
from ._vet import answer_in_place
from .model import Answers, Fault, SubRequest, SubResponse, Unit
from .protocols import Dialect
from .settings import Settings

WSGIApp = Callable[..., Iterable[bytes]]

_UNSTARTED = Fault(504, "not-started", "Not run: the time of the batch was up, or requests that were started before it did not end.")
_ENDING = Fault(503, "interrupted", "The server was interrupted before this request was started.")

# What each item says itself. It is cheaper to replace what is there than to add to it.
_REPLACED = {"REQUEST_METHOD": "", "PATH_INFO": "", "QUERY_STRING": "", "wsgi.input": None, MARK: 0}

# Clients announce a body of no bytes with these methods only (RFC 9110, section 8.6).
_ANNOUNCED = frozenset({"POST", "PUT", "PATCH"})


class Caller:
    """Calls an app for units of one batch, from any thread."""

    def __init__(
        self, app: WSGIApp, environ: dict[str, Any], dialect: Dialect, settings: Settings, limits: Limits, concurrent: bool, received: float
    ) -> None:
        """
        :param environ: of the batch request.
        :param concurrent: may items run at the same time?
        :param received: when the batch came, on the clock of :func:`time.perf_counter`.
        """
        self._app, self._dialect, self._limits, self._received = app, dialect, limits, received
        self._template = template(environ, settings, concurrent) | _REPLACED
        self._uri_keys = [key for key in URI_KEYS if key in environ]
        self._before, self._after = settings.before_item, settings.after_item
        self._limit = settings.max_response
        self._timed = limits.end(0.0) is not None

    def call(self, unit: Unit, ticket: Ticket | None = None) -> Answers:
        if len(unit) == 1:
            return (self.answer(unit[0], ticket),)
        return tuple(self.answer(item, ticket) for item in unit)

    def late(self, ticket: Ticket) -> Answers:
        running = monotonic() - ticket.started
        answers = tuple(self.in_place(LATE) for _ in ticket.unit)
        for answer in answers:
            answer.started, answer.duration = answer.started - running, running
        return answers

    def unstarted(self, unit: Unit) -> Answers:
        return tuple(self.in_place(_UNSTARTED) for _ in unit)

    def in_place(self, fault: Fault) -> SubResponse:
        """The answer to an item that turns out now not to reach the app."""
        answer = answer_in_place(self._dialect, fault)
        answer.started = perf_counter() - self._received
        return answer

    def heed(self, error: BaseException) -> None:
        """Start nothing more, if *error* is how a server ends a worker that takes too long: it would keep it from ending."""
        if not isinstance(error, Exception) and _raised_by_signal(error):
            self._app = _interrupted

    def answer(self, item: SubRequest, ticket: Ticket | None = None) -> SubResponse:
        """One item. Nothing is raised."""
        started = perf_counter()
        try:
            environ = self._environ(item)
            if self._before is None or (answer := self._asked(item, environ)) is None:
                response = Response(self._limit, ticket)
                body = response.body(self._app(environ, response.start_response))
                answer = validated(response.status, response.headers, body, item.method)
        except BaseException as error:
            answer = self._failed(item, error)
        answer.started = started - self._received
        answer.duration = perf_counter() - started
        return answer if self._after is None else self._followed(item, answer)

    def _asked(self, item: SubRequest, environ: dict[str, Any]) -> SubResponse | None:
        """What ``before_item`` answers in the app's place, if it does."""
        # A copy, since the batch goes by what the record says.
        answer = self._before(copy(item), environ)
        return None if answer is None else self._checked(answer, item)

    def _followed(self, item: SubRequest, answer: SubResponse) -> SubResponse:
        """*answer* after ``after_item``, which may change it but not when it came."""
        started, duration = answer.started, answer.duration
        try:
            self._after(copy(item), answer)
            answer = self._checked(answer, item)
        except BaseException as error:
            answer = self._failed(item, error)
        answer.started, answer.duration = started, duration
        return answer

    def _checked(self, answer: Any, item: SubRequest) -> SubResponse:
        """What a hook answered or changed, validated as the app's answer is."""
        if not isinstance(answer, SubResponse):
            raise TypeError(f"before_item gave {answer!r}, which is neither a SubResponse nor None")
        response = Response(self._limit)
        response.start_response(f"{answer.status} {answer.reason}", answer.headers)
        return validated(response.status, response.headers, response.body([answer.body]), item.method)

    def _environ(self, item: SubRequest) -> dict[str, Any]:
        environ = self._template.copy()
        body = item.body
        environ["REQUEST_METHOD"] = item.method
        environ["PATH_INFO"] = item.path
        environ["QUERY_STRING"] = item.query
        environ["wsgi.input"] = BytesIO(body)
        environ[MARK] = item.index
        if body or item.method in _ANNOUNCED:
            environ["CONTENT_LENGTH"] = str(len(body))
        for key in self._uri_keys:
            environ[key] = item.target
        if self._timed:
            environ[DEADLINE] = self._limits.end(monotonic())
        if item.fields:
            environ |= item.fields
            # A form has its type among them.
            if item.form is not None:
                environ["wsgi.input"], environ["CONTENT_LENGTH"] = item.form.open(), str(len(item.form))
        return environ

    def _failed(self, item: SubRequest, error: BaseException) -> SubResponse:
        self.heed(error)
        fault = error.fault if isinstance(error, InvalidAnswer) else CRASHED
        log_failure(item, fault.code, error)
        return answer_in_place(self._dialect, fault)


def _raised_by_signal(error: BaseException) -> bool:
    """Did a signal's handler raise *error* while the app happened to run, rather than the app itself?"""
    handlers = map(signal.getsignal, signal.valid_signals())
    codes = {getattr(getattr(handler, "__func__", handler), "__code__", None) for handler in handlers}
    return any(frame.f_code in codes for frame, _ in traceback.walk_tb(error.__traceback__))


def _interrupted(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Stands in the place of an app whose server is ending."""
    raise InvalidAnswer("the server was interrupted", _ENDING)
