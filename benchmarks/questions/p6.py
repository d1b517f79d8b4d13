"""P6: what does multipart cost, over JSON?"""

from ..answers import Figure, Row
from ..apps.trivial import app
from ..contestants import batch
from ..measure import alone, interleaved, ratio
from ..work import gets, parts

title = "time per item of a batch in multipart, times that of one in JSON, plain GETs, trivial app, N=100"
COUNT = 100


def ask() -> list[Row]:
    return [Row("multipart", alone(_measure), 2.0, "x")]


def _measure() -> Figure:
    in_json, in_parts = interleaved(batch.prepare(app, gets(COUNT)), batch.prepare(app, parts(COUNT)))
    return ratio(in_parts, in_json)
