"""Django: batches in front of the whole project, in ``wsgi.py``::

    application = batch(get_wsgi_application())

The settings are the dict ``WSGIBATCH``, with the names of :class:`wsgibatch.Settings` in lower or upper case. ``BATCH_REQUESTS``, the dict of
django-batch-requests, is understood as well; where both speak, ``WSGIBATCH`` wins. With
``"wsgibatch.integrations.django.BatchConfig"`` in ``INSTALLED_APPS``, ``manage.py check`` looks at them.

Items go through the middleware stack like any request: sessions, CSRF and authentication hold for each of them.

Atomic groups are transactions where :class:`atomic` says so::

    WSGIBATCH = {"atomic": "wsgibatch.integrations.django:atomic"}

Where items run in processes, those run :func:`worker`, unless ``worker_app`` names another app.

Requests that are sent again are answered as before where :func:`idempotent` stands in front of the project, behind a batch or without one::

    application = batch(idempotent(get_wsgi_application()))

    WSGIBATCH_IDEMPOTENCY = {"store": "redis://127.0.0.1/0", "wait": 5}

and :func:`track` has them executed again, where they brought no key, once models have changed what their answers go by.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from types import TracebackType
from typing import Any, NoReturn

from django.apps import AppConfig
from django.conf import settings as project
from django.core import checks
from django.core.wsgi import get_wsgi_application
from django.db import connections, transaction
from django.urls import Resolver404, resolve

from .. import tags
from .._caller import WSGIApp
from .._exchange import Endpoint
from .._idempotency.policy import chosen, understood
from .._log import log_untold
from .._lookup import named, nearest
from ..errors import ConfigError
from ..idempotency import IdempotencyMiddleware
from ..model import Group
from ..settings import Settings
from ..stores import store_of
from ..wsgi import BatchMiddleware
from ._django_settings import dict_of, translated
from ._django_tags import listen

__all__ = ("BatchConfig", "atomic", "batch", "check", "idempotent", "track", "worker")


def batch(app: WSGIApp, **overrides: Any) -> BatchMiddleware:
    """*app* with a batch endpoint in front of it, as the project's settings describe it.

    :param app: what ``get_wsgi_application()`` gives.
    :param overrides: single settings by name, which stand before those of the project.
    :raises ConfigError: for settings that cannot work.
    """
    return BatchMiddleware(app, **_configured(overrides))


def worker(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The project alone, without batches and without what else ``wsgi.py`` puts around it: the app of the processes that run items."""
    return _project()(environ, start_response)


@cache
def _project() -> WSGIApp:
    # What imports this module may not be done with making the project ready.
    return get_wsgi_application()  # type: ignore[no-any-return]


def idempotent(app: WSGIApp, **overrides: Any) -> IdempotencyMiddleware:
    """*app* behind :class:`~wsgibatch.idempotency.IdempotencyMiddleware`, as the dict WSGIBATCH_IDEMPOTENCY in the project's settings describes it.

    Its names are ``store``, ``policy`` and the fields of :class:`~wsgibatch.idempotency.Policy`, in lower or upper case; what is a callable may be
    written ``package.module:name``, and so may a policy. Clients are told apart by Authorization and by their session, unless ``principal``,
    ``cookies`` or ``policy`` say otherwise.

    :param app: what ``get_wsgi_application()`` gives.
    :param overrides: single names, which stand before those in the settings.
    :raises ConfigError: for what cannot work.
    """
    return IdempotencyMiddleware(app, **_keeping(overrides))


def track() -> None:
    """Have what models save and delete touched, as :func:`wsgibatch.tags.touch` does, once it is committed: ``shop.Order:7``, a label and a key.

    It is called once, in the ``ready()`` of an app, say; twice is as once. In a request it is known when the request has ended, in an atomic group
    when that is committed. Elsewhere, in a management command say, it is written at once to the store that WSGIBATCH_IDEMPOTENCY names. Where that is
    none the system checks say so, and the log.

    A row of a model with parents is also a row of these; a many-to-many field that changes has changed the rows at both of its ends. Django tells
    nothing of ``bulk_create()``, ``bulk_update()``, ``QuerySet.update()`` and SQL by hand: there say ``tags.touch("shop.Order:*")`` yourself. It
    deletes rows one by one where somebody listens, as this does.
    """
    listen()
    try:
        store = dict_of("WSGIBATCH_IDEMPOTENCY").get("store")
        # A memory is each object's own.
        if store is not None and store != "memory://":
            tags.use(store)
    except ConfigError as error:
        # Raised here, it would end manage.py before that can say what is wrong.
        checks.register(check)
        log_untold(error)


