"""Executors of other people: shared, shut down, broken, forked, or not fit for it."""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tests.apps import show
from tests.executors import elsewhere, members
from tests.executors.gate import PATIENCE, Gate, visit
from tests.executors.test_contract import meet
from tests.executors.test_processes import APP, begun, kill, unsafe
from tests.gateway import Answer, get, post
from wsgibatch import BatchMiddleware, ConfigError, Settings
from wsgibatch.executors.futures import FuturesExecutor, Pool, _User


def meeting(count: int) -> Callable[..., Iterable[bytes]]:
    """An app whose items wait until *count* of them are there, and tell the threads that they run in."""
    together = threading.Barrier(count, timeout=PATIENCE)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        together.wait()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [threading.current_thread().name.partition("_")[0].encode()]

    return app


class Factory:
    """Makes executors, and keeps them."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self.made: list[Any] = []

    def __call__(self) -> Any:
        self.made.append(self._make())
        return self.made[-1]


# --- whose executor it is


def test_items_run_in_the_executor_that_is_handed_over_and_in_the_thread_of_the_batch() -> None:
    with ThreadPoolExecutor(3, "theirs") as executor:
        answer = post(BatchMiddleware(meeting(4), executor=executor, workers=4), [get("/a")] * 4)

    here = threading.current_thread().name.partition("_")[0]
    assert Counter(item["body"] for item in answer.items) == {"theirs": 3, here: 1}


def test_an_executor_that_is_handed_over_is_not_shut_down() -> None:
    with ThreadPoolExecutor(2) as executor:
        middleware = BatchMiddleware(show, executor=executor)
        post(middleware, [get("/a")] * 20)

        middleware.close()

        assert executor.submit(int, "42").result(PATIENCE) == 42


def test_an_executor_that_was_made_for_us_is_shut_down() -> None:
    factory = Factory(members.threads)
    middleware = BatchMiddleware(show, executor=factory)
    post(middleware, [get("/a")] * 20)

    middleware.close()

    [made] = factory.made
    with pytest.raises(RuntimeError, match="after shutdown"):
        made.submit(int)


def test_an_executor_is_made_when_the_first_batch_needs_it_and_once() -> None:
    calls: list[None] = []
    again = threading.Event()

    def make() -> Executor:
        calls.append(None)
        if len(calls) == 1:
            # Time enough for another batch to want one, too.
            again.wait(0.5)
        again.set()
        return members.threads()

    middleware = BatchMiddleware(show, executor=make)
    assert calls == []

    with ThreadPoolExecutor(16) as clients:
        answers = [clients.submit(post, middleware, [get("/text")] * 10) for _ in range(64)]
        assert all(answer.result(PATIENCE).statuses == [200] * 10 for answer in answers)

    middleware.close()
    assert len(calls) == 1


@pytest.mark.parametrize("executor", ["tests.executors.members:threads", "concurrent.futures:ThreadPoolExecutor", ThreadPoolExecutor])
def test_what_makes_an_executor_may_be_named_and_may_be_a_class(executor: Any) -> None:
    middleware = BatchMiddleware(meeting(2), executor=executor, workers=2)

    answer = post(middleware, [get("/a"), get("/b")])

    middleware.close()
    assert answer.statuses == [200, 200]


FORKED = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from tests.apps import show
from tests.gateway import get, post
from wsgibatch import BatchMiddleware

middleware = BatchMiddleware(show, executor=ThreadPoolExecutor(2), **eval(sys.argv[1]))
first = post(middleware, [get("/text")] * 20).statuses
child = os.fork()
second = post(middleware, [get("/text")] * 20).statuses
if not child:
    print(set(first), set(second))
    sys.exit()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert set(second) == {200}
"""


@pytest.mark.parametrize(("settings", "status"), [({}, 200), ({"stream": True}, 200), ({"worker_app": "tests.apps:show"}, 503)])
def test_an_executor_that_was_used_before_a_fork_is_not_waited_for_behind_it(settings: dict[str, Any], status: int) -> None:
    command = [sys.executable, "-c", FORKED, repr(settings)]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert (ended.returncode, ended.stdout) == (0, f"{{200}} {{{status}}}\n")
    assert "used before this process was forked" in ended.stderr


