"""The headers that tell how long a batch and its items took, written and read.

``Batch-Duration`` is a number of seconds, ``Server-Timing`` (W3C) has a metric per item in milliseconds, with the moment of its start as its
description: ``i0;dur=12.0;desc="start 3.1"``.
"""

import re

from .model import Headers

BATCH_DURATION = "Batch-Duration"

SHOWN = 20
"""Items in Server-Timing: a batch of the usual limit is told whole, and a large one does not outgrow what proxies let headers have."""

_NUMBER = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
_METRIC = re.compile(rf'\bi([0-9]{{1,9}});dur={_NUMBER};desc="start {_NUMBER}"')


def seconds(duration: float) -> str:
    """*duration* as a header value."""
    return f"{duration:.6f}"


def timing_headers(name: str, total: float, times: list[tuple[float, float]]) -> Headers:
    """The headers of a whole answer.

    :param name: of the duration header.
    :param total: seconds from the receipt of the batch to its last answer.
    :param times: start and duration of the first :data:`SHOWN` items, in order.
    """
    metrics = ['i%d;dur=%.1f;desc="start %.1f"' % (i, duration * 1e3, started * 1e3) for i, (started, duration) in enumerate(times)]
    return [(name, seconds(total)), ("Server-Timing", ", ".join([f"batch;dur={total * 1e3:.1f}", *metrics]))]


def read_timing(headers: Headers) -> dict[int, tuple[float, float]]:
    """Start and duration, in seconds, by the index of the item, as far as Server-Timing tells."""
    value = ", ".join(value for name, value in headers if name.lower() == "server-timing")
    return {int(index): (float(start) / 1e3, float(duration) / 1e3) for index, duration, start in _METRIC.findall(value)}
