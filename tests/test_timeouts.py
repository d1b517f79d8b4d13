"""Time limits, through the whole middleware."""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from tests.gateway import Answer, get, post
from tests.integrations.sqlalchemy_sites import Base, Row, Site, members, outside, per_request, sqlite
from tests.prepared import Prepared, request
from tests.stalling import PATIENCE, TIMEOUT, Stalling, eventually, meet
from wsgibatch import BatchMiddleware, ConfigError, Group, Settings, SubRequest
from wsgibatch.integrations.sqlalchemy import join_groups
from wsgibatch.model import Edge

Item = dict[str, Any]


@pytest.fixture
def site() -> Iterator[Stalling]:
    made = Stalling()
    yield made
    made.release.set()


@contextlib.contextmanager
def serving(site: Any, **settings: Any) -> Iterator[BatchMiddleware]:
    middleware = BatchMiddleware(site, **{"executor": "threads", "workers": 4, **settings})
    try:
        yield middleware
    finally:
        middleware.close()


def left(middleware: BatchMiddleware) -> int:
    """Calls that were left behind and are still running."""
    found: int = middleware._endpoint.executor.left
    return found


def to(url: str, method: str = "POST") -> Item:
    return {"method": method, "url": url}


def codes(site: Any, batch: list[Item], **settings: Any) -> list[str]:
    with serving(site, **settings) as middleware:
        return post(middleware, batch).codes


def linked(site: Any, items: list[SubRequest], on_error: Any = "continue", **settings: Any) -> Answer:
    with serving(site, dialect=Prepared(items, on_error), **settings) as middleware:
        return post(middleware, [])


@pytest.mark.parametrize("workers", [1, 4])
def test_an_item_that_takes_too_long_is_answered_504_and_the_others_are_delivered(site: Stalling, workers: int) -> None:
    with serving(site, workers=workers, timeout=TIMEOUT) as middleware:
        answer = post(middleware, [get("/a"), get("/hang"), get("/b"), get("/c")])

    assert answer.statuses == [200, 504, 200, 200]
    assert answer.codes == ["ran", "timed-out", "ran", "ran"]
    assert [item["body"] for item in answer.items if item["status_code"] == 200] == ["/a", "/b", "/c"]


def test_the_answer_to_a_late_item_tells_how_long_it_was_waited_for(site: Stalling) -> None:
    with serving(site, timeout=TIMEOUT) as middleware:
        [item] = post(middleware, [get("/hang")]).items

    assert item["headers"]["batch_requests.duration"] >= TIMEOUT


def test_an_item_has_its_time_from_when_it_is_called_and_not_from_when_the_batch_came() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        threading.Event().wait(TIMEOUT / 2)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"in time"]

    assert codes(app, [get("/a")] * 4, timeout=TIMEOUT, workers=1) == ["ran"] * 4


def test_what_stands_behind_an_abandoned_item_that_may_write_is_not_started(site: Stalling) -> None:
    found = codes(site, [get("/a"), to("/hang"), get("/b"), to("/c")], timeout=TIMEOUT)

    assert found == ["ran", "timed-out", "not-started", "not-started"]
    assert site.ran == ["/a", "/hang"]


def test_what_stands_behind_an_abandoned_item_that_only_reads_runs(site: Stalling) -> None:
    assert codes(site, [get("/hang"), to("/b"), get("/c")], timeout=TIMEOUT) == ["timed-out", "ran", "ran"]


def test_in_the_order_free_an_abandoned_item_holds_up_nothing(site: Stalling) -> None:
    assert codes(site, [to("/hang"), get("/b"), to("/c")], timeout=TIMEOUT, order="free", workers=1) == ["timed-out", "ran", "ran"]


def test_in_the_order_sequential_an_abandoned_item_of_any_kind_holds_up_the_others(site: Stalling) -> None:
    assert codes(site, [get("/hang"), get("/b")], timeout=TIMEOUT, order="sequential") == ["timed-out", "not-started"]
    assert site.ran == ["/hang"]


def test_an_abandoned_item_of_one_batch_holds_up_no_other_batch(site: Stalling) -> None:
    with serving(site, timeout=TIMEOUT, workers=1) as middleware:
        post(middleware, [to("/hang")])

        assert post(middleware, [to("/a"), get("/b")]).codes == ["ran", "ran"]


