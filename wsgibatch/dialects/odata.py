"""OData 4.01 JSON batches: the envelope of Microsoft Graph, with atomic groups, conditions, and references to earlier answers.

An item may name ids and groups in ``dependsOn``; may be run under the condition ``$id/$succeeded`` or ``not $id/$succeeded``; and may refer to what
an earlier one made or returned (``$id/Orders`` as its url), to its entity tag (``$id`` in If-Match and If-None-Match), and to values in its JSON
body (``$id/path`` in the query of the url, as a header, or as a string in the JSON body). In the answer, names of headers are in lower case.

Source: OData 4.01 JSON Format, "Batch Requests and Responses", and OData 4.01 Protocol, "Batch Requests". More lenient than both, as clients need
it: names of headers and methods are taken in any case, and a url or an entity tag may refer to a request that ``dependsOn`` does not name.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from .._vet import answer_in_place
from ..errors import BadBatch, BatchRejected
from ..model import Batch, Done, Fault, Head, Headers, Late, Reference, SubRequest
from ..protocols import Encoder, Shape
from ..settings import Settings
from ._envelope import (
    Request,
    body_in,
    body_of,
    content_type_of,
    field_in,
    fields_of,
    is_envelope,
    kind_of,
    speaks_odata,
    without_spaces,
    written_of,
)
from ._files import FileNames
from ._json import JSON, Splicer, encode, headers_of, read_json, upper_case
from ._lines import as_asked
from ._odata import SYSTEM, continue_on_error, resolved, service_root
from ._references import PLACE, Id, Links, Names, exactly, in_json, in_query
from .graph import GraphDialect


class _Request(Request, gc=False):
    headers: dict[str, str | list[str]] | list[str] | None = None
    group: str | None = field(default=None, name="atomicityGroup")
    condition: str | None = field(default=None, name="if")
    attached_files: FileNames | None = None


class _Requests(Struct):
    requests: list[_Request]


class _Answer(Struct, gc=False):
    id: Id | None
    status: int
    headers: dict[str, Any]
    body: Raw | str | UnsetType
    group: str | UnsetType = field(name="atomicityGroup")


_requests = msgspec.json.Decoder(_Requests)

# What a reference begins with, where one needs no other word that the item depends on anything.
_SIGNS = ("$", "%24", "/$", "/%24")
_CONDITION = re.compile(r"\s*+((?i:not)\s++)?\$(\S+)/\$succeeded\s*+\Z")
_NOWHERE = Head(path="/$batch", mount="", host="", scheme="http", media_type="application/json", parameters={})
_UNSUPPORTED = Fault(424, "condition-not-supported", "Not run, since no condition is known here but '$id/$succeeded' and 'not $id/$succeeded'.")


class OdataDialect(GraphDialect):
    """The dialect ``odata``."""

    shape = '{"requests": [{"id", "method", "url", ...}, ...]} sent with OData-Version'
    # The specification has no limit. It is what the multipart form of an OData batch is let have.
    max_requests = 100

    def recognises(self, head: Head, body: Shape) -> bool:
        return is_envelope(body) and speaks_odata(head)

    def decode(self, head: Head, body: bytes, settings: Settings) -> Batch:
        requests = self.counted(read_json(_requests, body).requests, settings, PLACE)
        names = Names([request.id for request in requests], [request.group for request in requests])
        root = service_root(head)
        items = [self._item(index, request, names, root) for index, request in enumerate(requests)]
        preference = continue_on_error(head)
        stops = preference is not None and not preference[1]
        linked = stops or any(item.after or item.group or item.late is not None for item in items)
        return self.with_files(Batch(items, PLACE, linked, "stop" if stops else "continue"), requests, head, settings)

    def encoder(self, head: Head, batch: Batch, settings: Settings) -> Encoder:
        return as_asked(head, OdataEncoder(head), settings.durations)

    def refusal(self, head: Head, error: BatchRejected) -> tuple[int, Headers, bytes]:
        status, headers, body = super().refusal(head, error)
        return status, [*headers, _version(head)], body

    def write(self, requests: Sequence[SubRequest]) -> tuple[Headers, bytes]:
        written = written_of(requests, _base64url_of)
        ids = {str(request.id) for request in written}
        for request in written:
            request.headers = {name.lower(): value for name, value in request.headers.items()}
            request.url = _as_path(request.url, ids)
        body = encode({"requests": written})
        self._check(body, len(written))
        return [*JSON[:1], ("OData-Version", "4.01")], body

    def _check(self, body: bytes, count: int) -> None:
        """Is nothing in a batch that was written read as a reference?

        :raises ValueError: when it is.
        """
        try:
            items = self.decode(_NOWHERE, body, Settings(max_requests=count + 1)).items
        except BadBatch as error:
            raise ValueError(f"{error.pointer}: {error.detail}") from None
        for item in items:
            if item.late is not None:
                raise ValueError(f"{PLACE}/{item.index}: what is meant as text would be read as a reference")

    def _item(self, index: int, request: _Request, names: Names, root: str) -> SubRequest:
        method, url = upper_case(request.method), without_spaces(request.url)
        headers = request.headers
        # A client for Angular lists them.
        fields = [field_in(line, f"{PLACE}/{index}/headers") for line in headers] if isinstance(headers, list) else fields_of(headers)
        body = body_of(index, method, request.body, fields)
        item = SubRequest(index, method, resolved(url, root), fields, body, request.id, group=request.group or "")
        wanted = request.depends_on or request.also_depends_on or request.condition is not None
        if wanted or url.startswith(_SIGNS) or (fields and any(value.startswith("$") for _, value in fields)):
            _link(item, request, url, names)
        if request.condition is not None and not _CONDITION.match(request.condition):
            item.refusal = answer_in_place(self, _UNSUPPORTED)
        return item


class OdataEncoder(Splicer):
    """Writes answers, each with the name of its group."""

    def __init__(self, head: Head) -> None:
        super().__init__(b'{"responses":[', b"]}")
        self.headers.append(_version(head))
        preference = continue_on_error(head)
        if preference is not None and not preference[1]:
            self.headers.append(("Preference-Applied", f"{preference[0]}=false"))

    def answers(self, done: list[Done]) -> list[_Answer]:
        told: list[_Answer] = []
        for unit, answers in done:
            for request, answer in zip(unit, answers, strict=True):
                headers = {name.lower(): value for name, value in headers_of(answer).items()}
                body = body_in(answer, headers, str.lower, _base64url_of) if answer.body else UNSET
                told.append(_Answer(request.id, answer.status, headers, body, request.group or UNSET))
        return told


def _base64url_of(body: bytes) -> str:
    return base64.urlsafe_b64encode(body).decode("ascii")


def _version(head: Head) -> tuple[str, str]:
    """The version that the answer is written in: the client's, where it is the one in which less is allowed."""
    asked = (head.headers.get(name, "").strip() for name in ("OData-MaxVersion", "OData-Version"))
    return "OData-Version", "4.0" if "4.0" in asked else "4.01"


