"""One item through a WSGI app: the server's side of PEP 3333.

An answer is validated as strictly as a request is: what a server would have to refuse, or would pass on to somebody's harm, becomes a 502 and
never reaches the envelope. Whatever the app raises becomes a 500 whose body says nothing of it; the traceback is logged once.
"""

import re
import signal
import traceback
from collections.abc import Callable, Iterable
from io import BytesIO
from time import perf_counter
from typing import Any

from ._inherit import MARK, URI_KEYS, template
from ._log import batch_log, escaped
from ._target import Fault
from ._vet import answer_in_place
from .model import Answers, Headers, Kind, SubRequest, SubResponse, Unit
from .protocols import Dialect
from .settings import Settings

WSGIApp = Callable[..., Iterable[bytes]]

_CRASHED = Fault(500, "app-failed", "The app failed to answer this request.")
_SPOILT = Fault(502, "bad-answer", "The app's answer is not valid HTTP.")
_ENDLESS = Fault(502, "answer-too-large", "The app's answer is larger than a batch may carry.")
_ENDING = Fault(503, "interrupted", "The server was interrupted before this request was started.")

# Clients announce a body of no bytes with these methods only (RFC 9110, section 8.6).
_ANNOUNCED = frozenset({"POST", "PUT", "PATCH"})
_EMPTY = frozenset({204, 304})

_STATUS = re.compile(r"([2-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?\Z")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
_TEXT = re.compile(r"text/|application/(?:[^;]+\+)?xml\b|application/(?:x-)?(?:javascript|www-form-urlencoded|yaml)\b", re.IGNORECASE)
_JSON = re.compile(r"application/(?:[^;\s]+\+)?json\s*(?:;|\Z)", re.IGNORECASE)

# Of the connection between a server and a client, which an item has not (PEP 3333, "Other HTTP Features").
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "trailers", "transfer-encoding", "upgrade"}
)
_SPECIAL = _HOP_BY_HOP | {"content-type", "content-length", "content-encoding"}


class InvalidAnswer(Exception):
    """What the app answered cannot be passed on; *fault* tells the client, the message the log."""

    def __init__(self, message: str, fault: Fault = _SPOILT) -> None:
        super().__init__(message)
        self.fault = fault


class Caller:
    """Calls an app for units of one batch, from any thread."""

    def __init__(self, app: WSGIApp, environ: dict[str, Any], dialect: Dialect, settings: Settings, concurrent: bool, received: float) -> None:
        """:param environ: of the batch request."""
        self._app, self._dialect, self._received = app, dialect, received
        self._template = template(environ, settings.keep_environ, concurrent)
        self._uri_keys = tuple(key for key in URI_KEYS if key in environ)
        self._before, self._after = settings.before_item, settings.after_item
        self._max_response = settings.max_response
        self._interrupted = False

    def __call__(self, unit: Unit) -> Answers:
        if len(unit) == 1:
            return (self._answer(unit[0]),)
        return tuple(map(self._answer, unit))

    def _answer(self, item: SubRequest) -> SubResponse:
        started = perf_counter()
        try:
            answer = self._asked(item)
        except BaseException as error:  # noqa: BLE001 - an item that fails, however it fails, fails alone
            answer = self._failed(item, error)
        answer.started = started - self._received
        answer.duration = perf_counter() - started
        return answer

    def _asked(self, item: SubRequest) -> SubResponse:
        if self._interrupted:
            return answer_in_place(self._dialect, _ENDING)
        environ = self._environ(item)
        answer = None if self._before is None else self._before(item, environ)
        if answer is None:
            answer = self._called(environ)
        if self._after is not None:
            self._after(item, answer)
        return answer

    def _environ(self, item: SubRequest) -> dict[str, Any]:
        environ = self._template.copy()
        body = item.body
        environ["REQUEST_METHOD"] = item.method
        environ["PATH_INFO"] = item.path
        environ["QUERY_STRING"] = item.query
        environ["wsgi.input"] = BytesIO(body)
        if body or item.method in _ANNOUNCED:
            environ["CONTENT_LENGTH"] = str(len(body))
        environ[MARK] = item.index
        for key in self._uri_keys:
            environ[key] = item.target
        if item.fields:
            environ.update(item.fields)
        return environ

    def _called(self, environ: dict[str, Any]) -> SubResponse:
        response = _Response(self._max_response)
        result = self._app(environ, response.start_response)
        try:
            body = response.body(result)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                _close(close)
        return response.validated(body, environ["REQUEST_METHOD"])

    def _failed(self, item: SubRequest, error: BaseException) -> SubResponse:
        if not isinstance(error, Exception) and _raised_by_signal(error):
            # So a server ends a worker that takes too long: what has not been started would keep it from ending.
            self._interrupted = True
        fault = error.fault if isinstance(error, InvalidAnswer) else _CRASHED
        told = (item.index, escaped(item.method), escaped(item.target), fault.code)
        batch_log.error("item %d: %s %s failed: %s", *told, exc_info=error)
        return answer_in_place(self._dialect, fault)


