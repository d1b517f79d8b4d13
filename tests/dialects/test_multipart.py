"""Batches in multipart: as bytes through the whole middleware, and as tables of bytes and records, which are read and written alike."""

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from multipart import parse_options_header

from tests import strategies
from tests.apps import show
from tests.gateway import Answer, environ_of, send
from wsgibatch import BatchMiddleware, BatchRejected, ConfigError, DuplicateId, Group, Head, Settings, SubRequest, SubResponse
from wsgibatch.dialects._mime import part_of, split
from wsgibatch.dialects._profiles import PROFILES, Way
from wsgibatch.dialects.multipart import MultipartDialect
from wsgibatch.model import Headers
from wsgibatch.protocols import Unanswered
from wsgibatch.settings import Profile

LEAF = b"Content-Type: application/http\r\n"
JSON = b"Content-Type: application/json\r\n"


def parts(*contents: bytes, boundary: bytes = b"b") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + content + b"\r\n" for content in contents) + b"--" + boundary + b"--\r\n"


def leaf(request: bytes, head: bytes = b"") -> bytes:
    return LEAF + head + b"\r\n" + request


def changeset(*leaves: bytes) -> bytes:
    return b"Content-Type: multipart/mixed; boundary=c\r\n\r\n" + parts(*leaves, boundary=b"c")


def post(
    app: Any, body: bytes, path: str = "/batch", kind: str = "multipart/mixed; boundary=b", environ: dict[str, Any] | None = None, **settings: Any
) -> Answer:
    middleware = BatchMiddleware(
        app, **{"dialect": "multipart", "path": ("/batch", "/srv/$batch", "/sites/a/_api/$batch", "*?comp=batch"), **settings}
    )
    return send(middleware, environ_of(body, path, CONTENT_TYPE=kind, **(environ or {})))


class Part:
    """One part of an answer, taken apart."""

    def __init__(self, body: bytes, start: int, end: int) -> None:
        self.fields, content = part_of(body, start, end)
        self.inner: list[Part] = []
        kind, options = parse_options_header(self.fields["content-type"])
        if kind == "multipart/mixed":
            self.inner = [Part(body, *span) for span in split(body, options["boundary"].encode(), 1000, content, end)]
            self.lines, self.body = [], b""
        else:
            head, _, self.body = body[content:end].partition(b"\r\n\r\n")
            self.lines = head.decode("latin-1").split("\r\n")

    @property
    def status(self) -> int:
        return int(self.lines[0].split(" ")[1])


def parts_of(answer: Answer) -> list[Part]:
    kind, options = parse_options_header(answer.header("Content-Type") or "")
    assert kind.startswith("multipart/"), answer
    boundary = options["boundary"].encode()
    assert answer.body.startswith(b"--" + boundary + b"\r\n")
    assert answer.body.endswith(b"\r\n--" + boundary + b"--\r\n")
    return [Part(answer.body, *span) for span in split(answer.body, boundary, 1000)]


