"""The limit: the app called in a loop, with no checks and no envelope."""

from collections.abc import Callable
from typing import Any

from ..work import Work, WSGIApp


def prepare(app: WSGIApp, work: Work) -> Callable[[], None]:
    """For each item: copy a prebuilt environ, set PATH_INFO, call the app, iterate, close.

    :raises RuntimeError: when the app does not answer with 200 throughout.
    """
    answers(app, work)
    environ, paths = work.environ, work.paths
    return lambda: _loop(app, environ, paths)


def answers(app: WSGIApp, work: Work) -> list[bytes]:
    """The bodies that the app answers with.

    :raises RuntimeError: when one of them does not come with 200.
    """
    bodies = []
    for path in work.paths:
        statuses: list[str] = []
        answer = app({**work.environ, "PATH_INFO": path}, lambda status, headers, exc_info=None, seen=statuses: seen.append(status))
        bodies.append(b"".join(answer))
        close = getattr(answer, "close", None)
        if close is not None:
            close()
        if statuses != ["200 OK"]:
            raise RuntimeError(f"the app did not answer {path} with 200, but with {statuses}")
    return bodies


def _loop(app: WSGIApp, environ: dict[str, Any], paths: list[str]) -> None:
    for path in paths:
        copied = environ.copy()
        copied["PATH_INFO"] = path
        answer = app(copied, ignore)
        for _ in answer:
            pass
        close = getattr(answer, "close", None)
        if close is not None:
            close()


def ignore(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
    """A ``start_response`` for whom it is enough that an answer comes."""
