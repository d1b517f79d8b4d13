"""Real servers whose workers are killed, and clients that go away: what has a key is done once at most, however often it is sent."""

import http.client
import json
import os
import signal
import socket
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from tests.servers import run, wire
from tests.soak.report import Bounds, Row

title = "items with keys, on a gunicorn whose workers are killed two by two; any that is done twice, or answered and not done, is found"
COUNT = 10_000
CLIENTS = 64
WORKERS, THREADS = 4, 8
_PATIENCE = 120
"""Seconds after which an item that nobody settles is held to be stuck."""
_MOST = 20
_LARGE = 10_000
"""Dots behind a large answer."""
_ENOUGH = 5
# A connection that is closed with this is reset.
_RESET = struct.pack("ii", 1, 0)


class Client:
    """One of many that send batches again until each item is settled.

    :param row: where what is settled is counted.
    """

    def __init__(self, number: int, base: str, row: Row, lock: threading.Lock) -> None:
        self._number, self._base, self.row, self._lock = number, base, row, lock
        self._chance = Random(number)
        self._tokens = count()
        self.done: set[str] = set()
        """What was answered as done."""
        self.never: set[str] = set()
        """What was never sent whole."""
        self.lost: set[str] = set()
        """What nobody knows of whether it was done."""
        self.again = 0

    def post(self) -> None:
        """One batch, until it is settled."""
        items = [self._item() for _ in range(self._chance.randint(1, _MOST))]
        body = json.dumps(items).encode()
        if self._chance.random() < 0.05:
            self.never |= {_token(item) for item in items}
            self._cut_off(body, len(body) // 2)
            return
        if self._chance.random() < 0.05:
            # It has all come, and nobody waits for the answer.
            self._cut_off(body, len(body))
        until = time.monotonic() + _PATIENCE
        while not self._settled(items, body):
            self.again += 1
            if time.monotonic() > until:
                raise TimeoutError(f"{items} was not settled in {_PATIENCE} seconds")
            time.sleep(0.05)
        with self._lock:
            self.row.count += sum(item["method"] == "POST" for item in items)

    def _item(self) -> dict[str, Any]:
        token = f"c{self._number}-{next(self._tokens)}"
        if self._chance.random() < 0.3:
            return {"method": "GET", "url": f"/read/{token}/{self._chance.choice((0, _LARGE))}"}
        return {"method": "POST", "url": f"/note/{token}/0", "headers": {"Idempotency-Key": token}}

    def _cut_off(self, body: bytes, sent: int) -> None:
        try:
            with wire.connected(self._base) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                connection.sendall(_head(body) + body[:sent])
                time.sleep(self._chance.random() / 50)
        except OSError:
            # The worker was killed first.
            return

    def _settled(self, items: list[dict[str, Any]], body: bytes) -> bool:
        """Has each of *items* an answer that stays?"""
        try:
            answered = self._answers(body)
        except (OSError, http.client.HTTPException):
            # It broke off.
            return False
        if answered is None:
            return False
        if len(answered) != len(items):
            raise ValueError(f"{len(answered)} answers to {len(items)} items")
        settled = True
        for item, answer in zip(items, answered, strict=True):
            status, text = answer["status_code"], answer["body"]
            if status in (200, 201):
                if text != _token(item) + "." * int(item["url"].split("/")[3]):
                    raise ValueError(f"{item} was answered with {len(text)} characters, {text[:200]}")
                if status == 201:
                    self.done.add(_token(item))
            elif status == 503 or (status == 409 and "in-flight" in text):
                settled = False
            elif status == 409 and "outcome-unknown" in text:
                self.lost.add(_token(item))
            else:
                raise ValueError(f"{item} was answered with {answer}")
        return settled

    def _answers(self, body: bytes) -> list[dict[str, Any]] | None:
        """The items of the answer, or None where the server has none."""
        with wire.connected(self._base) as connection:
            connection.settimeout(_PATIENCE)
            connection.sendall(_head(body) + body)
            with http.client.HTTPResponse(connection, method="POST") as response:
                response.begin()
                told = self._slowly(response) if self._chance.random() < 0.02 else response.read()
        if response.status >= 500:
            return None
        try:
            found: list[dict[str, Any]] = json.loads(told)
        except ValueError:
            # A stream has no length, so that its end is told by what it holds.
            raise http.client.IncompleteRead(told) from None
        return found

    def _slowly(self, response: http.client.HTTPResponse) -> bytes:
        pieces = []
        while piece := response.read(4096):
            pieces.append(piece)
            time.sleep(0.02)
        return b"".join(pieces)


def _head(body: bytes) -> bytes:
    fields = [*wire.head_of(body), ("Authorization", "Bearer anna"), ("Connection", "close")]
    return "\r\n".join(["POST /batch HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]).encode("latin-1")


def _token(item: dict[str, Any]) -> str:
    return str(item["url"]).split("/")[2]


def soak(bounds: Bounds) -> Iterator[Row]:
    row = Row("items with keys", 0, bounds.wanted(COUNT), 0.0, [])
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        arguments = [
            "--worker-class",
            "gthread",
            "--threads",
            str(THREADS),
            "--workers",
            str(WORKERS),
            "--pid",
            str(folder / "pid"),
            "tests.soak.notebook:app",
        ]
        with run.gunicorn(*arguments, env={"FOLDER": directory}) as base:
            lock = threading.Lock()
            clients = [Client(number, base, row, lock) for number in range(CLIENTS)]
            kills = _load(clients, row, bounds, int((folder / "pid").read_text()))
            # What is left is well.
            _post(Client(CLIENTS, base, row, lock))
        ran = Counter((folder / "notes").read_text().split())
    row.findings += [f"{token} was done {times} times" for token, times in ran.items() if times > 1][:_ENOUGH]
    row.findings += [f"{token} was answered as done" for client in clients for token in client.done if not ran[token]][:_ENOUGH]
    row.findings += [f"{token} was never sent whole, and done" for client in clients for token in client.never if ran[token]][:_ENOUGH]
    row.findings += _too_many(lost := sum(len(client.lost) for client in clients), kills)
    again, never = sum(client.again for client in clients), sum(len(client.never) for client in clients)
    row.remark = f"{kills} workers killed, {again} batches sent again, {lost} items of which nobody knows, {never} items cut off"
    row.seconds = time.monotonic() - began
    yield row


def _too_many(lost: int, kills: int) -> Iterator[str]:
    """Of how many items may nobody know? What writes runs alone in its batch, and each thread has one batch."""
    most = kills * THREADS
    if lost > most:
        yield f"of {lost} items nobody knows whether they were done, and {kills} workers that were killed had {most} in hand at most"


def _post(client: Client) -> None:
    """One batch of *client*; whatever goes wrong with it is a finding."""
    try:
        client.post()
    except Exception as error:
        client.row.findings.append(f"{type(error).__name__}: {error}"[:600])


def _load(clients: list[Client], row: Row, bounds: Bounds, master: int) -> int:
    """Have *clients* post until *row* has its count, and kill workers all the while; how many."""
    stop = threading.Event()

    def post(client: Client) -> None:
        while not stop.is_set():
            _post(client)
            if row.count >= row.wanted or time.monotonic() >= bounds.until or len(row.findings) >= _ENOUGH:
                stop.set()

    # An interrupt does not wait for those that send their batch again and again.
    threads = [threading.Thread(target=post, args=(client,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    chance, kills = Random(0), 0
    try:
        while not stop.wait(1):
            workers = [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]
            for pid in chance.sample(workers, min(2, len(workers))):
                os.kill(pid, signal.SIGKILL)
                kills += 1
    finally:
        stop.set()
    for thread in threads:
        thread.join()
    return kills
