"""PasteDeploy: the batch endpoint as a filter of an ini file.

::

    [filter:batch]
    use = egg:wsgibatch
    executor = threads
    path = /batch, /api/batch

Every name in the section is a setting, and every value is text as :meth:`wsgibatch.Settings.from_strings` reads it. What stands in ``[DEFAULT]``
belongs to all sections of the file, so it sets nothing here.

PasteDeploy itself is not imported: it calls these functions.
"""

from collections.abc import Callable, Mapping

from .._caller import WSGIApp
from ..settings import Settings
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
