"""What holds for every executor of the family, and what for those whose items run in this process; a new one is found by itself."""

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from tests.apps import mirror
from tests.executors import elsewhere
from tests.executors.gate import PATIENCE, Gate
from tests.executors.members import EVERY, HERE, PATCHED, settings_of
from tests.gateway import Answer, Item, get, post, shown
from tests.prepared import request, run
from wsgibatch import BatchMiddleware, Settings, SubRequest, SubResponse
from wsgibatch._exchange import Endpoint
from wsgibatch._limits import Limits, Ticket
from wsgibatch.model import Answers, Done, Edge, Unit
from wsgibatch.protocols import Executor


def executor_of(word: str, workers: int = 4) -> Executor:
    return Endpoint(Settings(**settings_of(word, "tests.executors.elsewhere:app", workers=workers))).executor


CONCURRENT = [word for word in EVERY if executor_of(word).concurrent]

every_executor = pytest.mark.parametrize("word", EVERY)
every_executor_here = pytest.mark.parametrize("word", HERE)
every_concurrent_executor = pytest.mark.parametrize("word", CONCURRENT)
every_concurrent_executor_here = pytest.mark.parametrize("word", [word for word in CONCURRENT if word in HERE])


def interpreter(code: str, *arguments: str) -> list[str]:
    """A command that runs *code* in a process that is patched as this one is."""
    return [sys.executable, "-c", ("from gevent import monkey; monkey.patch_all()\n" if PATCHED else "") + code, *arguments]


def units_of(count: int) -> list[Unit]:
    return [(SubRequest(index, "GET", f"/{index}", []),) for index in range(count)]


def answer_of(unit: Unit) -> Answers:
    return tuple(SubResponse(200, "OK", [], item.target.encode()) for item in unit)


class Calling:
    """Work that is a function."""

    def __init__(self, function: Callable[[Unit], Answers]) -> None:
        self._function = function

    def call(self, unit: Unit, ticket: Ticket | None = None) -> Answers:
        return self._function(unit)

    def late(self, ticket: Ticket) -> Answers:
        return tuple(SubResponse(504, "Gateway Timeout", [], b"late") for _ in ticket.unit)

    def unstarted(self, unit: Unit) -> Answers:
        return tuple(SubResponse(504, "Gateway Timeout", [], b"not started") for _ in unit)


NO_LIMITS = Limits()


def all_done(executor: Executor, call: Callable[[Unit], Answers], units: list[Unit], limits: Limits = NO_LIMITS) -> list[Done]:
    """Spawn *units* and wait until each is done."""
    lane = executor.open(Calling(call), limits)
    try:
        lane.spawn(units)
        done: list[Done] = []
        while len(done) < len(units):
            burst = lane.wait()
            assert burst, "wait gave nothing"
            done += burst
        return done
    finally:
        lane.close()


def meet(event: threading.Event) -> None:
    assert event.wait(PATIENCE), "what was waited for did not happen"


@every_executor
@pytest.mark.parametrize("count", [1, 2, 3, 20, 1000])
def test_every_unit_runs_once_and_is_reported_once(word: str, count: int) -> None:
    executor = executor_of(word)
    ran: list[int] = []

    def call(unit: Unit) -> Answers:
        ran.append(unit[0].index)
        return answer_of(unit)

    done = all_done(executor, call, units_of(count))

    executor.close()
    assert sorted(ran) == list(range(count))
    assert sorted(unit[0].index for unit, _ in done) == list(range(count))
    assert all(answers == answer_of(unit) for unit, answers in done)


@every_executor
def test_units_that_are_spawned_later_run_too(word: str) -> None:
    executor = executor_of(word)
    lane = executor.open(Calling(answer_of), NO_LIMITS)
    seen: list[int] = []

    for unit in units_of(50):
        lane.spawn([unit])
        seen += [done[0].index for done, _ in lane.wait()]

    lane.close()
    executor.close()
    assert seen == list(range(50))


@every_executor
def test_a_unit_of_several_items_runs_in_one_place_and_in_order(word: str) -> None:
    executor = executor_of(word)
    whole = tuple(SubRequest(index, "POST", f"/{index}", []) for index in range(5))

    [(unit, answers)] = all_done(executor, answer_of, [whole])

    executor.close()
    assert unit is whole
    assert [answer.body for answer in answers] == [b"/0", b"/1", b"/2", b"/3", b"/4"]