class Site:
    """Makes people, fails below ``/fail``, and tells what it was asked everywhere else."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.seen: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        self.ran.append(path)
        self.seen.append(environ | {"body": body})
        if path.endswith("/fail"):
            start_response("409 CONFLICT", [("Content-Type", "text/plain")])
            return [b"no"]
        if environ["REQUEST_METHOD"] == "POST":
            start_response("201 Created", [("Content-Type", "application/json"), ("Location", f"{path}({len(self.ran)})"), ("etag", '"1"')])
            return [b"{}"]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [path.encode("latin-1") + b"?" + environ["QUERY_STRING"].encode()]


@pytest.fixture
def site() -> Site:
    return Site()


@contextlib.contextmanager
def no_transaction() -> Iterator[Group]:
    yield Group()


def test_the_table_has_every_profile_that_can_be_set() -> None:
    assert tuple(PROFILES) == get_args(Profile)


def test_an_answer_has_this_very_form(site: Site) -> None:
    answer = post(site, parts(leaf(b"GET /a HTTP/1.1\r\n\r\n", b"Content-ID: <x + 1>\r\n")), durations=False)

    [part] = parts_of(answer)
    boundary = (answer.header("Content-Type") or "").removeprefix("multipart/mixed; boundary=")
    assert boundary.startswith("batchresponse_")
    assert answer.body.decode() == (
        f"--{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <response-x + 1>\r\n\r\n"
        f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\n/a?\r\n--{boundary}--\r\n"
    )
    assert part.body == b"/a?"


def test_the_duration_of_an_item_stands_in_its_head(site: Site) -> None:
    [part] = parts_of(post(site, parts(leaf(b"GET /a\r\n"))))

    assert any(line.startswith("Batch-Duration: 0.0") for line in part.lines)


def test_the_subtype_comes_back(site: Site) -> None:
    answer = post(site, parts(leaf(b"GET /a HTTP/1.1\r\n")), kind='multipart/batch; boundary="b"')

    assert (answer.header("Content-Type") or "").startswith("multipart/batch; boundary=batchresponse_")


@pytest.mark.parametrize(
    ("path", "environ", "status"),
    [
        ("/batch", {}, 200),
        ("/srv/$batch", {}, 202),
        ("/srv/$batch", {"HTTP_ODATA_VERSION": "4.0"}, 200),
        ("/srv/$batch", {"HTTP_X_MS_VERSION": "2019-02-02"}, 202),
        ("/sites/a/_api/$batch", {}, 200),
        ("/account/", {"QUERY_STRING": "comp=batch"}, 202),
    ],
)
def test_the_profile_is_told_by_the_request(site: Site, path: str, environ: dict[str, str], status: int) -> None:
    assert post(site, parts(leaf(b"GET /a HTTP/1.1\r\n")), path, environ=environ).status == status


def test_the_profile_can_be_set(site: Site) -> None:
    assert post(site, parts(leaf(b"GET /a HTTP/1.1\r\n")), profile="azure-blob").status == 202
    with pytest.raises(ConfigError, match="profile"):
        BatchMiddleware(site, profile="gogle")
    with pytest.raises(ConfigError, match="profile"):
        BatchMiddleware(site, profile="google", dialect="graph")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"HTTP_ACCEPT": "application/json;odata.metadata=minimal"}, 200),
        ({"HTTP_ACCEPT": "text/html, application/json; odata.streaming=true"}, 200),
        ({"HTTP_PREFER": "odata.continue-on-error"}, 200),
        ({"HTTP_ODATA_MAXVERSION": "4.01"}, 200),
        ({"HTTP_ACCEPT": "application/json;odata=verbose"}, 202),
        ({"HTTP_ACCEPT": "application/odata.xml"}, 202),
        ({"HTTP_PREFER": "return-no-content"}, 202),
        ({"HTTP_PREFER": 'odata.include-annotations="*"', "HTTP_DATASERVICEVERSION": "3.0"}, 202),
        ({"HTTP_PREFER": 'odata.include-annotations="*"', "HTTP_MAXDATASERVICEVERSION": "3.0;NetFx"}, 202),
    ],
)
def test_version_four_is_told_by_words_that_only_it_has(site: Site, headers: dict[str, str], status: int) -> None:
    assert post(site, parts(leaf(b"GET /a HTTP/1.1\r\n")), "/srv/$batch", environ=headers).status == status


def test_a_part_with_a_message_type_is_answered_with_one(site: Site) -> None:
    [part] = parts_of(post(site, parts(b"Content-Type: application/http; msgtype=request\r\n\r\nGET /a HTTP/1.1\r\n\r\n")))

    assert part.fields["content-type"] == "application/http; msgtype=response"


def test_a_content_id_comes_back_where_it_stood(site: Site) -> None:
    body = parts(
        leaf(b"GET /a HTTP/1.1\r\nContent-ID: 7\r\n\r\n"), leaf(b"GET /b HTTP/1.1\r\n\r\n", b"content-id:8\r\n"), leaf(b"GET /c HTTP/1.1\r\n\r\n")
    )

    inside, outside, none = parts_of(post(site, body, profile="odata2"))

    assert ("Content-ID: 7" in inside.lines, inside.fields.get("content-id")) == (True, None)
    assert outside.fields["content-id"] == "8"
    assert b"Content-ID" not in "".join(none.lines).encode()
    assert all("HTTP_CONTENT_ID" not in environ for environ in site.seen)


def test_items_of_every_kind_reach_the_app_and_bodies_are_byte_exact(site: Site) -> None:
    binary = bytes(range(256))
    body = parts(
        leaf(b"GET /a?b=c HTTP/1.1\r\nHost: elsewhere.example\r\nAccept-Encoding: gzip\r\nAuthorization: Basic x\r\n\r\n"),
        leaf(b"POST people\r\n" + JSON + b'\r\n{"a": 1}\r\n'),
        leaf(b"PUT http://shop.example/x HTTP/1.1\r\nContent-Type: image/png\r\nContent-Length: 256\r\n\r\n" + binary),
        leaf(b"DELETE /y HTTP/1.1"),
        leaf(b"MERGE /z HTTP/1.1\r\n\r\n"),
    )

    answers = parts_of(post(site, body, "/srv/$batch", environ={"HTTP_ACCEPT": "multipart/mixed"}))

    assert [part.status for part in answers] == [200, 201, 200, 200, 200]
    assert site.ran == ["/a", "/srv/people", "/x", "/y", "/z"]
    first, second, third, *_ = site.seen
    assert (first["HTTP_HOST"], first["HTTP_AUTHORIZATION"], "HTTP_ACCEPT_ENCODING" in first, "HTTP_ACCEPT" in first) == (
        "shop.example",
        "Basic x",
        False,
        False,
    )
    assert (second["body"], third["body"]) == (b'{"a": 1}', binary)


def test_merge_is_a_method_where_the_profile_knows_it(site: Site) -> None:
    [part] = parts_of(post(site, parts(leaf(b"MERGE /a HTTP/1.1\r\n\r\n"))))

    assert part.status == 405


def test_the_query_of_a_batch_belongs_to_its_requests_for_clients_of_google(site: Site) -> None:
    body = parts(leaf(b"GET /a?key=mine HTTP/1.1\r\n\r\n"), leaf(b"GET /b HTTP/1.1\r\n\r\n"))

    first, second = parts_of(post(site, body, environ={"QUERY_STRING": "key=k&alt=json"}))

    assert (first.body, second.body) == (b"/a?key=mine&alt=json", b"/b?key=k&alt=json")


def test_a_query_that_no_url_could_hold_is_refused_before_it_is_given_to_every_request(site: Site) -> None:
    assert post(site, parts(leaf(b"GET /a\r\n")), environ={"QUERY_STRING": "a=" + "b" * (64 << 10)}).status == 413
    assert not site.ran


def test_parameters_are_the_same_however_their_names_are_encoded(site: Site) -> None:
    body = parts(leaf(b"GET /a?a%5Fb=mine&c+d=mine HTTP/1.1\r\n\r\n"))

    [part] = parts_of(post(site, body, environ={"QUERY_STRING": "a_b=k&c%20d=k&e=k"}))

    assert part.body == b"/a?a%5Fb=mine&c+d=mine&e=k"


@pytest.mark.parametrize(("name", "told"), [(b"X-HTTP-Method", b"MERGE"), (b"x-http-method", b"merge"), (b"X-HTTP-METHOD", b"DELETE ")])
@pytest.mark.parametrize("profile", ["odata2", "sharepoint", "azure-tables"])
def test_a_post_is_what_its_header_says_where_clients_mean_it_so(site: Site, profile: str, name: bytes, told: bytes) -> None:
    [part] = parts_of(post(site, parts(leaf(b"POST /a HTTP/1.1\r\n" + name + b": " + told + b"\r\n\r\n")), profile=profile))

    [seen] = site.seen
    assert (part.status, seen["REQUEST_METHOD"], "HTTP_X_HTTP_METHOD" in seen) == (200, told.decode().strip().upper(), False)


@pytest.mark.parametrize("told", [b"TRACE", b"CONNECT", b"BREW", b"MERGE, DELETE"])
def test_what_a_post_says_that_it_is_has_to_be_allowed(site: Site, told: bytes) -> None:
    [part] = parts_of(post(site, parts(leaf(b"POST /a HTTP/1.1\r\nX-HTTP-Method: " + told + b"\r\n\r\n")), profile="odata2"))

    assert (part.status in (400, 405), site.ran) == (True, [])


@pytest.mark.parametrize(
    ("profile", "request_"),
    [
        *[(profile, b"POST /a HTTP/1.1\r\nX-HTTP-Method: MERGE\r\n\r\n") for profile in ("google", "aspnet", "odata4", "azure-blob")],
        ("google", b"POST /a HTTP/1.1\r\nX-HTTP-Method-Override: DELETE\r\n\r\n"),
        ("odata2", b"POST /a HTTP/1.1\r\nX-Method-Override: DELETE\r\n\r\n"),
        ("odata2", b"GET /a HTTP/1.1\r\nX-HTTP-Method: DELETE\r\n\r\n"),
        ("odata2", b"POST /a HTTP/1.1\r\nX-HTTP-Method: MERGE\r\nX-HTTP-Method: PUT\r\n\r\n"),
        ("odata2", b"POST /a HTTP/1.1\r\nX-HTTP-Method: MERGE\r\nX-HTTP-Method-Override: PUT\r\n\r\n"),
        ("odata2", b"POST /a HTTP/1.1\r\nX-HTTP-Method: \r\n\r\n"),
    ],
)
def test_what_may_mean_another_method_never_runs(site: Site, profile: str, request_: bytes) -> None:
    refused, other = parts_of(post(site, parts(leaf(request_), leaf(b"GET /b\r\n")), profile=profile, environ={"HTTP_PREFER": "continue-on-error"}))

    assert (refused.status, other.status, site.ran) == (400, 200, ["/b"])


def test_a_method_that_is_told_twice_is_no_other(site: Site) -> None:
    parts_of(post(site, parts(leaf(b"MERGE /a HTTP/1.1\r\nX-HTTP-Method:MERGE\r\nIF-MATCH:*\r\n\r\n")), profile="sharepoint"))

    assert site.seen[0]["REQUEST_METHOD"] == "MERGE"


def test_an_answer_to_head_keeps_the_length_that_the_app_tells() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("content-length", "42")])
        return []

    requests = [SubRequest(0, "HEAD", "/a", []), SubRequest(1, "HEAD", "/b", [])]
    headers, body = MultipartDialect().write(requests)
    answer = post(app, body, kind=dict(headers)["Content-Type"])

    assert [part.lines[-1] for part in parts_of(answer)] == ["Content-Length: 42"] * 2
    assert [(read.status, read.body) for read in MultipartDialect().read(answer.headers, answer.body, requests)] == [(200, b"")] * 2


def test_an_answer_to_head_has_no_body_whoever_gives_it() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        raise RuntimeError

    [failed, refused] = parts_of(post(app, parts(leaf(b"HEAD /a\r\n"), leaf(b"HEAD /b\r\n")), deny_paths=("/b",)))

    assert [(part.status, part.body) for part in (failed, refused)] == [(500, b""), (403, b"")]


def test_a_transfer_coding_that_is_none_is_left_out_and_any_other_refused(site: Site) -> None:
    body = parts(
        leaf(b"POST /a HTTP/1.1\r\nTransfer-Encoding: Identity\r\n\r\nx"),
        leaf(b"POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
        leaf(b"POST /c HTTP/1.1\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\nx"),
    )

    assert [part.status for part in parts_of(post(site, body))] == [201, 400, 400]
    assert (site.seen[0]["body"], "HTTP_TRANSFER_ENCODING" in site.seen[0]) == (b"x", False)


def test_a_path_is_no_longer_than_in_any_dialect(site: Site) -> None:
    body = parts(
        *[
            leaf(b"GET " + target + b" HTTP/1.1\r\n\r\n")
            for target in (b"/" + b"a" * 8189, b"/" + b"a" * 8190, b"/%61" * 2_100, b"/a?" + b"/" * 9_000)
        ]
    )

    assert [part.status for part in parts_of(post(site, body))] == [200, 414, 414, 200]


def test_a_url_may_be_as_long_as_the_head_of_an_item(site: Site) -> None:
    long = b"/a?" + b"q" * 65_000

    [part] = parts_of(post(site, parts(leaf(b"GET " + long + b" HTTP/1.1\r\n\r\n"))))

    assert part.body == long
    assert post(site, parts(leaf(b"GET " + long + b"q" * 1_000 + b" HTTP/1.1\r\n\r\n"))).status == 413
    # What is not ASCII is longer when it is encoded.
    assert post(site, parts(leaf(b"GET /" + b"\xff" * 30_000 + b" HTTP/1.1\r\n\r\n"))).status == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b--\r\n",
        b"--b\r\n" + LEAF + b"\r\nGET /a HTTP/1.1\r\n",
        parts(b"Content-Type: text/plain\r\n\r\nGET /a HTTP/1.1\r\n"),
        parts(b"Content-Type: application/http; msgtype=response\r\n\r\nGET /a HTTP/1.1\r\n"),
        parts(b"Content-Type: application/http; msgtype=request; msgtype=response\r\n\r\nGET /a HTTP/1.1\r\n"),
        parts(b"Content-Type: application/http; msgtype=request; msgtype=request\r\n\r\nGET /a HTTP/1.1\r\n"),
        parts(b"Content-Type: application/http; msgtype*=utf-8''response\r\n\r\nGET /a HTTP/1.1\r\n"),
        parts(b"Content-Type: application/http; msgtype=other\r\n\r\nGET /a HTTP/1.1\r\n"),
        parts(b'Content-Type: application/http; msgtype="request\r\n\r\nGET /a HTTP/1.1\r\n'),
        parts(b"Content-Type: application/http, multipart/mixed\r\n\r\nGET /a HTTP/1.1\r\n"),
        parts(leaf(b"GET /a HTTP/1.1 HTTP/1.1\r\n")),
        parts(leaf(b"GET /a HTTP/1.1\r\n", b"Content-Transfer-Encoding: base64\r\n")),
        parts(leaf(b"GET /a HTTP/1.1\r\n"), leaf(b"nonsense\r\n")),
        parts(leaf(b"GET /a HTTP/1.1\r\nX : a\r\n\r\n")),
        parts(leaf(b"GET /a HTTP/1.1\r\nX: a\rb\r\n\r\n")),
        parts(leaf(b"GET /a HTTP/1.1\r\n"), changeset(changeset(leaf(b"GET /a HTTP/1.1\r\n")))),
        parts(leaf(b"GET /a HTTP/1.1\r\n", b"Content-ID: " + b"x" * 2000 + b"\r\n")),
        parts(leaf(b"GET /a HTTP/1.1\r\nContent-ID: x\x0bSet-Cookie: a\r\n\r\n")),
        parts(leaf(b"GET /a HTTP/1.1\r\n", b"Content-ID: \x85\r\n")),
        parts(leaf(b"GET /a HTTP/1.1\r\nContent-ID: x\r\nContent-ID: y\r\n\r\n")),
        parts(b"Content-Type: application/http\n\r\nGET /a HTTP/1.1\r\n"),
        parts(b"Content-Type: application/http\r\nContent-Type: application/http; msgtype=request\r\n\r\nGET /a HTTP/1.1\r\n"),
    ],
)
def test_what_is_malformed_is_refused_before_anything_runs(site: Site, body: bytes) -> None:
    answer = post(site, body, "/srv/$batch")

    assert (answer.status, site.ran) == (400, [])
    assert answer.json()["error"]["message"]


def test_a_refusal_tells_in_which_part_it_is(site: Site) -> None:
    answer = post(site, parts(leaf(b"GET /a HTTP/1.1\r\n"), leaf(b"nonsense\r\n")))

    assert answer.json()["error"]["message"].startswith("Part 2: ")


@pytest.mark.parametrize("settings", [{"profile": "azure-tables"}, {"environ": {"HTTP_X_MS_VERSION": "2019-02-02"}}])
def test_clients_of_azure_are_refused_in_their_own_form(site: Site, settings: dict[str, Any]) -> None:
    answer = post(site, b"", "/srv/$batch", **settings)
    [item] = parts_of(post(site, parts(leaf(b"TRACE /a\r\n")), "/srv/$batch", **settings))

    assert answer.json()["odata.error"].keys() == {"code", "message"}
    assert json.loads(item.body)["odata.error"]["code"] == "method-not-allowed"


def test_a_profile_that_is_set_stands_before_what_a_request_looks_like(site: Site) -> None:
    environ = {"HTTP_X_MS_VERSION": "2019-02-02"}

    assert "error" in post(site, b"", "/srv/$batch", environ=environ, profile="odata2").json()


def test_a_batch_of_azure_tables_is_one_changeset_or_one_request(site: Site) -> None:
    def status(*contents: bytes) -> int:
        return post(site, parts(*contents), "/srv/$batch", profile="azure-tables", atomic=no_transaction).status

    get = leaf(b"GET /a\r\n")

    assert [status(get), status(changeset(get)), status(changeset(*[get] * 100))] == [202, 202, 202]
    assert [status(get, get), status(get, changeset(get)), status(changeset(get), get), status(changeset(get), changeset(get))] == [400] * 4
    assert status(changeset(*[get] * 101)) == 413


def test_too_many_requests_are_refused_those_in_changesets_among_them(site: Site) -> None:
    body = parts(leaf(b"GET /a HTTP/1.1\r\n"), changeset(leaf(b"GET /b HTTP/1.1\r\n"), leaf(b"GET /c HTTP/1.1\r\n")))

    assert post(site, body, max_requests=2).status == 413
    assert post(site, body, max_requests=3, atomic="stop").status == 200


@pytest.mark.parametrize(("environ", "most"), [({}, 100), ({"QUERY_STRING": "comp=batch"}, 256)])
def test_a_profile_may_allow_more_requests(site: Site, environ: dict[str, str], most: int) -> None:
    requests = [leaf(b"GET /a HTTP/1.1\r\n\r\n")] * (most + 1)

    assert post(site, parts(*requests), "/x" if environ else "/batch", environ=environ).status == 413
    assert post(site, parts(*requests[1:]), "/x" if environ else "/batch", environ=environ).status in (200, 202)


# Changesets


WRITES = (leaf(b"POST people HTTP/1.1\r\n\r\n", b"Content-ID: 1\r\n"), leaf(b"POST /fail HTTP/1.1\r\n\r\n", b"Content-ID: 2\r\n"))


def test_a_changeset_is_answered_with_one(site: Site) -> None:
    [part] = parts_of(post(site, parts(changeset(WRITES[0], leaf(b"DELETE /y\r\n"))), "/srv/$batch", atomic=no_transaction))

    assert list(part.fields) == ["content-type"]
    assert part.fields["content-type"].startswith("multipart/mixed; boundary=changesetresponse_")
    assert [(inner.status, inner.fields.get("content-id")) for inner in part.inner] == [(201, "1"), (200, None)]


@pytest.mark.parametrize(("profile", "nested"), [("odata2", False), ("odata4", False), ("azure-tables", True)])
def test_a_changeset_that_failed_is_answered_with_what_failed(site: Site, profile: str, nested: bool) -> None:
    [part] = parts_of(post(site, parts(changeset(*WRITES, leaf(b"GET /a\r\n"))), "/srv/$batch", atomic=no_transaction, profile=profile))

    [answered] = part.inner if nested else [part]
    assert bool(part.inner) is nested
    assert (answered.status, answered.fields["content-id"], answered.body) == (409, "2", b"no")


def test_a_changeset_that_failed_has_an_answer_for_each_of_its_requests_for_sharepoint(site: Site) -> None:
    answered = parts_of(post(site, parts(changeset(*WRITES, leaf(b"GET /a\r\n"))), "/srv/$batch", atomic=no_transaction, profile="sharepoint"))

    assert [part.status for part in answered] == [424, 409, 424]


@pytest.mark.parametrize("profile", ["odata2", "odata4", "sharepoint", "azure-tables"])
def test_a_changeset_that_only_stopped_tells_what_has_happened(site: Site, profile: str) -> None:
    answered = parts_of(post(site, parts(changeset(*WRITES, leaf(b"GET /a\r\n"))), "/srv/$batch", atomic="stop", profile=profile))

    told = answered if profile == "sharepoint" else answered[0].inner
    assert [part.status for part in told] == [201, 409, 424]
    assert site.ran == ["/srv/people", "/fail"]


ERROR = '{"odata.error":{"code":"X","message":{"lang":"en","value":"%s"}}}'


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (ERROR % "no", ERROR % "1:no"),
        (ERROR % "0:no", ERROR % "0:no"),
        ('{"odata.error":{"message":"no"}}', '{"odata.error":{"message":"no"}}'),
        ('{"odata.error":5}', '{"odata.error":5}'),
        ("[]", "[]"),
        ("no", "no"),
    ],
)
def test_clients_of_azure_tables_are_told_in_the_message_which_request_of_a_changeset_failed(body: str, told: str) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        failed = environ["PATH_INFO"] == "/b"
        start_response("409 Conflict" if failed else "201 Created", [("Content-Type", "application/json")])
        return [body.encode() if failed else b"{}"]

    batch = parts(changeset(leaf(b"POST /a\r\n"), leaf(b"POST /b\r\n"), leaf(b"POST /c\r\n")))
    [part] = parts_of(post(app, batch, "/srv/$batch", atomic=no_transaction, profile="azure-tables"))

    assert part.inner[0].body == told.encode()


def test_an_answer_that_holds_the_boundary_of_the_whole_is_not_passed_on() -> None:
    """Whoever reads the beginning of a stream might have an app say it."""
    seen: list[bytes] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"\r\n--" + seen[0] + b"\r\n" if seen else b"first"]

    environ = environ_of(parts(leaf(b"GET /a\r\n"), leaf(b"GET /b\r\n")), CONTENT_TYPE="multipart/mixed; boundary=b")
    headers: dict[str, str] = {}

    def start_response(status: str, told: Headers, exc_info: object = None) -> None:
        headers.update(told)

    pieces = iter(BatchMiddleware(app, stream=True)(environ, start_response))
    first = next(pieces)
    seen.append(headers["Content-Type"].partition("boundary=")[2].encode())

    rest = b"".join(pieces)

    assert b"HTTP/1.1 200 OK" in first
    assert b"HTTP/1.1 502 Bad Gateway" in rest
    assert (first + rest).count(b"--" + seen[0]) == 3


def test_the_answers_to_a_changeset_stand_among_the_others_for_sharepoint(site: Site) -> None:
    body = parts(changeset(WRITES[0], leaf(b"DELETE /y\r\n")), leaf(b"GET /a\r\n"))

    assert [part.status for part in parts_of(post(site, body, "/sites/a/_api/$batch", atomic=no_transaction))] == [201, 200, 200]


def test_a_changeset_without_a_transaction_is_answered_501_and_nothing_of_it_runs(site: Site) -> None:
    changed, read = parts_of(post(site, parts(changeset(*WRITES), leaf(b"GET /a\r\n")), "/srv/$batch"))

    assert (changed.status, read.status, site.ran) == (501, 200, ["/a"])


def test_a_reference_leads_to_what_an_earlier_request_of_the_changeset_has_made(site: Site) -> None:
    body = parts(
        changeset(
            WRITES[0],
            leaf(b"POST $1/orders HTTP/1.1\r\n\r\n"),
            leaf(b"PUT http://shop.example/srv/$1 HTTP/1.1\r\nIf-Match: $1\r\n" + JSON + b'\r\n{"a@odata.bind": "$1", "b": "$1"}'),
        )
    )

    [part] = parts_of(post(site, body, "/srv/$batch", atomic=no_transaction))

    assert [inner.status for inner in part.inner] == [201, 201, 200]
    assert site.ran == ["/srv/people", "/srv/people(1)/orders", "/srv/people(1)"]
    assert site.seen[2]["HTTP_IF_MATCH"] == '"1"'
    assert json.loads(site.seen[2]["body"]) == {"a@odata.bind": "/srv/people(1)", "b": "$1"}


@pytest.mark.parametrize(
    "target", [b"$1/x", b"/$1/x", b"%241/x", b"/srv/$1/x", b"/srv/%241/x", b"http://shop.example/srv/$1/x", b"HTTP://shop.example/srv/$1/x"]
)
@pytest.mark.parametrize("content_id", [b"1", b"<1>"])
def test_a_reference_is_the_first_segment_of_a_url_in_any_of_its_forms(site: Site, target: bytes, content_id: bytes) -> None:
    body = parts(leaf(b"POST people\r\n\r\n", b"Content-ID: " + content_id + b"\r\n"), leaf(b"GET " + target + b"?y HTTP/1.1\r\n\r\n"))

    _, answered = parts_of(post(site, body, "/srv/$batch", profile="odata4"))

    assert answered.body == b"/srv/people(1)/x?y"


@pytest.mark.parametrize("target", [b"/x/$1", b"/srv/x/$1", b"/elsewhere/$1", b"/a?$1", b"/x$1"])
def test_what_looks_like_a_reference_elsewhere_is_none(site: Site, target: bytes) -> None:
    body = parts(leaf(b"POST people\r\n\r\n", b"Content-ID: 1\r\n"), leaf(b"GET " + target + b" HTTP/1.1\r\n\r\n"))

    _, answered = parts_of(post(site, body, "/srv/$batch", profile="odata4"))

    assert answered.body.rstrip(b"?") == target


def test_ids_are_told_apart_by_case_and_names_of_the_system_are_none(site: Site) -> None:
    body = parts(leaf(b"POST people\r\n\r\n", b"Content-ID: a\r\n"), leaf(b"GET $A\r\n\r\n"), leaf(b"GET $all\r\n\r\n", b"Content-ID: all\r\n"))

    _, unknown, system = parts_of(post(site, body, "/srv/$batch", profile="odata4", environ={"HTTP_PREFER": "continue-on-error"}))

    assert (unknown.status, system.body) == (404, b"/srv/$all?")


def test_a_reference_to_what_has_failed_is_not_run(site: Site) -> None:
    body = parts(leaf(b"POST /fail\r\n\r\n", b"Content-ID: 1\r\n"), leaf(b"DELETE $1\r\n\r\n"))

    failed, answered = parts_of(post(site, body, "/srv/$batch", profile="odata4", environ={"HTTP_PREFER": "continue-on-error"}))

    assert (failed.status, answered.status, site.ran) == (409, 424, ["/fail"])


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ([("Location", "http://shop.example/srv/made(7)")], "/srv/made(7)/x"),
        ([("Location", "made(7)/")], "/srv/made(7)/x"),
        ([("OData-EntityId", "/srv/made(8)")], "/srv/made(8)/x"),
        ([("OData-EntityId", "/srv/made(8)"), ("Location", "/srv/made(7)")], "/srv/made(7)/x"),
    ],
)
def test_a_reference_leads_to_the_location_of_an_answer_or_else_to_its_entity_id(headers: list[tuple[str, str]], path: str) -> None:
    ran: list[str] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        ran.append(environ["PATH_INFO"])
        start_response("204 No Content", headers)
        return []

    post(app, parts(leaf(b"POST people\r\n\r\n", b"Content-ID: 1\r\n"), leaf(b"GET $1/x\r\n\r\n")), "/srv/$batch", profile="odata4")

    assert ran == ["/srv/people", path]


@pytest.mark.parametrize(("value", "bound"), [("$1", '"1"'), ('"$1"', '"$1"'), ("*", "*")])
@pytest.mark.parametrize("name", ["If-Match", "if-none-match"])
def test_a_condition_that_is_a_reference_is_the_tag_of_that_answer(site: Site, name: str, value: str, bound: str) -> None:
    condition = f"{name}: {value}\r\n".encode()
    body = parts(leaf(b"POST people\r\n\r\n", b"Content-ID: 1\r\n"), leaf(b"PUT /x HTTP/1.1\r\n" + condition + b"\r\n"))

    post(site, body, "/srv/$batch", profile="odata4")

    assert site.seen[1]["HTTP_" + name.upper().replace("-", "_")] == bound


def test_a_condition_that_refers_to_nothing_never_reaches_the_app(site: Site) -> None:
    body = parts(leaf(b"POST people\r\n\r\n", b"Content-ID: 1\r\n"), leaf(b"PUT /x HTTP/1.1\r\nIf-None-Match: $2\r\n\r\n"))

    assert [part.status for part in parts_of(post(site, body, "/srv/$batch", profile="odata4"))] == [201, 404]
    assert site.ran == ["/srv/people"]


@pytest.mark.parametrize("name", [b"metadata", b"batch", b"entity"])
def test_what_the_service_calls_its_own_is_no_reference_whatever_requests_are_called(site: Site, name: bytes) -> None:
    body = parts(leaf(b"POST people\r\n\r\n", b"Content-ID: " + name + b"\r\n"), leaf(b"GET $" + name + b"/x\r\n\r\n"))

    post(site, body, "/srv/$batch", profile="odata4")

    assert site.ran == ["/srv/people", f"/srv/${name.decode()}/x"]


@pytest.mark.parametrize("profile", ["odata2", "odata4", "sharepoint"])
def test_the_ids_of_one_changeset_may_be_given_again_in_another(site: Site, profile: str) -> None:
    write = (WRITES[0], leaf(b"PUT $1 HTTP/1.1\r\n\r\n", b"Content-ID: 2\r\n"))

    answer = post(site, parts(changeset(*write), changeset(*write)), "/srv/$batch", profile=profile, atomic=no_transaction)

    assert answer.status in (200, 202)
    assert site.ran == ["/srv/people", "/srv/people(1)", "/srv/people", "/srv/people(3)"]


@pytest.mark.parametrize(("profile", "status", "ran"), [("odata2", 404, []), ("odata4", 200, ["/srv/people(1)"])])
def test_a_reference_out_of_a_changeset_is_known_from_version_four_on(site: Site, profile: str, status: int, ran: list[str]) -> None:
    body = parts(leaf(b"POST people\r\n\r\n", b"Content-ID: 1\r\n"), leaf(b"GET $1\r\n\r\n"))

    _, answered = parts_of(post(site, body, "/srv/$batch", profile=profile))

    assert (answered.status, site.ran) == (status, ["/srv/people", *ran])


@pytest.mark.parametrize("target", [b"$5", b"/$9/x", b"http://shop.example/srv/$5", b"$2/y", b"%245"])
def test_a_reference_to_nothing_never_reaches_the_app(site: Site, target: bytes) -> None:
    body = parts(leaf(b"DELETE " + target + b" HTTP/1.1\r\n\r\n"), leaf(b"GET $metadata\r\n\r\n", b"Content-ID: 2\r\n"))

    refused, system = parts_of(post(site, body, "/srv/$batch", profile="odata4", environ={"HTTP_PREFER": "continue-on-error"}))

    assert (refused.status, system.status, site.ran) == (404, 200, ["/srv/$metadata"])


def test_a_reference_stays_on_this_host(site: Site) -> None:
    body = parts(leaf(b"POST people\r\n\r\n", b"Content-ID: 1\r\n"), leaf(b"GET http://evil.example/srv/$1\r\n\r\n"))

    _, answered = parts_of(post(site, body, "/srv/$batch", profile="odata4"))

    assert (answered.status, site.ran) == (400, ["/srv/people"])


@pytest.mark.parametrize("text", [b'bind$"' + b'\\"' * 500_000, b'{"a@odata.bind": "$1', b"bind$" + b'"' * 500_001, b'bind$"' + b"\\" * 999_999])
def test_a_body_that_only_looks_like_json_binds_nothing_and_takes_no_time(site: Site, text: bytes) -> None:
    body = parts(leaf(b"POST people\r\n\r\n", b"Content-ID: 1\r\n"), leaf(b"PUT /x HTTP/1.1\r\n" + JSON + b"\r\n" + text))

    post(site, body, "/srv/$batch", profile="odata4")

    assert site.seen[1]["body"] == text


def test_only_what_stands_under_a_binding_is_bound(site: Site) -> None:
    text = b'[{"x@odata.bind": [], "y@bind": ["$1", "z", "$1"]}, "$1", {"x@odata.bind": {"a": "$1"}}]'
    body = parts(
        leaf(b"POST people\r\n\r\n", b"Content-ID: 1\r\n"),
        leaf(b"PUT /x\r\n" + JSON + b"\r\n" + text),
        leaf(b"PUT /y\r\nContent-Type: text/plain\r\n\r\n" + text),
    )

    post(site, body, "/srv/$batch", profile="odata4")

    assert site.seen[1]["body"] == text.replace(b'["$1", "z", "$1"]', b'["/srv/people(1)", "z", "/srv/people(1)"]')
    assert site.seen[2]["body"] == text


def test_a_body_holds_so_many_references_and_no_more(site: Site) -> None:
    def bound(count: int) -> bytes:
        text = b'{"a@odata.bind": [' + b'"$1",' * (count - 1) + b'"$1"]}'
        return parts(leaf(b"POST people\r\n\r\n", b"Content-ID: 1\r\n"), leaf(b"PUT /x\r\n" + JSON + b"\r\n" + text))

    assert post(site, bound(1_000), "/srv/$batch", profile="odata4").status == 200
    assert post(site, bound(1_001), "/srv/$batch", profile="odata4").status == 400


def test_an_app_is_not_asked_for_a_piece_of_an_answer(site: Site) -> None:
    post(site, parts(leaf(b"GET /a HTTP/1.1\r\nRange: bytes=0-1\r\n\r\n")))

    assert "HTTP_RANGE" not in site.seen[0]


def test_values_of_a_field_that_is_repeated_are_joined_wherever_the_content_id_stands(site: Site) -> None:
    post(site, parts(leaf(b"GET /a HTTP/1.1\r\nContent-ID: 1\r\nAccept: a\r\naccept: b\r\n\r\n")))

    assert site.seen[0]["HTTP_ACCEPT"] == "a, b"


@pytest.mark.parametrize(("version", "echoed"), [("4.01", "4.01"), ("4.0;NetFx", "4.0;NetFx"), ("4.0\r\n x: y", None), ("x", None), ("4" * 99, None)])
def test_a_version_comes_back_if_it_is_one(site: Site, version: str, echoed: str | None) -> None:
    assert post(site, parts(leaf(b"GET /a\r\n")), environ={"HTTP_ODATA_VERSION": version}).header("OData-Version") == echoed


def test_ids_that_can_be_referred_to_are_given_once(site: Site) -> None:
    answer = post(site, parts(changeset(WRITES[0], WRITES[0])), "/srv/$batch", atomic=no_transaction)

    assert (answer.status, answer.json()["error"]["innererror"]["code"]) == (400, "duplicate-id")
    assert post(site, parts(WRITES[0], WRITES[0]), "/srv/$batch", profile="odata4").status == 400
    assert post(site, parts(WRITES[0], WRITES[0]), "/srv/$batch", profile="odata2").status == 202


@pytest.mark.parametrize(
    ("prefer", "statuses", "applied"),
    [
        (None, [200, 409], None),
        ("continue-on-error", [200, 409, 200], "continue-on-error=true"),
        ("odata.continue-on-error=false", [200, 409], "odata.continue-on-error=false"),
    ],
)
def test_a_failure_ends_a_batch_of_version_four_unless_the_client_prefers_to_go_on(
    site: Site, prefer: str | None, statuses: list[int], applied: str | None
) -> None:
    body = parts(leaf(b"GET /a\r\n"), leaf(b"GET /fail\r\n"), leaf(b"GET /c\r\n"))

    answer = post(site, body, "/srv/$batch", profile="odata4", environ={"HTTP_PREFER": prefer})

    assert [part.status for part in parts_of(answer)] == statuses
    assert answer.header("Preference-Applied") == applied


def test_auto_takes_multipart_by_its_content_type_with_its_own_limit(site: Site) -> None:
    large = leaf(b"POST /a HTTP/1.1\r\nContent-Type: image/png\r\n\r\n" + b"x" * (2 << 20))

    assert [part.status for part in parts_of(post(site, parts(large), dialect="auto"))] == [201]
    assert post(site, b'["' + b"x" * (2 << 20) + b'"]', dialect="auto", kind="application/json").status == 413
    assert "error" in post(site, b"--b--", dialect="auto").json()


@pytest.mark.parametrize("name", ["1\r\n\r\nDELETE /evil HTTP/1.1", "\x85", "x" * 1025])
def test_an_id_that_cannot_be_sent_is_not_written(name: str) -> None:
    with pytest.raises(ValueError, match="Content-ID"):
        MultipartDialect().write([SubRequest(0, "GET", "/a", [], id=name)])


# Bytes and records


HEAD = Head("/srv/$batch", "", "shop.example", "http", "multipart/mixed", {}, headers={"Content-Type": "multipart/mixed; boundary=batch_1"})
JSON_TYPE = ("Content-Type", "application/json")
PLAIN = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"


def batch_of(*contents: str) -> bytes:
    return "".join(f"--batch_1\r\n{content}\r\n" for content in contents).encode("latin-1") + b"--batch_1--\r\n"


def changeset_of(name: str, *contents: str) -> str:
    leaves = "".join(f"--{name}\r\n{content}\r\n" for content in contents)
    return f"Content-Type: multipart/mixed; boundary={name}\r\n\r\n{leaves}--{name}--\r\n"


REQUESTS = [
    ([f"{PLAIN}\r\nGET /a HTTP/1.1\r\n\r\n"], [SubRequest(0, "GET", "/a", [])]),
    (
        [
            f"{PLAIN}Content-ID: <u + 1>\r\n\r\nPOST /a?b=c HTTP/1.1\r\nContent-Type: application/json\r\nX-A: \xe9\r\nContent-Length: 2\r\n\r\n{{}}",
            f"{PLAIN}Content-ID: 2\r\n\r\nDELETE http://shop.example/x HTTP/1.1\r\nIf-Match: *\r\n\r\n",
        ],
        [
            SubRequest(0, "POST", "/a?b=c", [JSON_TYPE, ("X-A", "\xe9")], b"{}", "<u + 1>"),
            SubRequest(1, "DELETE", "http://shop.example/x", [("If-Match", "*")], b"", "2"),
        ],
    ),
    (
        [
            f"{PLAIN}\r\nGET /a HTTP/1.1\r\n\r\n",
            changeset_of(
                "changeset_1",
                f"{PLAIN}Content-ID: 1\r\n\r\nPUT /b HTTP/1.1\r\nContent-Type: image/png\r\nContent-Length: 4\r\n\r\n\r\n\x00\xff",
                f"{PLAIN}\r\nMERGE /c HTTP/1.1\r\n\r\n",
            ),
            f"{PLAIN}\r\nGET /d HTTP/1.1\r\n\r\n",
            changeset_of("changeset_2", f"{PLAIN}\r\nDELETE /e HTTP/1.1\r\n\r\n"),
        ],
        [
            SubRequest(0, "GET", "/a", []),
            SubRequest(1, "PUT", "/b", [("Content-Type", "image/png")], b"\r\n\x00\xff", "1", (), "changeset 2"),
            SubRequest(2, "MERGE", "/c", [], b"", None, (), "changeset 2"),
            SubRequest(3, "GET", "/d", []),
            SubRequest(4, "DELETE", "/e", [], b"", None, (), "changeset 4"),
        ],
    ),
]

OTHERWISE_WRITTEN = [
    # What is read, but would not be written so.
    (["\r\nGET people HTTP/1.1\r\n"], [SubRequest(0, "GET", "/srv/people", [])]),
    (["content-type:application/http;msgtype=request\n\nGET /a b\nHost: x\n"], [SubRequest(0, "GET", "/a%20b", [("Host", "x")])]),
    ([f"{PLAIN}\r\nGET /a HTTP/1.1\r\nContent-ID: 7\r\nA: 1\r\na: 2\r\n\r\n"], [SubRequest(0, "GET", "/a", [("a", "1, 2")], b"", "7")]),
    ([f"{PLAIN}\r\nPOST /a\r\nContent-Type: application/json\r\n\r\n\r\n{{}}\r\n"], [SubRequest(0, "POST", "/a", [JSON_TYPE], b"{}")]),
    ([f"{PLAIN}Content-ID: <u +\r\n 1>\r\n\r\nGET /a HTTP/1.1\r\n\r\n"], [SubRequest(0, "GET", "/a", [], b"", "<u + 1>")]),
]


def decoded(body: bytes, headers: Headers | None = None) -> list[SubRequest]:
    head = HEAD if headers is None else replace(HEAD, headers=dict(headers))
    return MultipartDialect("odata2").decode(head, body, Settings()).items


def with_plain_boundaries(body: bytes) -> bytes:
    """*body* with the boundaries numbered that are another for each batch."""
    names: dict[bytes, bytes] = {}
    for name in re.findall(rb"(?:batch|changeset)_[0-9a-f]{32}", body):
        names.setdefault(name, b"%b_%d" % (name.split(b"_")[0], 1 + sum(known.startswith(name[:9]) for known in names)))
    for name, plain in names.items():
        body = body.replace(name, plain)
    return body


@pytest.mark.parametrize(("contents", "requests"), [*REQUESTS, *OTHERWISE_WRITTEN])
def test_these_bytes_are_these_requests(contents: list[str], requests: list[SubRequest]) -> None:
    assert decoded(batch_of(*contents)) == requests


@pytest.mark.parametrize(("contents", "requests"), REQUESTS)
def test_these_requests_are_written_as_these_bytes(contents: list[str], requests: list[SubRequest]) -> None:
    headers, body = MultipartDialect().write(requests)

    assert with_plain_boundaries(body) == batch_of(*contents)
    assert with_plain_boundaries(dict(headers)["Content-Type"].encode()) == b"multipart/mixed; boundary=batch_1"


ids = st.none() | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=8)
drawn_requests = st.lists(
    st.tuples(strategies.urls, st.sampled_from(["GET", "PUT", "MERGE"]), strategies.headers, st.binary(max_size=20), ids, st.integers(0, 2)),
    min_size=1,
    max_size=8,
)


@given(drawn_requests)
def test_whatever_requests_are_written_are_read(drawn: list[tuple[str, str, Headers, bytes, str | None, int]]) -> None:
    requests = [
        SubRequest(
            index, method, url.replace("$", "~"), [field for field in headers if field[0] != "Range"], body, name, (), f"g{group}" if group else ""
        )
        for index, (url, method, headers, body, name, group) in enumerate(sorted(drawn, key=lambda one: one[-1]))
    ]
    names = [(item.group, item.id) for item in requests if item.group and item.id]

    headers, body = MultipartDialect().write(requests)

    if len(set(names)) < len(names):
        with pytest.raises(DuplicateId):
            decoded(body, headers)
        return
    found = decoded(body, headers)
    groups = {item.group: written.group for item, written in zip(found, requests, strict=True)}
    assert [replace(item, group=groups[item.group]) for item in found] == requests
    assert len(set(groups.values())) == len(groups)


VALID = MultipartDialect().write(REQUESTS[2][1])


@given(st.data())
def test_a_spoilt_batch_with_changesets_is_a_batch_or_is_rejected(data: st.DataObject) -> None:
    headers, body = VALID
    spoilt = data.draw(strategies.spoilt(body))

    try:
        items = decoded(spoilt, headers)
    except BatchRejected as error:
        assert 400 <= error.status < 500
    else:
        assert [item.index for item in items] == list(range(len(items)))


# The client's half


def answered(status: int, body: str = "") -> str:
    return f"{PLAIN}\r\nHTTP/1.1 {status} Told\r\nContent-Length: {len(body)}\r\n\r\n{body}"


READ = ("Content-Type", "multipart/mixed; boundary=batch_1")


def told(contents: list[str], groups: str) -> list[tuple[int, bytes] | None]:
    """Statuses and bodies of the answers to requests, one for each letter of *groups*; those with the same letter are a changeset, a dot is none."""
    requests = [SubRequest(index, "PUT", "/a", [], group=group.strip(".")) for index, group in enumerate(groups)]
    return [(answer.status, answer.body) if answer else None for answer in answers_to(requests, [READ], batch_of(*contents))]


def answers_to(requests: list[SubRequest], headers: Headers, body: bytes) -> Sequence[SubResponse | None]:
    """One for each of *requests*, None where there is none."""
    try:
        return MultipartDialect().read(headers, body, requests)
    except Unanswered as error:
        return error.answers


@pytest.mark.parametrize(
    ("contents", "groups", "answers"),
    [
        ([answered(200, "a"), answered(404, "b")], "..", [(200, b"a"), (404, b"b")]),
        ([changeset_of("c", answered(200, "a"), answered(201, "b")), answered(200, "c")], "xx.", [(200, b"a"), (201, b"b"), (200, b"c")]),
        # One failure speaks for all, within a changeset or in its place.
        ([answered(409, "a"), answered(200, "b")], "xx.", [(409, b"a"), (409, b"a"), (200, b"b")]),
        ([changeset_of("c", answered(409, "a")), answered(200, "b")], "xx.", [(409, b"a"), (409, b"a"), (200, b"b")]),
        # The answers to changesets stand among the others.
        ([answered(200, "a"), answered(201, "b"), answered(200, "c")], "xx.", [(200, b"a"), (201, b"b"), (200, b"c")]),
        ([answered(409, "a"), answered(200, "b"), answered(200, "c")], "xxyy", [(409, b"a"), (409, b"a"), (200, b"b"), (200, b"c")]),
        ([answered(200, "a"), answered(200, "b"), answered(409, "c")], "xxyy", [(200, b"a"), (200, b"b"), (409, b"c"), (409, b"c")]),
        ([answered(409, "a"), answered(404, "b"), answered(200, "c")], "xx..", [(409, b"a"), (409, b"a"), (404, b"b"), (200, b"c")]),
        # Each is told by itself, whatever it is.
        ([answered(409, "a"), answered(424, "b")], "xx", [(409, b"a"), (424, b"b")]),
        # Behind a failure nothing has run.
        ([answered(200, "a"), answered(404, "b")], "..xx.", [(200, b"a"), (404, b"b"), None, None, None]),
        ([answered(409, "a")], "xx..", [(409, b"a"), (409, b"a"), None, None]),
    ],
)
def test_answers_are_found_for_requests(contents: list[str], groups: str, answers: list[tuple[int, bytes] | None]) -> None:
    assert told(contents, groups) == answers


@pytest.mark.parametrize(
    ("contents", "groups"),
    [
        ([answered(200)], ".."),
        ([answered(404), answered(200)], "..."),
        ([answered(200), answered(200)], "."),
        ([answered(404), answered(200)], "."),
        ([changeset_of("c", answered(200))], "xx"),
        ([changeset_of("c", answered(200), answered(200))], "xxx"),
        ([changeset_of("c", answered(409), answered(409))], "xxx"),
        ([changeset_of("c", answered(200), answered(200))], "."),
        ([answered(200), changeset_of("c", answered(200))], "xx"),
        ([answered(200), answered(200)], "xxx"),
    ],
)
def test_what_are_no_answers_to_these_requests_is_told_with_their_numbers(contents: list[str], groups: str) -> None:
    with pytest.raises(ValueError, match=f"[0-9] answers to {len(groups)} requests"):
        told(contents, groups)


def test_an_answer_that_stopped_early_is_read(site: Site) -> None:
    requests = [SubRequest(index, "GET", path, []) for index, path in enumerate(["/a", "/fail", "/c"])]
    headers, body = MultipartDialect().write(requests)

    answer = post(site, body, kind=dict(headers)["Content-Type"], profile="odata4")

    assert [read and read.status for read in answers_to(requests, answer.headers, answer.body)] == [200, 409, None]


@pytest.mark.parametrize("profile", ["odata2", "sharepoint"])
def test_an_answer_with_a_changeset_that_failed_and_one_that_did_not_is_read(site: Site, profile: str) -> None:
    paths = [("/a", "1"), ("/fail", "1"), ("/b", "2"), ("/c", "2"), ("/d", "")]
    requests = [SubRequest(index, "GET", path, [], group=group) for index, (path, group) in enumerate(paths)]
    headers, body = MultipartDialect().write(requests)

    answer = post(site, body, kind=dict(headers)["Content-Type"], profile=profile, atomic=no_transaction)

    undone = 424 if profile == "sharepoint" else 409
    assert [read.status for read in MultipartDialect().read(answer.headers, answer.body, requests)] == [undone, 409, 200, 200, 200]


def failing(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers with the status that the path names."""
    start_response(f"{environ['PATH_INFO'][1:]} Told", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode()]


