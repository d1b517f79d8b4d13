import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.prepared import batch_of, request
from wsgibatch import BadBatch, Batch, DependencyCycle, Settings, SubRequest
from wsgibatch._plan import Links, Plan, make_plan
from wsgibatch.model import Edge

METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "MERGE"]
ITEMS = [SubRequest(index, method, "/a", []) for index, method in enumerate(METHODS)]
BATCH = Batch(ITEMS)


def linked(items: list[SubRequest], concurrent: bool = True, **settings: str) -> tuple[Plan, Links]:
    plan = make_plan(batch_of(items), Settings(**settings), concurrent)  # type: ignore[arg-type]
    assert plan.links is not None
    return plan, plan.links


def chain(length: int) -> list[SubRequest]:
    return [request(index, after=(Edge(index - 1),) if index else ()) for index in range(length)]


def test_every_item_is_a_unit_in_its_place() -> None:
    assert make_plan(BATCH, Settings(), concurrent=True).units == [(item,) for item in ITEMS]


def test_unsafe_items_run_alone_behind_the_barrier() -> None:
    assert make_plan(BATCH, Settings(order="barrier"), concurrent=True).alone == [False, False, False, True, True, True, True, True]


def test_every_item_runs_alone_in_sequence() -> None:
    assert make_plan(BATCH, Settings(order="sequential"), concurrent=True).alone == [True] * 8


def test_no_item_waits_for_another_where_the_order_is_free() -> None:
    assert make_plan(BATCH, Settings(order="free"), concurrent=True).alone == []


@pytest.mark.parametrize("order", ["barrier", "sequential", "free"])
def test_an_executor_that_runs_one_by_one_needs_no_barrier(order: str) -> None:
    assert make_plan(BATCH, Settings(order=order), concurrent=False).alone == []  # type: ignore[arg-type]


def test_a_batch_without_links_has_none() -> None:
    assert make_plan(BATCH, Settings(), concurrent=True).links is None


def test_the_members_of_a_group_are_one_unit() -> None:
    items = [request(0), request(1, group="g"), request(2, group="g"), request(3, group="h"), request(4), request(5)]

    plan, links = linked(items)

    assert [[item.index for item in unit] for unit in plan.units] == [[0], [1, 2], [3], [4], [5]]
    assert links.places == [0, 1, 1, 2, 3, 4]


def test_a_group_runs_alone_if_any_member_writes() -> None:
    plan, _ = linked([request(0, group="g"), request(1, group="g", method="POST"), request(2, group="h"), request(3, group="h")])

    assert plan.alone == [True, False]


def test_the_members_of_a_group_have_to_stand_side_by_side() -> None:
    with pytest.raises(BadBatch, match="side by side") as refused:
        linked([request(0, group="g"), request(1), request(2, group="g")])

    assert refused.value.pointer == "/2"


def test_dependencies_are_between_units_and_count_once() -> None:
    items = [
        request(0, group="g"),
        request(1, group="g", after=(Edge(0),)),
        request(2, after=(Edge(0), Edge(1, "failed"))),
        request(3, after=(Edge(2), Edge(2, "ended"))),
    ]

    _, links = linked(items)

    assert links.waits == [0, 1, 1]
    assert links.dependants == [[1], [2], []]


def test_an_executor_that_runs_one_by_one_waits_for_nothing() -> None:
    _, links = linked(chain(3), concurrent=False)

    assert (links.waits, links.sequence) == ([0, 0, 0], [0, 1, 2])


def test_what_waits_for_a_later_item_comes_behind_it() -> None:
    _, links = linked([request(0, after=(Edge(2),)), request(1), request(2, after=(Edge(3),)), request(3)], concurrent=False)

    assert links.sequence == [3, 2, 0, 1]


@pytest.mark.parametrize(
    ("edges", "place"),
    [
        pytest.param({0: [0]}, "/0", id="itself"),
        pytest.param({0: [1], 1: [0]}, "/1", id="each other"),
        pytest.param({0: [2], 1: [0], 2: [1]}, "/1", id="in a round"),
        pytest.param({3: [4], 4: [5], 5: [3]}, "/5", id="behind others"),
    ],
)
def test_a_circle_is_refused_with_a_pointer_to_a_member(edges: dict[int, list[int]], place: str) -> None:
    items = [request(index, after=tuple(map(Edge, edges.get(index, [])))) for index in range(6)]

    with pytest.raises(DependencyCycle) as refused:
        linked(items)

    assert refused.value.pointer == place


def test_a_circle_that_only_a_group_closes_is_refused() -> None:
    items = [request(0, group="g"), request(1, group="g", after=(Edge(2),)), request(2, after=(Edge(0),))]

    with pytest.raises(DependencyCycle):
        linked(items)


def test_a_member_of_a_group_cannot_wait_for_a_later_one() -> None:
    with pytest.raises(DependencyCycle):
        linked([request(0, group="g", after=(Edge(1),)), request(1, group="g")])


def test_a_circle_as_long_as_a_batch_can_be_needs_no_recursion() -> None:
    items = chain(10_000)
    items[0].after = (Edge(9_999),)

    with pytest.raises(DependencyCycle):
        linked(items)


def test_a_chain_that_is_written_backwards_is_turned_round() -> None:
    items = [request(index, after=(Edge(index + 1),) if index < 9_999 else ()) for index in range(10_000)]

    _, links = linked(items)

    assert links.sequence == list(range(9_999, -1, -1))


edges = st.integers(1, 12).flatmap(lambda size: st.lists(st.lists(st.integers(0, size - 1), max_size=4), min_size=size, max_size=size))


@given(edges)
def test_the_sequence_has_every_unit_once_and_each_behind_what_it_waits_for_or_there_is_a_circle(drawn: list[list[int]]) -> None:
    items = [request(index, after=tuple(map(Edge, found))) for index, found in enumerate(drawn)]
    try:
        _, links = linked(items)
    except DependencyCycle:
        assert has_circle(drawn)
        return
    assert not has_circle(drawn)
    assert sorted(links.sequence) == list(range(len(drawn)))
    turn = {place: at for at, place in enumerate(links.sequence)}
    assert all(turn[need] < turn[place] for place, found in enumerate(drawn) for need in found)


def has_circle(drawn: list[list[int]]) -> bool:
    left = {place: set(found) for place, found in enumerate(drawn)}
    while free := {place for place, found in left.items() if not found & left.keys()}:
        left = {place: found for place, found in left.items() if place not in free}
    return bool(left)
