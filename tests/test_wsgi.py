import io
import json
import logging
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webtest import TestApp

from tests.apps import mirror, show
from tests.gateway import environ_of, get, post, problem, send, shown
from wsgibatch import BatchMiddleware, ConfigError, Settings, SubRequest, SubResponse
from wsgibatch.dialects.django import DjangoDialect
from wsgibatch.executors.sequential import SequentialExecutor

JSON_TYPES = [
    "application/json",
    "application/json; charset=utf-8",
    "APPLICATION/JSON;charset=UTF-8",
    'application/json; charset="utf-8"',
    "application/json;",
]


class Counting:
    """An app that counts what reaches it."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.paths.append(environ["PATH_INFO"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode("latin-1")]


@pytest.fixture
def app() -> Counting:
    return Counting()


# --- which requests are batches


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        ({}, {}),
        ({}, {"path": "/batch/"}),
        ({}, {"QUERY_STRING": "access_token=1"}),
        ({"path": "/batch/"}, {}),
        ({"path": "/"}, {"path": ""}),
        ({"path": ["/b", "/v1/$batch"]}, {"path": "/v1/$batch"}),
        ({"path": "*?comp=batch"}, {"path": "/anything", "QUERY_STRING": "a&comp=batch"}),
        ({"path": "/bätch"}, {"path": "/b\xc3\xa4tch"}),
        ({}, {"SCRIPT_NAME": "/api"}),
    ],
)
def test_a_post_to_a_batch_path_is_a_batch(app: Counting, settings: dict[str, Any], changes: dict[str, Any]) -> None:
    mount = changes.get("SCRIPT_NAME", "")

    answer = post(BatchMiddleware(app, **settings), [get(f"{mount}/a")], **changes)

    assert app.paths == ["/a"]
    assert [item["body"] for item in answer.items] == ["/a"]


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "/"},
        {"path": ""},
        {"path": None},
        {"path": "/batches"},
        {"path": "/batch/x"},
        {"path": "/BATCH"},
        {"path": "/batch//"},
        {"path": "//batch"},
        {"path": "/x", "SCRIPT_NAME": "/batch"},
        {"REQUEST_METHOD": "GET"},
        {"REQUEST_METHOD": "HEAD"},
        {"REQUEST_METHOD": "OPTIONS"},
        {"REQUEST_METHOD": "PUT"},
        {"REQUEST_METHOD": "post"},
        {"REQUEST_METHOD": "GET", "HTTP_X_HTTP_METHOD_OVERRIDE": "POST"},
    ],
)
def test_any_other_request_reaches_the_app_as_it_came_and_gets_what_the_app_returned(changes: dict[str, Any]) -> None:
    environ = environ_of(b'[{"method":"GET","url":"/a"}]', **changes)
    before = dict(environ)
    returned = [b"x"]
    seen: list[tuple[object, object]] = []

    def app(given: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        seen.append((given, start))
        return returned

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        """Is never called, since the app does not."""

    result = BatchMiddleware(app)(environ, start_response)

    assert result is returned
    assert len(seen) == 1
    assert seen[0][0] is environ
    assert seen[0][1] is start_response
    assert environ == before
    assert environ["wsgi.input"].tell() == 0


def test_an_error_of_the_app_outside_a_batch_is_not_touched() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        raise LookupError("the app's own")

    with pytest.raises(LookupError):
        BatchMiddleware(app)(environ_of(REQUEST_METHOD="GET"), print)


def test_a_path_in_any_bytes_is_looked_at_without_harm(app: Counting) -> None:
    middleware = BatchMiddleware(app, path="*?comp=batch")

    assert send(middleware, environ_of(path="/\xff", QUERY_STRING="")).status == 200
    assert post(middleware, [get("/a")], path="/\xff", QUERY_STRING="comp=batch").statuses == [200]


def test_a_mount_point_in_any_bytes_is_one(app: Counting) -> None:
    assert post(BatchMiddleware(app), [get("/%FF/a"), get("/a")], SCRIPT_NAME="/\xff").statuses == [200, 404]


# --- the answer


def test_a_batch_is_answered_once_with_one_piece_and_its_length(app: Counting) -> None:
    started: list[tuple[str, list[tuple[str, str]]]] = []
    body = b'[{"method":"GET","url":"/a"}]'

    result = BatchMiddleware(app)(environ_of(body), lambda status, headers, exc_info=None: started.append((status, headers)))
    pieces = list(result)

    assert len(pieces) == 1
    [(status, headers)] = started
    assert status == "200 OK"
    assert type(headers) is list
    assert all(type(text) is str for header in headers for text in header)
    assert dict(headers)["Content-Length"] == str(len(pieces[0]))


def test_a_large_answer_has_the_length_it_announces() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"x" * 50_000]

    answer = post(BatchMiddleware(app), [get("/a")] * 20)

    assert answer.header("Content-Length") == str(len(answer.body))
    assert [len(item["body"]) for item in answer.items] == [50_000] * 20


@pytest.mark.parametrize("batch", [[get("/a")], [], b"broken"])
def test_no_answer_is_kept_by_caches_or_taken_for_anything_but_json(app: Counting, batch: object) -> None:
    answer = post(BatchMiddleware(app, dialect="django"), batch)

    assert answer.header("Cache-Control") == "no-store"
    assert answer.header("X-Content-Type-Options") == "nosniff"
    assert answer.header("Content-Type") in ("application/json", "application/problem+json")


def test_an_empty_batch_is_answered_empty(app: Counting) -> None:
    assert post(BatchMiddleware(app, dialect="django"), []).items == []
    assert post(BatchMiddleware(app, dialect="django"), {"batch": []}).json() == {"batch": []}


def test_no_header_names_the_software_or_its_version(app: Counting) -> None:
    answer = post(BatchMiddleware(app), [get("/a")])

    assert {name for name, _ in answer.headers} == {
        "Content-Type",
        "Cache-Control",
        "X-Content-Type-Options",
        "Batch-Duration",
        "Server-Timing",
        "Content-Length",
    }


def test_durations_can_be_left_out(app: Counting) -> None:
    answer = post(BatchMiddleware(app, durations=False), [get("/a")])

    assert (answer.header("Batch-Duration"), answer.header("Server-Timing")) == (None, None)
    assert answer.items[0]["headers"] == {"Content-Type": "text/plain"}


def test_the_duration_header_may_have_another_name(app: Counting) -> None:
    answer = post(BatchMiddleware(app, duration_header="X-Took"), [get("/a")])

    assert float(answer.header("X-Took") or "missing") >= 0
    assert answer.items[0]["headers"]["X-Took"] >= 0


@pytest.mark.parametrize("name", ["a b", "a:", "a\r\nb: c", "é", "a\n"])
def test_a_duration_header_that_is_no_header_name_is_refused_at_start(app: Counting, name: str) -> None:
    with pytest.raises(ConfigError):
        BatchMiddleware(app, duration_header=name)


# --- reading the body


class Stream:
    """A server's input: gives a few bytes at a time, and knows how much was asked for."""

    def __init__(self, body: bytes, at_most: int = 7) -> None:
        self.left, self.at_most, self.asked = io.BytesIO(body), at_most, 0

    def read(self, *arguments: int) -> bytes:
        [size] = arguments
        assert size > 0
        self.asked = max(self.asked, self.left.tell() + size)
        return self.left.read(min(size, self.at_most))


