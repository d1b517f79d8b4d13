"""The same requests in one batch, through Kinto's own endpoint. It leaves out Pyramid's tweens for each of them."""

from typing import Any

from ..measure import Checked
from ..posting import Answer, poster
from ..work import Work

PACKAGES = ("kinto==26.5.0", "setuptools<82")
"""Pyramid imports pkg_resources, which setuptools 82 no longer has."""


def prepare(app: Any, work: Work) -> Checked[Answer]:
    """One call of *app*, the one of :mod:`benchmarks.apps.kinto`.

    :raises RuntimeError: when the batch or one of its items is not answered as it should be.
    """
    return poster(app, app, work)
