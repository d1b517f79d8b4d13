import base64
import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote
from wsgiref.headers import Headers as WSGIHeaders

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests import strategies
from tests.apps import IMAGE, show
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
from wsgibatch.dialects.odata import OdataDialect
from wsgibatch.model import Edge, Fault, Headers, Late, Reference

HEAD = Head(path="/service/$batch", mount="", host="host", scheme="http", media_type="application/json", parameters={})
JSON = [("Content-Type", "application/json")]
ANY = Settings(max_requests=20_000)


def batch(requests: object, head: Head = HEAD) -> Batch:
    body = requests if isinstance(requests, bytes) else json.dumps({"requests": requests}).encode()
    return OdataDialect().decode(head, body, ANY)


def decoded(*requests: object) -> list[SubRequest]:
    return batch(requests).items


def request(name: str | int, url: str = "/a", **members: object) -> Item:
    return {"id": name, "method": "get", "url": url, **members}


def last(*requests: Item) -> SubRequest:
    return decoded(*requests)[-1]


def after_one(url: str = "/a", **members: object) -> SubRequest:
    """The second of two requests, where *members* do not say otherwise one that depends on the first."""
    return last(request("1", method="post"), request("2", url, **{"method": "post", "dependsOn": ["1"], **members}))


def late(item: SubRequest) -> Late:
    assert item.late is not None
    return item.late


def refused(*requests: Item) -> tuple[type[BatchRejected], str]:
    """How a batch is refused, and the place that is told."""
    with pytest.raises(BatchRejected) as caught:
        decoded(*requests)
    return type(caught.value), caught.value.pointer


def value(*path: str, index: int = 0) -> Reference:
    return Reference(index, "value", path)


def literal(*path: str, index: int = 0) -> Reference:
    return Reference(index, "literal", path)


ENTITY = Reference(0, "entity")

# The examples of OData 4.01 JSON Format, section "Batch Requests and Responses", with bodies where the text only describes them: as they are
# posted, and as they are decoded.
BATCH: list[Item] = [
    {"id": "0", "method": "get", "url": "/service/Customers('ALFKI')"},
    {
        "id": "1",
        "atomicityGroup": "group1",
        "dependsOn": ["0"],
        "method": "patch",
        "url": "/service/Customers('ALFKI')",
        "headers": {"prefer": "return=minimal", "content-type": "application/json"},
        "body": {"City": "Utrecht"},
    },
    {
        "id": "2",
        "atomicityGroup": "group1",
        "method": "post",
        "url": "/service/Customers",
        "headers": {"content-type": "application/json"},
        "body": {"ID": "POIUY"},
    },
    {"id": "3", "dependsOn": ["group1"], "method": "get", "url": "/service/Products"},
]
BATCH_ITEMS = [
    SubRequest(0, "GET", "/service/Customers('ALFKI')", [], id="0"),
    SubRequest(
        1,
        "PATCH",
        "/service/Customers('ALFKI')",
        [("prefer", "return=minimal"), ("content-type", "application/json")],
        b'{"City":"Utrecht"}',
        "1",
        (Edge(0),),
        "group1",
    ),
    SubRequest(2, "POST", "/service/Customers", [("content-type", "application/json")], b'{"ID":"POIUY"}', "2", group="group1"),
    SubRequest(3, "GET", "/service/Products", [], id="3", after=(Edge(1),)),
]
NEW_ENTITY = [
    {"id": "1", "method": "post", "url": "/service/Customers", "body": {"ID": "POIUY"}},
    {"id": "2", "dependsOn": ["1"], "method": "post", "url": "$1/Orders", "body": {"Total": 5}},
]
NEW_ENTITY_ITEMS = [
    SubRequest(0, "POST", "/service/Customers", JSON, b'{"ID":"POIUY"}', "1"),
    SubRequest(1, "POST", "/service/$1/Orders", JSON, b'{"Total":5}', "2", (Edge(0),), late=Late((ENTITY, "/Orders"))),
]
ETAG = [
    {"id": "1", "method": "get", "url": "/service/Employees(0)", "headers": {"accept": "application/json"}},
    {
        "id": "2",
        "dependsOn": ["1"],
        "method": "patch",
        "url": "/service/Employees(0)",
        "headers": {"if-match": "$1"},
        "body": {"Salary": 75000},
    },
]
ETAG_ITEMS = [
    SubRequest(0, "GET", "/service/Employees(0)", [("accept", "application/json")], id="1"),
    SubRequest(
        1,
        "PATCH",
        "/service/Employees(0)",
        [("if-match", "$1"), *JSON],
        b'{"Salary":75000}',
        "2",
        (Edge(0),),
        late=Late(headers=(("if-match", Reference(0, "etag")),)),
    ),
]
VALUE = [
    {"id": "1", "method": "get", "url": "/service/Employees/0?$select=Building", "headers": {"accept": "application/json"}},
    {
        "id": "2",
        "dependsOn": ["1"],
        "method": "get",
        "url": "/service/Employees?$filter=Building eq $1/Building",
        "headers": {"accept": "application/json"},
    },
]
VALUE_ITEMS = [
    SubRequest(0, "GET", "/service/Employees/0?$select=Building", [("accept", "application/json")], id="1"),
    SubRequest(
        1,
        "GET",
        "/service/Employees?$filter=Building%20eq%20$1/Building",
        [("accept", "application/json")],
        id="2",
        after=(Edge(0),),
        late=Late(("/service/Employees?$filter=Building%20eq%20", literal("Building"))),
    ),
]


@pytest.mark.parametrize(
    ("posted", "items"),
    [
        pytest.param(BATCH, BATCH_ITEMS, id="Batch Request"),
        pytest.param(NEW_ENTITY, NEW_ENTITY_ITEMS, id="Referencing New Entities"),
        pytest.param(ETAG, ETAG_ITEMS, id="Referencing an ETag"),
        pytest.param(VALUE, VALUE_ITEMS, id="Referencing Response Body Values"),
    ],
)
def test_an_example_is_decoded(posted: list[Item], items: list[SubRequest]) -> None:
    found = batch(json.dumps({"requests": posted}, separators=(",", ":")).encode())

    assert found.items == items
    assert (found.pointer, found.linked, found.on_error) == ("/requests", True, "continue")


