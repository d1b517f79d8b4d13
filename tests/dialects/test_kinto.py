import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests import strategies
from tests.apps import IMAGE, mirror, show
from tests.gateway import Answer, Item, post
from wsgibatch import BadBatch, BatchMiddleware, BatchRejected, Group, Head, Settings, SubRequest, SubResponse, TooLarge, TooManyItems
from wsgibatch.dialects.kinto import KintoDialect
from wsgibatch.model import Edge, Fault, Headers

HEAD = Head(path="/v1/batch", mount="", host="h", scheme="http", media_type="application/json", parameters={})
SENT_AS = ("Content-Type", "application/json; charset=utf-8")


def decoded(batch: object, **settings: Any) -> list[SubRequest]:
    body = batch if isinstance(batch, bytes) else json.dumps(batch).encode()
    return KintoDialect().decode(HEAD, body, Settings(**settings)).items


def refused(batch: object, **settings: Any) -> tuple[type[BatchRejected], str]:
    """How a batch is refused, and the place that is told."""
    with pytest.raises(BatchRejected) as caught:
        decoded(batch, **settings)
    return type(caught.value), caught.value.pointer


def batch_of(*requests: object, defaults: object = None) -> Item:
    return {"requests": list(requests)} if defaults is None else {"defaults": defaults, "requests": list(requests)}


def sent(app: Any, *requests: object, **settings: Any) -> Answer:
    return post(BatchMiddleware(app, path="/v1/batch", dialect="kinto", **settings), batch_of(*requests), path="/v1/batch")


def answers(app: Any, *requests: object, **settings: Any) -> list[Item]:
    answer = sent(app, *requests, **settings)
    assert answer.status == 200, answer
    return list(answer.json()["responses"])


# The batch


def test_only_a_path_has_to_be_given() -> None:
    assert decoded(batch_of({"path": "/a?b=c"})) == [SubRequest(0, "GET", "/a?b=c", [])]


def test_a_request_may_say_it_all() -> None:
    batch = batch_of({"path": "/a", "method": "PATCH", "headers": {"If-Match": '"1"', "X-One": ""}, "body": {"data": {}}})

    assert decoded(batch) == [SubRequest(0, "PATCH", "/a", [("If-Match", '"1"'), ("X-One", ""), SENT_AS], b'{"data": {}}')]


def test_a_space_in_a_path_is_taken_as_kinto_takes_it() -> None:
    assert [found["path"] for found in answers(show, {"path": "/a b"})] == ["/a b"]


@pytest.mark.parametrize("method", [None, ""])
def test_a_method_that_says_nothing_is_get(method: object) -> None:
    assert [item.method for item in decoded(batch_of({"path": "/a", "method": method}))] == ["GET"]


@pytest.mark.parametrize("name", ["Content-Type", "content-type"])
def test_a_body_is_sent_as_json_whatever_the_headers_say(name: str) -> None:
    [item] = decoded(batch_of({"path": "/a", "method": "PATCH", "headers": {name: "application/merge-patch+json"}, "body": {"a": 1}}))

    assert item.headers == [SENT_AS]


@pytest.mark.parametrize("body", [b"{}", b"{ }", b"{\r\n\t}"])
def test_an_empty_body_is_none(body: bytes) -> None:
    [item] = decoded(b'{"requests":[{"path":"/a","method":"DELETE","headers":{"Content-Type":"x/y"},"body":' + body + b"}]}")

    assert (item.headers, item.body) == ([("Content-Type", "x/y")], b"")


def test_a_body_is_sent_as_it_was_written() -> None:
    [item] = decoded('{"requests":[{"path":"/a","body": {"a" : 1.50, "b":12345678901234567890123, "ü":"\\u00fc"} }]}'.encode())

    assert item.body == '{"a" : 1.50, "b":12345678901234567890123, "ü":"\\u00fc"}'.encode()


