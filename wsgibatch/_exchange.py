"""The story of a batch: decode, plan, run, encode.

:func:`exchange` reads no socket, no clock and no thread. Wherever it needs the world it yields an *effect*, and the driver that runs it answers.
Until ``Start`` is yielded a batch can be refused, and nothing has run; from there on nothing raises.
"""

from collections.abc import Generator
from typing import Any, TypeAlias

from msgspec import Struct

from . import _lookup, dialects, executors
from ._log import log_batch, log_items, log_refusal
from ._plan import make_plan
from ._run import Run
from ._target import BatchPaths
from ._timing import BATCH_DURATION, SHOWN, timing_headers
from ._vet import Vetter, vet_head
from .errors import BatchRejected
from .model import Done, Head, Headers, Unit
from .protocols import Dialect, Executor, Recogniser
from .settings import Settings

WINDOW = 256
"""Units that may be ahead of the answers written: enough for any pool, and what bounds the answers held twice."""


class Read(Struct):
    """Read the body, of at most *limit* bytes. Answered with the bytes, or by throwing a :class:`BatchRejected` into the story."""

    limit: int


class Start(Struct):
    """The batch is accepted, or refused: send this status and these headers. Units are about to run in this dialect's name."""

    status: int
    headers: Headers
    dialect: Dialect | None = None


class Spawn(Struct):
    """Have these units run."""

    units: list[Unit]


class Wait(Struct):
    """Answered with a list of units that are done."""


class Elapsed(Struct):
    """Answered with the seconds since the batch was received."""


class Finish(Struct):
    """Add these headers, if none have been sent."""

    headers: Headers


Chunks: TypeAlias = list[bytes]
"""A list of bytes is an effect as well: send them."""

Effect: TypeAlias = Read | Start | Spawn | Wait | Elapsed | Finish | Chunks

_WAIT, _ELAPSED = Wait(), Elapsed()


class Endpoint:
    """What a middleware knows before the first batch: its settings, looked up and made ready."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.paths = BatchPaths(settings.path)
        self.recogniser: Recogniser = _object(dialects, settings.dialect)
        self.executor: Executor = _object(executors, settings.executor, settings)
        self.vet = Vetter(settings, self.paths)
        self.max_body: int = self.recogniser.max_body if settings.max_body is None else settings.max_body


def _object(family: Any, setting: Any, *arguments: Any) -> Any:
    """The member of *family* that *setting* is, refers to, or stands for."""
    if isinstance(setting, str):
        setting = _lookup.named(setting) if ":" in setting else _lookup.member(family, setting)
    return setting(*arguments) if isinstance(setting, type) else setting


def exchange(head: Head, endpoint: Endpoint) -> Generator[Effect, Any, None]:
    """Answer one batch, from its head to the last byte of its answer."""
    recogniser: Recogniser = endpoint.recogniser
    try:
        vet_head(head, recogniser)
        body = yield Read(endpoint.max_body)
        recogniser = dialect = recogniser.choose(head, body)
        batch = dialect.decode(head, body, endpoint.settings)
        endpoint.vet(batch, head, dialect)
    except BatchRejected as error:
        # The last place where a batch can be refused.
        log_refusal(head, error)
        status, headers, document = recogniser.refusal(head, error)
        yield Start(status, headers)
        yield [document]
        return
    run = Run(make_plan(batch.items, endpoint.settings, endpoint.executor.concurrent))
    encoder = dialect.encoder(head, batch, endpoint.settings)
    tally = Tally()
    yield Start(encoder.status, encoder.headers, dialect)
    while True:
        # Draining opens the window, so it comes before asking what is ready.
        done = run.drain()
        units = run.ready(WINDOW)
        if units:
            yield Spawn(units)
        if done:
            yield [encoder.units(done)]
            tally.count(done)
        if run.drained:
            break
        run.take((yield _WAIT))
    yield [encoder.end()]
    total = yield _ELAPSED
    log_batch(head, len(batch.items), tally.failed, total)
    if endpoint.settings.durations:
        yield Finish(timing_headers(endpoint.settings.duration_header or BATCH_DURATION, total, tally.times))


class Tally:
    """What the end of a batch tells of its items."""

    def __init__(self) -> None:
        self.failed = 0
        self.times: list[tuple[float, float]] = []

    def count(self, done: list[Done]) -> None:
        """These units have been written."""
        log_items(done)
        for _, answers in done:
            for answer in answers:
                if answer.status >= 400:
                    self.failed += 1
        missing = SHOWN - len(self.times)
        if missing > 0:
            self.times += [(answer.started, answer.duration) for _, answers in done[:missing] for answer in answers][:missing]
