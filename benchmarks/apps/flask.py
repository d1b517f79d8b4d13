"""Flask, as its quick start has it."""

import flask

label = "Flask"
app = flask.Flask(__name__)


@app.route("/items/<int:number>", methods=["GET", "POST"])
def item(number: int) -> dict[str, int]:
    return {"number": number}
