"""Reading the parts of a multipart batch: the requests that they hold, and what they refer to."""

import re
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias
from urllib.parse import unquote, unquote_plus

from msgspec import Struct

from .._vet import MAX_HEAD
from ..errors import BadBatch, DuplicateId, TooLarge, TooManyItems
from ..model import Edge, Fault, Head, Headers, Late, Reference, SubRequest, SubResponse
from ._envelope import content_type_of, kind_of
from ._http import request_of
from ._json import upper_case
from ._mime import boundary_of, part_of, split, values_of
from ._odata import SYSTEM, resolved, service_root
from ._profiles import Way
from ._references import in_bindings

MAX_ID = 1 << 10
"""Characters of a Content-ID, which comes back in the answer."""


def _plain(eol: str) -> str:
    """The head of nearly every part that holds a request; to match it costs less than to take it apart. All its lines end alike."""
    return (
        rf"(?i:Content-Type): ?application/http(?:; ?msgtype=(request))?{eol}(?:(?i:MIME-Version): ?1\.0{eol})?+"
        rf"(?:(?i:Content-Transfer-Encoding): ?(?i:binary){eol})?+(?:(?i:Content-ID): *+([!-~][ -~]*+){eol})?+{eol}"
    )


_PLAIN = re.compile("|".join([_plain("\r\n"), _plain("\n")]).encode())
# RFC 9110 has these given once; in all other fields values may be told in several lines.
_SINGLE = frozenset({"authorization", "content-length", "content-type", "cookie", "host"})


Kind: TypeAlias = Literal["changeset", "typed", "plain"]


_OVERRIDES = frozenset({"x-http-method", "x-http-method-override", "x-method-override"})
_SPECIAL = _OVERRIDES | {"content-id", "range", "transfer-encoding"}
"""Fields that are looked at before vetting."""


class Leaf(Struct, gc=False):
    """What a part says of the request that it holds."""

    content_id: str = ""
    """As it was written, without white space around it; empty when there is none."""
    inside: bool = False
    """Did it stand in the head of the request, where some clients expect it back?"""
    typed: bool = False
    """Did the part's content type say ``msgtype``, as the answer's then has to?"""


class Leaves:
    """The requests of one batch, with what their parts say of them.

    :raises BadBatch: for what is malformed, telling in which part.
    :raises TooManyItems: for more than *limit* requests.
    """

    def __init__(self, body: bytes, content_type: str, limit: int) -> None:
        self._body, self._limit = body, limit
        self.items: list[SubRequest] = []
        self.told: list[Leaf] = []
        self.overridden: list[SubRequest] = []
        """Items that say in a header what their method is."""
        for number, (start, end) in enumerate(split(body, boundary_of(content_type), limit), 1):
            try:
                if plain := _PLAIN.match(body, start, end):
                    typed, name, typed_too, name_too = plain.groups()
                    self._leaf(name or name_too, (typed or typed_too) is not None, plain.end(), end)
                else:
                    self._part(start, end, number)
            except BadBatch as error:
                raise BadBatch(f"Part {number}: {error.detail}") from None

    def _part(self, start: int, end: int, number: int) -> None:
        """A part of the batch itself whose head is not plain."""
        fields, content = part_of(self._body, start, end)
        kind = _kind_of(fields)
        if kind != "changeset":
            self._leaf(fields.get("content-id"), kind == "typed", content, end)
            return
        for first, last in split(self._body, boundary_of(fields["content-type"]), self._limit, content, end):
            fields, content = part_of(self._body, first, last)
            kind = _kind_of(fields)
            if kind == "changeset":
                raise BadBatch("A changeset cannot hold another.")
            self._leaf(fields.get("content-id"), kind == "typed", content, last, f"changeset {number}")

    def _leaf(self, told: str | bytes | None, typed: bool, start: int, end: int, group: str = "") -> None:
        """A part that holds a request, and may have been *told* a Content-ID."""
        index = len(self.items)
        if index == self._limit:
            raise TooManyItems(index + 1, index)
        method, target, headers, body = request_of(self._body, start, end)
        content_id = told.decode().rstrip(" ") if isinstance(told, bytes) else told or ""
        inside = overridden = False
        if headers:
            names = {name.lower() for name, _ in headers}
            if not names.isdisjoint(_SPECIAL):
                own = [value for name, value in headers if name.lower() == "content-id"]
                if len(own) > 1:
                    raise BadBatch("A Content-ID is given once.")
                inside = bool(own) and not content_id
                content_id = own[0] if inside else content_id
                headers = [field for field in headers if not _withheld(*field)]
                names = {name.lower() for name, _ in headers}
                overridden = not names.isdisjoint(_OVERRIDES)
            if len(names) < len(headers):
                headers = _joined(headers)
        if len(content_id) > MAX_ID or not (content_id.isascii() and content_id.isprintable()):
            raise BadBatch(f"A Content-ID is at most {MAX_ID} characters of printable ASCII.")
        self.told.append(Leaf(content_id, inside, typed))
        self.items.append(SubRequest(index, method, target, headers, body, content_id or None, (), group))
        if overridden:
            self.overridden.append(self.items[-1])


