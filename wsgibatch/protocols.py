"""The seams of the package, on one page.

A *dialect* is a wire format of batches, an *executor* decides where and when units run. Members of both families are files in the packages
``dialects`` and ``executors``, found by their name; objects of your own that fit the protocol are taken as well.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol, runtime_checkable

from ._limits import Limits, Ticket
from .errors import BatchRejected
from .model import Answers, Batch, Claim, Done, Fault, Group, Head, Headers, Signature, SubRequest, SubResponse, Unit
from .settings import Settings


class Shape(Protocol):
    """The outline of a JSON body, for telling dialects apart at a glance."""

    name: str | None
    """Of the first member of the outer object that is a list; None where the body is a list itself, or has none."""
    first: object
    """The first element of that list, decoded; None when there is none."""

    @property
    def members(self) -> frozenset[str]:
        """All names in an outer object. For them the whole body has to be looked through."""


class Encoder(Protocol):
    """Writes the answer to one batch. Nothing in it raises: every answer that reaches it has been validated."""

    status: int
    """Of the whole answer; what it is once the end is written is what counts."""
    headers: Headers
    """The same goes for these."""
    ordered: bool
    """Does it take units in the order of the batch? Otherwise as they are done."""
    settled: bool
    """Are status and headers known before anything has run, so that pieces of the body may be sent at once?"""

    def units(self, done: list[Done]) -> bytes:
        """The next piece of the body, for a burst of units. Each unit comes once, and whole."""

    def end(self) -> bytes:
        """The last piece of the body."""


class Unanswered(ValueError):
    """Raised by :meth:`Dialect.read` where only some of the requests have an answer.

    :param answers: one for each request, None where there is none.
    :param cut: does the body lack its end, so that the others may have been answered behind it?
    """

    def __init__(self, answers: Sequence[SubResponse | None], cut: bool = False) -> None:
        super().__init__(f"{answers.count(None)} of {len(answers)} requests have no answer")
        self.answers = answers
        self.cut = cut


class Recogniser(Protocol):
    """What receives a batch and finds its dialect; a dialect is its own."""

    media_types: frozenset[str]
    """What a batch may be sent as."""
    loose_types: frozenset[str]
    """What clients send besides, taken only where a dialect is configured by name; the empty word stands for no content type at all."""

    def max_body(self, media_type: str) -> int:
        """Bytes of a batch that is sent as this, without files, where the settings do not say."""

    def choose(self, head: Head, body: bytes, settings: Settings) -> "Dialect":
        """The dialect of a batch, or one that is made for this batch where its clients differ in what they read.

        :raises BatchRejected: when none, or more than one, fits.
        """

    def refusal(self, head: Head, error: BatchRejected) -> tuple[int, Headers, bytes]:
        """The answer to a batch that did not happen, in the form that the clients read."""


class Dialect(Recogniser, Protocol):
    """A wire format of batches: the server's half, and the client's."""

    shape: str
    """What a batch looks like, in a word or two, for who sent something else."""

    def recognises(self, head: Head, body: Shape) -> bool:
        """For ``auto``: is this batch written in this dialect, as far as a glance tells?"""

    def decode(self, head: Head, body: bytes, settings: Settings) -> Batch:
        """Read a batch.

        Ids, names of groups and references are resolved here, into indexes of items.

        :param body: of a form in parts, the part that is the batch, or nothing where there is none; the others are in ``head.parts``.
        :raises BatchRejected: when the body is not this dialect's grammar, holds too many items, or names one that is not there. Nothing else
            is ever raised, whatever the bytes are.
        """

    def encoder(self, head: Head, batch: Batch, settings: Settings) -> Encoder:
        """What will write the answer to *batch*."""

    def failure(self, fault: Fault) -> tuple[Headers, bytes]:
        """Headers and body of an item's answer that we make ourselves, in the form that the clients read."""

    def write(self, requests: Sequence[SubRequest]) -> tuple[Headers, bytes]:
        """The client's half: a batch of *requests*, as headers and body of a POST.

        :raises ValueError: when the dialect has no way to say one of the requests.
        """

    def read(self, headers: Headers, body: bytes, requests: Sequence[SubRequest]) -> list[SubResponse]:
        """The client's half: the answers to *requests*, in their order. A status of 0 means that the dialect does not tell it.

        :raises Unanswered: when the body is an answer to some of these requests: others were lost, not wanted, or not run behind a failure.
        :raises ValueError: when it is no answer to these requests.
        """