def test_an_example_is_written() -> None:
    headers, body = OdataDialect().write(BATCH_ITEMS)

    assert headers == [*JSON, ("OData-Version", "4.01")]
    assert json.loads(body) == {"requests": [{**one, "method": one["method"].upper()} for one in BATCH]}


def test_names_of_headers_are_written_in_lower_case() -> None:
    _, body = OdataDialect().write([SubRequest(0, "GET", "/a", [("Accept", "x/y"), ("X-ONE", "B")])])

    assert json.loads(body)["requests"][0]["headers"] == {"accept": "x/y", "x-one": "B"}


@pytest.mark.parametrize("items", [NEW_ENTITY_ITEMS, ETAG_ITEMS, VALUE_ITEMS])
def test_references_are_not_written(items: list[SubRequest]) -> None:
    with pytest.raises(ValueError, match="references"):
        OdataDialect().write(items)


ANSWERED = [
    SubResponse(200, "OK", [("Content-Type", "application/json")], b'{"ID":"ALFKI"}', "json"),
    SubResponse(204, "No Content", [], b""),
    SubResponse(201, "Created", [("Location", "http://host/service/Customers('POIUY')"), *JSON], b'{"ID":"POIUY"}', "json"),
    SubResponse(404, "Not Found", [("Content-Type", "text/plain"), ("ETag", 'W/"1"')], b"There is none.", "text"),
]
ANSWERS = [
    {"id": "0", "status": 200, "headers": {"content-type": "application/json"}, "body": {"ID": "ALFKI"}},
    {"id": "1", "status": 204, "headers": {}, "atomicityGroup": "group1"},
    {
        "id": "2",
        "status": 201,
        "headers": {"location": "http://host/service/Customers('POIUY')", "content-type": "application/json"},
        "body": {"ID": "POIUY"},
        "atomicityGroup": "group1",
    },
    {"id": "3", "status": 404, "headers": {"content-type": "text/plain", "etag": 'W/"1"'}, "body": "There is none."},
]


def encoded(requests: list[SubRequest], answers: list[SubResponse], head: Head = HEAD) -> bytes:
    encoder = OdataDialect().encoder(head, Batch(requests), Settings())
    pieces = [encoder.units([((one,), (answer,))]) for one, answer in zip(requests, answers, strict=True)]
    return b"".join([*pieces, encoder.end()])


def test_the_answer_to_the_example_is_encoded() -> None:
    assert json.loads(encoded(BATCH_ITEMS, ANSWERED)) == {"responses": ANSWERS}


def test_the_answer_to_the_example_is_read_whatever_its_order() -> None:
    for answers in (ANSWERS, ANSWERS[::-1]):
        found = OdataDialect().read([], json.dumps({"responses": answers}).encode(), BATCH_ITEMS)

        assert [answer.status for answer in found] == [200, 204, 201, 404]
        assert [answer.body.replace(b" ", b"") for answer in found] == [b'{"ID":"ALFKI"}', b"", b'{"ID":"POIUY"}', b"Thereisnone."]
        assert found[2].headers[0] == ("Location", "http://host/service/Customers('POIUY')")


def test_a_group_is_encoded_in_one_piece() -> None:
    encoder = OdataDialect().encoder(HEAD, Batch(BATCH_ITEMS), Settings())

    body = encoder.units([(tuple(BATCH_ITEMS[1:3]), tuple(ANSWERED[1:3]))]) + encoder.end()

    assert json.loads(body) == {"responses": ANSWERS[1:3]}


def test_what_is_no_json_and_no_text_is_base64url_with_padding() -> None:
    body = encoded([SubRequest(0, "GET", "/a", [], id="1")], [SubResponse(200, "OK", [("Content-Type", "image/png")], b"\xfb\xff\xfe\xff", "binary")])

    assert json.loads(body)["responses"][0]["body"] == "-__-_w=="
    assert base64.urlsafe_b64decode("-__-_w==") == b"\xfb\xff\xfe\xff"


@pytest.mark.parametrize("name", ["a", "A", 1, "1.5~_-"])
def test_an_id_is_echoed_with_its_type(name: str | int) -> None:
    [item] = decoded(request(name))

    assert json.loads(encoded([item], [SubResponse(200, "OK", [], b"")]))["responses"][0]["id"] == name == item.id


def test_ids_that_differ_in_case_are_different() -> None:
    assert last(request("a"), request("A"), request("2", dependsOn=["A"])).after == (Edge(1),)
    assert refused(request("a"), request("2", dependsOn=["A"])) == (UnknownDependency, "/requests/1/dependsOn")


@pytest.mark.parametrize(
    ("requests", "pointer"),
    [
        ([request("a"), request("a")], "/requests/1/id"),
        ([request("1"), request(1)], "/requests/1/id"),
        ([request("a"), request("2", atomicityGroup="a")], "/requests/1/atomicityGroup"),
        ([request("1", atomicityGroup="a"), request("2", atomicityGroup="a"), request("a")], "/requests/0/atomicityGroup"),
        ([request("a", atomicityGroup="a")], "/requests/0/atomicityGroup"),
        ([request(5), request("2", atomicityGroup="5")], "/requests/1/atomicityGroup"),
    ],
)
def test_ids_and_names_of_groups_are_unique_together(requests: list[Item], pointer: str) -> None:
    assert refused(*requests) == (DuplicateId, pointer)


@pytest.mark.parametrize("name", ["", "a b", "ü", "g" * 129, 5, []])
def test_the_name_of_a_group_is_a_name(name: object) -> None:
    assert refused(request("1"), request("2", atomicityGroup=name)) == (BadBatch, "/requests/1/atomicityGroup")


def test_members_of_a_group_are_marked_with_its_name() -> None:
    found = batch([request("1", atomicityGroup=None), request("2", atomicityGroup="g"), request("3", atomicityGroup="g")])

    assert [item.group for item in found.items] == ["", "g", "g"]
    assert found.linked
    assert not batch([request("1", atomicityGroup=None), request("2", "/a?$filter=x")]).linked


