"""A server that is told to load anew, or to end, answers what it has taken on."""

import contextlib
import http.client
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self

import pytest

from tests.gateway import get
from tests.servers import run, wire
from tests.servers.gate import gate
from tests.servers.test_workers import KINDS

PATIENCE = 30
BATCH = json.dumps([get("/pid")] * 5).encode()


def until(fact: Callable[[], bool]) -> None:
    """Wait for what happens in another process, and tells nobody."""
    end = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.01)


def gone(pids: set[int]) -> bool:
    """Has each of these processes ended?"""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            return False
    return True


class Load:
    """Clients that send batches and requests by turns, each over a connection of its own, until they are stopped."""

    def __init__(self, base: str, target: str) -> None:
        self._base, self._target = base, target
        self.answered, self.lost = Counter[str](), Counter[str]()
        self.pids: set[int] = set()
        """Who has answered."""
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._clients = [threading.Thread(target=self._run) for _ in range(6)]

    def __enter__(self) -> Self:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for client in self._clients:
            client.join(PATIENCE)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._count("batch", self._batch)
            self._count("request", self._request)

    def _batch(self) -> int:
        """The process that has answered a batch."""
        answer = wire.post(self._base, BATCH, target=self._target)
        [pid] = {item["body"] for item in json.loads(answer.body)}
        return int(pid)

    def _request(self) -> int:
        return int(wire.exchanged(self._base, "GET", "/pid", [("Host", "shop.example")]).body)

    def _count(self, what: str, ask: Callable[[], int]) -> None:
        try:
            pid = ask()
        # A connection that ends too soon, or what is no answer of the app.
        except (OSError, http.client.HTTPException, ValueError):
            with self._lock:
                self.lost[what] += 1
        else:
            with self._lock:
                self.answered[what] += 1
                self.pids.add(pid)


def options_of(kind: str, workers: int, pid: Path) -> list[str]:
    # Whoever does not end by itself is found out before gunicorn ends it.
    patience = str(2 * PATIENCE)
    return [
        *("--worker-class", kind, *KINDS[kind], "--workers", str(workers), "--graceful-timeout", patience, "--pid", str(pid)),
        "tests.servers.ways:site",
    ]


def tell(pid: Path, number: int) -> None:
    """Send a signal to the server that has written *pid*."""
    os.kill(int(pid.read_text()), number)


@pytest.fixture
def pid(tmp_path: Path) -> Path:
    """The file that says which process a server is, as long as it runs."""
    return tmp_path / "pid"


def executor_of(kind: str) -> str:
    return "gevent" if kind == "gevent" else "threads"


@pytest.mark.parametrize("kind", KINDS)
def test_a_reload_under_load_loses_no_more_batches_than_requests(kind: str, pid: Path) -> None:
    with run.gunicorn(*options_of(kind, 2, pid)) as base, Load(base, f"/{executor_of(kind)}/plain") as load:
        for _ in range(2):
            until(lambda: len(load.pids) >= 2)
            before, load.pids = load.pids, set()
            tell(pid, signal.SIGHUP)
            until(partial(gone, before))
            load.pids -= before

    assert min(load.answered.values()) > 20
    assert load.lost["batch"] <= load.lost["request"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_is_told_to_end_answers_its_batches_and_streams_whole(kind: str, pid: Path, tmp_path: Path) -> None:
    told = tmp_path / "told"
    told.mkdir()
    # A worker that takes one request at a time takes one of the two below.
    workers = 2 if kind == "sync" else 1
    settings = ["--config", "python:tests.servers.telling", *options_of(kind, workers, pid)]
    with run.gunicorn(*settings, env={"TOLD": str(told)}) as base, gate() as held, ThreadPoolExecutor(2) as clients:
        batch = json.dumps([get("/fine"), get(f"/gate/{held.port}"), get("/fine")]).encode()
        answers = [clients.submit(wire.post, base, batch, target=f"/{executor_of(kind)}/{way}") for way in ("plain", "streamed")]
        for _ in answers:
            held.reached()

        tell(pid, signal.SIGTERM)

        until(lambda: len(list(told.iterdir())) == workers)
        held.open()
        for answer in answers:
            assert [item["body"] for item in json.loads(answer.result(PATIENCE).body)] == ["fine"] * 3
        until(lambda: not pid.exists())


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_that_was_left_behind_does_not_keep_a_server_from_ending(kind: str, pid: Path) -> None:
    with run.gunicorn(*options_of(kind, 2, pid)) as base:
        answer = wire.post(base, json.dumps([get("/late")] * 5).encode(), target=f"/{executor_of(kind)}/limited")
        assert [item["status_code"] for item in json.loads(answer.body)] == [504] * 5

        tell(pid, signal.SIGTERM)

        until(lambda: not pid.exists())