_kinds: dict[str | None, Kind] = {None: "plain", "application/http": "plain"}
"""What a part is by its content type: a bounded memory, of what holds no boundary."""
_MEMORY = 64
_LONGEST = 80


def _kind_of(fields: Mapping[str, str]) -> Kind:
    if "content-transfer-encoding" in fields and fields["content-transfer-encoding"].lower() not in ("binary", "8bit", "7bit"):
        raise BadBatch("A part is sent as it is, without a Content-Transfer-Encoding.")
    content_type = fields.get("content-type")
    return _kinds.get(content_type) or _learnt(content_type or "")


def _learnt(content_type: str) -> Kind:
    if content_type[:10].lower() == "multipart/":
        return "changeset"
    types = values_of("msgtype", content_type)
    if content_type.partition(";")[0].strip().lower() != "application/http" or [word.lower() for word in types] not in ([], ["request"]):
        raise BadBatch("A part holds a request of the type application/http, or is a changeset of the type multipart/mixed.")
    kind: Kind = "typed" if types else "plain"
    if len(_kinds) < _MEMORY and len(content_type) <= _LONGEST:
        _kinds[content_type] = kind
    return kind


def _joined(headers: Headers) -> Headers:
    """*headers* with the values of those joined that are given several times."""
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(value)
    # What may be given once only is left as it is, and refused where items are vetted.
    joined = [(name, ", ".join(found)) for name, found in values.items() if name not in _SINGLE]
    return joined + [(name, value) for name, found in values.items() if name in _SINGLE for value in found]


def _withheld(name: str, value: str) -> bool:
    """Is the app not told this? It gets the whole of a request, and a piece of an answer would be no answer here."""
    lower = name.lower()
    return lower in ("content-id", "range") or (lower == "transfer-encoding" and value.lower() == "identity")


def override(items: list[SubRequest], way: Way, refused: Callable[[Fault], SubResponse]) -> None:
    """Have *items* be what a header says that they are, or refuse them.

    Where clients mean it so, a POST is what ``X-HTTP-Method`` says (MS-ODATA, section 2.2.5.8), and is vetted as that. Everywhere else an app might
    take the item for what nobody has vetted, or run as a POST what was meant as something else.

    :param refused: makes the answer to an item that is refused.
    """
    for item in items:
        told = [(name.lower(), upper_case(value)) for name, value in item.headers if name.lower() in _OVERRIDES]
        if all(method == item.method for _, method in told):
            continue
        if way.tunnels and item.method == "POST" and [name for name, _ in told] == ["x-http-method"]:
            item.method = told[0][1]
        else:
            item.refusal = refused(_OVERRIDDEN)


_OVERRIDDEN = Fault(400, "method-override", "A header of this request calls it by another method: begin it with the method that is meant.")


