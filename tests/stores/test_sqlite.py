import gc
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from webob import Request, Response

from tests import disks
from tests.executors.gate import PATIENCE
from tests.stores.calls import CALLS
from tests.stores.test_contract import LONG, REQUEST, claimed, signers
from wsgibatch import ConfigError
from wsgibatch.errors import StoreError
from wsgibatch.idempotency import IdempotencyMiddleware
from wsgibatch.model import Claimed, Held, Kept
from wsgibatch.stores import sqlite
from wsgibatch.stores.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(path, timeout=0.05)
    yield made
    made.close()


every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
every_writing_call = pytest.mark.parametrize("call", list(CALLS.values())[:6], ids=list(CALLS)[:6])


def asked(path: Path, statement: str) -> object:
    with closing(sqlite3.connect(path)) as connection:
        [answer] = connection.execute(statement).fetchone()
    return answer


def test_no_file_is_made_before_the_first_call(store: SqliteStore, path: Path) -> None:
    assert not path.exists()
    store.peek("key")
    assert path.exists()


def test_the_file_is_in_wal_mode(store: SqliteStore, path: Path) -> None:
    store.peek("key")

    assert asked(path, "PRAGMA journal_mode") == "wal"


def test_commits_are_not_synced_one_by_one(store: SqliteStore) -> None:
    with store._connection() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (1,)


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_a_database_in_memory_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="use 'memory://'"):
        SqliteStore(path)


def test_a_file_in_a_directory_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder '.*nowhere'"):
        SqliteStore(tmp_path / "nowhere" / "records.db")


@pytest.mark.parametrize("timeout", [-1, "5", None])
def test_a_timeout_that_is_no_time_is_refused(path: Path, timeout: Any) -> None:
    with pytest.raises(ConfigError, match="^timeout: "):
        SqliteStore(path, timeout)


