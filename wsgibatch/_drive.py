"""Runs the story of one batch in the world of a WSGI server."""

from collections.abc import Callable, Generator, Sequence
from time import monotonic, perf_counter
from typing import Any

from ._bind import Binder
from ._body import Part, Spool
from ._caller import Caller, WSGIApp
from ._exchange import Chunks, Effect, Elapsed, Endpoint, Finish, Forget, Read, ReadForm, Spawn, Start, Wait
from ._inherit import CLAIM
from ._input import body_of, parts_of, skip
from ._limits import Limits, Ticket
from ._linked import LinkedCaller, closing
from ._stopping import Stopping
from ._turns import InTurn
from .errors import BatchRejected
from .model import Answers, Batch, Done, Head, Headers, Unit
from .protocols import Dialect, Lane, Work

PORTION = 64 << 10
"""Bytes after which a stream is sent on, whether or not there is more at once."""


class Drive:
    """One batch: what the story asks of the world is done here, and nothing is decided.

    :param head: of the batch, *environ* its environ.
    :param received: when the batch came, on the clock of :func:`time.perf_counter`.
    """

    def __init__(self, app: WSGIApp, environ: dict[str, Any], head: Head, endpoint: Endpoint, received: float) -> None:
        self._app, self._environ, self._head, self._endpoint, self._received = app, environ, head, endpoint, received
        self._lane: Lane = _NoLane()
        self._spool: Spool | None = None
        self._read = False
        self.status = 500
        self.headers: Headers = []
        self.streamed = False

    def through(self, flow: Generator[Effect, Any, None]) -> Generator[Chunks, None, None]:
        """The pieces of the body. With a stream come empty lists: once status and headers are known, and wherever the next piece may take long."""
        proceed: Callable[[Any], Effect] = flow.send
        answer: Any = None
        try:
            while True:
                try:
                    effect: Any = proceed(answer)
                except StopIteration:
                    return
                proceed, answer = flow.send, None
                kind = type(effect)
                if kind is list:
                    yield effect
                elif kind is Spawn:
                    self._lane.spawn(effect.units)
                elif kind is Wait:
                    if self.streamed and not self._lane.ready():
                        yield []
                    answer = self._lane.wait()
                elif kind is Read or kind is ReadForm:
                    self._read = True
                    try:
                        answer = body_of(self._environ, effect.limit) if kind is Read else self._parts(effect.limit)
                    except BatchRejected as error:
                        proceed, answer = flow.throw, error
                elif kind is Start:
                    self.status, self.headers, self.streamed = effect.status, effect.headers, effect.streamed
                    if effect.batch is not None:
                        self._open_lane(effect.dialect, effect.batch)
                    elif not self._read:
                        skip(self._environ)
                    if self.streamed:
                        yield []
                elif kind is Elapsed:
                    answer = perf_counter() - self._received
                elif kind is Forget:
                    self._environ[CLAIM].store(False)
                elif kind is Finish:
                    self.status, self.headers = effect.status, effect.headers
        finally:
            flow.close()
            self._lane.close()
            if self._spool is not None:
                self._spool.release()

    def _parts(self, limit: int) -> tuple[Part, ...]:
        self._spool = Spool()
        return parts_of(self._environ, self._head.parameters.get("boundary", ""), limit, self._spool)

    def _open_lane(self, dialect: Dialect, batch: Batch) -> None:
        endpoint = self._endpoint
        executor, limits = endpoint.executor, self._limits()
        app = executor.app or self._app
        caller = Caller(closing(app) if batch.linked else app, self._environ, dialect, endpoint.settings, limits, executor.concurrent, self._received)
        work: Work = caller
        if batch.linked:
            largest = endpoint.settings.max_item_body or endpoint.max_body(self._head)
            binder = Binder(batch, self._head, endpoint.vet, largest)
            work = LinkedCaller(caller, batch, binder, endpoint.atomic)
        if batch.keyed and endpoint.settings.order != "free":
            work = InTurn(work, caller)
        if batch.on_error == "stop" and not executor.concurrent:
            work = Stopping(work)
        self._lane = executor.open(work if self._spool is None else Holding(work, self._spool), limits)

    def _limits(self) -> Limits:
        settings = self._endpoint.settings
        until = None
        if settings.deadline is not None:
            until = monotonic() + settings.deadline - (perf_counter() - self._received)
        return Limits(settings.timeout, until, self.streamed, settings.order, settings.max_abandoned)


class Stream:
    """The body of an answer that is sent piece by piece. Closing it forgets what has not started."""

    def __init__(self, pieces: Generator[Chunks, None, None]) -> None:
        self._pieces = pieces

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> bytes:
        held: Chunks = []
        size = 0
        for chunks in self._pieces:
            held += chunks
            size += sum(map(len, chunks))
            if held and (not chunks or size >= PORTION):
                break
        if not held:
            raise StopIteration
        return b"".join(held)

    def close(self) -> None:
        self._pieces.close()


class Holding:
    """Does the work on items that may read from *spool*, which stays open while it does."""

    def __init__(self, work: Work, spool: Spool) -> None:
        self._work, self._spool = work, spool
        self.late, self.unstarted = work.late, work.unstarted

    def call(self, unit: Unit, ticket: Ticket | None = None) -> Answers:
        if not self._spool.hold():
            # The batch was over before this could start.
            return self._work.unstarted(unit)
        try:
            return self._work.call(unit, ticket)
        finally:
            self._spool.release()


class _NoLane:
    """The lane of a batch that is refused."""

    def spawn(self, units: Sequence[Unit]) -> None:
        raise AssertionError("a batch that was not started has no units")

    def wait(self) -> list[Done]:
        raise AssertionError("a batch that was not started has no units")

    def ready(self) -> bool:
        raise AssertionError("a batch that was not started has no units")

    def close(self) -> None:
        """There is nothing to forget."""
