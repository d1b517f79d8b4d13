"""Lanes that are looked on, and the threads behind them, by themselves."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stalling import PATIENCE, TIMEOUT, eventually, meet
from wsgibatch import SubRequest, SubResponse
from wsgibatch._limits import Limits, Ticket
from wsgibatch.executors._lanes import PullersLane, WatchedLane, lane_of
from wsgibatch.executors._pool import Crew, Job, ThreadCrew
from wsgibatch.model import Answers, Done, Unit

USER: ContextVar[str] = ContextVar("user")


def units_of(count: int, method: str = "GET") -> list[Unit]:
    return [(SubRequest(index, method, f"/{index}", []),) for index in range(count)]


class Work:
    """Units whose indexes are in *hung* wait until they are released; or else what *function* does."""

    def __init__(self, *hung: int, function: Callable[[Unit, Ticket], None] | None = None) -> None:
        self.release = threading.Event()
        self.started: list[int] = []
        self.threads: list[int] = []
        self._hung, self._function = hung, function

    def call(self, unit: Unit, ticket: Ticket | None = None) -> Answers:
        assert ticket is not None
        self.started.append(unit[0].index)
        self.threads.append(threading.get_ident())
        if unit[0].index in self._hung:
            # Longer than any test waits for something else.
            assert self.release.wait(2 * PATIENCE)
        if self._function is not None:
            self._function(unit, ticket)
        return self._answers(unit, 200)

    def late(self, ticket: Ticket) -> Answers:
        return self._answers(ticket.unit, 504)

    def unstarted(self, unit: Unit) -> Answers:
        return self._answers(unit, 503)

    def _answers(self, unit: Unit, status: int) -> Answers:
        return tuple(SubResponse(status, "", [], b"") for _ in unit)


@contextmanager
def opened(work: Work, limits: Limits, crew: Crew, workers: int) -> Iterator[WatchedLane]:
    lane = lane_of(work, limits, crew, workers)
    assert isinstance(lane, WatchedLane)
    try:
        yield lane
    finally:
        lane.close()
        work.release.set()


def taken(lane: WatchedLane, count: int) -> dict[int, int]:
    """The statuses of the next *count* units, by their index."""
    done: list[Done] = []
    while len(done) < count:
        burst = lane.wait()
        assert burst, "wait gave nothing"
        done += burst
    found = {unit[0].index: answers[0].status for unit, answers in done}
    assert len(found) == len(done) == count
    return found


class ByHand:
    """A crew whose jobs the test runs itself."""

    def __init__(self) -> None:
        self.left = 0
        self.jobs: list[tuple[Job, bool]] = []

    def start(self, job: Job, stand_in: bool = False) -> None:
        self.jobs.append((job, stand_in))

    def leave(self, ticket: Ticket, stop: bool) -> None:
        self.left += 1

    def close(self) -> None:
        """There is nothing to end."""

    def worker(self) -> object:
        return self

    def back(self, ticket: Ticket) -> None:
        self.left -= 1


def test_a_lane_is_looked_on_only_where_there_is_a_reason() -> None:
    assert isinstance(lane_of(Work(), Limits(), ThreadCrew(1), 1), PullersLane)


def test_a_unit_that_hangs_is_late_and_the_others_are_done() -> None:
    work, crew = Work(1), ThreadCrew(4)

    with opened(work, Limits(timeout=TIMEOUT), crew, workers=4) as lane:
        lane.spawn(units_of(4))

        assert taken(lane, 4) == {0: 200, 1: 504, 2: 200, 3: 200}


def test_the_worker_of_a_late_unit_is_replaced_at_once() -> None:
    work, crew = Work(0, 1), ThreadCrew(1)

    with opened(work, Limits(timeout=TIMEOUT), crew, workers=1) as lane:
        lane.spawn(units_of(4))

        assert taken(lane, 4) == {0: 504, 1: 504, 2: 200, 3: 200}
        assert work.started == [0, 1, 2, 3]
        assert len({*work.threads}) == 3


def test_what_was_left_behind_counts_until_it_has_ended_and_is_told_to_nobody() -> None:
    work, crew = Work(0, 1), ThreadCrew(2)

    with opened(work, Limits(timeout=TIMEOUT), crew, workers=2) as lane:
        lane.spawn(units_of(2))
        taken(lane, 2)
        assert crew.left == 2

        work.release.set()

        eventually(lambda: crew.left == 0)
        assert not lane.ready()


@pytest.mark.parametrize(("method", "order"), [("POST", "barrier"), ("GET", "sequential")])
def test_nothing_is_started_behind_a_late_unit_that_holds_up_the_others(method: str, order: str) -> None:
    work, crew = Work(0), ThreadCrew(2)
    first, *others = units_of(5, method)

    with opened(work, Limits(timeout=TIMEOUT, order=order), crew, workers=2) as lane:  # type: ignore[arg-type] # a plain word of the table
        lane.spawn([first])
        assert taken(lane, 1) == {0: 504}
        lane.spawn(others)

        assert taken(lane, 4) == dict.fromkeys(range(1, 5), 503)
        assert work.started == [0]


def test_nothing_is_started_when_the_time_of_the_batch_was_up_before() -> None:
    work, crew = Work(), ThreadCrew(2)

    with opened(work, Limits(until=monotonic() - 1), crew, workers=2) as lane:
        lane.spawn(units_of(5))

        assert taken(lane, 5) == dict.fromkeys(range(5), 503)
        assert work.started == []


def test_when_the_time_of_the_batch_is_up_what_runs_is_late_and_what_waits_is_not_started() -> None:
    work, crew = Work(0, 1), ThreadCrew(2)

    with opened(work, Limits(until=monotonic() + TIMEOUT), crew, workers=2) as lane:
        lane.spawn(units_of(5))

        assert taken(lane, 5) == {0: 504, 1: 504, 2: 503, 3: 503, 4: 503}
        assert crew.left == 2


def test_a_puller_starts_nothing_when_time_is_up_even_if_nobody_looks_on() -> None:
    work, crew = Work(), ByHand()

    with opened(work, Limits(until=monotonic() - 1), crew, workers=1) as lane:
        lane._waiting.extend(units_of(2))
        lane._recruit()
        [(pull, _)] = crew.jobs

        pull()

        assert work.started == []
        assert taken(lane, 2) == {0: 503, 1: 503}


def test_workers_are_replaced_as_long_as_no_more_calls_are_left_behind_than_may_be() -> None:
    work, crew = Work(0, 1), ThreadCrew(1)

    with opened(work, Limits(timeout=TIMEOUT, max_abandoned=1), crew, workers=1) as lane:
        lane.spawn(units_of(3))

        assert taken(lane, 3) == {0: 504, 1: 504, 2: 503}
        assert work.started == [0, 1]


@pytest.mark.parametrize("batch", [False, True])
def test_a_unit_that_has_claimed_its_ticket_is_waited_for_without_looking_again_and_again(batch: bool) -> None:
    claimed, looks = threading.Event(), 0

    def commit(unit: Unit, ticket: Ticket) -> None:
        assert ticket.claim()
        claimed.set()
        # A commit that takes longer than an item may.
        threading.Event().wait(2 * TIMEOUT)

    class Watching(WatchedLane):
        def _late(self) -> list[Done]:
            nonlocal looks
            looks += claimed.is_set()
            return super()._late()

    limits = Limits(until=monotonic() + TIMEOUT) if batch else Limits(timeout=TIMEOUT)
    lane = Watching(Work(function=commit), limits, ThreadCrew(1), 1)
    lane.spawn(units_of(1, "POST"))

    assert taken(lane, 1) == {0: 200}
    lane.close()
    assert looks < 20


def test_a_unit_of_several_items_has_its_time_for_each_of_them() -> None:
    def go_on(unit: Unit, ticket: Ticket) -> None:
        for _ in range(4):
            assert ticket.proceed()
            threading.Event().wait(TIMEOUT / 2)

    with opened(Work(function=go_on), Limits(timeout=TIMEOUT), ThreadCrew(1), workers=1) as lane:
        lane.spawn(units_of(1))

        assert taken(lane, 1) == {0: 200}


def overrun(unit: Unit, ticket: Ticket) -> None:
    """Take longer than an item may."""
    eventually(lambda: ticket.late)


def test_a_unit_that_is_done_after_its_time_is_late_though_nobody_has_looked_on_meanwhile() -> None:
    work, crew = Work(function=overrun), ByHand()

    with opened(work, Limits(timeout=0.01), crew, workers=1) as lane:
        lane.spawn(units_of(1))
        [(pull, _)] = crew.jobs
        pull()

        assert taken(lane, 1) == {0: 504}
    assert crew.left == 0


def test_what_stands_behind_a_late_unit_that_has_ended_is_started() -> None:
    work, crew = Work(function=lambda unit, ticket: overrun(unit, ticket) if unit[0].index == 0 else None), ByHand()

    with opened(work, Limits(timeout=0.01), crew, workers=1) as lane:
        lane.spawn(units_of(2, "POST"))
        [(pull, _)] = crew.jobs
        pull()

        assert taken(lane, 2)[0] == 504
        assert work.started == [0, 1]


def test_a_unit_of_several_items_of_which_one_was_late_stays_late_though_nobody_has_looked_on_meanwhile() -> None:
    def go_on(unit: Unit, ticket: Ticket) -> None:
        overrun(unit, ticket)
        assert not ticket.proceed()

    work, crew = Work(function=go_on), ByHand()

    with opened(work, Limits(timeout=0.01), crew, workers=1) as lane:
        lane.spawn(units_of(1))
        [(pull, _)] = crew.jobs
        pull()

        assert taken(lane, 1) == {0: 504}


def test_a_unit_that_runs_in_the_thread_that_looks_on_is_late_like_any_other() -> None:
    work = Work(function=overrun)

    with opened(work, Limits(timeout=0.01), Refusing(), workers=1) as lane:
        lane.spawn(units_of(1))

        assert taken(lane, 1) == {0: 504}


def test_what_a_worker_raises_reaches_whoever_waits() -> None:
    def fail(unit: Unit, ticket: Ticket) -> None:
        raise MemoryError

    with opened(Work(function=fail), Limits(streamed=True), ThreadCrew(1), workers=1) as lane, pytest.raises(MemoryError):  # noqa: PT012 - both calls
        lane.spawn(units_of(1))
        lane.wait()


def test_units_run_each_in_a_copy_of_the_context_of_whoever_opened_the_lane() -> None:
    seen: list[str] = []

    def look(unit: Unit, ticket: Ticket) -> None:
        seen.append(USER.get())
        USER.set("eve")

    token = USER.set("ada")
    try:
        with opened(Work(function=look), Limits(streamed=True), ThreadCrew(2), workers=2) as lane:
            lane.spawn(units_of(10))
            taken(lane, 10)
    finally:
        USER.reset(token)

    assert seen == ["ada"] * 10


def test_no_more_units_run_at_a_time_than_there_are_workers() -> None:
    lock, running, most = threading.Lock(), 0, 0

    def count(unit: Unit, ticket: Ticket) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.002)
        with lock:
            running -= 1

    with opened(Work(function=count), Limits(streamed=True), ThreadCrew(8), workers=3) as lane:
        for unit in units_of(60):
            lane.spawn([unit])
        taken(lane, 60)

    assert most == 3


def test_a_batch_gets_on_time_after_time_while_others_hold_all_threads() -> None:
    crew = ThreadCrew(2)
    holding = Work(*range(10))

    # As many as there are threads, and as many more as will take whatever thread becomes free.
    with (
        opened(holding, Limits(streamed=True), crew, workers=2) as one,
        opened(holding, Limits(streamed=True), crew, workers=2) as two,
        opened(holding, Limits(streamed=True), crew, workers=2) as three,
    ):
        for lane in (one, two, three):
            lane.spawn(units_of(10))
        eventually(lambda: len(holding.started) >= 3)

        with opened(Work(), Limits(until=monotonic() + PATIENCE), crew, workers=2) as lane:
            for start in range(0, 40, 4):
                lane.spawn(units_of(40)[start : start + 4])
                assert taken(lane, 4) == dict.fromkeys(range(start, start + 4), 200)


def test_the_first_puller_stands_in_for_the_thread_that_looks_on_and_the_others_do_not() -> None:
    work, crew = Work(), ByHand()

    with opened(work, Limits(streamed=True), crew, workers=3) as lane:
        for unit in units_of(4):
            lane.spawn([unit])

        assert [stand_in for _, stand_in in crew.jobs] == [True, False, False]


def test_what_stands_in_stands_in_again_once_it_has_ended_whatever_else_is_waited_for() -> None:
    work, crew = Work(), ByHand()

    with opened(work, Limits(streamed=True), crew, workers=2) as lane:
        lane.spawn(units_of(2))
        lane.spawn([])
        # Its companion is never given a thread.
        crew.jobs[0][0]()
        lane.spawn(units_of(3)[2:])

        assert [stand_in for _, stand_in in crew.jobs] == [True, False, True]


class Refusing(ByHand):
    """A crew that cannot start anything, as when the system gives no more threads."""

    refuses = True

    def start(self, job: Job, stand_in: bool = False) -> None:
        if self.refuses:
            raise RuntimeError("can't start new thread")
        super().start(job, stand_in)


def test_units_run_in_the_thread_that_looks_on_when_no_other_can_be_had() -> None:
    seen: list[str] = []

    def look(unit: Unit, ticket: Ticket) -> None:
        seen.append(USER.get())
        USER.set("eve")

    work = Work(function=look)
    token = USER.set("ada")
    try:
        with opened(work, Limits(timeout=PATIENCE), Refusing(), workers=2) as lane:
            lane.spawn(units_of(3))

            assert taken(lane, 3) == dict.fromkeys(range(3), 200)
        assert USER.get() == "ada"
    finally:
        USER.reset(token)
    assert {*work.threads} == {threading.get_ident()}
    assert seen == ["ada"] * 3


def test_nothing_runs_in_the_thread_that_looks_on_any_more_once_there_are_others() -> None:
    work, crew = Work(), Refusing()

    with opened(work, Limits(timeout=TIMEOUT), crew, workers=1) as lane:
        lane.spawn(units_of(1))
        taken(lane, 1)
        crew.refuses = False
        lane.spawn(units_of(2)[1:])
        threading.Timer(TIMEOUT / 4, crew.jobs[0][0]).start()

        assert taken(lane, 1) == {1: 200}

    assert work.threads[0] == threading.get_ident()
    assert work.threads[1] != threading.get_ident()


def test_a_lane_that_is_closed_starts_nothing_more() -> None:
    work, crew = Work(0), ThreadCrew(1)

    with opened(work, Limits(streamed=True), crew, workers=1) as lane:
        lane.spawn(units_of(10))
        eventually(lambda: work.started == [0])

    eventually(lambda: crew.left == 0)
    crew.close()
    assert work.started == [0]


def test_what_runs_when_its_lane_is_closed_is_left_behind_and_counts_until_it_has_ended() -> None:
    work, crew = Work(0, 1), ThreadCrew(2)
    lane = lane_of(work, Limits(streamed=True), crew, 2)
    lane.spawn(units_of(2))
    eventually(lambda: len(work.started) == 2)

    lane.close()

    assert crew.left == 2
    work.release.set()
    eventually(lambda: crew.left == 0)


def test_what_counts_already_when_its_lane_is_closed_is_not_left_behind() -> None:
    claimed = threading.Event()

    def commit(unit: Unit, ticket: Ticket) -> None:
        ticket.claim()
        claimed.set()
        meet(work.release)

    work, crew = Work(function=commit), ThreadCrew(1)
    with opened(work, Limits(streamed=True), crew, workers=1) as lane:
        lane.spawn(units_of(1, "POST"))
        meet(claimed)

        lane.close()

        assert crew.left == 0


def test_a_puller_that_comes_too_late_for_its_lane_does_nothing() -> None:
    work, crew = Work(), ByHand()
    lane = lane_of(work, Limits(streamed=True), crew, 1)
    lane.spawn(units_of(1))

    lane.close()
    crew.jobs[0][0]()

    assert work.started == []


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.sampled_from(["GET", "POST"]), st.booleans()), min_size=1, max_size=12), st.integers(1, 4), st.integers(0, 3), st.booleans()
)
def test_whatever_hangs_every_unit_is_told_of_once(drawn: list[tuple[str, bool]], workers: int, max_abandoned: int, closed: bool) -> None:
    units: list[Unit] = [(SubRequest(index, method, "/", []),) for index, (method, _) in enumerate(drawn)]
    hung = [index for index, (_, hangs) in enumerate(drawn) if hangs]
    work, crew = Work(*hung), ThreadCrew(2)

    with opened(work, Limits(timeout=0.02, order="free", max_abandoned=max_abandoned), crew, workers) as lane:
        lane.spawn(units)
        found = {} if closed else taken(lane, len(units))

    assert all(status in {504, 503} for index, status in found.items() if index in hung)
    assert len({*work.started}) == len(work.started)
    assert all((status == 503) == (index not in work.started) for index, status in found.items())
    eventually(lambda: crew.left == 0)
    crew.close()


def test_threads_that_stood_in_end_when_there_are_enough_without_them() -> None:
    crew = ThreadCrew(2)
    together, release = threading.Barrier(6, timeout=PATIENCE), threading.Event()

    def job() -> None:
        together.wait()
        meet(release)

    for _ in range(5):
        crew.start(job, stand_in=True)
    together.wait()
    assert len(crew._threads) == 5

    release.set()

    eventually(lambda: len(crew._threads) == 2)
    crew.close()


def test_threads_that_stood_in_do_not_take_over_what_waits_for_a_place() -> None:
    crew = ThreadCrew(1)
    release, ended, taken_over = threading.Event(), threading.Event(), threading.Event()
    crew.start(lambda: meet(release))
    crew.start(taken_over.set)

    crew.start(ended.set, stand_in=True)

    meet(ended)
    eventually(lambda: len(crew._threads) == 1)
    assert not taken_over.is_set()
    release.set()
    meet(taken_over)
    crew.close()


def test_what_waits_for_a_thread_gets_one_when_a_call_is_left_behind() -> None:
    crew = ThreadCrew(1)
    release, ran = threading.Event(), threading.Event()
    crew.start(lambda: meet(release))
    crew.start(ran.set)

    crew.leave(Ticket(units_of(1)[0], Limits()), stop=True)

    meet(ran)
    crew.back(Ticket(units_of(1)[0], Limits()))
    release.set()
    crew.close()


def test_leaving_a_call_behind_never_fails_and_forgets_nobody_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = ThreadCrew(1)
    release, ran = threading.Event(), threading.Event()
    crew.start(lambda: meet(release))
    crew.start(ran.set)

    class NoThread(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", NoThread)
        crew.leave(Ticket(units_of(1)[0], Limits()), stop=True)

    assert crew.left == 1
    crew.back(Ticket(units_of(1)[0], Limits()))
    release.set()
    meet(ran)
    crew.close()


def test_a_crew_that_is_closed_does_not_wait_for_what_was_left_behind() -> None:
    work, crew = Work(0), ThreadCrew(2)

    with opened(work, Limits(timeout=TIMEOUT), crew, workers=2) as lane:
        lane.spawn(units_of(2))
        taken(lane, 2)

        crew.close()

        assert not work.release.is_set()
