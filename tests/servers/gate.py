"""A gate on the way of an item in another process: a test knows that the item has come to it, and says when it may pass."""

import contextlib
import socket
from collections.abc import Iterator


class Gate:
    """The test's side.

    :param listener: a socket that listens.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._waiting: list[socket.socket] = []
        self.port: int = listener.getsockname()[1]

    def reached(self) -> None:
        """Wait until somebody has come to the gate."""
        waiting, _ = self._listener.accept()
        self._waiting.append(waiting)

    def open(self) -> None:
        """Let those who have come pass."""
        while self._waiting:
            with self._waiting.pop() as waiting:
                waiting.sendall(b"!")


@contextlib.contextmanager
def gate() -> Iterator[Gate]:
    """A gate; whoever waits at its end passes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        made = Gate(listener)
        try:
            yield made
        finally:
            made.open()


def pass_gate(port: int) -> None:
    """The item's side: wait at the gate that has this *port*."""
    with socket.create_connection(("127.0.0.1", port)) as waiting:
        waiting.recv(1)
