"""What the soak holds the answers of batches with faults to: each of its rules can be broken, and is found to be."""

import json
from contextlib import nullcontext
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import pytest
from msgspec.structs import replace

from tests import gateway
from tests.apps import show
from tests.soak import again, answers, backends, batches, clients, endpoints, failures, faulty, linked, noted, orders, transactions
from tests.soak.parts import faults
from tests.soak.tally import COUNT, Fault, Tally
from wsgibatch import BatchMiddleware, SubRequest, SubResponse
from wsgibatch.model import Claimed, Edge
from wsgibatch.stores.memory import MemoryStore

POSTED = SubRequest(0, "POST", "/large/t1x2z", [("X-Client", "1"), ("Content-Type", "application/json")], b'{"a": 1}')
SEEN = 't1x2z POST {"a": 1} application/json 1 None'
WELL = SubResponse(200, "OK", [("Content-Type", "text/plain"), ("X-Seen", SEEN)], SEEN.encode() + b"." * 20_000)
OWN, LEFT_OUT, UNMET, UNSUPPORTED, UNDONE = linked.OWN, linked.LEFT_OUT, linked.UNMET, linked.UNSUPPORTED, linked.UNDONE


def checked(answer: SubResponse) -> None:
    drawn = batches.Drawn(batches.DIALECTS["django"], [POSTED], [], b"")
    answers.check(endpoints.Endpoint("sequential", lambda: BatchMiddleware(show)), drawn, [answer])


def test_an_answer_of_an_items_own_is_well() -> None:
    checked(WELL)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"body": WELL.body[:1000]},
        {"body": WELL.body[:-1] + b"#"},
        {"body": WELL.body.replace(b"POST", b"GET")},
        {"headers": WELL.headers[:1]},
        {"headers": [WELL.headers[0], ("X-Seen", SEEN.replace("t1", "t2"))]},
        {"status": 404},
    ],
    ids=["cut short", "another tail", "sent by another method", "a header lost", "a header of another's", "another status"],
)
def test_an_answer_that_is_not_all_its_items_own_is_found(spoilt: dict[str, Any]) -> None:
    with pytest.raises(answers.Wrong):
        checked(replace(WELL, **spoilt))


@pytest.mark.parametrize(
    ("told", "status"), [(b'"an answer"', 200), (b'{"type": "about:blank", "title": "Gateway Timeout", "status": 504, "code": "timeout"}', 504)]
)
def test_an_item_that_failed_is_known_in_the_dialect_that_tells_no_status(told: bytes, status: int) -> None:
    request = SubRequest(0, "GET", "/ok/t1x2z", [])
    answer = gateway.Answer(200, [("Content-Type", "application/json")], b'{"/ok/t1x2z": %s}' % told)

    [found] = answers.read(batches.Drawn(batches.DIALECTS["aggregator"], [request], [], b""), answer)

    assert found is not None
    assert found.status == status


@pytest.mark.parametrize(("times", "found"), [(1, False), (2, True)])
def test_an_item_that_has_run_twice_behind_its_clients_back_is_found(times: int, found: bool) -> None:
    endpoint = endpoints.Endpoint("threads", lambda: BatchMiddleware(faulty.app, executor="threads", workers=2))
    client = clients.Client(0, [endpoint], Tally())
    client._left_to_run(endpoint, [POSTED])
    faulty.ran["t1x2z"] += times

    with pytest.raises(answers.Wrong, match="has run 2 times") if found else nullcontext():
        client.settle(monotonic())
    assert "t1x2z" not in faulty.ran


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (b'{"type": "about:blank", "title": "Internal Server Error", "status": 500, "code": "app-failed"}', False),
        (b'{"error": {"code": "InternalServerError", "message": "", "innererror": {"code": "app-failed"}}}', False),
        (b"The app has failed.", True),
        (b'{"type": "about:blank", "status": 500}', True),
        (b'{"code": "app-failed", "worker": 7}', True),
        (b'{"code": "app-failed", "detail": "Traceback (most recent call last):"}', True),
        (b'{"code": "app-failed", "detail": "File \\"/srv/app.py\\", line 7"}', True),
    ],
)
def test_a_failure_that_tells_what_is_inside_or_tells_it_in_no_known_way_is_found(told: bytes, found: bool) -> None:
    with pytest.raises(failures.Untold) if found else nullcontext():
        failures.check_failure([POSTED], POSTED, SubResponse(500, "", [], told), OWN)


