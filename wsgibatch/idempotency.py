"""Replies that can be asked for twice: a request that is sent again gets the answer of the first time, and is not executed again.

:class:`IdempotencyMiddleware` stands before any WSGI app. Behind a :class:`~wsgibatch.BatchMiddleware` it guards the items of batches, in front of
one it guards whole batches, and both may stand there at once.

What is decided is decided in ``_idempotency.claims``, which knows no store; what a running request holds is in ``guard``, its answer in ``reply``.
"""

import random
import re
import time
from collections.abc import Callable, Iterable
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast
from weakref import WeakKeyDictionary
from wsgiref.util import FileWrapper

from . import model
from ._grammar import DIGITS
from ._idempotency import claims
from ._idempotency.claims import Busy, Refused, Wanted
from ._idempotency.collect import collected
from ._idempotency.guard import Claimed, Guard
from ._idempotency.leases import Lease, leases
from ._idempotency.policy import Choice, Dimensions, Policy, Rule, chosen
from ._idempotency.records import STALE, Record, again
from ._idempotency.reply import Reply
from ._inherit import CLAIM, GROUP, IN_FLIGHT, IN_TURN, READS, TOUCH
from ._log import log_store, log_unshared
from .errors import ConfigError
from .model import Fault, Group
from .protocols import Store
from .stores import store_of
from .stores.memory import MemoryStore
from .tags import Collector, Marks, Signer, current

__all__ = ("Dimensions", "Guard", "IdempotencyMiddleware", "Policy")

WSGIApp = Callable[..., Iterable[bytes]]

_MAX_BODY = 1 << 20
"""Bytes of an answer that are kept, where neither the policy nor the store says."""
_IN_MEMORY = 256 << 10
_PIECE = 64 << 10
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25
"""Seconds between two looks at a key that another request has."""
_PREFERRED = re.compile(r"(?:\A|[,;])\s*wait\s*=\s*\"?([0-9]{1,9})\"?\s*(?=[,;]|\Z)", re.IGNORECASE)


