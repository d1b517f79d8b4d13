"""dialects: what does a batch cost in each format, over the same in the one of django-batch-requests?

Batches are written by our own clients. A profile of multipart is one dialect more.
"""

from wsgibatch import SubRequest, dialects
from wsgibatch._lookup import members

from ..answers import Figure, Row
from ..apps.trivial import app
from ..contestants import batch
from ..measure import alone, interleaved, ratio
from ..work import paths_of, written

title = "time of a batch in a dialect, times that of one in django's, plain GETs, trivial app, N=100"
COUNT = 100
BASE = "django"
PROFILES = ("google", "odata4")


def ask() -> list[Row]:
    names = [name for name in members(dialects) if name not in {"auto", BASE, "multipart"}]
    rows = [Row(name, alone(_measure, name), None, "x") for name in names]
    return rows + [Row(f"multipart, {profile}", alone(_measure, "multipart", profile=profile), None, "x") for profile in PROFILES]


def _measure(name: str, **settings: str) -> Figure:
    reads = [SubRequest(number, "GET", path, [], id=str(number)) for number, path in enumerate(paths_of(COUNT))]
    base, other = interleaved(
        batch.prepare(app, written(BASE, reads), dialect=BASE),
        batch.prepare(app, written(name, reads), dialect=name, **settings),
    )
    return ratio(other, base)
