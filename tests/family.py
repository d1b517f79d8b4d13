"""The executors that can work in this process, found by themselves."""

from gevent import monkey

from wsgibatch import _lookup, executors

PATCHED = monkey.is_module_patched("threading")
"""Has gevent patched this process?"""
NEED_PATCHING = {"gevent"}
"""Words for a process that is patched. In any other they are left out; ``executors/test_gevent.py`` has these tests run once more in one that is."""
EXECUTORS = [word for word in _lookup.members(executors) if PATCHED or word not in NEED_PATCHING]
