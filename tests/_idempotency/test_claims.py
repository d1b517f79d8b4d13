"""Idempotency without I/O: keys, fingerprints, policies, what is kept, and what follows from what a store says."""

import io
import json
import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields

from tests.gateway import environ_of
from wsgibatch import ConfigError, SubRequest
from wsgibatch._idempotency import claims, fingerprints, records
from wsgibatch._idempotency.claims import Busy, Refused, Wanted
from wsgibatch._idempotency.policy import Dimensions, Policy, chosen
from wsgibatch._keys import key_items, read_key, spelt
from wsgibatch.model import Batch, Claim, Claimed, Headers, Held, Kept, Lost

SHARED = Policy(anonymous="shared")
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)


# Keys as they are written


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("abc", "abc"),
        ('"abc"', "abc"),
        (" abc\t", "abc"),
        (r'"a\"b\\c"', r"a\"b\c".replace(r"\"", '"')),
        ('"a,b"', "a,b"),
        ("a\\b", "a\\b"),
        ("x" * 255, "x" * 255),
        ('"' + "x" * 255 + '"', "x" * 255),
        ("x" * 256, None),
        ("", None),
        ('""', None),
        ("a,b", None),
        ("a, b", None),
        ('"a", "b"', None),
        ('"a","b"', None),
        ("a b", None),
        ('"a b"', None),
        ('a"b', None),
        ('"a', None),
        ('"a";x=1', None),
        (r'"a\b"', None),
        ("é", None),
        ("a\n", None),
        ("a\x00", None),
        ("a\x7f", None),
    ],
)
def test_a_key_is_visible_ascii_bare_or_quoted(text: str, key: str | None) -> None:
    assert read_key(text) == key


@given(VISIBLE)
def test_every_key_can_be_written(key: str) -> None:
    assert read_key(spelt(key)) == key


@given(st.text(max_size=300))
def test_what_is_read_is_always_a_key(text: str) -> None:
    key = read_key(text)

    assert key is None or (1 <= len(key) <= 255 and all("!" <= letter <= "~" for letter in key))


def client_key(policy: Policy = SHARED, **changes: Any) -> str | None:
    return claims.client_key(environ_of(b"", "/pay", **changes), policy)


