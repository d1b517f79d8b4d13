"""Counting instructions: a gauge that does not care what else the machine does.

Each contestant runs twice in processes of its own, for a short and a long while, and the slope between the two leaves out the start of Python and
all that happens but once. A first run, which is not counted, compiles what there is to compile. ``perf`` counts where the machine lets it,
``valgrind`` everywhere else.
"""

import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import TypeAlias

from wsgibatch.executors import _burst

from . import apps, work
from .answers import P, Row, Unable, exact, not_run
from .contestants import bare
from .measure import verify

Entry: TypeAlias = tuple[str, str, str]
"""A contestant, an app and a kind of work, by their names. A contestant in several parts has one named: ``part:decode``."""

BURSTS = {"trivial": 200, "bottle": 80, "flask": 15, "django": 12}
"""Items of each app that a burst holds on a machine of today that does nothing else, where the clock ends it after a millisecond in the app.

Each burst costs a hop through the story of the batch, and the clock would end them by what runs beside it, or by how much slower everything is in
valgrind. So while instructions are counted, a burst ends by the bytes of as many answers, wherever and whenever that is.
"""

# PYTHONHASHSEED: the hashes of strings decide how many steps a look-up takes.
_ENVIRONMENT = {**os.environ, "PYTHONHASHSEED": "0"}
_PERF = re.compile(r"^([0-9]+),[^,]*,instructions:u", re.MULTILINE)
_CALLGRIND = re.compile(r"Collected : ([0-9]+)")


def counted(name: str, bar: float | None, unit: str, count: Callable[P, float], *args: P.args, **kwargs: P.kwargs) -> Row:
    """The row of what *count* gives, which says what counted."""
    try:
        return Row(name, exact(count(*args, **kwargs)), bar, unit, note=f"counted by {gauge()}")
    except Unable as error:
        return not_run(name, bar, unit, error)


def per_item(entries: Sequence[Entry], count: int, lengths: tuple[int, int]) -> list[float]:
    """Instructions per item, for each of *entries*.

    :param count: items of a batch.
    :param lengths: batches of the short run and of the long one.
    :raises Unable: when there is nothing to count with.
    """
    # Where there is nothing to count with, that is told before anything runs.
    gauge()
    for entry in entries:
        subprocess.run(_command(entry, count, 1), env=_ENVIRONMENT, check=True)
    runs = [_command(entry, count, length) for entry in entries for length in lengths]
    # What runs beside it does not change a count, since no burst ends by the clock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counted = list(pool.map(lambda run: _counted(*run), runs))
    items = (lengths[1] - lengths[0]) * count
    return [(long - short) / items for short, long in zip(counted[::2], counted[1::2], strict=True)]


@cache
def gauge() -> str:
    """What instructions are counted with here: ``perf`` or ``callgrind``.

    :raises Unable: when there is neither.
    """
    # Where the machine does not let it count, perf fails or tells nothing.
    with suppress(OSError, subprocess.CalledProcessError):
        if _PERF.search(_with_perf([sys.executable, "-c", ""])):
            return "perf"
    if shutil.which("valgrind"):
        return "callgrind"
    raise Unable("neither perf nor valgrind can count instructions here")


@cache
def _counted(*command: str) -> int:
    """Instructions of *command*, which is run once however many questions ask for it."""
    told = _PERF.search(_with_perf([*command])) if gauge() == "perf" else _CALLGRIND.search(_with_callgrind([*command]))
    if told is None:
        raise RuntimeError(f"{gauge()} did not tell how many instructions were run")
    return int(told[1])


def _with_perf(command: list[str]) -> str:
    with tempfile.NamedTemporaryFile("r") as told:
        subprocess.run(["perf", "stat", "-x", ",", "-e", "instructions:u", "-o", told.name, *command], env=_ENVIRONMENT, check=True)
        return told.read()


def _with_callgrind(command: list[str]) -> str:
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    return subprocess.run([*valgrind, *command], env=_ENVIRONMENT, check=True, stderr=subprocess.PIPE, text=True).stderr


def _command(entry: Entry, count: int, batches: int) -> list[str]:
    return [sys.executable, "-m", __name__, *entry, str(count), str(batches)]


def _main(contestant: str, app: str, kind: str, count: str, batches: str) -> None:
    """What is counted: *contestant* does its work *batches* times."""
    behind, requests = apps.load(app).app, getattr(work, kind)(int(count))
    end_bursts(sum(map(len, bare.answers(behind, requests))) * BURSTS[app] // int(count))
    module, _, part = contestant.partition(":")
    prepare = getattr(import_module(f"{__package__}.contestants.{module}"), part or "prepare")
    once = prepare(behind, requests)
    for _ in range(int(batches)):
        once()
    verify(once)


def end_bursts(size: int) -> None:
    """From now on, in this process, end bursts behind *size* bytes of answers, and by no clock."""
    _burst.SECONDS, _burst.BYTES = math.inf, size


if __name__ == "__main__":
    _main(*sys.argv[1:])
