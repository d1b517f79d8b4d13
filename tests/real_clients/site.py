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
from wsgibatch.integrations.flask import add_batch_route

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

    @app.get("/me")
    def me() -> tuple[Response, int]:
        if request.authorization is None or request.authorization.token != "fresh":
            return jsonify(error={"code": 401, "message": "who are you?"}), 401
        return jsonify(name="zoe"), 200

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


def google(executor: str) -> BatchMiddleware:
    """Batches as clients of Google's APIs post them; without durations, since these clients fail at an answer that has no header at all."""
    return BatchMiddleware(people(), path="/batch", dialect="multipart", profile="google", durations=False, executor=executor)


def objects() -> Flask:
    """Another app: a store in which every object is there until it is deleted, but for those called missing."""
    app = Flask(__name__)
    gone: set[str] = set()
    known: dict[str, dict[str, Any]] = {}

    @app.route("/storage/v1/b/<bucket>/o/<path:name>", methods=["GET", "PATCH", "DELETE"])
    def of(bucket: str, name: str) -> tuple[Response | str, int]:
        if name in gone or name.startswith("missing"):
            return jsonify(error={"code": 404, "message": f"No such object: {bucket}/{name}"}), 404
        if request.method == "DELETE":
            gone.add(name)
            return "", 204
        said = known.setdefault(name, {"bucket": bucket, "name": name})
        if request.method == "PATCH":
            said.update(request.get_json())
        return jsonify(said), 200

    return app


def storage(executor: str) -> BatchMiddleware:
    """Batches as clients of Google's storage post them."""
    return BatchMiddleware(objects(), path="/batch/storage/v1", dialect="multipart", profile="google", executor=executor)


def facebook(executor: str) -> BatchMiddleware:
    """Batches as clients of the Graph API post them, at the version of the API and at the root."""
    app = people()

    @app.get("/token")
    def token() -> Response:
        return jsonify(token=request.args.get("access_token"))

    @app.post("/photos")
    def upload() -> Response:
        sent = {name: [file.filename, file.mimetype, file.read().hex()] for name, file in request.files.items()}
        return jsonify(fields=request.form, files=sent)

    return BatchMiddleware(app, path=("/v26.0", "/"), dialect="facebook", executor=executor)


def flask_batch(executor: str) -> Flask:
    """The app about people with the endpoint that Flask-Batch's users have."""
    app = people()
    app.config["WSGIBATCH"] = {"executor": executor}
    add_batch_route(app)
    return app


@contextlib.contextmanager
def served(factory: str, executor: str) -> Iterator[str]:
    """A gunicorn that serves what *factory* here makes with *executor*; gives its base url."""
    with run.gunicorn("--worker-class", "gthread", "--threads", "4", f"{__name__}:{factory}({executor!r})") as base:
        yield base
