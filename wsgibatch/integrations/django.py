"""Django: batches in front of the whole project, in ``wsgi.py``::

    application = batch(get_wsgi_application())

The settings are the dict ``WSGIBATCH``, with the names of :class:`wsgibatch.Settings` in lower or upper case. ``BATCH_REQUESTS``, the dict of
django-batch-requests, is understood as well; where both speak, ``WSGIBATCH`` wins. With
``"wsgibatch.integrations.django.BatchConfig"`` in ``INSTALLED_APPS``, ``manage.py check`` looks at them.

Items go through the middleware stack like any request: sessions, CSRF and authentication hold for each of them.
"""

from typing import Any, TypeVar

import msgspec
from django.apps import AppConfig
from django.conf import settings as project
from django.core import checks
from django.urls import Resolver404, resolve
from msgspec import Struct

from .._caller import WSGIApp
from .._exchange import Endpoint
from .._inherit import template
from .._lookup import nearest
from ..errors import ConfigError
from ..settings import Settings
from ..wsgi import BatchMiddleware

T = TypeVar("T")

_THREADS = "batch_requests.concurrent.executor.ThreadBasedExecutor"


class _BatchRequests(Struct, rename="upper"):
    """The settings of django-batch-requests, with its defaults."""

    max_limit: int = 20
    execute_parallel: bool = False
    concurrent_executor: str = _THREADS
    num_workers: int | None = None
    add_duration_header: bool = True
    duration_header_name: str = "batch_requests.duration"
    headers_to_include: list[str] = []
    default_content_type: str = "application/json"
    use_https: bool = False


def batch(app: WSGIApp, **overrides: Any) -> BatchMiddleware:
    """*app* with a batch endpoint in front of it, as the project's settings describe it.

    :param app: what ``get_wsgi_application()`` gives.
    :param overrides: single settings by name, which stand before those of the project.
    :raises ConfigError: for settings that cannot work.
    """
    return BatchMiddleware(app, **_configured(overrides))


class BatchConfig(AppConfig):  # type: ignore[misc]
    """The app ``wsgibatch``: it has no models, only system checks."""

    name = "wsgibatch.integrations.django"
    label = "wsgibatch"
    verbose_name = "wsgibatch"

    def ready(self) -> None:
        checks.register(check)


def check(app_configs: object, **kwargs: object) -> list[checks.CheckMessage]:
    """``wsgibatch.E001``: the settings cannot work; ``wsgibatch.W001``: a batch path hides a view. What ``batch()`` is given is not seen here."""
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


def _view_at(path: str) -> str | None:
    """The name of the view that the URLconf has for *path*."""
    try:
        name: str = resolve(path).view_name
    except Resolver404:
        return None
    return name


def _configured(overrides: dict[str, Any]) -> dict[str, Any]:
    """The settings that are made, by name: *overrides* before WSGIBATCH before BATCH_REQUESTS."""
    given = _as("WSGIBATCH", getattr(project, "WSGIBATCH", {}), dict[str, Any])
    made = {name.lower() if name.isupper() else name: value for name, value in given.items()}
    if len(made) < len(given):
        raise ConfigError("WSGIBATCH: a setting is given twice, in lower and in upper case")
    made |= overrides
    old = _translated(project.BATCH_REQUESTS) if hasattr(project, "BATCH_REQUESTS") else {}
    if made.get("durations") is False:
        old.pop("duration_header", None)
    return old | made


def _as(name: str, given: object, wanted: type[T]) -> T:
    """The dict *given*, in the type *wanted*."""
    try:
        return msgspec.convert(given, wanted)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {error}") from None


def _translated(given: object) -> dict[str, Any]:
    """The dict of django-batch-requests, in our names.

    :raises ConfigError: for what it asks for and batches do not do here.
    """
    old = _as("BATCH_REQUESTS", given, _BatchRequests)
    known = [info.encode_name for info in msgspec.structs.fields(_BatchRequests)]
    for name in _as("BATCH_REQUESTS", given, dict[str, Any]):
        if name not in known:
            raise ConfigError(f"BATCH_REQUESTS: there is no setting {name!r} {nearest(name, known)}")
    for name in old.headers_to_include:
        if name not in template({name: ""}, Settings(), False):
            raise ConfigError(f"HEADERS_TO_INCLUDE: items do not take over {name!r} from the batch: leave it out, or name it in keep_environ")
    if old.default_content_type != "application/json":
        raise ConfigError("DEFAULT_CONTENT_TYPE: a body without Content-Type is application/json; another type has to stand in the item")
    if old.use_https:
        raise ConfigError("USE_HTTPS: items have the scheme of their batch; behind a proxy that ends TLS, set SECURE_PROXY_SSL_HEADER")
    if old.concurrent_executor != _THREADS:
        raise ConfigError(f"CONCURRENT_EXECUTOR: items run in threads ({_THREADS}) or in sequence, not by {old.concurrent_executor!r}")
    new: dict[str, Any] = {"dialect": "django", "max_requests": old.max_limit, "durations": old.add_duration_header}
    if old.execute_parallel:
        new |= {"executor": "threads", "order": "barrier"}
    if old.num_workers is not None:
        new["workers"] = old.num_workers
    if old.add_duration_header:
        new["duration_header"] = old.duration_header_name
    return new
