"""The Python libraries for Facebook's Graph API as they come: Meta's own, and facepy.

Both tell by the body of an answer whether it is a success; Meta's own takes null for what has to be sent again.
"""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from facebook_business.api import FacebookAdsApi, FacebookAdsApiBatch, FacebookRequest, FacebookResponse
from facebook_business.exceptions import FacebookRequestError
from facebook_business.session import FacebookSession
from facepy import GraphAPI
from facepy.exceptions import FacebookError

from tests.apps import IMAGE
from tests.real_clients.site import EXECUTORS, served


@pytest.fixture(scope="module", params=EXECUTORS)
def base(request: pytest.FixtureRequest) -> Iterator[str]:
    with served("facebook", request.param) as base:
        yield base


@pytest.fixture
def api(base: str) -> Iterator[FacebookAdsApi]:
    session = FacebookSession(access_token="mine&yours")
    session.GRAPH = base
    yield FacebookAdsApi(session, api_version="v26.0")
    session.requests.close()


@pytest.fixture
def graph(base: str) -> Iterator[GraphAPI]:
    graph = GraphAPI("mine&yours", url=base)
    yield graph
    graph.session.close()


class Told:
    """A batch, and what it told of its calls, in the order it did."""

    def __init__(self, batch: FacebookAdsApiBatch) -> None:
        self.batch = batch
        self.outcomes: list[tuple[str, int]] = []
        self.answers: list[FacebookResponse] = []

    @property
    def found(self) -> list[Any]:
        return [answer.json() for answer in self.answers]

    def add(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """The call as it will be sent; it may be changed until then."""
        call: dict[str, Any] = self.batch.add(method, path, success=self._as("success"), failure=self._as("failure"), **more)
        return call

    def _as(self, outcome: str) -> Any:
        def tell(response: FacebookResponse) -> None:
            self.outcomes.append((outcome, response.status()))
            self.answers.append(response)

        return tell


@pytest.fixture
def told(api: FacebookAdsApi) -> Told:
    return Told(api.new_batch())


def test_each_call_is_told_its_own_answer(told: Told) -> None:
    for number in range(50):
        told.add("GET", f"hello/n{number}", params={"question": "why so, Zoë? & more"})

    assert told.batch.execute() is None
    assert told.found == [{"hello": f"n{number}", "question": "why so, Zoë? & more"} for number in range(50)]


def test_an_answer_without_a_body_is_a_success(told: Told) -> None:
    told.add("POST", "people", params={"name": "Zoë", "likes": ["a=b&c", None]})
    told.add("DELETE", "people/1")

    assert told.batch.execute() is None
    assert told.outcomes == [("success", 201), ("success", 204)]
    assert (told.found[0]["name"], told.found[0]["likes"]) == ("Zoë", '["a=b&c",null]')


@pytest.mark.parametrize(("path", "status"), [("missing", 404), ("nowhere", 404), ("//elsewhere.example/", 400), ("people/1/orders", 404)])
def test_a_failure_is_told_as_one_whatever_the_app_answers(told: Told, path: str, status: int) -> None:
    told.add("GET", "hello/before")
    told.add("GET", path)
    told.add("GET", "hello/after")

    assert told.batch.execute() is None
    assert told.outcomes == [("success", 200), ("failure", status), ("success", 200)]
    assert told.answers[1].error().api_error_message()


def test_calls_refer_to_earlier_ones_though_the_library_encodes_what_they_say(told: Told) -> None:
    made = told.add("POST", "people", params={"name": "Zoë & Bob"})
    made.update(name="made", omit_response_on_success=False)
    told.add("GET", "hello/x", params={"question": "{result=made:$.name}, {result=made:$..name}"})
    told.add("POST", "people", params={"name": "{result=made:$['name']} again"})

    assert told.batch.execute() is None
    assert told.found[1]["question"] == "Zoë & Bob, Zoë & Bob"
    assert told.found[2]["name"] == "Zoë & Bob again"


def test_a_call_whose_answer_is_not_wanted_is_one_that_the_library_would_send_again(told: Told) -> None:
    told.add("GET", "people")["name"] = "everybody"
    told.add("GET", "hello/x")["depends_on"] = "everybody"

    again = told.batch.execute()

    assert [call["relative_url"] for call in again._batch] == ["people"]
    assert told.found == [{"hello": "x", "question": None}]


def test_a_call_is_not_run_when_the_one_it_waits_for_fails(told: Told) -> None:
    told.add("GET", "missing")["name"] = "first"
    told.add("POST", "people", params={"name": "never made"})["depends_on"] = "first"
    told.add("GET", "people")

    assert told.batch.execute() is None
    assert told.outcomes == [("failure", 404), ("failure", 424), ("success", 200)]
    assert "never made" not in [person.get("name") for person in told.found[2]["value"]]


def test_files_reach_the_app_with_the_calls_that_they_belong_to(told: Told) -> None:
    told.add("POST", "photos", params={"caption": "a b&c=Zoë"}, files={"source0": ("zoë.png", io.BytesIO(IMAGE), "image/png")})
    told.add("POST", "photos", files={"source1": io.BytesIO(b"text\r\n--text")})
    told.add("POST", "photos", params={"caption": "none"})

    assert told.batch.execute() is None
    assert told.found == [
        {"fields": {"caption": "a b&c=Zoë"}, "files": {"source0": ["zoë.png", "image/png", IMAGE.hex()]}},
        {"fields": {}, "files": {"source1": ["source1", "", b"text\r\n--text".hex()]}},
        {"fields": {"caption": "none"}, "files": {}},
    ]


def test_the_token_of_the_batch_is_that_of_each_call_that_brings_none(told: Told) -> None:
    told.add("GET", "token")
    told.add("GET", "token", params={"access_token": "its own"})
    told.add("GET", "me", headers={"Authorization": "Bearer fresh"})

    assert told.batch.execute() is None
    assert told.found == [{"token": "mine&yours"}, {"token": "its own"}, {"name": "zoe"}]


def test_requests_made_by_the_objects_of_the_library_are_batched(api: FacebookAdsApi, told: Told) -> None:
    request = FacebookRequest("hello", "GET", "/bob", api=api, api_type="NODE").add_params({"question": "why?"})

    told.batch.add_request(request, success=told._as("success"))
    told.batch.execute()

    assert told.found == [{"hello": "bob", "question": "why?"}]


def test_a_batch_that_is_refused_is_an_error_with_our_words(told: Told) -> None:
    for _ in range(51):
        told.add("POST", "people", params={"name": "never made"})

    with pytest.raises(FacebookRequestError) as raised:
        told.batch.execute()

    assert raised.value.http_status() == 413
    assert "at most 50" in raised.value.api_error_message()


def test_facepy_yields_each_answer_or_error_in_order(graph: GraphAPI) -> None:
    made, nothing, missing, bare, text, token = graph.batch(
        [
            {"method": "POST", "relative_url": "people", "body": {"name": "Zoë & Bob"}},
            {"method": "DELETE", "relative_url": "people/1000"},
            {"method": "GET", "relative_url": "missing"},
            {"method": "GET", "relative_url": "nowhere"},
            {"method": "GET", "relative_url": "text"},
            {"method": "GET", "relative_url": "token"},
        ]
    )

    assert made["name"] == "Zoë & Bob"
    assert nothing == {"success": True}
    assert [type(missing), missing.message] == [FacebookError, "nobody is here"]
    assert [type(bare), bare.code] == [FacebookError, 404]
    assert text == "grüße"
    assert token == {"token": "mine&yours"}


def test_facepy_refers_to_an_earlier_answer_and_is_not_given_that(graph: GraphAPI) -> None:
    made, greeted = graph.batch(
        [
            {"method": "POST", "relative_url": "people", "body": {"name": "Bob"}, "name": "made"},
            {"method": "GET", "relative_url": "hello/{result=made:$.name}?question={result=made:$.name}"},
        ]
    )

    assert made is None
    assert greeted == {"hello": "Bob", "question": "Bob"}


def test_facepy_sends_more_than_a_batch_holds_in_several(graph: GraphAPI) -> None:
    found = list(graph.batch([{"method": "GET", "relative_url": f"hello/n{number}"} for number in range(120)]))

    assert [answer["hello"] for answer in found] == [f"n{number}" for number in range(120)]