def test_a_group_is_waited_for_by_its_first_member() -> None:
    members = [request(index, atomicityGroup="g") for index in range(1, 4)]

    assert last(request("0"), *members, request("x", dependsOn=["g"])).after == (Edge(1),)
    assert last(request("0"), *members, request("x", dependsOn=["g", "g", 1, "0", "3"])).after == (Edge(1), Edge(0), Edge(3))


@pytest.mark.parametrize("member", ["dependsOn", "depends_on"])
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("2", DependencyCycle),
        ("g", DependencyCycle),
        ("3", UnknownDependency),
        ("h", UnknownDependency),
        ("x", UnknownDependency),
        ("", UnknownDependency),
        ("G", UnknownDependency),
    ],
)
def test_only_what_stands_before_can_be_waited_for(member: str, name: str, error: type) -> None:
    requests = [request("1", atomicityGroup="g"), request("2", "/a", atomicityGroup="g", **{member: [name]}), request("3", atomicityGroup="h")]

    assert refused(*requests) == (error, f"/requests/1/{member}")


def test_the_first_member_of_a_group_cannot_wait_for_it() -> None:
    assert refused(request("1", atomicityGroup="g", dependsOn=["g"])) == (DependencyCycle, "/requests/0/dependsOn")


def test_a_member_may_wait_for_another_of_its_group() -> None:
    assert last(request("1", atomicityGroup="g"), request("2", atomicityGroup="g", dependsOn=["1"])).after == (Edge(0),)


def test_ten_thousand_edges_are_decoded_one_for_each_name() -> None:
    count = 10_000
    members = [request(index, atomicityGroup="g", dependsOn=[index - 1] if index else None) for index in range(count)]
    group = batch([*members, *(request(count + index, dependsOn=["g"]) for index in range(count))])
    fan = batch([*(request(index) for index in range(count)), request("all", dependsOn=[*range(count), *range(count)])])

    assert [item.after for item in group.items[1:count]] == [(Edge(index),) for index in range(count - 1)]
    assert all(item.after == (Edge(0),) for item in group.items[count:])
    assert fan.items[-1].after == tuple(map(Edge, range(count)))


@pytest.mark.parametrize("batch_path", ["/service/$batch", "/service/$batch/"])
@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("/abs", "/abs"),
        ("/", "/"),
        ("People('x')", "/service/People('x')"),
        ("People('a:b')?$x=/y", "/service/People('a:b')?$x=/y"),
        ("a b?$filter=c d", "/service/a%20b?$filter=c%20d"),
        ("%24x", "/service/%24x"),
        ("http://host/x y", "http://host/x%20y"),
        ("HTTPS://elsewhere/x", "HTTPS://elsewhere/x"),
        ("", ""),
        ("//elsewhere/x", "//elsewhere/x"),
        ("\\x", "\\x"),
        ("ftp:x", "ftp:x"),
        ("?x", "?x"),
        ("#x", "#x"),
    ],
)
def test_a_relative_url_continues_the_service_root(batch_path: str, url: str, target: str) -> None:
    [item] = batch([request("1", url)], replace(HEAD, path=batch_path)).items

    assert item.target == target
    assert item.late is None


def test_the_service_root_is_percent_encoded() -> None:
    assert batch([request("1", "x")], replace(HEAD, path="/a b/gr\xc3\xbc\xc3\x9fe!/%/$batch")).items[0].target == "/a%20b/gr%C3%BC%C3%9Fe!/%25/x"
    assert batch([request("1", "x")], replace(HEAD, path="/$batch")).items[0].target == "/x"


def test_headers_may_be_written_as_lines() -> None:
    [item] = decoded(request("1", method="post", headers=["Content-Type: text/plain", "X-A:b:c ", "X-B:"], body="AAEC"))

    assert item.headers == [("Content-Type", "text/plain"), ("X-A", "b:c"), ("X-B", "")]
    assert item.body == b"AAEC"


@pytest.mark.parametrize("headers", [["Content-Type"], ["A: b", ""]])
def test_a_line_without_a_colon_refuses_the_batch(headers: list[str]) -> None:
    assert refused(request("1"), request("2", headers=headers)) == (BadBatch, "/requests/1/headers")


def test_the_body_of_a_get_or_delete_is_ignored_and_a_body_is_json_by_default() -> None:
    got, deleted, posted = decoded(request("1", body={}), request("2", method="delete", body="="), request("3", method="post", body=[1]))

    assert (got.body, deleted.body, deleted.headers) == (b"", b"", [])
    assert (posted.body, posted.headers) == (b"[1]", JSON)


@pytest.mark.parametrize(
    ("url", "pieces"),
    [
        ("$1", (ENTITY,)),
        ("$1/Orders", (ENTITY, "/Orders")),
        ("$1?$select=a b", (ENTITY, "?$select=a%20b")),
        ("$1/Orders(5)/$value?x", (ENTITY, "/Orders(5)/$value?x")),
        ("/$1/Orders", (ENTITY, "/Orders")),
        ("%241/Orders", (ENTITY, "/Orders")),
        ("/%241", (ENTITY,)),
        ("$1/Orders?$filter=a eq $1/b", (ENTITY, "/Orders?$filter=a%20eq%20", literal("b"))),
    ],
)
def test_a_url_may_begin_with_what_an_earlier_request_made(url: str, pieces: tuple[str | Reference, ...]) -> None:
    assert late(after_one(url)) == Late(pieces)


@pytest.mark.parametrize("name", ["a", "batch1", "rooted", "a.b-c_d~e", "{x}", "a:b", "7"])
def test_any_id_may_be_referred_to(name: str) -> None:
    assert late(last(request("x"), request(name), request("2", f"${name}/Orders"))) == Late((Reference(1, "entity"), "/Orders"))


def test_an_entity_that_is_referred_to_is_waited_for() -> None:
    assert last(request("1"), request("2", "$1/Orders")).after == (Edge(0, "succeeded"),)
    assert last(request("1"), request("2", "$1/Orders", dependsOn=["1"])).after == (Edge(0, "succeeded"),)