def refusal(call: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        call()
    return refused.value


def test_a_request_without_a_key_has_none() -> None:
    assert client_key() is None


def test_a_key_can_be_required() -> None:
    refused = refusal(lambda: client_key(Policy(required=True)))

    assert (refused.fault.status, refused.fault.code, refused.fault.members) == (400, "key-missing", ())


@pytest.mark.parametrize("text", ["", "a,b", "a b", "x" * 256, '"a"b'])
def test_what_is_no_key_is_refused_and_shown(text: str) -> None:
    refused = refusal(lambda: client_key(HTTP_IDEMPOTENCY_KEY=text))

    assert (refused.fault.status, refused.fault.code, refused.fault.members) == (400, "key-invalid", (("key", text[:64]),))


def test_the_header_may_have_other_names_of_which_one_is_sent() -> None:
    policy = Policy(header=("Idempotency-Key", "X-Request-Token"))

    assert client_key(policy, HTTP_X_REQUEST_TOKEN="t") == "t"
    refused = refusal(lambda: client_key(policy, HTTP_X_REQUEST_TOKEN="t", HTTP_IDEMPOTENCY_KEY="t"))
    assert refused.fault.code == "key-invalid"


def test_a_key_may_have_to_have_a_form() -> None:
    policy = Policy(key_pattern="[0-9]{4}")

    assert client_key(policy, HTTP_IDEMPOTENCY_KEY="1234") == "1234"
    assert refusal(lambda: client_key(policy, HTTP_IDEMPOTENCY_KEY="12345")).fault.code == "key-invalid"


# Who sends it


def stored(policy: Policy = Policy(), key: str | None = "k", body: bytes = b"", **changes: Any) -> list[str]:  # noqa: B008 - frozen
    """The keys in the store that a request wants."""
    return [want.key for want in wants(policy, key, body, **changes)]


def wants(policy: Policy, key: str | None, body: bytes, **changes: Any) -> list[Wanted]:
    environ = environ_of(body, "/pay", **changes)
    return claims.wanted(environ, policy, key, claims.sender(environ, policy, key), io.BytesIO(body))


ANNA: dict[str, Any] = {"HTTP_AUTHORIZATION": "Bearer anna"}
BOB: dict[str, Any] = {"HTTP_AUTHORIZATION": "Bearer bob"}


@pytest.mark.parametrize(
    ("policy", "one", "other"),
    [
        (Policy(), ANNA, BOB),
        (Policy(), {"REMOTE_USER": "anna"}, {"REMOTE_USER": "bob"}),
        (Policy(), {"REMOTE_USER": "anna"}, {"HTTP_AUTHORIZATION": "anna"}),
        (Policy(cookies=("sid",)), {"HTTP_COOKIE": "a=1; sid=x"}, {"HTTP_COOKIE": "sid=y; a=1"}),
        (Policy(cookies=("sid",)), {"HTTP_COOKIE": "sid=x"}, {"HTTP_COOKIE": "sid=x; sid=y"}),
        (Policy(cookies=("a", "b")), {"HTTP_COOKIE": "a=1"}, {"HTTP_COOKIE": "b=1"}),
        (Policy(cookies=("sid",)), {"HTTP_COOKIE": "sid=anna"}, {"REMOTE_USER": "anna"}),
        (Policy(cookies=("sid",), anonymous="shared"), {"HTTP_COOKIE": "sid=x"}, {}),
        (Policy(cookies=("sid",)), ANNA | {"HTTP_COOKIE": "sid=x"}, ANNA | {"HTTP_COOKIE": "sid=y"}),
        (Policy(cookies=("sid",)), {"REMOTE_USER": "site", "HTTP_COOKIE": "sid=x"}, {"REMOTE_USER": "site", "HTTP_COOKIE": "sid=y"}),
        (Policy(anonymous="address"), {"REMOTE_ADDR": "10.0.0.1"}, {"REMOTE_ADDR": "10.0.0.2"}),
        (Policy(principal=lambda environ: environ.get("HTTP_X_ID")), {"HTTP_X_ID": "1"}, {"HTTP_X_ID": "2"}),
        (Policy(principal=lambda environ: environ.get("HTTP_X_ID"), anonymous="shared"), {"HTTP_X_ID": "1"}, {}),
    ],
)
def test_one_key_of_two_principals_is_two_keys(policy: Policy, one: dict[str, Any], other: dict[str, Any]) -> None:
    assert stored(policy, **one) != stored(policy, **other)
    assert stored(policy, **one) == stored(policy, **one)


@pytest.mark.parametrize(
    ("policy", "changes"),
    [
        (Policy(), {}),
        (Policy(), {"HTTP_AUTHORIZATION": "", "REMOTE_USER": "", "REMOTE_ADDR": "10.0.0.1"}),
        (Policy(), {"HTTP_COOKIE": "sid=x"}),
        (Policy(cookies=("sid",)), {"HTTP_COOKIE": "sid=; other=1"}),
        (Policy(principal=lambda environ: None), ANNA),
        (Policy(principal=lambda environ: ""), ANNA),
        (Policy(lock=Dimensions()), {}),
        (Policy(lock=lambda environ, body: "x"), {}),
        (Policy(lock=Dimensions(), derive=Dimensions(), ttl=1), {}),
    ],
)
def test_nobody_has_no_keys(policy: Policy, changes: dict[str, Any]) -> None:
    refused = refusal(lambda: stored(policy, None if policy.derive or policy.lock else "k", **changes))

    assert (refused.fault.status, refused.fault.code) == (400, "principal-missing")


@pytest.mark.parametrize("source", [Dimensions(), lambda environ, body: "x"], ids=["dimensions", "callable"])
def test_nobody_who_has_sent_no_key_has_none_made_and_is_not_refused(source: Any) -> None:
    policy = Policy(derive=source, ttl=1)

    assert stored(policy, None) == []
    assert not claims.needs_body(policy, None, None)
    assert len(stored(policy, None, **ANNA)) == 1
    assert refusal(lambda: stored(policy, "k")).fault.code == "principal-missing"


def test_nobody_has_a_key_made_where_it_does_not_matter_who_sends_a_request() -> None:
    assert len(stored(Policy(derive=Dimensions(principal=False), ttl=1), None)) == 1


def test_a_lock_that_is_not_wanted_is_refused_to_nobody() -> None:
    assert stored(Policy(lock=lambda environ, body: None), None) == []


def test_other_cookies_do_not_tell_who_sends_a_request() -> None:
    assert stored(Policy(cookies=("sid",)), HTTP_COOKIE="sid=x; seen=1") == stored(Policy(cookies=("sid",)), HTTP_COOKIE="seen=2;sid=x")
    assert stored(**ANNA, HTTP_COOKIE="sid=x") == stored(**ANNA)


def test_a_principal_is_text() -> None:
    with pytest.raises(TypeError, match="principal gave 5"):
        stored(Policy(principal=lambda environ: 5))


def test_the_client_of_a_proxy_is_not_told_by_what_a_client_can_write() -> None:
    policy = Policy(anonymous="address")

    assert stored(policy, REMOTE_ADDR="a", HTTP_X_FORWARDED_FOR="b") == stored(policy, REMOTE_ADDR="a", HTTP_X_FORWARDED_FOR="c")


def test_a_namespace_sets_keys_apart() -> None:
    assert stored(Policy(namespace="a"), **ANNA) != stored(Policy(namespace="b"), **ANNA)


def test_neither_key_nor_credential_can_be_read_in_the_store() -> None:
    [key] = stored(key="my-key", **ANNA)

    assert len(key) == 64
    assert int(key, 16) >= 0


@given(st.lists(st.text(max_size=4) | st.none(), max_size=4), st.lists(st.text(max_size=4) | st.none(), max_size=4))
def test_parts_of_a_key_cannot_be_taken_for_others(one: list[str | None], other: list[str | None]) -> None:
    assert (fingerprints.digest(*one) == fingerprints.digest(*other)) == (one == other)


# Derived keys


@pytest.mark.parametrize(
    ("chosen_one", "changes"),
    [
        ("method", {"REQUEST_METHOD": "PUT"}),
        ("path", {"PATH_INFO": "/other"}),
        ("path", {"SCRIPT_NAME": "/mount"}),
        ("query", {"QUERY_STRING": "a=1"}),
        ("content_type", {"CONTENT_TYPE": "text/plain"}),
        ("content_type", {"CONTENT_TYPE": None}),
        ("body", {"body": b"other"}),
        ("principal", BOB),
        ("remote_addr", {"REMOTE_ADDR": "10.0.0.1"}),
        ("headers", {"HTTP_ACCEPT": "text/html"}),
        ("headers", {"HTTP_ACCEPT": ""}),
        ("cookies", {"HTTP_COOKIE": "theme=dark"}),
    ],
)
def test_a_derived_key_depends_on_its_dimensions_only(chosen_one: str, changes: dict[str, Any]) -> None:
    given: Any = {"headers": ("Accept",), "cookies": ("theme",)}.get(chosen_one, True)
    nothing: dict[str, Any] = {info.name: () if info.name in ("headers", "cookies") else False for info in fields(Dimensions)}
    with_it = Policy(derive=Dimensions(**nothing | {chosen_one: given}), ttl=1)
    without = Policy(derive=Dimensions(**nothing | {"method": True, "path": True} | {chosen_one: nothing[chosen_one]}), ttl=1)

    assert stored(with_it, None, **ANNA) != stored(with_it, None, **ANNA | changes)
    assert stored(without, None, **ANNA) == stored(without, None, **ANNA | changes)


def test_a_derived_key_may_be_made_by_a_callable_for_each_principal() -> None:
    policy = Policy(derive=lambda environ, body: body[:1].decode() or None, ttl=1)

    assert stored(policy, None, b"ax", **ANNA) == stored(policy, None, b"ay", **ANNA)
    assert stored(policy, None, b"ax", **ANNA) != stored(policy, None, b"ax", **BOB)
    assert stored(policy, None, b"", **ANNA) == []


def test_a_callable_makes_text_or_bytes() -> None:
    with pytest.raises(TypeError, match="derive gave 5"):
        stored(Policy(derive=lambda environ, body: 5, ttl=1), None, **ANNA)


def test_a_key_of_the_client_stands_before_a_derived_one() -> None:
    policy = Policy(derive=Dimensions(), ttl=1)

    assert stored(policy, "k", **ANNA) == stored(Policy(), "k", **ANNA)


def test_a_lock_stands_outside_of_what_is_kept() -> None:
    policy = Policy(lock=Dimensions(body=False))

    assert [want.kind for want in wants(policy, "k", b"x", **ANNA)] == ["lock", "explicit"]


def test_a_lock_and_a_derived_key_of_one_request_are_two() -> None:
    lock, derived = stored(Policy(lock=Dimensions(), derive=Dimensions(), ttl=1), None, **ANNA)

    assert lock != derived


@pytest.mark.parametrize(
    ("policy", "key", "needed"),
    [
        (Policy(), "k", True),
        (Policy(fingerprint=None), "k", False),
        (Policy(derive=Dimensions(), ttl=1), None, True),
        (Policy(derive=Dimensions(body=False), ttl=1), None, False),
        (Policy(derive=Dimensions(), fingerprint=None, ttl=1), "k", False),
        (Policy(derive=lambda environ, body: "k", ttl=1), None, True),
        (Policy(lock=Dimensions(body=False), fingerprint=None), "k", False),
        (Policy(lock=Dimensions(), fingerprint=None), "k", True),
    ],
)
def test_a_body_is_read_where_something_depends_on_it(policy: Policy, key: str | None, needed: bool) -> None:
    assert claims.needs_body(policy, key, ("shared",)) is needed


# Fingerprints


def printed(how: Any = "raw", body: bytes = b"{}", **changes: Any) -> bytes:
    content = io.BytesIO(body)
    made = fingerprints.fingerprint(environ_of(body, "/pay", **changes), Policy(fingerprint=how), content)
    assert content.tell() == 0
    return made


@pytest.mark.parametrize("how", ["raw", "json", "multipart"])
@pytest.mark.parametrize(
    "changes",
    [
        {"REQUEST_METHOD": "PATCH"},
        {"PATH_INFO": "/other"},
        {"SCRIPT_NAME": "/pay", "PATH_INFO": ""},
        {"QUERY_STRING": "a=1"},
        {"CONTENT_TYPE": "text/plain"},
        {"body": b"[]"},
    ],
    ids=str,
)
def test_another_request_has_another_fingerprint(how: str, changes: dict[str, Any]) -> None:
    same = changes == {"SCRIPT_NAME": "/pay", "PATH_INFO": ""}

    assert (printed(how) == printed(how, **changes)) is same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b'{"a": 1, "b": [2]}', b'{ "b":[2],"a":1 }', True),
        ('{"a": "é"}'.encode(), b'{"a": "\\u00e9"}', True),
        (b'{"a": [1, 2]}', b'{"a": [2, 1]}', False),
        (b'{"a": 1}', b'{"a": "1"}', False),
        (b'{"a": 1}', b'{"a": true}', False),
        (b'{"a": 9007199254740993}', b'{"a": 9007199254740992}', False),
        (b'{"a": 123456789012345678901}', b'{"a": 123456789012345678902}', False),
        (b'{"a": 0.1}', b'{"a": 0.10000000000000000001}', False),
        (b'{"a": 1e400}', b'{"a": 2e400}', False),
        (b'{"a": 1, "a": 2}', b'{"a": 2}', False),
        (b'{"a": NaN}', b'{"a": Infinity}', False),
        (b'{"a": "\\ud800"}', b'{"a": "\\ud801"}', False),
        (b"no json", b"no json ", False),
        (b"[" * 100_000, b"[" * 100_001, False),
        (b"\xff", b"\xfe", False),
        (b"", b" ", False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_json_is_compared_by_what_it_says(one: bytes, other: bytes, same: bool) -> None:
    assert (printed("json", one) == printed("json", other)) is same
    assert printed("raw", one) != printed("raw", other)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda part: st.lists(part) | st.dictionaries(st.text(max_size=5), part),
    max_leaves=8,
)


