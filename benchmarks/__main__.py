"""``python -m benchmarks [QUESTION ...] [--json FILE] [--publish]``: a table for each question."""

import argparse
import datetime as dt
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

import msgspec

from . import questions, record, tables
from .answers import Row

STATUS = (
    "The exit status is 1 when a bar is missed, and 2 when a question could not be answered at all, as where an answer of ours is wrong, or when the "
    "answers could not be kept. What cannot be run here is told as 'not run', and a peer that answers wrongly as 'wrong'; neither misses a bar, and "
    "the last line says how many there are. benchmarks/README.rst says what is asked, and what is needed for it."
)
UNKEPT = (OSError, ValueError, msgspec.MsgspecError)
"""Of a file that cannot be written, or that holds what it should not."""


def main() -> int:
    told, code = record.Record(record.this_machine(), {}), record.this_code()
    arguments = _arguments(told.machine)
    print(told.machine, code, "", sep="\n", flush=True)
    try:
        for name in arguments.question:
            try:
                told.questions[name] = _asked(name, code)
            # A question that fails takes no others with it.
            except Exception as error:
                print(f"  {name} could not be answered: {type(error).__name__}: {str(error).partition(chr(10))[0]}\n", flush=True)
                traceback.print_exc()
    except KeyboardInterrupt:
        print(f"\ninterrupted, with answers to {', '.join(told.questions) or 'nothing'}", flush=True)
        _keep(told, arguments)
        return 130
    kept = _keep(told, arguments)
    verdicts, unanswered = told.verdicts, [name for name in arguments.question if name not in told.answered]
    print(_summary(verdicts, unanswered), flush=True)
    return 2 if unanswered or not kept else int(verdicts["missed"] > 0)


def _arguments(machine: record.Machine) -> argparse.Namespace:
    """What is asked, each question once; whoever asks for what cannot be on this *machine* is told so, and the process ends."""
    known = questions.names()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure wsgibatch against its bars.", epilog=STATUS)
    parser.add_argument("question", nargs="*", type=str.lower, help=f"what to ask, of {', '.join(known)}; all if left out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the answers to FILE as well")
    parser.add_argument("--publish", action="store_true", help="put the answers into the documentation, where they replace the earlier ones")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.question) - set(known))
    if unknown:
        parser.error(f"there is no question {', '.join(unknown)} (known: {', '.join(known)})")
    arguments.question = list(dict.fromkeys(arguments.question or known))
    if arguments.publish:
        try:
            tables.refuse(machine, arguments.question)
        except UNKEPT as error:
            parser.error(f"--publish: {error}")
    if arguments.json:
        try:
            arguments.json.open("a").close()
        except OSError as error:
            parser.error(f"--json: {error}")
    return arguments


def _asked(name: str, code: str) -> record.Answer:
    question = import_module(f"{questions.__name__}.{name}")
    print(f"{name}: {question.title}", flush=True)
    answer = record.Answer(question.title, dt.datetime.now(dt.UTC).date(), question.ask(), code)
    width = max(len(row.name) for row in answer.rows)
    print(*(_line(row, width) for row in answer.rows), "", sep="\n", flush=True)
    return answer


def _keep(told: record.Record, arguments: argparse.Namespace) -> bool:
    """Write the answers to where they are wanted; could all be written? What fails keeps nothing else from it."""
    ways: dict[str, Callable[[], None]] = {}
    if arguments.json:
        ways["--json"] = lambda: record.write(told, arguments.json)
    if arguments.publish:
        ways["--publish"] = lambda: tables.publish(told)
    well = True
    for way, write in ways.items():
        try:
            write()
        except UNKEPT as error:
            print(f"{way}: the answers could not be written: {error}\n", flush=True)
            well = False
    return well


def _summary(verdicts: Mapping[str, int], unanswered: list[str]) -> str:
    told = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in ("passed", "missed", "not run", "wrong"))
    return f"bars: {told}; questions without an answer: {', '.join(unanswered) or 'none'}"


def _line(row: Row, width: int) -> str:
    figure, bar, verdict, spread = row.told
    line = f"  {row.name:<{width}}  {figure:>12}  {bar:<10} {verdict:<6}  {spread}".rstrip()
    return f"{line}\n      ({row.note})" if row.note else line


if __name__ == "__main__":
    sys.exit(main())
