"""The transactions of groups: each is entered once, left as its group has fared, and its hooks are called for just that."""

from collections.abc import Sequence

from tests.soak import endpoints
from tests.soak.answers import Wrong
from tests.soak.batches import Drawn
from tests.soak.faulty import Run
from tests.soak.linked import LATE, units
from wsgibatch import SubResponse


def check(endpoint: endpoints.Endpoint, drawn: Drawn, answers: Sequence[SubResponse | None], runs: Sequence[Run | None]) -> None:
    """Has each group of *drawn* had a transaction of its own, that ended as its *answers* say, and nothing else one?

    :param runs: how the items have run; None for those that have not.
    :raises Wrong: when it has not.
    """
    for unit in units(drawn.requests):
        statuses = [answer.status for answer in (answers[member.index] for member in unit) if answer is not None]
        noted = [run.transaction for run in (runs[member.index] for member in unit) if run is not None]
        if not noted or LATE in statuses:
            # Nobody knows how far one has come that is late.
            continue
        grouped = bool(unit[0].group) and endpoint.atomic is endpoints.nothing_undone
        expected = None if not grouped else endpoints.COMMITTED if max(statuses) < 400 else endpoints.ROLLED_BACK
        if noted[0] != expected or any(other is not noted[0] for other in noted):
            raise Wrong(f"{endpoint.name}: the group of {unit[0].target} was answered with {statuses}, and of its transaction is noted {noted}")
