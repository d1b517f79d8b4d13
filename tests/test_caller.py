import io
import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import Any
from wsgiref.util import FileWrapper

import pytest

from tests.gateway import environ_of
from wsgibatch import Settings, SubRequest, SubResponse
from wsgibatch._caller import Caller
from wsgibatch._limits import Limits
from wsgibatch.dialects.django import DjangoDialect

StartResponse = Callable[..., Any]
PLAIN = [("Content-Type", "text/plain")]


def asked(app: Any, item: SubRequest | None = None, outer: dict[str, Any] | None = None, **settings: Any) -> SubResponse:
    """The answer of *app* to one item."""
    caller = Caller(app, outer or environ_of(), DjangoDialect(), Settings(**settings), Limits(), concurrent=False, received=perf_counter())
    [answer] = caller.call((item or got("/a"),))
    return answer


def got(path: str = "/a", method: str = "GET", body: bytes = b"", **fields: str) -> SubRequest:
    return SubRequest(0, method, path, [], body, path=path, fields=fields)


def answering(status: object = "200 OK", headers: object = None, body: object = (b"x",)) -> Any:
    """An app that answers this, whatever it is."""

    def app(environ: dict[str, Any], start_response: StartResponse) -> Any:
        start_response(status, list(PLAIN) if headers is None else headers)
        return body

    return app


def environ_given(item: SubRequest | None = None, outer: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    """The environ that an app is given."""
    seen: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        seen.append(environ)
        start_response("200 OK", list(PLAIN))
        return []

    assert asked(app, item, outer, **settings).status == 200
    return seen[0]


# --- the environ


def test_the_environ_is_a_plain_dict_of_its_own() -> None:
    environ = environ_given(got("/a"))

    assert type(environ) is dict


def test_every_item_has_an_environ_of_its_own() -> None:
    seen: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        assert "left.behind" not in environ
        environ["left.behind"] = environ["PATH_INFO"] = "changed"
        seen.append(environ)
        start_response("200 OK", list(PLAIN))
        return []

    caller = Caller(app, environ_of(), DjangoDialect(), Settings(), Limits(), concurrent=False, received=perf_counter())

    assert [caller.call((got("/a"),))[0].status for _ in range(3)] == [200, 200, 200]
    assert len({id(environ) for environ in seen}) == 3


def test_all_keys_that_pep_3333_wants_are_there() -> None:
    wanted = ["REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL"]
    wanted += ["wsgi." + key for key in ("version", "url_scheme", "input", "errors", "multithread", "multiprocess", "run_once")]

    assert set(wanted) <= environ_given().keys()


def test_the_request_is_the_item_s_and_not_the_batch_s() -> None:
    item = SubRequest(7, "PUT", "/x?y=z", [], b"body", path="/x", query="y=z", fields={"CONTENT_TYPE": "text/x", "HTTP_X_A": "1"})

    environ = environ_given(item, environ_of(b"outer", HTTP_X_A="outer", HTTP_X_B="outer"))

    assert environ["REQUEST_METHOD"] == "PUT"
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/x", "y=z")
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("text/x", "4")
    assert (environ["HTTP_X_A"], environ["HTTP_X_B"]) == ("1", "outer")
    assert environ["wsgi.input"].read() == b"body"
    assert environ["wsgibatch.item"] == 7


def test_an_item_without_a_body_has_no_content_type() -> None:
    environ = environ_given(got("/a"))

    assert "CONTENT_TYPE" not in environ
    assert "CONTENT_LENGTH" not in environ


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_an_empty_body_is_announced_where_clients_announce_it(method: str) -> None:
    assert environ_given(got("/a", method))["CONTENT_LENGTH"] == "0"


def test_the_input_ends_for_ever_where_the_body_ends() -> None:
    stream = environ_given(got("/a", "POST", b"one\ntwo\nthree"))["wsgi.input"]

    assert stream.readline(2) == b"on"
    assert stream.readline() == b"e\n"
    assert next(iter(stream)) == b"two\n"
    assert stream.read(2) == b"th"
    assert stream.readlines() == [b"ree"]
    assert [stream.read(), stream.read(5), stream.readline()] == [b"", b"", b""]


def test_the_app_may_read_to_the_end_of_its_input() -> None:
    assert environ_given()["wsgi.input_terminated"] is True


def test_the_app_gets_a_file_wrapper_that_knows_no_socket() -> None:
    outer = environ_of(wsgi__file_wrapper=object())

    wrapper = environ_given(None, outer)["wsgi.file_wrapper"]

    assert wrapper is FileWrapper
    app_closed = io.BytesIO(b"file")
    answer = asked(answering(body=wrapper(app_closed)))
    assert answer.body == b"file"
    assert app_closed.closed


@pytest.mark.parametrize("key", ["RAW_URI", "REQUEST_URI"])
def test_the_request_line_of_a_server_is_rewritten_where_it_was_told(key: str) -> None:
    item = SubRequest(0, "GET", "/a%20b?c", [], path="/a b", query="c")

    assert environ_given(item, environ_of(b"", **{key: "/batch"}))[key] == "/a%20b?c"
    assert key not in environ_given(item)


# --- what is answered


def test_chunks_are_joined_and_empty_ones_ignored() -> None:
    assert asked(answering(body=[b"", b"a", b"", b"bc", b""])).body == b"abc"


@pytest.mark.parametrize("body", [[], (), [b""], iter([]), [b"", b""]])
def test_an_answer_may_be_empty(body: Iterable[bytes]) -> None:
    answer = asked(answering(body=body))

    assert (answer.status, answer.body) == (200, b"")


def test_what_is_written_comes_before_what_is_yielded() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", list(PLAIN))
        write(b"written ")
        write(b"twice ")
        return [b"yielded"]

    assert asked(app).body == b"written twice yielded"


def test_an_app_may_only_write() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))(b"written")
        return []

    assert asked(app).body == b"written"


