"""Items that wait for each other and groups, through the whole middleware."""

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from tests.executors.members import every_executor_here
from tests.gateway import Item, problem
from tests.prepared import answer_to, request, run
from wsgibatch import BatchMiddleware, ConfigError, Group, SubRequest, SubResponse
from wsgibatch.model import Edge, Late, Reference


class Site:
    """An app whose paths say what becomes of a request, and that keeps what it has done."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.seen: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        self.ran.append(path)
        self.seen.append(environ)
        if path.startswith("/raise"):
            raise ValueError("a secret")
        status = next((word for word in path.split("/") if word.isdigit()), "200")
        start_response(f"{status} Told", [("Content-Type", "text/plain")])
        return [path.encode()]


@pytest.fixture
def site() -> Site:
    return Site()


def statuses(items: list[Item]) -> list[int]:
    return [item["status_code"] for item in items]


def codes(items: list[Item]) -> list[str]:
    return [problem(item).get("code", "ran") for item in items]


@every_executor_here
def test_an_item_runs_once_what_it_waits_for_has_succeeded(site: Site, executor: Any) -> None:
    items = run(site, [request(0, "/201"), request(1, "/b", (Edge(0),)), request(2, "/c", (Edge(0), Edge(1)))], executor=executor)

    assert statuses(items) == [201, 200, 200]
    assert site.ran == ["/201", "/b", "/c"]


@every_executor_here
@pytest.mark.parametrize("failing", ["/404", "/302", "/500", "/304", "/raise"])
def test_an_item_is_not_run_when_what_it_waits_for_has_not_succeeded(site: Site, executor: Any, failing: str) -> None:
    items = run(site, [request(0, failing), request(1, "/a", (Edge(0),)), request(2, "/b", (Edge(1),)), request(3, "/c")], executor=executor)

    assert codes(items)[1:] == ["dependency-failed", "dependency-failed", "ran"]
    assert statuses(items)[1:] == [424, 424, 200]
    assert sorted(site.ran) == sorted([failing, "/c"])


def test_the_answer_tells_what_failed(site: Site) -> None:
    items = run(site, [request(0, "/404"), request(1, "/a", (Edge(0),))])

    assert problem(items[1]) == {
        "type": "about:blank",
        "title": "Failed Dependency",
        "status": 424,
        "code": "dependency-failed",
        "detail": "Not run, since request 0 has not succeeded.",
        "failed_item": "0",
    }


@every_executor_here
def test_an_item_may_wait_for_a_failure(site: Site, executor: Any) -> None:
    items = run(
        site,
        [request(0, "/404"), request(1, "/ok"), request(2, "/a", (Edge(0, "failed"),)), request(3, "/b", (Edge(1, "failed"),))],
        executor=executor,
    )

    assert codes(items) == ["ran", "ran", "ran", "dependency-failed"]


@every_executor_here
def test_an_item_may_wait_for_an_end_of_any_kind(site: Site, executor: Any) -> None:
    items = run(site, [request(0, "/404"), request(1, "/a", (Edge(0, "ended"),))], executor=executor)

    assert codes(items) == ["ran", "ran"]
    assert site.ran == ["/404", "/a"]


@every_executor_here
def test_an_item_that_is_refused_has_failed(site: Site, executor: Any) -> None:
    items = run(site, [request(0, "//elsewhere"), request(1, "/a", (Edge(0),)), request(2, "/b", (Edge(0, "failed"),))], executor=executor)

    assert codes(items) == ["bad-url", "dependency-failed", "ran"]


@every_executor_here
def test_ten_thousand_items_fail_one_after_another_without_recursion(site: Site, executor: Any) -> None:
    items = [request(0, "/404"), *(request(index, "/a", (Edge(index - 1),)) for index in range(1, 10_000))]

    answers = run(site, items, executor=executor)

    assert statuses(answers) == [404] + [424] * 9_999
    assert site.ran == ["/404"]


def test_items_that_wait_for_nothing_run_beside_one_another() -> None:
    together = threading.Barrier(2, timeout=30)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] in ("/left", "/right"):
            together.wait()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"x"]

    items = [request(0, "/first"), request(1, "/left", (Edge(0),)), request(2, "/right", (Edge(0),))]

    assert statuses(run(app, items, executor="threads", workers=2)) == [200, 200, 200]


@every_executor_here
def test_what_stands_behind_a_failure_is_neither_run_nor_answered_where_a_batch_stops(site: Site, executor: Any) -> None:
    items = run(site, [request(0, "/a"), request(1, "/404"), request(2, "/b"), request(3, "/c")], "stop", executor=executor)

    assert statuses(items) == [200, 404]
    assert site.ran == ["/a", "/404"]


@every_executor_here
def test_what_is_refused_behind_a_failure_is_not_answered_either_where_a_batch_stops(site: Site, executor: Any) -> None:
    refused = request(1, "/a")
    refused.refusal = SubResponse(400, "Bad Request", [], b"")

    assert statuses(run(site, [request(0, "/404"), refused], "stop", executor=executor)) == [404]


def test_the_first_item_that_is_not_run_in_time_is_the_last_one_answered_where_a_batch_stops(site: Site) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        time.sleep(0.1)
        return site(environ, start_response)

    items = run(app, [request(index) for index in range(4)], "stop", deadline=0.05)

    assert statuses(items) == [200, 504]
    assert site.ran == ["/a"]


# Groups


class Ledger:
    """Makes groups atomic for the paths that a site has run: what a group that failed has run is taken back."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.told: list[str] = []
        self.broken = ""
        """The path of an item that breaks its transaction."""
        self.fails_at = ""

    @contextlib.contextmanager
    def __call__(self) -> Iterator[Group]:
        self._tell("begin")
        before = list(self.site.ran)
        try:
            yield LedgerGroup(self)
            self._tell("commit")
        except BaseException:
            self.site.ran[:] = before
            self._tell("rollback")
            raise

    def _tell(self, what: str) -> None:
        self.told.append(what)
        if what == self.fails_at:
            raise OSError(f"{what} failed")


