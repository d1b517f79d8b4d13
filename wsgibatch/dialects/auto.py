"""The dialect that the batch is written in, told by its content type and its shape.

Every dialect of the family is asked whether it recognises the batch. Exactly one has to: what none recognises is refused, and what two
recognise is not guessed.
"""

from .. import _lookup, dialects
from ..errors import BadBatch, BatchRejected
from ..model import Head, Headers
from ..protocols import Dialect
from ..settings import Settings
from ._json import JSONRecogniser, Shape


class AutoDialect(JSONRecogniser):
    """The dialect ``auto``."""

    def __init__(self) -> None:
        words = [word for word in _lookup.members(dialects) if word != "auto"]
        self._known: dict[str, Dialect] = {word: _lookup.member(dialects, word)() for word in words}
        self.media_types = frozenset().union(*(dialect.media_types for dialect in self._known.values()))
        self._by_type = {name: {w: d for w, d in self._known.items() if name in d.media_types} for name in self.media_types}
        self._max_body = {name: max(d.max_body(name) for d in speakers.values()) for name, speakers in self._by_type.items()}

    def max_body(self, media_type: str) -> int:
        return self._max_body[media_type]

    def choose(self, head: Head, body: bytes, settings: Settings) -> Dialect:
        speakers = self._speakers(head)
        if len(speakers) == 1:
            return next(iter(speakers.values())).choose(head, body, settings)
        shape = Shape(body)
        found = [word for word, dialect in speakers.items() if dialect.recognises(head, shape)]
        if len(found) == 1:
            return self._known[found[0]].choose(head, body, settings)
        if found:
            raise BadBatch(f"The batch could be {' or '.join(found)}: post it where that dialect is configured by name.")
        shapes = "; ".join(f"{word}: {dialect.shape}" for word, dialect in speakers.items())
        if shape.empty:
            raise BadBatch(f"An empty list tells no dialect: leave such a batch out, or post it where one is configured by name ({shapes}).")
        raise BadBatch(f"The body has the shape of no dialect that is known here ({shapes}).")

    def refusal(self, head: Head, error: BatchRejected) -> tuple[int, Headers, bytes]:
        speakers = self._speakers(head)
        if len(speakers) == 1:
            return next(iter(speakers.values())).refusal(head, error)
        return super().refusal(head, error)

    def _speakers(self, head: Head) -> dict[str, Dialect]:
        """The dialects that are sent in the batch's content type."""
        return self._by_type.get(head.media_type, {})
