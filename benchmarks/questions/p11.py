"""P11: what does a batch take, over the same through Flask-Batch?

Flask-Batch needs a Flask of its time, which it gets; the same app runs in ours with the Flask that is installed.
"""

import math
from pathlib import Path

from .. import apps
from ..answers import Figure, Row, exact
from ..apart import Unable, environment, interleaved_apart
from ..contestants import batch
from ..contestants.flask_batch import PACKAGES
from ..measure import alone, ratio
from ..work import parts

title = "time of a batch in multipart over the same through Flask-Batch, plain GETs, Flask"
BARS = {10: 1 / 5, 100: 1 / 20}


def ask() -> list[Row]:
    try:
        with environment(PACKAGES) as python:
            return [Row(f"N={count}", alone(_measure, python, count), bar, "x") for count, bar in BARS.items()]
    except Unable as error:
        # What was not measured has missed no bar, nor passed one.
        return [Row(f"N={count}, cannot be run here: {error}", exact(math.nan), None, "x") for count in BARS]


def _measure(python: Path, count: int) -> Figure:
    ours = batch.prepare(apps.load("flask").app, parts(count))
    return ratio(*interleaved_apart(ours, python, ("flask_batch", "flask", "parts"), count))
