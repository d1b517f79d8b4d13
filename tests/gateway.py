"""A WSGI server in miniature: it builds an environ, calls an app as PEP 3333 says, and keeps what comes back."""

import io
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

Item = dict[str, Any]


class Answer(NamedTuple):
    """What an app answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of the first header of this name."""
        return next((value for found, value in self.headers if found.lower() == name.lower()), None)

    def json(self) -> Any:
        """The body, read as strictly as RFC 8259 allows."""
        return json.loads(self.body.decode(), parse_constant=_refuse)

    @property
    def items(self) -> list[Item]:
        """The items of an answer in the dialect ``django``."""
        found = self.json()
        return list(found["batch"] if isinstance(found, dict) else found)

    @property
    def statuses(self) -> list[int]:
        return [found["status_code"] for found in self.items]

    @property
    def codes(self) -> list[str]:
        """The codes of the problem documents among the items; the word ``ran`` for what is none."""
        return [problem(found).get("code", "ran") for found in self.items]


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def problem(item: Item) -> Item:
    """The problem document that an item of the dialect ``django`` was answered with; empty when it is none."""
    is_problem = item["headers"].get("Content-Type") == "application/problem+json"
    return dict(json.loads(item["body"])) if is_problem else {}


def shown(item: Item) -> Item:
    """What :func:`tests.apps.show` or :func:`tests.apps.mirror` answered an item with."""
    assert item["status_code"] == 200, item
    return dict(json.loads(item["body"]))


def get(url: str, **headers: str) -> Item:
    """An item of the dialect ``django``."""
    return {"method": "GET", "url": url, "headers": {name.replace("_", "-"): value for name, value in headers.items()}}


def environ_of(body: bytes = b"", path: str = "/batch", **changes: Any) -> dict[str, Any]:
    """The environ of a POST; a change to None leaves the key out."""
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": "internal",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "shop.example",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    return {key: value for key, value in environ.items() if value is not None}


def send(app: Any, environ: dict[str, Any]) -> Answer:
    """Call *app* once and read its answer to the end."""
    started: list[tuple[str, list[tuple[str, str]]]] = []
    written: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        assert not started or exc_info, "start_response was called twice"
        started[:] = [(status, headers)]
        return written.append

    result: Iterable[bytes] = app(environ, start_response)
    try:
        body = b"".join(result)
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()
    [(status, headers)] = started
    return Answer(int(status[:3]), headers, b"".join(written) + body)


def post(app: Any, batch: object, **changes: Any) -> Answer:
    """Send *batch*, bytes or what JSON can say, as a POST."""
    body = batch if isinstance(batch, bytes) else json.dumps(batch).encode()
    return send(app, environ_of(body, **changes))
