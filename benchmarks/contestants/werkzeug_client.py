"""The same requests in a loop over werkzeug's test client."""

from http.client import responses

from werkzeug.test import Client

from ..loops import Answered, looped
from ..measure import Checked
from ..work import Work, WSGIApp


def prepare(app: WSGIApp, work: Work) -> Checked[bytes]:
    """The loop, over any app."""
    client = Client(app)

    def send(method: str, url: str) -> Answered:
        answer = client.open(url, method=method)
        return Answered(answer.status_code, responses[answer.status_code], [*answer.headers], answer.text)

    return looped(app, work, send)
