"""What travels together, what is sent again, whose answer is whose: against the middleware itself, without a network."""

import json
import pickle
from collections.abc import Callable, Iterable, Sequence
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.apps import show
from tests.gateway import Answer, environ_of, send
from wsgibatch import BatchFailed, BatchMiddleware, ConfigError, MissingResponse, SubRequest, SubResponse
from wsgibatch.clients._batch import Sender, dialect_of
from wsgibatch.clients._calls import Alone, Call, More, Pause, Post, Settled, call_of
from wsgibatch.clients._refusals import limit_of, retry_after
from wsgibatch.dialects.django import DjangoDialect
from wsgibatch.errors import ClientError, Overloaded
from wsgibatch.model import Head, Headers

DIALECTS = ("multipart", "django", "graph", "odata", "aggregator", "kinto", "facebook")
every_dialect = pytest.mark.parametrize("word", DIALECTS)

Server = Callable[[Post], Answer]


class Driven:
    """Calls sent by a sender, and what was done on the way."""

    def __init__(self, sender: Sender, calls: list[Call], server: Server, piece: int = 7) -> None:
        self.settled: dict[Call, SubResponse | ClientError] = {}
        self.posts: list[tuple[int, int]] = []
        """The count of calls in each batch, and its status."""
        self.alone: list[Call] = []
        self.pauses: list[float] = []
        flow = sender.send(calls)
        told: Any = None
        pieces: list[bytes] = []
        try:
            while True:
                effect = flow.send(told)
                told = None
                if isinstance(effect, Post):
                    answer = server(effect)
                    pieces = [answer.body[start : start + piece] for start in range(0, len(answer.body), piece)]
                    self.posts.append((effect.count, answer.status))
                    told = answer.status, answer.headers
                elif isinstance(effect, More):
                    told = pieces.pop(0) if pieces else b""
                elif isinstance(effect, Alone):
                    self.alone.append(effect.call)
                    told = SubResponse(200, "OK", [], b"alone")
                elif isinstance(effect, Pause):
                    self.pauses.append(effect.seconds)
                elif isinstance(effect, Settled):
                    assert effect.call not in self.settled, "a call is settled once"
                    self.settled[effect.call] = effect.answer
        except StopIteration:
            pass

    def statuses(self, calls: list[Call]) -> list[int]:
        found = [self.settled[call] for call in calls]
        return [one.status for one in found if isinstance(one, SubResponse)]


def endpoint(word: str, app: Any = show, **settings: Any) -> Server:
    """A batch endpoint in front of *app*."""
    middleware = BatchMiddleware(app, dialect=word, **settings)

    def post(effect: Post) -> Answer:
        headers = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in effect.headers if name != "Content-Type"}
        environ = environ_of(effect.body, CONTENT_TYPE=dict(effect.headers)["Content-Type"], HTTP_HOST="shop.example")
        return send(middleware, environ | headers)

    return post


def gets(*targets: str) -> list[Call]:
    return [call_of("GET", target, [], b"") for target in targets]


def numbered(count: int) -> list[Call]:
    return gets(*(f"/{number}" for number in range(count)))


def sender(word: str, most: int | None = None, retries: int = 0) -> Sender:
    return Sender(dialect_of(word), most, retries)


def paths(driven: Driven, calls: list[Call]) -> list[str]:
    return [json.loads(found.body)["path"] for call in calls if isinstance(found := driven.settled[call], SubResponse)]


@every_dialect
@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 40), st.none() | st.integers(1, 12))
def test_every_call_is_settled_once_in_batches_that_the_server_takes(word: str, count: int, limit: int, piece: int, most: int | None) -> None:
    calls = numbered(count)

    driven = Driven(sender(word, most), calls, endpoint(word, max_requests=limit), piece)

    assert paths(driven, calls) == [f"/{number}" for number in range(count)]
    taken = [size for size, status in driven.posts if status == 200]
    assert sum(taken) == count
    assert max(taken) <= limit
    assert len(driven.posts) - len(taken) <= 1, "it is refused once"


