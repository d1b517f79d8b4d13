"""What holds for every dialect of the family; a new one is found by itself."""

import base64
import json
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multipart import parse_options_header

from tests import strategies
from tests.gateway import Answer, environ_of, send
from wsgibatch import (
    Batch,
    BatchMiddleware,
    BatchRejected,
    Head,
    Settings,
    SubRequest,
    SubResponse,
    TooLarge,
    TooManyItems,
    UnknownMediaType,
    _lookup,
    dialects,
)
from wsgibatch.protocols import Dialect

WORDS = [word for word in _lookup.members(dialects) if word != "auto"]

every_dialect = pytest.mark.parametrize("word", WORDS)


def dialect_of(word: str) -> Dialect:
    made: Dialect = _lookup.member(dialects, word)()
    return made


def numbered(requests: Iterable[SubRequest]) -> list[SubRequest]:
    return [SubRequest(index, request.method, request.target, request.headers, request.body) for index, request in enumerate(requests)]


def head_for(headers: list[tuple[str, str]]) -> Head:
    media_type, parameters = parse_options_header(dict(headers)["Content-Type"])
    return Head("/batch", "", "shop.example", "http", media_type, parameters, headers=dict(headers))


def batched(app: Any, word: str, requests: list[SubRequest], **settings: Any) -> Answer:
    """Write *requests*, post them, and give the raw answer."""
    headers, body = dialect_of(word).write(requests)
    middleware = BatchMiddleware(app, dialect=word, **settings)
    return send(middleware, environ_of(body, CONTENT_TYPE=dict(headers)["Content-Type"]))


def round_trip(app: Any, word: str, requests: list[SubRequest], **settings: Any) -> list[SubResponse]:
    answer = batched(app, word, requests, **settings)
    assert answer.status == 200, answer
    well_formed(answer)
    return dialect_of(word).read(answer.headers, answer.body, requests)


def well_formed(answer: Answer) -> None:
    """A JSON answer is JSON for the strictest reader, and has the length it announces."""
    assert answer.header("Content-Length") == str(len(answer.body))
    if "json" in (answer.header("Content-Type") or ""):
        msgspec.json.decode(answer.body)


def told(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers with the method, path, query and body that it was asked with, as text."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" ".join((environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"])).encode("ascii", "backslashreplace"), b"|", body]


def told_to(request: SubRequest) -> bytes:
    path, _, query = request.target.partition("?")
    return f"{request.method} {path} {query}|".encode() + request.body


@every_dialect
@given(st.lists(strategies.plain_gets, min_size=1, max_size=20, unique_by=lambda request: request.target))
def test_what_is_written_is_answered_and_read_in_the_order_of_the_requests(word: str, drawn: list[SubRequest]) -> None:
    requests = numbered(drawn)

    answers = round_trip(told, word, requests)

    assert [answer.body for answer in answers] == [told_to(request) for request in requests]


RICH = [
    SubRequest(0, "POST", "/people?a=1", [("Content-Type", "application/json"), ("X-One", "1")], b'{"name": "Zo\xc3\xab"}'),
    SubRequest(1, "PUT", "/people/1", [("Content-Type", "text/plain")], b"text"),
    SubRequest(2, "DELETE", "/people/1", []),
    SubRequest(3, "GET", "/people", []),
]


@every_dialect
def test_methods_headers_and_bodies_arrive_or_the_dialect_says_that_it_cannot(word: str) -> None:
    try:
        dialect_of(word).write(RICH)
    except ValueError:
        return

    answers = round_trip(told, word, RICH)

    assert [answer.body for answer in answers] == [told_to(request) for request in RICH]


@every_dialect
@given(strategies.anything)
def test_any_bytes_are_a_batch_or_are_rejected_and_nothing_else(word: str, body: bytes) -> None:
    read_or_rejected(word, body)


@every_dialect
@pytest.mark.parametrize("place", range(len(strategies.HOSTILE)))
def test_hostile_bytes_are_a_batch_or_are_rejected(word: str, place: int) -> None:
    read_or_rejected(word, strategies.HOSTILE[place])