@pytest.mark.parametrize("resource", ["$batch", "$crossjoin(A,B)", "$all", "$entity?$id=A(1)", "$root/A", "$id", "$metadata", "$metadata#x"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_system_resource_is_no_reference(resource: str, slash: str) -> None:
    item = last(request("batch"), request("all"), request("2", slash + resource))

    assert item.late is None
    assert item.target == (slash or "/service/") + resource


@pytest.mark.parametrize("url", ["$x", "$x/Orders", "$", "$/a", "$3", "$g/Orders", "$1x", "$metadata2"])
def test_a_url_that_refers_to_nothing_before_it_refuses_the_batch(url: str) -> None:
    assert refused(request("1", atomicityGroup="g"), request("2", url), request("3")) == (UnknownDependency, "/requests/1/url")


def test_a_url_cannot_refer_to_its_own_request() -> None:
    assert refused(request("1", "$1/Orders")) == (DependencyCycle, "/requests/0/url")


@pytest.mark.parametrize("url", ["/$%31/a", "/%24%31", "/$x/a", "%24x/a", "/%24x", "/$g", "a/$1", "/a/$1", "//$1", "(/$1)"])
def test_what_looks_like_a_reference_elsewhere_is_a_path(url: str) -> None:
    assert last(request("1", atomicityGroup="g"), request("2", url)).late is None


@pytest.mark.parametrize("url", ["/$3/a", "/%243"])
def test_a_reference_in_another_spelling_leads_to_what_stands_before_too(url: str) -> None:
    assert refused(request("1"), request("2", url), request("3")) == (UnknownDependency, "/requests/1/url")


@pytest.mark.parametrize("name", ["If-Match", "if-none-match", "IF-MATCH"])
def test_an_entity_tag_may_be_referred_to(name: str) -> None:
    item = last(request("1"), request("2", method="patch", headers={name: "$1", "X": "$1"}))

    assert late(item) == Late(headers=((name, Reference(0, "etag")),))
    assert item.after == (Edge(0, "succeeded"),)


@pytest.mark.parametrize(
    ("text", "error"),
    [("$x", UnknownDependency), ("$", UnknownDependency), ("$1/a", UnknownDependency), ("$3", UnknownDependency), ("$2", DependencyCycle)],
)
def test_an_entity_tag_of_nothing_before_refuses_the_batch(text: str, error: type) -> None:
    assert refused(request("1"), request("2", headers={"If-Match": text}), request("3")) == (error, "/requests/1/headers")


@pytest.mark.parametrize("text", ['"$1"', "*", 'W/"$1"', '"a", $1', ""])
def test_an_entity_tag_that_is_none_is_kept(text: str) -> None:
    assert after_one(headers={"If-Match": text}).late is None


@pytest.mark.parametrize(
    ("query", "pieces"),
    [
        ("$filter=a eq $1/b", ("$filter=a%20eq%20", literal("b"))),
        ("$filter=a%20eq%20%241%2Fb%2fc", ("$filter=a%20eq%20", literal("b", "c"))),
        ("%24filter=$1/b/0/c eq 5", ("%24filter=", literal("b", "0", "c"), "%20eq%205")),
        ("$filter=a in ($1/b,$1/c)", ("$filter=a%20in%20(", literal("b"), ",", literal("c"), ")")),
        ("$filter=a eq 'it''s $1/b' or c eq $1/d", ("$filter=a%20eq%20'it''s%20$1/b'%20or%20c%20eq%20", literal("d"))),
        ("$filter=a eq %27$1/b%27 or c eq $1/d", ("$filter=a%20eq%20%27$1/b%27%20or%20c%20eq%20", literal("d"))),
        ("$filter=f('x')+eq+$1/b", ("$filter=f('x')+eq+", literal("b"))),
        ("$filter=$it/a eq $1/b and $root/c ne d", ("$filter=$it/a%20eq%20", literal("b"), "%20and%20$root/c%20ne%20d")),
        ("$top=$1/n&$skip=$1/m", ("$top=", literal("n"), "&$skip=", literal("m"))),
        ("@p=$1/b&$filter=a eq @p", ("@p=", literal("b"), "&$filter=a%20eq%20@p")),
        ("$filter=$1/@odata.id eq 1", ("$filter=", literal("@odata.id"), "%20eq%201")),
        ("$filter=$1/gr%C3%BC%C3%9Fe", ("$filter=", literal("grüße"))),
        ("x=$1/b", ("x=", value("b"))),
        ("x='$1/b'&y=a,$1/c,", ("x='", value("b"), "'&y=a,", value("c"), ",")),
        ("a&=&x=$1/b=c&", ("a&=&x=", value("b"), "=c&")),
        ("$filter='open $1/b&x=$1/c", ("$filter='open%20$1/b&x=", value("c"))),
    ],
)
def test_a_query_may_hold_values_of_an_earlier_answer(query: str, pieces: tuple[str | Reference, ...]) -> None:
    first, *others = pieces

    assert late(after_one(f"/a?{query}")) == Late((f"/a?{first}", *others))
    assert late(after_one(f"a?{query}")) == Late((f"/service/a?{first}", *others))


@pytest.mark.parametrize(
    "query",
    [
        "$filter=a eq $1",
        "$filter=a eq $1/",
        "$filter=a eq $2/b",
        "$filter=a eq $3/b",
        "$filter=a eq $x/b",
        "$filter=a eq '$1/b'",
        "$filter=a eq 'it''s $1/b",
        "$filter=$1/b/$count gt 5",
        "$filter=$1/b/any(x:x eq 5)",
        "$filter=$1/f(5)",
        "$filter=$1/f%285)",
        "$1/b",
        "$1/b=5",
        "x=$1",
        "x=$1//b",
        "x=" + "$1" + "/a" * 33,
        "$filter=$it/b",
    ],
)
def test_what_looks_like_a_value_in_a_query_may_be_text(query: str) -> None:
    item = last(request("1"), request("2", f"/a?{query}", dependsOn=["1"]), request("3"), request("x"), request("it"))

    assert decoded(request("1"), request("2", f"/a?{query}", dependsOn=["1"]), request("3"))[1].late is None
    assert item.late is None


def test_a_path_of_thirty_two_members_is_followed() -> None:
    path = [str(number) for number in range(32)]

    assert late(after_one("/a?x=$1/" + "/".join(path))).target[1] == value(*path)
    assert late(after_one(headers={"X": "$1/" + "/".join(path)})).headers[0][1] == value(*path)
    assert after_one(headers={"X": "$1/" + "/".join(path) + "/x"}).late is None


@pytest.mark.parametrize("depends_on", [[], ["x"]])
def test_a_value_counts_only_where_the_request_depends_on_it(depends_on: list[str]) -> None:
    item = last(
        request("1"),
        request("x"),
        request("2", "/a?$filter=a eq $1/b&x=$1/b", method="post", dependsOn=depends_on, headers={"X": "$1/b"}, body={"a": "$1/b"}),
    )

    assert item.late is None
    assert json.loads(item.body) == {"a": "$1/b"}


def test_values_are_found_in_the_answers_of_a_group_that_is_waited_for() -> None:
    item = last(
        request("1", atomicityGroup="g"),
        request("2", atomicityGroup="g"),
        request("x"),
        request("3", "/a?x=$2/b&y=$x/b", method="post", dependsOn=["g"]),
    )

    assert late(item).target == ("/a?x=", value("b", index=1), "&y=$x/b")
    assert {edge.index for edge in item.after} == {0, 1}


def test_what_is_no_member_of_the_group_before_it_is_not_looked_into() -> None:
    requests = [request("1", atomicityGroup="g"), request("2", "/a?x=$3/b", dependsOn=["g"]), request("3", atomicityGroup="g")]

    assert decoded(*requests)[1].late is None


@pytest.mark.parametrize("name", ["X-A", "Content-Language", "Prefer"])
def test_a_header_may_be_a_value(name: str) -> None:
    item = after_one(headers={name: "$1/a/0", "X-B": "a $1/a", "X-C": "$1/", "X-D": "$1//a", "X-E": "$x/a"})

    assert late(item) == Late(headers=((name, value("a", "0")),))
    assert dict(item.headers)[name] == "$1/a/0"


@pytest.mark.parametrize(
    ("body", "pieces"),
    [
        (b'{"a": "$1/b" , "n": 1.50}', (b'{"a": ', value("b"), b' , "n": 1.50}')),
        (b'["$1/b/0","$1/c"]', (b"[", value("b", "0"), b",", value("c"), b"]")),
        (b'{"$1/a":"$1/b","x":{"$1/c" : ["$1/d"]}}', (b'{"$1/a":', value("b"), b',"x":{"$1/c" : [', value("d"), b"]}}")),
        (b'"$1/b"', (value("b"),)),
        (b'["\\u00241\\/gr\\u00fc\xc3\x9fe"]', (b"[", value("grüße"), b"]")),
        (b'["\\"","$1/b","\\\\"]', (b'["\\"",', value("b"), b',"\\\\"]')),
        (b'["$1/@odata.id", "$1/a b"]', (b"[", value("@odata.id"), b", ", value("a b"), b"]")),
    ],
)
def test_a_string_in_a_json_body_may_be_a_value(body: bytes, pieces: tuple[bytes | Reference, ...]) -> None:
    posted = b'{"requests":[{"id":"1","method":"get","url":"/a"},{"id":"2","method":"post","url":"/a","dependsOn":["1"],"body":' + body + b"}]}"

    item = batch(posted).items[-1]

    assert late(item) == Late(body=pieces)
    assert item.body == body


@pytest.mark.parametrize(
    "text",
    ["$1", "$1/", "$1//b", " $1/b", "a$1/b", "'$1/b'", "$x/b", "$/b", "$it", "$it/b", "$root/b", "$" + "1/a" * 40, "%241/b", "\u0001$1/b", "1/b"],
)
def test_any_other_string_in_a_body_is_text(text: str) -> None:
    assert after_one(body={"a": [text], "$1/b": 5}).late is None


@pytest.mark.parametrize(
    ("content_type", "body"), [("text/plain", "$1/b"), ("text/plain", '["$1/b"]'), ("image/png", "WyIkMS9iIl0="), ("x/y", ["$1/b"])]
)
def test_a_body_that_is_not_called_json_holds_no_values(content_type: str, body: object) -> None:
    assert after_one(headers={"Content-Type": content_type}, body=body).late is None


def test_references_of_all_kinds_may_stand_together() -> None:
    item = after_one("$1/Orders?x=$1/a", headers={"if-match": "$1", "x": "$1/b"}, body="$1/c")

    assert late(item) == Late((ENTITY, "/Orders?x=", value("a")), (("if-match", Reference(0, "etag")), ("x", value("b"))), (value("c"),))
    assert item.after == (Edge(0),)


@given(
    st.lists(st.sampled_from(["$1/b", "%241%2Fb", "'", "%27", "%20", "$filter=", "&", "=", "?", "x", "$", "%", "/", "$x/y", "(", "\n"]), max_size=20)
)
def test_the_pieces_of_a_url_make_up_the_url(parts: list[str]) -> None:
    url = "/a?" + "".join(parts)
    item = after_one(url)

    pieces = late(item).target if item.late is not None else (item.target,)
    joined = "".join(piece if isinstance(piece, str) else "$1/" + "/".join(piece.path) for piece in pieces)
    assert unquote(joined) == unquote(url)
    assert all(pieces)


@given(
    st.recursive(
        st.sampled_from(["$1/b", '"', "\\", "$1", "x", 1.5, None]),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("$1/b\\", max_size=4), inner),
    )
)
def test_the_pieces_of_a_body_make_up_the_body(body: Any) -> None:
    item = after_one(body=body)

    pieces = item.late.body if item.late is not None else (item.body,)
    assert b"".join(piece if isinstance(piece, bytes) else b'"$1/b"' for piece in pieces) == item.body
    assert item.body == (b"" if body is None else json.dumps(body).encode())


@pytest.mark.parametrize("text", ["$a/$succeeded", "  $a/$succeeded\t"])
def test_an_item_may_be_run_if_another_has_succeeded(text: str) -> None:
    item = last(request("a"), request("2", **{"if": text}))

    assert item.after == (Edge(0, "succeeded"),)
    assert item.refusal is None


@pytest.mark.parametrize("text", ["not $a/$succeeded", " NOT  $a/$succeeded "])
def test_an_item_may_be_run_if_another_has_failed(text: str) -> None:
    assert last(request("a"), request("2", **{"if": text})).after == (Edge(0, "failed"),)


def test_under_a_condition_the_other_dependencies_only_have_to_end() -> None:
    requests = [request("a"), request("b", atomicityGroup="g"), request("c")]

    assert last(*requests, request("2", dependsOn=["a", "g", "c"], **{"if": "not $a/$succeeded"})).after == (
        Edge(1, "ended"),
        Edge(2, "ended"),
        Edge(0, "failed"),
    )
    assert last(*requests, request("2", dependsOn=["a", "c"], **{"if": "$g/$succeeded"})).after == (
        Edge(0, "ended"),
        Edge(2, "ended"),
        Edge(1, "succeeded"),
    )


def test_under_a_condition_what_a_url_refers_to_has_to_succeed_and_a_value_only_has_to_be_there() -> None:
    requests = [request("a"), request("b")]

    assert last(*requests, request("2", "$b/x", dependsOn=["a", "b"], **{"if": "not $a/$succeeded"})).after == (
        Edge(0, "failed"),
        Edge(1, "succeeded"),
    )
    assert last(*requests, request("2", "/x?y=$b/x", dependsOn=["a", "b"], **{"if": "not $a/$succeeded"})).after == (
        Edge(1, "ended"),
        Edge(0, "failed"),
    )


def test_no_condition_is_no_condition() -> None:
    assert last(request("a"), request("2", "/a", dependsOn=["a"], **{"if": None})).after == (Edge(0, "succeeded"),)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("$x/$succeeded", UnknownDependency),
        ("not $3/$succeeded", UnknownDependency),
        ("$2/$succeeded", DependencyCycle),
        ("$g/$succeeded", DependencyCycle),
    ],
)
def test_a_condition_is_about_what_stands_before(text: str, error: type) -> None:
    assert refused(request("1"), request("2", atomicityGroup="g", **{"if": text}), request("3")) == (error, "/requests/1/if")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "true",
        "$1",
        "$1/a eq 5",
        "$1/$succeeded and true",
        "not",
        "not$1/$succeeded",
        "$1/$SUCCEEDED",
        "x $1/$succeeded",
        "$1/$succeeded\0",
        "$/$succeeded",
    ],
)
def test_a_request_under_any_other_condition_is_answered_without_running(text: str) -> None:
    plain, item = decoded(request("1"), request("2", dependsOn=["1"], **{"if": text}))

    assert plain.refusal is None
    assert item.refusal is not None
    assert item.refusal.status == 424
    error = json.loads(item.refusal.body)["error"]
    assert (error["code"], error["innererror"]["code"]) == ("FailedDependency", "condition-not-supported")