@every_dialect
def test_an_answer_in_lines_is_settled_as_soon_as_its_line_is_there(word: str) -> None:
    calls = numbered(2)
    flow = sender(word).send(calls)
    post = next(flow)
    assert isinstance(post, Post)
    answer = endpoint(word)(post)
    assert isinstance(flow.send((answer.status, answer.headers)), More)
    first, *rest = answer.body.splitlines(keepends=True)
    effect = flow.send(first)

    if word == "multipart":
        assert isinstance(effect, More)
        return
    assert isinstance(effect, Settled)
    assert effect.call is calls[0]
    assert isinstance(flow.send(None), More)
    assert isinstance(flow.send(b"".join(rest)), Settled)


@pytest.mark.parametrize("word", DIALECTS[1:])
@pytest.mark.parametrize("cut", [1, 30, 100])
def test_an_answer_in_lines_that_is_cut_off_leaves_out_what_was_cut(word: str, cut: int) -> None:
    calls = numbered(3)
    whole = endpoint(word)

    def cutting(post: Post) -> Answer:
        answer = whole(post)
        return answer._replace(body=answer.body[:-cut])

    driven = Driven(sender(word), calls, cutting)

    missing = [found for found in driven.settled.values() if isinstance(found, MissingResponse)]
    assert len(driven.settled) == 3
    assert len(missing) == (cut == 100)
    assert all("GET /2: the answer to the batch was cut off" in str(found) for found in missing)


def dropping(server: Server, word: str) -> Server:
    """The server, losing the second answer."""

    def post(effect: Post) -> Answer:
        answer = server(Post([header for header in effect.headers if header[0] != "Accept"], effect.body, effect.route, effect.count))
        if word == "multipart":
            boundary = dict(answer.headers)["Content-Type"].partition("boundary=")[2].encode()
            parts = answer.body.split(b"--" + boundary)
            return answer._replace(body=(b"--" + boundary).join(parts[:2] + parts[3:]))
        document = answer.json()
        if word == "aggregator":
            del document["/1"]
        else:
            del document["responses"][1]
        return answer._replace(body=json.dumps(document).encode())

    return post


@pytest.mark.parametrize("word", ["multipart", "graph", "odata", "aggregator"])
def test_a_call_that_the_server_forgets_has_no_answer_and_the_others_have(word: str) -> None:
    calls = numbered(3)

    driven = Driven(sender(word), calls, dropping(endpoint(word), word))

    assert paths(driven, calls) == ["/0", "/2"]
    assert isinstance(driven.settled[calls[1]], MissingResponse)
    assert str(driven.settled[calls[1]]) == "GET /1: the server has not answered it"


def test_answers_that_only_their_place_could_tell_are_not_guessed_when_one_is_lost() -> None:
    calls = numbered(3)
    whole = endpoint("django")

    def losing(post: Post) -> Answer:
        answer = whole(Post(post.headers[:-1], post.body, post.route, post.count))
        return answer._replace(body=json.dumps(answer.items[1:]).encode())

    driven = Driven(sender("django"), calls, losing)

    assert [type(found) for found in driven.settled.values()] == [MissingResponse] * 3


def test_answers_in_another_order_are_found_by_their_ids() -> None:
    calls = numbered(3)
    whole = endpoint("multipart")

    def turning(post: Post) -> Answer:
        answer = whole(post)
        mark = b"--" + dict(answer.headers)["Content-Type"].partition("boundary=")[2].encode()
        start, *parts, end = answer.body.split(mark)
        return answer._replace(body=mark.join([start, *reversed(parts), end]))

    assert paths(Driven(sender("multipart"), calls, turning), calls) == ["/0", "/1", "/2"]


@every_dialect
def test_equal_calls_are_each_answered(word: str) -> None:
    calls = gets("/a", "/b", "/a")

    assert paths(Driven(sender(word), calls, endpoint(word)), calls) == ["/a", "/b", "/a"]


@every_dialect
def test_the_time_of_an_item_is_told(word: str) -> None:
    calls = numbered(2)
    driven = Driven(sender(word), calls, endpoint(word))

    assert all(isinstance(found, SubResponse) and found.duration > 0 for found in driven.settled.values())


