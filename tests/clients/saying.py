"""A server that answers whatever a test has it say, byte for byte."""

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

Say = Callable[[bytes, bytes], Iterable[bytes]]
"""Gives the pieces of the answer to a request, of which it is told the head and the body."""

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Saying:
    """Answers one request on each connection, and closes it."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.heads: list[bytes] = []
        """Of the requests that came."""
        self.left = threading.Event()
        """Has a client closed a connection before its answer was at an end?"""
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def batch(self) -> str:
        return self.base + "/batch"

    def close(self) -> None:
        # What waits in accept() is woken by nothing else.
        self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._threads.append(threading.Thread(target=self._answer, args=(connection,)))
                self._threads[-1].start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            head = b"".join(iter(stream.readline, b"\r\n"))
            length = _LENGTH.search(head)
            body = stream.read(int(length[1])) if length else b""
            self.heads.append(head)
            try:
                for piece in self._say(head, body):
                    connection.sendall(piece)
            except OSError:
                self.left.set()


@contextlib.contextmanager
def saying(say: Say) -> Iterator[Saying]:
    server = Saying(say)
    try:
        yield server
    finally:
        server.close()


def told(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer."""
    return head_of(status, Content_Length=str(len(body)), **headers) + body


def head_of(status: int, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Said So", "Connection: close", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def item(body: str = "x", status: int = 200, headers: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The answer to a request in the dialect django."""
    return {"status_code": status, "reason_phrase": "", "headers": dict(headers or {}), "body": body, **more}


def items(*answers: dict[str, Any], **headers: str) -> Say:
    """A batch answered in the dialect django, all at once."""
    return lambda _head, _body: [told(200, json.dumps(answers).encode(), Content_Type="application/json", **headers)]


def lines(*said: dict[str, Any], then: bytes = b"") -> Say:
    """A batch answered in lines; *then* again and again."""

    def say(_head: bytes, _body: bytes) -> Iterator[bytes]:
        yield head_of(200, Content_Type="application/x-ndjson") + b"".join(json.dumps(line).encode() + b"\n" for line in said)
        while then:
            yield then

    return say
