"""A Dask cluster as people have one: a scheduler and two processes, reached through the executor of its client."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import dask
import pytest
from distributed import Client, LocalCluster

from tests.executors import elsewhere
from tests.executors.gate import PATIENCE, Gate
from tests.executors.test_processes import APP, begun, pids, unsafe
from tests.gateway import get, post
from wsgibatch import BatchMiddleware


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    # It has to be told before the scheduler starts.
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(params=[{"pure": False}, {}], ids=["impure", "default"])
def executor(client: Client, request: pytest.FixtureRequest) -> Executor:
    made: Executor = client.get_executor(**request.param)
    return made


def test_items_are_answered_by_the_cluster_in_the_order_of_the_batch(executor: Executor) -> None:
    middleware = BatchMiddleware(elsewhere.app, executor=executor, worker_app=APP, workers=4)

    answer = post(middleware, [get(f"/{letter}") for letter in "abcdefgh"])

    middleware.close()
    assert [item["body"] for item in answer.items] == [f"/{letter}" for letter in "abcdefgh"]
    assert os.getpid() not in pids(answer)


def test_an_item_that_fails_there_fails_alone(executor: Executor) -> None:
    middleware = BatchMiddleware(elsewhere.app, executor=executor, worker_app=APP, workers=4)

    answer = post(middleware, [get("/a"), get("/unpicklable"), unsafe("/exits"), unsafe("/b")])

    middleware.close()
    assert answer.statuses == [200, 500, 500, 200]


def test_equal_items_run_each(executor: Executor, tmp_path: Path) -> None:
    middleware = BatchMiddleware(elsewhere.app, executor=executor, worker_app=APP, workers=4, order="free")

    answers = [post(middleware, [unsafe("/a", X_Log=str(tmp_path / "log"))]) for _ in range(5)]

    middleware.close()
    assert [answer.statuses for answer in answers] == [[200]] * 5
    assert begun(tmp_path / "log") == {"/a": 5}


def test_an_unsafe_item_whose_worker_is_killed_is_not_run_again(executor: Executor, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    middleware = BatchMiddleware(elsewhere.app, executor=executor, worker_app=APP, workers=4)
    with Gate() as gate, ThreadPoolExecutor(1) as threads:
        coming = threads.submit(post, middleware, [unsafe("/killed", X_Gate=gate.port, X_Log=log), unsafe("/b", X_Log=log), get("/c", X_Log=log)])
        os.kill(gate.visitor().pid, signal.SIGKILL)
        answer = coming.result(PATIENCE)

    middleware.close()
    assert answer.codes == ["worker-died", "ran", "ran"]
    assert begun(tmp_path / "log") == {"/killed": 1, "/b": 1, "/c": 1}


def test_a_safe_item_whose_worker_is_killed_is_run_once_more(executor: Executor) -> None:
    middleware = BatchMiddleware(elsewhere.app, executor=executor, worker_app=APP, workers=4)
    with Gate() as gate, ThreadPoolExecutor(1) as threads:
        coming = threads.submit(post, middleware, [get("/a", X_Gate=gate.port)])
        os.kill(gate.visitor().pid, signal.SIGKILL)
        gate.visitor().go()
        answer = coming.result(PATIENCE)

    middleware.close()
    assert answer.statuses == [200]


def test_without_the_app_to_import_there_batches_run_here_and_the_log_says_so(executor: Executor, caplog: pytest.LogCaptureFixture) -> None:
    middleware = BatchMiddleware(elsewhere.app, executor=executor)

    answer = post(middleware, [get("/a")] * 10)

    middleware.close()
    assert set(pids(answer)) == {os.getpid()}
    assert "needs a worker_app" in caplog.text