@given(JSON, JSON)
def test_json_is_one_where_it_is_equal(one: Any, other: Any) -> None:
    spaced, tight = json.dumps(one, indent=2).encode(), json.dumps(one, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert printed("json", spaced) == printed("json", tight)
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (printed("json", spaced) == printed("json", json.dumps(other).encode())) is same


def form(boundary: str, *contents: bytes) -> tuple[bytes, str]:
    limit = boundary.encode()
    head = b'\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
    return b"".join(
        b"--" + limit + head + content + b"\r\n" for content in contents
    ) + b"--" + limit + b"--\r\n", f"multipart/form-data; boundary={boundary}"


@given(st.lists(st.binary(max_size=40), max_size=4), st.lists(st.binary(max_size=40), max_size=4))
def test_a_form_is_compared_without_its_boundary(one: list[bytes], other: list[bytes]) -> None:
    def of(boundary: str, contents: list[bytes]) -> bytes:
        body, content_type = form(boundary, *contents)
        return printed("multipart", body, CONTENT_TYPE=content_type)

    assert of("one-boundary", one) == of("the-other", one)
    assert (of("one-boundary", one) == of("the-other", other)) is (one == other)


def test_a_form_of_many_pieces_is_compared_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    body, content_type = form("limit", b"x" * 500, b"--limi", b"y" * 500)
    whole = printed("multipart", body, CONTENT_TYPE=content_type)

    for size in (1, 2, 3, 7, 64, 501):
        monkeypatch.setattr(fingerprints, "_PIECE", size)
        assert printed("multipart", body, CONTENT_TYPE=content_type) == whole


def test_another_boundary_makes_another_request_where_bytes_are_compared() -> None:
    (one, one_type), (other, other_type) = form("a", b"x"), form("b", b"x")

    assert printed("raw", one, CONTENT_TYPE=one_type) != printed("raw", other, CONTENT_TYPE=other_type)


def test_a_callable_may_compare() -> None:
    def total(environ: dict[str, Any], body: bytes) -> bytes:
        return body[:1]

    assert printed(total, b"ax") == printed(total, b"ay", PATH_INFO="/other")
    assert printed(total, b"ax") != printed(total, b"bx")


def test_nothing_may_be_compared() -> None:
    assert printed(None, b"a") == printed(None, b"b", PATH_INFO="/other") == b""


# What follows from what a store says

SAME, OTHER = b"same", b"other"
KEPT = records.encode("201 Created", [("Location", "/1")], b"made", False, 0.0)
LARGE = records.encode("201 Created", [("Location", "/1")], None, False, 0.0)
EXPLICIT, DERIVED, LOCK = (Wanted(kind, "name", "stored", SAME) for kind in ("explicit", "derived", "lock"))


@pytest.mark.parametrize(
    ("claim", "policy", "status", "code", "members"),
    [
        (Held(9, OTHER), SHARED, 422, "key-reused", {"key": "name"}),
        (Kept(KEPT, OTHER), SHARED, 422, "key-reused", {"key": "name"}),
        (Kept(b"junk", OTHER), SHARED, 422, "key-reused", {"key": "name"}),
        (Lost(OTHER), SHARED, 422, "key-reused", {"key": "name"}),
        (Lost(OTHER), Policy(reused_status=409), 409, "key-reused", {"key": "name"}),
        (Lost(SAME), Policy(on_crash="fail"), 409, "outcome-unknown", {"key": "name"}),
        (Kept(b"junk", SAME), SHARED, 409, "outcome-unknown", {"key": "name"}),
        (Kept(LARGE, SAME), SHARED, 409, "response-not-kept", {"key": "name", "original_status": 201, "location": "/1"}),
    ],
)
def test_a_request_is_refused_by_what_a_store_says(claim: Claim, policy: Policy, status: int, code: str, members: dict[str, object]) -> None:
    refused = refusal(lambda: claims.judged(claim, EXPLICIT, policy))

    assert (refused.fault.status, refused.fault.code, dict(refused.fault.members)) == (status, code, members)
    assert refused.retry_after is None


def test_a_request_runs_waits_or_is_answered_as_before() -> None:
    claimed = Claimed(1, "me")

    assert claims.judged(claimed, EXPLICIT, SHARED) is claimed
    assert claims.judged(Held(2.5, SAME), EXPLICIT, SHARED) == Busy(2.5)
    record = claims.judged(Kept(KEPT, SAME), EXPLICIT, SHARED)
    assert isinstance(record, records.Record)
    assert (record.status, record.headers, record.body) == ("201 Created", [("Location", "/1")], b"made")


def test_a_derived_key_whose_reply_cannot_be_read_stops_nobody() -> None:
    assert claims.judged(Kept(b"junk", SAME), DERIVED, SHARED) is None


@pytest.mark.parametrize(("left", "seconds"), [(0.0, 1), (0.2, 1), (1.1, 2), (4.0, 4), (29.0, 5)])
def test_who_waited_in_vain_is_told_when_to_come_back(left: float, seconds: int) -> None:
    assert claims.in_flight(Busy(left), EXPLICIT, SHARED).retry_after == seconds


@pytest.mark.parametrize("status", [409, 423, 503])
def test_the_status_of_a_request_that_is_in_flight_can_be_chosen(status: Any) -> None:
    refused = claims.in_flight(Busy(1), EXPLICIT, Policy(in_flight_status=status))

    assert (refused.fault.status, refused.fault.code) == (status, "in-flight")


def test_a_key_that_no_client_has_sent_is_not_shown() -> None:
    assert claims.in_flight(Busy(1), LOCK, SHARED).fault.members == ()


def test_a_refusal_is_a_problem_document() -> None:
    refused = claims.in_flight(Busy(3), Wanted("explicit", "k" * 100, ""), SHARED)

    status, headers, body = claims.problem(refused, SHARED)

    assert status == "409 Conflict"
    assert headers == [
        ("Content-Type", "application/problem+json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("Retry-After", "3"),
    ]
    assert json.loads(body) == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "code": "in-flight",
        "detail": "A request with this key is being answered: come back for its answer.",
        "key": "k" * 64,
    }


def test_problems_may_have_types_and_documentation_of_their_own() -> None:
    policy = Policy(problem_base="https://shop.example/problems/", docs="https://shop.example/docs")

    _, headers, body = claims.problem(claims.unavailable(), policy)

    told = json.loads(body)
    assert (told["type"], told["title"]) == ("https://shop.example/problems/store-unavailable", "Store unavailable")
    assert ("Link", '<https://shop.example/docs>; rel="describedby"') in headers
    assert ("Retry-After", "1") in headers


# What is kept


@pytest.mark.parametrize(
    ("status", "kept"),
    [
        *((status, True) for status in (200, 201, 202, 204, 301, 303, 400, 402, 403, 404, 409, 410, 422, 424, 451)),
        *((status, False) for status in (100, 101, 206, 304, 401, 407, 408, 412, 416, 417, 421, 423, 425, 428, 429, 500, 502, 503, 504)),
    ],
)
def test_statuses_that_another_try_would_get_as_well_are_kept(status: int, kept: bool) -> None:
    assert records.storable(status, [], "release", None) is kept


@pytest.mark.parametrize(("status", "kept"), [(201, True), (303, True), (403, False), (409, False)])
def test_a_refusal_that_says_when_to_come_back_is_not_kept(status: int, kept: bool) -> None:
    assert records.storable(status, [("retry-after", "1")], "release", None) is kept


@pytest.mark.parametrize("status", [500, 503])
def test_errors_may_be_final(status: int) -> None:
    assert records.storable(status, [], "store", None)


@pytest.mark.parametrize(
    ("status", "told", "kept"), [(500, True, True), (429, True, True), (201, False, False), (206, True, False), (101, True, False), (0, True, False)]
)
def test_the_app_may_say_otherwise_but_a_part_is_never_the_whole(status: int, told: bool, kept: bool) -> None:
    assert records.storable(status, [], "release", told) is kept


@pytest.mark.parametrize(
    ("value", "told", "seconds"),
    [("no", False, None), ("NO", False, None), ("0", False, None), ("60", True, 60.0), (" 5 ", True, 5.0), ("maybe", None, None)],
)
def test_a_header_may_say_whether_and_for_how_long(value: str, told: bool | None, seconds: float | None) -> None:
    assert records.advised([("X", "1"), ("idempotency-store", value)]) == ([("X", "1")], told, seconds, (), ())


def test_headers_of_the_connection_and_of_the_moment_are_not_kept() -> None:
    dropped = ["Connection", "Transfer-Encoding", "Date", "Server", "Content-Length", "Keep-Alive", "Set-Cookie"]
    value = records.encode("200 OK", [("A", "1"), *((name, "x") for name in dropped), ("a", "2")], b"", False, 0.0)

    record = records.decode(value)

    assert record is not None
    assert record.headers == [("A", "1"), ("a", "2")]


def test_cookies_may_be_kept_each() -> None:
    cookies = [("Set-Cookie", "a=1"), ("set-cookie", "b=2")]

    record = records.decode(records.encode("200 OK", cookies, b"", True, 0.0))

    assert record is not None
    assert record.headers == cookies


class Text(str):
    """What frameworks mark text with."""


TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=20)


