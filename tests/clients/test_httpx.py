"""The transports against real servers, in every dialect and both libraries."""

import asyncio
import contextlib
import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import httpx2
import pytest

from tests.apps import IMAGE
from tests.clients.conftest import Server
from tests.clients.site import MOST, TEXT
from wsgibatch import BatchFailed, ConfigError, MissingResponse
from wsgibatch.clients.httpx import AsyncBatchTransport, BatchTransport

LONG = 30.0
"""Seconds: a window that only ends when the batch is full."""


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> Any:
    return request.param


@contextlib.contextmanager
def client(server: Server, library: Any, **more: Any) -> Iterator[Any]:
    """A client whose calls of several threads travel together."""
    transport = BatchTransport(library.HTTPTransport(), server.batch, server.dialect, **more)
    with library.Client(transport=transport, base_url=server.base, timeout=30) as made:
        made.batching = transport
        yield made


@contextlib.asynccontextmanager
async def async_client(server: Server, library: Any, **more: Any) -> Any:
    transport = AsyncBatchTransport(library.AsyncHTTPTransport(), server.batch, server.dialect, **more)
    async with library.AsyncClient(transport=transport, base_url=server.base, timeout=30) as made:
        yield made


def gathered(server: Server, library: Any, *asked: Any, **more: Any) -> list[Any]:
    """The answers to calls, each the arguments of ``client.request``, that are made at the same time."""

    async def run() -> list[Any]:
        async with async_client(server, library, **more) as made:
            return list(await asyncio.gather(*[made.request(*one) if isinstance(one, tuple) else made.request(**one) for one in asked]))

    return asyncio.run(run())


def test_what_is_gathered_travels_in_one_post(server: Server, library: Any) -> None:
    before = server.posts()

    found = gathered(server, library, *[("GET", f"/echo/{number}?q=1") for number in range(MOST)])

    assert [(one.status_code, one.json()["path"], one.json()["query"], one.json()["item"]) for one in found] == [
        (200, f"/echo/{number}", "q=1", number) for number in range(MOST)
    ]
    assert server.posts() == before + 1


def test_threads_that_ask_within_the_window_share_one_post(server: Server, library: Any) -> None:
    before = server.posts()

    with client(server, library, window=LONG, max_items=8) as made, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: made.get(f"/echo/{number}"), range(8)))

    assert [one.json()["path"] for one in found] == [f"/echo/{number}" for number in range(8)]
    assert sorted(one.json()["item"] for one in found) == list(range(8))
    assert server.posts() == before + 1


def test_one_thread_collects_in_a_block(server: Server, library: Any) -> None:
    before = server.posts()

    with client(server, library) as made:
        made.headers["X-One"] = "1"
        made.cookies.set("k", "v")
        with made.batching.batch() as batch:
            first = batch.get("/echo/1")
            second = batch.send(made.build_request("GET", "/echo/2"))
            with pytest.raises(ValueError, match="not there yet"):
                _ = first.status_code

    assert isinstance(first, library.Response)
    assert (first.status_code, first.json()["path"], str(first.url)) == (200, "/echo/1", f"{server.base}/echo/1")
    assert first.elapsed.total_seconds() > 0
    assert (second.json()["headers"]["X_ONE"], second.json()["headers"]["COOKIE"]) == ("1", "k=v")
    # The two differ in their cookies, which only a whole batch can have.
    assert server.posts() == before + 2


def test_a_collecting_block_takes_every_method(multipart_server: Server, library: Any) -> None:
    with client(multipart_server, library) as made, made.batching.batch() as batch:
        found = [
            batch.get("/echo"),
            batch.options("/echo"),
            batch.post("/echo", json={"a": 1}),
            batch.put("/echo", content=IMAGE),
            batch.patch("/echo", data={"a": "1"}),
            batch.delete("/echo"),
        ]
        head = batch.head("/echo")

    assert [(one.json()["method"], one.json()["body"].encode("latin-1")) for one in found] == [
        ("GET", b""),
        ("OPTIONS", b""),
        ("POST", b'{"a":1}'),
        ("PUT", IMAGE),
        ("PATCH", b"a=1"),
        ("DELETE", b""),
    ]
    assert (head.status_code, head.content) == (200, b"")


