"""google-api-python-client as it comes: it finds an answer by its Content-ID, which it folds when it is long, and ends its lines with LF."""

import json
from collections.abc import Iterator
from typing import Any

import google_auth_httplib2
import httplib2
import pytest
from google.auth import credentials
from googleapiclient.discovery import Resource, build_from_document
from googleapiclient.errors import HttpError

from tests.real_clients.site import EXECUTORS, served

TEXT = {"type": "string"}
IN_PATH = {"location": "path", "required": True, **TEXT}
BODY = {"request": {"$ref": "Person"}, "response": {"$ref": "Person"}}


def method(name: str, verb: str, path: str, **more: Any) -> tuple[str, dict[str, Any]]:
    parameters = {part: IN_PATH for part in ("name", "number") if f"{{{part}}}" in path}
    parameters |= {part: {"location": "query", **TEXT} for part in more.pop("query", ())}
    order = [part for part, told in parameters.items() if told.get("required")]
    return name, {"id": f"people.{name}", "httpMethod": verb, "path": path, "parameters": parameters, "parameterOrder": order, **more}


METHODS = [
    method("hello", "GET", "hello/{name}", query=("question",), response={}),
    method("list", "GET", "people", response={}),
    method("insert", "POST", "people", **BODY),
    method("patch", "PATCH", "people/{name}/", **BODY),
    method("delete", "DELETE", "people/{number}"),
    method("missing", "GET", "missing", response={}),
    method("me", "GET", "me", response={}),
]


def service(base: str, http: Any) -> Resource:
    """What the client makes of a description of the app, as Google gives one of each of its APIs."""
    document = {
        "name": "people",
        "version": "v1",
        "rootUrl": f"{base}/",
        "servicePath": "",
        "batchPath": "batch",
        "schemas": {"Person": {"id": "Person", "type": "object", "properties": {"name": TEXT}}},
        "resources": {"people": {"methods": dict(METHODS)}},
    }
    return build_from_document(json.dumps(document), http=http)


@pytest.fixture(scope="module", params=EXECUTORS)
def base(request: pytest.FixtureRequest) -> Iterator[str]:
    with served("google", request.param) as base:
        yield base


@pytest.fixture
def api(base: str) -> Iterator[Any]:
    with service(base, httplib2.Http()) as api:
        yield api


Answered = dict[str, tuple[Any, HttpError | None]]


def execute(api: Any, requests: dict[str, Any] | list[Any]) -> Answered:
    """Each answer, or error, as its callback is told it, under the id that it is told."""
    answered: Answered = {}

    def callback(request_id: str, response: Any, exception: HttpError | None) -> None:
        assert request_id not in answered
        answered[request_id] = response, exception

    batch = api.new_batch_http_request(callback=callback)
    for request_id, request in requests.items() if isinstance(requests, dict) else [(None, request) for request in requests]:
        batch.add(request, request_id=request_id)
    batch.execute()
    return answered


def everybody(api: Any) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = api.people().list().execute()["value"]
    return listed


def test_each_callback_is_told_the_answer_to_its_own_request(api: Any) -> None:
    answered = execute(api, [api.people().hello(name=f"n{number}", question="why so, Zoë?") for number in range(25)])

    assert answered == {str(number + 1): ({"hello": f"n{number}", "question": "why so, Zoë?"}, None) for number in range(25)}


def test_a_callback_of_one_request_is_called_besides_that_of_all(api: Any) -> None:
    told: list[tuple[str, str, Any]] = []
    batch = api.new_batch_http_request(callback=lambda request_id, response, error: told.append(("all", request_id, response["hello"])))
    batch.add(api.people().hello(name="bob"), callback=lambda request_id, response, error: told.append(("one", request_id, response["hello"])))
    batch.add(api.people().hello(name="zoe"))
    batch.execute()

    assert told == [("one", "1", "bob"), ("all", "1", "bob"), ("all", "2", "zoe")]


@pytest.mark.parametrize("name", ["a", "x" * 500, "a b+c", "Zoë <1>", "a\r\nb", "long and with blanks " * 10])
def test_an_answer_is_found_under_whatever_id_was_given(api: Any, name: str) -> None:
    answered = execute(api, {name: api.people().hello(name="bob"), "other": api.people().hello(name="zoe")})

    assert {request_id: response["hello"] for request_id, (response, _) in answered.items()} == {name: "bob", "other": "zoe"}


def test_a_body_in_json_reaches_the_app(api: Any) -> None:
    answered = execute(api, {"a": api.people().patch(name="zoe", body={"age": 1.5, "likes": [None, True, "Zoë\r\n\r\n--x--"]})})

    assert answered["a"] == ({"name": "zoe", "age": 1.5, "likes": [None, True, "Zoë\r\n\r\n--x--"]}, None)


def test_what_is_made_by_one_request_is_seen_by_the_next(api: Any) -> None:
    answered = execute(api, [api.people().insert(body={"name": f"link {number}"}) for number in range(5)] + [api.people().list()])

    made = [answered[str(number)][0] for number in range(1, 6)]
    assert [person["name"] for person in made] == [f"link {number}" for number in range(5)]
    assert answered["6"][0]["value"][-5:] == made


def test_a_deletion_is_answered_with_204_and_no_body(api: Any) -> None:
    made = api.people().insert(body={"name": "soon gone"}).execute()

    answered = execute(api, [api.people().hello(name="bob"), api.people().delete(number=str(made["id"])), api.people().hello(name="zoe")])

    assert answered["2"] == ("", None)
    assert [answered[place][0]["hello"] for place in ("1", "3")] == ["bob", "zoe"]
    assert made not in everybody(api)


def test_an_error_among_the_answers_is_told_its_own_callback_and_harms_no_other(api: Any) -> None:
    answered = execute(api, [api.people().hello(name="bob"), api.people().missing(), api.people().insert(body={"name": "made all the same"})])

    response, error = answered["2"]
    assert response is None
    assert error is not None
    assert (error.resp.status, error.reason) == (404, "nobody is here")
    assert answered["1"][0]["hello"] == "bob"
    assert answered["3"][0] in everybody(api)


class Credentials(credentials.Credentials):
    """Credentials whose token is stale until they are refreshed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.token = "stale"

    def refresh(self, request: Any) -> None:
        self.token = "fresh"


def test_what_is_answered_with_401_is_sent_again_with_a_fresh_token(base: str) -> None:
    with service(base, google_auth_httplib2.AuthorizedHttp(Credentials(), httplib2.Http())) as api:
        answered = execute(api, [api.people().hello(name="bob"), api.people().me()])

    assert answered == {"1": ({"hello": "bob", "question": None}, None), "2": ({"name": "zoe"}, None)}


def test_a_batch_of_more_requests_than_the_limit_is_refused_with_a_reason(api: Any) -> None:
    with pytest.raises(HttpError) as raised:
        execute(api, [api.people().insert(body={"name": "never made"}) for _ in range(101)])

    assert raised.value.resp.status == 413
    assert "100" in raised.value.reason
    assert "never made" not in [person["name"] for person in everybody(api)]