@given(st.lists(st.tuples(TEXT.map(Text), TEXT)), st.binary(max_size=5000), st.booleans())
def test_what_was_kept_is_what_is_given_out(headers: Headers, body: bytes, repeated: bool) -> None:
    headers = [(f"X-{name}", value) for name, value in headers]
    body = body * 50 if repeated else body

    record = records.decode(records.encode(Text("200 OK"), headers, body, False, 5.0, (("User:1", "ada"),)))

    assert record is not None
    assert (record.status, record.headers, record.body, record.created, record.signed) == ("200 OK", headers, body, 5.0, (("User:1", "ada"),))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_none(value: bytes) -> None:
    assert records.decode(value) is None or isinstance(records.decode(value), records.Record)


@pytest.mark.parametrize("at", range(0, len(KEPT), 3))
def test_a_record_that_is_cut_off_is_none(at: int) -> None:
    assert records.decode(KEPT[:at]) is None


@pytest.mark.parametrize(
    "value",
    [
        pickle.dumps(("201 Created", [], b"")),
        msgspec.msgpack.encode([2, "200 OK", [], b"", 0, [], [], 0.0, 0]),
        msgspec.msgpack.encode([1, "ok", [], b"", 0, [], [], 0.0, 0]),
        msgspec.msgpack.encode([1, "200 OK", [["a", 1]], b"", 0, [], [], 0.0, 0]),
        msgspec.msgpack.encode([1, "200 OK", [], b"not compressed", 1, [], [], 0.0, 0]),
    ],
)
def test_what_another_version_wrote_is_no_record(value: bytes) -> None:
    assert records.decode(value) is None


