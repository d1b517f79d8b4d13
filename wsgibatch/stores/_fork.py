"""Stores are at rest while the process forks.

A lock that another thread holds at that moment would stay locked in the child for ever, and so would the locks of libraries: redis-py has one around
its connections. SQLite, besides, takes what the parent has opened for the child's. So before a fork every store of the process lets its calls end,
begins no further one, and goes on behind it, in both processes.
"""

import os
from collections.abc import Callable
from functools import partial
from threading import Condition, Lock
from typing import Protocol
from weakref import WeakSet


class Resting(Protocol):
    """What can come to rest."""

    def rest(self) -> None:
        """Let the calls under way end, and hold up others."""

    def resume(self, child: bool) -> None:
        """Let them through, in the process that it is now."""


class Calls:
    """A context for the calls of a store: any number run at a time, and none during a fork.

    :param patience: seconds for which a fork waits for them. Whoever forks amid a call, in a signal handler say, is not held up for ever.
    :param at_rest: called when none runs any more.
    """

    def __init__(self, patience: float, at_rest: Callable[[], None] | None = None) -> None:
        self._patience, self._at_rest = patience, at_rest
        self._changed = Condition()
        self._running = 0
        self._resting = False
        rest_at_forks(self)

    def __enter__(self) -> None:
        with self._changed:
            while self._resting:
                self._changed.wait()
            self._running += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._running -= 1
            if self._resting:
                self._changed.notify_all()

    def rest(self) -> None:
        self._changed.acquire()
        self._resting = True
        self._changed.wait_for(lambda: self._running <= 0, self._patience)
        if self._at_rest is not None:
            self._at_rest()

    def resume(self, child: bool) -> None:
        if child:
            # The threads of calls that were not waited for any longer are not here.
            self._running = 0
        self._resting = False
        self._changed.notify_all()
        self._changed.release()


_known: WeakSet[Resting] = WeakSet()
_at_rest: list[Resting] = []
_one_fork = Lock()


def rest_at_forks(what: Resting) -> None:
    """Have *what* rest at each fork to come, as long as it lives."""
    _known.add(what)


def _before() -> None:
    # Two threads that fork at once would wait for each other.
    _one_fork.acquire()
    for what in list(_known):
        _at_rest.append(what)
        what.rest()


def _after(child: bool) -> None:
    while _at_rest:
        _at_rest.pop().resume(child)
    _one_fork.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=partial(_after, False), after_in_child=partial(_after, True))
