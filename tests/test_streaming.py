"""Answers that are sent piece by piece, and answers in lines, through the whole middleware."""

import contextlib
import json
import queue
import re
import threading
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.apps import show
from tests.dialects.test_contract import WORDS, dialect_of, every_dialect
from tests.gateway import Answer, Item, environ_of, get, post, send
from tests.prepared import Prepared, request
from tests.servers import run, wire
from tests.servers.wire import connected
from tests.stalling import PATIENCE, TIMEOUT, Stalling, eventually, meet
from wsgibatch import BatchMiddleware, Group, SubRequest

EXECUTORS = ["sequential", "threads"]
every_executor = pytest.mark.parametrize("executor", EXECUTORS)
LINES = "application/x-ndjson"
IN_LINES = [word for word in WORDS if word != "multipart"]


@pytest.fixture
def site() -> Iterator[Stalling]:
    made = Stalling()
    yield made
    made.release.set()


@contextlib.contextmanager
def serving(app: Any, **settings: Any) -> Iterator[BatchMiddleware]:
    middleware = BatchMiddleware(app, **{"workers": 2, "max_requests": 1000, **settings})
    try:
        yield middleware
    finally:
        middleware.close()


def idle(middleware: BatchMiddleware) -> bool:
    """Have all threads of the executor ``threads`` nothing to do?"""
    crew = middleware._endpoint.executor.crews.made()  # type: ignore[attr-defined] # of threads
    found: bool = crew._idle == len(crew._threads)
    return found


class Reading:
    """A client that takes the pieces of an answer one by one."""

    def __init__(self, app: Any, batch: object, **changes: Any) -> None:
        body = batch if isinstance(batch, bytes) else json.dumps(batch).encode()
        self.headers: list[tuple[str, str]] = []
        self.taken = b""
        self.result: Any = app(environ_of(body, **changes), self._start)
        self._pieces: Iterator[bytes] = iter(self.result)

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        assert status.startswith("200"), status
        self.headers = headers
        return self._write

    def _write(self, piece: bytes) -> None:
        raise AssertionError

    def next(self) -> bytes:
        piece = next(self._pieces)
        assert piece, "an empty piece"
        self.taken += piece
        return piece

    def until(self, text: bytes) -> None:
        """Take pieces until *text* has come."""
        while text not in self.taken:
            self.next()

    def rest(self) -> bytes:
        for piece in self._pieces:
            self.taken += piece
        self.close()
        return self.taken

    def close(self) -> None:
        self.result.close()


def in_lines(app: Any, batch: object, accept: str = LINES, **changes: Any) -> list[Item]:
    """The lines of an answer."""
    body = batch if isinstance(batch, bytes) else json.dumps(batch).encode()
    answer = send(app, environ_of(body, HTTP_ACCEPT=accept, **changes))
    assert (answer.status, answer.header("Content-Type")) == (200, LINES)
    assert answer.body.endswith(b"\n")
    return [json.loads(line) for line in answer.body.splitlines()]


def written(word: str, targets: Iterable[str]) -> tuple[bytes, str]:
    """A batch of GETs in a dialect, and its content type."""
    headers, body = dialect_of(word).write([SubRequest(index, "GET", target, []) for index, target in enumerate(targets)])
    return body, dict(headers)["Content-Type"]


def alike(body: bytes) -> bytes:
    """*body* without what is another in each answer: durations and boundaries."""
    body = re.sub(rb'"batch_requests.duration":[0-9.e-]+', b"duration", body)
    return re.sub(rb"Batch-Duration: [0-9.]+|[0-9a-f]{32}", b"", body)


TARGETS = ["/a?b=c", "/bin", "/text", "/missing", "/empty", "/raise", "//batch", *(f"/{number}" for number in range(20))]


@every_dialect
@every_executor
def test_a_streamed_answer_has_the_bytes_of_a_whole_one(word: str, executor: str) -> None:
    body, content_type = written(word, TARGETS)
    answers: list[Answer] = []
    for settings in ({}, {"stream": True}):
        with serving(show, dialect=word, executor=executor, workers=3, **settings) as middleware:
            answers.append(send(middleware, environ_of(body, CONTENT_TYPE=content_type)))

    whole, streamed = answers
    assert alike(streamed.body) == alike(whole.body)
    assert streamed.status == whole.status
    named = [name for name, _ in whole.headers if name not in ("Content-Length", "Batch-Duration", "Server-Timing")]
    assert [name for name, _ in streamed.headers] == named


