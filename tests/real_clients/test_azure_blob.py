"""azure-storage-blob, as it comes: its batches are told by their query, each of its requests is signed by itself, and it takes no status but 202."""

from collections.abc import Iterator

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerClient, PartialBatchErrorException, StandardBlobTier

from tests.real_clients.site_odata import ACCOUNT, served, ways


@pytest.fixture(scope="module", params=ways("azure-blob"), ids="-".join)
def account(request: pytest.FixtureRequest) -> Iterator[BlobServiceClient]:
    credential = {"account_name": ACCOUNT, "account_key": "a2V5"}
    with served("azure_blob", request.param) as base, BlobServiceClient(f"{base}/{ACCOUNT}", credential, retry_total=0) as client:
        yield client


@pytest.fixture
def letters(account: BlobServiceClient) -> ContainerClient:
    """A container with three blobs."""
    container = account.get_container_client("letters")
    for name in ("a", "b/ü 1", "c?d&e"):
        container.upload_blob(name, b"", overwrite=True)
    return container


def there(container: ContainerClient, *names: str) -> list[bool]:
    return [container.get_blob_client(name).exists() for name in names]


def test_what_is_deleted_is_gone_and_nothing_else(letters: ContainerClient) -> None:
    answers = list(letters.delete_blobs("a", "c?d&e"))

    assert [answer.status_code for answer in answers] == [202, 202]
    assert there(letters, "a", "b/ü 1", "c?d&e") == [False, True, False]


def test_a_name_that_is_no_plain_word_arrives(letters: ContainerClient) -> None:
    letters.delete_blobs("b/ü 1")

    assert there(letters, "a", "b/ü 1") == [True, False]


def test_a_failure_among_the_answers_is_told_in_its_place_and_harms_no_other(letters: ContainerClient) -> None:
    with pytest.raises(PartialBatchErrorException) as raised:
        letters.delete_blobs("a", "missing", "b/ü 1")

    assert [(part.status_code, part.headers.get("x-ms-error-code")) for part in raised.value.parts] == [
        (202, None),
        (404, "BlobNotFound"),
        (202, None),
    ]
    assert there(letters, "a", "b/ü 1") == [False, False]


def test_failures_that_are_not_raised_are_given_with_their_bodies(letters: ContainerClient) -> None:
    answers = list(letters.delete_blobs("missing", "a", raise_on_any_failure=False))

    assert [answer.status_code for answer in answers] == [404, 202]
    assert b"<Code>BlobNotFound</Code>" in answers[0].body()


def test_the_header_of_a_request_reaches_the_app(letters: ContainerClient) -> None:
    letters.set_standard_blob_tier_blobs(StandardBlobTier.COOL, "a", "b/ü 1")

    tiers = [letters.get_blob_client(name).get_blob_properties().blob_tier for name in ("a", "b/ü 1", "c?d&e")]
    assert tiers == ["Cool", "Cool", "Hot"]


def test_a_batch_holds_256_requests(letters: ContainerClient) -> None:
    answers = list(letters.delete_blobs(*[f"n{number}" for number in range(256)], raise_on_any_failure=False))

    assert [answer.status_code for answer in answers] == [404] * 256


def test_a_batch_that_is_refused_is_an_error_with_our_status(letters: ContainerClient) -> None:
    with pytest.raises(HttpResponseError, match="The batch holds 257 requests and at most 256 are accepted") as raised:
        letters.delete_blobs("a", *[f"n{number}" for number in range(256)])

    assert raised.value.status_code == 413
    assert there(letters, "a") == [True]
