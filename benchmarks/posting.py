"""Batches as a server hands them to an app, and their answers looked at: that every request was answered, with what the app answers to it alone."""

import json
from io import BytesIO
from typing import Any, TypeAlias

from wsgibatch import WSGIBatchError

from .contestants import bare
from .measure import Checked
from .work import Work, WSGIApp, environ_of, speaker


class Mismatch(RuntimeError):
    """How an answer differs from what it should be."""


Answer: TypeAlias = tuple[list[tuple[str, list[tuple[str, str]]]], list[bytes]]
"""What ``start_response`` was called with, and the pieces of the body."""


def poster(endpoint: WSGIApp, app: WSGIApp, work: Work) -> Checked[Answer]:
    """Posts the batch to *endpoint*, which answers it by way of *app* or what is in it: once, to see that it does, and then as often as it is called.

    :raises Mismatch: when the batch or a request in it is not answered with 200, or with something else than *app* answers.
    """
    outer = environ_of("POST", work.target, {"Content-Type": work.content_type}, work.batch)
    expected = bare.answers(app, work)

    def vet(answer: Answer) -> None:
        told, pieces = answer
        status, headers = told[-1]
        check(status, headers, b"".join(pieces), work, expected)

    return Checked(lambda: _send(endpoint, outer, work.batch), vet).tried()


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


def _send(endpoint: WSGIApp, outer: dict[str, Any], body: bytes) -> Answer:
    told: list[tuple[str, list[tuple[str, str]]]] = []
    environ = outer.copy()
    environ["wsgi.input"] = BytesIO(body)
    answer = endpoint(environ, lambda status, headers, exc_info=None: told.append((status, headers)))
    pieces = list(answer)
    close = getattr(answer, "close", None)
    if close is not None:
        close()
    return told, pieces
