"""A request of which no reply is kept, on its way through: what it changes is known all the same, once it has ended."""

from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Any, BinaryIO

from .._inherit import GROUP, READS, TOUCH
from ..model import Headers
from ..tags import Collector, Signer, current
from .records import ADVICE, advised

WSGIApp = Callable[..., Iterable[bytes]]


def collected(
    app: WSGIApp, environ: dict[str, Any], start_response: Callable[..., Any], signer: Signer, body: BinaryIO | None = None
) -> Iterable[bytes]:
    """What *app* answers; a list, or what the server has made of a file, is given as it is.

    Most requests come by here, and have nothing to say: that takes no more than two microseconds.

    :param body: a copy of the request's body, to close with the answer.
    """
    before = current.get()
    collector = Collector(signer, before) if before is None else Collector(signer, before, monotonic())
    environ[TOUCH], environ[READS] = collector.touch, collector.reads
    group = None
    if GROUP in environ:
        group = environ[GROUP]
        group.on_commit(collector.end)
        group.on_rollback(collector.discard)

    def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
        for name, _ in headers:
            if name not in _plain and _is_advice(name):
                headers, _, _, touched, read = advised(headers)
                collector.touch(*touched)
                collector.reads(*read)
                break
        return start_response(status, headers) if exc_info is None else start_response(status, headers, exc_info)

    result: Iterable[bytes] = ()
    whole = True
    current.set(collector)
    try:
        result = app(environ, start)
        # What makes up a list has been there before, and what a server sends by itself changes nothing.
        whole = type(result) is list or type(result) is tuple or _is_file(result, environ)
    finally:
        current.set(before)
        if whole:
            if group is None:
                # As end() does, which the many that have nothing to say need not be sent to.
                collector.over = True
                if collector.touched or collector.read or collector.given:
                    collector.end()
            if body is not None:
                body.close()
    return result if whole else _Passing(result, collector, body, group is None)


def _is_file(result: object, environ: dict[str, Any]) -> bool:
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(result, wrapper)


_plain: set[str] = set()
"""A bounded memory: names of headers that advise nothing."""
_MEMORY = 1024
_LONGEST = 64


def _is_advice(name: str) -> bool:
    found = name.lower() in ADVICE
    if not found and len(_plain) < _MEMORY and len(name) <= _LONGEST:
        _plain.add(name)
    return found


class _Passing:
    """An answer that is passed on piece by piece."""

    def __init__(self, result: Iterable[bytes], collector: Collector, body: BinaryIO | None, alone: bool) -> None:
        self._result, self._collector, self._body, self._alone = result, collector, body, alone
        self._pieces: Iterator[bytes] = iter(())

    def __iter__(self) -> Iterator[bytes]:
        with self._collector:
            self._pieces = iter(self._result)
        return self

    def __next__(self) -> bytes:
        with self._collector:
            return next(self._pieces)

    def close(self) -> None:
        try:
            close = getattr(self._result, "close", None)
            if close is not None:
                with self._collector:
                    close()
        finally:
            # The end of one that belongs to a group is the group's.
            if self._alone:
                self._collector.end()
            if self._body is not None:
                self._body.close()
