from collections.abc import Callable
from typing import Any, Literal

from hypothesis import assume, given
from hypothesis import strategies as st

from tests import strategies
from tests.prepared import batch_of, request
from wsgibatch import Settings, SubRequest, SubResponse
from wsgibatch._plan import Plan, make_plan
from wsgibatch._run import LinkedRun, Run
from wsgibatch.model import Done, Edge, Unit


def unit(index: int, refused: bool = False) -> Unit:
    return (SubRequest(index, "GET", f"/{index}", [], refusal=answer(index) if refused else None),)


def answer(index: int) -> SubResponse:
    return SubResponse(200, "OK", [], str(index).encode())


def done(index: int, units: list[Unit]) -> Done:
    return units[index], (answer(index),)


@given(st.data(), st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30), st.integers(1, 8), st.booleans())
def test_whatever_is_done_first_all_is_started_once_kept_in_order_and_handed_out_once(
    data: st.DataObject, drawn: list[tuple[bool, bool]], window: int, ordered: bool
) -> None:
    units = [unit(index, refused) for index, (refused, _) in enumerate(drawn)]
    alone = [lonely for _, lonely in drawn] if ordered else []
    to_run = {index for index, (refused, _) in enumerate(drawn) if not refused}
    run = Run(Plan(units, alone))
    running: list[int] = []
    started: list[int] = []
    finished: set[int] = set()
    written: list[Done] = []

    while True:
        written += run.drain()
        for (item,) in run.ready(window):
            assert item.index in to_run
            assert item.index < len(written) + window, "nothing runs far ahead of what is written"
            if alone:
                before = {index for index in to_run if index < item.index}
                if alone[item.index]:
                    assert before <= finished, "what runs alone runs after all before it"
                assert all(index in finished for index in before if alone[index]), "and before all behind it"
            running.append(item.index)
            started.append(item.index)
        if run.drained:
            break
        assert running, "something is left to do, and nothing runs"
        some = data.draw(st.lists(st.sampled_from(running), min_size=1, unique=True), label="done next")
        running = [index for index in running if index not in some]
        finished.update(some)
        run.take([done(index, units) for index in some])

    assert not running
    assert started == sorted(to_run)
    assert [(found[0].index, answers[0].body) for found, answers in written] == [(index, str(index).encode()) for index in range(len(units))]


def test_a_batch_of_nothing_is_drained_at_once() -> None:
    run = Run(Plan([], []))

    assert (run.drain(), run.ready(5), run.drained) == ([], [], True)


def test_refused_items_are_never_ready() -> None:
    units = [unit(0, refused=True), unit(1), unit(2, refused=True)]
    run = Run(Plan(units, [True, True, True]))

    assert [found[0].index for found, _ in run.drain()] == [0]
    assert run.ready(5) == [units[1]]
    run.take([done(1, units)])
    assert [found[0].index for found, _ in run.drain()] == [1, 2]
    assert run.drained


def test_what_is_ready_is_ready_once() -> None:
    units = [unit(0), unit(1)]
    run = Run(Plan(units, []))

    assert run.ready(5) == units
    assert run.ready(5) == []


def test_the_window_opens_as_answers_are_handed_out() -> None:
    units = [unit(index) for index in range(4)]
    run = Run(Plan(units, []))

    assert run.ready(2) == units[:2]
    run.take([done(1, units)])
    assert (run.drain(), run.ready(2)) == ([], [])
    run.take([done(0, units)])
    assert len(run.drain()) == 2
    assert run.ready(2) == units[2:]


class Trial:
    """A batch of linked units that are run by hand, in any order that the run allows."""

    def __init__(self, items: list[SubRequest], on_error: Literal["continue", "stop"] = "continue", concurrent: bool = True, **settings: Any) -> None:
        self.plan = make_plan(batch_of(items, on_error), Settings(**settings), concurrent)
        assert self.plan.links is not None
        self.run = LinkedRun(self.plan, self.plan.links)
        self.places = self.plan.links.places
        self.concurrent = concurrent
        self.running: list[int] = []
        self.started: list[int] = []
        self.ended: set[int] = {place for place, unit in enumerate(self.plan.units) if len(unit) == 1 and unit[0].refusal is not None}
        self.written: list[int] = []

    def go(self, choose: Callable[[list[int]], list[int]], window: int, failing: frozenset[int] = frozenset()) -> None:
        """Until all is written; *choose* says which of the running units end next."""
        while True:
            self.written += [self.places[unit[0].index] for unit, _ in self.run.drain()]
            for unit in self.run.ready(window):
                self._start(self.places[unit[0].index])
            if self.run.drained:
                assert not self.running
                return
            assert self.running, "something is left to do, and nothing runs"
            ending = choose(self.running)
            self.running = [place for place in self.running if place not in ending]
            self.ended.update(ending)
            self.run.take([self._done(place, 500 if place in failing else 200) for place in ending])

    def _start(self, place: int) -> None:
        needs = {self.places[edge.index] for item in self.plan.units[place] for edge in item.after} - {place}
        # An executor that is not concurrent runs what it is given one by one.
        assert needs <= (self.ended if self.concurrent else self.ended | set(self.started)), "a unit was started before what it waits for"
        if self.plan.alone:
            others = [other for other in self.running if self.plan.alone[other] or self.plan.alone[place]]
            assert not others, "what runs alone runs alone"
        self.running.append(place)
        self.started.append(place)

    def _done(self, place: int, status: int) -> Done:
        unit = self.plan.units[place]
        return unit, tuple(SubResponse(status, "", [], b"") for _ in unit)


