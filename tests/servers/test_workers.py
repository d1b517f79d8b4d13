"""Every executor under every kind of gunicorn's workers, whether they load the app themselves or are forked from a process that has."""

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.gateway import Item, get
from tests.servers import run, wire
from tests.servers.gate import gate

KINDS = {"sync": (), "gthread": ("--threads", "4"), "gevent": ()}
"""Kinds of workers, and what they are told besides."""


class Served(NamedTuple):
    """A server with one worker."""

    base: str
    kind: str

    @property
    def executors(self) -> list[str]:
        """The executors that work in it."""
        return ["sequential", "threads", *(["gevent"] if self.kind == "gevent" else [])]


@pytest.fixture(scope="module", params=[f"{kind}{preload}" for kind in KINDS for preload in ("", " --preload")])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    kind, *preload = request.param.split()
    with run.gunicorn("--worker-class", kind, *KINDS[kind], *preload, "tests.servers.ways:site") as base:
        yield Served(base, kind)


def posted(served: Served, target: str, items: list[Item], *headers: tuple[str, str]) -> wire.Answer:
    return wire.post(served.base, json.dumps(items).encode(), *headers, target=target)


def reads_and_writes() -> list[tuple[Item, tuple[int, str]]]:
    """Items that are answered so only if each write runs in its place, and what they are to be answered."""
    note = f"/notes/{uuid.uuid4()}"
    read = get(note)

    def write(method: str, body: str = "") -> Item:
        return {"method": method, "url": note, "headers": {"Content-Type": "text/plain"}, "body": body}

    return [
        (read, (404, "")),
        (write("POST", "a"), (200, "a")),
        (read, (200, "a")),
        (read, (200, "a")),
        (write("POST", "b"), (200, "ab")),
        (read, (200, "ab")),
        (write("DELETE"), (200, "ab")),
        (read, (404, "")),
    ]


def answered(answer: wire.Answer) -> list[tuple[int, str]]:
    assert answer.status == 200, answer
    return [(item["status_code"], item["body"]) for item in json.loads(answer.body)]


@pytest.mark.parametrize("way", ["plain", "limited", "streamed"])
def test_reads_and_writes_are_answered_right(served: Served, way: str) -> None:
    for executor in served.executors:
        if (executor, way) != ("sequential", "limited"):
            items, expected = zip(*reads_and_writes(), strict=True)

            answer = posted(served, f"/{executor}/{way}", [*items])

            assert answered(answer) == [*expected], executor


def test_many_batches_at_once_are_each_answered_with_their_own(served: Served) -> None:
    batches = [(executor, [*zip(*reads_and_writes(), strict=True)]) for executor in served.executors * 8]

    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda batch: posted(served, f"/{batch[0]}/plain", [*batch[1][0]]), batches))

    assert [answered(answer) for answer in answers] == [[*expected] for _, (_, expected) in batches]


def test_lines_are_answered_where_they_are_asked_for(served: Served) -> None:
    for executor in served.executors:
        items, expected = zip(*reads_and_writes(), strict=True)

        answer = posted(served, f"/{executor}/plain", [*items], ("Accept", "application/x-ndjson"))

        *lines, end = map(json.loads, answer.body.splitlines())
        assert ("Content-Type", "application/x-ndjson") in answer.headers
        assert {line["index"]: (line["status_code"], line["body"]) for line in lines} == dict(enumerate(expected)), executor
        assert end == {"complete": True, "items": 8, "failed": 2}


def test_a_late_item_is_left_behind_and_the_others_are_answered(served: Served) -> None:
    for executor in served.executors:
        if executor != "sequential":
            answer = posted(served, f"/{executor}/limited", [get("/fine"), get("/late"), get("/fine")])

            assert [status for status, _ in answered(answer)] == [200, 504, 200], executor


@pytest.mark.parametrize("accept", ["*/*", "application/x-ndjson"])
def test_an_answer_is_sent_while_an_item_behind_it_still_runs(served: Served, accept: str) -> None:
    for executor in served.executors:
        with gate() as held:
            batch = json.dumps([get("/fine"), get(f"/gate/{held.port}")]).encode()
            headers = [*wire.head_of(batch), ("Accept", accept)]
            with wire.begun(served.base, "POST", f"/{executor}/streamed", headers, batch) as response:
                held.reached()

                first = b""
                while b"fine" not in first:
                    first += response.read1()
                held.open()
                rest = response.read()

        assert (first + rest).count(b"fine") == 2, executor


def test_gevent_in_a_worker_that_is_not_patched_fails_its_batches_only() -> None:
    with run.gunicorn("tests.servers.ways:site") as base:
        served = Served(base, "sync")

        assert posted(served, "/gevent/plain", [get("/fine")]).status == 500
        assert answered(posted(served, "/threads/plain", [get("/fine")])) == [(200, "fine")]
