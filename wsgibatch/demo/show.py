"""A batch on the terminal: what was asked, what was answered, and a waterfall of when.

A line is a list of pieces, each a text and its style in the words of rich. Without rich, or where no terminal is, the same lines go without
their styles.
"""

import re
import shlex
import shutil
import sys
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from .._log import escaped
from ..model import Headers, SubResponse
from .run import Exchange

Line: TypeAlias = list[tuple[str, str]]

_STYLES = {2: "green", 3: "cyan", 4: "yellow", 5: "red"}

_UNPASTABLE = re.compile(r"[^\t\n\x20-\x7e]")


class Page(NamedTuple):
    """Where lines go."""

    write: Callable[[Line], None]
    width: int
    """Characters of a line."""
    glyphs: str
    """What a cell of a bar looks like: empty, its left half, its right half, full."""


def page(plain: bool) -> Page:
    """Standard output: in colour on a terminal where rich is installed, as plain text elsewhere, or if *plain* says so."""
    width = min(max(shutil.get_terminal_size().columns, 72), 120)
    # Where standard output is closed there is none.
    if not plain and sys.stdout is not None and sys.stdout.isatty() and sys.stdout.encoding.lower() == "utf-8":
        try:
            from rich.console import Console
            from rich.text import Text
        except ImportError:
            pass
        else:
            console = Console()
            return Page(lambda line: console.print(Text.assemble(*line), soft_wrap=True), width, " ╸╺━")
    return Page(lambda line: print("".join(text for text, _ in line).rstrip(), flush=True), width, " ===")


def printable(text: str) -> str:
    """*text* with all escaped that would steer the terminal, or turn the direction of its writing, since a server may have sent it."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def told(exchange: Exchange, width: int, glyphs: str) -> list[Line]:
    """The lines about one batch, at most *width* characters long."""
    # Batches that only read are to stand in line with those that also write.
    methods = max(len("POST"), *(len(request.method) for request in exchange.requests))
    targets = max(len(request.target) for request in exchange.requests)
    end = max((started + duration for started, duration in exchange.times.values()), default=0.0)
    # A status has three characters, a duration nine; two stand in front of each of the six columns.
    free = width - methods - targets - 3 - 9 - 6 * 2
    lines = [_headline(exchange)]
    for request, answer in zip(exchange.requests, exchange.answers, strict=True):
        style = style_of(answer.status)
        time = exchange.times.get(request.index)
        lines.append(
            [
                (f"  {request.method:{methods}}  ", "bold"),
                (f"{request.target:{targets}}  ", ""),
                (f"{answer.status or '-':>3}  ", style),
                (f"{excerpt(answer, free // 2):{free // 2}}  ", "dim"),
                (bar(time, end, free - free // 2, glyphs) + "  ", style if answer.status >= 400 else "blue"),
                (f"{milliseconds(time[1]):>9}" if time else "", ""),
            ]
        )
    return [*lines, [("  " + _sum(exchange, end), "dim")]]


def style_of(status: int) -> str:
    """What a status looks like."""
    return _STYLES.get(status // 100, "dim")


def _headline(exchange: Exchange) -> Line:
    return [(exchange.title, "bold"), (f": {len(exchange.requests)} requests, {exchange.sent} bytes sent, {exchange.received} received", "dim")]


def _sum(exchange: Exchange, end: float) -> str:
    spent = sum(duration for _, duration in exchange.times.values())
    silent = "" if any(answer.status for answer in exchange.answers) else " This dialect tells no statuses."
    return f"All done after {milliseconds(end)}; one after another: {milliseconds(spent)}.{silent}"


def milliseconds(duration: float) -> str:
    """*duration*, in seconds, for a reader."""
    return f"{duration * 1e3:.1f} ms"


def bar(time: tuple[float, float] | None, end: float, width: int, glyphs: str) -> str:
    """When an item ran, on a scale of *width* cells from the receipt of the batch to *end*; never nothing, where the time is known.

    :param time: start and duration, in the unit of *end*.
    """
    if time is None or not end:
        return " " * width
    started, duration = time
    halves = 2 * width
    first = min(round(started / end * halves), halves - 1)
    last = max(round((started + duration) / end * halves), first + 1)
    covered = [first <= half < last for half in range(halves)]
    return "".join(glyphs[left + 2 * right] for left, right in zip(covered[::2], covered[1::2], strict=True))


def excerpt(answer: SubResponse, width: int) -> str:
    """The beginning of an answer in *width* printable characters, or what it is where it is no text; before it, whether it is one of earlier."""
    try:
        text = escaped(answer.body.decode())
    except UnicodeDecodeError:
        types = [value for name, value in answer.headers if name.lower() == "content-type"]
        text = f"{escaped(', '.join(types))}, {len(answer.body)} bytes"
    if any(name.lower() == "idempotent-replayed" for name, _ in answer.headers):
        text = f"as before: {text}"
    return text if len(text) <= width else text[: width - 3] + "..."


def curl(url: str, headers: Headers, body: bytes) -> str:
    """A command for the shell that posts *body*."""
    named = [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers]
    return " ".join(["curl", "-s", url, *named, "--data-binary", _quoted(body)])


def _quoted(body: bytes) -> str:
    """*body* for bash and zsh, whatever bytes are in it."""
    text = body.decode("latin-1")
    if not _UNPASTABLE.search(text) and not text.startswith("@"):
        return shlex.quote(text)
    escapes = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return "$'" + _UNPASTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", escapes) + "'"
