"""The same requests in one batch, through the middleware."""

from typing import Any

from wsgibatch import BatchMiddleware

from ..measure import Checked
from ..posting import Answer, poster
from ..work import Work, WSGIApp


def prepare(app: WSGIApp, work: Work, **settings: Any) -> Checked[Answer]:
    """One call of the middleware, in settings that are the defaults but for *settings* and the number of items.

    :raises RuntimeError: when the batch or one of its items is not answered as it should be.
    """
    return poster(BatchMiddleware(app, path=work.target, max_requests=len(work.requests), **settings), app, work)
