"""Requests that are no batch, as a server hands them to an app: many in one run, since each takes too little to be timed by itself."""

from collections.abc import Callable, Iterable
from typing import Any

from .answers import Figure
from .contestants.bare import ignore
from .measure import Checked, figure, interleaved
from .posting import Mismatch
from .work import WSGIApp

CALLS = 1000


def beyond(through: WSGIApp, direct: WSGIApp, environ: Callable[[], dict[str, Any]]) -> Figure:
    """Microseconds that a request with an *environ* takes *through* a middleware beyond what it takes from the app itself.

    :raises Mismatch: when it is answered otherwise there than by the app.
    """
    expected = b"".join(direct(environ(), ignore))
    own, others = interleaved(_calls(direct, environ, expected), _calls(through, environ, expected))
    return figure([(one - other) / CALLS * 1e6 for one, other in zip(others, own, strict=True)])


def _calls(called: WSGIApp, environ: Callable[[], dict[str, Any]], expected: bytes) -> Checked[Iterable[bytes]]:
    def run() -> Iterable[bytes]:
        for _ in range(CALLS):
            answer = called(environ(), ignore)
        return answer

    def vet(answer: Iterable[bytes]) -> None:
        body = b"".join(answer)
        if body != expected:
            raise Mismatch(f"a request that is answered with {expected[:200]!r} by the app was answered with {body[:200]!r}")

    return Checked(run, vet).tried()
