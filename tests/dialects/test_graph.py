import base64
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests import strategies
from tests.apps import IMAGE, mirror, show
from tests.gateway import Answer, Item, post
from wsgibatch import (
    BadBatch,
    Batch,
    BatchMiddleware,
    BatchRejected,
    DependencyCycle,
    DuplicateId,
    Head,
    Settings,
    SubRequest,
    SubResponse,
    TooManyItems,
    UnknownDependency,
)
from wsgibatch.dialects import _envelope
from wsgibatch.dialects.graph import GraphDialect
from wsgibatch.errors import NestedBatch
from wsgibatch.model import Edge, Fault, Headers, Late, Reference

HEAD = Head(path="/v1.0/$batch", mount="", host="h", scheme="http", media_type="application/json", parameters={})
JSON = [("Content-Type", "application/json")]
ANY = Settings(max_requests=20_000)


def decoded(requests: object) -> list[SubRequest]:
    return batch(requests).items


def batch(requests: object) -> Batch:
    body = requests if isinstance(requests, bytes) else json.dumps({"requests": requests}).encode()
    return GraphDialect().decode(HEAD, body, ANY)


def request(**members: object) -> Item:
    """A request with an id, a method and a url, where *members* do not say otherwise."""
    return {"id": "1", "method": "GET", "url": "/a", **members}


def numbered(*changes: Item) -> list[Item]:
    return [request(id=str(index + 1), **change) if "id" not in change else request(**change) for index, change in enumerate(changes)]


def body_of(body: object, content_type: str | None = None) -> SubRequest:
    headers = {} if content_type is None else {"Content-Type": content_type}
    [item] = decoded([request(method="POST", headers=headers, body=body)])
    return item


def refused(requests: object) -> tuple[type[BatchRejected], str]:
    """How a batch is refused, and the place that is told."""
    with pytest.raises(BatchRejected) as caught:
        decoded(requests)
    return type(caught.value), caught.value.pointer


def base64_of(body: bytes) -> str:
    return base64.b64encode(body).decode()


# The batches of the documentation, and of a stricter server that takes the same envelope at /batch/, as they are posted and as they are decoded.
PLACES = [
    {"id": "1", "method": "GET", "url": "/me/drive/root:/file.png:/content"},
    {"id": "2", "method": "GET", "url": "/me/planner/tasks"},
    {"id": "3", "url": "/me", "method": "PATCH", "body": {"city": "Utrecht"}, "headers": {"Content-Type": "application/json"}},
    {"id": "4", "url": "users?$select=id&$filter=city%20eq%20null&$count=true", "method": "GET", "headers": {"ConsistencyLevel": "eventual"}},
]
CHAIN = [
    {"id": "1", "url": "/me/drive/root/children", "method": "POST", "headers": {"Content-Type": "application/json"}, "body": {"name": "A"}},
    {"id": "2", "url": "/me/drive/root/children/A", "method": "GET", "dependsOn": ["1"]},
    {
        "id": 3,
        "url": "/me/drive/root/children/B",
        "method": "PUT",
        "headers": {"Content-Type": "image/png"},
        "body": "AAH+/w==",
        "dependsOn": ["1", "2"],
    },
]
STRICT = [
    {"id": "first", "url": "/item/1", "method": "GET"},
    {"id": "second", "url": "/item/2", "method": "DELETE"},
    {"id": "third", "url": "/item/3", "method": "PUT", "body": {"name": "C", "tags": [1, None]}, "headers": {"Content-Type": "application/json"}},
]
EXAMPLES: list[Any] = [
    pytest.param(
        PLACES,
        [
            SubRequest(0, "GET", "/me/drive/root:/file.png:/content", [], id="1"),
            SubRequest(1, "GET", "/me/planner/tasks", [], id="2"),
            SubRequest(2, "PATCH", "/me", JSON, b'{"city":"Utrecht"}', "3"),
            SubRequest(3, "GET", "users?$select=id&$filter=city%20eq%20null&$count=true", [("ConsistencyLevel", "eventual")], id="4"),
        ],
        id="independent",
    ),
    pytest.param(
        CHAIN,
        [
            SubRequest(0, "POST", "/me/drive/root/children", JSON, b'{"name":"A"}', "1"),
            SubRequest(1, "GET", "/me/drive/root/children/A", [], b"", "2", (Edge(0),)),
            SubRequest(2, "PUT", "/me/drive/root/children/B", [("Content-Type", "image/png")], b"\x00\x01\xfe\xff", 3, (Edge(0), Edge(1))),
        ],
        id="a chain",
    ),
    pytest.param(
        STRICT,
        [
            SubRequest(0, "GET", "/item/1", [], id="first"),
            SubRequest(1, "DELETE", "/item/2", [], id="second"),
            SubRequest(2, "PUT", "/item/3", JSON, b'{"name":"C","tags":[1,null]}', "third"),
        ],
        id="the stricter server",
    ),
]