@every_dialect
@every_executor
def test_an_item_leaves_before_the_next_one_has_been_answered(site: Stalling, word: str, executor: str) -> None:
    body, content_type = written(word, ["/first", "/hang"])
    with serving(site, dialect=word, executor=executor, stream=True) as middleware:
        client = Reading(middleware, body, CONTENT_TYPE=content_type)

        client.until(b"first")

        assert ("/hang" in site.ran) <= (executor == "threads")
        assert not site.release.is_set()
        site.release.set()
        assert b"/hang" in client.rest()


@every_executor
def test_status_and_headers_are_known_before_the_first_item_has_been_answered(site: Stalling, executor: str) -> None:
    with serving(site, executor=executor, stream=True) as middleware:
        client = Reading(middleware, [get("/hang")])

        assert ("Content-Type", "application/json") in client.headers
        assert "Content-Length" not in dict(client.headers)
        site.release.set()
        client.rest()


def test_the_first_item_holds_up_those_behind_it(site: Stalling) -> None:
    with serving(site, executor="threads", stream=True) as middleware:
        client = Reading(middleware, [get("/hang"), get("/a"), get("/b")])
        taken: list[bytes] = []
        reader = threading.Thread(target=lambda: taken.append(client.rest()))
        reader.start()
        eventually(lambda: "/b" in site.ran)
        assert client.taken == b""

        site.release.set()

        reader.join(PATIENCE)
        assert [item["body"] for item in json.loads(taken[0])] == ["/hang", "/a", "/b"]


def large(size: int) -> Callable[..., Iterable[bytes]]:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"x" * size]

    return app


@pytest.mark.parametrize(("executor", "size"), [("sequential", 100), ("threads", 100), ("threads", 40_000), ("threads", 200_000)])
def test_a_piece_is_sent_on_once_it_has_64_kilobytes(executor: str, size: int) -> None:
    with serving(large(size), executor=executor, stream=True, workers=4, durations=False) as middleware:
        client = Reading(middleware, [get("/a")] * 100)
        pieces = [len(piece) for piece in client.result]
        client.close()

    # What is encoded in one go, 64 KB and the answer that exceeds them, may come on top of what is less.
    assert max(pieces) <= 2 * (64 << 10) + size


def test_answers_that_had_to_wait_for_their_turn_leave_in_pieces_as_well(site: Stalling) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        answered = site(environ, start_response)
        return [b"x" * 40_000, *answered]

    with serving(app, executor="threads", workers=8, stream=True) as middleware:
        client = Reading(middleware, [get("/hang"), *(get(f"/{number}") for number in range(15))])

        def release() -> None:
            eventually(lambda: "/14" in site.ran)
            site.release.set()

        releaser = threading.Thread(target=release)
        releaser.start()
        pieces = [len(piece) for piece in client.result]
        releaser.join()
        client.close()

    assert sum(pieces) > 16 * 40_000
    assert max(pieces) <= 2 * (64 << 10) + 40_000


def test_workers_run_no_further_ahead_of_the_writer_than_the_window(site: Stalling) -> None:
    with serving(site, executor="threads", workers=3, stream=True) as middleware:
        client = Reading(middleware, [get(f"/{number}") for number in range(99)])
        client.next()
        answered = client.taken.count(b"status_code")

        eventually(lambda: idle(middleware))
        assert answered < len(site.ran) <= answered + 2 * 3
        client.close()


def test_under_sequential_nothing_runs_that_is_not_asked_for(site: Stalling) -> None:
    with serving(site, stream=True) as middleware:
        client = Reading(middleware, [get(f"/{number}") for number in range(20)])
        for number in range(5):
            client.next()
            assert site.ran == [f"/{earlier}" for earlier in range(number + 1)]
        client.close()


