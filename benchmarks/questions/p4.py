"""P4: how many times the bare loop does a batch take in front of a framework?"""

from .. import apps
from ..answers import Row
from ..contestants import bare, batch
from ..measure import alone, interleaved, ratio
from ..work import gets

title = "time, times that of the bare loop, plain GETs, N=100"
COUNT = 100
BARS = {"flask": 1.22, "django": 1.22, "bottle": 1.45, "falcon": 1.65}


def ask() -> list[Row]:
    return [alone(_row, name, bar) for name, bar in BARS.items()]


def _row(name: str, bar: float) -> Row:
    behind = apps.load(name)
    bare_times, batch_times = interleaved(bare.prepare(behind.app, gets(COUNT)), batch.prepare(behind.app, gets(COUNT)))
    return Row(behind.label, ratio(batch_times, bare_times), bar, "x")
