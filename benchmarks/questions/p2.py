"""P2: how many times the instructions of the bare loop does a batch take in front of a framework?"""

from .. import apps
from ..answers import Row
from ..instructions import counted, per_item

title = "instructions, times those of the bare loop, plain GETs, N=100"
COUNT = 100
BARS = {"flask": 1.14, "django": 1.12, "bottle": 1.37}


def ask() -> list[Row]:
    return [counted(apps.load(name).label, bar, "x", _ratio, name) for name, bar in BARS.items()]


def _ratio(app: str) -> float:
    bare, batch = per_item([("bare", app, "gets"), ("batch", app, "gets")], COUNT, (3, 13))
    return batch / bare
