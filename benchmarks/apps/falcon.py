"""Falcon, with one resource."""

import falcon

label = "Falcon"


class Item:
    def on_get(self, request: falcon.Request, response: falcon.Response, number: int) -> None:
        response.media = {"number": number}

    on_post = on_get


app = falcon.App()
app.add_route("/items/{number:int}", Item())
