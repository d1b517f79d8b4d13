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
from tests.gateway import get, post
from tests.servers.run import gunicorn
from wsgibatch import BatchMiddleware, ConfigError

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
