"""Batches for the other frameworks: the middleware around the app, and nothing else.

Each framework has one entry in ``FRAMEWORKS``: a function that makes the same small app of it. ``GET /json/<name>?q=...`` answers with what the
framework makes of the request, ``GET /text`` with text, ``POST /echo`` with the object that it was sent, and ``GET /meet/<name>`` calls *meet*
before it looks at its request.
"""

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

import bottle
import falcon
import pytest
from a2wsgi import ASGIMiddleware
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from pyramid.config import Configurator
from webtest import TestApp

from wsgibatch import BatchMiddleware

TEXT = 'grüße, "Zoe"'

Meet = Callable[[], object]
WSGIApp = Callable[..., Iterable[bytes]]


def pyramid_app(meet: Meet) -> WSGIApp:
    def view(request: Any) -> dict[str, Any]:
        return {"name": request.matchdict["name"], "q": request.params.get("q"), "auth": request.headers.get("Authorization")}

    def met(request: Any) -> dict[str, Any]:
        meet()
        return {"name": request.matchdict["name"]}

    def text(request: Any) -> Any:
        request.response.text, request.response.content_type = TEXT, "text/plain"
        return request.response

    def echo(request: Any) -> dict[str, Any]:
        request.response.status = 201
        return {"got": request.json_body}

    with Configurator() as config:
        routes = [("json", "/json/{name}", view), ("meet", "/meet/{name}", met), ("echo", "/echo", echo)]
        for name, path, answer in routes:
            config.add_route(name, path)
            config.add_view(answer, route_name=name, renderer="json")
        config.add_route("text", "/text")
        config.add_view(text, route_name="text")
    app: WSGIApp = config.make_wsgi_app()
    return app


def falcon_app(meet: Meet) -> WSGIApp:
    class View:
        def on_get(self, request: falcon.Request, response: falcon.Response, name: str) -> None:
            response.media = {"name": name, "q": request.get_param("q"), "auth": request.auth}

    class Met:
        def on_get(self, request: falcon.Request, response: falcon.Response, name: str) -> None:
            meet()
            response.media = {"name": request.path.rpartition("/")[2]}

    class Text:
        def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
            response.text, response.content_type = TEXT, falcon.MEDIA_TEXT

    class Echo:
        def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
            response.status, response.media = falcon.HTTP_CREATED, {"got": request.media}

    app = falcon.App()
    app.add_route("/json/{name}", View())
    app.add_route("/meet/{name}", Met())
    app.add_route("/text", Text())
    app.add_route("/echo", Echo())
    return app


def bottle_app(meet: Meet) -> Any:
    app: Any = bottle.Bottle()

    @app.get("/json/<name>")
    def view(name: str) -> dict[str, Any]:
        return {"name": name, "q": bottle.request.query.getunicode("q"), "auth": bottle.request.get_header("Authorization")}

    @app.get("/meet/<name>")
    def met(name: str) -> dict[str, Any]:
        meet()
        return {"name": bottle.request.path.rpartition("/")[2]}

    @app.get("/text")
    def text() -> str:
        bottle.response.content_type = "text/plain; charset=utf-8"
        return TEXT

    @app.post("/echo")
    def echo() -> dict[str, Any]:
        bottle.response.status = 201
        return {"got": bottle.request.json}

    return app


def plain_app(meet: Meet) -> WSGIApp:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].encode("latin-1").decode()
        status, kind, name = "200 OK", "application/json", path.rpartition("/")[2]
        answer: Any = {"name": name}
        if path.startswith("/meet/"):
            meet()
        elif path.startswith("/json/"):
            answer |= {"q": environ["QUERY_STRING"].removeprefix("q=") or None, "auth": environ.get("HTTP_AUTHORIZATION")}
        elif (method, path) == ("GET", "/text"):
            kind, answer = "text/plain; charset=utf-8", TEXT
        elif (method, path) == ("POST", "/echo"):
            status, answer = "201 Created", {"got": json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))}
        else:
            status = "404 Not Found"
        body = answer if isinstance(answer, str) else json.dumps(answer)
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body.encode())))])
        return [body.encode()]

    return app


