"""What stands behind: one file per app, each with a ``label`` and an ``app`` that answers GET and POST of ``/items/<number>`` with a little JSON.

Those that peers work with answer two more: ``/texts/<number>`` with a text of 100 KB, and ``/waits/<number>`` as items, after 5 ms. Kinto has its own
paths.
"""

from importlib import import_module
from types import ModuleType

TEXT = "The quick brown fox jumps over the lazy dog. " * 2222
WAIT = 0.005
"""Seconds."""


def load(name: str) -> ModuleType:
    """The file of that name."""
    return import_module(f"{__name__}.{name}")
