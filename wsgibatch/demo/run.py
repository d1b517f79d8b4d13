"""The demo app behind a real gunicorn, and the client that sends it a batch in each dialect."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from importlib import import_module
from pathlib import Path
from secrets import token_hex
from socket import create_server
from tempfile import TemporaryDirectory

from msgspec import Struct

from .. import _lookup, dialects
from .._timing import read_timing
from ..errors import WSGIBatchError
from ..model import Headers, SubRequest, SubResponse
from ..protocols import Dialect

CONFIGURATION = Path(__file__).with_name("demo.ini")
PATH = "/batch"
"""Where the ini file has batches posted."""

_NOTE = b'{"author":"mary","text":"Ask for everything at once"}'

# The reports run side by side; the POST waits for what stands before it, and what stands behind it sees what it wrote.
_REQUESTS = (
    ("GET", "/notes", b""),
    ("GET", "/notes/1", b""),
    ("GET", "/notes/99999", b""),
    ("GET", "/reports/authors", b""),
    ("GET", "/reports/words", b""),
    ("POST", "/notes", _NOTE),
    ("GET", "/notes/newest", b""),
    ("GET", "/chart.png", b""),
    ("GET", "/error", b""),
)


# Of these the first is guarded by a key that is made of the batch's.
_KEYED = (
    ("POST", "/notes", b'{"author":"mary","text":"Add this once, however often it is sent"}'),
    ("GET", "/notes/newest", b""),
)


class DemoError(WSGIBatchError):
    """The demo cannot be shown; the message says why."""


class Exchange(Struct):
    """A batch as it was sent, and what came back."""

    title: str
    """The dialect, and what is special about the batch."""
    requests: list[SubRequest]
    sent: int
    """Bytes of the batch."""
    received: int
    """Bytes of its answer."""
    answers: list[SubResponse]
    times: dict[int, tuple[float, float]]
    """Start and duration, in seconds, by the index of the item."""


class Server:
    """A gunicorn that runs the demo app."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self._process, self._port = process, port
        self.log = log
        self.base = f"http://127.0.0.1:{port}"

    def ask(self, method: str, path: str, headers: Headers, body: bytes) -> tuple[int, Headers, bytes]:
        """Status, headers and body of the answer.

        :raises DemoError: when there is none.
        """
        connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        except (OSError, HTTPException) as error:
            raise DemoError(f"gunicorn does not answer ({error!r}); {self._last_words()}") from error
        finally:
            connection.close()

    def wait(self) -> None:
        """Wait until gunicorn ends by itself, which it should not.

        :raises DemoError: when it has.
        """
        status = self._process.wait()
        raise DemoError(f"gunicorn ended with status {status}; {self._last_words()}")

    def _last_words(self) -> str:
        return "the end of its log:\n" + "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])


@contextmanager
def server() -> Iterator[Server]:
    """A gunicorn on a free loopback port, listening from the start and ended with the block.

    :raises DemoError: when what it needs is not installed, or it does not start.
    """
    try:
        import_module("gunicorn")
        import_module("paste.deploy")
    except ImportError as error:
        raise DemoError(f"the demo needs gunicorn and PasteDeploy ({error}): pip install 'wsgibatch[demo]'") from None
    with TemporaryDirectory(prefix="wsgibatch-demo-") as folder:
        process, port = _started(Path(folder))
        try:
            started = Server(process, port, Path(folder, "gunicorn.log"))
            # The answer comes as soon as a worker is there to give it.
            started.ask("GET", "/notes", [], b"")
            yield started
        finally:
            _end(process)


def _started(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """gunicorn, and the port where it will answer. What it writes goes to *folder*, which keeps it away from other gunicorns of the user."""
    environ = {name: value for name, value in os.environ.items() if name != "GUNICORN_CMD_ARGS"}
    environ |= {"TMPDIR": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    # It is given a socket that listens already, so nobody can take the port, and what connects early only has to wait.
    with create_server(("127.0.0.1", 0)) as listener, (folder / "gunicorn.log").open("wb") as log:
        options = ["--paste", str(CONFIGURATION), "--bind", f"fd://{listener.fileno()}", "--worker-class", "gthread", "--threads", "4"]
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for us: it is we who end it, its workers included.
            process_group=0,
            pass_fds=[listener.fileno()],
        )
        return process, listener.getsockname()[1]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
    finally:
        # It did not obey, or somebody was impatient and pressed Ctrl-C again.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def speakers() -> dict[str, Dialect]:
    """Every dialect that a batch can be written in, by its name."""
    return {word: _lookup.member(dialects, word)() for word in _lookup.members(dialects) if word != "auto"}


def sayable(dialect: Dialect) -> list[SubRequest]:
    """The requests of the demo, without those that *dialect* has no way to say."""
    requests: list[SubRequest] = []
    for spoken in _REQUESTS:
        request = _request(len(requests), *spoken)
        try:
            dialect.write([request])
        except ValueError:
            continue
        requests.append(request)
    return requests


def _request(index: int, method: str, target: str, body: bytes) -> SubRequest:
    return SubRequest(index, method, target, [("Content-Type", "application/json")] if body else [], body)


def exchanged(server: Server, word: str, dialect: Dialect) -> Exchange:
    """A batch in *dialect*, sent and answered.

    :raises DemoError: when the batch is refused, or its answer cannot be read.
    """
    return _exchanged(server, word, dialect, sayable(dialect), [])


def sent_twice(server: Server, word: str, dialect: Dialect) -> list[Exchange]:
    """A batch with an idempotency key, and the same once more.

    :raises DemoError: as :func:`exchanged`.
    """
    requests = [_request(index, *spoken) for index, spoken in enumerate(_KEYED)]
    key = ("Idempotency-Key", token_hex(8))
    titles = (f"{word}, with {key[0]} {key[1]}", f"{word}, the same once more")
    return [_exchanged(server, title, dialect, requests, [key]) for title in titles]


def _exchanged(server: Server, title: str, dialect: Dialect, requests: list[SubRequest], further: Headers) -> Exchange:
    headers, body = dialect.write(requests)
    status, answer_headers, answer = server.ask("POST", PATH, [*headers, *further], body)
    if status >= 400:
        raise DemoError(f"the batch in the dialect {title} was refused with {status}: {answer.decode(errors='replace')}")
    try:
        answers = dialect.read(answer_headers, answer, requests)
    except ValueError as error:
        raise DemoError(f"the answer in the dialect {title} cannot be read: {error}") from error
    return Exchange(title, requests, len(body), len(answer), answers, read_timing(answer_headers))
