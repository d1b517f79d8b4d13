"""django-batch-requests: a list of requests with ``url``, ``method``, ``headers`` and ``body``, bare or as ``{"batch": [...]}``.

The answer has the same wrapping and, in request order, ``status_code``, ``reason_phrase``, ``headers`` and ``body`` as a string. What the
original cannot say is added without changing what it can: an item's ``body`` may be a JSON object or list, an answer that is no text comes in
base64 with ``"body_encoding": "base64"``, and a header given twice keeps both values.

Source: the code and README of django-batch-requests. Unknown members of an item are ignored, as they are there.
"""

import base64
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ..errors import BadBatch
from ..model import Batch, Done, Head, Headers, SubRequest, SubResponse
from ..protocols import Encoder, Shape
from ..settings import Settings
from ._files import FileNames, FilesDialect
from ._json import Splicer, as_object, base64_of, encode, from_object, headers_of, read_json, text_of, upper_case
from ._lines import as_asked, at

DURATION = "batch_requests.duration"
"""The member of an item's headers that tells its duration, in seconds, as a JSON number."""


_METHODS = {spelling: spelling.upper() for spelling in ("GET", "get", "POST", "post", "PUT", "put", "PATCH", "patch", "DELETE", "delete")}


class _Request(Struct, gc=False):
    url: str
    method: str
    headers: dict[str, str] | None = None
    body: str | None = None
    attached_files: FileNames | None = None


class _AnyRequest(Struct, gc=False):
    url: str
    method: str
    headers: dict[str, str] | None = None
    # As it is written: numbers keep their last digit.
    body: Raw = Raw(b"null")
    attached_files: FileNames | None = None


class _Wrapped(Struct, forbid_unknown_fields=True):
    batch: list[_Request]


class _AnyWrapped(Struct, forbid_unknown_fields=True):
    batch: list[_AnyRequest]


class _Answer(Struct, gc=False):
    status_code: int
    reason_phrase: str
    headers: dict[str, Any]
    body: str


class _EncodedAnswer(_Answer, gc=False):
    body_encoding: str = "base64"


class _Answered(Struct):
    status_code: int
    reason_phrase: str
    headers: dict[str, str | list[str] | float]
    body: str
    body_encoding: str = ""


class _Line(_Answered, kw_only=True):
    index: int
    started: float = 0.0
    duration: float = 0.0


class _WrappedAnswers(Struct):
    batch: list[_Answered]


_requests = msgspec.json.Decoder(list[_Request] | _Wrapped)
_any_requests = msgspec.json.Decoder(list[_AnyRequest] | _AnyWrapped)
_answers = msgspec.json.Decoder(list[_Answered] | _WrappedAnswers)
_line = msgspec.json.Decoder(_Line)
_string = msgspec.json.Decoder(str)


class DjangoBatch(Batch):
    """A batch that remembers its wrapping."""

    wrapped: bool = False


