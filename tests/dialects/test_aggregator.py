import base64
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.apps import IMAGE, show
from tests.gateway import environ_of, post, send
from wsgibatch import BadBatch, BatchMiddleware, Head, Settings, SubRequest, TooManyItems
from wsgibatch.dialects.aggregator import AggregatorDialect
from wsgibatch.model import Edge, Late

HEAD = Head(path="/batch", mount="", host="h", scheme="http", media_type="application/json", parameters={})


def aggregated(routes: object, **changes: Any) -> Any:
    answer = post(BatchMiddleware(show, dialect="aggregator"), routes, **changes)
    assert answer.status == 200
    return answer.json()


def test_a_batch_is_a_list_of_routes_to_get() -> None:
    items = AggregatorDialect().decode(HEAD, b'["/a?b=c", "d"]', Settings()).items

    assert [(item.index, item.method, item.target, item.headers, item.body) for item in items] == [
        (0, "GET", "/a?b=c", [], b""),
        (1, "GET", "d", [], b""),
    ]


@pytest.mark.parametrize("batch", [{}, {"/a": 1}, "text", 5, None, [5], [None], ["/a", 5], [["/a"]], [{"url": "/a", "method": "GET"}]])
def test_anything_else_is_refused(batch: object) -> None:
    with pytest.raises(BadBatch):
        AggregatorDialect().decode(HEAD, json.dumps(batch).encode(), Settings())


def test_answers_are_members_named_as_the_routes_were_sent() -> None:
    answered = aggregated(["/a?b=c", "relative", "/missing"])

    assert list(answered) == ["/a?b=c", "relative", "/missing"]
    assert (answered["/a?b=c"]["path"], answered["/a?b=c"]["query"]) == ("/a", "b=c")
    assert answered["relative"]["path"] == "/relative"
    assert answered["/missing"]["path"] == "/missing"


def test_json_is_embedded_text_is_a_string_and_the_rest_is_base64() -> None:
    answered = aggregated(["/a", "/text", "/bin", "/empty"])

    assert answered["/a"]["method"] == "GET"
    assert answered["/text"] == "grüße"
    assert base64.b64decode(answered["/bin"]) == IMAGE
    assert answered["/empty"] == ""


def test_an_error_stands_where_the_answer_would() -> None:
    answered = aggregated(["/raise", "//", "/a"])

    assert "secret" not in json.dumps(answered)
    assert answered["/raise"]["code"] == "app-failed"
    assert answered["//"]["code"] == "bad-url"
    assert answered["/a"]["path"] == "/a"


@pytest.mark.parametrize("route", ['/"}', '/","x":"', "/\\", "/\n", "/\u2028", "/</script>", "/ü", "", "/\x00"])
def test_a_route_cannot_break_out_of_its_name(route: str) -> None:
    answered = aggregated(["/a", route, "/b"])

    assert list(answered) == ["/a", route, "/b"]


@given(st.lists(st.text(max_size=10), max_size=20, unique=True))
def test_any_routes_are_the_names_of_the_members(routes: list[str]) -> None:
    assert list(aggregated(routes)) == routes


def test_a_route_that_is_sent_twice_runs_once_and_is_answered_once() -> None:
    ran: list[str] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        ran.append(environ["PATH_INFO"])
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b"1"]

    answer = post(BatchMiddleware(app, dialect="aggregator"), ["/a", "/b", "/a"])

    assert (answer.body, ran) == (b'{"/a":1,"/b":1}', ["/a", "/b"])


def test_a_route_that_is_sent_twice_counts_twice() -> None:
    with pytest.raises(TooManyItems) as caught:
        AggregatorDialect().decode(HEAD, json.dumps(["/a"] * 21).encode(), Settings())

    assert caught.value.limit == 20


def test_no_routes_are_answered_by_no_members() -> None:
    assert aggregated([]) == {}


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/json"])
def test_the_types_that_its_clients_send_are_taken_where_it_is_configured_by_name(content_type: str | None) -> None:
    assert aggregated(["/text"], CONTENT_TYPE=content_type) == {"/text": "grüße"}


def test_other_types_are_refused() -> None:
    assert send(BatchMiddleware(show, dialect="aggregator"), environ_of(b"[]", CONTENT_TYPE="application/xml")).status == 415


@pytest.mark.parametrize(
    "request_",
    [
        SubRequest(0, "POST", "/a", []),
        SubRequest(0, "GET", "/a", [("X-A", "1")]),
        SubRequest(0, "GET", "/a", [], b"x"),
        SubRequest(0, "GET", "/a", [], after=(Edge(0),)),
        SubRequest(0, "GET", "/a", [], group="g"),
        SubRequest(0, "GET", "/a", [], late=Late()),
    ],
)
def test_what_the_dialect_cannot_say_is_not_written(request_: SubRequest) -> None:
    with pytest.raises(ValueError, match="no way to say"):
        AggregatorDialect().write([request_])