def test_a_block_that_is_left_with_an_exception_sends_nothing(multipart_server: Server, library: Any) -> None:
    before = multipart_server.seen()

    with client(multipart_server, library) as made, contextlib.suppress(ZeroDivisionError), made.batching.batch() as batch:
        found = batch.post("/echo", json={})
        _ = 1 / 0

    assert multipart_server.seen() == before
    with pytest.raises(ValueError, match="never sent"):
        _ = found.status_code


def test_a_block_that_has_been_left_takes_no_more(multipart_server: Server, library: Any) -> None:
    with client(multipart_server, library) as made:
        with made.batching.batch() as batch:
            batch.get("/echo")
        with pytest.raises(RuntimeError, match="would never be sent"):
            batch.post("/echo")
        with batch:
            again = batch.get("/echo")

    assert again.status_code == 200


def test_a_block_refuses_another_host(multipart_server: Server, library: Any) -> None:
    with client(multipart_server, library) as made, made.batching.batch() as batch, pytest.raises(ValueError, match="not of the host"):
        batch.get("http://elsewhere.example/")


def test_a_response_is_what_the_library_makes_of_one(server: Server, library: Any) -> None:
    found, text, missing, empty = gathered(server, library, ("GET", "/echo"), ("GET", "/text"), ("GET", "/status/404"), ("GET", "/empty"))

    assert isinstance(found, library.Response)
    assert found.headers["content-type"] == "application/json"
    assert found.elapsed.total_seconds() > 0
    assert (text.text, text.content) == (TEXT, TEXT.encode())
    assert (missing.is_error, missing.json()) == (True, {"said": "404"})
    assert (empty.status_code, empty.content) == (204, b"")
    with pytest.raises(library.HTTPStatusError):
        missing.raise_for_status()


def test_bodies_arrive_and_come_back_as_they_are(server: Server, library: Any) -> None:
    asked = [{"method": "POST", "url": f"/echo/{number}", "content": IMAGE, "headers": {"Content-Type": "image/png"}} for number in range(2)]

    *found, image = gathered(server, library, *asked, ("GET", "/bin"))

    assert [one.json()["body"].encode("latin-1") for one in found] == [IMAGE, IMAGE]
    assert image.content == IMAGE or server.dialect == "aggregator"


def test_redirects_are_followed_by_the_client(server: Server, library: Any) -> None:
    async def run() -> list[Any]:
        async with async_client(server, library) as made:
            return list(await asyncio.gather(*[made.get("/moved", follow_redirects=True) for _ in range(2)]))

    if server.dialect == "aggregator":
        pytest.skip("this dialect tells no headers")
    found = asyncio.run(run())
    assert [(one.json()["path"], len(one.history)) for one in found] == [("/echo", 1)] * 2


def test_cookies_of_answers_are_kept_by_the_client(server: Server, library: Any) -> None:
    async def run() -> tuple[dict[str, str], list[Any]]:
        async with async_client(server, library) as made:
            await asyncio.gather(made.get("/cookies"), made.get("/echo"))
            return dict(made.cookies), list(await asyncio.gather(made.get("/echo"), made.get("/echo")))

    if server.dialect == "aggregator":
        pytest.skip("this dialect tells no headers")
    cookies, found = asyncio.run(run())
    assert cookies == {"a": "1", "b": "2"}
    assert [one.json()["headers"]["COOKIE"] for one in found] == ["a=1; b=2"] * 2


def test_credentials_of_calls_stay_apart(server: Server, library: Any) -> None:
    asked = [{"method": "GET", "url": "/echo", "auth": (name, "secret")} for name in ("zoe", "ann", "bob")]

    found = gathered(server, library, *asked, ("GET", "/echo"))

    sent = [one.json()["headers"].get("AUTHORIZATION") for one in found]
    assert sent == ["Basic em9lOnNlY3JldA==", "Basic YW5uOnNlY3JldA==", "Basic Ym9iOnNlY3JldA==", None]


def test_more_than_fit_travel_in_several_posts(server: Server, library: Any) -> None:
    before = server.posts()

    found = gathered(server, library, *[("GET", f"/echo/{number}") for number in range(2 * MOST)], max_items=MOST)

    assert [one.json()["path"] for one in found] == [f"/echo/{number}" for number in range(2 * MOST)]
    assert server.posts() == before + 2


def test_a_call_that_finds_no_company_goes_its_own_way(server: Server, library: Any) -> None:
    before = server.posts()

    [found] = gathered(server, library, ("GET", "/echo"))
    with client(server, library, window=0.0) as made:
        also = made.get("/echo")

    assert (found.json()["item"], also.json()["item"]) == (None, None)
    assert server.posts() == before


