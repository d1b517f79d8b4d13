"""Many that send the same at once, workers that are killed, and a store that goes away: whatever happens, what is guarded runs once."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.gateway import environ_of, send
from tests.servers import redis as redis_servers
from tests.servers.run import gunicorn
from wsgibatch.idempotency import IdempotencyMiddleware

ROOT = Path(__file__).parent.parent
PATIENCE = 240
KEYS, RACERS, PROCESSES = 1000, 50, 4


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that several processes share."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/replies.db"
    found: str = request.getfixturevalue("redis").empty_url()
    return found


# Races


class Race:
    """Racers, each a thread, that send one request after another, all of them in the same order."""

    def __init__(self, store: str, keys: int, racers: int) -> None:
        self._app = IdempotencyMiddleware(self._run, store, wait=PATIENCE)
        self._keys, self._racers = keys, racers
        self.ran: Counter[str] = Counter()
        self.told: dict[str, set[str]] = {}
        self._noting = threading.Lock()

    def _run(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._noting:
            self.ran[environ["PATH_INFO"]] += 1
        start_response("201 Created", [("Content-Type", "text/plain")])
        return [f"{os.getpid()} {os.urandom(8).hex()}".encode()]

    def run(self, start: Callable[[], object]) -> None:
        """All racers to the end, once *start* has returned for each."""
        with ThreadPoolExecutor(self._racers) as pool:
            for running in [pool.submit(self._race, start) for _ in range(self._racers)]:
                running.result(PATIENCE)
        self._app.close()

    def _race(self, start: Callable[[], object]) -> None:
        start()
        for number in range(self._keys):
            answer = send(self._app, environ_of(b"", f"/{number}", HTTP_AUTHORIZATION="anna", HTTP_IDEMPOTENCY_KEY=f"key-{number}"))
            assert answer.status == 201, answer
            with self._noting:
                self.told.setdefault(f"/{number}", set()).add(answer.body.decode())


def test_of_threads_that_race_for_many_keys_one_runs_each() -> None:
    race = Race("memory://", KEYS, RACERS)

    race.run(threading.Barrier(RACERS, timeout=PATIENCE).wait)

    assert race.ran == {f"/{number}": 1 for number in range(KEYS)}
    assert {len(bodies) for bodies in race.told.values()} == {1}


RACER = """
import json, sys, threading
from tests.test_idempotency_races import Race

