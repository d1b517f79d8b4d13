"""What stands behind: one file per app, each with a ``label`` and an ``app`` that answers GET and POST of ``/items/<number>`` with a little JSON."""

from importlib import import_module
from types import ModuleType


def load(name: str) -> ModuleType:
    """The file of that name."""
    return import_module(f"{__name__}.{name}")
