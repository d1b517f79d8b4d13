"""How long a batch may take, and the ticket of a unit that its worker and its watcher race for."""

import threading
from time import monotonic

import pytest

from wsgibatch import SubRequest
from wsgibatch._limits import Limits, Ticket
from wsgibatch.model import Unit

NEVER, LONG_AGO = monotonic() + 1e6, monotonic() - 1


def unit(*methods: str) -> Unit:
    return tuple(SubRequest(index, method, "/", []) for index, method in enumerate(methods))


@pytest.mark.parametrize(
    ("limits", "watched"),
    [
        (Limits(), False),
        (Limits(order="sequential"), False),
        (Limits(timeout=1), True),
        (Limits(until=1), True),
        (Limits(streamed=True), True),
    ],
)
def test_a_batch_is_looked_on_where_something_may_be_late_or_is_sent_at_once(limits: Limits, watched: bool) -> None:
    assert limits.watched is watched


@pytest.mark.parametrize(
    ("limits", "end"),
    [
        (Limits(), None),
        (Limits(timeout=5), 105),
        (Limits(until=103), 103),
        (Limits(timeout=5, until=103), 103),
        (Limits(timeout=2, until=103), 102),
    ],
)
def test_an_item_is_late_when_its_own_time_or_that_of_the_batch_is_up(limits: Limits, end: float | None) -> None:
    assert limits.end(100) == end


def test_a_batch_is_over_once_its_moment_has_come() -> None:
    assert [Limits(until=moment).over() for moment in (LONG_AGO, NEVER)] == [True, False]
    assert not Limits(timeout=1).over()


@pytest.mark.parametrize(
    ("order", "methods", "holds"),
    [
        ("barrier", ["GET"], False),
        ("barrier", ["HEAD", "OPTIONS"], False),
        ("barrier", ["POST"], True),
        ("barrier", ["GET", "DELETE"], True),
        ("barrier", ["PROPFIND"], True),
        ("free", ["POST"], False),
        ("sequential", ["GET"], True),
    ],
)
def test_what_changes_something_holds_up_what_stands_behind_it(order: str, methods: list[str], holds: bool) -> None:
    assert Limits(order=order).holds(unit(*methods)) is holds  # type: ignore[arg-type] # the table is of plain words


def test_as_many_calls_as_may_be_can_be_left_behind_and_no_more() -> None:
    assert [Limits(max_abandoned=2).exceeded(left) for left in (1, 2, 3)] == [False, False, True]
    assert not Limits().exceeded(1000)


def test_a_unit_whose_answers_count_cannot_be_left_behind() -> None:
    ticket = Ticket(unit("GET"), Limits())

    assert ticket.claim()
    assert not ticket.leave()


def test_a_unit_that_was_left_behind_cannot_count_any_more() -> None:
    ticket = Ticket(unit("GET"), Limits())

    assert ticket.leave()
    assert [ticket.claim(), ticket.proceed(), ticket.claim(), ticket.leave()] == [False] * 4


def test_a_worker_may_ask_again_whether_its_answers_count() -> None:
    ticket = Ticket(unit("GET"), Limits())

    assert [ticket.claim(), ticket.claim(), ticket.proceed()] == [True] * 3


def test_a_ticket_is_settled_once_either_of_the_two_has_done_it() -> None:
    tickets = [Ticket(unit("GET"), Limits()) for _ in range(3)]

    tickets[1].claim()
    tickets[2].leave()

    assert [ticket.settled for ticket in tickets] == [False, True, True]


def test_each_item_of_a_unit_has_its_own_time() -> None:
    ticket = Ticket(unit("GET", "GET"), Limits())
    ticket.started = LONG_AGO

    assert ticket.proceed()
    assert ticket.started > LONG_AGO


def test_a_unit_that_nobody_looks_on_goes_no_further_than_its_moment() -> None:
    late, early = Ticket(unit("GET"), Limits(until=LONG_AGO)), Ticket(unit("GET"), Limits(until=NEVER))

    assert [late.commit(), late.proceed()] == [False, False]
    assert [early.commit(), early.proceed()] == [True, True]


def test_what_counts_stays_counted_when_its_moment_comes() -> None:
    ticket = Ticket(unit("GET"), Limits(until=NEVER))
    ticket.commit()

    ticket._limits = Limits(until=LONG_AGO)

    assert ticket.claim()
    assert not ticket.left


def test_of_a_worker_and_a_watcher_that_come_at_the_same_moment_exactly_one_wins() -> None:
    for _ in range(500):
        ticket = Ticket(unit("POST"), Limits())
        together = threading.Barrier(2, timeout=30)
        claimed: list[bool] = []

        def work(ticket: Ticket = ticket, together: threading.Barrier = together, claimed: list[bool] = claimed) -> None:
            together.wait()
            claimed.append(ticket.claim())

        worker = threading.Thread(target=work)
        worker.start()
        together.wait()
        left = ticket.leave()
        worker.join()

        assert claimed == [not left]