class Lasting(Stalling):
    """Takes longer at ``/last`` than a batch may."""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/last":
            threading.Event().wait(2 * TIMEOUT)
        return super().__call__(environ, start_response)


def test_under_sequential_the_deadline_is_looked_at_between_items() -> None:
    site = Lasting()

    assert codes(site, [get("/a"), get("/last"), get("/b"), to("/c")], executor="sequential", deadline=TIMEOUT) == [
        *("ran", "ran"),
        *("not-started", "not-started"),
    ]
    assert site.ran == ["/a", "/last"]


@pytest.mark.parametrize(("workers", "found"), [(1, ["ran", "timed-out", "not-started"]), (4, ["ran", "timed-out", "ran"])])
def test_under_threads_what_is_not_answered_by_the_deadline_is_not_waited_for(site: Stalling, workers: int, found: list[str]) -> None:
    assert codes(site, [get("/a"), get("/hang"), get("/b")], workers=workers, deadline=TIMEOUT) == found


@pytest.mark.parametrize("executor", ["sequential", "threads"])
def test_the_deadline_counts_from_the_receipt_of_the_batch(site: Stalling, executor: str) -> None:
    class Slow(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            threading.Event().wait(2 * TIMEOUT)
            return super().read(size)

    body = json.dumps([get("/a"), to("/b")]).encode()
    with serving(site, executor=executor, deadline=TIMEOUT) as middleware:
        answer = post(middleware, body, wsgi__input=Slow(body))

    assert answer.codes == ["not-started", "not-started"]
    assert site.ran == []


def test_an_item_that_is_refused_is_answered_as_ever_when_time_is_up(site: Stalling) -> None:
    assert codes(site, [to("/hang"), get("//elsewhere/"), get("/b")], timeout=TIMEOUT) == ["timed-out", "bad-url", "not-started"]


def test_batches_are_refused_while_too_many_calls_are_left_behind_and_served_again_when_they_have_ended(site: Stalling) -> None:
    with serving(site, timeout=TIMEOUT, max_abandoned=2) as middleware:
        assert post(middleware, [get("/hang"), get("/hang")]).codes == ["timed-out", "timed-out"]
        asked = len(site.ran)

        answer = post(middleware, [get("/a")])

        assert (answer.status, answer.json()["code"], answer.header("Retry-After")) == (503, "overloaded", "1")
        assert len(site.ran) == asked
        site.release.set()
        eventually(lambda: left(middleware) == 0)
        assert post(middleware, [get("/a")]).codes == ["ran"]


def test_a_batch_is_served_while_one_call_less_is_left_behind_than_may_be(site: Stalling) -> None:
    with serving(site, timeout=TIMEOUT, max_abandoned=2) as middleware:
        post(middleware, [get("/hang")])

        assert post(middleware, [get("/a")]).codes == ["ran"]


@pytest.mark.parametrize(("settings", "seconds"), [({"timeout": 0.1, "deadline": 2.1}, "1"), ({"deadline": 1.2}, "2")])
def test_a_client_that_is_refused_is_told_to_come_back_when_an_item_more_would_have_ended(
    site: Stalling, settings: dict[str, float], seconds: str
) -> None:
    with serving(site, max_abandoned=1, **settings) as middleware:
        post(middleware, [get("/hang")])

        assert post(middleware, [get("/a")]).header("Retry-After") == seconds


def test_a_batch_that_leaves_behind_too_much_starts_nothing_more_itself(site: Stalling) -> None:
    found = codes(site, [get("/hang/1"), get("/hang/2"), get("/b")], timeout=TIMEOUT, max_abandoned=1, workers=1)

    assert found == ["timed-out", "timed-out", "not-started"]


def test_a_late_answer_is_closed_in_the_thread_that_called_the_app_and_told_to_nobody(site: Stalling) -> None:
    with serving(site, timeout=TIMEOUT) as middleware:
        answer = post(middleware, [get("/hang"), get("/a")])
        assert [path for path, _ in site.closed] == ["/a"]

        site.release.set()

        eventually(lambda: left(middleware) == 0)
        assert sorted(site.called) == sorted(site.closed)
        assert answer.codes == ["timed-out", "ran"]
        # Nor is it mistaken for the answer of a later batch.
        assert [item["body"] for item in post(middleware, [get("/b"), get("/c")]).items] == ["/b", "/c"]


def test_a_late_answer_without_an_end_is_closed_at_its_next_piece() -> None:
    closed = threading.Event()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            while True:
                yield b"more"
        finally:
            closed.set()

    with serving(app, timeout=TIMEOUT, max_response=1 << 40) as middleware:
        answer = post(middleware, [get("/endless")])

        assert answer.codes == ["timed-out"]
        assert closed.wait(timeout=30)
        eventually(lambda: left(middleware) == 0)


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({"timeout": 50}, 50),
        ({"deadline": 50}, 50),
        ({"timeout": 20, "deadline": 50}, 20),
        ({"executor": "sequential", "deadline": 50}, 50),
    ],
)
def test_the_app_finds_in_its_environ_when_it_is_late(settings: Item, most: float) -> None:
    seen: list[float] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        seen.append(environ["wsgibatch.deadline"] - monotonic())
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    assert codes(app, [get("/a"), to("/b")], **settings) == ["ran", "ran"]
    assert all(most - PATIENCE < seconds <= most for seconds in seen)