# Policies


@pytest.mark.parametrize(
    "wrong",
    [
        {"header": ()},
        {"header": "X Key"},
        {"header": "X_Key"},
        {"key_pattern": "("},
        {"derive": "body", "ttl": 1},
        {"derive": Dimensions()},
        {"derive": Dimensions(), "ttl": 1, "required": True},
        {"lock": 5},
        {"principal": "user"},
        {"principal": str, "cookies": ("sid",)},
        {"anonymous": "maybe"},
        {"revalidate": True},
        {"fingerprint": "xml"},
        {"wait": -1},
        {"wait": float("nan")},
        {"ttl": 0},
        {"ttl": float("inf")},
        {"ttl": "1"},
        {"lease": 0},
        {"lease": 10, "max_run": 5},
        {"on_crash": "maybe"},
        {"on_error": "keep"},
        {"max_body": -1},
        {"in_flight_status": 200},
        {"reused_status": 400},
        {"replayed_header": "a\r\nb"},
        {"problem_base": "a b"},
        {"docs": "https://x>"},
    ],
    ids=str,
)
def test_a_policy_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="|".join(wrong)):
        Policy(**wrong)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("derive", "environ, body"),
        ("lock", "environ, body"),
        ("fingerprint", "environ, body"),
        ("principal", "environ"),
        ("revalidate", "environ"),
    ],
)
def test_a_callable_that_cannot_be_called_is_refused_with_how_it_is(name: str, wanted: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}: is called as f\({wanted}\), and .*: too many positional arguments$"):
        Policy(**{"ttl": 1, name: lambda: ""})  # type: ignore[arg-type]  # that is wrong here