def expected(units: list[list[int]], way: Way) -> list[int | None]:
    """The statuses of items that would answer with those in *units*, of which the longer ones are changesets; None for what does not run."""
    statuses: list[int | None] = []
    for unit in units:
        stopped = way.stops and any(status is not None and status >= 400 for status in statuses)
        failed = next((place for place, status in enumerate(unit) if status >= 400), None)
        if stopped:
            statuses += [None] * len(unit)
        elif failed is None:
            statuses += unit
        else:
            statuses += [unit[failed] if place == failed or not way.flat else 424 for place in range(len(unit))]
    return statuses


@given(
    st.sampled_from(["google", "aspnet", "odata2", "odata4", "sharepoint"]),
    st.lists(st.lists(st.sampled_from([200, 201, 207, 404, 500]), min_size=1, max_size=3), min_size=1, max_size=5),
)
def test_whatever_is_answered_is_read(profile: Profile, units: list[list[int]]) -> None:
    drawn = [(status, f"g{place}" if len(unit) > 1 else "") for place, unit in enumerate(units) for status in unit]
    requests = [SubRequest(index, "PUT", f"/{status}", [], group=group) for index, (status, group) in enumerate(drawn)]
    headers, body = MultipartDialect().write(requests)

    answer = post(failing, body, kind=dict(headers)["Content-Type"], profile=profile, atomic=no_transaction)

    answers = answers_to(requests, answer.headers, answer.body)
    assert [found and found.status for found in answers] == expected(units, PROFILES[profile])
    assert all(found.body == f"/{found.status}".encode() for found in answers if found is not None and found.status != 424)