def _link(item: SubRequest, request: _Request, url: str, names: Names) -> None:
    """Complete *item* with what it has to do with those before it."""
    links = Links(names, item.index)
    when: Literal["succeeded", "ended"] = "succeeded" if request.condition is None else "ended"
    links.depend(request.depends_on or (), "dependsOn", when)
    links.depend(request.also_depends_on or (), "depends_on", when)
    if request.condition is not None and (condition := _CONDITION.match(request.condition)):
        links.condition(condition[2], "if", "failed" if condition[1] else "succeeded")
    target = _target(item, url, names, links) if "$" in url or "%24" in url else []
    headers = list(_headers(item.headers, links)) if item.headers else []
    body = in_json(item.body, links.value) if item.body and kind_of(content_type_of(item.headers) or "") == "json" else []
    item.after = links.after
    if target or headers or body:
        item.late = Late(tuple(target), tuple(headers), tuple(body))


_ENTITY = re.compile(r"(/?(?:\$|%24))([^/?#]*)")


def _target(item: SubRequest, url: str, names: Names, links: Links) -> list[str | Reference]:
    """The target of *item* in pieces, if *url* begins with a reference to an entity, or there are some to values in its query; none otherwise."""
    found = _ENTITY.match(url)
    if found is not None:
        sign, name = found.groups()
        # Only the plain spelling can be nothing else.
        if name.partition("(")[0] not in SYSTEM and (sign == "$" or name in names.ids):
            rest = url[found.end() :]
            return [Reference(links.request(name, "url"), "entity"), *(in_query(rest, links.value) or ([rest] if rest else []))]
    return in_query(item.target, links.value)


def _as_path(url: str, ids: set[str]) -> str:
    """*url* in a spelling of the same path that is no reference to any of *ids*."""
    found = _ENTITY.match(url)
    if found is None or not url.startswith("/") or found[2] not in ids:
        return url
    return f"{found[1]}%{ord(found[2][0]):02X}{url[found.start(2) + 1 :]}"


def _headers(fields: Headers, links: Links) -> Iterator[tuple[str, Reference]]:
    """The headers whose value is a reference."""
    for name, value in fields:
        if name.lower() in ("if-match", "if-none-match"):
            # An entity tag stands in quotes, so this can be nothing else.
            if value.startswith("$"):
                yield name, Reference(links.request(value[1:], "headers"), "etag")
        elif (reference := exactly(value, links.value)) is not None:
            yield name, reference
