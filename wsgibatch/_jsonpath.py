"""JSONPath (RFC 9535), with which a reference finds values in an earlier answer. The library for it comes with the extra ``jsonpath``.

A client writes the query, and may have had a hand in what is searched. So only what goes through an answer about once is taken: one ``..``, one
selector in a bracket, no second query from the root, and no regular expressions.
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
# What leads on, and what is asked of each value on the way: a filter may say the same thing fifty times over.
_STEPS = re.compile(r"[.\[?@!&|=<>(]")
_TEXT = re.compile(r"""'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+\"""", re.DOTALL)


def steps(query: str) -> int:
    """How many steps *query* takes through an answer, with those that its filters take at each value.

    :raises ValueError: for what is no query, or not one that is taken; the message is a sentence for the client.
    """
    if len(query) > MAX_QUERY:
        raise ValueError(f"A JSONPath query has at most {MAX_QUERY} characters here.")
    if not query.isprintable():
        raise ValueError("A JSONPath query is printable text.")
    # Without commas there are no lists of selectors, and neither match() nor search(): a client's pattern may keep a processor busy for ever.
    bare = _TEXT.sub("''", query)
    if bare.count("..") > 1 or bare.count("$") > 1 or "," in bare:
        raise ValueError("A JSONPath query has one '$', one '..' at most, and no ',' here.")
    _compiled(query)
    return max(1, len(_STEPS.findall(bare)))


def found(query: str, body: bytes) -> Iterator[object]:
    """What *query* finds in the JSON text *body*, in its order; numbers with a point are :class:`~decimal.Decimal`, so that no digit is lost.

    :raises ValueError: for what is no object and no list in JSON, or too deep to be searched.
    """
    _, fault = _environment()
    try:
        for match in _compiled(query).finditer(_document.decode(body)):
            yield match.obj
    except (fault, ArithmeticError, RecursionError):
        raise ValueError("This cannot be searched.") from None


def _compiled(query: str) -> Any:
    environment, fault = _environment()
    try:
        return environment.compile(query)
    except (fault, ArithmeticError, RecursionError):
        raise ValueError("This is no JSONPath query (RFC 9535) that can be followed here.") from None


@cache
def _environment() -> tuple[Any, type[Exception]]:
    """What compiles queries, and the base of what it raises."""
    try:
        from jsonpath import JSONPathEnvironment, JSONPathError
    except ImportError:
        raise ValueError("This server cannot follow references by JSONPath: it was installed without wsgibatch[jsonpath].") from None
    return JSONPathEnvironment(strict=True), JSONPathError
