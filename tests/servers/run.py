"""Real servers for tests: started on a free loopback port, waited for, and ended by their own process id."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(command: Sequence[str], port: int, cwd: Path | None = None, env: dict[str, str] | None = None) -> Iterator[str]:
    """Run *command* until the block is left; gives the base url once *port* answers."""
    with subprocess.Popen(command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            _wait(process, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def gunicorn(*arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> Iterator[str]:
    """A gunicorn with *arguments* (an app, worker class and the like); gives its base url."""
    port = free_port()
    with running([sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *arguments], port, cwd, env) as base:
        yield base


def _wait(process: subprocess.Popen[str], port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}:\n{process.stdout.read() if process.stdout else ''}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError("the server did not start to listen")
