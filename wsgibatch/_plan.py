"""What has to wait for what.

In the order ``barrier`` neighbouring units that only read may run side by side; any other unit runs alone, after all before it and before all
behind it. So for an app whose safe methods do not write, a batch run by many threads cannot be told from one run in order. Dependencies hold in
every order.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

from msgspec import Struct

from .errors import BadBatch, DependencyCycle
from .model import SAFE, Batch, SubRequest, Unit
from .settings import Settings


class Links(Struct):
    """How the units of a batch hang together. A unit is known by its place in the plan."""

    places: list[int]
    """The unit of each item."""
    sequence: list[int]
    """The order to start the units in: each behind what it waits for, and otherwise as in the batch."""
    waits: list[int]
    """How many units each one waits for; none where the sequence alone settles it."""
    dependants: list[list[int]]
    """The units that wait for each one."""
    stops: bool
    """Does nothing run any more behind a unit that has failed?"""


class Plan(Struct):
    """The units of a batch, in its order, and which of them run alone. ``alone`` is empty where no order is to be kept."""

    units: list[Unit]
    alone: list[bool]
    links: Links | None = None
    echoes: dict[int, list[int]] = {}
    """The units that are not run, since they ask for the same as the one at this place, and are answered with it."""


def make_plan(batch: Batch, settings: Settings, concurrent: bool, repeated: Sequence[Sequence[int]] = ()) -> Plan:
    """The plan for *batch*. An executor that is not concurrent runs units in the order they are given, which keeps every order.

    :param repeated: indexes of items that must not run side by side, where any do.
    :raises BatchRejected: when items wait for each other in a circle, or when the members of a group do not stand side by side.
    """
    if not batch.linked:
        units: list[Unit] = [(item,) for item in batch.items]
        return Plan(units, _alone(units, settings, concurrent), None, _echoes(batch, units, range(len(units))) if settings.coalesce else {})
    units = _units(batch)
    places = [place for place, unit in enumerate(units) for _ in unit] if len(units) < len(batch.items) else list(range(len(units)))
    needs = _needs(batch, units, places)
    sequence = _sequence(batch, units, needs)
    if repeated:
        _put_behind(needs, sequence, places, repeated)
    stops = batch.on_error == "stop"
    if not concurrent or stops:
        # They are run in this sequence one by one, so none is reached before what it waits for.
        needs = [[] for _ in units]
    # Where units are run in order none is called behind a failure (Stopping), so they may all be spawned at once.
    alone = [True] * len(units) if stops and concurrent else _alone(units, settings, concurrent)
    echoes = _echoes(batch, units, sequence, repeated) if settings.coalesce and not stops else {}
    return Plan(units, alone, Links(places, sequence, [*map(len, needs)], _turned(needs), stops), echoes)


def _alone(units: list[Unit], settings: Settings, concurrent: bool) -> list[bool]:
    if not concurrent or settings.order == "free":
        return []
    if settings.order == "sequential":
        return [True] * len(units)
    return [unit[0].method not in SAFE if len(unit) == 1 else any(item.method not in SAFE for item in unit) for unit in units]


def _echoes(batch: Batch, units: list[Unit], sequence: Iterable[int], repeated: Sequence[Sequence[int]] = ()) -> dict[int, list[int]]:
    """The safe units that ask for the same as one before them in *sequence*, with nothing between the two that could change the answer."""
    # What others wait for has to run, or nobody would tell them that it is done.
    needed = {edge.index for item in batch.items for edge in item.after}.union(*repeated)
    echoes: dict[int, list[int]] = {}
    first: dict[object, int] = {}
    for place in sequence:
        unit = units[place]
        item = unit[0]
        if any(item.method not in SAFE for item in unit):
            first.clear()
        elif len(unit) == 1 and item.refusal is None and item.late is None and not (item.after or item.group or item.index in needed):
            asked = (item.method, item.target, item.body, frozenset(item.fields.items()))
            leader = first.setdefault(asked, place)
            if leader != place:
                echoes.setdefault(leader, []).append(place)
    return echoes


def _units(batch: Batch) -> list[Unit]:
    """The items, each by itself or with the members of its group."""
    if not any(item.group for item in batch.items):
        return [(item,) for item in batch.items]
    units: list[Unit] = []
    seen: set[str] = set()
    for group, items in groupby(batch.items, lambda item: item.group):
        if not group:
            units += [(item,) for item in items]
            continue
        unit = tuple(items)
        if group in seen:
            raise BadBatch("The members of an atomic group stand side by side.", batch.place(unit[0]))
        seen.add(group)
        units.append(unit)
    return units


def _needs(batch: Batch, units: list[Unit], places: list[int]) -> list[list[int]]:
    """The other units that each unit waits for, each once."""
    needs: list[list[int]] = []
    for place, unit in enumerate(units):
        found: dict[int, None] = {}
        for item in unit:
            for edge in item.after:
                need = places[edge.index]
                if need != place:
                    found[need] = None
                elif edge.index >= item.index:
                    raise _circle(batch, item)
        needs.append(list(found))
    return needs


def _circle(batch: Batch, item: SubRequest) -> DependencyCycle:
    return DependencyCycle("This request waits for itself, be it by way of others.", batch.place(item))


def _sequence(batch: Batch, units: list[Unit], needs: list[list[int]]) -> list[int]:
    """The places of *units*, in an order to start them in.

    :raises DependencyCycle: when there is none.
    """
    if all(max(found, default=-1) < place for place, found in enumerate(needs)):
        return list(range(len(units)))
    sequence: list[int] = []
    entered, placed = [False] * len(units), [False] * len(units)
    for start in range(len(units)):
        # A stack of our own, since a chain may be longer than Python's.
        way = [] if entered[start] else [(start, iter(needs[start]))]
        entered[start] = True
        while way:
            place, left = way[-1]
            need = next((need for need in left if not placed[need]), None)
            if need is None:
                placed[place] = True
                sequence.append(place)
                way.pop()
            elif entered[need]:
                raise _circle(batch, units[place][0])
            else:
                entered[need] = True
                way.append((need, iter(needs[need])))
    return sequence


def _put_behind(needs: list[list[int]], sequence: list[int], places: list[int], repeated: Sequence[Sequence[int]]) -> None:
    """Have units of which only one may run at a time wait for each other, in the order of *sequence*, so that there can be no circle."""
    turns = {place: turn for turn, place in enumerate(sequence)}
    for indexes in repeated:
        behind = sorted({places[index] for index in indexes}, key=turns.__getitem__)
        for earlier, later in pairwise(behind):
            if earlier not in needs[later]:
                needs[later].append(earlier)


def _turned(needs: list[list[int]]) -> list[list[int]]:
    """Who is needed by whom, from who needs whom."""
    turned: list[list[int]] = [[] for _ in needs]
    for place, found in enumerate(needs):
        for need in found:
            turned[need].append(place)
    return turned
