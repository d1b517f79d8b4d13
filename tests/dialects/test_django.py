import base64
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given

from tests import strategies
from tests.apps import IMAGE, mirror, show
from tests.gateway import get, post, shown
from wsgibatch import BadBatch, Batch, BatchMiddleware, Head, Settings, SubRequest, SubResponse, TooManyItems
from wsgibatch.dialects.django import DjangoDialect
from wsgibatch.model import Edge, Late

HEAD = Head(path="/batch", mount="", host="h", scheme="http", media_type="application/json", parameters={})


def decoded(batch: object) -> list[SubRequest]:
    body = batch if isinstance(batch, bytes) else json.dumps(batch).encode()
    return DjangoDialect().decode(HEAD, body, Settings()).items


def test_an_item_is_a_url_a_method_headers_and_a_body() -> None:
    [item] = decoded([{"method": "post", "url": "/people", "body": '{"name":"Zoë"}', "headers": {"Content-Type": "application/json", "X-A": "ü"}}])

    assert (item.index, item.method, item.target, item.body) == (0, "POST", "/people", '{"name":"Zoë"}'.encode())
    assert item.headers == [("Content-Type", "application/json"), ("X-A", "ü")]
    assert item.id is None


def test_headers_and_body_may_be_left_out_or_null() -> None:
    for item in decoded(
        [{"method": "GET", "url": "/a"}, {"method": "GET", "url": "/a", "headers": None, "body": None}, {"method": "GET", "url": "/a", "headers": {}}]
    ):
        assert (item.headers, item.body) == ([], b"")


def test_a_body_without_a_content_type_is_json() -> None:
    first, second, third = decoded(
        [
            {"method": "POST", "url": "/a", "body": "x"},
            {"method": "POST", "url": "/a", "body": "x", "headers": {"CONTENT-TYPE": "text/x"}},
            {"method": "POST", "url": "/a", "body": ""},
        ]
    )

    assert first.headers == [("Content-Type", "application/json")]
    assert second.headers == [("CONTENT-TYPE", "text/x")]
    assert third.headers == []


@pytest.mark.parametrize("body", [{"a": [1, "ü"]}, [], [1], {}])
def test_a_body_may_be_json_itself(body: object) -> None:
    [item] = decoded([{"method": "POST", "url": "/a", "body": body}])

    assert json.loads(item.body) == body
    assert item.headers == [("Content-Type", "application/json")]


@pytest.mark.parametrize("body", [5, 5.5, True, False])
def test_a_body_of_another_kind_is_refused_with_its_place(body: object) -> None:
    with pytest.raises(BadBatch) as caught:
        decoded({"batch": [get("/a"), {"method": "POST", "url": "/a", "body": body}]})

    assert caught.value.pointer == "/batch/1/body"


def test_members_that_are_not_known_are_passed_over() -> None:
    assert decoded([{"method": "GET", "url": "/a", "name": "first", "id": [7]}])[0].target == "/a"


@pytest.mark.parametrize(
    ("batch", "pointer"),
    [
        ([{"url": "/a"}], "/0"),
        ([{"method": "GET"}], "/0"),
        ([{"method": "GET", "url": 5}], "/0/url"),
        ([{"method": None, "url": "/a"}], "/0/method"),
        ([{"method": "GET", "url": "/a", "headers": []}], "/0/headers"),
        ([{"method": "GET", "url": "/a", "headers": {"A": 5}}], "/0/headers"),
        ([{"method": "GET", "url": "/a", "headers": {"A": None}}], "/0/headers"),
        ([{"method": "GET", "url": "/a", "headers": {"A": ["x"]}}], "/0/headers"),
        ([get("/a"), 5], "/1"),
        ([get("/a"), None], "/1"),
        ([[]], "/0"),
        ({"batch": [{"method": "GET"}]}, "/batch/0"),
        ({"batch": {}}, "/batch"),
        ({"batch": None}, "/batch"),
        ({}, ""),
        ({"requests": []}, ""),
        ("text", ""),
        (5, ""),
        (None, ""),
    ],
)
def test_what_is_not_the_grammar_is_refused_with_its_place(batch: object, pointer: str) -> None:
    with pytest.raises(BadBatch) as caught:
        decoded(batch)

    assert caught.value.pointer == pointer


def test_items_are_counted_and_the_place_of_the_list_is_told() -> None:
    with pytest.raises(TooManyItems) as caught:
        decoded({"batch": [get("/a")] * 21})

    assert (caught.value.limit, caught.value.pointer) == (20, "/batch")


def test_a_member_given_twice_counts_as_given_last() -> None:
    [item] = decoded(b'[{"method":"GET","url":"/first","url":"/last"}]')

    assert item.target == "/last"


@pytest.mark.parametrize("method", ["\u017fearch", "po\u017ft", "\u0131", "\xdf"])
def test_only_ascii_is_turned_to_upper_case(method: str) -> None:
    assert decoded([{"method": method, "url": "/a"}])[0].method == method


def test_the_answer_has_the_wrapping_of_the_batch() -> None:
    app = BatchMiddleware(show)

    assert isinstance(post(app, [get("/a")]).json(), list)
    assert post(app, {"batch": [get("/a")]}).json().keys() == {"batch"}