def test_clients_say_of_their_batches_all_that_can_be_said() -> None:
    endpoint = endpoints.Endpoint("sequential", lambda: BatchMiddleware(show))
    drawer = batches.Drawer(0, Random(0))

    drawn = [drawer.draw(endpoint) for _ in range(500)]

    for word in ("graph", "odata"):
        assert any(request.after for one in drawn if one.dialect is batches.DIALECTS[word] for request in one.requests)
    for word in ("multipart", "odata"):
        assert any(one.stops and one.key for one in drawn if one.dialect is batches.DIALECTS[word])
    for word in ("multipart", "odata"):
        assert any(request.group for one in drawn if one.dialect is batches.DIALECTS[word] for request in one.requests)
    for when in (b"$", b"not $"):
        assert any(b'"if":"%b' % when in one.body for one in drawn)
    assert any(b'"x-client":"$' in one.body for one in drawn)
    assert all(any(one.key for one in drawn if one.dialect is dialect) for dialect in batches.DIALECTS.values())


def hanging_together(*waits: tuple[int, ...], groups: str = "      ") -> list[SubRequest]:
    """Requests, of which each waits for those at these places, and belongs to the group of this name."""
    named = zip(waits, groups, strict=False)
    return [SubRequest(i, "GET", "/ok/t1x2z", [], after=tuple(map(Edge, wanted)), group=name.strip()) for i, (wanted, name) in enumerate(named)]


@pytest.mark.parametrize(
    ("statuses", "fates"),
    [
        ([200, 200, 200, 200], [OWN, OWN, OWN, OWN]),
        ([404, 424, 424, 200], [OWN, UNMET, UNMET, OWN]),
        ([200, 500, 424, 200], [OWN, OWN, UNMET, OWN]),
    ],
    ids=str,
)
def test_what_waits_for_a_failure_is_to_be_refused_and_what_waits_for_that_as_well(statuses: list[int | None], fates: list[linked.Fate]) -> None:
    assert linked.fates(hanging_together((), (0,), (1,), ()), statuses, stops=False, atomic=None) == fates


def test_nothing_behind_a_failure_at_which_its_batch_stops_is_to_run_or_to_be_answered() -> None:
    assert linked.fates(hanging_together((), (), ()), [200, 404, None], stops=True, atomic=None) == [OWN, OWN, LEFT_OUT]


@pytest.mark.parametrize(
    ("atomic", "statuses", "fates"),
    [
        (None, [200, 501, 501, 501, 424], [OWN, UNSUPPORTED, UNSUPPORTED, UNSUPPORTED, UNMET]),
        ("stop", [200, 200, 404, 424, 424], [OWN, OWN, OWN, UNMET, UNMET]),
        ("stop", [404, 424, 424, 424, 424], [OWN, UNMET, UNMET, UNMET, UNMET]),
        (endpoints.nothing_undone, [200, 200, 200, 200, 200], [OWN] * 5),
        (endpoints.nothing_undone, [200, 424, 404, 424, 424], [OWN, UNDONE, OWN, UNMET, UNMET]),
        (endpoints.nothing_undone, [404, 424, 424, 424, 424], [OWN, UNMET, UNMET, UNMET, UNMET]),
        (endpoints.nothing_undone, [200, 504, 504, 504, 424], [OWN, OWN, OWN, OWN, UNMET]),
    ],
    ids=["no groups here", "a failure within", "a failure before", "all well", "undone", "not begun", "late"],
)
def test_a_group_is_to_stand_and_fall_together_as_its_endpoint_has_it(atomic: Any, statuses: list[int | None], fates: list[linked.Fate]) -> None:
    requests = hanging_together((), (), (0, 1), (), (1,), groups=" ggg ")

    assert linked.fates(requests, statuses, stops=False, atomic=atomic) == fates


