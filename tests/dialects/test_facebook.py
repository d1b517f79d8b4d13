import base64
import io
import json
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multipart import MultipartParser

from tests import strategies
from tests.apps import IMAGE, show
from tests.gateway import Answer, Item, environ_of, post, send
from wsgibatch import BatchMiddleware, Head, Settings, SubRequest, SubResponse, _jsonpath
from wsgibatch.dialects.auto import AutoDialect
from wsgibatch.dialects.facebook import FacebookDialect
from wsgibatch.model import Edge, Late, Reference
from wsgibatch.protocols import Unanswered

FORM = "application/x-www-form-urlencoded"
GET = {"method": "GET", "relative_url": "hello/bob"}
PEOPLE = [{"id": 1, "name": "Zoë & Bob"}, {"id": 2, "name": "Ann"}]


def people(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers ``/people`` with some, and everything else as :func:`tests.apps.show` does."""
    if environ["PATH_INFO"] != "/people":
        return show(environ, start_response)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"data": PEOPLE, "next": None}).encode()]


def answered(said: Callable[[dict[str, Any]], tuple[str, list[tuple[str, str]], bytes]]) -> Any:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, headers, body = said(environ)
        start_response(status, headers)
        return [body]

    return app


def posted(body: bytes, content_type: str | None = FORM, app: Any = people, settings: dict[str, Any] | None = None, **changes: Any) -> Answer:
    return send(BatchMiddleware(app, dialect="facebook", **(settings or {})), environ_of(body, CONTENT_TYPE=content_type, **changes))


def refused(batch: object, **parameters: str) -> tuple[int, str, str | None]:
    """Status, code and pointer with which a batch is refused."""
    answer = posted(urlencode({"batch": json.dumps(batch), **parameters}).encode())
    error = answer.json()["error"]
    assert error["type"] == "GraphBatchException"
    assert error["code"] == answer.status
    return answer.status, error["error_data"]["code"], error["error_data"].get("pointer")


def batch(*requests: Item, app: Any = people, settings: dict[str, Any] | None = None, **parameters: str) -> list[Any]:
    """The items of the answer to *requests*."""
    answer = posted(urlencode({"batch": json.dumps(requests), **parameters}).encode(), app=app, settings=settings)
    assert answer.status == 200, answer
    items: list[Any] = answer.json()
    return items


def shown(item: Item) -> Any:
    assert item["code"] == 200, item
    return json.loads(item["body"])


def why(item: Item) -> tuple[int, str]:
    return item["code"], json.loads(item["body"])["error"]["error_data"]["code"]


def in_parts(*parts: tuple[str, bytes], boundary: str = "b") -> tuple[bytes, str]:
    body = b"".join(f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n" for head, content in parts)
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def field(name: str, value: str) -> tuple[str, bytes]:
    return f'name="{name}"', value.encode()


def file(name: str, filename: str, content: bytes, content_type: str = "image/png") -> tuple[str, bytes]:
    return f'name="{name}"; filename="{filename}"\r\nContent-Type: {content_type}', content


# Where a batch comes from.


@pytest.mark.parametrize("content_type", [FORM, FORM + "; charset=UTF-8", "Application/X-WWW-Form-URLEncoded", None])
def test_a_batch_is_a_field_of_a_form(content_type: str | None) -> None:
    answer = posted(urlencode({"a": "b", "batch": json.dumps([GET])}).encode(), content_type)

    assert (answer.status, answer.header("Content-Type")) == (200, "application/json")
    assert shown(answer.json()[0])["path"] == "/hello/bob"


def test_a_batch_is_a_field_of_a_form_in_parts() -> None:
    assert shown(posted(*in_parts(field("a", "b"), field("batch", json.dumps([GET])))).json()[0])["path"] == "/hello/bob"


@pytest.mark.parametrize("member", [[GET], json.dumps([GET])])
def test_a_batch_is_a_member_of_a_json_object_as_a_list_or_as_text(member: object) -> None:
    answer = posted(json.dumps({"more": {"a": 1}, "batch": member}).encode(), "application/json")

    assert shown(answer.json()[0])["path"] == "/hello/bob"


@pytest.mark.parametrize("content_type", [None, FORM, "application/json"])
def test_a_batch_may_stand_in_the_query(content_type: str | None) -> None:
    query = urlencode({"batch": json.dumps([GET | {"relative_url": "hello/Zo%C3%AB"}]), "access_token": "mine"})

    told = shown(posted(b"", content_type, QUERY_STRING=query).json()[0])

    assert (told["path"].encode("latin-1").decode(), told["query"]) == ("/hello/Zoë", "access_token=mine")


def test_a_member_that_is_null_is_none() -> None:
    query = urlencode({"batch": json.dumps([GET])})

    [item] = posted(b'{"batch":null,"access_token":null}', "application/json", QUERY_STRING=query).json()

    assert shown(item)["query"] == ""


def test_what_stands_in_the_body_goes_before_what_stands_in_the_query() -> None:
    body = urlencode({"batch": json.dumps([GET]), "access_token": "body's"}).encode()

    [item] = posted(body, QUERY_STRING="batch=[]&access_token=query's").json()

    assert shown(item)["query"] == "access_token=body%27s"


@pytest.mark.parametrize(
    "body", [b"", b"a=b", b"batch=", b"batch=5", b"batch={}", b"batch=[", b"batch=[5]", b"batch=%ff", b"batch=\xff", b"batch=[]&batch=[]"]
)
def test_what_is_no_batch_is_refused(body: bytes) -> None:
    assert posted(body).json()["error"]["error_data"]["code"] == "bad-batch"


@pytest.mark.parametrize(
    "body", [b"5", b"[]", b"{", b'{"batch":{}}', b'{"batch":5}', b'{"batch":"5"}', b'{"batch":[{}]}', b'{"Batch":[]}', b'{"batch":null}']
)
def test_json_that_holds_no_batch_is_refused(body: bytes) -> None:
    assert posted(body, "application/json").json()["error"]["error_data"]["code"] == "bad-batch"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "multipart/form-data; boundary=b"),
        (b"--b\r\n", "multipart/form-data; boundary=b"),
        (b"--b--\r\n", "multipart/form-data"),
        (b"--b\r\n\r\nx\r\n--b--", "multipart/form-data; boundary=b"),
        in_parts(("", b"x")),
        in_parts(field("batch", "[]"), field("batch", "[]")),
        in_parts(('name="batch"', b"\xff")),
        in_parts(*[field("a", "b")] * 1001),
    ],
)
def test_parts_that_hold_no_batch_are_refused(body: bytes, content_type: str) -> None:
    assert posted(body, content_type).json()["error"]["error_data"]["code"] == "bad-batch"


def test_the_batch_may_be_a_file_of_the_form() -> None:
    assert shown(posted(*in_parts(file("batch", "batch.json", json.dumps([GET]).encode()))).json()[0])["path"] == "/hello/bob"


def test_a_form_has_a_limited_number_of_fields() -> None:
    assert posted(b"batch=[]" + b"&a" * 999).status == 200
    assert posted(b"batch=[]" + b"&a" * 1000).status == 400


@pytest.mark.parametrize(
    ("batch", "pointer"),
    [
        ([GET, {"relative_url": "a"}], "/batch/1"),
        ([GET, {"method": "GET"}], "/batch/1"),
        ([{**GET, "method": 5}], "/batch/0/method"),
        ([{**GET, "body": {}}], "/batch/0/body"),
        ([{**GET, "headers": {"A": "b"}}], "/batch/0/headers"),
        ([{**GET, "headers": [{"name": "A"}]}], "/batch/0/headers/0"),
        ([{**GET, "headers": ["A: b", "A=b"]}], "/batch/0/headers/1"),
        ([{**GET, "headers": [["A", "b"]]}], "/batch/0/headers/0"),
        ([{**GET, "headers": "A: b"}], "/batch/0/headers"),
        ([{**GET, "omit_response_on_success": "x"}], "/batch/0/omit_response_on_success"),
    ],
)
def test_a_request_that_cannot_be_read_refuses_the_batch_and_is_pointed_at(batch: object, pointer: str) -> None:
    assert refused(batch) == (400, "bad-batch", pointer)


def test_members_that_are_unknown_or_called_as_nobody_means_are_ignored() -> None:
    [first, second] = batch({**GET, "name": 5, "attachedFiles": {}, "headers": None}, {**GET, "name": None, "body": None})

    assert shown(first)["path"] == shown(second)["path"] == "/hello/bob"


def test_fifty_requests_are_a_batch_and_no_more() -> None:
    assert len(batch(*[GET] * 50)) == 50
    assert refused([GET] * 51) == (413, "too-many-items", "/batch")


def test_a_batch_of_nothing_is_answered_with_nothing() -> None:
    assert batch() == []


@pytest.mark.parametrize("content_type", [None, FORM, "multipart/form-data; boundary=b"])
def test_a_form_that_a_page_of_another_site_may_have_sent_is_refused(content_type: str | None) -> None:
    query = urlencode({"batch": json.dumps([GET])})
    body = b"--b--\r\n" if content_type and "boundary" in content_type else b""

    assert posted(body, content_type, QUERY_STRING=query, HTTP_COOKIE="session=1").status == 403
    assert posted(body, content_type, QUERY_STRING=query, HTTP_COOKIE="session=1", HTTP_ORIGIN="http://evil.example").status == 403
    assert posted(body, content_type, QUERY_STRING=query, HTTP_COOKIE="session=1", HTTP_ORIGIN="http://shop.example").status == 200
    assert posted(body, content_type, QUERY_STRING=query, HTTP_AUTHORIZATION="Basic YTpi", HTTP_ORIGIN="http://evil.example").status == 403
    assert posted(body, content_type, QUERY_STRING=query, HTTP_AUTHORIZATION="Basic YTpi", HTTP_SEC_FETCH_SITE="cross-site").status == 403
    assert posted(body, content_type, QUERY_STRING=query, HTTP_AUTHORIZATION="Basic YTpi", HTTP_ORIGIN="http://shop.example").status == 200
    assert posted(body, content_type, QUERY_STRING=query, HTTP_AUTHORIZATION="Basic YTpi").status == 200
    assert posted(body, content_type, QUERY_STRING=query).status == 200
    assert posted(b"", "application/json", QUERY_STRING=query, HTTP_COOKIE="session=1").status == 200


@pytest.mark.parametrize("content_type", [None, FORM, "multipart/form-data; boundary=b"])
def test_without_being_named_no_form_is_a_batch(content_type: str | None) -> None:
    query = urlencode({"batch": json.dumps([GET])})

    assert send(BatchMiddleware(show), environ_of(b"", CONTENT_TYPE=content_type, QUERY_STRING=query)).status == 415


def test_a_list_in_json_is_recognised_by_its_relative_urls() -> None:
    head = Head("/batch", "", "h", "http", "application/json", {})

    assert type(AutoDialect().choose(head, b'{"batch":[{"relative_url":"a","method":"GET"}]}', Settings())) is FacebookDialect
    assert type(AutoDialect().choose(head, b'{"access_token":"x","batch":[{"relative_url":"a"}, 5]}', Settings())) is FacebookDialect
    assert post(BatchMiddleware(show), {"batch": [GET]}).json()[0]["code"] == 200


# What a request becomes.


@pytest.mark.parametrize(
    ("url", "path", "query"),
    [
        ("hello/bob?a=b", "/hello/bob", "a=b"),
        ("/hello/bob", "/hello/bob", ""),
        ("", "/", ""),
        ("?ids=1,2", "/", "ids=1,2"),
        ("http://shop.example/a", "/a", ""),
        ("me?fields=a:b{c}", "/me", "fields=a:b{c}"),
        ("Zoë's/a b?q=é x&r=%C3%A9+☃", "/Zo\xc3\xab's/a b", "q=%C3%A9%20x&r=%C3%A9+%E2%98%83"),
    ],
)
def test_a_url_is_relative_to_the_host(url: str, path: str, query: str) -> None:
    told = shown(batch({"method": "get", "relative_url": url})[0])

    assert (told["method"], told["path"], told["query"]) == ("GET", path, query)


def test_what_is_asked_for_at_a_path_that_batches_are_posted_to_reaches_the_app() -> None:
    friends = {"method": "GET", "name": "get-friends", "relative_url": "people", "omit_response_on_success": False}
    urls = ["?ids={result=get-friends:$.data.*.id}", "?x=1", "", "v26.0/?ids=1", "v26.0"]

    settings = {"path": ("/batch", "/v26.0", "/"), "strip_prefix": "/v26.0"}
    items = batch(friends, *({"method": "GET", "relative_url": url} for url in urls), settings=settings)

    told = [shown(item) for item in items[1:]]
    assert [(one["path"], one["query"]) for one in told] == [("/", "ids=1%2C2"), ("/", "x=1"), ("/", ""), ("/", "ids=1"), ("/", "")]


def test_an_item_that_is_posted_to_a_batch_path_is_a_400() -> None:
    [item] = batch({"method": "POST", "relative_url": "?x=1", "body": "batch=[]"}, settings={"path": ("/batch", "/")})

    assert why(item) == (400, "nested-batch")


def test_the_version_is_taken_off_a_url_without_a_slash_too() -> None:
    items = batch({"method": "GET", "relative_url": "v26.0/me"}, {"method": "GET", "relative_url": "me"}, settings={"strip_prefix": "/v26.0"})

    assert [shown(item)["path"] for item in items] == ["/me", "/me"]


def test_a_url_is_below_the_path_where_the_app_is_mounted() -> None:
    answer = posted(urlencode({"batch": json.dumps([GET, {**GET, "relative_url": "?a=b"}])}).encode(), SCRIPT_NAME="/site")

    assert [shown(item)["path"] for item in answer.json()] == ["/hello/bob", "/"]


@pytest.mark.parametrize(
    "url", ["//evil.example/", "/\\evil.example", "\\\\evil.example", "http://evil.example/", "javascript:alert(1)", "a\tb", "a#b", "a\x7f"]
)
def test_a_url_that_leads_elsewhere_is_that_items_400(url: str) -> None:
    first, second = batch({"method": "GET", "relative_url": url}, GET)

    assert first["code"] == 400
    assert second["code"] == 200


def test_a_body_is_a_form_unless_its_headers_say_otherwise() -> None:
    form, text = batch(
        {"method": "POST", "relative_url": "a", "body": "name=Zo%C3%AB&a=b"},
        {"method": "PUT", "relative_url": "a", "body": "grüße {result=no:$.reference}", "headers": [{"name": "content-type", "value": "text/plain"}]},
    )

    assert (shown(form)["type"], shown(form)["body"]) == (FORM, "name=Zo%C3%AB&a=b")
    assert (shown(text)["type"], shown(text)["body"].encode("latin-1").decode()) == ("text/plain", "grüße {result=no:$.reference}")


@pytest.mark.parametrize(
    "headers",
    [
        [{"name": "X-One", "value": "1:2"}, {"name": "If-None-Match", "value": '"a"'}],
        ["X-One: 1:2", 'If-None-Match:"a"'],
        [{"name": "X-One", "value": "1:2"}, 'If-None-Match: "a"'],
    ],
)
def test_headers_are_a_list_of_names_and_values_or_of_lines(headers: list[object]) -> None:
    told = shown(batch({**GET, "headers": headers})[0])

    assert (told["headers"]["HTTP_X_ONE"], told["headers"]["HTTP_IF_NONE_MATCH"]) == ("1:2", '"a"')


def test_the_headers_of_the_php_library_are_taken() -> None:
    told = shown(batch({**GET, "headers": ["User-Agent: fb-php-5.7.0", "Accept-Encoding: *"]})[0])

    assert told["headers"]["HTTP_USER_AGENT"] == "fb-php-5.7.0"


def test_what_surrounds_a_reference_is_percent_encoded_and_the_query_that_finds_it_is_not() -> None:
    found = {"method": "GET", "relative_url": "é x?a={result=p:$.data[?@.name == 'Zoë & Bob'].id}&b=ü"}

    [_, told] = batch({"method": "GET", "relative_url": "people", "name": "p"}, found)

    assert (shown(told)["path"], shown(told)["query"]) == ("/\xc3\xa9 x", "a=1&b=%C3%BC")


@pytest.mark.parametrize(
    ("request_", "query"),
    [
        (GET, "access_token=a%26b"),
        ({**GET, "relative_url": "a?b=c"}, "b=c&access_token=a%26b"),
        ({**GET, "relative_url": "a?access_token=own"}, "access_token=own"),
        ({**GET, "relative_url": "a?b=c&access_token=own"}, "b=c&access_token=own"),
        ({**GET, "relative_url": "a?my_access_token=own"}, "my_access_token=own&access_token=a%26b"),
        ({"method": "POST", "relative_url": "a", "body": "access_token=own"}, ""),
        ({"method": "POST", "relative_url": "a", "body": "b=c&access_token=own"}, ""),
        ({"method": "POST", "relative_url": "a", "body": "b=access_token=own"}, "access_token=a%26b"),
        ({**GET, "headers": [{"name": "authorization", "value": "Bearer own"}]}, ""),
    ],
)
def test_the_token_of_the_batch_is_that_of_each_request_that_brings_none(request_: Item, query: str) -> None:
    assert shown(batch(request_, access_token="a&b")[0])["query"] == query


def test_a_token_stands_behind_a_query_that_is_not_known_yet() -> None:
    _, named, asked = batch(
        {"method": "GET", "relative_url": "people", "name": "all"},
        {"method": "GET", "relative_url": "hello/{result=all:$.data[?@.id==2].name}"},
        {"method": "GET", "relative_url": "?ids={result=all:$.data.*.id}"},
        access_token="mine",
    )

    assert (shown(named)["path"], shown(named)["query"]) == ("/hello/Ann", "access_token=mine")
    assert shown(asked)["query"] == "ids=1%2C2&access_token=mine"


def test_a_token_that_is_longer_than_a_url_refuses_the_batch() -> None:
    assert refused([GET], access_token="x" * 9000) == (413, "too-large", "/access_token")


# What requests say of each other.

ALL = {"method": "GET", "relative_url": "people", "name": "all"}


@pytest.mark.parametrize(
    "reference",
    [
        "{result=all:$.data[0].name}",
        "%7Bresult%3Dall%3A%24.data%5B0%5D.name%7D",
        "%7bresult=all:$.data%5b0%5d.name%7d",
        "{result=all:$.data[?@.id==1].name}",
    ],
)
def test_a_value_of_an_earlier_answer_stands_in_a_url_and_in_a_form(reference: str) -> None:
    _, asked, sent = batch(
        ALL,
        {"method": "GET", "relative_url": f"hello/{reference}?a={reference}&b=c"},
        {"method": "POST", "relative_url": "a", "body": f"name={reference}&b=c"},
    )

    assert shown(asked)["path"].encode("latin-1").decode() == "/hello/Zoë & Bob"
    assert shown(asked)["query"] == "a=Zo%C3%AB%20%26%20Bob&b=c"
    assert parse_qs(shown(sent)["body"]) == {"name": ["Zoë & Bob"], "b": ["c"]}


def test_a_brace_in_quotes_is_part_of_the_query() -> None:
    _, asked = batch(ALL, {"method": "GET", "relative_url": "x?n={result=all:$.data[?@.name!='}'].name}"})

    assert shown(asked)["query"] == "n=Zo%C3%AB%20%26%20Bob%2CAnn"


def test_several_values_are_joined_with_commas() -> None:
    _, asked, sent = batch(
        ALL,
        {"method": "GET", "relative_url": "x?ids={result=all:$.data.*.id}"},
        {"method": "POST", "relative_url": "x", "body": "names={result=all:$..name}"},
    )

    assert parse_qs(shown(asked)["query"]) == {"ids": ["1,2"]}
    assert parse_qs(shown(sent)["body"]) == {"names": ["Zoë & Bob,Ann"]}


@pytest.mark.parametrize("query", ["$.nothing", "$.next", "$.data", "$.data[9].id"])
def test_a_reference_to_what_is_not_there_is_that_items_424(query: str) -> None:
    _, asked, after = batch(ALL, {"method": "GET", "relative_url": f"x?a={{result=all:{query}}}"}, GET)

    assert why(asked) == (424, "reference-missing")
    assert after["code"] == 200


def test_what_is_referred_to_cannot_leave_its_place() -> None:
    evil = answered(lambda environ: ("200 OK", [("Content-Type", "application/json")], json.dumps({"a": "../x?y=z&q#\r\n/", "b": ".."}).encode()))
    named = {"method": "GET", "relative_url": "people", "name": "all"}

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        result: Iterable[bytes] = (evil if environ["PATH_INFO"] == "/people" else show)(environ, start_response)
        return result

    _, asked, dots, slashes = batch(
        named,
        {"method": "POST", "relative_url": "x?a={result=all:$.a}&b=c", "body": "a={result=all:$.a}&b=c"},
        {"method": "GET", "relative_url": "x/{result=all:$.b}/y"},
        {"method": "DELETE", "relative_url": "x/{result=all:$.a}"},
        app=app,
    )

    assert parse_qs(shown(asked)["query"]) == parse_qs(shown(asked)["body"]) == {"a": ["../x?y=z&q#\r\n/"], "b": ["c"]}
    assert why(dots) == why(slashes) == (424, "reference-missing")


@pytest.mark.parametrize(
    "reference",
    [
        "{result=all}",
        "{result=all:}",
        "{result=all:data}",
        "{result=all:$.data",
        "{result=all:$.a'}",
        "{result=all:$..a..b}",
        "{result=all:$['a','b']}",
        "%7Bresult=all:$.data}",
        "{result=",
    ],
)
@pytest.mark.parametrize("member", ["relative_url", "body"])
def test_a_reference_that_cannot_be_read_refuses_the_batch(reference: str, member: str) -> None:
    request = {"method": "POST", "relative_url": "a", member: f"a?b={reference}"}

    assert refused([ALL, request]) == (400, "bad-batch", f"/batch/1/{member}")


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        ("one", "{result=two:$.a}", "dependency-cycle"),
        ("one", "{result=three:$.a}", "unknown-dependency"),
        ("one", "{result=nobody:$.a}", "unknown-dependency"),
        ("two", "{result=two:$.a}", "duplicate-id"),
    ],
)
def test_a_name_that_leads_to_no_earlier_request_refuses_the_batch(first: str, second: str, code: str) -> None:
    requests = [{**GET, "name": first}, {**GET, "name": "two", "relative_url": f"x?a={second}"}, {**GET, "name": "three"}]

    assert refused(requests) == (400, code, "/batch/1/relative_url")
    requests[1] = {**GET, "name": "two", "depends_on": second.removeprefix("{result=").removesuffix(":$.a}")}
    assert refused(requests) == (400, code, "/batch/1/depends_on")


def test_a_name_that_nobody_uses_may_be_that_of_several() -> None:
    items = batch({**GET, "name": "Zoe"}, {**GET, "name": "Zoe"})

    assert [item["code"] for item in items] == [200, 200]


def test_a_batch_holds_a_limited_number_of_references() -> None:
    body = "a=" + "{result=all:$.next}" * 500

    assert batch(ALL, *[{"method": "POST", "relative_url": "a", "body": body}] * 2)[1]["code"] == 424
    assert refused([ALL, *[{"method": "POST", "relative_url": "a", "body": body + "{result=all:$.next}"}] * 2])[:2] == (400, "bad-batch")


def test_a_request_waits_for_the_success_of_another() -> None:
    missing = {"method": "GET", "relative_url": "missing", "name": "first"}

    items = batch(missing, {**GET, "depends_on": "first", "name": "second"}, {**GET, "depends_on": "second"}, GET)

    assert [items[0]["code"], *map(why, items[1:3]), items[3]["code"]] == [404, (424, "dependency-failed"), (424, "dependency-failed"), 200]


def test_without_its_library_a_batch_with_references_is_refused_and_any_other_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    _jsonpath._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jsonpath", None)

    answer = posted(urlencode({"batch": json.dumps([ALL, {**GET, "relative_url": "{result=all:$.a}"}])}).encode())

    assert answer.status == 400
    assert "wsgibatch[jsonpath]" in answer.json()["error"]["message"]
    assert [item["code"] for item in batch({**ALL, "omit_response_on_success": False}, {**GET, "depends_on": "all"})] == [200, 200]


@pytest.mark.parametrize(
    ("first", "others", "omitted"),
    [
        ({"name": "all"}, [], False),
        ({"name": "all"}, [{"depends_on": "all"}], True),
        ({"name": "all"}, [{"relative_url": "x?a={result=all:$.data[0].id}"}], True),
        ({"name": "all", "omit_response_on_success": False}, [{"depends_on": "all"}], False),
        ({"name": "all", "omit_response_on_success": None}, [{"depends_on": "all"}], True),
        ({"omit_response_on_success": True}, [], True),
        ({"name": "all", "omit_response_on_success": True}, [], True),
        ({"relative_url": "missing", "omit_response_on_success": True}, [], False),
        ({"relative_url": "missing", "name": "all"}, [{"depends_on": "all"}], False),
    ],
)
def test_an_answer_that_others_need_or_nobody_wants_is_null_if_it_is_a_success(first: Item, others: list[Item], omitted: bool) -> None:
    items = batch({"method": "GET", "relative_url": "people", **first}, *[{**GET, **other} for other in others])

    assert (items[0] is None) == omitted
    assert None not in items[1:]


# What is answered.


def test_an_answer_has_its_code_its_headers_as_names_and_values_and_its_body_as_a_string() -> None:
    headers = [("Content-Type", "application/json"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Transfer-Encoding", "base64")]

    [item] = batch(GET, app=answered(lambda environ: ("201 Created", headers, '{"a": "ü"}\n'.encode())))

    assert list(item) == ["code", "headers", "body"]
    assert (item["code"], item["body"]) == (201, '{"a": "ü"}\n')
    assert item["headers"] == [{"name": name, "value": value} for name, value in headers[:3]]


@pytest.mark.parametrize("wanted", ["false", "0", "False"])
def test_headers_are_left_out_where_they_are_not_wanted(wanted: str) -> None:
    assert list(batch(GET, include_headers=wanted)[0]) == ["code", "body"]
    assert "headers" in batch(GET, include_headers="true")[0]
    assert list(posted(b'{"batch":[{"method":"GET","relative_url":"a"}],"include_headers":false}', "application/json").json()[0]) == ["code", "body"]


@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "202 Accepted"])
def test_an_empty_success_says_that_it_is_one(status: str) -> None:
    [item] = batch({"method": "DELETE", "relative_url": "a"}, app=answered(lambda environ: (status, [], b"")))

    assert json.loads(item["body"]) == {"success": True}
    assert {"name": "Content-Length", "value": "0"} in item["headers"]


def test_what_is_neither_success_nor_error_may_have_an_empty_body_and_is_never_null() -> None:
    [item] = batch(GET, app=answered(lambda environ: ("304 Not Modified", [("ETag", '"a"')], b"")))

    assert (item["code"], item["body"]) == (304, "")


def test_what_is_no_text_is_base64_and_says_so() -> None:
    [item] = batch({"method": "GET", "relative_url": "bin"})

    assert base64.b64decode(item["body"]) == IMAGE
    assert item["headers"][-1] == {"name": "Content-Transfer-Encoding", "value": "base64"}


@pytest.mark.parametrize(
    ("content_type", "body", "error"),
    [
        ("text/html", "<h1>grüße</h1>".encode(), {"message": "<h1>grüße</h1>"}),
        ("text/html", b"", {"message": "Gone Away"}),
        ("image/png", b"\xff\x00", {"message": "Gone Away"}),
        ("application/json", b"{", {"message": "{"}),
        ("application/json", b'["a"]', {"message": '["a"]'}),
        ("application/json", b'"error"', {"message": '"error"'}),
        ("application/json", b"{}", {"message": "{}"}),
        ("application/json", b'{"error": ', {"message": '{"error": '}),
    ],
)
def test_an_error_is_told_as_one_whatever_the_app_says(content_type: str, body: bytes, error: Item) -> None:
    [item] = batch(GET, app=answered(lambda environ: ("410 Gone Away", [("Content-Type", content_type)], body)))

    assert json.loads(item["body"]) == {"error": {**error, "type": "HTTPException", "code": 410}}
    assert {"name": "Content-Length", "value": str(len(body))} in item["headers"]


def test_an_error_in_json_keeps_what_the_app_said() -> None:
    told = b' {"detail": 1.10, "more": []} '

    [item] = batch(GET, app=answered(lambda environ: ("410 Gone", [("Content-Type", "application/json")], told)))

    assert item["body"] == '{"error":{"message":"Gone","type":"HTTPException","code":410},"detail": 1.10, "more": []} '


@pytest.mark.parametrize("told", [b'{"error": {"message": "no", "code": 7}}', b' {"a": 1, "error": null}'])
def test_an_error_that_the_app_tells_as_one_is_left_alone(told: bytes) -> None:
    [item] = batch(GET, app=answered(lambda environ: ("400 Bad Request", [("Content-Type", "application/json")], told)))

    assert item["body"] == told.decode()
    assert [header["name"] for header in item["headers"]] == ["Content-Type"]


def test_a_status_that_nobody_has_named_is_an_error_all_the_same() -> None:
    [item] = batch(GET, app=answered(lambda environ: ("499 ", [], b"")))

    assert json.loads(item["body"])["error"] == {"message": "Error", "type": "HTTPException", "code": 499}


def test_what_is_wrong_with_an_item_is_told_as_an_error_of_the_batch() -> None:
    [item] = batch({"method": "TRACE", "relative_url": "a"})

    assert why(item) == (405, "method-not-allowed")
    assert json.loads(item["body"])["error"]["type"] == "GraphBatchException"


@pytest.mark.parametrize("member", ["relative_url", "body", "headers"])
def test_a_limit_that_an_item_breaks_is_pointed_at_by_the_name_of_the_member(member: str) -> None:
    large = {"headers": [{"name": f"X-{number}", "value": "x" * 1000} for number in range(70)]}.get(member, "x" * 9000)

    answer = posted(urlencode({"batch": json.dumps([{**GET, member: large}])}).encode(), settings={"max_item_body": 8000})

    assert (answer.status, answer.json()["error"]["error_data"]["pointer"]) == (413, f"/batch/0/{member}")


# Files.


def uploaded(*parts: tuple[str, bytes], requests: list[Item], settings: dict[str, Any] | None = None) -> Answer:
    return posted(*in_parts(field("batch", json.dumps(requests)), *parts), settings=settings)


def form_of(item: Item) -> tuple[dict[str, str], dict[str, tuple[str, str, bytes]]]:
    """The fields and files that an item was sent with."""
    told = shown(item)
    boundary = re.fullmatch("multipart/form-data; boundary=([0-9a-f]{32})", told["type"])
    assert boundary
    parts = list(MultipartParser(io.BytesIO(told["body"].encode("latin-1")), boundary[1], strict=True))
    fields = {part.name: part.value for part in parts if part.filename is None}
    files = {part.name: (part.filename, part.headers["Content-Type"], part.raw) for part in parts if part.filename is not None}
    return fields, files


def photo(**more: Any) -> Item:
    return {"method": "POST", "relative_url": "photos", "attached_files": "cat", **more}


def test_files_reach_the_app_with_the_fields_of_the_request_as_a_form_in_parts() -> None:
    cat = file("cat", "zoë.png", IMAGE)

    with_both, with_file, without = uploaded(
        cat, file("dog", "dog.txt", b"--x\r\n", "text/plain"), requests=[photo(body="a=b+c%26&d=&e", attached_files="cat , dog ,"), photo(), GET]
    ).json()

    fields, files = form_of(with_both)
    assert fields == {"a": "b c&", "d": "", "e": ""}
    assert {name: sent[1:] for name, sent in files.items()} == {"cat": ("image/png", IMAGE), "dog": ("text/plain", b"--x\r\n")}
    assert form_of(with_file) == ({}, {"cat": files["cat"]})
    assert shown(without)["type"] is None


def test_files_of_one_name_go_together() -> None:
    [item] = uploaded(file("cat", "1.png", b"1"), file("cat", "2.png", b"2"), requests=[photo(attached_files="cat,cat")]).json()

    body = shown(item)["body"]
    assert (body.count('name="cat"'), body.index("1.png") < body.index("2.png")) == (2, True)


def test_the_name_of_a_file_cannot_leave_its_header() -> None:
    [item] = uploaded(file("cat", "a%22; name=%22b%0D%0AX-Evil: 1", b"1"), requests=[photo()]).json()

    body = shown(item)["body"]
    assert 'name="cat"; filename="a%22; name=%22b%0D%0AX-Evil: 1"\r\n' in body


def test_values_of_earlier_answers_stand_in_fields_beside_files() -> None:
    requests = [ALL, photo(body="a=x{result=all:$.data[0].name}y%26z&b=%7Bresult=all:$..id%7D&c=d")]

    _, item = uploaded(file("cat", "cat.png", IMAGE), requests=requests).json()

    assert form_of(item)[0] == {"a": "xZoë & Boby&z", "b": "1,2", "c": "d"}


@pytest.mark.parametrize("body", ["{result=all:$.data[0].id}", "a{result=all:$.data[0].id}=b", "a=b&{result=all:$.data[0].id}=c"])
def test_a_reference_in_the_name_of_a_field_beside_files_refuses_the_batch(body: str) -> None:
    answer = uploaded(file("cat", "cat.png", IMAGE), requests=[ALL, photo(body=body)])

    assert (answer.status, answer.json()["error"]["error_data"]["pointer"]) == (400, "/batch/1/body")


def test_headers_beside_files_are_kept_but_for_the_type_of_the_body() -> None:
    headers = [{"name": "content-type", "value": FORM}, {"name": "X-One", "value": "1"}]

    [item] = uploaded(file("cat", "cat.png", IMAGE), requests=[photo(headers=headers)]).json()

    assert shown(item)["headers"]["HTTP_X_ONE"] == "1"
    assert form_of(item)[1]["cat"][2] == IMAGE


@pytest.mark.parametrize("more", [{"attached_files": "dog"}, {"attached_files": "cat;"}, {"attached_files": "batch"}])
def test_a_file_that_is_not_there_refuses_the_batch(more: Item) -> None:
    answer = uploaded(file("cat", "cat.png", IMAGE), requests=[GET, photo(**more)])

    assert (answer.status, answer.json()["error"]["error_data"]["pointer"]) == (400, "/batch/1/attached_files")


def test_files_are_sent_with_no_body_that_is_no_form() -> None:
    headers = [{"name": "Content-Type", "value": "application/json"}]

    answer = uploaded(file("cat", "cat.png", IMAGE), requests=[photo(headers=headers, body="{}")])

    assert (answer.status, answer.json()["error"]["error_data"]["pointer"]) == (400, "/batch/0/headers")


def test_files_that_are_sent_several_times_count_several_times() -> None:
    cat = file("cat", "cat.png", b"x" * 40_000)

    assert uploaded(cat, requests=[photo()] * 2, settings={"max_body": 100_000}).status == 200
    assert uploaded(cat, requests=[photo()] * 3, settings={"max_body": 100_000}).status == 413
    assert uploaded(cat, requests=[photo()], settings={"max_body": 40_000}).status == 413
    assert uploaded(cat, requests=[photo()], settings={"max_item_body": 40_000}).status == 413


def test_a_name_that_is_longer_than_its_file_counts_as_often() -> None:
    cat = file("cat", "x" * 4_000, b"")

    assert uploaded(cat, requests=[photo()] * 20, settings={"max_body": 100_000}).status == 200
    assert uploaded(cat, requests=[photo()] * 30, settings={"max_body": 100_000}).status == 413


def test_beside_files_a_body_has_a_limited_number_of_fields() -> None:
    cat = file("cat", "cat.png", IMAGE)

    assert uploaded(cat, requests=[photo(body="a&" * 999)]).status == 200
    answer = uploaded(cat, requests=[photo(body="a&" * 1000)])
    assert (answer.status, answer.json()["error"]["error_data"]["pointer"]) == (400, "/batch/0/body")


def test_a_batch_with_files_may_be_larger_than_one_without() -> None:
    assert uploaded(file("cat", "cat.png", b"x" * (2 << 20)), requests=[photo()]).status == 200
    assert posted(b"batch=[]&a=" + b"x" * (2 << 20)).status == 413


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.text(max_size=8), st.binary(max_size=40)), max_size=4))
def test_any_file_arrives_as_it_was_sent(files: list[tuple[str, str, bytes]]) -> None:
    sent = [file(name, re.sub(r'["\\%\r\n\0]', "", filename), content) for name, filename, content in files if b"--b" not in content]
    names = ",".join(dict.fromkeys(head[6:7] for head, _ in sent))

    [item] = uploaded(*sent, requests=[photo(attached_files=names) if sent else GET]).json()

    for _, content in sent:
        assert b"\r\n\r\n" + content + b"\r\n--" in shown(item)["body"].encode("latin-1")


@given(strategies.anything)
def test_any_parts_are_a_batch_or_are_rejected(body: bytes) -> None:
    for whole in (body, b"--b\r\n" + body, b'--b\r\nContent-Disposition: form-data; name="batch"\r\n' + body, in_parts(('name="batch"', body))[0]):
        status = posted(whole, "multipart/form-data; boundary=b").status
        assert status == 200 or 400 <= status < 500


@given(st.data())
def test_a_spoilt_batch_with_files_and_references_is_a_batch_or_is_rejected(data: st.DataObject) -> None:
    requests = [ALL, photo(body="a={result=all:$.data[0].id}&b=%7Bresult%3Dall%3A%24.a%7D"), {**GET, "relative_url": "{result=all:$..a}"}]
    valid, _ = in_parts(field("batch", json.dumps(requests)), file("cat", "cat.png", IMAGE))

    status = posted(data.draw(strategies.spoilt(valid)), "multipart/form-data; boundary=b").status

    assert status == 200 or 400 <= status < 500


# The client's half.


def round_trip(app: Any, *requests: SubRequest) -> list[SubResponse]:
    [content_type, *_], body = FacebookDialect().write(requests)
    return FacebookDialect().read([], posted(body, content_type[1], app).body, requests)


@pytest.mark.parametrize("content_type", ["text/html", "application/json", "image/png"])
@pytest.mark.parametrize(
    "body", [b"", b"text", b'{"a": 1}', b'{"error": 1}', b"{}", b"[1]", b'{"success": true}', b'{"error":{"message":"x","type":"HTTPException"}}']
)
@pytest.mark.parametrize("status", [200, 204, 304, 404])
def test_what_an_app_answered_is_read_as_it_was(content_type: str, body: bytes, status: int) -> None:
    body = b"" if status in (204, 304) else body

    [answer] = round_trip(answered(lambda environ: (f"{status} Told", [("Content-Type", content_type)], body)), SubRequest(0, "GET", "/a", []))

    assert answer.status == status
    assert answer.body == (body if status < 400 or content_type != "image/png" or not body else b"Told")


def test_a_request_can_wait_for_one_before_it_and_both_are_answered() -> None:
    answers = round_trip(show, SubRequest(0, "GET", "/missing", []), SubRequest(1, "GET", "/a", [], after=(Edge(0),)), SubRequest(2, "GET", "/b", []))

    assert [answer.status for answer in answers] == [404, 424, 200]


@pytest.mark.parametrize(
    "request_",
    [
        SubRequest(1, "GET", "/a", [], group="g"),
        SubRequest(1, "GET", "/a", [], late=Late(target=(Reference(0, "entity"),))),
        SubRequest(1, "GET", "/a", [], after=(Edge(0), Edge(0))),
        SubRequest(1, "GET", "/a", [], after=(Edge(0, "failed"),)),
        SubRequest(1, "GET", "/a", [], after=(Edge(1),)),
        SubRequest(1, "POST", "/a", [], b"a"),
        SubRequest(1, "POST", "/a", [("Content-Type", "image/png")], b"\xff"),
        SubRequest(1, "POST", "/a", [("Content-Type", FORM)], b"a={result=x:$.a}"),
        SubRequest(1, "GET", "/{result=x:$.a}", []),
        SubRequest(1, "GET", "/%7Bresult%3D", []),
    ],
)
def test_what_the_dialect_has_no_way_to_say_is_not_written(request_: SubRequest) -> None:
    with pytest.raises(ValueError, match="."):
        FacebookDialect().write([SubRequest(0, "GET", "/a", []), request_])


def test_an_answer_that_was_left_out_is_none_to_be_read() -> None:
    with pytest.raises(Unanswered, match="1 of 2 requests have no answer") as caught:
        FacebookDialect().read([], b'[null,{"code":200,"body":"b"}]', [SubRequest(0, "GET", "/a", []), SubRequest(1, "GET", "/b", [])])

    assert [found and found.body for found in caught.value.answers] == [None, b"b"]


def test_a_line_of_an_answer_that_was_left_out_answers_nothing() -> None:
    assert FacebookDialect().read_line(b'{"index":0,"id":null,"started":0.1,"duration":0.2}', [SubRequest(0, "GET", "/a", [])]) == []