def test_an_answer_has_these_members() -> None:
    [item] = post(BatchMiddleware(show), [get("/missing")]).items

    assert item.keys() == {"status_code", "reason_phrase", "headers", "body"}
    assert (item["status_code"], item["reason_phrase"]) == (404, "Not Found")
    assert isinstance(item["body"], str)
    assert item["headers"]["Content-Type"] == "application/json"


def test_a_duration_is_a_number_of_seconds_among_the_headers() -> None:
    [item] = post(BatchMiddleware(show), [get("/a")]).items

    assert isinstance(item["headers"]["batch_requests.duration"], float)


def test_no_duration_is_told_where_the_settings_say_so() -> None:
    [item] = post(BatchMiddleware(show, durations=False), [get("/text")]).items

    assert item["headers"].keys() == {"Content-Type"}


def test_what_is_no_text_comes_in_base64_and_says_so() -> None:
    text, image, empty = post(BatchMiddleware(show), [get("/text"), get("/bin"), get("/empty")]).items

    assert (text["body"], text.get("body_encoding")) == ("grüße", None)
    assert (base64.b64decode(image["body"]), image["body_encoding"]) == (IMAGE, "base64")
    assert (empty["status_code"], empty["body"], empty.get("body_encoding")) == (204, "", None)


def test_text_that_is_no_utf8_comes_in_base64() -> None:
    def latin(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain; charset=latin-1")])
        return ["grüße".encode("latin-1")]

    [item] = post(BatchMiddleware(latin), [get("/a")]).items

    assert base64.b64decode(item["body"]).decode("latin-1") == "grüße"


def test_headers_given_twice_are_joined_and_cookies_are_a_list() -> None:
    def repeating(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Vary", "A"), ("Set-Cookie", "a=1, x"), ("vary", "B"), ("set-cookie", "b=2"), ("Content-Type", "text/plain")])
        return [b""]

    [item] = post(BatchMiddleware(repeating, durations=False), [get("/a")]).items

    assert item["headers"] == {"Vary": "A, B", "Set-Cookie": ["a=1, x", "b=2"], "Content-Type": "text/plain"}


def test_json_in_a_body_is_a_string_and_is_not_embedded() -> None:
    [item] = post(BatchMiddleware(show), [get("/a")]).items

    assert isinstance(item["body"], str)
    assert json.loads(item["body"])["path"] == "/a"


def test_a_client_that_reads_gets_back_all_that_was_answered() -> None:
    dialect = DjangoDialect()
    requests = [SubRequest(0, "GET", "/bin", []), SubRequest(1, "GET", "/a", [("X-Echo", "ü")])]
    headers, body = dialect.write(requests)

    answer = post(BatchMiddleware(show), body)
    image, answered = dialect.read(answer.headers, answer.body, requests)

    assert dict(headers)["Content-Type"] == "application/json"
    assert (image.status, image.body) == (200, IMAGE)
    assert image.duration > 0
    assert json.loads(answered.body)["headers"]["HTTP_X_ECHO"] == "ü"


@given(strategies.headers, strategies.json_values)
def test_headers_and_bodies_arrive_as_they_were_written(headers: list[tuple[str, str]], value: object) -> None:
    body = json.dumps(value)
    [item] = post(BatchMiddleware(mirror), [{"method": "POST", "url": "/a", "headers": dict(headers), "body": body}]).items

    arrived = shown(item)

    assert arrived["body"].encode("latin-1").decode() == body
    for name, sent in headers:
        assert arrived["HTTP_" + name.upper().replace("-", "_")] == sent.strip(" \t")


def test_an_empty_answer_of_a_binary_type_is_an_empty_string() -> None:
    encoder = DjangoDialect().encoder(HEAD, Batch([]), Settings(durations=False))

    [item] = json.loads(encoder.units([((SubRequest(0, "HEAD", "/", []),), (SubResponse(200, "OK", [], b"", "binary"),))]) + encoder.end())

    assert item["body"] == ""
    assert "body_encoding" not in item


def test_text_with_a_nul_is_base64() -> None:
    encoder = DjangoDialect().encoder(HEAD, Batch([]), Settings(durations=False))

    [item] = json.loads(encoder.units([((SubRequest(0, "GET", "/", []),), (SubResponse(200, "OK", [], b"a\0", "text"),))]) + encoder.end())

    assert (item["body"], item["body_encoding"]) == ("YQA=", "base64")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (SubRequest(0, "GET", "/a", [], after=(Edge(0),)), "no way to say"),
        (SubRequest(0, "GET", "/a", [], group="g"), "no way to say"),
        (SubRequest(0, "GET", "/a", [], late=Late()), "no way to say"),
        (SubRequest(0, "POST", "/a", [], b"x"), "would be taken for JSON"),
        (SubRequest(0, "POST", "/a", [("content-type", "image/png")], IMAGE), "utf-8"),
    ],
)
def test_what_the_dialect_cannot_say_is_not_written(request_: SubRequest, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DjangoDialect().write([request_])