@pytest.mark.parametrize(("posted", "items"), EXAMPLES)
def test_an_example_is_decoded(posted: list[Item], items: list[SubRequest]) -> None:
    found = batch(json.dumps({"requests": posted}, separators=(",", ":")).encode())

    assert found.items == items
    assert found.pointer == "/requests"


@pytest.mark.parametrize(("posted", "items"), EXAMPLES)
def test_an_example_is_written(posted: list[Item], items: list[SubRequest]) -> None:
    headers, body = GraphDialect().write(items)

    assert headers == JSON
    assert json.loads(body) == {"requests": posted}


ANSWERED = [
    SubResponse(200, "OK", [("Content-Type", "image/png")], b"\x89PNG", "binary"),
    SubResponse(401, "Unauthorized", [("Content-Type", "application/json; charset=utf-8")], b'{"error":{"code":"Forbidden","n":1.50}}', "json"),
    SubResponse(204, "No Content", [("Location", "/me/1")], b""),
    SubResponse(200, "OK", [("Content-Type", "text/html")], "<p>grün".encode(), "text"),
]
ANSWERS = [
    {"id": "1", "status": 200, "headers": {"Content-Type": "image/png"}, "body": "iVBORw=="},
    {
        "id": "2",
        "status": 401,
        "headers": {"Content-Type": "application/json; charset=utf-8"},
        "body": {"error": {"code": "Forbidden", "n": 1.5}},
    },
    {"id": "3", "status": 204, "headers": {"Location": "/me/1"}, "body": None},
    {"id": 4, "status": 200, "headers": {"Content-Type": "text/html"}, "body": "<p>grün"},
]
NAMES: list[str | int] = ["1", "2", "3", 4]
ASKED = [SubRequest(index, "GET", "/a", [], id=name) for index, name in enumerate(NAMES)]


def encoded(requests: list[SubRequest], answers: list[SubResponse]) -> bytes:
    encoder = GraphDialect().encoder(HEAD, Batch(requests), Settings())
    pieces = [encoder.units([((one,), (answer,))]) for one, answer in zip(requests, answers, strict=True)]
    return b"".join([*pieces, encoder.end()])


def read(answers: object, requests: list[SubRequest]) -> list[SubResponse]:
    return GraphDialect().read([], json.dumps({"responses": answers}).encode(), requests)


def test_answers_are_encoded() -> None:
    body = encoded(ASKED, ANSWERED)

    assert json.loads(body) == {"responses": ANSWERS}
    assert b'"n":1.50' in body


def test_answers_are_read_whatever_their_order() -> None:
    for answers in (ANSWERS, ANSWERS[::-1], ANSWERS[2:] + ANSWERS[:2]):
        image, error, empty, text = read(answers, ASKED)

        assert (image.status, image.headers, image.body, image.kind) == (200, [("Content-Type", "image/png")], b"\x89PNG", "binary")
        assert (error.status, json.loads(error.body), error.kind) == (401, {"error": {"code": "Forbidden", "n": 1.5}}, "json")
        assert (empty.status, empty.body) == (204, b"")
        assert (text.body.decode(), text.kind) == ("<p>grün", "text")


def test_an_empty_batch_has_an_empty_answer() -> None:
    assert batch([]).items == []
    assert json.loads(encoded([], [])) == {"responses": []}


def test_a_batch_without_dependencies_is_not_linked() -> None:
    assert not batch(numbered({}, {"dependsOn": []}, {"dependsOn": None, "depends_on": []})).linked
    assert batch(numbered({}, {"dependsOn": ["1"]})).linked


def test_methods_are_taken_in_any_case_but_only_ascii_is_changed() -> None:
    methods = [item.method for item in decoded(numbered({"method": "post"}, {"method": "pAtCh"}, {"method": "po\u017ft"}))]

    assert methods == ["POST", "PATCH", "po\u017ft"]


@pytest.mark.parametrize("url", ["/a", "a/b", "http://h/v1.0/a", "", "//x", "/a%20b"])
def test_a_url_stays_as_it_is(url: str) -> None:
    assert decoded([request(url=url)])[0].target == url


