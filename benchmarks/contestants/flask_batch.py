"""The same requests in one batch, through the route that Flask-Batch adds to a Flask app."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

from ..work import Work, environ_of

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


def prepare(app: Any, work: Work) -> Callable[[], None]:
    """One call of *app*, a Flask app, with a batch in multipart.

    :raises RuntimeError: when the batch or one of its items is not answered with 200.
    """
    from flask_batch import add_batch_route

    add_batch_route(app)
    outer = environ_of("POST", "/batch", {"Content-Type": work.content_type}, work.batch)
    if (count := _send(app, outer, work.batch).count(b"HTTP/1.1 200 OK")) != len(work.paths):
        raise RuntimeError(f"Flask-Batch answered {count} of {len(work.paths)} requests with 200")

    def once() -> None:
        _send(app, outer, work.batch)

    return once


def _send(app: Any, outer: dict[str, Any], body: bytes) -> bytes:
    environ = outer.copy()
    environ["wsgi.input"] = BytesIO(body)
    answer = app(environ, _ignore)
    content = b"".join(answer)
    answer.close()
    return content


def _ignore(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
    pass
