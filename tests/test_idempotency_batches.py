"""Idempotent replies and batches: items behind the batch, whole batches in front of it, groups, and items that share a key."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from wsgiref.validate import validator

import pytest

from tests.executors.members import every_executor_here
from tests.gateway import Answer, Item, get, post, problem
from tests.prepared import Prepared
from tests.test_idempotency import ANNA, Clock, Watched
from wsgibatch import BatchMiddleware, ConfigError, Group, Settings, SubRequest
from wsgibatch._plan import make_plan
from wsgibatch.idempotency import Dimensions, IdempotencyMiddleware, Policy
from wsgibatch.model import Batch, Claim, Claimed, Edge, Held, Kept
from wsgibatch.stores.memory import MemoryStore


class Shop:
    """An app whose paths say what becomes of a request; each is counted."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.keys: list[str | None] = []
        self.fails: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        with self._lock:
            self.ran.append(path)
            self.keys.append(environ.get("HTTP_IDEMPOTENCY_KEY"))
            number = len(self.ran)
        failure = self.fails.get(path, "201 Created")
        if not isinstance(failure, str):
            raise failure
        start_response(failure, [("Content-Type", "text/plain")])
        return [f"{path} {number}".encode()]


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def store() -> Watched:
    return Watched()


def order(url: str, body: str = "x", **headers: str) -> Item:
    return {"method": "POST", "url": url, "body": body, "headers": {name.replace("_", "-"): value for name, value in headers.items()}}


def behind(app: Any, store: Any, *, fields: dict[str, Any] | None = None, **settings: Any) -> BatchMiddleware:
    """A batch in front of guarded items."""
    return BatchMiddleware(validator(IdempotencyMiddleware(validator(app), store, **fields or {})), **settings)


def sent(app: Any, items: list[Item], key: str | None = "K", **changes: Any) -> Answer:
    return post(app, items, HTTP_AUTHORIZATION=ANNA, HTTP_IDEMPOTENCY_KEY=key, **changes)


def replayed(answer: Answer) -> list[bool]:
    return [item["headers"].get("Idempotent-Replayed") == "true" for item in answer.items]


# Items


def test_unsafe_items_of_a_batch_with_a_key_have_keys_below_it(shop: Shop, store: Watched) -> None:
    sent(behind(shop, store), [order("/a"), get("/b"), order("/c", Idempotency_Key="own")])

    assert (shop.ran, shop.keys) == (["/a", "/b", "/c"], ["K/0", None, "own"])


def test_items_of_a_batch_without_a_key_have_none(shop: Shop, store: Watched) -> None:
    sent(behind(shop, store), [order("/a"), order("/b")], None)

    assert shop.keys == [None, None]
    assert store.begun == []


def test_a_batch_that_is_sent_again_is_answered_item_by_item(shop: Shop, store: Watched) -> None:
    app = behind(shop, store)

    first, again = sent(app, [order("/a"), order("/b")]), sent(app, [order("/a"), order("/b")])

    assert [item["body"] for item in first.items] == [item["body"] for item in again.items] == ["/a 1", "/b 2"]
    assert (replayed(first), replayed(again)) == ([False, False], [True, True])


def test_an_item_can_be_sent_again_alone(shop: Shop, store: Watched) -> None:
    guarded = IdempotencyMiddleware(shop, store)
    sent(BatchMiddleware(guarded), [order("/a", Content_Type="text/plain")])

    alone = post(guarded, b"x", PATH_INFO="/a", CONTENT_TYPE="text/plain", HTTP_AUTHORIZATION=ANNA, HTTP_IDEMPOTENCY_KEY="K/0")

    assert (alone.header("Idempotent-Replayed"), alone.body) == ("true", b"/a 1")


def test_the_items_of_two_clients_are_two(shop: Shop, store: Watched) -> None:
    app = behind(shop, store)
    sent(app, [order("/a")])

    answer = post(app, [order("/a")], HTTP_AUTHORIZATION="Bearer bob", HTTP_IDEMPOTENCY_KEY="K")

    assert replayed(answer) == [False]


def test_items_have_the_statuses_of_requests(shop: Shop, store: Watched) -> None:
    app = behind(shop, store)
    sent(app, [order("/a", Idempotency_Key="k")], None)

    answer = sent(app, [order("/b", Idempotency_Key="k"), order("/a", Idempotency_Key="a,b"), order("/a", Idempotency_Key="k")], None)

    assert answer.statuses == [422, 400, 201]
    assert answer.codes == ["key-reused", "key-invalid", "ran"]


