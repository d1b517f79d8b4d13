"""What is read of a batch request: its body, whole or in parts."""

import re
from collections.abc import Generator
from contextlib import closing
from hashlib import blake2b
from typing import Any
from urllib.parse import unquote_to_bytes

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser

from ._body import MAX_PARTS, Part, Spool
from ._grammar import DIGITS
from .errors import BadBatch, BatchRejected, LengthRequired, TooLarge, UnknownMediaType

DRAINED = 10 << 20
"""Bytes of a batch that is refused which are read all the same, and thrown away; as many as a dialect takes at most by default.

A server that closes a connection on which more is to come resets it, and a client that is still sending never sees why it was refused.
"""

_PIECE = 64 << 10
# What stands for no encoding at all; others have no place in forms (RFC 7578, section 4.7).
_PLAIN = frozenset({"7bit", "8bit", "binary"})
_STRAY = re.compile(r"[\r\n\0]")
# In the head of a part: header fields, and characters of each. Three are in use (RFC 7578), and no file system has longer names.
_MAX_FIELDS = 8
_MAX_FIELD = 4224
_PARAMETER = re.compile(r';[ \t]*+([A-Za-z0-9_*-]++)[ \t]*+=[ \t]*+("(?:[^\\"]|\\.)*+"|[^\s;"]++)')
_EXTENDED = re.compile(r"(utf-8|iso-8859-1)'[A-Za-z0-9-]*'([!-~]*)\Z", re.IGNORECASE)


def body_of(environ: dict[str, Any], limit: int) -> bytes:
    """The whole body, read no further than Content-Length says or *limit* allows.

    :raises BatchRejected: when there is no knowing where it ends, when it is too large, or when it ends too soon.
    """
    length = _length_of(environ)
    whole = b""
    if length is not None and length <= limit:
        # Nearly every server gives all of it at once.
        whole = bytes(environ["wsgi.input"].read(length))
        if len(whole) == length:
            return whole
    return b"".join([whole, *_pieces(environ, length, limit, limit + 1, len(whole))])


def parts_of(environ: dict[str, Any], boundary: str, limit: int, spool: Spool) -> tuple[Part, ...]:
    """The parts of a form, their contents written to *spool*.

    :raises BatchRejected: as :func:`body_of`, and when the body is no such form.
    """
    parts: list[Part] = []
    try:
        with (
            closing(_pieces(environ, _length_of(environ), limit, _PIECE)) as pieces,
            PushMultipartParser(boundary, max_header_size=_MAX_FIELD, max_header_count=_MAX_FIELDS) as parser,
        ):
            for piece in pieces:
                # What stands behind the last part is read all the same: it may have been cut off.
                for event in () if parser.closed else parser.parse(piece):
                    if isinstance(event, MultipartSegment):
                        if len(parts) == MAX_PARTS:
                            raise BadBatch(f"The body has more than {MAX_PARTS} parts.")
                        segment, start, content = event, spool.size, blake2b()
                    elif event is None:
                        parts.append(_part(segment, spool, start, content.digest()))
                    else:
                        spool.write(event)
                        content.update(event)
    except ParserLimitReached:
        raise BadBatch(f"The head of a part has more than {_MAX_FIELDS} fields, or one of more than {_MAX_FIELD} bytes.") from None
    except MultipartError as error:
        # The reason may have been given an error of Python's.
        reason = "the head of a part is not UTF-8" if isinstance(error.args[-1], UnicodeDecodeError) else error
        raise BadBatch(f"The body is no form in parts: {reason}.") from None
    spool.flush()
    return tuple(parts)


def _part(segment: MultipartSegment, spool: Spool, start: int, digest: bytes) -> Part:
    if any(_STRAY.search(value) for _, value in segment.headerlist):
        raise BadBatch("The body is no form in parts: a line break or a NUL stands in the head of a part.")
    if (segment.header("Content-Transfer-Encoding") or "binary").lower() not in _PLAIN:
        raise UnknownMediaType("Send the parts of a form without a transfer encoding.")
    content_type = segment.header("Content-Type") or ""
    return Part(segment.name or "", _filename(segment), content_type, spool, start, spool.size - start, digest)


def _filename(segment: MultipartSegment) -> str | None:
    """The name of a file; None for a parameter.

    Some clients write it a second time in RFC 8187's way, which they should not (RFC 7578, section 4.2), and mean that one.
    """
    given = {name.lower(): value for name, value in _PARAMETER.findall(segment.header("Content-Disposition") or "")}
    extended = given.get("filename*")
    if extended is None:
        name: str | None = segment.filename
        return name
    try:
        if found := _EXTENDED.match(extended.strip('"')):
            return unquote_to_bytes(found[2]).decode(found[1])
    except UnicodeDecodeError:
        pass
    raise BadBatch("The body is no form in parts: what stands in 'filename*' begins with UTF-8'', and is percent-encoded.")


def skip(environ: dict[str, Any]) -> None:
    """Read and throw away the body of a batch that its head has had refused, as far as that is known to end soon enough."""
    try:
        length = _length_of(environ)
    except BatchRejected:
        return
    _drain(environ["wsgi.input"], length, 0, DRAINED)


def _pieces(environ: dict[str, Any], length: int | None, limit: int, most: int, read: int = 0) -> Generator[bytes, None, None]:
    """The body, or what is left of it behind *read* bytes; *most* are asked for at a time. A read may give fewer, and none at the end only."""
    fits = length is None or length <= limit
    stream, end = environ["wsgi.input"], limit + 1 if length is None else length
    try:
        while fits and read < end and (piece := stream.read(min(end - read, most))):
            read += len(piece)
            yield piece
    except GeneratorExit:
        # What has come so far was enough to refuse it.
        _drain(stream, length, read, limit)
        raise
    if not fits or read > limit:
        _drain(stream, length, read, limit)
        raise TooLarge(limit)
    if length is not None and read < length:
        raise BadBatch(f"The body ended after {read} of {length} bytes.")


def _length_of(environ: dict[str, Any]) -> int | None:
    """The length of the body; None where its end tells.

    :raises BatchRejected: when there is no knowing where it ends.
    """
    announced = environ.get("CONTENT_LENGTH", "")
    if not announced and not environ.get("wsgi.input_terminated"):
        raise LengthRequired("Send the batch with a Content-Length.")
    if announced and not DIGITS.match(announced):
        raise BadBatch("Content-Length is no number.")
    return int(announced) if announced else None


def _drain(stream: Any, length: int | None, read: int, limit: int) -> None:
    """Read and throw away what *stream* still has of a body, unless that is too much.

    :param read: bytes of it, *limit* those that are taken.
    """
    most = max(limit, DRAINED)
    left = most if length is None else length - read
    while 0 < left <= most and (piece := stream.read(min(left, _PIECE))):
        left -= len(piece)
