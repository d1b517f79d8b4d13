"""The README says what is."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.rst").read_text()


def block(opening: str) -> str:
    """The code that stands behind *opening*."""
    found = re.search(re.escape(opening) + r".*?::\n\n((?:    [^\n]*\n|\n)+)", README, re.DOTALL)
    assert found is not None
    return "\n".join(line[4:] for line in found[1].splitlines())


def test_the_table_of_settings_is_the_declaration() -> None:
    replaced = runpy.run_path(str(ROOT / "docs" / "settings_table.py"))["replaced"]

    assert replaced(README) == README


def test_the_lines_for_flask_work_as_they_stand() -> None:
    names: dict[str, Any] = {"__name__": "shop"}
    exec(block("**Flask.**"), names)  # noqa: S102 - the README's own lines
    app: Flask = names["app"]
    client: FlaskClient = app.test_client()

    answer = client.post("/batch", json=[{"method": "GET", "url": "/hello/bob"}])

    assert json.loads(answer.get_json()[0]["body"]) == {"hello": "bob"}


def test_the_test_command_is_what_continuous_integration_runs() -> None:
    assert block("Run the tests").strip().startswith("python3 -m venv .venv && ")
    assert "README.rst" in (ROOT / ".ci" / "run").read_text()
