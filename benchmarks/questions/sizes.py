"""sizes: what does a byte cost, in the bodies of requests and of answers?

Told is the time of an item over the bare loop. There is no bar; what bounds it is how often a body has to be gone through: JSON that is embedded is
looked at, text becomes a string, bytes in a part of multipart stay what they are.
"""

from collections.abc import Callable
from typing import Any

from wsgibatch import SubRequest

from ..answers import Figure, Row
from ..contestants import bare, batch
from ..measure import alone, figure, interleaved
from ..work import Work, WSGIApp, paths_of, written

title = "time of an item beyond that in the bare loop, by the size of its body"
SIZES = {"1 KB": (1_000, 100), "100 KB": (100_000, 10), "10 MB": (10_000_000, 1)}
"""Bytes of a body, and items of a batch."""
DIALECTS = {"as a string in JSON (django)": "django", "embedded as JSON (graph)": "graph", "as a part (multipart)": "multipart"}


def ask() -> list[Row]:
    return [
        Row(f"{what} of {size}, {how}", alone(_measure, what == "answer", dialect, length, count), None, "µs")
        for what in ("answer", "request")
        for how, dialect in DIALECTS.items()
        for size, (length, count) in SIZES.items()
    ]


def _measure(answers: bool, dialect: str, length: int, count: int) -> Figure:
    app, work = (_answering(_json(length)), _work(dialect, count)) if answers else (_answering(b'{"ok":true}'), _work(dialect, count, _json(length)))
    limits = {"max_body": 10 * length * count + 1_000_000, "max_response": 10 * length + 1_000_000}
    direct, batched = interleaved(bare.prepare(app, work), batch.prepare(app, work, dialect=dialect, **limits))
    return figure([(one - other) / count * 1e6 for one, other in zip(batched, direct, strict=True)])


def _json(length: int) -> bytes:
    """A list of objects with as many bytes, or a few more."""
    one = b'{"name":"a thing","price":12.5,"tags":["one","two"],"stock":{"here":3,"there":0}}'
    return b"[" + b",".join([one] * -(-length // (len(one) + 1))) + b"]"


def _work(dialect: str, count: int, body: bytes = b"") -> Work:
    method, headers = ("POST", [("Content-Type", "application/json")]) if body else ("GET", [])
    return written(dialect, [SubRequest(number, method, path, headers, body, id=str(number)) for number, path in enumerate(paths_of(count))])


def _answering(body: bytes) -> WSGIApp:
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        # What a framework would do with it.
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("200 OK", headers)
        return [body]

    return app
