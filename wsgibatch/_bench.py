"""What ``wsgibatch bench`` does: the same requests as one batch, one by one, and on several connections."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from queue import Empty, SimpleQueue
from socket import SHUT_RDWR
from statistics import median
from time import perf_counter
from typing import TypeAlias
from urllib.parse import urljoin

import msgspec
from msgspec import Struct, field

from ._post import PostError, asked, opened, post
from ._send import Written, counted, written
from .clients._reading import Reading
from .clients._refusals import failed_batch
from .demo.show import Line, milliseconds, page, printable
from .errors import ConfigError
from .model import SAFE, Headers

CONNECTIONS = 8
"""As browsers and pools of clients have, give or take two."""
ROUNDS = 7
_LOOK = 0.05
"""Seconds between two looks at what nobody tells."""
_TOLD = 5
"""Lines on what is wrong: the rest is like them."""

Answered: TypeAlias = Callable[[], list[tuple[int, int]]]
"""Tells the place of each request, and the status of its answer."""
BATCH, ALONE = "batch", "one by one"


class Measured(Struct):
    """What was measured, and of what."""

    seconds: dict[str, float]
    """Of the median round, for each way."""
    statuses: dict[str, list[int]]
    """Of each request in the last round, for each way; 0 where the dialect tells none."""
    wrong: list[str] = field(default_factory=list)
    """What has failed, or is not the same in a batch: the numbers say little then."""


def bench(url: str, text: bytes, word: str, headers: Headers, as_json: bool, plain: bool, unsafe: bool) -> int:
    """The command.

    :return: 0 when every request has succeeded, each way, 1 when not.
    :raises ConfigError: when *text* is no batch, or one that writes without *unsafe*.
    :raises BatchFailed: when it is refused.
    :raises PostError: when a request gets no answer, or the batch one that cannot be read.
    """
    batch = written(text, word, headers)
    writing = next((request for request in batch.requests if request.method not in SAFE), None)
    if writing is not None and not unsafe:
        times = 3 * (ROUNDS + 1)
        raise ConfigError(f"{writing.method} {writing.target} would be done {times} times: --unsafe says that this does no harm")
    found = measured(url, batch, headers)
    seconds = found.seconds
    ratios = {name: time / seconds[BATCH] for name, time in seconds.items()}
    if as_json:
        whole = {"requests": len(batch.requests), "rounds": ROUNDS, "seconds": seconds, "ratios": ratios, "wrong": found.wrong}
        print(msgspec.json.format(msgspec.json.encode(whole), indent=2).decode())
    else:
        out = page(plain)
        for line in _lines(len(batch.requests), seconds, ratios, found.wrong):
            out.write(line)
    return 1 if found.wrong else 0


def measured(url: str, batch: Written, headers: Headers) -> Measured:
    """Each way, so many times.

    :raises BatchFailed: when the batch is refused.
    :raises PostError: when a request gets no answer, or the batch one that cannot be read.
    """
    with ExitStack() as stack:
        first, *others = [stack.enter_context(opened(url)) for _ in range(1 + CONNECTIONS)]
        pool = stack.enter_context(ThreadPoolExecutor(CONNECTIONS))
        ways: dict[str, Callable[[], Answered]] = {
            BATCH: lambda: _together(first, url, batch),
            ALONE: lambda: _on(first, url, _all(batch), batch, headers),
            f"{CONNECTIONS} connections": lambda: _side_by_side(pool, others, url, batch, headers),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        statuses: dict[str, list[int]] = {}
        for turn in range(1 + ROUNDS):
            for name, run in ways.items():
                began = perf_counter()
                answered = run()
                ended = perf_counter()
                statuses[name] = [status for _, status in sorted(answered())]
                # The first round opens the connections and warms the server.
                if turn:
                    times[name].append(ended - began)
        seconds = {name: median(found) for name, found in times.items()}
        return Measured(seconds, statuses, list(_wrong(batch, statuses[BATCH], statuses[ALONE])))


def _together(connection: HTTPConnection, url: str, batch: Written) -> Answered:
    status, answered, chunks = post(connection, url, batch.headers, batch.body)
    answer = b"".join(chunks)
    if not 200 <= status < 300:
        raise failed_batch(status, answered, answer)

    def read() -> list[tuple[int, int]]:
        # That is none of the server's time.
        reading = Reading(batch.dialect, batch.requests, status, answered)
        found = [(place, one.status) for place, one in [*reading.feed(answer), *reading.end()]]
        if len(found) < len(batch.requests):
            raise PostError(f"{url} has answered {len(found)} of {counted(len(batch.requests))}" + (f": {reading.fault}" if reading.fault else ""))
        return found

    return read


def _all(batch: Written) -> "SimpleQueue[int]":
    places: SimpleQueue[int] = SimpleQueue()
    for place in range(len(batch.requests)):
        places.put(place)
    return places


def _on(connection: HTTPConnection, url: str, places: "SimpleQueue[int]", batch: Written, headers: Headers) -> Answered:
    """Send requests over *connection*, one after another, while there are any."""
    found: list[tuple[int, int]] = []
    with suppress(Empty):
        while True:
            place = places.get_nowait()
            request = batch.requests[place]
            # An item has the Host of its batch.
            own = [header for header in request.headers if header[0].lower() != "host"]
            status, _, chunks = asked(connection, request.method, urljoin(url, request.target), [*headers, *own], request.body)
            for _ in chunks:
                pass
            found.append((place, status))
    return lambda: found


def _side_by_side(pool: ThreadPoolExecutor, connections: list[HTTPConnection], url: str, batch: Written, headers: Headers) -> Answered:
    places = _all(batch)
    waiting: list[Future[Answered]] = []
    try:
        waiting.extend(pool.submit(_on, connection, url, places, batch, headers) for connection in connections)
        done = [one.result() for one in waiting]
    except BaseException:
        # A thread that waits for an answer would have Ctrl-C wait for it as well.
        _cut(connections, waiting)
        raise
    return lambda: [found for one in done for found in one()]


def _cut(connections: list[HTTPConnection], waiting: list[Future[Answered]]) -> None:
    """Have whoever reads from *connections* find them at their end, until nobody does: one may be opened just now."""
    while wait(waiting, _LOOK).not_done:
        for connection in connections:
            if connection.sock is not None:
                with suppress(OSError):
                    connection.sock.shutdown(SHUT_RDWR)


def _wrong(batch: Written, together: list[int], alone: list[int]) -> Iterator[str]:
    """What is no measure of a batch that works: sentences."""
    for request, inside, outside in zip(batch.requests, together, alone, strict=True):
        asked = f"{request.method} {request.target}"
        if inside and inside != outside:
            yield f"{asked} is answered with {inside} in a batch, and with {outside} by itself"
        elif outside >= 400:
            yield f"{asked} is answered with {outside}"


def _lines(count: int, seconds: dict[str, float], ratios: dict[str, float], wrong: list[str]) -> list[Line]:
    lines: list[Line] = [[(f"{counted(count)}, the median of {ROUNDS} rounds", "dim")]]
    for name, found in seconds.items():
        ratio = "" if name == BATCH else f"  {ratios[name]:.1f} times as long"
        called = {BATCH: "in one batch", ALONE: ALONE}.get(name, f"on {name}")
        lines.append([(f"  {called:18}", "bold"), (f"{milliseconds(found):>11}", ""), (ratio, "dim")])
    lines += [[(f"  {printable(one)}", "red")] for one in wrong[:_TOLD]]
    if len(wrong) > _TOLD:
        lines.append([(f"  and {len(wrong) - _TOLD} more", "red")])
    return lines
