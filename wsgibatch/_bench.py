"""What ``wsgibatch bench`` does: the same requests as one batch, one by one, and on several connections."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from queue import Empty, SimpleQueue
from socket import SHUT_RDWR
from statistics import median
from time import perf_counter
from urllib.parse import urljoin

import msgspec

from ._post import asked, opened, post
from ._send import Written, written
from .clients._refusals import failed_batch
from .demo.show import Line, milliseconds, page
from .errors import ConfigError
from .model import SAFE, Headers

CONNECTIONS = 8
"""As browsers and pools of clients have, give or take two."""
ROUNDS = 7


def bench(url: str, text: bytes, word: str, headers: Headers, as_json: bool, plain: bool, unsafe: bool) -> int:
    """The command.

    :raises ConfigError: when *text* is no batch, or one that writes without *unsafe*.
    :raises BatchFailed: when it is refused.
    :raises PostError: when a request gets no answer.
    """
    batch = written(text, word, headers)
    writing = next((request for request in batch.requests if request.method not in SAFE), None)
    if writing is not None and not unsafe:
        times = 3 * (ROUNDS + 1)
        raise ConfigError(f"{writing.method} {writing.target} would be done {times} times: --unsafe says that this does no harm")
    seconds = measured(url, batch, headers)
    ratios = {name: found / seconds["batch"] for name, found in seconds.items()}
    if as_json:
        whole = {"requests": len(batch.requests), "rounds": ROUNDS, "seconds": seconds, "ratios": ratios}
        print(msgspec.json.format(msgspec.json.encode(whole), indent=2).decode())
        return 0
    out = page(plain)
    for line in _lines(len(batch.requests), seconds, ratios):
        out.write(line)
    return 0


def measured(url: str, batch: Written, headers: Headers) -> dict[str, float]:
    """Seconds of the median round, for each way."""
    with ExitStack() as stack:
        first, *others = [stack.enter_context(opened(url)) for _ in range(1 + CONNECTIONS)]
        pool = stack.enter_context(ThreadPoolExecutor(CONNECTIONS))
        # A thread that waits for an answer would have Ctrl-C wait for it as well.
        stack.callback(_cut, others)
        ways: dict[str, Callable[[], None]] = {
            "batch": lambda: _together(first, url, batch),
            "one by one": lambda: _on(first, url, _all(batch), batch, headers),
            f"{CONNECTIONS} connections": lambda: _side_by_side(pool, others, url, batch, headers),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(1 + ROUNDS):
            for name, run in ways.items():
                began = perf_counter()
                run()
                # The first round opens the connections and warms the server.
                if turn:
                    times[name].append(perf_counter() - began)
        return {name: median(found) for name, found in times.items()}


def _cut(connections: list[HTTPConnection]) -> None:
    """Have whoever reads from *connections* find them at their end."""
    for connection in connections:
        if connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(SHUT_RDWR)


def _together(connection: HTTPConnection, url: str, batch: Written) -> None:
    status, answered, chunks = post(connection, url, batch.headers, batch.body)
    answer = b"".join(chunks)
    if not 200 <= status < 300:
        raise failed_batch(status, answered, answer)


def _all(batch: Written) -> "SimpleQueue[int]":
    places: SimpleQueue[int] = SimpleQueue()
    for place in range(len(batch.requests)):
        places.put(place)
    return places


def _on(connection: HTTPConnection, url: str, places: "SimpleQueue[int]", batch: Written, headers: Headers) -> None:
    """Send requests over *connection*, one after another, while there are any."""
    with suppress(Empty):
        while True:
            request = batch.requests[places.get_nowait()]
            _, _, chunks = asked(connection, request.method, urljoin(url, request.target), [*headers, *request.headers], request.body)
            for _ in chunks:
                pass


def _side_by_side(pool: ThreadPoolExecutor, connections: list[HTTPConnection], url: str, batch: Written, headers: Headers) -> None:
    places = _all(batch)
    for done in [pool.submit(_on, connection, url, places, batch, headers) for connection in connections]:
        done.result()


def _lines(count: int, seconds: dict[str, float], ratios: dict[str, float]) -> list[Line]:
    lines: list[Line] = [[(f"{count} requests, the median of {ROUNDS} rounds", "dim")]]
    for name, found in seconds.items():
        ratio = "" if name == "batch" else f"  {ratios[name]:.1f} times as long"
        called = {"batch": "in one batch"}.get(name, name if name == "one by one" else f"on {name}")
        lines.append([(f"  {called:18}", "bold"), (f"{milliseconds(found):>11}", ""), (ratio, "dim")])
    return lines