@runtime_checkable
class LinesDialect(Dialect, Protocol):
    """A dialect whose batches may be answered in lines, as ``application/x-ndjson``."""

    def read_line(self, line: bytes, requests: Sequence[SubRequest]) -> list[tuple[int, SubResponse]]:
        """The client's half of a line: the places of the requests that it is an answer to, each with that answer.

        :raises ValueError: when it is an answer to none.
        """


class Work(Protocol):
    """What the units of one batch are run by, from any thread. Nothing in it raises: there is an answer for every item of a unit,
    or none at all for a unit that is left out, since the batch has stopped before it.
    """

    def call(self, unit: Unit, ticket: Ticket | None = None) -> Answers:
        """Run *unit* through the app.

        :param ticket: of a unit that may be left behind while it runs.
        """

    def late(self, ticket: Ticket) -> Answers:
        """The answers in place of those of a unit that has just been left behind."""

    def unstarted(self, unit: Unit) -> Answers:
        """The answers to a unit that will not be run, since time is up."""


class Lane(Protocol):
    """The way of one batch through an executor; used by the thread that opened it only."""

    def spawn(self, units: Sequence[Unit]) -> None:
        """Have *units* run, started in this order. Never blocks."""

    def wait(self) -> list[Done]:
        """At least one unit that is done: a burst of them where they are short, of about a millisecond or 64 KiB; one that is late, or will not be
        started any more, is done as well.
        """

    def ready(self) -> bool:
        """Would :meth:`wait` have something to give at once?"""

    def close(self) -> None:
        """Forget what has not started."""


class Executor(Protocol):
    """Decides where and when units run. One object serves all batches of a middleware, from many threads, before and after a fork."""

    concurrent: bool
    """Can units run at the same time?"""
    can_leave: bool
    """Can a call be left behind when its time is up?"""

    @property
    def app(self) -> Callable[..., Iterable[bytes]] | None:
        """The WSGI app that stands in the place of the wrapped one, where items are answered elsewhere."""

    @property
    def left(self) -> int:
        """Calls that were left behind in this process, and have not ended."""

    def open(self, work: Work, limits: Limits) -> Lane:
        """A lane for one batch."""

    def close(self) -> None:
        """Give back what is held. No lane is open any more."""


class Atomic(Protocol):
    """How a framework makes a group of items all or nothing."""

    def __call__(self) -> AbstractContextManager[Group]:
        """A transaction around one group, which runs in one thread. Left with an exception it is rolled back, otherwise it is committed.

        It raises when the transaction cannot be begun or committed.
        """


class Store(Protocol):
    """Keeps what became of requests under keys, for all processes that may be sent the same request again.

    Time is the store's own: leases and ages are told in seconds, never as a moment. Each call is atomic for each key that it names.
    Whatever keeps a store from answering is raised as :class:`~wsgibatch.errors.StoreError`. One object serves many threads, before and after a fork.
    """

    def begin(self, key: str, fingerprint: bytes, lease: float, keep: float, on_crash: Literal["execute", "fail"]) -> Claim:
        """Claim *key* where nobody has it, or where its last owner's lease has ended, *on_crash* is ``"execute"`` and *fingerprint* is the same.

        :param lease: seconds after which an owner that has neither renewed nor finished is taken for dead.
        :param keep: seconds for which it is remembered that an owner has died.
        """

    def renew(self, key: str, owner: str, lease: float) -> bool:
        """Have the lease end in *lease* seconds from now; False when *owner* does not hold *key* any more."""

    def finish(self, key: str, owner: str, value: bytes | None, ttl: float) -> bool:
        """Keep *value* for *ttl* seconds, or with None forget *key*; False, and nothing done, when *owner* does not hold it any more."""

    def forget(self, key: str, value: bytes) -> bool:
        """Forget *key* where *value* is what is kept under it; False, and nothing done, where anything else is known of it, or nothing."""

    def peek(self, key: str) -> Claim | None:
        """What is known of *key*, which is not claimed by that; None when nothing is. Never :class:`~wsgibatch.model.Claimed`."""

    def touch(self, tags: Sequence[str], owner: str, ttl: float) -> list[float | None]:
        """Sign each of *tags* with *owner* for *ttl* seconds; the seconds since somebody else has signed it, or None where nobody has."""

    def seen(self, tags: Sequence[str]) -> list[Signature | None]:
        """Who has signed each of *tags* last; None where nobody has, or for too long."""

    def close(self) -> None:
        """Give back connections and the like. A call that comes later opens them again."""
