"""Each part of the soak for a moment, so that it can be run at any time; and every input that it has ever found something with."""

import faulthandler
import http.client
import json
import logging
import signal
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from random import Random
from time import monotonic
from types import SimpleNamespace
from typing import Any
from urllib.parse import urljoin

import pytest

from benchmarks.record import this_code
from tests.apps import show
from tests.gateway import post
from tests.servers.wire import Answer
from tests.soak import __main__ as soak_command
from tests.soak import slow_clients
from tests.soak.batches import DIALECTS
from tests.soak.fuzzing import FOUND
from tests.soak.listening import Listener
from tests.soak.message import read, written
from tests.soak.mutate import mixed, restated
from tests.soak.parts import alike, kills, slow
from tests.soak.report import Bounds, Row
from tests.soak.seeds import seeds_of
from tests.soak.targets import WORDS, target_of
from wsgibatch import BatchMiddleware, SubRequest, SubResponse
from wsgibatch.dialects.django import DjangoDialect

ROOT = Path(__file__).parent.parent
KEPT = sorted(path.relative_to(FOUND) for path in FOUND.glob("*/*"))


def soaked(tmp_path: Path, part: str, inputs: int) -> list[dict[str, object]]:
    """The rows that *part* tells after some *inputs*, and nothing found."""
    told = tmp_path / "told.json"
    command = [sys.executable, "-m", "tests.soak", part, "--minutes", "5", "--inputs", str(inputs), "--json", str(told)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows: list[dict[str, object]] = json.loads(told.read_text())[part]["rows"]
    return rows


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """A target listens to the log, for as long as its process lives."""
    log = logging.getLogger("wsgibatch")
    before = log.handlers[:], log.level, log.propagate
    yield
    log.handlers[:], log.level, log.propagate = before


@pytest.mark.parametrize(("part", "inputs"), [("alike", 200), ("faults", 200), ("kills", 200), ("slow", 9)])
def test_a_part_of_the_soak_counts_what_it_is_asked_for_and_finds_nothing(tmp_path: Path, part: str, inputs: int) -> None:
    rows = soaked(tmp_path, part, inputs)

    assert all(row["count"] >= row["wanted"] for row in rows)  # type: ignore[operator]  # both are numbers


@pytest.mark.parametrize("part", ["decoders", "middleware"])
def test_fuzzing_runs_every_target_and_finds_nothing(tmp_path: Path, part: str) -> None:
    pytest.importorskip("atheris", reason="the soak fuzzes with atheris (pip install atheris)")

    rows = soaked(tmp_path, part, 2000)

    assert [row["name"] for row in rows] == (WORDS if part == "decoders" else ["middleware"])
    assert all(row["count"] >= row["wanted"] for row in rows)  # type: ignore[operator]  # both are numbers


@pytest.mark.parametrize("name", [*WORDS, "middleware"])
def test_what_fuzzing_begins_with_leads_far_and_finds_nothing(name: str) -> None:
    target = target_of(name)

    words = {target(seed) for seed in seeds_of(name)}

    assert words >= {"answered" if name == "middleware" else "read", "refused"}


@pytest.mark.parametrize("kept", KEPT, ids=str)
def test_an_input_that_found_something_finds_nothing_any_more(kept: Path) -> None:
    target_of(kept.parent.name)((FOUND / kept).read_bytes())


def test_fuzzing_gives_items_of_a_batch_other_methods_and_headers_and_those_of_other_batches() -> None:
    chance = Random(0)
    one, other = (written(b"/batch graph", *DIALECTS["graph"].write([SubRequest(0, "GET", f"/{name}", [], id=name)])) for name in ("a", "b"))

    said = [json.loads(read(restated(one, chance)).body)["requests"][0] for _ in range(1000)]
    joined = [json.loads(read(mixed(one, other, chance)).body)["requests"] for _ in range(100)]

    assert any(item["method"] == "DELETE" and "X-One" in item.get("headers", {}) for item in said)
    assert any([item["id"] for item in items] == ["b", "a"] for items in joined)
    assert any(len(items) == 1 and items[0]["id"] == "b" for items in joined)


class Lost(kills.Client):
    """One whose batch is never settled."""

    def post(self) -> None:
        raise TimeoutError("it was not settled")


def test_a_batch_that_is_never_settled_is_a_finding() -> None:
    row = Row("", 0, 0, 0.0, [])

    kills._post(Lost(0, "http://127.0.0.1:1", row, threading.Lock()))

    assert row.findings == ["TimeoutError: it was not settled"]


_STUCK = """
import sys
import threading
from tests.soak import __main__ as command
from tests.soak.parts import kills

class Stuck(kills.Client):
    def post(self):
        print("posting", file=sys.stderr, flush=True)
        threading.Event().wait()

kills.Client = Stuck
sys.argv[1:] = ["kills"]
sys.exit(command.main())
"""


def test_whoever_interrupts_it_waits_for_no_client_that_never_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", _STUCK], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == "posting\n"
            process.send_signal(signal.SIGINT)
            told, _ = process.communicate(timeout=30)
        finally:
            process.kill()

    assert process.returncode == 130
    assert told.endswith("\ninterrupted, with the rows above\n")


@pytest.mark.parametrize(("lost", "found"), [(2 * kills.THREADS, 0), (2 * kills.THREADS + 1, 1)])
def test_more_items_of_which_nobody_knows_than_were_in_hand_are_found(lost: int, found: int) -> None:
    assert len([*kills._too_many(lost, 2)]) == found


def difference(item: dict[str, str], sent: dict[str, str], headers: list[tuple[str, str]], together: bool = True) -> str | None:
    """Of two environs, as they are told where an answer has no content."""
    told, direct = ([("X-Environ", b64encode(json.dumps(environ).encode()).decode())] for environ in (item, sent))
    request = SubRequest(0, "HEAD", "/", headers)
    return alike._difference("gunicorn", request, Answer(200, "OK", direct, b""), SubResponse(200, "OK", told, b""), alike.WAYS[1], together)


@pytest.mark.parametrize("item", [{}, {"HTTP_X_ONE": "b"}, {"HTTP_X_ONE": "a,b"}], ids=str)
def test_a_difference_is_found_where_an_answer_has_no_content(item: dict[str, str]) -> None:
    assert difference(item, {"HTTP_X_ONE": "a, b"}, [("X-One", "a, b")]) is not None


@pytest.mark.parametrize("together", [True, False])
def test_another_port_of_the_client_is_a_difference_over_one_connection(together: bool) -> None:
    assert (difference({"REMOTE_PORT": "1"}, {"REMOTE_PORT": "2"}, [], together) is not None) == together


@pytest.mark.parametrize(("body", "found"), [(b"\x00\xff", False), (b"\xff\x00", True), (b"", True)])
def test_a_body_that_is_not_the_same_byte_for_byte_is_found(body: bytes, found: bool) -> None:
    headers = [("Content-Type", "image/png"), ("X-Environ", b64encode(b"{}").decode())]
    told, sent = SubResponse(200, "OK", headers, body), Answer(200, "OK", headers, b"\x00\xff")

    assert (alike._difference("gunicorn", SubRequest(0, "GET", "/", []), sent, told, alike.WAYS[1], True) is not None) == found


class Broken:
    """A dialect that cannot read its answer."""

    def __getattr__(self, name: str) -> Any:
        return getattr(DjangoDialect(), name)

    def read(self, headers: Any, body: bytes, requests: Any) -> Any:
        raise ValueError("no answer")


def test_a_wrong_answer_is_a_finding_and_ends_the_row_only_when_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "WAYS", [alike.Way(Broken(), textual=True)])

    row = alike._compared("wsgiref", Bounds(monotonic() + 60, 10_000))

    assert row.findings == ["ValueError: no answer"] * alike._ENOUGH