@pytest.mark.parametrize("way", ["batch", "method", "range", "endpoint"])
def test_what_cannot_travel_in_a_batch_goes_its_own_way(multipart_server: Server, library: Any, way: str) -> None:
    special: dict[str, dict[str, Any]] = {
        "batch": {"method": "GET", "url": "/echo", "extensions": {"batch": False}},
        "method": {"method": "REPORT", "url": "/echo"},
        "range": {"method": "GET", "url": "/echo", "headers": {"Range": "bytes=0-1"}},
        "endpoint": {"method": "GET", "url": "/batch"},
    }

    found, *others = gathered(multipart_server, library, special[way], ("GET", "/echo"), ("GET", "/echo"))

    assert found.json()["item"] is None
    assert sorted(one.json()["item"] for one in others) == [0, 1]


def test_a_call_to_another_host_goes_there(multipart_server: Server, server: Server, library: Any) -> None:
    [found, other] = gathered(multipart_server, library, ("GET", "/echo"), ("GET", server.base + "/echo"))

    assert found.json()["headers"]["HOST"] == multipart_server.base.removeprefix("http://")
    assert other.json()["headers"]["HOST"] == server.base.removeprefix("http://")


def test_what_failed_for_a_while_is_sent_again_and_nothing_else(server: Server, library: Any) -> None:
    key = uuid4().hex
    found = gathered(server, library, ("GET", f"/busy/{key}/0"), ("GET", f"/busy/a{key}/1?after=0"), ("GET", f"/busy/b{key}/9?after=0"), retries=2)

    assert [(one.status_code, one.json()["asked"]) for one in found] == [(200, 1), (200, 2), (503, 3)]


def test_a_quick_answer_in_a_stream_does_not_wait_for_a_slow_one(server: Server, library: Any) -> None:
    if server.dialect == "multipart":
        pytest.skip("this dialect has no stream of answers in any order")
    key = uuid4().hex

    async def run() -> tuple[int, int]:
        async with async_client(server, library) as made:
            slow = asyncio.create_task(made.get(f"/wait/{key}"))
            quick = await made.get("/echo")
            assert quick.json()["item"] is not None
            # Only now does the app answer the first call.
            await made.get(f"/go/{key}", extensions={"batch": False})
            return quick.status_code, (await slow).status_code

    assert asyncio.run(run()) == (200, 200)


def test_a_quick_answer_in_a_stream_does_not_keep_its_thread_waiting(server: Server, library: Any) -> None:
    if server.dialect == "multipart":
        pytest.skip("this dialect has no stream of answers in any order")
    key = uuid4().hex

    with client(server, library, window=LONG, max_items=2) as made, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(made.get, f"/wait/{key}")
        quick = made.get("/echo")
        made.get(f"/go/{key}", extensions={"batch": False})

        assert (quick.status_code, slow.result().status_code) == (200, 200)


def test_a_batch_that_is_refused_is_an_error_of_each_call(multipart_server: Server, library: Any) -> None:
    async def run() -> list[Any]:
        transport = AsyncBatchTransport(library.AsyncHTTPTransport(), multipart_server.batch, "graph")
        async with library.AsyncClient(transport=transport, base_url=multipart_server.base) as made:
            return list(await asyncio.gather(made.get("/echo"), made.get("/echo"), return_exceptions=True))

    first, second = asyncio.run(run())

    assert isinstance(first, BatchFailed)
    assert isinstance(second, BatchFailed)
    assert first is not second
    assert (first.status, first.document["error"]["innererror"]["code"]) == (415, "unknown-media-type")
    assert str(first) == str(second)


def test_a_batch_of_a_block_that_is_refused_is_an_error_of_the_block_and_of_each_response(multipart_server: Server, library: Any) -> None:
    transport = BatchTransport(library.HTTPTransport(), multipart_server.batch, "graph")
    with library.Client(transport=transport, base_url=multipart_server.base):
        batch = transport.batch()
        found = batch.get("/echo")
        with pytest.raises(BatchFailed), batch:
            pass
        with pytest.raises(BatchFailed):
            found.json()


