"""Bottle, with an app object and no plugins but its own."""

import bottle

label = "Bottle"
app = bottle.Bottle()


@app.route("/items/<number:int>", method=["GET", "POST"])
def item(number: int) -> dict[str, int]:
    return {"number": number}
