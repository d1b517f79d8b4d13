"""The story of a batch, told by hand: no server, no thread, no clock."""

import json
from collections.abc import Generator
from typing import Any

import pytest

from tests.apps import show
from tests.gateway import post
from wsgibatch import Batch, BatchMiddleware, Head, LengthRequired, Settings, SubResponse, TooLarge
from wsgibatch._exchange import Effect, Elapsed, Endpoint, Finish, Read, ReadForm, Spawn, Start, Wait, exchange
from wsgibatch.dialects.django import DjangoDialect, DjangoEncoder
from wsgibatch.model import Done, Unit
from wsgibatch.protocols import Encoder

BODY = b'[{"method":"GET","url":"/a"},{"method":"GET","url":"//"},{"method":"POST","url":"/b"},{"method":"GET","url":"/c"}]'


def head_of(**changes: Any) -> Head:
    return Head(**{"path": "/batch", "mount": "", "host": "h", "scheme": "http", "media_type": "application/json", "parameters": {}, **changes})


def story(head: Head | None = None, **settings: Any) -> Generator[Effect, Any, None]:
    return exchange(head or head_of(), Endpoint(Settings(**settings)))


def done(unit: Unit, body: bytes = b"x", status: int = 200) -> Done:
    return unit, tuple(SubResponse(status, "OK", [], body, "text") for _ in unit)


def test_a_batch_is_read_started_spawned_waited_for_sent_and_finished() -> None:
    flow = story(dialect="django")

    assert next(flow) == Read(1 << 20)
    start = flow.send(b'[{"method":"GET","url":"/a"}]')
    assert isinstance(start, Start)
    assert (start.status, dict(start.headers)["Content-Type"]) == (200, "application/json")
    assert isinstance(start.dialect, DjangoDialect)
    spawn = flow.send(None)
    assert isinstance(spawn, Spawn)
    [unit] = spawn.units
    assert (unit[0].method, unit[0].path) == ("GET", "/a")
    assert isinstance(flow.send(None), Wait)
    [chunk] = chunks(flow.send([done(unit)]))
    [end] = chunks(flow.send(None))
    assert json.loads(chunk + end) == [{"status_code": 200, "reason_phrase": "OK", "headers": {"batch_requests.duration": 0.0}, "body": "x"}]
    assert isinstance(flow.send(None), Elapsed)
    finish = flow.send(1.5)
    timing = [("Batch-Duration", "1.500000"), ("Server-Timing", 'batch;dur=1500.0, i0;dur=0.0;desc="start 0.0"')]
    assert finish == Finish(200, [*start.headers, *timing])
    with pytest.raises(StopIteration):
        flow.send(None)


def chunks(effect: Effect) -> list[bytes]:
    assert isinstance(effect, list)
    return effect


def test_units_are_spawned_as_the_order_lets_them_and_sent_in_the_order_of_the_batch() -> None:
    flow = story(dialect="django", executor="threads")
    next(flow)
    assert isinstance(flow.send(BODY), Start)
    spawned: list[int] = []
    sent: list[bytes] = []
    effect = flow.send(None)
    waiting: list[Unit] = []
    while not isinstance(effect, Elapsed):
        if isinstance(effect, Spawn):
            spawned += [unit[0].index for unit in effect.units]
            waiting += effect.units
            effect = flow.send(None)
        elif isinstance(effect, Wait):
            effect = flow.send([done(waiting.pop(0))])
        else:
            sent += chunks(effect)
            effect = flow.send(None)

    assert spawned == [0, 2, 3]
    assert [answer["status_code"] for answer in json.loads(b"".join(sent))] == [200, 400, 200, 200]


def test_a_refused_item_is_sent_although_nothing_runs() -> None:
    flow = story(dialect="django")
    next(flow)
    assert isinstance(flow.send(b'[{"method":"GET","url":"//"}]'), Start)

    [chunk] = chunks(flow.send(None))

    assert b"bad-url" in chunk
    assert chunks(flow.send(None)) == [b"]"]


@pytest.mark.parametrize("error", [LengthRequired("a sentence"), TooLarge(7)])
def test_what_goes_wrong_while_the_body_is_read_is_thrown_into_the_story(error: Exception) -> None:
    flow = story()
    next(flow)

    start = flow.throw(error)

    assert isinstance(start, Start)
    assert start.dialect is None
    assert json.loads(chunks(flow.send(None))[0])["status"] == start.status
    with pytest.raises(StopIteration):
        flow.send(None)


