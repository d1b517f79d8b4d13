"""What a part of the soak is held to, and what it tells."""

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from msgspec import Struct

T = TypeVar("T")


class Bounds(Struct):
    """Where a part ends: at a moment, on the clock of :func:`time.monotonic`, or when it has had all inputs that it wants."""

    until: float
    inputs: int | None = None
    """In place of what each part wants."""

    @property
    def left(self) -> float:
        """Seconds, never less than one."""
        return max(1.0, self.until - time.monotonic())

    def wanted(self, usual: int) -> int:
        """How many inputs a row is to have, where *usual* is what the part wants."""
        return usual if self.inputs is None else self.inputs

    def shared(self, things: Sequence[T]) -> Iterator[tuple[T, "Bounds"]]:
        """Each of *things* with its share of the time that is left when its turn comes."""
        for place, thing in enumerate(things):
            yield thing, Bounds(time.monotonic() + self.left / (len(things) - place), self.inputs)


class Row(Struct):
    """What was counted of one thing, of how many wanted, and what was found."""

    name: str
    count: int
    wanted: int
    seconds: float
    findings: list[str]
    """A sentence for each; an input that was kept is named in it."""
    remark: str = ""
    counts: dict[str, int] = {}
    """Of what it is made up, where that is of interest."""
