"""What is read of a batch request: its body, whole or in parts."""

import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from multipart import MultipartError, MultipartSegment, PushMultipartParser

from ._body import MAX_PARTS, Part, Spool
from ._grammar import DIGITS
from .errors import BadBatch, LengthRequired, TooLarge, UnknownMediaType

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
        with PushMultipartParser(boundary, max_segment_count=MAX_PARTS) as parser:
            for piece in _pieces(environ, limit, _PIECE):
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


def _pieces(environ: dict[str, Any], limit: int, most: int) -> Iterator[bytes]:
    """The body, of which *most* bytes are asked for at a time; a read may give fewer, and none at the end only."""
    announced = environ.get("CONTENT_LENGTH", "")
    if not announced and not environ.get("wsgi.input_terminated"):
        raise LengthRequired("Send the batch with a Content-Length.")
    if announced and not DIGITS.match(announced):
        raise BadBatch("Content-Length is no number.")
    length = left = int(announced) if announced else limit + 1
    if announced and length > limit:
        raise TooLarge(limit)
    stream = environ["wsgi.input"]
    while left > 0 and (piece := stream.read(min(left, most))):
        left -= len(piece)
        yield piece
    if announced and left > 0:
        raise BadBatch(f"The body ended after {length - left} of {length} bytes.")
    if not announced and left <= 0:
        raise TooLarge(limit)