@every_executor
def test_what_has_not_started_never_runs_when_the_client_goes_away(site: Stalling, executor: str) -> None:
    with serving(site, executor=executor, stream=True) as middleware:
        client = Reading(middleware, [get("/a"), *(get(f"/hang/{number}") for number in range(50))])
        client.until(b"/a")
        if executor == "threads":
            site.stalls(2)
        ran = list(site.ran)

        client.close()

        site.release.set()
        eventually(lambda: len(site.closed) == len(ran))
        assert next(iter(client.result), None) is None
    assert site.ran == ran


def test_what_runs_when_the_client_goes_away_is_closed_in_its_own_thread_and_counts_until_then(site: Stalling) -> None:
    with serving(site, executor="threads", stream=True, max_abandoned=2) as middleware:
        client = Reading(middleware, [get("/a"), get("/hang/1"), get("/hang/2"), get("/b")])
        client.until(b"/a")
        site.stalls(2)

        client.close()

        refused = post(middleware, [get("/c")])
        assert (refused.status, refused.header("Retry-After")) == (503, "1")
        site.release.set()
        eventually(lambda: middleware._endpoint.executor.left == 0)
        assert sorted(site.called) == sorted(site.closed)
        assert "/b" not in site.ran
        assert post(middleware, [get("/c")]).status == 200


@every_executor
def test_a_stream_that_is_never_read_runs_nothing_once_it_is_closed(site: Stalling, executor: str) -> None:
    with serving(site, executor=executor, stream=True) as middleware:
        client = Reading(middleware, [get("/a")] * 50)

        client.close()
        client.close()

        assert next(iter(client.result), None) is None
    assert len(site.ran) <= (2 * 2 if executor == "threads" else 0)


def test_a_group_does_not_commit_when_its_client_has_gone_away(site: Stalling) -> None:
    ended: list[str] = []

    @contextlib.contextmanager
    def books() -> Iterator[Group]:
        try:
            yield Group()
        except BaseException:
            ended.append("rolled back")
            raise
        ended.append("committed")

    items = [request(0, "/a"), *(request(index, f"/hang/{index}", group="g", method="POST") for index in (1, 2))]
    with serving(site, executor="threads", dialect=Prepared(items), stream=True, atomic=books) as middleware:
        client = Reading(middleware, [])
        client.until(b"/a")
        site.stalls()

        client.close()

        site.release.set()
        eventually(lambda: ended != [])
    assert ended == ["rolled back"]
    assert site.ran == ["/a", "/hang/1"]


@pytest.mark.parametrize(("executor", "most"), [("sequential", 1 << 20), ("threads", 3 << 20)])
def test_a_stream_holds_few_answers_at_a_time_however_many_there_are(executor: str, most: int) -> None:
    with serving(large(100_000), executor=executor, stream=True) as middleware:
        client = Reading(middleware, [get("/a")] * 300)
        client.next()
        tracemalloc.start()
        try:
            sent = sum(len(piece) for piece in client.result)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        client.close()

    assert sent > 29_000_000
    assert peak < most


REFUSED: dict[str, tuple[bytes, int]] = {
    "broken": (b"[", 400),
    "too many": (json.dumps([get("/a")] * 1001).encode(), 413),
}


@pytest.mark.parametrize("refused", REFUSED)
@pytest.mark.parametrize("accept", ["*/*", LINES])
def test_a_batch_that_is_refused_is_answered_with_a_whole_document(site: Stalling, refused: str, accept: str) -> None:
    body, status = REFUSED[refused]
    with serving(site, stream=True) as middleware:
        answer = send(middleware, environ_of(body, HTTP_ACCEPT=accept))

    assert (answer.status, answer.header("Content-Type")) == (status, "application/problem+json")
    assert answer.header("Content-Length") == str(len(answer.body))
    assert answer.json()["status"] == status