class atomic:  # noqa: N801  # What it makes is used like Django's, and it is called so in the settings.
    """What the setting ``atomic`` takes: an atomic group is one transaction on each of the databases *using*::

        application = batch(get_wsgi_application(), atomic=atomic(using=("default", "archive")))

    For the database ``default`` alone, the reference ``"wsgibatch.integrations.django:atomic"`` says the same as ``atomic()``.

    Views stay as they are: an atomic block in one, or around it by ATOMIC_REQUESTS, is a savepoint. What they give to ``transaction.on_commit``
    is called once, after the commit; there belongs what no database can undo, a mail say. If a callback raises, the group is committed all the
    same; that is logged and, as ever in Django, the callbacks behind it are not called.

    These fail with an exception in the view, and their group with them: ``atomic(durable=True)``, and setting autocommit, committing or rolling
    back by hand. A view that catches a database error without an atomic block inside the ``try`` undoes its group as well, whatever it answers;
    under ATOMIC_REQUESTS it undoes its own work only, as it does without a group. A group that a view of a group begins in the same thread, by a
    batch that it sends in process, is refused where both are on one database, and the outer group goes on.

    Several databases are committed one after another, in the order given, and not in two phases: when one fails, those before it stay
    committed, and their callbacks have been called. Databases that are not named take no part. Where groups read before they write,
    SQLite needs ``"transaction_mode": "IMMEDIATE"`` in the OPTIONS of Django 5.1 to have them wait for other writers.

    :param using: the alias of a database, or several.
    :raises ConfigError: for no alias at all; ``batch()`` and the system checks also find aliases that are not there.
    """

    def __init__(self, using: str | Iterable[str] = "default") -> None:
        self._aliases = tuple(dict.fromkeys((using,) if isinstance(using, str) else using))
        if not self._aliases:
            raise ConfigError("atomic: at least one database is needed")
        self._stack = ExitStack()

    def __call__(self) -> "atomic":
        # One setting serves groups in many threads at once, so each has an object of its own. Where the setting is a reference, it is the
        # class that is called: what comes of either call has to be the context manager of a group.
        return atomic(self._aliases)

    def __enter__(self) -> Group:
        return self._stack.enter_context(_transactions(self._aliases))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)

    def check(self) -> None:
        """Look for the databases, once the project's settings are there.

        :raises ConfigError: for an alias that the project does not have.
        """
        for alias in self._aliases:
            if alias not in connections:
                raise ConfigError(f"atomic: there is no database {alias!r} {nearest(alias, list(connections))}")


class _Group(Group):
    """Around each item stand savepoints, whose release tells of an error that a view has hidden: a COMMIT would not.

    PostgreSQL refuses all statements after an error, but answers a COMMIT by rolling back.
    """

    def __init__(self, aliases: tuple[str, ...]) -> None:
        super().__init__()
        self._aliases = aliases

    @contextmanager
    def item(self) -> Iterator[None]:
        with ExitStack() as stack:
            for alias in self._aliases:
                stack.enter_context(transaction.atomic(using=alias))
            yield

    def broken(self) -> bool:
        # Leaving the savepoint would clear it, and what else the item wrote would be gone although it has succeeded.
        return any(connections[alias].needs_rollback for alias in self._aliases)

    def hooks(self, committed: bool) -> Iterator[Callable[[], object]]:
        yield from super().hooks(committed)
        # No request will close what they have opened.
        yield _close_what_is_over


@contextmanager
def _transactions(aliases: tuple[str, ...]) -> Iterator[Group]:
    """A group on these databases."""
    group = _Group(aliases)
    _close_what_is_over()
    with ExitStack() as stack:
        # Those that callbacks have opened are among them.
        stack.callback(_close_what_is_over)
        for alias in aliases:
            stack.enter_context(_kept_open(connections[alias]))
        for alias in reversed(aliases):
            stack.enter_context(_transaction(connections[alias], group))
        yield group


def _close_what_is_over() -> None:
    """What Django does with this thread's connections when a request starts and when it has ended.

    It takes one in a transaction for a left-over and closes it. Where a group stands in an outer transaction, a test case's say, that is none.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


@contextmanager
def _kept_open(connection: Any) -> Iterator[None]:
    """Has the requests of a group leave *connection* alone, which is this thread's own: other threads close theirs as ever."""
    if "close_if_unusable_or_obsolete" in vars(connection):
        raise transaction.TransactionManagementError(f"a view of a group on {connection.alias!r} has begun another group in the same thread")
    connection.close_if_unusable_or_obsolete = lambda: None
    try:
        yield
    finally:
        del connection.close_if_unusable_or_obsolete


