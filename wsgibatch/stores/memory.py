"""Records in the memory of this process.

Each process has its own: a request that is sent again to another worker of the server runs again there. So it is for tests, for development, and for
servers of one process. After a fork the child goes on with a copy of what there was.

It is bounded. Where a new record has no room, others make it in this order: those of owners that died so long ago that nobody is told of it any more;
finished ones, first the one that was not asked for the longest, whether its time is over or not; those whose owner has died of late. A record whose
owner is alive never does: where only such are left, whoever comes is told that the store is full.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import count, takewhile
from secrets import token_hex
from threading import RLock
from typing import Literal, NamedTuple

from msgspec import Struct

from ..errors import ConfigError, StoreError
from ..model import Claim, Claimed, Held, Kept, Lost, Signature
from ._fork import rest_at_forks
from ._takeover import in_the_way


class _Record(Struct, gc=False):
    """What is known of a key. Moments are the clock's."""

    owner: str
    fingerprint: bytes
    until: float
    """The end of the lease, or of what was kept."""
    keep: float
    value: bytes = b""


class _Signed(NamedTuple):
    owner: str
    signed: float
    gone: float


class MemoryStore:
    """The store ``memory://``.

    :param max_records: keys that are remembered at a time, and tags likewise.
    :param max_bytes: bytes of the names, fingerprints and values of keys; what Python needs to hold them comes on top, about 500 bytes for each.
    :param clock: seconds, as of :func:`time.monotonic`.
    :raises ConfigError: for bounds within which nothing fits.
    """

    def __init__(self, max_records: int = 10_000, max_bytes: int = 64 << 20, clock: Callable[[], float] = time.monotonic) -> None:
        for name, bound in (("max_records", max_records), ("max_bytes", max_bytes)):
            if not isinstance(bound, int) or bound < 1:
                raise ConfigError(f"{name}: a number from 1 on is wanted, not {bound!r}")
        self._max_records, self._max_bytes, self._clock = max_records, max_bytes, clock
        self._lock = RLock()
        # Begins with the lease that ends first, as long as leases are of one length.
        self._running: OrderedDict[str, _Record] = OrderedDict()
        # Both begin with what was not used for the longest.
        self._finished: OrderedDict[str, _Record] = OrderedDict()
        self._tags: OrderedDict[str, _Signed] = OrderedDict()
        self._bytes = 0
        self._fences = count(1)
        rest_at_forks(self)

    @classmethod
    def from_url(cls, url: str) -> "MemoryStore":
        """The store that *url* stands for, with the usual bounds.

        :raises ConfigError: when it says more than ``memory://``.
        """
        if url != "memory://":
            raise ConfigError(f"store: {url!r} should be written 'memory://'")
        return cls()

    def begin(self, key: str, fingerprint: bytes, lease: float, keep: float, on_crash: Literal["execute", "fail"]) -> Claim:
        with self._lock:
            now = self._clock()
            known = in_the_way(self._look(key, now), fingerprint, on_crash)
            if known is not None:
                if isinstance(known, Kept):
                    self._finished.move_to_end(key)
                return known
            self._forget(key)
            record = _Record(token_hex(16), fingerprint, now + lease, keep)
            self._make_room(_size(key, record), 1, now)
            self._running[key] = record
            self._bytes += _size(key, record)
            return Claimed(next(self._fences), record.owner)

    def renew(self, key: str, owner: str, lease: float) -> bool:
        with self._lock:
            now = self._clock()
            record = self._held(key, owner, now)
            if record is None:
                return False
            record.until = now + lease
            self._running.move_to_end(key)
            return True

    def finish(self, key: str, owner: str, value: bytes | None, ttl: float) -> bool:
        with self._lock:
            now = self._clock()
            record = self._held(key, owner, now)
            if record is None:
                return False
            if value is None:
                self._forget(key)
                return True
            self._make_room(len(value), 0, now, but=key)
            del self._running[key]
            record.value, record.until = value, now + ttl
            self._finished[key] = record
            self._bytes += len(value)
            return True

    def forget(self, key: str, value: bytes) -> bool:
        with self._lock:
            known = self._look(key, self._clock())
            if not isinstance(known, Kept) or known.value != value:
                return False
            self._forget(key)
            return True

    def peek(self, key: str) -> Claim | None:
        with self._lock:
            return self._look(key, self._clock())

    def touch(self, tags: Sequence[str], owner: str, ttl: float) -> list[float | None]:
        with self._lock:
            now = self._clock()
            return [self._sign(tag, _Signed(owner, now, now + ttl)) for tag in tags]

    def seen(self, tags: Sequence[str]) -> list[Signature | None]:
        with self._lock:
            now = self._clock()
            found = [self._tags.get(tag) for tag in tags]
            return [Signature(signed.owner, now - signed.signed) if signed and signed.gone > now else None for signed in found]

    def close(self) -> None:
        pass

    def rest(self) -> None:
        self._lock.acquire()

    def resume(self, child: bool) -> None:
        self._lock.release()

    def _look(self, key: str, now: float) -> Claim | None:
        finished = self._finished.get(key)
        if finished is not None:
            return Kept(finished.value, finished.fingerprint) if finished.until > now else None
        running = self._running.get(key)
        if running is None or running.until + running.keep <= now:
            return None
        return Held(running.until - now, running.fingerprint) if running.until > now else Lost(running.fingerprint)

    def _held(self, key: str, owner: str, now: float) -> _Record | None:
        """The record of *key* that *owner* has claimed and nobody after it, even when the lease is over."""
        record = self._running.get(key)
        return record if record is not None and record.owner == owner and record.until + record.keep > now else None

    def _forget(self, key: str) -> None:
        record = self._running.pop(key, None) or self._finished.pop(key, None)
        if record is not None:
            self._bytes -= _size(key, record)

    def _make_room(self, size: int, records: int, now: float, but: str = "") -> None:
        """See that *size* more bytes and *records* more records fit.

        :raises StoreError: when they cannot. Nothing is forgotten then.
        """
        bytes_over = self._bytes + size - self._max_bytes
        records_over = len(self._running) + len(self._finished) + records - self._max_records
        expendable, victims = self._expendable(now), set[str]()
        while bytes_over > 0 or records_over > 0:
            # What would not fit into an empty store need not go through this one.
            found = next(expendable, None) if size <= self._max_bytes else None
            if found is None:
                raise StoreError(f"the memory is full: at most {self._max_records} records and {self._max_bytes} bytes are kept")
            key, record = found
            if key != but and key not in victims:
                victims.add(key)
                bytes_over -= _size(key, record)
                records_over -= 1
        for key in victims:
            self._forget(key)

    def _expendable(self, now: float) -> Iterator[tuple[str, _Record]]:
        """What makes room, in this order, some of it twice."""
        # A full store does not look through all that runs whenever it is asked. What this passes over, where leases or keeps differ, comes last.
        yield from takewhile(lambda known: known[1].until + known[1].keep <= now, self._running.items())
        yield from self._finished.items()
        for key, record in self._running.items():
            if record.until <= now:
                yield key, record

    def _sign(self, tag: str, signature: _Signed) -> float | None:
        before = self._tags.pop(tag, None)
        self._tags[tag] = signature
        if len(self._tags) > self._max_records:
            # Whoever asks for it takes it for changed, which is dearer and never wrong.
            self._tags.popitem(last=False)
        if before is None or before.owner == signature.owner or before.gone <= signature.signed:
            return None
        return signature.signed - before.signed


def _size(key: str, record: _Record) -> int:
    return len(key) + len(record.fingerprint) + len(record.value)
