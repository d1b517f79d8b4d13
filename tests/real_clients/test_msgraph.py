"""msgraph-core, the Python library of Microsoft Graph, as it comes: it writes urls of items in full, and what they depend on in a way of its own."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import Request

import httpx
import pytest
from kiota_abstractions.api_client_builder import register_default_deserializer, register_default_serializer
from kiota_abstractions.api_error import APIError
from kiota_abstractions.authentication import AnonymousAuthenticationProvider
from kiota_abstractions.method import Method
from kiota_abstractions.request_information import RequestInformation
from kiota_abstractions.serialization.parsable import Parsable
from kiota_abstractions.serialization.parse_node import ParseNode
from kiota_abstractions.serialization.serialization_writer import SerializationWriter
from kiota_serialization_json.json_parse_node_factory import JsonParseNodeFactory
from kiota_serialization_json.json_serialization_writer_factory import JsonSerializationWriterFactory
from msgraph_core import BaseGraphRequestAdapter, GraphClientFactory
from msgraph_core.requests.batch_request_builder import BatchRequestBuilder
from msgraph_core.requests.batch_request_content import BatchRequestContent
from msgraph_core.requests.batch_request_content_collection import BatchRequestContentCollection
from msgraph_core.requests.batch_request_item import BatchRequestItem

from tests.apps import IMAGE
from tests.real_clients.site import EXECUTORS, served

register_default_serializer(JsonSerializationWriterFactory)
register_default_deserializer(JsonParseNodeFactory)


class Greeting(Parsable):
    """What ``/hello/<name>`` answers, as the models of an SDK are written."""

    hello: str | None = None
    question: str | None = None

    @staticmethod
    def create_from_discriminator_value(parse_node: ParseNode | None = None) -> "Greeting":
        return Greeting()

    def get_field_deserializers(self) -> dict[str, Callable[[ParseNode], None]]:
        return {
            "hello": lambda node: setattr(self, "hello", node.get_str_value()),
            "question": lambda node: setattr(self, "question", node.get_str_value()),
        }

    def serialize(self, writer: SerializationWriter) -> None:
        writer.write_str_value("hello", self.hello)
        writer.write_str_value("question", self.question)


@pytest.fixture(scope="module", params=EXECUTORS)
def root(request: pytest.FixtureRequest) -> Iterator[str]:
    with served("graph", request.param) as base:
        yield f"{base}/v1.0"


def item(method: str, url: str, body: object = None, name: str = "", after: list[str] | None = None) -> BatchRequestItem:
    request = Request(url, method=method)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    return BatchRequestItem.create_with_urllib_request(request, name, after)


def posted(root: str, batch: BatchRequestContent | BatchRequestContentCollection) -> Any:
    async def post() -> Any:
        # The client does not close the transport that it wraps.
        async with httpx.AsyncHTTPTransport() as transport:
            http = GraphClientFactory.create_with_default_middleware(client=httpx.AsyncClient(base_url=root, transport=transport))
            adapter = BaseGraphRequestAdapter(AnonymousAuthenticationProvider(), http_client=http)
            return await BatchRequestBuilder(adapter).post(batch)

    return asyncio.run(post())


def answers(root: str, *items: BatchRequestItem) -> Any:
    return posted(root, BatchRequestContent({request.id: request for request in items}))


def everybody(root: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = httpx.get(f"{root.removesuffix('/v1.0')}/people").json()["value"]
    return listed


def test_each_answer_is_found_under_the_id_of_its_request(root: str) -> None:
    found = answers(root, *[item("GET", f"{root}/hello/{name}", name=name) for name in ("bob", "7", "Zoe.x-1")])

    assert {name: json.loads(answer.body)["hello"] for name, answer in found.responses.items()} == {"bob": "bob", "7": "7", "Zoe.x-1": "Zoe.x-1"}


def test_an_answer_is_read_into_the_model_that_is_asked_for(root: str) -> None:
    request = RequestInformation(Method.GET, "{+baseurl}/hello/{name}{?question}", {"baseurl": root, "name": "bob"})
    request.query_parameters["question"] = "why so, Zoë?"

    found = answers(root, BatchRequestItem(request, "a")).get_response_by_id("a", Greeting)

    assert (found.hello, found.question) == ("bob", "why so, Zoë?")


def test_an_object_in_json_reaches_the_app(root: str) -> None:
    found = answers(root, item("PATCH", f"{root}/people/zoe/", {"age": 1.50, "likes": [None, True]}, "a")).get_response_by_id("a")

    assert (found.status, json.loads(found.body)) == (200, {"name": "zoe", "age": 1.5, "likes": [None, True]})


@pytest.mark.parametrize("body", [[1, "Zoë"], "Zoë", 17])
def test_json_that_is_no_object_reaches_the_app_though_the_client_sends_it_in_base64(root: str, body: object) -> None:
    found = answers(root, item("PATCH", f"{root}/people/zoe/", body, "a")).get_response_by_id("a")

    assert json.loads(found.body) == {"name": "zoe", "said": body}


def test_what_is_made_is_told_with_its_place(root: str) -> None:
    found = answers(root, item("POST", f"{root}/people", {"name": "Yan"}, "a")).get_response_by_id("a")

    made = json.loads(found.body)
    assert (found.status, made["name"], found.headers["Location"]) == (201, "Yan", f"/people/{made['id']}")


def test_a_deletion_is_answered_with_204_and_no_body(root: str) -> None:
    made = json.loads(answers(root, item("POST", f"{root}/people", {"name": "Ann"}, "a")).get_response_by_id("a").body)

    found = answers(root, item("DELETE", f"{root}/people/{made['id']}", name="b")).get_response_by_id("b")

    assert (found.status, found.body) == (204, None)
    assert made not in everybody(root)


def test_an_error_among_the_answers_keeps_its_body_and_harms_no_other(root: str) -> None:
    found = answers(root, item("GET", f"{root}/missing", name="a"), item("GET", f"{root}/hello/bob", name="b"))

    assert found.get_response_status_codes() == {"a": 404, "b": 200}
    assert json.loads(found.get_response_by_id("a").body)["error"]["message"] == "nobody is here"


def test_an_image_comes_in_base64(root: str) -> None:
    found = answers(root, item("GET", f"{root}/bin", name="a"))

    assert found.get_response_by_id("a").content_type == "image/png"
    assert base64.b64decode(found.get_response_stream_by_id("a").read(), validate=True) == IMAGE


def test_text_comes_as_it_is(root: str) -> None:
    assert answers(root, item("GET", f"{root}/text", name="a")).get_response_by_id("a").body.decode() == "grüße"


def test_what_depends_on_others_is_run_after_them(root: str) -> None:
    found = answers(
        root,
        item("POST", f"{root}/people", {"name": "first of a chain"}, "a"),
        item("POST", f"{root}/people", {"name": "second of a chain"}, "b", ["a"]),
        item("GET", f"{root}/people", name="c", after=["a", "b"]),
    )

    assert found.get_response_status_codes() == {"a": 201, "b": 201, "c": 200}
    listed = [person["name"] for person in json.loads(found.get_response_by_id("c").body)["value"]]
    assert listed[-2:] == ["first of a chain", "second of a chain"]


def test_what_depends_on_a_failure_is_answered_with_424_and_not_run(root: str) -> None:
    found = answers(
        root,
        item("GET", f"{root}/missing", name="a"),
        item("POST", f"{root}/people", {"name": "never made"}, "b", ["a"]),
        item("GET", f"{root}/hello/bob", name="c", after=["b"]),
        item("GET", f"{root}/hello/bob", name="d"),
    )

    assert found.get_response_status_codes() == {"a": 404, "b": 424, "c": 424, "d": 200}
    assert json.loads(found.get_response_by_id("b").body)["error"]["code"] == "FailedDependency"
    assert "never made" not in [person.get("name") for person in everybody(root)]


def test_more_requests_than_a_batch_holds_are_sent_in_several(root: str) -> None:
    batches = BatchRequestContentCollection()
    for number in range(45):
        batches.add_batch_request_item(item("GET", f"{root}/hello/n{number}", name=str(number)))

    found = [response.responses for response in posted(root, batches).get_responses()]

    assert [len(responses) for responses in found] == [20, 20, 5]
    assert [json.loads(answer.body)["hello"] for responses in found for answer in responses.values()] == [f"n{number}" for number in range(45)]


def test_a_batch_that_is_refused_is_an_error_with_our_status(root: str) -> None:
    with pytest.raises(APIError) as raised:
        answers(root, item("GET", f"{root}/hello/bob", name="a"), item("GET", f"{root}/hello/bob", name="A"))

    assert raised.value.response_status_code == 400