def add_query(items: list[SubRequest], query: str) -> None:
    """Give each of *items* the parameters of *query* that it does not have itself ("Sending Batch Requests" of Google's APIs).

    :raises TooLarge: for a query that is longer than a url may be.
    """
    if len(query) > MAX_HEAD:
        raise TooLarge(MAX_HEAD)
    added = [(parameter, _named(parameter)) for parameter in query.split("&") if parameter]
    names = {name for _, name in added}
    for item in items:
        path, _, own = item.target.partition("?")
        given = {_named(parameter) for parameter in own.split("&")} & names if own else set()
        missing = [parameter for parameter, name in added if name not in given] if given else [query]
        item.target = f"{path}?{'&'.join([own, *missing] if own else missing)}" if missing else item.target


def _named(parameter: str) -> str:
    return unquote_plus(parameter.partition("=")[0])


def refer(items: list[SubRequest], told: list[Leaf], head: Head, way: Way, refused: Callable[[Fault], SubResponse]) -> None:
    """Complete *items* with what they are relative to, and what they refer to: ``$id`` in the url, as an entity tag, and where a JSON body binds it.

    :param refused: makes the answer to an item that refers to what is not there.
    :raises DuplicateId: when an id that can be referred to is given twice in one changeset, or twice outside of any.
    """
    root = service_root(head)
    if not way.refers:
        for item in items:
            if not item.target.startswith("/"):
                item.target = resolved(item.target, root)
        return
    entity = re.compile(rf"(?:(?i:https?://{re.escape(head.host)})?{re.escape(root)}/|/)?(?:\$|%24)([^/?#]+)")
    known: dict[str, int] = {}
    scope = ""
    for item, leaf in zip(items, told, strict=True):
        if item.group != scope and not way.refers_across:
            known, scope = {}, item.group
        target = item.target
        # Nearly no url refers to anything, which is seen sooner than matched.
        found = entity.match(target) if "$" in target or "%24" in target else None
        name = unquote(found[1]) if found else ""
        if name.partition("(")[0] in SYSTEM:
            found = None
        tags = [(field, value[1:]) for field, value in item.headers if value[:1] == "$" and field.lower() in _CONDITIONS]
        if (found and name not in known) or any(tag not in known for _, tag in tags):
            item.refusal = refused(_UNKNOWN)
        elif known and (found or tags or item.body):
            _bind(item, known, found, tags)
        name = leaf.content_id.removeprefix("<").removesuffix(">")
        if name and (item.group or way.refers_across):
            # Clients count from one again in each changeset; a name means the nearest before it.
            if name in known and items[known[name]].group == item.group:
                raise DuplicateId("Another request has this Content-ID.", f"/{item.index}")
            known[name] = item.index
        if item.late is None or not item.late.target:
            item.target = resolved(item.target, root)


_UNKNOWN = Fault(404, "unknown-reference", "No request before this one, from which it could be referred to, has this Content-ID.")


_CONDITIONS = frozenset({"if-match", "if-none-match"})


def _bind(item: SubRequest, known: dict[str, int], found: re.Match[str] | None, tags: Headers) -> None:
    """Complete *item* with its references to those *known*, by name and place.

    :param found: the one that its url begins with, if any.
    :param tags: headers and names of those whose entity tags they want.
    """
    target: tuple[str | Reference, ...] = ()
    if found:
        entity, rest = Reference(known[unquote(found[1])], "entity"), item.target[found.end() :]
        target = (entity, rest) if rest else (entity,)
    headers = tuple((field, Reference(known[tag], "etag")) for field, tag in tags)
    is_json = kind_of(content_type_of(item.headers) or "application/json") == "json"
    body = tuple(in_bindings(item.body, known)) if is_json else ()
    used = [*target, *(reference for _, reference in headers), *body]
    item.after = tuple(Edge(index) for index in dict.fromkeys(piece.index for piece in used if isinstance(piece, Reference)))
    if item.after:
        item.late = Late(target, headers, body)
