"""Writes the README's table of settings from their declaration: ``python docs/settings_table.py``."""

from pathlib import Path
from typing import Any, get_args

from msgspec import NODEFAULT
from msgspec.structs import FieldInfo, fields

from wsgibatch import Settings

README = Path(__file__).parent.parent / "README.rst"
START, END = ".. settings: start\n\n", ".. settings: end\n"


def table() -> str:
    """All settings as a reStructuredText table: name, default, sentence."""
    rows = [("Setting", "Default", "What it sets"), *map(_row, fields(Settings))]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
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


def _row(info: FieldInfo) -> tuple[str, str, str]:
    meta = get_args(info.type)[-1]
    default = (meta.extra or {}).get("default") or _shown(info)
    return f"``{info.name}``", default.replace("`", "``"), meta.description.replace("`", "``")


def _shown(info: FieldInfo) -> str:
    default: Any = info.default
    if default is NODEFAULT:
        raise ValueError(f"the default of {info.name} has to be told in words")
    if isinstance(default, tuple):
        return " ".join(default)
    return str(default).lower() if isinstance(default, bool) else f"`{default}`"


if __name__ == "__main__":
    README.write_text(replaced(README.read_text()))