@every_dialect
@given(st.data())
def test_a_spoilt_batch_is_a_batch_or_is_rejected(word: str, data: st.DataObject) -> None:
    _, valid = dialect_of(word).write([SubRequest(0, "GET", "/a", []), SubRequest(1, "GET", "/b?c=d", [])])

    read_or_rejected(word, data.draw(strategies.spoilt(valid)))


def read_or_rejected(word: str, body: bytes) -> None:
    dialect = dialect_of(word)
    head = head_for(dialect.write([SubRequest(0, "GET", "/a", [])])[0])
    try:
        batch = dialect.choose(head, body, Settings()).decode(head, body, Settings())
    except BatchRejected as error:
        assert 400 <= error.status < 500
    else:
        assert isinstance(batch, Batch)
        assert [item.index for item in batch.items] == list(range(len(batch.items)))


@every_dialect
@given(strategies.anything)
def test_any_bytes_that_are_posted_get_an_answer_and_never_a_server_error(word: str, body: bytes) -> None:
    content_type = dict(dialect_of(word).write([SubRequest(0, "GET", "/a", [])])[0])["Content-Type"]

    answer = send(BatchMiddleware(told, dialect=word), environ_of(body, CONTENT_TYPE=content_type))

    assert answer.status == 200 or 400 <= answer.status < 500
    well_formed(answer)


@every_dialect
def test_too_many_items_are_refused_before_any_runs(word: str) -> None:
    ran: list[str] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        ran.append(environ["PATH_INFO"])
        return told(environ, start_response)

    requests = [SubRequest(index, "GET", f"/{index}", []) for index in range(4)]

    assert batched(app, word, requests, max_requests=3).status == 413
    assert ran == []
    assert batched(app, word, requests, max_requests=4).status == 200
    assert ran == ["/0", "/1", "/2", "/3"]


@every_dialect
@pytest.mark.parametrize("error", [BatchRejected("a reason", "/0/url"), TooLarge(7), TooManyItems(9, 8, "/batch"), UnknownMediaType("another")])
def test_a_refusal_says_its_status_and_reason_in_a_form_that_parses(word: str, error: BatchRejected) -> None:
    headers, _ = dialect_of(word).write([SubRequest(0, "GET", "/a", [])])

    status, answered, body = dialect_of(word).refusal(head_for(headers), error)

    assert status == error.status
    assert error.detail in body.decode()
    if dict(answered)["Content-Type"] == "application/problem+json":
        document = json.loads(body)
        assert {"status": status, "code": error.code, "detail": error.detail, **error.members()}.items() <= document.items()


@every_dialect
def test_an_item_that_is_refused_is_read_as_an_answer_that_says_why(word: str) -> None:
    requests = [SubRequest(0, "GET", "/before", []), SubRequest(1, "GET", "//elsewhere.example/x", []), SubRequest(2, "GET", "/after", [])]

    before, refused, after = round_trip(told, word, requests)

    assert before.body == told_to(requests[0])
    assert refused.status in (0, 400)
    assert b"bad-url" in refused.body
    assert after.body == told_to(requests[2])


def is_body(read: SubResponse, body: bytes) -> bool:
    """Is *body* what was read, in base64 where the dialect cannot mark that? The white space around JSON is not part of it."""
    return read.body in (body, base64.b64encode(body)) or (read.kind == "json" and read.body == body.strip())