def test_a_key_that_is_none_leaves_no_item_unguarded(shop: Shop, store: Watched) -> None:
    answer = sent(behind(shop, store), [order("/a"), get("/b")], "a,b")

    assert answer.codes == ["key-invalid", "ran"]
    assert shop.ran == ["/b"]


def test_what_failed_is_executed_again_and_what_succeeded_is_not(shop: Shop, store: Watched) -> None:
    app = behind(shop, store)
    shop.fails["/b"] = ValueError("no")
    assert sent(app, [order("/a"), order("/b"), order("/c")]).statuses == [201, 500, 201]
    shop.fails.clear()

    again = sent(app, [order("/a"), order("/b"), order("/c")])

    assert (again.statuses, replayed(again)) == ([201, 201, 201], [True, False, True])
    assert shop.ran == ["/a", "/b", "/c", "/b"]


# Whole batches


def in_front(shop: Any, store: Watched, fields: dict[str, Any] | None = None, **settings: Any) -> Any:
    """Both: whole batches, and their items."""
    return validator(IdempotencyMiddleware(validator(behind(shop, store, **settings)), store, **fields or {}))


def test_a_whole_batch_is_answered_as_before(shop: Shop, store: Watched) -> None:
    app = in_front(shop, store)

    first, again = sent(app, [order("/a"), get("/b")]), sent(app, [order("/a"), get("/b")])

    assert (first.header("Idempotent-Replayed"), again.header("Idempotent-Replayed")) == (None, "true")
    assert again.body == first.body
    assert shop.ran == ["/a", "/b"]


@every_executor_here
@pytest.mark.parametrize("failing", [ValueError("no"), "503 Busy", "429 Slow Down", "401 Who"], ids=str)
def test_a_batch_with_an_item_that_may_go_otherwise_is_not_kept_but_its_items_are(shop: Shop, store: Watched, executor: str, failing: Any) -> None:
    app = in_front(shop, store, executor=executor)
    shop.fails["/b"] = failing
    sent(app, [order("/a"), order("/b")])
    shop.fails.clear()

    again, third = sent(app, [order("/a"), order("/b")]), sent(app, [order("/a"), order("/b")])

    assert again.header("Idempotent-Replayed") is None
    assert (again.statuses, replayed(again)) == ([201, 201], [True, False])
    assert (third.header("Idempotent-Replayed"), third.body) == ("true", again.body)
    assert shop.ran == ["/a", "/b", "/b"]


def test_a_batch_whose_items_are_refused_for_good_is_kept(shop: Shop, store: Watched) -> None:
    app = in_front(shop, store)
    shop.fails["/a"] = "404 Not Found"
    items = [order("/a"), order("//elsewhere")]
    sent(app, items)

    assert sent(app, items).header("Idempotent-Replayed") == "true"


def test_a_batch_with_an_item_in_flight_is_not_kept(shop: Shop, store: Watched) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if "HTTP_X_SLOW" in environ:
            entered.set()
            assert leave.wait(30)
        return shop(environ, start_response)

    guarded = IdempotencyMiddleware(slow, store)
    app = IdempotencyMiddleware(BatchMiddleware(guarded), store)
    items = [order("/a", Idempotency_Key="own", Content_Type="text/plain")]
    with ThreadPoolExecutor(1) as pool:
        alone = {"HTTP_AUTHORIZATION": ANNA, "HTTP_IDEMPOTENCY_KEY": "own", "CONTENT_TYPE": "text/plain", "PATH_INFO": "/a", "HTTP_X_SLOW": "1"}
        running = pool.submit(post, guarded, b"x", **alone)
        assert entered.wait(30)
        try:
            assert sent(app, items).codes == ["in-flight"]
        finally:
            leave.set()
        running.result(30)

    assert replayed(sent(app, items)) == [True]


def test_where_errors_are_final_a_batch_with_errors_is(shop: Shop, store: Watched) -> None:
    app = in_front(shop, store, {"on_error": "store"})
    shop.fails["/a"] = "500 Oh"
    sent(app, [order("/a")])

    assert sent(app, [order("/a")]).header("Idempotent-Replayed") == "true"
    assert shop.ran == ["/a"]