@pytest.mark.parametrize(
    ("statuses", "edges", "fate"),
    [
        ([404, 200], (Edge(0, "failed"),), OWN),
        ([200, 424], (Edge(0, "failed"),), UNMET),
        ([404, 424], (Edge(0, "succeeded"),), UNMET),
        ([404, 200], (Edge(0, "ended"),), OWN),
    ],
    ids=str,
)
def test_a_condition_is_to_decide_whether_its_item_runs(statuses: list[int | None], edges: tuple[Edge, ...], fate: linked.Fate) -> None:
    requests = hanging_together((), ())
    requests[1].after = edges

    assert linked.fates(requests, statuses, stops=False, atomic=None) == [OWN, fate]


@pytest.mark.parametrize(
    ("place", "status", "told", "fate", "found"),
    [
        (3, 424, {"code": "dependency-failed", "failed_item": 0}, UNMET, False),
        (3, 424, {"code": "dependency-failed", "failed_item": 1}, UNMET, True),
        (3, 424, {"code": "dependency-failed"}, UNMET, True),
        (3, 424, {"code": "group-rolled-back", "failed_item": 0}, UNMET, True),
        (2, 424, {"code": "group-rolled-back", "failed_item": "one"}, UNMET, False),
        (2, 424, {"code": "group-rolled-back", "failed_item": 1}, UNMET, True),
        (2, 424, {"code": "group-rolled-back", "failed_item": 3}, UNMET, True),
        (2, 424, {"code": "dependency-failed", "failed_item": "one"}, UNMET, True),
        (2, 424, {"code": "group-rolled-back", "failed_item": "one"}, UNDONE, False),
        (2, 424, {"code": "group-stopped", "failed_item": "one"}, UNDONE, True),
        (2, 501, {"code": "atomic-unsupported"}, UNSUPPORTED, False),
        (2, 501, {"code": "app-failed"}, UNSUPPORTED, True),
        (3, 500, {"code": "app-failed"}, OWN, False),
        (3, 500, {"code": "app-failed", "failed_item": 0}, OWN, True),
        (3, 500, {"code": "timed-out"}, OWN, True),
        (3, 504, {"code": "timed-out"}, OWN, False),
        (3, 502, {"code": "bad-answer"}, OWN, True),
        (3, 503, {"code": "no-worker"}, OWN, True),
    ],
)
def test_a_failure_that_is_told_with_another_reason_than_its_own_is_found(
    place: int, status: int, told: dict[str, Any], fate: linked.Fate, found: bool
) -> None:
    requests = hanging_together((), (), (), (0,), groups=" gg ")
    requests[1].id = "one"

    with pytest.raises(failures.Untold) if found else nullcontext():
        failures.check_failure(requests, requests[place], SubResponse(status, "", [], json.dumps(told).encode()), fate)


@pytest.mark.parametrize(
    ("ran", "status", "spread"),
    [
        (2, 404, [200, 424, 404, 424, 200]),
        (1, 503, [200, 424, 503, 424, 200]),
        (0, 501, [200, 501, 501, 501, 200]),
        (1, 504, [200, 504, 504, 504, 200]),
    ],
    ids=["failed", "not run", "no groups here", "late"],
)
def test_the_one_answer_to_a_changeset_is_that_of_the_member_which_has_failed(ran: int, status: int, spread: list[int]) -> None:
    requests = [replace(one, target=f"/ok/t9x{one.index}z") for one in hanging_together((), (), (), (), (), groups=" ggg ")]
    well, failed = SubResponse(200, "", [], b""), SubResponse(status, "", [], b"")
    faulty.ran.update(f"t9x{index}z" for index in range(1, 1 + ran))

    found = answers.spread(requests, [well, failed, failed, failed, well])

    for request in requests:
        faulty.taken(answers.token_of(request))
    assert [one and one.status for one in found] == spread


