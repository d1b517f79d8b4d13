"""Items that wait for each other, refer to each other, or stand and fall together.

By the time a unit is run all that it waits for is done, so whether it may run is decided here, in the thread that runs it, and a chain of
failures needs neither recursion nor a list. A group runs in order in that one thread, each answer closed before the next item, in a transaction
that the framework makes; what its members answered is told only once the transaction has ended, since until then it may become untrue.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from ._answer import CRASHED
from ._bind import Binder
from ._caller import Caller, WSGIApp
from ._inherit import GROUP
from ._limits import Ticket
from ._log import log_broken, log_failure, log_group, log_hook
from .model import Answers, Batch, Edge, Fault, Group, Late, SubRequest, SubResponse, Unit
from .protocols import Atomic

_UNSUPPORTED = Fault(501, "atomic-unsupported", "This server has no way to make a group all or nothing: send its requests without one.")
_BROKEN = Fault(500, "transaction-broken", "A transaction failed while this request ran.")
_FAILED = Fault(500, "group-failed", "The group of this request could not be run.")
_UNCOMMITTED = Fault(500, "group-commit-failed", "The group of this request could not be committed.")


def closing(app: WSGIApp) -> WSGIApp:
    """*app* for items that may belong to groups: there a failure to close an answer is one to make it, since a transaction may end in it."""

    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        result = app(environ, start_response)
        return _closed_within(result) if GROUP in environ and hasattr(result, "close") else result

    return call


def _closed_within(result: Any) -> Iterator[bytes]:
    try:
        yield from result
    finally:
        result.close()


class _MemberFailed(Exception):
    """Leaves a transaction so that it is rolled back."""


def _go_on(awaited: bool) -> None:
    """Leave the transaction of a group that nobody waits for any more."""
    if not awaited:
        raise _MemberFailed


class LinkedCaller:
    """Runs the units of one batch, from any thread."""

    def __init__(self, caller: Caller, batch: Batch, binder: Binder, atomic: Atomic | Literal["stop"] | None) -> None:
        self._caller, self._items, self._binder, self._atomic = caller, batch.items, binder, atomic
        self._fails_from = batch.fails_from
        self._succeeded: set[int] = set()
        self._left: set[int] = set()

    def call(self, unit: Unit, ticket: Ticket | None = None) -> Answers:
        if not unit[0].group or (len(unit) == 1 and not callable(self._atomic)):
            return (self._member(unit[0], ticket),)
        answers = self._group(unit, ticket)
        # The outcome of a group is that of all its members.
        if not all(200 <= answer.status < 300 for answer in answers):
            self._succeeded.difference_update(item.index for item in unit)
        return answers

    def late(self, ticket: Ticket) -> Answers:
        # Whatever its worker brings later, nothing may build on it.
        self._left.update(item.index for item in ticket.unit)
        return self._caller.late(ticket)

    def unstarted(self, unit: Unit) -> Answers:
        return self._caller.unstarted(unit)

    def _member(self, item: SubRequest, ticket: Ticket | None) -> SubResponse:
        """One item, if it is not refused, and what it waits for has ended as it has to."""
        if item.refusal is not None:
            return item.refusal
        fault = self._unmet(item.after) if item.after else None
        if fault is None and item.late is not None:
            fault = self._bound(item, item.late)
        if fault is not None:
            return self._caller.in_place(fault)
        answer = self._caller.answer(item, ticket)
        if item.late is not None:
            # It may have grown a good deal, and is not needed any more.
            item.body, item.form = b"", None
        if 200 <= answer.status < 300:
            self._succeeded.add(item.index)
        if item.index in self._binder.wanted:
            self._binder.keep(item, answer)
        return answer

    def _bound(self, item: SubRequest, late: Late) -> Fault | None:
        try:
            return self._binder.bind(item, late)
        except BaseException as error:
            self._caller.heed(error)
            log_failure(item, CRASHED.code, error)
            return CRASHED

    def _unmet(self, edges: tuple[Edge, ...] | list[Edge]) -> Fault | None:
        for edge in edges:
            if edge.index in self._left:
                name = _name(self._items[edge.index])
                return Fault(424, "dependency-failed", f"Not run, since request {name} may still be running.", (("failed_item", name),))
            outcome = "succeeded" if edge.index in self._succeeded else "failed"
            if edge.when not in (outcome, "ended"):
                name = _name(self._items[edge.index])
                return Fault(424, "dependency-failed", f"Not run, since request {name} has not {edge.when}.", (("failed_item", name),))
        return None

    def _group(self, unit: Unit, ticket: Ticket | None) -> Answers:
        if self._atomic is None:
            return tuple(self._caller.in_place(_UNSUPPORTED) for _ in unit)
        doomed = self._doomed(unit)
        if doomed is not None:
            return self._rolled_back(unit, [], *doomed)
        return self._in_order(unit, ticket) if self._atomic == "stop" else self._transaction(unit, self._atomic, ticket)

    def _doomed(self, unit: Unit) -> tuple[int, SubResponse] | None:
        """The member, and its answer, for which a group need not be begun: it is refused, or waits in vain for what is outside."""
        first, last = unit[0].index, unit[-1].index
        for place, item in enumerate(unit):
            if item.refusal is not None and item.refusal.status >= self._fails_from:
                return place, item.refusal
            fault = self._unmet([edge for edge in item.after if not first <= edge.index <= last])
            if fault is not None:
                return place, self._caller.in_place(fault)
        return None

    def _in_order(self, unit: Unit, ticket: Ticket | None) -> Answers:
        """A group of which nothing is undone, up to its first failure."""
        answers: list[SubResponse] = []
        for item in unit:
            if ticket is not None and not ticket.proceed():
                return (*answers, *self._caller.unstarted(unit[len(answers) :]))
            answers.append(self._member(item, ticket))
            if answers[-1].status >= self._fails_from:
                break
        fault = self._because(unit[len(answers) - 1], "group-stopped", "Not run")
        return (*answers, *(self._caller.in_place(fault) for _ in unit[len(answers) :]))

    def _transaction(self, unit: Unit, atomic: Atomic, ticket: Ticket | None) -> Answers:
        """A group in a transaction that *atomic* makes."""
        group = Group()
        answers: list[SubResponse] = []
        stage: Literal["begin", "run", "commit", "end"] = "begin"
        try:
            with atomic() as entered:
                group, stage = _checked(entered), "run"
                for item in unit:
                    _go_on(ticket is None or ticket.proceed())
                    self._in_transaction(item, group, answers, ticket)
                # From here on it is too late to be late.
                _go_on(ticket is None or ticket.commit())
                stage = "commit"
            # One that swallows the exception of a member has left the loop too early to get here with "commit".
            stage = "end" if stage == "commit" else stage
        except _MemberFailed:
            pass
        except BaseException as error:
            self._caller.heed(error)
            log_group(unit, stage, error)
        self._tell(unit, group, committed=stage == "end")
        if stage != "end":
            for item in unit:
                self._binder.forget(item.index)
        match stage:
            case "end":
                return tuple(answers)
            case "run" if ticket is not None and (ticket.late or ticket.left):
                return self._caller.late(ticket)
            case "run":
                culprit = answers[-1] if answers[-1].status >= self._fails_from else self._caller.in_place(_FAILED)
                return self._rolled_back(unit, answers, len(answers) - 1, culprit)
            case _:
                fault = _FAILED if stage == "begin" else _UNCOMMITTED
                return tuple(self._undone(unit, answers, fault))

    def _in_transaction(self, item: SubRequest, group: Group, answers: list[SubResponse], ticket: Ticket | None) -> None:
        """One member: its answer is added to *answers*, and what it did is on the way to be undone where it failed."""
        answers.append(self._caller.in_place(_FAILED))
        item.fields = {**item.fields, **group.environ, GROUP: group}
        with group.item():
            answers[-1] = self._member(item, ticket)
            if answers[-1].status < self._fails_from and group.broken():
                log_broken(item, answers[-1])
                answers[-1] = _instead(answers[-1], self._caller.in_place(_BROKEN))
            if answers[-1].status >= self._fails_from:
                raise _MemberFailed
        # What stands around an item may have kept the exception to itself.
        if answers[-1].status >= self._fails_from:
            raise _MemberFailed

    def _tell(self, unit: Unit, group: Group, committed: bool) -> None:
        """Call the hooks of *group*. What they are told of has happened, whatever becomes of them."""
        try:
            for hook in group.hooks(committed):
                try:
                    hook()
                except BaseException as error:
                    self._caller.heed(error)
                    log_hook(unit, committed, error)
        except BaseException as error:
            self._caller.heed(error)
            log_hook(unit, committed, error)

    def _rolled_back(self, unit: Unit, ran: list[SubResponse], place: int, culprit: SubResponse) -> Answers:
        """The answers of a group of which nothing is left, since its member at *place* has failed."""
        fault = self._because(unit[place], "group-rolled-back", "Undone, or not run")
        answers = self._undone(unit, ran, fault)
        answers[place] = culprit
        return tuple(answers)

    def _undone(self, unit: Unit, ran: list[SubResponse], fault: Fault) -> list[SubResponse]:
        """*fault* for every item; those that *ran* have taken their time all the same."""
        answers = [self._caller.in_place(fault) for _ in unit]
        return [*map(_instead, ran, answers), *answers[len(ran) :]]

    def _because(self, item: SubRequest, code: str, outcome: str) -> Fault:
        name = _name(item)
        return Fault(424, code, f"{outcome}, since request {name} of its group failed.", (("failed_item", name),))


def _instead(untrue: SubResponse, answer: SubResponse) -> SubResponse:
    """*answer*, which takes the place of one that is not true any more."""
    answer.started, answer.duration = untrue.started, untrue.duration
    return answer


def _name(item: SubRequest) -> str | int:
    """How a client knows *item*."""
    return item.index if item.id is None else item.id


def _checked(entered: object) -> Group:
    if not isinstance(entered, Group):
        raise TypeError(f"a group was begun as {entered!r}, which is no wsgibatch.Group")
    return entered
