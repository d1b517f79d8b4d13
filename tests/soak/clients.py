"""Clients that post random batches, and look at every answer: each item has one, in its place, and it is its own."""

import io
import itertools
from collections import Counter, deque
from collections.abc import Sequence
from random import Random
from time import monotonic
from typing import Any, NamedTuple

from tests.gateway import Answer
from tests.soak import faulty, orders, transactions
from tests.soak.again import forgotten
from tests.soak.answers import Wrong, answered, check, close, is_whole, read, spread, starting, token_of
from tests.soak.batches import Drawer, Drawn
from tests.soak.endpoints import Endpoint
from tests.soak.linked import FAULTS, OWN, Fate
from tests.soak.tally import Fault, Tally, raising
from wsgibatch import SubRequest, SubResponse

_AGAIN = 0.05, 0.8
"""How many batches are posted again to a store that may fail, or may have forgotten, and to one that keeps replies for them."""
_SETTLED = 5.0
"""Seconds after which what ran on without its client has ended."""


class _Unsettled(NamedTuple):
    """An item that may still be running, or even be started."""

    since: float
    endpoint: str
    target: str
    times: int
    """How often it had run by then."""
    most: int = 1
    """How often it may run."""


class Client:
    """One of many that post at the same time.

    :param number: which of them.
    :param tally: where it counts what has come upon its batches.
    """

    def __init__(self, number: int, endpoints: Sequence[Endpoint], tally: Tally) -> None:
        self._number, self._endpoints, self._tally = number, endpoints, tally
        self._weights = [endpoint.weight for endpoint in endpoints]
        self._chance = Random(number)
        self._drawer = Drawer(number, self._chance)
        self._unsettled: deque[_Unsettled] = deque()
        self.refused = 0
        """Batches that it was told to send again later."""
        self.failed: Counter[int] = Counter()
        """Items that failed, by status."""
        self.limited = self.slow = 0
        """Items with a limit that the app does not exceed; those that were late all the same."""
        self.again = self.forgotten = 0
        """Items that were sent again to a store which keeps replies; those that have run again."""

    def post(self) -> int:
        """Post one batch; the number of items whose answers were looked at.

        :raises Wrong: when one of them is not right.
        """
        self.settle(monotonic() - _SETTLED)
        [endpoint] = self._chance.choices(self._endpoints, self._weights)
        drawn = self._drawer.draw(endpoint)
        with endpoint.open() as middleware:
            return self._posted(endpoint, middleware, drawn)

    def post_ordinary(self, endpoint: Endpoint) -> None:
        """Post a batch that *endpoint* can answer, whatever has come upon it before.

        :raises Wrong: when it does not.
        """
        drawn = self._drawer.draw_ordinary()
        with endpoint.open() as middleware:
            if not self._looked_at(endpoint, middleware, drawn, lines=False):
                raise Wrong(f"{endpoint.name}: an ordinary batch was told to come again")

    def settle(self, before: float) -> None:
        """See that nothing of what was posted *before* that moment, and may have run on without its client, has run too often.

        :raises Wrong: when something has.
        """
        while self._unsettled and self._unsettled[0].since <= before:
            _, name, target, times, most = self._unsettled.popleft()
            times += faulty.taken(target.split("/")[2])
            if times > most:
                raise Wrong(f"{name}: {target} has run {times} times, and may {most} times")

    def _posted(self, endpoint: Endpoint, middleware: Any, drawn: Drawn) -> int:
        chance = self._chance
        fault = chance.random()
        if fault < 0.03:
            return self._broken_off(endpoint, middleware, drawn)
        lines = hasattr(drawn.dialect, "read_line") and chance.random() < 0.1
        if fault < 0.09:
            return self._gone(endpoint, middleware, drawn, lines)
        return self._looked_at(endpoint, middleware, drawn, lines)

    def _looked_at(self, endpoint: Endpoint, middleware: Any, drawn: Drawn, lines: bool) -> int:
        """Post *drawn*, and look at every answer."""
        answer = answered(middleware, drawn.environ(endpoint, lines))
        if answer.status == 503 and endpoint.limited:
            # As many calls as may be are left behind: the client would come again.
            self.refused += 1
            return 0
        if answer.status not in (200, 202):
            raise Wrong(f"{endpoint.name}: {answer}")
        answers = spread(drawn.requests, read(drawn, answer))
        found = check(endpoint, drawn, answers)
        if endpoint.limited:
            self._count_slow(drawn, answers)
        if not endpoint.elsewhere:
            runs = [faulty.runs.get(token_of(request)) for request in drawn.requests]
            transactions.check(endpoint, drawn, answers, runs)
            orders.check(endpoint, drawn, answers, runs)
        for request, told, fate in zip(drawn.requests, answers, found, strict=True):
            self._count(endpoint, request, told, fate)
            if not endpoint.elsewhere:
                self._check_runs(endpoint, request, told, fate)
        if endpoint.store is not None and self._chance.random() < _AGAIN[endpoint.keeps]:
            self._post_again(endpoint, middleware, drawn, answers)
        return len(drawn.requests)

    def _post_again(self, endpoint: Endpoint, middleware: Any, drawn: Drawn, before: list[SubResponse | None]) -> None:
        """Nothing runs twice; where replies are kept, what has a key and was answered well *before* is answered the same, and does not run again."""
        answer = answered(middleware, drawn.environ(endpoint, lines=False))
        if answer.status not in (200, 202):
            raise Wrong(f"{endpoint.name}: a batch that was sent again was answered with {answer}")
        answers = read(drawn, answer)
        ran = [faulty.taken(token_of(request)) for request in drawn.requests]
        for request, times in zip(drawn.requests, ran, strict=True):
            if times > 1:
                raise Wrong(f"{endpoint.name}: {request.target}, sent again, has run {times} times")
        for lost in forgotten(endpoint, drawn, before, answers, ran) if endpoint.keeps else ():
            self.again += 1
            self.forgotten += lost
            self._tally.count(Fault.AGAIN)

    def _broken_off(self, endpoint: Endpoint, middleware: Any, drawn: Drawn) -> int:
        """The client goes away in the middle of its batch: nothing of it runs."""
        environ = drawn.environ(endpoint, lines=False)
        reset = self._chance.random() < 0.5
        half = drawn.body[: len(drawn.body) // 2]
        environ["wsgi.input"] = _Reset(half) if reset else io.BytesIO(half)
        try:
            answer = answered(middleware, environ)
        except ConnectionResetError:
            answer = None
        if (answer is None) != reset and not (answer is not None and answer.status == 503):
            raise Wrong(f"{endpoint.name}: a batch that broke off was answered with {answer}")
        if answer is not None and answer.status not in (400, 503):
            raise Wrong(f"{endpoint.name}: a batch that broke off was answered with {answer}")
        if any(faulty.taken(token_of(request)) for request in drawn.requests):
            raise Wrong(f"{endpoint.name}: items of a batch that broke off have run")
        if answer is None or answer.status == 400:
            self._tally.count(Fault.RESET if reset else Fault.ENDED)
        return len(drawn.requests)

    def _gone(self, endpoint: Endpoint, middleware: Any, drawn: Drawn, lines: bool) -> int:
        """The client goes away before its answer, or in the middle of it; what has been begun may run on."""
        pieces = self._chance.randrange(3)
        started: list[tuple[int, list[tuple[str, str]]]] = []
        result = middleware(drawn.environ(endpoint, lines), starting(started))
        try:
            body = b"".join(itertools.islice(result, pieces))
        finally:
            close(result)
        if not pieces:
            self._tally.count(Fault.GONE)
        elif started[0][0] != 503 and not is_whole(drawn, Answer(*started[0], body)):
            self._tally.count(Fault.CUT)
        self._left_to_run(endpoint, drawn.requests)
        return 0

    def _left_to_run(self, endpoint: Endpoint, requests: list[SubRequest]) -> None:
        """Remember that nobody waits for *requests*, which may run all the same."""
        if not endpoint.elsewhere:
            self._unsettled += [_Unsettled(monotonic(), endpoint.name, request.target, 0) for request in requests]

    def _count(self, endpoint: Endpoint, request: SubRequest, answer: SubResponse | None, fate: Fate) -> None:
        """Count what has come upon *request*, as far as its answer, or the app here, tells."""
        _, kind, token, *rest = request.target.split("/")
        status = 0 if answer is None else answer.status
        if fate != OWN:
            self._tally.count(FAULTS[fate])
            return
        if status >= 500:
            self.failed[status] += 1
        if kind == "raise" and (status == 500 if endpoint.elsewhere else faulty.ran[token]):
            self._tally.count(Fault.CRASHED if endpoint.elsewhere else raising(*rest))
        elif kind == "late" and status == 504 and faulty.ran[token]:
            self._tally.count(Fault.LATE)
        elif kind == "die" and status == 502:
            self._tally.count(Fault.KILLED)
        elif status == 503:
            self._tally.count(endpoint.failing)

    def _count_slow(self, drawn: Drawn, answers: list[SubResponse | None]) -> None:
        """How many items were late that are not to be, and do not stand behind one which may hold them up?"""
        for request, answer in itertools.takewhile(lambda pair: not pair[0].target.startswith("/late/"), zip(drawn.requests, answers, strict=True)):
            # What waits for others, or for its group, may do so for one that is late.
            if not request.after and not request.group and answer is not None:
                self.limited += 1
                self.slow += answer.status == 504

    def _check_runs(self, endpoint: Endpoint, request: SubRequest, answer: SubResponse | None, fate: Fate) -> None:
        """Has *request* run as often as it had to? One whose key could not be had has not, and one that is late may not have."""
        times = faulty.taken(token_of(request))
        status = 0 if answer is None else answer.status
        due = int(fate.runs and status != 503)
        if times > due or (status != 504 and times != due):
            raise Wrong(f"{endpoint.name}: {request.target} has run {times} times, and was answered with {status}; {fate}")
        if status == 504 or not fate.runs:
            self._unsettled.append(_Unsettled(monotonic(), endpoint.name, request.target, times, due))


class _Reset(io.BytesIO):
    """A connection that is reset behind what it holds."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not data:
            raise ConnectionResetError(104, "Connection reset by peer")
        return data
