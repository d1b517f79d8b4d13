"""What was measured, when and where: as it is written to a file, and read again."""

import datetime as dt
import os
import platform
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

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


class Record(Struct):
    """The answers of one machine, by the names of their questions."""

    machine: Machine
    questions: dict[str, Answer]

    @property
    def missed(self) -> bool:
        return any(row.missed for answer in self.questions.values() for row in answer.rows)


def this_machine() -> Machine:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return Machine(_processor(), os.cpu_count() or 1, f"{platform.system()} {platform.machine()}", python)


def write(record: Record, file: Path) -> None:
    """As JSON, in which each row also says whether it missed its bar."""
    told = msgspec.to_builtins(record, builtin_types=(dt.date,))
    for name, answer in record.questions.items():
        for row, shown in zip(answer.rows, told["questions"][name]["rows"], strict=True):
            shown["missed"] = row.missed
    file.write_bytes(msgspec.json.format(msgspec.json.encode(told)) + b"\n")


def read(file: Path) -> Record:
    return msgspec.json.decode(file.read_bytes(), type=Record)


def _processor() -> str:
    """The model, as the system names it."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
