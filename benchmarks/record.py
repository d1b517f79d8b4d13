"""What was measured, when, where and of which code: as it is written to a file, and read again."""

import datetime as dt
import os
import platform
import shutil
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import msgspec
from msgspec import Struct

from . import ROOT
from .answers import Row


class Machine(Struct, frozen=True):
    """Where it was measured."""

    processor: str
    cores: int
    system: str
    python: str

    def __str__(self) -> str:
        return f"{self.processor}, {self.cores} cores, {self.system}, {self.python}"


class Answer(Struct):
    """The answer to one question."""

    title: str
    date: dt.date
    rows: list[Row]
    code: str = ""
    """What was measured, as :func:`this_code` tells it; nothing in old records."""


class Record(Struct):
    """The answers of one machine, by the names of their questions."""

    machine: Machine
    questions: dict[str, Answer]

    @property
    def answered(self) -> set[str]:
        """The questions of which anything was measured."""
        return {name for name, answer in self.questions.items() if any(row.figure is not None for row in answer.rows)}

    @property
    def verdicts(self) -> Counter[str]:
        """How many bars were passed, missed, not run, or not measured since a peer answered wrongly."""
        return Counter(row.verdict for answer in self.questions.values() for row in answer.rows if row.verdict)


def this_machine() -> Machine:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return Machine(_processor(), os.cpu_count() or 1, f"{platform.system()} {platform.machine()}", python)


def this_code(of: str = "benchmarks") -> str:
    """The version of wsgibatch, and the revision if there is one, with a ``+`` where the code was changed since.

    :param of: the folder that has the code which measures it.
    """
    told = f"wsgibatch {version('wsgibatch')}"
    # Somebody else's repository may lie around an unpacked archive.
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        return told
    changed = _git("status", "--porcelain", "--", "wsgibatch", of)
    return f"{told} ({_git('rev-parse', '--short', 'HEAD')}{'+' if changed else ''})"


def write(record: Record, file: Path) -> None:
    """As JSON, in which each row also says whether it missed its bar."""
    told = msgspec.to_builtins(record, builtin_types=(dt.date,))
    for name, answer in record.questions.items():
        for row, shown in zip(answer.rows, told["questions"][name]["rows"], strict=True):
            shown["missed"] = row.missed
    file.write_bytes(msgspec.json.format(msgspec.json.encode(told)) + b"\n")


def read(file: Path) -> Record:
    return msgspec.json.decode(file.read_bytes(), type=Record)


def _git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    """The model, as the system names it."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
