"""What Django's models change, for whoever keeps replies."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import signals

from .. import tags
from ._django_settings import dict_of

_UID = "wsgibatch.tags"


def track() -> None:
    """Have what models save and delete touched, as :func:`wsgibatch.tags.touch` does, once it is committed: ``shop.Order:7``, a label and a key.

    It is called once, in the ``ready()`` of an app, say; twice is as once. In a request it is known when the request has ended, in an atomic group
    when that is committed. Elsewhere, in a management command say, it is written at once to the store that WSGIBATCH_IDEMPOTENCY names.

    A row of a model with parents is also a row of these; a many-to-many field that changes has changed the rows at both of its ends. Django tells
    nothing of ``bulk_create()``, ``bulk_update()``, ``QuerySet.update()`` and SQL by hand: there say ``tags.touch("shop.Order:*")`` yourself. It
    deletes rows one by one where somebody listens, as this does.

    :raises ConfigError: when that store is none.
    """
    signals.post_save.connect(_changed, dispatch_uid=_UID)
    signals.post_delete.connect(_changed, dispatch_uid=_UID)
    signals.m2m_changed.connect(_related, dispatch_uid=_UID)
    store = dict_of("WSGIBATCH_IDEMPOTENCY").get("store")
    # A memory is each object's own.
    if store is not None and store != "memory://":
        tags.use(store)


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
