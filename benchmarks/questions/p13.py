"""P13: how many times faster is a batch than Kinto's own, on the same Kinto?

Both answer the same requests for records, which Kinto keeps in memory.
"""

from ..answers import Figure, Row, row
from ..apart import environment, inside, prepared
from ..contestants import batch, kinto
from ..measure import interleaved, ratio
from ..work import records

title = "faster than Kinto's own batch endpoint, GETs of records"
BARS = {1: 2, 100: 1.15}
NOTE = "Kinto leaves out Pyramid's tweens for each request, and looks permissions up once for all"


def ask() -> list[Row]:
    return [row(f"N={count}", bar, "x", ">=", NOTE, _beside, count) for count, bar in BARS.items()]


def _beside(count: int) -> Figure:
    return inside(environment(kinto.PACKAGES), measured, count)


def measured(count: int) -> Figure:
    work = records(count)
    app, theirs = prepared(kinto, "kinto", work)
    return ratio(*interleaved(theirs, batch.prepare(app, work, dialect="kinto", add_prefix="/v1")))