@pytest.mark.parametrize(
    ("batch", "pointer"),
    [
        pytest.param([], "", id="a list"),
        pytest.param({}, "", id="no requests"),
        pytest.param({"requests": {}}, "/requests", id="requests that are no list"),
        pytest.param({"requests": None}, "/requests", id="requests that are null"),
        pytest.param({"requests": [], "more": 1}, "", id="an unknown member of the batch"),
        pytest.param(batch_of({"path": "/a"}, 5), "/requests/1", id="a request that is no object"),
        pytest.param(batch_of({"path": "/a"}, {}), "/requests/1", id="no path"),
        pytest.param(batch_of({"path": None}), "/requests/0/path", id="a path that is null"),
        pytest.param(batch_of({"path": ""}), "/requests/0/path", id="an empty path"),
        pytest.param(batch_of({"path": "a"}), "/requests/0/path", id="a path without a slash"),
        pytest.param(batch_of({"path": "http://h/a"}), "/requests/0/path", id="a whole url"),
        pytest.param(batch_of({"path": "/a", "url": "/b"}), "/requests/0", id="an unknown member of a request"),
        pytest.param(batch_of({"path": "/a", "method": 5}), "/requests/0/method", id="a method that is no text"),
        pytest.param(batch_of({"path": "/a", "headers": None}), "/requests/0/headers", id="headers that are null"),
        pytest.param(batch_of({"path": "/a", "headers": {"A": 1}}), "/requests/0/headers", id="a header that is no text"),
        pytest.param(batch_of({"path": "/a"}, {"path": "/a", "body": None}), "/requests/1/body", id="a body that is null"),
        pytest.param(batch_of({"path": "/a", "body": "{}"}), "/requests/0/body", id="a body that is text"),
        pytest.param(batch_of({"path": "/a", "body": [1]}), "/requests/0/body", id="a body that is a list"),
        pytest.param({"requests": [], "defaults": None}, "/defaults", id="defaults that are null"),
        pytest.param({"requests": [], "defaults": []}, "/defaults", id="defaults that are a list"),
        pytest.param(batch_of(defaults={"path": "a"}), "/defaults/path", id="a path without a slash in the defaults"),
        pytest.param(batch_of(defaults={"more": 1}), "/defaults", id="an unknown member of the defaults"),
        pytest.param(batch_of(defaults={"body": "x"}), "/defaults/body", id="a body that is text in the defaults"),
        pytest.param(batch_of({"body": "x"}, defaults={"path": "/a", "body": {"a": 1}}), "/requests/0/body", id="text to fill an object into"),
        pytest.param(batch_of({"method": "PUT"}, defaults={"method": "GET"}), "/requests/0", id="a path in neither"),
    ],
)
def test_what_is_not_kintos_grammar_is_refused_with_the_place(batch: object, pointer: str) -> None:
    assert refused(batch) == (BadBatch, pointer)


@pytest.mark.parametrize("method", ["get", "OPTIONS", "TRACE", "NONE", "G T"])
def test_what_is_wrong_with_a_method_or_a_path_is_the_matter_of_its_item(method: str) -> None:
    requests = {"path": "/a", "method": method}, {"path": "//elsewhere"}, {"path": "/v1/batch/", "method": "POST"}, {"path": "/b"}
    found = answers(show, *requests, methods=["GET", "POST"])

    assert [answer["status"] for answer in found] == [400 if method == "G T" else 405, 400, 400, 200]


# Defaults: each as it is sent, and as it is when every request is written in full.

