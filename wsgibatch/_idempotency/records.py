"""What is kept of an answer: which answers are, what of them, and how it is written down.

A record is an array in MessagePack with its version in front, and never a pickle. What cannot be decoded says only that something was kept.
"""

import re
import zlib
from typing import NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from .._grammar import DIGITS
from ..model import Headers

VERSION = 1
NOT_KEPT = 1
"""A flag: the body was too large, and only status and headers are there."""
STALE = 2
"""A flag: somebody else has changed what it goes by."""

# What another try may well answer otherwise: who is asking, when, how fast, or on what condition has been refused, and not what was asked for.
_PASSING = frozenset({401, 407, 408, 412, 417, 421, 423, 425, 428, 429})
# Answers to conditions and ranges of the one request, which is not what decides whether two requests are the same.
_PARTIAL = frozenset({206, 304, 416})

# Of the connection (RFC 9110, section 7.6.1), or written anew for each answer.
_DROPPED = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "trailers"}
    | {"transfer-encoding", "upgrade", "date", "server", "content-length"}
)
_STATUS = re.compile(r"[1-5][0-9]{2}(?: |\Z)")
_COMPRESSED = 1024
"""Bytes from which on a body is compressed, if that makes it smaller."""

_STORE, _TOUCH, _READS = "idempotency-store", "wsgibatch-touch", "wsgibatch-reads"
ADVICE = frozenset({_STORE, _TOUCH, _READS})
"""Headers by which an app that cannot reach the environ says whether, or for how many seconds, its answer is kept; and what the request has changed,
and what its answer goes by, with commas between the tags."""


Signed: TypeAlias = tuple[tuple[str, str], ...]
"""Names of tags in a store, and by whom each is signed."""


class Record(Struct, array_like=True):
    """One answer, as it is kept."""

    version: int
    status: str
    """The status line: a number and a reason."""
    headers: list[tuple[str, str]]
    """In the app's order, repetitions kept."""
    body: bytes
    encoding: int
    """1: the body is compressed by zlib."""
    signed: Signed
    """What it goes by, and who had signed each last: once somebody else has, it is out of date."""
    created: float
    """Seconds since 1970, by the clock of who wrote it; for people, and never what decides."""
    flags: int
    varied: str = ""
    """What its request said in the fields that decided about it; see :func:`~.fingerprints.varied`."""

    @property
    def code(self) -> int:
        return int(self.status[:3])


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


def lasting(status: int, headers: Headers, on_error: str) -> bool:
    """Is an answer one that the next try would get as well, for all that can be known?

    A 4xx that says when to come back (Retry-After) is not, whatever its number.

    :param on_error: ``"store"`` takes a 5xx for final.
    """
    if status >= 500:
        return on_error == "store"
    if status < 200 or status in _PASSING or status in _PARTIAL:
        return False
    return status < 400 or not any(name.lower() == "retry-after" for name, _ in headers)


def storable(status: int, headers: Headers, on_error: str, told: bool | None) -> bool:
    """Is an answer kept? *told* is what the app says of it, where it says anything."""
    if told is None:
        return lasting(status, headers, on_error)
    return told and status >= 200 and status not in _PARTIAL


def code_of(line: str) -> int:
    """The number of a status line; 0 for what is none, which the server will refuse."""
    return int(line[:3]) if _STATUS.match(line) else 0


class Advised(NamedTuple):
    """What an app has said in its headers."""

    headers: Headers
    """Those for its client."""
    told: bool | None = None
    """Does it want its answer kept?"""
    seconds: float | None = None
    """For how long?"""
    touched: tuple[str, ...] = ()
    read: tuple[str, ...] = ()


def advised(headers: Headers) -> Advised:
    """*headers* without what an app advises in them, and that."""
    if not any(name.lower() in ADVICE for name, _ in headers):
        return Advised(headers)
    kept, told, seconds = [], None, None
    tags: dict[str, list[str]] = {_TOUCH: [], _READS: []}
    for name, value in headers:
        match name.lower():
            case "idempotency-store":
                word = value.strip().lower()
                if word in ("no", "0"):
                    told = False
                elif DIGITS.match(word):
                    told, seconds = True, float(word)
            case "wsgibatch-touch" | "wsgibatch-reads" as which:
                tags[which] += [tag for word in value.split(",") if (tag := word.strip())]
            case _:
                kept.append((name, value))
    return Advised(kept, told, seconds, tuple(tags[_TOUCH]), tuple(tags[_READS]))


def encode(
    status: str,
    headers: Headers,
    body: bytes | None,
    keep_cookies: bool,
    created: float,
    signed: Signed = (),
    stale: bool = False,
    varied: str = "",
) -> bytes:
    """What is kept of an answer; without a body, that there was one.

    :param signed: what it goes by, and who had signed each last.
    :param stale: is it out of date already?
    :param varied: what its request said in the fields that decided about it.
    :raises TypeError: for headers that are not text.
    :raises ValueError: for text that is none.
    """
    flags = (NOT_KEPT if body is None else 0) | (STALE if stale else 0)
    whole, encoding = body or b"", 0
    if len(whole) > _COMPRESSED and len(smaller := zlib.compress(whole, 1)) < len(whole):
        whole, encoding = smaller, 1
    dropped = _DROPPED if keep_cookies else _DROPPED | {"set-cookie"}
    kept = [(_plain(name), _plain(value)) for name, value in headers if name.lower() not in dropped]
    return _encoder.encode(Record(VERSION, _plain(status), kept, whole, encoding, signed, created, flags, varied))


def _plain(text: str) -> str:
    """The text of a subclass of str, as frameworks use it."""
    if isinstance(text, str):
        return str(text)
    raise TypeError(f"{text!r} is no text")


def decode(value: bytes) -> Record | None:
    """The answer that was kept, or None when it cannot be read, or was written by another version."""
    try:
        record = _decoder.decode(value)
        if record.version != VERSION or not _STATUS.match(record.status):
            return None
        if record.encoding:
            record.body, record.encoding = zlib.decompress(record.body), 0
    except (msgspec.DecodeError, UnicodeDecodeError, zlib.error):
        return None
    return record


def again(record: Record, marker: str, age: int | None, tell_stale: bool) -> Headers:
    """The headers of a reply that is given out again.

    :param marker: the name of the header that says so.
    """
    headers = [(name, value) for name, value in record.headers if age is None or name.lower() != "age"]
    headers.append((marker, "true"))
    if tell_stale and record.flags & STALE:
        headers.append(("Idempotent-Stale", "true"))
    if age is not None:
        headers.append(("Age", str(age)))
    if record.code != 204:
        headers.append(("Content-Length", str(len(record.body))))
    return headers
