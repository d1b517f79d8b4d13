"""What comes in the parts of a form, and the bodies that are made of it: read from where it was put once, by as many items as want it.

Nothing here is held in memory that is not small: what is large lies in one temporary file for each batch.
"""

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from tempfile import SpooledTemporaryFile
from threading import Lock
from typing import Any, NamedTuple

FORM_DATA = "multipart/form-data"
"""A form in parts (RFC 7578)."""
MAX_FORM = 10 << 20
"""Bytes of a batch that comes with files, where the settings do not say: as many as one in multipart/mixed may have."""
MAX_PARTS = 1000
"""Parameters and files of one form: as many as PHP and Django take by default."""

_IN_MEMORY = 256 << 10
"""Bytes of all parts together up to which they are held in memory."""
_PIECE = 64 << 10


class Spool:
    """Bytes that are written once and then read from any thread, in a temporary file once there are many.

    It is closed when the last of its holders lets go of it; the first is who made it. So a call that was left behind, when its batch was over,
    reads what belongs to it as long as it runs.
    """

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - it stays open for as long as anybody holds it
        self._lock = Lock()
        self._holders = 1
        self.size = 0

    def write(self, data: bytes) -> None:
        """Add *data*; nothing is read before all is written."""
        self._file.write(data)
        self.size += len(data)

    def flush(self) -> None:
        """All is written: whether there is room for it is told now, and not while items run.

        :raises OSError: when there is none.
        """
        self._file.flush()

    def read(self, start: int, size: int) -> bytes:
        """At most *size* bytes.

        :raises ValueError: when nobody holds it any more.
        """
        with self._lock:
            self._file.seek(start)
            return self._file.read(size)

    def hold(self) -> bool:
        """Keep it open until :meth:`release`; False where it is closed already."""
        with self._lock:
            held = self._holders > 0
            self._holders += held
        return held

    def release(self) -> None:
        """Let go of it."""
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._file.close()


class Part(NamedTuple):
    """A part of a form: a parameter, or a file."""

    name: str
    filename: str | None
    """None for a parameter."""
    content_type: str
    """As it came; empty where there is none."""
    spool: Spool
    start: int
    size: int
    digest: bytes
    """Of its content (BLAKE2b)."""

    def read(self) -> bytes:
        """Its content, held in memory."""
        return self.spool.read(self.start, self.size)


class Body:
    """A body that is not held in memory: its pieces are bytes, and the contents of parts."""

    def __init__(self, pieces: Sequence[bytes | Part]) -> None:
        self._pieces = pieces
        self._ends = list(accumulate(piece.size if isinstance(piece, Part) else len(piece) for piece in pieces))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def open(self) -> io.BufferedReader:
        """A stream of its own for whoever reads it, from the start."""
        return io.BufferedReader(_Stream(self), _PIECE)

    def read(self, start: int, size: int) -> bytes:
        """The bytes from *start*, at most *size*; fewer where a piece ends."""
        # Past pieces without any bytes, which end where they begin.
        place = bisect_right(self._ends, start)
        if place == len(self._pieces):
            return b""
        piece, end = self._pieces[place], self._ends[place]
        size = min(size, end - start)
        if isinstance(piece, Part):
            return piece.spool.read(piece.start + piece.size - (end - start), size)
        start += len(piece) - end
        return piece[start : start + size]


def joined(pieces: Sequence[bytes | Part]) -> tuple[bytes, Body | None]:
    """The body that *pieces* are together: bytes, or where parts are among them empty bytes and what stands in their place."""
    whole = [piece for piece in pieces if isinstance(piece, bytes)]
    return (b"".join(whole), None) if len(whole) == len(pieces) else (b"", Body(pieces))


class _Stream(io.RawIOBase):
    """Reads a body; the buffer around it makes lines of that."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._body)}[whence]
        if at < 0:
            raise ValueError(f"{at} lies before the start")
        self._at = at
        return at

    def readinto(self, buffer: Any) -> int:
        data = self._body.read(self._at, min(len(buffer), _PIECE))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
