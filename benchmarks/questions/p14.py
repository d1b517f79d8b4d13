"""P14: how many times faster is a batch than the loops that users write, over the test client of their framework?"""

from importlib import import_module

from .. import apps, contestants
from ..answers import Figure, Row
from ..contestants import batch
from ..measure import alone, interleaved, ratio
from ..work import gets

title = "faster than a loop that a user would write, plain GETs, N=100"
COUNT = 100
LOOPS = {
    "Flask's test client": ("flask_client", "flask", 2),
    "werkzeug's test client, Flask": ("werkzeug_client", "flask", 2),
    "Django's test client": ("django_client", "django", 1.45),
    "WebOb's Request.blank, Flask": ("webob_blank", "flask", None),
}


def ask() -> list[Row]:
    return [Row(name, alone(_measure, loop, app), bar, "x", ">=") for name, (loop, app, bar) in LOOPS.items()]


def _measure(loop: str, app: str) -> Figure:
    behind, work = apps.load(app).app, gets(COUNT)
    prepare = import_module(f"{contestants.__name__}.{loop}").prepare
    theirs, ours = interleaved(prepare(behind, work), batch.prepare(behind, work))
    return ratio(theirs, ours)