class LedgerGroup(Group):
    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.environ["ledger"] = ledger
        self._ledger = ledger

    @contextlib.contextmanager
    def item(self) -> Iterator[None]:
        self._ledger._tell("savepoint")
        yield
        self._ledger._tell("release")

    def broken(self) -> bool:
        return bool(self._ledger.broken) and self._ledger.site.ran[-1] == self._ledger.broken


@pytest.fixture
def ledger(site: Site) -> Ledger:
    return Ledger(site)


def group_of(*targets: str) -> list[SubRequest]:
    return [request(index, target, group="g", method="POST") for index, target in enumerate(targets)]


@every_executor_here
def test_a_group_that_succeeds_is_committed(site: Site, ledger: Ledger, executor: Any) -> None:
    items = run(site, [*group_of("/a", "/b"), request(2, "/c")], executor=executor, atomic=ledger)

    assert statuses(items) == [200, 200, 200]
    assert ledger.told == ["begin", "savepoint", "release", "savepoint", "release", "commit"]
    assert site.ran == ["/a", "/b", "/c"]


@every_executor_here
@pytest.mark.parametrize(("failing", "status"), [("/404", 404), ("/500", 500), ("/raise", 500)])
def test_a_group_that_fails_leaves_nothing(site: Site, ledger: Ledger, executor: Any, failing: str, status: int) -> None:
    items = run(site, [*group_of("/a", failing, "/b"), request(3, "/c")], executor=executor, atomic=ledger)

    assert statuses(items) == [424, status, 424, 200]
    assert [codes(items)[place] for place in (0, 2)] == ["group-rolled-back"] * 2
    assert {problem(items[place])["failed_item"] for place in (0, 2)} == {"1"}
    assert site.ran == ["/c"]