IN_FULL = [
    pytest.param({}, {"path": "/a"}, {"path": "/a"}, id="nothing"),
    pytest.param({"path": "/a"}, {}, {"path": "/a"}, id="a path"),
    pytest.param({"path": "/a"}, {"path": "/b"}, {"path": "/b"}, id="a path that the request has"),
    pytest.param({"method": "PUT"}, {"path": "/a"}, {"path": "/a", "method": "PUT"}, id="a method"),
    pytest.param({"method": "PUT"}, {"path": "/a", "method": "HEAD"}, {"path": "/a", "method": "HEAD"}, id="a method that the request has"),
    pytest.param({"method": "PUT"}, {"path": "/a", "method": None}, {"path": "/a"}, id="a method that the request has as null"),
    pytest.param({"headers": {"A": "1"}}, {"path": "/a"}, {"path": "/a", "headers": {"A": "1"}}, id="headers"),
    pytest.param(
        {"headers": {"A": "1", "B": "2"}},
        {"path": "/a", "headers": {"B": "3", "C": "4"}},
        {"path": "/a", "headers": {"B": "3", "C": "4", "A": "1"}},
        id="headers, one by one",
    ),
    pytest.param(
        {"headers": {"If-Match": "1"}},
        {"path": "/a", "headers": {"if-match": "2"}},
        {"path": "/a", "headers": {"if-match": "2"}},
        id="a header in any case",
    ),
    pytest.param({"body": {"a": 1}}, {"path": "/a"}, {"path": "/a", "body": {"a": 1}}, id="a body"),
    pytest.param({"body": {"a": 1}}, {"path": "/a", "body": {}}, {"path": "/a", "body": {"a": 1}}, id="a body for an empty one"),
    pytest.param({"body": {}}, {"path": "/a", "body": {"a": 1}}, {"path": "/a", "body": {"a": 1}}, id="an empty body"),
    pytest.param(
        {"body": {"a": 1, "data": {"x": {"y": 1, "z": 2}, "list": [1], "same": {}}}},
        {"path": "/a", "body": {"data": {"x": {"y": 3}, "list": [], "same": "text"}, "b": None}},
        {"path": "/a", "body": {"data": {"x": {"y": 3, "z": 2}, "list": [], "same": "text"}, "b": None, "a": 1}},
        id="objects in objects",
    ),
    pytest.param(
        {"body": {"a": None, "b": 1, "c": {"d": 1}}},
        {"path": "/a", "body": {"a": {"x": 1}, "b": {"x": 1}, "c": None}},
        {"path": "/a", "body": {"a": {"x": 1}, "b": {"x": 1}, "c": None}},
        id="what is no object on one side",
    ),
]


def as_told(items: list[SubRequest]) -> list[tuple[str, str, Headers, Any]]:
    return [(item.method, item.target, item.headers, item.body and json.loads(item.body)) for item in items]


@pytest.mark.parametrize(("defaults", "request_", "in_full"), IN_FULL)
def test_what_a_request_leaves_out_is_filled_in(defaults: Item, request_: Item, in_full: Item) -> None:
    assert as_told(decoded(batch_of(request_, defaults=defaults))) == as_told(decoded(batch_of(in_full)))


def test_what_is_filled_into_one_request_is_not_seen_by_another() -> None:
    defaults = {"path": "/a", "body": {"data": {"x": {"one": 1}}}}
    items = decoded(
        batch_of({"body": {"data": {"y": 1}}}, {"body": {"data": {"x": {"two": 2}}}}, {}, {"body": {"data": {"x": 3}}}, defaults=defaults)
    )

    assert [json.loads(item.body)["data"] for item in items] == [
        {"y": 1, "x": {"one": 1}},
        {"x": {"two": 2, "one": 1}},
        {"x": {"one": 1}},
        {"x": 3},
    ]


bodies = st.dictionaries(st.sampled_from("abc"), strategies.json_values | st.dictionaries(st.sampled_from("abc"), strategies.json_values), max_size=3)


def filled(own: Any, default: Any) -> Any:
    """The rule in its plainest words."""
    if isinstance(own, dict) and isinstance(default, dict):
        return {**default, **{name: filled(value, default.get(name)) for name, value in own.items()}}
    return own


@given(bodies, bodies)
def test_any_body_is_filled_by_the_plain_rule(own: Item, default: Item) -> None:
    [item] = decoded(batch_of({"body": own}, defaults={"path": "/a", "body": default}))

    assert json.loads(item.body or b"{}") == filled(own, default)


def test_numbers_keep_their_last_digit_when_they_are_filled_in() -> None:
    [item] = decoded(b'{"defaults":{"path":"/a","body":{"a":1.50,"b":1E400}},"requests":[{"body":{"c":0.10,"d":12345678901234567890123}}]}')

    assert item.body == b'{"c":0.10,"d":12345678901234567890123,"a":1.50,"b":1E400}'