def test_spaces_in_a_url_are_percent_encoded() -> None:
    assert decoded([request(url="users?$filter=city eq null")])[0].target == "users?$filter=city%20eq%20null"


def test_members_that_are_not_known_are_passed_over() -> None:
    found = batch(b'{"requests":[{"id":"1","method":"GET","url":"/a","x":{}}],"y":[]}')

    assert found.items == [SubRequest(0, "GET", "/a", [], id="1")]


def test_headers_may_be_left_out_or_null_and_lists_of_values_are_joined() -> None:
    plain, null, empty, several = decoded(numbered({}, {"headers": None}, {"headers": {}}, {"headers": {"A": ["x", "y, z"], "b": "c", "d": ["e"]}}))

    assert plain.headers == null.headers == empty.headers == []
    assert several.headers == [("A", "x, y, z"), ("b", "c"), ("d", "e")]


@pytest.mark.parametrize("name", ["1", 1, 0, -1, "!~", "a" * 128, "$", '"\\', (1 << 63) - 1])
def test_an_id_is_echoed_with_its_type(name: str | int) -> None:
    [item] = decoded([request(id=name)])
    [answer] = json.loads(encoded([item], [SubResponse(200, "OK", [], b"")]))["responses"]

    assert (item.id, answer["id"]) == (name, name)
    assert type(answer["id"]) is type(name)


@pytest.mark.parametrize("name", ["", "a b", "a" * 129, "ü", "a\n", "\x7f", "\0", None, 1.5, 1.0, True, [], {}, 1 << 63, "\u212a"])
def test_what_is_no_id_refuses_the_batch(name: object) -> None:
    assert refused([request(), request(id=name)]) == (BadBatch, "/requests/1/id")


@pytest.mark.parametrize(("first", "second"), [("1", "1"), (1, "1"), ("1", 1), (7, 7), ("a", "A"), ("Ab-C", "aB-c")])
def test_ids_that_differ_in_case_or_type_only_are_duplicates(first: object, second: object) -> None:
    assert refused([request(id=first), request(id="x"), request(id=second)]) == (DuplicateId, "/requests/2/id")


@pytest.mark.parametrize("member", ["dependsOn", "depends_on"])
@pytest.mark.parametrize("name", ["one", "ONE", 2, "2"])
def test_an_item_waits_for_the_success_of_those_it_names(member: str, name: object) -> None:
    *_, item = decoded([request(id="One"), request(id=2), request(id="3", **{member: [name]})])

    assert item.after == (Edge(0 if str(name).isalpha() else 1, "succeeded"),)


def test_both_spellings_of_depends_on_count_and_each_name_once() -> None:
    *_, item = decoded(numbered({}, {"id": "b"}, {"dependsOn": ["1", 1, "B"], "depends_on": ["b", "1"]}))

    assert item.after == (Edge(0), Edge(1))


@pytest.mark.parametrize("member", ["dependsOn", "depends_on"])
@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("x", UnknownDependency, "no request has the id x."),
        ("", UnknownDependency, "no request has this id"),
        ("\u212a", UnknownDependency, "no request has this id"),
        ("4", UnknownDependency, "before it, and not for the one that has the id 4."),
        (4, UnknownDependency, "before it, and not for the one that has the id 4."),
        ("3", DependencyCycle, "itself"),
        (3, DependencyCycle, "itself"),
    ],
)
def test_a_dependency_is_a_request_that_stands_before(member: str, name: object, error: type[BadBatch], words: str) -> None:
    requests = numbered({}, {"id": "k"}, {member: ["1", name]}, {})

    with pytest.raises(error) as caught:
        decoded(requests)

    assert caught.value.pointer == f"/requests/2/{member}"
    assert words in caught.value.detail.lower()
    assert type(caught.value) is error


def test_ten_thousand_edges_are_decoded_one_for_each_name() -> None:
    count = 10_000
    chain = batch([request(id=index, dependsOn=[index - 1] if index else None) for index in range(count)])
    star = batch([request(id=0), *(request(id=index, dependsOn=[0]) for index in range(1, count))])
    fan = batch([*(request(id=index) for index in range(count)), request(id="all", dependsOn=[*range(count), *range(count)])])

    assert [item.after for item in chain.items[1:]] == [(Edge(index),) for index in range(count - 1)]
    assert all(item.after == (Edge(0),) for item in star.items[1:])
    assert fan.items[-1].after == tuple(map(Edge, range(count)))


