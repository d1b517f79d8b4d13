"""The dicts in a Django project's settings that say how batches and idempotent replies are served."""

from typing import Any, TypeVar

import msgspec
from django.conf import settings as project
from msgspec import Struct

from .._inherit import template
from .._lookup import nearest
from ..errors import ConfigError
from ..settings import Settings

T = TypeVar("T")

_THREADS = "batch_requests.concurrent.executor.ThreadBasedExecutor"
_EXECUTORS = {_THREADS: "threads", "batch_requests.concurrent.executor.ProcessBasedExecutor": "processes"}


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


def dict_of(name: str) -> dict[str, Any]:
    """The dict *name* in the project's settings."""
    given = _as(name, getattr(project, name, {}), dict[str, Any])
    made = {key.lower() if key.isupper() else key: value for key, value in given.items()}
    if len(made) < len(given):
        raise ConfigError(f"{name}: a setting is given twice, in lower and in upper case")
    return made


def _as(name: str, given: object, wanted: type[T]) -> T:
    """The dict *given*, in the type *wanted*."""
    try:
        return msgspec.convert(given, wanted)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {error}") from None


def translated(given: object) -> dict[str, Any]:
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
    if old.concurrent_executor not in _EXECUTORS:
        raise ConfigError(f"CONCURRENT_EXECUTOR: items are run by {' or '.join(_EXECUTORS)}, not by {old.concurrent_executor!r}")
    new: dict[str, Any] = {"dialect": "django", "max_requests": old.max_limit, "durations": old.add_duration_header}
    if old.execute_parallel:
        new |= {"executor": _EXECUTORS[old.concurrent_executor], "order": "barrier"}
    if old.num_workers is not None:
        new["workers"] = old.num_workers
    if old.add_duration_header:
        new["duration_header"] = old.duration_header_name
    return new