class IdempotencyMiddleware:
    """Answers a request that it has answered before as it did then, and has everything else answered by *app*.

    :param app: any WSGI app.
    :param store: where replies are kept: ``memory://``, which each process has for itself, ``sqlite:///path``, ``redis://...``, or an object that
        fits :class:`wsgibatch.protocols.Store`. One object may serve several middlewares.
    :param policy: a :class:`Policy` for POST and PATCH; or ``f(environ) -> Policy | None``; or a list of (methods, path, Policy), of which the first
        that fits stands. Methods are a word or several, the path is a regular expression for the whole of PATH_INFO.
    :param overrides: fields of the policy for POST and PATCH, in place of *policy*.
    :raises ConfigError: for what cannot work.
    """

    def __init__(
        self, app: WSGIApp, store: str | Store = "memory://", policy: Policy | Choice | Iterable[Rule] | None = None, **overrides: Any
    ) -> None:
        if not callable(app):
            raise ConfigError(f"app: {app!r} is no WSGI app, since it cannot be called")
        self.app = app
        self._policy = chosen(policy, overrides)
        self.store: Store = store_of(store)
        self._signer = Signer(self.store)
        self._max_body = int(getattr(self.store, "max_body", _MAX_BODY))
        self._unshared = isinstance(self.store, MemoryStore)
        """Is somebody to be warned, once there turn out to be several processes?"""
        self._groups: WeakKeyDictionary[Group, _Members] = WeakKeyDictionary()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        policy = self._policy(environ)
        if policy is None or claims.is_idle(environ, policy) or environ["REQUEST_METHOD"] == "HEAD":
            return collected(self.app, environ, start_response, self._signer)
        if self._unshared and environ.get("wsgi.multiprocess"):
            self._unshared = False
            log_unshared()
        body: BinaryIO = BytesIO()
        try:
            key = claims.client_key(environ, policy)
            who = claims.sender(environ, policy, key)
            if claims.needs_body(policy, key, who):
                body = _body_of(environ, policy.max_request)
            found = self._claimed(claims.wanted(environ, policy, key, who, body), environ, policy)
        except Refused as refused:
            body.close()
            status, headers, document = claims.problem(refused, policy)
            if refused.in_flight and IN_TURN in environ:
                headers.append((IN_FLIGHT, "true"))
            start_response(status, headers)
            return [document]
        except BaseException:
            body.close()
            raise
        if isinstance(found, Record):
            body.close()
            if (batch := current.get()) is not None:
                batch.adopt(self._signer, Marks(found.signed, bool(found.flags & STALE)))
            return _replayed(found, policy, start_response)
        return self._run(found, policy, body, environ, start_response)

    def close(self) -> None:
        """Give back what the store holds, such as connections."""
        self.store.close()

    def _run(
        self, claimed: list[Claimed], policy: Policy, body: BinaryIO, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if not claimed:
            # A lock that its group has already, or a derived key that cannot be had.
            return collected(self.app, environ, start_response, self._signer, body)
        collector = Collector(self._signer, current.get(), time.monotonic())
        guard = Guard(claimed, policy, self._max_body if policy.max_body is None else policy.max_body, body, collector)
        group = environ.get(GROUP)
        if group is not None:
            guard.join(group)
        environ[CLAIM], environ[TOUCH], environ[READS] = guard, collector.touch, collector.reads
        # The server's own wrapper may hand the file to the client's socket, and nothing of it would be seen here.
        environ["wsgi.file_wrapper"] = FileWrapper
        return Reply(guard, start_response).of(self.app, environ)

    def _claimed(self, wants: list[Wanted], environ: dict[str, Any], policy: Policy) -> list[Claimed] | Record:
        """All keys that a request wants, without a derived one that the store cannot tell of; or its answer.

        :raises Refused: when it can have neither.
        """
        group = environ.get(GROUP)
        members = _Members() if group is None else self._groups.setdefault(group, _Members())
        claimed: list[Claimed] = []
        until = time.monotonic() + _patience(environ, policy)
        try:
            for want in wants:
                # A lock that the group has is its members' own.
                record = None if want.kind == "lock" and want.key in members.keys else self._take(want, claimed, members, policy, until, environ)
                if record is not None:
                    _check_again(policy, environ, want)
                    _release(claimed)
                    return record
            members.keys.update(one.want.key for one in claimed)
        except BaseException:
            _release(claimed)
            raise
        return claimed

    def _take(
        self, want: Wanted, claimed: list[Claimed], members: "_Members", policy: Policy, until: float, environ: dict[str, Any]
    ) -> Record | None:
        """Add *want* to what is *claimed*, if it can be; or give what was answered before.

        :raises Refused: when neither may be.
        """
        if want.key in members.keys:
            raise claims.in_group(want)
        found = self._asked(want, policy, until, environ)
        if isinstance(found, Record):
            members.add(want, replayed=True)
            return found
        if found is not None:
            one = Claimed(want, Lease(self.store, want.key, found.owner, found.fence, policy.lease, policy.max_run))
            claimed.append(one)
            # At once, since the next key may have to be waited for.
            leases.hold(one.lease)
            members.add(want, replayed=False)
        return None

    def _asked(self, want: Wanted, policy: Policy, until: float, environ: dict[str, Any]) -> model.Claimed | Record | None:
        """What the store says of a key, in the end: while another request has it, it is asked again until the time *until*."""
        pause = _FIRST_PAUSE
        keep = policy.kept_for if policy.keep is None else policy.keep
        on_crash = "execute" if want.kind == "lock" else policy.on_crash
        while True:
            try:
                claim = self.store.begin(want.key, want.fingerprint, policy.lease, keep, on_crash)
                verdict = claims.judged(claim, want, policy)
                if isinstance(verdict, Record) and isinstance(claim, model.Kept) and self._is_over(verdict, want, policy, environ):
                    # Another one may have found that out before, and run by now.
                    self.store.forget(want.key, claim.value)
                    continue
            except Refused:
                raise
            except Exception as error:
                log_store("claim a key", error)
                if want.kind == "derived":
                    return None
                raise claims.unavailable() from error
            if not isinstance(verdict, Busy):
                return verdict
            left = until - time.monotonic()
            if left <= 0:
                raise claims.in_flight(verdict, want, policy)
            # Not all that wait for one key come back at once.
            time.sleep(min(pause * random.uniform(0.8, 1.2), left))  # noqa: S311 - chance needs no secrecy here
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _is_over(self, record: Record, want: Wanted, policy: Policy, environ: dict[str, Any]) -> bool:
        """Is a reply out of date, or made for other headers than these, and not given out for that?

        Where it is given out although it is out of date, it remembers.
        """
        if not claims.fits(record, want, environ):
            return True
        fades = claims.fades(want, policy)
        if (fades or policy.expose_stale) and not self._signer.is_fresh(record.signed):
            record.flags |= STALE
        return fades and bool(record.flags & STALE)


class _Members:
    """What is known of the members of one group that have come by: either all of them run, or all are answered as before."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        """What they have claimed."""
        self.replayed: bool | None = None

    def add(self, want: Wanted, replayed: bool) -> None:
        """A further member.

        :raises Refused: when it is not as those before it.
        """
        if want.kind == "lock":
            return
        if self.replayed not in (None, replayed):
            raise claims.in_group(want)
        self.replayed = replayed


def _release(claimed: list[Claimed]) -> None:
    """Give back what was claimed for a request that does not run."""
    for one in reversed(claimed):
        one.lease.finish(None, 0.0)


def _check_again(policy: Policy, environ: dict[str, Any], want: Wanted) -> None:
    if policy.revalidate is not None and not policy.revalidate(environ):
        raise claims.revoked(want)


def _replayed(record: Record, policy: Policy, start_response: Callable[..., Any]) -> Iterable[bytes]:
    age = max(0, int(time.time() - record.created)) if policy.expose_age else None
    start_response(record.status, again(record, policy.replayed_header, age, policy.expose_stale))
    return [record.body] if record.body else []


def _patience(environ: dict[str, Any], policy: Policy) -> float:
    """Seconds that a request waits; its client may have it wait less (RFC 7240, section 4.3), never longer."""
    preferred = _PREFERRED.search(environ.get("HTTP_PREFER", "")) if policy.wait else None
    return policy.wait if preferred is None else min(policy.wait, float(preferred[1]))


def _body_of(environ: dict[str, Any], limit: int) -> BinaryIO:
    """The whole body, put back where the app will read it.

    Where neither a length nor the server says where it ends, there is none, for the app as well.

    :raises Refused: when it is too large, or ends too soon.
    """
    announced = environ.get("CONTENT_LENGTH", "")
    if announced and not DIGITS.match(announced):
        raise Refused(Fault(400, "bad-length", "Content-Length is no number."))
    length = int(announced) if announced else limit + 1 if environ.get("wsgi.input_terminated") else 0
    if announced and length > limit:
        raise _too_large(limit)
    body = cast(BinaryIO, SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115 - the app reads it, and it is closed with the answer
    try:
        read = _copy(environ["wsgi.input"], body, length)
        if announced and read < length:
            raise Refused(Fault(400, "bad-length", f"The body ended after {read} of {length} bytes."))  # noqa: TRY301 - closes the copy
        if read > limit:
            raise _too_large(limit)  # noqa: TRY301 - as above
    except BaseException:
        body.close()
        raise
    environ["wsgi.input"] = body
    return body


def _copy(stream: Any, body: BinaryIO, length: int) -> int:
    """At most *length* bytes of *stream*; a read may give fewer than it is asked for, and none at the end only."""
    read = 0
    while read < length and (piece := stream.read(min(length - read, _PIECE))):
        read += body.write(piece)
    body.seek(0)
    return read


def _too_large(limit: int) -> Refused:
    return Refused(Fault(413, "too-large", f"At most {limit} bytes are accepted here with a key.", (("limit", limit),)))