def test_nothing_of_a_group_runs_behind_its_failure(site: Site, ledger: Ledger) -> None:
    run(site, group_of("/a", "/404", "/b"), atomic=ledger)

    assert [environ["PATH_INFO"] for environ in site.seen] == ["/a", "/404"]
    assert ledger.told == ["begin", "savepoint", "release", "savepoint", "rollback"]


def test_an_answer_that_is_undone_still_tells_how_long_it_took(site: Site, ledger: Ledger) -> None:
    first, _, last = run(site, group_of("/a", "/404", "/b"), atomic=ledger)

    assert first["headers"]["batch_requests.duration"] > 0
    assert last["headers"]["batch_requests.duration"] == 0


def test_a_redirect_does_not_fail_a_group(site: Site, ledger: Ledger) -> None:
    items = run(site, [*group_of("/a", "/302"), request(2, "/c", (Edge(0),))], atomic=ledger)

    assert statuses(items) == [200, 302, 424]
    assert ledger.told[-1] == "commit"


def test_a_broken_transaction_fails_the_item_that_broke_it(site: Site, ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    ledger.broken = "/b"

    items = run(site, group_of("/a", "/b", "/c"), atomic=ledger)

    assert codes(items) == ["group-rolled-back", "transaction-broken", "group-rolled-back"]
    assert "item 1: POST /b answered 200, but has broken the transaction of its group" in caplog.text
    assert items[1]["headers"]["batch_requests.duration"] > 0
    assert statuses(items) == [424, 500, 424]
    assert site.ran == []


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("begin", ["group-failed"] * 3),
        ("savepoint", ["group-failed", "group-rolled-back", "group-rolled-back"]),
        ("release", ["group-failed", "group-rolled-back", "group-rolled-back"]),
        ("commit", ["group-commit-failed"] * 3),
    ],
)
def test_a_failure_of_the_transaction_itself_is_told_and_logged(
    site: Site, ledger: Ledger, caplog: pytest.LogCaptureFixture, stage: str, expected: list[str]
) -> None:
    ledger.fails_at = stage

    items = run(site, [*group_of("/a", "/b", "/c"), request(3, "/after")], atomic=ledger)

    assert codes(items) == [*expected, "ran"]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [OSError]
    assert site.ran == ["/after"]