def test_without_a_limit_there_is_no_deadline_in_the_environ(site: Stalling) -> None:
    codes(site, [get("/a")], stream=True)

    assert "wsgibatch.deadline" not in site.seen[0]


@pytest.mark.parametrize("when", ["succeeded", "failed", "ended"])
def test_what_waits_for_a_late_item_is_not_run_whatever_outcome_it_waits_for(site: Stalling, when: Any) -> None:
    answer = linked(site, [request(0, "/hang"), request(1, "/a", (Edge(0, when),)), request(2, "/b", (Edge(1),)), request(3, "/c")], timeout=TIMEOUT)

    assert answer.codes == ["timed-out", "dependency-failed", "dependency-failed", "ran"]
    assert sorted(site.ran) == ["/c", "/hang"]


def test_what_waits_for_a_late_item_that_may_write_is_not_run_either(site: Stalling) -> None:
    answer = linked(site, [request(0, "/hang", method="POST"), request(1, "/a", (Edge(0, "ended"),)), request(2, "/b")], timeout=TIMEOUT)

    assert answer.statuses == [504, 504, 504]
    assert site.ran == ["/hang"]


@pytest.mark.parametrize("condition", ["$0/$succeeded", "not $0/$succeeded"])
def test_no_condition_of_odata_is_met_by_a_late_item(site: Stalling, condition: str) -> None:
    requests = [
        {"id": "0", "method": "GET", "url": "/hang"},
        {"id": "1", "method": "GET", "url": "/a", "dependsOn": ["0"], "if": condition},
        {"id": "2", "method": "GET", "url": "/b"},
    ]
    with serving(site, dialect="odata", timeout=TIMEOUT) as middleware:
        answer = post(middleware, {"requests": requests})

    assert [response["status"] for response in answer.json()["responses"]] == [504, 424, 200]
    assert sorted(site.ran) == ["/b", "/hang"]


def test_nothing_runs_behind_a_late_item_where_a_batch_stops(site: Stalling) -> None:
    answer = linked(site, [request(0, "/a"), request(1, "/hang"), request(2, "/b")], "stop", timeout=TIMEOUT)

    assert answer.codes == ["ran", "timed-out"]
    assert site.ran == ["/a", "/hang"]


def test_a_batch_that_stops_at_its_deadline_ends_with_the_item_that_was_not_started(site: Stalling) -> None:
    answer = linked(Lasting(), [request(0, "/last"), request(1, "/a"), request(2, "/b")], "stop", deadline=TIMEOUT, executor="sequential")

    assert answer.codes == ["ran", "not-started"]


# Groups.


@pytest.fixture
def url(tmp_path: Path) -> str:
    Base.metadata.create_all(outside(sqlite(tmp_path)))
    return sqlite(tmp_path)


