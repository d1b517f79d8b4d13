"""The records that a batch is made of.

A batch is *decoded* into :class:`SubRequest` records, *planned* into units, *run*, which gives a :class:`SubResponse` for each, and *encoded*.
Two lasting objects per sub-request, and no layers around them: one record carries everything that is known of an item, so that no two lists
can ever run out of step.

The two hold no reference cycle, so the collector need not follow them (``gc=False``).
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

from msgspec import Struct

from ._body import Body, Part

Headers: TypeAlias = list[tuple[str, str]]
Kind: TypeAlias = Literal["json", "text", "binary"]


SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that only read (RFC 9110, section 9.2.1)."""


class Fault(NamedTuple):
    """Why an item is answered without running."""

    status: int
    code: str
    """In kebab-case, for programs."""
    detail: str
    """A sentence, for people."""
    members: tuple[tuple[str, object], ...] = ()
    """Further members of the document that tells it."""


class Edge(Struct, gc=False):
    """What an item waits for."""

    index: int
    """Another item of the batch. Where that belongs to an atomic group, and the waiting item does not, the whole group is meant."""
    when: Literal["succeeded", "failed", "ended"] = "succeeded"
    """The outcome without which the waiting item is not run; a status from 200 to 299 is a success."""


class Reference(Struct, gc=False):
    """Something in the answer to an earlier item. Whoever holds one also has an :class:`Edge` to that item."""

    index: int
    part: Literal["entity", "etag", "value", "literal", "found", "text"]
    """The path of what was made or returned; its entity tag; a value in its JSON body, as it is or as a literal of an OData expression; the values
    that a query finds there, joined with commas, in a body as part of a form or as plain text."""
    path: tuple[str, ...] = ()
    """Names of members, and indexes in lists, that lead to the value; or the one query (JSONPath, RFC 9535) that finds the values."""


class Late(Struct, gc=False):
    """What of an item is known only when earlier items have been answered. What is empty stands in the item already."""

    target: tuple[str | Reference, ...] = ()
    """The pieces of the url, as the client wrote it."""
    headers: tuple[tuple[str, Reference], ...] = ()
    """Names and values of headers."""
    body: tuple[bytes | Part | Reference, ...] = ()
    """The pieces of a JSON text, or of what else the parts of its references fit into, such as a form with files."""


class SubResponse(Struct, gc=False):
    """What the app answered to one sub-request, or what was answered in its place."""

    status: int
    reason: str
    headers: Headers
    """In the app's order, repetitions kept."""
    body: bytes
    kind: Kind = "binary"
    """What the content type makes of the body; a body with a content coding is always ``"binary"``."""
    respelt: bool = False
    """Does a header name occur in two spellings? Where it does not, names are the same only if they are equal."""
    started: float = 0.0
    """Seconds from the receipt of the batch to the call of the app."""
    duration: float = 0.0
    """Seconds in the app, from its call to the end of its ``close()``."""


class SubRequest(Struct, gc=False):
    """One sub-request of a batch. What stands below ``body`` is written by vetting, so that nothing is looked at twice."""

    index: int
    """Place in the batch, from 0; answers are ordered by it."""
    method: str
    target: str
    """Path and query as the client wrote them, percent-encoded."""
    headers: Headers
    body: bytes = b""
    id: str | int | None = None
    """The client's own name for it, its JSON type kept."""
    after: tuple[Edge, ...] = ()
    """What it waits for."""
    group: str = ""
    """The atomic group that it belongs to; the members of one stand side by side."""
    late: Late | None = None
    """References to earlier answers, bound where the item is run, and then vetted."""

    path: str = ""
    """PATH_INFO: percent-decoded, below the mount point, as latin-1 text (PEP 3333)."""
    query: str = ""
    """QUERY_STRING: raw."""
    # Shared by all that bring none, which are many.
    fields: Mapping[str, Any] = MappingProxyType({})
    """The headers under their CGI names; no header whose name holds ``_`` gets in, so the mapping can be reversed. With them, what its group adds
    to its environ."""
    refusal: SubResponse | None = None
    """The answer of an item that must not run."""
    form: Body | None = None
    """What is sent in the place of ``body``, which is empty then: a form with files, read from where the batch has them."""

    @property
    def size(self) -> int:
        """Bytes that are sent as its body."""
        return len(self.body if self.form is None else self.form)


Unit: TypeAlias = tuple[SubRequest, ...]
"""Sub-requests that run in one place, in order: an atomic group, or nearly always just one."""

Answers: TypeAlias = tuple[SubResponse, ...]
Done: TypeAlias = tuple[Unit, Answers]


MAX_PATH = 8190
"""Bytes of a path, and of a whole url where the dialect has no other figure: the longest request line that gunicorn can be set to accept."""


