"""google-cloud-storage as it comes: it names no request, so it takes the answers in their order, and writes urls in full."""

from collections.abc import Iterator

import pytest
from google.api_core.exceptions import GoogleAPICallError, NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tests.real_clients.site import EXECUTORS, served


@pytest.fixture(scope="module", params=EXECUTORS)
def base(request: pytest.FixtureRequest) -> Iterator[str]:
    with served("storage", request.param) as base:
        yield base


@pytest.fixture
def bucket(base: str) -> Iterator[storage.Bucket]:
    client = storage.Client(project="any", credentials=AnonymousCredentials(), client_options={"api_endpoint": base})  # type: ignore[no-untyped-call]
    yield client.bucket("photos")
    client.close()


def test_each_object_gets_the_answer_to_its_own_request(bucket: storage.Bucket) -> None:
    blobs = [bucket.blob(f"{number}.png") for number in range(25)]

    with bucket.client.batch():
        for number, blob in enumerate(blobs):
            blob.metadata = {"number": str(number)}
            blob.patch()

    assert [blob.metadata for blob in blobs] == [{"number": str(number)} for number in range(25)]


@pytest.mark.parametrize("name", ["a/b/c.png", "Zoë.png", "what? 100% #1 & more.png", "a//b", "a;b=c"])
def test_an_object_of_any_name_is_found(bucket: storage.Bucket, name: str) -> None:
    blob = bucket.blob(name)
    with bucket.client.batch():
        blob.reload()

    assert blob._properties["name"] == name


def test_what_was_asked_before_is_done_before(bucket: storage.Bucket) -> None:
    # The client cannot tell what is true of an object whose answer is still to come, so each request has its own.
    changed, read, deleted, gone = (bucket.blob("in order.png") for _ in range(4))
    with bucket.client.batch(raise_exception=False) as batch:
        changed.metadata = {"Zoë": "grüße"}
        changed.patch()
        read.reload()
        deleted.delete()
        gone.reload()

    assert [response.status_code for response in batch._responses] == [200, 200, 204, 404]
    assert read.metadata == {"Zoë": "grüße"}


def test_deleted_objects_are_gone(bucket: storage.Bucket) -> None:
    with bucket.client.batch():
        bucket.delete_blobs(["gone 1.png", "gone 2.png"])

    assert not bucket.blob("gone 1.png").exists()
    assert not bucket.blob("gone 2.png").exists()
    assert bucket.blob("never gone.png").exists()


def test_an_error_among_the_answers_is_raised_when_all_is_done(bucket: storage.Bucket) -> None:
    kept, gone = bucket.blob("kept.png"), bucket.blob("gone after all.png")

    with pytest.raises(NotFound, match=r"No such object: photos/missing\.png"), bucket.client.batch():  # noqa: PT012  # It is raised at the end.
        kept.reload()
        bucket.blob("missing.png").delete()
        gone.delete()

    assert kept._properties["name"] == "kept.png"
    assert not gone.exists()


def test_errors_that_are_not_to_be_raised_stand_among_the_answers(bucket: storage.Bucket) -> None:
    with bucket.client.batch(raise_exception=False) as batch:
        for name in ("missing.png", "there.png", "missing too.png"):
            bucket.blob(name).reload()

    assert [response.status_code for response in batch._responses] == [404, 200, 404]
    assert batch._responses[2].json()["error"]["message"] == "No such object: photos/missing too.png"


def test_a_batch_of_more_requests_than_the_limit_is_refused_with_a_reason(bucket: storage.Bucket) -> None:
    with pytest.raises(GoogleAPICallError, match="100") as raised, bucket.client.batch():
        bucket.delete_blobs([f"still there {number}.png" for number in range(101)])

    assert raised.value.code == 413
    assert bucket.blob("still there 0.png").exists()
