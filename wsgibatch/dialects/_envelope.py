"""The envelope that Microsoft Graph and OData share: requests with ids, whose bodies are JSON, text or base64, and answers that are told by them.

What the member ``body`` is follows from the content type: JSON stands as it is, text of the types ``text/*`` is a string, and anything else is a
string in base64. Where that would mislead, the Content-Length of an answer tells which of the three a string is.
"""

import base64
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from ..errors import BadBatch
from ..model import Edge, Head, Headers, Kind, SubRequest, SubResponse
from ..protocols import Shape, Unanswered
from ._json import as_object, from_object, is_json, read_json, text_of
from ._lines import at
from ._references import PLACE, Id, Names

ToBase64 = Callable[[bytes], str]
Spell = Callable[[str], str]

_NULL = Raw(b"null")


class Request(Struct, gc=False):
    """What a request is made of, apart from its headers."""

    id: Id
    method: str
    url: str
    # As it is written: numbers keep their last digit.
    body: Raw = _NULL
    depends_on: list[Id] | None = field(default=None, name="dependsOn")
    # As the Python library for Graph spells it.
    also_depends_on: list[Id] | None = field(default=None, name="depends_on")


class Written(Struct, omit_defaults=True):
    """A request as a client writes it."""

    id: Id
    method: str
    url: str
    headers: dict[str, Any] = field(default_factory=dict)
    body: Raw | str | UnsetType = UNSET
    depends_on: list[Id] = field(default_factory=list, name="dependsOn")
    group: str = field(default="", name="atomicityGroup")


class Answered(Struct, gc=False):
    """An answer as a client reads it."""

    status: int
    headers: dict[str, str | list[str]] | None = None
    body: Raw = _NULL


class _Identified(Answered, gc=False, kw_only=True):
    id: Id


class AnsweredLine(Answered, gc=False, kw_only=True):
    """A line of an answer in lines."""

    index: int
    started: float = 0.0
    duration: float = 0.0


class _Responses(Struct):
    responses: list[_Identified]


_responses = msgspec.json.Decoder(_Responses)
_line = msgspec.json.Decoder(AnsweredLine)
_string = msgspec.json.Decoder(str)


def is_envelope(body: Shape) -> bool:
    """Does *body* look like requests with an id and a url?"""
    first = body.first
    return body.name == "requests" and isinstance(first, dict) and {"id", "url"} <= first.keys() and body.members == {"requests"}


def speaks_odata(head: Head) -> bool:
    """Does the batch have a header that only OData has, such as ``OData-Version``?"""
    return any(name.lower().startswith("odata-") for name in head.headers)


def without_spaces(url: str) -> str:
    """*url* with its spaces percent-encoded: the examples of both documentations have them."""
    return url.replace(" ", "%20") if " " in url else url


def fields_of(headers: dict[str, str | list[str]] | None) -> Headers:
    """Headers as pairs, those with several values joined."""
    return [(name, value if isinstance(value, str) else ", ".join(value)) for name, value in headers.items()] if headers else []


def field_in(line: str, pointer: str) -> tuple[str, str]:
    """A header that is written as in HTTP, as some clients list them; *pointer* leads to it.

    :raises BadBatch: for a line that is none.
    """
    name, colon, value = line.partition(":")
    if not colon:
        raise BadBatch("A header in a list is written 'Name: value'.", pointer)
    return name, value.strip(" \t")


# RFC 9110, section 9.3: a body has no meaning there. Clients send one all the same.
_BODILESS = frozenset({"GET", "HEAD", "DELETE"})


def body_of(index: int, method: str, raw: Raw, fields: Headers) -> bytes:
    """The bytes that the member ``body`` of a request stands for. Where *fields* do not tell what they are, they are JSON, and that is added.

    :raises BadBatch: for a string that should be base64 and is not.
    """
    if raw is _NULL or method in _BODILESS:
        return b""
    body = bytes(raw)
    if body == b"null":
        return b""
    content_type = content_type_of(fields)
    if content_type is None:
        fields.append(("Content-Type", "application/json"))
    if not body.startswith(b'"'):
        return body
    kind = "json" if content_type is None else kind_of(content_type)
    text = read_json(_string, body)
    if kind == "text":
        return text.encode()
    found = from_base64(text)
    if kind == "json":
        # Some clients send JSON that is no object in base64.
        return body if found is None or not is_json(found) else found
    if found is None:
        raise BadBatch("With this content type a body is a string in base64.", f"{PLACE}/{index}/body")
    return found


def content_type_of(fields: Headers) -> str | None:
    for name, value in fields:
        if name == "Content-Type" or name.lower() == "content-type":
            return value
    return None


_JSON_TYPE = re.compile(r"application/(?:[^;\s]+\+)?json\s*(?:;|\Z)", re.IGNORECASE)


def kind_of(content_type: str) -> Kind:
    """What a body of this type is in the envelope: JSON as it is, text as a string, anything else as base64."""
    if content_type == "application/json" or _JSON_TYPE.match(content_type):
        return "json"
    return "text" if content_type[:5].lower() == "text/" else "binary"


_BASE64 = re.compile(r"(?:[A-Za-z0-9+/_-]{4})*+(?:[A-Za-z0-9+/_-]{2}(?:==)?|[A-Za-z0-9+/_-]{3}=?)?\Z")
_STANDARD = str.maketrans("-_", "+/")


def from_base64(text: str) -> bytes | None:
    """The bytes that *text* stands for in base64 of either alphabet (RFC 4648), with or without padding; None where it is none."""
    return base64.b64decode(text.translate(_STANDARD) + "=" * (-len(text) % 4)) if _BASE64.match(text) else None