@every_executor
@pytest.mark.parametrize("accept", ["*/*", LINES])
def test_both_faces_keep_to_the_letter_of_wsgi(executor: str, accept: str) -> None:
    batch = [get("/a"), get("/bin"), {"method": "POST", "url": "/b", "body": "x"}, {"method": "HEAD", "url": "/a"}, get("/empty"), get("/raise")]
    with serving(validator(show), executor=executor, stream=True) as middleware:
        answer = send(validator(middleware), environ_of(json.dumps(batch).encode(), HTTP_ACCEPT=accept))
        abandoned: Any = validator(middleware)(environ_of(json.dumps(batch).encode(), HTTP_ACCEPT=accept), lambda *_: lambda _: None)
        next(iter(abandoned))
        abandoned.close()

    found = [json.loads(line) for line in answer.body.splitlines()[:-1]] if accept == LINES else answer.items
    assert sorted(item["status_code"] for item in found) == [200, 200, 200, 200, 204, 500]


@contextlib.contextmanager
def slow_site(folder: Path) -> Iterator[str]:
    """A gunicorn that has one thread for requests, so that they are served one after another."""
    arguments = ("--worker-class", "gthread", "--threads", "1", "tests.servers.site:streaming")
    with run.gunicorn(*arguments, env={"FOLDER": str(folder)}) as base:
        yield base


def asked(batch: list[Item]) -> bytes:
    body = json.dumps(batch).encode()
    head = f"POST /batch HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def test_a_real_server_sends_an_item_while_the_next_one_runs_and_stops_when_the_client_has_gone(tmp_path: Path) -> None:
    with slow_site(tmp_path) as base:
        with connected(base) as connection:
            connection.sendall(asked([get("/first"), get("/wait"), *(get(f"/{number}") for number in range(500))]))
            received = b""
            while b"/first" not in received:
                piece = connection.recv(4096)
                assert piece, "the answer ended"
                received += piece
            assert not (tmp_path / "go").exists()
        (tmp_path / "go").touch()

        # It is served when the server is done with the one before it.
        answer = wire.post(base, json.dumps([get("/second")]).encode())

        assert (answer.status, [item["body"][:7] for item in json.loads(answer.body)]) == (200, ["/second"])
    ran = (tmp_path / "ran").read_text().split()
    assert ran[:2] == ["/first", "/wait"]
    assert "/499" not in ran


# Lines.


@pytest.mark.parametrize("word", IN_LINES)
@every_executor
def test_a_line_tells_what_the_whole_answer_tells_of_an_item_and_which_one_it_is(word: str, executor: str) -> None:
    body, _ = written(word, TARGETS)
    with serving(show, dialect=word, executor=executor, durations=False) as middleware:
        *lines, last = in_lines(middleware, body)
        whole = send(middleware, environ_of(body)).json()

    told = sorted(lines, key=lambda line: line["index"])
    assert [line["index"] for line in told] == list(range(len(TARGETS)))
    if word == "aggregator":
        assert {line["route"]: line["body"] for line in told} == whole
        assert [line["status"] for line in told] == [200, 200, 200, 404, 204, 500, 400] + [200] * 20
    else:
        items = whole if isinstance(whole, list) else whole["batch" if word == "django" else "responses"]
        assert [{"index": line["index"], **item, "id": line["id"]} for line, item in zip(told, items, strict=True)] == told
    assert [line["id"] for line in told] == [str(index + 1) if word in ("graph", "odata") else None for index in range(len(TARGETS))]
    assert last == {"complete": True, "items": len(TARGETS), "failed": 3}


@pytest.mark.parametrize("name", ['"1"', "1", '"a-b"'])
def test_an_id_is_told_as_it_was_sent(site: Stalling, name: str) -> None:
    with serving(site, dialect="graph") as middleware:
        answer = send(middleware, environ_of(b'{"requests":[{"id":%b,"method":"GET","url":"/a"}]}' % name.encode(), HTTP_ACCEPT=LINES))

    line, _ = answer.body.splitlines()
    assert b',"id":%b,' % name.encode() in line


@pytest.mark.parametrize("word", ["aggregator", "graph", "odata"])
def test_an_answer_in_json_of_several_lines_stays_one_line_and_the_same_json(word: str) -> None:
    value = {"a": [1, 2], "b": "two\nlines\r"}

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(value, indent=2).replace("\n", "\r\n").encode()]

    body, _ = written(word, ["/a", "/b"])
    with serving(app, dialect=word) as middleware:
        *lines, last = in_lines(middleware, body)

    assert [line["body"] for line in lines] == [value, value]
    assert last["items"] == 2


