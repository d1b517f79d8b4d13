"""How often each kind of fault has come."""

import os
import threading
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

from tests.soak.report import Row

COUNT = 1000
"""How often each kind is to come."""


class Fault(StrEnum):
    """Kinds of fault, but for those of stores and of apps that raise."""

    RESET = "a client resets its batch"
    ENDED = "a client ends its batch early"
    GONE = "a client goes before its answer"
    CUT = "a client goes in the middle of its answer"
    LATE = "an item is late"
    CRASHED = "an app raises in a worker process"
    KILLED = "a worker process is killed"
    REFUSING = "an executor refuses a call"
    BROKEN = "an executor is broken"
    CANCELLED = "a call of an executor is cancelled"
    SHUT = "an executor is shut down in use"
    UNMET = "an item waits in vain"
    LEFT_OUT = "an item stands behind a failure at which its batch stops"
    UNDONE = "an item of a group that is undone"
    UNSUPPORTED = "an item of a group where there are none"
    AGAIN = "an item whose reply was kept is sent again"
    FORKED = "a process is forked, and its child posts"
    JUMPED = "the clock jumps"


def raising(where: str, error: str) -> str:
    """The kind of fault that an app raises *error* there."""
    return f"app: {error} in {where}"


class Tally:
    """Counts for many threads."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        # Whoever forks has it, so that it is free on both sides.
        os.register_at_fork(before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._lock.release)

    def count(self, kind: str, times: int = 1) -> None:
        with self._lock:
            self._counts[kind] += times

    def of(self, kind: str) -> int:
        return self._counts[kind]

    def row(self, kinds: Iterable[str], least: int, seconds: float) -> Row:
        """How many of *kinds* came *least* times, and at least once; each of the others is told of. Where *least* is 0, none has to."""
        counts = {kind: self._counts[kind] for kind in sorted(kinds)}
        if not least:
            return Row("kinds of fault", sum(map(bool, counts.values())), 0, seconds, [], f"{sum(counts.values()):,} faults", counts)
        reached = sum(count >= least for count in counts.values())
        rare = [kind for kind, count in counts.items() if count < least]
        remark = f"too few: {', '.join(rare)}" if rare else f"{sum(counts.values()):,} faults"
        return Row(f"kinds of fault, {least:,} times each", reached, len(counts), seconds, [], remark, counts)