def body_in(answer: SubResponse, headers: dict[str, Any], spell: Spell, to_base64: ToBase64) -> Raw | str:
    """The body of *answer* as it stands in the envelope.

    Where its content type would have a string read as something else, its length is added to *headers*.

    :param spell: makes a header's name what it is in *headers*.
    """
    if answer.kind == "json" and is_json(answer.body):
        return Raw(answer.body)
    content_type = headers.get(spell("Content-Type"))
    kind = "text" if content_type is None else kind_of(content_type)
    text = None if kind == "binary" else text_of(answer)
    if kind == "json" or (kind == "text" and text is None):
        headers.setdefault(spell("Content-Length"), str(len(answer.body)))
    return to_base64(answer.body) if text is None else text


def written_of(requests: Sequence[SubRequest], to_base64: ToBase64, fold: bool = False) -> list[Written]:
    """*requests* as a client writes them.

    :param fold: are ids the same that differ in case only?
    :raises ValueError: when there is no way to say one of them.
    """
    ids = _ids(requests)
    try:
        Names(ids, [request.group or None for request in requests], fold)
    except BadBatch as error:
        raise ValueError(f"{error.pointer}: {error.detail}") from None
    written: list[Written] = []
    for place, request in enumerate(requests):
        if request.late is not None:
            raise ValueError("a client has no way to say references to earlier answers")
        body = _written_body(request, to_base64)
        depends_on = list(dict.fromkeys(_called(edge, place, requests, ids) for edge in request.after))
        written.append(Written(ids[place], request.method, request.target, as_object(request.headers), body, depends_on, request.group))
    return written


def _ids(requests: Iterable[SubRequest]) -> list[Id]:
    return [str(place + 1) if request.id is None else request.id for place, request in enumerate(requests)]


def _called(edge: Edge, place: int, requests: Sequence[SubRequest], ids: list[Id]) -> Id:
    """What the request at *place* has to name for *edge*: a group, where it is not in it itself."""
    if edge.when != "succeeded" or not 0 <= edge.index < place:
        raise ValueError("a request can only wait for the success of those before it")
    group = requests[edge.index].group
    return group if group and group != requests[place].group else ids[edge.index]


def _written_body(request: SubRequest, to_base64: ToBase64) -> Raw | str | UnsetType:
    body = request.body
    if not body:
        return UNSET
    if request.method in _BODILESS:
        raise ValueError(f"the body of a {request.method} would be ignored")
    content_type = content_type_of(request.headers)
    if content_type is None:
        raise ValueError("a body needs a Content-Type")
    kind = kind_of(content_type)
    if kind == "text":
        return body.decode()
    if kind == "binary":
        return to_base64(body)
    if not is_json(body):
        raise ValueError("a body of this Content-Type has to be JSON")
    return to_base64(body) if _ambiguous(body.strip()) else Raw(body)


def _ambiguous(body: bytes) -> bool:
    """Would this JSON be taken for no body, or for other JSON in base64?"""
    found = from_base64(_string.decode(body)) if body.startswith(b'"') else None
    return body == b"null" or (found is not None and is_json(found))


def responses_of(body: bytes, requests: Sequence[SubRequest]) -> list[SubResponse]:
    """The answers to *requests*, in their order, wherever they stand in *body*.

    :raises Unanswered: when it is one to some of them.
    :raises ValueError: when *body* is no answer to these requests.
    """
    try:
        responses = read_json(_responses, body).responses
    except BadBatch as error:
        raise ValueError(error.detail) from None
    answers = {answer.id: response_of(answer) for answer in responses}
    ids = _ids(requests)
    if len(responses) != len(answers) or not answers.keys() <= set(ids):
        raise ValueError("the answers have other ids than the requests")
    found = [answers[name] for name in ids if name in answers]
    if len(found) < len(ids):
        raise Unanswered([answers.get(name) for name in ids])
    return found


def line_of(line: bytes, requests: Sequence[SubRequest]) -> list[tuple[int, SubResponse]]:
    """The answer in *line*, with the place of its request.

    :raises ValueError: when it answers none.
    """
    read = _line.decode(line)
    answer = response_of(read)
    answer.started, answer.duration = read.started, read.duration
    return [(at(read.index, requests), answer)]


def response_of(answer: Answered) -> SubResponse:
    """*answer* as a record; null is an empty body."""
    headers = [(capitalised(name), value) for name, value in from_object(answer.headers or {})]
    content_type = content_type_of(headers)
    body = bytes(answer.body)
    kind: Kind = "text" if content_type is None else kind_of(content_type)
    if body == b"null":
        body = b""
    elif not body.startswith(b'"'):
        kind = "json"
    else:
        text = _string.decode(body)
        forms = {"json": body, "text": text.encode(), "binary": from_base64(text)}
        length = next((value for name, value in headers if name == "Content-Length"), "")
        wanted = forms[kind] or forms["text"]
        body = next((form for form in forms.values() if form is not None and str(len(form)) == length), wanted) or b""
    return SubResponse(answer.status, "", headers, body, kind)


_MEMORY = 1024
_LONGEST = 64


class _Spellings(dict[str, str]):
    """A bounded memory of names, since the same few come again and again."""

    def __missing__(self, name: str) -> str:
        kept = all(word[:1].isupper() for word in name.split("-")) and not name.isupper()
        spelt = name if kept else name.title()
        if len(self) < _MEMORY and len(name) <= _LONGEST:
            self[name] = spelt
        return spelt


_spellings = _Spellings()
capitalised: Spell = _spellings.__getitem__
"""A header's name with a capital at the start of each word. ``ETag`` stays what it is: it has them, and is not all capitals."""
