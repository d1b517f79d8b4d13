"""What is read of a batch request: its body, whole or in parts."""

import re
from collections.abc import Generator
from contextlib import closing
from hashlib import blake2b
from typing import Any

from multipart import MultipartError, MultipartSegment, PushMultipartParser

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


def body_of(environ: dict[str, Any], limit: int) -> bytes:
    """The whole body, read no further than Content-Length says or *limit* allows.

    :raises BatchRejected: when there is no knowing where it ends, when it is too large, or when it ends too soon.
    """
    return b"".join(_pieces(environ, limit, limit + 1))


def parts_of(environ: dict[str, Any], boundary: str, limit: int, spool: Spool) -> tuple[Part, ...]:
    """The parts of a form, their contents written to *spool*.

    :raises BatchRejected: as :func:`body_of`, and when the body is no such form.
    """
    parts: list[Part] = []
    try:
        with closing(_pieces(environ, limit, _PIECE)) as pieces, PushMultipartParser(boundary, max_segment_count=MAX_PARTS) as parser:
            for piece in pieces:
                # What stands behind the last part is read all the same: it may have been cut off.
                for event in () if parser.closed else parser.parse(piece):
                    if isinstance(event, MultipartSegment):
                        segment, start, content = event, spool.size, blake2b()
                    elif event is None:
                        parts.append(_part(segment, spool, start, content.digest()))
                    else:
                        spool.write(event)
                        content.update(event)
    except MultipartError as error:
        raise BadBatch(f"The body is no form in parts: {error}.") from None
    spool.flush()
    return tuple(parts)


def _part(segment: MultipartSegment, spool: Spool, start: int, digest: bytes) -> Part:
    if any(_STRAY.search(value) for _, value in segment.headerlist):
        raise BadBatch("The body is no form in parts: a line break or a NUL stands in the head of a part.")
    if (segment.header("Content-Transfer-Encoding") or "binary").lower() not in _PLAIN:
        raise UnknownMediaType("Send the parts of a form without a transfer encoding.")
    content_type = segment.header("Content-Type") or ("text/plain" if segment.filename is None else "application/octet-stream")
    return Part(segment.name or "", segment.filename, content_type, spool, start, spool.size - start, digest)


def skip(environ: dict[str, Any]) -> None:
    """Read and throw away the body of a batch that its head has had refused, as far as that is known to end soon enough."""
    try:
        length = _length_of(environ)
    except BatchRejected:
        return
    _drain(environ["wsgi.input"], length, 0, DRAINED)


def _pieces(environ: dict[str, Any], limit: int, most: int) -> Generator[bytes, None, None]:
    """The body, of which *most* bytes are asked for at a time; a read may give fewer, and none at the end only."""
    length = _length_of(environ)
    fits = length is None or length <= limit
    stream, end, read = environ["wsgi.input"], limit + 1 if length is None else length, 0
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
