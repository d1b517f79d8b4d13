"""Equal reads of one batch that are run once, through the whole middleware."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.executors.members import every_executor_here
from tests.gateway import Item, environ_of, get, post, send
from tests.prepared import batch_of, request, run
from tests.stalling import TIMEOUT, Stalling
from wsgibatch import BatchMiddleware, Settings, SubRequest, SubResponse
from wsgibatch._plan import make_plan
from wsgibatch.model import Edge, Late, Reference

every_order = pytest.mark.parametrize("order", ["barrier", "free", "sequential"])


def answered(app: Any, batch: list[Item], **settings: Any) -> list[Item]:
    middleware = BatchMiddleware(app, **{"coalesce": True, **settings})
    try:
        return post(middleware, batch).items
    finally:
        middleware.close()


def to(url: str, method: str = "POST", body: str = "", **headers: str) -> Item:
    return {**get(url, **headers), "method": method, "body": body}


@every_executor_here
@every_order
@pytest.mark.parametrize("stream", [False, True])
def test_equal_reads_run_once_and_are_answered_each_in_its_place(executor: str, order: str, stream: bool) -> None:
    site = Stalling()

    items = answered(site, [get("/a"), get("/b"), get("/a"), get("/404"), get("/a"), get("/404")], executor=executor, order=order, stream=stream)

    assert [item["body"] for item in items] == ["/a", "/b", "/a", "/404", "/a", "/404"]
    assert [item["status_code"] for item in items] == [200, 200, 200, 404, 200, 404]
    assert Counter(site.ran) == {"/a": 1, "/b": 1, "/404": 1}


def test_without_the_setting_every_item_runs() -> None:
    site = Stalling()

    answered(site, [get("/a")] * 3, coalesce=False)

    assert site.ran == ["/a"] * 3
    assert Settings().coalesce is False


@every_executor_here
@every_order
@pytest.mark.parametrize("between", [to("/w"), to("/w", "DELETE"), to("/w", "PATCH"), to("//elsewhere/")])
def test_an_item_that_may_write_between_two_equal_reads_has_both_run(executor: str, order: str, between: Item) -> None:
    site = Stalling()

    answered(site, [get("/a"), get("/a"), between, get("/a"), get("/a")], executor=executor, order=order)

    assert Counter(site.ran)["/a"] == 2


@pytest.mark.parametrize(
    "other",
    [
        to("/a", "HEAD"),
        to("/a", "OPTIONS"),
        get("/a?"),
        get("/a?b"),
        get("/A"),
        get("/%61"),
        get("/a", Accept="text/html"),
        get("/a", Authorization="Basic YTpi"),
        to("/a", "GET", "body"),
        to("/a", "GET", Content_Type="text/plain"),
    ],
)
def test_reads_that_differ_in_anything_both_run(other: Item) -> None:
    site = Stalling()

    answered(site, [get("/a"), other])

    assert len(site.ran) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (get("/a", X_One="1", X_Two="2"), get("/a", x_two="2", x_one="1")),
        (get("/a", Accept="text/html"), get("/a", accept=" text/html ")),
        (get("/a"), get("/a", Host="elsewhere.example")),
        (to("/a", "GET", "body"), to("/a", "get", "body")),
        (to("/a", "OPTIONS"), to("/a", "OPTIONS")),
    ],
)
def test_reads_that_reach_the_app_as_the_same_run_once(one: Item, other: Item) -> None:
    site = Stalling()

    answered(site, [one, other])

    assert len(site.ran) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_equal_writes_all_run(method: str) -> None:
    site = Stalling()

    answered(site, [to("/a", method)] * 3)

    assert site.ran == ["/a"] * 3


def linked(site: Stalling, items: list[SubRequest], **settings: Any) -> list[Item]:
    return run(site, items, coalesce=True, **settings)


@every_executor_here
def test_an_item_that_waits_for_another_runs_itself(executor: Any) -> None:
    site = Stalling()

    linked(site, [request(0, "/a"), request(1, "/b"), request(2, "/a", (Edge(1),)), request(3, "/a")], executor=executor)

    assert Counter(site.ran) == {"/a": 2, "/b": 1}


@every_executor_here
def test_an_item_that_another_waits_for_runs_itself(executor: Any) -> None:
    site = Stalling()

    items = linked(site, [request(0, "/a"), request(1, "/a"), request(2, "/b", (Edge(1),)), request(3, "/a")], executor=executor)

    assert Counter(site.ran) == {"/a": 2, "/b": 1}
    assert [item["body"] for item in items] == ["/a", "/a", "/b", "/a"]


def test_an_item_that_refers_to_another_runs_itself() -> None:
    site = Stalling()
    late = Late(target=("/", Reference(0, "value", ("x",))))

    linked(site, [request(0, "/a"), request(1, "/a", (Edge(0),), late=late), request(2, "/a")])

    assert site.ran.count("/a") == 2


@every_executor_here
def test_members_of_groups_run_themselves(executor: Any) -> None:
    site = Stalling()

    linked(site, [request(0, "/a"), request(1, "/a", group="g"), request(2, "/a", group="g"), request(3, "/a")], executor=executor, atomic="stop")

    assert site.ran == ["/a"] * 3


def test_a_write_that_is_run_between_two_equal_reads_has_both_run_wherever_it_stands() -> None:
    # The second item drags the last one to the front.
    items = [request(0, "/a"), request(1, "/b", (Edge(3),)), request(2, "/a"), request(3, "/w", method="POST")]

    assert make_plan(batch_of(items), Settings(coalesce=True), concurrent=True).echoes == {}


def test_in_a_batch_that_stops_every_item_runs_itself() -> None:
    site = Stalling()

    items = run(site, [request(0, "/a"), request(1, "/a"), request(2, "/404"), request(3, "/a")], "stop", coalesce=True)

    assert site.ran == ["/a", "/a", "/404"]
    assert len(items) == 3


def test_hooks_are_called_once_for_equal_reads() -> None:
    before: list[int] = []
    after: list[int] = []

    def before_item(request: SubRequest, environ: dict[str, Any]) -> SubResponse | None:
        before.append(request.index)
        return None

    def after_item(request: SubRequest, response: SubResponse) -> None:
        after.append(request.index)
        response.headers.append(("X-After", str(len(after))))

    items = answered(Stalling(), [get("/a"), get("/b"), get("/a"), get("/a")], before_item=before_item, after_item=after_item)

    assert (before, after) == ([0, 1], [0, 1])
    assert [item["headers"]["X-After"] for item in items] == ["1", "2", "1", "1"]


def test_refused_items_that_are_equal_are_answered_each() -> None:
    site = Stalling()

    items = answered(site, [get("//elsewhere/"), get("/a"), get("//elsewhere/")])

    assert [item["status_code"] for item in items] == [400, 200, 400]


def test_equal_reads_in_different_batches_both_run() -> None:
    site = Stalling()
    middleware = BatchMiddleware(site, coalesce=True)

    post(middleware, [get("/a")])
    post(middleware, [get("/a")])

    assert site.ran == ["/a", "/a"]


def test_equal_reads_are_late_together() -> None:
    site = Stalling()

    items = answered(site, [get("/hang"), get("/a"), get("/hang")], executor="threads", workers=2, timeout=TIMEOUT)

    site.release.set()
    assert [item["status_code"] for item in items] == [504, 200, 504]
    assert site.ran.count("/hang") == 1


@every_executor_here
def test_equal_reads_have_a_line_each_however_far_they_stand_apart(executor: Any) -> None:
    site = Stalling()
    middleware = BatchMiddleware(site, coalesce=True, executor=executor, workers=2, max_requests=100)
    batch = [get("/a"), *(get(f"/b/{index % 7}") for index in range(50)), get("/a")]

    answer = send(middleware, environ_of(json.dumps(batch).encode(), HTTP_ACCEPT="application/x-ndjson"))

    middleware.close()
    *lines, last = [json.loads(line) for line in answer.body.splitlines()]
    assert sorted(line["index"] for line in lines) == list(range(52))
    assert all(line["body"] == batch[line["index"]]["url"] for line in lines)
    assert last == {"complete": True, "items": 52, "failed": 0}
    assert len(site.ran) == 8


class Counters:
    """An app whose answers depend on what was asked and on what was written before, and on nothing else."""

    def __init__(self) -> None:
        self._state: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.calls = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        with self._lock:
            self.calls += 1
            if method == "POST":
                self._state[path] += 1
            told = {**self._state, "asked": [method, path, environ["QUERY_STRING"], environ.get("HTTP_X_ONE", "")]}
        start_response("404 Not Found" if path == "/c" else "200 OK", [("Content-Type", "application/json")])
        return [json.dumps(told, sort_keys=True).encode()]


asked = st.builds(
    lambda method, path, query, header: {"method": method, "url": path + query, "headers": header},
    st.sampled_from(["GET", "GET", "GET", "HEAD", "POST"]),
    st.sampled_from(["/a", "/b", "/c", "//elsewhere/"]),
    st.sampled_from(["", "", "?x"]),
    st.sampled_from([{}, {}, {"X-One": "1"}]),
)


def told(batch: list[Item], settings: dict[str, Any], edges: list[tuple[Edge, ...]] | None = None) -> tuple[list[Item], int]:
    app = Counters()
    if edges is None:
        items = answered(app, batch, durations=False, **settings)
    else:
        requests = [
            SubRequest(index, item["method"], item["url"], list(item["headers"].items()), after=after)
            for index, (item, after) in enumerate(zip(batch, edges, strict=True))
        ]
        items = run(app, requests, durations=False, **settings)
    return items, app.calls


@every_executor_here
@given(st.lists(asked, min_size=1, max_size=20), st.sampled_from(["barrier", "sequential"]), st.booleans())
def test_coalesced_answers_are_those_of_running_every_item(executor: str, batch: list[Item], order: str, stream: bool) -> None:
    settings = {"executor": executor, "order": order, "stream": stream, "workers": 3}

    every, calls = told(batch, {**settings, "coalesce": False})
    some, fewer = told(batch, {**settings, "coalesce": True})

    assert some == every
    assert fewer <= calls


@every_executor_here
@given(st.data(), st.lists(asked, min_size=1, max_size=12))
def test_so_they_are_where_items_wait_for_each_other(executor: str, data: st.DataObject, batch: list[Item]) -> None:
    turns = data.draw(st.permutations(range(len(batch))), label="turns")
    edges: list[tuple[Edge, ...]] = []
    for index in range(len(batch)):
        others = [other for other in range(len(batch)) if turns[other] < turns[index]]
        needs = data.draw(st.lists(st.sampled_from(others), max_size=2, unique=True), label="waits for") if others and index % 3 == 0 else []
        edges.append(tuple(map(Edge, needs)))
    settings = {"executor": executor, "workers": 3, "coalesce": False}

    every, _ = told(batch, settings, edges)
    some, _ = told(batch, {**settings, "coalesce": True}, edges)

    assert some == every
