"""Clients that post random batches, and look at every answer: each item has one, in its place, and it is its own."""

import io
import itertools
import json
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from time import monotonic
from typing import Any, NamedTuple

from tests.gateway import Answer, environ_of
from tests.soak import faulty
from tests.soak.endpoints import Endpoint
from tests.soak.tally import Fault, Tally, raising
from wsgibatch import SubRequest, SubResponse, _lookup, dialects
from wsgibatch.dialects._lines import LinesReader
from wsgibatch.protocols import Dialect

DIALECTS: dict[str, Dialect] = {word: _lookup.member(dialects, word)() for word in _lookup.members(dialects) if word != "auto"}
_TOKEN = re.compile(rb"t[0-9]+x[0-9]+z")
_MOST = 20
"""Items of a batch: what every dialect takes."""
# What only reads is run again where its worker dies, and then kills another one, which takes long to be replaced.
_METHODS = ("GET", "GET", "POST", "PUT", "DELETE"), ("GET", *("POST", "PUT", "DELETE") * 3)
"""Of items, and of those that kill their worker."""
_SETTLED = 5.0
"""Seconds after which what ran on without its client has ended."""


class Wrong(Exception):
    """An answer is not what it has to be."""


class _Unsettled(NamedTuple):
    """An item that may still be running, or even be started."""

    since: float
    endpoint: str
    target: str
    times: int
    """How often it had run by then."""


