"""Requests as bytes on a socket, so that nothing stands between a test and a server."""

import http.client
import socket
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


def exchanged(base: str, method: str, target: str, headers: list[tuple[str, str]], body: bytes = b"") -> Answer:
    """Send one request over a connection of its own, header for header as given, and read the answer."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "Connection: close", "", ""]
    with connected(base) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1") + body)
        response = http.client.HTTPResponse(connection, method=method)
        response.begin()
        return Answer(response.status, response.reason, response.getheaders(), response.read())


def post(base: str, batch: bytes, *headers: tuple[str, str], host: str = "shop.example") -> Answer:
    """Send a batch in JSON."""
    return exchanged(
        base, "POST", "/batch", [("Host", host), ("Content-Type", "application/json"), ("Content-Length", str(len(batch))), *headers], batch
    )