def test_start_response_may_be_called_when_the_first_chunk_is_made() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        yield b""
        start_response("201 Created", [("Content-Type", "text/plain"), ("X-A", "1")])
        yield b"late"

    answer = asked(app)

    assert (answer.status, answer.body) == (201, b"late")
    assert ("X-A", "1") in answer.headers


@pytest.mark.parametrize("body", [[], [b"x"], [b"", b"x"]])
def test_an_app_that_never_calls_start_response_failed(body: list[bytes]) -> None:
    assert asked(lambda environ, start_response: body).status == 500


def test_start_response_may_not_be_called_twice() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        start_response("201 Created", list(PLAIN))
        return [b"x"]

    assert asked(app).status >= 500


def test_an_error_page_takes_the_place_of_an_answer_that_has_no_bytes_yet() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("X-Old", "1")])
        yield b""
        try:
            raise LookupError("no such thing")
        except LookupError as error:
            start_response("404 Not Found", list(PLAIN), (type(error), error, error.__traceback__))
        yield b"sorry"

    answer = asked(app)

    assert (answer.status, answer.headers, answer.body) == (404, PLAIN, b"sorry")


def test_an_error_after_the_first_bytes_is_raised_again_in_the_app() -> None:
    raised: list[bool] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", list(PLAIN))
        yield b"half an answer"
        error = LookupError("no such thing")
        try:
            start_response("404 Not Found", list(PLAIN), (LookupError, error, None))
        except LookupError as again:
            raised.append(again is error)
            raise

    answer = asked(app)

    assert raised == [True]
    assert answer.status == 500
    assert b"half" not in answer.body


def test_headers_may_be_changed_until_the_first_bytes_and_not_after() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        headers = list(PLAIN)
        start_response("200 OK", headers)
        headers.append(("X-Early", "1"))
        yield b""
        headers.append(("X-Still", "1"))
        yield b"x"
        headers.append(("X-Late", "1"))
        yield b"y"

    assert [name for name, _ in asked(app).headers] == ["Content-Type", "X-Early", "X-Still"]


def test_headers_keep_their_order_and_repetitions() -> None:
    headers = [("X-B", "1"), ("Set-Cookie", "a=1"), ("x-b", "2"), ("Set-Cookie", "b=2"), ("Content-Type", "text/plain")]

    answer = asked(answering(headers=list(headers)))

    assert answer.headers == headers
    assert answer.respelt


