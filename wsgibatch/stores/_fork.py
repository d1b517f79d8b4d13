"""Stores are at rest while the process forks.

A lock that another thread holds at that moment would stay locked in the child for ever, and SQLite must not find a connection there that the parent
has opened. So every store of the process lets its calls end before a fork, begins no further one, and goes on after it, in both processes.
"""

import os
from threading import Lock
from typing import Protocol
from weakref import WeakSet


class Resting(Protocol):
    """What can come to rest."""

    def rest(self) -> None:
        """Let the calls under way end, and hold up others."""

    def resume(self) -> None:
        """Let them through, in the process that it is now."""


_known: WeakSet[Resting] = WeakSet()
_at_rest: list[Resting] = []
_one_fork = Lock()


def rest_at_forks(store: Resting) -> None:
    """Have *store* rest at each fork to come, as long as it lives."""
    _known.add(store)


def _before() -> None:
    # Two threads that fork at once would wait for each other's stores.
    _one_fork.acquire()
    for store in list(_known):
        store.rest()
        _at_rest.append(store)


def _after() -> None:
    while _at_rest:
        _at_rest.pop().resume()
    _one_fork.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
