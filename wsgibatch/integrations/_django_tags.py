"""What Django's models change, for whoever keeps replies."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import signals

from .. import tags

_UID = "wsgibatch.tags"


def listen() -> None:
    """Have what models save and delete touched; twice is as once."""
    signals.post_save.connect(_changed, dispatch_uid=_UID)
    signals.post_delete.connect(_changed, dispatch_uid=_UID)
    signals.m2m_changed.connect(_related, dispatch_uid=_UID)


def _changed(sender: object, instance: Any, using: str, **_: object) -> None:
    _when_committed(_names(instance), using)


def _related(sender: object, instance: Any, action: str, model: Any, pk_set: Iterable[object] | None, using: str, **_: object) -> None:
    if action.startswith("post_"):
        keys = ["*"] if pk_set is None else pk_set
        _when_committed([*_names(instance), *(f"{model._meta.concrete_model._meta.label}:{key}" for key in keys)], using)


def _names(instance: Any) -> list[str]:
    """The tags of a row, by what it is now: what is deleted has lost its key by the time of the commit."""
    options = instance._meta.concrete_model._meta
    return [f"{options.label}:{_text(instance.pk)}", *_parents(instance, options)]


def _parents(instance: Any, options: Any) -> Iterator[str]:
    for parent in options.get_parent_list():
        yield f"{parent._meta.label}:{_text(getattr(instance, parent._meta.pk.attname))}"


def _text(key: object) -> str:
    return ",".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _when_committed(names: list[str], using: str) -> None:
    # Savepoints that are rolled back forget their callbacks. By the end of a group its items have ended, so their collector is noted now.
    collector = tags.current.get()
    tell = partial(tags.changed, names) if collector is None else partial(collector.touch, *names)
    transaction.on_commit(tell, using=using, robust=True)
