"""Flask-Aggregator: a JSON list of GET routes, answered as one JSON object with a member per route.

The member's name is the route exactly as sent. JSON answers are embedded as JSON, text is a string, anything else a base64 string; an error's
body stands where the answer would, since the format has no place for a status. A route that is sent twice counts twice, runs once and is
answered once.

Source: the code and README of Flask-Aggregator, which looks at no content type; so where this dialect is configured by name, other types are
taken as well, under the rule against cross-site requests.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct, field

from ..model import Batch, Done, Head, Headers, SubRequest, SubResponse
from ..protocols import Encoder, Shape, Unanswered
from ..settings import Settings
from ._json import JSONDialect, Splicer, base64_of, encode, is_json, read_json, text_of
from ._lines import as_asked

_routes = msgspec.json.Decoder(list[str])
_answers = msgspec.json.Decoder(dict[str, Raw])
_string = msgspec.json.Decoder(str)


class _Answer(Struct, gc=False):
    """The members of a line, which has a place for the status."""

    route: str
    status: int
    body: Raw


class _Line(_Answer, kw_only=True, gc=False):
    started: float = 0.0
    duration: float = 0.0


_line = msgspec.json.Decoder(_Line)


class AggregatorBatch(Batch):
    """A batch that remembers its routes as they were sent."""

    routes: list[str] = field(default_factory=list)
    """One for each item, exactly as sent."""
    places: list[int] = field(default_factory=list)
    """Where each was sent first."""

    def place(self, item: SubRequest, member: str = "") -> str:
        return f"/{self.places[item.index]}"


class AggregatorDialect(JSONDialect):
    """The dialect ``aggregator``."""

    shape = '["/path", ...]'
    loose_types = frozenset({"", "text/plain", "application/x-www-form-urlencoded"})

    def recognises(self, head: Head, body: Shape) -> bool:
        return body.name is None and isinstance(body.first, str)

    def decode(self, head: Head, body: bytes, settings: Settings) -> Batch:
        routes = self.counted(read_json(_routes, body), settings)
        first = {route: place for place, route in reversed(list(enumerate(routes)))}
        once = list(dict.fromkeys(routes))
        items = [SubRequest(index, "GET", route, []) for index, route in enumerate(once)]
        return AggregatorBatch(items, routes=once, places=[first[route] for route in once])

    def encoder(self, head: Head, batch: Batch, settings: Settings) -> Encoder:
        if not isinstance(batch, AggregatorBatch):
            batch = AggregatorBatch(batch.items, routes=[item.target for item in batch.items], places=[item.index for item in batch.items])
        return as_asked(head, AggregatorEncoder(batch), settings.durations)

    def write(self, requests: Sequence[SubRequest]) -> tuple[Headers, bytes]:
        for request in requests:
            if request.method != "GET" or request.headers or request.body or request.after or request.group or request.late is not None:
                raise ValueError("the aggregator dialect has no way to say anything but a GET without headers, body, dependencies or group")
        return [("Content-Type", "application/json")], encode([request.target for request in requests])

    def read(self, headers: Headers, body: bytes, requests: Sequence[SubRequest]) -> list[SubResponse]:
        answers = _answers.decode(body)
        found = {route: _response(bytes(body)) for route, body in answers.items()}
        known = [found[request.target] for request in requests if request.target in found]
        if len(known) < len(requests):
            raise Unanswered([found.get(request.target) for request in requests])
        return known

    def read_line(self, line: bytes, requests: Sequence[SubRequest]) -> list[tuple[int, SubResponse]]:
        read = _line.decode(line)
        answer = _response(bytes(read.body))
        answer.status, answer.started, answer.duration = read.status, read.started, read.duration
        # One line answers a route wherever it was sent.
        places = [place for place, request in enumerate(requests) if request.target == read.route]
        if not places:
            raise ValueError(f"an answer to {read.route!r}, which was not asked for")
        return [(place, answer) for place in places]


class AggregatorEncoder(Splicer):
    """Writes a member of the object for each item, under its route as it was sent."""

    def __init__(self, batch: AggregatorBatch) -> None:
        super().__init__(b"{", b"}")
        self._routes, self._places = batch.routes, batch.places

    def pieces(self, done: list[Done]) -> bytes:
        return b",".join([self._member(request, answer) for unit, answers in done for request, answer in zip(unit, answers, strict=True)])

    def _member(self, request: SubRequest, answer: SubResponse) -> bytes:
        return encode(self._routes[request.index]) + b":" + _value(answer)

    def answers(self, done: list[Done]) -> list[_Answer]:
        return [
            _Answer(self._routes[item.index], answer.status, Raw(_value(answer)))
            for unit, answers in done
            for item, answer in zip(unit, answers, strict=True)
        ]

    def place(self, item: SubRequest) -> int:
        return self._places[item.index]


def _value(answer: SubResponse) -> bytes:
    if answer.kind == "json" and is_json(answer.body):
        return answer.body
    text = text_of(answer)
    return encode(base64_of(answer.body) if text is None else text)


def _response(body: bytes) -> SubResponse:
    if body.startswith(b'"'):
        return SubResponse(0, "", [], _string.decode(body).encode(), "text")
    return SubResponse(0, "", [("Content-Type", "application/json")], body, "json")
