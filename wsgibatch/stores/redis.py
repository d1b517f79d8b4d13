"""Records in Redis: for all processes of all machines that reach it. It needs ``wsgibatch[redis]``.

One hash for each key and one string for each tag. All that compares and writes is a script of one key, so a cluster has nothing to object to; time is
the Redis server's. The lease is a field and not the life of the hash: that an owner has died is remembered for as long as it was asked for.

A failover may lose the last writes, since Redis replicates them later; where one execution more matters, use a store of SQL, or hand the fence on.
"""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha1
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ConfigError, StoreError
from ..model import Claim, Claimed, Held, Kept, Lost, Signature
from ._fork import Calls

if TYPE_CHECKING:
    from redis import Redis
    from redis.cluster import RedisCluster

_log = logging.getLogger("wsgibatch")

# In a hash: s is 1 when it is finished, p the fingerprint, o the owner, u the end of the lease, k how long a death is remembered, f the fence, v the
# value. All times are in microseconds, as text: Lua would write numbers as large as these with an exponent.
_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function text(number) return string.format('%.0f', number) end
local function expire(after) redis.call('PEXPIRE', KEYS[1], text(math.ceil(after / 1000))) end
"""
# owner, fingerprint, lease, keep, on_crash. Without an owner it is only a look. An owner that asks twice is one whose client has sent this twice.
_BEGIN = f"""{_NOW}
local row = redis.call('HMGET', KEYS[1], 's', 'p', 'o', 'u', 'f')
local owner, fence = ARGV[1], now
if row[1] == '1' then return {{'kept', row[2], redis.call('HGET', KEYS[1], 'v')}} end
if row[1] then
    if row[3] == owner then return {{'claimed', row[5]}} end
    if tonumber(row[4]) > now then return {{'held', row[2], text(row[4] - now)}} end
    if owner == '' or ARGV[5] ~= 'execute' or row[2] ~= ARGV[2] then return {{'lost', row[2]}} end
    fence = math.max(now, row[5] + 1)
end
if owner == '' then return false end
redis.call('HSET', KEYS[1], 's', '0', 'p', ARGV[2], 'o', owner, 'u', text(now + ARGV[3]), 'k', ARGV[4], 'f', text(fence))
expire(ARGV[3] + ARGV[4])
return {{'claimed', text(fence)}}
"""
_HELD = """
local row = redis.call('HMGET', KEYS[1], 's', 'o', 'k')
if row[1] ~= '0' or row[2] ~= ARGV[1] then return 0 end
"""
# owner, lease
_RENEW = f"""{_NOW}{_HELD}
redis.call('HSET', KEYS[1], 'u', text(now + ARGV[2]))
expire(ARGV[2] + row[3])
return 1
"""
# owner, ttl, and the value if there is one
_FINISH = f"""{_NOW}{_HELD}
if ARGV[3] then
    redis.call('HSET', KEYS[1], 's', '1', 'v', ARGV[3])
    expire(ARGV[2])
else
    redis.call('DEL', KEYS[1])
end
return 1
"""
# value
_FORGET = """
if redis.call('HGET', KEYS[1], 'v') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
# owner, ttl
_TOUCH = f"""{_NOW}
local before = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], text(now) .. ' ' .. ARGV[1])
expire(ARGV[2])
if not before then return false end
local signed, owner = string.match(before, '^(%d+) (.*)$')
if owner == ARGV[1] then return false end
return text(now - signed)
"""

_SEEN = f"""{_NOW}
local signed, owner = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (.*)$')
return signed and {{owner, text(now - signed)}}
"""

_PATIENCE = 5.0
"""Seconds for an answer."""
_UNSURE = 1000
"""Claims that are remembered while Redis does not answer; a lease ends the others."""
_AT_ONCE = 10
"""Of these, how many a claim gives back once it does."""
_SAFE_POLICIES = ("noeviction", "volatile-ttl")


