"""Clients that post random batches, and look at every answer: each item has one, in its place, and it is its own."""

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from random import Random
from typing import Any

from tests.gateway import Answer, environ_of
from tests.soak import faulty
from tests.soak.endpoints import Endpoint
from wsgibatch import SubRequest, SubResponse, _lookup, dialects
from wsgibatch.dialects._lines import LinesReader
from wsgibatch.protocols import Dialect

DIALECTS: dict[str, Dialect] = {word: _lookup.member(dialects, word)() for word in _lookup.members(dialects) if word != "auto"}
_TOKEN = re.compile(rb"t[0-9]+x[0-9]+z")
_MOST = 20
"""Items of a batch: what every dialect takes."""


class Wrong(Exception):
    """An answer is not what it has to be."""


class Client:
    """One of many that post at the same time.

    :param number: which of them.
    """

    def __init__(self, number: int, endpoints: Sequence[Endpoint]) -> None:
        self._number, self._endpoints = number, endpoints
        self._weights = [endpoint.weight for endpoint in endpoints]
        self._chance = Random(number)
        self._tokens = count()
        self.refused = 0
        """Batches that it was told to send again later."""
        self.failed: Counter[int] = Counter()
        """Items that failed, by status."""

    def post(self) -> int:
        """Post one batch; the number of items whose answers were looked at.

        :raises Wrong: when one of them is not right.
        """
        chance = self._chance
        [endpoint] = chance.choices(self._endpoints, self._weights)
        dialect, requests, (headers, body) = self._drawn(endpoint)
        try:
            fault = chance.random()
            if fault < 0.02:
                return self._broken_off(endpoint, requests, headers, body)
            lines = hasattr(dialect, "read_line") and chance.random() < 0.1
            environ = _environ(headers, body, lines, endpoint)
            if fault < 0.06 and (endpoint.streamed or lines):
                return self._gone(endpoint, environ)
            answer = _answered(endpoint.middleware, environ)
            if answer.status == 503 and endpoint.limited:
                # As many calls as may be are left behind: the client would come again.
                self.refused += 1
                return 0
            if answer.status not in (200, 202):
                raise Wrong(f"{endpoint.name}: {answer}")
            answers = _read(dialect, answer, requests, lines)
            _check(endpoint, requests, answers)
            self.failed.update(answer.status for answer in answers if answer.status >= 500)
            if endpoint.name.partition(" ")[0] not in ("limited", "processes"):
                _check_runs(endpoint, requests, answers)
            return len(requests)
        finally:
            for request in requests:
                faulty.taken(_token(request))

    def _drawn(self, endpoint: Endpoint) -> tuple[Dialect, list[SubRequest], Any]:
        chance = self._chance
        word = chance.choice(list(DIALECTS))
        dialect = DIALECTS[word]
        requests = [self._item(endpoint, index, word == "aggregator") for index in range(chance.randint(1, _MOST))]
        try:
            return dialect, requests, dialect.write(requests)
        except ValueError:
            for request in requests:
                request.id = None
            return dialect, requests, dialect.write(requests)

    def _item(self, endpoint: Endpoint, index: int, plain: bool) -> SubRequest:
        chance = self._chance
        token = f"t{self._number}x{next(self._tokens)}z"
        kind = chance.choice(endpoint.kinds) if chance.random() < 0.05 else chance.choice(("ok", "ok", "ok", "ok", "missing", "large"))
        target = f"/{kind}/{token}"
        if kind == "raise":
            target += f"/{chance.choice(faulty.WHERE)}/{chance.choice(list(faulty.ERRORS))}"
        if plain:
            return SubRequest(index, "GET", target, [], id=token)
        method = chance.choice(("GET", "GET", "POST", "PUT", "DELETE"))
        headers, body = [("X-Client", str(self._number))], b""
        if method in ("POST", "PUT"):
            headers.append(("Content-Type", "application/json"))
            body = b'{"of": "%s"}' % token.encode()
        if endpoint.keyed and method == "POST" and chance.random() < 0.7:
            headers.append(("Idempotency-Key", f'"{token}"'))
        return SubRequest(index, method, target, headers, body, token)

    def _broken_off(self, endpoint: Endpoint, requests: list[SubRequest], headers: Any, body: bytes) -> int:
        """The client goes away in the middle of its batch: nothing of it runs."""
        environ = _environ(headers, body, lines=False, endpoint=endpoint)
        reset = self._chance.random() < 0.5
        environ["wsgi.input"] = _Reset(body[: len(body) // 2]) if reset else io.BytesIO(body[: len(body) // 2])
        try:
            answer = _answered(endpoint.middleware, environ)
        except ConnectionResetError:
            answer = None
        if (answer is None) != reset and not (answer is not None and answer.status == 503):
            raise Wrong(f"{endpoint.name}: a batch that broke off was answered with {answer}")
        if answer is not None and answer.status not in (400, 503):
            raise Wrong(f"{endpoint.name}: a batch that broke off was answered with {answer}")
        if any(faulty.taken(_token(request)) for request in requests):
            raise Wrong(f"{endpoint.name}: items of a batch that broke off have run")
        return len(requests)

    def _gone(self, endpoint: Endpoint, environ: dict[str, Any]) -> int:
        """The client goes away in the middle of its answer."""
        result = endpoint.middleware(environ, _ignored)
        pieces = iter(result)
        try:
            for _ in range(self._chance.randrange(3)):
                next(pieces, None)
        finally:
            _close(result)
        return 0


class _Reset(io.BytesIO):
    """A connection that is reset behind what it holds."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not data:
            raise ConnectionResetError(104, "Connection reset by peer")
        return data


def _ignored(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
    return list


def _environ(headers: Any, body: bytes, lines: bool, endpoint: Endpoint) -> dict[str, Any]:
    more = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers if name != "Content-Type"}
    if lines:
        more["HTTP_ACCEPT"] = "application/x-ndjson"
    if endpoint.keyed:
        more["HTTP_AUTHORIZATION"] = "Bearer anna"
    return environ_of(body, CONTENT_TYPE=dict(headers)["Content-Type"], **more)


def _answered(app: Any, environ: dict[str, Any]) -> Answer:
    """The answer of *app*, whose every call is checked as a server would be hurt."""
    started: list[tuple[int, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if started:
            raise Wrong("start_response was called twice")
        started.append((int(status[:3]), headers))
        return list

    result: Iterable[bytes] = app(environ, start_response)
    try:
        body = b"".join(result)
    finally:
        _close(result)
    [(status, headers)] = started
    return Answer(status, headers, body)


def _close(result: Any) -> None:
    if hasattr(result, "close"):
        result.close()


def _read(dialect: Any, answer: Answer, requests: list[SubRequest], lines: bool) -> list[SubResponse]:
    if not (answer.header("Content-Type") or "").startswith("application/x-ndjson"):
        found: list[SubResponse] = dialect.read(answer.headers, answer.body, requests)
        return found
    reader = LinesReader(dialect.read_line, requests)
    answered = list(reader.feed(answer.body))
    if not reader.complete or sorted(place for place, _ in answered) != list(range(len(requests))):
        raise Wrong(f"lines answer the places {sorted(place for place, _ in answered)} of {len(requests)}")
    return [told for _, told in sorted(answered, key=lambda pair: pair[0])]


def _token(request: SubRequest) -> str:
    return request.target.split("/")[2]


def _check(endpoint: Endpoint, requests: list[SubRequest], answers: list[SubResponse]) -> None:
    """Is each of *answers* that of its request, or why there is none?"""
    if len(answers) != len(requests):
        raise Wrong(f"{endpoint.name}: {len(answers)} answers to {len(requests)} items")
    for request, answer in zip(requests, answers, strict=True):
        own = {_token(request).encode()}
        tokens = set(_TOKEN.findall(answer.body))
        if tokens - own:
            raise Wrong(f"{endpoint.name}: {request.target} was answered with {tokens}")
        expected = set(_expected(endpoint, request))
        line = _seen(request)
        whole = line.encode() + b"." * (faulty.LARGE if request.target.startswith("/large/") else 0)
        if not _is_among(expected, answer.status, answer.body == whole):
            what = f"{answer.status} {answer.body[:200]!r}"
            raise Wrong(f"{endpoint.name}: {request.method} {request.target} was answered with {what}, and not with one of {expected}")
        if answer.status not in (200, 404):
            continue
        if answer.body != whole:
            what = f"{len(answer.body)} bytes, {answer.body[:200]!r}"
            raise Wrong(f"{endpoint.name}: {request.target} was answered with {what}, and not with {len(whole)}, {whole[:200]!r}")
        headers = [field for field in answer.headers if field != ("Content-Length", str(len(whole)))]
        # In the one dialect whose requests have no headers, answers have none.
        if headers != (faulty.headers_of(line) if request.headers else []):
            raise Wrong(f"{endpoint.name}: {request.target} was answered with the headers {headers}")


def _seen(request: SubRequest) -> str:
    """What the app has to have seen of *request*."""
    given = dict(request.headers)
    sent = [given.get(name) for name in ("Content-Type", "X-Client", "Idempotency-Key")]
    return faulty.seen(_token(request), request.method, sent, request.body)


def _is_among(expected: set[int], status: int, own: bool) -> bool:
    """Is *status* one of those, or where the dialect tells none, the answer the app's *own* where that is so?"""
    return status in expected if status else own in {found in (200, 404) for found in expected}


def _expected(endpoint: Endpoint, request: SubRequest) -> Iterator[int]:
    """The statuses that the answer to *request* may have."""
    _, kind, _, *rest = request.target.split("/")
    if endpoint.limited:
        yield 504
    if kind == "late":
        return
    keyed = any(name == "Idempotency-Key" for name, _ in request.headers)
    if keyed:
        yield 503
    if kind == "die":
        yield 502
    elif kind == "raise":
        where, what = rest
        ends = where == "iteration" and what == "stop-iteration"
        closed = where == "close" and isinstance(faulty.ERRORS[what](), Exception) if what != "recursion" else where == "close"
        yield 200 if ends or closed else 500
        if keyed and closed:
            # An answer is closed before it is kept, and fails with that.
            yield 500
    else:
        yield 404 if kind == "missing" else 200


def _check_runs(endpoint: Endpoint, requests: list[SubRequest], answers: list[SubResponse]) -> None:
    """Has each item run once? One whose key could not be had has not."""
    for request, answer in zip(requests, answers, strict=True):
        times = faulty.taken(_token(request))
        if times != (answer.status != 503):
            raise Wrong(f"{endpoint.name}: {request.target} has run {times} times")
