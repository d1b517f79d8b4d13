import pytest
from hypothesis import given
from msgspec.structs import replace

from tests import strategies
from tests.apps import show
from tests.gateway import environ_of, get, post, send
from wsgibatch import BatchMiddleware, Settings, SubRequest, _lookup, dialects
from wsgibatch.dialects.aggregator import AggregatorDialect
from wsgibatch.dialects.auto import AutoDialect
from wsgibatch.dialects.django import DjangoDialect
from wsgibatch.dialects.facebook import FacebookDialect
from wsgibatch.dialects.graph import GraphDialect
from wsgibatch.dialects.kinto import KintoDialect
from wsgibatch.dialects.odata import OdataDialect
from wsgibatch.errors import BadBatch
from wsgibatch.model import Head

HEAD = Head(path="/batch", mount="", host="h", scheme="http", media_type="application/json", parameters={})
ENVELOPE = b'{"requests":[{"id":"1","method":"GET","url":"/a"}]}'


@pytest.mark.parametrize(
    ("body", "dialect"),
    [
        (b'[{"url":"/a","method":"GET"}]', DjangoDialect),
        (b' \r\n[ {"x":1,"method":"GET","url":"/a"}, 5 ]', DjangoDialect),
        (b'{"batch":[{"url":"/a","method":"GET"}]}', DjangoDialect),
        (b'{"batch":[]}', DjangoDialect),
        (b'{"batch":[{"relative_url":"a","method":"GET"}]}', FacebookDialect),
        (b'{"batch":[{"relative_url":"a"}],"access_token":"x"}', FacebookDialect),
        (b'["/a"]', AggregatorDialect),
        (b'["", {}]', AggregatorDialect),
        (ENVELOPE, GraphDialect),
        (b'{"requests":[{"url":"/a","id":7}, 5]}', GraphDialect),
        (b'{"requests":[{"path":"/a"}]}', KintoDialect),
        (b'{"requests":[{"path":"/a","method":"PUT","headers":{},"body":{}}, 5]}', KintoDialect),
        (b'{"requests":[{"body":{"a":1}}],"defaults":{"path":"/a","method":"POST"}}', KintoDialect),
        (b'{"defaults":{},"requests":[{"path":"/a"}]}', KintoDialect),
    ],
)
def test_a_dialect_is_told_by_its_shape(body: bytes, dialect: type) -> None:
    assert type(AutoDialect().choose(HEAD, body, Settings())) is dialect


@pytest.mark.parametrize(("name", "dialect"), [("OData-Version", OdataDialect), ("odata-maxversion", OdataDialect), ("X-OData", GraphDialect)])
def test_a_header_that_only_odata_has_tells_it_from_graph(name: str, dialect: type) -> None:
    assert type(AutoDialect().choose(replace(HEAD, headers={name: "4.01"}), ENVELOPE, Settings())) is dialect


def test_a_header_of_odata_makes_nothing_else_a_batch_of_it() -> None:
    head = replace(HEAD, headers={"OData-Version": "4.01"})

    assert type(AutoDialect().choose(head, b'["/a"]', Settings())) is AggregatorDialect
    with pytest.raises(BadBatch):
        AutoDialect().choose(head, b'{"requests":[{"url":"/a"}]}', Settings())


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"null", b"5", b'"text"', b"[[]]", b"[5]", b"[null]", b'[{"url":"/a"}]', b'{"requests":[]}', b'{"batch":[],"requests":[]}']
    + [b'{"requests":{}}', b'{"requests":[5]}', b'{"requests":[{"id":"1"}]}', b'{"requests":[{"url":"/a","method":"GET"}]}']
    + [b'{"requests":[{}]}', b'{"requests":[{"method":"GET"}]}', b'{"requests":[],"defaults":{"path":"/a"}}', b'{"defaults":{"path":"/a"}}']
    + [b'{"requests":[{"path":"/a","id":"1"}]}', b'{"requests":[{"path":"/a","url":"/a"}]}', b'{"requests":[{"path":"/a"}],"more":1}']
    + [b'{"requests":[{"id":"1","url":"/a"}],"defaults":{}}', b'{"requests":["id","url"]}', b'{"Requests":[{"id":"1","url":"/a"}]}']
    + [b'{"batch":[],"include_headers":true}', b"broken", b"[", b"[}", b'{"batch":', b'{"a":1}x'],
)
def test_a_shape_that_is_not_decisive_is_refused(body: bytes) -> None:
    with pytest.raises(BadBatch):
        AutoDialect().choose(HEAD, body, Settings()).decode(HEAD, body, Settings())


