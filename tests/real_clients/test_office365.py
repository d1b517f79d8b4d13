"""Office365-REST-Python-Client in its Graph mode, as it comes: it numbers its items, and sends its token with each of them."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from office365.entity import Entity
from office365.entity_collection import EntityCollection
from office365.graph_client import GraphClient
from office365.graph_request import GraphRequest
from office365.runtime.client_request_exception import ClientRequestException
from office365.runtime.client_result import ClientResult
from office365.runtime.exceptions import ObjectNotFoundException
from office365.runtime.http.request_options import RequestOptions
from office365.runtime.paths.resource_path import ResourcePath
from office365.runtime.queries.function import FunctionQuery

from tests.apps import IMAGE
from tests.real_clients.site import EXECUTORS, served


class LocalRequest(GraphRequest):
    """A request to a server that is none of Microsoft's."""

    def __init__(self, root: str) -> None:
        super().__init__()
        self._root = root
        self.batches = 0
        self.with_access_token(lambda: {"token_type": "Bearer", "access_token": "any"})

    @property
    def service_root_url(self) -> str:
        return self._root

    def authenticate_request(self, request: RequestOptions) -> None:
        """As for items, so for whole batches, which are counted here."""
        self.batches += request.url.endswith("/$batch")
        super().authenticate_request(request)


class LocalClient(GraphClient):
    """A client of such a server."""

    def __init__(self, root: str) -> None:
        super().__init__()
        self._pending_request: LocalRequest | None = None
        self._root = root

    def pending_request(self) -> LocalRequest:
        if self._pending_request is None:
            self._pending_request = LocalRequest(self._root)
        return self._pending_request

    @property
    def people(self) -> EntityCollection[Entity]:
        return EntityCollection(self, Entity, ResourcePath("people"))

    @property
    def hello(self) -> EntityCollection[Entity]:
        return EntityCollection(self, Entity, ResourcePath("hello"))

    @property
    def missing(self) -> Entity:
        return Entity(self, ResourcePath("missing"))

    def content(self, name: str) -> "ClientResult[bytes]":
        result = ClientResult(self, b"")
        self.add_query(FunctionQuery(Entity(self), name, None, result))
        return result


@pytest.fixture(scope="module", params=EXECUTORS)
def root(request: pytest.FixtureRequest) -> Iterator[str]:
    with served("graph", request.param) as base:
        yield f"{base}/v1.0"


@pytest.fixture
def client(root: str) -> LocalClient:
    return LocalClient(root)


def everybody(client: LocalClient) -> list[str]:
    """The names of all, asked for in a batch of its own."""
    people = client.people.get()
    client.execute_batch()
    return [person.properties["name"] for person in people]


def statuses(failures: list[tuple[Any, ClientRequestException]]) -> list[int]:
    return [failure.response.status_code for _, failure in failures if failure.response is not None]


def test_each_object_gets_the_answer_to_its_own_request(client: LocalClient) -> None:
    bob = client.hello["bob"].get().select(["hello"])
    zoe = client.people.add(name="Zoë", age=3)
    ann = client.people["ann"].set_property("age", 4).update()
    kim = client.hello["kim"].get()

    client.execute_batch()

    assert (bob.properties["hello"], kim.properties["hello"]) == ("bob", "kim")
    assert (zoe.properties["name"], zoe.properties["age"]) == ("Zoë", 3)
    assert isinstance(zoe.properties["id"], int)
    assert ann.properties["age"] == 4


def test_what_is_deleted_is_gone(client: LocalClient) -> None:
    made = client.people.add(name="soon gone")
    client.execute_batch()
    client.people[str(made.properties["id"])].delete_object()

    client.execute_batch()

    assert "soon gone" not in everybody(client)


def test_a_failure_among_the_answers_is_raised_as_what_it_is(client: LocalClient) -> None:
    client.hello["bob"].get()
    client.missing.get()

    with pytest.raises(ObjectNotFoundException, match="nobody is here"):
        client.execute_batch()


def test_a_failure_that_is_collected_harms_no_other_answer(client: LocalClient) -> None:
    with client.collect_batch_failures() as failures:
        client.missing.get()
        bob = client.hello["bob"].get()
        client.execute_batch()

    assert statuses(failures) == [404]
    assert bob.properties["hello"] == "bob"


def test_a_chain_is_run_in_its_order(client: LocalClient) -> None:
    for number in range(5):
        client.people.add(name=f"link {number}")
    people = client.people.get()

    client.execute_batch(sequential=True)

    assert [person.properties["name"] for person in people][-5:] == [f"link {number}" for number in range(5)]


def test_what_stands_behind_a_failure_in_a_chain_is_answered_with_424_and_not_run(client: LocalClient) -> None:
    with client.collect_batch_failures() as failures:
        bob = client.hello["bob"].get()
        client.missing.get()
        client.people.add(name="never made")
        client.hello["kim"].get()
        client.execute_batch(sequential=True)

    assert bob.properties["hello"] == "bob"
    assert statuses(failures) == [404, 424, 424]
    assert "never made" not in everybody(client)


def test_an_image_comes_in_base64_and_text_as_it_is(client: LocalClient) -> None:
    image, text = client.content("bin"), client.content("text")

    client.execute_batch()

    # The client gives the JSON of the answer.
    assert base64.b64decode(json.loads(image.value), validate=True) == IMAGE
    assert json.loads(text.value) == "grüße"


def test_a_batch_that_is_too_large_is_refused_so_that_the_client_halves_it(client: LocalClient) -> None:
    asked = [client.hello[f"n{number}"].get() for number in range(45)]

    client.execute_batch(items_per_batch=45)

    assert [found.properties["hello"] for found in asked] == [f"n{number}" for number in range(45)]
    # 45 were refused; so were 22 and 23 of them; 11, 11, 11 and 12 were not.
    assert client.pending_request().batches == 7
