"""P11: how many times faster is a batch than the same through Flask-Batch, on the same Flask, which is one of its time?"""

from ..answers import Figure, Row, row
from ..apart import environment, inside, prepared
from ..contestants import batch, flask_batch
from ..measure import interleaved, ratio
from ..work import parts

title = "faster than Flask-Batch, a batch in multipart, plain GETs, Flask 1.1"
BARS = {10: 5, 100: 20}


def ask() -> list[Row]:
    return [row(f"N={count}", bar, "x", ">=", "", _beside, count) for count, bar in BARS.items()]


def _beside(count: int) -> Figure:
    return inside(environment(flask_batch.PACKAGES), measured, count)


def measured(count: int) -> Figure:
    work = parts(count)
    app, theirs = prepared(flask_batch, "flask", work)
    return ratio(*interleaved(theirs, batch.prepare(app, work)))
