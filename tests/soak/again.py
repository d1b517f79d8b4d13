"""What a batch is answered that is sent again to a store which keeps replies, in front of an app that says the same each time."""

from collections.abc import Iterator, Sequence

from tests.soak.answers import Wrong, shared
from tests.soak.batches import Drawn
from tests.soak.endpoints import Endpoint
from tests.soak.linked import OWN, fates
from wsgibatch import SubRequest, SubResponse

_REFUSED = 424


def forgotten(
    endpoint: Endpoint,
    drawn: Drawn,
    before: Sequence[SubResponse | None],
    answers: Sequence[SubResponse | None],
    ran: Sequence[int],
) -> Iterator[bool]:
    """Of each item whose reply should have been kept: has the store forgotten it? That is allowed, since it is bounded.

    :param before: what they were answered the first time, spread over the members of changesets.
    :param answers: what they were answered this time.
    :param ran: how often each has run this time.
    :raises Wrong: when an answer is not what it was, and nothing that was forgotten can be why.
    """
    found = fates(drawn.requests, [None if answer is None else answer.status for answer in answers], drawn.stops, endpoint.atomic)
    changesets = shared(drawn.requests, answers)
    for request, first, second, fate, times in zip(drawn.requests, before, answers, found, ran, strict=True):
        unit = changesets.get(request.index)
        if unit is not None:
            if request is unit[0]:
                yield from _of_changeset(endpoint, unit, before, second)
            continue
        status = 0 if second is None else second.status
        if (second is None) != fate.left_out or (status == _REFUSED) != (fate.instead == _REFUSED):
            raise Wrong(f"{endpoint.name}: {request.target}, sent again, was answered with {second}, and its fate is {fate}")
        if fate != OWN or first is None or first.status not in (200, 404):
            # What it waits for, or stands and falls with, has failed, be it only now, or only then.
            continue
        lost = _is_split(request, second)
        if not lost and (first.status, first.body) != (status, second and second.body):
            raise Wrong(f"{endpoint.name}: {request.target}, sent again, was answered with {second}, and with {first} before")
        # Keys of other methods are not heeded, and nothing is kept of a group that has failed.
        if request.method == "POST" and None not in drawn.keys_of(request) and not (request.group and first.status == 404):
            yield lost or times > 0


def _of_changeset(endpoint: Endpoint, unit: Sequence[SubRequest], before: Sequence[SubResponse | None], answer: SubResponse | None) -> Iterator[bool]:
    """The same for one whose members share their *answer*, since one of them has failed: where all were well before, only a lost reply is why."""
    firsts = [before[member.index] for member in unit]
    if all(first is not None and first.status == 200 for first in firsts):
        if not _is_split(unit[0], answer):
            raise Wrong(f"{endpoint.name}: the changeset of {unit[0].target}, sent again, was answered with {answer}, and was well before")
        yield True


def _is_split(request: SubRequest, answer: SubResponse | None) -> bool:
    """Is it refused since the store has the replies of some of its group, and not those of others?"""
    return bool(request.group) and answer is not None and answer.status == 409 and b'"in-group"' in answer.body
