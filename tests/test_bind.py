"""References to earlier answers, through the whole middleware."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.executors.members import every_executor_here
from tests.gateway import Item, post, problem, shown
from tests.prepared import Prepared, request, run
from wsgibatch import BatchMiddleware, SubRequest, _bind
from wsgibatch._body import Part, Spool
from wsgibatch.model import Edge, Late, Reference

ENTITY, ETAG = Reference(0, "entity"), Reference(0, "etag")


def value(*path: str) -> Reference:
    return Reference(0, "value", path)


def literal(*path: str) -> Reference:
    return Reference(0, "literal", path)


def found(query: str) -> Reference:
    return Reference(0, "found", (query,))


def text(query: str) -> Reference:
    return Reference(0, "text", (query,))


class Maker:
    """Answers ``/make`` with the headers and body it is given, and everything else with what it was asked."""

    def __init__(self, body: object = None, **headers: str) -> None:
        self.headers = [(name.replace("_", "-"), value) for name, value in headers.items()]
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if environ["PATH_INFO"].endswith("/make"):
            start_response("201 Created", [("Content-Type", "application/json"), *self.headers])
            return [self.body]
        told = {key: value for key, value in environ.items() if isinstance(value, str)} | {"body": body.decode()}
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(told).encode()]


def late(made: Maker, late: Late, method: str = "POST", made_at: str = "/shop/make", **settings: Any) -> Item:
    """What an item with *late* was answered, whose references are all to an item that *made* has answered."""
    items = [request(0, made_at, method=method), request(1, "/late", (Edge(0),), method="POST", body=b"null", late=late)]
    return run(made, items, **settings)[1]


def url(made: Maker, *pieces: str | Reference, **settings: Any) -> str:
    """Path and query of an item whose url is *pieces*."""
    told = shown(late(made, Late(target=pieces), **settings))
    return str(told["PATH_INFO"]) + ("?" + str(told["QUERY_STRING"]) if told["QUERY_STRING"] else "")


def why(item: Item) -> tuple[int, str]:
    return item["status_code"], problem(item).get("code", "ran")


MISSING = (424, "reference-missing")


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/people/1", "/people/1"),
        ("/people/1#top", "/people/1"),
        ("/people/Zo%C3%AB", "/people/Zo\xc3\xab"),
        ("http://shop.example/people/1", "/people/1"),
        ("https://shop.example/people/1", "/people/1"),
        ("http://shop.example:80/people/1", "/people/1"),
        ("people/1", "/shop/people/1"),
        ("../people/1", "/people/1"),
        ("made(1)", "/shop/made(1)"),
        ("/people?id=1", "/people?id=1"),
    ],
)
def test_an_entity_is_the_path_of_its_location(location: str, path: str) -> None:
    assert url(Maker(Location=location), ENTITY) == path


def test_what_follows_an_entity_is_kept() -> None:
    assert url(Maker(Location="/people/1"), ENTITY, "/orders?$top=1") == "/people/1/orders?$top=1"


def test_a_slash_at_the_end_of_an_entity_is_not_doubled() -> None:
    assert url(Maker(Location="/people/1/"), ENTITY, "/orders") == "/people/1/orders"
    assert url(Maker(Location="/people/1/"), ENTITY, "?a=b") == "/people/1/?a=b"


def test_an_entity_id_stands_in_for_a_location() -> None:
    assert url(Maker(OData_EntityId="http://shop.example/people(1)"), ENTITY) == "/people(1)"


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH"])
def test_without_a_location_the_path_of_the_request_stands_for_what_it_returned(method: str) -> None:
    told = shown(late(Maker(), Late(target=(ENTITY, "/orders")), method=method, made_at="/shop/make?a=b"))
    assert (told["PATH_INFO"], told["QUERY_STRING"]) == ("/shop/make/orders", "")


def test_the_path_of_a_collection_never_stands_for_what_was_made_in_it() -> None:
    assert why(late(Maker(), Late(target=(ENTITY,)))) == MISSING


@pytest.mark.parametrize(
    "location",
    [
        "http://evil.example/people/1",
        "http://shop.example:81/people/1",
        "http://shop.example@evil.example/",
        "//evil.example/people/1",
        "/\\evil.example/people/1",
        "javascript:alert(1)",
        "ftp://shop.example/1",
        "http://[/x",
        "//[x",
        "http://[::1",
        "/people/\xff",
        "/a b",
        "/a\tb",
    ],
)
def test_a_location_that_leaves_the_host_or_is_none_is_not_followed(location: str) -> None:
    assert why(late(Maker(Location=location), Late(target=(ENTITY,)))) == MISSING


def test_a_location_with_a_query_is_followed_by_nothing() -> None:
    assert why(late(Maker(Location="/people?id=1"), Late(target=(ENTITY, "/orders")))) == MISSING


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("/batch", "nested-batch"),
        ("/x/../batch", "nested-batch"),
        ("/%62atch", "nested-batch"),
        ("/BATCH/", "nested-batch"),
        ("/admin/1", "path-not-allowed"),
        ("/%61dmin/1", "path-not-allowed"),
        ("/x/%2e%2e/admin", "path-not-allowed"),
        ("/a%00", "bad-url"),
        ("/a%zz", "bad-url"),
    ],
)
def test_where_a_reference_leads_is_vetted_as_any_url(location: str, code: str) -> None:
    item = late(Maker(Location=location), Late(target=(ENTITY,)), deny_paths="/admin")

    assert problem(item)["code"] == code


def test_prefixes_hold_for_references_too() -> None:
    assert url(Maker(Location="/v1/people/1"), ENTITY, strip_prefix="/v1") == "/people/1"


def test_an_entity_below_the_mount_point_is_found_there() -> None:
    items = [request(0, "/site/make", method="POST"), request(1, "/late", (Edge(0),), late=Late(target=(ENTITY,)))]

    answer = post(BatchMiddleware(Maker(Location="/site/people/1"), dialect=Prepared(items)), [], SCRIPT_NAME="/site")

    assert shown(answer.items[1])["PATH_INFO"] == "/people/1"


def test_an_entity_outside_the_mount_point_is_not_found() -> None:
    items = [request(0, "/site/make", method="POST"), request(1, "/late", (Edge(0),), late=Late(target=(ENTITY,)))]

    answer = post(BatchMiddleware(Maker(Location="/people/1"), dialect=Prepared(items)), [], SCRIPT_NAME="/site")

    assert answer.codes[1] == "outside-mount"


@pytest.mark.parametrize(
    ("found", "segment"),
    [("bob", "bob"), ("a\\b?c&d#e%", "a%5Cb%3Fc%26d%23e%25"), ("Zoë", "Zo%C3%AB"), (7, "7"), (1.5, "1.5"), (True, "true"), ("\r\n", "%0D%0A")],
)
def test_a_value_fills_one_segment_of_a_url(found: object, segment: str) -> None:
    made = Maker({"people": [{"name": found}]})

    told = shown(late(made, Late(target=("/hello/", value("people", "0", "name"), "?q=", value("people", "0", "name")))))

    assert told["QUERY_STRING"] == "q=" + segment
    assert told["PATH_INFO"].encode("latin-1").decode() == f"/hello/{json.dumps(found).strip(chr(34)) if not isinstance(found, str) else found}"


@pytest.mark.parametrize(("found", "written"), [("B'1", "%27B%27%271%27"), (7, "7"), (None, "null"), (False, "false")])
def test_a_literal_is_written_as_an_expression_of_odata_has_it(found: object, written: str) -> None:
    told = shown(late(Maker({"a": found}), Late(target=("/x?$filter=b%20eq%20", literal("a")))))

    assert told["QUERY_STRING"] == "$filter=b%20eq%20" + written


@pytest.mark.parametrize("found", [None, [1], {"b": 1}])
def test_what_is_no_single_value_has_no_place_in_a_url(found: object) -> None:
    assert why(late(Maker({"a": found}), Late(target=("/x/", value("a"))))) == MISSING


@pytest.mark.parametrize("path", [("b",), ("a", "b"), ("a", "0"), ("list", "1"), ("list", "-1"), ("list", "00"), ("list", "x"), ("list", "length")])
def test_what_is_not_in_the_answer_is_missing(path: tuple[str, ...]) -> None:
    assert why(late(Maker({"a": 1, "list": [1]}), Late(body=(value(*path),)))) == MISSING


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": "\xff"}', b"[" * 100_000, b'"text"', b"5", b'{"a":1}x'])
def test_an_answer_that_is_no_json_object_or_list_holds_nothing(body: bytes) -> None:
    assert why(late(Maker(body), Late(body=(value("a"),)))) == MISSING


def test_an_answer_that_is_no_json_holds_nothing() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b'{"a": 1}']

    assert why(run(app, [request(0), request(1, after=(Edge(0),), late=Late(body=(value("a"),)))])[1]) == MISSING


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
    )
)
def test_a_value_of_any_type_fills_a_json_value(found: object) -> None:
    told = shown(late(Maker({"a": found}), Late(body=(b'{"b": [', value("a"), b"]}"))))

    assert json.loads(told["body"]) == {"b": [found]}
    assert told["CONTENT_LENGTH"] == str(len(told["body"].encode()))


def test_a_number_keeps_its_digits() -> None:
    told = shown(late(Maker(b'{"a": 12345678901234567890123.4500}'), Late(body=(value("a"),))))

    assert told["body"] == "12345678901234567890123.4500"


def test_a_member_given_twice_counts_as_given_last() -> None:
    assert shown(late(Maker(b'{"a": 1, "a": 2}'), Late(body=(value("a"),))))["body"] == "2"


def test_an_etag_fills_a_header() -> None:
    told = shown(late(Maker(ETag='W/"1"'), Late(headers=(("If-Match", ETAG),))))

    assert told["HTTP_IF_MATCH"] == 'W/"1"'


def test_an_answer_without_an_etag_has_none_to_refer_to() -> None:
    assert why(late(Maker(), Late(headers=(("If-Match", ETAG),)))) == MISSING


def test_a_value_fills_a_header() -> None:
    assert shown(late(Maker({"a": "x y"}), Late(headers=(("X-A", value("a")),))))["HTTP_X_A"] == "x y"


@pytest.mark.parametrize("found", ["a\r\nX-Evil: 1", "a\0", "\u20ac", "\x7f"])
def test_a_value_that_cannot_stand_in_a_header_is_not_put_there(found: str) -> None:
    assert why(late(Maker({"a": found}), Late(headers=(("X-A", value("a")),)))) == MISSING


@pytest.mark.parametrize("name", ["Host", "X-Forwarded-For", "Cookie", "Remote-User", "X_A"])
def test_a_header_that_an_item_may_not_set_is_not_set_by_a_reference(name: str) -> None:
    told = shown(late(Maker({"a": "evil"}), Late(headers=((name, value("a")),))))

    assert "evil" not in json.dumps(told)


def test_a_url_that_grows_too_long_is_refused() -> None:
    assert why(late(Maker({"a": "x" * 5_000}), Late(target=("/", value("a"), value("a"))))) == (413, "too-large")


def test_a_body_that_grows_beyond_what_a_batch_may_have_is_refused() -> None:
    grown = Late(body=(b"[", *(value("a"), b",") * 20, b"1]"))

    assert why(late(Maker({"a": "x" * 60_000}), grown)) == (413, "too-large")
    assert why(late(Maker({"a": "x" * 6_000}), grown, max_item_body=100_000)) == (413, "too-large")
    assert late(Maker({"a": "x" * 6_000}), grown)["status_code"] == 200


def test_the_headers_of_an_item_grow_no_larger_than_they_may_be() -> None:
    made = Maker({"a": "x" * 20_000})

    assert late(made, Late(headers=tuple((f"X-{index}", value("a")) for index in range(3))))["status_code"] == 200
    assert why(late(made, Late(headers=tuple((f"X-{index}", value("a")) for index in range(4))))) == (413, "too-large")


def test_a_huge_value_is_not_decoded_to_find_that_it_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bind, "_scalar", None)

    assert why(late(Maker({"a": "x" * 900_000}), Late(target=("/x/", value("a"))))) == (413, "too-large")
    assert why(late(Maker({"a": "x" * 900_000}), Late(headers=(("X-A", value("a")),)))) == (413, "too-large")


def test_all_the_json_that_references_lead_through_is_no_larger_than_a_batch_may_be() -> None:
    made = Maker({"list": ["x" * 100] * 3_000, "a": 1})

    assert shown(late(made, Late(body=(value("a"),))))["body"] == "1"
    assert why(late(made, Late(body=(value("a"),)), max_body=200_000)) == (413, "too-large")


def test_many_references_read_an_answer_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    members = _bind._members
    monkeypatch.setattr(_bind, "_members", lambda raw: read.append(len(bytes(raw))) or members(raw))  # type: ignore[func-returns-value]
    pieces = [b"[", *[piece for index in range(1000) for piece in (value("list", str(index)), b",")], b"1]"]

    late(Maker({"list": list(range(1000))}), Late(body=tuple(pieces)))

    assert len(read) == 2


@every_executor_here
def test_a_reference_to_what_failed_is_a_failed_dependency(executor: Any) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("404 Not Found", [("Location", "/people/1")])
        return []

    items = run(app, [request(0), request(1, after=(Edge(0),), late=Late(target=(ENTITY,)))], executor=executor)

    assert why(items[1]) == (424, "dependency-failed")


@every_executor_here
def test_references_lead_through_items_that_have_references_themselves(executor: Any) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("201 Created", [("Location", environ["PATH_INFO"] + "/1")])
        return []

    def behind(index: int) -> SubRequest:
        return request(index, "/late", (Edge(index - 1),), late=Late(target=(Reference(index - 1, "entity"), "/x")), method="POST")

    items = run(app, [request(0, method="POST"), *map(behind, range(1, 10))], executor=executor)

    assert items[-1]["headers"]["Location"] == "/a/1" + "/x/1" * 9


def test_a_bound_body_is_let_go_of_once_it_has_been_sent() -> None:
    items = [request(0, "/make", method="POST"), request(1, "/late", (Edge(0),), method="POST", late=Late(body=(value("a"),)))]

    assert shown(run(Maker({"a": "x"}), items)[1])["body"] == '"x"'
    assert items[1].body == b""


def test_what_is_bound_beside_a_file_is_sent_with_it_and_let_go_of() -> None:
    spool = Spool()
    spool.write(b"a file")
    file = Part("a", "a.txt", "text/plain", spool, 2, 4, b"")
    items = [request(0, "/make", method="POST"), request(1, "/late", (Edge(0),), method="POST", late=Late(body=(value("a"), b"=", file)))]

    assert shown(run(Maker({"a": "x"}), items)[1])["body"] == '"x"=file'
    assert items[1].form is None
    spool.release()


def test_a_file_counts_in_the_limit_of_what_is_bound() -> None:
    spool = Spool()
    spool.write(b"x" * 90_000)
    file = Part("a", "a.txt", "text/plain", spool, 0, 90_000, b"")

    assert late(Maker({"a": "x" * 9_000}), Late(body=(value("a"), file)), max_item_body=100_000)["status_code"] == 200
    assert why(late(Maker({"a": "x" * 11_000}), Late(body=(value("a"), file)), max_item_body=100_000)) == (413, "too-large")
    spool.release()


def test_a_fault_in_binding_is_that_items_500(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(_bind, "urljoin", None)

    item = late(Maker(Location="/people/1"), Late(target=(ENTITY,)))

    assert why(item) == (500, "app-failed")
    assert "TypeError" in caplog.text


def test_an_item_whose_reference_is_missing_has_failed_itself() -> None:
    items = [
        request(0, "/make", method="POST"),
        request(1, after=(Edge(0),), late=Late(target=(ENTITY,))),
        request(2, after=(Edge(1),)),
    ]

    assert [problem(item).get("code") for item in run(Maker(), items)] == [None, "reference-missing", "dependency-failed"]


def test_the_first_of_two_locations_counts() -> None:
    made = Maker(Location="/first")
    made.headers.append(("Location", "/second"))

    assert url(made, ENTITY) == "/first"


def test_a_header_has_no_blanks_around_what_it_refers_to() -> None:
    assert shown(late(Maker({"a": " x "}), Late(headers=(("X-A", value("a")),))))["HTTP_X_A"] == "x"


PEOPLE = {"people": [{"id": 1, "name": "a b&c"}, {"id": 2.50, "name": "Zoë/"}], "none": None}


def test_what_a_query_finds_fills_a_url_joined_with_commas_and_percent_encoded() -> None:
    assert url(Maker(PEOPLE), "/x?ids=", found("$.people.*.id"), "&n=", found("$..name")) == "/x?ids=1%2C2.5&n=a%20b%26c%2CZo%C3%AB%2F"
    assert url(Maker(b'{"a": [true, 12345678901234567890123, 2.50]}'), "/", found("$.a[*]")) == "/true,12345678901234567890123,2.50"


def test_what_a_query_finds_fills_a_form_or_a_text() -> None:
    told = shown(late(Maker(PEOPLE), Late(body=(b"a=", found("$..name"), b"&b=", text("$..name")))))

    assert told["body"] == "a=a+b%26c%2CZo%C3%AB%2F&b=a b&c,Zoë/"


@pytest.mark.parametrize("query", ["$.nothing", "$.none", "$.people", "$.people[0]", "$..*", "$.people[*].nobody", "$.people[?@.id > 5].id"])
def test_a_query_that_does_not_find_single_values_finds_nothing(query: str) -> None:
    assert why(late(Maker(PEOPLE), Late(body=(found(query),)))) == MISSING


@pytest.mark.parametrize("body", [5, "text", b"{", b'["\xff"]'])
def test_a_query_finds_nothing_in_what_is_no_object_and_no_list(body: object) -> None:
    assert why(late(Maker(body), Late(body=(found("$[0]"),)))) == MISSING


@pytest.mark.parametrize("segment", ["", ".", "..", "7/delete", "/", "../x", "x/.."])
@pytest.mark.parametrize("reference", [found("$.a"), value("a")])
def test_what_is_referred_to_is_no_way_out_of_a_segment(reference: Reference, segment: str) -> None:
    assert why(late(Maker({"a": segment}), Late(target=("/x/", reference, "/y")))) == MISSING
    assert url(Maker({"a": segment}), "/x?a=", reference) == "/x?a=" + segment.replace("/", "%2F")


def test_a_literal_in_quotes_may_hold_a_slash() -> None:
    assert url(Maker({"a": "b/c"}), "/x(", literal("a"), ")") == "/x('b/c')"


def test_an_answer_that_is_no_json_is_not_searched() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b'{"a": 1}']

    assert why(run(app, [request(0), request(1, after=(Edge(0),), late=Late(body=(found("$.a"),)))])[1]) == MISSING


def test_an_item_grows_no_larger_by_what_queries_find_than_it_may_be() -> None:
    made = Maker({"a": "x" * 6_000})

    assert why(late(made, Late(target=("/", found("$.a"), found("$.a"))))) == (413, "too-large")
    assert why(late(made, Late(body=(found("$.a"),) * 20), max_item_body=100_000)) == (413, "too-large")
    assert why(late(made, Late(body=(text("$.a"),)), max_item_body=5_000)) == (413, "too-large")
    assert late(made, Late(body=(found("$.a"),) * 20))["status_code"] == 200


def test_the_queries_of_a_batch_go_through_a_limited_number_of_bytes() -> None:
    made = Maker({"a": "x" * 500_000, "b": 1})

    def asked(count: int) -> Item:
        return late(made, Late(body=tuple(found(f"$..[{' ' * number}'b']") for number in range(count))))

    assert shown(asked(2))["body"] == "1" * 2
    assert why(asked(3)) == (413, "too-large")
    assert problem(asked(3))["limit"] == 4 << 20
    assert problem(asked(3))["detail"].startswith("All queries of one batch may go through 4194304 bytes")


def test_what_different_queries_find_is_counted_each_time() -> None:
    ways = [Late(body=(found(f"$[{' ' * number}'a']"),)) for number in range(4)]
    items = [request(index, "/late", (Edge(0),), method="POST", late=way) for index, way in enumerate(ways, 1)]

    _, *answers = run(Maker({"a": "x" * 900_000}), [request(0, "/make", method="POST"), *items])

    assert [item["status_code"] for item in answers] == [200, 200, 200, 413]


@every_executor_here
def test_an_answer_is_read_once_for_all_queries_that_lead_to_one_place_in_it(executor: Any) -> None:
    made = Maker({"data": [{"id": number, "name": "x" * 20_000} for number in range(49)]})
    items = [request(index + 1, f"/{index}", (Edge(0),), late=Late(target=("/", found(f"$.data[{index}].id")))) for index in range(49)]

    _, *answers = run(made, [request(0, "/make", method="POST"), *items], executor=executor, workers=8)

    assert [shown(item)["PATH_INFO"] for item in answers] == [f"/{number}" for number in range(49)]


def test_a_query_that_is_asked_often_goes_through_an_answer_once() -> None:
    made = Maker({"a": "x" * 500_000, "b": 1})

    assert shown(late(made, Late(body=(found("$.b"),) * 500)))["body"] == "1" * 500
