"""The tables of the documentation, written from the answers that were published: ``python -m benchmarks.tables``.

``docs/benchmarks.rst`` has all of them, the README a few.
"""

from collections.abc import Callable, Sequence

from . import ROOT, record
from .answers import Row
from .questions import names
from .record import Answer, Machine, Record

PUBLISHED, PAGE, README = ROOT / "docs" / "benchmarks.json", ROOT / "docs" / "benchmarks.rst", ROOT / "README.rst"
START, END = ".. benchmarks: start\n\n", ".. benchmarks: end\n"

FEW = {
    ("p4", "Flask"): "Time of a batch of 100, over the least that calling the app 100 times can take: Flask",
    ("p4", "Django"): "The same: Django",
    ("p16", "Flask, against 1 connection"): "Faster than 100 requests on a keep-alive connection: Flask, gunicorn, no delay",
    ("p17", "against 1 connection"): "The same with a round trip of 50 ms",
    ("p17", "against 8 connections"): "The same with a round trip of 50 ms, against 8 connections",
    ("p14", "Flask's test client"): "Faster than a loop over Flask's test client",
    ("p14", "Django's test client"): "Faster than a loop over Django's test client",
    ("p12", "the same app, through a2wsgi"): "Faster than a FastAPI route that calls its own server",
    ("p13", "N=100"): "Faster than Kinto's own batch endpoint",
    ("p11", "N=100"): "Faster than Flask-Batch",
    ("p15", "Flask-Aggregator, tiny items, N=100, ours over theirs"): "Time of a batch over Flask-Aggregator, which skips your hooks",
    ("p15", "django-batch-requests, tiny items, N=100, ours over theirs"): "Time of a batch over django-batch-requests, which skips your middleware",
}
"""What the README tells, in its own words: each a question and a row of its answer."""


def publish(told: Record) -> None:
    """Keep these answers, beside the earlier ones of the same machine, and write the tables anew.

    An earlier answer stays where the question was not asked now, or where something that was measured then could not be run now. None of another
    machine stays; :func:`refuse` says beforehand whether any would have to. Where nothing was answered, nothing is written.
    """
    if not told.questions:
        return
    earlier = _earlier()
    if earlier is not None and earlier.machine == told.machine:
        kept = {name: answer for name, answer in earlier.questions.items() if name in names() and _stays(answer, told.questions.get(name))}
        questions = {**told.questions, **kept}
        told = Record(told.machine, {name: questions[name] for name in names() if name in questions})
    record.write(told, PUBLISHED)
    write()


def refuse(machine: Machine, asked: Sequence[str]) -> None:
    """Answers of two machines do not stand together.

    :raises ValueError: when some of what is published is of another machine than this, and not *asked* anew.
    """
    earlier = _earlier()
    if earlier is not None and earlier.machine != machine and (other := [name for name in names() if name not in asked]):
        raise ValueError(f"what is published is of another machine ({earlier.machine}): ask all questions, also {', '.join(other)}")


def _earlier() -> Record | None:
    """What is published now."""
    return record.read(PUBLISHED) if PUBLISHED.exists() else None


def _stays(earlier: Answer, now: Answer | None) -> bool:
    """Does *earlier* have a figure where the answer of *now* has none?"""
    if now is None:
        return True
    lacking = {row.name for row in now.rows if row.figure is None}
    return any(row.name in lacking and row.figure is not None for row in earlier.rows)


def write() -> None:
    """The tables, between their marks in both files."""
    told = record.read(PUBLISHED)
    for file, tables in ((PAGE, all_tables), (README, few)):
        file.write_text(replaced(file.read_text(), tables, told))


def replaced(text: str, tables: Callable[[Record], str], told: Record) -> str:
    """*text* with the *tables* of *told* between its marks."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"the marks {START!r} and {END!r} are not both there")
    return f"{before}{start}{tables(told)}\n{end}{after}"


def all_tables(told: Record) -> str:
    """Each question with its rows and the notes to them, and with the code that was measured where that is not the same for all."""
    codes = _codes(told)
    several = len(codes) > 1
    sections = [_measured(told, [] if several else codes)]
    for name, answer in told.questions.items():
        title = f"{name}: {answer.title}"
        sections.append(f"{title}\n{'-' * len(title)}\n")
        if several and answer.code:
            sections.append(f"Of {answer.code}.\n")
        sections.append(_table(("", "Figure", "Bar", "", "Quartiles"), [(row.name, *row.told) for row in answer.rows]))
        if notes := _notes(answer.rows):
            sections.append(notes)
    return "\n".join(sections)


def few(told: Record) -> str:
    """What :data:`FEW` names, as far as it was asked."""
    rows = {(name, row.name): row.told[:3] for name, answer in told.questions.items() for row in answer.rows if (name, row.name) in FEW}
    if not rows:
        return ""
    here = Record(told.machine, {name: told.questions[name] for name, _ in rows})
    return "\n".join(
        [_measured(here, _codes(here)), _table(("", "Figure", "Bar", ""), [(words, *rows[row]) for row, words in FEW.items() if row in rows])]
    )


def _measured(told: Record, codes: list[str]) -> str:
    dates = sorted({answer.date.isoformat() for answer in told.questions.values()})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return f"Measured on {told.machine}; {'; '.join([when, *codes])}.\n"


def _codes(told: Record) -> list[str]:
    """All that was measured, once each."""
    return [*dict.fromkeys(answer.code for answer in told.questions.values() if answer.code)]


def _notes(rows: list[Row]) -> str:
    """A line for each note, with the rows that it belongs to."""
    names: dict[str, list[str]] = {}
    for row in rows:
        if row.note:
            names.setdefault(row.note, []).append(row.name)
    return "".join(f"* {'; '.join(found)}: {note}.\n" for note, found in names.items())


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table, without the columns in which no row has anything; nothing without rows, since there is no such table."""
    if not rows:
        return ""
    kept = [place for place, column in enumerate(zip(*rows, strict=True)) if any(column)]
    head, *rows = [tuple(row[place] for place in kept) for row in (head, *rows)]
    widths = [max(1, *map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = " ".join("=" * width for width in widths)
    # A first cell that is empty would make a row a part of the one above.
    lines = [" ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [(head[0] or "\\", *head[1:]), *rows]]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule, ""])


if __name__ == "__main__":
    write()
