"""What two requests with one key have to have in common, as a digest."""

import json
from collections.abc import Iterable
from decimal import Decimal
from hashlib import sha256
from typing import Any, BinaryIO

import msgspec
from multipart import parse_options_header

from ..model import Headers
from .policy import Policy, cgi_name

_PIECE = 64 << 10


def digest(*parts: str | bytes | None) -> str:
    """A digest of *parts*, none of which can be taken for more or fewer, or for one that is missing."""
    return str(_hashed(parts).hexdigest())


def _hashed(parts: Iterable[str | bytes | None]) -> Any:
    whole = sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        whole.update(b"-" if data is None else b"%d:%b" % (len(data), data))
    return whole


def fingerprint(environ: dict[str, Any], policy: Policy, body: BinaryIO) -> bytes:
    """What two requests with one key have to have in common. What cannot be read as the policy says is compared by its bytes."""
    if policy.fingerprint is None:
        return b""
    if callable(policy.fingerprint):
        return bytes(_hashed(("callable", text_of(policy.fingerprint(environ, whole_of(body)), "fingerprint"))).digest())
    media_type, parameters = parse_options_header(environ.get("CONTENT_TYPE", ""))
    content: bytes | None = None
    if policy.fingerprint == "json":
        content = _canonical(whole_of(body))
    elif policy.fingerprint == "multipart" and media_type.startswith("multipart/") and parameters.get("boundary"):
        content = _by_part(body, b"--" + parameters["boundary"].encode("latin-1", "replace"))
    how, content = ("raw", digest_of(body)) if content is None else (policy.fingerprint, content)
    query = environ.get("QUERY_STRING", "")
    return bytes(_hashed((environ["REQUEST_METHOD"], path_of(environ), query, media_type, how, content)).digest())


def varied(environ: dict[str, Any], headers: Headers) -> str:
    """A digest of what a request says in the fields that its answer names in Vary (RFC 9110, section 12.5.5); empty where that names none.

    With an asterisk nobody knows what the answer went by, and that is given.
    """
    names = {word.strip().lower() for name, value in headers if name.lower() == "vary" for word in str(value).split(",")} - {""}
    if "*" in names:
        return "*"
    return digest(*(part for name in sorted(names) for part in (name, environ.get(cgi_name(name))))) if names else ""


def path_of(environ: dict[str, Any]) -> str:
    return str(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))


def text_of(told: object, field: str) -> str | bytes:
    if isinstance(told, str | bytes):
        return told
    raise TypeError(f"{field} gave {told!r}, which is neither text nor bytes")


def whole_of(body: BinaryIO) -> bytes:
    data = body.read()
    body.seek(0)
    return data


def digest_of(body: BinaryIO) -> bytes:
    whole = sha256()
    while piece := body.read(_PIECE):
        whole.update(piece)
    body.seek(0)
    return whole.digest()


def _by_part(body: BinaryIO, delimiter: bytes) -> bytes:
    """A digest of what stands between the delimiters, piece by piece, since uploads are large."""
    whole, part, rest = sha256(), sha256(), b""
    while piece := body.read(_PIECE):
        *ended, rest = (rest + piece).split(delimiter)
        for end in ended:
            part.update(end)
            whole.update(part.digest())
            part = sha256()
        # What remains may end in the beginning of a delimiter.
        sure = max(len(rest) - len(delimiter) + 1, 0)
        part.update(rest[:sure])
        rest = rest[sure:]
    part.update(rest)
    whole.update(part.digest())
    body.seek(0)
    return whole.digest()


_sorted = msgspec.json.Encoder(order="sorted", decimal_format="number")


def _canonical(body: bytes) -> bytes | None:
    """A JSON text with its members sorted and its numbers as they were written, since two that differ may be one as floats.

    None for what is not JSON, or has a member twice.
    """
    try:
        return _sorted.encode(json.loads(body, object_pairs_hook=_members, parse_int=Decimal, parse_float=Decimal, parse_constant=_refuse))
    except (ValueError, ArithmeticError, RecursionError):
        return None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member stands there twice")
    return members


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
