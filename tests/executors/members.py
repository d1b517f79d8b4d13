"""The executors that tests go through: a word each, and the settings that choose it."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest
from gevent import monkey

from wsgibatch import _lookup, executors

PATCHED = monkey.is_module_patched("threading")
"""Has gevent patched this process?"""
NEED_PATCHING = {"gevent"}
"""Words for a process that is patched. In any other they are left out; ``test_gevent.py`` has these tests run once more in one that is."""


def threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(4)


def processes() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(2, get_context("spawn"))


ELSEWHERE: dict[str, dict[str, Any]] = {"processes": {"executor": "processes"}, "futures-elsewhere": {"executor": processes}}
"""Those that are to be told what to import; they answer nothing that a function of a test's own could."""
HERE: dict[str, dict[str, Any]] = {
    word: {"executor": word} for word in _lookup.members(executors) if word not in ELSEWHERE and (PATCHED or word not in NEED_PATCHING)
}
HERE["futures"] = {"executor": threads}
EVERY = HERE | ELSEWHERE

every_executor_here = pytest.mark.parametrize("executor", [pytest.param(settings["executor"], id=word) for word, settings in HERE.items()])
"""Gives what the setting ``executor`` takes, for all whose items run in this process: a new one is found by itself."""


def settings_of(word: str, app: str, **others: Any) -> dict[str, Any]:
    """Settings that choose the executor *word*.

    :param app: the app of the test, ``package.module:name``.
    """
    return EVERY[word] | ({"worker_app": app} if word in ELSEWHERE else {}) | others
