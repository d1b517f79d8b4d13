"""Both faces of the middleware, the app's to a server and the server's to an app, before the judge that the standard library has."""

from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.validate import validator

import pytest

from tests.apps import mirror, show
from tests.family import EXECUTORS
from tests.gateway import environ_of, get, post, send
from wsgibatch import BatchMiddleware, SubRequest, _lookup, dialects

every_dialect = pytest.mark.parametrize("dialect", [word for word in _lookup.members(dialects) if word != "auto"])
every_executor = pytest.mark.parametrize("executor", EXECUTORS)


def judged(app: Any, **settings: Any) -> tuple[Any, BatchMiddleware]:
    """*app* behind a middleware, with a judge on either side."""
    middleware = BatchMiddleware(validator(app), **settings)
    return validator(middleware), middleware


def writing(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Uses all that start_response offers."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        raise LookupError("before anything was sent")
    except LookupError as error:
        write = start_response("404 Not Found", [("Content-Type", "text/plain")], (LookupError, error, error.__traceback__))
    write(b"written ")
    return iter([b"and ", b"yielded"])


@every_dialect
@every_executor
@pytest.mark.parametrize("app", [show, mirror, writing])
def test_both_faces_conform(app: Any, dialect: str, executor: str) -> None:
    outer, middleware = judged(app, dialect=dialect, executor=executor, workers=3)
    requests = [SubRequest(index, "GET", url, []) for index, url in enumerate(["/a?b", "/bin", "/text", "/missing", "/empty", "//", "/%ff"])]
    headers, body = _lookup.member(dialects, dialect)().write(requests)

    answer = send(outer, environ_of(body, CONTENT_TYPE=dict(headers)["Content-Type"]))

    middleware.close()
    assert answer.status == 200


@every_executor
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
def test_both_faces_conform_with_every_method_and_with_bodies(executor: str, method: str) -> None:
    outer, middleware = judged(mirror, executor=executor, workers=3)

    answer = post(
        outer,
        [{"method": method, "url": "/a", "headers": {"X-Echo": "\xff", "Content-Type": "text/plain"}, "body": "ü"}, {"method": method, "url": "/b"}],
    )

    middleware.close()
    assert answer.statuses == [200, 200]


@pytest.mark.parametrize(
    "changes",
    [{"CONTENT_TYPE": "text/plain"}, {"CONTENT_LENGTH": None}, {"CONTENT_LENGTH": "5000000"}, {"wsgibatch__item": 0}, {"SCRIPT_NAME": "/api"}],
)
def test_both_faces_conform_when_a_batch_is_refused_or_mounted(changes: dict[str, Any]) -> None:
    outer, _ = judged(show)

    assert post(outer, [get("/api/a")], **changes).status in (200, 400, 411, 413, 415)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_both_faces_conform_where_nothing_is_a_batch(method: str) -> None:
    outer, _ = judged(mirror)

    assert send(outer, environ_of(b"body", "/elsewhere", REQUEST_METHOD=method)).status == 200


@every_dialect
def test_a_large_answer_conforms(dialect: str) -> None:
    def large(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"x" * 100_000]

    outer, _ = judged(large, dialect=dialect)
    headers, body = _lookup.member(dialects, dialect)().write([SubRequest(0, "GET", "/a", []), SubRequest(1, "GET", "/b", [])])

    assert len(send(outer, environ_of(body, CONTENT_TYPE=dict(headers)["Content-Type"])).body) > 200_000