def test_a_path_is_meant_from_where_the_store_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("records.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    store.peek("key")
    store.close()

    assert (tmp_path / "records.db").exists()


def test_records_outlive_the_store(path: Path) -> None:
    first = SqliteStore(path)
    claim = claimed(first)
    assert first.finish("key", claim.owner, b"answer", LONG)
    first.close()

    second = SqliteStore(path)

    assert second.peek("key") == Kept(b"answer", REQUEST)
    second.close()


def test_a_fence_is_never_given_twice(path: Path) -> None:
    fences = []
    for _ in range(3):
        store = SqliteStore(path)
        for _ in range(3):
            claim = claimed(store)
            fences.append(claim.fence)
            assert store.finish("key", claim.owner, None, LONG)
        store.close()

    assert fences == sorted(set(fences))


@pytest.mark.parametrize(("size", "replayed"), [(16 << 20, True), ((16 << 20) + 1, False)])
def test_an_answer_of_sixteen_megabytes_is_kept(store: SqliteStore, size: int, replayed: bool) -> None:
    middleware = IdempotencyMiddleware(Response(b"x" * size), store)
    request = Request.blank("/", method="POST", headers={"Idempotency-Key": "k", "Authorization": "Bearer ada"})
    assert request.get_response(middleware).status_code == 200

    again = request.get_response(middleware)

    assert (again.status_code, len(again.body) == size) == ((200, True) if replayed else (409, False))
    assert again.headers.get("Idempotent-Replayed") == ("true" if replayed else None)


def test_a_file_that_holds_other_tables_is_shared_with_them(store: SqliteStore, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE records (name TEXT)")
        connection.execute("INSERT INTO records VALUES ('theirs')")
        connection.commit()

    claimed(store)

    assert asked(path, "SELECT name FROM records") == "theirs"


@every_writing_call
def test_a_writer_that_does_not_end_is_a_store_error(store: SqliteStore, path: Path, call: Callable[[SqliteStore], object]) -> None:
    claimed(store)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreError, match="locked") as caught:
            call(store)

    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    call(store)


def test_what_is_kept_can_be_read_while_another_one_writes(store: SqliteStore, path: Path) -> None:
    assert store.finish("key", claimed(store).owner, b"answer", LONG)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")

        assert store.begin("key", REQUEST, LONG, LONG, "execute") == Kept(b"answer", REQUEST)


def test_a_call_waits_for_another_one_that_writes(path: Path) -> None:
    store = SqliteStore(path, timeout=PATIENCE)
    claimed(store, "other")
    found: list[object] = []
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = threading.Thread(target=lambda: found.append(store.begin("key", REQUEST, LONG, LONG, "execute")))
        waiting.start()
        waiting.join(0.05)
        assert not found
    waiting.join(PATIENCE)
    store.close()

    assert isinstance(found[0], Claimed)


def test_a_file_is_brought_into_wal_mode_as_soon_as_others_let_go_of_it(path: Path) -> None:
    store = SqliteStore(path, timeout=PATIENCE)
    found: list[object] = []
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (name TEXT)")
        # Here SQLite gives up at once, whatever timeout it was given.
        other.execute("BEGIN IMMEDIATE")
        waiting = threading.Thread(target=lambda: found.append(store.begin("key", REQUEST, LONG, LONG, "execute")))
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(PATIENCE)
    store.close()

    assert isinstance(found[0], Claimed)


@pytest.fixture
def mounting() -> None:
    if not disks.own_mounts():
        pytest.skip("this system lets nobody mount a disk of its own here")


@pytest.mark.usefixtures("mounting")
def test_a_full_disk_is_a_store_error_and_leaves_the_record_as_it_was(tmp_path: Path) -> None:
    filler = tmp_path / "filler"
    with disks.small(tmp_path, 1 << 20):
        store = SqliteStore(tmp_path / "records.db")
        claim = claimed(store)
        disks.fill(filler)

        for _ in range(2):
            with pytest.raises(StoreError, match="full"):
                claimed(store, "other")
            with pytest.raises(StoreError, match="full"):
                store.finish("key", claim.owner, b"x" * 100_000, LONG)
            with pytest.raises(StoreError, match="full"):
                store.touch(["User:1"], "ada", LONG)
        assert isinstance(store.peek("key"), Held)

        filler.unlink()
        assert store.finish("key", claim.owner, b"x" * 100_000, LONG)
        assert store.peek("key") == Kept(b"x" * 100_000, REQUEST)
        claimed(store, "other")
        store.close()


@pytest.mark.usefixtures("mounting")
def test_a_disk_that_is_full_from_the_start_is_a_store_error_until_there_is_room(tmp_path: Path) -> None:
    filler = tmp_path / "filler"
    with disks.small(tmp_path, 1 << 20):
        disks.fill(filler)
        store = SqliteStore(tmp_path / "records.db")
        for call in CALLS.values():
            with pytest.raises(StoreError):
                call(store)

        filler.unlink()
        for call in CALLS.values():
            call(store)
        store.close()


@pytest.fixture
def read_only(mounting: None, tmp_path: Path) -> Iterator[tuple[SqliteStore, SqliteStore]]:
    """A store, and another one to which the same file is on a disk that can only be read."""
    written, view = tmp_path / "written", tmp_path / "view"
    written.mkdir()
    view.mkdir()
    with disks.read_only(written, view), closing(SqliteStore(written / "records.db")) as first, closing(SqliteStore(view / "records.db")) as second:
        yield first, second


@every_writing_call
def test_a_file_that_can_only_be_read_is_a_store_error(read_only: tuple[SqliteStore, SqliteStore], call: Callable[[SqliteStore], object]) -> None:
    first, second = read_only
    assert first.finish("key", claimed(first).owner, b"answer", LONG)

    with pytest.raises(StoreError, match="readonly"):
        call(second)

    # What is known can be told all the same.
    assert second.begin("key", REQUEST, LONG, LONG, "execute") == Kept(b"answer", REQUEST)


@every_call
def test_a_file_that_nobody_else_has_open_cannot_be_opened_where_nothing_can_be_written(
    read_only: tuple[SqliteStore, SqliteStore], call: Callable[[SqliteStore], object]
) -> None:
    first, second = read_only
    claimed(first)
    first.close()

    with pytest.raises(StoreError, match="unable to open"):
        call(second)


@every_call
def test_a_file_that_is_no_database_is_a_store_error(store: SqliteStore, path: Path, call: Callable[[SqliteStore], object]) -> None:
    path.write_bytes(b"this is no database, whatever its name says " * 100)

    with pytest.raises(StoreError, match="not a database") as caught:
        call(store)

    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)


@every_call
def test_a_file_that_was_overwritten_is_a_store_error(path: Path, call: Callable[[SqliteStore], object]) -> None:
    first = SqliteStore(path)
    for number in range(200):
        claimed(first, f"key {number}")
    first.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:1024] + b"\xff" * (len(whole) - 1024))
    store = SqliteStore(path)

    with pytest.raises(StoreError, match="malformed|corrupt"):
        call(store)

    path.write_bytes(whole)
    call(store)
    store.close()


