"""P7: what does it cost to hand items to threads that have nothing to wait for?"""

from ..answers import Figure, Row
from ..apps.trivial import app
from ..contestants import batch
from ..measure import alone, figure, interleaved_by_the_wall
from ..work import gets

title = "time per item in threads beyond the time per item in sequence, trivial app, N=100"
COUNT = 100
BARS = {4: 1.0, 16: 1.75}


def ask() -> list[Row]:
    figures = alone(_measure)
    return [Row(f"{workers} workers", found, bar, "µs") for found, (workers, bar) in zip(figures, BARS.items(), strict=True)]


def _measure() -> list[Figure]:
    work = gets(COUNT)
    threaded = [batch.prepare(app, work, executor="threads", workers=workers) for workers in BARS]
    sequential, *others = interleaved_by_the_wall(batch.prepare(app, work), *threaded)
    return [figure([(one - other) / COUNT * 1e6 for one, other in zip(times, sequential, strict=True)]) for times in others]