@pytest.mark.parametrize("body", [b'{"a": 1.50, "b":[ 12345678901234567890123 ]}', b"[]", b"{}", b"5.0", b"true", b'[ "\\u00fc" ]'])
@pytest.mark.parametrize(
    "content_type", [b"", b'"headers":{"Content-Type":"application/json"},', b'"headers":{"CONTENT-TYPE":"application/x+json"},']
)
def test_a_body_that_is_no_string_is_kept_byte_for_byte(body: bytes, content_type: bytes) -> None:
    [item] = decoded(b'{"requests":[{"id":"1","method":"POST","url":"/a",' + content_type + b'"body": ' + body + b" }]}")

    assert item.body == body


def test_a_body_without_a_content_type_is_json() -> None:
    assert body_of({"a": 1}).headers == JSON
    assert body_of({"a": 1}, "text/json").headers == [("Content-Type", "text/json")]
    assert decoded([request(method="POST", headers={"content-TYPE": "a/b"}, body={})])[0].headers == [("content-TYPE", "a/b")]
    assert decoded([request(method="POST")])[0].headers == []


def test_null_is_no_body() -> None:
    assert (body_of(None).body, body_of(None).headers) == (b"", [])
    assert body_of(None, "image/png").body == b""


@pytest.mark.parametrize("method", ["GET", "get", "HEAD", "DELETE", "Delete"])
@pytest.mark.parametrize("body", [{"a": 1}, "no base64!"])
def test_a_body_is_ignored_where_it_has_no_meaning(method: str, body: object) -> None:
    [item] = decoded([request(method=method, headers={"Content-Type": "image/png"}, body=body)])

    assert (item.body, item.headers) == (b"", [("Content-Type", "image/png")])


@pytest.mark.parametrize("content_type", ["text/plain", "TEXT/html; charset=utf-8", "text/"])
@pytest.mark.parametrize("text", ["", "grün", "AAEC", '{"a": 1}'])
def test_a_string_under_a_text_type_is_the_body(content_type: str, text: str) -> None:
    assert body_of(text, content_type).body == text.encode()


@pytest.mark.parametrize("content_type", [None, "application/json", "Application/JSON; charset=utf-8", "application/problem+json"])
@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("grün", b'"gr\\u00fcn"'),
        ("", b'""'),
        ("AAEC", b'"AAEC"'),
        (base64_of(b'{"a": 1}'), b'{"a": 1}'),
        (base64.urlsafe_b64encode('["ÿÿÿ>>?"]'.encode()).decode().rstrip("="), '["ÿÿÿ>>?"]'.encode()),
        (base64_of(b"[1, 2"), json.dumps(base64_of(b"[1, 2")).encode()),
    ],
)
def test_a_string_under_json_is_json_in_base64_or_itself_json(content_type: str | None, text: str, body: bytes) -> None:
    item = body_of(text, content_type)

    assert item.body == body
    assert item.headers == [("Content-Type", content_type or "application/json")]


@pytest.mark.parametrize("body", [IMAGE, b"", b"a", b"ab", b"abc", b"\xfb\xff\xfe"])
@pytest.mark.parametrize("spell", [base64.b64encode, base64.urlsafe_b64encode])
def test_any_other_string_is_base64_in_either_alphabet_with_padding_or_without(body: bytes, spell: Callable[[bytes], bytes]) -> None:
    text = spell(body).decode()

    assert body_of(text, "image/png").body == body
    assert body_of(text.rstrip("="), "application/x-www-form-urlencoded").body == body


@pytest.mark.parametrize("text", ["a", "abcde", "a b", "ab=c", "====", "=", "ab===", "ü", "ab\n", "aGk=aGk=", "a.b,"])
def test_a_string_that_is_no_base64_refuses_the_batch(text: str) -> None:
    requests = [request(), request(id="2", method="POST", headers={"Content-Type": "image/png"}, body=text)]

    assert refused(requests) == (BadBatch, "/requests/1/body")


@pytest.mark.parametrize(
    ("requests", "pointer"),
    [
        ([{"method": "GET", "url": "/a"}], "/requests/0"),
        ([{"id": "1", "url": "/a"}], "/requests/0"),
        ([{"id": "1", "method": "GET"}], "/requests/0"),
        ([request(), 5], "/requests/1"),
        ([request(method=None)], "/requests/0/method"),
        ([request(url=7)], "/requests/0/url"),
        ([request(headers=[])], "/requests/0/headers"),
        ([request(headers={"A": None})], "/requests/0/headers"),
        ([request(headers={"A": [1]})], "/requests/0/headers"),
        ([request(dependsOn="1")], "/requests/0/dependsOn"),
        ([request(depends_on=[None])], "/requests/0/depends_on/0"),
        ({}, "/requests"),
        (None, "/requests"),
        (b"[]", ""),
        (b"{}", ""),
        (b'{"batch":[]}', ""),
        (b'{"requests":[{"id":"1","method":"POST","url":"/a","body":"\\ud800"}]}', ""),
        (b'{"requests":[{"id":"1","method":"POST","url":"/a","body":{"a":"\xff"}}]}', ""),
    ],
)
def test_what_is_not_the_grammar_is_refused_with_its_place(requests: object, pointer: str) -> None:
    assert refused(requests) == (BadBatch, pointer)