def test_a_server_that_is_not_there_is_an_error_of_the_library_for_each_call(library: Any) -> None:
    nobody = Server("http://127.0.0.1:1", "multipart")

    async def run() -> list[Any]:
        async with async_client(nobody, library) as made:
            return list(await asyncio.gather(made.get("/a"), made.get("/b"), return_exceptions=True))

    errors = asyncio.run(run())

    assert [type(error) for error in errors] == [library.ConnectError] * 2
    assert [error.request.url.path for error in errors] == ["/a", "/b"]
    with client(nobody, library, window=LONG, max_items=2) as made, ThreadPoolExecutor(2) as pool:
        for waiting in [pool.submit(made.get, "/a"), pool.submit(made.get, "/b")]:
            with pytest.raises(library.ConnectError):
                waiting.result()


def test_an_answer_that_is_none_leaves_each_call_without_one(multipart_server: Server, library: Any) -> None:
    async def run() -> list[Any]:
        transport = AsyncBatchTransport(library.AsyncHTTPTransport(), multipart_server.base + "/text")
        async with library.AsyncClient(transport=transport, base_url=multipart_server.base) as made:
            return list(await asyncio.gather(made.get("/a"), made.get("/b"), return_exceptions=True))

    assert [type(error) for error in asyncio.run(run())] == [MissingResponse] * 2


def test_a_call_that_is_cancelled_before_the_batch_is_sent_is_left_out_of_it(multipart_server: Server, library: Any) -> None:
    key = uuid4().hex

    async def run() -> list[Any]:
        async with async_client(multipart_server, library, window=LONG, max_items=4) as made:
            dropped = asyncio.create_task(made.get(f"/busy/{key}/0"))
            kept = [asyncio.create_task(made.get(f"/echo/{number}")) for number in range(2)]
            await until(lambda: sum(not task.done() for task in asyncio.all_tasks()) >= 5)
            dropped.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dropped
            return [one.json()["path"] for one in await asyncio.gather(*kept, made.get("/echo/2"), made.get("/echo/3"))]

    assert asyncio.run(run()) == [f"/echo/{number}" for number in range(4)]
    assert httpx.get(f"{multipart_server.base}/busy/{key}/0").json() == {"asked": 1}


def test_when_all_are_cancelled_the_next_call_finds_other_company(multipart_server: Server, library: Any) -> None:
    async def run() -> list[Any]:
        async with async_client(multipart_server, library, window=LONG, max_items=2) as made:
            dropped = asyncio.create_task(made.get("/echo"))
            await until(lambda: len(asyncio.all_tasks()) >= 3)
            dropped.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dropped
            return list(await asyncio.gather(made.get("/echo"), made.get("/echo")))

    assert [one.json()["item"] for one in asyncio.run(run())] == [0, 1]


def test_a_batch_that_nobody_waits_for_any_more_is_given_up(multipart_server: Server, library: Any) -> None:
    key = uuid4().hex
    sent = asyncio.Event()

    class Telling(library.AsyncHTTPTransport):
        async def handle_async_request(self, request: Any) -> Any:
            sent.set()
            return await super().handle_async_request(request)

    async def run() -> None:
        transport = AsyncBatchTransport(Telling(), multipart_server.batch)
        async with library.AsyncClient(transport=transport, base_url=multipart_server.base) as made:
            waiting = [asyncio.create_task(made.get(f"/wait/{key}")) for _ in range(2)]
            await sent.wait()
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            assert all(task.cancelled() for task in waiting)
            # Otherwise it would still be there when the transport is closed, for as long as the app takes.

    asyncio.run(run())
    httpx.get(f"{multipart_server.base}/go/{key}")


def test_a_batch_that_is_cancelled_before_it_is_sent_takes_its_calls_with_it_and_no_later_ones(multipart_server: Server, library: Any) -> None:
    async def run() -> list[Any]:
        async with async_client(multipart_server, library, window=LONG, max_items=2) as made:
            before = asyncio.all_tasks()
            waiting = asyncio.create_task(made.get("/echo"))
            await until(lambda: len(asyncio.all_tasks() - before) >= 2)
            for task in asyncio.all_tasks() - before - {waiting}:
                # As a framework does that ends whatever is running.
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(waiting, 20)
            return list(await asyncio.gather(made.get("/echo"), made.get("/echo")))

    assert [one.json()["item"] for one in asyncio.run(run())] == [0, 1]


