"""An item against the same request sent by itself to the same server: environ, status, headers and body are the same, but for what is listed here."""

import http.client
import json
import re
import socket
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from random import Random
from typing import Any, NamedTuple

from tests.servers import run, wire
from tests.soak.report import Bounds, Row
from tests.soak.requests import DROPPED, drawn, inherited
from wsgibatch import SubRequest, SubResponse
from wsgibatch.dialects.django import DjangoDialect
from wsgibatch.dialects.multipart import MultipartDialect
from wsgibatch.model import Headers

title = "an item against the same request sent by itself; any difference that is not listed is found"
COUNT = 100_000
"""Requests to each server."""
MOST = 100
"""Of one batch."""
_ENOUGH = 5

SERVERS: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "gunicorn": lambda: run.gunicorn("--worker-class", "gthread", "--threads", "2", "--keep-alive", "60", "tests.soak.site:app"),
    "waitress": lambda: run.waitress("tests.soak.site:app"),
    "wsgiref": lambda: run.wsgiref("tests.soak.site:app"),
}

ONLY_AN_ITEM_HAS = {
    "wsgibatch.item": "the place in the batch, by which the app can tell an item",
    "wsgi.input_terminated": "an item's body ends where it ends; the standard library's server leaves it to Content-Length",
}
ONLY_A_REQUEST_HAS = {
    "HTTP_CONNECTION": "of the connection, which is the batch's",
    "gunicorn.socket": "the connection itself",
    "wsgi.early_hints": "they would be sent in front of the batch's answer",
    "waitress.client_disconnected": "of the connection, which is the batch's",
    **{"HTTP_" + name.upper().replace("-", "_"): reason for name, reason in DROPPED.items()},
}
DIFFERS = {
    "wsgi.input": "the item's own",
    "wsgi.file_wrapper": "the standard library's: the server's own may hand a file to the connection",
}
OVER_ANOTHER_CONNECTION = {"REMOTE_PORT": "of the connection"}
ONLY_A_REQUEST_HAS_BESIDES_MULTIPART = {
    "HTTP_RANGE": "a piece of an answer would be none in a part",
}
SPELT = {
    "HTTP_": "how what is repeated is joined is each server's own affair: with a blank behind the comma, or without",
    "CONTENT_LENGTH": "an empty one is none (PEP 3333, environ Variables), and the standard library's server has that where the client has none",
}
"""What is the same in two spellings, each with the reason."""
CONTENT_TYPES = {
    "wsgiref": "its request without a Content-Type is text/plain, as that of a mail would be",
}
"""Servers that say a content type where the client has said none, each with the reason."""
OF_THE_SERVER = {
    **dict.fromkeys(("server", "date", "connection", "via", "transfer-encoding"), "of the connection"),
    "content-length": "the server adds one where the app has none, or leaves it out where there can be no body; a dialect has one where it needs it",
    "x-environ": "what it tells is compared by itself",
}
"""Headers of answers, each with the reason why it is not compared."""
OF_CONTENT = {
    "content-type": "in multipart an answer without content has no content type",
}


