"""A meeting place for items, whatever process they run in: each that comes says who it is, and stays until it is let go."""

import os
import socket
from typing import NamedTuple, Self

PATIENCE = 30
"""Seconds after which something that should happen is held never to happen."""


class Visitor(NamedTuple):
    """An item at the gate."""

    connection: socket.socket
    name: str
    pid: int
    """Of the process that it runs in."""

    def go(self) -> None:
        """Let it go on."""
        self.connection.sendall(b"!")
        self.connection.close()


class Gate:
    """Where items wait, for a test to see who is there."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self._listening.settimeout(PATIENCE)
        self._connections: list[socket.socket] = []
        self.port = str(self._listening.getsockname()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._listening.close()
        for connection in self._connections:
            connection.close()

    def visitor(self) -> Visitor:
        """The next that comes."""
        connection, _ = self._listening.accept()
        self._connections.append(connection)
        connection.settimeout(PATIENCE)
        with connection.makefile() as told:
            name, pid = told.readline().split()
        return Visitor(connection, name, int(pid))

    def visitors(self, count: int) -> dict[str, Visitor]:
        """The next *count* that come, by their names."""
        return {visitor.name: visitor for visitor in (self.visitor() for _ in range(count))}


def visit(port: str, name: str) -> None:
    """Come to the gate, and wait there."""
    with socket.create_connection(("127.0.0.1", int(port)), timeout=PATIENCE) as connection:
        connection.sendall(f"{name} {os.getpid()}\n".encode())
        if not connection.recv(1):
            raise ConnectionError("the gate was closed")
