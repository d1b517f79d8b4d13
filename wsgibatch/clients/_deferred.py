"""A response that is there before its answer is: an object of the library's own class, whose attributes come later.

It is made without them, so that nothing of the library's class has to be known here: what asks for one before the batch has been answered is told
so, and once it has been they are those of a response that the library itself has made.
"""

from typing import Any

from ..errors import MissingResponse


class Deferred:
    """Mixed into a class of responses, in front of it."""

    def __init__(self) -> None:
        vars(self)["_missing"] = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_missing" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if vars(self)["_missing"] is None:
            raise ValueError("This response is not there yet: leave the block, or flush the batch, before you look at it.")
        raise vars(self)["_missing"]

    def __repr__(self) -> str:
        return super().__repr__() if "_missing" not in vars(self) else "<Response [not there yet]>"


def fill(deferred: object, response: object) -> None:
    """Make *deferred* what *response*, of the same library, is."""
    vars(deferred).pop("_missing", None)
    vars(deferred).update(vars(response))


def fail(deferred: object, error: Exception) -> None:
    """Have whoever looks at *deferred* be told *error*, unless it is there already, or known why it is not."""
    if vars(deferred).get("_missing", deferred) is None:
        vars(deferred)["_missing"] = error


def interrupted(error: BaseException) -> MissingResponse:
    """What is told where something such as Ctrl-C came between."""
    return MissingResponse(f"{type(error).__name__} came while this was under way; it may have run, or not.")