BODY = json.dumps([get("/a")]).encode()


def test_a_body_that_comes_in_small_pieces_is_read_whole_and_no_further(app: Counting) -> None:
    stream = Stream(BODY + b"the next request")

    answer = send(BatchMiddleware(app), environ_of(CONTENT_LENGTH=str(len(BODY)), wsgi__input=stream))

    assert answer.statuses == [200]
    assert stream.asked == len(BODY)


@pytest.mark.parametrize("length", [None, ""])
def test_a_body_without_a_length_is_refused_unread(app: Counting, length: str | None) -> None:
    stream = Stream(BODY)

    answer = send(BatchMiddleware(app), environ_of(CONTENT_LENGTH=length, wsgi__input=stream))

    assert (answer.status, answer.json()["code"], stream.asked) == (411, "length-required", 0)


@pytest.mark.parametrize("length", [None, ""])
def test_a_body_without_a_length_is_read_where_the_server_marks_its_end(app: Counting, length: str | None) -> None:
    environ = environ_of(CONTENT_LENGTH=length, wsgi__input=Stream(BODY), wsgi__input_terminated=True)

    assert send(BatchMiddleware(app), environ).statuses == [200]


@pytest.mark.parametrize("cut", [1, len(BODY) // 2, len(BODY)])
def test_a_body_that_ends_too_soon_is_refused_and_nothing_runs(app: Counting, cut: int) -> None:
    answer = send(BatchMiddleware(app), environ_of(CONTENT_LENGTH=str(len(BODY)), wsgi__input=Stream(BODY[:-cut])))

    assert (answer.status, answer.json()["code"], app.paths) == (400, "bad-batch", [])


def test_a_body_that_still_parses_but_ends_too_soon_is_refused(app: Counting) -> None:
    assert send(BatchMiddleware(app), environ_of(CONTENT_LENGTH=str(len(BODY) + 1), wsgi__input=Stream(BODY))).status == 400
    assert app.paths == []


@pytest.mark.parametrize("length", ["-1", "+5", "1_0", "0x10", "5.0", " 5", "5 ", "5,5", "\u0665", "five", "9" * 19])
def test_a_content_length_that_is_no_number_is_refused_unread(app: Counting, length: str) -> None:
    stream = Stream(BODY)

    answer = send(BatchMiddleware(app), environ_of(CONTENT_LENGTH=length, wsgi__input=stream))

    assert (answer.status, stream.asked) == (400, 0)


def test_a_body_that_is_too_large_is_refused_and_read_to_its_end_so_that_its_sender_sees_why(app: Counting) -> None:
    stream = Stream(BODY)

    answer = send(BatchMiddleware(app, max_body=10), environ_of(CONTENT_LENGTH="11", wsgi__input=stream))

    assert (answer.status, answer.json()["code"], answer.json()["limit"], stream.asked) == (413, "too-large", 10, 11)


def test_a_body_that_is_much_too_large_is_refused_unread(app: Counting) -> None:
    stream = Stream(BODY)

    answer = send(BatchMiddleware(app, max_body=10), environ_of(CONTENT_LENGTH=str((10 << 20) + 1), wsgi__input=stream))

    assert (answer.status, stream.asked) == (413, 0)


@pytest.mark.parametrize(("size", "left"), [(1000, 0), (20 << 20, (10 << 20) - 11)])
def test_a_body_without_a_length_is_read_to_its_end_if_that_comes_soon(app: Counting, size: int, left: int) -> None:
    stream = io.BytesIO(b"[" + b" " * (size - 1))

    answer = send(BatchMiddleware(app, max_body=10), environ_of(CONTENT_LENGTH=None, wsgi__input=stream, wsgi__input_terminated=True))

    assert (answer.status, size - stream.tell()) == (413, left)


def test_the_body_of_a_batch_that_is_refused_by_its_head_is_read_to_its_end(app: Counting) -> None:
    stream = io.BytesIO(b"x" * 300_000)

    answer = send(BatchMiddleware(app), environ_of(CONTENT_LENGTH="200000", CONTENT_TYPE="image/png", wsgi__input=stream))

    assert (answer.status, stream.tell()) == (415, 200_000)


def test_the_body_of_a_form_that_is_none_is_read_to_its_end(app: Counting) -> None:
    stream = io.BytesIO(b"x" * 300_000)

    form = environ_of(CONTENT_LENGTH="200000", CONTENT_TYPE="multipart/form-data; boundary=b", wsgi__input=stream)
    answer = send(BatchMiddleware(app, dialect="django"), form)

    assert (answer.status, stream.tell()) == (400, 200_000)


def test_the_limit_of_a_dialect_is_one_mebibyte(app: Counting) -> None:
    assert send(BatchMiddleware(app), environ_of(b" " * ((1 << 20) - len(BODY)) + BODY)).status == 200
    assert send(BatchMiddleware(app), environ_of(b" " * ((1 << 20) - len(BODY) + 1) + BODY)).status == 413


def test_too_many_items_are_refused_before_any_runs(app: Counting) -> None:
    assert post(BatchMiddleware(app), [get("/a")] * 21).status == 413
    assert app.paths == []
    assert post(BatchMiddleware(app), [get("/a")] * 20).statuses == [200] * 20


def test_a_million_commas_are_refused(app: Counting) -> None:
    assert post(BatchMiddleware(app, max_body=2 << 20), b"[" + b"," * (1 << 20)).status == 400
    assert post(BatchMiddleware(app, max_body=2 << 20, dialect="aggregator"), b"[" + b'"",' * 300_000 + b'""]').status == 413
    assert app.paths == []


# --- content types


@pytest.mark.parametrize("content_type", JSON_TYPES)
def test_json_is_taken(app: Counting, content_type: str) -> None:
    assert post(BatchMiddleware(app), [get("/a")], CONTENT_TYPE=content_type).status == 200


OTHER_TYPES: list[str | None] = [
    None,
    "",
    "text/plain",
    "text/plain; application/json",
    "application/x-www-form-urlencoded",
]
OTHER_TYPES += [
    "multipart/related",
    "application/json, text/plain",
    "application/jsonx",
    "json",
    ";",
    "*/*",
    "application/json\x00",
    "\xff",
    "application/json; charset=utf-16",
]
OTHER_TYPES += ["application/json; charset=no-such-codec"]


@pytest.mark.parametrize(
    ("dialect", "content_type"),
    [("auto", "multipart/form-data; boundary=x"), *((dialect, other) for dialect in ("auto", "django") for other in OTHER_TYPES)],
)
def test_any_other_content_type_is_refused_and_the_body_read_no_further_than_its_end(app: Counting, content_type: str | None, dialect: str) -> None:
    stream = Stream(BODY)

    answer = send(BatchMiddleware(app, dialect=dialect), environ_of(CONTENT_TYPE=content_type, CONTENT_LENGTH=str(len(BODY)), wsgi__input=stream))

    assert (answer.status, answer.json()["code"], stream.asked) == (415, "unknown-media-type", len(BODY))


@given(
    st.text(st.characters(max_codepoint=0xFF), max_size=40)
    | st.text("application/json;charset=\"utf-8'*0 \\", max_size=60).map("application/json;".__add__)
)
def test_any_content_type_gets_an_answer(content_type: str) -> None:
    assert post(BatchMiddleware(show), [get("/text")], CONTENT_TYPE=content_type).status in (200, 400, 415)


@pytest.mark.parametrize("coding", ["gzip", "br", "x"])
def test_a_batch_with_a_content_coding_is_refused(app: Counting, coding: str) -> None:
    assert post(BatchMiddleware(app), [get("/a")], HTTP_CONTENT_ENCODING=coding).status == 415


# --- pages of other sites


LOOSE = [None, "", "text/plain", "application/x-www-form-urlencoded", "text/plain; charset=utf-8"]


@pytest.mark.parametrize("content_type", LOOSE)
@pytest.mark.parametrize(
    "origin",
    [{}, {"HTTP_ORIGIN": "null"}, {"HTTP_ORIGIN": "http://evil.example"}, {"HTTP_ORIGIN": "http://shop.example.evil.example"}]
    + [
        {"HTTP_ORIGIN": "http://shop.example:81"},
        {"HTTP_SEC_FETCH_SITE": "cross-site"},
        {"HTTP_SEC_FETCH_SITE": "same-site"},
        {"HTTP_SEC_FETCH_SITE": "none"},
    ],
)
def test_a_page_of_another_site_cannot_send_a_batch_with_the_user_s_cookies(app: Counting, content_type: str | None, origin: dict[str, str]) -> None:
    answer = post(BatchMiddleware(app, dialect="aggregator"), ["/a"], CONTENT_TYPE=content_type, HTTP_COOKIE="session=1", **origin)

    assert (answer.status, answer.json()["code"], app.paths) == (403, "forbidden", [])


@pytest.mark.parametrize("content_type", LOOSE)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"HTTP_ORIGIN": "http://evil.example"},
        {"HTTP_COOKIE": "session=1", "HTTP_ORIGIN": "http://shop.example"},
        {"HTTP_COOKIE": "session=1", "HTTP_ORIGIN": "http://shop.example", "HTTP_HOST": "shop.example:80"},
        {"HTTP_COOKIE": "session=1", "HTTP_SEC_FETCH_SITE": "same-origin"},
    ],
)
def test_other_clients_of_a_dialect_that_takes_any_type_are_served(app: Counting, content_type: str | None, changes: dict[str, str]) -> None:
    assert post(BatchMiddleware(app, dialect="aggregator"), ["/a"], CONTENT_TYPE=content_type, **changes).status == 200


