"""Multipart bodies: the parts of one, the head of a part, and the boundary between parts (RFC 2046, section 5.1), as clients really write them.

A body is never taken apart by copying: a part is a span, two offsets into the body that was received, and so is the content behind its head. Only
what an item carries is cut out, once. Everything is found by ``bytes.find`` and each byte is looked at a bounded number of times, so the time is
proportional to the length of the body whatever stands in it.

Lines end with CRLF or with a bare LF, which is settled for each delimiter and each head by itself. That is as far as tolerance goes: a CR or LF that
ends no line, and a NUL, are refused in every head, since two readers that disagree on where a line ends would read two different requests.
"""

import re
from collections.abc import Mapping
from itertools import takewhile
from types import MappingProxyType
from typing import TypeAlias

from .._grammar import TOKEN, VALUE
from .._vet import MAX_HEAD
from ..errors import BadBatch, TooLarge, TooManyItems

Span: TypeAlias = tuple[int, int]

MAX_PREAMBLE = 4 << 10
"""Bytes before the first delimiter: forty times what is known of any client, one of which writes its Content-Type there."""
MAX_LINES = 32
"""Lines in the head of a part: eight times what is known of any client."""
MAX_LINE = 8 << 10
"""Bytes of one of them: what nginx and Apache accept in a line by default."""

