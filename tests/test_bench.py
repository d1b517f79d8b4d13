"""``wsgibatch bench``, run as its users run it, against a real server."""

import json
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection

import pytest

from tests.clients.conftest import Server
from tests.clients.saying import item, items, saying, told
from tests.servers.run import gunicorn
from tests.test_cli import COMMAND
from wsgibatch._bench import CONNECTIONS, ROUNDS, Answered, _cut


@pytest.fixture(scope="module")
def auto() -> Iterator[Server]:
    with gunicorn("--worker-class", "gthread", "--threads", "8", "tests.clients.site:make('auto')") as base:
        yield Server(base, "auto")


def bench(*arguments: str, batch: bytes = b"/echo/1\n/echo/2\nHEAD /echo/3\n/echo/4\n") -> tuple[int, str, str]:
    ended = subprocess.run([COMMAND, "bench", *arguments], input=batch, check=False, capture_output=True, timeout=60)
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


def test_three_ways_are_measured_and_set_against_the_batch(auto: Server) -> None:
    status, out, err = bench(auto.batch)

    first, *lines = out.splitlines()
    assert (status, err) == (0, "")
    assert first == f"4 requests, the median of {ROUNDS} rounds"
    assert [re.sub(r"[0-9]+\.[0-9]", "N", line).split() for line in lines] == [
        ["in", "one", "batch", "N", "ms"],
        ["one", "by", "one", "N", "ms", "N", "times", "as", "long"],
        ["on", str(CONNECTIONS), "connections", "N", "ms", "N", "times", "as", "long"],
    ]


def test_each_way_sends_every_request_in_every_round(auto: Server) -> None:
    before = auto.seen()

    status, _, _ = bench("--unsafe", auto.batch, batch=b"POST /echo/bench {}\n/echo/other\n")

    seen = {path: count - before.get(path, 0) for path, count in auto.seen().items() if "bench" in path or "other" in path or path == "/batch"}
    rounds = 1 + ROUNDS
    assert status == 0
    assert seen == {"/batch": rounds, "/echo/bench": 2 * rounds, "/echo/other": 2 * rounds}


def test_numbers_come_as_json_for_programs(auto: Server) -> None:
    found = json.loads(bench("--json", auto.batch)[1])

    assert (found["requests"], found["rounds"], found["ratios"]["batch"]) == (4, ROUNDS, 1.0)
    assert found["seconds"].keys() == found["ratios"].keys() == {"batch", "one by one", f"{CONNECTIONS} connections"}
    assert found["ratios"]["one by one"] == pytest.approx(found["seconds"]["one by one"] / found["seconds"]["batch"])


def test_a_batch_that_writes_is_measured_only_if_asked(auto: Server) -> None:
    before = auto.seen()

    status, _, err = bench(auto.batch, batch=b"/echo\nPOST /echo {}\n")

    assert status == 2
    assert f"POST /echo would be done {3 * (ROUNDS + 1)} times" in err
    assert auto.seen() == before


def test_a_connection_that_is_opened_while_others_are_cut_is_cut_as_well() -> None:
    reading: Future[Answered] = Future()
    reading.set_running_or_notify_cancel()
    connection = HTTPConnection("shop.example")
    ours, theirs = socket.socketpair()
    theirs.settimeout(30)

    with ours, theirs, ThreadPoolExecutor(1) as pool:
        cutting = pool.submit(_cut, [connection], [reading])
        connection.sock = ours

        assert theirs.recv(1) == b""
        reading.set_result(list)
        cutting.result(30)


def test_ctrl_c_ends_it_while_connections_wait_for_answers() -> None:
    waiting, free = threading.Event(), threading.Event()

    def say(head: bytes, _body: bytes) -> list[bytes]:
        if head.startswith(b"POST") or len(server.heads) < 4:
            return [told(200, json.dumps([item()] * 2).encode(), Content_Type="application/json")]
        waiting.set()
        free.wait(60)
        return []

    with saying(say) as server, subprocess.Popen([COMMAND, "bench", server.batch], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"/a\n/b\n")
        process.stdin.close()
        assert waiting.wait(30)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(20) == 130
        finally:
            free.set()
            process.kill()


def test_an_answer_that_is_none_is_not_measured(auto: Server) -> None:
    status, out, err = bench(auto.base + "/text", batch=b"/echo\n")

    assert (status, out) == (1, "")
    assert "has answered 0 of 1 request: the answer to the batch cannot be read" in err


def test_what_fails_is_told(auto: Server) -> None:
    status, out, _ = bench(auto.batch, batch=b"/echo\n" + b"/status/404\n" * 7)

    assert status == 1
    assert out.splitlines()[4:] == ["  GET /status/404 is answered with 404"] * 5 + ["  and 2 more"]


def test_what_is_answered_otherwise_in_a_batch_is_told() -> None:
    with saying(items(item(status=201))) as server:
        status, out, _ = bench("--json", server.batch, batch=b"/a\n")

    assert status == 1
    assert json.loads(out)["wrong"] == ["GET /a is answered with 201 in a batch, and with 200 by itself"]


def test_a_batch_that_is_refused_is_told(auto: Server) -> None:
    status, _, err = bench(auto.batch, batch=b"/echo\n" * 11)

    assert status == 1
    assert "The batch was answered with 413" in err
