"""References to earlier answers, bound where the item that holds them is run.

What a reference stands for comes out of an app's answer, which a client may have had a hand in. So it is checked as what a client sends: an
entity has to be on this host, a url goes through all that a url goes through, a value cannot leave the segment, header or JSON value that it
fills, and nothing grows past the limits of a batch.
"""

from collections.abc import Iterator
from decimal import Decimal
from threading import Lock
from urllib.parse import quote, quote_plus, urljoin

import msgspec
from msgspec import Raw

from . import _jsonpath
from ._body import Part, joined
from ._grammar import VALUE
from ._target import to_path
from ._vet import MAX_HEAD, Vetter
from .model import Batch, Fault, Head, Late, Reference, SubRequest, SubResponse

_container = msgspec.json.Decoder(dict[str, Raw] | list[Raw])
_scalar = msgspec.json.Decoder(str | int | float | bool | None)

_SEARCHED = 4 << 20
"""Bytes that the queries of one batch may go through, each time counted: seconds, where an answer is nothing but a list of digits."""

_TOO_LARGE = Fault(413, "too-large", "With what it refers to, this request is larger than a batch may carry.")
_SEARCHED_ENOUGH = Fault(
    413,
    "too-large",
    f"All queries of one batch may go through {_SEARCHED} bytes of answers, an answer counted each time: refer to less, or split the batch.",
    (("limit", _SEARCHED),),
)


class _Missing(Exception):
    """What is referred to is not there, or cannot stand where it is wanted."""


class _Excess(Exception):
    """What is referred to would make an item larger than it may be."""


class _Exhausted(Exception):
    """It would take too much to find what is referred to."""