def _raised_by_signal(error: BaseException) -> bool:
    """Did a signal's handler raise *error* while the app happened to run, rather than the app itself?"""
    handlers = map(signal.getsignal, signal.valid_signals())
    codes = {getattr(getattr(handler, "__func__", handler), "__code__", None) for handler in handlers}
    return any(frame.f_code in codes for frame, _ in traceback.walk_tb(error.__traceback__))


def _close(close: Callable[[], object]) -> None:
    try:
        close()
    except Exception:
        # The answer is whole by now.
        batch_log.exception("closing an app's answer failed")


class _Response:
    """What an app says through ``start_response`` and ``write``, and in its iterable."""

    __slots__ = ("_chunks", "_headers", "_limit", "_size", "_status")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._status: Any = None
        self._headers: Any = None
        self._chunks: list[bytes] = []
        self._size = 0

    def start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
        if exc_info is not None:
            try:
                if self._size:
                    # A server would have sent the first status by now.
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self._status is not None:
            raise InvalidAnswer("start_response was called twice without exc_info")
        self._status, self._headers = status, headers
        return self.write

    def write(self, chunk: bytes) -> None:
        """A piece of the body; the first one that is not empty settles status and headers."""
        if not self._size and chunk:
            if self._status is None:
                raise InvalidAnswer("the body came before start_response was called")
            self._headers = list(self._headers)
        self._size += len(chunk)
        if self._size > self._limit:
            raise InvalidAnswer(f"the body has more than {self._limit} bytes", _ENDLESS)
        self._chunks.append(chunk)

    def body(self, result: Iterable[bytes]) -> bytes:
        """The whole body: what was written, and behind it what *result* yields."""
        if type(result) is list and len(result) == 1 and not self._chunks:
            self.write(result[0])
        else:
            for chunk in result:
                self.write(chunk)
        chunks = self._chunks
        whole = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if type(whole) is not bytes:
            raise InvalidAnswer("a chunk of the body is no bytes")
        return whole

    def validated(self, body: bytes, method: str) -> SubResponse:
        """The answer as a record, its status and headers checked.

        :raises InvalidAnswer: when they are not what HTTP allows.
        """
        if self._status is None:
            raise InvalidAnswer("start_response was not called")
        status, reason = _STATUSES.get(self._status) or _learnt_status(self._status)
        headers: Headers = []
        names: set[str] = set()
        kind: Kind = "text"
        coded = False
        for name, value in self._headers:
            lower = _NAMES.get(name) or _learnt_name(name)
            if not (type(value) is str and value.isascii() and value.isprintable()) and not (isinstance(value, str) and _VALUE.match(value)):
                raise InvalidAnswer(f"the value of the header {name} is not valid")
            if lower in _SPECIAL:
                if lower in _HOP_BY_HOP:
                    continue
                if lower == "content-type":
                    kind = _KINDS.get(value) or _learnt_kind(value)
                elif lower == "content-encoding":
                    coded = value.strip().lower() not in ("", "identity")
                elif method != "HEAD" and status != 304:
                    value = str(len(body))
            names.add(lower)
            headers.append((name, value))
        if coded:
            kind = "binary"
        if method == "HEAD" or status in _EMPTY:
            body = b""
        return SubResponse(status, reason, headers, body, kind, len(names) != len(headers))


_MEMORY = 1024

_STATUSES: dict[str, tuple[int, str]] = {}
_NAMES: dict[str, str] = {}
_KINDS: dict[str, Kind] = {}


def _learnt_status(line: Any) -> tuple[int, str]:
    found = _STATUS.match(line) if isinstance(line, str) else None
    if found is None:
        raise InvalidAnswer("the status is not a number from 200 to 599 and a reason")
    status = int(found[1]), found[2] or ""
    if len(_STATUSES) < _MEMORY:
        _STATUSES[line] = status
    return status


def _learnt_name(name: Any) -> str:
    if not (isinstance(name, str) and _NAME.match(name)):
        raise InvalidAnswer("the name of a header is not valid")
    if len(_NAMES) < _MEMORY:
        _NAMES[name] = name.lower()
    return name.lower()


def _learnt_kind(content_type: str) -> Kind:
    kind: Kind = "json" if _JSON.match(content_type) else "text" if _TEXT.match(content_type) else "binary"
    if len(_KINDS) < _MEMORY:
        _KINDS[content_type] = kind
    return kind
