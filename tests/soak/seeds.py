"""Where fuzzing begins: batches that the dialects write, with every type and header that means something, and the literals in their tests."""

import ast
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from tests import strategies
from tests.soak.message import written
from tests.soak.targets import WORDS
from wsgibatch import SubRequest, _lookup, dialects
from wsgibatch.dialects._profiles import PROFILES
from wsgibatch.model import Edge

LONGEST = 4096
"""Bytes of an input."""

LINES = [b"/batch", b"/$batch", b"/_api/$batch", b"/x?comp=batch", b"/batch?batch=[]&access_token=a", b"/batch?key=1"]
HEADERS = [
    ("Accept", "application/x-ndjson"),
    ("Accept", "application/json;odata.metadata=minimal"),
    ("Accept", "multipart/mixed"),
    ("Content-Encoding", "gzip"),
    ("Content-Length", "7"),
    ("Transfer-Encoding", "chunked"),
    ("Connection", "close, x-one"),
    ("Cookie", "a=b"),
    ("DataServiceVersion", "2.0"),
    ("Idempotency-Key", '"k"'),
    ("OData-MaxVersion", "4.01"),
    ("OData-Version", "4.0"),
    ("Origin", "http://shop.example"),
    ("Origin", "http://evil.example"),
    ("Prefer", "continue-on-error"),
    ("Prefer", "odata.continue-on-error=false, respond-async"),
    ("Sec-Fetch-Site", "cross-site"),
    ("X-Status", "404 Not Found"),
    ("x-ms-version", "2019-02-02"),
]
TOGETHER = [
    [("Idempotency-Key", '"k"'), ("Prefer", "continue-on-error=false")],
    [("Idempotency-Key", '"k"'), ("Prefer", "continue-on-error=false"), ("OData-Version", "4.0")],
    [("Idempotency-Key", '"k"'), ("Accept", "application/x-ndjson")],
    [("Idempotency-Key", "k, l"), ("Prefer", "odata.continue-on-error=false"), ("Accept", "application/x-ndjson")],
    [("Prefer", "continue-on-error=false"), ("Accept", "application/x-ndjson")],
    [("Prefer", "continue-on-error"), ("OData-Version", "4.0")],
    [("Prefer", "odata.continue-on-error=false"), ("DataServiceVersion", "2.0")],
    [("OData-Version", "4.0"), ("OData-MaxVersion", "4.01"), ("Accept", "multipart/mixed")],
    [("Cookie", "a=b"), ("Origin", "http://evil.example"), ("Idempotency-Key", '"k"')],
    [("Transfer-Encoding", "chunked"), ("Content-Length", "7")],
]
"""Headers that mean something else together than each by itself."""
METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "MERGE", "TRACE", "CONNECT", "get", "PURGE"]
ITEM_HEADERS = [
    *HEADERS,
    ("Content-Type", "application/json"),
    ("Content-Type", "text/plain; charset=utf-16"),
    ("Content-ID", "1"),
    ("Content-Transfer-Encoding", "binary"),
    ("Host", "shop.example"),
    ("If-Match", "$1"),
    ("If-None-Match", '"a"'),
    ("Range", "bytes=0-1"),
    ("X-HTTP-Method", "MERGE"),
    ("X-One", "1"),
]
"""Headers of items."""
FORM = "application/x-www-form-urlencoded"

_REQUESTS: list[list[SubRequest]] = [
    [SubRequest(0, "GET", "/a", [])],
    [
        SubRequest(0, "GET", "/bin", []),
        SubRequest(1, "GET", "/text?a=b", []),
        SubRequest(2, "GET", "/raise", []),
        SubRequest(3, "GET", "/missing", []),
    ],
    [
        SubRequest(0, "POST", "/people?a=1", [("Content-Type", "application/json"), ("X-One", "1")], b'{"name": "Zo\xc3\xab"}', "1"),
        SubRequest(1, "PUT", "/people/1", [("Content-Type", "text/plain")], b"text", "2"),
        SubRequest(2, "DELETE", "/people/1", [], id="3"),
        SubRequest(3, "HEAD", "/people", [("If-None-Match", '"a"')], id="4"),
    ],
    [
        SubRequest(0, "POST", "/a", [("Content-Type", "application/json")], b"{}", "a", group="g"),
        SubRequest(1, "PATCH", "/b", [("Content-Type", "application/json")], b"[1]", "b", group="g"),
        SubRequest(2, "GET", "/empty", [], id="c"),
    ],
    [SubRequest(0, "GET", "/a", [], id="a"), SubRequest(1, "GET", "/b", [], id="b", after=(Edge(0),))],
    [
        SubRequest(0, "GET", "/missing", [], id="a"),
        SubRequest(1, "POST", "/a", [("Idempotency-Key", "i")], id="b"),
        SubRequest(2, "DELETE", "/b", [("X-One", "1")], id="c", after=(Edge(0),)),
    ],
    [SubRequest(0, "GET", "/missing", [], id="a"), SubRequest(1, "POST", "/a", [("X-One", "1")], id="b")],
]