class RedisStore:
    """The store ``redis://``, and ``rediss://`` with TLS.

    :param server: a url as redis-py takes it, ``redis://user:password@host:6379/0?socket_timeout=1``; or a client of redis-py, also one of a cluster,
        which stays the caller's to close. A client made from a url waits five seconds for an answer where the url does not say, and asks but once.
    :raises ConfigError: when redis-py is missing, or cannot do anything with the url; for what is neither a url nor a client.
    """

    def __init__(self, server: "str | Redis | RedisCluster") -> None:
        try:
            import redis
        except ImportError as error:
            raise ConfigError("store: Redis needs redis-py: pip install wsgibatch[redis]") from error
        self._failures = (redis.RedisError, OSError)
        self._unanswered = (redis.ConnectionError, redis.TimeoutError, OSError)
        # Keys that Redis may have claimed for a request that was refused since no answer came, and their owners.
        self._unsure: deque[tuple[str, str]] = deque(maxlen=_UNSURE)
        self._refused, self._forgotten = redis.ResponseError, redis.exceptions.NoScriptError
        if not (isinstance(server, str) or hasattr(server, "evalsha")):
            raise ConfigError(f"store: a url of Redis or a client of redis-py is wanted, not {server!r}")
        self._own = isinstance(server, str)
        self._client: Any = server
        if isinstance(server, str):
            try:
                self._client = redis.Redis.from_url(server, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE)
            except ValueError as error:
                raise ConfigError(f"store: a url of Redis is not understood: {error}") from error
        if self._client.get_encoder().decode_responses:
            raise ConfigError("store: Redis keeps bytes here: use a client without decode_responses")
        self._policy_known = False
        # A child should not hold sockets of its parent; what the caller has made is the caller's affair.
        self._calls = Calls(_PATIENCE, self._client.close if self._own else None)

    @classmethod
    def from_url(cls, url: str) -> "RedisStore":
        """The store that *url* stands for; the same as a call."""
        return cls(url)

    def begin(self, key: str, fingerprint: bytes, lease: float, keep: float, on_crash: Literal["execute", "fail"]) -> Claim:
        owner = token_hex(16)
        with self._answering():
            if not self._policy_known:
                self._look_at_policy()
            if self._unsure:
                self._give_back(key)
            try:
                found = self._run(_BEGIN, _record(key), owner, fingerprint, _micro(lease), _micro(keep), on_crash)
            except self._unanswered:
                self._unsure.append((key, owner))
                raise
        return Claimed(int(found[1]), owner) if found[0] == b"claimed" else _known(found)

    def renew(self, key: str, owner: str, lease: float) -> bool:
        with self._answering():
            return bool(self._run(_RENEW, _record(key), owner, _micro(lease)))

    def finish(self, key: str, owner: str, value: bytes | None, ttl: float) -> bool:
        with self._answering():
            return bool(self._run(_FINISH, _record(key), owner, _micro(ttl), *(() if value is None else (value,))))

    def forget(self, key: str, value: bytes) -> bool:
        with self._answering():
            return bool(self._run(_FORGET, _record(key), value))

    def peek(self, key: str) -> Claim | None:
        with self._answering():
            found = self._run(_BEGIN, _record(key), "")
        return None if found is None else _known(found)

    def touch(self, tags: Sequence[str], owner: str, ttl: float) -> list[float | None]:
        if not tags:
            return []
        found = self._run_each(_TOUCH, tags, owner.encode(), _micro(ttl))
        return [None if age is None else int(age) / 1e6 for age in found]

    def seen(self, tags: Sequence[str]) -> list[Signature | None]:
        if not tags:
            return []
        return [None if signed is None else Signature(signed[0].decode(), int(signed[1]) / 1e6) for signed in self._run_each(_SEEN, tags)]

    def close(self) -> None:
        if self._own:
            with self._answering():
                self._client.close()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        with self._calls:
            try:
                yield
            except self._failures as error:
                raise StoreError(f"Redis: {error}") from error

    def _give_back(self, key: str) -> None:
        """See that nobody waits for requests that never ran, or is told that they were lost: first whoever asks for *key* again."""
        for place, claim in enumerate(self._unsure.copy()):
            if place < _AT_ONCE or claim[0] == key:
                self._run(_FINISH, _record(claim[0]), claim[1], _micro(0.0))
                # Another thread may have done the same.
                with suppress(ValueError):
                    self._unsure.remove(claim)

    def _run(self, script: str, key: bytes, *arguments: str | bytes) -> Any:
        try:
            return self._client.evalsha(_HASHES[script], 1, key, *arguments)
        except self._forgotten:
            # Redis forgets scripts when it starts; this makes it know the script again.
            return self._client.eval(script, 1, key, *arguments)

    def _run_each(self, script: str, tags: Sequence[str], *arguments: str | bytes) -> Any:
        with self._answering(), self._client.pipeline(transaction=False) as pipeline:
            for tag in tags:
                # Whole, since a pipeline cannot ask again with the script; as a bare command, since redis-py knows no eval in a cluster's pipeline.
                pipeline.execute_command("EVAL", script, 1, _tag(tag), *arguments)
            return pipeline.execute()

    def _look_at_policy(self) -> None:
        """Say once where Redis may throw records away, so that requests run again that should not."""
        try:
            policy = self._client.info("memory").get("maxmemory_policy")
        except self._refused as error:
            _log.info("whether Redis evicts keys is not known: %s", error)
        else:
            if policy is not None and policy not in _SAFE_POLICIES:
                _log.warning("Redis may evict keys in use: its maxmemory-policy is %s, and should be noeviction or volatile-ttl", policy)
        self._policy_known = True


_HASHES = {script: sha1(script.encode(), usedforsecurity=False).hexdigest() for script in (_BEGIN, _RENEW, _FINISH, _FORGET)}


def _known(found: list[bytes]) -> Claim:
    word, fingerprint, *rest = found
    if word == b"kept":
        return Kept(rest[0], fingerprint)
    return Held(int(rest[0]) / 1e6, fingerprint) if word == b"held" else Lost(fingerprint)


def _record(key: str) -> bytes:
    # In braces stands what a cluster places the key by.
    return f"wb:r:{{{key}}}".encode()


def _tag(tag: str) -> bytes:
    return f"wb:t:{{{tag}}}".encode()


def _micro(seconds: float) -> str:
    return f"{seconds * 1e6:.0f}"