def test_a_call_that_is_cancelled_as_its_answer_comes_leaves_no_connection_behind(multipart_server: Server, library: Any) -> None:
    closed: list[str] = []

    class Watched(library.AsyncByteStream):
        def __init__(self, stream: Any) -> None:
            self._stream = stream

        async def __aiter__(self) -> Any:
            async for piece in self._stream:
                yield piece

        async def aclose(self) -> None:
            closed.append("closed")
            await self._stream.aclose()

    class Cancelling(library.AsyncHTTPTransport):
        async def handle_async_request(self, request: Any) -> Any:
            response = await super().handle_async_request(request)
            response.stream = Watched(response.stream)
            asyncio.get_running_loop().call_soon(waiting[0].cancel)
            return response

    waiting: list[asyncio.Task[Any]] = []

    async def run() -> None:
        transport = AsyncBatchTransport(Cancelling(), multipart_server.batch)
        async with library.AsyncClient(transport=transport, base_url=multipart_server.base) as made:
            waiting.append(asyncio.create_task(made.get("/echo")))
            with pytest.raises(asyncio.CancelledError):
                await waiting[0]
            assert closed

    asyncio.run(run())


def test_what_finds_no_thread_to_be_sent_in_keeps_no_later_call_waiting(multipart_server: Server, library: Any) -> None:
    with client(multipart_server, library, window=0) as made:
        before = threading.stack_size(1 << 46)
        try:
            with pytest.raises(RuntimeError, match="can't start new thread"):
                made.get("/echo")
        finally:
            threading.stack_size(before)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(made.get, "/echo").result(20).json()["path"] == "/echo"


def test_a_host_may_have_letters_of_any_language(library: Any) -> None:
    with (
        BatchTransport(library.HTTPTransport(), "http://bücher.example/bätch") as transport,
        contextlib.suppress(KeyError),
        transport.batch() as batch,
    ):
        for url in ("/a", "http://bücher.example/b", "http://xn--bcher-kva.example/c"):
            batch.get(url)
        raise KeyError


def test_what_a_collecting_block_is_interrupted_in_says_so(library: Any) -> None:
    class Interrupted(library.HTTPTransport):
        def handle_request(self, request: Any) -> Any:
            raise KeyboardInterrupt

    with BatchTransport(Interrupted(), "http://localhost/batch") as transport:
        with pytest.raises(KeyboardInterrupt), transport.batch() as batch:
            found = batch.get("/a")
        with pytest.raises(MissingResponse, match="KeyboardInterrupt"):
            _ = found.status_code


async def until(condition: Any) -> None:
    # What is waited for happens in the loop's next turns.
    while not condition():  # noqa: ASYNC110 - nobody sets an event there
        await asyncio.sleep(0)


def test_calls_of_loops_that_run_side_by_side_travel_apart(multipart_server: Server, library: Any) -> None:
    limits = library.Limits(max_keepalive_connections=0)

    class Each(library.AsyncBaseTransport):
        """Has connections of their own for each loop: those of the libraries must not be closed by another one."""

        async def handle_async_request(self, request: Any) -> Any:
            return await library.AsyncHTTPTransport(limits=limits).handle_async_request(request)

    made = library.AsyncClient(transport=AsyncBatchTransport(Each(), multipart_server.batch, window=0.2), base_url=multipart_server.base, timeout=30)
    both = threading.Barrier(3)
    before = multipart_server.posts()

    async def ask() -> list[Any]:
        both.wait(20)
        return list(await asyncio.wait_for(asyncio.gather(*[made.get(f"/echo/{number}") for number in range(4)]), 20))

    with ThreadPoolExecutor(3) as pool:
        found = [waiting.result() for waiting in [pool.submit(asyncio.run, ask()) for _ in range(3)]]

    assert [[one.json()["path"] for one in answers] for answers in found] == [[f"/echo/{number}" for number in range(4)]] * 3
    assert multipart_server.posts() == before + 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:Task was destroyed")
def test_a_loop_that_was_closed_with_a_call_waiting_keeps_no_call_of_the_next_one_waiting(multipart_server: Server, library: Any) -> None:
    ask_after_a_loop_was_closed(multipart_server, library)
    # What is left of the lost call complains when it is collected, and should do so here.
    gc.collect()