def test_a_reason_may_be_missing() -> None:
    answers = [asked(answering(status)) for status in ("200", "200 ", "404 Not \xfcberall")]

    assert [(answer.status, answer.reason) for answer in answers] == [(200, ""), (200, ""), (404, "Not \xfcberall")]


@pytest.mark.parametrize(
    "status",
    [
        b"200 OK",
        200,
        None,
        "",
        "OK",
        "20 OK",
        "2000 OK",
        "200OK",
        " 200 OK",
        "200 OK\r\nX: y",
        "200 OK\n",
        "200 \x00",
        "200 \u0100",
        "100 Continue",
        "101 Switching Protocols",
    ]
    + ["199 x", "600 x", "-20 x", "\u0662\u0660\u0660 OK", ["200 OK"], ("200 OK",)],
)
def test_a_status_that_is_none_spoils_the_answer(status: object) -> None:
    assert asked(answering(status)).status in (500, 502)


@pytest.mark.parametrize(
    "header",
    [
        ("X-A", "a\r\nSet-Cookie: b=1"),
        ("X-A", "a\n"),
        ("X-A", "a\x00"),
        ("X-A", "\u0100"),
        ("X-A", "\ud800"),
        ("X-A", b"bytes"),
        ("X-A", 5),
        ("X-A", None),
        (b"X-A", "a"),
        (5, "a"),
        (None, "a"),
        ("", "a"),
        ("X A", "a"),
        ("X:", "a"),
        ("X\r\n", "a"),
        ("\xdc", "a"),
        ("X-A",),
        ("X-A", "a", "b"),
        None,
        5,
    ],
)
def test_a_header_that_http_does_not_allow_spoils_the_answer(header: object) -> None:
    assert asked(answering(headers=[("Content-Type", "text/plain"), header])).status in (500, 502)


@pytest.mark.parametrize("headers", [5, [[]], {"Content-Type": "text/plain"}, "Content-Type: text/plain"])
def test_headers_that_are_no_list_of_pairs_spoil_the_answer(headers: object) -> None:
    assert asked(answering(headers=headers)).status in (500, 502)


class Marked(str):
    """Text of a framework's own kind, as its templates have it."""


def test_texts_of_a_framework_s_own_kind_become_plain_ones() -> None:
    answer = asked(answering(Marked("201 Created"), [(Marked("X-A"), Marked("1")), (Marked("Content-Type"), Marked("text/plain"))]))

    assert (answer.status, answer.reason, answer.headers) == (201, "Created", [("X-A", "1"), ("Content-Type", "text/plain")])
    assert {type(text) for text in (answer.reason, *(text for header in answer.headers for text in header))} == {str}


@pytest.mark.parametrize("body", ["text", ["text"], [b"a", "text"], b"bytes", [5], [None], [b"a", None], None, 5, [bytearray(b"a"), 5], {"a": 1}])
def test_a_body_that_is_no_iterable_of_bytes_fails(body: object) -> None:
    assert asked(answering(body=body)).status in (500, 502)


def test_every_body_that_is_no_bytes_is_told_alike() -> None:
    assert {asked(answering(body=body)).status for body in (["text"], [b"a", "text"], [5], [None])} == {502}


@pytest.mark.parametrize("name", ["Connection", "Keep-Alive", "Proxy-Authenticate", "TE", "Trailer", "transfer-encoding", "UPGRADE"])
def test_headers_of_a_connection_are_taken_out(name: str) -> None:
    assert asked(answering(headers=[*PLAIN, (name, "x")])).headers == PLAIN


@pytest.mark.parametrize("announced", [["1"], ["100"], ["3"], ["nonsense"], ["-1"], ["1", "2"], ["3", "3"]])
def test_content_length_is_that_of_the_body(announced: list[str]) -> None:
    answer = asked(answering(headers=[*PLAIN, *(("Content-Length", value) for value in announced)], body=[b"abc"]))

    assert [value for name, value in answer.headers if name == "Content-Length"] == ["3"]


def test_content_length_is_not_made_up() -> None:
    assert asked(answering(body=[b"abc"])).headers == PLAIN


