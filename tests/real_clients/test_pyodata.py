"""pyodata, a library of OData 2, as it comes: its urls are relative to the service, and it takes no status but 202."""

from collections.abc import Iterator
from typing import Any

import pyodata
import pytest
import requests
from pyodata.exceptions import HttpError

from tests.real_clients.site_odata import served, ways


@pytest.fixture(scope="module", params=ways("odata2"), ids="-".join)
def base(request: pytest.FixtureRequest) -> Iterator[str]:
    with served("odata", request.param) as base:
        yield base


@pytest.fixture
def service(base: str) -> Iterator[Any]:
    """A service in which nobody but Bob, 40, is known."""
    with requests.Session() as session:
        service = pyodata.Client(f"{base}/odata/", session)
        for name in ages(service):
            service.entity_sets.People.delete_entity(name).execute()
        service.entity_sets.People.create_entity().set(Name="Bob", Age=40).execute()
        yield service


def ages(service: Any) -> dict[str, int]:
    """Of everybody, by their names; not in a batch."""
    return {person.Name: person.Age for person in service.entity_sets.People.get_entities().execute()}


def made(service: Any, name: str, age: int) -> Any:
    return service.entity_sets.People.create_entity().set(Name=name, Age=age)


def batch_of(service: Any, *requests: Any) -> Any:
    batch = service.create_batch()
    for each in requests:
        batch.add_request(each)
    return batch


def changeset_of(service: Any, *requests: Any) -> Any:
    changeset = service.create_changeset()
    for each in requests:
        changeset.add_request(each)
    return changeset


def test_each_request_gets_its_own_answer(service: Any) -> None:
    people = service.entity_sets.People
    made(service, "Zoë O'Hara", 3).execute()

    zoe, bob, all_of_them = batch_of(service, people.get_entity("Zoë O'Hara"), people.get_entity("Bob"), people.get_entities()).execute()

    assert (zoe.Name, zoe.Age, bob.Name, bob.Age) == ("Zoë O'Hara", 3, "Bob", 40)
    assert [person.Name for person in all_of_them] == ["Bob", "Zoë O'Hara"]


def test_the_options_of_a_query_reach_the_app(service: Any) -> None:
    made(service, "Zoë O'Hara", 3).execute()

    [found] = batch_of(service, service.entity_sets.People.get_entities().filter("Name eq 'Zoë O'Hara'")).execute()

    assert [person.Name for person in found] == ["Zoë O'Hara"]


def test_a_changeset_does_all_that_it_holds(service: Any) -> None:
    people = service.entity_sets.People
    changeset = changeset_of(
        service,
        made(service, "Yan", 7),
        people.update_entity("Bob").set(Age=41),
        people.update_entity("Yan", method="PUT").set(Age=8),
        people.update_entity("Yan", method="MERGE").set(Age=9),
    )

    [[yan, *rest]] = batch_of(service, changeset).execute()

    assert (yan.Name, yan.Age, rest) == ("Yan", 7, [None, None, None])
    assert ages(service) == {"Bob": 41, "Yan": 9}


def test_a_deletion_in_a_changeset_needs_no_header(service: Any) -> None:
    assert batch_of(service, changeset_of(service, service.entity_sets.People.delete_entity("Bob"))).execute() == [[None]]

    assert ages(service) == {}


def test_requests_and_changesets_are_run_in_their_order(service: Any) -> None:
    people = service.entity_sets.People

    before, [yan], after, [_, _], last = batch_of(
        service,
        people.get_entities(),
        changeset_of(service, made(service, "Yan", 7)),
        people.get_entities(),
        changeset_of(service, people.delete_entity("Yan"), people.delete_entity("Bob")),
        people.get_entities(),
    ).execute()

    assert [[person.Name for person in found] for found in (before, after, last)] == [["Bob"], ["Bob", "Yan"], []]
    assert yan.Age == 7


def test_a_changeset_that_fails_is_answered_by_what_failed_and_leaves_nothing(service: Any) -> None:
    changeset = changeset_of(
        service,
        made(service, "Yan", 7),
        service.entity_sets.People.update_entity("Bob").set(Age=41),
        made(service, "Ann", -1),
        made(service, "Kim", 5),
    )

    with pytest.raises(HttpError, match="single response received, status code: 400") as raised:
        batch_of(service, changeset).execute()

    assert raised.value.response.json()["error"]["message"]["value"] == "an age is not negative"
    assert ages(service) == {"Bob": 40}


def test_a_changeset_that_fails_harms_no_other(service: Any) -> None:
    people = service.entity_sets.People
    told: list[int] = []
    failing, passing = changeset_of(service, made(service, "Ann", 1), people.delete_entity("nobody")), changeset_of(service, made(service, "Kim", 5))
    # The client raises at the first failure; this one goes on.
    failing._handler_decoded = lambda changeset, parts: told.append(len(parts))

    _, [kim], bob = batch_of(service, failing, passing, people.get_entity("Bob")).execute()

    assert (told, kim.Age, bob.Age) == ([1], 5, 40)
    assert ages(service) == {"Bob": 40, "Kim": 5}


def test_a_failure_outside_of_changesets_is_raised_with_its_own_body(service: Any) -> None:
    with pytest.raises(HttpError, match="status code 404") as raised:
        batch_of(service, service.entity_sets.People.get_entity("nobody")).execute()

    assert raised.value.response.json()["error"]["message"]["value"] == "nobody is called nobody"


def test_a_batch_that_is_refused_is_an_error_with_our_status(service: Any) -> None:
    with pytest.raises(HttpError, match="status code 413") as raised:
        batch_of(service, *[made(service, f"n{number}", 1) for number in range(101)]).execute()

    assert "at most 100 are accepted" in raised.value.response.json()["error"]["message"]
    assert ages(service) == {"Bob": 40}
