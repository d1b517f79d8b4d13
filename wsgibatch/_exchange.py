"""The story of a batch: decode, plan, run, encode.

:func:`exchange` reads no socket, no clock and no thread. Wherever it needs the world it yields an *effect*, and the driver that runs it answers.
Until ``Start`` is yielded a batch can be refused, and nothing has run; from there on nothing raises.
"""

import concurrent.futures
import inspect
import logging
from collections.abc import Callable, Generator, Iterator
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from . import _lookup, dialects, executors
from ._body import FORM_DATA, MAX_FORM, Part
from ._keys import key_items
from ._log import batch_log, item_log, log_batch, log_items, log_refusal
from ._plan import make_plan
from ._run import LinkedRun, Run
from ._target import BatchPaths
from ._timing import BATCH_DURATION, SHOWN, timing_headers
from ._vet import Vetter, vet_head
from .errors import BadBatch, BatchRejected, ConfigError, Overloaded, TooLarge
from .model import Batch, Done, Head, Headers, Unit
from .protocols import Atomic, Dialect, Executor, Recogniser
from .settings import Settings

WINDOW = 256
"""Units that may be ahead of the answers written: enough for any pool, and what bounds the answers held twice."""
AHEAD = 2
"""The same for each worker of a batch that is streamed, since those answers are held in memory for nothing else."""


class Read(Struct):
    """Read the body, of at most *limit* bytes. Answered with the bytes, or by throwing a :class:`BatchRejected` into the story."""

    limit: int


class ReadForm(Struct):
    """Read the body, a form in parts, of at most *limit* bytes. Answered with its parts, or as :class:`Read`."""

    limit: int


class Start(Struct):
    """The batch is accepted, or refused: send this status and these headers. Units are about to run in this dialect's name."""

    status: int
    headers: Headers
    dialect: Dialect | None = None
    batch: Batch | None = None
    streamed: bool = False
    """Is each piece of the body sent as soon as there is one?"""


class Spawn(Struct):
    """Have these units run."""

    units: list[Unit]


class Wait(Struct):
    """Answered with a list of units that are done."""


class Elapsed(Struct):
    """Answered with the seconds since the batch was received."""


class Forget(Struct):
    """Have the answer not be kept for when the batch is sent again, since an item of it may be answered otherwise then."""


class Finish(Struct):
    """Send this status and these headers instead, if none have been sent."""

    status: int
    headers: Headers


Chunks: TypeAlias = list[bytes]
"""A list of bytes is an effect as well: send them."""

Effect: TypeAlias = Read | ReadForm | Start | Spawn | Wait | Elapsed | Forget | Finish | Chunks

_WAIT, _ELAPSED, _FORGET = Wait(), Elapsed(), Forget()


