"""The same requests in a loop over WebOb's ``Request.blank(url).get_response(app)``."""

from ..loops import Answered, looped
from ..measure import Checked
from ..work import Work, WSGIApp


def prepare(app: WSGIApp, work: Work) -> Checked[bytes]:
    """The loop, over any app."""
    # It is imported with ours, which silences the warning that it is for.
    from webob import Request

    def send(method: str, url: str) -> Answered:
        answer = Request.blank(url, method=method).get_response(app)
        return Answered(answer.status_code, answer.status.partition(" ")[2], answer.headerlist, answer.text)

    return looped(app, work, send)
