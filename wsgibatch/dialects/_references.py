"""How the items of a batch name each other: ids and groups, and references to earlier answers in urls, headers and bodies.

A reference is written ``$id``, or ``$id/path`` for a value in a JSON answer (OData 4.01 Protocol, "Referencing Returned Entities" and the sections
behind it). Text may look like one and be none; so a value is only sought where the item also says that it depends on the request that ``$id``
names.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal, TypeAlias
from urllib.parse import unquote

import msgspec
from msgspec import Meta

from ..errors import BadBatch, DependencyCycle, DuplicateId, UnknownDependency
from ..model import Edge, Reference
from ._json import is_json

Id: TypeAlias = str | Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""An id as JSON has it; an integer of 64 bits."""
Sought: TypeAlias = Callable[[str], int | None]
"""The place of the item whose answer an id leads to; None where ``$id/path`` is just text."""

PLACE = "/requests"
"""A JSON Pointer to the list of items."""
MAX_DEPTH = 32
"""Members that may lead to a value: deeper than any answer that a person has designed."""

MAX_REFERENCES = 1000
"""In one body: ten for each request that a batch may hold."""

_ID = re.compile(r"[!-~]{1,128}\Z")


class Names:
    """What the ids of a batch, and the names of its groups, stand for.

    :param groups: the group of each item, where any has one.
    :param fold: are ids the same that differ in case only?
    :raises BadBatch: for what is no id.
    :raises DuplicateId: for what two items, or an item and a group, are called.
    """

    def __init__(self, ids: Iterable[str | int], groups: Sequence[str | None] = (), fold: bool = False) -> None:
        self._fold, self._groups = fold, groups
        self.ids: dict[str, int] = {}
        """The place of each item."""
        is_id = _ID.match
        for index, name in enumerate(ids):
            if type(name) is not str:
                text = str(name)
            elif is_id(name):
                text = name.lower() if fold else name
            else:
                raise BadBatch("An id is an integer, or 1 to 128 visible ASCII characters.", f"{PLACE}/{index}/id")
            if self.ids.setdefault(text, index) != index:
                raise DuplicateId("Another request has this id.", f"{PLACE}/{index}/id")
        self._places = dict(self.ids)
        for index, group in enumerate(groups):
            if group is None:
                continue
            if not _ID.match(group):
                raise BadBatch("The name of a group is 1 to 128 visible ASCII characters.", f"{PLACE}/{index}/atomicityGroup")
            if group in self.ids:
                raise DuplicateId("A request has the name of this group as its id.", f"{PLACE}/{index}/atomicityGroup")
            self._places.setdefault(group, index)

    def earlier(self, name: str | int, index: int, member: str) -> int:
        """The item that *name* stands for, or the first one of a group, as *member* of the item *index* means it.

        :raises DependencyCycle: when that is the item itself, or its own group.
        :raises UnknownDependency: when nothing before it has this name.
        """
        text = self._text(name)
        place = self._places.get(text)
        if place == index or (self._groups and text == self._groups[index]):
            raise DependencyCycle("A request cannot wait for itself, nor for its own group.", f"{PLACE}/{index}/{member}")
        if place is None:
            raise _unknown(name, "No request has", index, member)
        if place > index:
            raise _unknown(name, "A request can only wait for those before it, and not for the one that has", index, member)
        return place

    def group(self, index: int) -> str:
        """The group of an item; an empty word where it has none."""
        return (self._groups[index] if self._groups else None) or ""

    def _text(self, name: str | int) -> str:
        text = name if isinstance(name, str) else str(name)
        # What is not ASCII is no id, but may be a letter of one in lower case: the sign of the kelvin is a k.
        return text.lower() if self._fold and text.isascii() else text


def _unknown(name: str | int, sentence: str, index: int, member: str) -> UnknownDependency:
    told = f"the id {name}" if isinstance(name, int) or _ID.match(name) else "this id"
    return UnknownDependency(f"{sentence} {told}.", f"{PLACE}/{index}/{member}")


class Links:
    """What one item has to do with those before it, as it is found out."""

    def __init__(self, names: Names, index: int) -> None:
        self._names, self._index = names, index
        self._edges: dict[tuple[int, Literal["succeeded", "failed", "ended"]], None] = {}
        self._depends: dict[str, Literal["succeeded", "ended"]] = {}

    def depend(self, wanted: Iterable[str | int], member: str, when: Literal["succeeded", "ended"]) -> None:
        """The item waits for those *wanted*, and may refer to values in their answers.

        :raises BadBatch: as :meth:`Names.earlier`.
        """
        for name in wanted:
            self._edges[self._names.earlier(name, self._index, member), when] = None
            self._depends[str(name)] = when

    def condition(self, name: str, member: str, when: Literal["succeeded", "failed"]) -> None:
        """The item is run only if *name* has ended so.

        :raises BadBatch: as :meth:`Names.earlier`.
        """
        self._edges[self._names.earlier(name, self._index, member), when] = None

    def request(self, name: str, member: str) -> int:
        """The place of the request that *name* refers to, which the item so waits for.

        :raises BadBatch: as :meth:`Names.earlier`, and for the name of a group.
        """
        if name not in self._names.ids:
            raise _unknown(name, "No request has", self._index, member)
        place = self._names.earlier(name, self._index, member)
        self._edges[place, "succeeded"] = None
        return place

    def value(self, name: str) -> int | None:
        """The place of the request that *name* refers to, if the item depends on it, or on its group; None if it does not."""
        place = self._names.ids.get(name)
        if place is None or place >= self._index:
            return None
        when = self._depends.get(name) or self._depends.get(self._names.group(place))
        if when is not None:
            self._edges[place, when] = None
        return None if when is None else place

    @property
    def after(self) -> tuple[Edge, ...]:
        """All that the item waits for. That something ends goes without saying where it has to end in a certain way."""
        edges = self._edges
        return tuple(
            [Edge(place, when) for place, when in edges if when != "ended" or not ((place, "succeeded") in edges or (place, "failed") in edges)]
        )


