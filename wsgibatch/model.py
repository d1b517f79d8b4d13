"""The records that a batch is made of.

A batch is *decoded* into :class:`SubRequest` records, *planned* into units, *run*, which gives a :class:`SubResponse` for each, and *encoded*.
Two lasting objects per sub-request, and no layers around them: one record carries everything that is known of an item, so that no two lists
can ever run out of step.

The two hold no reference cycle, so the collector need not follow them (``gc=False``).
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from msgspec import Struct, field

Headers: TypeAlias = list[tuple[str, str]]
Kind: TypeAlias = Literal["json", "text", "binary"]


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

    path: str = ""
    """PATH_INFO: percent-decoded, below the mount point, as latin-1 text (PEP 3333)."""
    query: str = ""
    """QUERY_STRING: raw."""
    fields: dict[str, str] = field(default_factory=dict)
    """The headers under their CGI names; no header whose name holds ``_`` gets in, so the mapping can be reversed."""
    refusal: SubResponse | None = None
    """The answer of an item that must not run."""


Unit: TypeAlias = tuple[SubRequest, ...]
"""Sub-requests that run in one place, in order; nearly always one."""

Answers: TypeAlias = tuple[SubResponse, ...]
Done: TypeAlias = tuple[Unit, Answers]


class Batch(Struct):
    """A decoded batch. A dialect that must remember more for its answer extends this record."""

    items: list[SubRequest]
    pointer: str = ""
    """A JSON Pointer (RFC 6901) to the list of items."""

    def place(self, item: SubRequest, member: str) -> str:
        """A JSON Pointer to what was written for *member* of *item*, for telling where something is wrong."""
        return f"{self.pointer}/{item.index}/{member}"


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
    content_encoding: str = ""
    item: int | None = None
    """The index of the item that this request is, when it is itself an item of a batch."""
    cookies: bool = False
    """Does the request carry cookies?"""
    same_origin: bool = False
    """Do Sec-Fetch-Site or Origin say that the request comes from a page of this very origin?"""
