"""The parts of the road that a batch takes, each by itself: ``part:decode`` and so on, as counted by ``questions/parts.py``.

Each answers a whole batch as far as it goes; some begin with what others made.
"""

from collections.abc import Callable
from io import BytesIO
from time import perf_counter
from typing import Any, NamedTuple

from wsgibatch import Settings
from wsgibatch._caller import Caller
from wsgibatch._exchange import Endpoint
from wsgibatch._input import body_of
from wsgibatch._limits import Limits
from wsgibatch._plan import make_plan
from wsgibatch._vet import vet_head
from wsgibatch.model import Batch, Done, Head
from wsgibatch.protocols import Dialect
from wsgibatch.wsgi import _head_of

from ..work import Work, WSGIApp, environ_of

Run = Callable[[], object]


class _Received(NamedTuple):
    """A batch that came, and was taken apart."""

    endpoint: Endpoint
    environ: dict[str, Any]
    head: Head
    dialect: Dialect
    batch: Batch


def decode(app: WSGIApp, work: Work) -> Run:
    """From the environ to the items."""
    endpoint, environ = _opened(work)
    return lambda: _received(endpoint, environ, work)


def plan(app: WSGIApp, work: Work) -> Run:
    """The same, and the items looked at and brought in order."""
    endpoint, environ = _opened(work)

    def run() -> None:
        received = _received(endpoint, environ, work)
        _vetted(received, work)
        make_plan(received.batch, endpoint.settings, endpoint.executor.concurrent)

    return run


def environ(app: WSGIApp, work: Work) -> Run:
    """From items that were looked at to environs."""
    caller, received = _caller(app, work)
    return lambda: [caller._environ(item) for item in received.batch.items]


def call(app: WSGIApp, work: Work) -> Run:
    """The same, and the app called with them, up to answers that were looked at."""
    caller, received = _caller(app, work)
    return lambda: [caller.answer(item) for item in received.batch.items]


def encode(app: WSGIApp, work: Work) -> Run:
    """From answers to bytes."""
    caller, received = _caller(app, work)
    done: list[Done] = [((item,), (caller.answer(item),)) for item in received.batch.items]

    def run() -> None:
        encoder = received.dialect.encoder(received.head, received.batch, received.endpoint.settings)
        encoder.units(done)
        encoder.end()

    return run


def _opened(work: Work) -> tuple[Endpoint, dict[str, Any]]:
    outer = environ_of("POST", work.target, {"Content-Type": work.content_type}, work.batch)
    return Endpoint(Settings(max_requests=len(work.requests))), outer


def _received(endpoint: Endpoint, outer: dict[str, Any], work: Work) -> _Received:
    sent = outer.copy()
    sent["wsgi.input"] = BytesIO(work.batch)
    head = _head_of(sent)
    vet_head(head, endpoint.recogniser)
    body = body_of(sent, endpoint.max_body(head))
    dialect = endpoint.recogniser.choose(head, body, endpoint.settings)
    return _Received(endpoint, sent, head, dialect, dialect.decode(head, body, endpoint.settings))


def _vetted(received: _Received, work: Work) -> None:
    received.endpoint.vet(received.batch, received.head, received.dialect, len(work.batch))


def _caller(app: WSGIApp, work: Work) -> tuple[Caller, _Received]:
    received = _received(*_opened(work), work)
    _vetted(received, work)
    settings = received.endpoint.settings
    limits = Limits(None, None, False, settings.order, settings.max_abandoned)
    return Caller(app, received.environ, received.dialect, settings, limits, False, perf_counter()), received
