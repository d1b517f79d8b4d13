"""What holds for every store of the family; a new one is found by itself, and needs a fixture that gives its url."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from tests.executors.gate import PATIENCE
from wsgibatch import _lookup, stores
from wsgibatch.model import Claimed, Held, Kept, Lost
from wsgibatch.protocols import Store
from wsgibatch.stores import store_of

T = TypeVar("T")

WORDS = _lookup.members(stores)
SHARED = [word for word in WORDS if word != "memory"]
"""What several processes see; the memory is each process's own."""
LONG = 1000.0
"""Seconds that do not pass in a test."""
SHORT = 0.02
"""Seconds that do."""
REQUEST = b"what is asked for"
OTHER = b"something else"


@pytest.fixture(params=WORDS)
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture(params=SHARED)
def shared_url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    made = store_of(url)
    yield made
    made.close()


def claimed(store: Store, key: str = "key", fingerprint: bytes = REQUEST, lease: float = LONG, keep: float = LONG) -> Claimed:
    claim = store.begin(key, fingerprint, lease, keep, "execute")
    assert isinstance(claim, Claimed), claim
    return claim


def dead(store: Store, key: str = "key", keep: float = LONG) -> Claimed:
    """A claim whose owner was never heard of again."""
    claim = claimed(store, key, lease=SHORT, keep=keep)
    time.sleep(2 * SHORT)
    return claim


def signers(store: Store, tags: list[str]) -> list[str | None]:
    return [signature and signature.owner for signature in store.seen(tags)]


def all_at_once(count: int, call: Callable[[], T]) -> list[T]:
    """What *count* threads get that call at the same moment."""
    start = threading.Barrier(count, timeout=PATIENCE)
    found: list[T] = []

    def run() -> None:
        start.wait()
        found.append(call())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return found


@pytest.mark.parametrize("on_crash", ["execute", "fail"])
def test_a_key_that_nobody_has_is_claimed(store: Store, on_crash: str) -> None:
    found = store.begin("key", REQUEST, LONG, LONG, on_crash)  # type: ignore[arg-type]  # one of both words

    assert isinstance(found, Claimed)
    assert found.fence > 0


def test_every_claim_has_an_owner_of_its_own(store: Store) -> None:
    owners = [claimed(store, f"key {number}").owner for number in range(20)]

    assert len(set(owners)) == 20
    assert all(owners)


@pytest.mark.parametrize("on_crash", ["execute", "fail"])
def test_a_key_is_held_while_its_owner_is_alive(store: Store, on_crash: str) -> None:
    claimed(store)

    found = store.begin("key", REQUEST, LONG, LONG, on_crash)  # type: ignore[arg-type]  # one of both words

    assert isinstance(found, Held)
    assert 0 < found.left <= LONG


def test_whoever_finds_a_key_held_is_told_what_it_is_held_for(store: Store) -> None:
    claimed(store, fingerprint=REQUEST)

    found = store.begin("key", OTHER, LONG, LONG, "execute")

    assert isinstance(found, Held)
    assert found.fingerprint == REQUEST


def test_keys_are_claimed_apart(store: Store) -> None:
    claims = [claimed(store, f"key {number}") for number in range(300)]
    for number, claim in enumerate(claims):
        assert store.finish(f"key {number}", claim.owner, b"%d" % number, LONG)

    assert [store.peek(f"key {number}") for number in range(300)] == [Kept(b"%d" % number, REQUEST) for number in range(300)]


@pytest.mark.parametrize("fingerprint", [REQUEST, OTHER])
def test_what_was_kept_is_told_to_all_who_come_with_its_fingerprint(store: Store, fingerprint: bytes) -> None:
    assert store.finish("key", claimed(store).owner, b"answer", LONG)

    assert store.begin("key", fingerprint, LONG, LONG, "execute") == Kept(b"answer", REQUEST)
    assert store.begin("key", fingerprint, LONG, LONG, "fail") == Kept(b"answer", REQUEST)


@pytest.mark.parametrize("value", [b"", b"\0", bytes(range(256)), os.urandom(1 << 20)], ids=["empty", "zero", "all", "1 MiB"])
def test_values_are_any_bytes(store: Store, value: bytes) -> None:
    assert store.finish("key", claimed(store).owner, value, LONG)

    assert store.begin("key", REQUEST, LONG, LONG, "execute") == Kept(value, REQUEST)