ASKED = [SubRequest(0, "GET", "/a", [], id="x"), SubRequest(1, "GET", "/b", [], id="y")]


def answer_part(path: str, head: bytes = b"", inner: bytes = b"") -> bytes:
    return leaf(b"HTTP/1.1 200 OK\r\n" + inner + b"Content-Length: 2\r\n\r\n" + path.encode(), head)


def read(*contents: bytes, requests: list[SubRequest] = ASKED) -> list[bytes]:
    return [found.body for found in MultipartDialect().read([("Content-Type", "multipart/mixed; boundary=b")], parts(*contents), requests)]


@pytest.mark.parametrize("form", [b"x y", b"<x> <y>", b"response-x response-y", b"<response-x> <response-y>"])
@pytest.mark.parametrize("inside", [False, True])
def test_an_answer_belongs_to_the_request_that_its_content_id_names(form: bytes, inside: bool) -> None:
    x, y = (b"Content-ID: %b\r\n" % name for name in form.split())

    found = read(answer_part("/b", *((b"", y) if inside else (y,))), answer_part("/a", *((b"", x) if inside else (x,))))

    assert found == [b"/a", b"/b"]


@pytest.mark.parametrize(("first", "second"), [(b"", b""), (b"", b"Content-ID: y\r\n"), (b"Content-ID: z\r\n", b"Content-ID: y\r\n")])
def test_where_not_all_answers_name_one_of_the_requests_their_order_tells(first: bytes, second: bytes) -> None:
    assert read(answer_part("/a", first), answer_part("/b", second)) == [b"/a", b"/b"]


