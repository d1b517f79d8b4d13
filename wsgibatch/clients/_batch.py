"""Batches from a client's side, without I/O: what travels together, what is sent again, and whose answer is whose.

:meth:`Sender.send` is a generator that all clients drive. Wherever it needs the world it yields an *effect*:

* ``Post``: post a batch; answered with the status and the headers of what comes back;
* ``More``: answered with the next bytes of that, with none at its end, and with ``Broken`` where it breaks off;
* ``Alone``: send this call as the request that it is; answered with what came back, whose body may be left out;
* ``Pause``: wait;
* ``Settled``: here is the answer to a call, or why there is none. Each call is settled once.

The calls keep their order. What cannot be said in one batch is said in several: behind as many as the server takes, where the cookies change, or
where one depends on another and the dialect has no word for it. A call that the dialect cannot say at all is sent alone, in its turn.
"""

from collections import deque
from collections.abc import Generator, Sequence
from typing import Any

from .. import _lookup, dialects
from .._inherit import is_inherited
from .._vet import answer_in_place
from ..dialects._lines import TYPE
from ..dialects.multipart import MultipartDialect
from ..errors import BatchFailed, ClientError, ConfigError
from ..model import Edge, Fault, Headers, SubRequest, SubResponse
from ..protocols import Dialect, LinesDialect
from ._calls import MORE, Alone, Broken, Call, Effect, Flow, Pause, Post, Settled
from ._reading import Reading
from ._refusals import failed_batch, limit_of, retry_after

LONGEST_PAUSE = 60.0
"""Seconds: where a server asks for more before a request is sent again, its failure is the answer."""


def dialect_of(setting: str | Dialect) -> Dialect:
    """The dialect that *setting* is, or names.

    :raises ConfigError: for an unknown name, and for ``auto``, in which nothing can be written.
    """
    found: Any = setting
    if isinstance(setting, str):
        found = _lookup.named(setting) if ":" in setting else _lookup.member(dialects, setting)
    found = found() if isinstance(found, type) else found
    for part in ("write", "read", "max_body"):
        if not hasattr(found, part):
            raise ConfigError(f"dialect: a batch cannot be written in {setting!r}; name the dialect that the server speaks")
    return found  # type: ignore[no-any-return]


