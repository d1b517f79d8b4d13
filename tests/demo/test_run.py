"""What the demo sends."""

import pytest

from wsgibatch.demo.run import sayable, speakers


def test_a_dialect_is_given_the_requests_that_it_can_say() -> None:
    said = {word: {request.method for request in sayable(dialect)} for word, dialect in speakers().items()}

    assert said["aggregator"] == {"GET"}
    assert said["django"] == {"GET", "POST"}


@pytest.mark.parametrize("word", speakers())
def test_the_requests_of_a_batch_are_counted_from_0(word: str) -> None:
    requests = sayable(speakers()[word])

    assert [request.index for request in requests] == list(range(len(requests)))


@pytest.mark.parametrize("word", speakers())
def test_no_request_of_a_batch_is_like_another(word: str) -> None:
    said = [(request.method, request.target) for request in sayable(speakers()[word])]

    assert len(set(said)) == len(said)


def test_auto_is_no_dialect_to_write_in() -> None:
    assert "auto" not in speakers()
