"""What has to wait for what.

In the order ``barrier`` neighbouring items with safe methods may run side by side; any other item runs alone, after all before it and before
all behind it. So for an app whose safe methods do not write, a batch run by many threads cannot be told from one run in order.
"""

from msgspec import Struct

from .model import SubRequest, Unit
from .settings import Settings

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that only read (RFC 9110, section 9.2.1)."""


class Plan(Struct):
    """The units of a batch, in its order, and which of them run alone. ``alone`` is empty where no order is to be kept."""

    units: list[Unit]
    alone: list[bool]


def make_plan(items: list[SubRequest], settings: Settings, concurrent: bool) -> Plan:
    """The plan for *items*. An executor that is not concurrent runs units in the order they are given, which keeps every order."""
    units: list[Unit] = [(item,) for item in items]
    if not concurrent or settings.order == "free":
        return Plan(units, [])
    if settings.order == "sequential":
        return Plan(units, [True] * len(units))
    return Plan(units, [item.method not in SAFE for item in items])