def test_the_answer_to_head_keeps_its_headers_and_loses_its_body() -> None:
    closed: list[bool] = []

    class Body(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    headers = [("Content-Type", "text/plain"), ("Content-Length", "100"), ("ETag", '"a"')]

    answer = asked(answering(headers=list(headers), body=Body([b"a body"])), got("/a", "HEAD"))

    assert (answer.body, answer.headers, closed) == (b"", headers, [True])


def test_the_answer_to_head_has_no_body_even_where_the_app_takes_it_for_a_get() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        environ["REQUEST_METHOD"] = "GET"
        start_response("200 OK", list(PLAIN))
        return [b"a body"]

    assert asked(app, got("/a", "HEAD")).body == b""


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_status_without_a_body_has_none(status: str) -> None:
    assert asked(answering(status, [], [b"a body"])).body == b""


def test_an_answer_without_content_has_no_content_length() -> None:
    assert asked(answering("204 No Content", [("Content-Length", "6"), ("X-A", "1")], [b"a body"])).headers == [("X-A", "1")]


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("application/json", "json"),
        ("Application/JSON; charset=utf-8", "json"),
        ("application/problem+json", "json"),
        ("application/jsonp", "binary"),
        ("application/json-seq", "binary"),
        ("text/html", "text"),
        ("TEXT/csv; charset=latin-1", "text"),
        ("application/xml", "text"),
        ("image/svg+xml", "binary"),
        ("application/atom+xml; type=entry", "text"),
        ("application/javascript", "text"),
        ("application/octet-stream", "binary"),
        ("image/png", "binary"),
        ("", "binary"),
    ],
)
def test_the_content_type_tells_the_kind_of_a_body(content_type: str, kind: str) -> None:
    assert asked(answering(headers=[("content-type", content_type)])).kind == kind


@pytest.mark.parametrize(("coding", "kind"), [("gzip", "binary"), ("BR", "binary"), ("x, y", "binary"), ("identity", "text"), ("", "text")])
@pytest.mark.parametrize("first", [True, False])
def test_a_coded_body_is_binary_whatever_its_type(coding: str, kind: str, first: bool) -> None:
    headers = [("Content-Encoding", coding), ("Content-Type", "text/plain")]

    assert asked(answering(headers=headers if first else headers[::-1])).kind == kind


# --- limits


class Endless:
    """A body that never ends, and knows whether it was closed."""

    def __init__(self) -> None:
        self.taken, self.closed = 0, False

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.taken += 1
            yield b"x" * 1000

    def close(self) -> None:
        self.closed = True


def test_a_body_over_the_limit_is_left_and_closed() -> None:
    body = Endless()

    answer = asked(answering(body=body), max_response=10_000)

    assert (answer.status, body.taken, body.closed) == (502, 11, True)
    assert b"answer-too-large" in answer.body


def test_writing_over_the_limit_stops_the_app() -> None:
    written = 0

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        nonlocal written
        write = start_response("200 OK", list(PLAIN))
        while True:
            write(b"x" * 1000)
            written += 1

    assert asked(app, max_response=10_000).status == 502
    assert written == 10


def test_a_body_of_exactly_the_limit_is_fine() -> None:
    assert asked(answering(body=[b"x" * 10]), max_response=10).status == 200
    assert asked(answering(body=[b"x" * 11]), max_response=10).status == 502


# --- failures


