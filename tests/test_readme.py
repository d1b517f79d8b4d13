"""The README says what is."""

import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from webtest import TestApp

from tests.apps import show
from tests.servers.run import gunicorn
from wsgibatch import BatchMiddleware
from wsgibatch.idempotency import Policy

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.rst").read_text()


def block(opening: str) -> str:
    """The code that stands behind *opening*."""
    found = re.search(re.escape(opening) + r".*?::\n\n((?:    [^\n]*\n|\n)+)", README, re.DOTALL)
    assert found is not None
    return "\n".join(line[4:] for line in found[1].splitlines())


@pytest.mark.parametrize(
    "page", sorted(str(page.relative_to(ROOT)) for folder in (".", "docs", "benchmarks") for page in (ROOT / folder).glob("*.rst"))
)
def test_every_page_is_what_it_was_meant_to_be_in_restructuredtext(page: str) -> None:
    rendered = subprocess.run(
        [sys.executable, "-m", "docutils", "--report=warning", "--halt=warning", str(ROOT / page)], check=False, capture_output=True, timeout=60
    )

    assert (rendered.returncode, rendered.stderr.decode()) == (0, "")


def test_the_tables_of_settings_and_policies_are_the_declarations() -> None:
    tables = runpy.run_path(str(ROOT / "docs" / "settings_table.py"))

    for path in tables["TABLES"]:
        text = path.read_text()
        assert tables["replaced"](path, text) == text


def test_every_field_of_a_policy_is_told_of() -> None:
    rows = runpy.run_path(str(ROOT / "docs" / "settings_table.py"))["_documented"](Policy)

    assert [name for name, _, sentence in rows if not sentence] == []


def test_the_table_of_reliability_is_what_the_soak_has_counted() -> None:
    replaced = runpy.run_path(str(ROOT / "docs" / "reliability_table.py"))["replaced"]

    assert replaced(README) == README


def test_the_lines_for_flask_work_as_they_stand() -> None:
    names: dict[str, Any] = {"__name__": "shop"}
    exec(block("**Flask**"), names)  # noqa: S102 - the README's own lines
    app: Flask = names["app"]
    client: FlaskClient = app.test_client()

    answer = client.post("/batch", json=[{"method": "GET", "url": "/hello/bob"}])

    assert json.loads(answer.get_json()[0]["body"]) == {"hello": "bob"}


def test_the_answer_to_the_batch_is_as_it_is_shown() -> None:
    names: dict[str, Any] = {"__name__": "shop"}
    exec(block("**Flask**"), names)  # noqa: S102 - the README's own lines
    command, _, shown = block("A batch to it").partition("\n")
    sent = re.search(r"-d '(.*)'", command)
    assert sent is not None

    answer = names["app"].test_client().post("/batch", data=sent[1], content_type="application/json")

    duration = r'"batch_requests.duration":[0-9.e-]+'
    assert re.sub(duration, "", answer.text) == re.sub(duration, "", re.sub(r"\n +", "", shown).strip())


def test_the_hook_works_as_it_stands() -> None:
    names: dict[str, Any] = {"BatchMiddleware": BatchMiddleware, "app": show}
    exec(block("One that raises"), names)  # noqa: S102 - the README's own lines
    sent = [{"method": "GET", "url": "/reports/1"}, {"method": "GET", "url": "/text"}]

    answer = TestApp(names["app"]).post_json("/batch", sent)

    assert [item["status_code"] for item in answer.json] == [403, 200]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A fresh Django project with the README's lines in it."""
    subprocess.run([sys.executable, "-m", "django", "startproject", "shop", "."], cwd=tmp_path, check=True)
    lines = block("**Django**")
    wsgi, settings = tmp_path / "shop" / "wsgi.py", tmp_path / "shop" / "settings.py"
    opening = "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n"
    factory = "\n\ndef make_app(global_conf):\n    return get_wsgi_application()\n"
    wsgi.write_text(opening + lines + factory)
    settings.write_text(settings.read_text() + block("optionally in the settings::\n\n"))
    return tmp_path


def test_the_lines_for_django_work_as_they_stand(project: Path) -> None:
    subprocess.run([sys.executable, "manage.py", "check", "--fail-level", "WARNING"], cwd=project, check=True)

    with gunicorn("shop.wsgi:application", cwd=project) as base:
        assert statuses(base + "/batch", ["/admin/login/", "/missing"]) == [200, 404]


def test_the_lines_of_the_ini_file_work_for_a_django_project(project: Path) -> None:
    (project / "shop.ini").write_text(block("**An ini file**").replace("shop:make_app", "shop.wsgi:make_app"))

    with gunicorn("--paste", "shop.ini", cwd=project) as base:
        assert statuses(base + "/api/batch", ["/admin/login/", "/missing"]) == [200, 404]


def test_the_lines_of_the_ini_file_work_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "shop.ini").write_text(block("**An ini file**"))
    (tmp_path / "shop.py").write_text(block("**Flask**").replace("Batch(app)", "") + "\n\ndef make_app(global_conf):\n    return app\n")

    with gunicorn("--paste", "shop.ini", cwd=tmp_path) as base:
        assert statuses(base + "/batch", ["/hello/bob", "/missing"]) == [200, 404]


def statuses(url: str, paths: list[str]) -> list[int]:
    """The statuses of a batch that gets *paths*."""
    batch = [{"method": "GET", "url": path} for path in paths]
    return [item["status_code"] for item in requests.post(url, json=batch, timeout=30).json()]


def test_the_test_command_is_what_continuous_integration_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    extracted = re.search(r"command=\$\((awk .*)\)", script)
    assert extracted is not None

    command = subprocess.run(["bash", "-c", extracted[1]], cwd=ROOT, check=True, capture_output=True, text=True).stdout

    assert command.strip() == block("Run the tests").strip()
    assert command.endswith("/tox\n")


@pytest.fixture
def flask_app(tmp_path: Path) -> Iterator[str]:
    """The base url of the README's app for Flask, behind gunicorn."""
    (tmp_path / "shop.py").write_text(block("**Flask**"))
    with gunicorn("shop:app", cwd=tmp_path) as base:
        yield base


@pytest.mark.parametrize(
    ("opening", "said"),
    [
        ("whose calls travel together", "200 {'hello': 'bob'}\n"),
        ("With httpx", "[<Response [200 OK]>, <Response [200 OK]>]\n"),
    ],
)
def test_the_lines_for_clients_work_as_they_stand(flask_app: str, opening: str, said: str) -> None:
    lines = block(opening).replace("http://127.0.0.1:5000", flask_app)

    # As a reader runs them: in development mode asyncio tells on standard error of whatever takes 0.1 seconds.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDEVMODE"}
    ended = subprocess.run([sys.executable, "-W", "error", "-c", lines], env=environ, capture_output=True, text=True, check=False)

    assert (ended.stdout, ended.stderr) == (said, "")
