"""The answers to questions: tables with a row for each bar."""

from typing import Literal

from msgspec import Struct


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

    @property
    def missed(self) -> bool:
        """What was not measured has missed no bar, nor passed one."""
        if self.bar is None or self.figure is None:
            return False
        return self.figure.value > self.bar if self.sense == "<=" else self.figure.value < self.bar

    @property
    def told(self) -> tuple[str, str, str, str]:
        """The cells of a table: the figure, its bar, whether that was passed, and the spread."""
        figure = self.figure
        bar = "" if self.bar is None else f"{self.sense} {shown(self.bar)}"
        if figure is None:
            return "not run", bar, "", ""
        spread = "" if figure.low == figure.high else f"{shown(figure.low)} to {shown(figure.high)}"
        return f"{shown(figure.value)} {self.unit}".rstrip(), bar, "" if self.bar is None else "missed" if self.missed else "passed", spread


def exact(value: float) -> Figure:
    """A figure without a spread."""
    return Figure(value, value, value)


def not_run(name: str, bar: float | None, unit: str, why: object, sense: Literal["<=", ">="] = "<=") -> Row:
    """The row of what cannot be measured here."""
    return Row(name, None, bar, unit, sense, f"cannot be run here: {why}")


def shown(value: float) -> str:
    """*value* with three digits, or all that stand before the point."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else f"{value:.3f}"
