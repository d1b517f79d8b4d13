"""The work that contestants share: N requests, as what a server would give an app for each, and as one batch."""

import io
import json
import random
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from wsgiref.util import FileWrapper

from wsgibatch import SubRequest, dialects
from wsgibatch._lookup import member
from wsgibatch.protocols import Dialect

WSGIApp = Callable[..., Iterable[bytes]]

HEADERS = {"Content-Type": "application/json", "Accept-Language": "en-GB,en;q=0.8", "X-Request-Token": "c0ffee5e-17"}
BODY = b'{"name":"a thing","price":12.5,"tags":["one","two"],"stock":{"here":3,"there":0}}'


class Work(NamedTuple):
    """N requests that differ in their path only."""

    requests: list[SubRequest]
    environ: dict[str, Any]
    """Of one of the requests, as a server gives it."""
    batch: bytes
    """All of them as one batch."""
    dialect: str = "django"
    """Of the batch."""
    content_type: str = "application/json"
    """Of the batch."""
    target: str = "/batch"
    """Where it is posted."""

    @property
    def paths(self) -> list[str]:
        return [request.target for request in self.requests]


def gets(count: int, below: str = "/items") -> Work:
    """Plain GETs, and a batch as django-batch-requests has it."""
    paths = paths_of(count, below)
    return Work(_reads(paths), environ_of("GET", paths[0]), _json({"batch": _listed(paths)}))


def listed(count: int, below: str = "/items") -> Work:
    """The same without an object around the list, which is all that django-batch-requests reads itself."""
    paths = paths_of(count, below)
    return Work(_reads(paths), environ_of("GET", paths[0]), _json(_listed(paths)))


def posts(count: int) -> Work:
    """POSTs with three headers and a JSON body, which the batch carries as a string."""
    requests = [SubRequest(number, "POST", path, [*HEADERS.items()], BODY) for number, path in enumerate(paths_of(count))]
    batch = [{"method": "POST", "url": request.target, "headers": HEADERS, "body": BODY.decode()} for request in requests]
    return Work(requests, environ_of("POST", requests[0].target, HEADERS, BODY), _json({"batch": batch}))


def routes(count: int, below: str = "/items") -> Work:
    """Plain GETs, and a batch as Flask-Aggregator has it: a list of routes."""
    paths = paths_of(count, below)
    return Work(_reads(paths), environ_of("GET", paths[0]), _json(paths), "aggregator")


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
    return Work(_reads(paths, "{}"), environ_of("GET", paths[0]), _json({"requests": items}), "graph")


def parts(count: int) -> Work:
    """Plain GETs, and a batch in multipart, as clients of Google send it."""
    return written("multipart", _reads(paths_of(count)))


def records(count: int) -> Work:
    """GETs of records of Kinto's, and a batch as its clients send it."""
    paths = paths_of(count, "/v1/buckets/shop/collections/items/records")
    return written("kinto", _reads(paths))._replace(target="/v1/batch")


def written(dialect: str, requests: list[SubRequest]) -> Work:
    """*requests*, and a batch of them as our own client writes it in *dialect*."""
    headers, batch = speaker(dialect).write(requests)
    first = requests[0]
    return Work(requests, environ_of(first.method, first.target, dict(first.headers), first.body), batch, dialect, dict(headers)["Content-Type"])


def speaker(dialect: str) -> Dialect:
    """What writes batches in *dialect*, and reads the answers to them."""
    speaks: Dialect = member(dialects, dialect)()
    return speaks


def _reads(paths: list[str], named: str = "<{}>") -> list[SubRequest]:
    return [SubRequest(number, "GET", path, [], id=named.format(number)) for number, path in enumerate(paths)]


def _listed(paths: list[str]) -> list[dict[str, str]]:
    return [{"method": "GET", "url": path} for path in paths]


def paths_of(count: int, below: str = "/items") -> list[str]:
    return [f"{below}/{number}" for number in range(count)]


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