_BOM = b"\xef\xbb\xbf"
# What may stand behind the boundary on the line of a delimiter; the last delimiter has two hyphens there, and needs no end of line.
_TAIL = re.compile(rb"(?:(--)[ \t]*+(?:\r?\n|\Z)|[ \t]*+\r?\n)")
_LINE_ENDS = (b"\r\n", b"\n")
_CR = 13
_PARAMETER = re.compile(r';[ \t]*+(?:([^\s;="]++)[ \t]*+=[ \t]*+(?:"((?:[^"\\]|\\.)*+)"|([^;"]*+))[ \t]*+)?+', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_BOUNDARY = re.compile(r"[\x20-\x7e\x80-\xff]{0,199}[\x21-\x7e\x80-\xff]\Z")


class CutOff(BadBatch):
    """A multipart body without its end.

    :param parts: what came whole of it, since a delimiter stands behind.
    """

    def __init__(self, parts: list[Span]) -> None:
        super().__init__("The batch has no closing delimiter: it did not come whole, or a boundary is wrong.")
        self.parts = parts


def boundary_of(content_type: str) -> bytes:
    """The boundary that the Content-Type of a multipart body names.

    RFC 2046 allows it 70 characters; some clients take more, and some leave out the quotes that a ``=`` in it asks for. So a value without quotes
    runs to the next semicolon.

    :raises BadBatch: when there is none, more than one, or one that no delimiter can be made of.
    """
    found = values_of("boundary", content_type)
    if len(found) != 1 or not _BOUNDARY.match(found[0]):
        raise BadBatch("A multipart Content-Type names one boundary, of 1 to 200 characters.")
    return found[0].encode("latin-1")


def values_of(wanted: str, content_type: str) -> list[str]:
    """The values of the parameter *wanted*, as often as it is given; an empty word where it is in pieces, or in another charset (RFC 2231).

    :raises BadBatch: when the parameters cannot be told apart.
    """
    found: list[str] = []
    at = content_type.find(";")
    while 0 <= at < len(content_type):
        parameter = _PARAMETER.match(content_type, at)
        if parameter is None:
            raise BadBatch("The parameters of a Content-Type cannot be read.")
        at = parameter.end()
        name, quoted, plain = parameter.groups()
        # That is what an asterisk in a name means.
        if name and name.lower().partition("*")[0] == wanted:
            found.append("" if "*" in name else plain.rstrip(" \t") if quoted is None else _ESCAPE.sub(r"\1", quoted))
    return found


def split(body: bytes, boundary: bytes, limit: int, start: int = 0, end: int | None = None) -> list[Span]:
    """The parts of the multipart body that stands in *body* from *start* to *end*.

    A delimiter is a line of its own; a line that only begins like one belongs to a part. The line end before a delimiter belongs to it. What stands
    before the first delimiter and behind the last is passed over.

    :raises BadBatch: when there is no part, an empty one, or too much before the first.
    :raises CutOff: when there is no delimiter that closes the last: then nobody knows whether the body came whole.
    :raises TooManyItems: when there are more than *limit*; how many more is not looked at.
    """
    end = len(body) if end is None else end
    mark = b"\n--" + boundary
    parts: list[Span] = []
    search = None
    begin = _first(body, mark, start, end)
    # The line end of one delimiter may be the one before the next.
    at = begin - 1
    while (found := body.find(mark, at, end)) >= 0:
        at = found + len(mark)
        closes = None
        if body.startswith(_LINE_ENDS, at, end):
            at += body[at] == _CR
        else:
            tail = _TAIL.match(body, at, end)
            if tail is None:
                # There may be a million more such lines.
                search = search or re.compile(re.escape(mark) + _TAIL.pattern).search
                tail = search(body, at, end)
                if tail is None:
                    break
                found = tail.start()
            at, closes = tail.end() - 1, tail[1]
        stop = found - (body[found - 1] == _CR)
        if stop <= begin:
            raise BadBatch("A part of the batch is empty.")
        if len(parts) == limit:
            raise TooManyItems(limit + 1, limit)
        parts.append((begin, stop))
        if closes:
            return parts
        begin = at + 1
    raise CutOff(parts)


def _first(body: bytes, mark: bytes, start: int, end: int) -> int:
    """Where the first part begins."""
    if body.startswith(_BOM, start, end):
        start += len(_BOM)
    latest = min(end, start + MAX_PREAMBLE + len(mark))
    # The first delimiter is the only one that no line end need stand before.
    at = start + len(mark) - 1 if body.startswith(mark[1:], start, end) else _behind(body, mark, start, latest)
    while at:
        if tail := _TAIL.match(body, at, end):
            if tail[1]:
                raise BadBatch("The batch has no parts.")
            return tail.end()
        at = _behind(body, mark, at, latest)
    raise BadBatch(f"No line in the first {MAX_PREAMBLE} bytes of the batch is a delimiter: two hyphens and the boundary.")


def _behind(body: bytes, mark: bytes, start: int, end: int) -> int:
    """The offset behind the next *mark*, or 0."""
    found = body.find(mark, start, end)
    return found + len(mark) if found >= 0 else 0


def part_of(body: bytes, start: int, end: int) -> tuple[Mapping[str, str], int]:
    """The fields of a part's head, by their names in lower case, and the offset of its content, which reaches to *end*.

    A value is latin-1 text without the blanks around it. Folded lines are joined with one blank. A part without a head begins with its blank line.

    :raises BadBatch: for what is no head, and for one of more than 32 lines, or with a line of more than 8 KiB.
    :raises TooLarge: for a head of more than 64 KiB.
    """
    eol = b"\r\n"
    stop = body.find(b"\r\n\r\n", start, end)
    if stop < 0:
        eol = b"\n"
        stop = body.find(b"\n\n", start, end)
    if 0 < stop - start <= _LONGEST:
        head = body[start:stop]
        known = _heads.get((head, eol))
        if known is not None:
            return known, stop + 2 * len(eol)
        # What tells a part apart from others, if anything, is its last line.
        head, _, last = head.rpartition(eol)
        known = _heads.get((head, eol))
        if known is not None and (field := _plain(last)) and field[0] not in known:
            return {**known, field[0]: field[1]}, stop + 2 * len(eol)
    return _careful(body, start, end)


def _plain(line: bytes) -> tuple[str, str] | None:
    """Name and value of a line that is plainly a field."""
    written, colon, value = line.decode("latin-1").partition(":")
    if not (colon and value.isascii() and value.isprintable()):
        return None
    name = _names.get(written)
    if name is None:
        if not TOKEN.match(written):
            return None
        name = written.lower()
        if len(_names) < _MEMORY and len(written) <= _LONGEST:
            _names[written] = name
    return name, value.strip(" ")


_names: dict[str, str] = {}
"""A bounded memory of names in lower case, by the way they are written."""


def _careful(body: bytes, start: int, end: int) -> tuple[dict[str, str], int]:
    """The same for any head."""
    if body.startswith(_LINE_ENDS, start, end):
        return {}, start + 1 + (body[start] == _CR)
    lines, after = head_of(body, start, end)
    if len(lines) > MAX_LINES:
        raise BadBatch(f"The head of a part may have at most {MAX_LINES} lines.")
    fields: dict[str, str] = {}
    name = ""
    for line in lines:
        if len(line) > MAX_LINE or not VALUE.match(line):
            raise BadBatch(f"A line in the head of a part has control characters in it, or more than {MAX_LINE} bytes.")
        if name and line[0] in " \t" and not line.isspace():
            fields[name] += " " + line.strip(" \t")
            continue
        name, colon, value = line.partition(":")
        if not colon or not TOKEN.match(name):
            raise BadBatch("A line in the head of a part is no field: a name, a colon, a value.")
        name = name.lower()
        if name in fields and name.startswith("content-"):
            raise BadBatch("A field that describes a part may be given once.")
        fields[name] = value.strip(" \t")
    if len(fields) == len(lines):
        _remember(body[start:after], fields)
    return fields, after


_heads: dict[tuple[bytes, bytes], MappingProxyType[str, str]] = {}
"""A bounded memory of how the heads of parts begin, as far as nothing tells the parts apart."""
_ALIKE = frozenset({"content-type", "content-transfer-encoding", "mime-version"})
_MEMORY = 256
_LONGEST = 256
"""Bytes of a head that is looked for in the memory."""


def _remember(head: bytes, fields: dict[str, str]) -> None:
    """Keep the first lines of *head*, those that are alike in nearly all batches; a boundary is another one in every batch."""
    alike = dict(takewhile(lambda field: field[0] in _ALIKE and "boundary" not in field[1], fields.items()))
    first = b"".join(head.splitlines(keepends=True)[: len(alike)]).rstrip(b"\r\n")
    if first and len(first) <= _LONGEST and len(_heads) < _MEMORY:
        _heads[first, b"\r\n" if b"\r\n" in head else b"\n"] = MappingProxyType(alike)


def head_of(body: bytes, start: int, end: int) -> tuple[list[str], int]:
    """The lines of the head that begins at *start*, one at least, and the offset of what follows the blank line behind them.

    How the first line ends, all have to. Where there is no blank line, all is head: the line end before it may have been taken for the delimiter's.

    :raises BadBatch: for a line that holds a CR, LF or NUL.
    :raises TooLarge: for a head of more than 64 KiB.
    """
    first = body.find(b"\n", start, end)
    eol = b"\r\n" if first > start and body[first - 1] == _CR else b"\n"
    stop = body.find(eol + eol, start, end)
    after = stop + 2 * len(eol)
    if stop < 0:
        after = end
        stop = end - len(eol) if body.endswith(eol, start, end) else end
    if stop - start > MAX_HEAD:
        raise TooLarge(MAX_HEAD)
    head = body[start:stop].decode("latin-1")
    lines = head.split(eol.decode())
    ends = len(lines) - 1
    if "\0" in head or head.count("\n") != ends or head.count("\r") != (ends if len(eol) == 2 else 0):
        raise BadBatch("A line of a head in the batch holds a CR, LF or NUL, or ends unlike the others.")
    return lines, after