@pytest.mark.parametrize(
    ("defaults", "request_", "pointer"),
    [
        (b'{"a":1}', b'{"b":' + b"9" * 5000 + b"}", "/requests/0/body"),
        (b'{"b":' + b"9" * 5000 + b"}", b'{"a":1}', "/defaults/body"),
    ],
)
def test_what_cannot_be_read_for_filling_is_refused_with_the_place(defaults: bytes, request_: bytes, pointer: str) -> None:
    batch = b'{"defaults":{"path":"/a","body":' + defaults + b'},"requests":[{"body":' + request_ + b"}]}"

    assert refused(batch) == (BadBatch, pointer)


@pytest.mark.parametrize("depth", [*range(900, 1010, 3), 9_990, 10_010, 100_000])
def test_objects_of_any_depth_are_filled_or_refused(depth: int) -> None:
    deep = b'{"a":' * depth + b'{"%s":1}' + b"}" * depth
    batch = b'{"defaults":{"path":"/a","body":' + deep % b"x" + b'},"requests":[{"body":' + deep % b"y" + b"}]}"

    try:
        [item] = decoded(batch)
    except BadBatch as error:
        assert "too deep" in error.detail
    else:
        assert item.body == deep.replace(b"%s", b'y":1,"x')


# Limits


def test_a_batch_holds_as_many_requests_as_kintos_does() -> None:
    assert len(decoded(batch_of(*[{"path": "/a"}] * 25))) == 25
    assert refused(batch_of(*[{"path": "/a"}] * 26)) == (TooManyItems, "/requests")
    assert len(decoded(batch_of(*[{"path": "/a"}] * 26), max_requests=26)) == 26


DOUBLED = batch_of({}, {}, defaults={"path": "/a", "headers": {"A": "1"}, "body": {"a": "x" * 400}})
# "/a", "A", "1", a Content-Type and the body, twice.
IN_ALL = 2 * (2 + 2 + sum(map(len, SENT_AS)) + len('{"a": ""}') + 400)


def test_what_counts_is_the_size_of_the_batch_written_in_full() -> None:
    assert len(json.dumps(DOUBLED)) < IN_ALL
    assert len(decoded(DOUBLED, max_body=IN_ALL)) == 2
    assert refused(DOUBLED, max_body=IN_ALL - 1) == (TooLarge, "/requests/1")


def test_a_body_that_is_filled_in_counts_as_well() -> None:
    batch = batch_of(*[{"body": {"b": 1}}] * 4, defaults={"path": "/a", "body": {"a": "x" * 400_000}})

    assert refused(batch) == (TooLarge, "/requests/2")


def test_a_batch_that_is_too_large_in_full_is_refused_and_nothing_runs() -> None:
    answer = post(BatchMiddleware(never, dialect="kinto", max_body=IN_ALL - 1), DOUBLED)

    assert answer.status == 413
    assert answer.json()["details"][0]["limit"] == IN_ALL - 1


def test_an_item_has_the_size_of_its_body_filled_in() -> None:
    batch = batch_of({"body": {"b": "y" * 60}}, defaults={"path": "/a", "body": {"a": "x" * 60}})

    answer = post(BatchMiddleware(never, dialect="kinto", max_item_body=100), batch)

    assert answer.status == 413
    assert answer.json()["message"].startswith("requests.0.body in body: At most 100 bytes")


def test_a_path_that_is_too_long_is_told_by_its_name() -> None:
    answer = sent(never, {"path": "/" + "a" * 9000})

    assert (answer.status, answer.json()["details"][0]["name"]) == (413, "requests.0.path")