class Endpoint:
    """What a middleware knows before the first batch: its settings, looked up and made ready."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.paths = BatchPaths(settings.path)
        self.recogniser: Recogniser = _object("dialect", dialects, settings.dialect)
        self.executor = _executor(settings)
        self.atomic = _atomic(settings.atomic)
        self.vet = Vetter(settings, self.paths)
        _check_executor(settings, self.executor)

    def max_body(self, head: Head) -> int:
        """Bytes that a batch may have, with its files."""
        return max(self.max_batch(head), MAX_FORM) if self.settings.max_body is None and head.media_type == FORM_DATA else self.max_batch(head)

    def max_batch(self, head: Head) -> int:
        """Bytes that it may have without them."""
        return self.recogniser.max_body(head.media_type) if self.settings.max_body is None else self.settings.max_body


def _check_executor(settings: Settings, executor: Executor) -> None:
    """Do the settings and the executor go together?

    :raises ConfigError: when one needs what the other cannot do.
    """
    if settings.timeout is not None and not executor.can_leave:
        raise ConfigError(
            f"timeout: the executor {settings.executor!r} cannot leave a call behind; 'threads' can, and a deadline needs no such thing"
        )
    if executor.app is not None and settings.atomic is not None:
        raise ConfigError(f"atomic: the executor {settings.executor!r} runs items where no transaction can hold them together")
    if executor.app is None and settings.worker_app is not None:
        raise ConfigError(f"worker_app: the executor {settings.executor!r} runs items here, in the app that the middleware stands in front of")


def _executor(settings: Settings) -> Executor:
    """What runs the items; something of :mod:`concurrent.futures`, or what makes it, is wrapped.

    :raises ConfigError: when it is none.
    """
    source = settings.executor
    if isinstance(source, str) and ":" in source:
        source = _lookup.named(source, "executor")
    if _gives_futures(source):
        return _lookup.member(executors, "futures")(settings, source)  # type: ignore[no-any-return]
    return _object("executor", executors, settings.executor, settings)  # type: ignore[no-any-return]


def _gives_futures(source: Any) -> bool:
    """Is it an executor of :mod:`concurrent.futures`, a class of them, or something else that is called for one, with nothing?"""
    if isinstance(source, type):
        return issubclass(source, concurrent.futures.Executor)
    return isinstance(source, concurrent.futures.Executor) or (callable(source) and not hasattr(source, "open") and _binds(source))


def _binds(call: Callable[..., Any]) -> bool:
    """Can it be called without arguments, as far as it tells?"""
    try:
        inspect.signature(call).bind()
    except (TypeError, ValueError):
        return False
    return True


def _atomic(setting: Any) -> Atomic | Literal["stop"] | None:
    """What makes groups atomic.

    :raises ConfigError: for what cannot be called as it has to be.
    """
    found: Any = _lookup.named(setting, "atomic") if isinstance(setting, str) and ":" in setting else setting
    if found is None or found == "stop":
        return found  # type: ignore[no-any-return]
    if inspect.isgeneratorfunction(found):
        raise ConfigError(f"atomic: {setting!r} yields and is no context manager: decorate it with contextlib.contextmanager")
    try:
        inspect.signature(found).bind()
    except ValueError:
        # Something built in, which tells nothing of itself.
        return found  # type: ignore[no-any-return]
    except TypeError as error:
        raise ConfigError(f"atomic: {setting!r} cannot be called without arguments, as it is for each group: {error}") from error
    return found  # type: ignore[no-any-return]


_PARTS = {
    "dialect": ("choose", "refusal", "media_types", "loose_types", "max_body"),
    "executor": ("open", "close", "concurrent", "can_leave", "left", "app"),
}
"""What an object must have to be taken for either; the seams are in ``protocols``."""


def _object(name: str, family: Any, setting: Any, *arguments: Any) -> Any:
    """The member of *family* that *setting* is, makes, refers to, or stands for.

    :raises ConfigError: when it is none.
    """
    found = setting
    if isinstance(setting, str):
        found = _lookup.named(setting, name) if ":" in setting else _lookup.member(family, setting)
    if isinstance(found, type) or (callable(found) and not hasattr(found, _PARTS[name][0])):
        try:
            found = found(*arguments)
        except TypeError as error:
            raise ConfigError(f"{name}: {setting!r} cannot be called as it has to be: {error}") from error
    missing = [part for part in _PARTS[name] if not hasattr(found, part)]
    if missing:
        raise ConfigError(f"{name}: {setting!r} is no {name}: it has no {missing[0]!r} (see wsgibatch.protocols)")
    return found


def exchange(head: Head, endpoint: Endpoint) -> Generator[Effect, Any, None]:
    """Answer one batch, from its head to the last byte of its answer."""
    recogniser: Recogniser = endpoint.recogniser
    try:
        vet_head(head, recogniser)
        _admit(endpoint)
        if head.media_type == FORM_DATA:
            body, head.parts = _batch_among((yield ReadForm(endpoint.max_body(head))), endpoint.max_batch(head))
        else:
            body = yield Read(endpoint.max_body(head))
        recogniser = dialect = recogniser.choose(head, body, endpoint.settings)
        batch = dialect.decode(head, body, endpoint.settings)
        endpoint.vet(batch, head, dialect, len(body))
        repeated = key_items(batch, head.key) if head.key is not None or endpoint.vet.keyed else ()
        plan = make_plan(batch, endpoint.settings, endpoint.executor.concurrent, repeated)
    except BatchRejected as error:
        # The last place where a batch can be refused.
        log_refusal(head, error)
        status, headers, document = recogniser.refusal(head, error)
        yield Start(status, [*headers, *error.headers()])
        yield [document]
        return
    encoder = dialect.encoder(head, batch, endpoint.settings)
    streamed = encoder.settled and (endpoint.settings.stream or not encoder.ordered)
    run = Run(plan, encoder.ordered) if plan.links is None else LinkedRun(plan, plan.links, encoder.ordered, streamed)
    window = AHEAD * endpoint.settings.workers if streamed else WINDOW
    tally = Tally(head.lasting)
    reported = 0
    yield Start(encoder.status, encoder.headers, dialect, batch, streamed)
    while True:
        # Draining opens the window, so it comes before asking what is ready.
        done = run.drain()
        units = run.ready(window)
        if units:
            yield Spawn(units)
        if done:
            # A lane's burst is small enough for an answer that is kept whole; what had to wait for its turn may have grown large.
            for portion in portions(done) if streamed or len(done) > reported else [done]:
                yield [encoder.units(portion)]
                tally.count(portion)
        if run.drained:
            break
        burst = yield _WAIT
        reported = len(burst)
        run.take(burst)
    if tally.passing:
        yield _FORGET
    yield [encoder.end()]
    total = yield _ELAPSED
    log_batch(head, len(batch.items), tally.failed, total)
    timing = timing_headers(endpoint.settings.duration_header or BATCH_DURATION, total, tally.times) if endpoint.settings.durations else []
    yield Finish(encoder.status, encoder.headers + timing)


def _admit(endpoint: Endpoint) -> None:
    """Is there room for another batch?

    :raises Overloaded: while as many calls are left behind as may be.
    """
    settings = endpoint.settings
    if endpoint.executor.left >= settings.max_abandoned:
        # Without a limit they are of clients that went away.
        raise Overloaded(endpoint.executor.left, settings.timeout or settings.deadline or 1)


def _batch_among(parts: tuple[Part, ...], limit: int) -> tuple[bytes, tuple[Part, ...]]:
    """The batch that came as one of *parts*, and the others. It is called ``batch``, or else it is the only parameter that is said to be JSON.

    :raises BatchRejected: when there are two, or it is too large. Where there is none it is empty, since it may stand elsewhere.
    """
    found = [part for part in parts if part.name == "batch"]
    if not found:
        typed = [part for part in parts if part.filename is None and part.content_type.partition(";")[0].strip().lower() == "application/json"]
        found = typed if len(typed) == 1 else []
    if not found:
        return b"", parts
    if len(found) > 1:
        raise BadBatch("This part is given twice.", "/batch")
    if found[0].size > limit:
        raise TooLarge(limit, "/batch")
    return found[0].read(), tuple(part for part in parts if part is not found[0])


PORTION = 64 << 10
"""Bytes of answers that are encoded in one go, since for that moment they are held twice."""


def portions(done: list[Done]) -> Iterator[list[Done]]:
    """*done*, emptied piece by piece: each of about :data:`PORTION` bytes, or of one unit where that is larger."""
    done.reverse()
    portion: list[Done] = []
    size = 0
    while done:
        portion.append(done.pop())
        size += sum(len(answer.body) for answer in portion[-1][1])
        if size >= PORTION or not done:
            yield portion
            portion, size = [], 0


class Tally:
    """What the end of a batch tells of its items."""

    def __init__(self, lasting: Callable[[int, Headers], bool] | None = None) -> None:
        self._lasting = lasting
        self.passing = False
        """Has any item been answered in a way that need not last? Asked only where somebody keeps answers."""
        # Asked once, since a batch may have many bursts.
        self._told, self._each_told = batch_log.isEnabledFor(logging.INFO), item_log.isEnabledFor(logging.INFO)
        self.failed = 0
        """Counted only where somebody is told."""
        self.times: list[tuple[float, float]] = []

    def count(self, done: list[Done]) -> None:
        """These units have been written."""
        if self._each_told:
            log_items(done)
        if self._told:
            self.failed += sum(answer.status >= 400 for _, answers in done for answer in answers)
        if self._lasting is not None and not self.passing:
            self.passing = not all(self._lasting(answer.status, answer.headers) for _, answers in done for answer in answers)
        missing = SHOWN - len(self.times)
        if missing > 0:
            self.times += [(answer.started, answer.duration) for _, answers in done[:missing] for answer in answers][:missing]