def fastapi_app(meet: Meet) -> WSGIApp:
    app = FastAPI()

    @app.get("/json/{name}")
    async def view(name: str, request: Request, q: str | None = None) -> dict[str, Any]:
        return {"name": name, "q": q, "auth": request.headers.get("Authorization")}

    # No coroutine: it waits in a thread of its own, not in the event loop that all items share.
    @app.get("/meet/{name}")
    def met(request: Request) -> dict[str, Any]:
        meet()
        return {"name": request.path_params["name"]}

    @app.get("/text", response_class=PlainTextResponse)
    async def text() -> str:
        return TEXT

    @app.post("/echo", status_code=201)
    async def echo(body: dict[str, Any]) -> dict[str, Any]:
        return {"got": body}

    return ASGIMiddleware(app)  # type: ignore[arg-type]  # The two describe ASGI in types of their own.


FRAMEWORKS = {"pyramid": pyramid_app, "falcon": falcon_app, "bottle": bottle_app, "plain": plain_app, "fastapi": fastapi_app}

ITEMS: list[dict[str, Any]] = [
    {"method": "GET", "url": "/json/zo%C3%AB?q=1"},
    {"method": "GET", "url": "/text", "headers": {"Accept": "text/plain"}},
    {"method": "POST", "url": "/echo", "headers": {"Content-Type": "application/json"}, "body": '{"price": 3, "for": "Zoë"}'},
    {"method": "GET", "url": "/nowhere"},
    {"method": "GET", "url": "/json/bob", "headers": {"Authorization": "Bearer own"}},
]


@pytest.fixture(params=FRAMEWORKS)
def make(request: pytest.FixtureRequest) -> Callable[[Meet], WSGIApp]:
    return FRAMEWORKS[request.param]


@pytest.fixture(params=["sequential", "threads"])
def client(make: Callable[[Meet], WSGIApp], request: pytest.FixtureRequest) -> Iterable[TestApp]:
    middleware = BatchMiddleware(make(lambda: None), executor=request.param, workers=4)
    yield TestApp(middleware)
    middleware.close()


def test_a_batch_is_answered(client: TestApp) -> None:
    answers = client.post_json("/batch", ITEMS, headers={"Authorization": "Bearer outer"}).json
    assert [answer["status_code"] for answer in answers] == [200, 200, 201, 404, 200]
    assert json.loads(answers[0]["body"]) == {"name": "zoë", "q": "1", "auth": "Bearer outer"}
    assert answers[1]["body"] == TEXT
    assert json.loads(answers[2]["body"]) == {"got": {"price": 3, "for": "Zoë"}}
    assert json.loads(answers[4]["body"]) == {"name": "bob", "q": None, "auth": "Bearer own"}


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item["url"])
def test_an_item_is_answered_as_a_direct_request(client: TestApp, item: dict[str, Any]) -> None:
    direct = client.request(item["url"], method=item["method"], headers=item.get("headers"), body=item.get("body", "").encode(), status="*")
    [answer] = client.post_json("/batch", [item]).json
    del answer["headers"]["batch_requests.duration"]
    assert (answer["status_code"], answer["reason_phrase"]) == (direct.status_int, direct.status.partition(" ")[2])
    assert answer["body"] == direct.body.decode()
    assert answer["headers"] == dict(direct.headers)


def test_an_aggregate_is_answered(client: TestApp) -> None:
    values = client.post_json("/batch", ["/json/a?q=1", "/text"]).json
    assert values == {"/json/a?q=1": {"name": "a", "q": "1", "auth": None}, "/text": TEXT}


def test_what_is_no_batch_reaches_the_app(client: TestApp) -> None:
    assert client.get("/text").text == TEXT
    assert client.post_json("/echo", {"a": 1}, status=201).json == {"got": {"a": 1}}


def test_items_that_run_at_the_same_time_keep_their_own_request(make: Callable[[Meet], WSGIApp]) -> None:
    together = threading.Barrier(4)
    middleware = BatchMiddleware(make(lambda: together.wait(10)), executor="threads", workers=4)
    answers = TestApp(middleware).post_json("/batch", [f"/meet/{name}" for name in "abcd"]).json
    middleware.close()
    assert answers == {f"/meet/{name}": {"name": name} for name in "abcd"}
