"""What tests have done in the environments of the benchmark's peers, where there is no pytest."""

from importlib import import_module

from benchmarks import work
from benchmarks.answers import Figure, exact
from benchmarks.apart import prepared


def answered(contestant: str, app: str, kind: str) -> list[Figure]:
    """Two requests are answered by *contestant* as they should be."""
    _, once = prepared(import_module(f"benchmarks.contestants.{contestant}"), app, getattr(work, kind)(2))
    once()
    return [exact(2)]


def failing() -> list[Figure]:
    raise RuntimeError("ours does not work")