@every_dialect
def test_json_with_line_breaks_stays_in_its_line(word: str) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b'{\r\n "a": "b\\n"\n}\n']

    calls = numbered(2)
    driven = Driven(sender(word), calls, endpoint(word, app))

    assert [json.loads(found.body) for found in driven.settled.values() if isinstance(found, SubResponse)] == [{"a": "b\n"}] * 2


@every_dialect
def test_too_many_bytes_are_split_as_the_server_says(word: str) -> None:
    # Some 40 bytes of each batch are around its requests.
    calls = gets(*(f"/{'x' * 400}{number}" for number in range(8)))

    driven = Driven(sender(word), calls, endpoint(word, max_body=2000))

    assert paths(driven, calls) == [call.target for call in calls]
    assert [status for _, status in driven.posts].count(413) == 1
    assert driven.alone == []


def test_a_single_call_that_is_too_large_goes_alone_and_the_others_together() -> None:
    large = call_of("POST", "/large", [("Content-Type", "text/plain")], b"x" * 3000)
    calls = [*numbered(20), large, *gets(*(f"/b{number}" for number in range(20)))]

    driven = Driven(sender("graph"), calls, endpoint("graph", max_body=2500, max_requests=100))

    assert driven.alone == [large]
    assert len(driven.settled) == 41
    assert len(driven.posts) < 20


def test_a_413_that_says_nothing_halves_the_batch() -> None:
    whole = endpoint("graph")

    def refusing(post: Post) -> Answer:
        return whole(post) if post.count <= 3 else Answer(413, [("Content-Type", "text/html")], b"<h1>Too large</h1>")

    calls = numbered(8)
    driven = Driven(sender("graph"), calls, refusing)

    assert paths(driven, calls) == [f"/{number}" for number in range(8)]
    assert driven.posts[:3] == [(8, 413), (4, 413), (2, 200)]


def test_a_call_that_is_refused_all_by_itself_goes_alone() -> None:
    calls = numbered(2)

    driven = Driven(sender("graph"), calls, lambda post: Answer(413, [], b""))

    assert driven.alone == calls


@pytest.mark.parametrize("status", [400, 401, 403, 404, 415, 500, 502])
def test_a_batch_that_is_refused_ends_it_all(status: int) -> None:
    calls = numbered(4)
    document = {"type": "about:blank", "status": status, "code": "a-code", "detail": "Because."}

    with pytest.raises(BatchFailed, match=rf"The batch was answered with {status}(?: \(it may have run\))?: Because.") as failed:
        Driven(sender("django", 2), calls, lambda post: Answer(status, [("X-A", "b")], json.dumps(document).encode()))

    assert (failed.value.status, failed.value.document, failed.value.headers) == (status, document, [("X-A", "b")])


@pytest.mark.parametrize("status", [404, 405])
def test_where_nothing_tells_why_there_is_no_batch_endpoint_the_url_is_asked_after(status: int) -> None:
    with pytest.raises(BatchFailed, match=f"The batch was answered with {status}: are batches taken at that url?"):
        Driven(sender("django"), numbered(2), lambda post: Answer(status, [("Content-Type", "text/html")], b"<h1>Not here</h1>"))


@pytest.mark.parametrize(
    ("status", "document", "may_have_run"),
    [
        *[(status, {}, False) for status in (302, 400, 401, 403, 422, 429)],
        *[(status, {}, True) for status in (500, 502, 503, 504, 520)],
        (503, {"code": "no-backend"}, True),
        (503, {"error": "busy"}, True),
        (500, {"code": "overloaded"}, True),
        *[(503, document, False) for document in ({"code": "overloaded"}, {"error": {"innererror": {"code": "store-unavailable"}}})],
    ],
)
def test_a_failure_tells_whether_the_batch_may_have_run(status: int, document: dict[str, Any], may_have_run: bool) -> None:
    with pytest.raises(BatchFailed) as failed:
        Driven(sender("django"), numbered(2), lambda post: Answer(status, [], json.dumps(document).encode()))

    assert (failed.value.may_have_run, "may have run" in str(failed.value)) == (may_have_run, may_have_run)
    assert pickle.loads(pickle.dumps(failed.value)).may_have_run == may_have_run  # noqa: S301 - it was pickled here


