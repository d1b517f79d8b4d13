"""A Flask app behind the batch route of Flask-Batch, for the Python of an environment of its own; see ``conftest.py``.

It imports nothing of ours, and answers JSON only, since that route loses all else.
"""

import sys
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from flask import Flask, jsonify, request
from flask_batch import add_batch_route

app = Flask(__name__)
add_batch_route(app)
posts = [0]


@app.before_request
def count() -> None:
    posts[0] += request.path == "/batch"


@app.route("/people/<name>/", methods=["GET", "PATCH", "DELETE"])
def person(name: str) -> Any:
    said = request.get_json(force=True) if request.method == "PATCH" else {}
    return jsonify({"name": name, **said, "authorization": request.headers.get("Authorization"), "method": request.method})


@app.route("/form", methods=["POST"])
def form() -> Any:
    return jsonify(request.form.to_dict()), 201


@app.route("/missing")
def missing() -> Any:
    return jsonify(error="nobody is here"), 404


@app.route("/posts")
def told() -> Any:
    return jsonify(posts=posts[0])


class _Quiet(WSGIRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Nobody reads a log."""


if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), app, handler_class=_Quiet).serve_forever()
