from typing import Any

import pytest

from tests.stores.test_contract import OTHER, REQUEST, all_at_once, claimed, signers
from wsgibatch.errors import ConfigError, StoreError
from wsgibatch.model import Held, Kept, Lost
from wsgibatch.stores.memory import MemoryStore


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def kept(store: MemoryStore, key: str, value: bytes = b"value", ttl: float = 100) -> None:
    assert store.finish(key, claimed(store, key).owner, value, ttl)


def known(store: MemoryStore, keys: str) -> str:
    """Those of *keys*, which are letters, that the store knows of."""
    return "".join(key for key in keys if store.peek(key) is not None)


def test_a_lease_ends_to_the_second(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    claimed(store, lease=30, keep=60)

    clock.now += 29
    assert store.peek("key") == Held(1, REQUEST)
    clock.now += 1
    assert store.peek("key") == Lost(REQUEST)
    clock.now += 59
    assert store.peek("key") == Lost(REQUEST)
    clock.now += 1
    assert store.peek("key") is None


def test_what_was_kept_is_forgotten_to_the_second(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    kept(store, "key", ttl=86_400)

    clock.now += 86_399
    assert store.peek("key") == Kept(b"value", REQUEST)
    clock.now += 1
    assert store.peek("key") is None


def test_a_tag_ages_by_the_second(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    store.touch(["User:1"], "ada", 60)

    clock.now += 59
    assert signers(store, ["User:1"]) == ["ada"]
    assert store.touch(["User:1"], "bob", 60) == [59]
    clock.now += 60
    assert signers(store, ["User:1"]) == [None]


def test_fences_grow_by_one() -> None:
    store = MemoryStore()

    assert [claimed(store, f"key {number}").fence for number in range(5)] == [1, 2, 3, 4, 5]


def test_where_there_is_no_room_the_oldest_finished_record_makes_it() -> None:
    store = MemoryStore(max_records=3)
    for key in "abc":
        kept(store, key)

    claimed(store, "d")

    assert known(store, "abcd") == "bcd"


def test_a_record_that_was_asked_for_is_not_the_oldest_any_more() -> None:
    store = MemoryStore(max_records=3)
    for key in "abc":
        kept(store, key)

    assert store.begin("a", REQUEST, 1, 1, "execute") == Kept(b"value", REQUEST)
    claimed(store, "d")

    assert known(store, "abcd") == "acd"


def test_what_runs_makes_no_room(clock: Clock) -> None:
    store = MemoryStore(max_records=3, clock=clock)
    claimed(store, "a")
    claimed(store, "b")

    for key in "cdef":
        kept(store, key)

    assert known(store, "abcdef") == "abf"


def test_finished_records_make_room_before_those_whose_owner_has_died(clock: Clock) -> None:
    store = MemoryStore(max_records=3, clock=clock)
    claimed(store, "a", lease=10)
    clock.now += 20
    kept(store, "b")
    kept(store, "c")

    claimed(store, "d")
    assert known(store, "abcd") == "acd"
    claimed(store, "e")
    assert known(store, "abcde") == "ade"
    claimed(store, "f")
    assert known(store, "abcdef") == "def"


def test_a_death_that_is_remembered_no_longer_makes_room_before_finished_records(clock: Clock) -> None:
    store = MemoryStore(max_records=3, clock=clock)
    claimed(store, "a", lease=10, keep=50)
    kept(store, "b")
    kept(store, "c")

    clock.now += 60
    claimed(store, "d")

    assert known(store, "abcd") == "bcd"


def test_a_lease_that_goes_on_does_not_stand_before_deaths_that_are_remembered_no_longer(clock: Clock) -> None:
    store = MemoryStore(max_records=3, clock=clock)
    living = claimed(store, "a", lease=10, keep=50)
    claimed(store, "b", lease=10, keep=50)
    kept(store, "c")

    assert store.renew("a", living.owner, 100)
    clock.now += 60
    claimed(store, "d")

    assert known(store, "abcd") == "acd"


def test_each_record_makes_room_once(clock: Clock) -> None:
    store = MemoryStore(max_bytes=1000, clock=clock)
    claimed(store, "a" * 200, lease=10, keep=50)
    living = claimed(store, "b" * 500, lease=100, keep=50)
    clock.now += 60

    with pytest.raises(StoreError):
        claimed(store, "c" * 480)

    assert store.renew("b" * 500, living.owner, 100)


def test_where_only_owners_are_left_that_live_the_store_is_full(clock: Clock) -> None:
    store = MemoryStore(max_records=3, clock=clock)
    claims = {key: claimed(store, key, lease=10) for key in "abc"}

    with pytest.raises(StoreError, match="the memory is full: at most 3 records"):
        store.begin("d", REQUEST, 10, 10, "execute")

    assert known(store, "abcd") == "abc"
    assert store.finish("a", claims["a"].owner, None, 0)
    claimed(store, "d")


def test_a_full_store_still_answers_for_what_it_has(clock: Clock) -> None:
    store = MemoryStore(max_records=2, clock=clock)
    first = claimed(store, "a", lease=10)
    claimed(store, "b", lease=20)

    assert isinstance(store.begin("a", REQUEST, 10, 10, "execute"), Held)
    clock.now += 10
    assert claimed(store, "a").fence > first.fence


def test_bytes_are_bounded() -> None:
    store = MemoryStore(max_bytes=1000)
    for key in "abc":
        kept(store, key, b"x" * 300)

    kept(store, "d", b"x" * 600)

    assert known(store, "abcd") == "cd"


def test_names_and_fingerprints_count() -> None:
    store = MemoryStore(max_bytes=1000)
    claimed(store, "k" * 500, fingerprint=b"f" * 400)

    with pytest.raises(StoreError):
        claimed(store, "k" * 101, fingerprint=b"")
    claimed(store, "k" * 100, fingerprint=b"")


def test_bytes_that_were_given_back_can_be_had_again() -> None:
    store = MemoryStore(max_bytes=1000)

    for _ in range(50):
        kept(store, "key", b"x" * 900, ttl=-1)
        assert store.finish("key", claimed(store, fingerprint=OTHER).owner, None, 0)
    kept(store, "k", b"x" * (1000 - len("k") - len(REQUEST)))


def test_a_value_that_has_no_room_is_refused_and_nothing_is_forgotten_for_it() -> None:
    store = MemoryStore(max_bytes=1000)
    kept(store, "a", b"x" * 300)
    claim = claimed(store, "b")

    with pytest.raises(StoreError, match="and 1000 bytes"):
        store.finish("b", claim.owner, b"x" * 2000, 100)

    assert store.peek("a") == Kept(b"x" * 300, REQUEST)
    assert store.finish("b", claim.owner, b"smaller", 100)


def test_a_value_that_comes_late_does_not_make_room_for_itself(clock: Clock) -> None:
    store = MemoryStore(max_bytes=1000, clock=clock)
    claim = claimed(store, "a", lease=10)
    claimed(store, "b" * 500)
    clock.now += 20

    with pytest.raises(StoreError):
        store.finish("a", claim.owner, b"x" * 470, 100)

    assert store.finish("a", claim.owner, b"x" * 460, 100)


@pytest.mark.parametrize("name", ["max_records", "max_bytes"])
@pytest.mark.parametrize("bound", [0, -1, "5", None])
def test_a_bound_within_which_nothing_fits_is_refused(name: str, bound: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: "):
        MemoryStore(**{name: bound})


def test_tags_are_bounded_and_the_oldest_signature_is_forgotten() -> None:
    store = MemoryStore(max_records=3)
    store.touch(["a", "b", "c"], "ada", 100)
    store.touch(["a"], "bob", 100)

    store.touch(["d"], "bob", 100)

    assert signers(store, ["a", "b", "c", "d"]) == ["bob", None, "ada", "bob"]


def test_many_threads_leave_the_count_of_bytes_right() -> None:
    store = MemoryStore(max_records=50, max_bytes=10_000)

    def work() -> None:
        for number in range(300):
            key = f"{number % 80}"
            found = store.begin(key, REQUEST, 100, 100, "execute")
            if not isinstance(found, Held | Kept | Lost):
                store.finish(key, found.owner, b"x" * (number % 200) if number % 3 else None, 100)

    all_at_once(8, work)

    assert store._bytes == sum(len(key) + len(REQUEST) + len(record.value) for key, record in store._finished.items())
    assert not store._running
    assert store._bytes <= 10_000
    assert len(store._finished) <= 50
