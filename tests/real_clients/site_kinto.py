"""Kinto itself, which keeps everything in memory here, with its own batch endpoint and behind ours; and the app about people for Kinto's clients.

Each factory makes an app for :func:`served`.
"""

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import kinto
from flask import Response, jsonify
from pyramid.httpexceptions import HTTPServiceUnavailable

from tests.real_clients import site
from tests.servers import run
from wsgibatch import BatchMiddleware, Group

LIMIT = 25
"""Requests in a batch, as the apps here tell it to clients."""


def own(executor: str, **more: object) -> Any:
    """Kinto as it comes, with *more* settings."""
    settings = {
        "userid_hmac_secret": "any",
        "multiauth.policies": "basicauth",
        "storage_backend": "kinto.core.storage.memory",
        "permission_backend": "kinto.core.permission.memory",
        "cache_backend": "kinto.core.cache.memory",
        "bucket_create_principals": "system.Authenticated",
        "batch_max_requests": LIMIT,
        "retry_after_seconds": 7,
        "includes": __name__,
    }
    return kinto.main({}, **settings, **more)


def includeme(config: Any) -> None:
    """Routes that Kinto has not: errors of a server."""
    config.add_route("raise", "/raise")
    config.add_view(_raise, route_name="raise", permission="__no_permission_required__")
    config.add_route("busy", "/busy")
    config.add_view(_busy, route_name="busy", permission="__no_permission_required__")


def _raise(request: Any) -> None:
    raise RuntimeError("a secret that must not get out")


def _busy(request: Any) -> None:
    raise HTTPServiceUnavailable


def ours(executor: str) -> BatchMiddleware:
    """The same with our batch endpoint in the place of its own."""
    return BatchMiddleware(own(executor), path="/v1/batch", add_prefix="/v1", dialect="kinto", executor=executor)


def recognised(executor: str) -> BatchMiddleware:
    """The same, with the dialect told by the batch."""
    return BatchMiddleware(own(executor), path="/v1/batch", add_prefix="/v1", executor=executor)


def transactional(executor: str) -> BatchMiddleware:
    """The same, with batches that are transactions; the tests send one at a time."""
    app = own(executor)
    return BatchMiddleware(app, path="/v1/batch", add_prefix="/v1", dialect="kinto", executor=executor, atomic=Memory(app.registry).atomic)


def loaded(executor: str) -> BatchMiddleware:
    """The same under a load that has it tell all clients to wait."""
    return BatchMiddleware(own(executor, backoff=30), path="/v1/batch", add_prefix="/v1", dialect="kinto", executor=executor)


class Memory:
    """What Kinto keeps in memory."""

    def __init__(self, registry: Any) -> None:
        storage, permission = registry.storage, registry.permission
        self._kept = [(storage, "_store"), (storage, "_cemetery"), (storage, "_timestamps"), (permission, "_store")]

    @contextlib.contextmanager
    def atomic(self) -> Iterator[Group]:
        """All or nothing of what changes in it."""
        before = [copy.deepcopy(getattr(owner, name)) for owner, name in self._kept]
        try:
            yield Group()
        except BaseException:
            for (owner, name), value in zip(self._kept, before, strict=True):
                setattr(owner, name, value)
            raise


def people(executor: str) -> BatchMiddleware:
    """The app about people, which tells Kinto's clients how many requests a batch may hold."""
    app = site.people()

    @app.get("/v1/")
    def root() -> Response:
        return jsonify(settings={"batch_max_requests": LIMIT})

    return BatchMiddleware(app, path="/v1/batch", dialect="kinto", executor=executor)


@contextlib.contextmanager
def served(factory: str, executor: str) -> Iterator[str]:
    """A gunicorn that serves what *factory* here makes with *executor*; gives the url that a client of Kinto is told."""
    # Kinto lists sets in the order that they have.
    env = {"PYTHONHASHSEED": "1"}
    with run.gunicorn("--worker-class", "gthread", "--threads", "4", f"{__name__}:{factory}({executor!r})", env=env) as base:
        yield f"{base}/v1"
