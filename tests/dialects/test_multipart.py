"""Batches in multipart, as bytes, through the whole middleware."""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_args

import pytest
from multipart import parse_options_header

from tests.apps import show
from tests.gateway import Answer, environ_of, send
from wsgibatch import BatchMiddleware, ConfigError, Group, SubRequest
from wsgibatch.dialects._mime import part_of, split
from wsgibatch.dialects._profiles import PROFILES
from wsgibatch.dialects.multipart import MultipartDialect
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


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b--\r\n",
        b"--b\r\n" + LEAF + b"\r\nGET /a HTTP/1.1\r\n",
        parts(b"Content-Type: text/plain\r\n\r\nGET /a HTTP/1.1\r\n"),
        parts(b"Content-Type: application/http; msgtype=response\r\n\r\nGET /a HTTP/1.1\r\n"),
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


def test_clients_of_azure_are_refused_in_their_own_form(site: Site) -> None:
    answer = post(site, b"", "/srv/$batch", environ={"HTTP_X_MS_VERSION": "2019-02-02"})

    assert answer.json()["odata.error"].keys() == {"code", "message"}


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


@pytest.mark.parametrize(("profile", "nested"), [("odata2", False), ("odata4", False), ("sharepoint", False), ("azure-tables", True)])
def test_a_changeset_that_failed_is_answered_with_what_failed(site: Site, profile: str, nested: bool) -> None:
    [part] = parts_of(post(site, parts(changeset(*WRITES, leaf(b"GET /a\r\n"))), "/srv/$batch", atomic=no_transaction, profile=profile))

    [answered] = part.inner if nested else [part]
    assert bool(part.inner) is nested
    assert (answered.status, answered.fields["content-id"], answered.body) == (409, "2", b"no")


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


@pytest.mark.parametrize(("first", "second"), [(b"", b""), (b"", b"Content-ID: x\r\n"), (b"Content-ID: z\r\n", b"Content-ID: x\r\n")])
def test_where_not_all_answers_name_one_of_the_requests_their_order_tells(first: bytes, second: bytes) -> None:
    assert read(answer_part("/a", first), answer_part("/b", second)) == [b"/a", b"/b"]


def test_a_request_that_no_answer_names_has_none() -> None:
    with pytest.raises(Unanswered, match="1 of 2 requests have no answer") as caught:
        read(answer_part("/b", b"Content-ID: y\r\n"))

    assert [found and found.body for found in caught.value.answers] == [None, b"/b"]


def test_an_answer_that_is_lost_without_a_name_spoils_them_all() -> None:
    with pytest.raises(ValueError, match="1 answers to 2 requests") as caught:
        read(answer_part("/b"))

    assert not isinstance(caught.value, Unanswered)


def test_the_duration_of_an_item_is_read_and_is_no_header_of_the_app() -> None:
    requests = [SubRequest(0, "GET", "/a", [])]
    headers, body = MultipartDialect().write(requests)
    answer = post(show, body, kind=dict(headers)["Content-Type"])

    [found] = MultipartDialect().read(answer.headers, answer.body, requests)

    assert b"Batch-Duration: 0." in answer.body
    assert 0 < found.duration < 60
    assert "Batch-Duration" not in dict(found.headers)
