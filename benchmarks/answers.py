"""The answers to questions: tables with a row for each bar."""

from msgspec import Struct


class Figure(Struct):
    """What was measured: the median of rounds, and the quartiles around it; they are the same where a gauge does not vary."""

    value: float
    low: float
    high: float


class Row(Struct):
    """A figure beside its bar, the most that it may be; None where there is no bar."""

    name: str
    figure: Figure
    bar: float | None
    unit: str

    @property
    def missed(self) -> bool:
        return self.bar is not None and self.figure.value > self.bar


def exact(value: float) -> Figure:
    """A figure without a spread."""
    return Figure(value, value, value)
