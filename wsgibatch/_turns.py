"""The writes of a batch, while one of them is being answered elsewhere: to an earlier try of this batch, say, whose client would not wait.

Such a write is refused for now, and its client comes back for it. Had those behind it run meanwhile, they would have happened before it. So they are
held back, and their client comes back for them as well. What only reads changes nothing, and goes on.
"""

from ._caller import Caller
from ._inherit import IN_FLIGHT, IN_TURN
from ._limits import Ticket
from .model import SAFE, Answers, Fault, SubRequest, SubResponse, Unit
from .protocols import Work


class InTurn:
    """Does the work on the items of a batch whose writes have keys and run one after the other.

    Whoever guards them tells by a header that a key is in flight, since it may do so in another process. No client sees that header.

    :param caller: what gives the answers to items that do not reach the app.
    """

    def __init__(self, work: Work, caller: Caller) -> None:
        self._work, self._caller = work, caller
        self.late, self.unstarted = work.late, work.unstarted
        self._fault: Fault | None = None
        self._retry_after = ""

    def call(self, unit: Unit, ticket: Ticket | None = None) -> Answers:
        if all(item.method in SAFE for item in unit):
            return self._work.call(unit, ticket)
        if self._fault is not None:
            return tuple(self._held_back(self._fault) for _ in unit)
        for item in unit:
            item.fields = {**item.fields, IN_TURN: True}
        answers = self._work.call(unit, ticket)
        for item, answer in zip(unit, answers, strict=True):
            if answer.status >= 400 and any(name == IN_FLIGHT for name, _ in answer.headers):
                self._hold_back(item, answer)
        return answers

    def _hold_back(self, item: SubRequest, answer: SubResponse) -> None:
        """No write is started any more behind *item*, which is in flight elsewhere."""
        name = item.index if item.id is None else item.id
        detail = f"Not run, since request {name} stands before it and is being answered elsewhere: send the batch again."
        self._fault = Fault(424, "held-back", detail, (("failed_item", name),))
        self._retry_after = next((value for name, value in answer.headers if name == "Retry-After"), "1")
        answer.headers = [(name, value) for name, value in answer.headers if name != IN_FLIGHT]

    def _held_back(self, fault: Fault) -> SubResponse:
        answer = self._caller.in_place(fault)
        # Which also says that the answer to the batch must not be kept.
        answer.headers.append(("Retry-After", self._retry_after))
        return answer
