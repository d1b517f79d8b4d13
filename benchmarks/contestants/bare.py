"""The limit: the app called in a loop, with no checks and no envelope."""

from collections.abc import Callable
from typing import Any

from ..work import Work, WSGIApp


def prepare(app: WSGIApp, work: Work) -> Callable[[], None]:
    """For each item: copy a prebuilt environ, set PATH_INFO, call the app, iterate, close.

    :raises RuntimeError: when the app does not answer with 200 throughout.
    """
    seen: list[str] = []

    def remember(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        seen.append(status)

    _loop(app, work, remember)
    if seen != ["200 OK"] * len(work.paths):
        raise RuntimeError(f"the app did not answer every request with 200, but with {set(seen)}")
    return lambda: _loop(app, work, _ignore)


def _loop(app: WSGIApp, work: Work, start_response: Callable[..., Any]) -> None:
    environ = work.environ
    for path in work.paths:
        copied = environ.copy()
        copied["PATH_INFO"] = path
        answer = app(copied, start_response)
        for _ in answer:
            pass
        close = getattr(answer, "close", None)
        if close is not None:
            close()


def _ignore(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
    pass