def test_twenty_items_are_accepted_by_default() -> None:
    def body(count: int) -> bytes:
        return json.dumps({"requests": [request(id=index) for index in range(count)]}).encode()

    assert len(GraphDialect().decode(HEAD, body(20), Settings()).items) == 20
    with pytest.raises(TooManyItems) as caught:
        GraphDialect().decode(HEAD, body(21), Settings())
    assert (caught.value.limit, caught.value.pointer) == (20, "/requests")


nearly_ids = st.sampled_from(["1", "2", "3", "a", "A", 1, 2, "", " ", "ü", None, 1.5]) | strategies.json_values
nearly_requests = st.fixed_dictionaries(
    {"id": st.integers(0, 6) | nearly_ids, "method": st.sampled_from(["GET", "post", "", 1]), "url": st.sampled_from(["/a", "b", "$1/a", None])},
    optional={
        "headers": st.dictionaries(st.sampled_from(["Content-Type", "content-type", "If-Match"]), st.sampled_from(["text/x", "a/b", "$1", ["a"], 5])),
        "body": strategies.json_values | st.sampled_from(["AAEC", "=", "$1/a"]),
        "dependsOn": st.lists(nearly_ids, max_size=3) | st.none(),
        "depends_on": st.lists(nearly_ids, max_size=3),
        "if": st.sampled_from(["$1/$succeeded", "", None, 5]),
        "atomicityGroup": nearly_ids,
    },
)


@given(st.lists(nearly_requests, max_size=6))
def test_what_is_nearly_right_is_a_batch_or_is_rejected(requests: list[Item]) -> None:
    try:
        found = batch(requests)
    except BatchRejected as error:
        assert error.status in (400, 413)
        return
    assert [item.index for item in found.items] == list(range(len(requests)))
    assert all(edge.index < item.index for item in found.items for edge in item.after)


@given(st.data())
def test_a_spoilt_batch_is_a_batch_or_is_rejected(data: st.DataObject) -> None:
    valid = json.dumps({"requests": CHAIN}).encode()

    try:
        batch(data.draw(strategies.spoilt(valid)))
    except BatchRejected as error:
        assert 400 <= error.status < 500


@pytest.mark.parametrize(
    ("spelt", "answered"),
    [
        ("content-type", "Content-Type"),
        ("CONTENT-TYPE", "Content-Type"),
        ("Content-Type", "Content-Type"),
        ("ETag", "ETag"),
        ("etag", "Etag"),
        ("ETAG", "Etag"),
        ("WWW-Authenticate", "WWW-Authenticate"),
        ("X-XSS-Protection", "X-XSS-Protection"),
        ("x-ms-Ags", "X-Ms-Ags"),
        ("DataServiceVersion", "DataServiceVersion"),
    ],
)
def test_names_of_headers_are_capitalised_as_clients_look_for_them(spelt: str, answered: str) -> None:
    for _ in range(2):
        [answer] = json.loads(encoded(ASKED[:1], [SubResponse(200, "OK", [(spelt, "text/x")], b"x", "text")]))["responses"]

        assert answer["headers"] == {answered: "text/x"}


def test_names_of_headers_are_remembered_up_to_a_limit() -> None:
    memory = _envelope._Spellings()
    long = "x-" + "a" * 500

    assert memory[long] == "X-A" + "a" * 499
    assert long not in memory
    for number in range(3000):
        assert memory[f"x-number-{number}"] == f"X-Number-{number}"
    assert len(memory) == 1024
    assert memory["x-number-2999"] == "X-Number-2999"


def test_headers_given_twice_are_joined_and_cookies_are_a_list() -> None:
    headers = [("Vary", "A"), ("Set-Cookie", "a=1, x"), ("vary", "B"), ("set-cookie", "b=2")]

    body = encoded(ASKED[:1], [SubResponse(200, "OK", headers, b"", respelt=True)])

    assert json.loads(body)["responses"][0]["headers"] == {"Vary": "A, B", "Set-Cookie": ["a=1, x", "b=2"]}
    assert GraphDialect().read([], body, ASKED[:1])[0].headers == [("Vary", "A, B"), ("Set-Cookie", "a=1, x"), ("Set-Cookie", "b=2")]