def seeds_of(name: str) -> list[bytes]:
    """Inputs for the target *name*."""
    words = [word for word in WORDS if word != "auto"] if name in ("middleware", "auto") else [name]
    found = [seed for word in words for seed in _of_dialect(word, name == "middleware")]
    return list(dict.fromkeys(seed for seed in found if len(seed) <= LONGEST))


def _of_dialect(word: str, chosen: bool) -> Iterator[bytes]:
    """Seeds for *word*; where *chosen*, told in the request line."""
    line = LINES[0] + (b" " + word.encode() if chosen else b"")
    own = [batch for requests in _REQUESTS if (batch := _written(word, requests)) is not None]
    for headers, body in own:
        for first in LINES:
            yield written(first + line[len(LINES[0]) :], headers, body)
        for more in [*([header] for header in HEADERS), *TOGETHER]:
            yield written(line, [*headers, *more], body)
        for loose in sorted(_lookup.member(dialects, word)().loose_types):
            yield from _loose(line, loose, body)
    if word == "multipart":
        for name in PROFILES:
            for headers, body in own:
                yield written(LINES[0] + b" " + name.encode(), headers, body)
    for body in _literals(word):
        boundary = re.match(rb"\s*--([^\s]{1,70})", body)
        if (boundary is None) == (word == "multipart"):
            continue
        types = [("Content-Type", "application/json" if boundary is None else f"multipart/mixed; boundary={boundary[1].decode('latin-1')}")]
        yield written(line, types, body)


def _written(word: str, requests: Sequence[SubRequest]) -> Any:
    try:
        return _lookup.member(dialects, word)().write(requests)
    except ValueError:
        # It has no way to say one of them.
        return None


def _loose(line: bytes, media_type: str, body: bytes) -> Iterator[bytes]:
    """The batch *body* as a form, or under another type that clients send."""
    if media_type == "multipart/form-data":
        inner = _inner(body)
        with_files = inner.replace(b'"method"', b'"attached_files":"file","method"')
        yield from (_form(line, batch) for batch in (inner, with_files))
    elif media_type == FORM:
        yield written(line, [("Content-Type", FORM)], b"include_headers=false&batch=" + quote_plus(_inner(body)).encode())
    yield written(line, [("Content-Type", f"{media_type}; charset=utf-8")] if media_type else [], body)


def _form(line: bytes, batch: bytes) -> bytes:
    """*batch* beside a file and a parameter."""
    parts = [
        b'name="batch"\r\nContent-Type: application/json\r\n\r\n' + batch,
        b'name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nfile',
        b'name="include_headers"\r\n\r\nfalse',
    ]
    body = b"".join(b"--b\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--b--\r\n"
    return written(line, [("Content-Type", "multipart/form-data; boundary=b")], body)


def _inner(body: bytes) -> bytes:
    """The list in ``{"batch": [...]}``, as forms carry it."""
    value = json.loads(body)
    return json.dumps(value["batch"] if isinstance(value, dict) and "batch" in value else value).encode()


def _literals(word: str) -> Iterator[bytes]:
    """Bytes, texts, and what JSON can say, as they stand in the tests of the dialect *word*; and what has broken parsers."""
    yield from strategies.HOSTILE
    for file in sorted((Path(__file__).parent.parent / "dialects").glob(f"test_{word}*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, bytes | str) and len(node.value) > 20:
                yield node.value.encode() if isinstance(node.value, str) else node.value
            elif isinstance(node, ast.List | ast.Dict):
                try:
                    value = json.dumps(ast.literal_eval(node)).encode()
                except (ValueError, TypeError):
                    # Names stand in it.
                    continue
                yield value
                # An item, as many tests have it, makes a batch in one of these.
                yield from (pattern % value for pattern in (b"[%b]", b'{"batch":[%b]}', b'{"requests":[%b]}') if isinstance(node, ast.Dict))


def dictionary(seeds: Sequence[bytes]) -> str:
    """The names and words in *seeds*, for libFuzzer to put anywhere."""
    words = {word for seed in seeds for word in re.findall(rb'"[A-Za-z$@][A-Za-z0-9_.$@-]{1,24}"', seed)}
    return "".join(f'"{word.decode()[1:-1]}"\n' for word in sorted(words))