@every_dialect
@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        pytest.param("204 No Content", [], b"", id="no content"),
        pytest.param("204 No Content", [("Content-Type", "text/plain")], b"", id="no content with a type"),
        pytest.param("304 Not Modified", [("ETag", '"a"')], b"", id="not modified"),
        pytest.param("200 OK", [("Content-Type", "text/html")], b"", id="empty"),
        pytest.param("200 OK", [("Content-Type", "application/json")], b"", id="empty JSON"),
        pytest.param("200 OK", [("Content-Type", "application/json")], b'{"a": [1, 2.5, null, "\xc3\xbc"]}', id="JSON"),
        pytest.param("200 OK", [("Content-Type", "application/json; charset=utf-8")], b" [ ] \r\n", id="JSON with white space"),
        pytest.param("200 OK", [("Content-Type", "application/json")], b'{"a": ', id="half JSON"),
        pytest.param("200 OK", [("Content-Type", "application/json")], b'1], "b": [2', id="JSON that closes what it has not opened"),
        pytest.param("200 OK", [("Content-Type", "application/json")], b"NaN", id="NaN"),
        pytest.param("200 OK", [("Content-Type", "application/json")], b'"\\ud800"', id="JSON with half a surrogate pair"),
        pytest.param("200 OK", [("Content-Type", "application/json")], b'"\xff"', id="JSON that is no UTF-8"),
        pytest.param("200 OK", [("Content-Type", "application/json")], b"\xef\xbb\xbf[]", id="JSON with a byte order mark"),
        pytest.param("200 OK", [("Content-Type", "application/json")], '["a"]'.encode("utf-16"), id="JSON in UTF-16"),
        pytest.param("200 OK", [("Content-Type", "application/json")], b"[" * 50_000 + b"]" * 50_000, id="deep JSON"),
        pytest.param("200 OK", [("Content-Type", "application/json")], b'"a\nb"', id="JSON with a line break in a string"),
        pytest.param("200 OK", [("Content-Type", "application/problem+json")], b"{}", id="a JSON suffix"),
        pytest.param("200 OK", [("Content-Type", "text/plain; charset=utf-8")], b"\xff\xfe", id="text that is no UTF-8"),
        pytest.param("200 OK", [("Content-Type", "text/plain")], b"a\x00b\x1b\x7f\xc2\x85\xe2\x80\xa8", id="text with control characters"),
        pytest.param("200 OK", [("Content-Type", "text/html")], b"</script><script>\"'\\", id="markup"),
        pytest.param("200 OK", [("Content-Type", "image/png")], bytes(range(256)), id="binary"),
        pytest.param("200 OK", [("Content-Type", "text/plain"), ("Content-Encoding", "gzip")], b"\x1f\x8b\x08text", id="a coded body"),
        pytest.param("200 OK", [], b"no type", id="no type"),
        pytest.param(
            "200 OK",
            [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2, c"), ("X-A", "\xff"), ("x-a", "2")],
            b"x",
            id="repeats",
        ),
        pytest.param("503 " + "r" * 100, [("Content-Type", "text/plain"), ("Retry-After", "5")], b"later", id="an error"),
        pytest.param("299 ", [("Content-Type", "text/plain")], b"x", id="no reason"),
    ],
)
def test_a_special_answer_leaves_the_answers_around_it_alone(word: str, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/special":
            return told(environ, start_response)
        start_response(status, list(headers))
        return [body]

    requests = [SubRequest(0, "GET", "/before", []), SubRequest(1, "GET", "/special", []), SubRequest(2, "GET", "/after", [])]

    before, special, after = round_trip(app, word, requests)

    assert (before.body, after.body) == (told_to(requests[0]), told_to(requests[2]))
    assert special.status in (0, int(status[:3]))
    assert is_body(special, body)
    if special.status:
        cookies = [value for name, value in special.headers if name == "Set-Cookie"]
        assert cookies == [value for name, value in headers if name == "Set-Cookie"]


@every_dialect
def test_the_answer_to_head_has_headers_and_no_body(word: str) -> None:
    requests = [SubRequest(0, "HEAD", "/a", []), SubRequest(1, "GET", "/b", [])]
    try:
        dialect_of(word).write(requests)
    except ValueError:
        return

    head, got = round_trip(told, word, requests)

    assert (head.status, head.body) == (200, b"")
    assert ("Content-Type", "text/plain") in head.headers
    assert got.body == told_to(requests[1])


@every_dialect
def test_what_is_no_answer_to_these_requests_is_not_read(word: str) -> None:
    dialect = dialect_of(word)
    requests = [SubRequest(0, "GET", "/a", []), SubRequest(1, "GET", "/b", [])]
    answer = batched(told, word, requests)

    with pytest.raises(ValueError, match="."):
        dialect.read(answer.headers, answer.body, [*requests, SubRequest(2, "GET", "/c", [])])
    with pytest.raises(ValueError, match="."):
        dialect.read(answer.headers, answer.body[:-1], requests)


@every_dialect
def test_cookies_that_items_set_are_not_lifted_to_the_whole_answer(word: str) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
        return [b"x"]

    assert batched(app, word, [SubRequest(0, "GET", "/a", [])]).header("Set-Cookie") is None
