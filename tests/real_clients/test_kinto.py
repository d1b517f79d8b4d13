"""kinto-http, the Python library of Kinto, as it comes; and Kinto itself behind our batch endpoint, compared with its own."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from kinto_http import BearerTokenAuth, Client, KintoException
from kinto_http.batch import BatchSession
from kinto_http.exceptions import KintoBatchException
from kinto_http.patch_type import MergePatch

from tests.gateway import Item
from tests.real_clients.site import EXECUTORS
from tests.real_clients.site_kinto import LIMIT, served

# The app about people


@pytest.fixture(scope="module", params=EXECUTORS)
def people(request: pytest.FixtureRequest) -> Iterator[str]:
    with served("people", request.param) as url:
        yield url


def sent(url: str, *asked: tuple[Any, ...], **settings: Any) -> list[Any]:
    """The bodies of the answers to (method, path, body, headers)."""
    with Client(server_url=url, **settings).batch() as batch:
        for method, path, *more in asked:
            payload, headers = [*more, None, None][:2]
            batch.session.request(method, path, payload=payload, headers=headers)
    return list(batch.results())


def test_the_answers_come_in_the_order_of_the_requests(people: str) -> None:
    found = sent(people, *[("GET", f"/hello/{name}?question=why%20so") for name in ("bob", "zoe", "bob")])

    assert found == [{"hello": name, "question": "why so"} for name in ("bob", "zoe", "bob")]


def test_a_body_reaches_the_app(people: str) -> None:
    assert sent(people, ("PATCH", "/people/zoe/", {"age": 1.5, "likes": [None, "grüße"]})) == [{"age": 1.5, "likes": [None, "grüße"], "name": "zoe"}]


def test_a_deletion_is_answered_with_an_object(people: str) -> None:
    [made] = sent(people, ("POST", "/people", {"name": "Ann"}))

    assert sent(people, ("DELETE", f"/people/{made['id']}"), ("GET", "/people")) == [{}, {"value": []}]


def test_an_error_is_raised_with_its_status_and_body_and_the_others_have_run(people: str) -> None:
    with pytest.raises(KintoBatchException) as raised:
        sent(people, ("GET", "/missing"), ("GET", "/hello/bob"))

    [error] = raised.value.exceptions
    assert (error.response.status_code, error.response["body"]["error"]["message"]) == (404, "nobody is here")
    assert raised.value.results[0][0]["responses"][1]["body"]["hello"] == "bob"


def test_an_error_that_is_a_page_is_raised_like_any_other(people: str) -> None:
    with pytest.raises(KintoBatchException) as raised:
        sent(people, ("GET", "/nowhere"), ("GET", "/hello/bob"))

    [error] = raised.value.exceptions
    assert (error.response.status_code, error.response["body"]["code"]) == (404, 404)
    assert "<title>404 Not Found</title>" in error.response["body"]["message"]


def test_errors_of_the_client_may_be_passed_over(people: str) -> None:
    found = sent(people, ("GET", "/missing"), ("TRACE", "/hello/bob"), ("GET", "/hello/bob"), ignore_batch_4xx=True)

    assert (found[0]["error"]["code"], found[1]["errno"], found[2]["hello"]) == ("NotFound", 115, "bob")


def test_who_sends_the_batch_sends_its_requests(people: str) -> None:
    assert sent(people, ("GET", "/me"), auth=BearerTokenAuth("fresh")) == [{"name": "zoe"}]


def test_headers_belong_to_their_request(people: str) -> None:
    fresh = {"Authorization": "Bearer fresh"}

    found = sent(people, ("GET", "/me", None, fresh), ("GET", "/me"), ignore_batch_4xx=True)

    assert [answer.get("name") for answer in found] == ["zoe", None]


def test_more_requests_than_a_batch_holds_are_sent_in_several_as_the_app_tells_it(people: str) -> None:
    names = [f"n{number}" for number in range(2 * LIMIT + 1)]
    client = Client(server_url=people)

    with client.batch() as batch:
        for name in names:
            batch.session.request("GET", f"/hello/{name}")

    assert [len(answer["responses"]) for answer, _ in batch.session._results] == [LIMIT, LIMIT, 1]
    assert [answer["hello"] for answer in batch.results()] == names


def test_a_batch_that_is_too_large_is_an_error_that_tells_the_limit(people: str) -> None:
    session = BatchSession(Client(server_url=people), batch_max_requests=0)
    for _ in range(LIMIT + 1):
        session.request("GET", "/hello/bob")

    with pytest.raises(KintoException) as raised:
        session.send()

    assert raised.value.response.status_code == 413
    assert f"at most {LIMIT} are accepted" in str(raised.value)


# Kinto, as its own client sees it


@pytest.fixture(scope="module")
def own() -> Iterator[str]:
    with served("own", "sequential") as url:
        yield url


@pytest.fixture(scope="module", params=EXECUTORS)
def ours(request: pytest.FixtureRequest) -> Iterator[str]:
    with served("ours", request.param) as url:
        yield url


@pytest.fixture(scope="module")
def transactional() -> Iterator[str]:
    with served("transactional", "sequential") as url:
        yield url


def client_of(url: str, bucket: str, **settings: Any) -> Client:
    """A client with an empty collection of its own."""
    client = Client(server_url=url, auth=("a", "b"), bucket=bucket, collection="books", **settings)
    client.delete_bucket(if_exists=True)
    client.create_bucket()
    client.create_collection()
    return client


def forgotten(text: str) -> str:
    """*text* without what differs from one moment, or one server, to another."""
    text = re.sub(r"127\.0\.0\.1:\d+", "HERE", text)
    text = re.sub(r'_token=[^"&]+', "_token=T", text)
    return re.sub(r"\b1[789]\d{11}\b|\b[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} [\d:]{8} GMT", "T", text)


def worked(url: str) -> Any:
    """What a client is told that does in batches all that it can, and what is there in the end."""
    client = client_of(url, "worked", ignore_batch_4xx=True)
    client.create_record(id="old", data={"title": "Old", "year": 1900})
    outdated = client.get_record(id="old")["data"]["last_modified"] - 1
    told: list[Any] = []
    with client.batch() as batch:
        for number in range(LIMIT + 5):
            batch.create_record(id=f"r{number}", data={"title": f"Nr. {number} - grüße", "price": number + 0.5})
    told += batch.results()
    with client.batch() as batch:
        batch.create_record(id="r1", data={"title": "there already"})
        batch.update_record(id="r2", data={"title": "changed"}, if_match=outdated)
        batch.update_record(id="r3", data={"title": "changed"})
        batch.patch_record(id="r4", data={"more": [1, {}, None]})
        batch.patch_record(id="r5", changes=MergePatch({"price": None}))
        batch.delete_record(id="r6")
        batch.delete_record(id="r6")
        batch.create_group(id="readers", data={"members": ["basicauth:x"]})
        batch.update_record(id="r8", data={"title": "for all"}, permissions={"read": ["system.Everyone"]})
        # What this client can only do alone when it is asked by name.
        batch.session.request("GET", client.get_endpoint("record", id="r7"))
        batch.session.request("GET", client.get_endpoint("record", id="nowhere"))
    told += batch.results()
    return forgotten(json.dumps([told, client.get_records(_sort="id")], sort_keys=True))


def test_kintos_client_sees_no_difference(own: str, ours: str) -> None:
    assert worked(ours) == worked(own)


def test_it_sees_none_either_where_the_dialect_is_told_by_the_batch(own: str) -> None:
    with served("recognised", "threads") as url:
        assert worked(url) == worked(own)


def test_what_a_busy_kinto_tells_its_clients_reaches_them(own: str) -> None:
    with served("loaded", "threads") as url:
        client = Client(server_url=url)
        with client.batch() as batch:
            client.session.backoff = None
            batch.session.request("GET", "/")

    assert client.session.backoff is not None


# Kinto, batch by batch

RECORDS = "/buckets/b/collections/c/records"


def asked(method: str, path: str, body: object = None, **headers: str) -> Item:
    members = {"body": body, "headers": {name.replace("_", "-"): value for name, value in headers.items()}}
    return {"method": method, "path": path, **{name: value for name, value in members.items() if value}}


BATCHES = [
    [],
    [{"path": "/"}, {"path": "/", "method": None}, {"path": "/", "method": ""}],
    [
        asked("PUT", "/buckets/b"),
        asked("PUT", "/buckets/b/collections/c"),
        asked("PUT", f"{RECORDS}/1", {"data": {"n": 1.5, "t": "grüße", "b": 10**20}}),
    ],
    [asked("GET", f"{RECORDS}/1"), asked("GET", "/buckets/b"), asked("GET", "/buckets/%62"), asked("GET", "/v1/buckets/b")],
    [asked("POST", RECORDS, {"data": {"id": f"n{number}", "n": number}}) for number in range(LIMIT)],
    [
        asked("GET", f"{RECORDS}?_sort=n&_limit=2"),
        asked("GET", f"{RECORDS}?n=1.5"),
        asked("GET", f"{RECORDS}?t=gr%C3%BC%C3%9Fe"),
        asked("HEAD", RECORDS),
    ],
    [asked("GET", f"{RECORDS}?_since=no"), asked("GET", f"{RECORDS}?_limit=-1"), asked("GET", f"{RECORDS}/1?_fields=n")],
    [asked("PUT", f"{RECORDS}/1", {"data": {}}, If_None_Match="*"), asked("PUT", f"{RECORDS}/1", {"data": {}}, If_Match='"1"')],
    [asked("GET", f"{RECORDS}/1", If_None_Match="no tag"), asked("GET", RECORDS, If_None_Match='"1"')],
    [
        asked("PATCH", f"{RECORDS}/1", {"data": {"m": {"x": 3}}}),
        asked("PATCH", f"{RECORDS}/1", {"data": {"m": None}}, Content_Type="application/merge-patch+json"),
    ],
    [asked("PATCH", f"{RECORDS}/1", {"data": {"m": 4}}, Content_Type="text/plain"), asked("PUT", f"{RECORDS}/2"), asked("PUT", f"{RECORDS}/3", {})],
    [asked("GET", "/nowhere"), asked("GET", f"{RECORDS}/nowhere"), asked("DELETE", "/nowhere"), asked("GET", f"{RECORDS}/gr%C3%BC")],
    [asked("PUT", f"{RECORDS}/a b", {"data": {}}), asked("PUT", f"{RECORDS}/x", {"data": 5}), asked("PUT", f"{RECORDS}/x", {"more": 5})],
    [asked("POST", "/buckets/b"), asked("PATCH", "/buckets")],
    [asked("GET", "/buckets/b", Authorization="Basic eDp5"), asked("GET", "/buckets/b", authorization="Basic eDp5"), asked("GET", "/buckets/other")],
    [asked("GET", "/__heartbeat__"), asked("GET", "/__api__"), asked("GET", "/permissions")],
    [asked("POST", RECORDS, {"data": {"id": "gone"}}), asked("DELETE", f"{RECORDS}/gone"), asked("GET", f"{RECORDS}/gone"), asked("GET", RECORDS)],
    [asked("DELETE", f"{RECORDS}?n=2"), asked("DELETE", f"{RECORDS}?n=2"), asked("DELETE", "/buckets/b")],
]

# Of an error within a batch, by Kinto.
LEFT_OUT = {"Content-Security-Policy", "X-Content-Type-Options"}


def posted(url: str, batch: object) -> requests.Response:
    text = batch if isinstance(batch, bytes) else json.dumps(batch).encode()
    return requests.post(f"{url}/batch", text, headers={"Content-Type": "application/json"}, auth=("a", "b"), timeout=30)


def told(answer: Item) -> str:
    headers = {name: value for name, value in answer["headers"].items() if name not in LEFT_OUT}
    # Where there is nothing Kinto gives an empty text, which its own client fails at.
    body = answer["body"] or {}
    return forgotten(json.dumps({**answer, "headers": headers, "body": body}, sort_keys=True))


def answered(url: str) -> list[Any]:
    """What comes of every batch of the table, one after another, from the beginning."""
    requests.delete(f"{url}/buckets/b", auth=("a", "b"), timeout=30)
    found = [posted(url, {"requests": batch}) for batch in BATCHES]
    return [(answer.status_code, [told(each) for each in answer.json()["responses"]]) for answer in found]


def test_every_batch_is_answered_as_kinto_answers_it(own: str, ours: str) -> None:
    found, theirs = answered(ours), answered(own)

    for place, batch in enumerate(BATCHES):
        assert (batch, found[place]) == (batch, theirs[place])


@pytest.mark.parametrize(
    "batch",
    [
        b"{",
        b"null",
        {},
        {"requests": {}},
        {"requests": None},
        {"requests": [], "more": 1},
        {"requests": [5]},
        {"requests": [{}]},
        {"requests": [{"path": "a"}]},
        {"requests": [{"path": 5}]},
        {"requests": [{"path": "/", "more": 1}]},
        {"requests": [{"path": "/", "headers": None}]},
        {"requests": [{"path": "/", "headers": {"a": 1}}]},
        {"requests": [{"path": "/", "body": None}]},
        {"requests": [{"path": "/", "body": "x"}]},
        {"requests": [{"path": "/", "body": []}]},
        {"requests": [], "defaults": None},
        {"requests": [], "defaults": {"path": "a"}},
        {"requests": [], "defaults": {"more": 1}},
    ],
    ids=str,
)
def test_what_is_no_batch_for_kinto_is_refused_as_kinto_refuses_it(own: str, ours: str, batch: object) -> None:
    theirs, found = (posted(url, batch) for url in (own, ours))

    assert (found.status_code, theirs.status_code) == (400, 400)
    for member in ("code", "errno", "error"):
        assert found.json()[member] == theirs.json()[member]
    assert found.json()["details"][0]["location"] == theirs.json()["details"][0]["location"] == "body"


WATCHED = [asked("GET", "/buckets/gone/collections/c/records")]


@pytest.mark.parametrize(
    ("requests_", "theirs", "found"),
    [
        pytest.param([{"path": "/"}] * (LIMIT + 1), 400, 413, id="too many"),
        pytest.param([{"path": "/batch", "method": "POST"}], 400, [400], id="a batch in a batch"),
        pytest.param([{"path": "/", "method": "get"}], 400, [405], id="a method in small letters"),
        pytest.param([{"path": "/", "method": "OPTIONS"}], 400, [400], id="a method that Kinto takes alone only"),
        pytest.param([{"path": "//x"}], [404], [400], id="a path that could be a host"),
        pytest.param([{"path": "/buckets/"}], [200], [307], id="a redirect"),
        pytest.param(
            [asked("PUT", "/buckets/gone"), asked("PUT", "/buckets/gone/collections/c"), *WATCHED, asked("DELETE", "/buckets/gone"), *WATCHED],
            [201, 201, 200, 200, 200],
            [201, 201, 200, 200, 403],
            id="a permission that is gone by then",
        ),
        pytest.param([{"path": "/raise"}], 500, [500], id="an error without a transaction"),
    ],
)
def test_where_kinto_answers_otherwise(own: str, ours: str, requests_: list[Item], theirs: object, found: object) -> None:
    def statuses(answer: requests.Response) -> object:
        return [each["status"] for each in answer.json()["responses"]] if answer.ok else answer.status_code

    assert [statuses(posted(url, {"requests": requests_})) for url in (own, ours)] == [theirs, found]


# Kinto with batches that are transactions


def test_a_batch_that_is_a_transaction_is_answered_alike(own: str, transactional: str) -> None:
    assert answered(transactional) == answered(own)


def test_an_error_of_the_server_is_the_answer_to_the_batch_as_kinto_has_it(own: str, transactional: str) -> None:
    theirs, found = (posted(url, {"requests": [{"path": "/"}, {"path": "/raise"}]}) for url in (own, transactional))

    assert (found.status_code, found.json()) == (theirs.status_code, theirs.json())
    assert found.status_code == 500


def test_nothing_is_left_of_a_batch_whose_error_the_client_is_told(transactional: str) -> None:
    client = client_of(transactional, "undone")

    session = BatchSession(client, batch_max_requests=LIMIT)
    client.clone(session=session).create_record(id="one", data={})
    session.request("GET", "/busy")

    with pytest.raises(KintoException) as raised:
        session.send()

    assert raised.value.response.status_code == 503
    assert raised.value.response.headers["Retry-After"] == "7"
    assert client.get_records() == []


def test_an_error_of_the_client_leaves_what_the_others_have_done(transactional: str) -> None:
    client = client_of(transactional, "kept", ignore_batch_4xx=True)

    with client.batch() as batch:
        batch.create_record(id="one", data={})
        batch.delete_record(id="nowhere")
        batch.create_record(id="two", data={})

    assert [answer.get("code") for answer in batch.results()] == [None, 404, None]
    assert {record["id"] for record in client.get_records()} == {"one", "two"}
