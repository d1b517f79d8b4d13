"""A request that has its keys, while it runs: what the app is told of that, and what becomes of them in the end.

There are three ends. A request is *kept* (its answer is in the store), *released* (its key is forgotten, and the next try executes), or *abandoned*
(its lease runs out, as if its process had been killed, and a retry gets what the policy has for requests that were lost). In an atomic group the end
waits for the group's: what is rolled back has not happened.
"""

import time
from collections.abc import Sequence
from typing import IO, Any, NamedTuple

from msgspec import Struct

from .._log import log_unkept
from ..model import Group, Headers
from ..tags import Collector, Marks
from . import records
from .claims import Wanted, fades, withheld
from .fingerprints import varied
from .leases import Lease
from .policy import LONGEST, Policy


class _Answer(NamedTuple):
    """What is to be kept."""

    status: str
    headers: Headers
    body: bytes | None
    varied: str = ""


_FAILED = _Answer("500 Internal Server Error", [("Content-Type", "text/plain")], b"The app failed to answer this request.")
"""What is kept of an app that raised, where errors are kept."""


class Claimed(Struct):
    """A key that this request has, and why it wanted it."""

    want: Wanted
    lease: Lease


class Guard:
    """What holds the keys of a request while it runs; the app finds it as ``environ["wsgibatch.idempotency"]``."""

    def __init__(self, claimed: Sequence[Claimed], policy: Policy, limit: int, body: IO[bytes] | None, collector: Collector) -> None:
        self._claimed, self._policy, self._body = claimed, policy, body
        self.collector = collector
        """What the request changes, and goes by."""
        self.limit = limit
        """Bytes of an answer that are kept."""
        self.drain_timeout = policy.drain_timeout
        self._told: bool | None = None
        self._seconds: float | None = None
        self._group: Group | None = None
        self._outcome: tuple[_Answer | None, float] = None, 0.0
        # The reply's own key stands behind a lock.
        self._own = claimed[-1]
        self._fades = fades(self._own.want, policy)

    @property
    def key(self) -> str:
        """The key: the client's own, or a digest where it was derived."""
        return self._own.want.name

    @property
    def fence(self) -> int:
        """A number that has grown each time that this key was claimed. Where the app writes, it can refuse what comes with a smaller one."""
        return self._own.lease.fence

    @property
    def owner(self) -> str:
        """Random; names this one claim."""
        return self._own.lease.owner

    @property
    def lost(self) -> bool:
        """May another request have claimed the key, since this one has run for too long or could not renew its lease?"""
        return any(claimed.lease.lost for claimed in self._claimed)

    def store(self, kept: bool) -> None:
        """Have the answer kept, or not, whatever its status is."""
        self._told = kept

    def ttl(self, seconds: float) -> None:
        """Have the answer kept for *seconds*, if it is.

        :raises ValueError: for what is no time that a store can keep something for.
        """
        if not 0 < seconds <= LONGEST:
            raise ValueError(f"{seconds!r} is not between 0 and {LONGEST:.0f} seconds")
        self._seconds = float(seconds)

    def lasting(self, status: int, headers: Headers) -> bool:
        """Would an answer like this be kept, if it were the whole one?"""
        return records.lasting(status, headers, self._policy.on_error)

    def join(self, group: Group) -> None:
        """Have the end wait for that of *group*."""
        self._group = group
        group.on_commit(lambda: self._finish(*self._outcome))
        group.on_rollback(self._undo)

    def keep(self, status: str, headers: Headers, body: bytes | None, told: bool | None, seconds: float | None, environ: dict[str, Any]) -> None:
        """The answer is whole, and closed.

        :param body: None for one that was too large.
        :param environ: of the request.
        :param told: what the answer itself says of whether it is kept, and *seconds* for how long; the app's word in the environ stands before both.
        """
        told = told if self._told is None else self._told
        kept = self._own.want.kind != "lock" and records.storable(records.code_of(status), headers, self._policy.on_error, told)
        if body is None and self._own.want.kind == "derived":
            # Its client has not asked to be told that there was an answer.
            kept = False
        if told is None and withheld(headers, self._own.want, environ):
            kept = False
        ttl = self._seconds or min(seconds or self._policy.kept_for, LONGEST)
        self._settle(_Answer(status, headers, body, varied(environ, headers)) if kept else None, ttl)

    def failed(self) -> None:
        """The app has raised: nothing is kept, unless the policy keeps errors."""
        kept = self._policy.on_error == "store" and self._own.want.kind != "lock" and self._told is not False
        self._settle(_FAILED if kept else None, self._policy.kept_for)

    def abandon(self) -> None:
        """Nobody knows what became of the request: what it has claimed is left to its leases."""
        self._drop_body()
        for claimed in self._claimed:
            claimed.lease.over = True
        if self._group is None:
            self.collector.end()

    def _settle(self, answer: _Answer | None, ttl: float) -> None:
        self._drop_body()
        if self._group is None:
            self._finish(answer, ttl)
        else:
            self._outcome = answer, ttl

    def _finish(self, answer: _Answer | None, ttl: float) -> None:
        """What the request has changed is known before its reply is."""
        value = None
        if answer is not None and (self._fades or self._policy.expose_stale):
            marks = self.collector.settle(self.owner, ttl)
            value = None if marks.contested and self._fades else self._written(answer, marks)
        else:
            self.collector.end()
            value = None if answer is None else self._written(answer, Marks())
        self._finish_leases(value, ttl)

    def _undo(self) -> None:
        self.collector.discard()
        self._finish_leases(None, 0.0)

    def _written(self, answer: _Answer, marks: Marks) -> bytes | None:
        try:
            return records.encode(
                answer.status,
                answer.headers,
                answer.body,
                self._policy.keep_cookies,
                time.time(),
                marks.signed,
                marks.contested,
                answer.varied,
            )
        except (TypeError, ValueError) as error:
            log_unkept(error)
            return None

    def _finish_leases(self, value: bytes | None, ttl: float) -> None:
        for claimed in reversed(self._claimed):
            claimed.lease.finish(None if claimed.want.kind == "lock" else value, ttl)

    def _drop_body(self) -> None:
        """The copy of the request's body, which may be a file."""
        if self._body is not None:
            self._body.close()