def preferring(text: str) -> Head:
    return replace(HEAD, headers=WSGIHeaders([("Prefer", text)]))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("continue-on-error=false", "continue-on-error"),
        ("odata.continue-on-error=false", "odata.continue-on-error"),
        ("Continue-On-Error = FALSE", "continue-on-error"),
        ('respond-async, odata.Continue-on-error="false"; x=y', "odata.continue-on-error"),
        ('a="b, c", continue-on-error=false , d', "continue-on-error"),
        ("continue-on-error=false, continue-on-error=true", "continue-on-error"),
        (r'a="\"", continue-on-error=false', "continue-on-error"),
    ],
)
def test_a_client_may_prefer_that_a_failure_ends_the_batch(text: str, name: str) -> None:
    found = batch([request("1")], preferring(text))
    encoder = OdataDialect().encoder(preferring(text), found, Settings())

    assert (found.on_error, found.linked) == ("stop", True)
    assert ("Preference-Applied", f"{name}=false") in encoder.headers


@pytest.mark.parametrize(
    "text",
    [
        "",
        "continue-on-error",
        "continue-on-error=true",
        "continue-on-error=",
        "continue-on-error=falsehood",
        "xcontinue-on-error=false",
        "continue-on-error=true, continue-on-error=false",
        'a="x, continue-on-error=false"',
        'a="x, continue-on-error=false',
        'a="\\',
        "a; continue-on-error=false",
        "return=minimal",
    ],
)
def test_without_that_preference_all_is_run(text: str) -> None:
    found = batch([request("1")], preferring(text))
    encoder = OdataDialect().encoder(preferring(text), found, Settings())

    assert (found.on_error, found.linked) == ("continue", False)
    assert "Preference-Applied" not in dict(encoder.headers)


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ([], "4.01"),
        ([("OData-Version", "4.01")], "4.01"),
        ([("odata-version", "4.0")], "4.0"),
        ([("OData-MaxVersion", " 4.0 ")], "4.0"),
        ([("OData-Version", "4.01"), ("OData-MaxVersion", "4.0")], "4.0"),
        ([("OData-Version", "4.02")], "4.01"),
    ],
)
def test_an_answer_and_a_refusal_tell_the_version(headers: Headers, version: str) -> None:
    head = replace(HEAD, headers=WSGIHeaders(headers))

    assert dict(OdataDialect().encoder(head, batch([], head), Settings()).headers)["OData-Version"] == version
    assert dict(OdataDialect().refusal(head, BadBatch("x"))[1])["OData-Version"] == version