class Batch(Struct):
    """A decoded batch. A dialect that must remember more for its answer extends this record."""

    items: list[SubRequest]
    pointer: str = ""
    """A JSON Pointer (RFC 6901) to the list of items."""
    linked: bool = False
    """Does any item wait for another, refer to one, or belong to a group?"""
    on_error: Literal["continue", "stop"] = "continue"
    """``stop``: items run one by one, and what stands behind one that fails neither runs nor is answered."""
    methods: frozenset[str] = frozenset()
    """What the dialect knows as methods besides those that are allowed everywhere."""
    fails_from: int = 400
    """The status from which on an item fails the atomic group that it belongs to."""
    max_target: int = MAX_PATH
    """Bytes of a url."""
    keyed: bool = False
    """Has any item that does more than read an idempotency key?"""

    def place(self, item: SubRequest, member: str = "") -> str:
        """A JSON Pointer to *item*, or to what was written for a *member* of it, for telling where something is wrong."""
        return f"{self.pointer}/{item.index}/{member}" if member else f"{self.pointer}/{item.index}"


class Head(Struct):
    """The outer request without its body, one per batch."""

    path: str
    """Where the batch was posted: SCRIPT_NAME and PATH_INFO."""
    mount: str
    """SCRIPT_NAME, percent-encoded: what every item's target has to begin with."""
    host: str
    """The authority that the batch was sent to, with its port."""
    scheme: str
    media_type: str
    """The content type without its parameters, in lower case; empty when there is none."""
    parameters: Mapping[str, str]
    """The parameters of the content type, their names in lower case."""
    query: str = ""
    """QUERY_STRING: raw."""
    headers: Mapping[str, str] = {}
    """All headers, found without regard to case."""
    content_encoding: str = ""
    key: str | None = None
    """Its Idempotency-Key, as it is written."""
    lines: bool = False
    """Does the client ask for an answer in lines, as ``application/x-ndjson``?"""
    item: int | None = None
    """The index of the item that this request is, when it is itself an item of a batch."""
    cookies: bool = False
    """Does the request carry cookies?"""
    same_origin: bool = False
    """Do Sec-Fetch-Site or Origin say that the request comes from a page of this very origin?"""
    other_origin: bool = False
    """Do they say that it comes from a page of any other?"""
    parts: tuple[Part, ...] | None = None
    """What came in a form in parts beside the batch itself, once it has been read; None where the batch is no such form."""
    lasting: Callable[[int, Headers], bool] | None = None
    """Where the answer to the batch is going to be kept: may one that holds an item with this status and these headers be?"""


class Group:
    """An atomic group while it runs, for the framework that makes it atomic to extend, and for the app to find in its environ.

    The app finds it as ``environ["wsgibatch.group"]``.
    """

    def __init__(self) -> None:
        self.environ: dict[str, Any] = {}
        """What the items of the group have in their environ besides."""
        self._hooks: dict[bool, list[Callable[[], object]]] = {True: [], False: []}

    def item(self) -> AbstractContextManager[object]:
        """Around each item, whose answer is closed by then. It is left with an exception when the item has failed."""
        return nullcontext()

    def broken(self) -> bool:
        """Is the transaction past use, whatever the item has answered? Asked before :meth:`item` is left."""
        return False

    def on_commit(self, call: Callable[[], object]) -> None:
        """Have *call* called once the group is committed, after those given before it, in the thread that runs the group."""
        self._hooks[True].append(call)

    def on_rollback(self, call: Callable[[], object]) -> None:
        """Have *call* called once the group is rolled back, in the same way."""
        self._hooks[False].append(call)

    def hooks(self, committed: bool) -> Iterable[Callable[[], object]]:
        """What is to be called, now that the group has ended this way. A hook may give another, which is called as well."""
        return self._hooks[committed]


class Claimed(NamedTuple):
    """The key is ours: the request may run, and is to be finished by *owner*."""

    fence: int
    """A number that only grows, for the app to hand on to what it writes to, so that an owner whose lease has ended can be refused there."""
    owner: str
    """Random; what a store knows this one claim by."""


class Held(NamedTuple):
    """Another one runs it now."""

    left: float
    """Seconds that its lease has left."""
    fingerprint: bytes


class Kept(NamedTuple):
    """It has run, and this is what was kept of it."""

    value: bytes
    fingerprint: bytes


class Lost(NamedTuple):
    """Whoever ran it never finished it: nobody knows how far it came."""

    fingerprint: bytes


Claim: TypeAlias = Claimed | Held | Kept | Lost
"""What a store says of a key."""


class Signature(NamedTuple):
    """Who has signed a tag last."""

    owner: str
    age: float
    """Seconds since."""
