"""What the executor ``gevent`` adds to what all executors do. ``test_gevent`` runs this in a process that gevent has patched."""

import contextlib
import gc
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gevent
import pytest

from tests.executors.gate import PATIENCE
from tests.executors.members import HERE
from tests.executors.test_contract import NO_LIMITS, Calling, answer_of, meet, units_of
from tests.gateway import get, post
from wsgibatch import BatchMiddleware, Group, Settings
from wsgibatch._limits import Limits, Ticket
from wsgibatch.executors.gevent import GeventExecutor
from wsgibatch.model import Answers, Unit

StartResponse = Callable[..., Any]


def served(start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"served"]


def left_by_now(middleware: BatchMiddleware) -> int:
    """Calls that were left behind, once those that were stopped have had their turn to end."""
    gevent.sleep(0)
    return middleware._endpoint.executor.left


def test_the_executor_is_among_those_that_all_tests_are_put_to_here() -> None:
    assert "gevent" in HERE


def test_settling_whether_a_unit_is_late_lets_nobody_else_run() -> None:
    ran: list[str] = []
    ticket = Ticket(units_of(1)[0], Limits())
    other = gevent.spawn(ran.append, "other")

    assert (ticket.leave(), ticket.claim(), ticket.leave(), ticket.proceed()) == (True, False, False, False)

    assert ran == []
    other.join()


def test_a_late_item_is_stopped_where_it_waits() -> None:
    stopped: list[type[BaseException]] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/late":
            try:
                threading.Event().wait()
            except BaseException as error:
                stopped.append(type(error))
                raise
        return served(start_response)

    middleware = BatchMiddleware(app, executor="gevent", timeout=0.2)

    answer = post(middleware, [get("/a"), get("/late"), get("/a")])

    assert answer.statuses == [200, 504, 200]
    assert left_by_now(middleware) == 0
    assert stopped == [gevent.GreenletExit]
    middleware.close()


def test_an_answer_that_is_late_is_closed_in_the_greenlet_that_called_the_app() -> None:
    story: list[tuple[str, int]] = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            story.append(("read", threading.get_ident()))
            threading.Event().wait()
            yield b""

        def close(self) -> None:
            story.append(("close", threading.get_ident()))

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        served(start_response)
        story.append(("call", threading.get_ident()))
        return Body()

    middleware = BatchMiddleware(app, executor="gevent", timeout=0.2)

    assert post(middleware, [get("/a")]).statuses == [504]

    assert left_by_now(middleware) == 0
    assert [what for what, _ in story] == ["call", "read", "close"]
    assert len({ident for _, ident in story}) == 1
    middleware.close()


def test_an_item_that_goes_on_although_it_is_stopped_counts_until_it_ends() -> None:
    go = threading.Event()
    ended = threading.Event()

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        with contextlib.suppress(gevent.GreenletExit):
            threading.Event().wait()
        meet(go)
        ended.set()
        return served(start_response)

    middleware = BatchMiddleware(app, executor="gevent", timeout=0.2, max_abandoned=1)
    assert post(middleware, [get("/a")]).statuses == [504]

    assert left_by_now(middleware) == 1
    assert post(middleware, [get("/a")]).status == 503
    # There is nobody to wait for.
    middleware.close()

    go.set()
    meet(ended)


def test_an_item_that_is_stopped_while_its_failure_is_logged_disturbs_no_other() -> None:
    class Handler(logging.Handler):
        """One that never comes back."""

        def emit(self, record: logging.LogRecord) -> None:
            threading.Event().wait()

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/raise":
            raise ValueError
        return served(start_response)

    handler = Handler(logging.ERROR)
    middleware = BatchMiddleware(app, executor="gevent", timeout=0.2)
    logging.getLogger("wsgibatch").addHandler(handler)
    try:
        answer = post(middleware, [get("/a"), get("/raise"), get("/a")])

        assert answer.statuses == [200, 504, 200]
        assert left_by_now(middleware) == 0
        assert post(middleware, [get("/a")]).statuses == [200]
    finally:
        logging.getLogger("wsgibatch").removeHandler(handler)
    middleware.close()


