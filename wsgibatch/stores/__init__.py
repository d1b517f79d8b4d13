"""Where it is kept what became of requests: one file each, named as the scheme of its urls."""

import sys
from typing import Any

from .. import _lookup
from ..errors import ConfigError
from ..protocols import Store

_PARTS = ("begin", "renew", "finish", "forget", "peek", "touch", "seen", "close")


def store_of(reference: Any) -> Store:
    """The store that *reference* is, refers to, or is the url of.

    :param reference: ``"memory://"``, ``"sqlite:///path"``, ``"redis://host:port/db"`` and the like; ``"package.module:name"`` of a store or of what
        makes one; or the store itself.
    :raises ConfigError: when it is none.
    """
    found = reference
    if isinstance(reference, str):
        found = _of_url(reference) if "://" in reference else _lookup.named(reference)
    if isinstance(found, type) or (callable(found) and not hasattr(found, _PARTS[0])):
        try:
            found = found()
        except TypeError as error:
            raise ConfigError(f"store: {reference!r} cannot be called without arguments: {error}") from error
    missing = [part for part in _PARTS if not hasattr(found, part)]
    if missing:
        raise ConfigError(f"store: {reference!r} is no store: it has no {missing[0]!r} (see wsgibatch.protocols)")
    store: Store = found
    return store


def _of_url(url: str) -> Any:
    """Ask the member of the family that the scheme names. As in https, an s at the end of a scheme says that TLS is spoken: ``rediss``."""
    family = sys.modules[__name__]
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    known = _lookup.members(family)
    word = scheme if scheme in known else scheme.removesuffix("s")
    return _lookup.member(family, word if word in known else scheme).from_url(f"{scheme}://{rest}")
