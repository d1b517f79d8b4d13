"""How long a batch may take, and who settles that a unit is done, or late.

Python cannot stop a thread. So a unit whose time is up is *left behind*: it is answered without its worker, and what the worker brings later is
dropped. Its worker and the watcher of its batch may come to that point at the same moment, so each running unit has a :class:`Ticket` that only one
of them can settle. A group settles it before it commits: what has been told to be late never is committed.
"""

from time import monotonic
from typing import Any, Literal

from msgspec import Struct

from .model import SAFE, Unit


class Limits(Struct, frozen=True):
    """What bounds the run of one batch. Moments are on the clock of :func:`time.monotonic`."""

    timeout: float | None = None
    """Seconds that an item may spend in the app."""
    until: float | None = None
    """When the whole batch has to be answered."""
    streamed: bool = False
    """Is each answer sent as soon as it can be?"""
    order: Literal["barrier", "free", "sequential"] = "barrier"
    max_abandoned: int | None = None
    """Calls that may be left behind in this process while others are started in their place."""

    @property
    def watched(self) -> bool:
        """Has the batch's own thread to look on, rather than take units itself?"""
        return self.streamed or self.timeout is not None or self.until is not None

    def end(self, started: float) -> float | None:
        """When an item that was *started* at this moment is late; None for never."""
        if self.timeout is None:
            return self.until
        return started + self.timeout if self.until is None else min(started + self.timeout, self.until)

    def over(self) -> bool:
        """Is the time of the batch up?"""
        return self.until is not None and monotonic() >= self.until

    def exceeded(self, left: int) -> bool:
        """Are more calls *left* behind than may be?"""
        return self.max_abandoned is not None and left > self.max_abandoned

    def holds(self, unit: Unit) -> bool:
        """Has what stands behind *unit* to wait for it, however long it takes?"""
        return self.order == "sequential" or (self.order == "barrier" and any(item.method not in SAFE for item in unit))


class Ticket:
    """A unit on its way through the app.

    :param limits: of its batch.
    :param worker: what runs it, as its crew knows it.
    """

    __slots__ = ("_claimed", "_limits", "_token", "started", "unit", "worker")

    def __init__(self, unit: Unit, limits: Limits, worker: Any = None) -> None:
        self.unit, self.worker, self._limits = unit, worker, limits
        self.started = monotonic()
        """When the item that runs now was started."""
        # To take it is the test and the set in one. One of gevent's locks would let other greenlets run, even where nobody waits for it.
        self._token = [None]
        self._claimed = False

    @property
    def settled(self) -> bool:
        """Is it certain whether the unit is late?"""
        return not self._token

    @property
    def left(self) -> bool:
        """Has it been left behind?"""
        return self.settled and not self._claimed

    @property
    def late(self) -> bool:
        """Is the item that runs now late, whether or not anybody has looked by now?"""
        end = self._limits.end(self.started)
        return end is not None and monotonic() >= end

    def claim(self) -> bool:
        """Settle for the worker of the unit that its answers count; False when it has been left behind. It may ask again."""
        self._claimed = self._claimed or self._take()
        return self._claimed

    def commit(self) -> bool:
        """The same for a group that is about to be committed; False when it is late as well."""
        return not self.late and self.claim()

    def leave(self) -> bool:
        """Settle for the watcher that the unit is late; False when its answers count, or soon will."""
        return self._take()

    def proceed(self) -> bool:
        """The next item of the unit starts now; False when the unit is late, or has been left behind."""
        if self.late or self.left:
            return False
        self.started = monotonic()
        return True

    def _take(self) -> bool:
        try:
            self._token.pop()
        except IndexError:
            return False
        return True
