"""Batches made of records, for testing what runs them without any grammar: a dialect that decodes to what it was given."""

from typing import Any, Literal

from tests.gateway import Answer, Item, post
from wsgibatch import Batch, BatchMiddleware, Head, Settings, SubRequest
from wsgibatch.dialects.django import DjangoBatch, DjangoDialect
from wsgibatch.model import Edge, Late


class Prepared(DjangoDialect):
    """Decodes any body to *items*, and answers as the dialect ``django`` does."""

    def __init__(self, items: list[SubRequest], on_error: Literal["continue", "stop"] = "continue", fails_from: int = 400) -> None:
        self._items, self._on_error, self._fails_from = items, on_error, fails_from

    def decode(self, head: Head, body: bytes, settings: Settings) -> DjangoBatch:
        return DjangoBatch(self._items, linked=True, on_error=self._on_error, fails_from=self._fails_from)


def request(
    index: int, target: str = "/a", after: tuple[Edge, ...] = (), group: str = "", method: str = "GET", body: bytes = b"", late: Late | None = None
) -> SubRequest:
    return SubRequest(index, method, target, [("Content-Type", "application/json")], body, str(index), after, group, late)


def batch_of(items: list[SubRequest], on_error: Literal["continue", "stop"] = "continue") -> Batch:
    return Batch(items, linked=True, on_error=on_error)


def answer_to(
    app: Any, items: list[SubRequest], on_error: Literal["continue", "stop"] = "continue", fails_from: int = 400, **settings: Any
) -> Answer:
    """The whole answer to a batch of *items*."""
    middleware = BatchMiddleware(app, dialect=Prepared(items, on_error, fails_from), **settings)
    try:
        return post(middleware, [])
    finally:
        middleware.close()


def run(app: Any, items: list[SubRequest], on_error: Literal["continue", "stop"] = "continue", fails_from: int = 400, **settings: Any) -> list[Item]:
    """The answers to *items*."""
    answer = answer_to(app, items, on_error, fails_from, **settings)
    assert answer.status == 200, answer
    return answer.items
