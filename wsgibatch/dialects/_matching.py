"""The client's half of multipart: the answers in a body, and whose answer is whose."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple, TypeAlias

from .._timing import BATCH_DURATION
from ..model import SubRequest, SubResponse
from ._http import response_of
from ._mime import CutOff, Span, boundary_of, part_of, split


class _Leaf(NamedTuple):
    name: str
    """The id of the request that it answers, empty where none is told."""
    answer: SubResponse


Part: TypeAlias = _Leaf | list[_Leaf]


def answered(body: bytes, content_type: str, limit: int) -> tuple[list[Part], bool]:
    """The answers in *body*, as far as they came whole, and whether it lacks its end."""
    try:
        spans, cut = split(body, boundary_of(content_type), limit), False
    except CutOff as error:
        spans, cut = error.parts, True
    return list(_parts(body, spans, limit)), cut


def _parts(body: bytes, spans: list[Span], limit: int) -> Iterator[Part]:
    """The answers at *spans*, those to a changeset as a list."""
    for start, end in spans:
        fields, content = part_of(body, start, end)
        inner = fields.get("content-type", "")
        if inner[:10].lower() == "multipart/":
            yield [_leaf(body, *part_of(body, first, last), last) for first, last in split(body, boundary_of(inner), limit, content, end)]
        else:
            yield _leaf(body, fields, content, end)


def _leaf(body: bytes, fields: Mapping[str, str], start: int, end: int) -> _Leaf:
    status, reason, told, content = response_of(body, start, end)
    name, duration, headers = fields.get("content-id", ""), 0.0, []
    for header, value in told:
        if header == BATCH_DURATION and _SECONDS.match(value):
            duration = float(value)
        elif header.lower() == "content-id":
            # Some servers write it there, and no app does.
            name = name or value
        else:
            headers.append((header, value))
    return _Leaf(name.removeprefix("<").removesuffix(">").removeprefix("response-"), SubResponse(status, reason, headers, content, duration=duration))


_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?\Z")


def named(found: list[Part], requests: Sequence[SubRequest]) -> list[SubResponse | None] | None:
    """The answers by the ids of their requests, where all of both have one; None where they do not.

    :raises ValueError: where their order would tell another thing than the ids that there are.
    """
    leaves = {part.name: part.answer for part in found if isinstance(part, _Leaf)}
    ids = ["" if request.group or request.id is None else str(request.id) for request in requests]
    if "" not in ids and len(leaves) == len(found) and leaves.keys() <= set(ids):
        return [leaves.get(name) for name in ids]
    known = set(filter(None, ids))
    if not any(request.group for request in requests):
        for part, name in zip(found, ids, strict=False):
            if isinstance(part, _Leaf) and part.name != name and part.name in known:
                raise ValueError(f"an answer to {part.name!r} where that to {name!r} should be")
    return None


def matched(found: list[Part], requests: Sequence[SubRequest], cut: bool) -> Iterator[SubResponse | None]:
    """An answer for each of *requests*, by their order: the one answer to a changeset that failed is that of all its members.

    Behind a failure the server may have stopped. What it has not run has None, and so has what was *cut* off.

    :raises ValueError: when there are more answers, or fewer.
    """
    one_each = len(found) == len(requests) and not any(isinstance(part, list) for part in found)
    left = found[::-1]
    failed = False
    for group, members in groupby(requests, lambda request: "" if one_each else request.group):
        count = len(list(members))
        for size in [count] if group else [1] * count:
            if (failed or cut) and not left:
                yield from [None] * size
                continue
            answers = _next(left, size)
            failed = answers[-1:] != [] and answers[-1].status >= 400
            if len(answers) == size:
                yield from answers
            elif failed and len(answers) == 1:
                yield from answers * size
            elif cut and not left:
                yield from [*answers, *[None] * (size - len(answers))]
            else:
                raise ValueError(f"{len(found)} answers to {len(requests)} requests, of which {len(answers)} to a group of {size}")
    if left:
        raise ValueError(f"{len(found)} answers to {len(requests)} requests")


def _next(left: list[Part], size: int) -> list[SubResponse]:
    """Take the answers to the next unit, of *size* requests, off the end of *left*."""
    part = left.pop() if left else []
    if isinstance(part, list):
        return [leaf.answer for leaf in part]
    # Where the answers to a changeset stand among the others, one that failed has a single one.
    others = [left.pop() for _ in range(min(size - 1, len(left)))] if part.answer.status < 400 else []
    return [part.answer, *(other.answer for other in others if isinstance(other, _Leaf))]