def test_a_refusal_and_a_failure_are_errors_of_odata() -> None:
    status, headers, body = OdataDialect().refusal(HEAD, DuplicateId("Twice.", "/requests/1/id"))
    kinds, failure = OdataDialect().failure(Fault(501, "atomic-unsupported", "No."))

    duplicate = {"code": "BadRequest", "message": "Twice.", "target": "/requests/1/id", "innererror": {"code": "duplicate-id"}}
    assert (status, dict(headers)["Content-Type"]) == (400, "application/json")
    assert json.loads(body) == {"error": duplicate}
    assert kinds == JSON
    assert json.loads(failure) == {"error": {"code": "NotImplemented", "message": "No.", "innererror": {"code": "atomic-unsupported"}}}


def test_a_hundred_items_are_accepted_by_default() -> None:
    def body(count: int) -> bytes:
        return json.dumps({"requests": [request(index) for index in range(count)]}).encode()

    assert len(OdataDialect().decode(HEAD, body(100), Settings()).items) == 100
    with pytest.raises(TooManyItems):
        OdataDialect().decode(HEAD, body(101), Settings())


PLAIN = SubRequest(0, "POST", "/a", [])


def test_groups_and_what_waits_for_them_are_written_by_name() -> None:
    items = [
        replace(PLAIN, group="g"),
        replace(PLAIN, index=1, group="g", after=(Edge(0),)),
        replace(PLAIN, index=2, after=(Edge(0), Edge(1))),
        replace(PLAIN, index=3, after=(Edge(2),)),
    ]

    _, body = OdataDialect().write(items)
    found = decoded(*json.loads(body)["requests"])

    assert [one.get("dependsOn", []) for one in json.loads(body)["requests"]] == [[], ["1"], ["g"], ["3"]]
    assert [(item.group, item.after) for item in found] == [("g", ()), ("g", (Edge(0),)), ("", (Edge(0),)), ("", (Edge(2),))]