class Direct:
    """A connection over which one request goes after another, and a new one where the server ends it."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._connection: socket.socket | None = None
        self.made = 0
        """How many connections it has had so far."""

    def send(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> wire.Answer:
        if self._connection is None:
            self._connection = wire.connected(self._base)
            self.made += 1
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
        self._connection.sendall("\r\n".join(lines).encode("latin-1") + body)
        response = http.client.HTTPResponse(self._connection, method=method)
        response.begin()
        answer = wire.Answer(response.status, response.reason, response.getheaders(), response.read())
        if response.will_close:
            self.close()
        return answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Way(NamedTuple):
    """How a batch goes."""

    dialect: Any
    textual: bool


WAYS = [Way(DjangoDialect(), textual=True), Way(MultipartDialect(), textual=False)]


def soak(bounds: Bounds) -> Iterator[Row]:
    for name, share in bounds.shared(list(SERVERS)):
        yield _compared(name, share)


def _compared(name: str, bounds: Bounds) -> Row:
    row = Row(name, 0, bounds.wanted(COUNT), 0.0, [])
    began = time.monotonic()
    chance = Random(name)
    with SERVERS[name]() as base:
        connection = Direct(base)
        try:
            while row.count < row.wanted and time.monotonic() < bounds.until and len(row.findings) < _ENOUGH:
                way = chance.choice(WAYS)
                requests = [drawn(chance, index, way.textual) for index in range(min(chance.randint(1, MOST), row.wanted - row.count))]
                try:
                    row.findings += _differences(name, connection, way, requests, inherited(chance))[: _ENOUGH - len(row.findings)]
                except Exception as error:
                    row.findings.append(f"{type(error).__name__}: {error}"[:1500])
                    # What comes over it next may belong to what came before.
                    connection.close()
                row.count += len(requests)
        finally:
            connection.close()
    row.seconds = time.monotonic() - began
    return row


def _differences(server: str, connection: Direct, way: Way, requests: list[SubRequest], shared: Headers) -> list[str]:
    """What is different between *requests* as items, and by themselves.

    :param shared: headers of the batch, which each request by itself has where it brings none of that name.
    """
    headers, batch = way.dialect.write(requests)
    answer = connection.send("POST", "/batch", [("Host", "shop.example"), *shared, *headers, ("Content-Length", str(len(batch)))], batch)
    if answer.status != 200:
        raise RuntimeError(f"the batch {batch!r} was answered with {answer}")
    made = connection.made
    found: list[str] = []
    for request, item in zip(requests, way.dialect.read(answer.headers, answer.body, requests), strict=True):
        sent = _alone(connection, request, shared)
        difference = _difference(server, request, sent, item, way, connection.made == made)
        if difference is not None:
            found.append(f"{request.method} {request.target} {request.headers} {request.body[:100]!r}: {difference}"[:1500])
    return found


def _alone(connection: Direct, request: SubRequest, shared: Headers) -> wire.Answer:
    body = request.body
    # Clients announce a body of no bytes with these methods only.
    length = [("Content-Length", str(len(body)))] if body or request.method in ("POST", "PUT", "PATCH") else []
    own = {name.lower() for name, _ in request.headers}
    headers = [*request.headers, *(field for field in shared if field[0].lower() not in own)]
    return connection.send(request.method, request.target, [("Host", "shop.example"), *headers, *length], body)


def _difference(server: str, request: SubRequest, sent: wire.Answer, item: SubResponse, way: Way, together: bool) -> str | None:
    """What is different, in a sentence.

    :param together: have the two come over one connection?
    """
    if (item.status, item.reason) != (sent.status, sent.reason):
        return f"{item.status} {item.reason} is not {sent.status} {sent.reason}: {item.body[:200]!r}"
    bare = not way.textual and item.status in (204, 304)
    headers, direct = (_comparable(given, OF_THE_SERVER | (OF_CONTENT if bare else {})) for given in (item.headers, sent.headers))
    if headers != direct:
        return f"headers {headers} are not {direct}"
    if _content(item) != _content(sent):
        return f"body {item.body!r} is not {sent.body!r}"
    left_out = set() if together else OVER_ANOTHER_CONNECTION.keys()
    environs = (_spelt(_environ(given), request) for given in (item, sent))
    return _difference_of(server, way, *({key: value for key, value in environ.items() if key not in left_out} for environ in environs))


def _told(answer: SubResponse | wire.Answer) -> bytes | None:
    """What the header tells of the request, where the body does not."""
    return next((b64decode(value) for name, value in answer.headers if name == "X-Environ"), None)


def _content(answer: SubResponse | wire.Answer) -> tuple[bytes | None, bool]:
    """The body, byte for byte, where it does not tell of the request; and where it does, whether it is as the site writes it."""
    if _told(answer) is not None:
        return answer.body, True
    return None, json.dumps(json.loads(answer.body), sort_keys=True).encode() == answer.body


def _environ(answer: SubResponse | wire.Answer) -> dict[str, Any]:
    """What the site has told of the request."""
    environ: dict[str, Any] = json.loads(_told(answer) or answer.body)
    return environ


def _difference_of(server: str, way: Way, item: dict[str, Any], sent: dict[str, Any]) -> str | None:
    """The same, of environs."""
    differs = set(DIFFERS)
    if server in CONTENT_TYPES and "CONTENT_TYPE" not in item:
        differs.add("CONTENT_TYPE")
    more = item.keys() - sent.keys() - ONLY_AN_ITEM_HAS.keys() - differs
    less = sent.keys() - item.keys() - ONLY_A_REQUEST_HAS.keys() - differs
    if not way.textual:
        less -= ONLY_A_REQUEST_HAS_BESIDES_MULTIPART.keys()
    other = {key: (item[key], sent[key]) for key in item.keys() & sent.keys() - differs if item[key] != sent[key]}
    if more or less or other:
        return f"only the item has {sorted(more)}, only the request has {sorted(less)}, and these differ: {other}"
    taken = item.keys() & {"HTTP_" + name.upper().replace("-", "_") for name in DROPPED}
    return f"an item may not set {sorted(taken)}" if taken else None


def _spelt(environ: dict[str, Any], request: SubRequest) -> dict[str, Any]:
    """*environ* in one spelling."""
    times = Counter("HTTP_" + name.upper().replace("-", "_") for name, _ in request.headers)
    spelt = {key: _BLANKS.sub(",", value) if times[key] > 1 else value for key, value in environ.items()}
    return {key: value for key, value in spelt.items() if (key, value) != ("CONTENT_LENGTH", "")}


_BLANKS = re.compile(" *, *")


def _comparable(headers: list[tuple[str, str]], left_out: dict[str, str]) -> dict[str, list[str]]:
    """*headers* by name in lower case; what is repeated is joined as JSON joins it, but for cookies."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if name.lower() not in left_out:
            found.setdefault(name.lower(), []).append(value)
    return {name: values if name == "set-cookie" else [", ".join(values)] for name, values in found.items()}
