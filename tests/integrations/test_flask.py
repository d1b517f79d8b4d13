"""Batches for Flask apps: every item is to the app what a direct request is."""

import json
import logging
import os
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from io import BytesIO
from pathlib import Path
from typing import Any

import flask
import pytest
from flask import Flask, g, jsonify, request, session, url_for
from flask.testing import FlaskClient
from webtest import TestApp
from werkzeug.debug import DebuggedApplication
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import TestResponse

from tests.servers.run import free_port, running
from wsgibatch import BatchMiddleware, ConfigError
from wsgibatch.integrations.flask import Aggregator, Batch, add_batch_route

Item = dict[str, Any]

FORWARDED = {"X-Forwarded-Prefix": "/shop", "X-Forwarded-Host": "shop.example", "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}

APP = """\
from flask import Flask
from wsgibatch.integrations.flask import Batch

app = Flask(__name__)
Batch(app)

@app.get("/hello/<name>")
def hello(name):
    return {"hello": name}
"""


@pytest.fixture(params=["sequential", "threads"])
def app(request: pytest.FixtureRequest) -> Iterator[Flask]:
    """An app with a batch endpoint, under each executor; a test adds its views."""
    app = Flask("shop", static_folder=None)
    app.secret_key = "only for tests"
    app.config["WSGIBATCH"] = {"executor": request.param, "workers": 4}
    Batch(app)
    app.add_url_rule("/hello/<name>", "hello", lambda name: {"hello": name})
    app.add_url_rule("/seen/<path:name>", "seen", seen)
    yield app
    for middleware in app.extensions["wsgibatch"].values():
        middleware.close()


def seen(name: str) -> flask.Response:
    """All that a view may learn of where it was asked."""
    told = ["url", "base_url", "url_root", "root_url", "host_url", "root_path", "path", "full_path", "host", "scheme", "method", "endpoint"]
    view = {attribute: getattr(request, attribute) for attribute in [*told, "remote_addr", "is_secure", "query_string", "script_root"]}
    view["query_string"] = view["query_string"].decode()
    links = [url_for("seen", name=name), url_for("seen", name=name, x="ü", _external=True)]
    return jsonify(view, name, request.args.to_dict(flat=False), links)


def serve(app: Flask, path: str, view: Callable[..., Any], *methods: str) -> None:
    app.add_url_rule(path, path, view, methods=methods or ("GET",))


def get(url: str, **headers: str) -> Item:
    return {"method": "GET", "url": url, "headers": headers}


def send(method: str, url: str, body: Any = "", content_type: str = "application/json") -> Item:
    return {"method": method, "url": url, "body": body, "headers": {"Content-Type": content_type}}


def post(client: Flask | FlaskClient, *items: Item, path: str = "/batch", **options: Any) -> list[Item]:
    """The answers to *items* in the dialect ``django``, their bodies read where they are JSON."""
    client = client.test_client() if isinstance(client, Flask) else client
    answer = client.post(path, json=list(items), **options)
    assert answer.status_code == 200, answer.text
    answers: list[Item] = answer.get_json()
    for item in answers:
        if item["body"] and item["headers"].get("Content-Type") in ("application/json", "application/problem+json"):
            item["body"] = json.loads(item["body"])
    return answers


def bodies(answers: list[Item]) -> list[Any]:
    return [answer["body"] for answer in answers]


def test_a_flask_app_answers_a_batch(app: Flask) -> None:
    answers = post(app, get("/hello/bob"), get("/nowhere"), get("/hello/zoe"))
    assert [(answer["status_code"], answer["reason_phrase"]) for answer in answers] == [(200, "OK"), (404, "NOT FOUND"), (200, "OK")]
    assert answers[0]["body"] == {"hello": "bob"}
    assert answers[2]["body"] == {"hello": "zoe"}


@pytest.mark.parametrize("executor", ["sequential", "threads"])
@pytest.mark.parametrize("size", [10, 3 << 20], ids=["small", "larger than Werkzeug holds in memory"])
def test_a_photo_inside_a_batch_arrives_in_request_files_byte_for_byte(executor: str, size: int) -> None:
    arrived: dict[str, bytes] = {}

    def photos() -> tuple[Item, int]:
        files = {name: (file.filename, file.content_type) for name, file in request.files.items()}
        arrived.update({name: file.read() for name, file in request.files.items()})
        return {"fields": request.form, "files": files}, 201

    app = Flask("shop")
    serve(app, "/photos", photos, "POST")
    Batch(app, dialect="django", executor=executor)
    photo, other = os.urandom(size), bytes(range(256))
    items = [send("POST", "/photos", {"title": "Zoë & Bob"}) | {"attached_files": {"photo": "first"}}, get("/photos")]
    items += [{"method": "POST", "url": "/photos", "attached_files": ["second"]}]
    files = [("first", "zoë.png", photo), ("second", "b.bin", other)]

    answers = TestApp(app).post("/batch", {"batch": json.dumps(items)}, upload_files=files).json

    app.extensions["wsgibatch"]["/batch"].close()
    assert [answer["status_code"] for answer in answers] == [201, 405, 201]
    assert json.loads(answers[0]["body"]) == {"fields": {"title": "Zoë & Bob"}, "files": {"photo": ["zoë.png", "image/png"]}}
    assert arrived == {"photo": photo, "second": other}


def test_an_answer_is_correct_wsgi(app: Flask) -> None:
    answer = TestApp(app).post_json("/batch", [get("/hello/bob"), send("POST", "/hello/bob")])
    assert [item["status_code"] for item in answer.json] == [200, 405]


def test_a_request_that_is_no_batch_reaches_the_app(app: Flask) -> None:
    @app.get("/batch")
    def page() -> str:
        return "post here"

    assert app.test_client().get("/batch").text == "post here"
    assert app.test_client().get("/hello/bob").json == {"hello": "bob"}


def test_the_development_server_answers_batches(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP)
    port = free_port()
    with running([sys.executable, "-m", "flask", "--app", "shop", "run", "--port", str(port)], port, tmp_path) as base:
        batch = urllib.request.Request(f"{base}/batch", b'[{"method": "GET", "url": "/hello/bob"}]', {"Content-Type": "application/json"})
        with urllib.request.urlopen(batch, timeout=10) as answer:
            assert json.loads(json.load(answer)[0]["body"]) == {"hello": "bob"}


def test_keywords_stand_before_the_configuration() -> None:
    app = Flask("shop")
    app.config["WSGIBATCH"] = {"path": "/configured", "max_requests": 1}
    Batch(app, path="/given")
    assert post(app, get("/"), path="/given")[0]["status_code"] == 404
    assert app.test_client().post("/given", json=[get("/"), get("/")]).status_code == 413
    assert app.test_client().post("/configured", json=[get("/")]).status_code == 404


def test_settings_can_come_from_flask_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_WSGIBATCH__max_requests", "1")
    monkeypatch.setenv("SHOP_WSGIBATCH__path", "/several")
    app = Flask("shop")
    app.config.from_prefixed_env("SHOP")
    Batch(app)
    assert app.test_client().post("/several", json=[get("/"), get("/")]).get_json()["limit"] == 1


def test_one_batch_object_serves_several_apps() -> None:
    batch, first, second = Batch(max_requests=3), Flask("first"), Flask("second")
    batch.init_app(first)
    batch.init_app(second)
    assert [len(post(app, get("/"))) for app in (first, second)] == [1, 1]


def test_the_middleware_is_found_among_the_extensions() -> None:
    app = Flask("shop")
    Batch(app, path=("/batch", "/several/"))
    assert app.extensions["wsgibatch"] == {"/batch": app.wsgi_app, "/several": app.wsgi_app}
    assert isinstance(app.extensions["wsgibatch"]["/batch"], BatchMiddleware)


def test_every_endpoint_of_an_app_is_remembered() -> None:
    app = Flask("shop")
    Batch(app)
    inner = app.wsgi_app
    Aggregator(app)
    assert app.extensions["wsgibatch"] == {"/batch": inner, "/aggregate": app.wsgi_app}


@pytest.mark.parametrize("path", ["/batch", "/batch/", ("/other", "/batch")])
def test_a_path_that_answers_batches_already_is_refused(path: str | tuple[str, ...]) -> None:
    app = Flask("shop")
    Batch(app)
    before = app.wsgi_app
    with pytest.raises(ConfigError, match="path: shop answers batches at '/batch' already"):
        Batch(app, path=path)
    assert app.wsgi_app is before
    assert list(app.extensions["wsgibatch"]) == ["/batch"]


@pytest.mark.parametrize(
    ("configured", "said"),
    [({"max_request": 3}, "did you mean 'max_requests'"), ({"workers": 0}, "^workers: "), ("/batch", "a dict of settings is wanted, not '/batch'")],
)
def test_a_wrong_configuration_is_refused_at_once(configured: Any, said: str) -> None:
    app = Flask("shop")
    app.config["WSGIBATCH"] = configured
    with pytest.raises(ConfigError, match=said):
        Batch(app)
    assert not app.extensions


def test_before_after_and_teardown_run_for_every_item(app: Flask) -> None:
    events: dict[str, list[str]] = {"/hello/a": [], "/hello/b": [], "/nowhere": []}
    app.before_request(lambda: events[request.path].append("before"))

    @app.after_request
    def after(response: flask.Response) -> flask.Response:
        events[request.path].append("after")
        response.headers["X-After"] = request.path
        return response

    app.teardown_request(lambda error: events[request.path].append("teardown"))
    answers = post(app, *map(get, events))
    assert events == {path: ["before", "after", "teardown"] for path in events}
    assert [answer["headers"]["X-After"] for answer in answers] == list(events)


def test_before_request_can_answer_for_an_item(app: Flask) -> None:
    app.before_request(lambda: None if request.authorization else ("log in first", 401))
    answers = post(app, get("/hello/bob"), get("/hello/bob", Authorization="Bearer t"))
    assert [answer["status_code"] for answer in answers] == [401, 200]


def test_error_handlers_answer_for_an_item(app: Flask) -> None:
    app.register_error_handler(404, lambda error: ({"missing": request.path}, 404))
    app.register_error_handler(ValueError, lambda error: ({"wrong": str(error)}, 422))
    serve(app, "/price", lambda: {"price": int(request.args["of"])})
    answers = post(app, get("/nowhere"), get("/price?of=tea"), get("/price?of=3"), get("/price"))
    assert [answer["status_code"] for answer in answers] == [404, 422, 200, 400]
    assert bodies(answers)[0] == {"missing": "/nowhere"}
    assert bodies(answers)[1] == {"wrong": "invalid literal for int() with base 10: 'tea'"}


@pytest.mark.parametrize("config", [{"TESTING": True}, {"DEBUG": True}, {"PROPAGATE_EXCEPTIONS": True}, {}])
def test_an_exception_in_a_view_is_a_500_that_says_nothing_of_it(app: Flask, config: dict[str, bool], caplog: pytest.LogCaptureFixture) -> None:
    app.config.update(config)

    @app.get("/raise")
    def fail() -> str:
        raise RuntimeError("a secret that must not get out")

    with caplog.at_level(logging.ERROR):
        answer = app.test_client().post("/batch", json=[get("/raise"), get("/hello/bob")])
    failed, well = answer.get_json()
    assert (failed["status_code"], well["status_code"]) == (500, 200)
    assert not any(word in answer.text for word in ("secret", "RuntimeError", "Traceback", "test_flask"))
    # Flask answers with its own page, or lets the exception through to be answered for.
    assert ("<h1>Internal Server Error</h1>" in failed["body"]) is (not config)
    assert ('"code":"app-failed"' in failed["body"]) is bool(config)
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["a secret that must not get out"]


def test_teardown_sees_the_exception_of_its_own_item(app: Flask) -> None:
    app.testing = True
    told: dict[str, str] = {}

    @app.get("/raise")
    def fail() -> str:
        raise RuntimeError("mine")

    app.teardown_request(lambda error: told.update({request.path: repr(error)}))
    post(app, get("/hello/a"), get("/raise"), get("/hello/b"))
    assert told == {"/hello/a": "None", "/raise": "RuntimeError('mine')", "/hello/b": "None"}


def test_a_debugger_around_the_app_shows_nothing_of_a_failed_item(app: Flask) -> None:
    app.testing = True
    serve(app, "/raise", lambda: 1 // 0)
    answer = TestApp(DebuggedApplication(app, evalex=True)).post_json("/batch", [get("/raise")])
    assert answer.json[0]["status_code"] == 500
    assert "ZeroDivisionError" not in answer.text


@pytest.mark.parametrize(
    "target",
    [
        "/seen/a",
        "/seen/a?",
        "/seen/a?x=1&x=2&y=%C3%BC&z=a+b%26c",
        "/seen/gr%C3%BC%C3%9Fe/%E6%97%A5%E6%9C%AC",
        "/seen/a%20b%2Fc%3Fd%23e%25f",
        "/seen/a;v=1,(2)/b@c:d",
        "/seen/%ff%fe",
        "/seen/a//b/",
    ],
)
def test_an_item_sees_what_a_direct_request_sees(app: Flask, target: str) -> None:
    direct = app.test_client().get(target, headers={"Host": "shop.example:8080"})
    [answer] = post(app, get(target), headers={"Host": "shop.example:8080"})
    assert (answer["status_code"], answer["body"]) == (200, direct.get_json())


def test_an_absolute_url_of_this_host_sees_what_a_direct_request_sees(app: Flask) -> None:
    [answer] = post(app, get("http://localhost/seen/a?x=1"))
    assert answer["body"] == app.test_client().get("/seen/a?x=1").get_json()


def test_url_converters_choose_as_for_a_direct_request(app: Flask) -> None:
    app.add_url_rule("/n/<int:number>", "number", lambda number: {"int": number})
    app.add_url_rule("/n/<float(signed=True):number>", "signed", lambda number: {"float": number})
    app.add_url_rule("/n/<any(größe, farbe):word>", "word", lambda word: {"any": word})
    answers = post(app, get("/n/7"), get("/n/-1.5"), get("/n/gr%C3%B6%C3%9Fe"), get("/n/seven"))
    assert bodies(answers)[:3] == [{"int": 7}, {"float": -1.5}, {"any": "größe"}]
    assert answers[3]["status_code"] == 404


def test_json_reaches_a_view_as_an_object_and_as_a_string(app: Flask) -> None:
    serve(app, "/echo", lambda: {"got": request.json}, "POST")
    answers = post(app, send("POST", "/echo", {"a": ["ü", 1]}), send("POST", "/echo", '{"a": null}'), send("POST", "/echo", "{"))
    assert bodies(answers)[:2] == [{"got": {"a": ["ü", 1]}}, {"got": {"a": None}}]
    assert answers[2]["status_code"] == 400


def test_a_form_reaches_a_view(app: Flask) -> None:
    serve(app, "/form", lambda: request.form.to_dict(flat=False), "POST")
    parts = '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nü\r\n--b--\r\n'
    encoded = send("POST", "/form", "a=1&a=%C3%BC", "application/x-www-form-urlencoded")
    assert bodies(post(app, encoded, send("POST", "/form", parts, "multipart/form-data; boundary=b"))) == [{"a": ["1", "ü"]}] * 2


def test_a_body_that_no_view_reads_does_no_harm_to_the_next_item(app: Flask) -> None:
    serve(app, "/ignore", lambda: ("", 204), "PUT")
    serve(app, "/echo", lambda: request.get_data(), "PUT")
    answers = post(app, send("PUT", "/ignore", "unread", "text/plain"), send("PUT", "/echo", "read", "text/plain"))
    assert bodies(answers) == ["", "read"]


def test_items_have_the_authorization_of_the_batch_or_their_own(app: Flask) -> None:
    serve(app, "/me", lambda: request.authorization.username if request.authorization else "nobody")
    items = get("/me"), get("/me", Authorization="Basic Ym9iOnB3")
    assert bodies(post(app, *items, auth=("zoe", "pw"))) == ["zoe", "bob"]
    assert bodies(post(app, *items)) == ["nobody", "bob"]


def test_items_have_the_session_of_the_batch(app: Flask) -> None:
    serve(app, "/login", lambda: session.update(user="zoe") or "welcome", "POST")
    serve(app, "/me", lambda: session.get("user", "nobody"))
    client = app.test_client()
    assert bodies(post(client, get("/me"))) == ["nobody"]
    client.post("/login")
    assert bodies(post(client, get("/me"), get("/me", Cookie="session=forged"))) == ["zoe", "zoe"]


def test_a_session_that_an_item_begins_is_in_its_own_answer_only(app: Flask) -> None:
    serve(app, "/login", lambda: session.update(user="zoe") or "welcome", "POST")
    serve(app, "/me", lambda: session.get("user", "nobody"))
    client = app.test_client()
    answers = post(client, send("POST", "/login"), get("/me"))
    assert answers[0]["headers"]["Set-Cookie"].startswith("session=")
    assert answers[1]["body"] == "nobody"
    assert client.get_cookie("session") is None


def test_every_cookie_that_an_item_sets_is_kept(app: Flask) -> None:
    @app.get("/cookies")
    def cookies() -> flask.Response:
        response = flask.make_response("")
        response.set_cookie("a", "1", httponly=True)
        response.set_cookie("b", "2", expires=0)
        return response

    [answer] = post(app, get("/cookies"))
    assert answer["headers"]["Set-Cookie"] == ["a=1; HttpOnly; Path=/", "b=2; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/"]


def test_a_redirect_is_not_followed(app: Flask) -> None:
    serve(app, "/old", lambda: flask.redirect(url_for("hello", name="bob")), "GET", "POST")
    serve(app, "/folder/", lambda: "in the folder")
    answers = post(app, get("/old"), send("POST", "/old"), get("/folder"))
    assert [answer["status_code"] for answer in answers] == [302, 302, 308]
    assert [answer["headers"]["Location"] for answer in answers] == ["/hello/bob", "/hello/bob", "http://localhost/folder/"]


def test_a_streamed_answer_is_whole_and_its_context_ends_as_for_a_direct_request(app: Flask) -> None:
    events: list[str] = []

    @app.get("/stream")
    def stream() -> flask.Response:
        def chunks() -> Iterator[str]:
            try:
                yield from (f"{number} of {request.args['of']}\n" for number in range(3))
            finally:
                events.append("exhausted")

        response = flask.Response(flask.stream_with_context(chunks()), mimetype="text/plain")
        response.call_on_close(lambda: events.append("closed"))
        return response

    app.teardown_request(lambda error: events.append("teardown"))
    assert bodies(post(app, get("/stream?of=3"))) == ["0 of 3\n1 of 3\n2 of 3\n"]
    in_batch = events.copy()
    events.clear()
    direct = app.test_client().get("/stream?of=3")
    assert direct.text == "0 of 3\n1 of 3\n2 of 3\n"
    direct.close()
    assert in_batch == events
    assert in_batch[-1] == "closed"


def test_an_exception_in_a_stream_spoils_its_own_item_only(app: Flask) -> None:
    @app.get("/stream")
    def stream() -> flask.Response:
        return flask.Response(str(1 // (2 - number)) for number in range(3))

    assert [answer["status_code"] for answer in post(app, get("/stream"), get("/hello/bob"))] == [500, 200]


def test_a_sent_file_is_in_the_answer(app: Flask) -> None:
    serve(app, "/file", lambda: flask.send_file(BytesIO(b"\x89PNG\xff"), mimetype="image/png"))
    [answer] = post(app, get("/file"))
    assert (answer["body"], answer["body_encoding"], answer["headers"]["Content-Type"]) == ("iVBOR/8=", "base64", "image/png")


def test_head_and_options_are_answered_as_directly(app: Flask) -> None:
    head, options = post(app, {"method": "HEAD", "url": "/hello/bob"}, {"method": "OPTIONS", "url": "/hello/bob"})
    assert (head["status_code"], head["body"], head["headers"]["Content-Length"]) == (200, "", "16")
    assert options["headers"]["Allow"] == app.test_client().options("/hello/bob").headers["Allow"]


def mounted(app: Flask, path: str) -> Any:
    return TestApp(DispatcherMiddleware(NotFound(), {path: app}))


def test_the_items_of_a_mounted_app_see_what_a_direct_request_sees(app: Flask) -> None:
    client = mounted(app, "/größe".encode().decode("latin-1"))
    for target in ("/gr%C3%B6%C3%9Fe/seen/a%20b?x=1", "http://localhost:80/gr%C3%B6%C3%9Fe/seen/a"):
        answer = client.post_json("/gr%C3%B6%C3%9Fe/batch", [get(target)]).json[0]
        assert json.loads(answer["body"]) == client.get(target).json


def test_the_items_of_a_mounted_app_stay_below_its_mount(app: Flask) -> None:
    answers = mounted(app, "/shop").post_json("/shop/batch", [get("/hello/bob"), get("/shopping/hello/bob"), get("hello/bob")]).json
    assert [answer["status_code"] for answer in answers] == [404, 404, 200]


def test_behind_a_proxy_fix_items_see_what_a_direct_request_sees(app: Flask) -> None:
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)  # type: ignore[method-assign]
    client = app.test_client()
    [answer] = post(client, get("/shop/seen/a?x=1"), headers=FORWARDED)
    assert answer["body"][0]["url"] == "https://shop.example/shop/seen/a?x=1"
    assert answer["body"] == client.get("/seen/a?x=1", headers=FORWARDED).get_json()


def test_an_item_cannot_tell_a_proxy_fix_who_it_is() -> None:
    app = Flask("shop", static_folder=None)
    app.add_url_rule("/seen/<path:name>", "seen", seen)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)  # type: ignore[method-assign]
    Batch(app)
    forged, plain = bodies(post(app, get("/seen/a", **FORWARDED), get("/seen/a")))
    assert forged == plain


def test_strip_prefix_takes_off_what_a_proxy_takes_off() -> None:
    app = Flask("shop", static_folder=None)
    app.add_url_rule("/seen/<path:name>", "seen", seen)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)  # type: ignore[method-assign]
    Batch(app, strip_prefix="/shop")
    client = app.test_client()
    stripped, short = bodies(post(client, get("/shop/seen/a?x=1"), get("/seen/a?x=1"), headers=FORWARDED))
    assert stripped == short == client.get("/seen/a?x=1", headers=FORWARDED).get_json()


def test_two_endpoints_of_one_app_have_their_own_settings(app: Flask) -> None:
    Aggregator(app)
    Batch(app, path="/one", max_requests=1)
    assert len(post(app, get("/hello/a"), get("/hello/b"))) == 2
    assert app.test_client().post("/one", json=[get("/hello/a"), get("/hello/b")]).status_code == 413
    assert app.test_client().post("/aggregate", json=["/hello/a"]).get_json() == {"/hello/a": {"hello": "a"}}


@pytest.mark.parametrize(
    ("outer", "inner", "status"),
    [
        # Batches at /other stand before those at /batch: an item of theirs meets these, the other way round it meets no endpoint at all.
        ("/other", "/batch", 400),
        ("/batch", "/other", 404),
        ("/batch", "/batch", 400),
        ("/other", "/OTHER/", 400),
    ],
)
def test_a_batch_inside_a_batch_runs_nothing(app: Flask, outer: str, inner: str, status: int) -> None:
    Batch(app, path="/other")
    ran: list[str] = []
    app.before_request(lambda: ran.append(request.path))
    [answer] = post(app, send("POST", inner, json.dumps([get("/hello/bob")])), path=outer)
    assert answer["status_code"] == status
    assert "/hello/bob" not in ran


def test_items_that_run_at_the_same_time_share_neither_g_nor_context() -> None:
    app, meet, variable = Flask("shop"), threading.Barrier(4), ContextVar[str]("variable")
    variable.set("the caller's")
    Batch(app, executor="threads", workers=4)

    @app.get("/meet/<name>")
    def at(name: str) -> list[Any]:
        before = [hasattr(g, "name"), variable.get("unset")]
        g.name = name
        variable.set(name)
        # Only when all four are inside do they look.
        meet.wait(10)
        return [*before, g.name, variable.get(), request.path]

    answers = bodies(post(app, *(get(f"/meet/{name}") for name in "abcd")))
    app.extensions["wsgibatch"]["/batch"].close()
    assert answers == [[False, "the caller's", name, name, f"/meet/{name}"] for name in "abcd"]
    assert variable.get() == "the caller's"


def aggregate(app: Flask, *routes: str, **options: Any) -> dict[str, Any]:
    answer = app.test_client().post("/aggregate", json=list(routes), **options)
    assert answer.status_code == 200, answer.text
    values: dict[str, Any] = answer.get_json()
    return values


def test_the_aggregator_answers_each_route_under_its_own_name(app: Flask) -> None:
    Aggregator(app)
    serve(app, "/text", lambda: 'grüße, "Zoe"')
    serve(app, "/ask", lambda: {"asked": request.args["question"]})
    values = aggregate(app, "/ask?question=%22why%22", "/hello/bob", "/text", '/hello/"')
    assert list(values) == ["/ask?question=%22why%22", "/hello/bob", "/text", '/hello/"']
    assert list(values.values())[:3] == [{"asked": '"why"'}, {"hello": "bob"}, 'grüße, "Zoe"']


def test_the_aggregator_takes_any_endpoint(app: Flask) -> None:
    Aggregator(app=app, endpoint="/one")
    aggregator = Aggregator(endpoint="/two")
    aggregator.init_app(app)
    aggregator.init_app(app, "/three")
    for path in ("/one", "/two", "/three"):
        assert app.test_client().post(path, json=["/hello/bob"]).get_json() == {"/hello/bob": {"hello": "bob"}}


def test_the_aggregator_asks_for_no_content_type(app: Flask) -> None:
    Aggregator(app)
    answer = app.test_client().post("/aggregate", data='["/hello/bob"]', content_type="application/x-www-form-urlencoded")
    assert answer.get_json() == {"/hello/bob": {"hello": "bob"}}


def test_before_request_guards_every_route_of_an_aggregate(app: Flask) -> None:
    Aggregator(app)
    asked: list[str] = []

    @app.before_request
    def guard() -> tuple[dict[str, str], int] | None:
        asked.append(request.path)
        return None if request.headers.get("X-Key") == "right" else ({"error": "no key"}, 401)

    assert aggregate(app, "/hello/a", "/hello/b") == {"/hello/a": {"error": "no key"}, "/hello/b": {"error": "no key"}}
    assert sorted(asked) == ["/hello/a", "/hello/b"]
    assert aggregate(app, "/hello/a", headers={"X-Key": "right"}) == {"/hello/a": {"hello": "a"}}


def test_a_route_that_fails_does_not_spoil_an_aggregate(app: Flask) -> None:
    app.testing = True
    Aggregator(app)
    serve(app, "/raise", lambda: 1 // 0)
    values = aggregate(app, "/raise", "/hello/bob")
    assert values["/raise"]["status"] == 500
    assert values["/hello/bob"] == {"hello": "bob"}


def test_a_routes_context_is_gone_once_it_is_answered(app: Flask) -> None:
    Aggregator(app)
    ended: list[str] = []
    app.teardown_request(lambda error: ended.append(request.path))
    aggregate(app, "/hello/a", "/hello/b")
    assert sorted(ended) == ["/hello/a", "/hello/b"]
    assert not flask.has_request_context()


def test_an_aggregate_is_limited_as_the_configuration_says(app: Flask) -> None:
    app.config["WSGIBATCH"]["max_requests"] = 2
    Aggregator(app)
    assert app.test_client().post("/aggregate", json=["/hello/a"] * 3).status_code == 413


def post_parts(app: Flask, *requests: str, path: str = "/parts") -> TestResponse:
    """The answer to a batch in multipart of *requests* such as ``GET /hello/bob``."""
    parts = "".join(f"--b\r\nContent-Type: application/http\r\n\r\n{line} HTTP/1.1\r\n\r\n\r\n" for line in requests)
    return app.test_client().post(path, data=f"{parts}--b--\r\n", content_type="multipart/mixed; boundary=b")


def ask(app: Flask, *requests: str, path: str = "/parts") -> list[tuple[int, str]]:
    """The status of each of *requests*, and the body of its answer."""
    answer = post_parts(app, *requests, path=path)
    assert answer.status_code == 200, answer.text
    _, boundary = answer.headers["Content-Type"].split("boundary=")
    answers = [part.split("\r\n\r\n", 2) for part in answer.text.split(f"--{boundary}")[1:-1]]
    return [(int(head.split()[1]), body.removesuffix("\r\n")) for _, head, body in answers]


def test_a_batch_route_answers_each_part_in_its_place(app: Flask) -> None:
    add_batch_route(app, "/parts")
    bob, nowhere, zoe = ask(app, "GET /hello/bob", "GET http://localhost/nowhere", "GET /hello/zoe")
    assert (bob[0], json.loads(bob[1])) == (200, {"hello": "bob"})
    assert nowhere[0] == 404
    assert (zoe[0], json.loads(zoe[1])) == (200, {"hello": "zoe"})


def test_a_batch_route_is_at_batch_unless_another_path_is_given() -> None:
    app = Flask("shop")
    add_batch_route(app)
    assert ask(app, "GET /nowhere", path="/batch")[0][0] == 404


def test_hooks_run_for_every_part_of_a_batch_route(app: Flask) -> None:
    add_batch_route(app, "/parts")
    events: dict[str, list[str]] = {"/hello/a": [], "/hello/b": [], "/nowhere": []}
    app.before_request(lambda: events[request.path].append("before"))

    @app.after_request
    def after(response: flask.Response) -> flask.Response:
        events[request.path].append("after")
        return response

    app.teardown_request(lambda error: events[request.path].append("teardown"))
    assert [status for status, _ in ask(app, *(f"GET {path}" for path in events))] == [200, 200, 404]
    assert events == {path: ["before", "after", "teardown"] for path in events}


def test_a_part_that_raises_does_not_spoil_the_others(app: Flask) -> None:
    add_batch_route(app, "/parts")
    # So the exception leaves the app, which is then not asked for an answer to it.
    app.testing = True
    serve(app, "/raise", lambda: 1 // 0)
    before, raised, after = ask(app, "GET /hello/a", "GET /raise", "GET /hello/b")
    assert (before[0], raised[0], after[0]) == (200, 500, 200)
    assert "ZeroDivisionError" not in raised[1]
    assert json.loads(after[1]) == {"hello": "b"}


def test_a_batch_route_is_limited_as_the_configuration_says(app: Flask) -> None:
    app.config["WSGIBATCH"]["max_requests"] = 2
    add_batch_route(app, "/parts")
    assert [status for status, _ in ask(app, *["GET /hello/a"] * 2)] == [200, 200]
    assert post_parts(app, *["GET /hello/a"] * 3).status_code == 413


def test_a_batch_route_speaks_multipart_whatever_the_configuration_says(app: Flask) -> None:
    app.config["WSGIBATCH"] |= {"dialect": "graph", "path": "/configured", "profile": "odata2"}
    add_batch_route(app, "/parts")
    assert ask(app, "GET /nowhere")[0][0] == 404
