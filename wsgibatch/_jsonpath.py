"""JSONPath (RFC 9535), with which a reference finds values in an earlier answer. The library for it comes with the extra ``jsonpath``.

A client writes the query, and may have had a hand in what is searched. So only what goes through an answer about once is taken: one ``..``, one
selector in a bracket, no second query from the root, no regular expressions, and in a filter nothing that leads to several places.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec

MAX_QUERY = 256
"""Characters of a query: as many as lead through any answer that a person has designed."""

_document = msgspec.json.Decoder(dict[str, Any] | list[Any], float_hook=Decimal)
# What leads to several places: '..', '*', a filter, a slice.
_SEVERAL = re.compile(r"\.\.|[*?:]")
# What leads on, and what is asked of each value on the way: a filter may say the same thing fifty times over.
_STEPS = re.compile(r"[.\[*:?@!&|=<>(]")
_FILTER = re.compile(r"\[\s*\?(?:(?!\.\.)[^][*:?]|\[[^][*:?]*+\])*+\]")
_TEXT = re.compile(r"""'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+\"""", re.DOTALL)


def check(query: str) -> None:
    """Is *query* one that is taken?

    :raises ValueError: when it is not; the message is a sentence for the client.
    """
    if len(query) > MAX_QUERY:
        raise ValueError(f"A JSONPath query has at most {MAX_QUERY} characters here.")
    if not query.isprintable():
        raise ValueError("A JSONPath query is printable text.")
    # Without commas there are no lists of selectors, and neither match() nor search(): a client's pattern may keep a processor busy for ever.
    bare = _TEXT.sub("''", query)
    if bare.count("..") > 1 or bare.count("$") > 1 or "," in bare:
        raise ValueError("A JSONPath query has one '$', one '..' at most, and no ',' here.")
    if "?" in _FILTER.sub("", bare):
        raise ValueError("In a filter of a JSONPath query each path leads to one place here, without '*', '..', ':' and filters of its own.")
    _compiled(query)


def steps(query: str) -> int:
    """How many times *query*, which has been checked, goes through an answer: with each step behind the first that leads to several places, and with
    all that its filters ask of each value. What leads to one place only is none.
    """
    bare = _TEXT.sub("''", query)
    several = _SEVERAL.search(bare)
    return len(_STEPS.findall(bare, several.start())) if several else 0


def parsed(body: bytes) -> object:
    """The JSON text *body* for queries; numbers with a point are :class:`~decimal.Decimal`, so that no digit is lost.

    :raises ValueError: for what is no object and no list in JSON, or nested too deep.
    """
    try:
        return _document.decode(body)
    except RecursionError:
        raise ValueError("This cannot be searched.") from None


def found(query: str, document: object) -> Iterator[object]:
    """What *query*, which has been checked, finds in the parsed *document*, in its order.

    :raises ValueError: for what is nested too deep to be searched.
    """
    _, fault, place = _environment()
    try:
        places = [place(filter_context={}, obj=document, parent=None, path="", parts=(), root=[])]
        # Not by finditer(), which begins with a place of the library's own.
        for segment in _compiled(query).segments:
            places = segment.resolve(places)
        for match in places:
            yield match.obj
    except (fault, ArithmeticError, RecursionError):
        raise ValueError("This cannot be searched.") from None


def _compiled(query: str) -> Any:
    environment, fault, _ = _environment()
    try:
        return environment.compile(query)
    except (fault, ArithmeticError, RecursionError):
        raise ValueError("This is no JSONPath query (RFC 9535) that can be followed here.") from None


@cache
def _environment() -> tuple[Any, type[Exception], Any]:
    """What compiles queries, the base of what it raises, and what a place in an answer is."""
    try:
        from jsonpath import JSONPathEnvironment, JSONPathError, JSONPathMatch
    except ImportError:
        raise ValueError("This server cannot follow references by JSONPath: it was installed without wsgibatch[jsonpath].") from None

    class Place(JSONPathMatch):
        """A place in an answer that does not know where it lies: where names are long and lists are, too, all places together would be huge."""

        __slots__ = ()

        def new_child(self, obj: object, key: int | str) -> "Place":
            return Place(filter_context={}, obj=obj, parent=None, path="", parts=(), root=[])

        def add_child(self, *children: JSONPathMatch) -> None:
            """Nobody asks for them, so they need not be kept."""

    return JSONPathEnvironment(strict=True), JSONPathError, Place
