import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests import strategies
from wsgibatch import Batch, Head, Settings, SubRequest
from wsgibatch._paths import resolve
from wsgibatch._target import BatchPaths, Targets
from wsgibatch._vet import Vetter
from wsgibatch.dialects.django import DjangoDialect
from wsgibatch.model import Fault


def head_at(mount: str = "", host: str = "shop.example", scheme: str = "http") -> Head:
    return Head(path=mount + "/batch", mount=mount, host=host, scheme=scheme, media_type="application/json", parameters={})


def led(url: str, head: Head | None = None, method: str = "GET", **settings: Any) -> tuple[str, str] | str:
    """Where *url* leads: PATH_INFO and QUERY_STRING, or the code of its refusal."""
    configured = Settings(**settings)
    item = SubRequest(0, method, url, [])
    Vetter(configured, BatchPaths(configured.path))(Batch([item]), head or head_at(), DjangoDialect(), 1 << 20)
    if item.refusal is None:
        return item.path, item.query
    document = json.loads(item.refusal.body)
    assert document["status"] == item.refusal.status
    return str(document["code"])


@pytest.mark.parametrize(
    ("url", "path", "query"),
    [
        ("/a", "/a", ""),
        ("/", "/", ""),
        ("/a/b/", "/a/b/", ""),
        ("/a?b=c", "/a", "b=c"),
        ("/a?", "/a", ""),
        ("/a?b?c", "/a", "b?c"),
        ("/a?x=%zz%", "/a", "x=%zz%"),
        ("/a?b=%23&c=/../%00", "/a", "b=%23&c=/../%00"),
        ("/%41", "/A", ""),
        ("/a%2fb", "/a/b", ""),
        ("/a%3fb", "/a?b", ""),
        ("/%C3%BC", "/\xc3\xbc", ""),
        ("/%ff", "/\xff", ""),
        ("/%2541", "/%41", ""),
        ("/a%0d%0ab", "/a\r\nb", ""),
        ("/a+b", "/a+b", ""),
        ("/a/../b", "/a/../b", ""),
        ("/a//b", "/a//b", ""),
        ("/a;x=1/b", "/a;x=1/b", ""),
        ("/.well-known/x", "/.well-known/x", ""),
        ("/a:b@c", "/a:b@c", ""),
        ("a", "/a", ""),
        ("a/b?c", "/a/b", "c"),
        ("./a", "/./a", ""),
        ("/batches", "/batches", ""),
        ("/x/batch", "/x/batch", ""),
        ("/batch/x", "/batch/x", ""),
        ("/?/batch", "/", "/batch"),
        ("http://shop.example", "/", ""),
        ("http://shop.example?a", "/", "a"),
        ("http://shop.example/a?b", "/a", "b"),
        ("HTTP://SHOP.example/a", "/a", ""),
        ("http://shop.example:80/a", "/a", ""),
        ("http://shop.example:/a", "/a", ""),
        ("https://shop.example/a", "/a", ""),
        ("https://shop.example:443/a", "/a", ""),
    ],
)
def test_a_good_url_leads_to_the_path_that_a_server_would_give(url: str, path: str, query: str) -> None:
    assert led(url) == (path, query)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "?a",
        "#",
        "/a#b",
        "/a b",
        " /a",
        "/a ",
        "/a\t",
        "/a\tb",
        "/a\n",
        "/a\r\nX: y",
        "/a\x00",
        "/a\x7f",
        "/a\x85",
        "/ü",
        "/\u2028",
        "/\uff0e\uff0e/",
        "/a?\n",
        "/a?ü",
        "/%",
        "/%4",
        "/%zz",
        "/%00",
        "/a%00b",
        "/%u0041",
        "//evil.example/a",
        "///a",
        "/\\evil.example/a",
        "\\\\evil.example\\a",
        "\\a",
        "file:///etc/passwd",
        "gopher://shop.example/",
        "ftp://shop.example/a",
        "javascript:alert(1)",
        "data:text/plain,a",
        "http:/shop.example/a",
        "http:a",
        "http:///a",
        "ws://shop.example/a",
        "mailto:a@b",
    ],
)
def test_a_bad_url_is_refused(url: str) -> None:
    assert led(url) in ("bad-url", "foreign-host")