@every_executor
def test_units_start_in_the_order_in_which_they_are_spawned(word: str) -> None:
    executor = executor_of(word, workers=1)
    ran: list[int] = []

    def call(unit: Unit) -> Answers:
        ran.append(unit[0].index)
        return answer_of(unit)

    all_done(executor, call, units_of(100))

    executor.close()
    assert ran == list(range(100))


@every_executor_here
def test_answers_come_in_the_order_of_the_batch_whatever_is_done_first(word: str) -> None:
    gates = [threading.Event() for _ in range(4)]
    concurrent = word in CONCURRENT

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        index = int(environ["PATH_INFO"].removeprefix("/"))
        if concurrent and index < 3:
            # Each waits for the one behind it, so the last is done first.
            meet(gates[index + 1])
        gates[index].set()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(index).encode()]

    with_executor = BatchMiddleware(app, executor=executor_of(word, 4))

    answer = post(with_executor, [get(f"/{index}") for index in range(4)])

    with_executor.close()
    assert [item["body"] for item in answer.items] == ["0", "1", "2", "3"]


@every_executor_here
def test_an_unsafe_item_runs_after_all_before_it_and_before_all_behind_it(word: str) -> None:
    lock = threading.Lock()
    running: set[int] = set()
    story: list[tuple[int, frozenset[int]]] = []
    methods = ["GET", "GET", "POST", "GET", "GET", "GET", "DELETE", "PUT", "GET", "HEAD"]

    class Body:
        def __init__(self, index: int) -> None:
            self.index = index

        def __iter__(self) -> Iterator[bytes]:
            yield b""

        def close(self) -> None:
            with lock:
                running.remove(self.index)
                ended.append(self.index)

    ended: list[int] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        index = environ["wsgibatch.item"]
        with lock:
            if environ["REQUEST_METHOD"] in ("POST", "PUT", "DELETE"):
                assert not running
                assert sorted(ended) == list(range(index))
            else:
                assert not any(methods[other] in ("POST", "PUT", "DELETE") for other in running)
                assert all(other in ended for other in range(index) if methods[other] in ("POST", "PUT", "DELETE"))
            running.add(index)
            story.append((index, frozenset(running)))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Body(index)

    middleware = BatchMiddleware(app, executor=executor_of(word, 4))

    for _ in range(20):
        ended.clear()
        answer = post(middleware, [{"method": method, "url": "/a"} for method in methods])
        assert answer.statuses == [200] * len(methods), answer.items

    middleware.close()
    assert len(story) == 20 * len(methods)


@every_concurrent_executor_here
def test_neighbouring_safe_items_run_side_by_side(word: str) -> None:
    together = threading.Barrier(4, timeout=PATIENCE)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        together.wait()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"met"]

    middleware = BatchMiddleware(app, executor=executor_of(word, 4))

    answer = post(middleware, [get("/a"), get("/b"), get("/c"), get("/d")])

    middleware.close()
    assert answer.statuses == [200] * 4


@every_concurrent_executor_here
def test_no_more_items_of_a_batch_run_at_a_time_than_there_are_workers(word: str) -> None:
    lock = threading.Lock()
    running = most = 0

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"x" * 1000
        with lock:
            running -= 1

    middleware = BatchMiddleware(app, executor=executor_of(word, 3), max_requests=300)

    for _ in range(5):
        post(middleware, [get("/a")] * 300)

    middleware.close()
    assert 1 <= most <= 3


USER: ContextVar[str] = ContextVar("USER")


@every_executor_here
def test_every_item_sees_the_context_of_the_batch_request(word: str) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [USER.get("nobody").encode()]

    middleware = BatchMiddleware(app, executor=executor_of(word, 4))
    token = USER.set("ada")
    try:
        answer = post(middleware, [get("/a")] * 20)
    finally:
        USER.reset(token)
        middleware.close()

    assert {item["body"] for item in answer.items} == {"ada"}


