"""multipart/mixed batches, as clients of Google, Azure, OData, Dataverse, SharePoint, ASP.NET and Flask-Batch send them.

A part of the type application/http holds one request. A part that is itself multipart is a *changeset*, an atomic group. All these clients speak
one format, and one form of the answer satisfies them all; what they need besides stands in ``_profiles``. Everything is read before anything runs,
so what is malformed has no effect.

Source: RFC 2046, section 5.1; OData 4.01 Protocol, "Multipart Batch Format"; MS-ODATA, section 2.2.7.6; the documentation of batches of Google's
APIs and of Azure Storage; and what the client libraries send.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Literal, NamedTuple, Self, TypeAlias
from uuid import uuid4

from msgspec import field

from .._timing import BATCH_DURATION, seconds
from .._vet import answer_in_place
from ..errors import BatchRejected
from ..model import Answers, Batch, Done, Fault, Head, Headers, SubRequest, SubResponse, Unit
from ..protocols import Encoder, Shape, Unanswered
from ..settings import Settings
from ._http import request_bytes, response_head, response_of
from ._json import JSON, encode
from ._leaves import MAX_ID, Leaf, Leaves, add_query, refer
from ._mime import boundary_of, part_of, split
from ._odata import continue_on_error
from ._profiles import PROFILES, Way, told_by


class MultipartBatch(Batch):
    """A batch that remembers what the parts of its answer need."""

    way: Way = PROFILES["google"]
    told: list[Leaf] = field(default_factory=list)
    """Of each item."""
    preference: str = ""
    """The preference of the client that was followed."""

    def place(self, item: SubRequest, member: str = "") -> str:
        return f"/{item.index}"


class MultipartDialect:
    """The dialect ``multipart``."""

    media_types = frozenset({"multipart/mixed", "multipart/batch"})
    loose_types: frozenset[str] = frozenset()
    shape = "multipart/mixed"

    def max_body(self, head: Head) -> int:
        # As Google's storage has it.
        return 10 << 20

    def choose(self, head: Head, body: bytes) -> Self:
        return self

    def recognises(self, head: Head, body: Shape) -> bool:
        return head.media_type in self.media_types

    def decode(self, head: Head, body: bytes, settings: Settings) -> MultipartBatch:
        profile = told_by(head) if settings.profile == "auto" else settings.profile
        most = PROFILES[profile or "google"].max_requests if settings.max_requests is None else settings.max_requests
        leaves = Leaves(body, head.headers.get("Content-Type", ""), most)
        way = PROFILES[profile or ("aspnet" if leaves.told[0].typed else "google")]
        on_error, preference = _preferred(head, way)
        items = leaves.items
        if way.adds_query and head.query:
            add_query(items, head.query)
        refer(items, leaves.told, head, way, partial(answer_in_place, self))
        linked = on_error == "stop" or any(item.group or item.after for item in items)
        return MultipartBatch(items, "", linked, on_error, way.methods, way, leaves.told, preference)

    def encoder(self, head: Head, batch: Batch, settings: Settings) -> Encoder:
        duration = (settings.duration_header or BATCH_DURATION) if settings.durations else None
        return MultipartEncoder(head, batch if isinstance(batch, MultipartBatch) else MultipartBatch(batch.items), duration)

    def refusal(self, head: Head, error: BatchRejected) -> tuple[int, Headers, bytes]:
        inner = {"code": error.code, **error.members()}
        if told_by(head) == "azure-tables":
            # With any other member a client gives the whole document for the message.
            document: object = {"odata.error": {"code": error.code, "message": {"lang": "en", "value": error.detail}}}
        else:
            document = {"error": {"code": error.status, "message": error.detail, "innererror": inner}}
        return error.status, list(JSON), encode(document)

    def failure(self, fault: Fault) -> tuple[Headers, bytes]:
        inner = {"code": fault.code, **dict(fault.members)}
        return JSON[:1], encode({"error": {"code": fault.status, "message": fault.detail, "innererror": inner}})

    def write(self, requests: Sequence[SubRequest]) -> tuple[Headers, bytes]:
        if any(request.after or request.late is not None for request in requests):
            raise ValueError("the multipart dialect has no way to say dependencies, nor references that are resolved")
        boundary = _boundary("batch")
        pieces: list[bytes] = []
        for group, members in groupby(requests, lambda request: request.group):
            if group:
                inner = _boundary("changeset")
                parts = b"".join(_request_part(inner, request) for request in members)
                pieces.append(_part(boundary, _changeset_head(inner), parts + _end(inner)))
            else:
                pieces += [_request_part(boundary, request) for request in members]
        return [("Content-Type", f"multipart/mixed; boundary={boundary}")], b"".join([*pieces, _end(boundary)])

    def read(self, headers: Headers, body: bytes, requests: Sequence[SubRequest]) -> list[SubResponse]:
        content_type = next((value for name, value in headers if name.lower() == "content-type"), "")
        try:
            found = list(_answered(body, content_type, len(requests)))
        except BatchRejected as error:
            raise ValueError(error.detail) from None
        named = _named(found, requests)
        if named is None:
            return list(_matched(found, requests))
        answers = [answer for answer in named if answer is not None]
        if len(answers) < len(named):
            raise Unanswered(named)
        return answers


_VERSION = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?(?:;[ -~]{0,80})?\Z")


class MultipartEncoder:
    """Writes parts, in the form that satisfies every client at once."""

    ordered = True

    def __init__(self, head: Head, batch: MultipartBatch, duration: str | None) -> None:
        self._way, self._told, self._duration = batch.way, batch.told, duration
        # 122 random bits that nobody is told before the last answer is known: no body can hold them.
        self._boundary = _boundary("batchresponse")
        self.status = batch.way.status
        # The only parameter, and without quotes: some clients take all that stands behind the sign.
        self.headers = [("Content-Type", f"{head.media_type}; boundary={self._boundary}"), *JSON[1:]]
        versions = [(name, head.headers.get(name, "")) for name in ("OData-Version", "DataServiceVersion")]
        self.headers += [(name, value) for name, value in versions if _VERSION.match(value)]
        if batch.preference:
            self.headers.append(("Preference-Applied", batch.preference))

    def units(self, done: list[Done]) -> bytes:
        outer = self._boundary
        return b"".join([self._changeset(unit, answers) if unit[0].group else self._leaf(outer, unit[0], answers[0]) for unit, answers in done])

    def end(self) -> bytes:
        return _end(self._boundary)

    def _changeset(self, unit: Unit, answers: Answers) -> bytes:
        leaves = list(zip(unit, answers, strict=True))
        # One failure speaks for all, and rather itself than what is told of the others.
        failed = sorted((leaf for leaf in leaves if leaf[1].status >= 400), key=lambda leaf: leaf[1].status == 424)
        leaves = failed[:1] or leaves
        if self._way.flat or (failed and not self._way.keeps_failed):
            return b"".join([self._leaf(self._boundary, item, answer) for item, answer in leaves])
        inner = _boundary("changesetresponse")
        parts = b"".join([self._leaf(inner, item, answer) for item, answer in leaves])
        return _part(self._boundary, _changeset_head(inner), parts + _end(inner))

    def _leaf(self, boundary: str, item: SubRequest, answer: SubResponse) -> bytes:
        leaf = self._told[item.index] if self._told else Leaf()
        content_id = leaf.content_id
        headers = answer.headers
        if self._duration is not None:
            headers = [*headers, (self._duration, seconds(answer.duration))]
        head = _TYPED_HEAD if leaf.typed else _PLAIN_HEAD
        if content_id:
            told = ("Content-ID", _responding(content_id) if self._way.responds else content_id)
            if leaf.inside:
                headers = [told, *headers]
            else:
                head = f"{head}Content-ID: {told[1]}\r\n"
        body = answer.body
        return b"%b%b%b\r\n" % (
            f"--{boundary}\r\n{head}\r\n".encode("latin-1"),
            response_head(answer.status, answer.reason, headers, len(body)),
            body,
        )


_PLAIN_HEAD = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"
_TYPED_HEAD = "Content-Type: application/http; msgtype=response\r\nContent-Transfer-Encoding: binary\r\n"


def _changeset_head(boundary: str) -> str:
    # One line and no other: a client skips exactly one.
    return f"Content-Type: multipart/mixed; boundary={boundary}\r\n"


def _boundary(name: str) -> str:
    return f"{name}_{uuid4()}"


def _part(boundary: str, head: str, content: bytes) -> bytes:
    return f"--{boundary}\r\n{head}\r\n".encode("latin-1") + content + b"\r\n"


def _end(boundary: str) -> bytes:
    return f"--{boundary}--\r\n".encode()


def _responding(content_id: str) -> str:
    return f"<response-{content_id[1:]}" if content_id.startswith("<") else f"response-{content_id}"


def _preferred(head: Head, way: Way) -> tuple[Literal["continue", "stop"], str]:
    """What a failure means for the items behind it, and the preference that says so (OData 4.01 Protocol, "Preference continue-on-error")."""
    asked = continue_on_error(head)
    if not way.stops or asked is None:
        return ("stop" if way.stops else "continue"), ""
    name, goes_on = asked
    return ("continue" if goes_on else "stop"), f"{name}={str(goes_on).lower()}"


def _request_part(boundary: str, request: SubRequest) -> bytes:
    name = "" if request.id is None else str(request.id)
    if len(name) > MAX_ID or not (name.isascii() and name.isprintable()):
        raise ValueError(f"the id {name!r} cannot be a Content-ID: at most {MAX_ID} characters of printable ASCII")
    content_id = f"Content-ID: {name}\r\n" if name else ""
    return _part(boundary, _PLAIN_HEAD + content_id, request_bytes(request.method, request.target, request.headers, request.body))


class _Leaf(NamedTuple):
    name: str
    """The id of the request that it answers, empty where none is told."""
    answer: SubResponse


_Part: TypeAlias = _Leaf | list[_Leaf]


def _answered(body: bytes, content_type: str, limit: int) -> Iterator[_Part]:
    """The answers in *body*, those to a changeset as a list."""
    for start, end in split(body, boundary_of(content_type), limit):
        fields, content = part_of(body, start, end)
        inner = fields.get("content-type", "")
        if inner[:10].lower() == "multipart/":
            yield [_leaf(body, *part_of(body, first, last), last) for first, last in split(body, boundary_of(inner), limit, content, end)]
        else:
            yield _leaf(body, fields, content, end)


def _leaf(body: bytes, fields: Mapping[str, str], start: int, end: int) -> _Leaf:
    status, reason, told, content = response_of(body, start, end)
    name, duration, headers = fields.get("content-id", ""), 0.0, []
    for header, value in told:
        if header == BATCH_DURATION and _SECONDS.match(value):
            duration = float(value)
        elif header.lower() == "content-id":
            # Some servers write it there, and no app does.
            name = name or value
        else:
            headers.append((header, value))
    return _Leaf(name.removeprefix("<").removesuffix(">").removeprefix("response-"), SubResponse(status, reason, headers, content, duration=duration))


_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?\Z")


def _named(found: list[_Part], requests: Sequence[SubRequest]) -> list[SubResponse | None] | None:
    """The answers by the ids of their requests, where all of both have one; None where they do not."""
    leaves = {part.name: part.answer for part in found if isinstance(part, _Leaf)}
    ids = ["" if request.group or request.id is None else str(request.id) for request in requests]
    if "" in ids or len(leaves) < len(found) or not leaves.keys() <= set(ids):
        return None
    return [leaves.get(name) for name in ids]


def _matched(found: list[_Part], requests: Sequence[SubRequest]) -> Iterator[SubResponse]:
    """An answer for each of *requests*, by their order: the one answer to a changeset that failed is that of all its members.

    :raises ValueError: when there are more or fewer.
    """
    flat = len(found) == len(requests) and not any(isinstance(part, list) for part in found)
    left = list(reversed(found))
    for group, members in groupby(requests, lambda request: "" if flat else request.group):
        count = len(list(members))
        for _ in range(1 if group else count):
            part = left.pop() if left else []
            leaves = part if isinstance(part, list) else [part]
            if len(leaves) not in (1, count if group else 1):
                raise ValueError(f"{len(found)} answers to {len(requests)} requests, of which {len(leaves)} to a group of {count}")
            answers = [leaf.answer for leaf in leaves]
            yield from answers * count if group and len(answers) == 1 else answers
    if left:
        raise ValueError(f"{len(found)} answers to {len(requests)} requests")
