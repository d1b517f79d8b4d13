"""What an app answered: the other end of ``start_response``, and the checks that make a record of it.

An answer is validated as strictly as a request is: what a server would have to refuse, or would pass on to somebody's harm, never reaches the
envelope. The same few names, status lines and content types come again and again, so what was learnt of them is kept in bounded memories; values
that may be secret never are.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from ._grammar import DIGITS, TOKEN, VALUE
from ._limits import Ticket
from ._log import log_unclosed
from .model import Fault, Headers, Kind, SubResponse

CRASHED = Fault(500, "app-failed", "The app failed to answer this request.")
SPOILT = Fault(502, "bad-answer", "The app's answer is not valid HTTP.")
ENDLESS = Fault(502, "answer-too-large", "The app's answer is larger than a batch may carry.")
LATE = Fault(504, "timed-out", "This request was not answered in time. It may still be running.")

_EMPTY = frozenset({204, 304})
_STATUS = re.compile(r"([2-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?\Z")
_FOREIGN = re.compile(r";\s*charset\s*=\s*(?!\"?(?:utf-?8|us-ascii)\b)", re.IGNORECASE)
_TEXT = re.compile(r"text/|application/(?:[^;]+\+)?xml\b|application/(?:x-)?(?:javascript|www-form-urlencoded|yaml)\b", re.IGNORECASE)
_JSON = re.compile(r"application/(?:[^;\s]+\+)?json\s*(?:;|\Z)", re.IGNORECASE)

# Of the connection between a server and a client, which an item has not (PEP 3333, "Other HTTP Features").
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "trailers", "transfer-encoding", "upgrade"}
)
_UNREMEMBERED = _HOP_BY_HOP | {"content-encoding"}
"""Names that mean more than their value; as they are never learnt, an answer with any of them is looked at twice."""
_SINGLE = frozenset({"content-type", "content-length"})


class InvalidAnswer(Exception):
    """What the app answered cannot be passed on: *fault* tells the client, the message tells the log."""

    def __init__(self, message: str, fault: Fault = SPOILT) -> None:
        super().__init__(message)
        self.fault = fault


class Response(Struct, gc=False):
    """What an app says through ``start_response`` and ``write``, and in its iterable (PEP 3333).

    It holds strings and bytes that lead to nothing else, so the collector need not follow it.
    """

    limit: int
    """Bytes that the body may have."""
    ticket: Ticket | None = None
    """Tells whether anybody still waits for it."""
    status: Any = None
    headers: Any = None
    _size: int = 0
    _chunks: list[bytes] | None = None

    def start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
        if exc_info is not None:
            try:
                if self._size:
                    # A server would have sent the first status by now.
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.status is not None:
            raise InvalidAnswer("start_response was called twice without exc_info")
        self.status, self.headers = status, headers
        return self.write

    def write(self, chunk: bytes) -> None:
        """A piece of the body; the first one that is not empty settles status and headers."""
        if type(chunk) is not bytes:
            raise InvalidAnswer("a piece of the body is no bytes")
        if not self._size and chunk:
            if self.status is None:
                raise InvalidAnswer("the body came before start_response was called", CRASHED)
            self.headers = list(self.headers)
        self._size += len(chunk)
        if self.ticket is not None and self.ticket.left:
            # A thread cannot be stopped, but here it comes by.
            raise InvalidAnswer("the rest of the body was not read any more", LATE)
        if self._size > self.limit:
            raise InvalidAnswer(f"the body has more than {self.limit} bytes", ENDLESS)
        if self._chunks is None:
            self._chunks = []
        self._chunks.append(chunk)

    def body(self, result: Iterable[bytes]) -> bytes:
        """The whole body: what was written, and behind it what *result* yields. *result* is closed, whatever happens."""
        if type(result) is list and len(result) == 1 and self._chunks is None:
            # What most apps return has nothing to close and changes no more.
            chunk = result[0]
            if type(chunk) is bytes and len(chunk) <= self.limit:
                return chunk
        try:
            for chunk in result:
                self.write(chunk)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                _close(close)
        return b"".join(self._chunks or ())


def _close(close: Callable[[], object]) -> None:
    try:
        close()
    except Exception as error:
        log_unclosed(error)


def validated(line: Any, headers: Any, body: bytes, method: str) -> SubResponse:
    """An app's status line, headers and body as a record.

    :raises InvalidAnswer: when they are not what PEP 3333 and HTTP allow.
    """
    if line is None:
        raise InvalidAnswer("start_response was not called", CRASHED)
    status, reason = _statuses.get(line) or _learnt_status(line)
    kept: Headers = []
    kind: Kind | None = None
    length = None
    plain = True
    try:
        for written, value in headers:
            known = _names.get(written)
            if known is None:
                known, plain = _learnt_name(written), False
            name, lower = known
            if lower == "content-type":
                learnt = _kinds.get(value)
                if learnt is None or kind is not None:
                    learnt, plain = _learnt_kind(value), False
                value, found = learnt
                kind = kind or found
            elif lower == "content-length":
                plain = plain and length is None
                value = length = _careful_length(value) if method == "HEAD" or status == 304 else str(len(body))
            elif not (type(value) is str and value.isascii() and value.isprintable()):
                value = _careful_value(name, value)
            kept.append((name, value))
    except (TypeError, ValueError) as error:
        raise InvalidAnswer("the headers are no list of pairs") from error
    if method == "HEAD" or status in _EMPTY:
        body = b""
    answer = SubResponse(status, reason, kept, body, kind or "text")
    return answer if plain and status != 204 else _tidied(answer)


def _tidied(answer: SubResponse) -> SubResponse:
    """*answer* without what an item has no use for, where there may be any; the plain answers of most apps need not be looked through."""
    dropped = _HOP_BY_HOP | ({"content-length"} if answer.status == 204 else set())
    kept: Headers = []
    names: set[str] = set()
    for name, value in answer.headers:
        lower = name.lower()
        if lower in dropped or (lower in _SINGLE and lower in names):
            continue
        names.add(lower)
        kept.append((name, value))
        if lower == "content-encoding" and value.strip().lower() not in ("", "identity"):
            answer.kind = "binary"
        if lower == "content-type" and _FOREIGN.search(value) and not answer.body.isascii():
            # In another charset the same bytes are another text.
            answer.kind = "binary"
    answer.headers = kept
    answer.respelt = len(names) < len({name for name, _ in kept})
    return answer


_MEMORY = 1024
_LONGEST = 256
"""Characters of what is remembered, so that the memories stay small whatever comes."""

_statuses: dict[str, tuple[int, str]] = {}
_names: dict[str, tuple[str, str]] = {}
_spellings: dict[str, str] = {}
_kinds: dict[str, tuple[str, Kind]] = {}


def _learnt_status(line: Any) -> tuple[int, str]:
    found = _STATUS.match(line) if isinstance(line, str) else None
    if found is None:
        raise InvalidAnswer("the status is not a number from 200 to 599 and a reason")
    status = int(found[1]), found[2] or ""
    if len(_statuses) < _MEMORY and len(line) <= _LONGEST:
        _statuses[found[0]] = status
    return status


def _learnt_name(written: Any) -> tuple[str, str]:
    """A header's name as it is and in lower case; both plain strings, whatever subclass the app wrote it in.

    Only one spelling of a name is remembered. So names that are remembered mean the same only if they are equal.
    """
    found = TOKEN.match(written) if isinstance(written, str) else None
    if found is None:
        raise InvalidAnswer("the name of a header is not valid")
    learnt = name, lower = found[0], found[0].lower()
    if lower not in _UNREMEMBERED and len(_names) < _MEMORY and len(name) <= _LONGEST and _spellings.setdefault(lower, name) == name:
        _names[name] = learnt
    return learnt


def _careful_value(name: str, value: Any) -> str:
    found = VALUE.match(value) if isinstance(value, str) else None
    if found is None:
        raise InvalidAnswer(f"the value of the header {name} is not valid")
    return found[0]


def _careful_length(value: Any) -> str:
    found = DIGITS.match(value) if isinstance(value, str) else None
    if found is None:
        raise InvalidAnswer("Content-Length is no number")
    return found[0]


def _learnt_kind(content_type: Any) -> tuple[str, Kind]:
    value = _careful_value("Content-Type", content_type)
    learnt: tuple[str, Kind] = value, "json" if _JSON.match(value) else "text" if _TEXT.match(value) else "binary"
    if len(_kinds) < _MEMORY and len(value) <= _LONGEST and not _FOREIGN.search(value):
        _kinds[value] = learnt
    return learnt
