"""multipart/mixed batches, as clients of Google, Azure, OData, Dataverse, SharePoint, ASP.NET and Flask-Batch send them.

A part of the type application/http holds one request. A part that is itself multipart is a *changeset*, an atomic group. All these clients speak
one format, and one form of the answer satisfies them all; what they need besides stands in ``_profiles``. Everything is read before anything runs,
so what is malformed has no effect.

Source: RFC 2046, section 5.1; OData 4.01 Protocol, "Multipart Batch Format"; MS-ODATA, section 2.2.7.6; the documentation of batches of Google's
APIs and of Azure Storage; and what the client libraries send.
"""

import re
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from secrets import token_hex
from typing import Literal

from msgspec import field

from .._answer import SPOILT
from .._timing import BATCH_DURATION, seconds
from .._vet import MAX_HEAD, answer_in_place
from ..errors import BadBatch, BatchRejected, TooManyItems
from ..model import Answers, Batch, Done, Fault, Head, Headers, SubRequest, SubResponse, Unit
from ..protocols import Encoder, Shape, Unanswered
from ..settings import Profile, Settings
from ._http import request_bytes, response_head
from ._json import JSON, encode
from ._leaves import MAX_ID, Leaf, Leaves, add_query, override, refer
from ._matching import answered, matched, named
from ._odata import continue_on_error, numbered
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

    def __init__(self, profile: Profile | None = None) -> None:
        self._profile = profile
        """Whose clients send the batch; None as long as nothing tells."""

    def max_body(self, media_type: str) -> int:
        # As Google's storage has it.
        return 10 << 20

    def choose(self, head: Head, body: bytes, settings: Settings) -> "MultipartDialect":
        return MultipartDialect(told_by(head) if settings.profile == "auto" else settings.profile)

    def recognises(self, head: Head, body: Shape) -> bool:
        return head.media_type in self.media_types

    def decode(self, head: Head, body: bytes, settings: Settings) -> MultipartBatch:
        most = PROFILES[self._profile or "google"].max_requests if settings.max_requests is None else settings.max_requests
        leaves = Leaves(body, head.headers.get("Content-Type", ""), most)
        way = PROFILES[self._profile or ("aspnet" if leaves.told[0].typed else "google")]
        on_error, preference = _preferred(head, way)
        items = leaves.items
        # Groups have the names of parts, so what lies between two of one belongs to it as well.
        if way.one_unit and len(items) > 1 and not (items[0].group and items[0].group == items[-1].group):
            raise BadBatch("Here a batch is one changeset, or one request: send what else there is in batches of its own.")
        refused = partial(answer_in_place, self)
        override(leaves.overridden, way, refused)
        if way.adds_query and head.query:
            add_query(items, head.query)
        refer(items, leaves.told, head, way, refused)
        linked = on_error == "stop" or any(item.group or item.after for item in items)
        return MultipartBatch(items, "", linked, on_error, way.methods, max_target=MAX_HEAD, way=way, told=leaves.told, preference=preference)

    def encoder(self, head: Head, batch: Batch, settings: Settings) -> Encoder:
        duration = (settings.duration_header or BATCH_DURATION) if settings.durations else None
        batch = batch if isinstance(batch, MultipartBatch) else MultipartBatch(batch.items)
        # What is only stopped has happened as far as it came, and is told.
        return MultipartEncoder(head, batch, duration, undone=settings.atomic != "stop")

    def refusal(self, head: Head, error: BatchRejected) -> tuple[int, Headers, bytes]:
        fault = Fault(error.status, error.code, error.detail, tuple(error.members().items()))
        return error.status, list(JSON), _document(fault, self._profile or told_by(head))

    def failure(self, fault: Fault) -> tuple[Headers, bytes]:
        return JSON[:1], _document(fault, self._profile)

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
            found, cut = answered(body, content_type, len(requests))
        except TooManyItems as error:
            raise ValueError(f"more than {error.limit} answers to {error.limit} requests") from None
        except BatchRejected as error:
            raise ValueError(error.detail) from None
        by_name = named(found, requests)
        answers = list(matched(found, requests, cut)) if by_name is None else by_name
        known = [answer for answer in answers if answer is not None]
        if len(known) < len(answers):
            raise Unanswered(answers, cut)
        return known


def _document(fault: Fault, profile: Profile | None) -> bytes:
    """An error as the clients of *profile* read one."""
    if profile == "azure-tables":
        # With any other member a client gives the whole document for the message.
        return encode({"odata.error": {"code": fault.code, "message": {"lang": "en", "value": fault.detail}}})
    inner = {"code": fault.code, **dict(fault.members)}
    return encode({"error": {"code": fault.status, "message": fault.detail, "innererror": inner}})