def test_a_route_that_is_sent_twice_has_one_line_under_its_first_place(site: Stalling) -> None:
    with serving(site, dialect="aggregator") as middleware:
        *lines, last = in_lines(middleware, ["/a", "/a", "/b", "/a"])

    assert [(line["index"], line["route"]) for line in lines] == [(0, "/a"), (2, "/b")]
    assert last["items"] == 2


def test_lines_come_as_items_finish_with_a_slow_first_item_and_more_items_than_the_window(site: Stalling) -> None:
    with serving(site, executor="threads", workers=2) as middleware:
        client = Reading(middleware, [get("/hang"), *(get(f"/{number}") for number in range(1, 60))], HTTP_ACCEPT=LINES)
        while client.taken.count(b"\n") < 59:
            client.next()
        assert b'"index":0,' not in client.taken

        site.release.set()

        lines = [json.loads(line) for line in client.rest().splitlines()]
    assert sorted(line["index"] for line in lines[:-2]) == list(range(1, 60))
    assert lines[-2]["index"] == 0
    assert lines[-1] == {"complete": True, "items": 60, "failed": 0}


@every_executor
def test_a_refused_item_has_its_line_at_once(site: Stalling, executor: str) -> None:
    with serving(site, executor=executor) as middleware:
        client = Reading(middleware, [get("/hang"), get("//elsewhere/")], HTTP_ACCEPT=LINES)

        assert json.loads(client.next())["index"] == 1

        site.release.set()
        assert client.rest().count(b"\n") == 3


@every_executor
def test_the_last_line_counts_what_has_failed_of_whatever_kind(site: Stalling, executor: str) -> None:
    with serving(site, executor=executor) as middleware:
        *lines, last = in_lines(middleware, [get("/200"), get("/302"), get("/404"), get("/503"), get("//elsewhere/")])

    assert sorted(line["status_code"] for line in lines) == [200, 302, 400, 404, 503]
    assert last == {"complete": True, "items": 5, "failed": 3}


def test_a_batch_of_nothing_has_a_last_line(site: Stalling) -> None:
    with serving(site, dialect="django") as middleware:
        assert in_lines(middleware, []) == [{"complete": True, "items": 0, "failed": 0}]


def test_a_late_item_has_its_line_and_so_has_what_was_not_started(site: Stalling) -> None:
    with serving(site, executor="threads", timeout=TIMEOUT) as middleware:
        *lines, last = in_lines(middleware, [get("/a"), {"method": "POST", "url": "/hang"}, get("/b")])

    assert [(line["index"], line["status_code"]) for line in lines] == [(0, 200), (1, 504), (2, 504)]
    assert last == {"complete": True, "items": 3, "failed": 2}


@every_executor
@pytest.mark.parametrize("behind", ["/b", "//elsewhere/"])
def test_a_batch_of_odata_that_stops_has_no_line_for_what_stands_behind_its_failure(site: Stalling, executor: str, behind: str) -> None:
    targets = ["/a", "/404", "/c", behind]
    requests = [{"id": str(index), "method": "GET", "url": target} for index, target in enumerate(targets)]
    with serving(site, dialect="odata", executor=executor) as middleware:
        *lines, last = in_lines(middleware, {"requests": requests}, HTTP_PREFER="odata.continue-on-error=false")

    assert [(line["index"], line["status"]) for line in lines] == [(0, 200), (1, 404)]
    assert last == {"complete": True, "items": 2, "failed": 1}
    assert site.ran == ["/a", "/404"]


@every_executor
def test_a_batch_of_odata_that_stops_at_a_refused_item_has_its_line_last(site: Stalling, executor: str) -> None:
    requests = [{"id": str(index), "method": "GET", "url": target} for index, target in enumerate(["/a", "//elsewhere/", "/c"])]
    with serving(site, dialect="odata", executor=executor) as middleware:
        *lines, last = in_lines(middleware, {"requests": requests}, HTTP_PREFER="odata.continue-on-error=false")

    assert [(line["index"], line["status"]) for line in lines] == [(0, 200), (1, 400)]
    assert last == {"complete": True, "items": 2, "failed": 1}


