"""P16: how many times faster is a batch than its requests, each for itself, on connections that stay open?

Server and client stand on one machine: there is no way between them.
"""

from .. import apps
from ..answers import Figure, Row
from ..measure import alone, interleaved_by_the_wall, ratio
from ..served import gunicorn
from ..wire import CONNECTIONS, ways
from ..work import gets

title = "faster than 100 requests, each for itself, to the same gunicorn (gthread)"
COUNT = 100
BARS = {"bottle": 6, "flask": 2.5}
NOTE = (
    "the connections wait for each other's Python, in the client as in the one process of the server; with more processes there, single "
    "requests would gain, and one batch would not"
)


def ask() -> list[Row]:
    rows = []
    for name, bar in BARS.items():
        one, several = alone(_measure, name)
        label = apps.load(name).label
        rows += [
            Row(f"{label}, against 1 connection", one, bar, "x", ">="),
            Row(f"{label}, against {CONNECTIONS} connections", several, None, "x", note=NOTE),
        ]
    return rows


def _measure(name: str) -> tuple[Figure, Figure]:
    with gunicorn(f"make({name!r})") as base, ways(base, gets(COUNT)) as sent:
        batch, one, several = interleaved_by_the_wall(*sent)
    return ratio(one, batch), ratio(several, batch)