@contextmanager
def _transaction(connection: Any, group: Group) -> Iterator[None]:
    """A transaction of which it is known whether it was committed; a savepoint, where there is an outer one."""
    outermost = not connection.in_atomic_block
    if outermost and not connection.get_autocommit():
        raise transaction.TransactionManagementError(f"without AUTOCOMMIT Django commits nothing on {connection.alias!r} by itself")
    committed: list[bool] = []
    try:
        with transaction.atomic(using=connection.alias):
            if outermost:
                connection.on_commit(lambda: committed.append(True))
            yield
    except BaseException as error:
        if not committed:
            raise
        # A later callback has raised it. Neither this nor another database may be taken for rolled back for it: so a hook tells it, however
        # the group ends.
        group.on_commit(partial(_raise, error))
        group.on_rollback(partial(_raise, error))
    else:
        if outermost and not committed:
            # Django leaves a block in silence whose connection was closed inside.
            raise transaction.TransactionManagementError(f"the transaction on {connection.alias!r} ended before its time")


def _raise(error: BaseException) -> NoReturn:
    raise error


class BatchConfig(AppConfig):  # type: ignore[misc]
    """The app ``wsgibatch``: it has no models, only system checks."""

    name = "wsgibatch.integrations.django"
    label = "wsgibatch"
    verbose_name = "wsgibatch"

    def ready(self) -> None:
        checks.register(check)


def check(app_configs: object, **kwargs: object) -> list[checks.CheckMessage]:
    """``wsgibatch.E001`` and ``E002``: the settings of batches, or of idempotent replies, cannot work; ``wsgibatch.W001``: a batch path hides a view.

    What ``batch()`` and ``idempotent()`` are given is not seen here.
    """
    return [*_check_batches(), *_check_replies()]


def _check_batches() -> list[checks.CheckMessage]:
    try:
        endpoint = Endpoint(Settings().replace(**_configured({})))
    except ConfigError as error:
        return [checks.Error(str(error), hint="Mend WSGIBATCH or BATCH_REQUESTS in the settings.", id="wsgibatch.E001")]
    hint = "Give batches another path (WSGIBATCH), or take the view out of the URLconf."
    return [
        checks.Warning(f"A POST to {path} is a batch and never reaches the view {view}.", hint=hint, id="wsgibatch.W001")
        for path in sorted(path.encode("latin-1").decode() for path in endpoint.paths.exact)
        if (view := _view_at(path))
    ]


def _check_replies() -> list[checks.CheckMessage]:
    try:
        made = _keeping({})
        store_of(made.pop("store", "memory://"))
        chosen(made.pop("policy", None), made)
    except ConfigError as error:
        return [checks.Error(str(error), hint="Mend WSGIBATCH_IDEMPOTENCY in the settings.", id="wsgibatch.E002")]
    return []


def _view_at(path: str) -> str | None:
    """The name of the view that the URLconf has for *path*."""
    try:
        name: str = resolve(path).view_name
    except Resolver404:
        return None
    return name


def _configured(overrides: dict[str, Any]) -> dict[str, Any]:
    """The settings that are made, by name: *overrides* before WSGIBATCH before BATCH_REQUESTS."""
    made = dict_of("WSGIBATCH") | overrides
    if isinstance(made.get("atomic"), atomic):
        made["atomic"].check()
    old = translated(project.BATCH_REQUESTS) if hasattr(project, "BATCH_REQUESTS") else {}
    if made.get("durations") is False:
        old.pop("duration_header", None)
    made = old | made
    if made.get("executor") == "processes":
        made.setdefault("worker_app", f"{__name__}:worker")
    return made


def _keeping(overrides: dict[str, Any]) -> dict[str, Any]:
    """What :class:`IdempotencyMiddleware` takes, by name: *overrides* before WSGIBATCH_IDEMPOTENCY."""
    made = {name: understood(name, value) for name, value in (dict_of("WSGIBATCH_IDEMPOTENCY") | overrides).items()}
    if isinstance(made.get("policy"), str):
        made["policy"] = named(made["policy"], "policy")
    if not made.keys() & {"policy", "principal", "cookies"}:
        made["cookies"] = (project.SESSION_COOKIE_NAME,)
    return made
