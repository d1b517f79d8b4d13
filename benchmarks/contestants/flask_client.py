"""The same requests in a loop over Flask's test client."""

from http.client import responses
from typing import Any

from ..loops import Answered, looped
from ..measure import Checked
from ..work import Work


def prepare(app: Any, work: Work) -> Checked[bytes]:
    """The loop, over *app*, a Flask app."""
    client = app.test_client()

    def send(method: str, url: str) -> Answered:
        answer = client.open(url, method=method)
        return Answered(answer.status_code, responses[answer.status_code], [*answer.headers], answer.text)

    return looped(app, work, send)