@pytest.mark.parametrize(
    "unsayable",
    [
        replace(PLAIN, after=(Edge(0, "failed"),)),
        replace(PLAIN, after=(Edge(0, "ended"),)),
        replace(PLAIN, after=(Edge(1),)),
        replace(PLAIN, late=Late((ENTITY,))),
        replace(PLAIN, id="1"),
        replace(PLAIN, group="1"),
        replace(PLAIN, group="a b"),
        replace(PLAIN, body=b"x"),
    ],
)
def test_what_the_format_cannot_say_is_not_written(unsayable: SubRequest) -> None:
    with pytest.raises(ValueError, match="."):
        OdataDialect().write([PLAIN, replace(unsayable, index=1)])


@pytest.mark.parametrize(
    ("target", "written"), [("/$1/a?b", "/$%31/a?b"), ("/%242", "/%24%32"), ("/$3", "/$3"), ("/$x/a", "/$x/a"), ("/a/$1", "/a/$1")]
)
def test_a_path_that_looks_like_a_reference_is_written_in_another_spelling(target: str, written: str) -> None:
    _, body = OdataDialect().write([PLAIN, replace(PLAIN, index=1, target=target)])

    [_, item] = decoded(*json.loads(body)["requests"])
    assert (item.target, item.after, item.late) == (written, (), None)
    assert unquote(item.target) == unquote(target)


@pytest.mark.parametrize(
    "misread",
    [
        replace(PLAIN, target="$1/a"),
        replace(PLAIN, target="$x"),
        replace(PLAIN, target="/a?x=$1/b", after=(Edge(0),)),
        replace(PLAIN, headers=[("If-Match", "$1")]),
        replace(PLAIN, headers=[("If-Match", "$x")]),
        replace(PLAIN, headers=[("X", "$1/b")], after=(Edge(0),)),
        replace(PLAIN, headers=JSON, body=b'["$1/b"]', after=(Edge(0),)),
    ],
)
def test_text_that_would_be_read_as_a_reference_is_not_written(misread: SubRequest) -> None:
    with pytest.raises(ValueError, match="/requests/1"):
        OdataDialect().write([PLAIN, replace(misread, index=1)])


def test_text_that_only_looks_like_a_reference_is_written() -> None:
    plain = replace(PLAIN, index=1, target="/a?x=$1/b", headers=[("X", "$1/b"), *JSON], body=b'["$1/b"]')

    assert decoded(*json.loads(OdataDialect().write([PLAIN, plain])[1])["requests"])[1].body == plain.body


names = st.sampled_from(["1", "2", "a", "g", "h", 1, "", "x"])
nearly_requests = st.fixed_dictionaries(
    {
        "id": st.integers(0, 6) | names | strategies.json_values,
        "method": st.sampled_from(["get", "post", 1]),
        "url": st.sampled_from(["/a", "b", "$1", "$a/b?$filter=$1/b", "/$2", "a?x=$a/b", "$", None]),
    },
    optional={
        "headers": st.dictionaries(st.sampled_from(["Content-Type", "If-Match", "X"]), st.sampled_from(["text/x", "a/b", "$1", "$1/b", ["a"], 5]))
        | st.lists(st.sampled_from(["X: $1/b", "If-Match:$a", "x", 5]), max_size=2),
        "body": strategies.json_values | st.sampled_from(["AAEC", "=", "$1/a"]),
        "dependsOn": st.lists(names, max_size=3) | st.none(),
        "if": st.sampled_from(["$1/$succeeded", "not $a/$succeeded", "", None, 5]),
        "atomicityGroup": names | st.none(),
    },
)


@given(st.lists(nearly_requests, max_size=6))
def test_what_is_nearly_right_is_a_batch_or_is_rejected(requests: list[Item]) -> None:
    try:
        found = batch(requests)
    except BatchRejected as error:
        assert error.status in (400, 413)
        return
    for index, item in enumerate(found.items):
        waits = {edge.index for edge in item.after}
        assert item.index == index
        assert all(place < index for place in waits)
        if item.late is not None:
            held = [piece for piece in (*item.late.target, *item.late.body) if isinstance(piece, Reference)] + [
                found for _, found in item.late.headers
            ]
            assert held
            assert {reference.index for reference in held} <= waits


@given(st.data(), st.sampled_from([BATCH, NEW_ENTITY, ETAG, VALUE]))
def test_a_spoilt_batch_is_a_batch_or_is_rejected(data: st.DataObject, posted: list[Item]) -> None:
    try:
        batch(data.draw(strategies.spoilt(json.dumps({"requests": posted}).encode())))
    except BatchRejected as error:
        assert 400 <= error.status < 500


