"""What crosses to where items are answered, and what comes back."""

import os
from collections.abc import Callable, Iterable
from io import BytesIO
from time import monotonic
from typing import Any

import pytest

from tests.apps import mirror
from tests.gateway import environ_of, get, post, send, shown
from wsgibatch import BatchMiddleware, SubRequest, SubResponse
from wsgibatch.executors._remote import Outcome, RemoteApp, Task, WorkerDied, run
from wsgibatch.executors.sequential import SequentialExecutor

MIRROR = "tests.apps:mirror"


class Beside(SequentialExecutor):
    """Answers items in this process, and keeps what has crossed."""

    def __init__(self, worker_app: str = MIRROR) -> None:
        self.tasks: list[Task] = []
        self.app: Any = RemoteApp(worker_app, self._run, 1 << 20)

    def _run(self, task: Task, until: float | None) -> Outcome:
        self.tasks.append(task)
        return run(*task, None if until is None else until - monotonic())


class Text(str):
    """Is no plain text."""


def test_only_plain_values_cross() -> None:
    executor = Beside()

    def before(request: SubRequest, environ: dict[str, Any]) -> None:
        environ.update(
            {"a.text": "x", "a.nothing": None, "a.tuple": (1, ("x", 2.5)), "a.body": b"x", "an.object": object(), "a.kind": Text("x"), "a.list": [1]}
        )

    [item] = post(BatchMiddleware(mirror, executor=executor, before_item=before, keep_environ=["my.object"]), [get("/a")], my__object=object()).items

    [(worker_app, environ, body, limit)] = executor.tasks
    assert (worker_app, body.read(), limit) == (MIRROR, b"", 1 << 20)
    assert (environ["a.text"], environ["a.nothing"], environ["a.tuple"], environ["a.body"]) == ("x", None, (1, ("x", 2.5)), b"x")
    assert not {"an.object", "a.kind", "a.list", "my.object", "wsgi.input", "wsgi.errors", "wsgi.file_wrapper"} & environ.keys()
    assert shown(item)["wsgi.file_wrapper"] == "type"


def test_a_worker_is_told_the_seconds_that_are_left_and_not_the_time() -> None:
    executor = Beside()

    [item] = post(BatchMiddleware(mirror, executor=executor, deadline=1000), [get("/a")]).items

    assert "wsgibatch.deadline" not in executor.tasks[0][1]
    assert shown(item)["wsgibatch.deadline"] == "float"


def test_hooks_are_called_on_this_side() -> None:
    seen: list[object] = []
    executor = Beside("no.such.module:app")

    def before(request: SubRequest, environ: dict[str, Any]) -> SubResponse:
        seen.append(environ["wsgi.input"])
        return SubResponse(299, "Asked", [], b"")

    answer = post(BatchMiddleware(mirror, executor=executor, before_item=before, after_item=lambda request, answer: seen.append(answer)), [get("/a")])

    assert answer.statuses == [299]
    assert len(seen) == 2
    assert executor.tasks == []


@pytest.mark.parametrize(("method", "tries"), [("GET", 2), ("HEAD", 2), ("OPTIONS", 2), ("POST", 1), ("PUT", 1), ("DELETE", 1), ("PATCH", 1)])
def test_what_only_reads_is_sent_once_more_when_its_worker_dies(method: str, tries: int) -> None:
    sent: list[Task] = []

    def lost(task: Task, until: float | None) -> Outcome:
        sent.append(task)
        raise WorkerDied("for a test")

    executor = Beside()
    executor.app = RemoteApp(MIRROR, lost, 1)

    answer = post(BatchMiddleware(mirror, executor=executor), [{"method": method, "url": "/a"}])

    assert answer.statuses == [502]
    assert len(sent) == tries


def test_what_is_sent_once_more_is_sent_with_its_whole_body() -> None:
    sent: list[bytes] = []

    def lost(task: Task, until: float | None) -> Outcome:
        sent.append(task[2].read())
        raise WorkerDied("for a test")

    executor = Beside()
    executor.app = RemoteApp(MIRROR, lost, 1)

    post(BatchMiddleware(mirror, executor=executor), [{"method": "GET", "url": "/a", "body": {"a": 1}}])

    assert sent == [b'{"a": 1}', b'{"a": 1}']


def test_a_stream_of_a_hook_that_can_be_read_only_once_is_sent_all_the_same() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"of the hook")
    os.close(writing)

    with os.fdopen(reading, "rb") as stream:

        def before(request: SubRequest, environ: dict[str, Any]) -> None:
            environ.update({"wsgi.input": stream, "CONTENT_LENGTH": "11"})

        [item] = post(BatchMiddleware(mirror, executor=Beside(), before_item=before), [{"method": "POST", "url": "/a"}]).items

    assert shown(item)["body"] == "of the hook"


def test_a_worker_raises_nothing_whatever_its_app_does() -> None:
    body, fault, told = run("tests.executors.test_remote:cursed", {"REQUEST_METHOD": "GET"}, BytesIO(), 10)

    assert (body, fault[0]) == (None, 500)
    assert "Cursed" in told


class Cursed(BaseException):
    """Cannot even be told."""

    def __str__(self) -> str:
        raise SystemExit


def cursed(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    raise Cursed


def test_what_comes_back_is_plain_whatever_the_app_made_it_of() -> None:
    outcome = run("tests.executors.test_remote:fancy", {"REQUEST_METHOD": "GET"}, BytesIO(), 10)

    assert outcome == (b"xy", "200 OK", [("Content-Type", "text/plain"), ("X-A", "b")])
    assert [type(part) for part in outcome] == [bytes, str, list]
    assert {type(part) for pair in outcome[2] for part in pair} == {str}


def fancy(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response(Text("200 OK"), [(Text("Content-Type"), Text("text/plain")), (Text("X-A"), Text("b"))])
    return iter([b"x", b"y"])


def test_an_app_that_is_called_by_itself_is_answered_from_elsewhere() -> None:
    answer = send(Beside().app, environ_of(b"{}", "/a", REQUEST_METHOD="PUT"))

    assert (answer.status, answer.json()["body"], answer.json()["PATH_INFO"]) == (200, "{}", "/a")