@pytest.fixture
def database(url: str, site: Stalling) -> Iterator[Site]:
    """A site whose ``/hang/x`` and ``/last/x`` add a row and take long."""
    made = per_request(url)

    def hang(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
        added = made.views["add"](session, name, environ)
        site.hanging.release()
        meet(site.release)
        return added

    def last(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
        added = made.views["add"](session, name, environ)
        threading.Event().wait(2 * TIMEOUT)
        return added

    made.views.update(hang=hang, last=last)
    yield made
    site.release.set()
    made.engine.dispose()


def rows(url: str) -> str:
    """The names that a connection of its own finds, committed."""
    with outside(url).connect() as connection:
        return " ".join(connection.scalars(select(Row.name).order_by(Row.name)))


@pytest.mark.parametrize("paths", [("/add/a", "/hang/b"), ("/hang/a", "/add/b")])
@pytest.mark.parametrize("limit", ["timeout", "deadline"])
def test_a_group_that_is_late_never_commits(database: Site, site: Stalling, url: str, paths: tuple[str, ...], limit: str) -> None:
    items = [*members(*paths), request(2, "/add/c", method="POST")]
    with serving(database.app, dialect=Prepared(items), atomic=join_groups(database.factory), **{limit: TIMEOUT}) as middleware:
        assert post(middleware, []).codes == ["timed-out", "timed-out", "not-started"]

        site.release.set()

        eventually(lambda: left(middleware) == 0)
    assert rows(url) == ""


@pytest.mark.parametrize("paths", [("/add/a", "/last/b"), ("/last/a", "/add/b"), ("/last/a",)])
def test_under_sequential_a_group_that_outlasts_the_deadline_is_rolled_back(database: Site, url: str, paths: tuple[str, ...]) -> None:
    items = [*members(*paths), request(len(paths), "/add/c", method="POST")]

    answer = linked(database.app, items, executor="sequential", deadline=TIMEOUT, atomic=join_groups(database.factory))

    assert answer.codes == ["timed-out"] * len(paths) + ["not-started"]
    assert rows(url) == ""


@pytest.mark.parametrize("executor", ["sequential", "threads"])
def test_a_group_that_is_in_time_commits(database: Site, url: str, executor: str) -> None:
    answer = linked(database.app, members("/add/a", "/add/b"), executor=executor, deadline=PATIENCE, atomic=join_groups(database.factory))

    assert answer.statuses == [201, 201]
    assert rows(url) == "a b"


def test_each_member_of_a_group_has_its_own_time(database: Site, url: str) -> None:
    paths = [f"/last/{name}" for name in "abc"]

    answer = linked(database.app, members(*paths), timeout=4 * TIMEOUT, atomic=join_groups(database.factory))

    assert answer.statuses == [201, 201, 201]
    assert rows(url) == "a b c"


class Books:
    """A transaction whose outcome is noted, and whose end takes as long as *ending* does."""

    def __init__(self, ending: Callable[[], object] = lambda: None) -> None:
        self.told: list[str] = []
        self._ending = ending

    @contextlib.contextmanager
    def __call__(self) -> Iterator[Group]:
        try:
            yield Group()
        except BaseException:
            self.told.append("rolled back")
            raise
        self._ending()
        self.told.append("committed")


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
def test_a_commit_that_has_begun_is_waited_for_and_reported(site: Stalling, limit: str) -> None:
    books = Books(lambda: threading.Event().wait(2 * TIMEOUT))

    answer = linked(site, members("/a", "/b"), atomic=books, **{limit: TIMEOUT})

    assert answer.statuses == [200, 200]
    assert books.told == ["committed"]


def test_what_a_group_is_answered_is_what_became_of_it_however_close_it_comes_to_its_time() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        threading.Event().wait(environ["wsgibatch.deadline"] - monotonic() + float(environ["PATH_INFO"][1:]))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    found: set[tuple[int, str]] = set()
    for offset in (-1, *(thousandth / 1e4 for thousandth in range(-15, 15)), 0.02):
        books = Books()
        with serving(app, dialect=Prepared(members(f"/{offset}")), atomic=books, timeout=0.03, workers=1, max_abandoned=1000) as middleware:
            [status] = post(middleware, []).statuses
            eventually(lambda books=books: books.told != [])  # type: ignore[misc] # a lambda keeps what it was made with
            [outcome] = books.told
        found.add((status, outcome))

    assert found == {(200, "committed"), (504, "rolled back")}


def test_whoever_waits_for_a_late_group_is_not_run(site: Stalling) -> None:
    items = [*members("/a", "/hang"), request(2, "/b", (Edge(0, "ended"),))]

    assert linked(site, items, atomic=Books(), timeout=TIMEOUT, order="free").codes == ["timed-out", "timed-out", "dependency-failed"]


def test_a_late_group_of_which_nothing_is_undone_goes_no_further(site: Stalling) -> None:
    with serving(site, dialect=Prepared(members("/a", "/hang", "/c")), atomic="stop", timeout=TIMEOUT) as middleware:
        assert post(middleware, []).codes == ["timed-out"] * 3

        site.release.set()

        eventually(lambda: left(middleware) == 0)
    assert site.ran == ["/a", "/hang"]


def test_under_sequential_a_group_of_which_nothing_is_undone_stops_at_the_deadline_and_tells_what_it_has_done() -> None:
    site = Lasting()

    answer = linked(site, members("/a", "/last", "/c"), executor="sequential", atomic="stop", deadline=TIMEOUT)

    assert answer.codes == ["ran", "ran", "not-started"]
    assert site.ran == ["/a", "/last"]


# Processes, many batches, settings.

HANGING = """
import threading
from tests.gateway import get, post
from wsgibatch import BatchMiddleware

def app(environ, start_response):
    if environ["PATH_INFO"] == "/hang":
        threading.Event().wait()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b""]

middleware = BatchMiddleware(app, executor="threads", workers=2, timeout=0.2)
print(post(middleware, [get("/hang"), get("/a")]).statuses)
if {close}:
    middleware.close()
"""


@pytest.mark.parametrize("close", [False, True])
def test_a_process_can_end_while_a_call_hangs_for_ever(close: bool) -> None:
    code = HANGING.replace("{close}", str(close))

    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[504, 200]\n", "")


def test_many_batches_at_once_are_answered_each_with_its_own_while_an_item_of_each_hangs(site: Stalling) -> None:
    before = threading.active_count()
    answered: dict[int, Answer] = {}
    with serving(site, timeout=5 * TIMEOUT, workers=4, max_abandoned=1000) as middleware:

        def client(number: int) -> None:
            batch = [get(f"/{number}/a"), get(f"/hang/{number}"), get(f"/{number}/b"), to(f"/{number}/c")]
            answered[number] = post(middleware, batch)

        clients = [threading.Thread(target=client, args=(number,)) for number in range(64)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        assert left(middleware) == 64
        site.release.set()
        eventually(lambda: left(middleware) == 0)
        eventually(lambda: threading.active_count() <= before + 4)

    for number, answer in answered.items():
        assert answer.codes == ["ran", "timed-out", "ran", "ran"]
        assert [item["body"] for item in answer.items if item["status_code"] == 200] == [f"/{number}/{name}" for name in "abc"]


@pytest.mark.parametrize("name", ["timeout", "deadline"])
@pytest.mark.parametrize("value", [0, -1, 86401, "1", True, float("nan"), float("inf"), [1]])
def test_a_limit_is_a_number_of_seconds_up_to_a_day(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        Settings(executor="threads", **{name: value})  # type: ignore[arg-type] # wrong on purpose


@pytest.mark.parametrize("value", [0, -1, 1.5, None, True])
def test_a_number_of_calls_is_a_whole_one_and_at_least_one(value: object) -> None:
    with pytest.raises(ConfigError, match="max_abandoned"):
        Settings(max_abandoned=value)  # type: ignore[arg-type] # wrong on purpose


def test_limits_may_be_given_as_strings() -> None:
    values = {"timeout": "2.5", "deadline": "10", "max_abandoned": "7", "stream": "yes", "coalesce": "on"}

    settings = Settings.from_strings(values)

    assert (settings.timeout, settings.deadline, settings.max_abandoned, settings.stream, settings.coalesce) == (2.5, 10.0, 7, True, True)
    assert Settings.from_environment({f"WSGIBATCH_{name.upper()}": value for name, value in values.items()}) == settings


@pytest.mark.parametrize(
    ("name", "text"), [("timeout", "soon"), ("timeout", "nan"), ("deadline", "1e9"), ("deadline", "-1"), ("max_abandoned", "many"), ("stream", "2")]
)
def test_a_string_that_is_no_limit_is_refused(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=name):
        Settings.from_strings({name: text})


def test_an_item_cannot_have_more_time_than_its_batch() -> None:
    assert Settings(timeout=3, deadline=3).timeout == 3
    with pytest.raises(ConfigError, match="timeout: 4"):
        Settings(timeout=4, deadline=3)


def test_an_executor_that_cannot_leave_a_call_behind_has_no_time_for_single_items(site: Stalling) -> None:
    with pytest.raises(ConfigError, match="'sequential' cannot leave a call behind"):
        BatchMiddleware(site, timeout=1)
    BatchMiddleware(site, deadline=1).close()
