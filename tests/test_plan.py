import pytest

from wsgibatch import Settings, SubRequest
from wsgibatch._plan import make_plan

METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "MERGE"]
ITEMS = [SubRequest(index, method, "/a", []) for index, method in enumerate(METHODS)]


def test_every_item_is_a_unit_in_its_place() -> None:
    assert make_plan(ITEMS, Settings(), concurrent=True).units == [(item,) for item in ITEMS]


def test_unsafe_items_run_alone_behind_the_barrier() -> None:
    assert make_plan(ITEMS, Settings(order="barrier"), concurrent=True).alone == [False, False, False, True, True, True, True, True]


def test_every_item_runs_alone_in_sequence() -> None:
    assert make_plan(ITEMS, Settings(order="sequential"), concurrent=True).alone == [True] * 8


def test_no_item_waits_for_another_where_the_order_is_free() -> None:
    assert make_plan(ITEMS, Settings(order="free"), concurrent=True).alone == []


@pytest.mark.parametrize("order", ["barrier", "sequential", "free"])
def test_an_executor_that_runs_one_by_one_needs_no_barrier(order: str) -> None:
    assert make_plan(ITEMS, Settings(order=order), concurrent=False).alone == []  # type: ignore[arg-type]
