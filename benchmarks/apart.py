"""Contestants that cannot stand beside what is installed here, since they need packages far older.

Such a one runs in a virtual environment that is made for it, in a process that times itself. It is told through a pipe when a round begins, so that
its rounds and ours take turns.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from time import process_time

from . import apps, work
from .instructions import Entry
from .measure import ROUNDS, SECONDS, repetitions, timed

# What this package and ours import, whatever the contestant.
_OURS = ("msgspec", "multipart", "WebOb", "legacy-cgi; python_version >= '3.13'")
_ROOT = Path(__file__).resolve().parent.parent


class Unable(Exception):
    """Why a contestant cannot be run here."""


@contextmanager
def environment(packages: Sequence[str]) -> Iterator[Path]:
    """The Python of a virtual environment with *packages*, which is gone afterwards.

    :raises Unable: when it cannot be made.
    """
    with tempfile.TemporaryDirectory() as folder:
        _make([sys.executable, "-m", "venv", folder])
        python = Path(folder, "Scripts" if os.name == "nt" else "bin", "python")
        _make([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages, *_OURS])
        yield python


def interleaved_apart(run: Callable[[], object], python: Path, entry: Entry, count: int) -> tuple[list[float], list[float]]:
    """Seconds of one call of *run* here, and of one batch of *entry* in a process of *python*: two lists, with an entry per round.

    :raises Unable: when the contestant does not answer every request with 200.
    """
    ours: list[float] = []
    theirs: list[float] = []
    with _started(python, entry, count) as elsewhere:
        turns = [(_watched(run), ours), (elsewhere, theirs)]
        for _ in range(ROUNDS):
            for watch, times in turns:
                times.append(watch())
            # Every other round goes backwards, so that neither always runs behind the other.
            turns.reverse()
    return ours, theirs


@contextmanager
def _started(python: Path, entry: Entry, count: int) -> Iterator[Callable[[], float]]:
    """A function that has a process of *python* do a further round, and gives the seconds of one batch."""
    command = [str(python), "-m", __name__, *entry, str(count)]
    variables = {**os.environ, "PYTHONPATH": str(_ROOT)}
    with (
        tempfile.TemporaryFile("w+") as complaints,
        subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True) as process,
    ):
        asked, told = process.stdin, process.stdout
        if asked is None or told is None:
            raise RuntimeError("there are no pipes to a process that was started with them")

        def watch() -> float:
            print(file=asked, flush=True)
            return float(told.readline())

        if not told.readline():
            process.wait()
            complaints.seek(0)
            raise Unable(_last_line(complaints.read()))
        yield watch


def _make(command: list[str]) -> None:
    made = subprocess.run(command, check=False, capture_output=True, text=True)
    if made.returncode:
        raise Unable(_last_line(made.stderr or made.stdout))


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason was told"])[-1]


def _watched(run: Callable[[], object]) -> Callable[[], float]:
    """A function that does a further round, and gives the seconds of one call of *run*."""
    number = repetitions(run, SECONDS)
    return lambda: timed(run, number, process_time) / number


def _main(contestant: str, app: str, kind: str, count: str) -> None:
    """The process that times itself: it says that it is ready, and then answers each line with the seconds of a round."""
    prepare = import_module(f"{__package__}.contestants.{contestant}").prepare
    watch = _watched(prepare(apps.load(app).app, getattr(work, kind)(int(count))))
    print("ready", flush=True)
    for _ in sys.stdin:
        print(watch(), flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
