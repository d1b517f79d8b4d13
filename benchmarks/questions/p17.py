"""P17: the same over a way that takes time: a round trip of 50 ms, through a proxy that delays what it passes on."""

import sys
from urllib.parse import urlsplit

from tests.servers.run import free_port, running

from .. import ROOT
from ..answers import Figure, Row
from ..measure import alone, figure, interleaved_by_the_wall, ratio
from ..served import gunicorn
from ..wire import CONNECTIONS, ways
from ..work import gets

title = "faster than 100 requests, each for itself, at a round trip of 50 ms, Flask, gunicorn (gthread)"
COUNT = 100
SECONDS = 0.025
"""Of one way."""
NOTE = "the server has one process; with more of them single requests would gain, and one batch would not"


def ask() -> list[Row]:
    one, several, trip = alone(_measure)
    return [
        Row("against 1 connection", one, 75, "x", ">="),
        Row(f"against {CONNECTIONS} connections", several, 9, "x", ">=", NOTE),
        Row("one request, with what it takes itself", trip, None, "ms"),
    ]


def _measure() -> tuple[Figure, Figure, Figure]:
    port = free_port()
    with gunicorn("make('flask')") as base:
        proxy = [sys.executable, "-m", "benchmarks.delay", str(port), str(urlsplit(base).port), str(SECONDS)]
        with running(proxy, port, ROOT) as far, ways(far, gets(COUNT)) as sent:
            batch, one, several = interleaved_by_the_wall(*sent)
    return ratio(one, batch), ratio(several, batch), figure([seconds / COUNT * 1e3 for seconds in one])
