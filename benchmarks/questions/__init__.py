"""What is asked: one file per question, named as the command line names it, with a ``title`` and ``ask``, which gives a row for each bar."""

from pkgutil import iter_modules


def names() -> list[str]:
    """All questions: those with a number by it, the others behind them."""
    return sorted((info.name for info in iter_modules(__path__)), key=_place)


def _place(name: str) -> tuple[bool, int, str]:
    number = name.removeprefix("p")
    return (not number.isdigit(), int(number) if number.isdigit() else 0, name)