def test_a_function_that_chooses_no_policy_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^policy: is called as f\(environ\), and "):
        chosen(lambda: None, {})  # type: ignore[arg-type,misc]  # as above


def test_a_callable_that_tells_nothing_of_itself_is_taken() -> None:
    assert Policy(principal=str).principal is str


@pytest.mark.parametrize(("name", "known"), [("in_flight_status", "409, 423, 503"), ("on_crash", "execute, fail")])
def test_a_word_that_is_none_is_refused_with_those_that_are(name: str, known: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: 425 is none of {known}$"):
        Policy(**{name: 425})  # type: ignore[arg-type]  # that is wrong here


@pytest.mark.parametrize(
    "wrong", [{info.name: () if info.name in ("headers", "cookies") else False for info in fields(Dimensions)}, {"headers": "a b"}, {"body": "yes"}]
)
def test_dimensions_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Dimensions(**wrong)


def test_an_unknown_field_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'lease'"):
        chosen(None, {"leases": 5})


def test_single_fields_do_not_stand_beside_a_policy() -> None:
    with pytest.raises(ConfigError, match="wait"):
        chosen(Policy(), {"wait": 5})


@pytest.mark.parametrize(
    "wrong",
    [
        5,
        [],
        "POST",
        [5],
        [("POST", "/a")],
        [("post", "/a", SHARED)],
        [("POST", "(", SHARED)],
        [("POST", 5, SHARED)],
        [("POST", "/a", 5)],
    ],
    ids=str,
)
def test_what_is_no_policy_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="policy"):
        chosen(wrong, {})


