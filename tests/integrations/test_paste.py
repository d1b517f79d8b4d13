"""The batch endpoint as a filter of an ini file, under PasteDeploy and under a real gunicorn that reads the file."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from paste.deploy import loadapp

from tests.apps import show
from tests.gateway import environ_of, get, post
from tests.servers.run import gunicorn
from wsgibatch import BatchMiddleware, ConfigError
from wsgibatch.idempotency import Dimensions, IdempotencyMiddleware, Policy
from wsgibatch.stores.memory import MemoryStore
from wsgibatch.stores.sqlite import SqliteStore

BATCH = [get("/text"), get("/missing")]

FILTER = """\
[app:main]
paste.app_factory = tests.integrations.test_paste:make_show
filter-with = batch

[filter:batch]
use = egg:wsgibatch
"""

PIPELINE = """\
[pipeline:main]
pipeline = batch show

[app:show]
paste.app_factory = tests.integrations.test_paste:make_show

[filter:batch]
use = egg:wsgibatch
"""

INLINE_FILTER = """\
[app:main]
paste.app_factory = tests.integrations.test_paste:make_show
filter-with = batch

[filter:batch]
paste.filter_factory = wsgibatch.integrations.paste:filter_factory
"""

INLINE_FILTER_APP = INLINE_FILTER.replace("filter_factory", "filter_app_factory")

FILTER_APP = """\
[filter-app:main]
use = egg:wsgibatch
next = show

[app:show]
paste.app_factory = tests.integrations.test_paste:make_show
"""

SHOP = """\
from flask import Flask, request

def make_app(global_conf):
    app = Flask(__name__)

    @app.get("/hello/<name>")
    def hello(name):
        return {"hello": name}

    @app.post("/orders")
    def order():
        return request.get_json(), 201

    return app
"""

SHOP_INI = """\
[app:main]
paste.app_factory = shop:make_app
filter-with = batch

[filter:batch]
use = egg:wsgibatch
executor = threads
workers = 4
max_requests = 3
path = /batch, /api/batch
"""


def make_show(global_conf: dict[str, str]) -> Any:
    return show


def load(folder: Path, text: str) -> Any:
    ini = folder / "app.ini"
    ini.write_text(text)
    return loadapp(f"config:{ini}")


def fetch(url: str, batch: object) -> Any:
    request = urllib.request.Request(url, json.dumps(batch).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def statuses(items: list[dict[str, Any]]) -> list[int]:
    return [item["status_code"] for item in items]


@pytest.mark.parametrize("text", [FILTER, PIPELINE, INLINE_FILTER, INLINE_FILTER_APP, FILTER_APP])
def test_every_way_to_write_a_filter_gives_an_app_that_answers_batches(tmp_path: Path, text: str) -> None:
    assert post(load(tmp_path, text), BATCH).statuses == [200, 404]


def test_the_words_of_a_section_become_settings_of_their_types(tmp_path: Path) -> None:
    words = "path = /batch, /api/batch\nmax_requests = 7\nmax_body = 64 KiB\ndurations = no\nmethods = GET HEAD\norder = free\nworkers = 3\n"

    app = load(tmp_path, FILTER + words)

    assert isinstance(app, BatchMiddleware)
    found = app.settings
    assert (found.path, found.max_requests, found.max_body, found.durations) == (("/batch", "/api/batch"), 7, 64 << 10, False)
    assert (found.methods, found.order, found.workers) == (("GET", "HEAD"), "free", 3)


def test_a_hook_is_written_as_a_module_and_a_name(tmp_path: Path) -> None:
    app = load(tmp_path, FILTER + "after_item = tests.integrations.test_paste:statuses\n")

    assert app.settings.after_item is statuses


def test_what_stands_under_default_sets_nothing(tmp_path: Path) -> None:
    app = load(tmp_path, "[DEFAULT]\ndebug = true\nmax_requests = 1\n" + FILTER)

    assert post(app, BATCH).statuses == [200, 404]


@pytest.mark.parametrize("text", [FILTER, PIPELINE.replace("egg:wsgibatch", "egg:wsgibatch#main"), INLINE_FILTER_APP])
def test_an_unknown_name_is_refused_with_the_nearest_known_one(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"there is no setting 'max_request' \(did you mean 'max_requests'\?\)"):
        load(tmp_path, text + "max_request = 7\n")


@pytest.mark.parametrize("name", ["app", "global_conf"])
def test_the_name_of_a_parameter_is_refused_as_any_other(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no setting '{name}'"):
        load(tmp_path, INLINE_FILTER_APP + f"{name} = x\n")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("max_requests = many", "max_requests: 'many' should be a whole number"),
        ("durations = maybe", "durations: 'maybe' should be true or false"),
        ("executor = thread", "'thread' is none of the executors .did you mean 'threads'"),
        ("path = batch", "path: 'batch' should begin with '/'"),
        ("before_item = shop_ini:nope", "^before_item: 'shop_ini:nope' cannot be found"),
        ("atomic = shop_ini:nope", "^atomic: 'shop_ini:nope' cannot be found"),
    ],
)
def test_a_bad_value_is_refused_with_a_sentence(tmp_path: Path, line: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load(tmp_path, FILTER + line + "\n")


def test_gunicorn_serves_a_flask_app_with_the_batch_endpoint_of_its_ini_file(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "shop.ini").write_text(SHOP_INI)
    order = {"method": "POST", "url": "/orders", "body": {"of": 3}}

    with gunicorn("--paste", "shop.ini", "--worker-class", "gthread", "--threads", "2", cwd=tmp_path) as base:
        for path in ("/batch", "/api/batch"):
            items = fetch(base + path, [get("/hello/ada"), order, get("/none")])
            assert statuses(items) == [200, 201, 404]
            assert [json.loads(item["body"]) for item in items[:2]] == [{"hello": "ada"}, {"of": 3}]


def test_gunicorn_serves_the_limit_that_the_ini_file_sets(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "shop.ini").write_text(SHOP_INI)

    with gunicorn("--paste", "shop.ini", cwd=tmp_path) as base, pytest.raises(urllib.error.HTTPError) as refused:
        fetch(base + "/batch", [get("/hello/ada")] * 4)

    with refused.value as answer:
        assert answer.status == 413
        assert json.load(answer)["code"] == "too-many-items"


def test_gunicorn_does_not_start_with_a_bad_ini_file_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "shop.ini").write_text(SHOP_INI.replace("workers = 4", "workers = four"))
    command = [sys.executable, "-m", "gunicorn", "--paste", "shop.ini", "--bind", "127.0.0.1:0"]

    ended = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert ended.returncode != 0
    assert "workers: 'four' should be a whole number" in ended.stderr


# Idempotent replies

REPLIES = """\
[app:main]
paste.app_factory = tests.integrations.test_paste:make_show
filter-with = replies

