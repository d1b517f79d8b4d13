"""Batches of the Facebook Graph API: a parameter ``batch`` with a JSON list of requests, ``method``, ``relative_url``, ``headers`` and ``body``.

It comes as a field of a form, url-encoded or in parts, as a member of a JSON object, or in the query; forms only where this dialect is configured by
name, under the rule against cross-site requests. Headers are listed as names and values, or as lines ``Name: value``. A request may be called
``name``, wait for another in ``depends_on``, refer to values in its answer by ``{result=name:$.path}``, and be sent files of the form, which it
names in ``attached_files``.

The answer is a list with ``code``, ``headers`` as names and values, and ``body`` as a string, in request order; an answer that is not wanted is null.
Clients tell by the body whether a request has succeeded. So an empty success is ``{"success": true}``, and the body of an error is a JSON object
with the member ``error``, whatever the app said; then Content-Length, added where it is missing, tells how long the app's own body was. A body that
is no text is base64, and has a header ``Content-Transfer-Encoding: base64``.

Source: "Batch Requests" in the documentation of the Graph API, and what its client libraries send and look for. Unknown members are ignored.
"""

import base64
from collections.abc import Sequence
from http import HTTPStatus

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from .._body import FORM_DATA
from ..errors import BatchRejected
from ..model import Batch, Done, Fault, Head, Headers, SubRequest, SubResponse
from ..protocols import Encoder, Shape, Unanswered
from ..settings import Settings
from ._envelope import content_type_of, kind_of
from ._facebook import FORM, PLACE, Header, Items, is_form, requests_of
from ._form import Form
from ._json import JSON, JSONDialect, Splicer, base64_of, encode, is_json, text_of
from ._lines import as_asked, at
from ._results import refers

SUCCESS = '{"success": true}'
"""The body of an answer that has none, and is a success."""

_CODING = "content-transfer-encoding"
_WRAPPED = "HTTPException"
"""The type of an error that the app told in a form of its own."""


class _Written(Struct, omit_defaults=True):
    method: str
    relative_url: str
    headers: list[Header] = field(default_factory=list)
    body: str = ""
    name: str = ""
    depends_on: str = ""
    omit_response_on_success: bool | UnsetType = UNSET


class _Answer(Struct, gc=False):
    code: int
    headers: list[Header] | UnsetType
    body: str


class _Answered(Struct, gc=False):
    code: int
    headers: list[Header] = field(default_factory=list)
    body: str | None = None


class _Line(_Answered, gc=False, kw_only=True):
    index: int
    code: int | UnsetType = UNSET  # type: ignore[assignment]  # nothing but the index is told of an answer that is not wanted
    started: float = 0.0
    duration: float = 0.0


class _Error(Struct):
    message: str
    type: str


_answers = msgspec.json.Decoder(list[_Answered | None])
_line = msgspec.json.Decoder(_Line)
_members = msgspec.json.Decoder(dict[str, Raw])
_error = msgspec.json.Decoder(_Error)


class FacebookBatch(Batch):
    """A batch that remembers which answers are wanted, and whether with their headers."""

    omitted: frozenset[int] = frozenset()
    """The places of the requests whose answers are left out when they are a success."""
    with_headers: bool = True

    def place(self, item: SubRequest, member: str = "") -> str:
        return super().place(item, "relative_url" if member == "url" else member)


class FacebookDialect(JSONDialect):
    """The dialect ``facebook``."""

    shape = '{"batch": [{"method", "relative_url", ...}, ...]}'
    loose_types = frozenset({"", FORM, FORM_DATA})
    # As the documentation has it.
    max_requests = 50

    def recognises(self, head: Head, body: Shape) -> bool:
        return body.name == "batch" and isinstance(body.first, dict) and "relative_url" in body.first

    def decode(self, head: Head, body: bytes, settings: Settings) -> Batch:
        form = Form(head, body, self.max_body(head.media_type) if settings.max_body is None else settings.max_body)
        requests = self.counted(requests_of(form), settings, PLACE)
        reader = Items(requests, form, head, settings)
        items = [reader.item(index, request) for index, request in enumerate(requests)]
        omitted = [
            index
            for index, request in enumerate(requests)
            if (index in reader.results.wanted if request.omit_response_on_success is None else request.omit_response_on_success)
        ]
        with_headers = (form.get("include_headers") or "").lower() not in ("false", "0")
        linked = any(item.after for item in items)
        return FacebookBatch(items, PLACE, linked, omitted=frozenset(omitted), with_headers=with_headers)

    def encoder(self, head: Head, batch: Batch, settings: Settings) -> Encoder:
        encoder = FacebookEncoder(batch.omitted, batch.with_headers) if isinstance(batch, FacebookBatch) else FacebookEncoder()
        return as_asked(head, encoder, settings.durations)

    def refusal(self, head: Head, error: BatchRejected) -> tuple[int, Headers, bytes]:
        return error.status, list(JSON), _refused(error.status, error.detail, {"code": error.code, **error.members()})

    def failure(self, fault: Fault) -> tuple[Headers, bytes]:
        return JSON[:1], _refused(fault.status, fault.detail, {"code": fault.code, **dict(fault.members)})

    def write(self, requests: Sequence[SubRequest]) -> tuple[Headers, bytes]:
        written = [_written(place, request) for place, request in enumerate(requests)]
        for index in {edge.index for request in requests for edge in request.after}:
            written[index].name, written[index].omit_response_on_success = _called(index), False
        return JSON[:1], encode({"batch": written})

    def read(self, headers: Headers, body: bytes, requests: Sequence[SubRequest]) -> list[SubResponse]:
        answers = _answers.decode(body)
        if len(answers) != len(requests):
            raise ValueError(f"{len(answers)} answers to {len(requests)} requests")
        found = [_response(request, answer) for request, answer in zip(requests, answers, strict=True) if answer is not None]
        if len(found) < len(answers):
            # What was not wanted, or not done in time.
            rest = iter(found)
            raise Unanswered([None if answer is None else next(rest) for answer in answers])
        return found

    def read_line(self, line: bytes, requests: Sequence[SubRequest]) -> list[tuple[int, SubResponse]]:
        read = _line.decode(line)
        place = at(read.index, requests)
        if read.code is UNSET:
            return []
        answer = _response(requests[place], read)
        answer.started, answer.duration = read.started, read.duration
        return [(place, answer)]


