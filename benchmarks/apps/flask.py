"""Flask, as its quick start has it."""

import time

import flask

from . import TEXT, WAIT

label = "Flask"
app = flask.Flask(__name__)


@app.route("/items/<int:number>", methods=["GET", "POST"])
def item(number: int) -> dict[str, int]:
    return {"number": number}


@app.route("/texts/<int:number>")
def text(number: int) -> str:
    return TEXT


@app.route("/waits/<int:number>")
def waits(number: int) -> dict[str, int]:
    time.sleep(WAIT)
    return {"number": number}
