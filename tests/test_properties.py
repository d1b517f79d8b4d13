"""What holds for any batch at all: each item's answer is its own, whatever stands beside it."""

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from typing import Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import strategies
from tests.apps import mirror
from tests.executors.members import EVERY, HERE, settings_of
from tests.gateway import Item, post, problem
from tests.prepared import run
from tests.stalling import meet
from wsgibatch import BatchMiddleware, Group, SubRequest
from wsgibatch.model import Late, Reference


@pytest.fixture(autouse=True, scope="module")
def silence() -> Iterator[None]:
    """Thousands of apps fail here, and all on purpose."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    for middleware in MIDDLEWARES.values():
        middleware.close()


every_executor = pytest.mark.parametrize("executor", EVERY)

methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get", "Post"])
good: st.SearchStrategy[Item] = st.fixed_dictionaries(
    {"method": methods, "url": strategies.urls, "headers": strategies.headers.map(dict), "body": st.text(max_size=20)}
)
bad: st.SearchStrategy[Item] = st.sampled_from(
    [
        {"method": "TRACE", "url": "/a"},
        {"method": "G T", "url": "/a"},
        {"method": "", "url": "/a"},
        {"method": "GET", "url": "//evil.example/"},
        {"method": "GET", "url": ""},
        {"method": "GET", "url": "/batch"},
        {"method": "GET", "url": "http://evil.example/"},
        {"method": "GET", "url": "/a", "headers": {"X\n": "a"}},
        {"method": "GET", "url": "/a", "headers": {"X-A": "a\r\nb"}},
        {"method": "GET", "url": "/a", "headers": {"A": "1", "a": "2"}},
        {"method": "GET", "url": "/deny/x"},
    ]
)
failing: st.SearchStrategy[Item] = st.sampled_from(
    [{"method": method, "url": f"/fail/{how}"} for method in ("GET", "POST") for how in ("raise", "exit", "none", "half", "header", "status")]
)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    """Mirrors all but the place in the batch and what the executor has its part in; fails in some way below ``/fail``."""
    match environ["PATH_INFO"]:
        case "/fail/raise":
            raise ValueError("a secret")
        case "/fail/exit":
            raise SystemExit("a secret")
        case "/fail/none":
            return None
        case "/fail/half":
            return half(start_response)
        case "/fail/header":
            start_response("200 OK", [("X-A", "a\r\nb")])
            return [b"x"]
        case "/fail/status":
            start_response("nonsense", [])
            return [b"x"]
    return mirror({key: value for key, value in environ.items() if key not in _UNLIKE}, start_response)


_UNLIKE = ("wsgibatch.item", "wsgi.multithread", "wsgi.multiprocess", "wsgi.errors")


def half(start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"half"
    raise ValueError("a secret")


def told(item: Item) -> Item:
    """What an item was answered, without its duration."""
    return {**item, "headers": {name: value for name, value in item["headers"].items() if name != "batch_requests.duration"}}


MIDDLEWARES = {word: BatchMiddleware(app, **settings_of(word, f"{__name__}:app", workers=3, max_requests=30, deny_paths="/deny")) for word in EVERY}


def answered(executor: str, batch: list[Item]) -> list[Item]:
    answer = post(MIDDLEWARES[executor], {"batch": batch})
    assert answer.status == 200
    assert len(answer.items) == len(batch)
    return [told(item) for item in answer.items]


@every_executor
@given(st.lists(good, max_size=20))
def test_a_well_formed_batch_has_an_answer_for_every_item(executor: str, batch: list[Item]) -> None:
    assert all(item["status_code"] == 200 for item in answered(executor, batch))


@every_executor
@given(st.data(), st.lists(good | bad | failing, min_size=1, max_size=12))
def test_the_place_of_an_item_does_not_change_its_answer(executor: str, data: st.DataObject, batch: list[Item]) -> None:
    order = data.draw(st.permutations(range(len(batch))))

    straight, permuted = answered(executor, batch), answered(executor, [batch[index] for index in order])

    assert permuted == [straight[index] for index in order]


@every_executor
@given(st.data(), st.lists(good, min_size=1, max_size=12))
def test_items_that_are_spoilt_do_not_change_the_answers_of_the_others(executor: str, data: st.DataObject, batch: list[Item]) -> None:
    places = data.draw(st.sets(st.integers(0, len(batch) - 1)))
    spoilt = [data.draw(bad | failing) if index in places else item for index, item in enumerate(batch)]

    straight, mixed = answered(executor, batch), answered(executor, spoilt)

    for index in range(len(batch)):
        assert (mixed[index] == straight[index]) is (index not in places)


@every_executor
@given(st.lists(good | bad | failing, min_size=1, max_size=12))
@settings(max_examples=50)
def test_an_item_alone_is_answered_as_it_is_among_others(executor: str, batch: list[Item]) -> None:
    assert answered(executor, batch) == [answered(executor, [item])[0] for item in batch]


@given(st.lists(good | bad | failing, max_size=12))
def test_all_executors_give_the_same_answers(batch: list[Item]) -> None:
    first, *others = (answered(word, batch) for word in MIDDLEWARES)

    for other in others:
        assert other == first


@given(st.lists(good | bad | failing, max_size=12))
def test_nothing_that_an_app_raises_is_told(batch: list[Item]) -> None:
    assert b"secret" not in post(MIDDLEWARES["sequential"], batch or {"batch": []}).body


linked = strategies.linked_items(st.sampled_from(["/made", "/found", "/deny/x", "/fail/raise", "/fail/status", "/fail/404"]), forward=True)


def stateless(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    """Makes something below the path, finds nothing at ``/fail/404``, and fails as :func:`app` does."""
    path = environ["PATH_INFO"]
    if path == "/fail/404":
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"no"]
    if path.startswith("/fail"):
        return app(environ, start_response)
    start_response("201 Created", [("Content-Type", "text/plain"), ("Location", path + "/1")])
    return [path.encode()]


@contextlib.contextmanager
def no_transaction() -> Iterator[Group]:
    yield Group()


def refer(items: list[SubRequest]) -> list[SubRequest]:
    """*items*, each that waits for another's success aimed at what that has made."""
    for item in items:
        made = next((edge.index for edge in item.after if edge.when == "succeeded"), None)
        if made is not None:
            item.late = Late(target=(Reference(made, "entity"), "/on"))
    return items