def test_a_changeset_that_is_said_to_have_failed_without_any_of_it_run_is_found() -> None:
    failed = SubResponse(404, "", [], b"")

    with pytest.raises(answers.Wrong, match="0 of 2 members"):
        answers.spread(hanging_together((), (), groups="gg"), [failed, failed])


@pytest.mark.parametrize("statuses", [[404, 200], [200, 424], [404, None]], ids=str)
def test_an_item_whose_fate_is_not_what_it_has_to_be_is_found(statuses: list[int | None]) -> None:
    drawn = batches.Drawn(batches.DIALECTS["graph"], [replace(request, id=str(request.index)) for request in hanging_together((), (0,))], [], b"")
    told = [None if status is None else SubResponse(status, "", [], b"t1x2z GET  None None None") for status in statuses]

    with pytest.raises(answers.Wrong):
        answers.check(endpoints.Endpoint("sequential", lambda: BatchMiddleware(show)), drawn, told)


def grouped(*statuses: int, noted: Any, atomic: Any = endpoints.nothing_undone) -> None:
    """Look at the transaction of a group whose members were answered with these, and of which there is *noted* what has become of it."""
    drawn = batches.Drawn(batches.DIALECTS["odata"], hanging_together(*[()] * len(statuses), groups="gggg"), [], b"")
    told = [SubResponse(status, "", [], b"") for status in statuses]
    endpoint = endpoints.Endpoint("threads", lambda: BatchMiddleware(show), atomic=atomic)
    transactions.check(endpoint, drawn, told, [faulty.Run(noted), *[None] * (len(statuses) - 1)])


@pytest.mark.parametrize(
    ("statuses", "noted"),
    [((200, 200), endpoints.COMMITTED), ((404, 424), endpoints.ROLLED_BACK), ((504, 504), ["left"])],
    ids=["well", "failed", "late"],
)
def test_a_transaction_that_ends_as_its_group_is_well(statuses: tuple[int, ...], noted: list[str]) -> None:
    grouped(*statuses, noted=noted)


@pytest.mark.parametrize(
    ("statuses", "noted"),
    [
        ((200, 200), None),
        ((200, 200), endpoints.ROLLED_BACK),
        ((200, 200), ["left"]),
        ((424, 404), endpoints.COMMITTED),
        ((424, 404), ["left with an exception", "hook of commit"]),
        ((424, 404), [*endpoints.ROLLED_BACK, "hook of rollback"]),
    ],
    ids=["never entered", "rolled back", "no hook called", "committed", "the other hook called", "a hook called twice"],
)
def test_a_transaction_that_does_not_end_as_its_group_is_found(statuses: tuple[int, ...], noted: list[str] | None) -> None:
    with pytest.raises(answers.Wrong, match="of its transaction"):
        grouped(*statuses, noted=noted)


def test_a_transaction_where_there_are_none_is_found() -> None:
    with pytest.raises(answers.Wrong, match="of its transaction"):
        grouped(200, 200, noted=endpoints.COMMITTED, atomic="stop")


def run_at(*moments: tuple[int, int] | None) -> list[faulty.Run | None]:
    """Runs that have begun and ended at these moments."""
    runs = [moment and faulty.Run(None) for moment in moments]
    for run, moment in zip(runs, moments, strict=True):
        if run and moment:
            run.began, run.ended = moment
    return runs


@pytest.mark.parametrize(
    ("order", "methods", "well"),
    [
        ("sequential", ("GET", "GET"), False),
        ("barrier", ("GET", "GET"), True),
        ("barrier", ("POST", "GET"), False),
        ("barrier", ("GET", "POST"), False),
        ("free", ("POST", "POST"), True),
    ],
)
@pytest.mark.parametrize("moments", [((1, 3), (2, 4)), ((3, 4), (1, 2)), ((1, -1), (2, 4))], ids=["overlap", "overtake", "not ended"])
def test_what_overlaps_or_overtakes_is_found_where_the_order_does_not_allow_it(
    order: str, methods: tuple[str, str], well: bool, moments: tuple[tuple[int, int], ...]
) -> None:
    requests = [replace(request, method=method) for request, method in zip(hanging_together((), ()), methods, strict=True)]
    with nullcontext() if well else pytest.raises(answers.Wrong, match="began at"):
        in_order(order, requests, run_at(*moments))