@pytest.mark.parametrize(
    "content_type", ["application/xml", "application/x-www-form-urlencoded", "application/javascript", "application/octet-stream"]
)
def test_only_the_types_of_text_are_a_string_and_other_types_are_base64(content_type: str) -> None:
    answer = SubResponse(200, "OK", [("Content-Type", content_type)], b"<a/>", "text")

    assert json.loads(encoded(ASKED[:1], [answer]))["responses"][0]["body"] == base64_of(b"<a/>")


AMBIGUOUS = [
    (JSON, b'"abc"', "json"),
    (JSON, b'"AAEC"', "json"),
    (JSON, b"AAEC", "json"),
    (JSON, b'{"a": ', "json"),
    (JSON, b"\xff", "json"),
    ([("Content-Type", "text/plain")], b"AAEC", "text"),
    ([("Content-Type", "text/plain")], b"\xff\xfe", "text"),
    ([("Content-Type", "text/plain"), ("Content-Encoding", "gzip")], b"\x1f\x8b", "binary"),
    ([("Content-Type", "application/xml")], b"AAEC", "text"),
    ([("content-type", "image/png")], b"AAEC", "binary"),
    ([], b"AAEC", "text"),
]


@pytest.mark.parametrize(("headers", "body", "kind"), AMBIGUOUS)
@pytest.mark.parametrize("announced", [True, False])
def test_a_body_is_read_as_the_app_answered_it(headers: Headers, body: bytes, kind: Any, announced: bool) -> None:
    length = [("content-LENGTH", str(len(body)))] if announced else []

    [answer] = GraphDialect().read([], encoded(ASKED[:1], [SubResponse(200, "OK", headers + length, body, kind)]), ASKED[:1])

    assert answer.body == body


@pytest.mark.parametrize(
    ("content_type", "length", "string", "body"),
    [
        ("application/json", None, "abcd", b'"abcd"'),
        ("application/json", "6", "abcd", b'"abcd"'),
        ("application/json", "4", "abcd", b"abcd"),
        ("application/json", "3", "abcd", b"i\xb7\x1d"),
        ("application/json", "5", "abcd", b'"abcd"'),
        ("text/plain", None, "abcd", b"abcd"),
        ("text/plain", "3", "abcd", b"i\xb7\x1d"),
        ("image/png", None, "abcd", b"i\xb7\x1d"),
        ("image/png", "4", "abcd", b"abcd"),
        ("image/png", None, "a b", b"a b"),
        ("image/png", None, "_-8", b"\xff\xef"),
        (None, None, "abcd", b"abcd"),
        (None, "3", "abcd", b"i\xb7\x1d"),
    ],
)
def test_a_string_is_read_by_its_length_and_else_by_its_content_type(content_type: str | None, length: str | None, string: str, body: bytes) -> None:
    headers = {name: value for name, value in (("content-type", content_type), ("content-length", length)) if value is not None}

    [answer] = read([{"id": "1", "status": 200, "headers": headers, "body": string}], ASKED[:1])

    assert answer.body == body


def test_headers_and_body_may_be_missing_in_what_is_read() -> None:
    [answer] = read([{"id": "1", "status": 204}], ASKED[:1])

    assert (answer.status, answer.headers, answer.body) == (204, [], b"")


@pytest.mark.parametrize(
    "answers",
    [
        ANSWERS[:3],
        [*ANSWERS, ANSWERS[0]],
        [*ANSWERS[:3], ANSWERS[0]],
        [*ANSWERS[:3], {**ANSWERS[3], "id": "4"}],
        [*ANSWERS[:3], {**ANSWERS[3], "id": 5}],
        [*ANSWERS, {**ANSWERS[3], "id": 5}],
        [*ANSWERS[:3], {**ANSWERS[3], "status": "200"}],
        [],
        {},
        None,
    ],
)
def test_answers_to_other_requests_are_not_read(answers: object) -> None:
    with pytest.raises(ValueError, match="."):
        read(answers, ASKED)


@pytest.mark.parametrize("body", [b"", b'{"error":{"code":"BadRequest"}}', b'{"responses":[]', b'{"responses":' + b"[" * 100_000, b"\xff"])
def test_what_is_no_answer_is_not_read(body: bytes) -> None:
    with pytest.raises(ValueError, match="."):
        GraphDialect().read([], body, ASKED)


