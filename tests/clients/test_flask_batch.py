"""Our client against the server of Flask-Batch as it comes from PyPI."""

import pytest
import requests

from wsgibatch.clients.requests import Batching


def test_calls_of_a_block_travel_in_one_post_to_the_server_of_flask_batch(flask_batch_server: str) -> None:
    before = requests.get(f"{flask_batch_server}/posts", timeout=10).json()["posts"]

    with Batching(f"{flask_batch_server}/batch") as session:
        alice = session.patch("/people/alice/", json={"age": 42})
        bob = session.get(f"{flask_batch_server}/people/bob/")
        gone = session.delete("/people/carol/")
        made = session.post("/form", data={"name": "Zoë & Co"})
        missing = session.get("/missing")

    assert [found.status_code for found in (alice, bob, gone, made, missing)] == [200, 200, 200, 201, 404]
    assert alice.json()["age"] == 42
    # That server takes the line break before the delimiter for a part of the form, whoever sends it.
    assert (bob.json()["name"], gone.json()["method"], made.json()["name"].strip()) == ("bob", "DELETE", "Zoë & Co")
    assert missing.json() == {"error": "nobody is here"}
    assert requests.get(f"{flask_batch_server}/posts", timeout=10).json()["posts"] == before + 1


def test_each_part_brings_the_credentials_since_that_server_hands_none_down(flask_batch_server: str) -> None:
    with Batching(f"{flask_batch_server}/batch") as session:
        session.headers["Authorization"] = "Bearer fresh"
        found = session.get("/people/bob/")

    assert found.json()["authorization"] == "Bearer fresh"


def test_a_batch_that_breaks_that_server_is_an_error_for_each_call(flask_batch_server: str) -> None:
    # Its route answers a batch without its content type with 400; that of a server error would be no other.
    session = Batching(f"{flask_batch_server}/nowhere")
    found = session.get("/people/bob/")

    with pytest.raises(requests.HTTPError, match="404"):
        session.flush()
    with pytest.raises(requests.HTTPError, match="404"):
        found.json()
    session.close()
