import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry

from tests.servers.redis import Server, cluster, loading, running
from tests.stalling import eventually
from tests.stores.calls import CALLS
from tests.stores.test_contract import LONG, NAMES, REQUEST, SHORT, claimed, dead, signers
from wsgibatch import ConfigError
from wsgibatch.errors import StoreError
from wsgibatch.model import Claimed, Held, Kept, Lost
from wsgibatch.stores import store_of
from wsgibatch.stores.redis import RedisStore


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    made = RedisStore(redis_url)
    yield made
    made.close()


@pytest.fixture
def own_server(redis_program: str) -> Iterator[Server]:
    """A server for this test alone, which may end it."""
    with running(redis_program) as server:
        yield server


def test_making_a_store_connects_to_nothing() -> None:
    RedisStore("redis://127.0.0.1:1").close()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_redis_that_is_not_there_is_a_store_error(call: Callable[[RedisStore], object]) -> None:
    store = RedisStore("redis://127.0.0.1:1")

    with pytest.raises(StoreError, match="Redis: ") as caught:
        call(store)

    assert isinstance(caught.value.__cause__, RedisError)


def test_a_redis_that_ends_is_a_store_error_and_one_that_starts_again_is_used_again(own_server: Server) -> None:
    store = RedisStore(own_server.url)
    for call in CALLS.values():
        call(store)

    for _ in range(2):
        own_server.kill()
        for call in CALLS.values():
            with pytest.raises(StoreError):
                call(store)
        own_server.start()
        # It has forgotten the scripts as well.
        claim = claimed(store)
        assert store.renew("key", claim.owner, LONG)
        assert store.finish("key", claim.owner, b"answer", LONG)
        assert store.peek("key") == Kept(b"answer", REQUEST)
        assert store.touch(["User:1"], "ada", LONG) == [None]
        assert signers(store, ["User:1"]) == ["ada"]
    store.close()


def test_a_redis_that_was_restarted_between_two_calls_is_not_noticed(own_server: Server) -> None:
    store = RedisStore(own_server.url)
    claimed(store)

    own_server.kill()
    own_server.start()

    claimed(store)
    store.close()


def test_a_redis_that_is_loading_is_a_store_error_until_it_has_loaded(redis_program: str) -> None:
    # For longer than any test takes, if nobody tells it to hurry.
    with loading(redis_program, keys=10_000, seconds=200) as server:
        store = RedisStore(server.url)
        claimed(store, "warm")
        server.kill()
        server.start()

        for call in CALLS.values():
            with pytest.raises(StoreError, match="loading"):
                call(store)

        with server.client() as client:
            client.config_set("key-load-delay", 0)
            eventually(lambda: not client.info("persistence")["loading"])
        for call in CALLS.values():
            call(store)
        assert isinstance(claimed(store), Claimed)
        store.close()


@contextmanager
def hanging(server: Server) -> Iterator[None]:
    """A server that takes what it is sent, and answers it when the block is left."""
    with server.client() as client:
        pid = client.info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_redis_that_hangs_is_a_store_error(own_server: Server) -> None:
    store = RedisStore(f"{own_server.url}?socket_timeout=0.1")
    claimed(store)
    with hanging(own_server):
        for call in CALLS.values():
            with pytest.raises(StoreError):
                call(store)

    assert isinstance(store.peek("key"), Held)
    store.close()


def test_a_claim_of_which_nobody_was_told_is_given_back(own_server: Server) -> None:
    store, other = RedisStore(f"{own_server.url}?socket_timeout=1"), RedisStore(own_server.url)
    claimed(store, "warm")
    with hanging(own_server):
        for key in ("key", "other key"):
            with pytest.raises(StoreError):
                store.begin(key, REQUEST, LONG, LONG, "fail")

    assert isinstance(other.begin("key", REQUEST, LONG, LONG, "fail"), Held)
    assert isinstance(store.begin("key", REQUEST, LONG, LONG, "fail"), Claimed)
    assert other.peek("other key") is None
    store.close()
    other.close()


@pytest.mark.parametrize(("options", "seconds"), [("", 5.0), ("?socket_timeout=0.5&socket_connect_timeout=0.5", 0.5)])
def test_an_answer_is_waited_for_for_five_seconds_or_as_the_url_says(options: str, seconds: float) -> None:
    pool = RedisStore(f"redis://127.0.0.1:1/0{options}")._client.connection_pool

    assert [pool.connection_kwargs[name] for name in ("socket_timeout", "socket_connect_timeout")] == [seconds, seconds]


def test_scripts_that_redis_has_forgotten_are_sent_again(store: RedisStore, redis: Server) -> None:
    def forget() -> None:
        with redis.client() as client:
            client.script_flush()

    forget()
    claim = claimed(store)
    forget()
    assert store.renew("key", claim.owner, LONG)
    forget()
    assert store.finish("key", claim.owner, b"answer", LONG)
    forget()
    assert store.peek("key") == Kept(b"answer", REQUEST)
    forget()
    assert store.touch(["User:1"], "ada", LONG) == [None]