def never(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    raise AssertionError("an item of a batch that is refused has run")


# The answer


def test_an_answer_has_a_status_a_path_headers_and_a_body() -> None:
    [found] = answers(show, {"path": "/a%20b/%C3%BC?c=%20d", "method": "POST", "body": {"x": 1}})

    assert list(found) == ["status", "path", "headers", "body"]
    assert (found["status"], found["path"]) == (200, "/a b/ü")
    assert found["headers"]["Content-Type"] == "application/json"
    assert (found["body"]["query"], found["body"]["body"], found["body"]["type"]) == ("c=%20d", '{"x": 1}', SENT_AS[1])


def test_the_path_is_where_the_request_was_sent() -> None:
    paths = ["/a", "/v1/b", "/v1", "/v10/c", "/%76%31/d"]

    found = answers(show, *({"path": path} for path in paths), add_prefix="/v1")

    assert [answer["path"] for answer in found] == ["/v1/a", "/v1/b", "/v1", "/v1/v10/c", "/v1/v1/d"]
    assert [answer["body"]["path"] for answer in found] == [answer["path"] for answer in found]


def test_below_a_mount_point_the_path_is_the_whole_one() -> None:
    app = BatchMiddleware(show, path="/batch", dialect="kinto", add_prefix="/srv/v1")

    answer = post(app, batch_of({"path": "/%61"}), SCRIPT_NAME="/srv")

    [found] = answer.json()["responses"]
    assert (found["path"], found["body"]["path"]) == ("/srv/v1/a", "/v1/a")


def test_the_path_of_a_request_that_is_refused_is_the_one_that_was_written() -> None:
    assert [found["path"] for found in answers(show, {"path": "//a%20b?c"}, {"path": "/%zz"})] == ["//a b", "/%zz"]


def with_status(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers with nothing, and the status and the content type that the path says."""
    _, status, kind = environ["PATH_INFO"].split("/")
    start_response(f"{status} Told", [("Content-Type", f"application/{kind}")] if kind else [])
    return [b"true"] if environ["REQUEST_METHOD"] == "HEAD" else []


@pytest.mark.parametrize("path", ["/200/", "/200/json", "/200/png", "/204/", "/304/json", "/404/", "/500/json"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_empty_is_an_object_since_clients_look_into_it(path: str, method: str) -> None:
    [found] = answers(with_status, {"path": path, "method": method})

    assert found["body"] == {}


@pytest.mark.parametrize(("path", "method", "length"), [("/200/json", "GET", "0"), ("/200/json", "HEAD", None), ("/304/json", "GET", None)])
def test_only_what_could_have_a_body_is_told_to_be_empty(path: str, method: str, length: str | None) -> None:
    [found] = answers(with_status, {"path": path, "method": method})

    assert found["headers"].get("Content-Length") == length


def test_text_is_a_string_and_what_is_no_text_base64() -> None:
    text, image = answers(show, {"path": "/text"}, {"path": "/bin"})

    assert text["body"] == "grüße"
    assert len(image["body"]) == 344
    assert KintoDialect().read([], json.dumps({"responses": [image]}).encode(), [SubRequest(0, "GET", "/bin", [])])[0].body == IMAGE


def telling(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    _, status, group, name = environ["PATH_INFO"].split("/")
    start_response(f"{status} Told", [("Content-Type", f"{group}/{name}")])
    return [b'"it failed"']


@pytest.mark.parametrize("status", [301, 404, 499, 500])
@pytest.mark.parametrize(("kind", "message"), [("text/html", '"it failed"'), ("image/png", "Iml0IGZhaWxlZCI=")])
def test_an_error_or_a_redirect_that_is_no_json_is_told_in_an_object_since_clients_look_into_it(status: int, kind: str, message: str) -> None:
    answer = sent(telling, {"path": f"/{status}/{kind}"})

    [found] = answer.json()["responses"]
    assert (found["body"]["code"], found["body"]["message"], found["body"]["details"]) == (status, message, [])
    assert found["headers"]["Content-Type"] == kind
    assert [read.body for read in KintoDialect().read([], answer.body, [SubRequest(0, "GET", "/a", [])])] == [b'"it failed"']


def test_an_error_in_json_is_told_as_it_is() -> None:
    [found] = answers(telling, {"path": "/404/application/json"})

    assert found["body"] == "it failed"


def test_cookies_keep_every_value_and_names_have_capitals() -> None:
    [found] = answers(mirror, {"path": "/a", "headers": {"X-Echo": "z"}})

    assert (found["headers"]["Set-Cookie"], found["headers"]["X-Echo"]) == (["a=1", "b=2"], "z")


def test_items_inherit_the_headers_of_the_batch_and_their_own_stand_before_them() -> None:
    app = BatchMiddleware(show, dialect="kinto")
    batch = batch_of({"path": "/a"}, {"path": "/a", "headers": {"authorization": "Bearer y"}})

    found = post(app, batch, HTTP_AUTHORIZATION="Basic x").json()["responses"]

    assert [answer["body"]["headers"]["HTTP_AUTHORIZATION"] for answer in found] == ["Basic x", "Bearer y"]


def hinting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("backoff", environ["PATH_INFO"][1:]), ("Alert", "{}"), ("Retry-After", "7"), ("X-Other", "1"), ("Set-Cookie", "a=1")])
    return []


def test_what_a_server_tells_all_its_clients_is_told_with_the_whole_answer() -> None:
    answer = sent(hinting, {"path": "/10"}, {"path": "/20"})

    assert [value for name, value in answer.headers if name == "Backoff"] == ["10"]
    assert (answer.header("Alert"), answer.header("Retry-After"), answer.header("X-Other"), answer.header("Set-Cookie")) == ("{}", None, None, None)


# Errors, as Kinto's clients read them


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            BadBatch("A reason.", "/requests/0/path"),
            {
                "code": 400,
                "errno": 107,
                "error": "Invalid parameters",
                "message": "requests.0.path in body: A reason.",
                "details": [{"location": "body", "name": "requests.0.path", "description": "A reason.", "code": "bad-batch"}],
            },
        ),
        (
            TooLarge(7),
            {
                "code": 413,
                "errno": 113,
                "message": "At most 7 bytes are accepted here: send less, or split the batch.",
                "details": [
                    {
                        "location": "body",
                        "name": "",
                        "description": "At most 7 bytes are accepted here: send less, or split the batch.",
                        "code": "too-large",
                        "limit": 7,
                    }
                ],
            },
        ),
    ],
)
def test_a_batch_is_refused_with_an_error_of_kintos(error: BatchRejected, expected: Item) -> None:
    status, headers, body = KintoDialect().refusal(HEAD, error)

    document = json.loads(body)
    assert (status, dict(headers)["Content-Type"]) == (error.status, "application/json")
    assert {**document, **expected} == document
    assert set(document) == {"code", "errno", "error", "message", "details"}


def test_a_batch_of_too_many_requests_is_told_how_many_it_may_hold() -> None:
    answer = sent(never, *[{"path": "/a"}] * 26)

    document = answer.json()
    assert (answer.status, document["errno"], document["details"][0]["limit"]) == (413, 113, 25)
    assert "at most 25 are accepted" in document["message"]


@pytest.mark.parametrize(
    ("request_", "status", "number", "code"),
    [
        ({"path": "//a"}, 400, 107, "bad-url"),
        ({"path": "/a", "method": "COPY"}, 405, 115, "method-not-allowed"),
        ({"path": "/secret"}, 403, 121, "path-not-allowed"),
        ({"path": "/v1/batch", "method": "POST"}, 400, 107, "nested-batch"),
        ({"path": "/raise"}, 500, 999, "app-failed"),
    ],
)
def test_an_item_that_is_refused_or_fails_is_an_error_of_kintos(request_: Item, status: int, number: int, code: str) -> None:
    [found] = answers(show, request_, deny_paths=["/secret"])

    body = found["body"]
    assert (found["status"], found["headers"]["Content-Type"]) == (status, "application/json")
    assert (body["code"], body["errno"], body["details"][0]["code"]) == (status, number, code)
    assert body["message"] == body["details"][0]["description"]


def test_an_error_of_our_own_that_kinto_has_no_number_for_says_so() -> None:
    _, body = KintoDialect().failure(Fault(424, "a-code", "A reason.", (("more", 1),)))

    assert json.loads(body) == {
        "code": 424,
        "errno": 999,
        "error": "Failed Dependency",
        "message": "A reason.",
        "details": [{"description": "A reason.", "code": "a-code", "more": 1}],
    }


# One transaction


class Store:
    """An app that keeps the paths that were asked for, and answers with the status that the path says; a transaction takes them back."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.told: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        self.ran.append(path)
        if path == "/raise":
            raise ValueError("a secret")
        status, _, kind = path[1:].partition("/")
        types = {"": "application/json", "zip": "application/zip", "text": "text/plain"}
        headers = [("Content-Type", types.get(kind, types[""])), ("Retry-After", "5"), ("Backoff", "30"), ("X-Other", "1")]
        start_response(f"{status} Told", headers)
        return [json.dumps({"told": path}).encode()]

    @contextlib.contextmanager
    def atomic(self) -> Iterator[Group]:
        before = list(self.ran)
        try:
            yield Group()
            if "/200/uncommitted" in self.ran:
                raise OSError("no commit")
        except BaseException:
            self.ran[:] = before
            self.told.append("rollback")
            raise
        self.told.append("commit")


@pytest.fixture
def store() -> Store:
    return Store()


def paths(*found: str) -> list[Item]:
    return [{"path": path, "method": "POST"} for path in found]


def test_a_whole_batch_is_one_transaction(store: Store) -> None:
    found = answers(store, *paths("/201", "/200", "/302"), atomic=store.atomic)

    assert [answer["status"] for answer in found] == [201, 200, 302]
    assert (store.ran, store.told) == (["/201", "/200", "/302"], ["commit"])


@pytest.mark.parametrize("one", ["/400", "/404", "/409", "/499"])
def test_an_error_of_the_client_undoes_nothing(store: Store, one: str) -> None:
    found = answers(store, *paths("/201", one, "/200"), {"path": "//elsewhere"}, {"path": "/a", "method": "COPY"}, atomic=store.atomic)

    assert [answer["status"] for answer in found] == [201, int(one[1:]), 200, 400, 405]
    assert (store.ran, store.told) == (["/201", one, "/200"], ["commit"])


@pytest.mark.parametrize("one", ["/500", "/503", "/599"])
def test_an_error_of_the_server_undoes_all_and_is_the_answer_to_the_batch(store: Store, one: str) -> None:
    answer = sent(store, *paths("/201", one, "/200"), atomic=store.atomic)

    assert (answer.status, answer.json()) == (int(one[1:]), {"told": one})
    assert (answer.header("Content-Type"), answer.header("Content-Length")) == ("application/json", str(len(answer.body)))
    assert (store.ran, store.told) == ([], ["rollback"])


def test_when_to_try_again_is_told_with_it(store: Store) -> None:
    answer = sent(store, *paths("/503"), atomic=store.atomic)

    assert (answer.header("Retry-After"), answer.header("Backoff"), answer.header("X-Other")) == ("5", "30", None)


@pytest.mark.parametrize(("path", "status", "text"), [("/500/text", 500, '{"told": "/500/text"}'), ("/599/zip", 599, "Told")])
def test_an_error_that_is_no_json_is_told_in_kintos_form_with_the_request_that_failed(store: Store, path: str, status: int, text: str) -> None:
    answer = sent(store, *paths("/201", "/200", path, "/500"), atomic=store.atomic)

    told = answer.json()
    assert (answer.status, told["code"]) == (status, status)
    assert told["message"] == f"Nothing is left of this batch, since requests.2, POST {path}, failed."
    assert told["details"] == [{"location": "body", "name": "requests.2", "description": text}]


@pytest.mark.parametrize(("path", "code"), [("/raise", "app-failed"), ("/200/uncommitted", "group-commit-failed")])
def test_what_is_raised_in_the_app_or_at_the_commit_undoes_all(store: Store, path: str, code: str) -> None:
    answer = sent(store, *paths("/201", path), atomic=store.atomic)

    assert (answer.status, answer.json()["errno"], answer.json()["details"][0]["code"]) == (500, 999, code)
    assert (store.ran, store.told) == ([], ["rollback"])


def test_without_a_transaction_an_error_of_the_server_stands_among_the_answers(store: Store) -> None:
    found = answers(store, *paths("/201", "/500", "/200"))

    assert [answer["status"] for answer in found] == [201, 500, 200]
    assert store.ran == ["/201", "/500", "/200"]


def test_a_batch_that_is_only_stopped_is_answered_with_what_has_happened(store: Store) -> None:
    found = answers(store, *paths("/404", "/500", "/200"), atomic="stop")

    assert [answer["status"] for answer in found] == [404, 500, 424]
    assert store.ran == ["/404", "/500"]


def test_an_empty_batch_begins_no_transaction(store: Store) -> None:
    assert answers(store, atomic=store.atomic) == []
    assert store.told == []


# The client's half


@pytest.mark.parametrize(
    "request_",
    [
        SubRequest(0, "GET", "a", []),
        SubRequest(0, "GET", "http://h/a", []),
        SubRequest(0, "PUT", "/a", [], b"{}"),
        SubRequest(0, "PUT", "/a", [], b'{"a":1}'),
        SubRequest(0, "PUT", "/a", [("Content-Type", "text/plain")], b'{"a":1}'),
        SubRequest(0, "PUT", "/a", [("Content-Type", "application/merge-patch+json")], b'{"a":1}'),
        SubRequest(0, "PUT", "/a", [("Content-Type", "application/json")], b" { } "),
        SubRequest(0, "PUT", "/a", [("Content-Type", "application/json")], b"[1]"),
        SubRequest(0, "PUT", "/a", [("Content-Type", "application/json")], b'{"a":'),
        SubRequest(0, "GET", "/a", [], group="g"),
        SubRequest(1, "GET", "/a", [], after=(Edge(0),)),
    ],
)
def test_what_the_dialect_cannot_say_is_not_written(request_: SubRequest) -> None:
    with pytest.raises(ValueError, match="."):
        KintoDialect().write([request_])


def test_what_is_written_is_decoded_to_the_same() -> None:
    requests = [
        SubRequest(0, "PATCH", "/a?b=%20", [("X-One", "1"), ("Content-Type", "application/json")], b'{"a": 1.50}'),
        SubRequest(1, "DELETE", "/a", []),
    ]

    _, body = KintoDialect().write(requests)

    assert decoded(body) == [replace(requests[0], headers=[("X-One", "1"), SENT_AS]), requests[1]]


@pytest.mark.parametrize(
    ("method", "written", "body"),
    [
        ("GET", {"status": 200, "headers": {"Content-Type": "application/json"}, "body": {}}, b"{}"),
        ("GET", {"status": 200, "headers": {"Content-Type": "application/json", "Content-Length": "0"}, "body": {}}, b""),
        ("GET", {"status": 200, "headers": {"Content-Type": "application/json"}, "body": None}, b"null"),
        ("GET", {"status": 200, "headers": {"Content-Type": "text/plain"}, "body": {}}, b""),
        ("GET", {"status": 200, "headers": {}, "body": {}}, b""),
        ("GET", {"status": 304, "headers": {"Content-Type": "application/json", "Content-Length": "5"}, "body": {}}, b""),
        ("HEAD", {"status": 200, "headers": {"Content-Type": "application/json", "Content-Length": "5"}, "body": ""}, b""),
    ],
)
def test_an_empty_body_is_told_from_an_object_without_members(method: str, written: Item, body: bytes) -> None:
    text = json.dumps({"responses": [{"path": "/a", **written}]}).encode()

    assert [answer.body for answer in KintoDialect().read([], text, [SubRequest(0, method, "/a", [])])] == [body]


@pytest.mark.parametrize("body", [b"{}", b"null", b"[]", b'"text"', b"1"])
def test_any_json_is_read_as_the_app_wrote_it(body: bytes) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "application/json")])
        return [body]

    answer = sent(app, {"path": "/a"})

    assert [found.body for found in KintoDialect().read(answer.headers, answer.body, [SubRequest(0, "GET", "/a", [])])] == [body]


def test_an_error_for_the_whole_batch_is_no_answer_to_its_requests() -> None:
    answer = sent(show, {"path": "a"})

    with pytest.raises(ValueError, match="responses"):
        KintoDialect().read(answer.headers, answer.body, [SubRequest(0, "GET", "/a", [])])


def test_what_is_answered_is_what_is_read() -> None:
    answer = sent(show, {"path": "/text"}, {"path": "/empty"})

    read = KintoDialect().read(answer.headers, answer.body, [SubRequest(0, "GET", "/text", []), SubRequest(1, "GET", "/empty", [])])

    assert read == [
        SubResponse(200, "", [("Content-Type", "text/plain; charset=utf-8")], "grüße".encode(), "text"),
        SubResponse(204, "", [], b"", "json"),
    ]
