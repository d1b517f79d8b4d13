from pathlib import Path
from types import SimpleNamespace

import pytest

from wsgibatch import ConfigError, _lookup, stores
from wsgibatch.stores import store_of
from wsgibatch.stores.memory import MemoryStore
from wsgibatch.stores.redis import RedisStore
from wsgibatch.stores.sqlite import SqliteStore

MADE = MemoryStore()


def make() -> MemoryStore:
    return MADE


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("memory://", MemoryStore),
        ("sqlite:///records.db", SqliteStore),
        ("sqlite:////var/lib/records.db", SqliteStore),
        ("redis://127.0.0.1:1/0", RedisStore),
        ("redis://user:secret@redis.example:6379/0?socket_timeout=1", RedisStore),
        ("rediss://redis.example", RedisStore),
        ("SQLITE:///records.db", SqliteStore),
    ],
)
def test_a_url_stands_for_a_store(url: str, kind: type) -> None:
    assert type(store_of(url)) is kind


def test_three_slashes_are_a_relative_path_and_four_an_absolute_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()

    for url in ("sqlite:///one.db", f"sqlite:///{tmp_path}/two.db", "sqlite:///deep/three.db"):
        store = store_of(url)
        assert store.peek("key") is None
        store.close()

    assert sorted(path.name for path in tmp_path.rglob("*.db")) == ["one.db", "three.db", "two.db"]


@pytest.mark.parametrize("reference", [f"{__name__}:MADE", f"{__name__}:make"])
def test_a_reference_leads_to_a_store_or_to_what_makes_one(reference: str) -> None:
    assert store_of(reference) is MADE


def test_a_class_is_made_a_store() -> None:
    assert isinstance(store_of(MemoryStore), MemoryStore)
    assert isinstance(store_of("wsgibatch.stores.memory:MemoryStore"), MemoryStore)


def test_a_store_is_taken_as_it_is() -> None:
    assert store_of(MADE) is MADE


@pytest.mark.parametrize(
    ("url", "nearest"), [("redi://host", "redis"), ("sqllite:///x", "sqlite"), ("memoy://", "memory"), ("REDIZ://host", "redis")]
)
def test_a_scheme_that_is_nearly_known_is_refused_with_the_nearest(url: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=rf"^store: .* is none of the stores \(did you mean '{nearest}'\?\)"):
        store_of(url)


@pytest.mark.parametrize("url", ["://", "postgresql://host", "s://", "_fork://", "..redis://", "redis.py://"])
def test_a_scheme_that_is_not_known_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="none of the stores"):
        store_of(url)


@pytest.mark.parametrize(
    "url",
    ["memory://x", "memorys://", "sqlite://", "sqlite:///", "sqlite://host/x", "sqlites:///x", "sqlite:///:memory:", "redis://host:x"],
)
def test_a_url_that_its_store_does_not_take_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="^store: "):
        store_of(url)


@pytest.mark.parametrize("reference", ["no.such.module:name", "wsgibatch:nothing"])
def test_a_reference_that_leads_nowhere_is_refused(reference: str) -> None:
    with pytest.raises(ConfigError, match=f"^store: '{reference}' cannot be found"):
        store_of(reference)


@pytest.mark.parametrize("text", ["", "redis", "memory", "memory:", "/var/replies.db", "redis:/localhost", "sqlite:replies.db"])
def test_what_is_nearly_a_url_is_refused_with_the_forms_of_one(text: str) -> None:
    with pytest.raises(ConfigError, match=f"^store: '{text}' should be written 'memory://', 'sqlite:///path', 'redis://"):
        store_of(text)


@pytest.mark.parametrize("thing", [None, 7, {}, SimpleNamespace(begin=1, renew=2), "os:environ"])
def test_what_is_no_store_is_refused(thing: object) -> None:
    with pytest.raises(ConfigError, match=r"is no store: it has no '\w+'"):
        store_of(thing)


@pytest.mark.parametrize("thing", [SqliteStore, "wsgibatch.stores.sqlite:SqliteStore"])
def test_what_cannot_make_a_store_by_itself_is_refused(thing: object) -> None:
    with pytest.raises(ConfigError, match="cannot be called without arguments"):
        store_of(thing)


def test_every_member_of_the_family_is_made_of_a_url() -> None:
    for word in _lookup.members(stores):
        assert callable(_lookup.member(stores, word).from_url)
