"""A burst ends when it is time to report."""

from collections import deque

import pytest

from wsgibatch import SubRequest, SubResponse
from wsgibatch.executors._burst import BYTES, SECONDS, burst
from wsgibatch.model import Answers, Unit


def units(count: int) -> deque[Unit]:
    return deque((SubRequest(index, "GET", "/", []),) for index in range(count))


@pytest.mark.parametrize(
    ("answer", "together"),
    [
        (SubResponse(200, "OK", [], b""), 10),
        (SubResponse(200, "OK", [], b"", duration=SECONDS), 1),
        (SubResponse(200, "OK", [], b"", duration=SECONDS / 3), 3),
        (SubResponse(200, "OK", [], b"x" * BYTES), 1),
        (SubResponse(200, "OK", [], b"x" * (BYTES // 2)), 2),
    ],
)
def test_a_burst_ends_after_a_time_in_the_app_or_bytes_of_answers(answer: SubResponse, together: int) -> None:
    waiting = units(10)

    def call(unit: Unit) -> Answers:
        return (answer,)

    assert len(burst(waiting, call)) == together
    assert len(waiting) == 10 - together


def test_nothing_waiting_is_an_empty_burst() -> None:
    assert burst(deque(), lambda unit: ()) == []