@given(linked, st.sampled_from([None, "stop", no_transaction]), st.sampled_from(["continue", "stop"]))
def test_items_that_hang_together_are_answered_the_same_by_every_executor_here_in_every_order(
    items: list[SubRequest], atomic: Any, on_error: Literal["continue", "stop"]
) -> None:
    ways = [
        [told(item) for item in run(stateless, refer([copy(item) for item in items]), on_error, **chosen, order=order, workers=3, atomic=atomic)]
        for chosen in HERE.values()
        for order in ("barrier", "free", "sequential")
    ]

    assert all(way == ways[0] for way in ways)
    assert on_error == "stop" or len(ways[0]) == len(items)


class Drawn:
    """An app that answers below ``/hang`` only when it is let go, and everything else at once."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/hang":
            meet(self.release)
        if path == "/raise":
            raise ValueError("a secret")
        start_response("404 Not Found" if path == "/missing" else "200 OK", [("Content-Type", "text/plain")])
        return [path.encode()]


drawn_items = st.builds(
    lambda method, url: {"method": method, "url": url},
    st.sampled_from(["GET", "GET", "GET", "POST"]),
    st.sampled_from(["/a", "/b", "/c", "/missing", "/raise", "//elsewhere/"]),
)
hanging = st.sampled_from([{"method": "GET", "url": "/hang"}, {"method": "POST", "url": "/hang"}])


def expected(batch: list[Item], order: str, coalesce: bool) -> list[tuple[int, str]]:
    """Status and body of each item, or in place of the body what we say ourselves."""
    plain = {"/missing": (404, "/missing"), "/raise": (500, "app-failed"), "//elsewhere/": (400, "bad-url"), "/hang": (504, "timed-out")}
    found: list[tuple[int, str]] = []
    asked: dict[str, tuple[int, str]] = {}
    over = False
    for item in batch:
        answer = plain.get(item["url"], (200, item["url"]))
        answer = (504, "not-started") if over and answer[0] != 400 else answer
        if not coalesce or item["method"] != "GET":
            asked.clear()
        else:
            # What has been asked for before is not asked for again, so that it is not too late for it either.
            answer = asked.setdefault(item["url"], answer)
        found.append(answer)
        over = over or (item["url"] == "/hang" and (order == "sequential" or (order == "barrier" and item["method"] == "POST")))
    return found


@settings(max_examples=40)
@example([], [(0, {"method": "GET", "url": "/hang"})] * 2, "sequential", None, 1, "whole", True)
@example([{"method": "GET", "url": "/a"}] * 2, [(1, {"method": "GET", "url": "/hang"})], "sequential", None, 1, "whole", True)
@given(
    st.lists(drawn_items, max_size=14),
    st.lists(st.tuples(st.integers(0, 14), hanging), max_size=2),
    st.sampled_from(["barrier", "free", "sequential"]),
    st.sampled_from([None, "sequential", "threads"]),
    st.integers(1, 4),
    st.sampled_from(["whole", "stream", "lines"]),
    st.booleans(),
)
def test_whatever_is_set_every_item_is_answered_once_and_in_its_place(
    batch: list[Item], hung: list[tuple[int, Item]], order: str, executor: str | None, workers: int, form: str, coalesce: bool
) -> None:
    if executor is None:
        # Only here may anything hang.
        for place, item in hung:
            batch = [*batch[:place], item, *batch[place:]]
    limits: dict[str, Any] = {"timeout": 0.25} if executor is None and hung else {}
    app = Drawn()
    middleware = BatchMiddleware(
        app, dialect="django", executor=executor or "threads", order=order, workers=workers, stream=form == "stream", coalesce=coalesce, **limits
    )
    with contextlib.closing(middleware):
        answer = post(middleware, batch, HTTP_ACCEPT="application/x-ndjson" if form == "lines" else "*/*")
        app.release.set()

    assert answer.status == 200
    items = answer.items if form != "lines" else [json.loads(line) for line in answer.body.splitlines()]
    if form == "lines":
        last = items.pop()
        assert last == {"complete": True, "items": len(batch), "failed": sum(item["status_code"] >= 400 for item in items)}
        items.sort(key=lambda item: item["index"])
        assert [item["index"] for item in items] == list(range(len(batch)))
    assert [(item["status_code"], problem(item).get("code", item["body"])) for item in items] == expected(batch, order, coalesce)