def test_a_rollback_that_fails_does_not_change_who_failed(site: Site, ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    ledger.fails_at = "rollback"

    items = run(site, group_of("/a", "/404", "/b"), atomic=ledger)

    assert codes(items) == ["group-rolled-back", "ran", "group-rolled-back"]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [OSError]


def test_a_runner_that_keeps_the_failure_to_itself_has_not_committed(site: Site) -> None:
    @contextlib.contextmanager
    def atomic() -> Iterator[Group]:
        with contextlib.suppress(Exception):
            yield Group()

    assert codes(run(site, group_of("/a", "/404"), atomic=atomic)) == ["group-rolled-back", "ran"]


def test_a_group_stops_even_if_what_stands_around_an_item_keeps_the_failure_to_itself(site: Site) -> None:
    class Keeping(Group):
        def item(self) -> contextlib.AbstractContextManager[object]:
            return contextlib.suppress(Exception)

    @contextlib.contextmanager
    def atomic() -> Iterator[Group]:
        yield Keeping()

    assert codes(run(site, group_of("/a", "/404", "/b"), atomic=atomic)) == ["group-rolled-back", "ran", "group-rolled-back"]
    assert site.ran == ["/a", "/404"]


def test_nothing_is_raised_when_a_group_cannot_tell_its_hooks(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    class Mute(Group):
        def hooks(self, committed: bool) -> list[Callable[[], object]]:
            raise SystemExit

    @contextlib.contextmanager
    def atomic() -> Iterator[Group]:
        yield Mute()

    assert statuses(run(site, group_of("/a", "/b"), atomic=atomic)) == [200, 200]
    assert "committed, and a hook of it failed" in caplog.text


@pytest.mark.parametrize("fails_at", ["", "commit"])
def test_what_was_undone_cannot_be_referred_to(site: Site, ledger: Ledger, fails_at: str) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/404":
            return site(environ, start_response)
        start_response("201 Created", [("Content-Type", "application/json"), ("Location", "/made")])
        return [b'{"a": 1}']

    ledger.fails_at = fails_at
    late = Late(body=(Reference(0, "value", ("a",)),))
    items = [*group_of("/a", "/ok" if fails_at else "/404"), request(2, "/b", (Edge(0, "ended"),), late=late)]

    assert codes(run(app, items, atomic=ledger))[2] == "reference-missing"


def test_what_is_no_group_fails_before_anything_runs(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    items = run(site, group_of("/a", "/b"), atomic=contextlib.nullcontext)

    assert codes(items) == ["group-failed"] * 2
    assert site.ran == []
    assert "no wsgibatch.Group" in caplog.text


@every_executor_here
def test_a_group_without_a_runner_is_answered_501_and_nothing_of_it_runs(site: Site, executor: Any) -> None:
    items = run(site, [*group_of("/a", "/b"), request(2, "/c")], executor=executor)

    assert statuses(items) == [501, 501, 200]
    assert codes(items)[:2] == ["atomic-unsupported"] * 2
    assert site.ran == ["/c"]


def test_a_group_of_one_without_a_runner_simply_runs(site: Site) -> None:
    assert statuses(run(site, group_of("/a"))) == [200]


def test_a_group_of_one_has_a_transaction_where_there_are_any(site: Site, ledger: Ledger) -> None:
    assert codes(run(site, group_of("/404"), atomic=ledger)) == ["ran"]
    assert ledger.told[-1] == "rollback"


@every_executor_here
def test_a_group_may_stop_at_a_failure_and_undo_nothing(site: Site, executor: Any) -> None:
    items = run(site, [*group_of("/a", "/404", "/b", "/c"), request(4, "/d", (Edge(0),))], executor=executor, atomic="stop")

    assert codes(items) == ["ran", "ran", "group-stopped", "group-stopped", "dependency-failed"]
    assert site.ran == ["/a", "/404"]


def test_a_refused_member_keeps_its_group_from_running(site: Site, ledger: Ledger) -> None:
    items = run(site, group_of("/a", "//elsewhere", "/b"), atomic=ledger)

    assert codes(items) == ["group-rolled-back", "bad-url", "group-rolled-back"]
    assert (site.ran, ledger.told) == ([], [])


@every_executor_here
def test_a_status_below_the_one_that_fails_a_group_of_this_batch_undoes_nothing(site: Site, ledger: Ledger, executor: Any) -> None:
    items = run(site, group_of("/a", "/404", "/b"), fails_from=500, executor=executor, atomic=ledger)

    assert statuses(items) == [200, 404, 200]
    assert ledger.told == ["begin", *["savepoint", "release"] * 3, "commit"]
    assert site.ran == ["/a", "/404", "/b"]


def test_the_status_that_fails_a_group_of_this_batch_undoes_all(site: Site, ledger: Ledger) -> None:
    items = run(site, group_of("/404", "/500", "/b"), fails_from=500, atomic=ledger)

    assert statuses(items) == [424, 500, 424]
    assert problem(items[0])["failed_item"] == "1"
    assert site.ran == []


def test_a_refusal_that_does_not_fail_its_group_is_answered_in_its_place(site: Site, ledger: Ledger) -> None:
    items = run(site, group_of("/a", "//elsewhere", "/b"), fails_from=500, atomic=ledger)

    assert codes(items) == ["ran", "bad-url", "ran"]
    assert site.ran == ["/a", "/b"]
    assert ledger.told[-1] == "commit"


def test_an_item_that_does_not_fail_its_group_may_have_broken_the_transaction_all_the_same(site: Site, ledger: Ledger) -> None:
    ledger.broken = "/409"

    items = run(site, group_of("/a", "/409", "/b"), fails_from=500, atomic=ledger)

    assert codes(items) == ["group-rolled-back", "transaction-broken", "group-rolled-back"]
    assert site.ran == []


def test_a_runner_that_loses_a_group_behind_an_item_that_did_not_fail_it_is_a_failure_of_the_group(site: Site) -> None:
    class Losing(Group):
        @contextlib.contextmanager
        def item(self) -> Iterator[None]:
            yield
            raise OSError("lost")

    items = run(site, group_of("/404", "/b"), fails_from=500, atomic=lambda: contextlib.nullcontext(Losing()))

    assert codes(items) == ["group-failed", "group-rolled-back"]


@every_executor_here
def test_a_group_that_may_stop_stops_at_the_status_that_fails_it(site: Site, executor: Any) -> None:
    items = run(site, group_of("/404", "/500", "/b"), fails_from=500, executor=executor, atomic="stop")

    assert statuses(items) == [404, 500, 424]
    assert site.ran == ["/404", "/500"]


def test_a_dependency_that_failed_outside_keeps_a_group_from_running(site: Site, ledger: Ledger) -> None:
    items = [request(0, "/404"), request(1, "/a", group="g"), request(2, "/b", (Edge(0),), group="g")]

    assert codes(run(site, items, atomic=ledger)) == ["ran", "group-rolled-back", "dependency-failed"]
    assert (site.ran, ledger.told) == (["/404"], [])


def test_members_may_wait_for_earlier_members(site: Site, ledger: Ledger) -> None:
    items = [request(0, "/302", group="g"), request(1, "/a", (Edge(0, "failed"),), "g"), request(2, "/b", (Edge(0),), "g")]

    assert codes(run(site, items, atomic=ledger)) == ["group-rolled-back", "group-rolled-back", "dependency-failed"]
    assert ledger.told[-1] == "rollback"


@every_executor_here
def test_whoever_waits_for_a_group_waits_for_all_of_it(site: Site, ledger: Ledger, executor: Any) -> None:
    items = [*group_of("/a", "/404"), request(2, "/b", (Edge(0),)), request(3, "/c", (Edge(0, "failed"),))]

    assert codes(run(site, items, executor=executor, atomic=ledger)) == ["group-rolled-back", "ran", "dependency-failed", "ran"]


def test_items_find_their_group_and_what_it_adds_in_their_environ(site: Site, ledger: Ledger) -> None:
    run(site, [*group_of("/a"), request(1, "/b")], atomic=ledger)

    inside, outside = site.seen
    assert isinstance(inside["wsgibatch.group"], LedgerGroup)
    assert inside["ledger"] is ledger
    assert not {"wsgibatch.group", "ledger"} & outside.keys()


@pytest.mark.parametrize(("last", "expected"), [("/b", "committed"), ("/404", "rolled back")])
def test_hooks_are_called_once_when_the_outcome_is_certain(site: Site, ledger: Ledger, last: str, expected: str) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        group = environ["wsgibatch.group"]
        if environ["PATH_INFO"] == "/a":
            group.on_commit(lambda: ledger.told.append("committed"))
            group.on_rollback(lambda: ledger.told.append("rolled back"))
        return site(environ, start_response)

    run(app, group_of("/a", last), atomic=ledger)

    assert ledger.told[-1] == expected
    assert ledger.told.count(expected) == 1
    assert ledger.told[-2] in ("commit", "rollback")


def test_a_hook_that_fails_is_logged_and_changes_nothing(site: Site, ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    called: list[str] = []

    def fail() -> None:
        called.append("first")
        raise SystemExit

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgibatch.group"].on_commit(fail)
        environ["wsgibatch.group"].on_commit(lambda: called.append("second"))
        return site(environ, start_response)

    assert statuses(run(app, group_of("/a"), atomic=ledger)) == [200]
    assert called == ["first", "second"]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [SystemExit]


@every_executor_here
def test_a_group_runs_in_one_thread_and_each_answer_is_closed_before_the_next_item(executor: Any) -> None:
    told: list[tuple[str, int]] = []

    class Body:
        def __init__(self, path: str) -> None:
            self._path = path

        def __iter__(self) -> Iterator[bytes]:
            yield b"x"

        def close(self) -> None:
            told.append((f"close {self._path}", threading.get_ident()))

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        told.append((environ["PATH_INFO"], threading.get_ident()))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Body(environ["PATH_INFO"])

    @contextlib.contextmanager
    def atomic() -> Iterator[Group]:
        told.append(("begin", threading.get_ident()))
        yield Group()
        told.append(("commit", threading.get_ident()))

    run(app, group_of("/a", "/b"), executor=executor, atomic=atomic)

    assert [what for what, _ in told] == ["begin", "/a", "close /a", "/b", "close /b", "commit"]
    assert len({thread for _, thread in told}) == 1


def test_groups_of_several_threads_do_not_meet(site: Site) -> None:
    inside: list[int] = []

    @contextlib.contextmanager
    def atomic() -> Iterator[Group]:
        group = Group()
        group.environ["mine"] = id(group)
        yield group

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        inside.append(environ["mine"] == id(environ["wsgibatch.group"]))
        return site(environ, start_response)

    items = [request(index, "/a", group=f"g{index // 3}") for index in range(60)]

    assert statuses(run(app, items, executor="threads", workers=4, atomic=atomic, max_requests=60)) == [200] * 60
    assert inside == [True] * 60


def no_context() -> Iterator[Group]:
    yield Group()


@pytest.mark.parametrize("atomic", ["sotp", 5, object(), no_context, lambda group: group, "tests.test_linked:no_context"])
def test_what_cannot_make_a_group_atomic_is_refused_at_the_start(site: Site, atomic: object) -> None:
    with pytest.raises(ConfigError, match="atomic"):
        BatchMiddleware(site, atomic=atomic)


def test_a_runner_may_be_named(site: Site) -> None:
    items = run(site, group_of("/a", "/404"), atomic="tests.test_linked:no_transaction")

    assert codes(items) == ["group-rolled-back", "ran"]


@contextlib.contextmanager
def no_transaction() -> Iterator[Group]:
    yield Group()


def test_hooks_for_items_see_a_member_once_it_has_run(site: Site, ledger: Ledger) -> None:
    seen: list[tuple[int, int]] = []

    def after(item: SubRequest, answer: SubResponse) -> None:
        seen.append((item.index, answer.status))

    run(site, group_of("/a", "/404", "/b"), atomic=ledger, after_item=after)

    assert seen == [(0, 200), (1, 404)]


def test_the_log_tells_what_was_answered_and_not_what_was_undone(site: Site, ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wsgibatch")

    answer = answer_to(site, group_of("/a", "/404"), atomic=ledger)

    assert [item["status_code"] for item in json.loads(answer.body)] == [424, 404]
    assert [vars(record)["item_status"] for record in caplog.records if record.name == "wsgibatch.item"] == [424, 404]


def test_a_hook_that_a_hook_gives_is_called_too(site: Site) -> None:
    called: list[str] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        group = environ["wsgibatch.group"]
        group.on_commit(lambda: group.on_commit(lambda: called.append("second")))
        return site(environ, start_response)

    run(app, group_of("/a"), atomic=no_transaction)

    assert called == ["second"]


class Closing:
    """An answer whose transaction ends, and fails, as it is closed."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"x"

    def close(self) -> None:
        raise OSError("the commit failed")


def test_an_answer_that_cannot_be_closed_fails_its_group(ledger: Ledger) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Closing() if environ["PATH_INFO"] == "/b" else [b"x"]

    items = run(app, [*group_of("/a", "/b", "/c"), request(3, "/b")], atomic=ledger)

    assert codes(items) == ["group-rolled-back", "app-failed", "group-rolled-back", "ran"]
    assert ledger.told[-1] == "rollback"


def test_an_item_that_has_failed_is_not_asked_for_a_broken_transaction(site: Site, ledger: Ledger) -> None:
    ledger.broken = "/404"

    assert codes(run(site, group_of("/a", "/404"), atomic=ledger)) == ["group-rolled-back", "ran"]
