"""Requests as bytes on a socket, so that nothing stands between a test and a server."""

import contextlib
import http.client
import socket
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes


def connected(base: str) -> socket.socket:
    """A connection to the server at *base*."""
    place = urlsplit(base)
    return socket.create_connection((place.hostname, place.port), timeout=30)


@contextlib.contextmanager
def begun(base: str, method: str, target: str, headers: list[tuple[str, str]], body: bytes = b"") -> Iterator[http.client.HTTPResponse]:
    """Send one request over a connection of its own, header for header as given; gives the answer, of which nothing but the head has been read."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "Connection: close", "", ""]
    with connected(base) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1") + body)
        with http.client.HTTPResponse(connection, method=method) as response:
            response.begin()
            yield response


def exchanged(base: str, method: str, target: str, headers: list[tuple[str, str]], body: bytes = b"") -> Answer:
    """The same, and read the answer."""
    with begun(base, method, target, headers, body) as response:
        return Answer(response.status, response.reason, response.getheaders(), response.read())


def head_of(batch: bytes, host: str = "shop.example") -> list[tuple[str, str]]:
    """The headers of a batch in JSON."""
    return [("Host", host), ("Content-Type", "application/json"), ("Content-Length", str(len(batch)))]


def post(base: str, batch: bytes, *headers: tuple[str, str], host: str = "shop.example", target: str = "/batch") -> Answer:
    """Send a batch in JSON."""
    return exchanged(base, "POST", target, [*head_of(batch, host), *headers], batch)
