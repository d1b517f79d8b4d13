"""A client that costs next to nothing, over connections that stay open."""

import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from itertools import chain
from typing import NamedTuple
from urllib.parse import urlsplit

from .measure import Checked
from .posting import Mismatch, check
from .work import Work

CONNECTIONS = 8


class Ways(NamedTuple):
    """Ways to have the same requests answered."""

    batch: Checked[tuple[list[tuple[str, str]], bytes]]
    """In one batch."""
    one: Checked[list[bytes]]
    """Each for itself, on one connection."""
    several: Checked[list[bytes]]
    """Each for itself, on :data:`CONNECTIONS` connections at a time, in any order."""


@contextmanager
def ways(base: str, work: Work) -> Iterator[Ways]:
    """The ways to the server at *base*.

    :raises Mismatch: when a request is not answered with 200, or in a batch otherwise than alone.
    """
    with ExitStack() as opened:
        first, *others = [opened.enter_context(closing(Connection(base))) for _ in range(CONNECTIONS)]
        threads = opened.enter_context(ThreadPoolExecutor(CONNECTIONS))
        expected = [first.get(path) for path in work.paths]

        def several() -> list[bytes]:
            # Whoever is free takes the next one.
            left = iter(work.paths)
            found = threads.map(lambda connection: [connection.get(path) for path in left], [first, *others])
            return [*chain.from_iterable(found)]

        yield Ways(
            posted(first, work, expected).tried(),
            Checked(lambda: [first.get(path) for path in work.paths], lambda found: _vet(found, expected)),
            Checked(several, lambda found: _vet(sorted(found), sorted(expected))),
        )


def posted(connection: "Connection", work: Work, expected: list[bytes]) -> Checked[tuple[list[tuple[str, str]], bytes]]:
    """The batch, posted on *connection*, where its requests are to be answered as *expected*."""
    return Checked(lambda: connection.post(work), lambda answer: check("200 OK", *answer, work, expected))


def _vet(found: list[bytes], expected: list[bytes]) -> None:
    if found != expected:
        raise Mismatch("requests were answered otherwise than they were before")


class Connection:
    """One connection."""

    def __init__(self, base: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=60)
        self._connection.connect()

    def close(self) -> None:
        self._connection.close()

    def get(self, path: str) -> bytes:
        return self._answer("GET", path)[1]

    def post(self, work: Work) -> tuple[list[tuple[str, str]], bytes]:
        """The headers of the answer, and its body."""
        return self._answer("POST", work.target, work.batch, {"Content-Type": work.content_type})

    def _answer(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[list[tuple[str, str]], bytes]:
        self._connection.request(method, path, body, headers or {})
        response = self._connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise Mismatch(f"{method} {path} was answered with {response.status}: {content[:200]!r}")
        return response.getheaders(), content
