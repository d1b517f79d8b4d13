"""Batches for Flask apps::

    app = Flask(__name__)
    Batch(app)

The endpoint stands in ``app.wsgi_app``, so ``app.run()``, ``flask run``, ``app.test_client()`` and every server have it. Items go through what
``app.wsgi_app`` was before: each is a request of its own, with its own ``flask.g``, ``before_request``, error handlers and teardown. What is put
around ``app.wsgi_app`` earlier sees every item, what is put there later sees the batch.
"""

from collections.abc import Mapping
from typing import Any

from flask import Flask

from ..errors import ConfigError
from ..settings import Settings
from ..wsgi import BatchMiddleware

__all__ = ("Aggregator", "Batch", "add_batch_route")


class Batch:
    """The batch endpoint of a Flask app, or of several.

    :param app: an app to give to :meth:`init_app` at once.
    :param settings: settings by the names of :class:`~wsgibatch.Settings`. They stand before those in ``app.config["WSGIBATCH"]``, a dict of the
        same names.
    :raises ConfigError: as :meth:`init_app`, when *app* is given.
    """

    def __init__(self, app: Flask | None = None, **settings: Any) -> None:
        self._settings = settings
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Put a :class:`~wsgibatch.BatchMiddleware` around ``app.wsgi_app``; ``app.extensions["wsgibatch"]`` holds it under each of its paths.

        :raises ConfigError: for settings that cannot work, and for a path where the app answers batches already.
        """
        configured = app.config.get("WSGIBATCH", {})
        if not isinstance(configured, Mapping):
            raise ConfigError(f'app.config["WSGIBATCH"]: a dict of settings is wanted, not {configured!r}')
        settings = Settings().replace(**{**configured, **self._settings})
        served: dict[str, BatchMiddleware] = app.extensions.get("wsgibatch", {})
        # A slash at the end is tolerated in a request, so it makes no other path.
        paths = [path.rstrip("/") or "/" for path in settings.path]
        for path in paths:
            if path in served:
                raise ConfigError(f"path: {app.name} answers batches at {path!r} already")
        middleware = BatchMiddleware(app.wsgi_app, settings)
        app.wsgi_app = middleware  # type: ignore[method-assign]  # Flask names this attribute as the place for middleware.
        app.extensions["wsgibatch"] = served | dict.fromkeys(paths, middleware)


def add_batch_route(app: Flask, route: str = "/batch") -> None:
    """The endpoint of Flask-Batch's server, in the place of ``flask_batch.add_batch_route``.

    Unlike there every part is a whole request: ``before_request`` and its like run for it, and what it raises is its own answer. Settings other than
    ``path``, ``dialect`` and ``profile`` are those in ``app.config["WSGIBATCH"]``.

    :param route: the path of the endpoint.
    :raises ConfigError: as :meth:`Batch.init_app`.
    """
    Batch(app, path=route, dialect="multipart", profile="flask-batch")


class Aggregator:
    """The endpoint of Flask-Aggregator: a JSON list of routes is answered with a JSON object that has a member per route.

    It takes the place of ``flask_aggregator.Aggregator``. Unlike there every route is a whole request: ``before_request`` and its like run for it,
    it has the headers and cookies of the batch, and what it raises stays its own. Settings other than ``path`` and ``dialect`` are those in
    ``app.config["WSGIBATCH"]``.

    :param app: an app to give to :meth:`init_app` at once.
    :param endpoint: the path of the endpoint.
    :raises ConfigError: as :meth:`init_app`, when *app* is given.
    """

    def __init__(self, app: Flask | None = None, endpoint: str = "/aggregate") -> None:
        self.endpoint = endpoint
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, endpoint: str | None = None) -> None:
        """As :meth:`Batch.init_app`.

        :param endpoint: another path, for this app.
        :raises ConfigError: as there.
        """
        Batch(app, path=endpoint or self.endpoint, dialect="aggregator")
