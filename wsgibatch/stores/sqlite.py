"""Records in a file of SQLite: for all processes of one machine, and kept over restarts.

The file is in WAL mode and is not synced at each commit: a crash of a process loses nothing, a loss of power may lose the last moments. WAL needs a
local disk. Time is the machine's clock.

Connections are opened as calls need them, and lent to one call at a time. None is ever open while the process forks, since SQLite takes the locks of
the parent for the child's.
"""

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Literal
from weakref import finalize

from ..errors import ConfigError, StoreError
from ..model import Claim, Claimed, Held, Kept, Lost, Signature
from ._fork import Calls
from ._takeover import in_the_way

_SCHEMA = (
    # A row's number is its fence: AUTOINCREMENT gives none twice, not even after rows are gone. A row without a value is not finished.
    """
    CREATE TABLE IF NOT EXISTS wsgibatch_records (
        fence INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        fingerprint BLOB NOT NULL,
        owner TEXT NOT NULL,
        lease_end REAL NOT NULL,
        keep REAL NOT NULL,
        gone REAL NOT NULL,
        value BLOB
    )
    """,
    "CREATE INDEX IF NOT EXISTS wsgibatch_records_gone ON wsgibatch_records (gone)",
    """
    CREATE TABLE IF NOT EXISTS wsgibatch_tags (
        tag TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        signed REAL NOT NULL,
        gone REAL NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS wsgibatch_tags_gone ON wsgibatch_tags (gone)",
)
_LOOK = "SELECT fingerprint, lease_end, value FROM wsgibatch_records WHERE key = ? AND gone > ?"
_CLAIM = "INSERT OR REPLACE INTO wsgibatch_records (key, fingerprint, owner, lease_end, keep, gone) VALUES (?, ?, ?, ?, ?, ?)"
_RENEW = "UPDATE wsgibatch_records SET lease_end = ?, gone = ? + keep WHERE key = ? AND owner = ? AND value IS NULL AND gone > ?"
_KEEP = "UPDATE wsgibatch_records SET value = ?, gone = ? WHERE key = ? AND owner = ? AND value IS NULL AND gone > ?"
_FORGET = "DELETE FROM wsgibatch_records WHERE key = ? AND owner = ? AND value IS NULL AND gone > ?"
_FORGET_KEPT = "DELETE FROM wsgibatch_records WHERE key = ? AND value = ? AND gone > ?"
_PURGE = (
    "DELETE FROM wsgibatch_records WHERE fence IN (SELECT fence FROM wsgibatch_records WHERE gone <= ? LIMIT ?)",
    "DELETE FROM wsgibatch_tags WHERE tag IN (SELECT tag FROM wsgibatch_tags WHERE gone <= ? LIMIT ?)",
)
_SIGNED = "SELECT owner, signed FROM wsgibatch_tags WHERE tag = ? AND gone > ?"
_SIGN = "INSERT OR REPLACE INTO wsgibatch_tags (tag, owner, signed, gone) VALUES (?, ?, ?, ?)"

_PURGE_EVERY = 500
"""Claims between two purges, of all processes together."""
_PURGE_MOST = 1000
"""Rows that one purge deletes: more than have come since the last one, and few enough for a request to wait for."""


class _Connection(sqlite3.Connection):
    """One to a file that is told from those that stood in its place earlier."""

    file: tuple[int, int] | None = None


class SqliteStore:
    """The store ``sqlite:///path``.

    :param path: of the file, which is made by the first call.
    :param timeout: seconds that a call waits for others to be done writing.
    :raises ConfigError: when *path* names no file, or one in a folder that is not there.
    """

    max_body = 16 << 20
    """Bytes of an answer that are kept where a policy does not say: a disk has more room for them than a memory."""

    def __init__(self, path: str | os.PathLike[str], timeout: float = 5.0) -> None:
        if os.fspath(path) in ("", ":memory:"):
            raise ConfigError("store: SQLite in memory would have a database for each connection: name a file, or use 'memory://'")
        # A server may go elsewhere before the first request.
        self._path = Path(path).absolute()
        if not self._path.parent.is_dir():
            raise ConfigError(f"store: there is no folder {str(self._path.parent)!r} to have a file of SQLite in")
        if not isinstance(timeout, float | int) or timeout < 0:
            raise ConfigError(f"timeout: a number of seconds is wanted, not {timeout!r}")
        self._timeout = timeout
        self._idle: list[_Connection] = []
        # A call may wait for other writers for its timeout.
        self._calls = Calls(2 * timeout, self.close)
        # Few close a store that lives as long as its process.
        finalize(self, _close, self._idle)

    @classmethod
    def from_url(cls, url: str) -> "SqliteStore":
        """The store that *url* stands for: three slashes and a relative path, or four and an absolute one.

        :raises ConfigError: when it is written otherwise.
        """
        if not url.startswith("sqlite:///"):
            raise ConfigError(f"store: {url!r} should be written 'sqlite:///path'")
        return cls(url.removeprefix("sqlite:///"))

    def begin(self, key: str, fingerprint: bytes, lease: float, keep: float, on_crash: Literal["execute", "fail"]) -> Claim:
        with self._connection() as connection:
            # First without the lock of the one writer: what is kept can be read by many.
            known = in_the_way(_look(connection, key), fingerprint, on_crash)
            if known is not None:
                return known
            connection.execute("BEGIN IMMEDIATE")
            known = in_the_way(_look(connection, key), fingerprint, on_crash)
            if known is not None:
                connection.execute("ROLLBACK")
                return known
            owner, now = token_hex(16), time.time()
            fence = connection.execute(_CLAIM, (key, fingerprint, owner, now + lease, keep, now + lease + keep)).lastrowid or 0
            if fence % _PURGE_EVERY == 0:
                for purge in _PURGE:
                    connection.execute(purge, (now, _PURGE_MOST))
            connection.execute("COMMIT")
            return Claimed(fence, owner)

    def renew(self, key: str, owner: str, lease: float) -> bool:
        with self._connection() as connection:
            now = time.time()
            return connection.execute(_RENEW, (now + lease, now + lease, key, owner, now)).rowcount == 1

    def finish(self, key: str, owner: str, value: bytes | None, ttl: float) -> bool:
        with self._connection() as connection:
            now = time.time()
            if value is None:
                return connection.execute(_FORGET, (key, owner, now)).rowcount == 1
            return connection.execute(_KEEP, (value, now + ttl, key, owner, now)).rowcount == 1

    def forget(self, key: str, value: bytes) -> bool:
        with self._connection() as connection:
            return connection.execute(_FORGET_KEPT, (key, value, time.time())).rowcount == 1

    def peek(self, key: str) -> Claim | None:
        with self._connection() as connection:
            return _look(connection, key)

    def touch(self, tags: Sequence[str], owner: str, ttl: float) -> list[float | None]:
        if not tags:
            return []
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            now = time.time()
            ages = [_sign(connection, tag, owner, now, ttl) for tag in tags]
            connection.execute("COMMIT")
            return ages

    def seen(self, tags: Sequence[str]) -> list[Signature | None]:
        if not tags:
            return []
        with self._connection() as connection:
            now = time.time()
            found = [connection.execute(_SIGNED, (tag, now)).fetchone() for tag in tags]
            return [row and Signature(row[0], max(0.0, now - row[1])) for row in found]

    def close(self) -> None:
        _close(self._idle)

    @contextmanager
    def _connection(self) -> Iterator[_Connection]:
        """A connection for one call; it is closed, and so rolled back, where the call fails.

        :raises StoreError: for whatever SQLite has to say.
        """
        with self._calls:
            connection: _Connection | None = None
            try:
                connection = self._taken() or self._open()
                yield connection
            except BaseException as error:
                if connection is not None:
                    connection.close()
                if isinstance(error, sqlite3.Error | OSError):
                    raise StoreError(f"{self._path}: {error}") from error
                raise
            self._idle.append(connection)

    def _taken(self) -> _Connection | None:
        # Whoever opens the file now would have another one than those that opened what was deleted since, and each would claim the same keys.
        file = self._file() if self._idle else None
        with suppress(IndexError):
            while True:
                connection = self._idle.pop()
                if file is not None and connection.file == file:
                    return connection
                connection.close()
        return None

    def _file(self) -> tuple[int, int] | None:
        with suppress(FileNotFoundError):
            found = self._path.stat()
            return found.st_dev, found.st_ino
        return None

    def _open(self) -> _Connection:
        # Autocommit: transactions are begun here by hand. Whichever thread is lent it uses it alone.
        connection = sqlite3.connect(self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False, factory=_Connection)
        try:
            self._into_wal(connection)
            connection.file = self._file()
            connection.execute("PRAGMA synchronous = NORMAL")
            for statement in _SCHEMA:
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def _into_wal(self, connection: sqlite3.Connection) -> None:
        """SQLite does not wait by itself for others that change the mode at the same moment."""
        until = time.monotonic() + self._timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(0.01)
            else:
                return


def _close(connections: list[_Connection]) -> None:
    with suppress(IndexError):
        while True:
            connections.pop().close()


def _look(connection: sqlite3.Connection, key: str) -> Claim | None:
    now = time.time()
    row = connection.execute(_LOOK, (key, now)).fetchone()
    if row is None:
        return None
    fingerprint, lease_end, value = row
    if value is not None:
        return Kept(value, fingerprint)
    return Held(lease_end - now, fingerprint) if lease_end > now else Lost(fingerprint)


def _sign(connection: sqlite3.Connection, tag: str, owner: str, now: float, ttl: float) -> float | None:
    row = connection.execute(_SIGNED, (tag, now)).fetchone()
    connection.execute(_SIGN, (tag, owner, now, now + ttl))
    return None if row is None or row[0] == owner else max(0.0, now - row[1])
