"""``python -m tests.soak [PART ...] [--minutes M] [--inputs N] [--json FILE]``: a row for each thing counted.

The exit status is 1 when anything was found, or fewer inputs had their turn in that time than were wanted.
"""

import argparse
import datetime as dt
import faulthandler
import platform
import sys
import time
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import msgspec

from . import parts
from .report import Bounds, Row

_STATUS = "The exit status is 1 when anything was found, or fewer inputs had their turn than were wanted: ask for less with --inputs."
_PATIENCE = 60
"""Seconds that the process may take to end."""


def main() -> int:
    known = [info.name for info in iter_modules(parts.__path__)]
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Wear wsgibatch down.", epilog=_STATUS)
    parser.add_argument("part", nargs="*", help=f"what to run, of {', '.join(known)}; all if left out")
    parser.add_argument("--minutes", type=float, default=240, help="for all of it; parts that come first leave what they do not need")
    parser.add_argument("--inputs", type=int, metavar="N", help="of everything, in place of what each part wants")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was counted to FILE as well; rows that it has of other parts stay")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.part) - set(known))
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)} (known: {', '.join(known)})")
    well = True
    bounds = Bounds(time.monotonic() + 60 * arguments.minutes, arguments.inputs)
    for name, share in bounds.shared(arguments.part or known):
        part = import_module(f"{parts.__name__}.{name}")
        print(f"{name}: {part.title}", flush=True)
        rows: list[Row] = []
        for row in part.soak(share):
            counts = [f"    {count:>11,} {of}" for of, count in row.counts.items()]
            print(_line(row), *(f"    {finding}" for finding in row.findings), *counts, sep="\n", flush=True)
            rows.append(row)
        well = well and not any(row.findings or row.count < row.wanted for row in rows)
        if arguments.json:
            _write(arguments.json, name, part.title, rows)
    # What hangs has been found, and does not keep this process from ending, with 1.
    faulthandler.dump_traceback_later(_PATIENCE, exit=True)
    return int(not well)


def _line(row: Row) -> str:
    told = f"  {row.name:<28} {row.count:>11,} of {row.wanted:>9,} {len(row.findings):>3} found {row.seconds:>7,.0f} s"
    return f"{told} {row.count / max(row.seconds, 1e-9):>8,.0f}/s  {row.remark}".rstrip()


def _write(file: Path, name: str, title: str, rows: list[Row]) -> None:
    told = msgspec.json.decode(file.read_bytes()) if file.exists() else {}
    date = dt.datetime.now(tz=dt.UTC).date().isoformat()
    told[name] = {"title": title, "date": date, "python": platform.python_version(), "rows": rows}
    file.write_bytes(msgspec.json.format(msgspec.json.encode(told)) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