# --- executors that do nothing


def shut_down() -> Executor:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    return executor


def raising() -> Executor:
    raise OSError("nobody at home")


class Silent(Executor):
    """Takes everything, and does nothing."""

    def submit(self, *arguments: Any, **keywords: Any) -> "Future[Any]":
        return Future()


@pytest.mark.parametrize("settings", [{}, {"stream": True}, {"deadline": 1000}])
@pytest.mark.parametrize(
    ("source", "told"),
    [
        (shut_down(), "cannot schedule new futures after shutdown"),
        (shut_down, "cannot schedule new futures after shutdown"),
        (raising, "nobody at home"),
        (lambda: 42, "which is no concurrent.futures.Executor"),
        (members.processes, "pickle"),
    ],
    ids=["shut-down", "makes-shut-down", "raises", "makes-nothing", "runs-elsewhere"],
)
def test_an_executor_that_does_nothing_is_logged_once_and_batches_are_answered_all_the_same(
    source: Any, told: str, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    middleware = BatchMiddleware(show, executor=source, workers=3, **settings)
    batch = [get("/text"), get("/bin"), {**get("/text"), "method": "POST"}, get("/text"), get("/text"), get("/text")]

    answers = [post(middleware, batch) for _ in range(20)]

    middleware.close()
    assert all(answer.statuses == [200] * 6 for answer in answers)
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert record.exc_text is not None
    assert told in record.exc_text


@pytest.mark.parametrize("settings", [{}, {"stream": True}, {"deadline": 1000}])
def test_an_executor_that_never_comes_to_its_calls_is_not_waited_for(settings: dict[str, Any]) -> None:
    middleware = BatchMiddleware(show, executor=Silent(), workers=3, **settings)

    answers = [post(middleware, [get("/text"), get("/text"), {**get("/text"), "method": "POST"}, get("/text")]) for _ in range(5)]

    middleware.close()
    assert all(answer.statuses == [200] * 4 for answer in answers)


@pytest.mark.parametrize("source", [shut_down(), shut_down, raising, lambda: 42])
def test_items_that_cannot_be_sent_are_answered_503(source: Any) -> None:
    middleware = BatchMiddleware(show, executor=source, worker_app=APP)

    answer = post(middleware, [get("/a"), unsafe("/b")])

    middleware.close()
    assert answer.statuses == [503, 503]
    assert answer.codes == ["no-worker", "no-worker"]


# --- workers that die


def test_a_pool_that_was_made_for_us_and_breaks_is_made_anew_once(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    factory = Factory(partial(ProcessPoolExecutor, 2, get_context("spawn")))
    middleware = BatchMiddleware(elsewhere.app, executor=factory, worker_app=APP, workers=4, order="free")
    with Gate() as gate, ThreadPoolExecutor(1) as client:
        coming = client.submit(
            post, middleware, [unsafe("/a", X_Gate=gate.port, X_Log=log), unsafe("/b", X_Gate=gate.port, X_Log=log), get("/c"), get("/d")]
        )
        kill(gate.visitors(2)["a"].pid)
        answer: Answer = coming.result(PATIENCE)

    after = post(middleware, [unsafe("/e", X_Log=log), get("/f")])

    middleware.close()
    assert answer.codes == ["worker-died", "worker-died", "ran", "ran"]
    assert after.statuses == [200, 200]
    assert len(factory.made) == 2
    assert max(begun(tmp_path / "log").values()) == 1


def test_many_that_find_a_pool_broken_make_one_anew() -> None:
    together = threading.Barrier(8, timeout=PATIENCE)

    class Broken(Executor):
        def submit(self, *arguments: Any, **keywords: Any) -> "Future[Any]":
            together.wait()
            raise BrokenExecutor

    made: list[Executor] = []

    def make() -> Executor:
        made.append(members.threads() if made else Broken())
        return made[-1]

    pool = Pool(make, _User())
    with ThreadPoolExecutor(8) as threads:
        found = [threads.submit(pool.submit, int, "42") for _ in range(8)]
        assert all(future.result(PATIENCE).result(PATIENCE) == 42 for future in found)

    pool.close(wait=True)
    assert len(made) == 2


def test_a_pool_that_was_handed_over_and_breaks_is_not_ours_to_mend() -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        middleware = BatchMiddleware(elsewhere.app, executor=pool, worker_app=APP)

        broken, after = post(middleware, [unsafe("/dies"), get("/b")]), post(middleware, [unsafe("/c"), get("/d")])

        middleware.close()
    assert broken.codes == ["worker-died", "no-worker"]
    assert after.codes == ["no-worker", "no-worker"]


def test_a_call_that_the_executor_drops_may_have_been_run() -> None:
    class Dropping(Executor):
        def submit(self, *arguments: Any, **keywords: Any) -> "Future[Any]":
            future: Future[Any] = Future()
            future.cancel()
            return future

    answer = post(BatchMiddleware(show, executor=Dropping(), worker_app=APP), [unsafe("/a")])

    assert answer.codes == ["worker-died"]


def test_a_late_call_that_has_not_begun_never_does(tmp_path: Path) -> None:
    settled = threading.Event()

    class Telling(ThreadPoolExecutor):
        def submit(self, call: Any, /, *arguments: Any, **keywords: Any) -> "Future[Any]":
            future = super().submit(call, *arguments, **keywords)
            future.add_done_callback(lambda future: settled.set())
            return future

    log = str(tmp_path / "log")
    with Telling(1) as pool, Gate() as gate:
        held = pool.submit(lambda: gate.visitor().go())
        middleware = BatchMiddleware(elsewhere.app, executor=pool, worker_app=APP, deadline=0.1)

        late = post(middleware, [unsafe("/late", X_Log=log)])

        meet(settled)
        visit(gate.port, "me")
        held.result(PATIENCE)
        after = post(BatchMiddleware(elsewhere.app, executor=pool, worker_app=APP), [get("/after", X_Log=log)])
        middleware.close()
    assert (late.statuses, after.statuses) == ([504], [200])
    assert begun(tmp_path / "log") == {"/after": 1}


def test_equal_items_run_each_although_the_executor_keeps_what_equal_calls_have_returned(tmp_path: Path) -> None:
    class Remembering(ThreadPoolExecutor):
        def __init__(self) -> None:
            super().__init__(2)
            self._known: dict[str, Future[Any]] = {}

        def submit(self, call: Any, /, *arguments: Any, **keywords: Any) -> "Future[Any]":
            key = repr((call, arguments, keywords))
            if key not in self._known:
                self._known[key] = super().submit(call, *arguments, **keywords)
            return self._known[key]

    log = str(tmp_path / "log")
    middleware = BatchMiddleware(show, executor=Remembering, worker_app=APP)

    answers = [post(middleware, [unsafe("/a", X_Log=log)]) for _ in range(5)]

    middleware.close()
    assert [answer.statuses for answer in answers] == [[200]] * 5
    assert begun(tmp_path / "log") == {"/a": 5}


# --- settings


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"executor": "futures"}, "executor: 'futures' is what your own executor becomes"),
        ({"executor": ProcessPoolExecutor}, "worker_app: .*ProcessPoolExecutor.* runs calls elsewhere"),
        ({"executor": "concurrent.futures:ProcessPoolExecutor"}, "worker_app: .*ProcessPoolExecutor.* runs calls elsewhere"),
        ({"executor": members.processes, "worker_app": APP, "atomic": lambda: None}, "atomic: .* runs items where no transaction"),
        ({"executor": 42}, "executor: 42 is no executor"),
        ({"executor": "json:loads"}, "executor: 'json:loads'"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        BatchMiddleware(show, **settings)


def test_a_pool_of_processes_is_refused_without_the_app_to_import_there() -> None:
    with ProcessPoolExecutor(1) as pool, pytest.raises(ConfigError, match="worker_app: .* runs calls elsewhere"):
        BatchMiddleware(show, executor=pool)


def test_a_late_call_is_counted_until_it_ends() -> None:
    release = threading.Event()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/held":
            meet(release)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    executor = FuturesExecutor(Settings(workers=2), members.threads)

    answer = post(BatchMiddleware(app, executor=executor, timeout=0.2), [get("/held"), get("/b")])

    left = executor.left
    release.set()
    executor.close()
    assert (answer.codes, left, executor.left) == (["timed-out", "ran"], 1, 0)
