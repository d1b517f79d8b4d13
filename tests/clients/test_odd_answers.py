"""Servers that err, or mean harm: what one item says spoils no other, each call is told what has become of it, and nothing goes on for ever."""

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import httpx2
import pytest

from tests.clients.saying import Saying, head_of, item, items, lines, saying, told
from wsgibatch import MissingResponse
from wsgibatch.clients.httpx import AsyncBatchTransport, BatchTransport
from wsgibatch.clients.requests import Batching

Got = list[Any]
"""A response, or an exception, for each of three calls, in the order in which they found each other."""
Way = Callable[..., Got]

COUNT = 3


def by_requests(server: Saying, dialect: str = "django", **more: Any) -> Got:
    session = Batching(server.batch, dialect, **more)
    asked = [session.get(f"/{number}") for number in range(COUNT)]
    return looked_at(asked, session.flush, session.close)


def by_collecting(library: Any) -> Way:
    def collected(server: Saying, dialect: str = "django", **more: Any) -> Got:
        transport = BatchTransport(library.HTTPTransport(), server.batch, dialect, **more)
        block = transport.batch()
        asked = [block.get(f"/{number}") for number in range(COUNT)]
        return looked_at(asked, lambda: block.__exit__(None, None, None), transport.close)

    return collected


def looked_at(asked: list[Any], send: Callable[[], None], close: Callable[[], None]) -> Got:
    raised: Exception | None = None
    try:
        send()
    except Exception as error:
        raised = error
    finally:
        close()
    found: Got = []
    for one in asked:
        try:
            _ = one.status_code, one.content
            found.append(one)
        except Exception as error:
            found.append(error)
    # Whoever looks at no response is told all the same.
    assert raised is None or any(isinstance(one, type(raised)) for one in found)
    return found


def by_threads(library: Any) -> Way:
    def asked(server: Saying, dialect: str = "django", **more: Any) -> Got:
        transport = BatchTransport(library.HTTPTransport(), server.batch, dialect, window=30, **{"max_items": COUNT, **more})

        with library.Client(transport=transport, base_url=server.base, timeout=30) as made, ThreadPoolExecutor(COUNT) as pool:
            waiting = []
            for number in range(COUNT):
                waiting.append(pool.submit(made.get, f"/{number}"))
                while number < COUNT - 1 and sum(len(one.asked) for one in [*transport._open.values()]) <= number:
                    threading.Event().wait(0.001)
            return [one.exception() or one.result() for one in waiting]

    return asked


def by_asyncio(library: Any) -> Way:
    async def run(server: Saying, dialect: str, more: dict[str, Any]) -> Got:
        transport = AsyncBatchTransport(library.AsyncHTTPTransport(), server.batch, dialect, **more)
        async with library.AsyncClient(transport=transport, base_url=server.base, timeout=30) as made:
            return list(await asyncio.gather(*[made.get(f"/{number}") for number in range(COUNT)], return_exceptions=True))

    return lambda server, dialect="django", **more: asyncio.run(run(server, dialect, more))


