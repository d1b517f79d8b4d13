"""How a failure is told: it says why by a code, and which other request is the reason, and nothing of what is inside."""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.soak.linked import UNDONE, Fate
from wsgibatch import SubRequest, SubResponse

_TELLING = re.compile(rb"Traceback|File \\?\"|\.py\b|/wsgibatch/|line [0-9]+, in ")
"""What nobody outside is told of a failure."""
_TOLD = {
    *("type", "title", "status", "detail", "code", "failed_item"),
    *("error", "errno", "message", "details", "description", "error_data", "innererror"),
}
"""Members of a problem document (RFC 9457, section 3.1), and those by which some dialects tell the same."""
_OUTER = {"message", "innererror"}
"""Members beside which a code is one of the dialect's own."""
_CODES = {
    500: {"app-failed"},
    501: {"atomic-unsupported"},
    502: {"worker-died"},
    503: {"store-unavailable"},
    504: {"timed-out", "not-started"},
}
"""Why an item may have a status that is not the app's own, wherever it stands."""
_WAITED_FOR, _WITHIN = "dependency-failed", {"group-stopped", "group-rolled-back"}
"""Why it may be a 424: for one that it waits for, and for one of its group."""


class Untold(Exception):
    """A failure is not told as it has to be."""


class _Told(NamedTuple):
    """What the document of a failure says."""

    names: set[str]
    """Of all its members."""
    codes: list[str]
    """For programs."""
    reasons: list[Any]
    """The requests that it names."""


def check_failure(requests: Sequence[SubRequest], request: SubRequest, answer: SubResponse, fate: Fate) -> None:
    """Does *answer*, which is not the app's own, tell why, and nothing of what is inside?

    :param requests: of its batch.
    :raises Untold: when it does not.
    """
    if _TELLING.search(answer.body):
        raise Untold(f"{request.target} was answered with {answer.body[:500]!r}")
    try:
        told = _read(json.loads(answer.body))
    except ValueError:
        told = _Told(set(), [], [])
    what = f"{request.target} was answered with {answer.status} {answer.body[:300]!r}"
    if told.names - _TOLD or len(told.codes) != 1:
        raise Untold(f"{what}, and no failure is told like this")
    [code] = told.codes
    if code not in _codes(request, answer.status, fate):
        raise Untold(f"{what}, and that is not why: {fate}")
    if told.reasons != [] if answer.status != 424 else len(told.reasons) != 1 or told.reasons[0] not in _reasons(requests, request, code):
        raise Untold(f"{what}, and the request that is named is not why")


def _codes(request: SubRequest, status: int, fate: Fate) -> set[str]:
    """The codes that the answer to *request* may have."""
    if status != 424:
        return _CODES.get(status, set())
    if fate == UNDONE:
        return {"group-rolled-back"}
    return {*([_WAITED_FOR] if request.after else ()), *(_WITHIN if request.group else ())}


def _reasons(requests: Sequence[SubRequest], request: SubRequest, code: str) -> list[str | int]:
    """How those are known that may be why *request* is a 424."""
    waited_for = [requests[edge.index] for edge in request.after]
    # Whoever waits for a group waits for all of it.
    groups = {one.group for one in waited_for if one.group} if code == _WAITED_FOR else {request.group}
    found = [one for one in requests if one.group in groups or (code == _WAITED_FOR and one in waited_for)]
    return [one.index if one.id is None else one.id for one in found]


def _read(document: Any) -> _Told:
    told = _Told(set(), [], [])
    left = [document]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            told.names.update(value)
            left += value.values()
            if isinstance(value.get("code"), str) and not value.keys() & _OUTER:
                told.codes.append(value["code"])
            if "failed_item" in value:
                told.reasons.append(value["failed_item"])
        elif isinstance(value, list):
            left += value
    return told