[filter:replies]
use = egg:wsgibatch#idempotency
"""
REPLIES_FILTER_APP = """\
[filter-app:main]
use = egg:wsgibatch#idempotency
next = show

[app:show]
paste.app_factory = tests.integrations.test_paste:make_show
"""
REPLIES_INLINE = """\
[app:main]
paste.app_factory = tests.integrations.test_paste:make_show
filter-with = replies

[filter:replies]
paste.filter_app_factory = wsgibatch.integrations.paste:idempotency_filter_app_factory
"""


def where(environ: dict[str, Any], body: bytes) -> str:
    return str(environ["PATH_INFO"])


def who(environ: dict[str, Any]) -> str:
    return "anna"


rules = [("PUT", "/orders", Policy(required=True))]


def policy_of(app: Any, **changes: Any) -> Policy | None:
    found: Policy | None = app._policy(environ_of(HTTP_IDEMPOTENCY_KEY="k", **changes))
    return found


@pytest.mark.parametrize("text", [REPLIES, REPLIES_FILTER_APP, REPLIES_INLINE])
def test_every_way_to_write_the_filter_of_replies_gives_an_app_that_has_them(tmp_path: Path, text: str) -> None:
    app = load(tmp_path, text)

    assert isinstance(app, IdempotencyMiddleware)
    assert isinstance(app.store, MemoryStore)
    assert policy_of(app) == Policy()


def test_the_words_of_a_section_become_fields_of_a_policy(tmp_path: Path) -> None:
    words = f"""\
