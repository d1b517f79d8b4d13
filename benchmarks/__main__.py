"""``python -m benchmarks [QUESTION ...] [--json FILE] [--publish]``: a table for each question."""

import argparse
import datetime as dt
import sys
import traceback
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from . import questions, record, tables
from .answers import Row

STATUS = (
    "The exit status is 1 when a bar is missed, and 2 when a question could not be answered at all, as where an answer of ours is wrong. What cannot "
    "be run here is told as 'not run', and a peer that answers wrongly as 'wrong'; neither misses a bar, and the last line says how many there are. "
    "benchmarks/README.rst says what is asked, and what is needed for it."
)


def main() -> int:
    known = questions.names()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure wsgibatch against its bars.", epilog=STATUS)
    parser.add_argument("question", nargs="*", type=str.lower, help=f"what to ask, of {', '.join(known)}; all if left out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the answers to FILE as well")
    parser.add_argument("--publish", action="store_true", help="put the answers into the documentation, where they replace the earlier ones")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.question) - set(known))
    if unknown:
        parser.error(f"there is no question {', '.join(unknown)} (known: {', '.join(known)})")
    if arguments.json:
        try:
            arguments.json.open("a").close()
        except OSError as error:
            parser.error(f"--json: {error}")
    told, code = record.Record(record.this_machine(), {}), record.this_code()
    print(told.machine, code, "", sep="\n", flush=True)
    asked = arguments.question or known
    try:
        for name in asked:
            try:
                told.questions[name] = _asked(name, code)
            # A question that fails takes no others with it.
            except Exception as error:
                print(f"  {name} could not be answered: {type(error).__name__}: {str(error).partition(chr(10))[0]}\n", flush=True)
                traceback.print_exc()
    except KeyboardInterrupt:
        print(f"\ninterrupted, with answers to {', '.join(told.questions) or 'nothing'}", flush=True)
        return 130
    finally:
        if arguments.json:
            record.write(told, arguments.json)
        if arguments.publish:
            tables.publish(told)
    verdicts, unanswered = told.verdicts, [name for name in asked if name not in told.answered]
    print(_summary(verdicts, unanswered), flush=True)
    return 2 if unanswered else int(verdicts["missed"] > 0)


def _asked(name: str, code: str) -> record.Answer:
    question = import_module(f"{questions.__name__}.{name}")
    print(f"{name}: {question.title}", flush=True)
    answer = record.Answer(question.title, dt.datetime.now(dt.UTC).date(), question.ask(), code)
    width = max(len(row.name) for row in answer.rows)
    print(*(_line(row, width) for row in answer.rows), "", sep="\n", flush=True)
    return answer


def _summary(verdicts: Mapping[str, int], unanswered: list[str]) -> str:
    told = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in ("passed", "missed", "not run", "wrong"))
    return f"bars: {told}; questions without an answer: {', '.join(unanswered) or 'none'}"


def _line(row: Row, width: int) -> str:
    figure, bar, verdict, spread = row.told
    line = f"  {row.name:<{width}}  {figure:>12}  {bar:<10} {verdict:<6}  {spread}".rstrip()
    return f"{line}\n      ({row.note})" if row.note else line


if __name__ == "__main__":
    sys.exit(main())