class Odd(BaseException):
    """An error that is not even an Exception, and cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("a secret")
        self.lock = threading.Lock()


ERRORS = [
    Exception("a secret"),
    ValueError("a secret"),
    SystemExit("a secret"),
    KeyboardInterrupt("a secret"),
    GeneratorExit("a secret"),
    RecursionError("a secret"),
    MemoryError("a secret"),
    StopIteration("a secret"),
    UnicodeDecodeError("utf-8", b"a secret\xff", 8, 9, "a secret"),
    Odd(),
]


def raising_in(place: str, error: BaseException) -> Any:
    """An app that raises *error* when it is called, in the middle of its body, or when it is closed, or after it wrote."""

    class Body:
        def __init__(self) -> None:
            self.left = 2

        def __iter__(self) -> "Body":
            return self

        def __next__(self) -> bytes:
            self.left -= 1
            if place == "body" and not self.left:
                raise error
            if self.left < 0:
                raise StopIteration
            return b"a part"

        def close(self) -> None:
            if place == "close":
                raise error

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/a":
            start_response("200 OK", list(PLAIN))
            return [b"fine"]
        if place == "call":
            raise error
        write = start_response("200 OK", list(PLAIN))
        if place == "write":
            write(b"a part")
            raise error
        return Body()

    return app


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", ["call", "write", "body"])
def test_whatever_an_app_raises_fails_its_own_item_alone(place: str, error: BaseException) -> None:
    caller = Caller(raising_in(place, error), environ_of(), DjangoDialect(), Settings(), Limits(), concurrent=False, received=perf_counter())

    [failed] = caller.call((got("/a"),))
    [after] = caller.call((got("/b"),))

    if not (place == "body" and isinstance(error, StopIteration)):
        # StopIteration is how an iterator says that it has ended.
        assert failed.status == 500
        assert b"a part" not in failed.body
    assert b"secret" not in failed.body
    assert (after.status, after.body) == (200, b"fine")


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_answer_that_cannot_be_closed_fails_nothing_but_itself(error: BaseException) -> None:
    caller = Caller(raising_in("close", error), environ_of(), DjangoDialect(), Settings(), Limits(), concurrent=False, received=perf_counter())

    [failed] = caller.call((got("/a"),))
    [after] = caller.call((got("/b"),))

    assert failed.status == (200 if isinstance(error, Exception) else 500)
    assert b"secret" not in failed.body
    assert (after.status, after.body) == (200, b"fine")


def test_an_app_that_calls_itself_without_end_fails_its_own_item_alone() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        return app(environ, start_response)

    assert asked(app).status == 500


@pytest.mark.parametrize("place", ["call", "write", "body", "close"])
def test_a_failure_is_logged_once_with_its_traceback(place: str, caplog: pytest.LogCaptureFixture) -> None:
    asked(raising_in(place, ValueError("a secret")))

    [record] = caplog.records
    assert (record.name, record.levelno) == ("wsgibatch", logging.ERROR)
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "a secret"
    assert "a secret" not in record.getMessage()


def test_an_answer_that_is_not_valid_is_logged_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    asked(answering(headers=[("X-A", "a\nb")]))

    [record] = caplog.records
    assert record.exc_info is not None
    assert "X-A" in str(record.exc_info[1])


class Watched:
    """A body that says when its ``close`` is called, and whose iterator has another one."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.closed, self.error = 0, error

    def __iter__(self) -> Iterator[bytes]:
        yield b"x"
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("error", [None, ValueError(), SystemExit()])
def test_the_object_that_the_app_returned_is_closed_once(error: BaseException | None) -> None:
    body = Watched(error)

    asked(answering(body=body))

    assert body.closed == 1


@pytest.mark.parametrize("status", ["nonsense", "204 No Content"])
def test_it_is_closed_when_the_answer_is_not_valid_or_has_no_body(status: str) -> None:
    body = Watched()

    asked(answering(status, body=body))

    assert body.closed == 1


def test_it_is_closed_before_the_answer_is_given() -> None:
    story: list[str] = []

    class Body(Watched):
        def close(self) -> None:
            story.append("closed")

    asked(answering(body=Body()), after_item=lambda request, response: story.append("after"))

    assert story == ["closed", "after"]


# --- interruption


@pytest.fixture
def abort() -> Iterator[Callable[[], None]]:
    """Sends this process the signal that a server ends a slow worker with; its handler exits."""

    def handler(number: int, frame: object) -> None:
        raise SystemExit(1)

    before = signal.signal(signal.SIGUSR1, handler)
    yield lambda: signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_items_behind_one_that_a_signal_of_the_server_ended_are_not_started(abort: Callable[[], None]) -> None:
    ran: list[str] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        ran.append(environ["PATH_INFO"])
        if environ["PATH_INFO"] == "/slow":
            abort()
        start_response("200 OK", list(PLAIN))
        return [b"x"]

    caller = Caller(app, environ_of(), DjangoDialect(), Settings(), Limits(), concurrent=False, received=perf_counter())

    statuses = [caller.call((got(path),))[0].status for path in ("/a", "/slow", "/b", "/c")]

    assert statuses == [200, 500, 503, 503]
    assert ran == ["/a", "/slow"]


