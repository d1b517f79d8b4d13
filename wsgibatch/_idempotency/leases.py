"""The leases of the requests that run: one thread per process renews them all.

It is started when a request first claims a key, sleeps until the next lease is due, and holds on to nothing of a request but its lease. A process
that is forked begins with none: what its parent runs, its parent renews.
"""

import os
import threading
import time
from heapq import heappop, heappush

from .._log import log_lost, log_store
from ..protocols import Store


class Lease:
    """A key that one request of this process has claimed."""

    def __init__(self, store: Store, key: str, owner: str, fence: int, seconds: float, max_run: float) -> None:
        self.store, self.key, self.owner, self.fence, self.seconds = store, key, owner, fence, seconds
        self.ends = time.monotonic() + max_run
        self.over = False
        """Has it been given back, or given up?"""
        self.lost = False
        """May somebody else have claimed the key?"""

    def renew(self) -> None:
        """Once more; what a store fails at is tried again when the next one is due."""
        if time.monotonic() >= self.ends:
            self._lose()
            return
        try:
            ours = self.store.renew(self.key, self.owner, self.seconds)
        except Exception as error:
            log_store("renew a lease", error)
            return
        if not ours:
            self._lose()

    def finish(self, value: bytes | None, ttl: float) -> None:
        """Keep *value*, or with None forget the key. The request has run, so whatever a store fails at changes nothing for its client."""
        self.over = True
        try:
            ours = self.store.finish(self.key, self.owner, value, ttl)
        except Exception as error:
            log_store("keep a reply" if value is not None else "give a key back", error)
            return
        if not ours and not self.lost:
            self.lost = True
            log_lost(self.key)

    def _lose(self) -> None:
        # One that ended while the store was being asked has lost nothing.
        if not self.over:
            self.over = self.lost = True
            log_lost(self.key)


class Leases:
    """All leases of this process."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a process does that was forked: locks may be held by threads that it does not have."""
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Lease]] = []
        self._count = 0
        self._thread: threading.Thread | None = None

    def hold(self, lease: Lease) -> None:
        """Renew *lease* until it is over."""
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="wsgibatch-leases", daemon=True)
                thread.start()
                self._thread = thread
            self._push(lease)
            if self._due[0][2] is lease:
                self._changed.notify()

    def _push(self, lease: Lease) -> None:
        self._count += 1
        heappush(self._due, (time.monotonic() + lease.seconds / 3, self._count, lease))

    def _run(self) -> None:
        changed, due = self._changed, self._due
        while True:
            with changed:
                while not due or due[0][0] > time.monotonic():
                    changed.wait(due[0][0] - time.monotonic() if due else None)
                lease = heappop(due)[2]
            if changed is not self._changed:
                # The greenlet that gevent makes of this thread comes through a fork, and has nothing to do there.
                due.clear()
                continue
            if lease.over:
                continue
            lease.renew()
            if not lease.over:
                with changed:
                    self._push(lease)


leases = Leases()
"""Those of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=leases.forget)