def test_a_file_that_was_deleted_is_claimed_in_by_nobody_any_more(store: SqliteStore, path: Path) -> None:
    claimed(store)
    other = SqliteStore(path)
    claimed(other, "another key")
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()

    assert isinstance(other.begin("key", REQUEST, LONG, LONG, "fail"), Claimed)
    assert isinstance(store.begin("key", REQUEST, LONG, LONG, "fail"), Held)
    other.close()


@every_call
def test_a_directory_that_has_gone_is_a_store_error_until_it_is_there_again(tmp_path: Path, call: Callable[[SqliteStore], object]) -> None:
    (tmp_path / "later").mkdir()
    store = SqliteStore(tmp_path / "later" / "records.db")
    (tmp_path / "later").rmdir()

    with pytest.raises(StoreError, match="unable to open"):
        call(store)

    (tmp_path / "later").mkdir()
    call(store)
    store.close()


def test_a_call_that_fails_in_the_middle_leaves_no_transaction_behind(store: SqliteStore) -> None:
    claimed(store)

    with pytest.raises(UnicodeEncodeError):
        store.touch(["User:1", "\ud800"], "ada", LONG)

    assert signers(store, ["User:1"]) == [None]
    assert store.touch(["User:1"], "ada", LONG) == [None]


def test_calls_one_after_another_use_one_connection(store: SqliteStore) -> None:
    for number in range(20):
        claimed(store, f"key {number}")

    assert len(store._idle) == 1


def test_closing_closes_the_connections(store: SqliteStore) -> None:
    claimed(store)
    [connection] = store._idle

    store.close()

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_a_store_that_nobody_has_any_more_has_closed_its_connections(path: Path) -> None:
    store = SqliteStore(path)
    claimed(store)
    [connection] = store._idle

    del store
    gc.collect()

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


FORKED = """
import os, sqlite3, sys
from tests.stores.test_contract import claimed
from wsgibatch.stores.sqlite import SqliteStore

store = SqliteStore(sys.argv[1])
claimed(store)
[connection] = store._idle
child = os.fork()
try:
    connection.execute("SELECT 1")
except sqlite3.ProgrammingError:
    claimed(store, f"after {child}")
else:
    sys.exit("the connection has come through the fork")
store.close()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_no_connection_comes_through_a_fork(path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", FORKED, path], capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_what_is_over_is_deleted_now_and_then(store: SqliteStore, path: Path) -> None:
    for number in range(sqlite._PURGE_EVERY - 2):
        assert store.finish(f"key {number}", claimed(store, f"key {number}").owner, b"value", -1)
    store.touch(["User:1"], "ada", -1)
    store.touch(["User:2"], "ada", LONG)
    claimed(store, "alive")
    assert asked(path, "SELECT count(*) FROM wsgibatch_records") == sqlite._PURGE_EVERY - 1

    claimed(store, "last")

    assert asked(path, "SELECT count(*) FROM wsgibatch_records") == 2
    assert asked(path, "SELECT group_concat(tag) FROM wsgibatch_tags") == "User:2"


OPENING = """
import sys
from wsgibatch.stores.sqlite import SqliteStore

store = SqliteStore(sys.argv[1])
sys.stdin.readline()
store.touch(["User:1"], sys.argv[2], 1000)
store.close()
"""


def test_many_processes_may_make_the_file_at_once(path: Path) -> None:
    for _ in range(3):
        openers = [subprocess.Popen([sys.executable, "-c", OPENING, path, str(number)], stdin=subprocess.PIPE) for number in range(6)]
        for opener in openers:
            assert opener.stdin is not None
            opener.stdin.write(b"go\n")
            opener.stdin.flush()
        for opener in openers:
            opener.communicate(timeout=PATIENCE)
        assert [opener.returncode for opener in openers] == [0] * len(openers)
        for file in path.parent.glob("records.db*"):
            file.unlink()


STORMING = """
import sys
from tests.stores.test_contract import LONG, claimed
from wsgibatch.stores.sqlite import SqliteStore

store = SqliteStore(sys.argv[1])
number = 0
while True:
    number += 1
    assert store.finish(f"key {number}", claimed(store, f"key {number}").owner, b"x" * 10_000, LONG)
    print(number, flush=True)
"""


def test_a_process_that_is_killed_takes_nothing_with_it(path: Path, store: SqliteStore) -> None:
    with subprocess.Popen([sys.executable, "-c", STORMING, path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(100):
            done = int(process.stdout.readline())
        process.kill()

    assert done == 100
    assert [store.peek(f"key {number}") for number in range(1, 101)] == [Kept(b"x" * 10_000, REQUEST)] * 100
    claimed(store, "next")
    assert asked(path, "PRAGMA integrity_check") == "ok"
