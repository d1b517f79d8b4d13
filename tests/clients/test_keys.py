"""Calls that are sent again with the keys that the documents say how to send."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.run import gunicorn
from wsgibatch import BatchMiddleware
from wsgibatch.clients.requests import Batching
from wsgibatch.idempotency import IdempotencyMiddleware

DOCS = (Path(__file__).parents[2] / "docs" / "idempotency.rst").read_text()


def till(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("201 Created", [("Content-Type", "text/plain")])
    return [environ["HTTP_IDEMPOTENCY_KEY"].encode()]


app = BatchMiddleware(IdempotencyMiddleware(till, anonymous="shared"))


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with gunicorn(f"{__name__}:app") as base:
        yield base


def block(opening: str) -> str:
    """The code that stands behind *opening*."""
    found = re.search(re.escape(opening) + r".*?::\n\n((?:    [^\n]*\n|\n)+)", DOCS, re.DOTALL)
    assert found is not None
    return "\n".join(line[4:] for line in found[1].splitlines())


def test_a_call_is_sent_again_with_its_own_key(site: str) -> None:
    told = []
    for _ in range(2):
        with Batching(f"{site}/batch") as session:
            names: dict[str, Any] = {"session": session}
            exec(block("each call sends the key").replace("session.post", "answer = session.post"), names)  # noqa: S102 - the document's own lines
            session.post("/other", headers={"Idempotency-Key": "other"})
        told.append((names["answer"].text, names["answer"].headers.get("Idempotent-Replayed")))

    assert told == [("4711-a", None), ("4711-a", "true")]


def test_a_batch_is_sent_again_with_its_key(site: str) -> None:
    names: dict[str, Any] = {"Batching": Batching}
    exec(block("A whole batch is given one"), names)  # noqa: S102 - as above
    told = []
    for _ in range(2):
        with names["Keyed"](f"{site}/batch") as session:
            answers = [session.post(path) for path in ("/a", "/b")]
        told.append([(answer.text, answer.headers.get("Idempotent-Replayed")) for answer in answers])

    assert [marked for _, marked in told[0] + told[1]] == [None, None, "true", "true"]
    assert len({text for text, _ in told[1]}) == 2