def test_json_with_cookies_is_served_whatever_its_origin_since_a_browser_asks_first(app: Counting) -> None:
    assert post(BatchMiddleware(app), [get("/a")], HTTP_COOKIE="a=1", HTTP_ORIGIN="http://evil.example").status == 200


# --- batches in batches


def test_a_request_that_is_itself_an_item_is_no_batch(app: Counting) -> None:
    outer = BatchMiddleware(BatchMiddleware(app, path="/inner"))

    answer = post(outer, [{"method": "POST", "url": "/inner", "headers": {"Content-Type": "application/json"}, "body": "[]"}, get("/a")])

    assert answer.statuses == [400, 200]
    assert problem(answer.items[0])["code"] == "nested-batch"
    assert app.paths == ["/a"]


def test_the_mark_cannot_be_made_by_a_client(app: Counting) -> None:
    answer = post(BatchMiddleware(mirror), [get("/a", wsgibatch__item="7")], HTTP_WSGIBATCH_ITEM="9", **{"HTTP_WSGIBATCH.ITEM": "9"})

    assert shown(answer.items[0])["wsgibatch.item"] == 0


# --- what items are given


def test_items_are_answered_below_the_mount_point_and_only_there() -> None:
    answer = post(BatchMiddleware(mirror), [get("/api/a%20b?c"), get("/a"), get("x")], SCRIPT_NAME="/api")

    first, outside, relative = answer.items
    assert (shown(first)["SCRIPT_NAME"], shown(first)["PATH_INFO"], shown(first)["QUERY_STRING"]) == ("/api", "/a b", "c")
    assert (outside["status_code"], problem(outside)["code"]) == (404, "outside-mount")
    assert (shown(relative)["SCRIPT_NAME"], shown(relative)["PATH_INFO"]) == ("/api", "/x")


