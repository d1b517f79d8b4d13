"""What the loops have in common that users write: a batch in JSON is read, each request is sent to the app, and the answers are written as JSON.

They stand outside of the app, so the batch itself does not pass it, and nothing is checked: that is less than a batch endpoint of one's own would do.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from .contestants import bare
from .measure import Checked
from .posting import check
from .work import Work, WSGIApp


class Answered(NamedTuple):
    """What the loops want of an answer."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: str


def looped(app: WSGIApp, work: Work, send: Callable[[str, str], Answered]) -> Checked[bytes]:
    """The batch of *work*, which has methods and urls only, answered by *send* one by one.

    :raises RuntimeError: when a request is not answered with 200, or with something else than *app* answers.
    """

    def once() -> bytes:
        return json.dumps({"batch": [_told(send(one["method"], one["url"])) for one in json.loads(work.batch)["batch"]]}).encode()

    expected = bare.answers(app, work)
    return Checked(once, lambda answer: check("200 OK", [], answer, work, expected)).tried()


def _told(answer: Answered) -> dict[str, Any]:
    return {"status_code": answer.status, "reason_phrase": answer.reason, "headers": dict(answer.headers), "body": answer.body}
