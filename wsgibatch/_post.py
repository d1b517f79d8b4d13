"""Requests of the command over plain connections of the standard library."""

import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from selectors import EVENT_READ, DefaultSelector
from urllib.parse import unquote, urlsplit

from .errors import ConfigError, WSGIBatchError
from .model import Headers

_PIECE = 64 << 10
_VISIBLE = re.compile(r"[!-~]+\Z")


class PostError(WSGIBatchError):
    """There is no answer; the message says why."""


@contextmanager
def opened(url: str) -> Iterator[HTTPConnection]:
    """A connection to the server of *url*, made when it is first used.

    :raises ConfigError: for a url that is none.
    """
    if not _VISIBLE.match(url):
        raise ConfigError(f"{url!r} is no url: blanks and other letters are percent-encoded there, in the name of a host as xn--...")
    try:
        parts = urlsplit(url)
        kind = {"http": HTTPConnection, "https": HTTPSConnection}[parts.scheme]
        connection = kind(parts.hostname or "", parts.port)
    except (KeyError, ValueError):
        parts = None
    if not parts or not parts.hostname:
        raise ConfigError(f"{url!r} is no http or https url") from None
    try:
        yield connection
    finally:
        connection.close()


def without_credentials(url: str) -> tuple[str, Headers]:
    """*url* without the user and the password that it names, and the header that says them (RFC 7617)."""
    scheme, mark, rest = url.partition("://")
    end = min((place for sign in "/?#" if (place := rest.find(sign)) >= 0), default=len(rest))
    named, at, host = rest[:end].rpartition("@")
    if not at:
        return url, []
    user, _, password = named.partition(":")
    pair = b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    return f"{scheme}{mark}{host}{rest[end:]}", [("Authorization", f"Basic {pair}")]


def post(connection: HTTPConnection, url: str, headers: Headers, body: bytes) -> tuple[int, Headers, Iterator[bytes]]:
    """Post *body*: status, headers, and the answer piece by piece as it arrives.

    :raises PostError: when there is none; while the pieces are read, when it breaks off.
    """
    return asked(connection, "POST", url, headers, body)


def asked(connection: HTTPConnection, method: str, url: str, headers: Headers, body: bytes) -> tuple[int, Headers, Iterator[bytes]]:
    """The same with any *method*."""
    parts = urlsplit(url)
    target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    if _is_over(connection):
        connection.close()
    try:
        connection.putrequest(method, target, skip_accept_encoding=True, skip_host=any(name.lower() == "host" for name, _ in headers))
        for name, value in headers:
            if name.lower() != "content-length":
                connection.putheader(name, value)
        if body or method in ("POST", "PUT", "PATCH"):
            connection.putheader("Content-Length", str(len(body)))
        with suppress(BrokenPipeError, ConnectionResetError):
            # A server that will not read it all may have said why.
            connection.endheaders(body)
        response = connection.getresponse()
    except (OSError, HTTPException, ValueError) as error:
        raise PostError(f"{url} does not answer: {error!r}") from error

    def pieces() -> Iterator[bytes]:
        try:
            while piece := response.read1(_PIECE):
                yield piece
            # Told by a length, the end is not noticed by itself, and the connection would stay taken.
            response.close()
        except (OSError, HTTPException) as error:
            raise PostError(f"the answer of {url} broke off: {error!r}") from error

    return response.status, response.getheaders(), pieces()


def _is_over(connection: HTTPConnection) -> bool:
    """Has the server closed *connection* while it lay idle? Then the next request opens it anew."""
    if connection.sock is None:
        return False
    with DefaultSelector() as selector:
        selector.register(connection.sock, EVENT_READ)
        return bool(selector.select(0))
