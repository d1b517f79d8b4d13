"""The calls of a client, and what the flow that answers them asks for."""

from collections.abc import Generator, Hashable, Sequence
from typing import Any, TypeAlias

from msgspec import Struct, field

from .._inherit import is_dropped
from ..errors import ClientError
from ..model import Headers, SubResponse

_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
# What belongs to a connection. The framing of a part is computed, and a coding of its answer would not be undone.
_OF_CONNECTIONS = frozenset({"accept-encoding", "connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding"})
# What only a request by itself can have: a piece of an answer, another protocol, a name that CGI cannot spell.
_ONLY_ALONE = frozenset({"content-id", "range", "upgrade"})


class Call(Struct, eq=False):
    """A request that is to travel in a batch."""

    method: str
    target: str
    """Path and query, percent-encoded."""
    headers: Headers
    """What the request brings of its own."""
    body: bytes
    shared: Headers = field(default_factory=list)
    """What only the batch as a whole can bring, such as cookies."""
    route: Hashable = None
    """Calls travel together only where this is equal."""
    after: Sequence["Call"] = ()
    """Calls, made before, that have to succeed."""
    repeats: bool = False
    """Does it say all for itself, since what it says is signed?"""
    alone: bool = False
    """Is there no way to say it in a batch?"""
    tries: int = 0
    settled: SubResponse | ClientError | None = None

    @property
    def key(self) -> Hashable:
        return self.route, tuple(self.shared)


class Post(Struct):
    """Post a batch to its endpoint."""

    headers: Headers
    body: bytes
    route: Hashable
    count: int
    """Calls in it: they may take as long as all of them would one after another."""


class More(Struct):
    """Give the next bytes of the answer."""


class Broken(Struct):
    """What is told instead of bytes: there are no more, since the answer broke off."""

    error: Exception
    """What the library says of it."""


class Alone(Struct):
    """Send a call as it is."""

    call: Call


class Pause(Struct):
    """Wait."""

    seconds: float


class Settled(Struct):
    """A call has its answer, or none."""

    call: Call
    answer: SubResponse | ClientError


Effect: TypeAlias = Post | More | Alone | Pause | Settled
Flow: TypeAlias = Generator[Effect, Any, None]

MORE = More()


def call_of(method: str, target: str, headers: Headers, body: bytes, route: Hashable = None, after: Sequence[Call] = ()) -> Call:
    """A request as a client has made it, its headers sorted by who can bring them."""
    own: Headers = []
    shared: Headers = []
    alone = method not in _METHODS
    for name, value in headers:
        lower = name.lower()
        if lower in _ONLY_ALONE or "_" in name:
            alone = True
        elif lower not in _OF_CONNECTIONS:
            (shared if is_dropped(name) else own).append((name, value))
    return Call(method, target, own, body, shared, route, after, alone=alone)
