"""azure-data-tables, as it comes: its transactions are changesets, and it takes no status but 202."""

from collections.abc import Iterator
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.credentials import AzureNamedKeyCredential
from azure.data.tables import RequestTooLargeError, TableClient, TableTransactionError, UpdateMode

from tests.real_clients.site_odata import ACCOUNT, served, ways


@pytest.fixture(scope="module", params=ways("azure-tables"), ids="-".join)
def base(request: pytest.FixtureRequest) -> Iterator[str]:
    with served("azure_tables", request.param) as base:
        yield base


@pytest.fixture
def people(base: str) -> Iterator[TableClient]:
    """A table in which nobody but Bob, 40, is known."""
    credential = AzureNamedKeyCredential(ACCOUNT, "a2V5")
    with TableClient(f"{base}/{ACCOUNT}", "people", credential=credential, retry_total=0) as table:
        for entity in table.list_entities():
            table.delete_entity(entity)
        table.create_entity(person("Bob", 40))
        yield table


def person(name: str, age: int) -> dict[str, Any]:
    return {"PartitionKey": "all", "RowKey": name, "Age": age}


def ages(table: TableClient) -> dict[str, int]:
    """Of everybody, by their names; not in a batch."""
    return {entity["RowKey"]: entity["Age"] for entity in table.list_entities()}


def failure(error: TableTransactionError) -> tuple[int | None, str, int]:
    """Status, code, and the place of the operation that failed."""
    # The client sets the code without declaring it.
    return error.status_code, vars(error)["error_code"], error.index


def test_a_transaction_does_all_that_it_holds_and_tells_each_state(people: TableClient) -> None:
    done = people.submit_transaction(
        [
            ("create", person("Zoë O'Hara", 3)),
            ("upsert", person("Ann", 5)),
            ("update", person("Bob", 41), {"mode": UpdateMode.MERGE}),
            ("update", person("Zoë O'Hara", 4), {"mode": UpdateMode.REPLACE}),
        ]
    )

    assert ages(people) == {"Zoë O'Hara": 4, "Ann": 5, "Bob": 41}
    states = {entity["RowKey"]: entity.metadata["etag"] for entity in people.list_entities()}
    assert [answer["etag"] for answer in done[1:]] == [states["Ann"], states["Bob"], states["Zoë O'Hara"]]
    assert done[0]["etag"] not in states.values()


def test_what_is_deleted_in_a_transaction_is_gone(people: TableClient) -> None:
    assert people.submit_transaction([("create", person("Ann", 5)), ("delete", person("Bob", 40))])[1] == {}

    assert ages(people) == {"Ann": 5}


def test_the_condition_of_an_operation_reaches_the_app(people: TableClient) -> None:
    state = people.get_entity("all", "Bob").metadata["etag"]
    conditioned = {"etag": state, "match_condition": MatchConditions.IfNotModified}
    people.submit_transaction([("update", person("Bob", 41), conditioned)])

    with pytest.raises(TableTransactionError) as raised:
        people.submit_transaction([("update", person("Bob", 42), conditioned)])

    assert failure(raised.value) == (412, "UpdateConditionNotSatisfied", 0)
    assert ages(people) == {"Bob": 41}


def test_a_transaction_that_fails_tells_what_failed_and_leaves_nothing(people: TableClient) -> None:
    with pytest.raises(TableTransactionError, match="The entity is there already") as raised:
        people.submit_transaction(
            [("create", person("Ann", 5)), ("upsert", person("Bob", 41)), ("create", person("Bob", 42)), ("create", person("Kim", 7))]
        )

    assert failure(raised.value) == (409, "EntityAlreadyExists", 2)
    assert ages(people) == {"Bob": 40}


def test_a_transaction_holds_100_operations(people: TableClient) -> None:
    done = people.submit_transaction([("create", person(f"n{number:02}", number)) for number in range(100)])

    assert len({answer["etag"] for answer in done}) == 100
    assert ages(people) == {"Bob": 40, **{f"n{number:02}": number for number in range(100)}}


def test_an_operation_that_is_refused_by_us_fails_its_transaction_with_our_words(people: TableClient) -> None:
    chunked = {"headers": {"Transfer-Encoding": "chunked"}}

    with pytest.raises(TableTransactionError, match="leave out Transfer-Encoding") as raised:
        people.submit_transaction([("create", person("Ann", 5)), ("create", person("Kim", 7), chunked)])

    assert failure(raised.value) == (400, "bad-header", 1)
    assert ages(people) == {"Bob": 40}


def test_a_post_that_is_a_merge_by_its_header_alone_merges(base: str, people: TableClient) -> None:
    # The client takes a server of this name for one that has no MERGE, nor PATCH.
    credential = AzureNamedKeyCredential(ACCOUNT, "a2V5")
    with TableClient(f"{base.replace('127.0.0.1', 'localhost')}/{ACCOUNT}", "people", credential=credential, retry_total=0) as elsewhere:
        elsewhere.submit_transaction([("update", person("Bob", 41), {"mode": UpdateMode.MERGE}), ("create", person("Ann", 5))])

    assert ages(people) == {"Bob": 41, "Ann": 5}


def test_more_operations_are_refused_as_a_request_that_is_too_large(people: TableClient) -> None:
    with pytest.raises(RequestTooLargeError, match=r"^The batch holds 101 requests and at most 100 are accepted") as raised:
        people.submit_transaction([("create", person(f"n{number:03}", number)) for number in range(101)])

    assert raised.value.status_code == 413
    assert ages(people) == {"Bob": 40}
