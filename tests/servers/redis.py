"""A Redis of the tests' own: a new server on a free port of the loopback, which writes nothing down."""

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import TextIO

from redis import Redis, RedisError, ResponseError

from tests.servers.run import free_port


class Server:
    """A server that can be ended and started again, on the same port, with nothing left in it but what it was told to save."""

    def __init__(self, program: str, directory: str, output: TextIO, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        careless = ["--save", "", "--appendonly", "no"]
        self._command = [program, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", directory, *careless, *options]
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it takes connections then, and may still be loading what it has saved."""
        self._process = subprocess.Popen(self._command, stdout=self._output, stderr=subprocess.STDOUT)
        until = time.monotonic() + 30
        while self._process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(RedisError), self.client() as client:
                # Whoever else may have got the port in the meantime is not ours.
                if client.info("server")["process_id"] == self._process.pid:
                    return
            time.sleep(0.01)
        self._output.seek(0)
        raise RuntimeError(f"Redis did not start:\n{self._output.read()}")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=30)
            self._process = None

    def save(self, keys: int) -> None:
        """Write *keys* down, which mean nothing: the server loads them whenever it starts, and takes its time where its options say so."""
        with self.client() as client:
            client.mset({f"filler {number}": bytes(1024) for number in range(keys)})
            client.save()

    def client(self) -> Redis:
        """A client, for what a test does behind the back of a store."""
        return Redis.from_url(self.url)

    def empty_url(self) -> str:
        """The url, and nothing is in there any more."""
        with self.client() as client:
            client.flushall()
        return self.url


def program() -> str | None:
    """Where the server is, if there is one."""
    return shutil.which("redis-server")


@contextlib.contextmanager
def running(program: str, *options: str) -> Iterator[Server]:
    """A server until the block is left, with *options* of its command line."""
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile("w+") as output:
        server = Server(program, directory, output, *options)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@contextlib.contextmanager
def loading(program: str, keys: int, seconds: float) -> Iterator[Server]:
    """A server that takes some *seconds* for its *keys* whenever it is started again; calls that come meanwhile are answered that it is loading."""
    delay = ["--key-load-delay", str(int(seconds / keys * 1e6)), "--loading-process-events-interval-bytes", "1024", "--rdbcompression", "no"]
    with running(program, *delay) as server:
        server.save(keys)
        yield server


@contextlib.contextmanager
def cluster(program: str) -> Iterator[Server]:
    """A cluster of one server, which refuses what a larger one would refuse."""
    with running(program, "--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server, server.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with contextlib.suppress(ResponseError):
                client.delete("nothing")
                yield server
                return
            time.sleep(0.01)
        raise RuntimeError("the cluster did not come up")
