"""How long does ``import wsgibatch`` take? There is no bar; what it depends on is told beside it."""

import subprocess
import sys

from ..answers import Figure, Row
from ..measure import figure

title = "time of an import in a fresh process"
STATEMENTS = {"import wsgibatch": "import wsgibatch", "what it depends on": "import msgspec, multipart, webob"}
ROUNDS = 15
TIMED = "from time import perf_counter; started = perf_counter(); {}; print(perf_counter() - started)"


def ask() -> list[Row]:
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(ROUNDS):
        for name, statement in STATEMENTS.items():
            times[name].append(_seconds(statement))
    return [Row(name, _milliseconds(found), None, "ms") for name, found in times.items()]


def _seconds(statement: str) -> float:
    command = [sys.executable, "-W", "ignore", "-c", TIMED.format(statement)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _milliseconds(times: list[float]) -> Figure:
    return figure([seconds * 1e3 for seconds in times])
