"""Where it is kept what became of requests: one file each, named as the scheme of its urls."""

import re
import sys
from typing import Any

from .. import _lookup
from ..errors import ConfigError
from ..protocols import Store

_REFERENCE = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")
_PARTS = ("begin", "renew", "finish", "forget", "peek", "touch", "seen", "close")


def store_of(reference: Any) -> Store:
    """The store that *reference* is, refers to, or is the url of.

    :param reference: ``"memory://"``, ``"sqlite:///path"``, ``"redis://host:port/db"`` and the like; ``"package.module:name"`` of a store or of what
        makes one; or the store itself.
    :raises ConfigError: when it is none.
    """
    found = reference
    if isinstance(reference, str):
        found = _of_url(reference) if "://" in reference else _referred(reference)
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


def _referred(reference: str) -> Any:
    # A scheme with one colon is a url that went wrong, rather than a module.
    if not _REFERENCE.fullmatch(reference) or reference.partition(":")[0] in _lookup.members(sys.modules[__name__]):
        forms = "'memory://', 'sqlite:///path', 'redis://host:port/0' or 'package.module:name'"
        raise ConfigError(f"store: {reference!r} should be written {forms}")
    return _lookup.named(reference, "store")


def _of_url(url: str) -> Any:
    """Ask the member of the family that the scheme names. As in https, an s at the end of a scheme says that TLS is spoken: ``rediss``."""
    family = sys.modules[__name__]
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    known = _lookup.members(family)
    word = scheme if scheme in known else scheme.removesuffix("s")
    if word not in known:
        raise ConfigError(f"store: {scheme!r} is none of the stores {_lookup.nearest(scheme, known)}")
    return _lookup.member(family, word).from_url(f"{scheme}://{rest}")
