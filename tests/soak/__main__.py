"""``python -m tests.soak [PART ...] [--minutes M] [--inputs N] [--json FILE]``: a row for each thing counted.

The exit status is 1 when anything was found, or fewer inputs had their turn in that time than were wanted.
"""

import argparse
import datetime as dt
import faulthandler
import math
import platform
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import msgspec

from benchmarks.record import this_code

from . import parts
from .report import Bounds, Row

_STATUS = "The exit status is 1 when anything was found, or fewer inputs had their turn in that time than were wanted: ask for less with --inputs."
_MINUTES = 240
_PATIENCE = 60
"""Seconds that the process may take to end."""


def main() -> int:
    known = {info.name: import_module(f"{parts.__name__}.{info.name}") for info in iter_modules(parts.__path__)}
    arguments, told = _asked(known)
    code = this_code("tests")
    bounds = Bounds(time.monotonic() + 60 * arguments.minutes, arguments.inputs)
    well = True
    try:
        for name, share in bounds.shared(list(dict.fromkeys(arguments.part or known))):
            part = known[name]
            print(f"{name}: {part.title}", flush=True)
            rows: list[Row] = []
            for row in _rows(part, share):
                print(*_lines(row), sep="\n", flush=True)
                rows.append(row)
                well = well and not row.findings and row.count >= row.wanted
                if arguments.json:
                    told[name] = {
                        "title": part.title,
                        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
                        "code": code,
                        "python": platform.python_version(),
                        "rows": rows,
                    }
                    _write(arguments.json, told)
    except KeyboardInterrupt:
        print("\ninterrupted, with the rows above", flush=True)
        return 130
    finally:
        # What hangs does not keep this process from ending, with 1: it has been found, or nobody waits for it any more.
        faulthandler.dump_traceback_later(_PATIENCE, exit=True)
    return int(not well)


def _rows(part: Any, bounds: Bounds) -> Iterator[Row]:
    """The rows of *part*; what it raises itself is one more, since the others are to have their turn all the same."""
    began = time.monotonic()
    try:
        yield from part.soak(bounds)
    except Exception as error:
        yield Row("the part itself", 0, 0, time.monotonic() - began, ["".join(traceback.format_exception(error))[-3000:]])


def _asked(known: Mapping[str, Any]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The arguments, and what the file holds that they name, if there is one; whoever asks for what cannot be is told so, and the process ends."""
    titles = [f"  {name:<12}{part.title}" for name, part in known.items()]
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="Wear wsgibatch down. Its parts are:\n\n" + "\n".join(titles),
        epilog=_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", nargs="*", type=str.lower, help="what to run; all parts if left out")
    parser.add_argument(
        "--minutes",
        type=float,
        default=_MINUTES,
        help=f"for all of it, {_MINUTES} if left out; a part leaves what it does not need to the next, and takes some seconds, some parts most of "
        "a minute, however few there are: all of them two or three minutes at the least",
    )
    parser.add_argument("--inputs", type=int, metavar="N", help="that a row is to count, in place of what is usual for it; some count in proportion")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was counted to FILE as well; what it holds of other parts stays")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.part) - set(known))
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)} (known: {', '.join(known)})")
    if not 0 < arguments.minutes < math.inf or (arguments.inputs is not None and arguments.inputs < 1):
        parser.error("--minutes and --inputs are more than nothing, and not without end")
    try:
        return arguments, _read(arguments.json) if arguments.json else {}
    except (OSError, msgspec.DecodeError) as error:
        parser.error(f"--json: {error}")


def _lines(row: Row) -> list[str]:
    told = f"  {row.name:<28} {row.count:>11,} of {row.wanted:>9,} {len(row.findings):>3} found {row.seconds:>7,.0f} s"
    line = f"{told} {row.count / max(row.seconds, 1e-9):>8,.0f}/s  {row.remark}".rstrip()
    return [line, *(f"    {finding}" for finding in row.findings), *(f"    {count:>11,} {of}" for of, count in row.counts.items())]


def _read(file: Path) -> dict[str, Any]:
    """What *file* holds, which can be written.

    :raises OSError: when it cannot, as also what is no file but a device, which might have no end.
    """
    if file.exists() and not file.is_file():
        raise OSError(f"{file} is no regular file")
    with file.open("a+b") as opened:
        opened.seek(0)
        return msgspec.json.decode(opened.read() or b"{}", type=dict[str, Any])


def _write(file: Path, told: dict[str, Any]) -> None:
    file.write_bytes(msgspec.json.format(msgspec.json.encode(told)) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
