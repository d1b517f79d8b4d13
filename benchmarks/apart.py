"""Peers that stand beside us in environments of their own, with the versions that they are known to work with.

An environment is made once, from PyPI, and kept in the user's cache (``$XDG_CACHE_HOME/wsgibatch-benchmarks``) for the next time. Where ours can be
imported there as well, both are measured in one process of that environment. What only a far older Python runs is a process that times itself and
is told through a pipe when a round begins, so that its rounds and ours take turns.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from time import process_time
from typing import Any, TypeVar

import msgspec

from . import ROOT, apps
from .answers import Figure, Unable, Wrong
from .measure import ROUNDS, SECONDS, Checked, repetitions, timed, verify
from .posting import Mismatch
from .work import Work

T = TypeVar("T")

# What this package and ours import, whatever the peer.
_OURS = ("msgspec", "multipart", "WebOb", "legacy-cgi; python_version >= '3.13'")
VARIABLES = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
"""What a process in such an environment is given: our packages come from here, so that they need not be installed again when they change."""


PATIENCE = 300
"""Seconds that are waited for a peer to say something; a case that is measured takes a tenth of it."""
_INSTALLATION = 900
"""Seconds that the making of an environment may take, step by step."""


def environment(packages: Sequence[str]) -> Path:
    """The Python of a virtual environment with *packages*, and with what we need ourselves.

    :raises Unable: when it cannot be made.
    """
    folder = _kept([sys.version, *packages, *_OURS], lambda made: _make_environment(made, packages))
    return _python(folder)


def library(python: str, packages: Sequence[str]) -> tuple[str, Path]:
    """The program *python*, of a version that has no environments, and a folder with *packages* for it.

    :raises Unable: when there is no such program, or the packages cannot be had for it.
    """
    program, version = _found(python)
    install = [program, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]
    return program, _kept([version, *packages], lambda made: _done([*install, str(made), *packages]))


def inside(python: Path, function: Callable[..., Figure], *arguments: Any) -> Figure:
    """What *function*, one of the questions', gives in a process of *python*.

    :raises Unable: when it does, or is not done in time.
    :raises RuntimeError: when it fails otherwise, as where it is not the peer that does not work.
    """
    with tempfile.NamedTemporaryFile("rb") as told:
        command = [
            str(python),
            "-m",
            f"{__package__}.called",
            told.name,
            function.__module__,
            function.__name__,
            msgspec.json.encode(arguments).decode(),
        ]
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, env=VARIABLES, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise _late() from None
        if done.returncode in {Unable.status, Wrong.status}:
            raise _why(done.returncode, done.stderr)
        if done.returncode:
            raise RuntimeError(f"{function.__name__}{arguments} failed in {python}:\n{done.stderr}")
        return msgspec.json.decode(told.read(), type=Figure)


def prepared(contestant: Any, app: str, work: Work, **own: object) -> tuple[Any, Checked[Any]]:
    """An app by its name, and a peer that is prepared to have the requests answered by it, with settings of its *own*.

    :raises Unable: when the peer does not come so far.
    """
    with judged():
        loaded = apps.load(app).app
    return loaded, peer(lambda: contestant.prepare(loaded, work, **own))


def peer(prepare: Callable[[], Checked[T]]) -> Checked[T]:
    """What *prepare* gives: what it answers, now and behind the rounds, is held against the peer.

    :raises Unable: when the peer does not come so far.
    """
    with judged():
        run = prepare()
    run.check = judged()(run.check)
    return run


@contextmanager
def judged() -> Iterator[None]:
    """What fails in the block is held against the peer.

    :raises Unable: when something does.
    """
    try:
        yield
    except Mismatch as error:
        raise Wrong(str(error)) from error
    except Exception as error:
        raise Unable(f"{type(error).__name__}: {error}") from error


def taking_turns(run: Callable[[], object], command: Sequence[str], variables: Mapping[str, str]) -> tuple[list[float], list[float]]:
    """Seconds of one call of *run* here, and of what *command* does for each line that it reads: two lists, with an entry per round.

    *command* writes a line when it is ready, and the seconds of one call for each line.

    :raises Unable: when it ends, or says nothing for too long.
    """
    ours: list[float] = []
    theirs: list[float] = []
    number = repetitions(run, SECONDS)
    with _started(command, variables) as elsewhere:
        turns: list[tuple[Callable[[], float], list[float]]] = [(lambda: timed(run, number, process_time) / number, ours), (elsewhere, theirs)]
        for _ in range(ROUNDS):
            for watch, times in turns:
                times.append(watch())
            # Every other round goes backwards, so that neither always runs behind the other.
            turns.reverse()
    verify(run)
    return ours, theirs


@contextmanager
def _started(command: Sequence[str], variables: Mapping[str, str]) -> Iterator[Callable[[], float]]:
    """A function that has *command* do a further round, and gives the seconds of one call."""
    with (
        tempfile.TemporaryFile("w+") as complaints,
        subprocess.Popen(command, env=dict(variables), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True) as process,
    ):
        asked, told = process.stdin, process.stdout
        if asked is None or told is None:
            raise RuntimeError("there are no pipes to a process that was started with them")

        def line() -> str:
            alarm = Timer(PATIENCE, process.kill)
            alarm.start()
            said = told.readline()
            if not said:
                process.wait()
            late = alarm.finished.is_set()
            alarm.cancel()
            if late:
                raise _late()
            if not said.strip():
                complaints.seek(0)
                raise _why(process.returncode, complaints.read())
            return said

        def watch() -> float:
            # Whoever has ended says nothing more either. What print could not send would fail once more when the pipe is closed.
            with suppress(BrokenPipeError):
                os.write(asked.fileno(), b"\n")
            return float(line())

        try:
            line()
            yield watch
        finally:
            # It has told all it had to, or never will.
            process.kill()


def _found(python: str) -> tuple[str, str]:
    """The program, and what it calls itself.

    :raises Unable: when there is none that runs.
    """
    # What pyenv has on the path may only say that this version is not chosen; the programs themselves stand elsewhere.
    installed = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions").glob(f"*/bin/{python}")
    for program in [shutil.which(python), *sorted(map(str, installed))]:
        if program is not None:
            with suppress(Unable):
                return program, _done([program, "--version"])
    raise Unable(f"there is no {python}")


def _kept(recipe: Sequence[str], make: Callable[[Path], object]) -> Path:
    """The folder in the cache for *recipe*, made by *make* where there is none yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "wsgibatch-benchmarks")
    folder = cache / hashlib.sha256("\n".join(recipe).encode()).hexdigest()[:16]
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    # It gets its name when it is whole.
    with tempfile.TemporaryDirectory(dir=cache) as unfinished:
        made = Path(unfinished, "made")
        make(made)
        try:
            made.rename(folder)
        except OSError:
            # Somebody else may have been faster.
            if not folder.exists():
                raise
    return folder


def _make_environment(folder: Path, packages: Sequence[str]) -> None:
    _done([sys.executable, "-m", "venv", str(folder)])
    _done([str(_python(folder)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages, *_OURS])


def _python(folder: Path) -> Path:
    return Path(folder, "Scripts" if os.name == "nt" else "bin", "python")


def _done(command: Sequence[str]) -> str:
    """What *command* says.

    :raises Unable: when it fails, with the last that it says of why, or does not end in time.
    """
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_INSTALLATION)
    except subprocess.TimeoutExpired as error:
        raise Unable(f"it took more than {_INSTALLATION} s: {' '.join(command)}") from error
    if done.returncode:
        raise Unable(_last_line(done.stderr or done.stdout))
    return done.stdout + done.stderr


def _late() -> Unable:
    return Unable(f"it said nothing for {PATIENCE} s")


def _why(status: int | None, said: str) -> Unable:
    """Why a process that ended with *status* has failed, by the last that it *said*."""
    return (Wrong if status == Wrong.status else Unable)(_last_line(said))


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason was told"])[-1]
