"""Workers that are killed, that are held up, and whose parent ends: real processes, real signals."""

import contextlib
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.executors import elsewhere
from tests.executors.gate import PATIENCE, Gate, Visitor
from tests.gateway import Answer, Item, get, post
from wsgibatch import BatchMiddleware, ConfigError, Settings
from wsgibatch.executors._workers import Worker, _finish
from wsgibatch.executors.processes import ProcessesExecutor

APP = "tests.executors.elsewhere:app"


def processes(workers: int = 2, **settings: Any) -> BatchMiddleware:
    return BatchMiddleware(elsewhere.app, **{"executor": "processes", "worker_app": APP, "workers": workers, **settings})


def unsafe(url: str, **headers: str) -> Item:
    return {**get(url, **headers), "method": "POST"}


def kill(pid: int) -> None:
    """End a worker, and wait until it has ended; who has started it may still ask how, or has done so already."""
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def pids(answer: Answer) -> list[int]:
    """Of the processes that the items ran in."""
    return [int(item["headers"]["X-Process"]) for item in answer.items]


def begun(log: Path) -> Counter[str]:
    """How often the item with each path was begun."""
    return Counter(line.split()[2] for line in log.read_text().splitlines() if line.startswith("begin"))


# --- workers that are killed


def test_an_unsafe_item_whose_worker_is_killed_is_not_run_again_and_all_others_are_answered(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    middleware = processes(order="free")
    with Gate() as gate, ThreadPoolExecutor(1) as client:
        coming = client.submit(post, middleware, [unsafe(path, X_Gate=gate.port, X_Log=log) for path in ("/killed", "/spared")])
        waiting = gate.visitors(2)
        kill(waiting["killed"].pid)
        waiting["spared"].go()
        answer = coming.result(PATIENCE)

    after = post(middleware, [unsafe("/c", X_Log=log), get("/d")])

    middleware.close()
    assert answer.codes == ["worker-died", "ran"]
    assert answer.statuses == [502, 200]
    assert after.statuses == [200, 200]
    assert begun(tmp_path / "log") == {"/killed": 1, "/spared": 1, "/c": 1}


def test_a_safe_item_whose_worker_is_killed_is_run_once_more(tmp_path: Path) -> None:
    middleware = processes()
    with Gate() as gate, ThreadPoolExecutor(1) as client:
        coming = client.submit(post, middleware, [get("/a", X_Gate=gate.port)])
        first = gate.visitor()
        kill(first.pid)
        second = gate.visitor()
        second.go()
        answer = coming.result(PATIENCE)

    middleware.close()
    assert answer.statuses == [200]
    assert pids(answer) == [second.pid] != [first.pid]


def test_a_safe_item_that_kills_its_workers_does_so_twice_only(tmp_path: Path) -> None:
    middleware = processes()

    answer = post(middleware, [get("/dies", X_Log=str(tmp_path / "log")), get("/b")])

    middleware.close()
    assert answer.codes == ["worker-died", "ran"]
    assert begun(tmp_path / "log") == {"/dies": 2}


def test_how_a_worker_has_died_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    middleware = processes()

    post(middleware, [unsafe("/dies")])

    middleware.close()
    [record] = caplog.records
    assert record.exc_text is not None
    assert "the worker has ended, with status 3" in record.exc_text


def test_the_death_of_a_worker_is_noticed_although_a_child_of_it_lives_on() -> None:
    middleware = processes(1)
    with Gate() as gate, ThreadPoolExecutor(1) as client:
        coming = client.submit(post, middleware, [unsafe("/orphans", X_Gate=gate.port), get("/b")])
        gate.visitor().go()
        gate.visitor()

        answer = coming.result(PATIENCE)

    middleware.close()
    assert answer.codes == ["worker-died", "ran"]


def test_a_worker_that_is_dead_is_sent_no_body_although_a_child_of_it_lives_on() -> None:
    middleware = processes(1)
    with Gate() as gate, ThreadPoolExecutor(1) as client:
        coming = client.submit(post, middleware, [unsafe("/forks", X_Gate=gate.port)])
        gate.visitor().go()
        gate.visitor()
        [before] = pids(coming.result(PATIENCE))
        kill(before)

        answer = client.submit(post, middleware, [{**unsafe("/b"), "body": "x" * 600_000}]).result(PATIENCE / 3)

    middleware.close()
    assert answer.statuses == [200]
    assert before not in pids(answer)


def test_a_worker_that_is_killed_while_it_has_nothing_to_do_is_replaced() -> None:
    middleware = processes(1)
    [before] = pids(post(middleware, [get("/a")]))
    kill(before)

    answer = post(middleware, [unsafe("/b"), unsafe("/c")])

    middleware.close()
    assert answer.statuses == [200, 200]
    assert before not in pids(answer)


def test_workers_that_are_killed_under_load_take_nothing_with_them_but_the_item_that_each_has(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    middleware = processes(4)
    answers: dict[str, tuple[str, int]] = {}
    seen: list[int] = []
    ended = threading.Event()

    def client(number: int) -> None:
        for turn in range(10):
            batch = [{**get(f"/client-{number}/turn-{turn}/item-{index}", X_Log=log), "method": "POST" if index % 3 else "GET"} for index in range(9)]
            answer = post(middleware, batch)
            assert answer.status == 200
            for item, asked in zip(answer.items, batch, strict=True):
                answers[asked["url"]] = asked["method"], item["status_code"]
                if "X-Process" in item["headers"]:
                    seen.append(int(item["headers"]["X-Process"]))

    def killer() -> int:
        killed: set[int] = set()
        while not ended.is_set() and len(killed) < 5:
            if seen and seen[-1] not in killed:
                killed.add(seen[-1])
                os.kill(seen[-1], signal.SIGKILL)
        return len(killed)

    with ThreadPoolExecutor(7) as threads:
        kills = threads.submit(killer)
        clients = [threads.submit(client, number) for number in range(6)]
        for one in clients:
            one.result(4 * PATIENCE)
        ended.set()
        count = kills.result()

    middleware.close()
    ran = begun(tmp_path / "log")
    lost = {path for path, (_, status) in answers.items() if status != 200}
    assert count > 0
    assert len(answers) == 6 * 10 * 9
    assert len(lost) <= count
    assert all(answers[path] == ("POST", 502) for path in lost)
    assert all(ran[path] == 1 for path, (method, status) in answers.items() if method == "POST" and status == 200)
    assert max(ran[path] for path, (method, _) in answers.items() if method == "POST") == 1


@pytest.mark.parametrize(("room", "size"), [(4096, 600_000), (1 << 18, (1 << 18) + 1)])
def test_a_worker_that_has_no_room_for_a_body_has_not_begun_with_its_item_and_is_replaced(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], room: int, size: int
) -> None:
    middleware = processes(1)
    log = str(tmp_path / "log")
    [small] = pids(post(middleware, [get("/a")]))
    resource.prlimit(small, resource.RLIMIT_FSIZE, (room, room))

    answer = post(middleware, [{**unsafe("/b", X_Log=log), "body": "x" * size}])

    middleware.close()
    assert answer.codes == ["ran"]
    assert pids(answer) != [small]
    assert begun(tmp_path / "log") == {"/b": 1}
    assert "File too large" in capfd.readouterr().err


def test_an_item_whose_body_has_not_come_whole_is_not_begun(tmp_path: Path) -> None:
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/a", "wsgibatch.item": 0, "HTTP_X_LOG": str(tmp_path / "log")}
    worker = Worker()
    pickle.dump((APP, environ, 10, 1000, None), worker._tasks)
    worker._tasks.write(b"x" * 9)

    worker.end(PATIENCE)

    assert worker._process.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_cannot_be_started_leaves_its_items_unanswered_but_not_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    middleware = processes()

    answer = post(middleware, [get("/a"), unsafe("/b")])

    middleware.close()
    assert answer.codes == ["no-worker", "no-worker"]
    assert answer.statuses == [503, 503]


def test_workers_that_die_before_they_can_do_anything_are_not_made_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    middleware = processes()

    answer = post(middleware, [get("/a"), unsafe("/b"), get("/c")])

    middleware.close()
    assert len(answer.items) == 3
    assert set(answer.codes) <= {"worker-died", "no-worker"}


# --- apps that cannot be had


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("", "module 'made' has no attribute 'app'"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("raise SystemExit", "SystemExit"),
        ("app = 42", "'int' object is not callable"),
    ],
)
def test_an_app_that_cannot_be_had_fails_each_item_and_the_log_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, source: str, told: str
) -> None:
    (tmp_path / "made.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    middleware = processes(worker_app="made:app")

    answer = post(middleware, [get("/a"), unsafe("/b")])

    middleware.close()
    assert answer.statuses == [500, 500]
    assert len(caplog.records) == 2
    assert all(told in (record.exc_text or "") for record in caplog.records)


def test_the_app_is_imported_once_in_each_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "counting.py").write_text(f"open({str(tmp_path / 'imports')!r}, 'a').write('x')\nfrom {elsewhere.__name__} import app")
    monkeypatch.syspath_prepend(tmp_path)
    middleware = processes(worker_app="counting:app")

    workers = {pid for _ in range(3) for pid in pids(post(middleware, [get("/a")] * 20))}

    middleware.close()
    assert len((tmp_path / "imports").read_text()) == len(workers) <= 2