@every_concurrent_executor_here
def test_what_an_item_changes_in_its_context_no_other_item_sees(word: str) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        before = USER.get("nobody")
        USER.set(environ["PATH_INFO"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        # The iterable is consumed in the same context.
        yield f"{before} {USER.get()}".encode()

    middleware = BatchMiddleware(app, executor=executor_of(word, 2))

    answer = post(middleware, [get(f"/{index}") for index in range(20)])

    middleware.close()
    assert [item["body"] for item in answer.items] == [f"nobody /{index}" for index in range(20)]
    assert USER.get("nobody") == "nobody"


@every_executor_here
def test_an_answer_is_read_and_closed_in_the_thread_that_called_the_app_before_it_takes_another_item(word: str) -> None:
    story: dict[int, list[tuple[str, int]]] = {}

    def note(what: str, index: int) -> None:
        story.setdefault(threading.get_ident(), []).append((what, index))

    class Body:
        def __init__(self, index: int) -> None:
            self.index, self.left = index, 2

        def __iter__(self) -> "Body":
            return self

        def __next__(self) -> bytes:
            note("read", self.index)
            self.left -= 1
            if self.index % 5 == 4:
                raise RuntimeError("broken in the middle")
            if self.left < 0:
                raise StopIteration
            return b"x"

        def close(self) -> None:
            note("close", self.index)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        note("call", environ["wsgibatch.item"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Body(environ["wsgibatch.item"])

    middleware = BatchMiddleware(app, executor=executor_of(word, 4), max_requests=200)

    answer = post(middleware, [get("/a")] * 200)

    middleware.close()
    assert Counter(answer.statuses) == {200: 160, 500: 40}
    whole = [("call",), ("read",), ("read",), ("read",), ("close",)]
    broken = [("call",), ("read",), ("close",)]
    for events in story.values():
        left = list(events)
        while left:
            index = left[0][1]
            expected = broken if index % 5 == 4 else whole
            assert left[: len(expected)] == [(what, index) for (what,) in expected]
            del left[: len(expected)]


@every_executor_here
def test_an_executor_whose_workers_are_all_held_still_answers_a_batch(word: str) -> None:
    release, held = threading.Event(), threading.Semaphore(0)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/hold":
            held.release()
            meet(release)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"answered"]

    middleware = BatchMiddleware(app, executor=executor_of(word, 2))
    holding = [threading.Thread(target=post, args=(middleware, [get("/hold")] * 10)) for _ in range(3)]
    for thread in holding:
        thread.start()
    # Three batches have their own thread at least; a pool of two is then held by them as well.
    for _ in range(5 if word in CONCURRENT else 3):
        assert held.acquire(timeout=PATIENCE)

    answer = post(middleware, [get("/quick")] * 20)

    assert not release.is_set()
    assert [item["body"] for item in answer.items] == ["answered"] * 20
    release.set()
    for thread in holding:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    middleware.close()


@every_executor_here
def test_many_batches_at_once_on_few_workers_are_all_answered_each_with_its_own(word: str) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode()]

    middleware = BatchMiddleware(app, executor=executor_of(word, 2))
    answered: dict[int, list[str]] = {}

    def client(number: int) -> None:
        for _ in range(5):
            answered[number] = [item["body"] for item in post(middleware, [get(f"/{number}/{index}") for index in range(10)]).items]

    clients = [threading.Thread(target=client, args=(number,)) for number in range(64)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join(PATIENCE)

    middleware.close()
    assert answered == {number: [f"/{number}/{index}" for index in range(10)] for number in range(64)}


@every_executor_here
def test_a_batch_behind_a_batch_in_the_same_executor_is_answered(word: str) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"inner"]

    shared = executor_of(word, workers=2)
    inner = BatchMiddleware(app, path="/inner", executor=shared)

    def outer_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        answer = post(inner, [get("/a"), get("/b"), get("/c")], path="/inner")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [" ".join(item["body"] for item in answer.items).encode()]

    answer = post(BatchMiddleware(outer_app, executor=shared), [get("/x")] * 10)

    shared.close()
    assert [item["body"] for item in answer.items] == ["inner inner inner"] * 10


@every_executor
def test_a_lane_that_is_closed_forgets_what_has_not_started(word: str) -> None:
    executor = executor_of(word, workers=3)
    gate = threading.Event()
    started: list[int] = []

    def call(unit: Unit) -> Answers:
        started.append(unit[0].index)
        meet(gate)
        return answer_of(unit)

    lane = executor.open(Calling(call), NO_LIMITS)
    lane.spawn(units_of(100))

    lane.close()

    gate.set()
    executor.close()
    # No more than the workers could have taken before the close.
    assert len(started) <= 2


@every_executor
def test_an_executor_that_was_closed_serves_the_next_batch(word: str) -> None:
    executor = executor_of(word)
    all_done(executor, answer_of, units_of(10))

    executor.close()

    assert len(all_done(executor, answer_of, units_of(10))) == 10
    executor.close()


FORKED = """
import os, sys
from tests.executors.test_contract import all_done, answer_of, executor_of, units_of

executor = executor_of(sys.argv[1])
assert len(all_done(executor, answer_of, units_of(50))) == 50
child = os.fork()
assert len(all_done(executor, answer_of, units_of(50))) == 50
executor.close()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@every_executor
def test_an_executor_that_was_used_before_a_fork_works_in_both_processes(word: str) -> None:
    ended = subprocess.run(interpreter(FORKED, word), capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert ended.returncode == 0, ended.stderr


UNFINISHED = """
import sys
from tests.executors.test_contract import all_done, answer_of, executor_of, units_of

all_done(executor_of(sys.argv[1]), answer_of, units_of(50))
"""


@every_executor
def test_an_executor_that_is_never_closed_does_not_keep_the_interpreter_from_ending(word: str) -> None:
    ended = subprocess.run(interpreter(UNFINISHED, word), capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")


@every_executor
def test_an_executor_makes_no_threads_before_its_first_batch(word: str) -> None:
    before = threading.active_count()

    executor = executor_of(word)

    assert threading.active_count() == before
    executor.close()


@every_executor
def test_items_are_told_whether_other_items_can_run_at_the_same_time(word: str) -> None:
    middleware = BatchMiddleware(mirror, **settings_of(word, "tests.apps:mirror"))

    [item] = post(middleware, [get("/a")]).items

    middleware.close()
    assert shown(item)["wsgi.multithread"] is executor_of(word).concurrent


# --- what holds wherever the items run


def answered(word: str, items: list[Item], **settings: Any) -> Answer:
    """The answer to a batch of *items* for the app in ``elsewhere``."""
    middleware = BatchMiddleware(elsewhere.app, **settings_of(word, "tests.executors.elsewhere:app", **settings))
    try:
        return post(middleware, items)
    finally:
        middleware.close()


@every_executor
def test_an_item_is_asked_and_answered_whole(word: str) -> None:
    middleware = BatchMiddleware(mirror, **settings_of(word, "tests.apps:mirror", workers=2))
    body = "grüße " * 10_000

    answer = post(middleware, [{"method": "PUT", "url": "/a%20b?c=%64", "headers": {"X-Echo": "\xff", "X-Status": "201 Made so"}, "body": body}])

    middleware.close()
    [item] = answer.items
    seen = json.loads(item["body"])
    assert (item["status_code"], item["reason_phrase"]) == (201, "Made so")
    assert (item["headers"]["X-Echo"], item["headers"]["Set-Cookie"]) == ("\xff", ["a=1", "b=2"])
    assert (seen["REQUEST_METHOD"], seen["PATH_INFO"], seen["QUERY_STRING"]) == ("PUT", "/a b", "c=%64")
    assert seen["body"].encode("latin-1").decode() == body
    assert seen["wsgi.version"] == [1, 0]


@every_concurrent_executor
def test_answers_come_in_the_order_of_the_batch_wherever_items_run(word: str) -> None:
    with Gate() as gate:
        answers: list[Answer] = []
        batch = [get("/a", X_Gate=gate.port), get("/b", X_Gate=gate.port), get("/c"), get("/d")]
        client = threading.Thread(target=lambda: answers.append(answered(word, batch, workers=2)))
        client.start()
        waiting = gate.visitors(2)

        waiting["b"].go()
        waiting["a"].go()

        client.join(PATIENCE)
    assert [item["body"] for item in answers[0].items] == ["/a", "/b", "/c", "/d"]


@every_executor
def test_an_unsafe_item_runs_alone_wherever_it_runs(word: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    methods = ["GET", "GET", "POST", "GET", "GET", "GET", "DELETE", "PUT", "GET", "HEAD"]

    answered(word, [{"method": method, "url": "/a", "headers": {"X-Log": str(log)}} for method in methods], workers=4)

    told = [(what, int(index)) for what, index, _ in map(str.split, log.read_text().splitlines())]
    assert len(told) == 2 * len(methods)
    for index, method in enumerate(methods):
        begin, end = told.index(("begin", index)), told.index(("end", index))
        if method not in ("GET", "HEAD"):
            assert end == begin + 1
            assert {other for _, other in told[:begin]} == set(range(index))


@every_executor
def test_what_an_item_waits_for_is_done_before_it_wherever_they_run(word: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    items = [
        request(0, "/201"),
        request(1, "/404"),
        request(2, "/b", (Edge(0),)),
        request(3, "/c", (Edge(1),)),
        request(4, "/d", (Edge(1, "failed"),)),
    ]
    for item in items:
        item.headers.append(("X-Log", str(log)))

    found = run(elsewhere.app, items, **settings_of(word, "tests.executors.elsewhere:app", order="free"))

    lines = log.read_text().splitlines()
    assert [item["status_code"] for item in found] == [201, 404, 200, 424, 200]
    assert not any(line.endswith("/c") for line in lines)
    assert lines.index("end 0 /201") < lines.index("begin 2 /b")
    assert lines.index("end 1 /404") < lines.index("begin 4 /d")


@every_executor
@pytest.mark.parametrize("way", ["raises", "unpicklable", "exits", "interrupts"])
def test_whatever_an_app_raises_fails_its_item_alone_and_is_logged_once(word: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    answer = answered(word, [get("/a"), get(f"/{way}"), get("/b")], workers=2)

    assert answer.statuses == [200, 500, 200]
    assert b"secret" not in answer.body
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.__dict__["item_code"] == "app-failed"
    assert record.exc_text is not None
    assert f"_{way}" in record.exc_text


@every_executor
@pytest.mark.parametrize(("app", "code"), [("spoilt", "bad-answer"), ("endless", "answer-too-large")])
def test_an_answer_that_cannot_be_passed_on_says_the_same_wherever_it_comes_from(word: str, app: str, code: str) -> None:
    middleware = BatchMiddleware(getattr(elsewhere, app), **settings_of(word, f"tests.executors.elsewhere:{app}", max_response=10_000))

    answer = post(middleware, [get("/a")])

    middleware.close()
    assert answer.statuses == [502]
    assert answer.codes == [code]


@every_executor
def test_an_item_is_told_how_long_it_has(word: str) -> None:
    middleware = BatchMiddleware(elsewhere.patient, **settings_of(word, "tests.executors.elsewhere:patient", deadline=1000))

    [item] = post(middleware, [get("/a")]).items

    middleware.close()
    assert 0 < float(item["body"]) <= 1000


@every_concurrent_executor
def test_a_late_item_is_left_behind_and_the_others_are_answered(word: str) -> None:
    executor = executor_of(word, workers=2)
    with Gate() as gate:
        # Workers that have to be started first would need some of the time.
        starting = threading.Thread(target=post, args=(BatchMiddleware(elsewhere.app, executor=executor), [get("/a", X_Gate=gate.port)] * 2))
        starting.start()
        for visitor in [gate.visitor(), gate.visitor()]:
            visitor.go()
        starting.join(PATIENCE)

        answer = post(BatchMiddleware(elsewhere.app, executor=executor, timeout=1), [get("/late", X_Gate=gate.port), get("/b"), get("/c")])

        assert answer.codes == ["timed-out", "ran", "ran"]
        assert executor.left == 1
        gate.visitor().go()
    executor.close()


@every_concurrent_executor
def test_a_batch_that_is_watched_gets_on_although_all_workers_are_held(word: str) -> None:
    executor = executor_of(word, workers=2)
    release, held = threading.Event(), threading.Semaphore(0)

    def hold(unit: Unit) -> Answers:
        held.release()
        meet(release)
        return answer_of(unit)

    holding = [threading.Thread(target=all_done, args=(executor, hold, units_of(10))) for _ in range(6)]
    for thread in holding:
        thread.start()
    # Each batch has its own thread, and the pool is held by them as well.
    for _ in range(6 + (4 if word == "futures" else 2)):
        assert held.acquire(timeout=PATIENCE)
    seen: list[int] = []

    def look_on() -> None:
        lane = executor.open(Calling(answer_of), Limits(streamed=True))
        first, second, third, last = units_of(4)
        # One behind the other, as a barrier has them: by then what has been recruited for those before is still waiting for its turn.
        for units in ([first, second, third], [last]):
            lane.spawn(units)
            left = len(units)
            while left:
                done = lane.wait()
                left -= len(done)
                seen.extend(unit[0].index for unit, _ in done)
        lane.close()

    watching = threading.Thread(target=look_on, daemon=True)
    watching.start()
    watching.join(PATIENCE)

    assert not release.is_set()
    assert seen == [0, 1, 2, 3]
    release.set()
    for thread in holding:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    executor.close()