class FacebookEncoder(Splicer):
    """Writes answers: null for those *omitted* that are a success, and headers where they are wanted."""

    def __init__(self, omitted: frozenset[int] = frozenset(), with_headers: bool = True) -> None:
        super().__init__(b"[", b"]")
        self._omitted, self._with_headers = omitted, with_headers

    def answers(self, done: list[Done]) -> list[_Answer | None]:
        told: list[_Answer | None] = []
        for unit, answers in done:
            for request, answer in zip(unit, answers, strict=True):
                if request.index in self._omitted and 200 <= answer.status < 300:
                    told.append(None)
                    continue
                # The app's own has no meaning in HTTP (RFC 9110, appendix B.4), and would mislead here.
                headers = [Header(name, value) for name, value in answer.headers if name.lower() != _CODING]
                body = _body(answer, headers)
                told.append(_Answer(answer.status, headers if self._with_headers else UNSET, body))
        return told


def _body(answer: SubResponse, headers: list[Header]) -> str:
    """The body of *answer* as its clients understand it; *headers* are completed with what tells that it is not the app's own."""
    text = text_of(answer)
    if answer.status >= 400:
        body = _as_error(answer, text)
    elif not answer.body and answer.status < 300:
        body = SUCCESS
    elif text is None:
        headers.append(Header("Content-Transfer-Encoding", "base64"))
        return base64_of(answer.body)
    else:
        return text
    if body is not text and all(header.name.lower() != "content-length" for header in headers):
        headers.append(Header("Content-Length", str(len(answer.body))))
    return body


def _as_error(answer: SubResponse, text: str | None) -> str:
    """A JSON object with the member ``error``: *text* itself where it is one."""
    phrase = answer.reason or _phrase(answer.status)
    if text is not None and answer.kind == "json" and text.lstrip().startswith("{") and is_json(answer.body):
        members = _members.decode(answer.body)
        if "error" in members:
            return text
        if members:
            return f'{{"error":{_told(phrase, answer.status)},{text.lstrip()[1:]}'
    return f'{{"error":{_told(text or phrase, answer.status)}}}'


def _told(message: str, status: int) -> str:
    return encode({"message": message, "type": _WRAPPED, "code": status}).decode()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _refused(status: int, detail: str, data: dict[str, object]) -> bytes:
    """An error of the batch's own ("Handling Errors" in the documentation of the Graph API)."""
    return encode({"error": {"message": detail, "type": "GraphBatchException", "code": status, "error_data": data}})


def _called(index: int) -> str:
    return f"r{index}"


def _written(place: int, request: SubRequest) -> _Written:
    """*request* as a client writes it.

    :raises ValueError: when there is no way to say it.
    """
    if request.group or request.late is not None or len(request.after) > 1:
        raise ValueError("a request can wait for one other, and has no group and no references that are bound already")
    if any(edge.when != "succeeded" or not 0 <= edge.index < place for edge in request.after):
        raise ValueError("a request can only wait for the success of one before it")
    if request.body and content_type_of(request.headers) is None:
        raise ValueError("a body needs a Content-Type")
    body = request.body.decode()
    if refers(request.target) or (is_form(request.headers) and refers(body)):
        raise ValueError("what is meant as text would be read as a reference")
    headers = [Header(name, value) for name, value in request.headers]
    return _Written(request.method, request.target, headers, body, depends_on=_called(request.after[0].index) if request.after else "")


def _response(request: SubRequest, answer: _Answered) -> SubResponse:
    headers = [(header.name, header.value) for header in answer.headers if header.name.lower() != _CODING]
    text = answer.body or ""
    body = text.encode()
    length = next((value for name, value in headers if name.lower() == "content-length"), str(len(body)))
    if len(headers) < len(answer.headers):
        body = base64.b64decode(text, validate=True)
    elif request.method == "HEAD":
        body = b""
    elif length != str(len(body)):
        body = b"" if length == "0" else _own(body)
    content_type = content_type_of(headers)
    return SubResponse(answer.code, "", headers, body, "text" if content_type is None else kind_of(content_type))


def _own(body: bytes) -> bytes:
    """What an app said of an error, out of the *body* that was made of it."""
    try:
        members = _members.decode(body)
        error = _error.decode(members["error"])
    except (msgspec.DecodeError, KeyError):
        return body
    if error.type != _WRAPPED:
        return body
    rest = body[len('{"error":') + len(bytes(members["error"])) :]
    return error.message.encode() if len(members) == 1 else b"{" + rest.removeprefix(b",")