def test_items_behind_one_that_exits_by_itself_are_started() -> None:
    caller = Caller(raising_in("call", SystemExit(1)), environ_of(), DjangoDialect(), Settings(), Limits(), concurrent=False, received=perf_counter())

    assert [caller.call((got(path),))[0].status for path in ("/a", "/b")] == [500, 200]


# --- hooks


def test_the_hook_before_an_item_may_change_its_environ() -> None:
    def before(request: SubRequest, environ: dict[str, Any]) -> None:
        environ["tenant"] = request.method + request.path

    assert environ_given(got("/a"), before_item=before)["tenant"] == "GET/a"


def test_the_hook_before_an_item_may_answer_in_the_app_s_place() -> None:
    seen: list[int] = []
    answer = asked(
        answering(),
        before_item=lambda request, environ: SubResponse(429, "Too Many Requests", [("Retry-After", "5")], b"later"),
        after_item=lambda request, response: seen.append(response.status),
    )

    assert (answer.status, answer.body) == (429, b"later")
    assert seen == [429]


@pytest.mark.parametrize("hook", ["before_item", "after_item"])
def test_a_hook_that_raises_fails_the_item(hook: str) -> None:
    def broken(*arguments: object) -> None:
        raise ValueError("a secret")

    answer = asked(answering(), None, None, **{hook: broken})

    assert answer.status == 500
    assert b"secret" not in answer.body


@pytest.mark.parametrize("answered", [True, "429 Too Many Requests", (429, [], b""), object()])
def test_a_hook_that_answers_with_anything_but_an_answer_fails_the_item(answered: object) -> None:
    assert asked(answering(), before_item=lambda request, environ: answered).status == 500


@pytest.mark.parametrize(
    "answered",
    [
        SubResponse(200, "OK", [("X-A", "\ud800")], b""),
        SubResponse(200, "\ud800", [], b""),
        SubResponse(200, "OK", [("X-A", "a\r\nb")], b""),
        SubResponse(200, "OK", [("X-A", 5)], b""),  # type: ignore[list-item]
        SubResponse(200, "OK", [], "text"),  # type: ignore[arg-type]
        SubResponse(100, "Continue", [], b""),
    ],
    ids=repr,
)
def test_a_hook_s_answer_is_checked_as_the_app_s_is(answered: SubResponse) -> None:
    assert asked(answering(), before_item=lambda request, environ: answered).status in (500, 502)


def test_headers_that_a_hook_s_answer_repeats_are_all_kept() -> None:
    headers = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]

    assert asked(answering(), before_item=lambda request, environ: SubResponse(200, "OK", list(headers), b"")).headers == headers


# --- times


def test_an_item_tells_when_it_was_started_and_how_long_it_took() -> None:
    answer = asked(answering())

    assert answer.started >= 0
    assert answer.duration > 0


def test_a_unit_of_several_items_is_answered_in_its_order() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        return [environ["PATH_INFO"].encode()]

    caller = Caller(app, environ_of(), DjangoDialect(), Settings(), Limits(), concurrent=False, received=perf_counter())

    assert [answer.body for answer in caller.call(tuple(got(f"/{index}") for index in range(5)))] == [b"/0", b"/1", b"/2", b"/3", b"/4"]


def test_names_that_differ_in_case_alone_are_told_apart_whenever_they_were_seen_first() -> None:
    asked(answering(headers=[("X-Respelt", "1")]))
    asked(answering(headers=[("x-respelt", "1")]))

    assert asked(answering(headers=[("X-Respelt", "1"), ("x-respelt", "2")])).respelt


def test_a_text_in_another_charset_is_binary_unless_it_is_ascii() -> None:
    latin = [("Content-Type", "text/plain; charset=iso-8859-1")]

    assert asked(answering(headers=list(latin), body=[b"plain"])).kind == "text"
    assert asked(answering(headers=list(latin), body=["gr\xfc\xdfe".encode()])).kind == "binary"


def test_a_status_of_a_kind_of_its_own_changes_nothing_for_others() -> None:
    class Odd(str):
        def __str__(self) -> str:
            return "200 OK"

    assert asked(answering(Odd("500 Poison"))).status == 500
    assert asked(answering("200 OK")).status == 200
