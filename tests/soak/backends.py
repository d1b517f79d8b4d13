"""What stores keep replies in, most of it failing in one way or another while they are used."""

import socket
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any

from tests.servers import redis, run
from wsgibatch.errors import StoreError
from wsgibatch.stores.memory import MemoryStore
from wsgibatch.stores.sqlite import SqliteStore

_PATIENCE = 0.05
"""Seconds that a store waits for what hangs or is locked."""
_RECORDS = 200
"""Replies that a process keeps: few, so that there are as many when the baseline is taken as in the end."""
_UP, _DOWN = 1.0, 0.3
"""Seconds for which Redis can be reached, and cannot."""


class Failing(MemoryStore):
    """One call in ten fails."""

    def __init__(self) -> None:
        super().__init__(_RECORDS)
        self._chance = Random(0)

    def __getattribute__(self, name: str) -> Any:
        if name in ("begin", "renew", "finish", "forget", "peek", "touch", "seen") and object.__getattribute__(self, "_chance").random() < 0.1:
            raise StoreError("it is not there just now")
        return object.__getattribute__(self, name)


@contextmanager
def backends() -> Iterator[dict[str, Any]]:
    """What the middleware takes for its stores, until the block is left."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        corrupt = folder / "corrupt.db"
        corrupt.write_bytes(b"this is no database" * 1000)
        (folder / "missing").mkdir()
        missing = SqliteStore(folder / "missing" / "replies.db")
        (folder / "missing").rmdir()
        stop = threading.Event()
        stores: dict[str, Any] = {
            "memory": MemoryStore(_RECORDS),
            "sqlite": f"sqlite:///{folder}/replies.db",
            "failing": Failing(),
            "corrupt": f"sqlite:///{corrupt}",
            "missing": missing,
            "refused": f"redis://127.0.0.1:{run.free_port()}",
            "locked": SqliteStore(folder / "locked.db", _PATIENCE),
        }
        working = [threading.Thread(target=_lock, args=(folder / "locked.db", stop))]
        # It listens, and never says a word.
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        limits = f"socket_timeout={_PATIENCE}&socket_connect_timeout={_PATIENCE}"
        stores["silent"] = f"redis://127.0.0.1:{silent.getsockname()[1]}?{limits}"
        program = redis.program()
        if program is not None:
            server = stack.enter_context(redis.running(program))
            stores["killed"] = server.url
            working.append(threading.Thread(target=_kill, args=(server, stop)))
        for thread in working:
            thread.start()
        try:
            yield stores
        finally:
            stop.set()
            for thread in working:
                thread.join()


def _lock(path: Path, stop: threading.Event) -> None:
    """Hold *path* locked, and let go of it, in turns."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as connection:
        while not stop.wait(2 * _PATIENCE):
            connection.execute("BEGIN IMMEDIATE")
            stop.wait(4 * _PATIENCE)
            connection.execute("ROLLBACK")


def _kill(server: redis.Server, stop: threading.Event) -> None:
    """Kill *server*, and start it again with nothing in it, in turns."""
    while not stop.wait(_UP):
        server.kill()
        stop.wait(_DOWN)
        server.start()
