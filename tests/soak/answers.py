"""What a client reads of its answer, and what it has to be: each item has one, in its place, and it is its own."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tests.gateway import Answer
from tests.soak import faulty
from tests.soak.batches import Drawn
from tests.soak.endpoints import Endpoint
from tests.soak.failures import check_failure
from tests.soak.linked import Fate, fates, units
from wsgibatch import SubRequest, SubResponse
from wsgibatch.dialects._lines import LinesReader
from wsgibatch.protocols import Unanswered

_TOKEN = re.compile(rb"t[0-9]+x[0-9]+z")

_SPOKEN_FOR = SubResponse(424, "", [], b"")
"""Of a member of a changeset, where another's answer is that of the changeset."""


class Wrong(Exception):
    """An answer is not what it has to be."""


def starting(started: list[tuple[int, list[tuple[str, str]]]]) -> Any:
    """A ``start_response`` that notes what it is called with."""

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if started:
            raise Wrong("start_response was called twice")
        started.append((int(status[:3]), headers))
        return list

    return start_response


def answered(app: Any, environ: dict[str, Any]) -> Answer:
    """The answer of *app*, whose every call is checked as a server would be hurt."""
    started: list[tuple[int, list[tuple[str, str]]]] = []
    result: Iterable[bytes] = app(environ, starting(started))
    try:
        body = b"".join(result)
    finally:
        close(result)
    [(status, headers)] = started
    return Answer(status, headers, body)


def close(result: Any) -> None:
    """As a server does."""
    if hasattr(result, "close"):
        result.close()


def read(drawn: Drawn, answer: Answer) -> list[SubResponse | None]:
    """What each item was answered; None for those that a batch which stops has left out.

    :raises Wrong: when lines are missing.
    :raises ValueError: when it is no answer to this batch.
    """
    if (answer.header("Content-Type") or "").startswith("application/x-ndjson"):
        return _read_lines(drawn, answer)
    found: list[SubResponse | None]
    try:
        found = list(drawn.dialect.read(answer.headers, answer.body, drawn.requests))
    except Unanswered as unanswered:
        if unanswered.cut or not drawn.stops:
            raise
        found = list(unanswered.answers)
    for request, told in zip(drawn.requests, found, strict=False):
        if told is not None:
            # One dialect has no place for a status; what it says of a failure has.
            told.status = told.status or _told(request, told)
    return found


def shared(requests: Sequence[SubRequest], answers: Sequence[SubResponse | None]) -> dict[int, Sequence[SubRequest]]:
    """The changesets of which one answer speaks for all members, by the place of each of them."""
    found: dict[int, Sequence[SubRequest]] = {}
    for unit in units(requests):
        first = answers[unit[0].index]
        if len(unit) > 1 and first is not None and all(answers[member.index] is first for member in unit):
            found |= dict.fromkeys([member.index for member in unit], unit)
    return found


def spread(requests: Sequence[SubRequest], answers: Sequence[SubResponse | None]) -> list[SubResponse | None]:
    """*answers*, of which one that speaks for a changeset is that of the member that has failed, as it is in other dialects.

    :raises Wrong: when that cannot be one of them.
    """
    found = list(answers)
    for place, unit in shared(requests, answers).items():
        answer = answers[place]
        # Where there are no groups, or one is late, it is that of each.
        if answer is not None and answer.status not in (501, 504) and requests[place] is not _failed(unit, answer):
            found[place] = _SPOKEN_FOR
    return found


def _failed(unit: Sequence[SubRequest], answer: SubResponse) -> SubRequest:
    """The member of *unit* that has failed with *answer*: the last that ran, or the one behind it, which did not since its key could not be had."""
    ran = sum(faulty.ran[token_of(member)] > 0 for member in unit)
    place = ran if answer.status == 503 else ran - 1
    if not 0 <= place < len(unit):
        raise Wrong(f"{ran} of {len(unit)} members of a changeset have run, and it was answered with {answer}")
    return unit[place]


def _read_lines(drawn: Drawn, answer: Answer) -> list[SubResponse | None]:
    dialect: Any = drawn.dialect
    reader = LinesReader(dialect.read_line, drawn.requests)
    pairs = list(reader.feed(answer.body))
    lines = dict(pairs)
    if not reader.complete or len(lines) < len(pairs) or (len(lines) < len(drawn.requests) and not drawn.stops):
        raise Wrong(f"lines answer the places {sorted(place for place, _ in pairs)} of {len(drawn.requests)}")
    return [lines.get(place) for place in range(len(drawn.requests))]


