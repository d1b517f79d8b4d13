import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies
from wsgibatch import BadBatch, Batch, BatchRejected, Forbidden, Head, NestedBatch, Settings, SubRequest, TooLarge, UnknownMediaType
from wsgibatch._target import BatchPaths
from wsgibatch._vet import MAX_FIELDS, MAX_HEAD, Vetter, vet_head
from wsgibatch.dialects.aggregator import AggregatorDialect
from wsgibatch.dialects.auto import AutoDialect
from wsgibatch.dialects.django import DjangoDialect
from wsgibatch.dialects.multipart import MultipartDialect

RECOGNISER = DjangoDialect()


def head_of(media_type: str = "application/json", **changes: Any) -> Head:
    return Head(**{"path": "/batch", "mount": "", "host": "shop.example", "scheme": "http", "media_type": media_type, "parameters": {}, **changes})


def vetted(item: SubRequest, **settings: Any) -> str:
    """The code of the item's refusal, or the word ``fine``."""
    configured = Settings(**settings)
    Vetter(configured, BatchPaths(configured.path))(Batch([item]), head_of(), DjangoDialect(), 1 << 20)
    return "fine" if item.refusal is None else str(json.loads(item.refusal.body)["code"])


def with_headers(*headers: tuple[str, str], method: str = "GET", body: bytes = b"") -> SubRequest:
    return SubRequest(0, method, "/a", list(headers), body)


def test_json_in_utf8_may_carry_a_batch() -> None:
    vet_head(head_of(parameters={"charset": "UTF-8"}), RECOGNISER)


@pytest.mark.parametrize(
    "media_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/related",
        "text/json",
        "application/jsonx",
        "application/json, text/plain",
        "*/*",
    ],
)
def test_another_content_type_is_refused(media_type: str) -> None:
    with pytest.raises(UnknownMediaType):
        vet_head(head_of(media_type), RECOGNISER)


@pytest.mark.parametrize("charset", ["utf-16", "utf-7", "latin-1", "rot13", "no-such-codec", "idna"])
def test_another_charset_is_refused(charset: str) -> None:
    with pytest.raises(UnknownMediaType):
        vet_head(head_of(parameters={"charset": charset}), RECOGNISER)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip", "x"])
def test_a_batch_with_a_content_coding_is_refused(coding: str) -> None:
    with pytest.raises(UnknownMediaType):
        vet_head(head_of(content_encoding=coding), RECOGNISER)


@pytest.mark.parametrize("coding", ["", "identity", " Identity "])
def test_a_batch_without_a_content_coding_is_taken(coding: str) -> None:
    vet_head(head_of(content_encoding=coding), RECOGNISER)


def test_a_batch_that_is_itself_an_item_is_refused() -> None:
    with pytest.raises(NestedBatch):
        vet_head(head_of(item=0), RECOGNISER)


LOOSE = sorted(AggregatorDialect.loose_types)


@pytest.mark.parametrize("media_type", LOOSE)
def test_a_type_that_needs_no_preflight_is_refused_with_cookies_from_elsewhere(media_type: str) -> None:
    with pytest.raises(Forbidden):
        vet_head(head_of(media_type, cookies=True), AggregatorDialect())


@pytest.mark.parametrize("media_type", LOOSE)
@pytest.mark.parametrize("origin", [{"cookies": False}, {"cookies": True, "same_origin": True}])
def test_a_type_that_needs_no_preflight_is_taken_without_cookies_or_from_this_origin(media_type: str, origin: dict[str, bool]) -> None:
    vet_head(head_of(media_type, **origin), AggregatorDialect())


@pytest.mark.parametrize("media_type", LOOSE)
def test_a_type_that_needs_no_preflight_is_refused_with_a_password_from_elsewhere(media_type: str) -> None:
    password = {"Authorization": "Basic YTpi"}
    vet_head(head_of(media_type, headers=password), AggregatorDialect())
    vet_head(head_of(media_type, other_origin=True), AggregatorDialect())
    vet_head(head_of(headers=password, other_origin=True), AggregatorDialect())

    with pytest.raises(Forbidden):
        vet_head(head_of(media_type, headers=password, other_origin=True), AggregatorDialect())


def test_a_form_with_files_is_taken_by_a_dialect_that_is_named_and_by_no_other() -> None:
    vet_head(head_of("multipart/form-data"), RECOGNISER)

    for other in (AutoDialect(), AggregatorDialect(), MultipartDialect()):
        with pytest.raises(UnknownMediaType):
            vet_head(head_of("multipart/form-data"), other)


def test_a_form_with_files_from_a_page_of_another_origin_is_refused_with_cookies_or_without() -> None:
    with pytest.raises(Forbidden):
        vet_head(head_of("multipart/form-data", other_origin=True), RECOGNISER)
    with pytest.raises(Forbidden):
        vet_head(head_of("multipart/form-data", cookies=True), RECOGNISER)


