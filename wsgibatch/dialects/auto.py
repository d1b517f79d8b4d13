"""The dialect that the batch is written in, told by its content type and its shape.

Every dialect of the family is asked whether it recognises the batch. Exactly one has to: what none recognises is refused, and what two
recognise is not guessed.
"""

from .. import _lookup, dialects
from ..errors import BadBatch
from ..model import Head
from ..protocols import Dialect
from ._json import JSONRecogniser, Shape


class AutoDialect(JSONRecogniser):
    """The dialect ``auto``."""

    def __init__(self) -> None:
        words = [word for word in _lookup.members(dialects) if word != "auto"]
        self._known: dict[str, Dialect] = {word: _lookup.member(dialects, word)() for word in words}

    def choose(self, head: Head, body: bytes) -> Dialect:
        shape = Shape(body)
        found = [word for word, dialect in self._known.items() if dialect.recognises(head, shape)]
        if len(found) == 1:
            return self._known[found[0]]
        if found:
            raise BadBatch(f"The batch could be {' or '.join(found)}: post it where that dialect is configured by name.")
        shapes = "; ".join(f"{word}: {dialect.shape}" for word, dialect in self._known.items())
        raise BadBatch(f"The body has the shape of no dialect that is known here ({shapes}).")