@pytest.mark.parametrize(("first", "second"), [(b"", b"x"), (b"z", b"x"), (b"x", b"x"), (b"y", b"")])
def test_an_answer_that_names_another_request_than_its_place_does_is_not_guessed(first: bytes, second: bytes) -> None:
    with pytest.raises(ValueError, match="where that to"):
        read(*(answer_part(path, b"Content-ID: %b\r\n" % name if name else b"") for path, name in (("/a", first), ("/b", second))))


def test_a_request_that_no_answer_names_has_none() -> None:
    with pytest.raises(Unanswered, match="1 of 2 requests have no answer") as caught:
        read(answer_part("/b", b"Content-ID: y\r\n"))

    assert [found and found.body for found in caught.value.answers] == [None, b"/b"]


def test_an_answer_that_is_lost_without_a_name_spoils_them_all() -> None:
    with pytest.raises(ValueError, match="1 answers to 2 requests") as caught:
        read(answer_part("/b"))

    assert not isinstance(caught.value, Unanswered)


@pytest.mark.parametrize(
    ("groups", "bodies"),
    [(".....", ["0", "1", "2", None, None]), ("..xxx", ["0", "1", "2", None, None]), ("xxxyy", ["0", "1", "2", None, None])],
)
@pytest.mark.parametrize("cut", [0, 1, 10])
def test_what_came_whole_of_an_answer_without_its_end_is_read(groups: str, bodies: list[str | None], cut: int) -> None:
    requests = [SubRequest(number, "GET", "/a", [], group="" if group == "." else group) for number, group in enumerate(groups)]
    contents = [answered(200, str(number)).encode() for number in range(4)]
    said = parts(*contents[:3]).removesuffix(b"--b--\r\n") + b"--b\r\n" + contents[3][:cut]

    with pytest.raises(Unanswered) as caught:
        MultipartDialect().read([("Content-Type", "multipart/mixed; boundary=b")], said, requests)

    assert caught.value.cut
    assert [found and found.body.decode() for found in caught.value.answers] == bodies


def test_the_duration_of_an_item_is_read_and_is_no_header_of_the_app() -> None:
    requests = [SubRequest(0, "GET", "/a", [])]
    headers, body = MultipartDialect().write(requests)
    answer = post(show, body, kind=dict(headers)["Content-Type"])

    [found] = MultipartDialect().read(answer.headers, answer.body, requests)

    assert b"Batch-Duration: 0." in answer.body
    assert 0 < found.duration < 60
    assert "Batch-Duration" not in dict(found.headers)