def ask_after_a_loop_was_closed(multipart_server: Server, library: Any) -> None:
    wrapped = library.AsyncHTTPTransport(limits=library.Limits(max_keepalive_connections=0))
    made = library.AsyncClient(transport=AsyncBatchTransport(wrapped, multipart_server.batch, window=LONG), base_url=multipart_server.base)

    async def begin() -> asyncio.Task[Any]:
        waiting: asyncio.Task[Any] = asyncio.ensure_future(made.get("/echo/lost"))
        for _ in range(20):
            await asyncio.sleep(0)
        return waiting

    loop = asyncio.new_event_loop()
    lost = loop.run_until_complete(begin())
    loop.close()

    async def ask() -> list[Any]:
        found = await asyncio.wait_for(asyncio.gather(*[made.get(f"/echo/{number}") for number in range(20)]), 20)
        await made.aclose()
        return list(found)

    assert [one.status_code for one in asyncio.run(ask())] == [200] * 20
    assert not lost.done()


def test_closing_waits_for_what_is_under_way(server: Server, library: Any) -> None:
    with ThreadPoolExecutor(2) as pool:
        with client(server, library, window=LONG, max_items=2) as made:
            waiting = [pool.submit(made.get, f"/echo/{number}") for number in range(2)]
            for one in waiting:
                one.result()
        assert [one.result().json()["path"] for one in waiting] == ["/echo/0", "/echo/1"]
    assert not [thread for thread in threading.enumerate() if thread.name == "wsgibatch-client"]


def test_time_limits_of_calls_add_up(multipart_server: Server, library: Any) -> None:
    limits: list[dict[str, float]] = []

    class Watching(library.AsyncHTTPTransport):
        async def handle_async_request(self, request: Any) -> Any:
            limits.append(request.extensions["timeout"])
            return await super().handle_async_request(request)

    async def run() -> None:
        transport = AsyncBatchTransport(Watching(), multipart_server.batch)
        async with library.AsyncClient(transport=transport, base_url=multipart_server.base, timeout=7) as made:
            await asyncio.gather(*[made.get("/echo") for _ in range(3)])

    asyncio.run(run())
    assert limits == [{"connect": 7, "read": 21, "write": 7, "pool": 7}]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"window": -1}, "window", id="window"),
        pytest.param({"max_items": 0}, "max_items", id="max_items"),
        pytest.param({"window": "x"}, "window", id="window of text"),
        pytest.param({"max_items": "5"}, "max_items", id="max_items of text"),
        pytest.param({"max_items": None}, "max_items", id="no max_items"),
        pytest.param({"retries": -1}, "retries", id="retries"),
        pytest.param({"retries": "1"}, "retries", id="retries of text"),
        pytest.param({"dialect": "auto"}, "auto", id="dialect"),
        pytest.param({"wrapped": httpx.BaseTransport}, "no transport", id="class"),
        pytest.param({"wrapped": object()}, "no transport", id="wrapped"),
    ],
)
@pytest.mark.parametrize("kind", [BatchTransport, AsyncBatchTransport])
def test_what_cannot_work_is_refused(kind: Any, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        kind(**{"wrapped": made_for(kind), "batch_url": "http://localhost/batch", **arguments})


def made_for(kind: Any) -> Any:
    return httpx.HTTPTransport() if kind is BatchTransport else httpx.AsyncHTTPTransport()


@pytest.mark.parametrize(
    ("kind", "wrapped"),
    [
        (BatchTransport, httpx.AsyncHTTPTransport),
        (AsyncBatchTransport, httpx.HTTPTransport),
        (BatchTransport, httpx.Client),
        (AsyncBatchTransport, httpx.AsyncClient),
        (AsyncBatchTransport, httpx2.AsyncClient),
    ],
)
def test_what_is_no_transport_of_its_kind_is_refused(kind: Any, wrapped: Any) -> None:
    with pytest.raises(ConfigError, match=r"wrapped: .* has no handle_(async_)?request\(\)"):
        kind(wrapped(), "http://localhost/batch")


@pytest.mark.parametrize("kind", [BatchTransport, AsyncBatchTransport])
def test_the_endpoint_may_be_a_url_of_the_library(kind: Any, library: Any) -> None:
    made = kind(made_for(kind), library.URL("http://localhost/batch"))

    assert made._endpoint.takes(httpx.Request("GET", "http://localhost/echo"))


def test_importing_the_transports_imports_neither_library() -> None:
    code = "import sys, wsgibatch.clients.httpx; print({'httpx', 'httpx2', 'requests'} & set(sys.modules))"

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout.strip() == "set()"
