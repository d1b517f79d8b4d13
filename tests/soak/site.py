"""What the servers of the soak serve: an app that shows the request it got, and answers in as many ways as there are."""

import json
import os
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from wsgibatch import BatchMiddleware

_INHERITED = set(os.environ.items())
"""The standard library's server puts these into every environ."""


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers with the environ as JSON, values that JSON has no word for as the name of their type, and the body under ``body``.

    An answer that has no content tells the same in the header ``X-Environ``, in base64.

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
    if environ["REQUEST_METHOD"] == "HEAD" or status[:3] in ("204", "304"):
        headers.append(("X-Environ", b64encode(data).decode()))
    if status[:3] in ("204", "304"):
        start_response(status, headers)
        return []
    headers.append(("Content-Type", "application/json"))
    if form == "whole":
        headers.append(("Content-Length", str(len(data))))
    write = start_response(status, headers)
    if environ["REQUEST_METHOD"] == "HEAD":
        return []
    if form == "write":
        write(data[:10])
        return [data[10:]]
    return _pieces(data) if form == "pieces" else [data]


def _pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 100):
        yield data[start : start + 100]
        yield b""


app = BatchMiddleware(echo, max_requests=100, durations=False, item_cookies=True)