class Sender:
    """What a client knows of its batch endpoint, and learns.

    :param most: calls in one batch; None for as many as the server takes.
    :param retries: how often a call that is answered 429 or 503 is sent again.
    """

    def __init__(self, dialect: Dialect, most: int | None = None, retries: int = 0) -> None:
        if most is not None and (not isinstance(most, int) or most < 1):
            raise ConfigError(f"max_items: at least 1 is wanted, not {most!r}")
        if not isinstance(retries, int) or retries < 0:
            raise ConfigError(f"retries: a number is wanted, 0 or more, not {retries!r}")
        self.dialect = dialect
        self.most = most
        """Calls in a batch, as far as that is known."""
        self._retries = retries
        # A server that is sent more than it takes may close the connection before its 413 can be read.
        self._most_bytes = dialect.max_body("")
        # The servers of Flask-Batch hand nothing of a batch's head down to its parts, so there a part says all for itself.
        self._repeats = isinstance(dialect, MultipartDialect)
        self._says_dependencies = self._can_write([SubRequest(0, "GET", "/", []), SubRequest(1, "GET", "/", [], after=(Edge(0),))])

    def send(self, calls: Sequence[Call]) -> Flow:
        """Have all of *calls* answered, in their order.

        :raises BatchFailed: when a batch is answered with a failure; calls behind it have not been sent.
        """
        left = deque(calls)
        room = len(left)
        while left:
            failed = next((earlier for earlier in left[0].after if not _succeeded(earlier)), None)
            if failed is not None:
                yield _settle(left.popleft(), self._unmet(failed))
                continue
            part = self._next(left, min(room, self.most or room))
            if part[0].alone:
                yield from self._alone(part[0], left)
            elif (yield from self._together(part, left)):
                room *= 2
            elif self.most is None or len(part) <= self.most:
                # Together it is too much, for a reason that says nothing of the number.
                part[0].alone = len(part) == 1
                room = max(len(part) // 2, 1)

    def _next(self, left: deque[Call], most: int) -> list[Call]:
        """The calls from the front of *left* that can travel together, one at least."""
        part = [left.popleft()]
        if not self.can_say(part[0]):
            part[0].alone = True
            return part
        size = len(part[0].body)
        while left and len(part) < most:
            call = left[0]
            size += len(call.body)
            here = [earlier for earlier in call.after if earlier.settled is None]
            unmet = any(earlier.settled is not None and not _succeeded(earlier) for earlier in call.after)
            if size > self._most_bytes or call.key != part[0].key or unmet or (here and not self._says_dependencies) or not self.can_say(call):
                break
            part.append(left.popleft())
        return part

    def can_say(self, call: Call) -> bool:
        """Can *call* travel in a batch?"""
        return not call.alone and self._can_write([SubRequest(0, call.method, call.target, self._said(call, self._lifted([call])), call.body)])

    def _can_write(self, requests: list[SubRequest]) -> bool:
        try:
            self.dialect.write(requests)
        except ValueError:
            return False
        return True

    def _lifted(self, part: Sequence[Call]) -> Headers:
        """The headers that all of *part* bring with one value, and would have from the batch as well."""
        return [
            (name, value)
            for name, value in part[0].headers
            if is_inherited(name) and name.lower() != "accept" and all((name, value) in call.headers for call in part)
        ]

    def _said(self, call: Call, lifted: Headers) -> Headers:
        """The headers that *call* has to say for itself."""
        if self._repeats or call.repeats:
            return call.headers + [header for header in call.shared if header[0].lower() == "cookie"]
        # Anything is what a request accepts that does not say.
        return [header for header in call.headers if header not in lifted and not (header[0].lower() == "accept" and header[1] == "*/*")]

    def _alone(self, call: Call, left: deque[Call]) -> Flow:
        answer: SubResponse = yield Alone(call)
        pause = self._pause(call, answer)
        if pause is None:
            yield _settle(call, answer)
        else:
            call.tries += 1
            left.appendleft(call)
            yield Pause(pause)

    def _together(self, part: list[Call], left: deque[Call]) -> Generator[Effect, Any, bool]:
        """Send *part* as one batch. Calls that are to be sent again are put in front of *left*; so are all, with False, where they are too much."""
        places = {call: place for place, call in enumerate(part)}
        lifted = self._lifted(part)
        requests = [
            SubRequest(
                place,
                call.method,
                call.target,
                self._said(call, lifted),
                call.body,
                f"item-{place}",
                tuple(Edge(places[earlier]) for earlier in dict.fromkeys(call.after) if earlier in places),
            )
            for call, place in places.items()
        ]
        try:
            headers, body = self.dialect.write(requests)
        except ValueError:
            # Each can be said by itself, but not all of them side by side.
            body = None
        if body is None or len(body) > self._most_bytes:
            left.extendleft(reversed(part))
            return False
        form = f"{TYPE}, application/json;q=0.9" if isinstance(self.dialect, LinesDialect) else "multipart/mixed"
        status, answered = yield Post([*part[0].shared, *lifted, *headers, ("Accept", form)], body, part[0].route, len(part))
        if 200 <= status < 300:
            yield from self._answers(part, Reading(self.dialect, requests, status, answered), left)
            return True
        refusal = failed_batch(status, answered, (yield from _rest()))
        if status == 413:
            self._learn(refusal, len(part), len(body))
            left.extendleft(reversed(part))
            return False
        pause = self._pause(part[0], SubResponse(status, "", answered, b""))
        if pause is None:
            raise refusal
        for call in part:
            call.tries += 1
        left.extendleft(reversed(part))
        yield Pause(pause)
        return True

    def _answers(self, part: list[Call], reading: Reading, left: deque[Call]) -> Flow:
        """Settle the calls of *part* as their answers arrive."""
        again: dict[Call, float] = {}
        held: dict[Call, SubResponse] = {}
        broken: Exception | None = None
        # What stands behind something that cannot be read may have no end.
        while not reading.fault:
            data = yield MORE
            if isinstance(data, Broken):
                broken, data = data.error, b""
            for place, answer in reading.feed(data) if data else reading.end(broken is not None):
                call = part[place]
                pause = self._pause(call, answer)
                if pause is not None:
                    again[call] = pause
                elif self._retries and answer.status == 424 and call.after:
                    # Whether that is for good depends on what may be sent again.
                    held[call] = answer
                else:
                    yield _settle(call, answer)
            if not data:
                break
        for call in part:
            if call in held:
                if any(earlier in again for earlier in call.after):
                    again[call] = 0.0
                else:
                    yield _settle(call, held[call])
            elif call.settled is None and call not in again:
                yield _settle(call, reading.missing(f"{call.method} {call.target}", broken))
        if again:
            for call in again:
                call.tries += 1
            left.extendleft([call for call in reversed(part) if call in again])
            yield Pause(max(again.values()))

    def _pause(self, call: Call, answer: SubResponse) -> float | None:
        """Seconds to wait before *call* is sent again, or None where it is not."""
        if answer.status not in (429, 503) or call.tries >= self._retries:
            return None
        pause = retry_after(answer.headers)
        if pause is None:
            pause = 0.5 * 2**call.tries
        return pause if pause <= LONGEST_PAUSE else None

    def _learn(self, refusal: BatchFailed, count: int, size: int) -> None:
        """Keep what a 413 says of the most that the server takes."""
        code, limit = limit_of(refusal.document)
        if code == "too-many-items" and 1 <= limit < count:
            self.most = limit
        elif code == "too-large" and 1 <= limit < size:
            self._most_bytes = limit

    def _unmet(self, earlier: Call) -> SubResponse:
        detail = f"Not sent, since {earlier.method} {earlier.target} has not succeeded."
        return answer_in_place(self.dialect, Fault(424, "dependency-failed", detail))


def _succeeded(call: Call) -> bool:
    # Where the dialect tells no status there is none that says otherwise.
    return isinstance(call.settled, SubResponse) and (call.settled.status == 0 or 200 <= call.settled.status < 300)


def _settle(call: Call, answer: SubResponse | ClientError) -> Settled:
    call.settled = answer
    return Settled(call, answer)


def _rest() -> Generator[Effect, Any, bytes]:
    pieces: list[bytes] = []
    while (data := (yield MORE)) and not isinstance(data, Broken):
        pieces.append(data)
    return b"".join(pieces)
