"""Transports for httpx, and httpx2, that send what is asked at the same time as one batch.

::

    transport = AsyncBatchTransport(httpx.AsyncHTTPTransport(), "https://shop.example/batch")
    async with httpx.AsyncClient(transport=transport, base_url="https://shop.example") as client:
        alice, bob = await asyncio.gather(client.get("/people/alice/"), client.get("/people/bob/"))

What cannot travel in a batch goes its own way through the transport that is wrapped: a request to another host, one with an extension besides
``timeout`` (``extensions={"batch": False}`` will do), what the dialect cannot say, and a request that has found no company.
"""

import asyncio
import threading
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from time import perf_counter, sleep
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urljoin

from ..protocols import Dialect
from ._calls import Alone, Broken, Call, More, Pause, Post, Settled
from ._collector import Collector
from ._gathering import Asked, Endpoint, fail_all, head_of, settle, told_of

if TYPE_CHECKING:
    from httpx import AsyncBaseTransport, BaseTransport
else:
    # A client asks for their methods only, so either library will do.
    AsyncBaseTransport = BaseTransport = object

WINDOW = 0.005
"""Seconds: what one loop over a few calls takes, and much less than a request."""
MOST = 20
"""Calls: what a server of the JSON dialects takes by default."""


class BatchTransport(BaseTransport):
    """Sends what several threads ask for within a window as one batch. One thread can collect: see :meth:`batch`.

    :param wrapped: the transport that batches, and whatever cannot be batched, are sent through.
    :param batch_url: the endpoint, an absolute url: a string, or a URL of the library.
    :param dialect: what the endpoint speaks: a name, ``package.module:name``, or an object.
    :param window: seconds to wait for company.
    :param max_items: calls in one batch.
    :param retries: how often calls that are answered with 429 or 503 are sent again, after the pause that Retry-After asks for.
    :raises ConfigError: for what cannot work.

    A request raises :exc:`~wsgibatch.BatchFailed` when its batch is refused, and :exc:`~wsgibatch.MissingResponse` when the answer has none to it.
    """

    def __init__(
        self, wrapped: Any, batch_url: Any, dialect: str | Dialect = "multipart", *, window: float = WINDOW, max_items: int = MOST, retries: int = 0
    ) -> None:
        self._wrapped, self._window = wrapped, window
        self._endpoint = Endpoint(wrapped, "handle_request", batch_url, dialect, window, max_items, retries)
        self._lock = threading.Lock()
        self._open: dict[Hashable, _Gathering] = {}
        self._threads: set[threading.Thread] = set()
        self._base = urljoin(str(batch_url), "/")

    def handle_request(self, request: Any) -> Any:
        endpoint = self._endpoint
        if not endpoint.takes(request):
            return self._wrapped.handle_request(request)
        request.read()
        call = endpoint.call(request)
        if not endpoint.sender.can_say(call):
            return self._wrapped.handle_request(request)
        future: Future[Any] = Future()
        self._join(Asked(call, request, future))
        return future.result()

    def batch(self) -> Collector:
        """A block that collects requests, and sends them when it is left::

        with transport.batch() as batch:
            alice = batch.get("/people/alice/")
            bob = batch.send(client.build_request("GET", "/people/bob/"))
        alice.json(), bob.json()
        """
        return Collector(self.run, self._endpoint, self._base)

    def close(self) -> None:
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join()
        self._wrapped.close()

    def __enter__(self) -> Self:
        self._wrapped.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None = None, error: BaseException | None = None, trace: TracebackType | None = None) -> None:
        self.close()

    def _join(self, asked: Asked) -> None:
        with self._lock:
            gathering = self._open.get(asked.call.key)
            if gathering is None:
                gathering = _Gathering()
                thread = threading.Thread(target=copy_context().run, args=(self._send, asked.call.key, gathering), name="wsgibatch-client")
                thread.start()
                # There may be no more threads to be had. Then nobody is to wait for this one.
                self._threads.add(thread)
                self._open[asked.call.key] = gathering
            gathering.asked.append(asked)
            if len(gathering.asked) >= (self._endpoint.sender.most or MOST):
                del self._open[asked.call.key]
                gathering.full.set()

    def _send(self, key: Hashable, gathering: "_Gathering") -> None:
        """Send what has gathered, in a thread of its own: whoever has an answer need not wait for the others."""
        gathering.full.wait(self._window)
        with self._lock:
            if self._open.get(key) is gathering:
                del self._open[key]
        asked = gathering.asked
        asked[0].call.alone = len(asked) == 1
        try:
            self.run(asked, lambda one, answer, alone, _: settle(one.future, self._endpoint, answer, alone))
        except BaseException as error:
            fail_all(asked, error)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def run(self, asked: list[Asked], settled: Callable[[Asked, Any, Any, float], object]) -> None:
        """Send *asked*, and have *settled* called with each, its answer, its response where it was sent by itself, and the seconds since then."""
        by_call = {one.call: one for one in asked}
        alone: dict[Call, Any] = {}
        flow = self._endpoint.sender.send(list(by_call))
        response: Any = None
        chunks: Iterator[bytes] = iter(())
        sent = perf_counter()
        told: Any = None
        try:
            while (effect := _next(flow, told)) is not None:
                told = None
                if isinstance(effect, Post):
                    if response is not None:
                        response.close()
                    sent = perf_counter()
                    response = self._wrapped.handle_request(self._endpoint.batch(effect))
                    chunks, told = filter(len, response.iter_bytes()), head_of(response)
                elif isinstance(effect, More):
                    try:
                        told = next(chunks, b"")
                    except self._endpoint.library.RequestError as error:
                        told = Broken(error)
                elif isinstance(effect, Alone):
                    sent = perf_counter()
                    if effect.call in alone:
                        alone[effect.call].close()
                    alone[effect.call] = self._wrapped.handle_request(by_call[effect.call].request)
                    told = told_of(alone[effect.call])
                elif isinstance(effect, Pause):
                    sleep(effect.seconds)
                elif isinstance(effect, Settled):
                    settled(by_call[effect.call], effect.answer, alone.pop(effect.call, None), perf_counter() - sent)
        finally:
            for left in [*alone.values(), *([] if response is None else [response])]:
                left.close()