def test_a_batch_that_was_interrupted_goes_on_where_it_was(shop: Shop) -> None:
    clock = Clock()
    store = Watched(clock)
    app = in_front(shop, store)
    shop.fails["/c"] = SystemExit()
    names = ["/a", "/b", "/c", "/d"]
    assert sent(app, [order(name) for name in names]).statuses == [201, 201, 500, 201]
    shop.fails.clear()
    assert sent(app, [order(name) for name in names]).codes == ["ran", "ran", "in-flight", "held-back"]
    clock.now += 31

    again = sent(app, [order(name) for name in names])

    assert (again.statuses, replayed(again)) == ([201] * 4, [True, True, False, True])
    assert shop.ran == ["/a", "/b", "/c", "/d", "/c"]


def test_an_item_cannot_reach_what_guards_its_batch(shop: Shop, store: Watched) -> None:
    seen: list[object] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        seen.append(environ.get("wsgibatch.idempotency"))
        return shop(environ, start_response)

    sent(IdempotencyMiddleware(BatchMiddleware(app), store), [order("/a")])

    assert seen == [None]
    with pytest.raises(ConfigError, match="wsgibatch.idempotency"):
        Settings(keep_environ=("wsgibatch.idempotency",))


# Writes behind one that is in flight elsewhere


class Elsewhere(MemoryStore):
    """A store in which the keys of some requests are in flight elsewhere, the first that it is asked for."""

    def __init__(self, count: int = 1) -> None:
        super().__init__()
        self.count = count

    def begin(self, key: str, fingerprint: bytes, *arguments: Any) -> Claim:
        self.count -= 1
        return Held(3.2, fingerprint) if self.count >= 0 else super().begin(key, fingerprint, *arguments)


@every_executor_here
@pytest.mark.parametrize("order_of_items", ["barrier", "sequential"])
def test_a_write_waits_for_one_before_it_that_is_in_flight_elsewhere(shop: Shop, executor: str, order_of_items: str) -> None:
    app = behind(shop, Elsewhere(), executor=executor, order=order_of_items)
    items = [get("/0"), order("/1"), order("/2"), get("/3"), {**order("/4"), "method": "PATCH"}]
    try:
        first, again = sent(app, items), sent(app, items)
    finally:
        app.close()

    assert first.codes == ["ran", "in-flight", "held-back", "ran", "held-back"]
    assert first.statuses == [201, 409, 424, 201, 424]
    assert again.statuses == [201] * 5
    assert [path for path in shop.ran if path in ("/1", "/2", "/4")] == ["/1", "/2", "/4"]


def test_a_batch_that_is_sent_again_while_it_runs_does_not_overtake_itself(shop: Shop, store: Watched) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/b":
            entered.set()
            assert leave.wait(30)
        return shop(environ, start_response)

    app = behind(slow, store)
    items = [order("/a"), order("/b"), order("/c")]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(sent, app, items)
        assert entered.wait(30)
        try:
            second = sent(app, items)
        finally:
            leave.set()
        first = running.result(30)

    assert (second.codes, replayed(second)) == (["ran", "in-flight", "held-back"], [True, False, False])
    assert (first.statuses, shop.ran) == ([201] * 3, ["/a", "/b", "/c"])


def test_who_is_held_back_is_told_when_to_come_back_and_for_what(shop: Shop) -> None:
    answer = sent(behind(shop, Elsewhere()), [order("/a"), order("/b")])

    assert [item["headers"]["Retry-After"] for item in answer.items] == ["4", "4"]
    assert problem(answer.items[1])["failed_item"] == 0
    assert all("In-Flight" not in name for item in answer.items for name in item["headers"])


def test_a_key_of_its_own_holds_back_what_has_none(shop: Shop) -> None:
    answer = sent(behind(shop, Elsewhere()), [order("/a", Idempotency_Key="k"), order("/b")], None)

    assert (answer.codes, shop.ran) == (["in-flight", "held-back"], [])


def test_a_read_that_is_in_flight_elsewhere_holds_nothing_back(shop: Shop) -> None:
    guarded = IdempotencyMiddleware(shop, Elsewhere(), [(("GET", "POST"), ".*", Policy())])

    assert sent(BatchMiddleware(guarded), [get("/a", Idempotency_Key="k"), order("/b")]).codes == ["in-flight", "ran"]