_SEGMENT = r"(?:/|%2[Ff])(?:[A-Za-z0-9_.~:@-]|%40|%[89A-Fa-f][0-9A-Fa-f])++"
# What goes on behind the path is an operation on the value, which nobody here can compute.
_VALUE = rf"(?:\$|%24)([A-Za-z0-9._~-]++)((?:{_SEGMENT})++)(?![/(]|%2[Ff]|%28)"
_IN_TEXT = re.compile(_VALUE)
# A quote within a quoted string is doubled, which makes it the end of one and the start of the next.
_IN_EXPRESSION = re.compile(rf"(?:'|%27).*?(?:'|%27|\Z)|{_VALUE}", re.DOTALL)


def in_query(url: str, sought: Sought) -> list[str | Reference]:
    """*url* in pieces, if there are references to values in its query; none otherwise.

    In a system query option, and in a parameter alias, they stand for literals of an expression; strings in quotes are text (OData 4.01 URL
    Conventions, "System Query Options" and "Parameter Aliases").
    """
    pieces: list[str | Reference] = []
    done = 0
    for start, end, expression in _parameters(url):
        for found in (_IN_EXPRESSION if expression else _IN_TEXT).finditer(url, start, end):
            name, written = found.groups()
            path = tuple(unquote(written).split("/")[1:]) if name else ()
            if 0 < len(path) <= MAX_DEPTH and (place := sought(name)) is not None:
                pieces += [url[done : found.start()], Reference(place, "literal" if expression else "value", path)]
                done = found.end()
    return [piece for piece in (*pieces, url[done:]) if piece] if pieces else []


def _parameters(url: str) -> Iterator[tuple[int, int, bool]]:
    """Where the value of each parameter in the query of *url* starts and ends, and whether it is an expression."""
    end = url.find("?")
    for parameter in url[end + 1 :].split("&") if end >= 0 else ():
        start, end = end + 1, end + 1 + len(parameter)
        name, equals, _ = parameter.partition("=")
        if equals:
            yield start + len(name) + 1, end, name.startswith(("$", "%24", "@", "%40"))


# Every string has to be looked at, to know where each begins; one with a colon behind it is the name of a member.
# One that is not closed reaches to the end, so that no text is looked at twice.
_STRING = re.compile(rb'"((?:[^"\\]++|\\.?)*+)(?:"|\Z)([ \t\r\n]*+:)?', re.DOTALL)
_string = msgspec.json.Decoder(str)


def in_json(body: bytes, sought: Sought) -> list[bytes | Reference]:
    """A JSON text in pieces, if any string in it is a reference to a value; none otherwise. All other bytes are kept as they were written."""
    pieces: list[bytes | Reference] = []
    done = 0
    if b"$" in body or b"\\u0024" in body:
        for found in _STRING.finditer(body):
            content, colon = found.groups()
            if colon is None and content.startswith((b"$", b"\\u0024")):
                reference = exactly(_string.decode(body[found.start() : found.end()]), sought)
                if reference is not None:
                    pieces += [body[done : found.start()], reference]
                    done = found.end()
                    _count(pieces)
    return [piece for piece in (*pieces, body[done:]) if piece] if pieces else []


def _count(pieces: list[bytes | Reference]) -> None:
    if len(pieces) > 2 * MAX_REFERENCES:
        raise BadBatch(f"The body of a request may hold at most {MAX_REFERENCES} references.")


def in_bindings(body: bytes, known: Mapping[str, int]) -> list[bytes | Reference]:
    """A JSON text in pieces, where it binds an entity that one of the requests *known* has made: ``"...@odata.bind": "$id"``."""
    pieces: list[bytes | Reference] = []
    done = behind = 0
    binds = False
    for found in _STRING.finditer(body) if b"bind" in body and b"$" in body and is_json(body) else ():
        content, colon = found.groups()
        # A list that is bound holds strings only, and ends with its bracket.
        between = body[behind : found.start()].strip(b" \t\r\n,[")
        behind = found.end()
        if colon is not None:
            binds = content.endswith((b"@odata.bind", b"@bind"))
        elif binds and not between and content.startswith(b"$") and (place := known.get(content[1:].decode("latin-1"))) is not None:
            pieces += [body[done : found.start()], Reference(place, "entity")]
            done = found.end()
            _count(pieces)
        elif between:
            binds = False
    return [piece for piece in (*pieces, body[done:]) if piece] if pieces else []


def exactly(text: str, sought: Sought) -> Reference | None:
    """The reference to a value that *text* is, and nothing else."""
    if not text.startswith("$"):
        return None
    name, *path = text[1:].split("/", MAX_DEPTH + 1)
    if not 0 < len(path) <= MAX_DEPTH or "" in path:
        return None
    place = sought(name)
    return None if place is None else Reference(place, "value", tuple(path))