@pytest.mark.parametrize(
    ("accept", "lines"),
    [
        ("application/x-ndjson", True),
        ("Application/X-NDJSON", True),
        ("application/x-ndjson, application/json;q=0.9", True),
        ("application/json;q=0.5, application/x-ndjson;q=0.8", True),
        ("application/x-ndjson, */*;q=0.1", True),
        ("application/json, application/x-ndjson;q=0.9", False),
        ("application/x-ndjson;q=0.1, application/json", False),
        ("application/x-ndjson;q=0", False),
        ("application/x-ndjson-else", False),
        ("x-ndjson", False),
        ("*/*", False),
        ("application/*", False),
        ("", False),
    ],
)
def test_lines_are_for_clients_that_rather_have_them_than_json(site: Stalling, accept: str, lines: bool) -> None:
    with serving(site) as middleware:
        answer = send(middleware, environ_of(json.dumps([get("/a")]).encode(), HTTP_ACCEPT=accept))

    assert answer.header("Content-Type") == (LINES if lines else "application/json")
    assert (answer.header("Content-Length") is None) is lines


def test_an_answer_in_lines_is_kept_by_nobody_and_taken_for_nothing_else(site: Stalling) -> None:
    with serving(site, dialect="odata") as middleware:
        answer = send(middleware, environ_of(b'{"requests":[]}', HTTP_ACCEPT=LINES))

    assert dict(answer.headers) == {
        "Content-Type": LINES,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "OData-Version": "4.01",
    }


def test_a_batch_in_multipart_is_answered_in_multipart_whatever_is_accepted(site: Stalling) -> None:
    body, content_type = written("multipart", ["/a", "/b"])
    with serving(site) as middleware:
        answer = send(middleware, environ_of(body, CONTENT_TYPE=content_type, HTTP_ACCEPT=LINES))

    assert (answer.header("Content-Type") or "").startswith("multipart/mixed;")
    assert answer.header("Content-Length") == str(len(answer.body))


@pytest.mark.parametrize("accept", [LINES, LINES.upper(), f"{LINES}, application/json;q=0.5"])
def test_what_form_the_answer_of_the_batch_has_is_no_affair_of_its_items(site: Stalling, accept: str) -> None:
    with serving(site) as middleware:
        in_lines(middleware, [get("/a"), get("/b", Accept="image/png")], accept)

    assert [environ.get("HTTP_ACCEPT") for environ in site.seen] == [None, "image/png"]


@given(st.permutations(range(20)), st.integers(1, 4), st.booleans())
def test_whatever_finishes_first_every_item_has_its_line_and_its_place(turns: list[int], workers: int, lines: bool) -> None:
    """Of the items that run, it is always the one with the lowest turn that finishes next."""
    count = len(turns)
    gates = [threading.Event() for _ in turns]
    begun: queue.SimpleQueue[int] = queue.SimpleQueue()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        index = environ["wsgibatch.item"]
        begun.put(index)
        meet(gates[index])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(index).encode()]

    with serving(app, executor="threads", workers=workers, stream=True) as middleware:
        client = Reading(middleware, [get(f"/{index}") for index in range(count)], HTTP_ACCEPT=LINES if lines else "*/*")
        reader = threading.Thread(target=client.rest)
        reader.start()
        running = [begun.get(timeout=PATIENCE) for _ in range(workers)]
        for _ in range(count):
            while not running or not begun.empty():
                running.append(begun.get(timeout=PATIENCE))
            first = min(running, key=turns.__getitem__)
            running.remove(first)
            gates[first].set()
        reader.join(PATIENCE)

    if lines:
        *told, last = [json.loads(line) for line in client.taken.splitlines()]
        assert sorted((line["index"], line["body"]) for line in told) == [(index, str(index)) for index in range(count)]
        assert last == {"complete": True, "items": count, "failed": 0}
    else:
        assert [item["body"] for item in json.loads(client.taken)] == [str(index) for index in range(count)]
