"""What stores keep replies in, most of it failing in one way or another while they are used."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any

from tests import disks
from tests.servers import redis, run
from wsgibatch.errors import StoreError
from wsgibatch.stores.memory import MemoryStore
from wsgibatch.stores.redis import RedisStore
from wsgibatch.stores.sqlite import SqliteStore

SOUND = {"memory", "sqlite"}
"""Stores that never fail."""
KEEPING = {"memory"}
"""Those that go by a clock which does not jump."""
PERHAPS = ("killed", "loading", "meddled", "full", "read-only")
"""Stores that not every system has programs for, or allows."""
_PATIENCE = 0.05
"""Seconds that a store waits for what hangs or is locked."""
RECORDS = 100
"""Replies that a process keeps: few, so that there are as many when the baseline is taken as in the end."""
_UP, _DOWN = 1.0, 0.3
"""Seconds for which Redis can be reached, and cannot."""
_LOADING, _KEYS = 0.5, 100
"""Seconds that it takes for loading these keys."""
_DISK = 16 << 20
"""Bytes of the disk that is filled: room for what is kept between two fillings."""
_LOCKED = 12.0
"""Seconds for which a file is locked: a call that comes in the first half of them waits in vain, as long as it does by default."""

# In a process of its own, since SQLite takes what another thread has locked in this one for the child's when it forks.
_LOCKING = """
import select, sqlite3, sys

def over(seconds):
    return select.select([sys.stdin], [], [], seconds)[0]

connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
locked, free = map(float, sys.argv[2:])
while not over(free):
    connection.execute("BEGIN IMMEDIATE")
    over(locked)
    connection.execute("ROLLBACK")
"""


class Failing(MemoryStore):
    """One call in four fails."""

    def __init__(self) -> None:
        super().__init__(RECORDS)
        self._chance = Random(0)

    def __getattribute__(self, name: str) -> Any:
        if name in ("begin", "renew", "finish", "forget", "peek", "touch", "seen") and object.__getattribute__(self, "_chance").random() < 0.25:
            raise StoreError("it is not there just now")
        return object.__getattribute__(self, name)


class Meddled(RedisStore):
    """Something else takes our keys for its own, as often as not before we get there."""

    def __init__(self, server: str) -> None:
        super().__init__(server)
        self._chance = Random(0)

    def _run(self, script: str, key: bytes, *arguments: str | bytes) -> Any:
        if self._chance.random() < 0.5:
            self._client.set(key, "theirs", px=1000)
        return super()._run(script, key, *arguments)


def too_many(store: MemoryStore) -> list[str]:
    """What *store* has in excess of the replies that it may keep."""
    held = len(store._running) + len(store._finished)
    return [f"{held} replies are kept in memory, and may be {RECORDS}"] if held > RECORDS else []


@contextmanager
def backends() -> Iterator[dict[str, Any]]:
    """What the middleware takes for its stores, until the block is left. What this system does not have, or allow, is not among it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        corrupt = folder / "corrupt.db"
        corrupt.write_bytes(b"this is no database" * 1000)
        (folder / "missing").mkdir()
        missing = SqliteStore(folder / "missing" / "replies.db")
        (folder / "missing").rmdir()
        # It listens, and never says a word.
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        limits = f"socket_timeout={_PATIENCE}&socket_connect_timeout={_PATIENCE}"
        stack.enter_context(_locked(folder / "locked.db", 4 * _PATIENCE, 2 * _PATIENCE))
        stores: dict[str, Any] = {
            "memory": MemoryStore(RECORDS),
            "sqlite": f"sqlite:///{folder}/replies.db",
            "failing": Failing(),
            "corrupt": f"sqlite:///{corrupt}",
            "missing": missing,
            "refused": f"redis://127.0.0.1:{run.free_port()}",
            "silent": f"redis://127.0.0.1:{silent.getsockname()[1]}?{limits}",
            "locked": SqliteStore(folder / "locked.db", _PATIENCE),
        }
        program = redis.program()
        if program is not None:
            stores |= _of_redis(program, stack)
        stores |= _on_disks(folder, stack)
        yield stores


@contextmanager
def locked_for_long() -> Iterator[str]:
    """A file that is locked for longer than a store waits by default."""
    with tempfile.TemporaryDirectory() as folder, _locked(Path(folder) / "locked.db", _LOCKED, 2 * _PATIENCE):
        yield f"sqlite:///{folder}/locked.db"


def _of_redis(program: str, stack: ExitStack) -> dict[str, Any]:
    killed = stack.enter_context(redis.running(program))
    stack.enter_context(_in_turns(killed.kill, _DOWN, killed.start, _UP))
    loading = stack.enter_context(redis.loading(program, _KEYS, _LOADING))
    # It is up as soon as it can say that it is loading.
    stack.enter_context(_in_turns(loading.kill, _PATIENCE, loading.start, _LOADING + _UP / 2))
    return {"killed": killed.url, "loading": loading.url, "meddled": Meddled(stack.enter_context(redis.running(program)).url)}


def _on_disks(folder: Path, stack: ExitStack) -> dict[str, Any]:
    for name in ("written", "read-only", "full"):
        (folder / name).mkdir()
    if disks.own_mounts():
        stack.enter_context(disks.read_only(folder / "written", folder / "read-only"))
        stack.enter_context(disks.small(folder / "full", _DISK))
        filler = folder / "full" / "filler"
        stack.enter_context(_in_turns(lambda: disks.fill(filler), 8 * _PATIENCE, filler.unlink, 8 * _PATIENCE))
        found = {"full": SqliteStore(folder / "full" / "replies.db")}
    elif os.geteuid():
        (folder / "read-only").chmod(0o555)
        return {"read-only": SqliteStore(folder / "read-only" / "replies.db")}
    else:
        # Whoever may write what others may not finds nothing read-only.
        return {}
    written = stack.enter_context(closing(SqliteStore(folder / "written" / "replies.db")))
    # Somebody has it open, so that it can be read, until the first fork; then it cannot even be opened.
    written.peek("nothing")
    return found | {"read-only": SqliteStore(folder / "read-only" / "replies.db")}


@contextmanager
def _in_turns(spoil: Any, spoilt: float, mend: Any, well: float) -> Iterator[None]:
    """Call *spoil* and *mend* in turns, in a thread, with so many seconds behind each; the last call is that of *mend*."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(well):
            spoil()
            stop.wait(spoilt)
            mend()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def _locked(path: Path, locked: float, free: float) -> Iterator[None]:
    """*path* is locked, and let go of, in turns."""
    with subprocess.Popen([sys.executable, "-c", _LOCKING, str(path), str(locked), str(free)], stdin=subprocess.PIPE) as locking:
        try:
            yield
        finally:
            locking.communicate()