store = sqlite:///{tmp_path}/replies.db
header = Idempotency-Key, X-Key
derive = method, path header:X-Tenant cookie:tenant
lock = {__name__}:where
principal = {__name__}:who
revalidate = {__name__}:who
ttl = 60
wait = 2.5
max_body = 64 KiB
keep_cookies = yes
in_flight_status = 423
on_crash = fail
on_change = replay
fingerprint = json
namespace = shop
"""
    app = load(tmp_path, REPLIES + words)

    derive = Dimensions(query=False, content_type=False, body=False, principal=False, headers=("X-Tenant",), cookies=("tenant",))
    assert isinstance(app.store, SqliteStore)
    assert policy_of(app) == Policy(
        header=("Idempotency-Key", "X-Key"),
        derive=derive,
        lock=where,
        principal=who,
        revalidate=who,
        ttl=60,
        wait=2.5,
        max_body=64 << 10,
        keep_cookies=True,
        in_flight_status=423,
        on_crash="fail",
        on_change="replay",
        fingerprint="json",
        namespace="shop",
    )


@pytest.mark.parametrize("word", ["none", f"{__name__}:compare"])
def test_what_is_compared_may_be_nothing_or_what_a_callable_says(tmp_path: Path, word: str) -> None:
    policy = policy_of(load(tmp_path, REPLIES + f"fingerprint = {word}\n"))

    assert policy is not None
    assert policy.fingerprint is (None if word == "none" else compare)


def compare(environ: dict[str, Any], body: bytes) -> bytes:
    return body


def test_a_section_may_name_a_policy(tmp_path: Path) -> None:
    app = load(tmp_path, REPLIES + f"policy = {__name__}:rules\n")

    assert policy_of(app, REQUEST_METHOD="PUT", PATH_INFO="/orders") == Policy(required=True)
    assert policy_of(app) is None


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("stor = memory://", "a policy has no field 'stor'"),
        ("store = memcached://", "'memcached' is none of the stores"),
        ("wait = long", "wait: 'long' should be a number of seconds"),
        ("in_flight_status = 404", "in_flight_status"),
        ("on_crash = explode", "on_crash: 'explode' is none of execute, fail"),
        ("keep_cookies = maybe", "keep_cookies: 'maybe' should be true or false"),
        ("derive = path, moon\nttl = 5", "derive: there is no dimension 'moon'"),
        ("derive =\nttl = 5", "Dimensions: at least one is needed"),
        ("derive = path", "ttl: say for how long"),
        ("principal = nowhere:who", "^principal: 'nowhere:who' cannot be found"),
        ("derive = nowhere:key\nttl = 5", "^derive: 'nowhere:key' cannot be found"),
        ("policy = nowhere:rules", "^policy: 'nowhere:rules' cannot be found"),
        ("store = nowhere:store", "^store: 'nowhere:store' cannot be found"),
        ("principal = anna", "^principal: 'anna' should be written 'package.module:name'"),
        ("fingerprint = soft", "fingerprint: 'soft' is none of raw, json, multipart"),
        (f"policy = {__name__}:rules\nwait = 5", "wait: belongs into the policy"),
    ],
)
def test_a_bad_word_of_replies_is_refused_with_a_sentence(tmp_path: Path, line: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load(tmp_path, REPLIES + line + "\n")


TILL = """\
import os

def make_app(global_conf):
    def till(environ, start_response):
        with open("charges", "a") as charges:
            charges.write(f"{os.getpid()}\\n")
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start_response("201 Created", [("Content-Type", "text/plain"), ("X-Way", "a"), ("X-Way", "b")])
        return [b"charged ", body]
    return till
"""

TILL_INI = """\
[app:main]
paste.app_factory = till:make_app
filter-with = replies

[filter:replies]
use = egg:wsgibatch#idempotency
store = sqlite:///replies.db
anonymous = shared
wait = 5
filter-with = batch

[filter:batch]
use = egg:wsgibatch
"""


def test_gunicorn_answers_again_with_the_replies_of_its_ini_file(tmp_path: Path) -> None:
    (tmp_path / "till.py").write_text(TILL)
    (tmp_path / "till.ini").write_text(TILL_INI)
    order = {"method": "POST", "url": "/pay", "body": {"of": 3}}

    with gunicorn("--paste", "till.ini", "--workers", "2", cwd=tmp_path) as base:

        def ask(path: str, body: bytes, key: str) -> tuple[int, list[tuple[str, str]], bytes]:
            headers = {"Content-Type": "application/json", "Idempotency-Key": key}
            with urllib.request.urlopen(urllib.request.Request(base + path, body, headers), timeout=30) as response:
                return response.status, response.getheaders(), response.read()

        alone = [ask("/pay", b"5", "one") for _ in range(3)]
        batches = [json.loads(ask("/batch", json.dumps([order]).encode(), "many")[2]) for _ in range(2)]

    assert [(status, body) for status, _, body in alone] == [(201, b"charged 5")] * 3
    assert [dict(headers).get("Idempotent-Replayed") for _, headers, _ in alone] == [None, "true", "true"]
    assert [value for name, value in alone[2][1] if name == "X-Way"] == ["a", "b"]
    assert [items[0]["headers"].get("Idempotent-Replayed") for items in batches] == [None, "true"]
    assert len((tmp_path / "charges").read_text().splitlines()) == 2


def test_gunicorn_does_not_start_with_bad_replies_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "till.py").write_text(TILL)
    (tmp_path / "till.ini").write_text(TILL_INI.replace("wait = 5", "wait = for me"))
    command = [sys.executable, "-m", "gunicorn", "--paste", "till.ini", "--bind", "127.0.0.1:0"]

    ended = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert ended.returncode != 0
    assert "wait: 'for me' should be a number of seconds" in ended.stderr
