"""PasteDeploy: the batch endpoint as a filter of an ini file, and idempotent replies as another.

::

    [filter:batch]
    use = egg:wsgibatch
    executor = threads
    path = /batch, /api/batch

    [filter:idempotency]
    use = egg:wsgibatch#idempotency
    store = sqlite:////var/lib/shop/replies.db
    wait = 5

Every name in a section is a setting, and every value is text as :meth:`wsgibatch.Settings.from_strings` reads it. What stands in ``[DEFAULT]``
belongs to all sections of the file, so it sets nothing here.

The names of idempotent replies are ``store``, and either ``policy``, ``package.module:name`` of what
:class:`~wsgibatch.idempotency.IdempotencyMiddleware` takes, or the fields of :class:`~wsgibatch.idempotency.Policy`. What is a callable there is
written ``package.module:name``, and dimensions are words: ``derive = method path body header:X-Tenant cookie:tenant``.

PasteDeploy itself is not imported: it calls these functions.
"""

from collections.abc import Callable, Mapping

from .._caller import WSGIApp
from .._idempotency.policy import chosen, fields_from_strings
from .._lookup import named
from ..idempotency import IdempotencyMiddleware
from ..settings import Settings
from ..stores import store_of
from ..wsgi import BatchMiddleware


def filter_factory(global_conf: Mapping[str, str], /, **local_conf: str) -> Callable[[WSGIApp], BatchMiddleware]:
    """For ``filter-with``, ``pipeline`` and ``paste.filter_factory``: what puts a batch endpoint in front of an app.

    :param global_conf: ``[DEFAULT]``; not looked at.
    :param local_conf: the settings.
    :raises ConfigError: for an unknown name, with the nearest known one, and for a value that cannot work.
    """
    settings = Settings.from_strings(local_conf)
    return lambda app: BatchMiddleware(app, settings)


def filter_app_factory(app: WSGIApp, global_conf: Mapping[str, str], /, **local_conf: str) -> BatchMiddleware:
    """For ``paste.filter_app_factory``: *app* behind a batch endpoint. Parameters and errors are those of :func:`filter_factory`."""
    return filter_factory(global_conf, **local_conf)(app)


def idempotency_filter_factory(global_conf: Mapping[str, str], /, **local_conf: str) -> Callable[[WSGIApp], IdempotencyMiddleware]:
    """``egg:wsgibatch#idempotency``, as :func:`filter_factory`: what has requests that are sent again answered as before.

    :raises ConfigError: for an unknown name, with the nearest known one, and for a value that cannot work.
    """
    store = local_conf.pop("store", "memory://")
    policy = named(local_conf.pop("policy").strip(), "policy") if "policy" in local_conf else None
    choice = chosen(policy, fields_from_strings(local_conf))
    made = store_of(store.strip())
    return lambda app: IdempotencyMiddleware(app, made, choice)


def idempotency_filter_app_factory(app: WSGIApp, global_conf: Mapping[str, str], /, **local_conf: str) -> IdempotencyMiddleware:
    """For ``paste.filter_app_factory``, likewise."""
    return idempotency_filter_factory(global_conf, **local_conf)(app)
