"""Whatever an app raises, wherever it raises it, under every executor: its item fails, and nothing else does."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.executors.gate import PATIENCE
from tests.executors.members import HERE
from tests.executors.test_contract import NO_LIMITS, all_done, every_executor_here, executor_of, units_of
from tests.gateway import Item, get, post
from tests.raising import ERRORS, OfItsOwn, endless
from wsgibatch import BatchMiddleware
from wsgibatch._limits import Limits
from wsgibatch.model import Answers, Unit


class Body:
    """An answer that fails at a *place* of its way."""

    def __init__(self, place: str, error: Callable[[], BaseException]) -> None:
        self._place, self._error, self._left = place, error, 2

    def __iter__(self) -> "Body":
        return self

    def __next__(self) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise self._error() if self._place == "iteration" else StopIteration
        return b"x"

    def close(self) -> None:
        if self._place == "close":
            raise self._error()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    error = ERRORS.get(environ["PATH_INFO"].removeprefix("/"))
    place = environ["QUERY_STRING"]
    if error is not None and place == "call":
        raise error()
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    if error is not None and place == "write":
        write(b"x")
        raise error()
    return [b"fine"] if error is None else Body(place, error)


def expected(name: str, place: str) -> int:
    if place == "iteration" and name == "stop-iteration":
        return 200  # This is how an iterator ends.
    if place == "close" and isinstance(ERRORS[name](), Exception):
        return 200  # By then the answer is whole.
    return 500


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "limited": {"timeout": PATIENCE, "deadline": 2 * PATIENCE},
    "streamed": {"stream": True},
    "limited and streamed": {"timeout": PATIENCE, "deadline": 2 * PATIENCE, "stream": True},
    "lines": {},
}
every_way = pytest.mark.parametrize("way", WAYS)


def middleware_of(word: str, way: str) -> BatchMiddleware:
    settings = dict(WAYS[way])
    if not executor_of(word).can_leave:
        settings.pop("timeout", None)
    return BatchMiddleware(app, executor=HERE[word]["executor"], workers=4, max_requests=100, **settings)


def statuses(middleware: BatchMiddleware, way: str, items: list[Item]) -> list[int]:
    """What *items* were answered with, in their order."""
    if way != "lines":
        return post(middleware, items).statuses
    *answered, end = map(json.loads, post(middleware, items, HTTP_ACCEPT="application/x-ndjson").body.splitlines())
    assert (end["complete"], end["items"]) == (True, len(items))
    by_index = {item["index"]: item["status_code"] for item in answered}
    assert by_index.keys() == set(range(len(items)))
    return [by_index[index] for index in range(len(items))]


class Baseline:
    """What the process holds now, to be held against what it holds later."""

    def __init__(self) -> None:
        self._threads, self._descriptors = set(threading.enumerate()), descriptors()

    def check(self) -> None:
        for thread in set(threading.enumerate()) - self._threads:
            thread.join(PATIENCE)
        assert set(threading.enumerate()) <= self._threads
        assert descriptors() <= self._descriptors


def descriptors() -> int:
    """File descriptors that are open."""
    return len(list(Path("/dev/fd").iterdir()))


@pytest.fixture
def baseline() -> Iterator[Baseline]:
    # What is made once for good is made by now.
    for word in ("plain", "limited"):
        middleware = middleware_of("threads", word)
        post(middleware, [get("/fine")] * 4)
        middleware.close()
    yield (before := Baseline())
    before.check()


@every_executor_here
@every_way
@pytest.mark.parametrize("place", ["call", "write", "iteration", "close"])
def test_whatever_an_app_raises_fails_its_item_alone_and_leaves_nothing_behind(word: str, way: str, place: str, baseline: Baseline) -> None:
    middleware = middleware_of(word, way)
    names = [name for error in ERRORS for name in (error, "fine")]

    answered = statuses(middleware, way, [get(f"/{name}?{place}") for name in names])

    middleware.close()
    assert answered == [200 if name == "fine" else expected(name, place) for name in names]


@every_executor_here
@every_way
def test_a_write_that_fails_does_not_keep_what_stands_behind_it_from_running(word: str, way: str, baseline: Baseline) -> None:
    middleware = middleware_of(word, way)
    items = [item for name in ERRORS for item in ({"method": "POST", "url": f"/{name}?call"}, get("/fine"))]

    answered = statuses(middleware, way, items)

    middleware.close()
    assert answered == [500, 200] * len(ERRORS)


@every_executor_here
@every_way
def test_a_recursion_without_end_fails_its_item_alone(word: str, way: str) -> None:
    def deep(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/deep":
            endless()
        return app(environ, start_response)

    middleware = middleware_of(word, way)
    middleware.app = deep

    answered = statuses(middleware, way, [get("/deep"), get("/fine")] * 5)

    middleware.close()
    assert answered == [500, 200] * 5


@every_executor_here
@every_way
def test_sixty_four_batches_at_once_on_four_workers_are_all_answered(word: str, way: str, baseline: Baseline) -> None:
    middleware = middleware_of(word, way)
    answered: list[list[int]] = []
    items = [get("/fine"), get("/memory-error?call"), {"method": "POST", "url": "/fine"}, get("/fine"), get("/stop-iteration?write")]
    start = threading.Barrier(64, timeout=PATIENCE)

    def client() -> None:
        start.wait()
        answered.append(statuses(middleware, way, items * 2))

    clients = [threading.Thread(target=client) for _ in range(64)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join(PATIENCE)

    middleware.close()
    assert answered == [[200, 500, 200, 200, 500] * 2] * 64


@every_executor_here
@pytest.mark.parametrize("limits", [NO_LIMITS, Limits(timeout=PATIENCE), Limits(streamed=True)])
def test_an_error_of_our_own_is_raised_in_the_batch_rather_than_lost(word: str, limits: Limits, baseline: Baseline) -> None:
    executor = executor_of(word)

    def call(unit: Unit) -> Answers:
        raise OfItsOwn

    with pytest.raises(OfItsOwn):
        all_done(executor, call, units_of(20), limits)

    executor.close()
