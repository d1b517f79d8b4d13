"""The same requests in one batch, through the middleware."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

from wsgibatch import BatchMiddleware

from ..work import Work, WSGIApp, environ_of


def prepare(app: WSGIApp, work: Work, **settings: Any) -> Callable[[], None]:
    """One call of the middleware, in settings that are the defaults but for *settings* and the number of items.

    :raises RuntimeError: when the batch or one of its items is not answered with 200.
    """
    middleware = BatchMiddleware(app, max_requests=len(work.paths), **settings)
    outer = environ_of("POST", "/batch", {"Content-Type": work.content_type}, work.batch)
    _check(_send(middleware, outer, work.batch), work)

    def once() -> None:
        _send(middleware, outer, work.batch)

    return once


def _send(middleware: WSGIApp, outer: dict[str, Any], body: bytes) -> list[bytes]:
    environ = outer.copy()
    environ["wsgi.input"] = BytesIO(body)
    answer = middleware(environ, _ignore)
    chunks = list(answer)
    close = getattr(answer, "close", None)
    if close is not None:
        close()
    return chunks


def _ignore(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
    pass


def _check(chunks: list[bytes], work: Work) -> None:
    if work.content_type.startswith("multipart/"):
        if (count := b"".join(chunks).count(b"HTTP/1.1 200 OK")) != len(work.paths):
            raise RuntimeError(f"{count} of {len(work.paths)} requests succeeded")
        return
    answers = json.loads(b"".join(chunks))
    if "batch" in answers:
        failed = [answer for answer in answers["batch"] if answer["status_code"] != 200]
        count = len(answers["batch"])
    elif "responses" in answers:
        failed = [answer for answer in answers["responses"] if answer["status"] != 200]
        count = len(answers["responses"])
    else:
        # The format of Flask-Aggregator has no statuses; what we answer in an app's place is told by its code.
        failed = [answer for answer in answers.values() if "code" in answer]
        count = len(answers)
    if failed or count != len(work.paths):
        raise RuntimeError(f"{count} answers to {len(work.paths)} requests, failed: {failed[:1]}")