@pytest.mark.parametrize("fingerprint", [b"", b"\0", bytes(range(256))], ids=["empty", "zero", "all"])
def test_fingerprints_are_any_bytes(store: Store, fingerprint: bytes) -> None:
    claimed(store, fingerprint=fingerprint)

    found = store.peek("key")

    assert isinstance(found, Held)
    assert found.fingerprint == fingerprint


NAMES = ["", " ", "a", "a ", "A", "é", "e\u0301", "中文", "🎉", "{a}", "}a{", "a\0", "a\nb", "%s", "'; --", "a" * 1000]


def test_no_two_keys_are_one(store: Store) -> None:
    for name in NAMES:
        assert store.finish(name, claimed(store, name).owner, name.encode(), LONG)

    assert [store.peek(name) for name in NAMES] == [Kept(name.encode(), REQUEST) for name in NAMES]


def test_no_two_tags_are_one(store: Store) -> None:
    for name in NAMES:
        assert store.touch([name], f"owner of {name}", LONG) == [None]

    assert signers(store, NAMES) == [f"owner of {name}" for name in NAMES]


def test_a_tag_is_no_key(store: Store) -> None:
    store.touch(["name"], "owner", LONG)
    claimed(store, "name")

    assert signers(store, ["name"]) == ["owner"]


def test_a_key_whose_owner_has_died_is_lost_to_those_who_must_not_run_twice(store: Store) -> None:
    dead(store)

    assert store.begin("key", REQUEST, LONG, LONG, "fail") == Lost(REQUEST)


def test_a_key_whose_owner_has_died_is_lost_to_those_who_ask_something_else(store: Store) -> None:
    dead(store)

    assert store.begin("key", OTHER, LONG, LONG, "execute") == Lost(REQUEST)


def test_a_key_whose_owner_has_died_is_claimed_by_whoever_asks_the_same_and_may_run_twice(store: Store) -> None:
    first = dead(store)

    second = claimed(store)

    assert second.fence > first.fence
    assert second.owner != first.owner


def test_an_owner_that_was_relieved_can_neither_renew_nor_finish(store: Store) -> None:
    first = dead(store)
    second = claimed(store)

    assert not store.renew("key", first.owner, LONG)
    assert not store.finish("key", first.owner, b"late", LONG)
    assert not store.finish("key", first.owner, None, LONG)

    assert store.finish("key", second.owner, b"answer", LONG)
    assert store.peek("key") == Kept(b"answer", REQUEST)


def test_an_owner_that_was_relieved_cannot_undo_what_the_next_one_has_finished(store: Store) -> None:
    first = dead(store)
    assert store.finish("key", claimed(store).owner, b"answer", LONG)

    assert not store.renew("key", first.owner, LONG)
    assert not store.finish("key", first.owner, b"late", LONG)
    assert not store.finish("key", first.owner, None, LONG)

    assert store.peek("key") == Kept(b"answer", REQUEST)


def test_an_owner_that_comes_late_and_was_not_relieved_may_finish(store: Store) -> None:
    claim = dead(store)
    assert store.begin("key", REQUEST, LONG, LONG, "fail") == Lost(REQUEST)

    assert store.finish("key", claim.owner, b"answer", LONG)

    assert store.peek("key") == Kept(b"answer", REQUEST)


def test_an_owner_that_comes_late_and_was_not_relieved_may_renew(store: Store) -> None:
    claim = dead(store)

    assert store.renew("key", claim.owner, LONG)

    assert isinstance(store.begin("key", REQUEST, LONG, LONG, "execute"), Held)


def test_a_lease_ends_when_it_was_renewed_to(store: Store) -> None:
    claim = claimed(store)

    assert store.renew("key", claim.owner, SHORT)
    time.sleep(2 * SHORT)

    assert store.begin("key", REQUEST, LONG, LONG, "fail") == Lost(REQUEST)


