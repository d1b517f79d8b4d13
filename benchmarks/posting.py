"""Batches as a server hands them to an app, and their answers looked at: that every request was answered, with what the app answers to it alone."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

from wsgibatch import WSGIBatchError

from .contestants import bare
from .work import Work, WSGIApp, environ_of, speaker


class Mismatch(RuntimeError):
    """How an answer differs from what it should be."""


def poster(endpoint: WSGIApp, app: WSGIApp, work: Work) -> Callable[[], None]:
    """Posts the batch to *endpoint*, which answers it by way of *app* or what is in it.

    :raises Mismatch: when the batch or a request in it is not answered with 200, or with something else than *app* answers.
    """
    outer = environ_of("POST", work.target, {"Content-Type": work.content_type}, work.batch)
    told: list[tuple[str, list[tuple[str, str]]]] = []
    chunks = _send(endpoint, outer, work.batch, lambda status, headers, exc_info=None: told.append((status, headers)))
    status, headers = told[-1]
    check(status, headers, b"".join(chunks), work, bare.answers(app, work))

    def once() -> None:
        _send(endpoint, outer, work.batch, _ignore)

    return once


def check(status: str, headers: list[tuple[str, str]], body: bytes, work: Work, expected: list[bytes]) -> None:
    """Is *body* a whole answer to the batch, in which each request is answered with 200 and with the bytes or the JSON that are *expected*?

    :raises Mismatch: when it is not.
    """
    if not status.startswith("200 "):
        raise Mismatch(f"the batch was answered with {status}: {body[:200]!r}")
    try:
        answers = speaker(work.dialect).read(headers, body, work.requests)
    except (ValueError, WSGIBatchError) as error:
        raise Mismatch(f"the batch was answered with {body[:200]!r}: {error}") from error
    for answer, alone in zip(answers, expected, strict=True):
        # The format of Flask-Aggregator has no statuses.
        if answer.status not in {0, 200} or not _same(answer.body, alone):
            raise Mismatch(f"a request that is answered with {alone[:200]!r} alone was answered with {answer.status}, {answer.body[:200]!r}")


def _same(one: bytes, other: bytes) -> bool:
    try:
        return one == other or bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


def _send(endpoint: WSGIApp, outer: dict[str, Any], body: bytes, start_response: Callable[..., Any]) -> list[bytes]:
    environ = outer.copy()
    environ["wsgi.input"] = BytesIO(body)
    answer = endpoint(environ, start_response)
    chunks = list(answer)
    close = getattr(answer, "close", None)
    if close is not None:
        close()
    return chunks


def _ignore(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
    pass
