"""The same requests in one batch, through the endpoint that Flask-Aggregator adds to a Flask app.

It calls views itself: neither the app's hooks nor its way from what a view returns to a response are part of that.
"""

from contextvars import copy_context
from typing import Any

from ..measure import Checked
from ..posting import Answer, poster
from ..work import Work

PACKAGES = ("Flask-Aggregator==0.2.0", "Flask==3.1.3", "Werkzeug==3.1.9")


def prepare(app: Any, work: Work) -> Checked[Answer]:
    """One call of *app*, a Flask app, with a list of routes.

    :raises RuntimeError: when the batch or one of its items is not answered as it should be.
    """
    from flask_aggregator import Aggregator

    Aggregator(app, work.target)
    # It leaves the context of each request behind, and threads of a server would fill with them; here they go with the context of the call.
    return poster(lambda environ, start_response: copy_context().run(app, environ, start_response), app, work)
