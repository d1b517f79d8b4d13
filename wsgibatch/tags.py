"""Tags: names for what requests change and what answers go by, such as ``User:1``, so that a kept reply can be known to be out of date.

Whoever changes something *touches* its tag, and whatever goes by something *reads* it. When a request has ended, what it has touched is signed in the
store with a word of its own. A reply remembers who had signed last what it goes by; it is out of date once somebody else has. A tag is a class and a
name with a colon between them, and ``User:*`` is the whole class: touching it changes all of its members, reading it depends on each of them. A
name without a colon belongs to no class.

Inside of a request behind :class:`~wsgibatch.idempotency.IdempotencyMiddleware` both wait for its end, so that nothing is said to be changed before
it is; elsewhere, in a cron job say, :func:`touch` writes to the store at once, and :func:`use` says to which.
"""

from collections.abc import Iterable
from contextvars import ContextVar
from secrets import token_hex
from time import monotonic
from typing import NamedTuple
from weakref import WeakSet

from msgspec import Struct

from ._idempotency.fingerprints import digest
from ._idempotency.policy import DAY
from ._log import log_store
from .errors import ConfigError
from .protocols import Store
from .stores import store_of

__all__ = ("reads", "touch", "use")

_SLACK = 0.1
"""Seconds by which the clocks of a store and of this process may differ over one request."""

_ANCHOR = "~"
"""What a signature begins with that stands for no change."""

current: ContextVar["Collector | None"] = ContextVar("wsgibatch.tags", default=None)


def touch(*tags: str) -> None:
    """Say that what *tags* name has been changed: ``touch("User:1", "Order:*")``.

    In a request it may be said before the change is committed as well as after; elsewhere, after.

    :raises ConfigError: outside of requests, in a process that has neither a middleware nor called :func:`use`.
    :raises StoreError: outside of requests, when the store fails.
    :raises TypeError: for what is no text.
    """
    if (collector := current.get()) is not None:
        collector.touch(*tags)
        return
    signers = list(_signers)
    if not signers:
        raise ConfigError("no store is known here: call wsgibatch.tags.use() with the one that the app's replies are kept in")
    for signer in signers:
        signer.sign(_checked(tags))


def reads(*tags: str) -> None:
    """Say that the answer to this request goes by what *tags* name, before or after it was looked at; without effect outside of requests.

    :raises TypeError: for what is no text.
    """
    if (collector := current.get()) is not None:
        collector.reads(*tags)


def use(store: str | Store) -> None:
    """Have what is touched outside of requests written to *store*, in a process that has no middleware: a cron job, a worker.

    :param store: as :class:`~wsgibatch.idempotency.IdempotencyMiddleware` takes it.
    :raises ConfigError: when it is none.
    """
    _used.append(Signer(store_of(store)))


def changed(tags: Iterable[str]) -> None:
    """As :func:`touch`, amid a commit, which nothing may disturb: what fails is logged, and where no store is known there is nobody to tell."""
    if (collector := current.get()) is not None:
        collector.touch(*tags)
        return
    names = list(tags)
    for signer in list(_signers):
        signer.publish(names)


