"""A PostgreSQL of the tests' own: a new cluster in a temporary directory, reached by a socket in there and by nothing else."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import psycopg
from psycopg.conninfo import make_conninfo


class Database(NamedTuple):
    """An empty database. User and host are the whole way in."""

    host: str
    """The directory of the server's socket."""
    user: str
    name: str

    @property
    def conninfo(self) -> str:
        """As libpq takes it."""
        return make_conninfo(host=self.host, user=self.user, dbname=self.name)

    @property
    def url(self) -> str:
        """As SQLAlchemy takes it."""
        return f"postgresql+psycopg://{self.user}@/{self.name}?host={self.host}"


class Server:
    """A running server."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._numbers = count(1)

    def database(self) -> Database:
        """A new database, which lives as long as the server."""
        made = Database(self._host, "tests", f"tests{next(self._numbers)}")
        with psycopg.connect(made._replace(name="postgres").conninfo, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {made.name}")
        return made


def programs() -> Path | None:
    """Where the newest server's programs are, if there is one. Debian keeps them out of the path."""
    found = shutil.which("initdb")
    if found is not None and Path(found).with_name("postgres").exists():
        return Path(found).parent
    servers = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    return max(servers, key=lambda path: int(path.parent.name), default=None)


@contextlib.contextmanager
def running(programs: Path) -> Iterator[Server]:
    """A server until the block is left. What it holds is thrown away, so it never waits for a disk."""
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile("w+") as output:
        options: dict[str, Any] = {"cwd": directory, "stdout": output, "stderr": subprocess.STDOUT, **_no_root(directory)}
        cluster = ["-D", f"{directory}/data"]
        fresh = ["--no-sync", "--username=tests", "--auth=trust", "--locale=C", "--encoding=UTF8"]
        careless = ["-c", "fsync=off", "-c", "full_page_writes=off"]
        if subprocess.run([programs / "initdb", *cluster, *fresh], check=False, **options).returncode:
            raise _failure(output)
        with subprocess.Popen([programs / "postgres", *cluster, "-c", "listen_addresses=", "-k", directory, *careless], **options) as process:
            try:
                _wait(process, Database(directory, "tests", "postgres"), output)
                yield Server(directory)
            finally:
                # To PostgreSQL this means: end now, without waiting for clients.
                process.send_signal(signal.SIGINT)
                process.wait(timeout=30)


def _no_root(directory: str) -> dict[str, Any]:
    """How to start what refuses to be root."""
    if os.getuid() != 0:
        return {}
    users = {user.pw_name: user for user in pwd.getpwall()}
    user = users.get("postgres") or users["nobody"]
    os.chown(directory, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}


def _wait(process: subprocess.Popen[bytes], database: Database, output: TextIO) -> None:
    until = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(database.conninfo).close()
            return
        time.sleep(0.02)
    raise _failure(output)


def _failure(output: TextIO) -> RuntimeError:
    output.seek(0)
    return RuntimeError(f"PostgreSQL did not start:\n{output.read()}")
