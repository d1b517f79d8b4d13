"""Requests of httpx that one thread collects: a block that is left with their answers."""

from collections.abc import Callable
from functools import partialmethod
from types import TracebackType
from typing import Any, Self, TypeAlias
from urllib.parse import urljoin

from ..model import SubResponse
from ._deferred import Deferred, fail, fill, interrupted
from ._gathering import Asked, Endpoint, completed

Run: TypeAlias = Callable[[list[Asked], Callable[[Asked, Any, Any, float], object]], None]
"""Sends requests, and calls back with each, its answer, its response where it was sent by itself, and the seconds since then."""


class Collector:
    """Collects requests of one thread, and gives a response for each at once; what it is made of is there when the block has been left.

    A block that is left with an exception sends nothing.
    """

    _left = False

    def __init__(self, run: Run, endpoint: Endpoint, base: str) -> None:
        self._run, self._endpoint, self._base = run, endpoint, base
        self._kind = type("DeferredResponse", (Deferred, endpoint.library.Response), {})
        self._asked: list[Asked] = []

    def request(self, method: str, url: str, **kwargs: Any) -> Any:
        """As ``httpx.Request``; *url* may be relative.

        :raises ValueError: for a url of another host.
        :raises RuntimeError: when the block has been left.
        """
        library = self._endpoint.library
        # What a client of the library has for its default.
        kwargs.setdefault("extensions", {"timeout": library.Timeout(5.0).as_dict()})
        return self.send(library.Request(method, urljoin(self._base, url), **kwargs))

    get = partialmethod(request, "GET")
    options = partialmethod(request, "OPTIONS")
    head = partialmethod(request, "HEAD")
    post = partialmethod(request, "POST")
    put = partialmethod(request, "PUT")
    patch = partialmethod(request, "PATCH")
    delete = partialmethod(request, "DELETE")

    def send(self, request: Any) -> Any:
        """*request*, later; ``client.build_request(...)`` gives one that has the client's headers and cookies.

        :raises ValueError: for what goes to another host.
        :raises RuntimeError: when the block has been left.
        """
        if self._left:
            raise RuntimeError("This block has been left: what is asked of it now would never be sent.")
        if not self._endpoint.takes(request):
            raise ValueError(f"{request.url} is not of the host of this batch, or has extensions: send it with the client")
        request.read()
        self._asked.append(Asked(self._endpoint.call(request), request, self._kind()))
        return self._asked[-1].future

    def __enter__(self) -> Self:
        self._left = False
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asked, self._asked, self._left = self._asked, [], True
        if kind is not None:
            _fail_all(asked, ValueError("This request was never sent, since the block was left with an exception."))
            return
        wrong: list[Exception] = []

        def settled(one: Asked, answer: Any, alone: Any, waited: float) -> None:
            failure = answer if isinstance(answer, Exception) else self._filled(one, answer, alone, waited)
            if failure is not None:
                fail(one.future, failure)
                wrong.append(failure)

        try:
            self._run(asked, settled)
        except BaseException as failure:
            _fail_all(asked, failure if isinstance(failure, Exception) else interrupted(failure))
            raise
        if wrong:
            raise wrong[0]

    def _filled(self, one: Asked, answer: SubResponse, alone: Any, waited: float) -> Exception | None:
        """Why there is no response, such as a body that cannot be decoded: the others are to have theirs all the same."""
        try:
            response = self._endpoint.response(answer) if alone is None else alone
            fill(one.future, completed(response, one.request, answer.duration or waited))
        except Exception as failure:
            return failure
        return None


def _fail_all(asked: list[Asked], error: Exception) -> None:
    for one in asked:
        fail(one.future, error)