@pytest.mark.parametrize(("method", "guarded"), [("POST", True), ("PATCH", True), ("PUT", False), ("DELETE", False), ("GET", False)])
def test_by_default_what_is_neither_safe_nor_idempotent_is_guarded(method: str, guarded: bool) -> None:
    assert (chosen(None, {})(environ_of(REQUEST_METHOD=method, HTTP_IDEMPOTENCY_KEY="k")) is not None) is guarded


def test_of_several_rules_the_first_that_fits_stands() -> None:
    one, other = Policy(wait=1), Policy(wait=2)
    choose = chosen([("POST", "/pay/open", None), (["POST", "PUT"], "/pay(/.*)?", one), ("POST", ".*", other)], {})

    def found(method: str, path: str) -> Policy | None:
        return choose(environ_of(b"", path, REQUEST_METHOD=method))

    assert found("POST", "/pay/open") is None
    assert found("PUT", "/pay/1") is one
    assert found("POST", "/payments") is other
    assert found("GET", "/pay") is None


def test_a_callable_gives_a_policy_or_none() -> None:
    with pytest.raises(TypeError, match="policy gave 'yes'"):
        chosen(lambda environ: "yes", {})({})  # type: ignore[arg-type,return-value]  # what is refused


# Keys of the items of a batch


