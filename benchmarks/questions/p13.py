"""P13: how many times faster is a batch than Kinto's own, on the same Kinto?

Both answer the same requests for records, which Kinto keeps in memory.
"""

from ..answers import Figure, Row, not_run
from ..apart import Unable, environment, inside, prepared
from ..contestants import batch, kinto
from ..measure import interleaved, ratio
from ..work import records

title = "faster than Kinto's own batch endpoint, GETs of records"
BARS = {1: 2, 100: 1.15}
NOTE = "Kinto leaves out Pyramid's tweens for each request, and looks permissions up once for all"


def ask() -> list[Row]:
    try:
        figures = inside(environment(kinto.PACKAGES), measured, list(BARS))
    except Unable as error:
        return [not_run(f"N={count}", bar, "x", error, ">=") for count, bar in BARS.items()]
    return [Row(f"N={count}", found, bar, "x", ">=", NOTE) for found, (count, bar) in zip(figures, BARS.items(), strict=True)]


def measured(counts: list[int]) -> list[Figure]:
    return [_measured(count) for count in counts]


def _measured(count: int) -> Figure:
    work = records(count)
    app, theirs = prepared(kinto, "kinto", work)
    return ratio(*interleaved(theirs, batch.prepare(app, work, dialect="kinto", add_prefix="/v1")))