# --- time limits


def test_a_worker_that_is_held_up_by_a_late_item_is_replaced() -> None:
    executor = ProcessesExecutor(Settings(worker_app=APP, workers=1))
    with Gate() as gate:
        held = post(BatchMiddleware(elsewhere.app, executor=executor, timeout=0.1), [get("/held", X_Gate=gate.port)])
        visitor = gate.visitor()

        answer = post(BatchMiddleware(elsewhere.app, executor=executor), [get("/b")])

        visitor.go()
    executor.close()
    assert (held.codes, answer.codes) == (["timed-out"], ["ran"])
    assert pids(answer) != [visitor.pid]


def test_the_time_that_a_body_takes_to_its_worker_counts() -> None:
    worker = Worker()
    os.kill(worker._process.pid, signal.SIGSTOP)
    until = monotonic() + 0.5
    threading.Timer(0.5, os.kill, (worker._process.pid, signal.SIGCONT)).start()

    body, status, _ = worker.run(("tests.executors.elsewhere:patient", {"REQUEST_METHOD": "POST"}, BytesIO(b"x" * 600_000), 1000), until)

    worker.end(PATIENCE)
    assert status == "200 OK"
    assert body is not None
    assert float(body) <= 0


def test_an_item_that_no_worker_has_taken_in_time_is_never_run(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    executor = ProcessesExecutor(Settings(worker_app=APP, workers=1))
    with Gate() as gate, ThreadPoolExecutor(1) as client:
        coming = client.submit(post, BatchMiddleware(elsewhere.app, executor=executor), [get("/held", X_Gate=gate.port)])
        holding = gate.visitor()

        # The held one is not late itself, so there is no other worker.
        late = post(BatchMiddleware(elsewhere.app, executor=executor, deadline=0.1), [unsafe("/late", X_Log=log)])

        holding.go()
        coming.result(PATIENCE)
    after = post(BatchMiddleware(elsewhere.app, executor=executor), [get("/after", X_Log=log)])
    executor.close()
    assert (late.statuses, after.statuses) == ([504], [200])
    assert begun(tmp_path / "log") == {"/after": 1}


# --- the lives of the processes


def test_workers_are_made_when_they_are_needed_and_ended_when_the_executor_is_closed() -> None:
    middleware = processes(4)
    [worker] = set(pids(post(middleware, [get("/a")])))
    os.kill(worker, 0)

    middleware.close()

    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_workers_are_kept_for_the_next_batch() -> None:
    middleware = processes(1)

    first, second = pids(post(middleware, [get("/a")])), pids(post(middleware, [get("/b")]))

    middleware.close()
    assert first == second


def test_a_worker_does_not_mind_an_interrupt_from_the_keyboard() -> None:
    middleware = processes(1)
    with Gate() as gate, ThreadPoolExecutor(1) as client:
        coming = client.submit(post, middleware, [get("/a", X_Gate=gate.port)])
        visitor = gate.visitor()
        os.kill(visitor.pid, signal.SIGINT)
        visitor.go()
        answer = coming.result(PATIENCE)

    middleware.close()
    assert answer.statuses == [200]


HOLDING = """
import sys
from tests.executors.test_processes import get, post, processes

middleware = processes(2)
post(middleware, [get("/a"), get("/b", X_Gate=sys.argv[1])])
"""


def test_all_workers_end_when_their_parent_is_killed() -> None:
    with Gate() as gate, subprocess.Popen([sys.executable, "-c", HOLDING, gate.port], stderr=subprocess.PIPE, text=True) as parent:
        busy = gate.visitor()
        parent.kill()

        # Whoever is left would still hold it open.
        _, told = parent.communicate(timeout=PATIENCE)

        assert busy.connection.recv(1) == b""
    assert told == ""


LATE = """
import sys
from tests.executors.test_processes import get, post, processes

# The worker has to have started by then, on any machine.
assert post(processes(1, timeout=3), [get("/held", X_Gate=sys.argv[1])]).codes == ["timed-out"]
input()
"""


def test_a_call_that_was_left_behind_does_not_keep_the_interpreter_from_ending() -> None:
    command = [sys.executable, "-X", "dev", "-c", LATE, ""]
    with Gate() as gate:
        command[-1] = gate.port
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
            held: Visitor = gate.visitor()

            _, told = parent.communicate("\n", timeout=PATIENCE)

        assert (parent.returncode, told) == (0, "")
        with pytest.raises(ProcessLookupError):
            os.kill(held.pid, 0)


FORKED = """
import os, sys, warnings
from tests.executors.test_processes import get, pids, post, processes

# Of forks beside threads.
warnings.simplefilter("ignore", DeprecationWarning)
middleware = processes(2)
before = pids(post(middleware, [get("/a")]))
child = os.fork()
after = pids(post(middleware, [get("/b")]))
if not child:
    assert after != before
    sys.exit()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert after == before == pids(post(middleware, [get("/c")]))
"""


def test_a_fork_has_workers_of_its_own_and_leaves_those_of_its_parent_alone() -> None:
    ended = subprocess.run([sys.executable, "-X", "dev", "-c", FORKED], capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_what_a_fork_is_about_to_send_is_not_sent_twice() -> None:
    worker = Worker()
    worker._tasks.close()
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    worker._tasks = os.fdopen(writing, "wb")
    worker._tasks.write(b"half of a task")

    with warnings.catch_warnings():
        # That there are other threads is what it is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        _finish({worker}, threading.Event(), os.getppid())
        os._exit(0)
    os.waitpid(child, 0)

    with pytest.raises(BlockingIOError):
        os.read(reading, 1)
    os.close(reading)
    worker.end()


SCRIPT = """
from tests.executors.test_processes import get, post, processes

print(post(processes(), [get("/a")]).statuses)
"""


def test_a_script_needs_no_guard_around_what_it_does(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    ended = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")], capture_output=True, text=True, timeout=PATIENCE, check=False, env=environment
    )

    assert (ended.stdout, ended.stderr) == ("[200]\n", "")


def test_what_an_app_prints_and_reads_has_nothing_to_do_with_what_it_answers(capfd: pytest.CaptureFixture[str]) -> None:
    middleware = processes(1, worker_app="tests.executors.elsewhere:printing")

    first, second = post(middleware, [get("/a")]), post(middleware, [get("/b")])

    middleware.close()
    assert [answer.items[0]["body"] for answer in (first, second)] == ["", ""]
    printed = capfd.readouterr()
    assert sorted(printed.err.split()) == sorted(["printed", "written", "told"] * 2)
    assert printed.out == ""


# --- settings


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"executor": "processes"}, "worker_app: the executor 'processes' needs to know"),
        ({"executor": "processes", "worker_app": "shop"}, "worker_app: 'shop' should be written 'package.module:name'"),
        ({"executor": "processes", "worker_app": "shop:make()"}, "worker_app: .* should be written"),
        ({"executor": "processes", "worker_app": "__main__:app"}, "worker_app: a worker has a main module of its own"),
        ({"executor": "processes", "worker_app": APP, "atomic": "stop"}, "atomic: the executor 'processes'"),
        ({"executor": "threads", "worker_app": APP}, "worker_app: the executor 'threads' runs items here"),
        ({"worker_app": APP}, "worker_app: the executor 'sequential' runs items here"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        BatchMiddleware(elsewhere.app, **settings)


def test_the_app_is_not_imported_before_the_first_batch() -> None:
    BatchMiddleware(elsewhere.app, executor="processes", worker_app="no.such.module:app").close()
