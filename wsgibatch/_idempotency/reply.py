"""The answer of a guarded app on its way to the server: passed on, and copied.

What is whole at once (a list, or a body that announces that it is small enough to be kept) is kept before the first byte is sent. Anything else is
passed on as it comes, one piece late: the last piece leaves once the answer is kept, so a client that has all of it never meets its own request as
one that is still running.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .._grammar import DIGITS
from ..model import Headers
from .guard import Guard
from .records import advised

StartResponse = Callable[..., Any]


class Reply:
    """One answer. It is given to the server as the iterable of PEP 3333, unless it is whole at once."""

    def __init__(self, guard: Guard, start_response: StartResponse) -> None:
        self._guard, self._server = guard, start_response
        self._status: str | None = None
        self._headers: Headers = []
        self._told: bool | None = None
        self._seconds: float | None = None
        self._copy: list[bytes] | None = []
        self._size = 0
        # What the server has not been given yet; of what still runs, the last piece stays here.
        self._pending: deque[bytes] = deque()
        self._environ: dict[str, Any] = {}
        self._result: Any = ()
        self._pieces: Iterator[bytes] = iter(())
        self._write: Callable[[bytes], object] | None = None
        self._gone = False
        self._over = False

    def of(self, app: Callable[..., Iterable[bytes]], environ: dict[str, Any]) -> Iterable[bytes]:
        """Call *app*; what is given back is for the server."""
        self._environ = environ
        try:
            with self._guard.collector:
                self._result = app(environ, self.start_response)
                self._pieces = iter(self._result)
        except BaseException as error:
            self._fail(error)
            raise
        if isinstance(self._result, list | tuple) or self._is_short():
            while not self._over and (self._copy is not None or isinstance(self._result, list | tuple)):
                self._pull()
            if self._over:
                self._start()
                return list(self._pending)
        return self

    # What the app calls.

    def start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:
        """As PEP 3333 has it: headers may be replaced until there is a piece of the body."""
        if exc_info is not None and self._size:
            try:
                raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        if exc_info is None and self._status is not None:
            raise AssertionError("start_response was called twice without exc_info")
        self._headers, self._told, self._seconds, touched, read = advised(headers)
        self._guard.collector.touch(*touched)
        self._guard.collector.reads(*read)
        self._status = status
        if self._write is not None:
            self._write = self._server(status, self._headers, exc_info)
        return self.write

    def write(self, data: bytes) -> None:
        """What is written is held until it is more than is kept anyway, as PEP 3333 allows; beyond that it is passed on, one piece late."""
        self._note(data)
        if self._copy is None:
            try:
                self._start()
                while len(self._pending) > 1:
                    self._write(self._pending.popleft())  # type: ignore[misc]  # started
            except BaseException:
                self._gone = True
                raise

    # What the server calls.

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if len(self._pending) < 2 and not self._over:
            self._pull()
        self._start()
        if len(self._pending) > 1 or (self._over and self._pending):
            return self._pending.popleft()
        if self._over:
            raise StopIteration
        # A piece for a piece (PEP 3333, "Middleware Handling of Block Boundaries").
        return b""

    def close(self) -> None:
        """The server asks for no more. The app has run, so what its answer would have been is read on, within limits."""
        until = time.monotonic() + self._guard.drain_timeout
        while not self._over:
            if self._copy is None or time.monotonic() > until:
                self._over = True
                try:
                    self._close_result()
                finally:
                    self._guard.abandon()
            else:
                self._pull()

    def _pull(self) -> None:
        """The next piece of the app's, or its end."""
        try:
            with self._guard.collector:
                piece = next(self._pieces, None)
            if piece is not None:
                self._note(piece)
            else:
                self._end()
        except BaseException as error:
            if not self._over:
                self._fail(error)
            raise

    def _note(self, data: bytes) -> None:
        if not isinstance(data, bytes):
            raise TypeError(f"a piece of the body is {type(data).__name__} and no bytes")
        if self._status is None:
            raise AssertionError("the body came before start_response was called")
        if not data:
            return
        self._pending.append(data)
        self._size += len(data)
        if self._size > self._guard.limit:
            self._copy = None
        elif self._copy is not None:
            self._copy.append(data)

    def _end(self) -> None:
        """The body is whole. It is closed before it is kept, since what the app does may end there."""
        if self._status is None:
            raise AssertionError("start_response was not called")
        self._close_result()
        self._over = True
        body = None if self._copy is None else b"".join(self._copy)
        self._copy = []
        if self._size < (self._announced() or 0):
            # The server tells its client that the answer broke off, and one that is given out again would seem whole.
            self._guard.failed()
        else:
            self._guard.keep(self._status, self._headers, body, self._told, self._seconds, self._environ)

    def _fail(self, error: BaseException) -> None:
        self._over = True
        try:
            self._close_result()
        finally:
            # What is no Exception comes from outside, as when a server ends a worker: how far the app has come is not known then.
            if isinstance(error, Exception) and not self._gone:
                self._guard.failed()
            else:
                self._guard.abandon()

    def _close_result(self) -> None:
        """Once."""
        result, self._result = self._result, ()
        close = getattr(result, "close", None)
        if close is not None:
            try:
                with self._guard.collector:
                    close()
            except StopIteration as error:
                # To whoever asks for the next piece it would say that the body has come to its end.
                raise RuntimeError("closing an app's answer raised StopIteration") from error

    def _start(self) -> None:
        if self._write is None:
            self._write = self._server(self._status, self._headers)

    def _is_short(self) -> bool:
        length = self._announced()
        return length is not None and length <= self._guard.limit

    def _announced(self) -> int | None:
        length = next((value for name, value in self._headers if name.lower() == "content-length"), "")
        return int(length) if DIGITS.match(length) else None