_VERSION = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?(?:;[ -~]{0,80})?\Z")


class MultipartEncoder:
    """Writes parts, in the form that satisfies every client at once.

    :param undone: is nothing left of a changeset that has failed?
    """

    ordered = True
    settled = True

    def __init__(self, head: Head, batch: MultipartBatch, duration: str | None, undone: bool) -> None:
        self._way, self._told, self._duration, self._undone = batch.way, batch.told, duration, undone
        self._token = token_hex(16)
        self._boundary = f"batchresponse_{self._token}"
        self._changesets = 0
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
        failed = [leaf for leaf in leaves if leaf[1].status >= 400] if self._undone else []
        if self._way.flat:
            return self._leaves(self._boundary, leaves)
        if failed:
            # One speaks for all, and rather the failure itself than what is told of the others.
            item, answer = min(failed, key=lambda leaf: leaf[1].status == 424)
            leaves = [(item, numbered(answer, item.index - unit[0].index) if self._way.keeps_failed else answer)]
            if not self._way.keeps_failed:
                return self._leaves(self._boundary, leaves)
        self._changesets += 1
        inner = f"changesetresponse_{self._changesets}_{self._token}"
        return _part(self._boundary, _changeset_head(inner), self._leaves(inner, leaves) + _end(inner))

    def _leaves(self, boundary: str, leaves: list[tuple[SubRequest, SubResponse]]) -> bytes:
        return b"".join([self._leaf(boundary, item, answer) for item, answer in leaves])

    def _leaf(self, boundary: str, item: SubRequest, answer: SubResponse) -> bytes:
        if self._token.encode() in answer.body:
            # Only who has read the beginning of a stream can know it, and put it there.
            answer = answer_in_place(MultipartDialect(), SPOILT)
        leaf = self._told[item.index] if self._told else Leaf()
        content_id = leaf.content_id
        headers = answer.headers
        if self._duration is not None:
            headers = [*headers, (self._duration, seconds(answer.duration))]
        head = _TYPED_HEAD if leaf.typed else _PLAIN_HEAD
        if content_id:
            content_id = _responding(content_id) if self._way.responds else content_id
            if leaf.inside:
                headers = [("Content-ID", content_id), *headers]
            else:
                head = f"{head}Content-ID: {content_id}\r\n"
        # What is said in the app's place has a body whatever was asked for.
        body, length = (answer.body, len(answer.body)) if item.method != "HEAD" else (b"", _announced(headers))
        inner = response_head(answer.status, answer.reason, headers, length)
        return b"%b%b\r\n" % (f"--{boundary}\r\n{head}\r\n{inner}".encode("latin-1"), body)


def _announced(headers: Headers) -> int:
    """The length of the body that an answer to HEAD leaves out, where the app tells it."""
    return int(next((value for name, value in headers if name.lower() == "content-length"), "0"))


_PLAIN_HEAD = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"
_TYPED_HEAD = "Content-Type: application/http; msgtype=response\r\nContent-Transfer-Encoding: binary\r\n"


def _changeset_head(boundary: str) -> str:
    # One line and no other: a client skips exactly one.
    return f"Content-Type: multipart/mixed; boundary={boundary}\r\n"


def _boundary(name: str) -> str:
    """For a batch of the client's half."""
    return f"{name}_{token_hex(16)}"


def _part(boundary: str, head: str, content: bytes) -> bytes:
    return f"--{boundary}\r\n{head}\r\n".encode("latin-1") + content + b"\r\n"


def _end(boundary: str) -> bytes:
    return f"--{boundary}--\r\n".encode()


def _responding(content_id: str) -> str:
    return f"<response-{content_id[1:]}" if content_id.startswith("<") else f"response-{content_id}"


def _preferred(head: Head, way: Way) -> tuple[Literal["continue", "stop"], str]:
    """What a failure means for the items behind it, and the preference that says so (OData 4.01 Protocol, "Preference continue-on-error")."""
    if not way.stops:
        return "continue", ""
    asked = continue_on_error(head)
    if asked is None:
        return "stop", ""
    name, goes_on = asked
    return ("continue" if goes_on else "stop"), f"{name}={str(goes_on).lower()}"


def _request_part(boundary: str, request: SubRequest) -> bytes:
    name = "" if request.id is None else str(request.id)
    if len(name) > MAX_ID or not (name.isascii() and name.isprintable()):
        raise ValueError(f"the id {name!r} cannot be a Content-ID: at most {MAX_ID} characters of printable ASCII")
    content_id = f"Content-ID: {name}\r\n" if name else ""
    return _part(boundary, _PLAIN_HEAD + content_id, request_bytes(request.method, request.target, request.headers, request.body))