@pytest.mark.parametrize(
    ("host", "scheme", "url"),
    [
        ("shop.example", "http", "http://shop.example/a"),
        ("shop.example:80", "http", "http://shop.example/a"),
        ("shop.example", "http", "http://shop.example:80/a"),
        ("shop.example:443", "https", "https://shop.example/a"),
        # TLS often ends before us.
        ("shop.example", "http", "https://shop.example/a"),
        ("shop.example:8080", "http", "http://shop.example:8080/a"),
        ("Shop.Example", "http", "http://sHOP.eXAMPLE/a"),
        ("[::1]", "http", "http://[::1]/a"),
        ("[::1]:80", "http", "http://[::1]/a"),
        ("[::1]:8080", "http", "http://[::1]:8080/a"),
        ("127.0.0.1:8000", "http", "http://127.0.0.1:8000/a"),
    ],
)
def test_the_host_of_the_batch_may_be_named(host: str, scheme: str, url: str) -> None:
    assert led(url, head_at(host=host, scheme=scheme)) == ("/a", "")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("shop.example", "http://evil.example/a"),
        ("shop.example", "http://shop.example.evil.example/a"),
        ("shop.example", "http://evil.shop.example/a"),
        ("shop.example", "http://shop.example@evil.example/a"),
        ("shop.example", "http://user:pass@shop.example/a"),
        ("shop.example", "http://shop.example:8080/a"),
        ("shop.example:8080", "http://shop.example/a"),
        ("shop.example:8080", "http://shop.example:80/a"),
        ("shop.example", "http://shop.example./a"),
        ("shop.example", "http://169.254.169.254/latest/meta-data"),
        ("shop.example", "http://shop%2eexample/a"),
        ("[::1]", "http://::1/a"),
        ("[::1]:8080", "http://[::1]/a"),
        ("shop.example", "https://shop.example:80@evil.example/a"),
    ],
)
def test_another_host_is_never_reached(host: str, url: str) -> None:
    assert led(url, head_at(host=host)) == "foreign-host"


@pytest.mark.parametrize(
    "url",
    [
        "/batch",
        "/batch/",
        "/batch?a",
        "/batch/?a=b",
        "/BATCH",
        "/Batch/",
        "/%62atch",
        "/%62%61%74%63%68",
        "/b%41tch",
        "/%2562atch",
        "/%25252562atch",
        "/batch%2f",
        "/batch%20",
        "/batch%09",
        "/batch;x=1",
        "/batch;",
        "/;x/batch",
        "/./batch",
        "/x/../batch",
        "/x/%2e%2e/batch",
        "/x/%2e%2e%2fbatch",
        "/x/..;/batch",
        "/x//..//../batch",
        "/batch/.",
        "/batch/x/..",
        "/batch//",
        "/%2fbatch",
        "/%5cbatch",
        "/x/..%5cbatch",
        "/x\\..\\batch",
        "/batch%2500",
        "batch",
        "./batch",
        "../batch",
        "http://shop.example/batch",
        "http://shop.example/x/../batch",
    ],
)
def test_no_spelling_of_a_batch_path_is_posted_to_by_an_item(url: str) -> None:
    assert led(url, method="POST") == "nested-batch"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    ("url", "path", "query"), [("/batch", "/batch", ""), ("/%62atch/?a=b", "/batch/", "a=b"), ("/v1/api", "/v1/api", ""), ("/?x", "/", "x")]
)
def test_what_is_not_posted_is_no_batch_wherever_it_leads(method: str, url: str, path: str, query: str) -> None:
    assert led(url, method=method, path=["/batch", "/v1/api", "/"]) == (path, query)


@pytest.mark.parametrize(
    "url", ["/api/batch", "/api/%62atch", "/api/x/../batch", "/api/../api/batch", "/api/..%2fapi%2fbatch", "batch", "http://shop.example/api/batch"]
)
def test_no_spelling_of_a_mounted_batch_path_is_posted_to_by_an_item(url: str) -> None:
    assert led(url, head_at("/api"), "POST") == "nested-batch"


