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
from ..model import Batch, Head, Headers, SubRequest, SubResponse
from ..protocols import Encoder, Shape
from ..settings import Settings
from ._json import JSONDialect, Splicer, as_object, base64_of, encode, from_object, read_json, text_of

DURATION = "batch_requests.duration"
"""The member of an item's headers that tells its duration, in seconds, as a JSON number."""


class _Request(Struct):
    url: str
    method: str
    headers: dict[str, str] | None = None
    body: Raw = Raw(b"null")


class _Wrapped(Struct):
    batch: list[_Request]


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


class _WrappedAnswers(Struct):
    batch: list[_Answered]


_requests = msgspec.json.Decoder(list[_Request] | _Wrapped)
_answers = msgspec.json.Decoder(list[_Answered] | _WrappedAnswers)
_string = msgspec.json.Decoder(str)


class DjangoBatch(Batch):
    """A batch that remembers its wrapping."""

    wrapped: bool = False


class DjangoDialect(JSONDialect):
    """The dialect ``django``."""

    def recognises(self, media_type: str, body: Shape) -> bool:
        if body.members is not None:
            return body.members == {"batch"}
        first = body.first()
        return isinstance(first, dict) and {"url", "method"} <= first.keys()

    def decode(self, head: Head, body: bytes, settings: Settings) -> DjangoBatch:
        read = read_json(_requests, body)
        wrapped = isinstance(read, _Wrapped)
        pointer = "/batch" if wrapped else ""
        requests = self.counted(read.batch if isinstance(read, _Wrapped) else read, settings, pointer)
        items = [_item(index, request, pointer) for index, request in enumerate(requests)]
        return DjangoBatch(items, pointer, wrapped)

    def encoder(self, head: Head, batch: Batch, settings: Settings) -> Encoder:
        wrapped = isinstance(batch, DjangoBatch) and batch.wrapped
        duration = (settings.duration_header or DURATION) if settings.durations else None
        return DjangoEncoder(b'{"batch":[' if wrapped else b"[", b"]}" if wrapped else b"]", duration)

    def write(self, requests: Sequence[SubRequest]) -> tuple[Headers, bytes]:
        written = [
            {"method": request.method, "url": request.target, "headers": as_object(request.headers), "body": request.body.decode()}
            for request in requests
        ]
        return [("Content-Type", "application/json")], encode({"batch": written})

    def read(self, headers: Headers, body: bytes, requests: Sequence[SubRequest]) -> list[SubResponse]:
        read = _answers.decode(body)
        answers = read.batch if isinstance(read, _WrappedAnswers) else read
        if len(answers) != len(requests):
            raise ValueError(f"{len(answers)} answers to {len(requests)} requests")
        return [_response(answer) for answer in answers]


class DjangoEncoder(Splicer):
    """Writes answers; the member *duration* of each item's headers tells how long it took."""

    def __init__(self, start: bytes, end: bytes, duration: str | None) -> None:
        super().__init__(start, end)
        self._duration = duration

    def item(self, request: SubRequest, answer: SubResponse) -> bytes:
        headers: dict[str, Any] = as_object(answer.headers) if answer.repeats else dict(answer.headers)
        if self._duration is not None:
            # Whole microseconds; round() costs several times as much.
            headers[self._duration] = int(answer.duration * 1e6) / 1e6
        text = None if answer.kind == "binary" else text_of(answer.body)
        if text is None and answer.body:
            return encode(_EncodedAnswer(answer.status, answer.reason, headers, base64_of(answer.body)))
        return encode(_Answer(answer.status, answer.reason, headers, text or ""))


def _item(index: int, request: _Request, pointer: str) -> SubRequest:
    # Only what is ASCII may be turned to upper case: a long s would become an S.
    method = request.method.upper() if request.method.isascii() else request.method
    headers = list(request.headers.items()) if request.headers else []
    body = bytes(request.body)
    if body == b"null":
        return SubRequest(index, method, request.url, headers)
    if body.startswith(b'"'):
        body = read_json(_string, body).encode()
    elif not body.startswith((b"{", b"[")):
        raise BadBatch("A body is a string, or an object or list that is sent as JSON.", f"{pointer}/{index}/body")
    if body and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    return SubRequest(index, method, request.url, headers, body)


def _response(answer: _Answered) -> SubResponse:
    headers = {name: value for name, value in answer.headers.items() if not isinstance(value, float)}
    durations = [value for value in answer.headers.values() if isinstance(value, float)]
    body = base64.b64decode(answer.body) if answer.body_encoding == "base64" else answer.body.encode()
    return SubResponse(answer.status_code, answer.reason_phrase, from_object(headers), body, duration=sum(durations))
