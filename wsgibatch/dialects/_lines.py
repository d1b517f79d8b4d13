"""Answers as lines of JSON, one for each item, as soon as it is done (``application/x-ndjson``).

A line holds what the dialect tells of an item, and besides the item's ``index`` in the batch, its ``id``, and when it ``started`` and its
``duration``, in seconds. The last line is ``{"complete": true, "items": 3, "failed": 1}``: an answer without it was cut off on the way.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec import Struct

from ..model import Done, Head, SubRequest, SubResponse
from ..protocols import Encoder
from ._json import Splicer, encode

TYPE = "application/x-ndjson"

_IN_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")

ReadLine = Callable[[bytes, Sequence[SubRequest]], list[tuple[int, SubResponse]]]


def as_asked(head: Head, encoder: Splicer, durations: bool) -> Encoder:
    """*encoder*, or lines of what it writes, where the client asks for them."""
    return LinesEncoder(encoder, durations) if head.lines and encoder.settled else encoder


class LinesEncoder:
    """Writes a line for each item, and one that says that there are no more."""

    ordered = False
    settled = True

    def __init__(self, encoder: Splicer, durations: bool) -> None:
        self._encoder, self._durations = encoder, durations
        self.status = encoder.status
        self.headers = [(name, TYPE if name == "Content-Type" else value) for name, value in encoder.headers]
        self._count = self._failed = 0

    def units(self, done: list[Done]) -> bytes:
        told = iter(self._encoder.answers(done))
        lines: list[bytes] = []
        for unit, answers in done:
            for item, answer in zip(unit, answers, strict=True):
                self._failed += answer.status >= 400
                lines.append(self._line(item, answer, next(told)))
        self._count += len(lines)
        return b"".join(lines)

    def _line(self, item: SubRequest, answer: SubResponse, told: Struct | None) -> bytes:
        name = b"" if hasattr(told, "id") else b',"id":%b' % encode(item.id)
        times = b',"started":%.6f,"duration":%.6f' % (answer.started, answer.duration) if self._durations else b""
        # An answer that is JSON may have been written over several lines: there, and nowhere else, JSON has line breaks.
        rest = b"}" if told is None else b"," + encode(told)[1:].translate(_IN_ONE_LINE)
        return b'{"index":%d%b%b%b\n' % (self._encoder.place(item), name, times, rest)

    def end(self) -> bytes:
        return encode({"complete": True, "items": self._count, "failed": self._failed}) + b"\n"


class _Last(Struct):
    complete: bool = False


_last = msgspec.json.Decoder(_Last)


class LinesReader:
    """The client's half: takes an answer in lines apart as it arrives."""

    def __init__(self, read_line: ReadLine, requests: Sequence[SubRequest]) -> None:
        self._read_line, self._requests = read_line, requests
        self._begun: list[bytes] = []
        self._count = 0
        self.complete = False
        """Has the last line come? Otherwise what is missing was cut off."""

    def feed(self, data: bytes) -> Iterator[tuple[int, SubResponse]]:
        """The places of the requests that are answered by *data*, the next bytes, each with its answer.

        :raises ValueError: for a line that answers none, and for more lines than there can be.
        """
        first, *others = data.split(b"\n")
        self._begun.append(first)
        for following in others:
            line, self._begun = b"".join(self._begun), [following]
            if self.complete:
                raise ValueError("it goes on behind its last line")
            if _last.decode(line).complete:
                self.complete = True
            elif self._count == 2 * len(self._requests):
                # One twice may be a slip. This may have no end.
                raise ValueError(f"more than {self._count} answers to {len(self._requests)} requests")
            else:
                self._count += 1
                yield from self._read_line(line, self._requests)


def at(index: int, requests: Sequence[SubRequest]) -> int:
    """*index*, when there is a request at that place.

    :raises ValueError: when there is none.
    """
    if not 0 <= index < len(requests):
        raise ValueError(f"an answer to request {index}, of {len(requests)}")
    return index