@pytest.mark.parametrize("url", ["/v1/$batch", "/V1/%24BATCH", "/v1/%24batch/", "/other"])
def test_each_of_several_batch_paths_is_near(url: str) -> None:
    assert led(url, method="POST", path=["/v1/$batch", "/other"]) == "nested-batch"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/x?comp=batch", "nested-batch"),
        ("/?comp=batch", "nested-batch"),
        ("/x?a&comp=batch", "nested-batch"),
        ("/x?comp=%62atch", "nested-batch"),
        ("/x?COMP=Batch", "nested-batch"),
        ("/x?comp=batches", ("/x", "comp=batches")),
        ("/x?xcomp=batch", ("/x", "xcomp=batch")),
        ("/comp=batch", ("/comp=batch", "")),
    ],
)
def test_a_query_condition_is_recognised_in_any_spelling(url: str, expected: object) -> None:
    assert led(url, method="POST", path="*?comp=batch") == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/api/a", ("/a", "")),
        ("/api", ("", "")),
        ("/api/", ("/", "")),
        ("/api?q", ("", "q")),
        ("a?b", ("/a", "b")),
        ("http://shop.example/api/a", ("/a", "")),
        ("/api/../x", ("/../x", "")),
        ("/a", "outside-mount"),
        ("/apia", "outside-mount"),
        ("/API/a", "outside-mount"),
        ("/%61pi/a", "outside-mount"),
        ("/x/../api/a", "outside-mount"),
        ("/", "outside-mount"),
    ],
)
def test_an_item_stays_below_the_mount_point(url: str, expected: object) -> None:
    assert led(url, head_at("/api")) == expected


def test_a_mount_point_is_compared_percent_encoded() -> None:
    assert led("/m%C3%BC/a", head_at("/m%C3%BC")) == ("/a", "")


DENIED = [
    "/admin",
    "/admin/",
    "/admin/users",
    "/admin?a",
    "/%61dmin",
    "//admin/x".replace("//", "/./"),
    "/x/../admin",
    "/x/../admin/users",
    "/ADMIN",
    "/Admin/users",
    "/admin%2fx",
    "/%2fadmin",
    "/x/..%2fadmin",
    "/x/%2e%2e/admin",
    "/admin;jsessionid=1",
    "/admin;x/users",
    "/admin%20",
    "/admin%09/x",
    "/%2561dmin",
    "/%25252561dmin",
    "/admin%2500",
    "/./admin",
    "/x\\..\\admin",
    "/x/..;/admin",
    "/admin/../public",
    "/%61dmin/../public",
    "/admin//x",
    "admin",
    "http://shop.example/admin",
]


@pytest.mark.parametrize("url", DENIED)
def test_no_spelling_of_a_denied_path_is_reached(url: str) -> None:
    assert led(url, deny_paths=["/admin"]) == "path-not-allowed"


def test_a_network_path_to_a_denied_path_is_no_url_at_all() -> None:
    assert led("//admin", deny_paths=["/admin"]) == "bad-url"


@pytest.mark.parametrize("url", ["/administrator", "/public/admin", "/a?/admin", "/admin-x", "/"])
def test_what_only_looks_like_a_denied_path_is_reached(url: str) -> None:
    assert led(url, deny_paths=["/admin"]) == (url.partition("?")[0], url.partition("?")[2])


@pytest.mark.parametrize("url", ["/gr%C3%B6%C3%9Fe", "/gr%c3%b6%c3%9fe/x"])
def test_a_denied_path_beyond_ascii_is_denied(url: str) -> None:
    assert led(url, deny_paths=["/größe"]) == "path-not-allowed"


@pytest.mark.parametrize("url", ["/api/admin", "/api/x/../admin", "/api/../api/admin", "/api/..%2fapi/admin"])
def test_a_denied_path_is_denied_below_a_mount_point(url: str) -> None:
    assert led(url, head_at("/api"), deny_paths=["/admin"]) == "path-not-allowed"


def test_parameters_do_not_hide_a_denied_path_behind_dot_segments() -> None:
    assert led("/admin;x/../public", deny_paths=["/admin"]) == "path-not-allowed"


@pytest.mark.parametrize("url", ["/api", "/api/", "/api/x", "/api/x?y", "/%61pi/x", "/api//x", "/api/./x", "/api/x/../y"])
def test_an_allowed_path_is_reached(url: str) -> None:
    assert isinstance(led(url, allow_paths=["/api"]), tuple)


@pytest.mark.parametrize(
    "url", ["/", "/x", "/apix", "/API", "/api/../x", "/x/../api", "/api/..%2fx", "/api/%2e%2e/x", "/api/..;/x", "/api\\..\\..\\x"]
)
def test_what_is_not_allowed_in_every_reading_is_not_reached(url: str) -> None:
    assert led(url, allow_paths=["/api"]) == "path-not-allowed"


