"""What the servers of the soak serve: an app that shows the request it got, and answers in as many ways as there are."""

import json
import os
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from wsgibatch import BatchMiddleware

BODIES: dict[str, tuple[str, bytes]] = {
    "binary": ("application/octet-stream", bytes(range(256))),
    "image": ("image/png", b"\x89PNG\r\n\x1a\n" + bytes(7)),
    "latin": ("text/plain; charset=iso-8859-1", "\xa7 \xe9\xff".encode("latin-1")),
    "no-text": ("text/plain; charset=utf-8", b"a\xff\xfeb"),
    "utf-16": ("text/plain; charset=utf-16", "text \u4f60".encode("utf-16")),
    "nul": ("text/plain", b"a\x00b\x7f\x1b\r\n\n"),
    "mark": ("text/plain; charset=utf-8", b"\xef\xbb\xbftext"),
    "text": ("text/html; charset=utf-8", '<p title="\xe9">\u4f60\U0001f600\u2028</p>'.encode()),
    "like-base64": ("text/plain", b"YWJj"),
    "like-json": ("text/plain", b'{"a": 1}'),
    "broken": ("application/json", b'{"a": [1, '),
    "no-json": ("application/json", b"\xff\xfe\x00"),
    "two": ("application/json", b"{}{}"),
    "spaced": ("application/json", b' {"b" : 1.0,\r\n "a" : "\\u00e9\\/", "b":1e2}\n'),
    "string": ("application/json", b'"YWJj"'),
    "null": ("application/json", b"null"),
    "number": ("application/problem+json", b"12345678901234567890.10"),
}
"""Answers that have to come as they are, byte for byte, with their types, by the word that asks for each."""
_INHERITED = set(os.environ.items())
"""The standard library's server puts these into every environ."""


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers with the environ as JSON, values that JSON has no word for as the name of their type, and the body under ``body``.

    An answer that has no content, or one of :data:`BODIES`, which ``X-Body`` asks for, tells the same in the header ``X-Environ``, in base64.

    ``X-Status`` asks for a status, ``X-Form`` for the form of the answer, and every ``X-Echo`` comes back.
    """
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    values = {
        key: value if isinstance(value, str | int | tuple) else type(value).__name__
        for key, value in environ.items()
        if not isinstance(value, str) or (key, value) not in _INHERITED
    }
    data = json.dumps({**values, "body": body.decode("latin-1")}, sort_keys=True).encode()
    status, form = environ.get("HTTP_X_STATUS", "200 OK"), environ.get("HTTP_X_FORM", "whole")
    headers = [("X-Echo", environ.get("HTTP_X_ECHO", "")), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Vary", "A"), ("Vary", "B")]
    content_type, content = BODIES.get(environ.get("HTTP_X_BODY", ""), ("application/json", data))
    if environ["REQUEST_METHOD"] == "HEAD" or status[:3] in ("204", "304") or content is not data:
        headers.append(("X-Environ", b64encode(data).decode()))
    if status[:3] in ("204", "304"):
        start_response(status, headers)
        return []
    headers.append(("Content-Type", content_type))
    if form == "whole":
        headers.append(("Content-Length", str(len(content))))
    write = start_response(status, headers)
    if environ["REQUEST_METHOD"] == "HEAD":
        return []
    if form == "write":
        write(content[:10])
        return [content[10:]]
    return _pieces(content) if form == "pieces" else [content]


def _pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 100):
        yield data[start : start + 100]
        yield b""


app = BatchMiddleware(echo, max_requests=100, durations=False, item_cookies=True)