def test_json_with_cookies_is_taken_since_it_needs_a_preflight() -> None:
    vet_head(head_of(cookies=True), AggregatorDialect())


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
def test_the_usual_methods_are_fine(method: str) -> None:
    assert vetted(SubRequest(0, method, "/a", [])) == "fine"


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "MERGE", "get", "GETX", "BATCH", "_", "*"])
def test_another_method_is_not_allowed(method: str) -> None:
    assert vetted(SubRequest(0, method, "/a", [])) == "method-not-allowed"


@pytest.mark.parametrize("method", ["", " ", "GET ", " GET", "GET\n", "GET\r\nX: y", "G\x00T", "GE T", "GÉT", "GEſ", "G\tT", "GET/", "(", "\ud800"])
def test_what_is_no_method_is_refused(method: str) -> None:
    assert vetted(SubRequest(0, method, "/a", [])) == "bad-method"


def test_further_methods_may_be_configured() -> None:
    assert vetted(SubRequest(0, "MERGE", "/a", []), methods=["MERGE"]) == "fine"


def test_headers_become_cgi_fields() -> None:
    item = with_headers(("Accept", "a/b"), ("X-One", " \t1\xff "), ("content-type", "text/x"))

    assert vetted(item) == "fine"
    assert item.fields == {"HTTP_ACCEPT": "a/b", "HTTP_X_ONE": "1\xff", "CONTENT_TYPE": "text/x"}


@pytest.mark.parametrize(
    "name", ["", " ", "A B", "A:", "A\n", "A\r\nB", "\x00", "É", "Remote-U\u017fer", "X-\u0131", "A(", "A\xad", "A/B", '"', "\ud800"]
)
def test_what_is_no_header_name_is_refused(name: str) -> None:
    assert vetted(with_headers((name, "x"))) == "bad-header"


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\n", "\r", "\x00", "a\x1b[0m", "\x7f", "\u0100", "\u2028", "\ud800", "\U0001f600"])
def test_what_is_no_header_value_is_refused(value: str) -> None:
    assert vetted(with_headers(("X-A", value))) == "bad-header"


@pytest.mark.parametrize(
    ("first", "second"), [("Authorization", "authorization"), ("X-A", "x-a"), ("Content-Type", "CONTENT-TYPE"), ("Accept", "Accept")]
)
def test_a_header_in_two_spellings_is_refused(first: str, second: str) -> None:
    assert vetted(with_headers((first, "1"), (second, "2"))) == "repeated-header"


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "x-forwarded-proto",
        "X-Forwarded",
        "X-Real-IP",
        "X-Client-Cert",
        "X-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "SSL-Client-Verify",
        "X-SSL-Client-DN",
        "X-Remote-User",
        "Remote-User",
        "Remote-Addr",
        "X-Original-URL",
        "Client-IP",
        "X-Amzn-Oidc-Identity",
        "X-Auth-Request-User",
        "X-Goog-Authenticated-User-Email",
        "X-Rewrite-URL",
        "X-Script-Name",
        "X-Scheme",
        "X-Host",
        "X-Accel-Redirect",
        "Front-End-Https",
        "Proxy",
        "Proxy-Authorization",
        "Origin",
        "Referer",
        "Sec-Fetch-Site",
        "Sec-WebSocket-Key",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "HTTP2-Settings",
        "Accept-Encoding",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "Cookie",
        "X_Forwarded_For",
        "Remote_User",
        "REMOTE_USER",
        "Content_Length",
        "Content_Type",
        "HTTP_HOST",
        "X_A",
        "wsgi.input_",
    ],
)
def test_a_header_that_an_item_may_not_set_is_left_out_in_silence(name: str) -> None:
    item = with_headers((name, "x"), ("X-Kept", "y"))

    assert vetted(item) == "fine"
    assert item.fields == {"HTTP_X_KEPT": "y"}


@pytest.mark.parametrize(
    "name", ["REQUEST-METHOD", "Path-Info", "Query-String", "Server-Name", "Script-Name", "wsgi.input", "wsgibatch.item", "HTTPS", "Auth-Type"]
)
def test_no_header_becomes_a_key_that_a_server_sets(name: str) -> None:
    item = with_headers((name, "x"))

    assert vetted(item) == "fine"
    assert all(key.startswith("HTTP_") for key in item.fields)


@given(st.lists(st.tuples(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x17F), max_size=12), st.text(max_size=8)), max_size=4))
def test_fields_are_http_names_and_latin1_values_whatever_the_headers_are(headers: list[tuple[str, str]]) -> None:
    item = with_headers(*headers)

    if vetted(item) == "fine":
        for key, value in item.fields.items():
            assert key == "CONTENT_TYPE" or key.startswith("HTTP_")
            assert key.isascii()
            assert value.encode("latin-1").isascii() or max(value) <= "\xff"
            assert not set(value) & set("\r\n\0")


@given(strategies.headers)
def test_good_headers_are_fine_and_kept(headers: list[tuple[str, str]]) -> None:
    item = with_headers(*headers)

    assert vetted(item) == "fine"
    assert item.fields == {"HTTP_" + name.upper().replace("-", "_"): value.strip(" \t") for name, value in headers}