@every_dialect
def test_our_server_answers_what_it_has_no_room_for_so_that_nothing_may_have_run(word: str) -> None:
    def overloaded(post: Post) -> Answer:
        head = Head(path="/batch", mount="", host="", scheme="http", media_type="", parameters={})
        return Answer(*dialect_of(word).refusal(head, Overloaded(3, 1.0)))

    with pytest.raises(BatchFailed) as failed:
        Driven(sender(word), numbered(2), overloaded)

    assert (failed.value.status, failed.value.may_have_run) == (503, False)


@every_dialect
def test_what_our_server_says_of_a_refusal_is_in_the_error(word: str) -> None:
    def asking(post: Post) -> Answer:
        return endpoint(word)(Post(post.headers, b"{", post.route, post.count))

    with pytest.raises(BatchFailed, match="The batch was answered with 400: ."):
        Driven(sender(word), numbered(1), asking)


@pytest.mark.parametrize("status", [429, 503])
def test_a_whole_batch_that_is_refused_for_a_while_is_sent_again(status: int) -> None:
    whole = endpoint("graph")
    refused = [Answer(status, [("Retry-After", "3")], b"{}"), Answer(status, [], b"{}")]
    calls = numbered(2)

    driven = Driven(sender("graph", retries=2), calls, lambda post: refused.pop(0) if refused else whole(post))

    assert paths(driven, calls) == ["/0", "/1"]
    assert driven.pauses == [3.0, 1.0]


def test_a_whole_batch_that_stays_refused_fails() -> None:
    with pytest.raises(BatchFailed, match="503"):
        Driven(sender("graph", retries=1), numbered(2), lambda post: Answer(503, [("Retry-After", "0")], b"{}"))


