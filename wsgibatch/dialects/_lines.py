"""Answers as lines of JSON, one for each item, as soon as it is done (``application/x-ndjson``).

A line holds what the dialect tells of an item, and besides the item's ``index`` in the batch and its ``id``. The last line is
``{"complete": true, "items": 3, "failed": 1}``: an answer without it was cut off on the way.
"""

from msgspec import Struct

from ..model import Done, Head, SubRequest
from ..protocols import Encoder
from ._json import Splicer, encode

TYPE = "application/x-ndjson"

_IN_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def as_asked(head: Head, encoder: Splicer) -> Encoder:
    """*encoder*, or lines of what it writes, where the client asks for them."""
    return LinesEncoder(encoder) if head.lines and encoder.settled else encoder


class LinesEncoder:
    """Writes a line for each item, and one that says that there are no more."""

    ordered = False
    settled = True

    def __init__(self, encoder: Splicer) -> None:
        self._encoder = encoder
        self.status = encoder.status
        self.headers = [(name, TYPE if name == "Content-Type" else value) for name, value in encoder.headers]
        self._count = self._failed = 0

    def units(self, done: list[Done]) -> bytes:
        encoder = self._encoder
        items = [item for unit, _ in done for item in unit]
        self._count += len(items)
        self._failed += sum(answer.status >= 400 for _, answers in done for answer in answers)
        return b"".join([self._line(item, answer) for item, answer in zip(items, encoder.answers(done), strict=True)])

    def _line(self, item: SubRequest, answer: Struct | None) -> bytes:
        name = b"" if hasattr(answer, "id") else b',"id":%b' % encode(item.id)
        # An answer that is JSON may have been written over several lines: there, and nowhere else, JSON has line breaks.
        rest = b"}" if answer is None else b"," + encode(answer)[1:].translate(_IN_ONE_LINE)
        return b'{"index":%d%b%b\n' % (self._encoder.place(item), name, rest)

    def end(self) -> bytes:
        return encode({"complete": True, "items": self._count, "failed": self._failed}) + b"\n"
