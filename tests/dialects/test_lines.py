"""Answers in lines, written by the server and read by the client."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.apps import show
from tests.gateway import Answer, environ_of, send
from wsgibatch import BatchMiddleware, SubRequest, SubResponse, _lookup, dialects
from wsgibatch.dialects._lines import LinesReader
from wsgibatch.protocols import LinesDialect

WORDS = ("aggregator", "django", "facebook", "graph", "kinto", "odata")
every_dialect = pytest.mark.parametrize("word", WORDS)

REQUESTS = [SubRequest(0, "GET", "/a", [], id="x"), SubRequest(1, "GET", "/missing", [], id="y"), SubRequest(2, "GET", "/text", [], id="z")]


def dialect_of(word: str) -> LinesDialect:
    made: LinesDialect = _lookup.member(dialects, word)()
    return made


def answered(word: str, app: Any = show, requests: list[SubRequest] = REQUESTS, **settings: Any) -> Answer:
    headers, body = dialect_of(word).write(requests)
    environ = environ_of(body, CONTENT_TYPE=dict(headers)["Content-Type"], HTTP_ACCEPT="application/x-ndjson")
    if word == "odata":
        environ["HTTP_ODATA_VERSION"] = "4.01"
    return send(BatchMiddleware(app, dialect=word, **settings), environ)


def lines(answer: Answer) -> list[dict[str, Any]]:
    assert answer.header("Content-Type") == "application/x-ndjson"
    assert answer.body.endswith(b"\n")
    return [json.loads(line) for line in answer.body.splitlines()]


def test_every_dialect_in_json_can_be_read_in_lines() -> None:
    found = {word for word in _lookup.members(dialects) if isinstance(_lookup.member(dialects, word)(), LinesDialect)}

    assert found == set(WORDS)


@every_dialect
def test_a_line_tells_its_item_and_the_last_that_there_are_no_more(word: str) -> None:
    *found, last = lines(answered(word))

    assert [line["index"] for line in found] == [0, 1, 2]
    assert all("id" in line for line in found)
    # The app answers one 404.
    assert last == {"complete": True, "items": 3, "failed": 1}


@every_dialect
def test_a_line_tells_when_its_item_ran(word: str) -> None:
    *found, _ = lines(answered(word))

    times = [(line["started"], line["duration"]) for line in found]
    assert all(started >= 0 and duration > 0 for started, duration in times)
    assert times == sorted(times), "they ran one after another"


@every_dialect
def test_without_durations_no_line_has_one(word: str) -> None:
    *found, _ = lines(answered(word, durations=False))

    assert not any({"started", "duration"} & line.keys() for line in found)


def breaking(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers with JSON over several lines."""
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b'{\r\n  "a": [1,\n2],\r "b": "\\n\\r"\n}\n']


@every_dialect
def test_json_over_several_lines_stays_in_its_line(word: str) -> None:
    answer = answered(word, breaking)

    assert len(lines(answer)) == 4
    reader = LinesReader(dialect_of(word).read_line, REQUESTS)
    assert [json.loads(found.body) for _, found in reader.feed(answer.body)] == [{"a": [1, 2], "b": "\n\r"}] * 3


@every_dialect
@pytest.mark.parametrize("piece", [1, 2, 50, 100_000])
def test_what_arrives_in_pieces_is_read_line_by_line(word: str, piece: int) -> None:
    answer = answered(word)
    reader = LinesReader(dialect_of(word).read_line, REQUESTS)

    found = [one for start in range(0, len(answer.body), piece) for one in reader.feed(answer.body[start : start + piece])]

    assert [place for place, _ in found] == [0, 1, 2]
    assert [one.status for _, one in found] == [200, 404, 200]
    assert found[2][1].body.decode() == "grüße"
    assert all(one.duration > 0 for _, one in found)
    assert reader.complete


@every_dialect
def test_without_the_last_line_an_answer_is_not_complete(word: str) -> None:
    reader = LinesReader(dialect_of(word).read_line, REQUESTS)

    assert len(list(reader.feed(answered(word).body[:-2]))) == 3
    assert not reader.complete


@every_dialect
@pytest.mark.parametrize("line", [b"nonsense", b"[]", b"{}", b'{"index": 3}', b'{"index": -1, "id": "x", "status": 200}', b"\xff"])
def test_a_line_that_answers_nothing_is_an_error(word: str, line: bytes) -> None:
    reader = LinesReader(dialect_of(word).read_line, REQUESTS)

    with pytest.raises(ValueError, match="."):
        list(reader.feed(line + b"\n"))


@pytest.mark.parametrize("word", ["graph", "odata"])
@pytest.mark.parametrize("index", [-1, 3, 1 << 40])
def test_a_line_of_a_place_that_was_not_asked_is_an_error(word: str, index: int) -> None:
    with pytest.raises(ValueError, match=f"an answer to request {index}, of 3"):
        dialect_of(word).read_line(b'{"index":%d,"id":"x","status":200}' % index, REQUESTS)


def test_a_line_of_a_route_answers_it_wherever_it_was_sent() -> None:
    requests = [SubRequest(0, "GET", "/a", []), SubRequest(1, "GET", "/b", []), SubRequest(2, "GET", "/a", [])]

    answer = answered("aggregator", requests=requests)

    reader = LinesReader(dialect_of("aggregator").read_line, requests)
    found: dict[int, SubResponse] = dict(reader.feed(answer.body))
    assert sorted(found) == [0, 1, 2]
    assert found[0].body == found[2].body
    assert (lines(answer)[-1], [found[place].status for place in range(3)]) == ({"complete": True, "items": 2, "failed": 0}, [200, 200, 200])