class Service:
    """A small OData service: customers that are made, found, changed under their entity tag, and asked for by name."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.customers: dict[str, dict[str, Any]] = {}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method, path, query = environ["REQUEST_METHOD"], environ["PATH_INFO"], unquote(environ["QUERY_STRING"])
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        self.ran.append(f"{method} {path}" + (f"?{query}" if query else ""))
        if path == "/service/Customers" and method == "POST":
            made = json.loads(body)
            self.customers[f"/service/Customers({len(self.customers)})"] = made
            url = f"http://shop.example/service/Customers({len(self.customers) - 1})"
            return self._told(start_response, "201 Created", made, [("Location", url), ("ETag", 'W/"7"')])
        if path in self.customers:
            if method == "PATCH" and environ.get("HTTP_IF_MATCH") != 'W/"7"':
                return self._told(start_response, "412 Precondition Failed", {})
            self.customers[path] |= json.loads(body or b"{}")
            return self._told(start_response, "200 OK", self.customers[path], [("ETag", 'W/"7"')])
        return self._told(start_response, "404 Not Found" if path == "/service/missing" else "200 OK", {"body": body.decode(), "why": "gone"})

    @staticmethod
    def _told(start_response: Callable[..., Any], status: str, answer: object, headers: Headers | None = None) -> Iterable[bytes]:
        start_response(status, [("Content-Type", "application/json"), *(headers or [])])
        return [json.dumps(answer).encode()]


@pytest.fixture
def service() -> Service:
    return Service()


def odata_answer(app: Any, requests: object, prefer: str | None = None, **settings: Any) -> Answer:
    middleware = BatchMiddleware(app, dialect="odata", path="/service/$batch", **settings)
    return post(middleware, {"requests": requests}, path="/service/$batch", HTTP_ODATA_VERSION="4.01", HTTP_PREFER=prefer)


def answered(app: Any, requests: object, **settings: Any) -> list[Item]:
    answer = odata_answer(app, requests, **settings)
    assert answer.status == 200, answer
    assert answer.header("OData-Version") == "4.01"
    return list(answer.json()["responses"])


def test_what_was_made_is_reached_by_reference(service: Service) -> None:
    made, order, changed = answered(
        service,
        [
            request("1", "Customers", method="post", body={"Name": "Zoë", "n": 12345678901234567890123}),
            request("2", "$1/Orders", method="post", body=["$1/n"], dependsOn=["1"]),
            request("3", "$1", method="patch", headers={"if-match": "$1"}, body={"Note": "x"}),
        ],
    )

    assert [made["status"], order["status"], changed["status"]] == [201, 200, 200]
    assert order["body"]["body"] == "[12345678901234567890123]"
    assert changed["body"]["Note"] == "x"
    assert service.ran == ["POST /service/Customers", "POST /service/Customers(0)/Orders", "PATCH /service/Customers(0)"]


def test_a_value_becomes_a_literal_of_the_expression(service: Service) -> None:
    answered(
        service,
        [
            request("1", "Customers", method="post", body={"Name": "O'Neil", "n": 5}),
            request("2", "/service/Customers?$filter=Name eq $1/Name and n eq $1/n&raw=$1/Name", dependsOn=["1"]),
        ],
    )

    assert service.ran[1] == "GET /service/Customers?$filter=Name eq 'O''Neil' and n eq 5&raw=O'Neil"


def test_a_condition_chooses_what_is_run(service: Service) -> None:
    answers = answered(
        service,
        [
            request("1", "missing"),
            request("2", "/service/cure?why=$1/why", dependsOn=["1"], **{"if": "not $1/$succeeded"}),
            request("3", "/service/never", dependsOn=["1"], **{"if": "$1/$succeeded"}),
            request("4", "/service/unknown", **{"if": "$1/why eq 'gone'"}),
            request("5", "/service/behind", dependsOn=["4"]),
        ],
    )

    assert [answer["status"] for answer in answers] == [404, 200, 424, 424, 424]
    assert service.ran == ["GET /service/missing", "GET /service/cure?why=gone"]


def test_an_unknown_condition_fails_the_whole_group(service: Service) -> None:
    answers = answered(
        service,
        [
            request("1", atomicityGroup="g", method="post"),
            request("2", atomicityGroup="g", method="post", **{"if": "true"}),
            request("3", dependsOn=["g"]),
        ],
        atomic="stop",
    )

    assert [answer["status"] for answer in answers] == [424, 424, 424]
    assert [answer.get("atomicityGroup") for answer in answers] == ["g", "g", None]
    assert service.ran == []


def test_a_group_without_anything_to_make_it_atomic_is_not_run(service: Service) -> None:
    answers = answered(service, [request("1", atomicityGroup="g", method="post"), request("2", atomicityGroup="g", method="post")])

    assert [answer["status"] for answer in answers] == [501, 501]
    assert service.ran == []


def test_members_of_a_group_that_do_not_stand_side_by_side_refuse_the_batch(service: Service) -> None:
    answer = odata_answer(service, [request("1", atomicityGroup="g"), request("2"), request("3", atomicityGroup="g")])

    assert answer.status == 400
    assert answer.json()["error"]["target"] == "/requests/2"


def test_what_was_not_processed_is_left_out_where_the_client_prefers_it(service: Service) -> None:
    requests = [request("1"), request("2", "missing"), request("3")]

    stopped = odata_answer(service, requests, prefer="odata.continue-on-error=false")
    continued = odata_answer(service, requests)

    assert [answer["id"] for answer in stopped.json()["responses"]] == ["1", "2"]
    assert stopped.header("Preference-Applied") == "odata.continue-on-error=false"
    assert [answer["id"] for answer in continued.json()["responses"]] == ["1", "2", "3"]
    assert continued.header("Preference-Applied") is None


@pytest.mark.parametrize("executor", ["sequential", "threads"])
def test_the_example_runs_whatever_the_executor(service: Service, executor: str) -> None:
    answers = answered(service, BATCH, executor=executor, order="free", atomic="stop")

    assert [answer["id"] for answer in answers] == ["0", "1", "2", "3"]
    assert [answer["status"] for answer in answers] == [200, 200, 201, 200]
    assert service.ran.index("POST /service/Customers") < service.ran.index("GET /service/Products")


def test_each_kind_of_answer_has_its_members() -> None:
    text, image, empty = answered(show, [request("1", "/text"), request("2", "/bin"), request(3, "/empty")])

    assert text == {"id": "1", "status": 200, "headers": {"content-type": "text/plain; charset=utf-8"}, "body": "grüße"}
    assert base64.urlsafe_b64decode(image["body"]) == IMAGE
    assert empty == {"id": 3, "status": 204, "headers": {}}


@pytest.mark.parametrize(
    ("url", "code"), [("$batch", "nested-batch"), ("%24batch", "nested-batch"), ("//x", "bad-url"), ("http://elsewhere/", "foreign-host")]
)
def test_an_item_leads_neither_to_a_batch_nor_elsewhere(service: Service, url: str, code: str) -> None:
    [answer] = answered(service, [request("1", url, method="POST")])

    assert answer["body"]["error"]["innererror"]["code"] == code
    assert service.ran == []
