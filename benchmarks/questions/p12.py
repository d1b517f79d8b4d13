"""P12: how many times faster is a batch than a route that sends each request to its own server again?

The route is one of FastAPI, served by uvicorn. Ours stands in front of the same app, which a2wsgi brings to WSGI, and of a Flask app; gunicorn serves
both. What is measured is what a client waits for.
"""

from contextlib import closing
from pathlib import Path

from tests.servers.run import free_port, running

from ..answers import Figure, Row, Unable, not_run
from ..apart import VARIABLES, environment, peer
from ..contestants.fastapi_loopback import PACKAGES
from ..measure import Checked, alone, interleaved_by_the_wall, ratio
from ..served import gunicorn
from ..wire import Connection, posted
from ..work import Work, gets

title = "faster than a FastAPI route that calls its own server over HTTP, N=100"
COUNT = 100
BAR = 5
BRIDGED, FLASK = "the same app, through a2wsgi", "an app in Flask that does the same"


def ask() -> list[Row]:
    try:
        bridged, flask = alone(_measure, environment(PACKAGES))
    except Unable as error:
        return [not_run(name, bar, "x", error, ">=") for name, bar in ((BRIDGED, BAR), (FLASK, None))]
    return [Row(BRIDGED, bridged, BAR, "x", ">="), Row(FLASK, flask, None, "x", ">=")]


def _measure(python: Path) -> tuple[Figure, Figure]:
    work, port = gets(COUNT), free_port()
    uvicorn = [
        str(python),
        "-m",
        "uvicorn",
        "--port",
        str(port),
        "--timeout-keep-alive",
        "60",
        "--log-level",
        "warning",
        "benchmarks.contestants.fastapi_loopback:app",
    ]
    with (
        running(uvicorn, port, env=VARIABLES) as theirs,
        gunicorn("bridged()") as bridged,
        gunicorn("make('flask')") as flask,
        closing(Connection(theirs)) as to_theirs,
        closing(Connection(bridged)) as to_bridged,
        closing(Connection(flask)) as to_flask,
    ):
        loopback = peer(lambda: _posted(to_theirs, work))
        loop, behind_bridge, in_flask = interleaved_by_the_wall(loopback, _posted(to_bridged, work), _posted(to_flask, work))
    return ratio(loop, behind_bridge), ratio(loop, in_flask)


def _posted(connection: Connection, work: Work) -> Checked[tuple[list[tuple[str, str]], bytes]]:
    return posted(connection, work, [connection.get(path) for path in work.paths]).tried()