def in_order(order: str, requests: list[SubRequest], runs: list[faulty.Run | None], status: int = 200, stops: bool = False) -> None:
    """Look at the order of what has run, and was answered with this *status*."""
    drawn = batches.Drawn(batches.DIALECTS["odata"], requests, [], b"", stops=stops)
    endpoint = endpoints.Endpoint("threads", lambda: BatchMiddleware(show), order=order)
    orders.check(endpoint, drawn, [SubResponse(status, "", [], b"") for _ in requests], runs)


@pytest.mark.parametrize(
    ("requests", "runs"),
    [
        (hanging_together((), (0,)), run_at((1, 3), (2, 4))),
        (hanging_together((), (), groups="gg"), run_at((1, 3), (2, 4))),
        (hanging_together((), (), (0,), groups="gg "), run_at((1, 2), (5, 6), (3, 4))),
    ],
    ids=["waits", "in a group", "waits for a group"],
)
def test_what_begins_before_that_has_ended_which_it_waits_for_is_found_in_every_order(
    requests: list[SubRequest], runs: list[faulty.Run | None]
) -> None:
    with pytest.raises(answers.Wrong, match="began at"):
        in_order("free", requests, runs)


def test_what_begins_once_all_that_it_waits_for_has_ended_is_well() -> None:
    in_order("free", hanging_together((), (), (0,), groups="gg "), run_at((1, 2), (3, 4), (5, 6)))


def test_what_overlaps_in_a_batch_that_stops_is_found_in_every_order() -> None:
    with pytest.raises(answers.Wrong, match="began at"):
        in_order("free", hanging_together((), ()), run_at((1, 3), (2, 4)), stops=True)


def test_what_is_late_or_has_not_run_holds_nothing_up() -> None:
    in_order("sequential", hanging_together((), ()), run_at((1, -1), (2, 4)), status=504)
    in_order("sequential", hanging_together((), ()), run_at(None, (2, 4)))


@pytest.mark.parametrize(
    ("ran", "found"),
    [
        ("GET /die/a\nGET /die/a\nPOST /ok/b\n", []),
        ("GET /die/a\n" * 3, ["GET /die/a has run 3 times"]),
        ("GET /ok/a\n" * 2, ["GET /ok/a has run 2 times"]),
        ("POST /die/a\n" * 2, ["POST /die/a has run 2 times"]),
    ],
)
def test_what_has_run_too_often_in_other_processes_is_found(tmp_path: Path, ran: str, found: list[str]) -> None:
    (tmp_path / "notes").write_text(ran)

    assert noted.too_often(tmp_path / "notes") == found


@pytest.mark.parametrize(("slow", "forgotten", "threads", "count"), [(30, 5, 13, 0), (80, 5, 13, 1), (30, 30, 13, 1), (30, 5, 14, 1)])
def test_what_is_well_only_as_long_as_it_is_seldom_is_found_where_it_is_not(slow: int, forgotten: int, threads: int, count: int) -> None:
    endpoint = endpoints.Endpoint("threads", lambda: BatchMiddleware(show))
    client = clients.Client(0, [endpoint], Tally())
    client.limited = client.again = 100
    client.slow, client.forgotten = slow, forgotten

    assert len([*faults._shares([client], threads, [endpoint])]) == count


@pytest.mark.parametrize(("app", "found"), [(faulty.app, False), (show, True)], ids=["answers", "answers something else"])
def test_an_endpoint_that_does_not_answer_an_ordinary_batch_in_the_end_is_found(app: Any, found: bool) -> None:
    endpoint = endpoints.Endpoint("sequential", lambda: BatchMiddleware(app))
    client = clients.Client(0, [endpoint], Tally())

    with pytest.raises(answers.Wrong) if found else nullcontext():
        client.post_ordinary(endpoint)