def test_a_renewed_lease_outlives_the_first_and_all_that_was_to_be_remembered_of_it(store: Store) -> None:
    claim = claimed(store, lease=SHORT, keep=SHORT)

    # On a machine that stands still here the owner would come too late, and may ask again.
    while not store.renew("key", claim.owner, LONG):
        claim = claimed(store, lease=SHORT, keep=SHORT)
    time.sleep(4 * SHORT)

    found = store.begin("key", REQUEST, LONG, LONG, "execute")
    assert isinstance(found, Held)
    assert found.left > LONG / 2


def test_a_death_is_remembered_from_the_end_of_the_lease(store: Store) -> None:
    claimed(store, keep=0)

    assert isinstance(store.peek("key"), Held)


def test_a_death_after_a_renewal_is_remembered_too(store: Store) -> None:
    claim = claimed(store)
    assert store.renew("key", claim.owner, SHORT)
    time.sleep(2 * SHORT)

    assert store.peek("key") == Lost(REQUEST)


@pytest.mark.parametrize("fingerprint", [REQUEST, OTHER])
def test_a_death_is_forgotten_after_its_time(store: Store, fingerprint: bytes) -> None:
    first = dead(store, keep=SHORT)
    time.sleep(SHORT)

    assert store.peek("key") is None
    assert not store.renew("key", first.owner, LONG)
    assert not store.finish("key", first.owner, b"late", LONG)
    second = store.begin("key", fingerprint, LONG, LONG, "fail")

    assert isinstance(second, Claimed)
    assert second.fence > first.fence


def test_a_key_can_be_forgotten(store: Store) -> None:
    first = claimed(store)

    assert store.finish("key", first.owner, None, LONG)

    assert store.peek("key") is None
    assert claimed(store, fingerprint=OTHER).fence > first.fence


def test_what_was_kept_is_forgotten_after_its_time(store: Store) -> None:
    first = claimed(store)
    assert store.finish("key", first.owner, b"answer", SHORT)
    time.sleep(2 * SHORT)

    assert store.peek("key") is None
    assert claimed(store, fingerprint=OTHER).fence > first.fence


def test_what_was_kept_outlives_the_lease(store: Store) -> None:
    claim = claimed(store, lease=SHORT, keep=SHORT)
    # As above.
    while not store.finish("key", claim.owner, b"answer", LONG):
        claim = claimed(store, lease=SHORT, keep=SHORT)
    time.sleep(4 * SHORT)

    assert store.peek("key") == Kept(b"answer", REQUEST)


def test_what_is_finished_is_not_finished_again(store: Store) -> None:
    claim = claimed(store)
    assert store.finish("key", claim.owner, b"first", LONG)

    assert not store.finish("key", claim.owner, b"second", LONG)
    assert not store.finish("key", claim.owner, None, LONG)
    assert not store.renew("key", claim.owner, LONG)

    assert store.peek("key") == Kept(b"first", REQUEST)


def test_what_nobody_has_claimed_can_neither_be_renewed_nor_finished(store: Store) -> None:
    assert not store.renew("key", "nobody", LONG)
    assert not store.finish("key", "nobody", b"answer", LONG)
    assert not store.finish("key", "", None, LONG)
    assert store.peek("key") is None


def test_an_owner_holds_its_own_key_only(store: Store) -> None:
    claim = claimed(store)
    claimed(store, "other")

    assert not store.renew("other", claim.owner, LONG)
    assert not store.finish("other", claim.owner, b"answer", LONG)


def test_looking_at_a_key_does_not_claim_it(store: Store) -> None:
    assert store.peek("key") is None
    assert store.peek("key") is None
    claimed(store)


def test_looking_at_a_key_tells_who_holds_it_and_who_has_lost_it(store: Store) -> None:
    claimed(store, "held")
    dead(store, "lost")

    held = store.peek("held")
    assert isinstance(held, Held)
    assert 0 < held.left <= LONG
    assert store.peek("lost") == Lost(REQUEST)
    assert store.peek("lost") == Lost(REQUEST)


def test_of_many_threads_that_come_at_once_one_claims(store: Store) -> None:
    found = all_at_once(50, lambda: type(store.begin("key", REQUEST, LONG, LONG, "execute")))

    assert Counter(found) == {Claimed: 1, Held: 49}