def _told(request: SubRequest, answer: SubResponse) -> int:
    if answer.kind == "json":
        return int(json.loads(answer.body)["status"])
    return 404 if request.target.startswith("/missing/") else 200


def is_whole(drawn: Drawn, answer: Answer) -> bool:
    """Has all of *answer* come?"""
    try:
        read(drawn, answer)
    except (ValueError, Wrong):
        return False
    return True


def token_of(request: SubRequest) -> str:
    """By which it is known everywhere."""
    return request.target.split("/")[2]


def check(endpoint: Endpoint, drawn: Drawn, answers: Sequence[SubResponse | None]) -> list[Fate]:
    """Is each of *answers* that of its request, or why there is none? What has become of each.

    :raises Wrong: when one is not.
    """
    if len(answers) != len(drawn.requests):
        raise Wrong(f"{endpoint.name}: {len(answers)} answers to {len(drawn.requests)} items")
    found = fates(drawn.requests, [None if answer is None else answer.status for answer in answers], drawn.stops, endpoint.atomic)
    for request, answer, fate in zip(drawn.requests, answers, found, strict=True):
        if answer is None or fate.left_out:
            if answer is not None or not fate.left_out:
                raise Wrong(f"{endpoint.name}: {request.target} was answered with {answer}, and its fate is {fate}")
            continue
        keys = drawn.keys_of(request)
        lines = [_seen(request, key) for key in keys]
        tokens = set(_TOKEN.findall(answer.body))
        # Others may be named where they are why it has not run.
        if tokens - set(_TOKEN.findall(lines[0].encode())) and answer.status != 424:
            raise Wrong(f"{endpoint.name}: {request.target} was answered with {tokens}")
        allowed = set(_expected(endpoint, request, keyed=None not in keys)) if fate.instead is None else {fate.instead, *([504] * endpoint.limited)}
        if answer.status not in allowed:
            what = f"{answer.status} {answer.body[:200]!r}"
            raise Wrong(f"{endpoint.name}: {request.method} {request.target} was answered with {what}, and not with one of {allowed}; {fate}")
        if answer.status in (200, 404):
            _check_own(endpoint, request, answer, lines)
        elif answer is not _SPOKEN_FOR:
            check_failure(drawn.requests, request, answer, fate)
    return found


def _check_own(endpoint: Endpoint, request: SubRequest, answer: SubResponse, lines: list[str]) -> None:
    """Is *answer* what the app says, having seen one of these *lines*?"""
    seen = dict(answer.headers).get("X-Seen")
    line, kind = seen if seen in lines else lines[0], request.target.split("/")[1]
    whole = faulty.body_of(line, kind)
    if answer.body != whole:
        what = f"{len(answer.body)} bytes, {answer.body[:200]!r}"
        raise Wrong(f"{endpoint.name}: {request.target} was answered with {what}, and not with {len(whole)}, {whole[:200]!r}")
    headers = [field for field in answer.headers if field != ("Content-Length", str(len(whole)))]
    # In the one dialect whose requests have no headers, answers have none.
    if headers != (faulty.headers_of(line, kind) if request.headers else []):
        raise Wrong(f"{endpoint.name}: {request.target} was answered with the headers {headers}")


def _seen(request: SubRequest, key: str | None) -> str:
    """What the app has to have seen of *request*, once it has that *key*."""
    given = dict(request.headers)
    return faulty.seen(token_of(request), request.method, [given.get("Content-Type"), given.get("X-Client"), key], request.body)


def _expected(endpoint: Endpoint, request: SubRequest, keyed: bool) -> Iterator[int]:
    """The statuses that the answer to *request* may have, where it is its own."""
    _, kind, _, *rest = request.target.split("/")
    if endpoint.limited:
        yield 504
    if kind == "late":
        return
    if keyed and endpoint.unsound:
        yield 503
    if kind == "die":
        yield 502
    elif kind == "raise":
        where, what = rest
        ends = where == "iteration" and what == "stop-iteration"
        closed = where == "close" and isinstance(faulty.ERRORS[what](), Exception) if what != "recursion" else where == "close"
        yield 200 if ends or closed else 500
        if closed and ((keyed and endpoint.store is not None) or request.group):
            # An answer is closed before it is kept, and within its transaction, and fails with that.
            yield 500
    else:
        yield 404 if kind == "missing" else 200
