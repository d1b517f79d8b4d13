"""Writes the README's table of reliability from what the soak has counted (``reliability.json``): ``python docs/reliability_table.py``."""

import json
from pathlib import Path
from typing import Any

README = Path(__file__).parent.parent / "README.rst"
COUNTED = Path(__file__).parent / "reliability.json"
START, END = ".. reliability: start\n\n", ".. reliability: end\n"


def table() -> str:
    """What was counted as a reStructuredText table: part, what of it, count, how many were wanted, findings, date, code."""
    told = json.loads(COUNTED.read_text())
    rows = [
        ("Part", "Of it", "Count", "Wanted", "Found", "Date", "Code"),
        *(_row(name, part, row) for name, part in sorted(told.items()) for row in part["rows"]),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(7)]
    rule = " ".join("=" * width for width in widths)
    lines = [" ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule, ""])


def replaced(text: str) -> str:
    """*text* with the table of now between its marks."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"the marks {START!r} and {END!r} are not both there")
    return f"{before}{start}{table()}\n{end}{after}"


def _row(name: str, part: dict[str, Any], row: dict[str, Any]) -> tuple[str, ...]:
    code = part.get("code", "").removeprefix("wsgibatch ")
    return f"``{name}``", row["name"], f"{row['count']:,}", f"{row['wanted']:,}", str(len(row["findings"])), part["date"], code


if __name__ == "__main__":
    README.write_text(replaced(README.read_text()))
