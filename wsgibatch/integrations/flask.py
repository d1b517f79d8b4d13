"""Batches for Flask apps::

    app = Flask(__name__)
    Batch(app)

The endpoint stands in ``app.wsgi_app``, so ``app.run()``, ``flask run``, ``app.test_client()`` and every server have it. Items go through what
``app.wsgi_app`` was before: each is a request of its own, with its own ``flask.g``, ``before_request``, error handlers and teardown. What is put
around ``app.wsgi_app`` earlier sees every item, what is put there later sees the batch.

:class:`Idempotent` takes the place of flask-idempotent2's: views whose answers are kept for a while, and views that let one request in at a time::

    idempotent = Idempotent(app, "redis://127.0.0.1/0", db.session)

    @app.put("/users/<int:number>")
    @idempotent.lock(3)
    @idempotent.cache(15)
    def rename(number):
        ...
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial, wraps
from io import BytesIO
from typing import Any, TypeVar, cast

import flask
from flask import Flask
from msgspec import Struct, structs
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule

from .._idempotency.fingerprints import digest
from .._lookup import check_call
from ..errors import ConfigError
from ..idempotency import IdempotencyMiddleware, Policy
from ..settings import Settings
from ..stores.redis import RedisStore
from ..wsgi import BatchMiddleware

__all__ = ("Aggregator", "Batch", "Idempotent", "add_batch_route", "gen_keyfunc")

View = TypeVar("View", bound=Callable[..., Any])


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


class _KeyFunc(Struct, frozen=True, kw_only=True):
    """What of a request makes its key."""

    endpoint: bool
    path: bool
    method: bool
    query_string: bool
    data: bool
    headers: tuple[str, ...]
    session: bool
    content_type: bool
    content_length: bool
    remote_addr: bool

    def __call__(self) -> str:
        return self.of(flask.request, flask.session, flask.request.get_data())

    def of(self, request: flask.Request, session: Mapping[str, Any], body: bytes) -> str:
        """The key of *request*, in no context of Flask's."""
        found: dict[str, str | bytes | None] = {}
        if self.endpoint:
            found["endpoint"] = request.endpoint
        if self.path:
            found["path"] = request.path
        if self.method:
            found["method"] = request.method
        if self.query_string:
            found["query_string"] = request.query_string
        if self.data:
            found["data"] = body
        for name in self.headers:
            found[f"header {name}"] = request.headers.get(name)
        if self.session:
            found["session"] = repr(sorted(session.items(), key=lambda item: str(item[0])))
        if self.content_type:
            found["content_type"] = request.content_type
        if self.content_length:
            found["content_length"] = str(len(body))
        if self.remote_addr:
            found["remote_addr"] = request.remote_addr
        return digest(*(part for pair in found.items() for part in pair))


def gen_keyfunc(
    endpoint: bool = True,
    path: bool = True,
    method: bool = True,
    query_string: bool = True,
    data: bool = True,
    headers: Iterable[str] | None = None,
    session: bool = True,
    content_type: bool = True,
    content_length: bool = True,
    remote_addr: bool = True,
    use_checksum: bool = True,
) -> Callable[[], str]:
    """In the place of ``flask_idempotent2.gen_keyfunc``: what tells by which of its sides a request is another one.

    The body is that which was sent, of a form as well; the address is REMOTE_ADDR, and nothing that a client can write.

    :param headers: names of headers.
    :param use_checksum: without effect: keys are digests always.
    :raises ConfigError: when nothing is chosen, since all requests would be one.
    """
    found = _KeyFunc(
        endpoint=endpoint,
        path=path,
        method=method,
        query_string=query_string,
        data=data,
        headers=tuple(headers or ()),
        session=session,
        content_type=content_type,
        content_length=content_length,
        remote_addr=remote_addr,
    )
    if not any(structs.astuple(found)):
        raise ConfigError("gen_keyfunc: at least one side of a request is needed")
    return found


