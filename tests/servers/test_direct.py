"""An item against the same request sent by itself to the same server: the app cannot tell them apart, but for what is listed here."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import strategies
from tests.servers import run, wire

SERVERS = {
    "gunicorn": lambda: run.gunicorn("--worker-class", "gthread", "--threads", "4", "tests.servers.site:mirrored"),
    "waitress": lambda: run.waitress("tests.servers.site:mirrored"),
}

ONLY_AN_ITEM_HAS = {"wsgibatch.item"}
"""The place in the batch."""

ONLY_A_REQUEST_HAS = {
    # The connection, which is the batch's and not the item's.
    "HTTP_CONNECTION",
    "gunicorn.socket",
    "wsgi.early_hints",
    "waitress.client_disconnected",
}

DIFFERS = {
    # Another connection.
    "REMOTE_PORT",
    # The item's own, and the standard library's.
    "wsgi.input",
    "wsgi.file_wrapper",
}

OF_THE_SERVER = {"Server", "Date", "Connection", "Via"}
"""Headers of an answer that the server adds."""

methods = st.sampled_from(["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
bodies = st.just("") | st.text(max_size=30)
statuses = st.sampled_from(
    ["200 OK", "201 Created", "204 No Content", "301 Moved Permanently", "304 Not Modified", "404 Not Found", "409 Conflict", "503 Slow down"]
)
paths = (
    st.sampled_from(["/", "/a/../b", "/a/./b", "/a//b", "/a%2Fb", "/%2e%2e/a", "/a%25b", "/a;b=c/d", "/a%0D%0Ab", "/%E4%BD%A0", "/a%7Fb"])
    | strategies.paths
)
queries = st.sampled_from(["", "?", "?a=b&a=c", "?%00%zz", "?a?b/../c", "?=&&="]) | strategies.queries.map("?".__add__)
# The framing is the client's; a body is announced where one is sent, or where clients announce that there is none.
requests = st.builds(
    lambda method, path, query, headers, body, status, content_type: {
        "method": method,
        "url": path + query,
        "headers": {**dict(headers), "X-Status": status, **({"Content-Type": content_type} if body else {})},
        "body": body,
    },
    methods,
    # A server may take several slashes at the start for one.
    paths.filter(lambda path: not path.lower().replace("%2f", "/").startswith("//")),
    queries,
    strategies.headers,
    bodies,
    statuses,
    st.sampled_from(["application/json", "text/plain; charset=utf-8", "a/b"]),
)


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    with SERVERS[request.param]() as base:
        yield base


def direct(base: str, request: dict[str, Any]) -> wire.Answer:
    body = request["body"].encode()
    length = [("Content-Length", str(len(body)))] if body or request["method"] in ("POST", "PUT", "PATCH") else []
    return wire.exchanged(base, request["method"], request["url"], [("Host", "shop.example"), *request["headers"].items(), *length], body)


def same(sent: wire.Answer, item: dict[str, Any]) -> None:
    """Is *item* what was *sent* to the request that it is made of?"""
    assert (item["status_code"], item["reason_phrase"]) == (sent.status, sent.reason)
    headers: dict[str, Any] = {}
    for name, value in sent.headers:
        if name not in OF_THE_SERVER:
            headers[name] = [*headers[name], value] if isinstance(headers.get(name), list) else [headers[name], value] if name in headers else value
    length, direct_length = item["headers"].pop("Content-Length", None), headers.pop("Content-Length", None)
    assert item["headers"] == headers
    assert (length is None) == (direct_length is None) or sent.status in (204, 304), "a server may add a length"
    if not item["body"]:
        assert sent.body == b""
        return
    assert length == str(len(item["body"].encode()))
    given, given_direct = json.loads(item["body"]), json.loads(sent.body)
    assert given.keys() - given_direct.keys() <= ONLY_AN_ITEM_HAS
    assert given_direct.keys() - given.keys() <= ONLY_A_REQUEST_HAS
    for key in given.keys() & given_direct.keys() - DIFFERS:
        assert given[key] == given_direct[key], key


@given(st.lists(requests, min_size=1, max_size=6))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_app_is_asked_and_answers_as_if_the_item_had_come_by_itself(server: str, drawn: list[dict[str, Any]]) -> None:
    answer = wire.post(server, json.dumps(drawn).encode())

    assert answer.status == 200
    items = json.loads(answer.body)
    assert len(items) == len(drawn)
    for request, item in zip(drawn, items, strict=True):
        same(direct(server, request), item)


@pytest.mark.parametrize("url", ["a/b?c", "http://shop.example/a?b", "./a"])
def test_the_request_line_of_a_url_that_is_no_path_is_the_path_it_leads_to(server: str, url: str) -> None:
    [item] = json.loads(wire.post(server, json.dumps([{"method": "GET", "url": url}]).encode()).body)

    given = json.loads(item["body"])

    lines = {given[key] for key in ("RAW_URI", "REQUEST_URI") if key in given}
    path = "/" + url.removeprefix("http://shop.example/").removeprefix("/")
    assert lines == {path}


def test_headers_of_the_batch_are_those_of_a_request_by_itself(server: str) -> None:
    of_the_client = [
        ("User-Agent", "test/1"),
        ("Cookie", "a=b"),
        ("Authorization", "Bearer x"),
        ("Accept-Language", "de"),
        ("X-Forwarded-For", "192.0.2.1"),
    ]

    [item] = json.loads(wire.post(server, b'[{"method":"GET","url":"/a"}]', *of_the_client).body)
    sent = wire.exchanged(server, "GET", "/a", [("Host", "shop.example"), *of_the_client])

    same(sent, item)