def test_cookies_of_an_item_are_left_out_unless_they_are_asked_for() -> None:
    without, with_cookies = with_headers(("Cookie", "a=1")), with_headers(("Cookie", "a=1"))

    vetted(without)
    vetted(with_cookies, item_cookies=True)

    assert without.fields == {}
    assert with_cookies.fields == {"HTTP_COOKIE": "a=1"}


def test_an_item_may_bring_its_own_authorization() -> None:
    item = with_headers(("Authorization", "Bearer x"))

    assert vetted(item) == "fine"
    assert item.fields == {"HTTP_AUTHORIZATION": "Bearer x"}


def test_further_headers_can_be_denied_in_any_spelling() -> None:
    item = with_headers(("x-tenant", "b"))

    assert vetted(item, deny_headers=["X-Tenant"]) == "fine"
    assert item.fields == {}


def test_transfer_encoding_is_refused() -> None:
    assert vetted(with_headers(("Transfer-Encoding", "chunked"))) == "bad-header"


@pytest.mark.parametrize("announced", ["1", "+3", "-3", "0x3", "3.0", "1_0", "\u0663", "3,3", "", " ", "99999999999999999999"])
def test_a_content_length_that_contradicts_the_body_is_refused(announced: str) -> None:
    assert vetted(with_headers(("Content-Length", announced), method="POST", body=b"abc")) in ("bad-length", "bad-header")


@pytest.mark.parametrize("announced", ["3", "03", " 3 "])
def test_a_content_length_that_fits_is_not_needed_and_not_kept(announced: str) -> None:
    item = with_headers(("Content-Length", announced), method="POST", body=b"abc")

    assert vetted(item) == "fine"
    assert item.fields == {}


def test_a_url_that_no_server_would_read_refuses_the_batch() -> None:
    with pytest.raises(TooLarge) as caught:
        vetted(SubRequest(0, "GET", "/" + "a" * 8190, []))

    assert caught.value.pointer == "/0/url"
    assert vetted(SubRequest(0, "GET", "/" + "a" * 8189, [])) == "fine"


def test_too_many_header_fields_refuse_the_batch() -> None:
    headers = [(f"X-{number}", "") for number in range(MAX_FIELDS + 1)]

    with pytest.raises(BadBatch) as caught:
        vetted(with_headers(*headers))

    assert caught.value.pointer == "/0/headers"
    assert vetted(with_headers(*headers[1:])) == "fine"


def test_header_fields_that_are_too_large_together_refuse_the_batch() -> None:
    half = "x" * (MAX_HEAD // 2 - 3)

    with pytest.raises(TooLarge):
        vetted(with_headers(("X-A", half), ("X-B", half + "y")))

    assert vetted(with_headers(("X-A", half), ("X-B", half))) == "fine"


def test_a_body_over_the_limit_of_an_item_refuses_the_batch() -> None:
    with pytest.raises(TooLarge) as caught:
        vetted(SubRequest(0, "POST", "/a", [], b"1234"), max_item_body=3)

    assert (caught.value.limit, caught.value.pointer) == (3, "/0/body")
    assert vetted(SubRequest(0, "POST", "/a", [], b"123"), max_item_body=3) == "fine"


def test_a_pointer_tells_the_item_in_the_list_that_the_batch_has() -> None:
    settings = Settings(max_item_body=3)
    items = [SubRequest(0, "GET", "/a", []), SubRequest(1, "POST", "/a", [], b"1234")]

    with pytest.raises(BatchRejected) as caught:
        Vetter(settings, BatchPaths(settings.path))(Batch(items, "/batch"), head_of(), DjangoDialect(), 1 << 20)

    assert caught.value.pointer == "/batch/1/body"


def test_a_bad_item_leaves_the_others_alone() -> None:
    settings = Settings()
    items = [SubRequest(0, "GET", "//x", []), SubRequest(1, "GET", "/a?b", [("X-A", "1")])]

    Vetter(settings, BatchPaths(settings.path))(Batch(items), head_of(), DjangoDialect(), 1 << 20)

    assert items[0].refusal is not None
    assert (items[1].refusal, items[1].path, items[1].query, items[1].fields) == (None, "/a", "b", {"HTTP_X_A": "1"})


def test_names_that_were_seen_are_remembered_within_bounds() -> None:
    settings = Settings()
    vetter = Vetter(settings, BatchPaths(settings.path))

    for number in range(3000):
        vetter(Batch([with_headers((f"X-{number}-" + "x" * 1000, ""))]), head_of(), DjangoDialect(), 1 << 20)

    remembered = vetter._names.known
    assert sum(map(len, remembered)) < 100_000


def test_what_is_wrong_with_an_item_is_told_without_repeating_it() -> None:
    payload = "<script>alert(1)</script>"
    for item in (
        SubRequest(0, payload, "/a", []),
        SubRequest(0, "GET", "//" + payload, []),
        with_headers((payload, "x")),
        with_headers(("X-A", payload + "\n")),
    ):
        assert vetted(item) != "fine"
        assert item.refusal is not None
        assert b"script" not in item.refusal.body
