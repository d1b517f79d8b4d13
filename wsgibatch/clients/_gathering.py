"""What the transports for httpx share, without waiting for anything: requests of the library as calls, and answers as responses of the library.

Nothing of httpx is imported. The classes are those of the library that the requests come from, so it may be httpx or httpx2.
"""

import sys
from collections.abc import Hashable
from datetime import timedelta
from typing import Any, NamedTuple

from ..errors import ClientError, ConfigError
from ..model import Headers, SubResponse
from ..protocols import Dialect
from ._batch import Sender, dialect_of
from ._calls import Call, Post, call_of
from ._url import origin, path

_KNOWN_EXTENSIONS = frozenset({"timeout"})


class Asked(NamedTuple):
    """A call, as the library knows it, and who waits for it."""

    call: Call
    request: Any
    future: Any


class Endpoint:
    """A batch endpoint as a transport sees it.

    :param method: what *wrapped* has to have.
    """

    def __init__(self, wrapped: object, method: str, batch_url: object, dialect: str | Dialect, window: float, max_items: int, retries: int) -> None:
        if not isinstance(window, int | float) or not 0 <= window < float("inf"):
            raise ConfigError(f"window: seconds are wanted, not {window!r}")
        # It may be a URL of the library.
        batch_url = str(batch_url)
        origin(batch_url)
        if max_items is None:
            raise ConfigError("max_items: at least 1 is wanted, not None")
        self.sender = Sender(dialect_of(dialect), max_items, retries)
        self.library = _library_of(wrapped)
        if not hasattr(wrapped, method):
            raise ConfigError(f"wrapped: {wrapped!r} has no {method}(), so it is a transport of the other kind, or none")
        # As the library spells it, so that it can be compared: a host may have letters of any language.
        self._url = str(self.library.URL(batch_url))
        self._origin = origin(self._url)

    def takes(self, request: Any) -> bool:
        """May *request* travel in a batch, as far as can be told before its body is read?"""
        url = str(request.url)
        if url.partition(":")[0] not in ("http", "https") or origin(url) != self._origin or path(url) == path(self._url):
            return False
        return bool(request.extensions.keys() <= _KNOWN_EXTENSIONS)

    def call(self, request: Any) -> Call:
        """*request*, whose body has been read, as a call."""
        headers = _latin(request.headers.raw)
        timeout = tuple(sorted(request.extensions.get("timeout", {}).items()))
        return call_of(request.method, request.url.raw_path.decode("ascii"), headers, request.content, timeout)

    def batch(self, post: Post) -> Any:
        """The request that *post* asks for."""
        timeout = {name: wait * post.count if name == "read" and wait else wait for name, wait in _pairs(post.route)}
        extensions = {"timeout": timeout} if timeout else {}
        return self.library.Request(
            "POST", self._url, headers=[*post.headers, ("Accept-Encoding", "identity")], content=post.body, extensions=extensions
        )

    def response(self, answer: SubResponse) -> Any:
        """*answer* as if it had come by itself."""
        extensions = {"reason_phrase": answer.reason.encode("latin-1", "replace")} if answer.reason else {}
        body = self.library.Response(200, content=answer.body).stream
        headers = [(_raw(name), _raw(value)) for name, value in answer.headers]
        return self.library.Response(answer.status, headers=headers, stream=body, extensions=extensions)


def settle(future: Any, endpoint: Endpoint, answer: SubResponse | ClientError, alone: Any = None) -> bool:
    """Give *answer* to who waits for it; False where nobody does any more. *alone* is the response where it came by itself."""
    if future.done():
        return False
    if isinstance(answer, ClientError):
        future.set_exception(answer)
        return True
    try:
        response = endpoint.response(answer) if alone is None else alone
    except Exception as error:
        # Something that the library makes no response of: no reason why the others should have none.
        future.set_exception(error)
    else:
        future.set_result(response)
    return True


def fail_all(asked: list[Asked], error: BaseException) -> None:
    """Have all who still wait be told *error*, each in a copy of its own, which the library completes with the request."""
    for one in asked:
        if not one.future.done():
            one.future.set_exception(_another(error))


def _another(error: BaseException) -> BaseException:
    """What tells the same as *error*. Libraries change what :func:`copy.copy` makes of exceptions, so it is not asked."""
    made = type(error).__new__(type(error), *error.args)
    made.args = error.args
    vars(made).update(vars(error))
    made.__cause__, made.__context__ = error.__cause__, error.__context__
    return made.with_traceback(error.__traceback__)


def head_of(response: Any) -> tuple[int, Headers]:
    """Status and headers of *response*."""
    return response.status_code, _latin(response.headers.raw)


def told_of(response: Any) -> SubResponse:
    """What has to be known of a *response* to a call that was sent by itself."""
    status, headers = head_of(response)
    return SubResponse(status, "", headers, b"")


def completed(response: Any, request: Any, seconds: float) -> Any:
    """*response* as a client would give it, read."""
    response.request = request
    response.read()
    response.elapsed = timedelta(seconds=seconds)
    return response


def _latin(raw: list[tuple[bytes, bytes]]) -> Headers:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw]


def _raw(text: str) -> bytes:
    """*text* of a header as it stands in one; what no header can hold, and JSON can, in UTF-8."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode(errors="replace")


def _pairs(route: Hashable) -> tuple[tuple[str, float | None], ...]:
    return route if isinstance(route, tuple) else ()


def _library_of(wrapped: object) -> Any:
    """The library that *wrapped* is a transport of.

    :raises ConfigError: when it is of none.
    """
    for kind in type(wrapped).__mro__:
        module = sys.modules.get(kind.__module__.partition(".")[0])
        if all(hasattr(module, name) for name in ("Request", "Response", "BaseTransport", "Timeout")):
            return module
    raise ConfigError(f"wrapped: {wrapped!r} is no transport of httpx or httpx2")
