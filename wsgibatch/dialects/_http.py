r"""The HTTP messages that parts of type ``application/http`` carry (RFC 9112): read as clients really write them, written as they read them.

No parser that is made for connections reads these: the version, the blank line and the Content-Length may be missing, the target may be relative or
hold blanks, and where a body ends is known from its part alone. A Content-Length only tells how many of the line ends around a body are not its own.

What is wrong with the form of a message refuses the batch here. Whether an item may be sent at all, and what of its head is passed on, is decided by
vetting, as for the items of every dialect.
"""

import re
from http import HTTPStatus
from urllib.parse import quote_from_bytes

from .._grammar import DIGITS, TOKEN, VALUE
from .._vet import MAX_FIELDS, MAX_HEAD
from ..errors import BadBatch
from ..model import Headers
from ._mime import head_of

_NAME, _PLAIN_VALUE = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++", r"[\x20-\x7e\x80-\xff]*+"
# A head in which all is plain, with the blank line behind it, as clients end their lines.
_CRLF, _LF = (
    re.compile(rf"([A-Z]++) ([!\"$-~]++) HTTP/1\.[01]{eol}((?:{_NAME}:{_PLAIN_VALUE}(?<! ){eol})*+){eol}".encode("latin-1")).match
    for eol in ("\r\n", "\n")
)
_fields = re.compile(rf"({_NAME}): *+({_PLAIN_VALUE})").findall
_VERSION = re.compile(r"HTTP/[0-9](?:\.[0-9])?\Z")
_NEARLY_VERSION = re.compile(r" HTTP/[^ ]*\Z", re.IGNORECASE)
_STATUS_LINE = re.compile(r"HTTP/[0-9](?:\.[0-9])? ++([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*+))?\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_VISIBLE = bytes(range(0x21, 0x7F))
_TARGET = re.compile(r"[!\"$-~]++\Z")

_EMPTY_LINES = re.compile(rb"(?:\r?\n)*+")
_ONLY_LINE_ENDS = re.compile(rb"[\r\n]*+\Z")
_END_BEFORE_MARKUP = re.compile(rb"\r?\n(?=[{\[<])")
_TEXT = re.compile(r"\Z|text/|application/x-www-form-urlencoded|[^;\s]{0,255}[/+](?:json|xml)\s*(?:;|\Z)", re.IGNORECASE)


def request_of(content: bytes, start: int, end: int) -> tuple[str, str, Headers, bytes]:
    """Method, target, fields and body of the request that stands in *content* from *start* to *end*.

    The target is what stands between the method and the version: blanks and what is not ASCII are percent-encoded, a fragment is left out.
    Content-Length is left out of the fields, too, unless it is no number or there are several that differ: then vetting refuses the item for it.

    :raises BadBatch: for what is no request.
    :raises TooLarge: for a head of more than 64 KiB.
    """
    plain = _plain(content, start, end)
    if plain is None:
        line, fields, start = _careful(content, start, end)
        method, target = _request_line(line)
    else:
        method, target, fields, start = plain
        if start == end and not fields:
            return method, target, fields, b""
    _, fields, body = _framed(content, start, end, fields)
    return method, target, fields, body


def response_of(content: bytes, start: int, end: int) -> tuple[int, str, Headers, bytes]:
    """Status, reason, fields and body of the response that stands in *content* from *start* to *end*.

    Content-Length comes last of the fields; that of an answer to HEAD may be longer than its body.

    :raises BadBatch: for what is no response.
    :raises TooLarge: for a head of more than 64 KiB.
    """
    line, fields, start = _careful(content, start, end)
    found = _STATUS_LINE.match(line)
    if found is None:
        raise BadBatch("A part has no status line: HTTP/1.1, a status, a reason.")
    length, fields, body = _framed(content, start, end, fields)
    if length is not None:
        fields.append(("Content-Length", str(length)))
    return int(found[1]), found[2] or "", fields, body


def _plain(content: bytes, start: int, end: int) -> tuple[str, str, Headers, int] | None:
    """Method, target, fields, and the offset of the body, of a request whose head is as most are; None for any other."""
    head = _CRLF(content, start, end) or _LF(content, start, end)
    if head is None or head.end() - start > MAX_HEAD:
        return None
    method, target, lines = head.groups()
    fields: Headers = _fields(lines.decode("latin-1")) if lines else []
    return (method.decode(), target.decode(), fields, head.end()) if len(fields) <= MAX_FIELDS else None


def _careful(content: bytes, start: int, end: int) -> tuple[str, Headers, int]:
    """The first line and the fields of any message, and the offset of its body."""
    if empty := _EMPTY_LINES.match(content, start, end):
        start = empty.end()
    lines, start = head_of(content, start, end)
    if len(lines) > MAX_FIELDS + 1:
        raise BadBatch(f"A request may have at most {MAX_FIELDS} header fields.")
    fields: Headers = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not TOKEN.match(name):
            raise BadBatch("A line in the head of a request is no field: a name, a colon, a value. It cannot be folded.")
        fields.append((name, value.strip(" \t")))
    return lines[0], fields, start


def _request_line(line: str) -> tuple[str, str]:
    """Method and target."""
    method, _, rest = line.partition(" ")
    target, _, version = rest.rstrip(" ").rpartition(" ")
    target = (target if _VERSION.match(version) else rest).partition("#")[0].strip(" ")
    # A version that is told twice, or is none, is no end of a target either.
    if not TOKEN.match(method) or not target or _CONTROL.search(target) or _NEARLY_VERSION.search(target):
        raise BadBatch("A part has no request line: a method, a target, HTTP/1.1.")
    return method, quote_from_bytes(target.encode("latin-1"), _VISIBLE)


def _framed(content: bytes, start: int, end: int, fields: Headers) -> tuple[int | None, Headers, bytes]:
    """What a valid Content-Length among *fields* says, the other fields, and the body."""
    told: dict[str, str] = {}
    for name, value in fields:
        role = _roles.get(name)
        if role is None:
            role = _role(name)
        if role:
            # Two that differ tell nothing.
            told[role] = value if told.get(role, value) == value else "?"
    if not told and start == end:
        return None, fields, b""
    length = None
    if "content-length" in told and DIGITS.match(told["content-length"]):
        length = int(told["content-length"])
        fields = [field for field in fields if field[0].lower() != "content-length"]
    if start == end or length == end - start:
        return length, fields, content[start:end]
    text = "content-encoding" not in told and _TEXT.match(told.get("content-type", "")) is not None
    return length, fields, _trimmed(content[start:end], length, text)


_FRAMING = frozenset({"content-length", "content-type", "content-encoding"})
_roles: dict[str, str] = {}
"""A bounded memory of names as they are written: in lower case where the field tells something of the body, otherwise empty."""
_MEMORY = 1024
_LONGEST = 64
"""Characters of a name that is remembered, so that nobody can fill the memory with junk."""


def _role(name: str) -> str:
    lower = name.lower()
    role = lower if lower in _FRAMING else ""
    if len(_roles) < _MEMORY and len(name) <= _LONGEST:
        _roles[name] = role
    return role


def _trimmed(body: bytes, length: int | None, textual: bool) -> bytes:
    """*body* without the line ends around it that are not its own, as far as one can know.

    With a Content-Length they are what is too much; some clients count characters, so it takes away nothing else. Without one a text has none, and
    what else there is stays as it is.
    """
    if length is None:
        return body.strip(b"\r\n") if textual or _ONLY_LINE_ENDS.match(body) else body
    if len(body) > length:
        kept = body.rstrip(b"\r\n")
        body = kept if len(kept) >= length else body[:length]
        if len(body) > length and (lead := _END_BEFORE_MARKUP.match(body)):
            body = body[lead.end() :]
    return body


def request_bytes(method: str, target: str, fields: Headers, body: bytes) -> bytes:
    """A request as the content of a part; a Content-Length among *fields* gives way to that of *body*, which an empty one needs not.

    :raises ValueError: for what would read as something else.
    """
    if not TOKEN.match(method) or not _TARGET.match(target):
        raise ValueError(f"{method} {target!r}: a method is a token, and a target visible ASCII without '#'")
    lines = [f"{method} {target} HTTP/1.1\r\n"]
    for name, value in fields:
        if not TOKEN.match(name) or not VALUE.match(value):
            raise ValueError(f"the header {name!r} or its value cannot be sent")
        if name.lower() != "content-length":
            lines.append(f"{name}: {value}\r\n")
    if body:
        lines.append(f"Content-Length: {len(body)}\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1") + body


def response_head(status: int, reason: str, headers: Headers, length: int) -> str:
    """The head of a response, with the blank line behind it, as the content of a part begins.

    *headers* are those of an answer that has been validated. Clients search these lines for words in one spelling: the reason is the one that Python
    gives where the app's is another spelling of it, or none, and an entity tag is called ``ETag``. Every head ends with a Content-Length, *length*,
    so none is without fields; an answer without content has no Content-Type.
    """
    lines = [_status_lines.get((status, reason)) or _status_line(status, reason)]
    bare = status in _BARE
    for name, value in headers:
        lead = _leads.get(name)
        if lead is None:
            lead = _lead(name)
        if lead and not (bare and lead.lower() == "content-type: "):
            lines.append(lead + value)
    lines.append(f"Content-Length: {length}\r\n\r\n")
    return "\r\n".join(lines)


_BARE = frozenset({204, 304})
_leads: dict[str, str] = {}
"""A bounded memory of names of fields, as they begin a line; empty for what is left out."""
_status_lines: dict[tuple[int, str], str] = {}


def _lead(name: str) -> str:
    lead = {"content-length": "", "etag": "ETag: "}.get(name.lower(), f"{name}: ")
    if len(_leads) < _MEMORY and len(name) <= _LONGEST:
        _leads[name] = lead
    return lead


def _status_line(status: int, reason: str) -> str:
    """The status line; a reason that differs from the usual one only in case, or is empty, becomes the usual one."""
    usual = _REASONS.get(status, "Unknown")
    line = f"HTTP/1.1 {status} {usual if reason.lower() in ('', usual.lower()) else reason}"
    if len(_status_lines) < _MEMORY and len(reason) <= _LONGEST:
        _status_lines[status, reason] = line
    return line


_REASONS = {status.value: status.phrase for status in HTTPStatus}
