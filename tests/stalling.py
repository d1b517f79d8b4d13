"""An app some of whose answers take longer than anybody waits, and what tests need to tell what became of them."""

import threading
from collections.abc import Callable, Iterable, Iterator
from time import monotonic, sleep
from typing import Any

PATIENCE = 30
"""Seconds after which something that should happen is held never to happen."""
TIMEOUT = 0.3
"""Seconds that an item has: long for one that does not stall, and short for a test."""


def meet(event: threading.Event) -> None:
    assert event.wait(PATIENCE), "what was waited for did not happen"


def eventually(happens: Callable[[], bool]) -> None:
    """Wait for what tells nobody that it has happened."""
    until = monotonic() + PATIENCE
    while not happens():
        assert monotonic() < until, "what was waited for did not happen"
        sleep(0.001)


class Body:
    """An answer that keeps in which thread it was closed."""

    def __init__(self, site: "Stalling", path: str) -> None:
        self._site, self._path = site, path

    def __iter__(self) -> Iterator[bytes]:
        yield self._path.encode()

    def close(self) -> None:
        self._site.closed.append((self._path, threading.get_ident()))


class Stalling:
    """Answers each path with itself; below ``/hang`` once it is released, and a path of three digits with that status."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.hanging = threading.Semaphore(0)
        """Released whenever a call begins to wait."""
        self.ran: list[str] = []
        self.called: list[tuple[str, int]] = []
        """Paths, and the threads in which they were called."""
        self.closed: list[tuple[str, int]] = []
        self.seen: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        self.ran.append(path)
        self.called.append((path, threading.get_ident()))
        self.seen.append(environ)
        if path.startswith("/hang"):
            self.hanging.release()
            meet(self.release)
        status = path[1:] if len(path) == 4 and path[1:].isdigit() else "200"
        start_response(f"{status} Told", [("Content-Type", "text/plain")])
        return Body(self, path)

    def stalls(self, count: int = 1) -> None:
        """Wait until *count* further calls wait."""
        for _ in range(count):
            assert self.hanging.acquire(timeout=PATIENCE)