def busy(times: dict[str, int], after: str = "") -> Any:
    """An app whose paths answer 503 so many times."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        times[path] = times.get(path, 0) - 1
        headers = [("Content-Type", "application/json"), *([("Retry-After", after)] if after else [])]
        start_response("503 Busy" if times[path] >= 0 else "200 OK", headers)
        return [b"{}"]

    return app


@pytest.mark.parametrize("word", ["django", "graph", "odata", "multipart"])
def test_only_what_failed_is_sent_again_after_the_longest_pause(word: str) -> None:
    calls = numbered(3)

    driven = Driven(sender(word, retries=1), calls, endpoint(word, busy({"/1": 1}, "4")))

    assert driven.statuses(calls) == [200, 200, 200]
    assert (driven.posts, driven.pauses) == ([(3, 200), (1, 200)], [4.0])


@pytest.mark.parametrize("word", ["graph", "odata"])
def test_what_waited_for_what_failed_is_sent_again_with_it(word: str) -> None:
    first = call_of("GET", "/0", [], b"")
    second = call_of("GET", "/1", [], b"", None, [first])
    third = call_of("GET", "/2", [], b"", None, [second])
    other = call_of("GET", "/3", [], b"")

    driven = Driven(sender(word, retries=1), [first, second, third, other], endpoint(word, busy({"/0": 1}, "0")))

    assert driven.statuses([first, second, third, other]) == [200] * 4
    assert [count for count, _ in driven.posts] == [4, 3]


@pytest.mark.parametrize("word", ["graph", "odata"])
def test_what_waited_for_what_failed_for_good_stays_undone(word: str) -> None:
    first = call_of("GET", "/missing", [], b"")
    second = call_of("GET", "/1", [], b"", None, [first])

    driven = Driven(sender(word, retries=3), [first, second], endpoint(word))

    assert driven.statuses([first, second]) == [404, 424]
    assert len(driven.posts) == 1


@every_dialect
def test_a_dependency_is_kept_whether_the_dialect_can_say_it_or_not(word: str) -> None:
    order: list[str] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        order.append(environ["PATH_INFO"])
        return show(environ, start_response)

    first = call_of("GET", "/missing", [], b"")
    behind = call_of("GET", "/1", [], b"", None, [first])
    good = call_of("GET", "/2", [], b"")
    last = call_of("GET", "/3", [], b"", None, [good])

    driven = Driven(sender(word), [first, behind, good, last], endpoint(word, app))

    assert driven.statuses([first, behind, good, last]) == [404, 424, 200, 200]
    assert order == ["/missing", "/2", "/3"]
    assert len(driven.posts) == (1 if word in ("graph", "odata", "facebook") else 3)


@every_dialect
def test_calls_that_differ_in_what_only_a_batch_can_have_travel_apart(word: str) -> None:
    calls = [call_of("GET", f"/{number}", [("Cookie", cookie)] if cookie else [], b"") for number, cookie in enumerate(["a=1", "a=1", "", "b=2"])]

    driven = Driven(sender(word), calls, endpoint(word))

    seen = [json.loads(found.body)["headers"].get("HTTP_COOKIE") for found in driven.settled.values() if isinstance(found, SubResponse)]
    assert seen == ["a=1", "a=1", None, "b=2"]
    assert [count for count, _ in driven.posts] == [2, 1, 1]


@every_dialect
def test_calls_of_another_route_travel_apart(word: str) -> None:
    calls = [call_of("GET", f"/{number}", [], b"", route) for number, route in enumerate("aab")]

    assert [count for count, _ in Driven(sender(word), calls, endpoint(word)).posts] == [2, 1]


@every_dialect
def test_headers_are_those_of_each_call(word: str) -> None:
    drawn = [
        [("User-Agent", "one"), ("X-A", "1"), ("Authorization", "Bearer x")],
        [("User-Agent", "one"), ("X-A", "2"), ("Authorization", "Bearer x")],
        [("User-Agent", "one"), ("Accept", "*/*")],
        [],
    ]
    calls = [call_of("GET", f"/{number}", headers, b"") for number, headers in enumerate(drawn)]

    driven = Driven(sender(word), calls, endpoint(word))

    for call, headers in zip(calls, drawn, strict=True):
        found = driven.settled[call]
        assert isinstance(found, SubResponse)
        wanted = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers if value != "*/*"}
        seen = {name: value for name, value in json.loads(found.body)["headers"].items() if name not in ("HTTP_HOST", "HTTP_ODATA_VERSION")}
        assert {name: value for name, value in seen.items() if value != "*/*"} == wanted


@pytest.mark.parametrize("word", ["multipart", "django", "graph", "odata"])
def test_what_items_do_not_inherit_stays_with_each_call_though_all_have_it(word: str) -> None:
    headers = [("Content-Type", "application/json"), ("If-Match", '"a"'), ("Accept", "text/plain"), ("Prefer", "return=minimal")]
    calls = [call_of("POST", f"/{number}", headers, b"{}") for number in range(2)]

    driven = Driven(sender(word), calls, endpoint(word))

    for found in driven.settled.values():
        assert isinstance(found, SubResponse)
        seen = json.loads(found.body)
        assert seen["type"] == "application/json"
        assert [seen["headers"].get(f"HTTP_{name}") for name in ("IF_MATCH", "ACCEPT", "PREFER")] == ['"a"', "text/plain", "return=minimal"]


def test_a_call_that_is_answered_twice_has_the_first_answer() -> None:
    calls = numbered(2)
    whole = endpoint("graph")

    def doubling(post: Post) -> Answer:
        answer = whole(post)
        first, *rest = answer.body.splitlines(keepends=True)
        return answer._replace(body=first + first.replace(b'"status":200', b'"status":500') + b"".join(rest))

    driven = Driven(sender("graph"), calls, doubling)

    assert driven.statuses(calls) == [200, 200]


def test_what_is_sent_again_is_still_sent_before_what_stands_behind_it() -> None:
    asked: list[str] = []
    times = {"/0": 1}

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked.append(environ["PATH_INFO"])
        return list(busy(times, "0")(environ, start_response))

    calls = numbered(4)
    driven = Driven(sender("graph", 2, retries=1), calls, endpoint("graph", app))

    assert asked == ["/0", "/1", "/0", "/2", "/3"]
    assert driven.statuses(calls) == [200] * 4


def test_what_reads_as_a_reference_in_company_is_still_what_it_is() -> None:
    headers = [("Content-Type", "application/json")]
    calls = [call_of("POST", f"/{number}", headers, json.dumps({"a": f"$item-{number - 1}/a"}).encode()) for number in range(3)]

    driven = Driven(sender("odata"), calls, endpoint("odata"))

    assert len(driven.settled) == 3
    for call, found in driven.settled.items():
        assert isinstance(found, SubResponse)
        assert found.body == b"alone" or json.loads(json.loads(found.body)["body"]) == json.loads(call.body)


@pytest.mark.parametrize("header", ["Range", "Upgrade", "X_A", "Content-ID"])
def test_what_only_a_request_by_itself_can_have_goes_alone(header: str) -> None:
    call = call_of("GET", "/", [(header, "x")], b"")

    assert Driven(sender("multipart"), [call], endpoint("multipart")).alone == [call]


@pytest.mark.parametrize("header", ["Connection", "Keep-Alive", "TE", "Transfer-Encoding", "Accept-Encoding", "Content-Length", "Expect"])
def test_what_belongs_to_a_connection_stays_there(header: str) -> None:
    call = call_of("GET", "/", [(header, "1")], b"")

    assert (call.headers, call.shared, call.alone) == ([], [], False)


@pytest.mark.parametrize(
    ("value", "seconds"), [("5", 5.0), (" 5 ", 5.0), ("0", 0.0), ("", None), ("soon", None), ("-1", None), (formatdate(0, usegmt=True), 0.0)]
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after([("retry-after", value)]) == seconds


@pytest.mark.parametrize("value", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 01 Jan 2020 00:00:00 +99999999999999999999"])
def test_a_date_that_is_none_asks_for_no_pause(value: str) -> None:
    assert retry_after([("Retry-After", value)]) is None


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({"code": "too-many-items", "limit": 3}, ("too-many-items", 3)),
        ({"error": {"innererror": {"code": "too-large", "limit": 9}}}, ("too-large", 9)),
        ({"error": {"code": 413}}, ("", 0)),
        ({"error": "text"}, ("", 0)),
        ({"limit": "3"}, ("", 0)),
        ({}, ("", 0)),
    ],
)
def test_a_limit_is_found_where_the_dialects_have_it(document: dict[str, Any], found: tuple[str, int]) -> None:
    assert limit_of(document) == found


def test_what_is_too_large_for_one_batch_is_not_put_into_one_before_it_is_split() -> None:
    written: list[int] = []

    class Watched(DjangoDialect):
        def write(self, requests: Sequence[SubRequest]) -> tuple[Headers, bytes]:
            written.append(sum(len(request.body) for request in requests))
            return super().write(requests)

    calls = [call_of("POST", "/", [("Content-Type", "text/plain")], b"x" * 300_000) for _ in range(40)]

    driven = Driven(Sender(Watched()), calls, endpoint("django", max_requests=40), piece=1 << 20)

    assert driven.statuses(calls) == [200] * 40
    assert max(written) < 40 * 300_000 / 3


def test_a_limit_that_makes_no_sense_is_not_believed() -> None:
    refusal = json.dumps({"code": "too-many-items", "limit": 0}).encode()
    whole = endpoint("graph")
    calls = numbered(4)

    driven = Driven(sender("graph"), calls, lambda post: whole(post) if post.count < 3 else Answer(413, [], refusal))

    assert paths(driven, calls) == ["/0", "/1", "/2", "/3"]


@pytest.mark.parametrize("setting", ["auto", "nonsense", "tests.apps:show", "nowhere:it"])
def test_what_is_no_dialect_to_write_in_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError):
        dialect_of(setting)


def test_a_dialect_of_ones_own_is_named_as_in_the_settings() -> None:
    assert type(dialect_of("wsgibatch.dialects.graph:GraphDialect")).__name__ == "GraphDialect"


def test_a_batch_of_no_calls_is_none() -> None:
    assert Driven(sender("graph"), [], endpoint("graph")).posts == []