def test_scripts_that_redis_knows_are_not_sent(store: RedisStore, redis: Server) -> None:
    claim = claimed(store)
    assert store.renew("key", claim.owner, LONG)
    assert store.finish("key", claim.owner, b"answer", LONG)
    with redis.client() as client:
        client.config_resetstat()

        claim = claimed(store, "other")
        assert store.renew("other", claim.owner, LONG)
        assert store.finish("other", claim.owner, b"answer", LONG)

        commands = client.info("commandstats")
    assert commands["cmdstat_evalsha"]["calls"] == 3
    assert "cmdstat_eval" not in commands


def test_names_stand_in_braces_by_which_a_cluster_places_them(store: RedisStore, redis: Server) -> None:
    claimed(store, "key")
    store.touch(["User:1"], "ada", LONG)

    with redis.client() as client:
        assert sorted(client.keys()) == [b"wb:r:{key}", b"wb:t:{User:1}"]


def test_all_that_is_kept_ends_by_itself(store: RedisStore, redis: Server) -> None:
    claimed(store, "running", lease=30, keep=60)
    assert store.finish("finished", claimed(store, "finished").owner, b"answer", 120)
    renewed = claimed(store, "renewed", lease=1, keep=60)
    assert store.renew("renewed", renewed.owner, 300)
    store.touch(["User:1"], "ada", 240)

    with redis.client() as client:
        left = {name: client.pttl(name) for name in ("wb:r:{running}", "wb:r:{finished}", "wb:r:{renewed}", "wb:t:{User:1}")}
    # Redis counts in milliseconds; it has had a while of them, but no half minute.
    for name, most in zip(left, (90, 120, 360, 240), strict=True):
        assert (most - 30) * 1000 < left[name] <= most * 1000, name


def test_times_are_exact_to_the_microsecond_and_fences_to_one(store: RedisStore, redis: Server) -> None:
    claim = claimed(store)

    with redis.client() as client:
        row = client.hgetall("wb:r:{key}")
    assert row[b"u"].isdigit()
    assert int(row[b"u"]) - claim.fence == LONG * 1e6
    assert int(row[b"f"]) == claim.fence


def test_a_fence_grows_though_the_clock_of_redis_goes_back(store: RedisStore, redis: Server) -> None:
    dead(store)
    with redis.client() as client:
        # What a server of this key wrote whose clock was an hour ahead.
        ahead = int(client.hget("wb:r:{key}", "f")) + 3_600_000_000
        client.hset("wb:r:{key}", "f", ahead)

    assert claimed(store).fence == ahead + 1


def test_a_full_redis_is_a_store_error_and_leaves_the_record_as_it_was(own_server: Server) -> None:
    store = RedisStore(own_server.url)
    claim = claimed(store)
    with own_server.client() as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreError, match="maxmemory"):
            claimed(store, "other")
        with pytest.raises(StoreError, match="maxmemory"):
            store.finish("key", claim.owner, b"x" * 100, LONG)
        client.config_set("maxmemory", 0)

    assert isinstance(store.peek("key"), Held)
    assert store.finish("key", claim.owner, b"x" * 100, LONG)
    store.close()


def test_a_key_that_something_else_has_is_a_store_error(store: RedisStore, redis: Server) -> None:
    with redis.client() as client:
        client.set("wb:r:{key}", "theirs")
        client.set("wb:t:{User:1}", "theirs")

    with pytest.raises(StoreError, match="WRONGTYPE"):
        store.peek("key")
    with pytest.raises(StoreError):
        store.touch(["User:1"], "ada", LONG)


def test_a_redis_without_the_password_is_a_store_error(own_server: Server) -> None:
    with own_server.client() as client:
        client.config_set("requirepass", "secret")
    store = RedisStore(own_server.url)
    with pytest.raises(StoreError, match="(?i)auth"):
        claimed(store)

    with_password = RedisStore(own_server.url.replace("//", "//:secret@"))

    claimed(with_password)
    with_password.close()
    store.close()


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-lru", "volatile-lfu"])
def test_a_redis_that_evicts_is_warned_of_once(own_server: Server, policy: str, caplog: pytest.LogCaptureFixture) -> None:
    with own_server.client() as client:
        client.config_set("maxmemory-policy", policy)
    store = RedisStore(own_server.url)

    with caplog.at_level(logging.INFO, "wsgibatch"):
        claimed(store)
        claimed(store, "other")
    store.close()

    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert f"its maxmemory-policy is {policy}, and should be noeviction or volatile-ttl" in record.getMessage()


