"""The site that real client libraries talk to: an app about people that knows nothing of batches, and the same behind the batch endpoints of clients.

Each factory makes an app for :func:`served`.
"""

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, jsonify, request, url_for

from tests.apps import IMAGE
from tests.servers import run
from wsgibatch import BatchMiddleware

EXECUTORS = ("threads", "sequential")


def people() -> Flask:
    """The app."""
    app = Flask(__name__)
    numbers = itertools.count(1)
    known: dict[int, dict[str, Any]] = {}

    @app.get("/hello/<name>")
    def hello(name: str) -> Response:
        return jsonify(hello=name, question=request.args.get("question"))

    @app.get("/people")
    def everybody() -> Response:
        return jsonify(value=list(known.values()))

    @app.post("/people")
    def add() -> tuple[Response, int, dict[str, str]]:
        number = next(numbers)
        known[number] = {**_said(), "id": number}
        return jsonify(known[number]), 201, {"Location": url_for("remove", number=number)}

    @app.patch("/people/<name>/", strict_slashes=False)
    def change(name: str) -> Response:
        return jsonify({**_said(), "name": name})

    @app.delete("/people/<int:number>")
    def remove(number: int) -> tuple[str, int]:
        known.pop(number, None)
        return "", 204

    @app.route("/missing", methods=["GET", "POST"])
    def missing() -> tuple[Response, int]:
        return jsonify(error={"code": "NotFound", "message": "nobody is here"}), 404

    @app.get("/bin")
    def image() -> Response:
        return Response(IMAGE, mimetype="image/png")

    @app.get("/text")
    def text() -> Response:
        return Response("grüße", mimetype="text/plain")

    return app


def _said() -> dict[str, Any]:
    """What a request says of a person, in JSON or in a form."""
    if not request.is_json:
        return request.form.to_dict()
    said = request.get_json()
    return said if isinstance(said, dict) else {"said": said}


def graph(executor: str) -> BatchMiddleware:
    """Batches as clients of Microsoft Graph post them, below the version of the API; they leave it in the urls of items, or take it off."""
    return BatchMiddleware(people(), path="/v1.0/$batch", strip_prefix="/v1.0", dialect="graph", executor=executor)


@contextlib.contextmanager
def served(factory: str, executor: str) -> Iterator[str]:
    """A gunicorn that serves what *factory* here makes with *executor*; gives its base url."""
    with run.gunicorn("--worker-class", "gthread", "--threads", "4", f"{__name__}:{factory}({executor!r})") as base:
        yield base
