"""Batches with files through real servers, as client libraries send them."""

import hashlib
import io
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import requests

from tests.servers import run

SERVERS: dict[str, Callable[[str], AbstractContextManager[str]]] = {
    "gunicorn sync": lambda app: run.gunicorn(app),
    "gunicorn gthread": lambda app: run.gunicorn("--worker-class", "gthread", "--threads", "4", app),
    "waitress": lambda app: run.waitress(app),
}


def uploaded(base: str, items: list[dict[str, Any]], **files: tuple[str, bytes]) -> list[Any]:
    """What the app says of *items*, which are sent with *files*."""
    parts = {"batch": (None, json.dumps(items), "application/json")} | {
        name: (filename, io.BytesIO(data)) for name, (filename, data) in files.items()
    }
    answer = requests.post(base + "/batch", files=parts, timeout=60)
    assert answer.status_code == 200, answer.text
    assert [item["status_code"] for item in answer.json()] == [201] * len(items)
    return [json.loads(item["body"]) for item in answer.json()]


@pytest.mark.parametrize("server", SERVERS)
def test_files_of_any_size_arrive_through_a_real_server(server: str) -> None:
    photo, small = os.urandom(5 << 20), b"\r\n--"
    items = [{"method": "POST", "url": "/photos", "attached_files": {"photo": name}, "body": {"name": name}} for name in ("a", "b")]

    with SERVERS[server]("tests.servers.site:photos") as base:
        told = uploaded(base, items, a=("zoë.png", photo), b=("b.txt", small))

    assert [item["fields"] for item in told] == [{"name": "a"}, {"name": "b"}]
    assert told[0]["files"] == {"photo": ["zoë.png", hashlib.sha256(photo).hexdigest()]}
    assert told[1]["files"] == {"photo": ["b.txt", hashlib.sha256(small).hexdigest()]}


@pytest.mark.parametrize("app", ["photos", "photos_elsewhere"])
def test_no_process_of_a_server_holds_a_large_file_in_memory(app: str) -> None:
    item = {"method": "POST", "url": "/photos", "attached_files": "photo"}
    large = os.urandom(1 << 20) * 64

    with run.gunicorn(f"tests.servers.site:{app}") as base:
        [before] = uploaded(base, [item], photo=("a.png", b"x" * (1 << 20)))
        [after] = uploaded(base, [item], photo=("a.png", large))

    assert after["files"]["photo"][1] == hashlib.sha256(large).hexdigest()
    grown = [late - early for early, late in zip(before["peaks"], after["peaks"], strict=True)]
    assert max(grown) < 8 << 20, grown
