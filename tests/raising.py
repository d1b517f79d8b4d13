"""What an app may raise that is hard on whoever catches it."""

import asyncio
import threading
from collections.abc import Callable


class Unpicklable(Exception):
    """What no process could hand to another."""

    def __init__(self) -> None:
        super().__init__(threading.Lock())


class Unspeakable(Exception):
    """What fails again when it is looked at."""

    def __str__(self) -> str:
        raise ValueError


class OfItsOwn(BaseException):
    """No Exception."""


ERRORS: dict[str, Callable[[], BaseException]] = {
    "system-exit": lambda: SystemExit(3),
    "keyboard-interrupt": KeyboardInterrupt,
    "generator-exit": GeneratorExit,
    "recursion-error": RecursionError,
    "memory-error": MemoryError,
    "stop-iteration": StopIteration,
    "stop-async-iteration": StopAsyncIteration,
    "cancelled": asyncio.CancelledError,
    "unpicklable": Unpicklable,
    "unspeakable": Unspeakable,
    "of-its-own": OfItsOwn,
}
"""Makes each error, by a word that may stand in a path."""


def endless() -> BaseException:
    """Fails with a recursion that really has no end, so that there is no room for whoever catches that."""
    return endless()
