"""Any list of requests gives, in batches, what it gives one by one: the app is asked the same, and the same comes back."""

import asyncio
import json
from collections.abc import Callable, Iterator
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import unquote

import httpx
import httpx2
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.clients.conftest import DIALECTS, Server
from tests.servers.run import gunicorn
from wsgibatch.clients.httpx import AsyncBatchTransport, BatchTransport
from wsgibatch.clients.requests import Batching

Asked = dict[str, Any]
Got = tuple[int, str, dict[str, str], Any]

ONLY_ONE_HAS = {
    # The place in the batch, and what says of which format it is.
    *("wsgibatch.item", "HTTP_ODATA_VERSION"),
    # The connection, and what the server knows of it.
    *("HTTP_CONNECTION", "HTTP_ACCEPT_ENCODING", "gunicorn.socket", "wsgi.early_hints", "REMOTE_PORT", "wsgi.input", "wsgi.file_wrapper"),
}
"""In the environ."""
OF_THE_SERVER = {"server", "date", "connection", "keep-alive", "transfer-encoding"}
"""Headers that the server adds to an answer."""
FRAMING = {"content-length"}
"""A server adds it, and an envelope may have stripped the white space around JSON."""


@pytest.fixture(scope="module", params=DIALECTS)
def mirror(request: pytest.FixtureRequest) -> Iterator[Server]:
    """An app that shows its whole environ."""
    with gunicorn("--worker-class", "gthread", "--threads", "8", f"tests.clients.site:make_mirror({request.param!r})") as base:
        yield Server(base, request.param)


def asked(method: str, path: str, query: str, headers: list[tuple[str, str]], body: bytes, content_type: str | None, status: str) -> Asked:
    own = dict(headers) | {"X-Status": status, "User-Agent": "test/1"} | ({"Content-Type": content_type} if content_type else {})
    return {"method": method, "url": path + query, "headers": own, "body": body}


calls = st.builds(
    asked,
    st.sampled_from(["GET", "GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "REPORT"]),
    st.sampled_from(["/", "/a", "/a%2Fb", "/a//b", "/a%25b", "/a;b=c/d", "/%E4%BD%A0", "/$item-0/a", "/bätch"])
    | st.lists(st.text("abc-_.~", min_size=1, max_size=5).filter(lambda name: not name.startswith(".")), min_size=1, max_size=3).map(
        lambda parts: "/" + "/".join(parts)
    ),
    st.sampled_from(["", "?a=b&a=c", "?a=%26&b", "?q=é", "?$item-0/a"]),
    st.lists(
        st.tuples(
            st.sampled_from(["Accept", "Accept-Language", "Authorization", "X-Echo", "X-One", "Cookie", "If-None-Match", "Referer", "Range"]),
            st.text("abc =,/-1", max_size=12).map(str.strip).filter(bool),
        ),
        max_size=3,
        unique_by=lambda header: header[0],
    ),
    st.sampled_from([b"", b"", b"{}", b"null", b'"dGV4dA=="', b"a=b", "grün".encode(), bytes(range(256)), b"\r\n--x\r\n"]) | st.binary(max_size=20),
    st.sampled_from([None, "application/json", "text/plain; charset=utf-8", "application/octet-stream"]),
    st.sampled_from(["200 OK", "201 Created", "204 No Content", "302 Found", "304 Not Modified", "404 Not Found", "503 Slow down"]),
)


def got(status: int, headers: Any, body: bytes, dialect: str) -> Got:
    """What is to be the same of an answer."""
    told = {name.lower(): value for name, value in headers.items() if name.lower() not in OF_THE_SERVER | FRAMING}
    if status in (204, 205, 304) or not body:
        # Of what has no content some dialects tell no type.
        told.pop("content-type", None)
    shown: Any = body
    if told.get("content-type") == "application/json" or (dialect == "aggregator" and body):
        shown = {key: value for key, value in json.loads(body).items() if key not in ONLY_ONE_HAS}
        # A path that could be taken for a reference to an item is spelt another way.
        shown["RAW_URI"] = unquote(shown["RAW_URI"])
        for name, value in (("HTTP_ACCEPT", "*/*"), ("CONTENT_LENGTH", "0")):
            if shown.get(name) == value:
                # As good as none.
                del shown[name]
    return status, "", {} if dialect == "aggregator" else told, shown


def one_by_one(base: str, drawn: list[Asked], dialect: str) -> list[Got]:
    with requests.Session() as session:
        session.cookies.set_policy(_NoCookies())
        found = [
            session.request(one["method"], base + one["url"], headers=one["headers"], data=one["body"], allow_redirects=False, timeout=20)
            for one in drawn
        ]
    return [got(one.status_code, one.headers, one.content, dialect) for one in found]


def by_requests(server: Server, drawn: list[Asked]) -> list[Got]:
    with Batching(server.batch, server.dialect) as session:
        # What an answer sets is sent with later calls one by one, and cannot be with those of the same batch.
        session.cookies.set_policy(_NoCookies())
        found = [session.request(one["method"], one["url"], headers=one["headers"], data=one["body"], allow_redirects=False) for one in drawn]
    return [got(one.status_code, one.headers, one.content, server.dialect) for one in found]


def by_httpx(library: Any) -> Callable[[Server, list[Asked]], list[Got]]:
    def collected(server: Server, drawn: list[Asked]) -> list[Got]:
        with BatchTransport(library.HTTPTransport(), server.batch, server.dialect) as transport, transport.batch() as batch:
            found = [batch.request(one["method"], one["url"], headers=one["headers"], content=one["body"]) for one in drawn]
        return [got(one.status_code, one.headers, one.content, server.dialect) for one in found]

    return collected


def by_asyncio(library: Any) -> Callable[[Server, list[Asked]], list[Got]]:
    async def gathered(server: Server, drawn: list[Asked]) -> list[Got]:
        transport = AsyncBatchTransport(library.AsyncHTTPTransport(), server.batch, server.dialect)
        async with library.AsyncClient(transport=transport, base_url=server.base, timeout=20) as client:
            sent = [client.request(one["method"], one["url"], headers=one["headers"], content=one["body"]) for one in drawn]
            found = await asyncio.gather(*sent)
        return [got(one.status_code, one.headers, one.content, server.dialect) for one in found]

    return lambda server, drawn: asyncio.run(gathered(server, drawn))


class _NoCookies(DefaultCookiePolicy):
    def set_ok(self, cookie: object, request: object) -> bool:
        return False


WAYS: dict[str, Callable[[Server, list[Asked]], list[Got]]] = {
    "requests": by_requests,
    "httpx": by_httpx(httpx),
    "httpx2": by_httpx(httpx2),
    "httpx async": by_asyncio(httpx),
    "httpx2 async": by_asyncio(httpx2),
}


@pytest.mark.parametrize("way", WAYS)
@given(st.lists(calls, min_size=1, max_size=6))
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_requests_in_batches_give_what_they_give_one_by_one(mirror: Server, way: str, drawn: list[Asked]) -> None:
    alone = one_by_one(mirror.base, drawn, mirror.dialect)

    for one, other in zip(WAYS[way](mirror, drawn), alone, strict=True):
        assert one == other