def test_how_a_server_joins_what_is_repeated_is_no_difference() -> None:
    assert difference({"HTTP_X_ONE": "a,b"}, {"HTTP_X_ONE": "a, b"}, [("X-One", "a"), ("X-One", "b")]) is None


@pytest.mark.parametrize(("app", "count"), [(urljoin, 1), (show, 0)], ids=["a module that the package calls", "an app of the tests"])
def test_an_exception_is_kept_unless_an_app_of_the_tests_has_raised_it(app: Any, count: int) -> None:
    listener = Listener()
    listener.attach(logging.ERROR)

    post(BatchMiddleware(app), [{"method": "GET", "url": "/raise"}])

    assert len(listener.kept) == count


def received(items: list[tuple[int, str]], status: str = "200 OK", more: int = 0) -> bytes:
    """An answer as it comes over a connection, which announces *more* than comes."""
    body = json.dumps([{"status_code": code, "body": text} for code, text in items]).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body) + more}\r\n\r\n".encode() + body


LINES = [(200, "".join(f"{token} {number:>40}\n" for number in range(2))) for token in ("a", "b")]


def test_an_answer_to_a_slow_client_that_is_all_its_own_is_well() -> None:
    slow_clients.check(received(LINES), ["a", "b"], 2)


@pytest.mark.parametrize(
    "spoilt",
    [
        received(LINES[::-1]),
        received(LINES[:1]),
        received([LINES[0], (200, LINES[1][1][:-1])]),
        received([LINES[0], (500, LINES[1][1])]),
        received(LINES, "503 Service Unavailable"),
        received(LINES, more=1),
    ],
    ids=["another order", "an item lost", "an item cut short", "an item failed", "the batch failed", "the batch cut short"],
)
def test_an_answer_to_a_slow_client_that_is_not_all_its_own_is_found(spoilt: bytes) -> None:
    with pytest.raises((slow_clients.Wrong, http.client.IncompleteRead)):
        slow_clients.check(spoilt, ["a", "b"], 2)