class Binder:
    """Binds the references of one batch, in any thread."""

    def __init__(self, batch: Batch, head: Head, vet: Vetter, max_body: int) -> None:
        self._batch, self._head, self._vet, self._max_body = batch, head, vet, max_body
        self.wanted = {reference.index for item in batch.items if item.late is not None for reference in _references(item.late)}
        """The items whose answers have to be kept."""
        self._earlier: dict[int, tuple[SubRequest, SubResponse]] = {}
        # Each container is read once, however many references lead through it, and all that are read are not larger than a batch may be.
        self._read: dict[tuple[int, tuple[str, ...]], dict[str, Raw] | list[Raw]] = {}
        self._left = max_body
        self._paths: dict[tuple[int, bool], str] = {}
        # One thread at a time searches, so that no answer is read twice.
        self._searching = Lock()
        self._documents: dict[int, object] = {}
        self._found: dict[tuple[int, str], str] = {}
        self._searched = 0

    def keep(self, item: SubRequest, answer: SubResponse) -> None:
        """Remember *answer*, since references lead to it."""
        self._earlier[item.index] = item, answer

    def forget(self, index: int) -> None:
        """The answer to the item *index* has become untrue."""
        self._earlier.pop(index, None)
        self._paths.pop((index, True), None)
        self._paths.pop((index, False), None)

    def bind(self, item: SubRequest, late: Late) -> Fault | None:
        """Complete *item* with what it refers to, or tell why it cannot be run."""
        try:
            return self._bind_target(item, late.target) or self._bind_headers(item, late.headers) or self._bind_body(item, late.body)
        except _Missing as missing:
            return Fault(424, "reference-missing", str(missing))
        except _Excess:
            return _TOO_LARGE
        except _Exhausted:
            return _SEARCHED_ENOUGH

    def _bind_target(self, item: SubRequest, pieces: tuple[str | Reference, ...]) -> Fault | None:
        if not pieces:
            return None
        target = ""
        for piece in pieces:
            if isinstance(piece, str):
                # The path of an entity may end in a slash, and what follows it begins with one.
                target = target.removesuffix("/") + piece if piece.startswith("/") else target + piece
            elif piece.part == "entity":
                target += self._entity(piece.index, whole=len(pieces) == 1)
            else:
                target += self._segment(piece, in_path="?" not in target)
            if len(target) > self._batch.max_target:
                raise _Excess
        item.target = target
        return self._vet.aim(item, self._head)

    def _bind_headers(self, item: SubRequest, headers: tuple[tuple[str, Reference], ...]) -> Fault | None:
        size = sum(len(name) + len(value) for name, value in item.headers)
        for name, reference in headers:
            value = self._etag(reference.index) if reference.part == "etag" else self._text(reference, MAX_HEAD)
            size += len(value)
            if size > MAX_HEAD:
                raise _Excess
            if not VALUE.match(value):
                raise _Missing("What a header refers to cannot stand in one.")
            self._vet.set_header(item, name, value)
        return None

    def _bind_body(self, item: SubRequest, pieces: tuple[bytes | Part | Reference, ...]) -> Fault | None:
        if not pieces:
            return None
        bound: list[bytes | Part] = []
        size = 0
        for piece in pieces:
            found = self._in_body(piece) if isinstance(piece, Reference) else piece
            bound.append(found)
            size += found.size if isinstance(found, Part) else len(found)
            if size > self._max_body:
                raise _Excess
        item.body, item.form = joined(bound)
        return None

    def _in_body(self, reference: Reference) -> bytes:
        """What fills a JSON value, the value of a field in a form, or a place in a text."""
        match reference.part:
            case "found":
                return quote_plus(self._text(reference, self._max_body)).encode()
            case "text":
                return self._text(reference, self._max_body).encode()
            case "entity":
                return msgspec.json.encode(self._entity(reference.index, whole=True))
        return bytes(self._value(reference))

    def _answer(self, index: int) -> tuple[SubRequest, SubResponse]:
        try:
            return self._earlier[index]
        except KeyError:
            raise _Missing("The request that this one refers to was not run.") from None

    def _entity(self, index: int, whole: bool) -> str:
        path = self._paths.get((index, whole))
        if path is None:
            path = self._paths[index, whole] = self._path(index, whole)
        return path

    def _path(self, index: int, whole: bool) -> str:
        """The path of what a request made or returned (OData 4.01 Protocol, "Referencing Returned Entities")."""
        item, answer = self._answer(index)
        headers = {name.lower(): value for name, value in reversed(answer.headers)}
        named = headers.get("location") or headers.get("odata-entityid")
        if named is None and item.method == "POST":
            # Its own path is that of a collection, which nobody wants to delete for want of a header.
            raise _Missing("The answer that this request refers to has no Location.")
        if named is not None and not named.isprintable():
            raise _Missing("The Location that this request refers to is no url.")
        path = _joined(item.target, named, self._head)
        if isinstance(path, Fault):
            raise _Missing("The Location that this request refers to is not on this host.")
        if "?" in path and not whole:
            raise _Missing("The Location that this request refers to has a query, so no path can follow it.")
        return path

    def _etag(self, index: int) -> str:
        found = next((value for name, value in self._answer(index)[1].headers if name.lower() == "etag"), None)
        if found is None:
            raise _Missing("The answer that this request refers to has no ETag.")
        return found

    def _segment(self, reference: Reference, in_path: bool) -> str:
        """A value in a url: percent-encoded, so that it is one segment, or one part of a query."""
        text = self._text(reference, self._batch.max_target)
        # A server decodes a path before an app sees it, and with it what was a slash within a segment.
        if in_path and (text in ("", ".", "..") or (reference.part != "literal" and "/" in text)):
            raise _Missing("What this request refers to cannot be a segment of a path.")
        return quote(text, safe="")

    def _text(self, reference: Reference, most: int) -> str:
        """A single value, or those that a query finds, as text of at most *most* characters."""
        if reference.part in ("found", "text"):
            return self._found_by(reference, most)
        raw = bytes(self._value(reference))
        # A character takes six bytes at most: \\u00e9.
        if len(raw) > 6 * most:
            raise _Excess
        try:
            value = _scalar.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise _Missing("What this request refers to is no single value.") from None
        if isinstance(value, str):
            # OData 4.01 URL Conventions, "Primitive Literals": a quote within is doubled.
            return "'" + value.replace("'", "''") + "'" if reference.part == "literal" else value
        if value is None and reference.part != "literal":
            raise _Missing("What this request refers to is null.")
        return raw.decode("ascii")

    def _found_by(self, reference: Reference, most: int) -> str:
        """The single values that a query finds, joined with commas."""
        _, answer = self._answer(reference.index)
        if answer.kind != "json":
            raise _Missing("The answer that this request refers to is no JSON.")
        key = reference.index, reference.path[0]
        with self._searching:
            text = self._found.get(key)
            if text is None:
                text = self._found[key] = self._search(*key, answer.body)
        if len(text) > most:
            raise _Excess
        return text

    def _search(self, index: int, query: str, body: bytes) -> str:
        """What *query* finds in *body*, which the item *index* was answered."""
        try:
            if index not in self._documents:
                self._count(len(body))
                self._documents[index] = _jsonpath.parsed(body)
            self._count(len(body) * _jsonpath.steps(query))
            values = [*map(_plain, _jsonpath.found(query, self._documents[index]))]
        except ValueError:
            values = []
        if not values:
            raise _Missing("What this request refers to is not in the answer.")
        text = ",".join(values)
        # It is kept for others that ask for the same, and different queries may find the same.
        self._count(len(text))
        return text

    def _count(self, size: int) -> None:
        """Queries go through *size* bytes more."""
        self._searched += size
        if self._searched > _SEARCHED:
            raise _Exhausted

    def _value(self, reference: Reference) -> Raw:
        """A value in the JSON body of an answer, as it is written there."""
        _, answer = self._answer(reference.index)
        if answer.kind != "json":
            raise _Missing("The answer that this request refers to is no JSON.")
        raw = Raw(answer.body)
        for depth, name in enumerate(reference.path):
            members = self._members((reference.index, reference.path[:depth]), raw)
            try:
                raw = members[name] if isinstance(members, dict) else members[_index(name)]
            except LookupError:
                raise _Missing("What this request refers to is not in the answer.") from None
        return raw

    def _members(self, key: tuple[int, tuple[str, ...]], raw: Raw) -> dict[str, Raw] | list[Raw]:
        """What the JSON object or list *raw* holds."""
        members = self._read.get(key)
        if members is None:
            size = memoryview(raw).nbytes
            self._left -= size
            if self._left < 0:
                raise _Excess
            members = self._read[key] = _members(raw)
        return members


