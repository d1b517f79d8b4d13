"""Requests of every kind that a client may send, and that a batch can carry."""

from random import Random

from tests.soak.site import BODIES
from tests.strategies import UNRESERVED
from wsgibatch import SubRequest
from wsgibatch.model import Headers

_ODD_PATHS = [
    *("/", "/a/../b", "/a/./b", "/a//b", "/..", "/.", "/a/", "/a/..", "/%2e%2e/a", "/a%2Fb", "/a%2fb", "/a%25b", "/a%252Fb", "/a;b=c/d", "/a%0D%0Ab"),
    *(
        "/%E4%BD%A0/%C3%A9",
        "/a%7Fb",
        "/%FF%FE",
        "/a%20b",
        "/a+b",
        "/a:b",
        "/a@b",
        "/a%3Fb",
        "/a%23b",
        "/~a",
        "/a%5Cb",
        "/a,b'(c)*!",
        "/%ed%a0%80",
        "/a%3bb",
    ),
]
_ODD_QUERIES = ["", "", "?", "?a=b&a=c", "?%00%zz", "?a?b/../c", "?=&&=", "?a=%E4%BD%A0", "?a+b", "?[]={}", '?"<>^`|']
_SEGMENT = UNRESERVED + "!$&'()*+,=:@"
_METHODS = ["GET", "GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
_STATUSES = [
    "200 OK",
    "201 Created",
    "202 Accepted",
    "204 No Content",
    "301 Moved Permanently",
    "304 Not Modified",
    "404 Not Found",
    "409 Conflict",
    "503 Slow down",
]
_NAMES = [
    "Accept",
    "Accept-Language",
    "Authorization",
    "Cookie",
    "If-None-Match",
    "Prefer",
    "Range",
    "User-Agent",
    "X-Echo",
    "X-One",
    "x-two",
    "X-THREE",
]
_TYPES = [
    "application/json",
    "text/plain; charset=utf-8",
    "a/b",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/octet-stream",
]
_INHERITED = ["Accept-Language", "Authorization", "Cookie", "User-Agent", "X-One", "X-Request-ID"]
REPEATED = ["Accept", "X-One", "X-Many", "Accept-Language"]

DROPPED = {
    "X-Forwarded-For": "who the client is only the proxies of the batch request know",
    "X-Real-IP": "the same",
    "Forwarded": "the same",
    "X-Remote-User": "the same",
    "Origin": "where the request comes from only the browser knows, and says of the batch",
    "Referer": "the same",
    "Sec-Fetch-Site": "the same",
    "X-Original-URL": "what the url was before a proxy changed it only that proxy knows",
    "Proxy": "it would become HTTP_PROXY, which programs take for the address of their proxy",
    "Accept-Encoding": "an answer stands inside another one, where a content coding would keep it from being read",
    "TE": "of the connection, which is the batch's",
}
"""Headers that an item may not set, each with the reason; a request by itself may."""


def drawn(chance: Random, index: int, textual: bool) -> SubRequest:
    """A request; *textual*: one that JSON can carry, with a body of text and each header once."""
    method = chance.choice(_METHODS)
    headers = [(name, _value(chance)) for name in chance.sample(_NAMES, chance.randrange(5))]
    headers.append(("X-Status", chance.choice(_STATUSES) if chance.random() < 0.5 else "200 OK"))
    headers.append(("X-Form", chance.choice(("whole", "plain", "write", "pieces"))))
    if chance.random() < 0.4:
        headers.append(("X-Body", chance.choice(list(BODIES))))
    if not textual and chance.random() < 0.3:
        headers = [field for field in headers if field[0] not in REPEATED]
        headers += [(name, _value(chance)) for name in chance.choices(REPEATED, k=chance.randrange(2, 6))]
    if chance.random() < 0.2:
        headers.append((chance.choice(list(DROPPED)), "198.51.100.7"))
    body = b""
    if chance.random() < (0.2 if method in ("GET", "HEAD", "OPTIONS") else 0.8):
        body = _text(chance) if textual or chance.random() < 0.5 else chance.randbytes(chance.choice((1, 2, 30, 700)))
        # In a batch in JSON a body without a type would be taken for JSON itself.
        if textual or chance.random() < 0.8:
            headers.append(("Content-Type", chance.choice(_TYPES)))
    return SubRequest(index, method, _target(chance), headers, body)


def inherited(chance: Random) -> Headers:
    """Headers of a batch, which are its items' as well."""
    return [(name, _value(chance)) for name in chance.sample(_INHERITED, chance.choice((0, 0, 1, 3)))]


def _target(chance: Random) -> str:
    query = "?" + "".join(chance.choices(UNRESERVED + "!$&'()*+,;=:@/?%", k=chance.randrange(12)))
    return _path(chance) + (chance.choice(_ODD_QUERIES) if chance.random() < 0.5 else query)


def _path(chance: Random) -> str:
    """One that a server cannot take for another: several slashes at the start may be one. And a batch is no item."""
    path = "//"
    while path.lower().replace("%2f", "/").startswith("//") or "batch" in path:
        plain = "".join("/" + _segment(chance) for _ in range(chance.randrange(1, 5)))
        path = chance.choice(_ODD_PATHS) if chance.random() < 0.3 else plain
    return path


def _segment(chance: Random) -> str:
    pieces = [f"%{chance.randrange(1, 256):02X}" if chance.random() < 0.15 else chance.choice(_SEGMENT) for _ in range(chance.randrange(1, 9))]
    return "".join(pieces)


def _value(chance: Random) -> str:
    return "".join(
        chr(chance.choice((chance.randrange(0x21, 0x7F), 0x20, chance.randrange(0xA1, 0x100)))) for _ in range(chance.randrange(16))
    ).strip()


def _text(chance: Random) -> bytes:
    return "".join(
        chance.choice(("a", "é", "你", "\U0001f600", "\n", "\r\n", '"', "\\", "{", "[", "\t", "0")) for _ in range(chance.randrange(1, 40))
    ).encode()
