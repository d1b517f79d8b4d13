"""splitter: is there a body in multipart that takes long to be taken apart, or to be refused?"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from time import process_time

from wsgibatch.dialects._mime import split
from wsgibatch.dialects.multipart import MultipartDialect
from wsgibatch.errors import BatchRejected
from wsgibatch.model import Head
from wsgibatch.settings import Settings

from ..answers import Figure, Row
from ..measure import alone, figure

title = "the worst time of a body of 4 MB that was made to take long"
SIZE = 4_000_000
BAR = 0.2
ROUNDS = 5
LIMIT = 10_000
"""Items that a batch may have: so many that none of these bodies is refused for their number early."""
TYPE = "multipart/mixed; boundary=limit"
HEAD = Head("/batch", "", "shop.example", "http", "multipart/mixed", {"boundary": "limit"}, headers={"Content-Type": TYPE})
SETTINGS = Settings(max_requests=LIMIT)

PART = b"Content-Type: application/http\r\n\r\n"
CHANGESET = b"Content-Type: multipart/mixed; boundary=limits\r\n\r\n"
NESTED = b"--limit\r\n" + CHANGESET + b"--limits\r\n" + PART + b"GET /items/7\r\n\r\n"

REPEATED = {
    "CRs": b"\r",
    "LFs": b"\n",
    "CRLFs": b"\r\n",
    "LFs and CRs": b"\n\r",
    "blanks": b" ",
    "hyphens": b"-",
    "beginnings of a delimiter": b"\r\n--limi",
    "hyphens at the start of a line": b"\n--",
    "lines that begin as delimiters": b"\n--limitless",
    "delimiters that almost close": b"\r\n--limit-",
    "delimiters with a CR behind": b"\n--limit\r",
    "delimiters with blanks and more behind": b"\n--limit" + b" \t" * 50 + b"x",
    "delimiters inside lines": b"x--limit--",
    "delimiters": b"\r\n--limit\r\n",
    "empty parts": b"\r\n--limit\r\n\r\n",
    "short lines": b"\r\na: b",
    "long lines": b"\r\na: " + b"b" * 8_000,
    "folded lines": b"\r\n b",
    "small requests": b"GET /\n\n\n--limit\n\n",
    "changesets that do not end": b"\r\n--limit\r\n" + CHANGESET + b"--limits\r\n" + PART + b"GET /\r\n\r\n",
}
FRAMES: dict[str, tuple[bytes, bytes]] = {
    "alone": (b"", b""),
    "behind a delimiter": (b"--limit\r\n", b""),
    "in a head": (b"--limit\r\nContent-Type: application/http", b"\r\n--limit--\r\n"),
    "in the head of a request": (b"--limit\r\n" + PART + b"GET /items/7 HTTP/1.1", b"\r\n--limit--\r\n"),
    "in a body": (b"--limit\r\n" + PART + b"POST /items/7 HTTP/1.1\r\n\r\n", b"\r\n--limit--\r\n"),
    "in a changeset": (NESTED, b"\r\n--limits--\r\n--limit--\r\n"),
}


def ask() -> list[Row]:
    return [alone(_worst, "split", _split), alone(_worst, "decode", _decode)]


def _worst(name: str, read: Callable[[bytes], object]) -> Row:
    found = [(_measure(read, body), told) for told, body in _bodies()]
    worst, told = max(found, key=lambda pair: pair[0].value)
    return Row(f"{name}: {told}", worst, BAR, "s")


def _bodies() -> Iterator[tuple[str, bytes]]:
    for what, piece in REPEATED.items():
        for where, (before, behind) in FRAMES.items():
            yield f"{what}, {where}", before + piece * (SIZE // len(piece)) + behind


def _measure(read: Callable[[bytes], object], body: bytes) -> Figure:
    return figure([_seconds(read, body) for _ in range(ROUNDS)])


def _seconds(read: Callable[[bytes], object], body: bytes) -> float:
    started = process_time()
    # Most are refused, as they should be: what counts is how soon.
    with suppress(BatchRejected):
        read(body)
    return process_time() - started


def _split(body: bytes) -> object:
    return split(body, b"limit", LIMIT)


def _decode(body: bytes) -> object:
    return MultipartDialect().decode(HEAD, body, SETTINGS)