def _plain(value: object) -> str:
    """A single value as the text that stands for it in a url or a form."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return str(value)
    raise _Missing("What this request refers to is null, an object or a list.")


def _members(raw: Raw) -> dict[str, Raw] | list[Raw]:
    try:
        # Raw checks the grammar, not the encoding.
        bytes(raw).decode()
        found: dict[str, Raw] | list[Raw] = _container.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _Missing("What this request refers to is not in the answer.") from None
    return found


def _index(name: str) -> int:
    """The place in a list that *name* means; none is written with a sign or with zeros in front."""
    if not (name.isascii() and name.isdigit() and (name == "0" or name[0] != "0") and len(name) < 10):
        raise LookupError
    return int(name)


def _joined(base: str, location: str | None, head: Head) -> str | Fault:
    """The path that *location* leads to from *base*; *base* itself, without its query, where there is none."""
    try:
        return to_path(base.partition("?")[0] if location is None else urljoin(base, location.partition("#")[0]), head)
    except ValueError as error:
        return Fault(400, "bad-url", str(error))


def _references(late: Late) -> Iterator[Reference]:
    yield from (piece for piece in late.target if isinstance(piece, Reference))
    yield from (reference for _, reference in late.headers)
    yield from (piece for piece in late.body if isinstance(piece, Reference))