def keyed(outer: str | None, *items: SubRequest) -> tuple[list[str | None], list[list[int]]]:
    repeated = key_items(Batch(list(items)), outer)
    return [item.fields.get("HTTP_IDEMPOTENCY_KEY") for item in items], repeated


def item(index: int, method: str = "POST", name: str | int | None = None, key: str | None = None) -> SubRequest:
    made = SubRequest(index, method, "/a", [], id=name)
    made.fields = {"HTTP_X": "1"} if key is None else {"HTTP_X": "1", "HTTP_IDEMPOTENCY_KEY": key}
    return made


def test_unsafe_items_get_keys_below_that_of_the_batch() -> None:
    keys, repeated = keyed("K", item(0), item(1, "GET"), item(2, "DELETE", "b/ä"), item(3, key="own"), item(4, name=7))

    assert keys == ["K/0", None, "K/b%2F%C3%A4", "own", "K/7"]
    assert repeated == []


def test_the_place_of_one_item_is_not_taken_for_the_id_of_another() -> None:
    keys, _ = keyed("K", item(0, name="1"), item(1), item(2, name="#1"))

    assert keys == ["K/1", "K/#1", "K/%231"]


def test_a_key_that_is_too_long_is_hashed() -> None:
    [key], _ = keyed("K" * 255, item(0))
    [other], _ = keyed("K" * 255, item(0, name="x"))

    assert key is not None
    assert other is not None
    assert (len(key), len(other)) == (64, 64)
    assert key != other


def test_a_key_is_read_and_written_anew() -> None:
    assert keyed('"K"', item(0))[0] == ["K/0"]
    assert keyed('"a,b"', item(0))[0] == ['"a,b/0"']


def test_what_is_no_key_is_handed_on_to_be_refused() -> None:
    assert keyed("a,b", item(0), item(1), item(2, "GET")) == (["a,b", "a,b", None], [])


def test_items_with_one_key_are_found_however_it_is_written() -> None:
    batch = Batch([item(0, key="x"), item(1, key='"x"'), item(2, key="y"), item(3, "GET", key="x"), item(4)])

    assert key_items(batch, None) == [[0, 1, 3]]
    assert batch.linked
    assert not key_items(Batch([item(0, key="x"), item(1)]), None)


@given(
    st.lists(
        st.none() | st.text(min_size=1, max_size=3) | st.integers(0, 9), max_size=8, unique_by=lambda name: object() if name is None else str(name)
    )
)
def test_each_item_has_a_key_of_its_own(names: list[str | int | None]) -> None:
    keys, repeated = keyed("K", *(item(index, name=name) for index, name in enumerate(names)))

    assert len(set(keys)) == len(names)
    assert repeated == []