def test_requests_without_an_id_are_numbered() -> None:
    _, body = GraphDialect().write([SubRequest(0, "GET", "/a", []), SubRequest(1, "GET", "/b", [], id="x"), SubRequest(2, "GET", "/c", [])])

    assert [written["id"] for written in json.loads(body)["requests"]] == ["1", "x", "3"]


PLAIN = SubRequest(0, "POST", "/a", [])


@pytest.mark.parametrize(
    "unsayable",
    [
        replace(PLAIN, group="g"),
        replace(PLAIN, late=Late(headers=(("X", Reference(0, "value", ("a",))),))),
        replace(PLAIN, after=(Edge(0, "failed"),)),
        replace(PLAIN, after=(Edge(0, "ended"),)),
        replace(PLAIN, after=(Edge(1),)),
        replace(PLAIN, after=(Edge(-1),)),
        replace(PLAIN, id="1"),
        replace(PLAIN, id=1),
        replace(PLAIN, id=""),
        replace(PLAIN, id="a b"),
        replace(PLAIN, body=b"x"),
        replace(PLAIN, method="GET", headers=JSON, body=b"{}"),
        replace(PLAIN, headers=JSON, body=b"{"),
        replace(PLAIN, headers=[("Content-Type", "text/plain")], body=b"\xff"),
    ],
)
def test_what_the_format_cannot_say_is_not_written(unsayable: SubRequest) -> None:
    with pytest.raises(ValueError, match="."):
        GraphDialect().write([PLAIN, replace(unsayable, index=1)])


contents: st.SearchStrategy[tuple[str, bytes]] = st.one_of(
    strategies.json_values.map(lambda value: ("application/json", json.dumps(value).encode())),
    st.text("AZaz0189+/_-=[]{}", max_size=8).map(lambda text: ("application/json", json.dumps(text).encode())),
    st.binary(max_size=20).map(lambda body: ("image/png", body)),
    st.text(max_size=20).map(lambda text: ("text/plain", text.encode(errors="replace"))),
)


@given(contents)
def test_a_body_that_is_written_is_decoded_as_it_was(content: tuple[str, bytes]) -> None:
    content_type, body = content
    request = SubRequest(0, "POST", "/a", [("Content-Type", content_type)], body, "1")

    assert decoded(GraphDialect().write([request])[1]) == [request]


@given(contents.filter(lambda content: content[1] != b"null"))
def test_a_body_that_is_encoded_is_read_as_it_was(content: tuple[str, bytes]) -> None:
    content_type, body = content
    kind: Any = {"application/json": "json", "text/plain": "text", "image/png": "binary"}[content_type]

    [answer] = GraphDialect().read([], encoded(ASKED[:1], [SubResponse(200, "OK", [("Content-Type", content_type)], body, kind)]), ASKED[:1])

    assert (answer.body, answer.kind) == (body, kind)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadBatch("A reason."), "BadRequest"),
        (NestedBatch("A reason.", "/requests/3/url"), "BadRequest"),
        (UnknownDependency("A reason.", "/requests/0/dependsOn"), "BadRequest"),
    ],
)
def test_a_refusal_is_an_error_of_graph(error: BatchRejected, code: str) -> None:
    status, headers, body = GraphDialect().refusal(HEAD, error)

    target = {"target": error.pointer} if error.pointer else {}
    assert status == 400
    assert dict(headers)["Content-Type"] == "application/json"
    assert json.loads(body) == {"error": {"code": code, "message": "A reason.", **target, "innererror": {"code": error.code}}}


def test_a_refusal_tells_more_where_more_is_known() -> None:
    status, _, body = GraphDialect().refusal(HEAD, TooManyItems(21, 20, "/requests"))

    error = json.loads(body)["error"]
    assert status == 413
    assert (error["target"], error["innererror"]) == ("/requests", {"code": "too-many-items", "limit": 20})


def test_a_failure_is_an_error_of_graph() -> None:
    headers, body = GraphDialect().failure(Fault(424, "dependency-failed", "Not run.", (("failed_item", "1"),)))

    inner = {"code": "dependency-failed", "failed_item": "1"}
    assert headers == JSON
    assert json.loads(body) == {"error": {"code": "FailedDependency", "message": "Not run.", "innererror": inner}}


def answered(app: Any, requests: object, **settings: Any) -> list[Item]:
    answer = graph_answer(app, requests, **settings)
    assert answer.status == 200, answer
    return list(answer.json()["responses"])