def test_where_no_order_is_to_be_kept_nothing_is_held_back(shop: Shop) -> None:
    answer = sent(behind(shop, Elsewhere(), order="free"), [order("/a"), order("/b")])

    assert answer.codes == ["in-flight", "ran"]
    assert "Wsgibatch-In-Flight" not in answer.items[0]["headers"]


def writes(*paths: str) -> list[SubRequest]:
    return [SubRequest(index, "POST", path, [("Content-Type", "text/plain")], b"x") for index, path in enumerate(paths)]


@every_executor_here
@pytest.mark.parametrize("order_of_items", ["barrier", "free", "sequential"])
@pytest.mark.parametrize("settings", [{}, {"stream": True}, {"deadline": 60.0}], ids=str)
def test_a_batch_that_stops_at_a_failure_does_so_with_keys_too(
    shop: Shop, store: Watched, executor: Any, order_of_items: str, settings: dict[str, Any]
) -> None:
    shop.fails["/b"] = "404 Not Found"
    app = behind(shop, store, executor=executor, order=order_of_items, dialect=Prepared(writes("/a", "/b", "/c", "/d"), "stop"), **settings)
    try:
        answer = sent(app, [])
    finally:
        app.close()

    assert (answer.statuses, shop.ran) == ([201, 404], ["/a", "/b"])


@every_executor_here
def test_a_batch_that_stops_at_a_failure_stops_at_a_write_that_is_in_flight_elsewhere(shop: Shop, executor: Any) -> None:
    app = behind(shop, Elsewhere(), executor=executor, dialect=Prepared(writes("/a", "/b", "/c"), "stop"))
    try:
        answer = sent(app, [])
    finally:
        app.close()

    assert (answer.codes, shop.ran) == (["in-flight"], [])


def test_a_request_of_its_own_is_not_told_what_a_batch_is(shop: Shop) -> None:
    alone = post(IdempotencyMiddleware(shop, Elsewhere()), b"x", HTTP_AUTHORIZATION=ANNA, HTTP_IDEMPOTENCY_KEY="k")

    assert (alone.status, alone.header("Wsgibatch-In-Flight")) == (409, None)


def test_a_batch_with_an_item_that_is_held_back_is_not_kept_even_where_errors_are(shop: Shop, store: Watched) -> None:
    inner = behind(shop, Elsewhere(), fields={"in_flight_status": 503})
    app = IdempotencyMiddleware(inner, store, on_error="store")
    items = [order("/a"), order("/b")]
    assert sent(app, items).statuses == [503, 424]

    again = sent(app, items)

    assert (again.header("Idempotent-Replayed"), again.statuses) == (None, [201, 201])


busy = IdempotencyMiddleware(Shop(), Elsewhere(1000))
"""An app for another process."""


def test_a_guard_in_another_process_is_understood() -> None:
    app = BatchMiddleware(busy, executor="processes", workers=1, worker_app=f"{__name__}:busy")
    try:
        answer = sent(app, [order("/a"), order("/b"), get("/c")])
    finally:
        app.close()

    assert answer.codes == ["in-flight", "held-back", "ran"]
    assert "Wsgibatch-In-Flight" not in answer.items[0]["headers"]


# Items that share a key


@every_executor_here
@pytest.mark.parametrize("order_of_items", ["free", "barrier", "sequential"])
@pytest.mark.parametrize("workers", [1, 4])
def test_items_with_one_key_run_one_after_the_other_and_once(shop: Shop, store: Watched, executor: str, order_of_items: str, workers: int) -> None:
    app = behind(shop, store, executor=executor, order=order_of_items, workers=workers)
    try:
        answer = sent(app, [order("/a", Idempotency_Key=key) for key in ("k", '"k"', "other", "k")], None)
    finally:
        app.close()

    assert answer.statuses == [201] * 4
    assert replayed(answer) == [False, True, False, True]
    assert len(shop.ran) == 2
    # None of them has met another that was running.
    assert not [claim for _, claim in store.begun if isinstance(claim, Held)]


@every_executor_here
def test_items_with_one_key_for_two_requests_are_refused(shop: Shop, store: Watched, executor: Any) -> None:
    app = behind(shop, store, executor=executor, order="free")
    try:
        answer = sent(app, [order("/a", Idempotency_Key="k"), order("/b", Idempotency_Key="k")], None)
    finally:
        app.close()

    assert answer.codes == ["ran", "key-reused"]


