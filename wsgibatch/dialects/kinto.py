"""Kinto: ``{"requests": [{"path", "method", "headers", "body"}, ...], "defaults": {...}}``, where only paths have to be given.

What a request leaves out and ``defaults`` has is filled in, member by member in headers and bodies; the batch so written in full has to keep
to ``max_body`` as well. A body is an object and is sent as JSON, and an empty one is none. The answer is ``{"responses": [...]}``, in request
order: each has its ``status``, the ``path`` where it was sent (decoded, without the query), ``headers`` and ``body``. Kinto's clients look into
every body without asking what it is, so an empty one is an empty object, and an error or a redirect that is no JSON is told in an object as well.

Where the setting ``atomic`` says how, a batch is one transaction: an item that answers 500 or more undoes all, and what it answered becomes the
answer to the batch. An item that answers 4xx undoes nothing.

Source: the code and documentation of Kinto, and what its client libraries send and look for. Redirects, which Kinto follows, are answers here.
"""

import re
from collections.abc import Sequence
from http.client import responses
from typing import Annotated, Any
from urllib.parse import unquote

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from ..errors import BadBatch, BatchRejected, TooLarge
from ..model import Batch, Done, Fault, Head, Headers, SubRequest, SubResponse
from ..protocols import Encoder, Shape
from ..settings import Settings
from ._envelope import Answered, AnsweredLine, body_in, capitalised, content_type_of, kind_of, response_of, without_spaces
from ._files import FileNames, FilesDialect
from ._json import JSON, Splicer, as_object, base64_of, encode, headers_of, is_json, read_json, text_of
from ._lines import as_asked, at

_PLACE = "/requests"
_NOTHING = Raw(b"{}")
_FAILS_FROM = 500
_SENT_AS = ("Content-Type", "application/json; charset=utf-8")


class _Defaulted(Struct, gc=False, forbid_unknown_fields=True):
    path: Annotated[str, Meta(pattern="^/")] | UnsetType = UNSET
    method: str | UnsetType | None = UNSET
    headers: dict[str, str] = {}
    # As it is written: numbers keep their last digit.
    body: Raw = _NOTHING


class _Request(_Defaulted, gc=False, forbid_unknown_fields=True):
    attached_files: FileNames | None = None


class _Requests(Struct, forbid_unknown_fields=True):
    requests: list[_Request]
    defaults: _Defaulted | UnsetType = UNSET


class _Answer(Struct, gc=False):
    status: int
    path: str
    headers: dict[str, Any]
    body: Raw | str


class _Responses(Struct):
    responses: list[Answered]


class _Told(Struct):
    # What was no JSON, where there was any.
    message: Raw = Raw(b"null")


_requests = msgspec.json.Decoder(_Requests)
_object = msgspec.json.Decoder(dict[str, Any], float_hook=Raw)
_told = msgspec.json.Decoder(_Told)
_answers = msgspec.json.Decoder(_Responses)
_line = msgspec.json.Decoder(AnsweredLine)


class KintoBatch(Batch):
    """A batch whose items have no ``url`` but a ``path``."""

    def place(self, item: SubRequest, member: str = "") -> str:
        return super().place(item, "path" if member == "url" else member)


class KintoDialect(FilesDialect):
    """The dialect ``kinto``."""

    shape = '{"requests": [{"path", ...}, ...], "defaults": {...}}'
    # As Kinto has it.
    max_requests = 25

    def recognises(self, head: Head, body: Shape) -> bool:
        first = body.first
        if body.name != "requests" or not isinstance(first, dict) or not first.keys() <= set(_Request.__struct_fields__):
            return False
        return body.members <= {"requests", "defaults"} and ("path" in first or "defaults" in body.members)

    def decode(self, head: Head, body: bytes, settings: Settings) -> Batch:
        read = read_json(_requests, body)
        requests = self.counted(read.requests, settings, _PLACE)
        if read.defaults is UNSET:
            items = [_item(index, request) for index, request in enumerate(requests)]
        else:
            items = _in_full(requests, _Defaults(read.defaults), self.max_body(head.media_type) if settings.max_body is None else settings.max_body)
        if settings.atomic is not None:
            for item in items:
                item.group = "batch"
        batch = KintoBatch(items, _PLACE, linked=bool(items) and settings.atomic is not None, fails_from=_FAILS_FROM)
        return self.with_files(batch, requests, head, settings)

    def encoder(self, head: Head, batch: Batch, settings: Settings) -> Encoder:
        return as_asked(head, KintoEncoder(whole=settings.atomic not in (None, "stop")), settings.durations)

    def refusal(self, head: Head, error: BatchRejected) -> tuple[int, Headers, bytes]:
        members = error.members()
        name = str(members.pop("pointer", "")).removeprefix("/").replace("/", ".")
        detail = f"{name} in body: {error.detail}" if name else error.detail
        place = {"location": "body", "name": name, "description": error.detail}
        return error.status, list(JSON), _error(error.status, detail, {**place, "code": error.code, **members})

    def failure(self, fault: Fault) -> tuple[Headers, bytes]:
        return JSON[:1], _error(fault.status, fault.detail, {"description": fault.detail, "code": fault.code, **dict(fault.members)})

    def write(self, requests: Sequence[SubRequest]) -> tuple[Headers, bytes]:
        return JSON[:1], encode({"requests": [_written(request) for request in requests]})

    def read(self, headers: Headers, body: bytes, requests: Sequence[SubRequest]) -> list[SubResponse]:
        answers = _answers.decode(body).responses
        if len(answers) != len(requests):
            raise ValueError(f"{len(answers)} answers to {len(requests)} requests")
        return [_response(request, answer) for request, answer in zip(requests, answers, strict=True)]

    def read_line(self, line: bytes, requests: Sequence[SubRequest]) -> list[tuple[int, SubResponse]]:
        read = _line.decode(line)
        place = at(read.index, requests)
        answer = _response(requests[place], read)
        answer.started, answer.duration = read.started, read.duration
        return [(place, answer)]


