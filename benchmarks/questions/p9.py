"""P9: how much memory do large answers take, where they are sent as they come, and where they are kept until all are there?

What is told is how far the resident memory of a process rises at its peak above where it stood before the batch. Each figure is of a process of its
own, whose imports are done, whose threads are made, and which has answered as many items with small answers; large ones it has not seen. Answers that
threads have ready before their turn, at most as many as the window lets run ahead, come on top of the whole; there is no bar for that.
"""

import ctypes
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wsgibatch import BatchMiddleware

from ..answers import Figure, Row, Unable, not_run
from ..contestants.bare import ignore
from ..measure import alone, figure
from ..work import environ_of, gets

title = "growth of resident memory at its peak, 1,000 answers of 100 KB, plain GETs"
COUNT = 1000
SIZE = 100_000
ROUNDS = 5
BARS: dict[str, tuple[dict[str, Any], float | None]] = {
    "streamed, sequential": ({"stream": True}, 1.5),
    "streamed, 4 threads": ({"stream": True, "executor": "threads", "workers": 4}, 4),
    "kept whole, sequential": ({}, 130),
    "kept whole, 4 threads": ({"executor": "threads", "workers": 4}, None),
}

_STATUS, _PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def ask() -> list[Row]:
    if not _PEAK.exists():
        return [not_run(name, bar, "MB", Unable(f"there is no {_PEAK}")) for name, (_, bar) in BARS.items()]
    return [Row(name, _median(settings), bar, "MB") for name, (settings, bar) in BARS.items()]


def _median(settings: dict[str, Any]) -> Figure:
    return figure([alone(_measure, settings) for _ in range(ROUNDS)])


def _measure(settings: dict[str, Any]) -> float:
    middleware = BatchMiddleware(_app, max_requests=COUNT, **settings)
    _send(middleware, "/small")
    _give_back()
    before = _resident("VmRSS")
    # From here on the peak counts anew (Linux, proc_pid_clear_refs(5)).
    _PEAK.write_text("5")
    size = _send(middleware, "/large")
    if size < COUNT * SIZE:
        raise RuntimeError(f"the answer has {size} bytes")
    return _resident("VmHWM") - before


def _app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"x" * (SIZE if environ["PATH_INFO"].startswith("/large/") else 1)]


def _give_back() -> None:
    """Have the system take back what was freed: a batch that grows into that would seem to need less than it does. Only glibc has a call for it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _send(middleware: BatchMiddleware, below: str) -> int:
    """Post a batch of :data:`COUNT` items; gives the bytes of its answer, of which each piece is let go of before the next one is asked for."""
    body = gets(COUNT, below).batch
    environ = environ_of("POST", "/batch", {"Content-Type": "application/json"}, body)
    environ["wsgi.input"] = io.BytesIO(body)
    answer: Any = middleware(environ, ignore)
    size = 0
    try:
        for piece in answer:
            size += len(piece)
    finally:
        if hasattr(answer, "close"):
            answer.close()
    return size


def _resident(field: str) -> float:
    """Megabytes, as the kernel tells them."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024 / 1e6