def test_of_many_threads_one_relieves_an_owner_that_has_died(store: Store) -> None:
    dead(store)

    found = all_at_once(50, lambda: type(store.begin("key", REQUEST, LONG, LONG, "execute")))

    assert Counter(found) == {Claimed: 1, Held: 49}


def test_of_many_threads_that_finish_at_once_one_has_finished(store: Store) -> None:
    claim = claimed(store)

    found = all_at_once(20, lambda: store.finish("key", claim.owner, b"answer", LONG))

    assert Counter(found) == {True: 1, False: 19}


def test_what_is_kept_can_be_forgotten_by_who_knows_it(store: Store) -> None:
    store.finish("key", claimed(store).owner, b"answer", LONG)

    assert store.forget("key", b"answer")
    assert store.peek("key") is None
    assert isinstance(store.begin("key", OTHER, LONG, LONG, "execute"), Claimed)


@pytest.mark.parametrize("known", ["nothing", "another answer", "a claim", "a death"])
def test_what_is_not_what_is_kept_is_not_forgotten(store: Store, known: str) -> None:
    if known == "another answer":
        store.finish("key", claimed(store).owner, b"another", LONG)
    elif known != "nothing":
        claimed(store, lease=SHORT if known == "a death" else LONG)
        time.sleep(2 * SHORT)
    before = type(store.peek("key"))

    assert not store.forget("key", b"answer")
    assert type(store.peek("key")) is before


def test_what_was_kept_is_forgotten_once(store: Store) -> None:
    store.finish("key", claimed(store).owner, b"answer", LONG)

    found = all_at_once(20, lambda: store.forget("key", b"answer"))

    assert Counter(found) == {True: 1, False: 19}


def test_who_has_signed_is_told_with_the_time_since(store: Store) -> None:
    store.touch(["User:1"], "ada", LONG)
    time.sleep(2 * SHORT)

    [signature] = store.seen(["User:1"])

    assert signature is not None
    assert signature.owner == "ada"
    assert SHORT < signature.age < LONG


def test_a_tag_that_nobody_has_signed_has_no_age(store: Store) -> None:
    assert signers(store, ["User:1"]) == [None]
    assert store.touch(["User:1"], "ada", LONG) == [None]


def test_a_tag_is_as_old_as_somebody_elses_signature(store: Store) -> None:
    store.touch(["User:1"], "ada", LONG)
    time.sleep(2 * SHORT)

    [age] = store.touch(["User:1"], "bob", LONG)

    assert age is not None
    assert SHORT < age < LONG


def test_the_age_of_a_signature_does_not_depend_on_how_long_it_was_to_last(store: Store) -> None:
    store.touch(["User:1"], "ada", LONG)
    [first] = store.touch(["User:1"], "bob", 3 * LONG)
    [second] = store.touch(["User:1"], "cyd", LONG / 2)

    assert first is not None
    assert second is not None
    assert 0 <= first < LONG / 4
    assert 0 <= second < LONG / 4


def test_ones_own_signature_has_no_age(store: Store) -> None:
    store.touch(["User:1"], "ada", LONG)

    assert store.touch(["User:1"], "ada", LONG) == [None]
    assert store.touch(["User:2", "User:2"], "ada", LONG) == [None, None]


def test_signing_again_after_somebody_else_has_an_age(store: Store) -> None:
    store.touch(["User:1"], "ada", LONG)
    store.touch(["User:1"], "bob", LONG)

    [age] = store.touch(["User:1"], "ada", LONG)

    assert age is not None
    assert age >= 0


def test_tags_are_told_in_their_order(store: Store) -> None:
    store.touch(["b", "d"], "ada", LONG)

    assert [age is None for age in store.touch(["a", "b", "c", "d"], "bob", LONG)] == [True, False, True, False]
    store.touch(["c"], "ada", LONG)
    assert signers(store, ["c", "nothing", "a", "c"]) == ["ada", None, "bob", "ada"]


def test_a_signature_is_gone_after_its_time(store: Store) -> None:
    store.touch(["User:1"], "ada", SHORT)
    time.sleep(2 * SHORT)

    assert signers(store, ["User:1"]) == [None]
    assert store.touch(["User:1"], "bob", LONG) == [None]


