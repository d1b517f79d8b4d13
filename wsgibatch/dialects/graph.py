"""Microsoft Graph JSON batching: ``{"requests": [...]}`` with ``id``, ``method``, ``url``, ``headers``, ``body`` and ``dependsOn``.

The answer is ``{"responses": [...]}``, in request order. Each has its ``id`` as it was sent, and always ``status``, ``headers`` and ``body``, since
clients do not ask whether they are there: a JSON body is embedded, text is a string, anything else base64, and an empty one null.

Source: "Combine multiple HTTP requests using JSON batching" in the documentation of Microsoft Graph, and what its client libraries send. Unknown
members are ignored, apart from those by which OData asks for more than Graph has.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from ..errors import BadBatch, BatchRejected
from ..model import Batch, Done, Edge, Fault, Head, Headers, SubRequest, SubResponse
from ..protocols import Encoder, Shape
from ..settings import Settings
from ._envelope import (
    Request,
    body_in,
    body_of,
    capitalised,
    fields_of,
    is_envelope,
    line_of,
    responses_of,
    speaks_odata,
    without_spaces,
    written_of,
)
from ._files import FileNames, FilesDialect
from ._json import JSON, Splicer, base64_of, encode, headers_of, read_json, upper_case
from ._lines import as_asked
from ._references import PLACE, Id, Names


class _Request(Request, gc=False):
    headers: dict[str, str | list[str]] | None = None
    # What OData has and Graph has not. To pass over it would be to break a promise in silence.
    group: Any = field(default=None, name="atomicityGroup")
    condition: Any = field(default=None, name="if")
    attached_files: FileNames | None = None


class _Requests(Struct):
    requests: list[_Request]


class _Answer(Struct, gc=False):
    id: Id | None
    status: int
    headers: dict[str, Any]
    body: Raw | str | None


_requests = msgspec.json.Decoder(_Requests)


class GraphDialect(FilesDialect):
    """The dialect ``graph``."""

    shape = '{"requests": [{"id", "method", "url", ...}, ...]}'

    def recognises(self, head: Head, body: Shape) -> bool:
        return is_envelope(body) and not speaks_odata(head)

    def decode(self, head: Head, body: bytes, settings: Settings) -> Batch:
        requests = self.counted(read_json(_requests, body).requests, settings, PLACE)
        names = Names([request.id for request in requests], fold=True)
        items = [_item(index, request, names) for index, request in enumerate(requests)]
        return self.with_files(Batch(items, PLACE, linked=any(item.after for item in items)), requests, head, settings)

    def encoder(self, head: Head, batch: Batch, settings: Settings) -> Encoder:
        return as_asked(head, GraphEncoder(b'{"responses":[', b"]}"), settings.durations)

    def refusal(self, head: Head, error: BatchRejected) -> tuple[int, Headers, bytes]:
        members = error.members()
        target = members.pop("pointer", None)
        return error.status, list(JSON), _error(error.status, error.detail, {"code": error.code, **members}, target)

    def failure(self, fault: Fault) -> tuple[Headers, bytes]:
        return JSON[:1], _error(fault.status, fault.detail, {"code": fault.code, **dict(fault.members)})

    def write(self, requests: Sequence[SubRequest]) -> tuple[Headers, bytes]:
        if any(request.group for request in requests):
            raise ValueError("the graph dialect has no way to say an atomic group")
        return JSON[:1], encode({"requests": written_of(requests, base64_of, fold=True)})

    def read(self, headers: Headers, body: bytes, requests: Sequence[SubRequest]) -> list[SubResponse]:
        return responses_of(body, requests)

    def read_line(self, line: bytes, requests: Sequence[SubRequest]) -> list[tuple[int, SubResponse]]:
        return line_of(line, requests)


_NO_CONTENT = frozenset({204, 205, 304})


class GraphEncoder(Splicer):
    """Writes answers, with the names of headers as clients of Graph look for them."""

    def answers(self, done: list[Done]) -> list[_Answer]:
        told: list[_Answer] = []
        for unit, answers in done:
            for request, answer in zip(unit, answers, strict=True):
                headers = {capitalised(name): value for name, value in headers_of(answer).items()}
                if answer.status in _NO_CONTENT:
                    # Microsoft's client for JavaScript loses the whole batch over JSON where there can be none.
                    headers.pop("Content-Type", None)
                body = body_in(answer, headers, capitalised, base64_of) if answer.body else None
                told.append(_Answer(request.id, answer.status, headers, body))
        return told


def _item(index: int, request: _Request, names: Names) -> SubRequest:
    for member, asked in (("atomicityGroup", request.group), ("if", request.condition)):
        if asked is not None:
            raise BadBatch("Microsoft Graph has no such thing: send OData-Version with the batch, or configure 'odata'.", f"{PLACE}/{index}/{member}")
    method = upper_case(request.method)
    fields = fields_of(request.headers)
    body = body_of(index, method, request.body, fields)
    item = SubRequest(index, method, without_spaces(request.url), fields, body, request.id)
    if request.depends_on or request.also_depends_on:
        wanted: dict[int, None] = {}
        for name in request.depends_on or ():
            wanted[names.earlier(name, index, "dependsOn")] = None
        for name in request.also_depends_on or ():
            wanted[names.earlier(name, index, "depends_on")] = None
        item.after = tuple(map(Edge, wanted))
    return item


def _error(status: int, detail: str, inner: dict[str, object], target: object = None) -> bytes:
    """An error as Graph and OData tell one (OData 4.01 JSON Format, "Error Response")."""
    error: dict[str, object] = {"code": HTTPStatus(status).phrase.title().replace(" ", ""), "message": detail}
    if target is not None:
        error["target"] = target
    return encode({"error": error | {"innererror": inner}})
