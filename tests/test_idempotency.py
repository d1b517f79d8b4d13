"""Requests that are sent again, through the whole middleware."""

import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway import Answer, environ_of, send
from tests.servers.run import gunicorn
from wsgibatch import ConfigError, StoreError
from wsgibatch._idempotency.leases import leases
from wsgibatch.idempotency import Dimensions, IdempotencyMiddleware, Policy
from wsgibatch.model import Claim, Claimed, Held, Kept
from wsgibatch.stores.memory import MemoryStore

ROOT = Path(__file__).parent.parent
ANNA = "Bearer anna"
COOKIES = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]


class Till:
    """Charges for each request that reaches it, and answers as it was told."""

    def __init__(self, status: str = "201 Created", headers: Iterable[tuple[str, str]] = (), body: Any = None) -> None:
        self.status, self.headers, self.body = status, [("Content-Type", "text/plain"), *headers], body
        self.charged: list[bytes] = []
        self.seen: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.seen.append(dict(environ))
        self.charged.append(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
        start_response(self.status, list(self.headers))
        return self.body() if callable(self.body) else [b"charge %d" % len(self.charged)]


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Watched(MemoryStore):
    """A store that tells what it is asked."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock=clock)
        self.begun: list[tuple[str, Claim]] = []
        self.held, self.renewed = threading.Event(), threading.Event()
        self.renewals: list[str] = []
        self.lasting: list[float] = []
        self.fails: set[str] = set()

    def begin(self, key: str, *arguments: Any) -> Claim:
        self._fail("begin")
        claim = super().begin(key, *arguments)
        self.begun.append((key, claim))
        if isinstance(claim, Held):
            self.held.set()
        return claim

    def renew(self, key: str, owner: str, lease: float) -> bool:
        self.renewals.append(key)
        self.renewed.set()
        self._fail("renew")
        return super().renew(key, owner, lease)

    def finish(self, key: str, owner: str, value: bytes | None, ttl: float) -> bool:
        self._fail("finish")
        self.lasting.append(ttl)
        return super().finish(key, owner, value, ttl)

    def state(self) -> str:
        """What is known of the key that was begun last."""
        claim = self.peek(self.begun[-1][0])
        return "forgotten" if claim is None else type(claim).__name__

    def _fail(self, call: str) -> None:
        if call in self.fails:
            raise StoreError(f"{call} failed")


@pytest.fixture
def store() -> Watched:
    return Watched()


@pytest.fixture
def till() -> Till:
    return Till()


def guarded(app: Any, store: Any = "memory://", policy: Any = None, **fields: Any) -> Any:
    """*app* behind the middleware, both of which are held to PEP 3333."""
    return validator(IdempotencyMiddleware(validator(app), store, policy, **fields))


def pay(app: Any, key: str | None = "k", body: bytes = b"5 EUR", **changes: Any) -> Answer:
    return send(app, environ_of(body, "/pay", **{"HTTP_AUTHORIZATION": ANNA, "HTTP_IDEMPOTENCY_KEY": key, **changes}))


def code(answer: Answer) -> str:
    """The code of a problem document; the word ``ran`` for what is none."""
    return str(answer.json()["code"]) if answer.header("Content-Type") == "application/problem+json" else "ran"


# Replies


def test_a_request_that_is_sent_again_is_answered_as_before_and_not_executed(till: Till) -> None:
    app = guarded(till)

    first, again = pay(app), pay(app, '"k"')

    assert first == (201, [("Content-Type", "text/plain")], b"charge 1")
    assert again == (201, [("Content-Type", "text/plain"), ("Idempotent-Replayed", "true"), ("Content-Length", "8")], b"charge 1")
    assert till.charged == [b"5 EUR"]


@pytest.mark.parametrize("key", ["other", None])
def test_another_key_or_none_is_another_request(till: Till, key: str | None) -> None:
    app = guarded(till)

    pay(app)

    assert pay(app, key).body == b"charge 2"


def test_one_key_of_two_clients_is_two(till: Till) -> None:
    app = guarded(till)

    pay(app)

    assert pay(app, HTTP_AUTHORIZATION="Bearer bob").body == b"charge 2"


def test_repeated_headers_are_given_out_as_they_were() -> None:
    app = guarded(Till(headers=[*COOKIES, ("X", "1"), ("x", "2")]), keep_cookies=True)

    first, again = pay(app), pay(app)

    assert again.headers[: len(first.headers)] == first.headers
    assert COOKIES[1] in first.headers


def test_cookies_are_given_out_once_where_nothing_is_said() -> None:
    app = guarded(Till(headers=COOKIES))

    assert pay(app).header("Set-Cookie") == "a=1"
    assert pay(app).header("Set-Cookie") is None


def test_an_answer_without_a_body_is_given_out_without_a_length() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("204 No Content", [])
        return []

    middleware = guarded(app)
    pay(middleware)

    assert pay(middleware) == (204, [("Idempotent-Replayed", "true")], b"")


def test_the_marker_and_the_age_are_as_the_policy_has_them(till: Till) -> None:
    app = guarded(till, replayed_header="X-Replayed", expose_age=True)
    pay(app)

    again = pay(app)

    assert again.header("X-Replayed") == "true"
    assert int(again.header("Age") or -1) >= 0


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_other_methods_reach_the_app_as_they_came(method: str) -> None:
    seen: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        seen.append(environ)
        start_response("200 OK", [])
        return []

    environ = environ_of(b"x", HTTP_IDEMPOTENCY_KEY="k", REQUEST_METHOD=method)
    send(IdempotencyMiddleware(app), environ)

    assert seen[0] is environ
    assert "wsgibatch.idempotency" not in environ


def test_a_request_without_a_key_gets_what_the_app_gave() -> None:
    given = [b"x"]
    environ = environ_of(b"x")
    stream = environ["wsgi.input"]

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        assert start_response("200 OK", [("X-Till", "7")]) is write
        return given

    def start(*arguments: Any) -> Any:
        assert arguments == ("200 OK", [("X-Till", "7")])
        return write

    write: Callable[[bytes], None] = print
    assert IdempotencyMiddleware(app)(environ, start) is given
    assert environ["wsgi.input"] is stream


def test_head_is_never_kept(till: Till) -> None:
    app = IdempotencyMiddleware(till, policy=[("HEAD", ".*", Policy(required=True))])

    pay(app, REQUEST_METHOD="HEAD")

    assert "wsgibatch.idempotency" not in till.seen[0]


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "303 See Other"])
def test_a_refusal_of_the_app_is_a_reply_as_well(status: str) -> None:
    till = Till(status)
    app = guarded(till)
    pay(app)

    assert pay(app).header("Idempotent-Replayed") == "true"
    assert len(till.charged) == 1


@pytest.mark.parametrize(
    "status",
    [
        "401 Unauthorized",
        "412 Precondition Failed",
        "417 No",
        "428 No",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "503 Service Unavailable",
    ],
)
def test_what_may_go_otherwise_next_time_is_executed_again(store: Watched, status: str) -> None:
    till = Till(status)
    app = guarded(till, store)

    assert [pay(app).body, store.state(), pay(app).body] == [b"charge 1", "forgotten", b"charge 2"]


def test_errors_may_be_final() -> None:
    app = guarded(Till("500 Oh"), on_error="store")

    assert [pay(app).body, pay(app).body] == [b"charge 1", b"charge 1"]


# Refusals


def test_a_key_can_be_required(till: Till) -> None:
    answer = pay(guarded(till, required=True), None)

    assert (answer.status, code(answer), till.charged) == (400, "key-missing", [])


@pytest.mark.parametrize("key", ["a,b", "", "é"])
def test_what_is_no_key_is_refused(till: Till, key: str) -> None:
    answer = pay(guarded(till), key)

    assert (answer.status, code(answer), till.charged) == (400, "key-invalid", [])


def test_nobody_is_refused_unless_the_policy_takes_all_for_one(till: Till) -> None:
    answer = pay(guarded(till), HTTP_AUTHORIZATION=None)

    assert (answer.status, code(answer), till.charged) == (400, "principal-missing", [])
    assert pay(guarded(till, anonymous="shared"), HTTP_AUTHORIZATION=None).status == 201


def test_nobody_is_refused_before_the_body_is_read(till: Till) -> None:
    stream = io.BytesIO(b"5 EUR")

    answer = pay(IdempotencyMiddleware(till), HTTP_AUTHORIZATION=None, wsgi__input=stream)

    assert (code(answer), stream.tell()) == ("principal-missing", 0)


@pytest.mark.parametrize("changes", [{"body": b"6 EUR"}, {"PATH_INFO": "/other"}, {"QUERY_STRING": "a=1"}, {"REQUEST_METHOD": "PATCH"}], ids=str)
def test_one_key_for_two_requests_is_refused(till: Till, changes: dict[str, Any]) -> None:
    app = guarded(till)
    pay(app)

    answer = pay(app, **changes)

    assert (answer.status, code(answer), answer.json()["key"]) == (422, "key-reused", "k")
    assert len(till.charged) == 1


class Gate:
    """An app that is entered, and left when a test opens it."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()
        self.count = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.count += 1
        number = self.count
        self.entered.set()
        assert self.open.wait(30)
        start_response("201 Created", [("Content-Type", "text/plain")])
        return [b"charge %d" % number]


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def test_a_second_request_is_refused_while_the_first_one_runs(gate: Gate, pool: ThreadPoolExecutor) -> None:
    app = guarded(gate)
    first = pool.submit(pay, app)
    assert gate.entered.wait(30)

    answer = pay(app)

    assert (answer.status, code(answer), answer.header("Retry-After")) == (409, "in-flight", "5")
    other = pay(app, body=b"6 EUR")
    assert (other.status, code(other), other.header("Retry-After")) == (422, "key-reused", None)
    gate.open.set()
    assert first.result(30).body == b"charge 1"
    assert pay(app).header("Idempotent-Replayed") == "true"


def test_a_second_request_may_wait_for_the_first(gate: Gate, pool: ThreadPoolExecutor, store: Watched) -> None:
    app = guarded(gate, store, wait=30)
    first = pool.submit(pay, app)
    assert gate.entered.wait(30)
    second = pool.submit(pay, app)
    assert store.held.wait(30)
    gate.open.set()

    assert first.result(30).header("Idempotent-Replayed") is None
    assert second.result(30).header("Idempotent-Replayed") == "true"
    assert gate.count == 1


@pytest.mark.parametrize("prefer", ["wait=0", "respond-async, wait=0", 'wait="0"'])
def test_a_client_may_wait_less(gate: Gate, pool: ThreadPoolExecutor, prefer: str) -> None:
    app = guarded(gate, wait=10_000)
    first = pool.submit(pay, app)
    assert gate.entered.wait(30)

    assert code(pay(app, HTTP_PREFER=prefer)) == "in-flight"
    gate.open.set()
    first.result(30)


def test_a_client_cannot_wait_longer(gate: Gate, pool: ThreadPoolExecutor) -> None:
    app = guarded(gate, wait=0.01)
    first = pool.submit(pay, app)
    assert gate.entered.wait(30)

    assert code(pay(app, HTTP_PREFER="wait=10000")) == "in-flight"
    gate.open.set()
    first.result(30)


@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
def test_of_many_requests_at_once_one_is_executed(till: Till, pool: ThreadPoolExecutor, tmp_path: Path, scheme: str) -> None:
    app = guarded(till, "memory://" if scheme == "memory" else f"sqlite:///{tmp_path}/replies.db", wait=30)

    answers = list(pool.map(lambda _: pay(app), range(16)))

    assert {answer.body for answer in answers} == {b"charge 1"}
    assert sum(answer.header("Idempotent-Replayed") is None for answer in answers) == 1
    assert len(till.charged) == 1


def test_a_reply_may_be_refused_to_who_may_not_have_it_any_more(till: Till) -> None:
    app = guarded(till, revalidate=lambda environ: "HTTP_X_REVOKED" not in environ)
    pay(app)

    answer = pay(app, HTTP_X_REVOKED="1")

    assert (answer.status, code(answer)) == (403, "replay-refused")
    assert pay(app).status == 201
    assert len(till.charged) == 1


# Large and streamed answers


def test_of_an_answer_that_is_too_large_only_the_status_is_kept(store: Watched) -> None:
    till = Till(headers=[("Location", "/charges/1")], body=lambda: [b"x" * 6, b"y" * 6])
    app = guarded(till, store, max_body=11)

    assert pay(app).body == b"x" * 6 + b"y" * 6
    answer = pay(app)

    assert (answer.status, code(answer)) == (409, "response-not-kept")
    assert (answer.json()["original_status"], answer.json()["location"]) == (201, "/charges/1")
    assert len(till.charged) == 1


def test_an_answer_that_is_just_small_enough_is_kept_whole() -> None:
    app = guarded(Till(body=lambda: iter([b"x" * 6, b"y" * 6])), max_body=12)
    pay(app)

    assert pay(app).body == b"x" * 6 + b"y" * 6


def pieces(*chunks: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter(chunks)


def opened(app: Any, headers: list[tuple[str, Any]], **changes: Any) -> Any:
    """The answer to a payment, of which nothing is read yet."""

    def start_response(status: str, found: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        headers[:] = [(status, found)]
        return lambda data: None

    return app(environ_of(b"5 EUR", "/pay", **{"HTTP_AUTHORIZATION": ANNA, "HTTP_IDEMPOTENCY_KEY": "k", **changes}), start_response)


def test_the_last_piece_is_held_back_until_the_answer_is_kept(store: Watched) -> None:
    app = IdempotencyMiddleware(Till(body=pieces(b"a", b"", b"b", b"c", b"")), store)
    answer = opened(app, [])

    seen = [(piece, store.state()) for piece in answer]

    assert [(piece, state) for piece, state in seen if piece] == [(b"a", "Held"), (b"b", "Held"), (b"c", "Kept")]
    assert seen[0] == (b"", "Held")


@pytest.mark.parametrize("oversized", [False, True])
def test_pieces_are_passed_on_as_they_come(store: Watched, oversized: bool) -> None:
    made: list[bytes] = []

    def body() -> Iterator[bytes]:
        for piece in (b"aaa", b"bbb", b"ccc", b"ddd"):
            made.append(piece)
            yield piece

    answer = opened(IdempotencyMiddleware(Till(body=body), store, max_body=5 if oversized else 100), [])

    assert [(next(answer), len(made)) for _ in range(3)] == [(b"", 1), (b"aaa", 2), (b"bbb", 3)]
    assert store.state() == "Held"
    assert [next(answer), next(answer)] == [b"ccc", b"ddd"] or oversized
    answer.close()


@pytest.mark.parametrize("length", [None, "3"])
def test_what_is_whole_is_kept_before_the_first_byte(store: Watched, length: str | None) -> None:
    body: Any = pieces(b"a", b"bc") if length else lambda: [b"abc"]
    headers: list[Any] = []
    app = IdempotencyMiddleware(Till(headers=[("Content-Length", length)] if length else [], body=body), store)

    answer = opened(app, headers)

    assert store.state() == "Kept"
    assert isinstance(answer, list)
    assert b"".join(answer) == b"abc"
    assert headers


def test_a_body_longer_than_it_said_is_streamed(store: Watched) -> None:
    till = Till(headers=[("Content-Length", "3")], body=pieces(b"aa", b"bb", b"cc"))
    app = IdempotencyMiddleware(till, store, max_body=3)

    assert pay(app).body == b"aabbcc"
    assert code(pay(app)) == "response-not-kept"


@pytest.mark.parametrize("body", [[b"abc"], pieces(b"a", b"bc")], ids=["list", "pieces"])
def test_an_answer_that_broke_off_is_not_given_out_as_if_it_were_whole(store: Watched, body: Any) -> None:
    till = Till(headers=[("Content-Length", "4")], body=body if callable(body) else lambda: body)
    app = IdempotencyMiddleware(till, store)

    assert pay(app).body == b"abc"
    assert store.state() == "forgotten"
    assert pay(app).header("Idempotent-Replayed") is None


class Body:
    """Pieces that know when they were closed."""

    def __init__(self, pieces: Iterable[bytes], closing: Callable[[], object] = lambda: None) -> None:
        self._pieces, self._closing = iter(pieces), closing
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        self.closed += 1
        self._closing()


def test_an_answer_is_closed_once_before_it_is_kept(store: Watched) -> None:
    states: list[str] = []
    body = Body([b"a", b"b"], lambda: states.append(store.state()))

    pay(guarded(Till(body=lambda: body), store))

    assert (body.closed, states, store.state()) == (1, ["Held"], "Kept")


def test_an_answer_whose_client_is_gone_is_read_on_and_kept(store: Watched) -> None:
    body = Body([b"a", b"b", b"c"])
    app = IdempotencyMiddleware(Till(body=lambda: body), store)
    answer = opened(app, [])
    next(answer)

    answer.close()

    assert (body.closed, store.state()) == (1, "Kept")
    assert pay(app).body == b"abc"


def test_an_answer_that_nobody_has_begun_to_read_is_kept(store: Watched) -> None:
    app = IdempotencyMiddleware(Till(body=pieces(b"a", b"b")), store)

    opened(app, []).close()

    assert pay(app).body == b"ab"


def endless() -> Iterator[bytes]:
    while True:
        yield b"x"


@pytest.mark.parametrize("fields", [{"max_body": 100}, {"drain_timeout": 0}], ids=str)
def test_an_answer_without_an_end_whose_client_is_gone_is_lost(fields: dict[str, Any]) -> None:
    clock = Clock()
    store = Watched(clock)
    body = Body(endless())
    app = IdempotencyMiddleware(Till(body=lambda: body), store, on_crash="fail", **fields)
    answer = opened(app, [])
    next(answer)

    answer.close()

    assert (body.closed, store.state()) == (1, "Held")
    clock.now += 31
    assert code(pay(app)) == "outcome-unknown"


def test_the_copy_of_a_large_request_is_closed_with_its_answer(store: Watched) -> None:
    till = Till(body=pieces(b"a", b"b"))

    pay(IdempotencyMiddleware(till, store), body=b"x" * (300 << 10))

    assert till.seen[0]["wsgi.input"].closed
    assert len(till.charged[0]) == 300 << 10


@given(st.lists(st.binary(max_size=8), max_size=6), st.integers(0, 30), st.integers(0, 8), st.booleans())
def test_however_an_answer_comes_it_is_passed_on_and_kept(chunks: list[bytes], limit: int, taken: int, written: bool) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        if written:
            for chunk in chunks:
                write(chunk)
            return []
        return iter(chunks)

    store = Watched()
    middleware = IdempotencyMiddleware(app, store, max_body=limit)
    whole = b"".join(chunks)

    assert pay(middleware).body == whole
    again = pay(middleware)
    assert (again.body == whole) if len(whole) <= limit else (code(again) == "response-not-kept")

    answer = opened(middleware, [], HTTP_AUTHORIZATION="Bearer bob")
    for _ in zip(range(taken), answer, strict=False):
        pass
    getattr(answer, "close", lambda: None)()
    assert store.state() == "Kept" or len(whole) > limit


# What apps do


def test_an_app_that_raises_gives_its_key_back(store: Watched) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        pay(IdempotencyMiddleware(app, store))
    assert store.state() == "forgotten"


def broken() -> Iterator[bytes]:
    yield b"a"
    raise ValueError("no")


@pytest.mark.parametrize("on_error", ["release", "store"])
def test_an_app_that_raises_in_its_answer_is_closed_and_its_key_is_given_back_or_kept(store: Watched, on_error: str) -> None:
    body = Body(broken())
    app = IdempotencyMiddleware(Till(body=lambda: body), store, on_error=on_error)

    with pytest.raises(ValueError, match="no"):
        pay(app)

    assert body.closed == 1
    assert store.state() == ("forgotten" if on_error == "release" else "Kept")
    if on_error == "store":
        assert pay(app).status == 500


def test_an_answer_that_cannot_be_closed_has_failed(store: Watched) -> None:
    def refuse() -> None:
        raise ValueError("no commit")

    body = Body([b"a"], refuse)

    with pytest.raises(ValueError, match="no commit"):
        pay(IdempotencyMiddleware(Till(body=lambda: body), store))
    assert (body.closed, store.state()) == (1, "forgotten")


def test_an_answer_whose_close_raises_stop_iteration_has_failed_and_has_not_just_come_to_its_end(store: Watched) -> None:
    def refuse() -> None:
        raise StopIteration

    body = Body([b"a"], refuse)

    with pytest.raises(RuntimeError, match="StopIteration"):
        pay(IdempotencyMiddleware(Till(body=lambda: body), store))
    assert (body.closed, store.state()) == (1, "forgotten")


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_request_that_is_interrupted_is_lost_and_not_given_back(store: Watched, error: type[BaseException]) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        raise error

    with pytest.raises(error):
        pay(IdempotencyMiddleware(app, store))
    assert store.state() == "Held"


def failing() -> Any:
    try:
        raise ValueError("an error")
    except ValueError:
        return sys.exc_info()


def test_headers_may_be_replaced_until_there_is_a_body() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        start_response("404 Not Found", [("Content-Type", "text/html")], failing())
        return [b"gone"]

    middleware = guarded(app)

    assert (pay(middleware).status, pay(middleware).status) == (404, 404)


def test_headers_may_be_replaced_after_an_empty_piece(store: Watched) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b""
        start_response("404 Not Found", [("Content-Type", "text/html")], failing())
        yield b"gone"

    middleware = guarded(app, store)

    assert (pay(middleware).status, pay(middleware).status) == (404, 404)


def test_headers_cannot_be_replaced_once_there_is_a_body(store: Watched) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"a"
        start_response("500 Oh", [("Content-Type", "text/html")], failing())
        yield b"b"

    with pytest.raises(ValueError, match="an error"):
        pay(guarded(app, store))
    assert store.state() == "forgotten"


@pytest.mark.parametrize("limit", [100, 2])
def test_what_is_written_is_passed_on_and_kept(limit: int) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"a")
        write(b"bc")
        return iter([b"d"])

    middleware = guarded(app, max_body=limit)

    assert pay(middleware).body == b"abcd"
    again = pay(middleware)
    assert again.body == b"abcd" if limit == 100 else code(again) == "response-not-kept"


def test_a_client_that_goes_while_the_app_writes_leaves_the_request_lost(store: Watched) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        write(b"abc")
        write(b"def")
        return []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        def write(data: bytes) -> None:
            raise BrokenPipeError

        return write

    environ = environ_of(b"", HTTP_AUTHORIZATION=ANNA, HTTP_IDEMPOTENCY_KEY="k")
    with pytest.raises(BrokenPipeError):
        IdempotencyMiddleware(app, store, max_body=2)(environ, start_response)
    assert store.state() == "Held"


class Wrapper:
    """A file wrapper as gunicorn's, which is a sequence and no iterator."""

    def __init__(self, file: Any, size: int = 2) -> None:
        self._file, self._size = file, size

    def __getitem__(self, index: int) -> bytes:
        if data := self._file.read(self._size):
            return bytes(data)
        raise IndexError


def test_a_file_is_copied_as_well(store: Watched) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        file = io.BytesIO(b"abcde")
        wrapped: Any = Wrapper(file) if "HTTP_X_OWN" in environ else environ["wsgi.file_wrapper"](file)
        return wrapped  # type: ignore[no-any-return]  # a sequence, as gunicorn has it

    middleware = IdempotencyMiddleware(app, store)

    for own in (None, "1"):
        changes: dict[str, Any] = {"HTTP_X_OWN": own, "HTTP_IDEMPOTENCY_KEY": f"k{own}", "wsgi.file_wrapper": lambda *_: None}
        assert [pay(middleware, **changes).body, pay(middleware, **changes).body] == [b"abcde", b"abcde"]


@pytest.mark.parametrize(
    "app",
    [
        lambda environ, start_response: [b"x"],
        lambda environ, start_response: None,
        lambda environ, start_response: [start_response("200 OK", []) and "text"],
        lambda environ, start_response: start_response("200 OK", []) and start_response("200 OK", []) and [b"x"],
    ],
    ids=["no start", "no iterable", "text", "started twice"],
)
def test_what_is_no_answer_is_not_kept(store: Watched, app: Any) -> None:
    with pytest.raises((AssertionError, TypeError)):
        pay(IdempotencyMiddleware(app, store))
    assert store.state() == "forgotten"


@pytest.mark.parametrize("header", [("X", 5), ("X", "\ud800")])
def test_an_answer_that_cannot_be_written_down_is_passed_on(store: Watched, caplog: pytest.LogCaptureFixture, header: Any) -> None:
    assert pay(IdempotencyMiddleware(Till(headers=[header]), store)).status == 201
    assert store.state() == "forgotten"
    assert "cannot be kept" in caplog.text


def test_what_the_app_is_told(store: Watched, till: Till) -> None:
    pay(guarded(till, store))

    guard = till.seen[0]["wsgibatch.idempotency"]
    claim = store.begun[0][1]
    assert isinstance(claim, Claimed)
    assert (guard.key, guard.fence, guard.owner, guard.lost) == ("k", claim.fence, claim.owner, False)


@pytest.mark.parametrize(("status", "kept"), [("201 Created", False), ("503 Busy", True)])
def test_the_app_may_say_whether_its_answer_is_kept(store: Watched, status: str, kept: bool) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgibatch.idempotency"].store(kept)
        start_response(status, [])
        return []

    pay(IdempotencyMiddleware(app, store))

    assert store.state() == ("Kept" if kept else "forgotten")


@pytest.mark.parametrize(("advice", "state"), [("no", "forgotten"), ("60", "Kept")])
def test_a_header_may_say_the_same_and_goes_no_further(store: Watched, advice: str, state: str) -> None:
    answer = pay(guarded(Till(headers=[("Idempotency-Store", advice)]), store))

    assert answer.header("Idempotency-Store") is None
    assert store.state() == state
    assert store.lasting[-1] == (60.0 if advice == "60" else 86400.0)


def test_the_app_may_say_for_how_long_its_answer_is_kept(store: Watched) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgibatch.idempotency"].ttl(5)
        start_response("200 OK", [("Idempotency-Store", "60")])
        return []

    pay(IdempotencyMiddleware(app, store, ttl=100))

    assert store.lasting == [5.0]


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(seconds: float) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgibatch.idempotency"].ttl(seconds)
        return []

    with pytest.raises(ValueError, match="is not between"):
        pay(IdempotencyMiddleware(app))


def test_a_reply_is_forgotten_when_its_time_is_over(till: Till) -> None:
    clock = Clock()
    app = guarded(till, Watched(clock), ttl=60)
    pay(app)

    clock.now += 59
    assert pay(app).body == b"charge 1"
    clock.now += 2
    assert pay(app).body == b"charge 2"


# Bodies


def test_the_app_reads_the_body_as_it_came() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        stream = environ["wsgi.input"]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [stream.readline(), b"|", *stream]

    assert pay(guarded(app), body=b"a\nb\nc").body == b"a\n|b\nc"


def test_a_body_without_a_length_is_read_where_the_server_marks_its_end() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]

    middleware = IdempotencyMiddleware(app)

    def ask(body: bytes, terminated: bool) -> Answer:
        return pay(middleware, body=body, CONTENT_LENGTH=None, wsgi__input_terminated=terminated)

    assert ask(b"abc", True).body == b"abc"
    assert code(ask(b"abd", True)) == "key-reused"
    # What no fingerprint has seen, no app sees.
    assert pay(middleware, "other", b"abc", CONTENT_LENGTH=None).body == b""


class Dripping(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        return super().read(1)


def test_a_read_may_give_less_than_it_is_asked_for(till: Till) -> None:
    pay(IdempotencyMiddleware(till), wsgi__input=Dripping(b"5 EUR"))

    assert till.charged == [b"5 EUR"]


@pytest.mark.parametrize(
    ("changes", "status", "found"),
    [
        ({"CONTENT_LENGTH": "9"}, 400, "bad-length"),
        ({"CONTENT_LENGTH": "-1"}, 400, "bad-length"),
        ({"CONTENT_LENGTH": "١"}, 400, "bad-length"),
        ({"body": b"x" * 11}, 413, "too-large"),
        ({"body": b"x" * 11, "CONTENT_LENGTH": None, "wsgi__input_terminated": True}, 413, "too-large"),
    ],
    ids=str,
)
def test_a_body_that_cannot_be_read_claims_nothing(till: Till, store: Watched, changes: dict[str, Any], status: int, found: str) -> None:
    answer = pay(IdempotencyMiddleware(till, store, max_request=10), **changes)

    assert (answer.status, code(answer)) == (status, found)
    assert (till.charged, store.begun) == ([], [])


# Derived keys and locks


def test_equal_requests_may_be_one_without_a_key(till: Till) -> None:
    app = guarded(till, derive=Dimensions(), ttl=60)

    assert [pay(app, None).body, pay(app, None).body, pay(app, None, b"6 EUR").body] == [b"charge 1", b"charge 1", b"charge 2"]


def test_reads_may_be_guarded_as_well(till: Till) -> None:
    app = guarded(till, policy=[("GET", "/pay", Policy(derive=Dimensions(principal=False), ttl=60))])

    bodies = [pay(app, None, b"", REQUEST_METHOD="GET", HTTP_AUTHORIZATION=who).body for who in (ANNA, "Bearer bob")]

    assert bodies == [b"charge 1", b"charge 1"]


def languages(policy: Policy, method: str, *spoken: str, **changes: Any) -> list[bytes]:
    """What is answered, one after another, to equal requests of people who speak these, where that is said to matter."""
    app = guarded(Till(headers=[("Vary", "Accept, accept-language")]), policy=[(method, ".*", policy)])
    return [pay(app, body=b"", REQUEST_METHOD=method, HTTP_ACCEPT_LANGUAGE=word, **{"key": None, **changes}).body for word in spoken]


def test_an_answer_to_a_read_is_given_out_to_who_asks_with_the_headers_that_it_went_by() -> None:
    policy = Policy(derive=Dimensions(), ttl=60)

    assert languages(policy, "GET", "de", "de", "en", "en") == [b"charge 1", b"charge 1", b"charge 2", b"charge 2"]


def test_what_may_be_anything_for_the_next_one_is_given_out_to_nobody() -> None:
    app = guarded(Till(headers=[("Vary", "*")]), policy=[("GET", ".*", Policy(derive=Dimensions(), ttl=60))])

    assert [pay(app, None, b"", REQUEST_METHOD="GET").body for _ in range(2)] == [b"charge 1", b"charge 2"]


def test_nothing_is_executed_twice_for_a_header_that_it_went_by() -> None:
    assert languages(Policy(derive=Dimensions(), ttl=60), "POST", "de", "en") == [b"charge 1", b"charge 1"]
    assert languages(Policy(), "GET", "de", "en", key="k") == [b"charge 1", b"charge 1"]


def charged(said: str, policy: Policy, method: str = "GET", advice: tuple[tuple[str, str], ...] = (), **changes: Any) -> int:
    """How often an app runs for two equal requests whose answers say *said* in Cache-Control."""
    till = Till(headers=[("Cache-Control", said), *advice])
    app = guarded(till, policy=[(method, ".*", policy)])
    for _ in range(2):
        pay(app, **{"key": None, "body": b"", "REQUEST_METHOD": method, **changes})
    return len(till.charged)


SHARED, ADDRESS = (Policy(derive=Dimensions(), ttl=60, anonymous=who) for who in ("shared", "address"))
OWN, ANYBODYS = Policy(derive=Dimensions(), ttl=60), Policy(derive=Dimensions(principal=False), ttl=60)
NOBODY: dict[str, Any] = {"HTTP_AUTHORIZATION": None}


@pytest.mark.parametrize("said", ["no-store", "max-age=0, No-Store"])
def test_an_answer_to_a_read_that_is_not_to_be_stored_is_not_kept(said: str) -> None:
    assert charged(said, OWN) == 2


@pytest.mark.parametrize(("policy", "changes"), [(SHARED, NOBODY), (ADDRESS, NOBODY), (ANYBODYS, {})])
def test_an_answer_for_one_client_is_not_kept_for_several(policy: Policy, changes: dict[str, Any]) -> None:
    assert charged('max-age=60, private="Set-Cookie"', policy, **changes) == 2
    assert charged("max-age=60", policy, **changes) == 1


@pytest.mark.parametrize("policy", [OWN, SHARED])
def test_an_answer_for_one_client_is_kept_for_that_client(policy: Policy) -> None:
    assert charged("private", policy) == 1


def test_what_caches_are_told_of_a_write_or_of_a_client_with_a_key_says_nothing_here() -> None:
    assert charged("no-store", OWN, "POST") == 1
    assert charged("no-store", Policy(), key="k") == 1


def test_what_the_app_says_to_us_stands_before_what_it_says_to_caches() -> None:
    assert charged("no-store", OWN, advice=(("Idempotency-Store", "60"),)) == 1


def test_nobody_who_has_sent_no_key_is_answered_by_the_app(till: Till, store: Watched) -> None:
    app = guarded(till, store, derive=Dimensions(), ttl=60, max_request=3)

    assert [pay(app, None, HTTP_AUTHORIZATION=None).status for _ in range(2)] == [201, 201]
    assert (till.charged, store.begun) == ([b"5 EUR", b"5 EUR"], [])


def test_answers_of_one_host_are_not_those_of_another() -> None:
    app = guarded(Till(), derive=Dimensions(), ttl=60)

    assert [pay(app, None, HTTP_HOST=host).body for host in ("a.example", "A.example", "b.example")] == [b"charge 1", b"charge 1", b"charge 2"]


def test_a_lock_holds_for_all_names_of_an_app(gate: Gate, pool: ThreadPoolExecutor) -> None:
    app = guarded(gate, lock=Dimensions())
    first = pool.submit(pay, app, None, HTTP_HOST="a.example")
    assert gate.entered.wait(30)

    assert code(pay(app, None, HTTP_HOST="b.example")) == "in-flight"
    gate.open.set()
    assert first.result(30).status == 201


def test_a_derived_key_does_not_stand_before_a_large_answer(store: Watched) -> None:
    app = guarded(Till(body=lambda: [b"xxx"]), store, derive=Dimensions(), ttl=60, max_body=2)

    assert [pay(app, None).body, store.state(), pay(app, None).body] == [b"xxx", "forgotten", b"xxx"]


def test_a_lock_lets_one_request_in_and_keeps_nothing(gate: Gate, pool: ThreadPoolExecutor, store: Watched) -> None:
    app = guarded(gate, store, lock=Dimensions(body=False))
    first = pool.submit(pay, app, None)
    assert gate.entered.wait(30)

    answer = pay(app, None, b"6 EUR")

    assert (answer.status, code(answer)) == (409, "in-flight")
    gate.open.set()
    assert first.result(30).body == b"charge 1"
    assert store.state() == "forgotten"
    assert pay(app, None).body == b"charge 2"


def test_a_lock_is_given_back_by_who_is_answered_as_before(till: Till, store: Watched) -> None:
    app = guarded(till, store, lock=Dimensions(body=False))

    assert [pay(app).body, pay(app).body, pay(app, "other").body] == [b"charge 1", b"charge 1", b"charge 2"]
    assert [store.peek(key) for key, claim in store.begun if isinstance(claim, Claimed)].count(None) == 3


def test_a_lock_is_given_back_by_who_is_refused(till: Till, store: Watched) -> None:
    app = guarded(till, store, lock=Dimensions(body=False))
    pay(app)

    assert code(pay(app, body=b"6 EUR")) == "key-reused"
    assert pay(app).body == b"charge 1"


# Stores that are not shared


def unshared(caplog: pytest.LogCaptureFixture) -> int:
    return caplog.text.count("this server has several processes, and memory:// is each one's own")


def test_a_memory_in_one_of_several_processes_is_warned_of_once(till: Till, caplog: pytest.LogCaptureFixture) -> None:
    app = guarded(till)

    for key in ("a", "b"):
        pay(app, key, wsgi__multiprocess=True)

    assert (unshared(caplog), caplog.records[0].levelname) == (1, "WARNING")


@pytest.mark.parametrize(("several", "key"), [(False, "k"), (True, None)])
def test_a_memory_that_nothing_depends_on_is_not_warned_of(till: Till, several: bool, key: str | None, caplog: pytest.LogCaptureFixture) -> None:
    pay(guarded(till), key, wsgi__multiprocess=several)

    assert unshared(caplog) == 0


def test_a_store_that_processes_share_is_not_warned_of(till: Till, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pay(guarded(till, f"sqlite:///{tmp_path}/replies.db"), wsgi__multiprocess=True)

    assert unshared(caplog) == 0


# Stores that fail


def test_a_store_that_is_down_is_told_of_in_one_line(till: Till, store: Watched, caplog: pytest.LogCaptureFixture) -> None:
    store.fails = {"begin"}

    pay(guarded(till, store))

    [record] = caplog.records
    assert record.getMessage() == "the store of idempotent replies failed to claim a key: begin failed"
    assert (record.levelname, record.exc_info) == ("ERROR", None)


def test_whoever_looks_for_a_fault_gets_the_traceback(till: Till, store: Watched, caplog: pytest.LogCaptureFixture) -> None:
    store.fails = {"begin"}
    caplog.set_level(logging.DEBUG, "wsgibatch")

    pay(guarded(till, store))

    assert caplog.records[0].exc_info


def test_what_a_store_has_not_foreseen_is_told_with_its_traceback(till: Till, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MemoryStore):
        def begin(self, *arguments: Any) -> Claim:
            raise KeyError(5)

    pay(guarded(till, Broken()))

    assert "failed to claim a key: 5" in caplog.text
    assert caplog.records[0].exc_info


def test_with_a_key_nothing_runs_unguarded(till: Till, store: Watched, caplog: pytest.LogCaptureFixture) -> None:
    store.fails = {"begin"}

    answer = pay(guarded(till, store))

    assert (answer.status, code(answer), answer.header("Retry-After"), till.charged) == (503, "store-unavailable", "1", [])
    assert "begin failed" in caplog.text


def test_without_a_key_of_the_client_nobody_is_stopped(till: Till, store: Watched) -> None:
    store.fails = {"begin"}
    app = IdempotencyMiddleware(till, store, derive=Dimensions(), ttl=60)

    assert pay(app, None, b"x" * (300 << 10)).status == 201
    assert till.seen[0]["wsgi.input"].closed


def test_a_lock_that_cannot_be_had_stops_everybody(till: Till, store: Watched) -> None:
    store.fails = {"begin"}

    assert code(pay(guarded(till, store, lock=Dimensions()), None)) == "store-unavailable"


def test_an_answer_that_cannot_be_kept_is_sent_all_the_same(till: Till, store: Watched, caplog: pytest.LogCaptureFixture) -> None:
    store.fails = {"finish"}

    assert pay(guarded(till, store)).body == b"charge 1"
    assert store.state() == "Held"
    assert "failed to keep a reply" in caplog.text


def test_what_cannot_be_read_in_the_store_is_never_given_out(till: Till, store: Watched) -> None:
    app = guarded(till, store)
    pay(app)
    key, claim = store.begun[-1]
    known = store.peek(key)
    assert isinstance(claim, Claimed)
    assert isinstance(known, Kept)
    fresh = Watched()
    taken = fresh.begin(key, known.fingerprint, 30, 30, "execute")
    assert isinstance(taken, Claimed)
    fresh.finish(key, taken.owner, b"junk", 60)

    answer = pay(guarded(till, fresh))

    assert (answer.status, code(answer), len(till.charged)) == (409, "outcome-unknown", 1)


# Leases


def test_a_request_that_was_lost_is_executed_again_or_refused() -> None:
    for on_crash, expected in (("execute", [b"charge 2"]), ("fail", [])):
        clock = Clock()
        store = Watched(clock)
        till = Till()

        def dying(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            raise SystemExit

        with pytest.raises(SystemExit):
            pay(IdempotencyMiddleware(dying, store))
        app = guarded(till, store, on_crash=on_crash)
        assert code(pay(app)) == "in-flight"
        clock.now += 31
        answer = pay(app)
        if expected:
            first, second = (claim for _, claim in store.begun if isinstance(claim, Claimed))
            assert second.fence > first.fence
            assert (code(answer), till.seen[0]["wsgibatch.idempotency"].fence) == ("ran", second.fence)
        else:
            assert (answer.status, code(answer), answer.header("Retry-After"), till.charged) == (409, "outcome-unknown", None, [])
        assert code(pay(app, body=b"6 EUR")) == "key-reused"


def test_an_owner_whose_lease_is_over_changes_nothing(gate: Gate, pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    store = Watched(clock)
    first = pool.submit(pay, guarded(gate, store))
    assert gate.entered.wait(30)
    clock.now += 31
    till = Till()

    second = pay(guarded(till, store))
    gate.open.set()

    assert first.result(30).body == second.body == b"charge 1"
    assert till.seen[0]["wsgibatch.idempotency"].lost is False
    again = pay(guarded(till, store))
    assert (again.header("Idempotent-Replayed"), len(till.charged)) == ("true", 1)
    assert "may have gone to another one" in caplog.text


def test_leases_are_renewed_by_one_thread(gate: Gate, pool: ThreadPoolExecutor, store: Watched) -> None:
    app = guarded(gate, store, lease=0.05)
    running = [pool.submit(pay, app, f"k{number}") for number in range(8)]

    assert store.renewed.wait(30)
    assert [thread.name for thread in threading.enumerate()].count("wsgibatch-leases") == 1
    gate.open.set()
    assert {answer.result(30).status for answer in running} == {201}
    assert pay(app, "k3").header("Idempotent-Replayed") == "true"


def test_a_renewal_that_fails_is_tried_again(gate: Gate, pool: ThreadPoolExecutor, store: Watched, caplog: pytest.LogCaptureFixture) -> None:
    store.fails = {"renew"}
    first = pool.submit(pay, guarded(gate, store, lease=0.3))
    assert store.renewed.wait(30)
    store.fails.clear()
    store.renewed.clear()

    assert store.renewed.wait(30)
    gate.open.set()
    assert first.result(30).status == 201
    assert "failed to renew a lease" in caplog.text


def test_the_app_is_told_that_its_lease_is_lost(store: Watched) -> None:
    lost = threading.Event()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        guard = environ["wsgibatch.idempotency"]
        key, _ = store.begun[-1]
        store.finish(key, guard.owner, None, 0)
        for _ in range(3000):
            if guard.lost:
                lost.set()
                break
            store.renewed.clear()
            store.renewed.wait(0.01)
        start_response("200 OK", [])
        return []

    pay(IdempotencyMiddleware(app, store, lease=0.05))

    assert lost.is_set()


def test_a_request_that_hangs_does_not_hold_its_key_for_ever(gate: Gate, pool: ThreadPoolExecutor, store: Watched) -> None:
    app = guarded(gate, store, lease=0.1, max_run=0.1, wait=30)
    first = pool.submit(pay, app)
    assert gate.entered.wait(30)
    second = pool.submit(pay, guarded(Till(), store, wait=30))

    assert second.result(30).header("Idempotent-Replayed") is None
    gate.open.set()
    assert first.result(30).status == 201


def test_nothing_is_renewed_once_it_is_answered(till: Till, store: Watched) -> None:
    watched = Watched()
    pay(guarded(till, store, lease=0.03))

    # A lease that is due later shows that the first one has been passed by.
    gate = Gate()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(pay, guarded(gate, watched, lease=0.1))
        assert watched.renewed.wait(30)
        gate.open.set()
        running.result(30)
    assert store.renewals == []


def test_a_lock_is_renewed_while_a_key_is_waited_for(gate: Gate, pool: ThreadPoolExecutor, store: Watched) -> None:
    policy = Policy(lock=Dimensions(principal=False), fingerprint=None, wait=30, lease=0.3)
    app = guarded(gate, store, policy)
    first = pool.submit(pay, app)
    assert gate.entered.wait(30)
    second = pool.submit(pay, app, body=b"another lock")
    assert store.held.wait(30)
    lock = next(key for key, claim in reversed(store.begun) if isinstance(claim, Claimed))

    for _ in range(200):
        store.renewed.clear()
        assert store.renewed.wait(30)
        if lock in store.renewals:
            break

    assert lock in store.renewals
    gate.open.set()
    assert (first.result(30).body, second.result(30).body) == (b"charge 1", b"charge 1")


def test_a_request_whose_lease_cannot_be_renewed_is_not_begun(till: Till, store: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(lease: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(leases, "hold", refuse)

    with pytest.raises(RuntimeError, match="new thread"):
        pay(IdempotencyMiddleware(till, store))
    assert (till.charged, store.state()) == ([], "forgotten")


# Processes

WORKER = """
import os, sys, time
from tests.gateway import environ_of, send
from wsgibatch.idempotency import IdempotencyMiddleware

def app(environ, start_response):
    print("fence", environ["wsgibatch.idempotency"].fence, flush=True)
    {body}
    start_response("201 Created", [])
    return [b"from " + str(os.getpid()).encode()]

def pay(key="k", **fields):
    middleware = IdempotencyMiddleware(app, {url!r}, lease=1, wait=30, **fields)
    return send(middleware, environ_of(b"5 EUR", "/pay", HTTP_AUTHORIZATION="Bearer anna", HTTP_IDEMPOTENCY_KEY=key))

{main}
"""


def process(url: str, main: str, body: str = "pass") -> subprocess.Popen[str]:
    code = WORKER.format(url=url, main=main, body=body)
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDEVMODE": "1", "PYTHONWARNINGS": "ignore:'cgi':DeprecationWarning"}
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environ)


@pytest.mark.parametrize(("on_crash", "expected"), [("execute", "ran"), ("fail", "outcome-unknown")])
def test_after_a_worker_was_killed_the_retry_executes_or_is_refused(till: Till, tmp_path: Path, on_crash: str, expected: str) -> None:
    url = f"sqlite:///{tmp_path}/replies.db"
    with process(url, "pay()", "time.sleep(60)") as worker:
        assert worker.stdout is not None
        fence = int(worker.stdout.readline().split()[1])
        assert code(pay(guarded(till, url, on_crash=on_crash))) == "in-flight"
        worker.send_signal(signal.SIGKILL)

    answer = pay(guarded(till, url, on_crash=on_crash, wait=30))

    assert code(answer) == expected
    assert [seen["wsgibatch.idempotency"].fence > fence for seen in till.seen] == [True] * len(till.charged)
    assert len(till.charged) == (1 if expected == "ran" else 0)


FORKED = """
assert pay("parent").status == 201
from wsgibatch._idempotency.leases import leases
assert leases._thread is not None
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
import threading
assert leases._thread is None and not leases._due
assert pay("parent").body.decode() == f"from {os.getppid()}"
renewed = threading.Event()
from wsgibatch.stores.sqlite import SqliteStore
renew = SqliteStore.renew
SqliteStore.renew = lambda *arguments: [renew(*arguments), renewed.set()][0]
assert pay("child", max_run=60).body.decode() == f"from {os.getpid()}"
assert renewed.is_set()
os._exit(0)
"""


def test_a_forked_process_renews_what_it_runs_and_nothing_else(tmp_path: Path) -> None:
    wait = "import builtins; e = globals().get('renewed'); e and e.wait(30)"
    with process(f"sqlite:///{tmp_path}/replies.db", FORKED, wait) as parent:
        parent.communicate(timeout=60)

    assert parent.returncode == 0


GREEN = """
from gevent import monkey
monkey.patch_all()
import os, sys, threading
from tests.gateway import environ_of, send
from wsgibatch.idempotency import IdempotencyMiddleware
from wsgibatch.stores.memory import MemoryStore

class Store(MemoryStore):
    def renew(self, key, owner, lease):
        renewals.append((os.getpid(), owner))
        renewed.set()
        return super().renew(key, owner, lease)

def app(environ, start_response):
    owners.append(environ["wsgibatch.idempotency"].owner)
    entered.set()
    assert leave.wait(30)
    start_response("201 Created", [])
    return []

def pay(key, lease):
    environ = environ_of(b"", "/pay", HTTP_AUTHORIZATION="Bearer anna", HTTP_IDEMPOTENCY_KEY=key)
    send(IdempotencyMiddleware(app, store, lease=lease), environ)

store, renewals, owners = Store(), [], []
renewed, entered, leave = threading.Event(), threading.Event(), threading.Event()
first = threading.Thread(target=pay, args=("parent", 0.3))
first.start()
assert entered.wait(30)
renewals.clear()
child = os.fork()
renewed.clear()
if child:
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert renewed.wait(30)
    leave.set()
    first.join(30)
    sys.exit(status)
entered.clear()
threading.Thread(target=pay, args=("child", 1)).start()
assert entered.wait(30) and renewed.wait(30)
leave.set()
sys.stdout.flush()
os._exit(0 if {owner for process, owner in renewals if process == os.getpid()} == {owners[-1]} else 1)
"""


def test_what_renews_the_leases_of_greenlets_renews_none_of_a_parents() -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}

    ended = subprocess.run([sys.executable, "-c", GREEN], capture_output=True, text=True, env=environ, timeout=120, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")


SITE = """
import os, time
from wsgibatch.idempotency import IdempotencyMiddleware

def till(environ, start_response):
    with open({path!r}, "a") as charges:
        charges.write(f"{{os.getpid()}}\\n")
    start_response("201 Created", [("Content-Type", "text/plain")])
    yield b"charged "
    yield environ["wsgi.input"].read()

app = IdempotencyMiddleware(till, {url!r}, wait=30)
"""


@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_of_many_requests_to_the_workers_of_a_server_one_is_executed(tmp_path: Path, pool: ThreadPoolExecutor, worker: str) -> None:
    charges = tmp_path / "charges"
    (tmp_path / "site_of_many.py").write_text(SITE.format(path=str(charges), url=f"sqlite:///{tmp_path}/replies.db"))
    options = ["--workers", "2", "--worker-class", worker, *(["--threads", "4"] if worker == "gthread" else [])]

    with gunicorn("site_of_many:app", *options, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}) as base:

        def charge(key: str) -> requests.Response:
            return requests.post(f"{base}/pay", b"5 EUR", headers={"Authorization": ANNA, "Idempotency-Key": key}, timeout=60)

        answers = list(pool.map(charge, ["a", "b"] * 12))

    assert {(answer.status_code, answer.content) for answer in answers} == {(201, b"charged 5 EUR")}
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 2
    assert len(charges.read_text().splitlines()) == 2


# What cannot work


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        (("app",), {}),
        ((print, "nowhere://"), {}),
        ((print, 5), {}),
        ((print,), {"lease": -1}),
        ((print,), {"leases": 1}),
        ((print, "memory://", 5), {}),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_at_the_start(arguments: Any, fields: Any) -> None:
    with pytest.raises(ConfigError):
        IdempotencyMiddleware(*arguments, **fields)


def test_a_middleware_can_be_closed_and_used_again(till: Till, tmp_path: Path) -> None:
    app = IdempotencyMiddleware(till, f"sqlite:///{tmp_path}/replies.db")
    pay(app)

    app.close()

    assert pay(app).header("Idempotent-Replayed") == "true"
    app.close()


def test_a_problem_is_told_as_the_policy_has_it(till: Till) -> None:
    answer = pay(guarded(till, required=True, problem_base="https://shop.example/", docs="https://shop.example/docs"), None)

    assert json.loads(answer.body)["type"] == "https://shop.example/key-missing"
    assert answer.header("Link") == '<https://shop.example/docs>; rel="describedby"'
