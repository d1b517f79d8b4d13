"""A plain WSGI app that shows what it was asked, and can misbehave in every way a test wants."""

import json
from collections.abc import Callable, Iterable
from typing import Any

IMAGE = bytes(range(256))


def show(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers with its own view of the request, as JSON; ``/bin`` is an image, ``/text`` is text, ``/missing`` a 404, ``/raise`` an error."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    path = environ["PATH_INFO"]
    if path == "/raise":
        raise RuntimeError("a secret that must not get out")
    if path == "/bin":
        start_response("200 OK", [("Content-Type", "image/png"), ("Content-Length", str(len(IMAGE)))])
        return [IMAGE]
    if path == "/text":
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return ["grüße".encode()]
    if path == "/empty":
        start_response("204 No Content", [])
        return []
    shown = {
        "method": environ["REQUEST_METHOD"],
        "path": path,
        "query": environ["QUERY_STRING"],
        "body": body.decode("latin-1"),
        "headers": {key: value for key, value in environ.items() if key.startswith("HTTP_")},
        "type": environ.get("CONTENT_TYPE"),
    }
    data = json.dumps(shown, sort_keys=True).encode()
    status = "404 Not Found" if path == "/missing" else "200 OK"
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
    return [data]


def mirror(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers with the whole environ as JSON, values that JSON has no word for as the name of their type.

    The body is under ``body``. The header ``X-Status`` asks for a status, and every ``X-Echo`` comes back.
    """
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    values = {key: value if isinstance(value, str | int | tuple) else type(value).__name__ for key, value in environ.items()}
    data = json.dumps({**values, "body": body.decode("latin-1")}, sort_keys=True).encode()
    status = environ.get("HTTP_X_STATUS", "200 OK")
    headers = [("X-Echo", environ.get("HTTP_X_ECHO", "")), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
    if status[:3] in ("204", "304"):
        start_response(status, headers)
        return []
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(data))), *headers])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [data]
