"""The app of :mod:`tests.soak.faulty` for worker processes: each run is written down, so that runs can be counted across all of them."""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.soak import faulty
from wsgibatch.model import SAFE

_NOTES = "SOAK_NOTES"
"""The variable that names the file, for processes to inherit."""


@contextmanager
def notes() -> Iterator[Path]:
    """The file that workers write to which are started until the block is left."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[_NOTES] = f"{folder}/notes"
        path = Path(folder) / "notes"
        path.touch()
        try:
            yield path
        finally:
            del os.environ[_NOTES]


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Notes method and path, in one piece and before anything else, and answers."""
    # Where nobody counts there is no such file.
    notes = os.open(os.environ.get(_NOTES, os.devnull), os.O_WRONLY | os.O_APPEND)
    os.write(notes, f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}\n".encode())
    os.close(notes)
    return faulty.app(environ, start_response)


def too_often(path: Path) -> list[str]:
    """What has run more often than it may: what only reads is run again, once, where its worker has died."""
    ran = Counter(path.read_text().splitlines())
    return [f"{item} has run {times} times" for item, times in ran.items() if times > 1 + _is_run_again(item)]


def _is_run_again(item: str) -> bool:
    method, _, path = item.partition(" ")
    return method in SAFE and path.startswith("/die/")