class DjangoDialect(FilesDialect):
    """The dialect ``django``."""

    shape = '[{"method", "url", ...}, ...] or {"batch": [...]}'

    def recognises(self, head: Head, body: Shape) -> bool:
        if body.name == "batch":
            # That there is nothing beside it is looked at where it is decoded, since all of it has to be read for that.
            return not (isinstance(body.first, dict) and "relative_url" in body.first)
        return body.name is None and isinstance(body.first, dict) and {"url", "method"} <= body.first.keys()

    def decode(self, head: Head, body: bytes, settings: Settings) -> DjangoBatch:
        read = _read(body)
        wrapped = not isinstance(read, list)
        pointer = "/batch" if wrapped else ""
        requests = self.counted(read if isinstance(read, list) else list(read.batch), settings, pointer)
        batch = DjangoBatch([_item(index, request, pointer) for index, request in enumerate(requests)], pointer, wrapped=wrapped)
        return self.with_files(batch, requests, head, settings)

    def encoder(self, head: Head, batch: Batch, settings: Settings) -> Encoder:
        wrapped = isinstance(batch, DjangoBatch) and batch.wrapped
        duration = (settings.duration_header or DURATION) if settings.durations else None
        return as_asked(head, DjangoEncoder(b'{"batch":[' if wrapped else b"[", b"]}" if wrapped else b"]", duration), settings.durations)

    def write(self, requests: Sequence[SubRequest]) -> tuple[Headers, bytes]:
        return [("Content-Type", "application/json")], encode({"batch": [_written(request) for request in requests]})

    def read(self, headers: Headers, body: bytes, requests: Sequence[SubRequest]) -> list[SubResponse]:
        read = _answers.decode(body)
        answers = read.batch if isinstance(read, _WrappedAnswers) else read
        if len(answers) != len(requests):
            raise ValueError(f"{len(answers)} answers to {len(requests)} requests")
        return [_response(answer) for answer in answers]

    def read_line(self, line: bytes, requests: Sequence[SubRequest]) -> list[tuple[int, SubResponse]]:
        read = _line.decode(line)
        answer = _response(read)
        answer.started, answer.duration = read.started, read.duration or answer.duration
        return [(at(read.index, requests), answer)]


class DjangoEncoder(Splicer):
    """Writes answers; the member *duration* of each item's headers tells how long it took."""

    def __init__(self, start: bytes, end: bytes, duration: str | None) -> None:
        super().__init__(start, end)
        self._duration = duration

    def answers(self, done: list[Done]) -> list[_Answer]:
        told: list[_Answer] = []
        duration = self._duration
        for _, answers in done:
            for answer in answers:
                headers = headers_of(answer)
                if duration is not None:
                    # Whole microseconds; round() costs several times as much.
                    headers[duration] = answer.duration // 1e-6 / 1e6
                text = text_of(answer)
                if text is None:
                    told.append(_EncodedAnswer(answer.status, answer.reason, headers, base64_of(answer.body)))
                else:
                    told.append(_Answer(answer.status, answer.reason, headers, text))
        return told


def _read(body: bytes) -> Any:
    """The batch as it is read fastest, which is with bodies that are strings; as nearly all are."""
    try:
        return read_json(_requests, body)
    except BadBatch:
        return read_json(_any_requests, body)


def _item(index: int, request: _Request | _AnyRequest, pointer: str) -> SubRequest:
    method = _METHODS.get(request.method) or upper_case(request.method)
    headers = request.headers
    fields = [*headers.items()] if headers else []
    if not request.body:
        return SubRequest(index, method, request.url, fields)
    body = request.body.encode() if isinstance(request.body, str) else _json(request.body, f"{pointer}/{index}/body")
    if body and not (headers and ("Content-Type" in headers or "content-type" in map(str.lower, headers))):
        fields.append(("Content-Type", "application/json"))
    return SubRequest(index, method, request.url, fields, body)


def _json(raw: Raw, pointer: str) -> bytes:
    body = bytes(raw)
    if body.startswith(b'"'):
        return _string.decode(body).encode()
    if body.startswith((b"{", b"[")):
        return body
    if body == b"null":
        return b""
    raise BadBatch("A body is a string, or an object or list that is sent as JSON.", pointer)


def _written(request: SubRequest) -> dict[str, object]:
    if request.after or request.group or request.late is not None:
        raise ValueError("the django dialect has no way to say dependencies, groups or references")
    if request.body and not any(name.lower() == "content-type" for name, _ in request.headers):
        raise ValueError("a body without a Content-Type would be taken for JSON")
    return {"method": request.method, "url": request.target, "headers": as_object(request.headers), "body": request.body.decode()}


def _response(answer: _Answered) -> SubResponse:
    headers = {name: value for name, value in answer.headers.items() if not isinstance(value, float)}
    durations = [value for value in answer.headers.values() if isinstance(value, float)]
    body = base64.b64decode(answer.body) if answer.body_encoding == "base64" else answer.body.encode()
    return SubResponse(answer.status_code, answer.reason_phrase, from_object(headers), body, duration=sum(durations))
