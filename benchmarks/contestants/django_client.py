"""The same requests in a loop over Django's test client."""

from typing import Any

from ..loops import Answered, looped
from ..measure import Checked
from ..work import Work


def prepare(app: Any, work: Work) -> Checked[bytes]:
    """The loop, over *app*, the one of :mod:`benchmarks.apps.django`."""
    from django.test import Client

    client = Client(SERVER_NAME="shop.example")

    def send(method: str, url: str) -> Answered:
        answer = client.generic(method, url)
        return Answered(answer.status_code, answer.reason_phrase, [*answer.items()], answer.text)

    return looped(app, work, send)
