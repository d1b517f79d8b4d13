"""What hypothesis draws: sub-requests, urls, headers, and bodies of batches that are nearly right."""

import json
from typing import Any, Literal

from hypothesis import strategies as st

from wsgibatch import SubRequest, SubResponse
from wsgibatch.model import Edge

UNRESERVED = "abcXYZ019-._~"

segments = st.text(UNRESERVED + "!$&'()*+,=:@", min_size=1, max_size=8).filter(lambda segment: not segment.startswith("."))
escapes = st.integers(1, 255).map("%{:02X}".format)
paths = st.lists(segments | escapes | segments.map("%41{}".format), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
queries = st.text(UNRESERVED + "!$&'()*+,;=:@/?%\"", max_size=12)
urls = st.builds(lambda path, query: path + ("?" + query if query else ""), paths, queries)

header_values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, blacklist_categories=["Cc"]), max_size=20).map(str.strip)
header_names = st.sampled_from(
    ["Accept", "Accept-Language", "Authorization", "X-Echo", "X-One", "x-two", "X-THREE", "User-Agent", "If-None-Match", "Range"]
)
headers = st.lists(st.tuples(header_names, header_values), max_size=4, unique_by=lambda header: header[0].lower())

plain_gets = (
    st.lists(segments, min_size=1, max_size=3)
    .map(lambda parts: SubRequest(0, "GET", "/" + "/".join(parts), []))
    .filter(lambda r: r.target != "/batch")
)
"""What every dialect can say."""

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)

HOSTILE = [
    b"",
    b" ",
    b"null",
    b"[]",
    b"{}",
    b"NaN",
    b"[NaN]",
    b"[Infinity]",
    b"1e999",
    b"[" + b"9" * 5000 + b"]",
    b"[" * 100_000,
    b"[" * 5000 + b"]" * 5000,
    b'{"batch":' * 20_000,
    b'[{"url":' * 20_000,
    b'{"batch":[{"url":"/a","method":"GET","body":' + b"[" * 20_000 + b"]" * 20_000 + b"}]}",
    b'[{"url":"/a","method":"GET","x":' + b"[" * 20_000,
    b'["\\ud800"]',
    b'[{"url":"/\\udfff","method":"GET"}]',
    b'[{"url":"/a","method":"GET","body":"\\ud800"}]',
    b'[{"url":"/a","method":"GET","body":' + b"9" * 5000 + b"}]",
    '["/a"]'.encode("utf-16"),
    '["/a"]'.encode("utf-32-be"),
    b"\xef\xbb\xbf" + b'["/a"]',
    b'["\xff"]',
    b'["/a\x00"]',
    b'[{"url":"/a","method":"GET"},null]',
    b'["/a",',
    b"," * 1000,
    b"\x00" * 100,
    b'{"batch":[],"batch":3}',
]
"""Bodies that have broken a parser somewhere."""


@st.composite
def spoilt(draw: st.DrawFn, valid: bytes) -> bytes:
    """*valid* with a piece cut, doubled, replaced or cut off."""
    start = draw(st.integers(0, len(valid)))
    end = draw(st.integers(start, min(len(valid), start + 12)))
    piece = draw(
        st.sampled_from([b"", valid[start:end] * 2, b"\xff", b"\\ud800", b'"', b"{", b"[", b"null", b"1e999", b"\x00", b","]) | st.binary(max_size=6)
    )
    whole = valid[:start] + piece + valid[end:]
    return whole[: draw(st.sampled_from([len(whole), len(whole) // 2]))]


anything = st.sampled_from(HOSTILE) | st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode())
"""Bytes of every kind, JSON of every kind among them."""


roots = st.just("/")


@st.composite
def linked_items(draw: st.DrawFn, targets: st.SearchStrategy[str] = roots, forward: bool = False) -> list[SubRequest]:
    """Items with any dependencies that have no circle, groups, unsafe methods and refusals.

    :param forward: do items wait for earlier ones only?
    """
    groups = draw(st.lists(st.tuples(st.integers(1, 3), st.booleans()), min_size=1, max_size=10))
    items: list[SubRequest] = []
    for number, (size, grouped) in enumerate(groups):
        name = f"g{number}" if grouped else ""
        items += [SubRequest(len(items) + more, draw(st.sampled_from(["GET", "POST"])), draw(targets), [], group=name) for more in range(size)]
    backwards = draw(st.booleans()) and not forward
    for item in items:
        others = [other.index for other in items if (other.index > item.index if backwards else other.index < item.index)]
        others = [index for index in others if not item.group or items[index].group != item.group]
        if others:
            outcomes: st.SearchStrategy[Literal["succeeded", "failed", "ended"]] = st.sampled_from(("succeeded", "succeeded", "failed", "ended"))
            item.after = tuple(Edge(index, draw(outcomes)) for index in draw(st.lists(st.sampled_from(others), max_size=3, unique=True)))
        if draw(st.integers(0, 5)) == 0:
            item.refusal = SubResponse(400, "Bad Request", [], b"")
    return items
