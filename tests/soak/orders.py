"""The order of what has run: what has to wait for something else in its batch has not begun before that had ended."""

from collections.abc import Sequence
from itertools import combinations

from tests.soak.answers import Wrong
from tests.soak.batches import Drawn
from tests.soak.endpoints import Endpoint
from tests.soak.faulty import Run
from tests.soak.linked import LATE, units
from wsgibatch import SubRequest, SubResponse
from wsgibatch.model import SAFE


def check(endpoint: Endpoint, drawn: Drawn, answers: Sequence[SubResponse | None], runs: Sequence[Run | None]) -> None:
    """Has no item of *drawn* begun before all that it has to wait for?

    :param runs: how the items have run; None for those that have not.
    :raises Wrong: when one has.
    """
    # A batch that stops at a failure has to know of each whether it is one.
    order = "sequential" if drawn.stops else endpoint.order
    of = {member.index: unit for unit in units(drawn.requests) for member in unit}
    for earlier, later in combinations(drawn.requests, 2):
        answer, first, second = answers[earlier.index], runs[earlier.index], runs[later.index]
        if first is None or second is None or answer is None or answer.status == LATE:
            # What is late may run on, and nothing waits for it any more.
            continue
        if _waits(order, of[earlier.index], of[later.index]) and not first.began < first.ended < second.began:
            raise Wrong(f"{endpoint.name}: {later.target} began at {second.began}, and {earlier.target} ran from {first.began} to {first.ended}")


def _waits(order: str, earlier: Sequence[SubRequest], later: Sequence[SubRequest]) -> bool:
    """Have members of the unit *later* to wait for those of *earlier*, which stand before them?"""
    if earlier is later or order == "sequential":
        return True
    members = {member.index for member in earlier}
    if any(edge.index in members for member in later for edge in member.after):
        return True
    return order == "barrier" and any(member.method not in SAFE for unit in (earlier, later) for member in unit)