def test_items_with_other_keys_still_run_side_by_side(store: Watched) -> None:
    together = threading.Barrier(2, timeout=30)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        together.wait()
        start_response("204 No Content", [])
        return []

    batch = behind(app, store, executor="threads", order="free", workers=2)
    try:
        answer = sent(batch, [order("/a", Idempotency_Key="k"), order("/b", Idempotency_Key="other")], None)
    finally:
        batch.close()

    assert answer.statuses == [204, 204]


def made(index: int, *after: int, group: str = "", method: str = "POST") -> SubRequest:
    return SubRequest(index, method, "/a", [], id=str(index), after=tuple(Edge(need) for need in after), group=group)


def plan(items: list[SubRequest], *repeated: list[int]) -> tuple[list[int], list[int]]:
    """The sequence of a plan, and how many each unit waits for."""
    links = make_plan(Batch(items, linked=True), Settings(order="free"), True, repeated).links
    assert links is not None
    return links.sequence, links.waits


def test_whoever_shares_a_key_waits_for_the_one_before_it() -> None:
    assert plan([made(0), made(1), made(2), made(3)], [0, 2, 3]) == ([0, 1, 2, 3], [0, 0, 1, 1])


def test_sharing_a_key_makes_no_circle() -> None:
    # The first waits for the last, which shares its key.
    sequence, waits = plan([made(0, 2), made(1), made(2)], [0, 2])

    assert sequence.index(2) < sequence.index(0)
    assert waits == [1, 0, 0]


def test_who_waits_already_does_not_wait_twice() -> None:
    assert plan([made(0), made(1, 0)], [0, 1])[1] == [0, 1]


def test_a_group_whose_members_share_a_key_does_not_wait_for_itself() -> None:
    assert plan([made(0, group="g"), made(1, group="g"), made(2)], [0, 1, 2]) == ([0, 1], [0, 1])


# Groups