def test_each_item_is_told_its_place_in_the_batch() -> None:
    answer = post(BatchMiddleware(mirror), [get("/a"), get("//"), get("/b")])

    assert [shown(item)["wsgibatch.item"] for item in answer.items if item["status_code"] == 200] == [0, 2]


def test_items_go_through_the_whole_wrapped_app() -> None:
    asked: list[str] = []

    def guard(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked.append(environ["PATH_INFO"])
        if environ.get("HTTP_AUTHORIZATION") != "Basic good":
            start_response("401 Unauthorized", [("Content-Type", "text/plain"), ("WWW-Authenticate", "Basic")])
            return [b""]
        return show(environ, start_response)

    middleware = BatchMiddleware(guard)

    assert post(middleware, [get("/a"), get("/b", Authorization="Basic good")]).statuses == [401, 200]
    assert post(middleware, [get("/a"), get("/b", Authorization="Basic bad")], HTTP_AUTHORIZATION="Basic good").statuses == [200, 401]
    assert asked == ["/a", "/b"] * 2


def test_a_limit_inside_the_app_counts_items() -> None:
    seen: list[str] = []

    def limited(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        seen.append(environ["REMOTE_ADDR"])
        start_response("200 OK" if len(seen) <= 5 else "429 Too Many Requests", [("Content-Type", "text/plain")])
        return [b""]

    answer = post(BatchMiddleware(limited), [get("/login")] * 20, REMOTE_ADDR="192.0.2.1")

    assert answer.statuses == [200] * 5 + [429] * 15
    assert set(seen) == {"192.0.2.1"}


def test_a_redirect_is_given_back_and_not_followed(app: Counting) -> None:
    def redirecting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        app.paths.append(environ["PATH_INFO"])
        start_response("307 Temporary Redirect", [("Location", "/admin"), ("Content-Type", "text/plain")])
        return [b""]

    [item] = post(BatchMiddleware(redirecting), [{"method": "POST", "url": "/a", "body": "x"}]).items

    assert (item["status_code"], item["headers"]["Location"], app.paths) == (307, "/admin", ["/a"])


def test_items_see_the_cookies_of_the_batch_and_none_that_an_item_before_was_given() -> None:
    def login(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", "session=2"), ("Set-Cookie", "seen=1")])
        return [environ.get("HTTP_COOKIE", "").encode()]

    answer = post(BatchMiddleware(login), [get("/a"), get("/b", Cookie="session=3")], HTTP_COOKIE="session=1")

    assert [item["body"] for item in answer.items] == ["session=1", "session=1"]
    assert [item["headers"]["Set-Cookie"] for item in answer.items] == [["session=2", "seen=1"]] * 2
    assert answer.header("Set-Cookie") is None


def test_what_one_item_brings_no_other_item_sees() -> None:
    answer = post(BatchMiddleware(mirror), [get("/a", Authorization="secret", X_One="1"), get("/b")])

    assert shown(answer.items[0])["HTTP_AUTHORIZATION"] == "secret"
    assert not {"HTTP_AUTHORIZATION", "HTTP_X_ONE"} & shown(answer.items[1]).keys()


def test_an_item_body_with_a_content_coding_reaches_the_app_unopened() -> None:
    [item] = post(BatchMiddleware(mirror), [{"method": "POST", "url": "/a", "headers": {"Content-Encoding": "gzip"}, "body": "not gzip"}]).items

    assert (shown(item)["HTTP_CONTENT_ENCODING"], shown(item)["body"]) == ("gzip", "not gzip")


def test_an_item_is_not_told_the_accept_encoding_of_the_batch_or_its_own() -> None:
    [item] = post(BatchMiddleware(mirror), [get("/a", Accept_Encoding="gzip")], HTTP_ACCEPT_ENCODING="br").items

    assert "HTTP_ACCEPT_ENCODING" not in shown(item)


def test_a_bad_item_is_answered_without_running_and_the_others_run() -> None:
    batch = [
        get("//evil.example/a"),
        get("/a"),
        {"method": "TRACE", "url": "/b"},
        get("/c", Bad_Value="a\nb"),
        {"method": "G T", "url": "/d"},
        get("/e"),
    ]

    answer = post(BatchMiddleware(show), batch)

    assert answer.codes == ["bad-url", "ran", "method-not-allowed", "bad-header", "bad-method", "ran"]
    assert answer.statuses == [400, 200, 405, 400, 400, 200]
    assert [shown(item)["path"] for item in answer.items if item["status_code"] == 200] == ["/a", "/e"]


def test_what_the_app_raises_is_not_in_the_answer() -> None:
    answer = post(BatchMiddleware(show), [get("/a"), get("/raise"), get("/b")])

    assert answer.statuses == [200, 500, 200]
    assert b"secret" not in answer.body
    assert b"RuntimeError" not in answer.body


def test_every_item_is_started_once_whatever_it_does() -> None:
    started: list[str] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        started.append(environ["PATH_INFO"])
        return show(environ, start_response)

    post(BatchMiddleware(app), [get("/raise"), get("/missing"), get("/a"), get("/raise")])

    assert started == ["/raise", "/missing", "/a", "/raise"]


@pytest.mark.parametrize(
    "batch", [b"<script>alert(1)</script>", b'{"<script>":1}', b'[{"<script>":1}]', b'[{"url":"<script>","method":5}]', b'["\xff<script>"]']
)
def test_what_is_wrong_with_a_batch_is_told_without_repeating_it(app: Counting, batch: bytes) -> None:
    answer = post(BatchMiddleware(app), batch)

    assert answer.status == 400
    assert b"script" not in answer.body


def test_what_is_told_to_a_client_of_another_host_does_not_repeat_the_url() -> None:
    assert b"evil" not in post(BatchMiddleware(show), [get("http://evil.example/a")]).body


# --- settings


def test_settings_and_overrides_go_together() -> None:
    settings = Settings(path=("/a",), dialect="django")

    middleware = BatchMiddleware(show, settings, path="/b")

    assert (middleware.settings.path, middleware.settings.dialect) == (("/b",), "django")
    assert settings.path == ("/a",)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"max_request": 5}, "max_requests"),
        ({"dialect": "djang"}, "django"),
        ({"executor": "thread"}, "threads"),
        ({"dialect": "no.such.module:name"}, "no.such.module"),
        ({"max_requests": 0}, "max_requests"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_start(overrides: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        BatchMiddleware(show, **overrides)


def test_a_dialect_and_an_executor_may_be_objects_or_references() -> None:
    for dialect in (DjangoDialect(), DjangoDialect, "wsgibatch.dialects.django:DjangoDialect"):
        for executor in (SequentialExecutor(Settings()), SequentialExecutor, "wsgibatch.executors.sequential:SequentialExecutor"):
            assert post(BatchMiddleware(show, dialect=dialect, executor=executor), [get("/text")]).statuses == [200]


# --- what is left behind


class Lane:
    """Runs nothing, and knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def spawn(self, units: object) -> None:
        self.units = units

    def wait(self) -> list[Any]:
        raise OSError("the executor broke")

    def close(self) -> None:
        self.closed = True


class Broken:
    """An executor whose lanes break."""

    concurrent = False
    can_leave = False
    left = 0
    app = None

    def __init__(self) -> None:
        self.lane = Lane()

    def open(self, work: object, limits: object) -> Lane:
        return self.lane

    def close(self) -> None:
        """There is nothing to give back."""


def test_a_lane_is_closed_even_when_it_breaks() -> None:
    executor = Broken()

    with pytest.raises(OSError, match="the executor broke"):
        TestApp(BatchMiddleware(show, executor=executor)).post_json("/batch", ["/text"])

    assert executor.lane.closed


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"executor": 42}, "executor: 42 is no executor"),
        ({"executor": "futures"}, "executor: 'futures' is what your own executor becomes"),
        ({"dialect": object()}, "dialect: .* is no dialect"),
        ({"dialect": "json:loads"}, "dialect: 'json:loads' cannot be called"),
        ({"path": "*?"}, "path: .* one parameter"),
        ({"path": "/batch?a=1&b=2"}, "path: .* one parameter"),
        ({"path": "/%24batch"}, "path: .* decoded and resolved"),
        ({"deny_paths": ["/x/../admin"]}, "deny_paths: .* decoded and resolved: '/admin'"),
        ({"deny_paths": "/admin, /private"}, "deny_paths: .* give a list"),
        ({"duration_header": "Content-Length"}, "duration_header: Content-Length means something else"),
        ({"deny_headers": ["X_User"]}, "deny_headers: 'X_User'"),
        ({"keep_environ": ["CONTENT_LENGTH"]}, "keep_environ: CONTENT_LENGTH"),
        ({"methods": []}, "methods: at least one"),
        ({"add_prefix": "/a?b"}, "add_prefix: .* plain path"),
        ({"order": "parallel"}, "order: 'parallel' is none of barrier, free, sequential"),
    ],
)
def test_what_could_not_work_is_refused_at_the_start(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        BatchMiddleware(show, **settings)


@pytest.mark.parametrize(("app", "settings"), [(None, None), (show, {"path": "/batch"}), (show, "/batch")])
def test_what_is_no_app_or_no_settings_is_refused_at_the_start(app: Any, settings: Any) -> None:
    with pytest.raises(ConfigError):
        BatchMiddleware(app, settings)


def test_a_log_that_fails_takes_no_answer_with_it(capfd: pytest.CaptureFixture[str]) -> None:
    def refuse(record: logging.LogRecord) -> bool:
        raise RuntimeError("the log is full")

    log = logging.getLogger("wsgibatch")
    log.addFilter(refuse)
    try:
        answer = TestApp(BatchMiddleware(show)).post_json("/batch", [{"method": "GET", "url": url} for url in ("/raise", "/text")])
    finally:
        log.removeFilter(refuse)

    assert [item["status_code"] for item in answer.json] == [500, 200]
    assert "the log is full" in capfd.readouterr().err


def test_a_hook_cannot_move_an_answer_to_another_item() -> None:
    def swap(request: SubRequest, environ: dict[str, Any]) -> None:
        request.index = 1 - request.index

    sent = [{"method": "GET", "url": url} for url in ("/bin", "/text")]

    answer = TestApp(BatchMiddleware(show, before_item=swap)).post_json("/batch", sent)

    assert [item["headers"]["Content-Type"] for item in answer.json] == ["image/png", "text/plain; charset=utf-8"]


def test_the_hook_after_an_item_sees_failures_and_durations() -> None:
    seen: list[tuple[int, bool]] = []

    def look(request: SubRequest, response: SubResponse) -> None:
        seen.append((response.status, response.duration > 0))

    sent = [{"method": "GET", "url": "/raise"}, {"method": "GET", "url": "/text"}, {"method": "POST", "url": "/batch"}]
    TestApp(BatchMiddleware(show, after_item=look)).post_json("/batch", sent)

    assert seen == [(500, True), (200, True)]


def test_the_head_of_an_item_has_a_limit() -> None:
    headers = {f"X-{number}": "x" * 1000 for number in range(70)}

    answer = TestApp(BatchMiddleware(show)).post_json("/batch", [{"method": "GET", "url": "/text", "headers": headers}], status=413)

    assert answer.json["pointer"] == "/0/headers"


def test_a_skipped_member_has_to_be_utf_8_too() -> None:
    body = b'[{"url":"/text","method":"GET","x":"\xff"}]'

    answer = TestApp(BatchMiddleware(show, dialect="django")).post("/batch", body, content_type="application/json", status=400)

    assert answer.json["code"] == "bad-batch"