@pytest.mark.parametrize("head", [head_of(media_type="text/plain"), head_of(item=3), head_of(content_encoding="gzip")])
def test_a_request_that_cannot_carry_a_batch_is_refused_before_its_body_is_read(head: Head) -> None:
    assert isinstance(next(story(head)), Start)


@pytest.mark.parametrize(
    "body", [b"", b"broken", b"{}", b"[]", b'[{"method":"GET"}]', b"[" + b",".join([b'{"method":"GET","url":"/a"}'] * 21) + b"]"]
)
def test_a_batch_that_cannot_be_read_is_refused_before_anything_is_spawned(body: bytes) -> None:
    flow = story()
    next(flow)

    start = flow.send(body)

    assert isinstance(start, Start)
    assert 400 <= start.status < 500
    assert len(chunks(flow.send(None))) == 1
    with pytest.raises(StopIteration):
        flow.send(None)


def test_the_limit_of_the_body_is_the_setting_or_the_dialect_s() -> None:
    assert next(story()) == Read(1 << 20)
    assert next(story(max_body=10)) == Read(10)


def test_the_limit_of_a_form_is_the_setting_or_ten_mebibytes() -> None:
    form = head_of(media_type="multipart/form-data")

    assert next(story(form, dialect="django")) == ReadForm(10 << 20)
    assert next(story(form, dialect="django", max_body=10)) == ReadForm(10)


def test_without_durations_the_end_tells_no_more_than_the_start() -> None:
    flow = story(dialect="django", durations=False)
    next(flow)
    start = flow.send(b"[]")
    assert isinstance(start, Start)
    assert chunks(flow.send(None)) == [b"[]"]
    assert isinstance(flow.send(None), Elapsed)
    assert flow.send(0.0) == Finish(start.status, start.headers)
    with pytest.raises(StopIteration):
        flow.send(None)


class Undecided(DjangoEncoder):
    """Knows its status and a header at the end only."""

    def end(self) -> bytes:
        self.status = 207
        self.headers.append(("X-End", "1"))
        return super().end()


class UndecidedDialect(DjangoDialect):
    def encoder(self, head: Head, batch: Batch, settings: Settings) -> Encoder:
        return Undecided(b"[", b"]", None)


def test_status_and_headers_are_what_the_encoder_has_come_to_in_the_end() -> None:
    flow = story(dialect=UndecidedDialect(), durations=False)
    next(flow)
    start = flow.send(b"[]")
    assert isinstance(start, Start)
    assert start.status == 200
    flow.send(None)
    flow.send(None)
    finish = flow.send(0.0)
    assert isinstance(finish, Finish)
    assert (finish.status, finish.headers[-1]) == (207, ("X-End", "1"))


def test_the_answer_has_the_status_and_the_headers_of_the_end() -> None:
    answer = post(BatchMiddleware(show, dialect=UndecidedDialect()), [])

    assert (answer.status, answer.header("X-End"), answer.body) == (207, "1", b"[]")


def test_a_window_bounds_what_runs_ahead_of_what_is_sent() -> None:
    flow = story(dialect="django", max_requests=1000, order="free")
    next(flow)
    flow.send(b"[" + b",".join([b'{"method":"GET","url":"/a"}'] * 1000) + b"]")
    spawn = flow.send(None)
    assert isinstance(spawn, Spawn)
    first = spawn.units

    assert isinstance(flow.send(None), Wait)
    spawn = flow.send([done(unit) for unit in first])

    assert len(first) == 256
    assert isinstance(spawn, Spawn)
    assert len(spawn.units) == 256


def test_a_story_can_be_left_at_any_point() -> None:
    for steps in range(5):
        flow = story(dialect="django")
        answers: list[Any] = [None, BODY, None, None, None]
        for answer in answers[:steps]:
            flow.send(answer)
        flow.close()


def test_a_batch_is_decoded_into_plain_records() -> None:
    batch = DjangoDialect().decode(head_of(), BODY, Settings())

    assert isinstance(batch, Batch)
    assert [(item.index, item.method, item.target) for item in batch.items] == [
        (0, "GET", "/a"),
        (1, "GET", "//"),
        (2, "POST", "/b"),
        (3, "GET", "/c"),
    ]