class Forgetting(MemoryStore):
    """Has no reply where there was one."""

    def finish(self, key: str, owner: str, value: bytes | None, ttl: float) -> bool:
        return super().finish(key, owner, None, ttl)


@pytest.mark.parametrize(("store", "share"), [(MemoryStore, 0.0), (Forgetting, 1.0)])
def test_an_item_that_runs_again_when_it_is_sent_again_is_counted(store: type[MemoryStore], share: float) -> None:
    endpoint = endpoints.stored("memory", store())
    client = clients.Client(0, [endpoint], Tally())

    while not client.again:
        client.post()
    endpoint.close()

    assert client.forgotten == share * client.again


def sent_again(requests: list[SubRequest], before: list[SubResponse], then: list[SubResponse]) -> list[bool]:
    """What a store that keeps replies has forgotten of *requests*, each with a key of its own, of which none has run again."""
    keyed = [replace(request, method="POST", headers=[("Idempotency-Key", str(request.index))]) for request in requests]
    drawn = batches.Drawn(batches.DIALECTS["odata"], keyed, [], b"")
    return [*again.forgotten(endpoints.stored("memory", MemoryStore()), drawn, before, then, [0] * len(requests))]


REPLY, OTHER, REFUSED = SubResponse(200, "", [], b"1"), SubResponse(200, "", [], b"2"), SubResponse(424, "", [], b"")
SPLIT = SubResponse(409, "", [], b'{"code": "in-group"}')


def test_a_group_of_which_the_store_has_forgotten_a_reply_is_counted_and_not_found() -> None:
    assert sent_again(hanging_together((), (), groups="gg"), [REPLY, OTHER], [REFUSED, SPLIT]) == [True]


def test_a_changeset_of_which_the_store_has_forgotten_a_reply_is_counted_once() -> None:
    assert sent_again(hanging_together((), (), groups="gg"), [REPLY, OTHER], [SPLIT] * 2) == [True]


@pytest.mark.parametrize(
    ("groups", "then"),
    [("  ", [REPLY, REFUSED]), ("  ", [REPLY, REPLY]), ("  ", [REPLY, SPLIT]), ("gg", [REFUSED, REFUSED]), ("gg", [REFUSED, OTHER])],
    ids=["what it waits for was well", "another reply", "split and no group", "a changeset refused", "a member refused"],
)
def test_an_item_that_is_answered_anew_when_it_is_sent_again_is_found(groups: str, then: list[SubResponse]) -> None:
    with pytest.raises(answers.Wrong):
        sent_again(hanging_together((), (0,), groups=groups), [REPLY, OTHER], then)


def test_an_item_that_waits_for_what_has_failed_this_time_may_be_refused() -> None:
    assert sent_again(hanging_together((), (), (0,), groups="gg "), [REPLY] * 3, [SPLIT, REFUSED, REFUSED]) == [True]


@pytest.mark.parametrize(("bound", "found"), [(backends.RECORDS, False), (backends.RECORDS + 1, True)])
def test_a_memory_store_that_keeps_more_than_it_may_is_found(bound: int, found: bool) -> None:
    store = MemoryStore(bound)
    for number in range(2 * bound):
        claim = store.begin(str(number), b"", 60, 60, "fail")
        assert isinstance(claim, Claimed)
        # Both those that run and those that have ended count.
        assert number < bound - 1 or store.finish(str(number), claim.owner, b"", 60)

    assert bool(backends.too_many(store)) == found


def test_a_kind_of_fault_that_came_too_seldom_is_told_of() -> None:
    tally = Tally()
    tally.count(Fault.LATE, 10)
    tally.count(Fault.CUT, 9)

    row = tally.row({Fault.LATE, Fault.CUT}, 10, 1.0)

    assert (row.count, row.wanted, row.findings) == (1, 2, [])
    assert row.remark == f"too few: {Fault.CUT}"
    assert row.counts == {Fault.LATE: 10, Fault.CUT: 9}


def test_of_few_inputs_no_fault_is_wanted_and_of_all_a_thousand_each() -> None:
    assert [faults._least(share) for share in (0.0002, 0.1, 1)] == [0, 70, COUNT]
