"""Writes the tables of settings and of policies from their declarations: ``python docs/settings_table.py``."""

import ast
import inspect
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields

from wsgibatch import Settings
from wsgibatch.idempotency import Dimensions, Policy

DOCS = Path(__file__).parent
README, REPLIES = DOCS.parent / "README.rst", DOCS / "idempotency.rst"


def settings() -> str:
    """All settings: name, default, sentence."""
    return _table(("Setting", "Default", "What it sets"), [_setting(info) for info in fields(Settings)])


def policy() -> str:
    """All fields of a policy: name, default, what is written below the field."""
    return _table(("Field", "Default", "What it says"), _documented(Policy))


def dimensions() -> str:
    """The same for dimensions."""
    return _table(("Dimension", "Default", "What it is"), _documented(Dimensions))


TABLES: dict[Path, dict[str, Callable[[], str]]] = {README: {"settings": settings}, REPLIES: {"policy": policy, "dimensions": dimensions}}
"""What stands between marks in a document: ``.. settings: start`` and ``.. settings: end``."""


def replaced(path: Path, text: str) -> str:
    """*text*, that of *path*, with the tables of now between their marks."""
    for name, table in TABLES[path].items():
        opening, closing = f".. {name}: start\n\n", f".. {name}: end\n"
        before, start, rest = text.partition(opening)
        _, end, after = rest.partition(closing)
        if not (start and end):
            raise ValueError(f"the marks {opening!r} and {closing!r} are not both there")
        text = f"{before}{start}{table()}\n{end}{after}"
    return text


def _table(head: tuple[str, str, str], rows: list[tuple[str, str, str]]) -> str:
    """A table in reStructuredText."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(3)]
    rule = " ".join("=" * width for width in widths)
    lines = [" ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule, ""])


def _setting(info: FieldInfo) -> tuple[str, str, str]:
    meta = get_args(info.type)[-1]
    default = (meta.extra or {}).get("default") or _shown(info)
    return f"``{info.name}``", default.replace("`", "``"), meta.description.replace("`", "``")


def _shown(info: FieldInfo) -> str:
    default: Any = info.default
    if default is NODEFAULT:
        raise ValueError(f"the default of {info.name} has to be told in words")
    if isinstance(default, tuple):
        return " ".join(default) or "none"
    if default is None or default == "":
        return "none"
    if type(default) is int and default and default % (1 << 20) == 0:
        return f"{default >> 20} MiB"
    return str(default).lower() if isinstance(default, bool) else f"`{default}`"


def _documented(kind: type[Struct]) -> list[tuple[str, str, str]]:
    """The fields of *kind*, each with the string that stands below it in the source."""
    [declared] = ast.parse(inspect.getsource(kind)).body
    body = declared.body if isinstance(declared, ast.ClassDef) else []
    said: dict[str, str] = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            said[field.target.id] = _text(below)
    return [(f"``{info.name}``", _shown(info).replace("`", "``"), said[info.name]) for info in fields(kind)]


def _text(below: ast.stmt) -> str:
    if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
        return " ".join(below.value.value.split()).replace(":class:`Dimensions`", "``Dimensions``")
    return ""


if __name__ == "__main__":
    for document in TABLES:
        document.write_text(replaced(document, document.read_text()))
