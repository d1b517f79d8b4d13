"""P15: how do Flask-Aggregator and django-batch-requests compare, which call views themselves?

What they leave out (hooks, middleware, the way from a view's result to a response) is most of what a tiny item costs, so with many of those they are
faster than even the bare loop is. Large answers turn that round, and so do items that wait, where theirs are run one by one: Flask-Aggregator knows
nothing else, and django-batch-requests does so unless its settings say otherwise. With as many threads as ours it is as fast.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from .. import apps
from ..answers import Figure, Row, row
from ..apart import environment, inside, library, prepared, taking_turns
from ..contestants import batch, django_batch_requests, flask_aggregator
from ..measure import interleaved, interleaved_by_the_wall, ratio
from ..work import Work, listed, routes

title = "faster than Flask-Aggregator and django-batch-requests, which skip the app's hooks and middleware"
WORKERS = 16
ABREAST = {"EXECUTE_PARALLEL": True, "NUM_WORKERS": WORKERS}
"""Settings of django-batch-requests, with which it hands its items to as many threads as we do."""
CASES = {"many": (100, "/items"), "one": (1, "/items"), "texts": (10, "/texts"), "waits": (64, "/waits")}
RELEASED = "django-batch-requests as released, tiny items"
PACKAGES = ("django-batch-requests==0.1.1", "Django==1.8.19", "futures==3.4.0")
SCRIPT = Path(django_batch_requests.__file__).with_name("django_batch_requests_as_released.py")

BARS = {"Flask-Aggregator": (1.3, 1.5, 2.3, 8), "django-batch-requests": (1.8, 1.4, 1.45, 8)}
"""For the time of ours over theirs with many tiny items; and for how many times faster ours is with one, with texts, and with items that wait."""
PEERS: dict[str, tuple[Any, str, Callable[..., Work], str]] = {
    "Flask-Aggregator": (flask_aggregator, "flask", routes, "it runs no hooks and makes no responses"),
    "django-batch-requests": (
        django_batch_requests,
        "django",
        listed,
        "it runs no middleware; on a Django and a Python of today, with stand-ins for what it needs and they no longer have",
    ),
}


def ask() -> list[Row]:
    return [*_rows("Flask-Aggregator"), *_rows("django-batch-requests"), _abreast(), *_released()]


def _rows(peer: str) -> list[Row]:
    note = PEERS[peer][3]
    over, one, texts, waits = BARS[peer]

    def told(name: str, bar: float, sense: Literal["<=", ">="], case: str, note: str) -> Row:
        return row(f"{peer}, {name}", bar, "x", sense, note, _apart, peer, case)

    return [
        told("tiny items, N=100, ours over theirs", over, "<=", "many", note),
        told("tiny items, N=1", one, ">=", "one", note),
        told("texts of 100 KB, N=10", texts, ">=", "texts", note),
        told("items that wait 5 ms, N=64", waits, ">=", "waits", f"ours on {WORKERS} threads, theirs one by one, as they come"),
    ]


def _abreast() -> Row:
    peer, note = "django-batch-requests", f"{WORKERS} threads on either side"
    return row(f"{peer}, items that wait 5 ms, N=64, both in threads", None, "x", ">=", note, _apart, peer, "waits", **ABREAST)


def _apart(peer: str, case: str, **own: object) -> Figure:
    return inside(environment(PEERS[peer][0].PACKAGES), measured, peer, case, own)


def measured(peer: str, case: str, own: dict[str, object]) -> Figure:
    """What a case of :data:`CASES` gives beside *peer*, with settings of its *own*."""
    contestant, name, kind, _ = PEERS[peer]
    work = kind(*CASES[case])
    app, theirs = prepared(contestant, name, work, **own)
    if case == "waits":
        return ratio(*interleaved_by_the_wall(theirs, batch.prepare(app, work, executor="threads", workers=WORKERS)))
    times, our_times = interleaved(theirs, batch.prepare(app, work))
    return ratio(our_times, times) if case == "many" else ratio(times, our_times)


def _released() -> list[Row]:
    note = "Python 2.7 and Django 1.8, in a process of its own, beside ours on a Django and a Python of today"
    return [row(f"{RELEASED}, N={count}", None, "x", ">=", note, _beside, count) for count in (100, 1)]


def _beside(count: int) -> Figure:
    program, folder = library("python2.7", PACKAGES)
    app = apps.load("django").app
    ours, theirs = taking_turns(batch.prepare(app, listed(count)), [program, str(SCRIPT), str(count)], {"PYTHONPATH": str(folder)})
    return ratio(theirs, ours)