@pytest.mark.parametrize("policy", ["noeviction", "volatile-ttl"])
def test_a_redis_that_does_not_evict_what_is_in_use_is_not_warned_of(own_server: Server, policy: str, caplog: pytest.LogCaptureFixture) -> None:
    with own_server.client() as client:
        client.config_set("maxmemory-policy", policy)
    store = RedisStore(own_server.url)

    with caplog.at_level(logging.INFO, "wsgibatch"):
        claimed(store)
    store.close()

    assert not caplog.records


def test_a_redis_that_does_not_tell_its_policy_is_used_all_the_same(own_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~wb:*", "+@all", "-info")
    store = RedisStore(own_server.url.replace("//", "//app:secret@"))

    with caplog.at_level(logging.INFO, "wsgibatch"):
        claimed(store)
        claimed(store, "other")
    store.close()

    [record] = caplog.records
    assert record.levelname == "INFO"
    assert "whether Redis evicts keys is not known" in record.getMessage()


def test_a_client_is_taken_and_stays_the_callers(redis: Server, redis_url: str) -> None:
    with redis.client() as client:
        store = RedisStore(client)
        claimed(store)
        connected = client.client_id()

        store.close()

        # It is still the same connection.
        assert client.client_id() == connected
        assert isinstance(store_of(store).peek("key"), Held)


def test_a_client_with_another_encoding_says_the_same(redis: Server, redis_url: str) -> None:
    with Redis.from_url(redis_url, encoding="latin-1") as client:
        store = RedisStore(client)
        for name in NAMES:
            claimed(store, name)
            store.touch([name], f"owner of {name}", LONG)
        assert signers(store, NAMES) == [f"owner of {name}" for name in NAMES]

    other = RedisStore(redis_url)
    assert all(isinstance(other.peek(name), Held) for name in NAMES)
    assert signers(other, NAMES) == [f"owner of {name}" for name in NAMES]
    other.close()


@pytest.mark.parametrize("server", [Redis(decode_responses=True), "redis://127.0.0.1?decode_responses=True"])
def test_a_client_that_makes_text_of_bytes_is_refused(server: Redis | str) -> None:
    with pytest.raises(ConfigError, match="without decode_responses"):
        RedisStore(server)


@pytest.mark.parametrize("server", [5, None, object()])
def test_what_is_neither_a_url_nor_a_client_is_refused(server: Any) -> None:
    with pytest.raises(ConfigError, match="^store: a url of Redis or a client of redis-py is wanted"):
        RedisStore(server)


def test_without_redis_py_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)

    with pytest.raises(ConfigError, match=r"^store: Redis needs redis-py: pip install wsgibatch\[redis\]$"):
        store_of("redis://127.0.0.1")


def test_a_cluster_takes_all_calls(redis_program: str) -> None:
    with cluster(redis_program) as server:
        client = RedisCluster.from_url(server.url)
        store = RedisStore(client)
        for number in range(20):
            key = f"key {number}"
            claim = claimed(store, key)
            assert store.renew(key, claim.owner, LONG)
            assert store.finish(key, claim.owner, b"answer", LONG)
            assert store.peek(key) == Kept(b"answer", REQUEST)
        tags = [f"User:{number}" for number in range(20)]
        assert store.touch(tags, "ada", LONG) == [None] * 20
        assert all(age is not None for age in store.touch(tags, "bob", LONG))
        assert signers(store, tags) == ["bob"] * 20
        dead(store, "lost")
        assert store.begin("lost", REQUEST, LONG, LONG, "fail") == Lost(REQUEST)
        client.close()


@contextmanager
def losing_the_first_answer(port: int) -> Iterator[int]:
    """A way to *port* that breaks down just before the answer to the first script; gives the port to take instead."""
    broken = threading.Event()

    def carry(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            while asked := client.recv(65536):
                server.sendall(asked)
                answer = server.recv(65536)
                if b"EVALSHA" in asked and not broken.is_set():
                    broken.set()
                    return
                client.sendall(answer)

    def accept() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=carry, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join()
    assert broken.is_set()


def test_a_claim_that_a_client_sends_twice_is_one(store: RedisStore, redis: Server) -> None:
    # So that Redis knows the script.
    claimed(store, "other")

    with (
        losing_the_first_answer(redis.port) as port,
        Redis(port=port, retry=Retry(NoBackoff(), 1), retry_on_error=[RedisError]) as client,
    ):
        claim = RedisStore(client).begin("key", REQUEST, LONG, LONG, "fail")

    assert isinstance(claim, Claimed)
    assert store.finish("key", claim.owner, b"answer", LONG)


def test_a_client_made_of_a_url_asks_once(store: RedisStore, redis: Server) -> None:
    claimed(store, "other")

    with losing_the_first_answer(redis.port) as port:
        once = RedisStore(f"redis://127.0.0.1:{port}/0")
        with pytest.raises(StoreError):
            once.begin("key", REQUEST, SHORT, LONG, "fail")
        once.close()