def test_a_denial_stands_before_an_allowance() -> None:
    assert led("/api/admin", allow_paths=["/api"], deny_paths=["/api/admin"]) == "path-not-allowed"


@pytest.mark.parametrize(
    ("settings", "url", "path"),
    [
        ({"strip_prefix": "/v1"}, "/v1/a", "/a"),
        ({"strip_prefix": "/v1"}, "/v1", "/"),
        ({"strip_prefix": "/v1"}, "/a", "/a"),
        ({"strip_prefix": "/v1"}, "/v11/a", "/v11/a"),
        ({"add_prefix": "/v1"}, "/a", "/v1/a"),
        ({"add_prefix": "/v1"}, "/v1/a", "/v1/a"),
        ({"add_prefix": "/v1"}, "a", "/v1/a"),
        ({"strip_prefix": "/old", "add_prefix": "/new"}, "/old/a", "/new/a"),
    ],
)
def test_prefixes_are_taken_off_and_put_on(settings: dict[str, str], url: str, path: str) -> None:
    assert led(url, None, **settings) == (path, "")


@pytest.mark.parametrize("url", ["/v1/batch", "/v1/%62atch"])
def test_a_batch_path_behind_a_prefix_that_is_taken_off_is_no_item(url: str) -> None:
    assert led(url, method="POST", strip_prefix="/v1") == "nested-batch"


def test_a_double_slash_behind_a_prefix_that_is_taken_off_names_no_host() -> None:
    assert led("/v1//evil.example/a", strip_prefix="/v1") == "bad-url"


@given(strategies.urls)
@example("/a?b")
def test_the_quick_way_and_the_careful_way_lead_to_the_same_place(url: str) -> None:
    targets = Targets(Settings(), BatchPaths(("/batch", "/q?comp=batch")))

    plain = targets.admit(url)

    if plain is not None:
        assert targets.locate(url, head_at(), "POST") == (url, *plain.groups(""))


@given(st.text(max_size=30) | st.text("/batch.%2eE5c;?#\\ :@xX", max_size=24).map("/".__add__))
def test_any_text_leads_to_a_path_or_to_a_fault(url: str) -> None:
    located = led(url, method="POST")

    if isinstance(located, tuple):
        path, query = located
        assert path.startswith("/")
        assert query.isascii()
        assert query.isprintable()
        assert path.encode("latin-1") is not None
        assert resolve(path).casefold() != "/batch"


@given(strategies.paths.map(lambda path: path.replace("%41", "A")))
def test_what_is_resolved_stays_as_it_is(path: str) -> None:
    assert resolve(resolve(path)) == resolve(path)


@pytest.mark.parametrize("piece", ["/", "/..", "%2e", "%252f", "%25", ";", "\\", ",", "-", "/a/../", "+", "%ff"])
def test_a_url_of_one_piece_over_and_over_is_decided(piece: str) -> None:
    located = Targets(Settings(deny_paths=("/admin",)), BatchPaths(("/batch",))).locate("/a" + piece * (200_000 // len(piece)), head_at(), "GET")

    assert isinstance(located, tuple | Fault)


@pytest.mark.parametrize(
    ("paths", "path", "query", "is_batch"),
    [
        (("/batch",), "/batch", "", True),
        (("/batch",), "/batch/", "", True),
        (("/batch",), "/batch", "access_token=1", True),
        (("/batch/",), "/batch", "", True),
        (("/batch",), "/batch//", "", False),
        (("/batch",), "/BATCH", "", False),
        (("/batch",), "/batch/x", "", False),
        (("/batch",), "/", "", False),
        (("/batch",), "", "", False),
        (("/",), "/", "", True),
        (("/",), "", "", True),
        (("/a", "/b"), "/b", "", True),
        (("*?comp=batch",), "/any/path", "comp=batch", True),
        (("*?comp=batch",), "/", "a=b&comp=batch&c", True),
        (("*?comp=batch",), "/", "comp=batches", False),
        (("*?comp=batch",), "/", "", False),
        (("/a?x=1",), "/a", "x=1", True),
        (("/a?x=1",), "/a/", "x=1", True),
        (("/a?x=1",), "/a", "", False),
        (("/a?x=1",), "/b", "x=1", False),
        (("/a?x=1", "/b"), "/b", "", True),
    ],
)
def test_which_requests_are_batches(paths: tuple[str, ...], path: str, query: str, is_batch: bool) -> None:
    assert BatchPaths(paths).match(path, query) is is_batch
