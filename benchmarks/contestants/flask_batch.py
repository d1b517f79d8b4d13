"""The same requests in one batch, through the route that Flask-Batch adds to a Flask app."""

from typing import Any

from ..measure import Checked
from ..posting import Answer, poster
from ..work import Work

PACKAGES = (
    "Flask-Batch==0.0.2",
    "Werkzeug-Raw==0.0.2",
    # The last one that makes an environ without the socket of a server, which Werkzeug-Raw has not.
    "Werkzeug==1.0.1",
    # The last one that does not insist on a Jinja2 that no MarkupSafe of today works with.
    "Flask==1.1.2",
    "Jinja2==3.0.3",
    "itsdangerous==2.0.1",
    "click==8.1.8",
    "MarkupSafe==3.0.2",
    "six==1.17.0",
)
"""Where it answers: with any later Werkzeug each batch is answered with 500."""


def prepare(app: Any, work: Work) -> Checked[Answer]:
    """One call of *app*, a Flask app, with a batch in multipart.

    :raises RuntimeError: when the batch or one of its items is not answered as it should be.
    """
    from flask_batch import add_batch_route

    add_batch_route(app)
    return poster(app, app, work)