class Signer:
    """Signs tags in one store; lives as long as whoever made it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.life = DAY
        """Seconds that a signature lasts: no less than any reply that goes by it. Whose signature is missing counts as changed."""
        _signers.add(self)

    def sign(self, tags: Iterable[str], owner: str = "") -> dict[str, float | None]:
        """Sign all that a change of *tags* changes; the seconds since somebody else has signed it, by its name in the store."""
        names = list({_stored(name) for tag in tags for name in _written(tag)})
        return dict(zip(names, self.store.touch(names, owner or token_hex(16), self.life), strict=True))

    def publish(self, tags: Iterable[str]) -> None:
        """Sign *tags*, and only log it when that fails: what has changed has changed."""
        try:
            self.sign(tags)
        except Exception as error:
            log_store("sign tags", error)

    def is_fresh(self, signed: Iterable[tuple[str, str]]) -> bool:
        """Is it as it was? *signed* are names in the store, and by whom each has to be signed."""
        pairs = list(signed)
        found = self.store.seen([name for name, _ in pairs]) if pairs else []
        return all(signature is not None and signature.owner == owner for signature, (_, owner) in zip(found, pairs, strict=True))


_signers: WeakSet[Signer] = WeakSet()
_used: list[Signer] = []


class Marks(NamedTuple):
    """By what a reply can be known to be out of date."""

    signed: tuple[tuple[str, str], ...] = ()
    """Names in the store, and who had signed each last."""
    contested: bool = False
    """Has somebody else signed one of them while the request ran, so that nobody knows what it has seen?"""


class Collector(Struct, eq=False):
    """What one request touches and reads, until it has ended; what it touches later is signed at once.

    It is a context, in which :func:`touch` and :func:`reads` find it. There is one for each request, and most have nothing to say.
    """

    signer: Signer
    parent: "Collector | None"
    """The one that is current where it is made: of the batch that this request is an item of, when that is collected as well."""
    began: float = 0.0
    """When the request did, on the clock of :func:`time.monotonic`, where anybody cares: whose reply is kept, or that is one of several."""
    over: bool = False
    """Has the request ended?"""
    touched: set[str] | None = None
    read: set[str] | None = None
    given: dict[str, str] | None = None
    """Of a batch: what its items go by; names in the store, and who had signed each last."""
    contested: bool = False
    """Of a batch: does nobody know what one of its items has seen?"""
    before: "Collector | None" = None

    def __enter__(self) -> None:
        self.before = current.get()
        current.set(self)

    def __exit__(self, *_: object) -> None:
        current.set(self.before)

    def touch(self, *tags: str) -> None:
        """As :func:`touch`; the app finds it as ``environ["wsgibatch.touch"]``."""
        if self.touched is None:
            self.touched = set()
        self.touched.update(_checked(tags))
        # Looked at last, since another thread may be ending it.
        if self.over:
            self.signer.publish(tags)

    def reads(self, *tags: str) -> None:
        """As :func:`reads`; the app finds it as ``environ["wsgibatch.reads"]``."""
        if self.read is None:
            self.read = set()
        self.read.update(_checked(tags))

    def discard(self) -> None:
        """Nothing of it has happened."""
        self.over = True
        self.touched = self.read = None

    def end(self) -> None:
        """Sign what was touched. Nothing is raised: what has happened has happened, and a store that fails is told of in the log."""
        self.over = True
        if self.touched or self.read or self.given:
            self._settled("", marked=False)

    def settle(self, owner: str, ttl: float) -> Marks:
        """As :meth:`end`, for a request of which a reply is kept.

        :param owner: what to sign with.
        :param ttl: seconds that the reply is kept.
        """
        self.over = True
        self.signer.life = max(self.signer.life, ttl)
        return self._settled(owner, marked=True) if self.touched or self.read or self.given else Marks(contested=self.contested)

    def adopt(self, signer: Signer, marks: Marks) -> None:
        """An item of this batch has been answered, or given a reply again: the answer to the batch goes by all that it goes by."""
        if self.over:
            return
        self.given = {**(self.given or {}), **dict(marks.signed)}
        # What another store says cannot be asked here.
        self.contested = self.contested or marks.contested or (signer.store is not self.signer.store and bool(marks.signed))

    def _settled(self, owner: str, marked: bool) -> Marks:
        owner = owner or token_hex(16)
        touched = self.touched or set()
        marks = Marks()
        try:
            ages = self.signer.sign(touched, owner)
            if marked or self.parent is not None:
                marks = self._marks(owner, ages, touched | (self.read or set()))
        except Exception as error:
            log_store("sign tags", error)
            marks = Marks(contested=True)
        if self.parent is not None:
            if self.parent.signer.store is not self.signer.store:
                self.parent.touch(*touched)
                self.parent.reads(*(self.read or ()))
            else:
                self.parent.adopt(self.signer, marks)
        return marks

    def _marks(self, owner: str, ages: dict[str, float | None], tags: set[str]) -> Marks:
        """What a reply that goes by *tags* remembers. *ages* are those of what it has signed itself."""
        names = {_stored(name) for tag in tags for name in _looked_at(tag)}
        signed = {**(self.given or {}), **{name: owner for name in names if name in ages}}
        recent = [ages[name] for name in names if name in ages]
        others = list(names - signed.keys())
        unsigned = []
        for name, signature in zip(others, self.signer.store.seen(others), strict=True):
            if signature is None:
                unsigned.append(name)
                continue
            signed[name] = signature.owner
            if not signature.owner.startswith(_ANCHOR):
                recent.append(signature.age)
        signed |= dict.fromkeys(unsigned, _ANCHOR + owner)
        recent += self._anchored(unsigned, owner)
        ran = monotonic() - self.began
        return Marks(tuple(signed.items()), self.contested or any(age is not None and age <= ran + _SLACK for age in recent))

    def _anchored(self, names: list[str], owner: str) -> list[float | None]:
        """What nobody has signed is signed by who goes by it: were it missing again, it would not be known whether it was changed meanwhile.

        Somebody may have changed it between the look and the signature, which must not hide that: so it is signed again, as a change.
        """
        ages = self.signer.store.touch(names, _ANCHOR + owner, self.signer.life)
        hidden = [name for name, age in zip(names, ages, strict=True) if age is not None]
        self.signer.store.touch(hidden, owner, self.signer.life)
        return ages


def _written(tag: str) -> tuple[str, ...]:
    """What is signed where *tag* is touched; ``User:**`` stands for whatever member of the class has changed."""
    head, colon, _ = tag.partition(":")
    return (tag, f"{head}:**") if colon else (tag,)


def _looked_at(tag: str) -> tuple[str, ...]:
    """What is looked at where something goes by *tag*."""
    head, colon, name = tag.partition(":")
    if not colon:
        return (tag,)
    return (f"{head}:**",) if name == "*" else (tag, f"{head}:*")


def _stored(name: str) -> str:
    """What a store knows a tag by: short, whatever it is, and telling nothing, since names of sessions and tokens are secrets."""
    return digest("tag", name)[:32]


def _checked(tags: tuple[str, ...]) -> tuple[str, ...]:
    for tag in tags:
        if not isinstance(tag, str):
            raise TypeError(f"a tag is text such as 'User:1', not {tag!r}")
    return tags
