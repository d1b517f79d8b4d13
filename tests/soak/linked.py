"""Batches whose items hang together, and what has to become of each item, given what those before it were answered."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from random import Random
from typing import Any, Literal, NamedTuple, TypeAlias

from tests.soak.tally import Fault
from wsgibatch import SubRequest
from wsgibatch.model import Edge

STOPPING = ("continue-on-error=false", "odata.continue-on-error=false")
PREFERENCES = (*STOPPING, *STOPPING, "continue-on-error", "continue-on-error=true")
"""How a client says whether its batch stops at a failure."""
_EDGES, _GROUPS, _REFERENCES, _CONDITIONS = 0.3, 0.5, 0.5, 0.15
"""Of the requests, of the batches, of the requests that wait for another, and of the requests that do not refer to any, those that have one."""
_OUTCOMES: tuple[Literal["succeeded", "failed"], ...] = ("succeeded", "failed")
LATE = 504

Atomic: TypeAlias = Callable[[], Any] | Literal["stop"] | None
"""What an endpoint makes of groups."""


class Fate(NamedTuple):
    """What has to become of an item."""

    runs: bool
    instead: int | None = None
    """The status that it is answered with in place of its own; None where it has its own, or none at all, since it does not run."""

    @property
    def left_out(self) -> bool:
        """Is it neither run nor answered?"""
        return not self.runs and self.instead is None


OWN, LEFT_OUT, UNMET, UNSUPPORTED, UNDONE = Fate(True), Fate(False), Fate(False, 424), Fate(False, 501), Fate(True, 424)
FAULTS = {LEFT_OUT: Fault.LEFT_OUT, UNMET: Fault.UNMET, UNSUPPORTED: Fault.UNSUPPORTED, UNDONE: Fault.UNDONE}


def tie(chance: Random, requests: Sequence[SubRequest], edges: bool, groups: bool) -> None:
    """With *edges*, have some of *requests* wait for the success of some before them; with *groups*, have some stand and fall together."""
    for request in requests[1:] if edges else ():
        if chance.random() < _EDGES:
            wanted = chance.sample(range(request.index), min(request.index, chance.randint(1, 3)))
            request.after = tuple(map(Edge, sorted(wanted)))
    if groups and chance.random() < _GROUPS:
        start = 0
        while start < len(requests):
            size, grouped = chance.randint(1, 5), chance.random() < 0.5
            for request in requests[start : start + size] if grouped else ():
                request.group = f"g{start}"
            start += size


def refer(chance: Random, requests: Sequence[SubRequest]) -> dict[bytes, bytes]:
    """Have some of *requests* send the token that one they wait for was answered with, which they know beforehand.

    :returns: what is written of that, and what is to stand there instead, since no client of ours writes references.
    """
    written: dict[bytes, bytes] = {}
    for request in requests:
        meant = [requests[edge.index] for edge in request.after if requests[edge.index].target.startswith(("/ok/", "/json/"))]
        if meant and chance.random() < _REFERENCES:
            other = chance.choice(meant)
            other.target = other.target.replace("/ok/", "/json/")
            request.headers = [(name, str(other.id) if name == "X-Client" else value) for name, value in request.headers]
            written[b'"x-client":"%s"' % str(other.id).encode()] = b'"x-client":"$%s/of"' % str(other.id).encode()
    return written


def decide(chance: Random, requests: Sequence[SubRequest]) -> dict[bytes, bytes]:
    """Have some of *requests*, which are written already, run only if one before them succeeds, or fails, however those end that they wait for.

    :returns: what is written of that, and what is to stand there instead, since no client of ours writes conditions.
    """
    written: dict[bytes, bytes] = {}
    for request in requests:
        others = [other for other in requests[: request.index] if not other.group or other.group != request.group]
        if others and not _refers(request) and chance.random() < _CONDITIONS:
            other, when = chance.choice(others), chance.choice(_OUTCOMES)
            request.after = (*(Edge(edge.index, "ended") for edge in request.after), Edge(other.index, when))
            condition = f"{'not ' if when == 'failed' else ''}${other.group or other.id}/$succeeded"
            plain = f'"id":"{request.id}"'
            written[plain.encode()] = f'{plain},"if":"{condition}"'.encode()
    return written


def _refers(request: SubRequest) -> bool:
    """Does it send a token that another was answered with?"""
    return not dict(request.headers)["X-Client"].isdigit()


def fates(requests: Sequence[SubRequest], statuses: Sequence[int | None], stops: bool, atomic: Atomic) -> list[Fate]:
    """The fate of each of *requests*, of which each waits for earlier ones only.

    :param statuses: what they were answered with; None where there was no answer.
    :param stops: does nothing run, and is nothing answered, behind a failure?
    """
    found: list[Fate] = []
    succeeded: set[int] = set()
    stopped = False
    for unit in units(requests):
        if stopped:
            found += [LEFT_OUT] * len(unit)
            continue
        told = [statuses[request.index] or 0 for request in unit]
        members = {request.index for request in unit}
        edges = [edge for request in unit for edge in request.after]
        met = all(edge.when in ("ended", "succeeded" if edge.index in succeeded | members else "failed") for edge in edges)
        found += [UNMET] * len(unit) if not met and (len(unit) == 1 or atomic) else _of_unit(told, atomic)
        if all(200 <= status < 300 for status in told):
            succeeded |= members
        stopped = stops and max(told) >= 400
    return found


def units(requests: Sequence[SubRequest]) -> Iterator[list[SubRequest]]:
    """*requests*, each by itself or with the members of its group."""
    for group, members in groupby(requests, lambda request: request.group):
        if group:
            yield list(members)
        else:
            yield from ([member] for member in members)


def _of_unit(told: Sequence[int], atomic: Atomic) -> list[Fate]:
    """Of what waits for nothing that has failed, and was answered with the statuses *told*."""
    if len(told) == 1:
        return [OWN]
    if atomic is None:
        return [UNSUPPORTED] * len(told)
    if atomic != "stop" and set(told) == {LATE}:
        # Nobody knows how far it has come.
        return [OWN] * len(told)
    # Where all are undone, the one that has failed is the one that says something else.
    failures = [place for place, status in enumerate(told) if status >= 400 and (atomic == "stop" or status != UNDONE.instead)]
    if not failures:
        return [OWN] * len(told)
    before = OWN if atomic == "stop" else UNDONE
    return [before] * failures[0] + [OWN] + [UNMET] * (len(told) - failures[0] - 1)
