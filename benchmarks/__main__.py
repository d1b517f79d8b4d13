"""``python -m benchmarks [QUESTION ...] [--json FILE]``: a table for each question; the exit status is 1 when a bar is missed."""

import argparse
import math
import platform
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import msgspec

from . import questions
from .answers import Row


def main() -> int:
    known = sorted((info.name for info in iter_modules(questions.__path__)), key=_place)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure wsgibatch against its bars.")
    parser.add_argument("question", nargs="*", type=str.lower, help=f"what to ask, of {', '.join(known)}; all if left out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the answers to FILE as well")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.question) - set(known))
    if unknown:
        parser.error(f"there is no question {', '.join(unknown)} (known: {', '.join(known)})")
    answers: dict[str, dict[str, object]] = {}
    missed = False
    for name in arguments.question or known:
        question = import_module(f"{questions.__name__}.{name}")
        print(f"{name}: {question.title}", flush=True)
        rows: list[Row] = question.ask()
        print(*map(_line, rows), "", sep="\n", flush=True)
        missed = missed or any(row.missed for row in rows)
        answers[name] = {"title": question.title, "rows": [{**msgspec.structs.asdict(row), "missed": row.missed} for row in rows]}
    if arguments.json:
        told = {"python": sys.version, "machine": platform.platform(), "questions": answers}
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(told)))
    return int(missed)


def _place(name: str) -> tuple[bool, int, str]:
    """Where a question stands: those with a number by it, the others behind them."""
    number = name.removeprefix("p")
    return (not number.isdigit(), int(number) if number.isdigit() else 0, name)


def _line(row: Row) -> str:
    figure = row.figure
    if math.isnan(figure.value):
        return f"  {row.name}"
    spread = "" if figure.low == figure.high else f"{_told(figure.low)} to {_told(figure.high)}"
    bar = "" if row.bar is None else f"<= {_told(row.bar)}"
    verdict = "" if row.bar is None else "missed" if row.missed else "passed"
    return f"  {row.name:<36} {_told(figure.value) + ' ' + row.unit:>12}  {bar:<10} {verdict:<6}  {spread}".rstrip()


def _told(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3f}" if value < 10 else f"{value:.1f}"


if __name__ == "__main__":
    sys.exit(main())