class Client:
    """One of many that post at the same time.

    :param number: which of them.
    :param tally: where it counts what has come upon its batches.
    """

    def __init__(self, number: int, endpoints: Sequence[Endpoint], tally: Tally) -> None:
        self._number, self._endpoints, self._tally = number, endpoints, tally
        self._weights = [endpoint.weight for endpoint in endpoints]
        self._chance = Random(number)
        self._tokens = itertools.count()
        self._unsettled: deque[_Unsettled] = deque()
        self.refused = 0
        """Batches that it was told to send again later."""
        self.failed: Counter[int] = Counter()
        """Items that failed, by status."""

    def post(self) -> int:
        """Post one batch; the number of items whose answers were looked at.

        :raises Wrong: when one of them is not right.
        """
        self.settle(monotonic() - _SETTLED)
        [endpoint] = self._chance.choices(self._endpoints, self._weights)
        dialect, requests, (headers, body) = self._drawn(endpoint)
        with endpoint.open() as middleware:
            return self._posted(endpoint, middleware, dialect, requests, headers, body)

    def settle(self, before: float) -> None:
        """See that nothing of what was posted *before* that moment, and may have run on without its client, has run twice.

        :raises Wrong: when something has.
        """
        while self._unsettled and self._unsettled[0].since <= before:
            _, name, target, times = self._unsettled.popleft()
            times += faulty.taken(target.split("/")[2])
            if times > 1:
                raise Wrong(f"{name}: {target} has run {times} times")

    def _posted(self, endpoint: Endpoint, middleware: Any, dialect: Dialect, requests: list[SubRequest], headers: Any, body: bytes) -> int:
        chance = self._chance
        fault = chance.random()
        if fault < 0.03:
            return self._broken_off(endpoint, middleware, requests, headers, body)
        lines = hasattr(dialect, "read_line") and chance.random() < 0.1
        environ = _environ(headers, body, lines, endpoint)
        if fault < 0.09:
            return self._gone(endpoint, middleware, dialect, requests, environ, lines)
        answer = _answered(middleware, environ)
        if answer.status == 503 and endpoint.limited:
            # As many calls as may be are left behind: the client would come again.
            self.refused += 1
            return 0
        if answer.status not in (200, 202):
            raise Wrong(f"{endpoint.name}: {answer}")
        answers = _read(dialect, answer, requests, lines)
        _check(endpoint, requests, answers)
        self.failed.update(found.status for found in answers if found.status >= 500)
        for request, found in zip(requests, answers, strict=True):
            self._count(endpoint, request, found.status)
            if not endpoint.elsewhere:
                self._check_runs(endpoint, request, found.status)
        return len(requests)

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
        kind = chance.choice(endpoint.kinds) if chance.random() < endpoint.rate else chance.choice(("ok", "ok", "ok", "ok", "missing", "large"))
        if plain and kind == "die":
            kind = "ok"
        target = f"/{kind}/{token}"
        if kind == "raise":
            target += f"/{chance.choice(faulty.WHERE)}/{chance.choice(list(faulty.ERRORS))}"
        if plain:
            return SubRequest(index, "GET", target, [], id=token)
        keyed = chance.random() < endpoint.keyed
        method = "POST" if keyed else chance.choice(_METHODS[kind == "die"])
        headers, body = [("X-Client", str(self._number))], b""
        if method in ("POST", "PUT"):
            headers.append(("Content-Type", "application/json"))
            body = b'{"of": "%s"}' % token.encode()
        if keyed:
            headers.append(("Idempotency-Key", f'"{token}"'))
        return SubRequest(index, method, target, headers, body, token)

    def _broken_off(self, endpoint: Endpoint, middleware: Any, requests: list[SubRequest], headers: Any, body: bytes) -> int:
        """The client goes away in the middle of its batch: nothing of it runs."""
        environ = _environ(headers, body, lines=False, endpoint=endpoint)
        reset = self._chance.random() < 0.5
        environ["wsgi.input"] = _Reset(body[: len(body) // 2]) if reset else io.BytesIO(body[: len(body) // 2])
        try:
            answer = _answered(middleware, environ)
        except ConnectionResetError:
            answer = None
        if (answer is None) != reset and not (answer is not None and answer.status == 503):
            raise Wrong(f"{endpoint.name}: a batch that broke off was answered with {answer}")
        if answer is not None and answer.status not in (400, 503):
            raise Wrong(f"{endpoint.name}: a batch that broke off was answered with {answer}")
        if any(faulty.taken(_token(request)) for request in requests):
            raise Wrong(f"{endpoint.name}: items of a batch that broke off have run")
        if answer is None or answer.status == 400:
            self._tally.count(Fault.RESET if reset else Fault.ENDED)
        return len(requests)

    def _gone(self, endpoint: Endpoint, middleware: Any, dialect: Dialect, requests: list[SubRequest], environ: dict[str, Any], lines: bool) -> int:
        """The client goes away before its answer, or in the middle of it; what has been begun may run on."""
        pieces = self._chance.randrange(3)
        started: list[tuple[int, list[tuple[str, str]]]] = []
        result = middleware(environ, _starting(started))
        try:
            body = b"".join(itertools.islice(result, pieces))
        finally:
            _close(result)
        if not pieces:
            self._tally.count(Fault.GONE)
        elif started[0][0] != 503 and not _is_whole(dialect, Answer(*started[0], body), requests, lines):
            self._tally.count(Fault.CUT)
        self._left_to_run(endpoint, requests)
        return 0

    def _left_to_run(self, endpoint: Endpoint, requests: list[SubRequest]) -> None:
        """Remember that nobody waits for *requests*, which may run all the same."""
        if not endpoint.elsewhere:
            self._unsettled += [_Unsettled(monotonic(), endpoint.name, request.target, 0) for request in requests]

    def _count(self, endpoint: Endpoint, request: SubRequest, status: int) -> None:
        """Count what has come upon *request*, as far as its answer, or the app here, tells."""
        _, kind, token, *rest = request.target.split("/")
        if kind == "raise" and (status == 500 if endpoint.elsewhere else faulty.ran[token]):
            self._tally.count(Fault.CRASHED if endpoint.elsewhere else raising(*rest))
        elif kind == "late" and status == 504 and faulty.ran[token]:
            self._tally.count(Fault.LATE)
        elif kind == "die" and status == 502:
            self._tally.count(Fault.KILLED)
        elif status == 503:
            self._tally.count(endpoint.failing)

    def _check_runs(self, endpoint: Endpoint, request: SubRequest, status: int) -> None:
        """Has *request* run once? One whose key could not be had has not, and one that is late may not have."""
        times = faulty.taken(_token(request))
        if times > 1 or (status != 504 and times != (status != 503)):
            raise Wrong(f"{endpoint.name}: {request.target} has run {times} times, and was answered with {status}")
        if status == 504:
            self._unsettled.append(_Unsettled(monotonic(), endpoint.name, request.target, times))


class _Reset(io.BytesIO):
    """A connection that is reset behind what it holds."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not data:
            raise ConnectionResetError(104, "Connection reset by peer")
        return data


def _starting(started: list[tuple[int, list[tuple[str, str]]]]) -> Any:
    """A ``start_response`` that notes what it is called with."""

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if started:
            raise Wrong("start_response was called twice")
        started.append((int(status[:3]), headers))
        return list

    return start_response


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
    result: Iterable[bytes] = app(environ, _starting(started))
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
        for request, told in zip(requests, found, strict=False):
            # One dialect has no place for a status; what it says of a failure has.
            told.status = told.status or _told(request, told)
        return found
    reader = LinesReader(dialect.read_line, requests)
    answered = list(reader.feed(answer.body))
    if not reader.complete or sorted(place for place, _ in answered) != list(range(len(requests))):
        raise Wrong(f"lines answer the places {sorted(place for place, _ in answered)} of {len(requests)}")
    return [told for _, told in sorted(answered, key=lambda pair: pair[0])]


def _told(request: SubRequest, answer: SubResponse) -> int:
    if answer.kind == "json":
        return int(json.loads(answer.body)["status"])
    return 404 if request.target.startswith("/missing/") else 200


def _is_whole(dialect: Any, answer: Answer, requests: list[SubRequest], lines: bool) -> bool:
    try:
        _read(dialect, answer, requests, lines)
    except (ValueError, Wrong):
        return False
    return True


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
        if answer.status not in expected:
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
