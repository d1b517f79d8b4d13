"""What the JSON dialects share: reading typed JSON, problem documents, texts of bodies, and the list of an answer spliced item by item."""

import base64
import json
import re
from collections.abc import Sequence
from functools import cached_property
from http import HTTPStatus
from typing import Any, Self, TypeVar

import msgspec
from msgspec import Struct

from ..errors import BadBatch, BatchRejected, TooManyItems
from ..model import Done, Fault, Head, Headers, SubRequest, SubResponse
from ..settings import Settings

T = TypeVar("T")

JSON: Headers = [
    ("Content-Type", "application/json"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
]
"""The headers of every JSON answer: not to be kept by caches, not to be taken for anything else by browsers."""

PROBLEM = "application/problem+json"

encode = msgspec.json.Encoder().encode


class JSONRecogniser:
    """What receives a batch in JSON, and refuses it."""

    media_types = frozenset({"application/json"})
    loose_types: frozenset[str] = frozenset()

    def max_body(self, media_type: str) -> int:
        # As Apache APISIX's batch-requests has it.
        return 1 << 20

    def refusal(self, head: Head, error: BatchRejected) -> tuple[int, Headers, bytes]:
        document = problem(error.status, error.code, error.detail, **error.members())
        return error.status, [("Content-Type", PROBLEM), *JSON[1:]], document


class JSONDialect(JSONRecogniser):
    """The part of a dialect that is alike in all JSON dialects."""

    # As django-batch-requests and Microsoft Graph have it.
    max_requests = 20

    def choose(self, head: Head, body: bytes, settings: Settings) -> Self:
        return self

    def failure(self, fault: Fault) -> tuple[Headers, bytes]:
        return [("Content-Type", PROBLEM)], problem(fault.status, fault.code, fault.detail, **dict(fault.members))

    def counted(self, items: list[T], settings: Settings, pointer: str = "") -> list[T]:
        """*items*, when there are not too many of them: counted before anything is made of them.

        :raises TooManyItems: when there are.
        """
        limit = self.max_requests if settings.max_requests is None else settings.max_requests
        if len(items) > limit:
            raise TooManyItems(len(items), limit, pointer)
        return items


def problem(status: int, code: str, detail: str, **members: object) -> bytes:
    """A problem document (RFC 9457)."""
    return encode({"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "code": code, "detail": detail, **members})


def read_json(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """*body* in the type of *decoder*.

    :raises BadBatch: for anything but that, with a pointer to the place where msgspec knows it.
    """
    try:
        # msgspec checks the encoding of the strings it makes only, not of members that it skips.
        if not body.isascii():
            body.decode()
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        sentence, _, place = str(error).partition(" - at `$")
        raise BadBatch(f"{sentence}.", json_pointer(place.removesuffix("`"))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadBatch(f"The body is no JSON in UTF-8: {_reason(error)}.") from None
    except RecursionError:
        raise BadBatch("The JSON is nested too deep.") from None


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    return str(error).removeprefix("JSON is malformed: ").lower()


def json_pointer(place: str) -> str:
    """msgspec's ``.batch[3].url`` as a JSON Pointer; a key it does not name ends the way."""
    return "".join("/" + (name or index) for name, index in re.findall(r"\.([^.\[]+)|\[(\d+)\]", place.partition("[...]")[0]))


def upper_case(method: str) -> str:
    # Only what is ASCII may be turned to upper case: a long s would become an S.
    return method.upper() if method.isascii() else method


def text_of(answer: SubResponse) -> str | None:
    """The body of *answer* as text, or None when it has to travel as base64."""
    if answer.kind == "binary" and answer.body:
        return None
    try:
        text = answer.body.decode()
    except UnicodeDecodeError:
        return None
    # What holds a NUL is called text by mistake.
    return text if answer.kind == "json" or "\0" not in text else None


_ANY = msgspec.json.Decoder(msgspec.Raw)


def is_json(body: bytes) -> bool:
    """Can *body* stand in a JSON text as it is? One that cannot would break the whole answer."""
    try:
        _ANY.decode(body)
        # Raw checks the grammar, not the encoding.
        body.isascii() or body.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def base64_of(body: bytes) -> str:
    return base64.b64encode(body).decode("ascii")


def headers_of(answer: SubResponse) -> dict[str, Any]:
    """The headers of *answer* as a JSON object, to be changed freely."""
    pairs = answer.headers
    headers: dict[str, Any] = dict(pairs)
    return as_object(pairs) if answer.respelt or len(headers) != len(pairs) else headers


def as_object(headers: Headers) -> dict[str, Any]:
    """Headers as a JSON object that keeps every value: repeated ones joined, except Set-Cookie, which cannot be."""
    values: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for name, value in headers:
        values.setdefault(names.setdefault(name.lower(), name), []).append(value)
    return {name: found if len(found) > 1 and name.lower() == "set-cookie" else ", ".join(found) for name, found in values.items()}


def from_object(headers: dict[str, str | list[str]]) -> Headers:
    """The other way round: one header for each value."""
    return [(name, value) for name, found in headers.items() for value in ([found] if isinstance(found, str) else found)]


class Splicer:
    """An encoder whose body is pieces of JSON between a start and an end, with commas between them."""

    status = 200
    ordered = True
    settled = True

    def __init__(self, start: bytes, end: bytes) -> None:
        self.headers = list(JSON)
        self._lead, self._end = start, end

    def units(self, done: list[Done]) -> bytes:
        lead, self._lead = self._lead, b","
        return lead + self.pieces(done)

    def pieces(self, done: list[Done]) -> bytes:
        """The pieces for the items of *done*, with commas between them."""
        # One call for the whole list costs less than one for each; the brackets around it are cut off.
        return encode(self.answers(done))[1:-1]

    def answers(self, done: list[Done]) -> Sequence[Struct | None]:
        """What is told of each item of *done*, as an object; None where nothing is."""
        raise NotImplementedError

    def place(self, item: SubRequest) -> int:
        """Where the client has written *item*."""
        return item.index

    def end(self) -> bytes:
        return self._end if self._lead == b"," else self._lead + self._end


class Shape:
    """The outline of a JSON body, for telling dialects apart: its first list, and the first element of that.

    :raises BadBatch: when the body is no JSON as far as it is looked at.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.name: str | None = None
        """Of the first member of the outer object that is a list; None where the body is a list itself, or has none."""
        self.first: object = None
        """The first element of that list; None when there is none."""
        self.empty = False
        """Is there a list, and nothing in it?"""
        try:
            self._look(body.decode())
        except UnicodeDecodeError as error:
            raise BadBatch(f"The body is no JSON in UTF-8: {_reason(error)}.") from None
        except (ValueError, RecursionError) as error:
            raise BadBatch(f"The body is no JSON: {error}.") from None

    @cached_property
    def members(self) -> frozenset[str]:
        """All names in an outer object. For them the whole body has to be looked through."""
        found: dict[str, msgspec.Raw] = read_json(_OBJECT, self._body)
        return frozenset(found)

    def _look(self, text: str) -> None:
        name, at = None, 0
        for _ in range(_MOST):
            member = _MEMBER.match(text, at)
            if member is None:
                break
            name, at = _SCANNER.raw_decode(member[1])[0], member.end()
            if text.startswith("[", at):
                break
            _, at = _SCANNER.raw_decode(text, at)
        found = _LIST.match(text, at)
        if found is not None:
            self.name = name
            self.empty = text.startswith("]", found.end())
            if not self.empty:
                self.first, _ = _SCANNER.raw_decode(text, found.end())


_MOST = 16
"""Members of an outer object that are looked at: more than any dialect has."""
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SCANNER = json.JSONDecoder()
_MEMBER = re.compile(r'[ \t\n\r]*[{,][ \t\n\r]*("(?:[^"\\]|\\.)*+")[ \t\n\r]*:[ \t\n\r]*')
_LIST = re.compile(r"[ \t\n\r]*\[[ \t\n\r]*")