race = Race(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
print("ready", flush=True)
sys.stdin.readline()
race.run(threading.Barrier(int(sys.argv[3]), timeout=60).wait)
print(json.dumps([race.ran, {path: sorted(bodies) for path, bodies in race.told.items()}]))
"""


def test_of_processes_that_race_for_many_keys_one_runs_each(url: str) -> None:
    shares = [len(range(number, RACERS, PROCESSES)) for number in range(PROCESSES)]
    racers = [started(RACER, url, str(KEYS), str(share)) for share in shares]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    ran: Counter[str] = Counter()
    told: dict[str, set[str]] = {}
    for racer in racers:
        runs, bodies = json.loads(racer.communicate(timeout=PATIENCE)[0])
        ran.update(runs)
        for path, found in bodies.items():
            told.setdefault(path, set()).update(found)

    assert ran == {f"/{number}": 1 for number in range(KEYS)}
    assert {len(bodies) for bodies in told.values()} == {1}


def started(code: str, *arguments: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)


# Workers that are killed

SITE = """
import os, time
from wsgibatch import tags
from wsgibatch.idempotency import IdempotencyMiddleware

def till(environ, start_response):
    path = environ["PATH_INFO"]
    with open({charges!r}, "a") as charges:
        charges.write(f"{{os.getpid()}} {{path}}\\n")
    while path == "/slow" and not os.path.exists({gate!r}):
        time.sleep(0.01)
    if path == "/touching":
        environ["wsgibatch.touch"]("Till:1")
    start_response("201 Created", [("Content-Type", "text/plain")])
    return [b"charged"]

app = IdempotencyMiddleware(till, {url!r}, {fields})
"""


class Site:
    """A till behind a real server, and what it has charged."""

    def __init__(self, folder: Path, url: str, **fields: object) -> None:
        self._folder, self._charges, self._gate = folder, folder / "charges", folder / "gate"
        self._charges.touch()
        said = ", ".join(f"{name}={value!r}" for name, value in fields.items())
        (folder / "till_of_races.py").write_text(SITE.format(charges=str(self._charges), gate=str(self._gate), url=url, fields=said))
        self.base = ""

    def serving(self, *options: str) -> Any:
        return gunicorn("till_of_races:app", *options, cwd=self._folder, env={"PYTHONPATH": str(ROOT)})

    def open_gate(self) -> None:
        self._gate.touch()

    def charged(self, path: str) -> list[int]:
        """The processes that were asked for *path*."""
        return [int(line.split()[0]) for line in self._charges.read_text().splitlines() if line.endswith(f" {path}")]

    def ask(self, path: str, key: str | None = None) -> requests.Response:
        headers = {"Authorization": "Bearer anna", **({} if key is None else {"Idempotency-Key": key})}
        return requests.post(self.base + path, b"5 EUR", headers=headers, timeout=60)


def until(reached: Callable[[], Any]) -> Any:
    """What *reached* gives, once that is true; an answer is where its status is no error."""
    end = time.monotonic() + 60
    while not (found := reached()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("on_crash", ["execute", "fail"])
def test_a_worker_that_is_killed_leaves_its_key_to_the_policy(tmp_path: Path, url: str, on_crash: str) -> None:
    site = Site(tmp_path, url, lease=1, keep=2, ttl=600, on_crash=on_crash)
    with site.serving("--workers", "2") as base, ThreadPoolExecutor(1) as pool:
        site.base = base
        first = pool.submit(site.ask, "/slow", "k")
        [worker] = until(lambda: site.charged("/slow"))
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(requests.ConnectionError):
            first.result(60)
        # What runs again need not wait.
        site.open_gate()
        [answer] = until(lambda: settled(site.ask("/slow", "k")))
        charged = len(site.charged("/slow"))
        other = site.ask("/slow", "another")
        # It is remembered for two seconds that it was lost; no key is stuck.
        again = until(lambda: site.ask("/slow", "k"))

    if on_crash == "execute":
        assert (answer.status_code, charged, again.headers.get("Idempotent-Replayed")) == (201, 2, "true")
    else:
        assert (answer.status_code, answer.json()["code"], charged, again.headers.get("Idempotent-Replayed")) == (409, "outcome-unknown", 1, None)
    assert other.status_code == 201


def settled(answer: requests.Response) -> list[requests.Response]:
    """*answer*, unless it says that the request still runs."""
    return [] if answer.status_code == 409 and answer.json()["code"] == "in-flight" else [answer]


# A store that goes away


@pytest.fixture
def own_redis(redis_program: str) -> Iterator[redis_servers.Server]:
    with redis_servers.running(redis_program) as server:
        yield server


def test_a_redis_that_is_killed_under_load_harms_nobody_without_a_key_and_is_used_again(tmp_path: Path, own_redis: redis_servers.Server) -> None:
    site = Site(tmp_path, own_redis.url)
    with site.serving("--workers", "2", "--worker-class", "gthread", "--threads", "4") as base, ThreadPoolExecutor(6) as pool:
        site.base = base
        answers: dict[str, list[requests.Response]] = {"keyed": [], "/plain": [], "/touching": []}
        stop = threading.Event()

        def load(kind: str, name: int) -> None:
            for number in range(10_000):
                if stop.is_set():
                    return
                answers[kind].append(site.ask(*(("/keyed", f"{name}-{number}") if kind == "keyed" else (kind,))))

        running = [pool.submit(load, kind, name) for kind in answers for name in range(2)]
        until(lambda: all(len(found) >= 10 for found in answers.values()))
        before = len(site.charged("/keyed"))
        own_redis.kill()
        down = {kind: len(found) for kind, found in answers.items()}
        until(lambda: all(len(found) >= down[kind] + 20 for kind, found in answers.items()))
        during = len(site.charged("/keyed"))
        own_redis.start()
        until(lambda: answers["keyed"][-1].status_code == 201)
        stop.set()
        for one in running:
            one.result(60)
        twice = [site.ask("/keyed", "after") for _ in range(2)]

    assert {answer.status_code for kind in ("/plain", "/touching") for answer in answers[kind]} == {201}
    refused = [answer for answer in answers["keyed"] if answer.status_code != 201]
    assert len(refused) >= 10
    assert {(answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) for answer in refused} == {(503, "store-unavailable", "1")}
    # Those that ran when it was killed, one for each thread at most.
    assert during - before <= 8
    assert [answer.headers.get("Idempotent-Replayed") for answer in twice] == [None, "true"]