def graph_answer(app: Any, requests: object, **settings: Any) -> Answer:
    return post(BatchMiddleware(app, dialect="graph", path="/v1.0/$batch", **settings), {"requests": requests}, path="/v1.0/$batch")


def test_each_kind_of_answer_has_all_its_members() -> None:
    text, image, empty, found = answered(show, numbered({"url": "/text"}, {"url": "bin"}, {"url": "/empty"}, {"url": "http://shop.example/missing"}))

    assert text == {"id": "1", "status": 200, "headers": {"Content-Type": "text/plain; charset=utf-8"}, "body": "grüße"}
    assert base64.b64decode(image["body"]) == IMAGE
    assert empty == {"id": "3", "status": 204, "headers": {}, "body": None}
    assert (found["status"], found["body"]["path"]) == (404, "/missing")


def test_an_item_arrives_as_it_was_sent() -> None:
    sent = request(method="patch", url="/a?x=$1", headers={"Content-Type": "application/merge-patch+json", "X-Echo": ["a", "b"]}, body={"é": 1})

    [answer] = answered(mirror, [sent])

    assert (answer["body"]["REQUEST_METHOD"], answer["body"]["QUERY_STRING"]) == ("PATCH", "x=$1")
    assert (answer["body"]["CONTENT_TYPE"], answer["headers"]["X-Echo"]) == ("application/merge-patch+json", "a, b")
    assert json.loads(answer["body"]["body"].encode("latin-1")) == {"é": 1}
    assert answer["headers"]["Set-Cookie"] == ["a=1", "b=2"]


def test_a_version_in_the_path_can_be_stripped_from_urls() -> None:
    kept, full = answered(show, numbered({"url": "/v1.0/a"}, {"url": "http://shop.example/v1.0/b?c"}), strip_prefix="/v1.0")

    assert (kept["body"]["path"], full["body"]["path"], full["body"]["query"]) == ("/a", "/b", "c")


def test_what_depends_on_a_failure_is_a_424_and_the_rest_runs() -> None:
    failed, first, second, other = answered(
        show, numbered({"url": "/missing"}, {"dependsOn": ["1"]}, {"depends_on": ["2"]}, {"url": "/text", "dependsOn": []})
    )

    assert [failed["status"], first["status"], second["status"], other["status"]] == [404, 424, 424, 200]
    assert first["body"]["error"]["code"] == "FailedDependency"
    assert first["body"]["error"]["innererror"] == {"code": "dependency-failed", "failed_item": "1"}
    assert second["body"]["error"]["innererror"]["failed_item"] == "2"


def test_what_depends_on_a_success_runs_after_it() -> None:
    ran: list[str] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        ran.append(environ["PATH_INFO"])
        return show(environ, start_response)

    answers = answered(
        app, numbered({"url": "/a"}, {"url": "/b", "dependsOn": ["1"]}, {"url": "/c", "dependsOn": ["2"]}), executor="threads", order="free"
    )

    assert [answer["status"] for answer in answers] == [200, 200, 200]
    assert ran == ["/a", "/b", "/c"]


def test_a_batch_that_is_refused_is_an_error_at_the_top() -> None:
    answer = graph_answer(show, [request(), request()])

    assert answer.status == 400
    assert answer.json()["error"]["target"] == "/requests/1/id"
    assert answer.json()["error"]["innererror"] == {"code": "duplicate-id"}


@pytest.mark.parametrize(("member", "value"), [("atomicityGroup", "g"), ("if", "$1/$succeeded")])
def test_what_only_odata_has_is_refused_and_not_passed_over(member: str, value: str) -> None:
    ran: list[str] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        ran.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return []

    requests = [{"id": "1", "method": "GET", "url": "/a"}, {"id": "2", "method": "GET", "url": "/b", member: value}]

    answer = post(BatchMiddleware(app), {"requests": requests})

    assert (answer.status, answer.json()["error"]["target"], ran) == (400, f"/requests/1/{member}", [])
    assert "odata" in answer.json()["error"]["message"]


@pytest.mark.parametrize("status", ["204 No Content", "205 Reset Content", "304 Not Modified"])
def test_an_answer_that_can_have_no_content_has_no_content_type(status: str) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response(status, [("content-type", "application/json"), ("X-A", "b")])
        return []

    [item] = post(BatchMiddleware(app), {"requests": [{"id": "1", "method": "GET", "url": "/a"}]}).json()["responses"]

    assert item == {"id": "1", "status": int(status[:3]), "headers": {"X-A": "b"}, "body": None}