HELD = {"pid": 7, "threads": 200, "descriptors": 10, "bytes": 40 << 20, "in_hand": 0}


def test_a_worker_that_holds_hardly_more_than_before_is_well() -> None:
    assert [*slow.grown(HELD, {**HELD, "threads": 202, "descriptors": 12, "bytes": 44 << 20})] == []


@pytest.mark.parametrize("more", [{"pid": 8}, {"threads": 203}, {"descriptors": 13}, {"bytes": 45 << 20}, {"in_hand": 1}], ids=str)
def test_what_a_worker_holds_more_than_before_is_found(more: dict[str, int]) -> None:
    assert len([*slow.grown(HELD, {**HELD, **more})]) == 1


@pytest.mark.parametrize(("patience", "found"), [(30, False), (1, True)], ids=["no time for it", "all the time that it takes"])
def test_a_client_that_is_not_ended_is_found_where_there_was_time_for_it(monkeypatch: pytest.MonkeyPatch, patience: int, found: bool) -> None:
    monkeypatch.setattr(slow, "_PATIENCE", patience)
    monkeypatch.setattr(slow, "_TIMEOUT", 4)
    row = Row("", 0, 1, 0.0, [])

    slow._ended(row, Bounds(monotonic() + (30 if found else 0)))

    assert (row.count, row.findings != []) == (0, found)


def refused(*arguments: str) -> str:
    """What is told where *arguments* are refused, and nothing is soaked."""
    command = [sys.executable, "-m", "tests.soak", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (2, "")
    return ended.stderr


@pytest.mark.parametrize("minutes", ["0", "-1", "inf", "nan"])
def test_minutes_that_are_none_or_never_end_are_refused(minutes: str) -> None:
    assert "--minutes and --inputs are more than nothing, and not without end" in refused("kills", f"--minutes={minutes}")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no file here that has no end")
def test_a_file_that_has_no_end_is_refused() -> None:
    assert "--json: /dev/full is no regular file" in refused("kills", "--json", "/dev/full")


def test_what_is_counted_says_of_which_code_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told.json"
    monkeypatch.setattr(sys, "argv", ["soak", "kills", "--json", str(told)])
    monkeypatch.setattr(kills, "soak", lambda bounds: iter([Row("first", 1, 1, 0.0, [])]))
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda *_, **__: None)

    assert soak_command.main() == 0
    assert json.loads(told.read_text())["kills"]["code"] == this_code("tests")


def test_a_part_that_raises_is_a_finding_and_the_rows_before_it_stay() -> None:
    def soak(bounds: Bounds) -> Iterator[Row]:
        yield Row("first", 1, 1, 0.0, [])
        raise ConnectionError("it is gone")

    first, second = soak_command._rows(SimpleNamespace(soak=soak), Bounds(monotonic() + 60))

    assert first.findings == []
    assert "ConnectionError: it is gone" in second.findings[0]
