"""P11: how many times faster is a batch than the same through Flask-Batch, on the same Flask, which is one of its time?"""

from ..answers import Figure, Row, not_run
from ..apart import Unable, environment, inside, prepared
from ..contestants import batch, flask_batch
from ..measure import interleaved, ratio
from ..work import parts

title = "faster than Flask-Batch, a batch in multipart, plain GETs, Flask 1.1"
BARS = {10: 5, 100: 20}


def ask() -> list[Row]:
    try:
        figures = inside(environment(flask_batch.PACKAGES), measured, list(BARS))
    except Unable as error:
        return [not_run(f"N={count}", bar, "x", error, ">=") for count, bar in BARS.items()]
    return [Row(f"N={count}", found, bar, "x", ">=") for found, (count, bar) in zip(figures, BARS.items(), strict=True)]


def measured(counts: list[int]) -> list[Figure]:
    return [_measured(count) for count in counts]


def _measured(count: int) -> Figure:
    work = parts(count)
    app, theirs = prepared(flask_batch, "flask", work)
    return ratio(*interleaved(theirs, batch.prepare(app, work)))
