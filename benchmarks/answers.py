"""The answers to questions: tables with a row for each bar."""

from collections.abc import Callable
from typing import Literal, ParamSpec

from msgspec import Struct

P = ParamSpec("P")


class Unable(Exception):
    """Why something cannot be measured here."""

    status = 69
    """Of a process that ends with it (EX_UNAVAILABLE in sysexits.h)."""
    words = "cannot be run here"


class Wrong(Unable):
    """How a peer that does run answers otherwise than it should."""

    status = 65
    """EX_DATAERR."""
    words = "answered wrongly"


class Figure(Struct):
    """What was measured: the median of rounds, and the quartiles around it; they are the same where a gauge does not vary."""

    value: float
    low: float
    high: float


class Row(Struct):
    """A figure beside its bar; None where there is no bar."""

    name: str
    figure: Figure | None
    """None where it could not be measured; the note says why."""
    bar: float | None
    unit: str
    sense: Literal["<=", ">="] = "<="
    """Is the bar the most that the figure may be, or the least? The least is for how many times faster we are."""
    note: str = ""
    """What a reader has to know to judge the figure, such as what a peer leaves out."""
    wrong: bool = False
    """Is there no figure because the answers were wrong?"""

    @property
    def missed(self) -> bool:
        """What was not measured has missed no bar, nor passed one."""
        if self.bar is None or self.figure is None:
            return False
        return self.figure.value > self.bar if self.sense == "<=" else self.figure.value < self.bar

    @property
    def verdict(self) -> Literal["passed", "missed", "not run", "wrong", ""]:
        """What came of its bar; nothing where there is none."""
        if self.bar is None:
            return ""
        if self.figure is None:
            return "wrong" if self.wrong else "not run"
        return "missed" if self.missed else "passed"

    @property
    def told(self) -> tuple[str, str, str, str]:
        """The cells of a table: the figure, its bar, whether that was passed, and the spread."""
        figure = self.figure
        bar = "" if self.bar is None else f"{self.sense} {shown(self.bar)}"
        if figure is None:
            return "wrong" if self.wrong else "not run", bar, "", ""
        spread = "" if figure.low == figure.high else f"{shown(figure.low)} to {shown(figure.high)}"
        more = 0
        while self.missed and shown(figure.value, more) == shown(self.bar or 0, more):
            # What reads like its bar would not read like a miss.
            more += 1
        return f"{shown(figure.value, more)} {self.unit}".rstrip(), bar, self.verdict, spread


def exact(value: float) -> Figure:
    """A figure without a spread."""
    return Figure(value, value, value)


def row(
    name: str, bar: float | None, unit: str, sense: Literal["<=", ">="], note: str, measure: Callable[P, Figure], *args: P.args, **kwargs: P.kwargs
) -> Row:
    """The row of what *measure* gives, or of why it cannot."""
    try:
        return Row(name, measure(*args, **kwargs), bar, unit, sense, note)
    except Unable as error:
        return not_run(name, bar, unit, error, sense)


def not_run(name: str, bar: float | None, unit: str, why: Unable, sense: Literal["<=", ">="] = "<=") -> Row:
    """The row of what cannot be measured here."""
    return Row(name, None, bar, unit, sense, f"{why.words}: {why}", isinstance(why, Wrong))


def shown(value: float, more: int = 0) -> str:
    """*value* with three digits, or all that stand before the point; and *more* behind it."""
    size = abs(value)
    return f"{value:,.{(0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3) + more}f}"