class _Mark(Struct, eq=False):
    """What the decorators of one view have said."""

    view: Callable[..., Any]
    """As it was without them."""
    fields: dict[str, Any]
    policy: Policy


def _check_said(decorator: str, timeout: Any, keyfunc: Any) -> None:
    if callable(timeout):
        raise ConfigError(f"@{decorator}: say for how many seconds, as in @idempotent.{decorator}(15)")
    if not isinstance(timeout, float | int) or timeout <= 0:
        raise ConfigError(f"timeout: a number of seconds is wanted, more than 0, not {timeout!r}")
    if keyfunc is not None:
        check_call("keyfunc", keyfunc)


_MARKS = "_wsgibatch_idempotent"
_CHOSEN = "wsgibatch.flask.idempotent"
"""The environ key of the mark and the rule that a request was found to have."""
_FOREVER = 3600.0
"""Seconds that count for ever where somebody waits for a lock: four times as long as anybody can hold it."""


class Idempotent:
    """In the place of ``flask_idempotent2.Idempotent``: answers of views are kept for requests that are equal.

    It stands in ``app.wsgi_app``, behind a :class:`Batch` that is there already, and finds the view of a request by the app's rules: what is answered
    again does not reach the app, nor its ``before_request``. A decorator that stands above these has to keep what they have written on the view, as
    :func:`functools.wraps` does.

    :param store: as :class:`~wsgibatch.idempotency.IdempotencyMiddleware` takes it, or a client of redis-py.
    :param session_factory: whose commits tell what has changed, so that what was kept is executed again: a ``sessionmaker``, ``scoped_session`` or
        Flask-SQLAlchemy's ``db.session``. Left out, what is kept stands until its time is over, or ``wsgibatch.tags.touch`` says otherwise.
    :param default_keyfunc: what tells requests apart, with ``flask.request`` and ``flask.session`` at hand; ``gen_keyfunc()``. Who sends an
        Authorization is told apart in any case.
    :param redis_key_prefix: sets the keys of one service apart from those of others in the same store.
    :param redis: another name for *store*.
    :raises ConfigError: for what is no store, no factory of sessions and no function that makes keys.
    """

    def __init__(
        self,
        app: Flask,
        store: Any = None,
        session_factory: Any = None,
        default_keyfunc: Callable[[], str] | None = None,
        redis_key_prefix: str = "idempotent",
        *,
        redis: Any = None,
    ) -> None:
        if store is not None and redis is not None:
            raise ConfigError("redis: is another name for store: give one of the two")
        store = redis if store is None else store
        if store is None:
            raise ConfigError("store: say where replies are kept")
        if default_keyfunc is not None:
            check_call("default_keyfunc", default_keyfunc)
        if hasattr(store, "evalsha"):
            store = RedisStore(store)
        if session_factory is not None:
            from .sqlalchemy import track

            track(session_factory)
        self._app = app
        self._keyfunc = default_keyfunc or gen_keyfunc()
        self._namespace = f"{redis_key_prefix}:{app.name}"
        # Items of a batch are requests to views as well. Behind the first endpoint, which is the innermost one, is every request.
        batch: BatchMiddleware | None = next(iter(app.extensions.get("wsgibatch", {}).values()), None)
        self.middleware = IdempotencyMiddleware(app.wsgi_app if batch is None else batch.app, store, self._choose)
        if batch is None:
            app.wsgi_app = self.middleware  # type: ignore[method-assign]  # Flask names this attribute as the place for middleware.
        else:
            batch.app = self.middleware

    def cache(self, timeout: float, keyfunc: Callable[[], str] | None = None) -> Callable[[View], View]:
        """Have the answers of a view kept for *timeout* seconds. An equal request that comes meanwhile waits for the answer, up to that long.

        On a view that has it already it has no effect.

        :raises ConfigError: for what is no number of seconds, and no *keyfunc*.
        """
        _check_said("cache", timeout, keyfunc)
        return partial(self._decorated, "derive", {"ttl": timeout}, timeout, keyfunc)

    def lock(self, timeout: float, *, blocking_timeout: float | None = None, keyfunc: Callable[[], str] | None = None) -> Callable[[View], View]:
        """Have one of several equal requests run at a time. It is locked first, whichever decorator stands above the other.

        :param timeout: seconds after which the lock of a process that has died is taken for free. It is renewed while the view runs.
        :param blocking_timeout: seconds to wait for it before a request is answered 409; None for as long as it takes.
        :raises ConfigError: for what is no number of seconds, and no *keyfunc*.
        """
        _check_said("lock", timeout, keyfunc)
        if not (blocking_timeout is None or (isinstance(blocking_timeout, float | int) and blocking_timeout >= 0)):
            raise ConfigError(f"blocking_timeout: a number of seconds or None is wanted, not {blocking_timeout!r}")
        wait = _FOREVER if blocking_timeout is None else blocking_timeout
        return partial(self._decorated, "lock", {"lease": timeout, "max_run": max(timeout, 900.0)}, wait, keyfunc)

    def _decorated(self, kind: str, fields: dict[str, Any], wait: float, keyfunc: Callable[[], str] | None, view: View) -> View:
        marks: dict[Idempotent, _Mark] = getattr(view, _MARKS, {})
        before = marks.get(self)
        known = {} if before is None else before.fields
        if kind in known:
            return view
        source = partial(self._key, kind, keyfunc or self._keyfunc)
        said = {**known, **fields, kind: source, "wait": max(wait, known.get("wait", 0.0))}
        mark = _Mark(view if before is None else before.view, said, Policy(header=(), namespace=self._namespace, anonymous="shared", **said))

        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            chosen = flask.request.environ.get(_CHOSEN, {}).get(self, mark)
            if chosen is None or chosen.view is not mark.view:
                raise RuntimeError(f"{view.__name__} is not known to be idempotent: a decorator above hides it, and should use functools.wraps")
            return self._app.ensure_sync(view)(*args, **kwargs)

        setattr(guarded, _MARKS, {**marks, self: mark})
        return cast(View, guarded)

    def _choose(self, environ: dict[str, Any]) -> Policy | None:
        if environ["REQUEST_METHOD"] in ("HEAD", "OPTIONS"):
            return None
        rule = self._rule(environ)
        mark = None if rule is None else self._mark(self._app.view_functions[rule.endpoint], environ["REQUEST_METHOD"])
        environ[_CHOSEN] = {**environ.get(_CHOSEN, {}), self: mark}
        return None if mark is None else mark.policy

    def _rule(self, environ: dict[str, Any]) -> Rule | None:
        try:
            adapter = self._app.create_url_adapter(self._app.request_class(environ, populate_request=False))
            return None if adapter is None else adapter.match(return_rule=True)[0]
        except HTTPException:
            # What the app does not know it will answer itself.
            return None

    def _mark(self, view: Any, method: str) -> _Mark | None:
        handler = getattr(getattr(view, "view_class", None), method.lower(), None)
        found: _Mark | None = getattr(view, _MARKS, {}).get(self) or getattr(handler, _MARKS, {}).get(self)
        return found

    def _key(self, kind: str, keyfunc: Callable[[], str], environ: dict[str, Any], body: bytes) -> str:
        alike = {**environ, "wsgi.input": BytesIO(body)}
        if not isinstance(keyfunc, _KeyFunc):
            with self._app.request_context(alike):
                return keyfunc()
        request = self._app.request_class(alike, populate_request=False)
        request.url_rule = self._rule(environ)
        session = self._app.session_interface.open_session(self._app, request) if keyfunc.session else None
        told = keyfunc.of(request, session or {}, body)
        # A lock is the app's, by whatever name it is reached; an answer is that of one host.
        return digest(told, environ.get("HTTP_HOST", "").lower()) if kind == "derive" and keyfunc.path else told
