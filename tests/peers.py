"""What tests have done in the environments of the benchmark's peers, where there is no pytest."""

import threading
from importlib import import_module

from benchmarks import work
from benchmarks.answers import Figure, exact
from benchmarks.apart import judged, prepared
from benchmarks.posting import check


def answered(contestant: str, app: str, kind: str) -> Figure:
    """Two requests are answered by *contestant* as they should be."""
    _, once = prepared(import_module(f"benchmarks.contestants.{contestant}"), app, getattr(work, kind)(2))
    once()
    return exact(2)


def failing() -> Figure:
    raise RuntimeError("ours does not work")


def answering_wrongly() -> Figure:
    with judged():
        check("200 OK", [], b'[{"status_code": 500, "reason_phrase": "", "headers": {}, "body": ""}]', work.gets(1), [b"{}"])
    return exact(1)


def hanging() -> Figure:
    threading.Event().wait()
    return exact(1)
