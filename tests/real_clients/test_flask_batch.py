"""The client of Flask-Batch as it comes, against :func:`~wsgibatch.integrations.flask.add_batch_route` in the place of its own server.

It takes the answers in their order, and reads each as JSON.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from flask_batch.client import Batching

from tests.real_clients.site import EXECUTORS, served


@pytest.fixture(scope="module", params=EXECUTORS)
def base(request: pytest.FixtureRequest) -> Iterator[str]:
    with served("flask_batch", request.param) as base:
        yield base


def everybody(base: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = requests.get(f"{base}/people", timeout=10).json()["value"]
    return listed


def test_each_future_gets_the_answer_to_its_own_request(base: str) -> None:
    with Batching(f"{base}/batch") as batch:
        asked = [batch.get(f"/hello/n{number}", params={"question": "why so, Zoë?"}) for number in range(25)]

    assert [found.json() for found in asked] == [{"hello": f"n{number}", "question": "why so, Zoë?"} for number in range(25)]


def test_a_form_reaches_the_app(base: str) -> None:
    with Batching(f"{base}/batch") as batch:
        made = batch.post("/people", data={"name": "Zoë", "says": "a=b&c\r\n"})

    assert made.status_code == 201
    assert made.json() == {"name": "Zoë", "says": "a=b&c\r\n", "id": made.json()["id"]}
    assert made.json() in everybody(base)


@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_body_in_json_reaches_the_app(base: str, ascii_only: bool) -> None:
    said = json.dumps({"age": 1.5, "likes": [None, True, "Zoë"]}, ensure_ascii=ascii_only)

    with Batching(f"{base}/batch") as batch:
        changed = batch.patch("/people/zoe/", data=said, headers={"Content-Type": "application/json"})

    assert (changed.status_code, changed.json()) == (200, {"name": "zoe", "age": 1.5, "likes": [None, True, "Zoë"]})


def test_what_is_made_by_one_request_is_seen_by_the_next(base: str) -> None:
    with Batching(f"{base}/batch") as batch:
        made = [batch.post("/people", data={"name": f"link {number}"}) for number in range(5)]
        listed = batch.get("/people")

    assert listed.json()["value"][-5:] == [person.json() for person in made]


def test_an_error_among_the_answers_keeps_its_body_and_harms_no_other(base: str) -> None:
    with Batching(f"{base}/batch") as batch:
        before, missing, after = batch.get("/hello/bob"), batch.post("/missing"), batch.post("/people", data={"name": "made all the same"})

    assert [found.status_code for found in (before, missing, after)] == [200, 404, 201]
    assert missing.json()["error"]["message"] == "nobody is here"
    assert after.json() in everybody(base)


def test_headers_of_one_request_are_its_own(base: str) -> None:
    with Batching(f"{base}/batch") as batch:
        mine, nobodys = batch.get("/me", headers={"Authorization": "Bearer fresh"}), batch.get("/me")

    assert [found.status_code for found in (mine, nobodys)] == [200, 401]
    assert mine.json() == {"name": "zoe"}


def test_a_url_of_another_host_is_asked_of_this_one(base: str) -> None:
    with Batching(f"{base}/batch") as batch:
        found = batch.get("http://elsewhere.example/hello/bob")

    assert found.json()["hello"] == "bob"


def test_a_batch_that_is_refused_is_an_error_with_our_status(base: str) -> None:
    batch = Batching(f"{base}/batch")
    for _ in range(101):
        batch.post("/people", data={"name": "never made"})

    with pytest.raises(requests.HTTPError, match="413"):
        batch.finalize()
    batch.close()

    assert "never made" not in [person.get("name") for person in everybody(base)]