_HINTS = ("Backoff", "Alert")
"""What a server tells all its clients, who look for it in the answer to the batch only."""


class KintoEncoder(Splicer):
    """Writes answers, or the one answer to a batch that was undone.

    :param whole: is the batch one transaction?
    """

    def __init__(self, whole: bool) -> None:
        super().__init__(b'{"responses":[', b"]}")
        self._whole = whole
        self.settled = not whole

    def units(self, done: list[Done]) -> bytes:
        if self._whole:
            for unit, answers in done:
                for request, answer in zip(unit, answers, strict=True):
                    if answer.status >= _FAILS_FROM:
                        return self._instead(request, answer)
        return super().units(done)

    def answers(self, done: list[Done]) -> list[_Answer]:
        told: list[_Answer] = []
        for unit, answers in done:
            for request, answer in zip(unit, answers, strict=True):
                headers = _headers_of(answer)
                self._hint(headers, _HINTS)
                body = body_in(answer, headers, capitalised, base64_of) if answer.body else _NOTHING
                if body is _NOTHING and answer.kind == "json" and not _bodiless(request, answer.status):
                    # Tells it from an object without members.
                    headers.setdefault("Content-Length", "0")
                elif answer.status >= 300 and isinstance(body, str):
                    body = Raw(_error(answer.status, body))
                told.append(_Answer(answer.status, unquote(request.target.partition("?")[0]), headers, body))
        return told

    def _instead(self, request: SubRequest, failed: SubResponse) -> bytes:
        """What *failed*, the answer to *request*, says, as the answer to the batch."""
        self.status = failed.status
        # A client that is to try again later may send the whole batch again, now that nothing is left of it.
        self._hint(_headers_of(failed), (*_HINTS, "Retry-After"))
        self._lead, self._end = b"", b""
        if failed.kind == "json" and is_json(failed.body):
            return failed.body
        named = f"requests.{request.index}"
        message = f"Nothing is left of this batch, since {named}, {request.method} {request.target}, failed."
        return _error(failed.status, message, {"location": "body", "name": named, "description": text_of(failed) or failed.reason})

    def _hint(self, headers: dict[str, Any], names: Sequence[str]) -> None:
        """Have the answer to the batch tell what *headers* of an item tell all clients, where none did so before."""
        for name in names:
            if name in headers and name not in dict(self.headers):
                self.headers.append((name, headers[name]))


def _item(index: int, request: _Request) -> SubRequest:
    place = f"{_PLACE}/{index}"
    if request.path is UNSET:
        raise BadBatch("Object missing required field `path`.", place)
    fields, body = [*request.headers.items()], _body_of(request, place)
    if body:
        fields = [(name, value) for name, value in fields if name.lower() != "content-type"]
        fields.append(_SENT_AS)
    return SubRequest(index, request.method or "GET", without_spaces(request.path), fields, body)


_EMPTY = re.compile(rb"\{\s*\}\Z")


def _body_of(request: _Defaulted, place: str) -> bytes:
    """The body of *request* as it is sent."""
    body = bytes(request.body)
    if not body.startswith(b"{"):
        raise BadBatch("A body is an object, which is sent as JSON.", f"{place}/body")
    return b"" if _EMPTY.match(body) else body