def test_a_group_that_is_late_is_stopped_and_rolled_back() -> None:
    story: list[str] = []

    @contextlib.contextmanager
    def atomic() -> Iterator[Group]:
        story.append("begin")
        try:
            yield Group()
        except BaseException:
            story.append("roll back")
            raise
        story.append("commit")

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        story.append(environ["PATH_INFO"])
        if environ["PATH_INFO"] == "/late":
            threading.Event().wait()
        return served(start_response)

    middleware = BatchMiddleware(app, executor="gevent", timeout=0.2, atomic=atomic, dialect="odata")
    group = [{"id": str(number), "method": "POST", "url": url, "atomicityGroup": "g"} for number, url in enumerate(["/a", "/late", "/b"])]

    answer = post(middleware, {"requests": group}, HTTP_ODATA_VERSION="4.01")

    assert [item["status"] for item in answer.json()["responses"]] == [504] * 3
    assert left_by_now(middleware) == 0
    assert story == ["begin", "/a", "/late", "roll back"]
    middleware.close()


def test_what_stands_behind_a_late_read_runs_all_the_same_and_what_stands_behind_a_late_write_does_not() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/late":
            threading.Event().wait()
        return served(start_response)

    middleware = BatchMiddleware(app, executor="gevent", timeout=0.2, workers=1)

    read = post(middleware, [get("/late"), get("/a"), get("/late"), get("/a")])
    write = post(middleware, [get("/a"), {"method": "POST", "url": "/late"}, get("/a")])

    assert (read.statuses, write.codes) == ([504, 200, 504, 200], ["ran", "timed-out", "not-started"])
    middleware.close()


@pytest.mark.parametrize("limits", [{}, {"timeout": PATIENCE}])
def test_all_batches_together_may_have_more_greenlets_than_one_has_workers(limits: dict[str, Any]) -> None:
    together = threading.Barrier(12 * 4, timeout=PATIENCE)

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        together.wait()
        return served(start_response)

    middleware = BatchMiddleware(app, executor="gevent", workers=4, **limits)

    batches = [gevent.spawn(post, middleware, [get("/a")] * 4) for _ in range(12)]

    assert [batch.get().statuses for batch in batches] == [[200] * 4] * 12
    middleware.close()


def test_closing_waits_for_what_still_runs() -> None:
    go, running = threading.Event(), threading.Event()
    started: list[Unit] = []
    ended: list[Unit] = []

    def call(unit: Unit) -> Answers:
        started.append(unit)
        running.set()
        meet(go)
        ended.append(unit)
        return answer_of(unit)

    executor = GeventExecutor(Settings(workers=4))
    lane = executor.open(Calling(call), NO_LIMITS)
    lane.spawn(units_of(2))
    meet(running)
    # As it is where the server gives up the greenlet of the batch.
    lane.close()
    gevent.spawn(go.set)

    executor.close()

    assert ended == started != []


def test_no_greenlet_is_there_any_more_once_all_batches_are_answered_and_the_executor_is_closed() -> None:
    def greenlets() -> int:
        gc.collect()
        return sum(isinstance(found, gevent.Greenlet) and not found.dead for found in gc.get_objects())

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/late":
            threading.Event().wait()
        return served(start_response)

    before = greenlets()
    executor = GeventExecutor(Settings(workers=4))
    plain, limited = BatchMiddleware(app, executor=executor), BatchMiddleware(app, executor=executor, timeout=0.2)

    for _ in range(5):
        assert post(plain, [get("/a")] * 10).statuses == [200] * 10
        assert post(limited, [get("/late"), *[get("/a")] * 9]).statuses == [504, *[200] * 9]
    assert left_by_now(limited) == 0
    executor.close()

    assert greenlets() == before