class AsyncBatchTransport(AsyncBaseTransport):
    """Sends what is asked within a window as one batch, on asyncio. ``asyncio.gather`` needs no change.

    A request that is cancelled before its batch is sent is left out of it; a batch that nobody waits for any more is given up. Requests of several
    event loops travel apart, each in its own; whether they may share a transport is for the one that is wrapped to say.

    The parameters, and what a request raises, are those of :class:`BatchTransport`.
    """

    def __init__(
        self, wrapped: Any, batch_url: Any, dialect: str | Dialect = "multipart", *, window: float = WINDOW, max_items: int = MOST, retries: int = 0
    ) -> None:
        self._wrapped, self._window = wrapped, window
        self._endpoint = Endpoint(wrapped, "handle_async_request", batch_url, dialect, window, max_items, retries)
        # By the loop as well: what waits in one, running or not, is none that another can wake.
        self._open: dict[Hashable, _AsyncGathering] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: Any) -> Any:
        endpoint = self._endpoint
        if not endpoint.takes(request):
            return await self._wrapped.handle_async_request(request)
        await request.aread()
        call = endpoint.call(request)
        if not endpoint.sender.can_say(call):
            return await self._wrapped.handle_async_request(request)
        asked = Asked(call, request, asyncio.get_running_loop().create_future())
        gathering = self._join(asked)
        try:
            return await asked.future
        except asyncio.CancelledError:
            self._leave(asked, gathering)
            if asked.future.done() and not asked.future.cancelled() and asked.future.exception() is None:
                # It came at the same moment, and nobody else knows of it.
                await asked.future.result().aclose()
            raise

    async def aclose(self) -> None:
        loop = asyncio.get_running_loop()
        # Another thread may add to them meanwhile.
        await asyncio.gather(*[task for task in tuple(self._tasks) if task.get_loop() is loop], return_exceptions=True)
        await self._wrapped.aclose()

    async def __aenter__(self) -> Self:
        await self._wrapped.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None = None, error: BaseException | None = None, trace: TracebackType | None = None
    ) -> None:
        await self.aclose()

    def _join(self, asked: Asked) -> "_AsyncGathering":
        key = _key(asked)
        gathering = self._open.get(key)
        if gathering is None:
            gathering = self._open[key] = _AsyncGathering()
            gathering.task = asyncio.create_task(self._send(key, gathering))
            self._tasks.add(gathering.task)
            gathering.task.add_done_callback(partial(self._ended, key, gathering))
        gathering.asked.append(asked)
        if len(gathering.asked) >= (self._endpoint.sender.most or MOST):
            del self._open[key]
            gathering.full.set()
        return gathering

    def _leave(self, asked: Asked, gathering: "_AsyncGathering") -> None:
        key = _key(asked)
        if not gathering.sent:
            gathering.asked.remove(asked)
            if not gathering.asked:
                self._shut(key, gathering)
        if gathering.task is not None and all(one.future.done() for one in gathering.asked):
            gathering.task.cancel()

    async def _send(self, key: Hashable, gathering: "_AsyncGathering") -> None:
        """Send what has gathered, in a task of its own: nobody who is cancelled takes the others with him."""
        asked = gathering.asked
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(gathering.full.wait(), self._window)
            gathering.sent = True
            self._shut(key, gathering)
            if len(asked) == 1:
                asked[0].call.alone = True
            await self._run(asked)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            fail_all(asked, error)

    def _shut(self, key: Hashable, gathering: "_AsyncGathering") -> None:
        """Have whoever comes from now on find other company."""
        if self._open.get(key) is gathering:
            del self._open[key]

    def _ended(self, key: Hashable, gathering: "_AsyncGathering", task: asyncio.Task[None]) -> None:
        """The task is over, if only because it was cancelled, maybe before it had begun: nobody is to wait for it."""
        self._tasks.discard(task)
        self._shut(key, gathering)
        for one in gathering.asked:
            one.future.cancel()

    async def _run(self, asked: list[Asked]) -> None:
        by_call = {one.call: one for one in asked}
        alone: dict[Call, Any] = {}
        flow = self._endpoint.sender.send(list(by_call))
        response: Any = None
        chunks: Any = None
        told: Any = None
        try:
            while (effect := _next(flow, told)) is not None:
                told = None
                if isinstance(effect, Post):
                    if response is not None:
                        await response.aclose()
                    response = await self._wrapped.handle_async_request(self._endpoint.batch(effect))
                    chunks, told = response.aiter_bytes(), head_of(response)
                elif isinstance(effect, More):
                    try:
                        told = await anext(chunks, b"")
                    except self._endpoint.library.RequestError as error:
                        told = Broken(error)
                elif isinstance(effect, Alone):
                    if effect.call in alone:
                        await alone[effect.call].aclose()
                    alone[effect.call] = await self._wrapped.handle_async_request(by_call[effect.call].request)
                    told = told_of(alone[effect.call])
                elif isinstance(effect, Pause):
                    await asyncio.sleep(effect.seconds)
                elif isinstance(effect, Settled):
                    own = alone.pop(effect.call, None)
                    if not settle(by_call[effect.call].future, self._endpoint, effect.answer, own) and own is not None:
                        await own.aclose()
        finally:
            for left in [*alone.values(), *([] if response is None else [response])]:
                await left.aclose()


class _Gathering:
    """Requests that have found each other."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.full = threading.Event()


class _AsyncGathering:
    """The same on asyncio."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.full = asyncio.Event()
        self.sent = False
        self.task: asyncio.Task[None] | None = None


def _key(asked: Asked) -> Hashable:
    return asked.future.get_loop(), asked.call.key


def _next(flow: Any, told: Any) -> Any:
    """The next effect of *flow*, None at its end."""
    try:
        return flow.send(told)
    except StopIteration:
        return None