WAYS: dict[str, Way] = {
    "requests": by_requests,
    "httpx": by_collecting(httpx),
    "httpx2": by_collecting(httpx2),
    "httpx threads": by_threads(httpx),
    "httpx async": by_asyncio(httpx),
    "httpx2 async": by_asyncio(httpx2),
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
each_client = pytest.mark.parametrize("way", [WAYS["requests"], WAYS["httpx"], WAYS["httpx async"]], ids=["requests", "httpx", "httpx async"])


def statuses(found: Got) -> list[Any]:
    return [type(one) if isinstance(one, Exception) else one.status_code for one in found]


@every_way
@pytest.mark.parametrize("value", ["Zoë", "你"])
def test_a_header_may_have_any_letters(way: Way, value: str) -> None:
    with saying(items(item(headers={"X-Name": value}), item(), item())) as server:
        found = way(server)

    assert statuses(found) == [200] * 3
    assert found[0].headers["X-Name"] == value


@every_way
def test_a_body_that_cannot_be_decoded_spoils_no_other(way: Way) -> None:
    with saying(items(item("no gzip, whatever it says", headers={"Content-Encoding": "gzip"}), item("b"), item("c"))) as server:
        found = way(server)

    assert "DecodingError" in type(found[0]).__name__
    assert [one.content for one in found[1:]] == [b"b", b"c"]


@every_way
@pytest.mark.parametrize("time", [1e300, -1e300, -1.0])
def test_a_time_that_cannot_be_is_not_believed(way: Way, time: float) -> None:
    with saying(items(item(headers={"batch_requests.duration": time}), item(), item())) as server:
        found = way(server)

    assert statuses(found) == [200] * 3
    assert all(timedelta(0) <= one.elapsed < timedelta(seconds=60) for one in found)


@every_way
@pytest.mark.parametrize("timing", ['i0;dur=1..2;desc="start ."', f'i0;dur={"9" * 400};desc="start 1"', f'i{"9" * 5000};dur=1;desc="start 1"'])
def test_a_timing_that_is_none_spoils_no_answer(way: Way, timing: str) -> None:
    with saying(items(item(), item(), item(), Server_Timing=timing)) as server:
        assert statuses(way(server)) == [200] * 3


@every_way
@pytest.mark.parametrize(
    "said", [b"[]", b"<html>", b'["no", "no", "no"]', b"\xff\xfe", b"[" * 100_000], ids=["none", "html", "types", "utf-16", "deep"]
)
def test_each_call_is_told_that_the_answer_cannot_be_read(way: Way, said: bytes) -> None:
    with saying(lambda _head, _body: [told(200, said, Content_Type="application/json")]) as server:
        found = way(server)

    assert statuses(found) == [MissingResponse] * 3
    assert [str(error).partition(":")[0] for error in found] == ["GET /0", "GET /1", "GET /2"]


@every_way
def test_a_page_that_came_instead_is_told_and_kept(way: Way) -> None:
    with saying(lambda _head, _body: [told(200, b"<h1>Log in</h1>", Content_Type="text/html; charset=utf-8")]) as server:
        found = way(server)

    for error in found:
        assert "the answer to the batch cannot be read: it is 200 text/html, and " in str(error)
        assert (error.status, error.body, dict(error.headers)["Content-Type"]) == (200, b"<h1>Log in</h1>", "text/html; charset=utf-8")


@every_way
@pytest.mark.parametrize("forever", [json.dumps({"index": 0, **item()}).encode() + b"\n", b"<html>\n", b"\n"], ids=["again", "html", "blank"])
def test_lines_without_an_end_are_not_read_for_ever(way: Way, forever: bytes) -> None:
    with saying(lines({"index": 0, **item()}, then=forever)) as server:
        found = way(server)
        assert server.left.wait(20)

    assert statuses(found) == [200, MissingResponse, MissingResponse]


@every_way
def test_what_comes_behind_the_last_line_is_not_read_for_ever(way: Way) -> None:
    answers = [{"index": number, **item()} for number in range(COUNT)]
    with saying(lines(*answers, {"complete": True}, then=b"\n" * 1000)) as server:
        assert statuses(way(server)) == [200] * 3
        assert server.left.wait(20)


def cut_off(kind: str, dialect: str, count: int = 1) -> Callable[[bytes, bytes], list[bytes]]:
    """The first *count* answers, and a piece of the next, of a connection that is closed then, with chunks or without."""
    if dialect == "multipart":
        parts = [
            f"--b\r\nContent-Type: application/http\r\nContent-ID: response-item-{number}\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx\r\n" for number in range(3)
        ]
    else:
        parts = [json.dumps({"index": number, **item()}) + "\n" for number in range(3)]
    said = ("".join(parts[:count]) + parts[count][:20]).encode()
    content_type = 'multipart/mixed; boundary="b"' if dialect == "multipart" else "application/x-ndjson"
    if kind == "chunk":
        head = head_of(200, Content_Type=content_type, Transfer_Encoding="chunked")
        return lambda _head, _body: [head + b"%x\r\n%b\r\n" % (len(said), said)]
    return lambda _head, _body: [head_of(200, Content_Type=content_type) + said]


@every_way
@pytest.mark.parametrize("kind", ["chunk", "end"])
@pytest.mark.parametrize("dialect", ["multipart", "django"])
def test_what_arrived_before_the_answer_was_cut_off_is_answered(way: Way, dialect: str, kind: str) -> None:
    with saying(cut_off(kind, dialect, 2)) as server:
        found = way(server, dialect)

    assert statuses(found) == [200, 200, MissingResponse]
    assert str(found[2]) == "GET /2: the answer to the batch was cut off"
    # What the library says of it, where it notices.
    assert (found[2].__cause__ is None) == (kind == "end")


@every_way
def test_an_answer_that_was_cut_off_before_any_had_arrived_says_so(way: Way) -> None:
    with saying(cut_off("chunk", "multipart", 0)) as server:
        found = way(server, "multipart")

    assert [str(error).partition(": ")[2] for error in found] == ["the answer to the batch was cut off"] * 3


@each_client
@pytest.mark.parametrize("limit", [-1, 0, 1, True, "2", 10**30])
@pytest.mark.parametrize("code", ["too-many-items", "too-large"])
def test_a_server_that_always_wants_less_is_asked_one_by_one_in_the_end(way: Way, code: str, limit: Any) -> None:
    def say(head: bytes, _body: bytes) -> list[bytes]:
        batch = head.startswith(b"POST")
        return [told(413 if batch else 200, json.dumps({"code": code, "limit": limit}).encode() if batch else b"")]

    with saying(say) as server:
        assert statuses(way(server)) == [200] * 3
        assert len(server.heads) <= 3 * COUNT


@each_client
def test_an_answer_has_its_content_where_the_dialect_tells_no_status(way: Way) -> None:
    # As Flask-Aggregator answers, which knows no lines.
    said = {f"/{number}": {"a": number} for number in range(COUNT)}
    with saying(lambda _head, _body: [told(200, json.dumps(said).encode(), Content_Type="application/json")]) as server:
        asked = Batching(server.batch, "aggregator") if way is by_requests else None
        found = way(server, "aggregator") if asked is None else bare(asked)

    assert [(one.status_code, one.json()) for one in found] == [(0, {"a": number}) for number in range(COUNT)]


def bare(session: Batching) -> Got:
    """Calls without headers: the dialect can say no others."""
    session.headers.clear()
    with session:
        return [session.get(f"/{number}") for number in range(COUNT)]
