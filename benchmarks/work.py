"""The work that contestants share: N requests, as what a server would give an app for each, and as one batch."""

import io
import json
import random
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from wsgiref.util import FileWrapper

from wsgibatch import SubRequest
from wsgibatch.dialects.multipart import MultipartDialect

WSGIApp = Callable[..., Iterable[bytes]]

HEADERS = {"Content-Type": "application/json", "Accept-Language": "en-GB,en;q=0.8", "X-Request-Token": "c0ffee5e-17"}
BODY = b'{"name":"a thing","price":12.5,"tags":["one","two"],"stock":{"here":3,"there":0}}'


class Work(NamedTuple):
    """N requests that differ in their path only."""

    paths: list[str]
    environ: dict[str, Any]
    """Of one of the requests, as a server gives it."""
    batch: bytes
    """All of them as one batch."""
    content_type: str = "application/json"
    """Of the batch."""


def gets(count: int) -> Work:
    """Plain GETs, and a batch as django-batch-requests has it."""
    paths = paths_of(count)
    return Work(paths, environ_of("GET", paths[0]), _json({"batch": [{"method": "GET", "url": path} for path in paths]}))


def posts(count: int) -> Work:
    """POSTs with three headers and a JSON body, which the batch carries as a string."""
    paths = paths_of(count)
    batch = [{"method": "POST", "url": path, "headers": HEADERS, "body": BODY.decode()} for path in paths]
    return Work(paths, environ_of("POST", paths[0], HEADERS, BODY), _json({"batch": batch}))


def routes(count: int) -> Work:
    """Plain GETs, and a batch as Flask-Aggregator has it: a list of routes."""
    paths = paths_of(count)
    return Work(paths, environ_of("GET", paths[0]), _json(paths))


def requests(count: int) -> Work:
    """Plain GETs, and a batch as Microsoft Graph has it."""
    return _linked(count, lambda number: [])


def chained(count: int) -> Work:
    """The same, where each item waits for the one before it."""
    return _linked(count, lambda number: [str(number - 1)])


def spread(count: int) -> Work:
    """The same, where each item waits for any one before it."""
    chance = random.Random(1)  # noqa: S311 - which ones it hits is no secret
    return _linked(count, lambda number: [str(chance.randrange(number))])


def _linked(count: int, needs: Callable[[int], list[str]]) -> Work:
    paths = paths_of(count)
    items = [{"id": str(number), "method": "GET", "url": path, "dependsOn": needs(number) if number else []} for number, path in enumerate(paths)]
    return Work(paths, environ_of("GET", paths[0]), _json({"requests": items}))


def parts(count: int) -> Work:
    """Plain GETs, and a batch in multipart, as clients of Google send it."""
    paths = paths_of(count)
    requests = [SubRequest(number, "GET", path, [], id=f"<{number}>") for number, path in enumerate(paths)]
    headers, batch = MultipartDialect().write(requests)
    return Work(paths, environ_of("GET", paths[0]), batch, dict(headers)["Content-Type"])


def paths_of(count: int) -> list[str]:
    return [f"/items/{number}" for number in range(count)]


def environ_of(method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> dict[str, Any]:
    """The environ of a request, with the keys that gunicorn gives."""
    environ: dict[str, Any] = {
        "wsgi.errors": sys.stderr,
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        "SERVER_SOFTWARE": "gunicorn",
        "REQUEST_METHOD": method,
        "QUERY_STRING": "",
        "RAW_URI": path,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "shop.example:8000",
        "HTTP_USER_AGENT": "python-requests/2.32",
        "HTTP_ACCEPT_ENCODING": "gzip, deflate",
        "HTTP_ACCEPT": "*/*",
        "HTTP_CONNECTION": "keep-alive",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "51234",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
    }
    for name, value in (headers or {}).items():
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else "HTTP_" + key] = value
    if body:
        environ["CONTENT_LENGTH"] = str(len(body))
    return environ


def _json(batch: object) -> bytes:
    return json.dumps(batch, separators=(",", ":")).encode()