def test_no_tags_have_no_signatures(store: Store) -> None:
    assert store.touch([], "ada", LONG) == []
    assert signers(store, []) == []


def test_a_store_that_was_closed_goes_on_where_it_was(store: Store) -> None:
    first = claimed(store)
    store.touch(["User:1"], "ada", LONG)

    store.close()
    store.close()

    assert store.finish("key", first.owner, b"answer", LONG)
    assert store.peek("key") == Kept(b"answer", REQUEST)
    assert signers(store, ["User:1"]) == ["ada"]


def test_a_store_that_was_never_used_can_be_closed(url: str) -> None:
    store_of(url).close()


FORKED = """
import os, sys, threading
from tests.stores.test_contract import LONG, claimed
from wsgibatch.stores import store_of

store = store_of(sys.argv[1])
busy, stop = threading.Event(), threading.Event()

def work():
    number = 0
    while not stop.is_set():
        number += 1
        name = f"{threading.get_ident()} {number}"
        assert store.finish(name, claimed(store, name).owner, b"value", LONG)
        busy.set()

def use(name):
    assert store.finish(name, claimed(store, name).owner, b"value", LONG)
    assert store.touch([name], "ada", LONG) == [None]

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
busy.wait()
for number in range(20):
    child = os.fork()
    if not child:
        # Whatever goes wrong here, the other threads are not waited for: there are none.
        ended = 1
        try:
            use(f"child {number}")
            ended = 0
        finally:
            os._exit(ended)
    use(f"parent {number}")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, number
stop.set()
for thread in threads:
    thread.join()
store.close()
"""


def test_a_store_works_in_both_processes_after_a_fork_amid_calls(url: str) -> None:
    # Python 3.12 warns of what is done here.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED, url]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")


REMEMBERED = """
import os, sys
from tests.stores.test_contract import LONG, REQUEST, claimed
from wsgibatch.model import Kept
from wsgibatch.stores import store_of

store = store_of(sys.argv[1])
assert store.finish("key", claimed(store).owner, b"answer", LONG)
child = os.fork()
assert store.peek("key") == Kept(b"answer", REQUEST)
store.close()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_forgets_nothing(url: str) -> None:
    ended = subprocess.run([sys.executable, "-c", REMEMBERED, url], capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")


UNFINISHED = """
import sys
from tests.stores.test_contract import claimed
from wsgibatch.stores import store_of

claimed(store_of(sys.argv[1]))
"""


def test_a_store_that_is_never_closed_does_not_keep_the_interpreter_from_ending(url: str) -> None:
    ended = subprocess.run([sys.executable, "-c", UNFINISHED, url], capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_stores_of_one_url_are_one(shared_url: str) -> None:
    one, other = store_of(shared_url), store_of(shared_url)
    claim = claimed(one)
    one.touch(["User:1"], "ada", LONG)

    assert isinstance(other.begin("key", REQUEST, LONG, LONG, "execute"), Held)
    assert other.finish("key", claim.owner, b"answer", LONG)
    assert one.peek("key") == Kept(b"answer", REQUEST)
    assert signers(other, ["User:1"]) == ["ada"]
    one.close()
    other.close()


RACING = """
import sys
from wsgibatch.model import Claimed, Held, Kept
from wsgibatch.stores import store_of

store = store_of(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for number in range(50):
    found = store.begin(f"key {number}", b"", 1000, 1000, "execute")
    while isinstance(found, Held):
        found = store.begin(f"key {number}", b"", 1000, 1000, "execute")
    if isinstance(found, Claimed):
        print(number, flush=True)
        assert store.finish(f"key {number}", found.owner, b"value", 1000)
    else:
        assert found == Kept(b"value", b"")
store.close()
"""


def test_processes_that_race_run_each_request_once(shared_url: str) -> None:
    command = [sys.executable, "-c", RACING, shared_url]
    racers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    ran = [line for racer in racers for line in racer.communicate(timeout=PATIENCE)[0].split()]

    assert [racer.returncode for racer in racers] == [0] * len(racers)
    assert sorted(map(int, ran)) == list(range(50))
