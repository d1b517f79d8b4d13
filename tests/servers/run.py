"""Real servers for tests: started on a free loopback port, waited for, and ended by their own process id."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(command: Sequence[str], port: int, cwd: Path | None = None, env: dict[str, str] | None = None) -> Iterator[str]:
    """Run *command* until the block is left; gives the base url once *port* answers."""
    with (
        tempfile.TemporaryFile("w+") as output,
        # gunicorn keeps a socket there that servers of one user would otherwise take from each other.
        tempfile.TemporaryDirectory() as runtime,
        subprocess.Popen(
            command, cwd=cwd, env={**os.environ, "XDG_RUNTIME_DIR": runtime, **(env or {})}, stdout=output, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            _wait(process, port, output)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
            if "PYTEST_CURRENT_TEST" in os.environ:
                # Which shows it where a test fails.
                output.seek(0)
                print(output.read(), end="")


@contextlib.contextmanager
def gunicorn(*arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> Iterator[str]:
    """A gunicorn with *arguments* (an app, worker class and the like); gives its base url."""
    port = free_port()
    with running([sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *arguments], port, cwd, env) as base:
        yield base


@contextlib.contextmanager
def waitress(app: str, *arguments: str) -> Iterator[str]:
    """A waitress that serves *app*, ``package.module:name``; gives its base url."""
    port = free_port()
    with running([sys.executable, "-m", "waitress", f"--listen=127.0.0.1:{port}", *arguments, app], port) as base:
        yield base


_WSGIREF = """
import sys
from importlib import import_module
from wsgiref.simple_server import make_server

module, name = sys.argv[2].split(":")
make_server("127.0.0.1", int(sys.argv[1]), getattr(import_module(module), name)).serve_forever()
"""


@contextlib.contextmanager
def wsgiref(app: str) -> Iterator[str]:
    """The standard library's server, one request at a time, with *app*, ``package.module:name``; gives its base url."""
    port = free_port()
    with running([sys.executable, "-c", _WSGIREF, str(port), app], port) as base:
        yield base


def _wait(process: subprocess.Popen[bytes], port: int, output: TextIO) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if process.poll() is not None:
            output.seek(0)
            raise RuntimeError(f"the server ended with {process.returncode}:\n{output.read()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError("the server did not start to listen")
