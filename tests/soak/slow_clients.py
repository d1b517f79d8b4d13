"""Clients that take their time: over connections as small as those of a network, so that a server has to wait for each of them."""

import contextlib
import http.client
import io
import json
import socket
import struct
from collections.abc import Sequence
from urllib.parse import urlsplit

from tests.servers import wire

ITEMS = 20
ENDPOINTS = ("/whole", "/streamed", "/pooled")
_PATIENCE = 30
# A connection that is closed with this is reset.
_RESET = struct.pack("ii", 1, 0)


class Wrong(Exception):
    """An answer is not what it has to be."""


class Slow:
    """A client that takes its time, and then stays for its answer, resets its connection or closes it. It has sent the head of its batch.

    :param name: what its tokens begin with.
    :param number: which of them it is, and with that what becomes of it.
    """

    lines = 1
    """Of each answer."""
    kind = "lines"
    """What all items but the first do."""
    endpoints: tuple[str, ...] = ENDPOINTS
    fates: tuple[str, ...] = ("stays", "resets", "closes")

    def __init__(self, base: str, name: str, number: int) -> None:
        self.fate = self.fates[number // len(self.endpoints) % len(self.fates)]
        self.tokens = [f"{name}-{number}-{index}" for index in range(ITEMS)]
        self.body = batch(self.tokens, self.lines, self.kind)
        self.connection = _connected(base)
        self.raw = b""
        self.connection.sendall(head(self.endpoints[number % len(self.endpoints)], self.body, ("X-Slow", "1")))

    def step(self) -> None:
        """What it does in a second."""
        raise NotImplementedError

    def ran_well(self, times: int) -> bool:
        """May an item of it have run so many times?"""
        return times == 1 if self.fate == "stays" else times <= 1

    def end(self) -> None:
        """It has been slow for long enough.

        :raises Wrong: when it stays, and is not answered right.
        """
        with self.connection:
            if self.fate == "resets":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            elif self.fate == "stays":
                self.finish()
                check(self.raw, self.tokens, self.lines)

    def finish(self) -> None:
        """Read what is left of the answer, as fast as it comes."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.raw += rest(self.connection)


class Reader(Slow):
    """Reads 1 KB/s of an answer that is many times as large as what the kernel holds of it."""

    lines = 1000

    def __init__(self, base: str, name: str, number: int) -> None:
        super().__init__(base, name, number)
        self.connection.sendall(self.body)

    def step(self) -> None:
        piece = self.connection.recv(1024)
        if not piece:
            raise Wrong(f"an answer ended after {len(self.raw)} bytes")
        self.raw += piece


class Writer(Slow):
    """Writes 1 B/s. What it closes lacks no more than the blank behind the batch, and is not all that was announced."""

    def __init__(self, base: str, name: str, number: int) -> None:
        super().__init__(base, name, number)
        self.sent = 0

    def step(self) -> None:
        self.sent += self.connection.send(self.body[self.sent : self.sent + 1])

    def ran_well(self, times: int) -> bool:
        return times == (self.fate == "stays")

    def end(self) -> None:
        if self.fate == "closes":
            self.connection.sendall(self.body[self.sent : -1])
        super().end()

    def finish(self) -> None:
        self.connection.sendall(self.body[self.sent :])
        super().finish()

    def see_end(self) -> None:
        """The server has ended it.

        :raises Wrong: when it was answered as if it had sent all.
        """
        with contextlib.suppress(ConnectionResetError):
            self.raw = rest(self.connection)
        if self.raw and not self.raw.startswith(b"HTTP/1.1 5"):
            raise Wrong(f"{self.sent} of {len(self.body)} bytes were answered with {self.raw[:200]!r}")


class Idle(Slow):
    """Has the first answer of a stream, and waits for the others."""

    kind = "wait"
    endpoints = ("/streamed",)
    fates = ("stays",)

    def __init__(self, base: str, name: str, number: int) -> None:
        super().__init__(base, name, number)
        self.connection.sendall(self.body)

    def step(self) -> None:
        """It comes to where it waits."""
        while self.tokens[0].encode() not in self.raw:
            piece = self.connection.recv(1024)
            if not piece:
                raise Wrong(f"a stream ended after {self.raw!r}")
            self.raw += piece


def batch(tokens: Sequence[str], lines: int, kind: str = "lines") -> bytes:
    """A batch that has an item for each of *tokens*, and a blank behind it."""
    urls = [f"/{kind if place else 'lines'}/{token}/{lines}" for place, token in enumerate(tokens)]
    return json.dumps([{"method": "GET", "url": url} for url in urls]).encode() + b" "


def head(endpoint: str, body: bytes, *more: tuple[str, str]) -> bytes:
    """What stands in front of *body* where it is posted to *endpoint*."""
    fields = [*wire.head_of(body), *more, ("Connection", "close")]
    return "\r\n".join([f"POST {endpoint} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]).encode("latin-1")


def rest(connection: socket.socket) -> bytes:
    """What comes over *connection* until it is closed."""
    pieces = []
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def check(raw: bytes, tokens: Sequence[str], lines: int) -> None:
    """Is *raw* the whole answer to the batch of *tokens*, each item in its place and with *lines* of its own?

    :raises Wrong: when it is not.
    """
    response = http.client.HTTPResponse(_Received(raw), method="POST")  # type: ignore[arg-type]  # it has what is used of a socket
    response.begin()
    told = response.read()
    if response.status != 200:
        raise Wrong(f"a batch was answered with {response.status} {told[:200]!r}")
    answers = [(answer["status_code"], answer["body"]) for answer in json.loads(told)]
    if answers != [(200, "".join(f"{token} {number:>40}\n" for number in range(lines))) for token in tokens]:
        raise Wrong(f"{len(answers)} answers to {len(tokens)} items of {tokens[0]}, and not all their own: {told[:200]!r}")


class _Received:
    """What has come over a connection."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._raw)


def _connected(base: str) -> socket.socket:
    """A connection whose segments are as small as on a network: on loopback they are so large that the kernel takes megabytes for any client."""
    place = urlsplit(base)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
    connection.settimeout(_PATIENCE)
    connection.connect((place.hostname, place.port))
    return connection