@pytest.mark.parametrize(("body", "empty"), [(b"[]", True), (b' { "requests" : [ ] }', True), (b"[null]", False), (b"{}", False), (b"[[]]", False)])
def test_a_list_that_tells_no_dialect_since_it_is_empty_is_refused_with_that(body: bytes, empty: bool) -> None:
    with pytest.raises(BadBatch, match="An empty list" if empty else "the shape of no dialect"):
        AutoDialect().choose(HEAD, body, Settings())


def test_what_stands_before_the_list_is_passed_by() -> None:
    body = b'{"access_token":"[\\"batch\\":[1]","more":{"batch":[{"url":"/a"}]},"bat\\u0063h":[{"relative_url":"a"}]}'

    assert type(AutoDialect().choose(HEAD, body, Settings())) is FacebookDialect


def test_many_members_before_the_list_are_not_looked_through() -> None:
    body = b"{" + b'"a":1,' * 1000 + b'"batch":[{"relative_url":"a"}]}'

    with pytest.raises(BadBatch):
        AutoDialect().choose(HEAD, body, Settings())


@pytest.mark.parametrize("word", [word for word in _lookup.members(dialects) if word != "auto"])
def test_what_a_dialect_writes_is_recognised_as_its_own_or_not_at_all(word: str) -> None:
    dialect = _lookup.member(dialects, word)
    headers, body = dialect().write([SubRequest(0, "GET", "/a", [])])

    try:
        chosen = AutoDialect().choose(replace(HEAD, headers=dict(headers)), body, Settings())
    except BadBatch:
        return
    assert type(chosen) is dialect


@given(strategies.anything)
def test_any_bytes_are_a_batch_or_are_rejected(body: bytes) -> None:
    try:
        dialect = AutoDialect().choose(HEAD, body, Settings())
        dialect.decode(HEAD, body, Settings())
    except BadBatch:
        return


@pytest.mark.parametrize("place", range(len(strategies.HOSTILE)))
def test_hostile_bytes_are_answered_and_are_no_server_error(place: int) -> None:
    answer = send(BatchMiddleware(show), environ_of(strategies.HOSTILE[place]))

    assert answer.status == 200 or 400 <= answer.status < 500


def test_a_refusal_names_the_shapes_that_are_known() -> None:
    detail = post(BatchMiddleware(show), {"unknown": []}).json()["detail"]

    assert "django" in detail
    assert "aggregator" in detail


def test_each_batch_is_answered_in_its_own_dialect() -> None:
    app = BatchMiddleware(show)

    assert post(app, ["/text"]).json() == {"/text": "grüße"}
    assert post(app, [get("/text")]).items[0]["body"] == "grüße"
    assert post(app, ["/text"]).json() == {"/text": "grüße"}


def test_graph_and_odata_are_told_apart_by_the_headers_of_the_post() -> None:
    app = BatchMiddleware(show)

    assert "Content-Type" in post(app, ENVELOPE).json()["responses"][0]["headers"]
    assert "content-type" in post(app, ENVELOPE, HTTP_ODATA_MAXVERSION="4.01").json()["responses"][0]["headers"]


def test_types_that_need_no_preflight_are_not_taken_however_decisive_the_shape_is() -> None:
    assert post(BatchMiddleware(show), ["/text"], CONTENT_TYPE="text/plain").status == 415