def _in_full(requests: list[_Request], defaults: "_Defaults", limit: int) -> list[SubRequest]:
    """The items that *requests* are with *defaults*.

    :param limit: bytes that they may have together, since a small batch can be a large one in short.
    :raises TooLarge: when they have more.
    """
    items: list[SubRequest] = []
    size = 0
    for index, request in enumerate(requests):
        defaults.fill(request, f"{_PLACE}/{index}")
        item = _item(index, request)
        size += len(item.target) + sum(len(name) + len(value) for name, value in item.headers) + len(item.body)
        if size > limit:
            raise TooLarge(limit, f"{_PLACE}/{index}")
        items.append(item)
    return items


class _Defaults:
    """What requests have where they say nothing."""

    def __init__(self, request: _Defaulted) -> None:
        self._request = request
        self._body = _body_of(request, "/defaults")
        # Read once, and only where a request has a body as well.
        self._members: dict[str, Any] | None = None

    def fill(self, request: _Request, place: str) -> None:
        """Give *request* what it has not."""
        if request.path is UNSET:
            request.path = self._request.path
        if request.method is UNSET:
            request.method = self._request.method
        if self._request.headers:
            names = {name.lower() for name in request.headers}
            request.headers |= {name: value for name, value in self._request.headers.items() if name.lower() not in names}
        if self._body:
            own = _body_of(request, place)
            request.body = self._merged(own, place) if own else self._request.body

    def _merged(self, body: bytes, place: str) -> Raw:
        if self._members is None:
            self._members = _members_of(self._body, "/defaults")
        members = _members_of(body, place)
        _fill(members, self._members)
        return Raw(encode(members))


def _members_of(body: bytes, place: str) -> dict[str, Any]:
    try:
        return read_json(_object, body)
    except BadBatch as error:
        raise BadBatch(error.detail, f"{place}/body{error.pointer}") from None


def _fill(members: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Give *members* what they have not, and likewise the objects among them. Nothing in *defaults* is changed, though it may be shared."""
    # A list of our own, since objects may be nested deeper than calls.
    left = [(members, defaults)]
    while left:
        members, defaults = left.pop()
        for name, value in defaults.items():
            if name not in members:
                members[name] = value
            elif type(members[name]) is dict and type(value) is dict:
                left.append((members[name], value))


def _headers_of(answer: SubResponse) -> dict[str, Any]:
    return {capitalised(name): value for name, value in headers_of(answer).items()}


# The numbers of Kinto's API for errors, by status. It has none for some.
_NUMBERS = {400: 107, 403: 121, 404: 111, 405: 115, 411: 112, 413: 113, 415: 107, 503: 201}
_UNDEFINED = 999
_INVALID = 107


def _error(status: int, message: str, *details: dict[str, object]) -> bytes:
    """An error as Kinto tells one (its documentation, "Error responses")."""
    number = _NUMBERS.get(status, _UNDEFINED)
    # An app may answer with a status of its own.
    title = "Invalid parameters" if number == _INVALID else responses.get(status, "Error")
    return encode({"code": status, "errno": number, "error": title, "message": message, "details": details})


def _written(request: SubRequest) -> dict[str, object]:
    """*request* as a client writes it.

    :raises ValueError: when there is no way to say it.
    """
    if request.after or request.group or request.late is not None:
        raise ValueError("the kinto dialect has no way to say what items have to do with each other")
    if not request.target.startswith("/"):
        raise ValueError("a path begins with a slash")
    written: dict[str, object] = {"method": request.method, "path": request.target, "headers": as_object(request.headers)}
    if request.body:
        content_type = content_type_of(request.headers) or ""
        if content_type.partition(";")[0].strip().lower() != "application/json":
            raise ValueError("a body is sent as application/json")
        if not is_json(request.body) or not request.body.lstrip().startswith(b"{") or _EMPTY.match(request.body.strip()):
            raise ValueError("a body has to be a JSON object that is not empty")
        written["body"] = Raw(request.body)
    return written


def _response(request: SubRequest, answer: Answered) -> SubResponse:
    response, body = response_of(answer), bytes(answer.body)
    if _bodiless(request, answer.status) or (_EMPTY.match(body) and ("Content-Length", "0") in response.headers):
        response.body = b""
    elif body == b"null":
        response.body = body
    elif body.startswith(b"{") and kind_of(content_type_of(response.headers) or "") != "json":
        answer.body = _told.decode(body).message
        response = response_of(answer)
    return response


def _bodiless(request: SubRequest, status: int) -> bool:
    """Can there be no body, whatever the headers say (RFC 9110, section 6.4.1)?"""
    return request.method == "HEAD" or status in (204, 304)