@given(st.data(), strategies.linked_items(), st.integers(1, 8), st.sampled_from(["barrier", "free", "sequential"]), st.booleans())
def test_linked_units_start_once_behind_what_they_wait_for_and_are_written_in_order(
    data: st.DataObject, items: list[SubRequest], window: int, order: str, concurrent: bool
) -> None:
    trial = Trial(items, order=order, concurrent=concurrent)
    to_run = [place for place in range(len(trial.plan.units)) if place not in trial.ended]

    if concurrent:
        trial.go(lambda running: data.draw(st.lists(st.sampled_from(running), min_size=1, unique=True), label="done next"), window)
    else:
        trial.go(lambda running: running[:1], window)

    assert sorted(trial.started) == to_run
    assert trial.written == list(range(len(trial.plan.units)))


@given(st.data(), strategies.linked_items(), st.sampled_from(["barrier", "free", "sequential"]))
def test_a_unit_that_writes_keeps_its_place_in_the_order_of_the_sequence(data: st.DataObject, items: list[SubRequest], order: str) -> None:
    trial = Trial(items, order=order)
    assert trial.plan.links is not None
    sequence = [place for place in trial.plan.links.sequence if place not in trial.ended]

    trial.go(lambda running: data.draw(st.lists(st.sampled_from(running), min_size=1, unique=True), label="done next"), 256)

    for place, alone in enumerate(trial.plan.alone):
        if alone and place in trial.started:
            turn = sequence.index(place)
            assert set(trial.started[:turn]) == set(sequence[:turn])


def test_units_without_a_dependency_pass_those_that_wait() -> None:
    trial = Trial([request(0), request(1, after=(Edge(0),)), request(2), request(3, after=(Edge(1),))])

    assert trial.run.ready(256) == [trial.plan.units[0], trial.plan.units[2]]
    trial.run.take([trial._done(2, 200)])
    assert trial.run.ready(256) == []
    trial.run.take([trial._done(0, 500)])
    assert trial.run.ready(256) == [trial.plan.units[1]]


def test_a_chain_of_short_units_hands_out_its_answers_together_and_long_or_large_ones_at_once() -> None:
    for long, large in ((False, False), (True, False), (False, True)):
        trial = Trial([request(0), request(1, after=(Edge(0),))])
        [first] = trial.run.ready(256)
        took, body = 0.1 if long else 0.0, b"x" * (100_000 if large else 1)

        trial.run.take([(first, (SubResponse(200, "OK", [], body, duration=took),))])

        assert len(trial.run.drain()) == (long or large)
        [second] = trial.run.ready(256)
        trial.run.take([(second, (answer(1),))])
        assert len(trial.run.drain()) == 2 - (long or large)
        assert trial.run.drained


def test_a_unit_that_waits_for_a_refused_one_starts_at_once() -> None:
    refused = request(0)
    refused.refusal = answer(0)
    trial = Trial([refused, request(1, after=(Edge(0),))])

    assert trial.run.ready(256) == [trial.plan.units[1]]


def test_what_stands_behind_a_failure_is_left_out_where_a_batch_stops() -> None:
    trial = Trial([request(index) for index in range(5)], "stop")

    trial.go(lambda running: running, 256, failing=frozenset({2}))

    assert (trial.started, trial.written) == ([0, 1, 2], [0, 1, 2])


def test_what_stands_behind_a_refused_item_is_left_out_where_a_batch_stops() -> None:
    items = [request(index) for index in range(5)]
    items[1].refusal = answer(1)
    items[4].refusal = answer(4)
    trial = Trial(items, "stop")

    trial.go(lambda running: running, 256)

    assert (trial.started, trial.written) == ([0], [0, 1])


def test_a_batch_that_stops_is_handed_at_once_to_what_runs_it_in_order() -> None:
    trial = Trial([request(index) for index in range(5)], "stop", concurrent=False)

    assert trial.run.ready(256) == trial.plan.units


def test_a_batch_that_stops_is_over_once_a_unit_has_failed_though_others_are_spawned() -> None:
    trial = Trial([request(index) for index in range(5)], "stop", concurrent=False)
    trial.run.ready(256)

    trial.run.take([trial._done(place, 500 if place == 1 else 200) for place in range(2)])

    assert [unit[0].index for unit, _ in trial.run.drain()] == [0, 1]
    assert trial.run.drained


@given(strategies.linked_items(), st.sets(st.integers(0, 9)))
def test_a_batch_that_stops_runs_one_by_one_up_to_the_first_failure(items: list[SubRequest], drawn: set[int]) -> None:
    trial = Trial(items, "stop")
    assert trial.plan.links is not None
    assume(trial.plan.links.sequence == list(range(len(trial.plan.units))))
    refused = set(trial.ended)
    bad = drawn | refused
    kept = range(min([*bad, len(trial.plan.units)]) + 1)[: len(trial.plan.units)]

    trial.go(lambda running: running, 256, failing=frozenset(drawn))

    assert trial.started == [place for place in kept if place not in refused]
    assert trial.written == list(kept)


def test_linked_units_do_not_run_far_ahead_of_what_is_written_either() -> None:
    trial = Trial([request(0), *(request(index) for index in range(1, 20))])

    assert len(trial.run.ready(5)) == 5
    trial.run.take([trial._done(3, 200)])
    assert (trial.run.drain(), trial.run.ready(5)) == ([], [])
    trial.run.take([trial._done(0, 200)])
    assert len(trial.run.drain()) == 1
    assert len(trial.run.ready(5)) == 1