class Ledger:
    """Makes groups atomic for what a shop has run."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.committed: list[bool] = []
        self.during: Callable[[], object] = lambda: None
        self.refuses = False

    @contextlib.contextmanager
    def __call__(self) -> Iterator[Group]:
        before = len(self.shop.ran)
        try:
            yield Group()
            self.during()
            if self.refuses:
                raise OSError("no commit")
            self.committed.append(True)
        except BaseException:
            del self.shop.ran[before:]
            self.committed.append(False)
            raise


@pytest.fixture
def ledger(shop: Shop) -> Ledger:
    return Ledger(shop)


def member(index: int, url: str, key: str = "", group: str = "g", method: str = "POST") -> SubRequest:
    headers = [("Content-Type", "text/plain"), *([("Idempotency-Key", key)] if key else [])]
    return SubRequest(index, method, url, headers, b"x", str(index), group=group)


def run(shop: Any, store: Any, items: list[SubRequest], atomic: Any, key: str | None = "K", **fields: Any) -> Answer:
    return sent(behind(shop, store, fields=fields, dialect=Prepared(items), atomic=atomic), [], key)


def test_the_keys_of_a_group_are_kept_once_it_is_committed(shop: Shop, store: Watched, ledger: Ledger) -> None:
    states: list[str] = []
    ledger.during = lambda: states.extend(type(store.peek(key)).__name__ for key, _ in store.begun)

    first = run(shop, store, [member(0, "/a"), member(1, "/b")], ledger)
    again = run(shop, store, [member(0, "/a"), member(1, "/b")], ledger)

    assert states[:2] == ["Held", "Held"]
    assert (first.statuses, replayed(first), replayed(again)) == ([201, 201], [False, False], [True, True])
    assert shop.ran == ["/a", "/b"]


@pytest.mark.parametrize("how", ["404 Not Found", ValueError("no"), SystemExit(), "commit"], ids=str)
def test_the_keys_of_a_group_that_is_rolled_back_are_forgotten(shop: Shop, store: Watched, ledger: Ledger, how: Any) -> None:
    if how == "commit":
        ledger.refuses = True
    else:
        shop.fails["/b"] = how

    run(shop, store, [member(0, "/a"), member(1, "/b")], ledger)

    assert [store.peek(key) for key, _ in store.begun] == [None, None]
    shop.fails.clear()
    ledger.refuses = False
    again = run(shop, store, [member(0, "/a"), member(1, "/b")], ledger)
    assert (again.statuses, replayed(again)) == ([201, 201], [False, False])


@pytest.mark.parametrize("known", ["/a", "/b"])
def test_a_group_of_which_a_part_is_known_is_refused_and_rolled_back(shop: Shop, store: Watched, ledger: Ledger, known: str) -> None:
    run(shop, store, [member(0, known, "k", group="")], ledger, None)
    items = [member(0, "/a", "k" if known == "/a" else "new"), member(1, "/b", "k" if known == "/b" else "new")]

    answer = run(shop, store, items, ledger, None)

    assert answer.codes == ["group-rolled-back", "in-group"]
    assert (answer.statuses[1], shop.ran, ledger.committed) == (409, [known], [False])
    new = [claim for _, claim in store.begun if isinstance(claim, Claimed)]
    assert len(new) == 2
    assert [type(store.peek(key)) for key, _ in store.begun if not isinstance(store.peek(key), Kept)] == [type(None)]


def test_two_members_of_a_group_cannot_have_one_key(shop: Shop, store: Watched, ledger: Ledger) -> None:
    answer = run(shop, store, [member(0, "/a", "k"), member(1, "/a", "k")], ledger, None, wait=10_000)

    assert answer.codes == ["group-rolled-back", "in-group"]
    assert shop.ran == []


def test_a_member_that_reads_belongs_to_any_group(shop: Shop, store: Watched, ledger: Ledger) -> None:
    items = [member(0, "/a"), member(1, "/b", method="GET")]
    run(shop, store, items, ledger)

    again = run(shop, store, items, ledger)

    assert (again.statuses, replayed(again)) == ([201, 201], [True, False])


def test_a_group_has_a_lock_for_all_of_its_members(shop: Shop, store: Watched, ledger: Ledger) -> None:
    lock = Dimensions(path=False, body=False)

    answer = run(shop, store, [member(0, "/a"), member(1, "/b")], ledger, lock=lock)

    assert answer.statuses == [201, 201]
    assert len([claim for _, claim in store.begun if isinstance(claim, Claimed)]) == 3
    assert run(shop, store, [member(0, "/c")], ledger, "L", lock=lock).statuses == [201]


def test_a_store_that_fails_once_a_group_is_committed_changes_nothing(
    shop: Shop, store: Watched, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    store.fails = {"finish"}

    assert run(shop, store, [member(0, "/a"), member(1, "/b")], ledger).statuses == [201, 201]
    assert caplog.text.count("failed to keep a reply") == 2


def test_a_group_behind_a_write_in_flight_is_not_begun_and_one_that_only_reads_is(shop: Shop, ledger: Ledger) -> None:
    items = [member(0, "/a", group=""), member(1, "/b"), member(2, "/c", method="GET"), member(3, "/d", group="h", method="GET")]

    answer = run(shop, Elsewhere(), items, ledger)

    assert answer.codes == ["in-flight", "held-back", "held-back", "ran"]
    assert (shop.ran, ledger.committed) == (["/d"], [True])


def test_a_group_with_a_member_in_flight_holds_back_what_is_behind_it(shop: Shop, ledger: Ledger) -> None:
    answer = run(shop, Elsewhere(), [member(0, "/a"), member(1, "/b"), member(2, "/c", group="")], ledger)

    assert answer.codes == ["in-flight", "group-rolled-back", "held-back"]
    assert shop.ran == []


def test_a_group_that_only_stops_keeps_what_has_happened(shop: Shop, store: Watched) -> None:
    shop.fails["/b"] = "503 Busy"
    items = [member(0, "/a"), member(1, "/b")]
    assert run(shop, store, items, "stop").statuses == [201, 503]
    shop.fails.clear()

    again = run(shop, store, items, "stop")

    assert replayed(again) == [True, False]


def test_keys_change_nothing_where_nothing_is_guarded(shop: Shop) -> None:
    answer = sent(BatchMiddleware(shop), [order("/a"), order("/b", Idempotency_Key="k"), order("/c", Idempotency_Key="k")])

    assert answer.statuses == [201, 201, 201]
    assert shop.keys == ["K/0", "k", "k"]
