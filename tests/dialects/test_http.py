import http.client
import http.server
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies
from wsgibatch import BadBatch, BatchRejected, Head, Settings, SubRequest, TooLarge
from wsgibatch._target import BatchPaths
from wsgibatch._vet import MAX_FIELDS, MAX_HEAD, Vetter
from wsgibatch.dialects import _http
from wsgibatch.dialects._http import request_bytes, request_of, response_head, response_of
from wsgibatch.dialects._mime import part_of, split
from wsgibatch.dialects.django import DjangoDialect
from wsgibatch.model import Batch, Headers


def written_head(status: int, reason: str, headers: Headers, length: int) -> bytes:
    return response_head(status, reason, headers, length).encode("latin-1")


Request = tuple[str, str, Headers, bytes]


def request(written: bytes) -> Request:
    return request_of(written, 0, len(written))


def requests(body: bytes, boundary: bytes) -> list[tuple[dict[str, str], Request]]:
    """The fields of each part of *body*, and the request in it."""
    found = []
    for start, end in split(body, boundary, 100):
        fields, content = part_of(body, start, end)
        found.append((dict(fields), request_of(body, content, end)))
    return found


# Heads


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"GET /a HTTP/1.1\r\n\r\n", ("GET", "/a", [], b"")),
        (b"GET /a HTTP/1.1\n\n", ("GET", "/a", [], b"")),
        (b"GET /a?b=c HTTP/1.1\r\nAccept: */*\r\nX-A:b\r\n\r\n", ("GET", "/a?b=c", [("Accept", "*/*"), ("X-A", "b")], b"")),
        (b"GET /a HTTP/1.1\nAccept: */*\nX-A:b\n\n", ("GET", "/a", [("Accept", "*/*"), ("X-A", "b")], b"")),
        # Line ends before it.
        (b"\r\nGET /a HTTP/1.1\r\n\r\n", ("GET", "/a", [], b"")),
        (b"\n\r\n\nGET /a HTTP/1.1\nA: b\n\n", ("GET", "/a", [("A", "b")], b"")),
        # No blank line, or not even the end of the last line.
        (b"DELETE /a HTTP/1.1", ("DELETE", "/a", [], b"")),
        (b"DELETE /a HTTP/1.1\r\n", ("DELETE", "/a", [], b"")),
        (b"DELETE /a HTTP/1.1\r\nA: b", ("DELETE", "/a", [("A", "b")], b"")),
        (b"DELETE /a HTTP/1.1\nA: b\nC: d", ("DELETE", "/a", [("A", "b"), ("C", "d")], b"")),
        (b"DELETE /a HTTP/1.1\nA: b\n", ("DELETE", "/a", [("A", "b")], b"")),
        # Other versions, or none.
        (b"GET /a HTTP/1.0\r\n\r\n", ("GET", "/a", [], b"")),
        (b"GET /a HTTP/2\r\n\r\n", ("GET", "/a", [], b"")),
        (b"GET /a\r\nA: b\r\n\r\n", ("GET", "/a", [("A", "b")], b"")),
        (b"GET /a", ("GET", "/a", [], b"")),
        (b"GET  /a  HTTP/1.1 \r\n\r\n", ("GET", "/a", [], b"")),
        # Methods are tokens.
        (b"MERGE /a HTTP/1.1\r\nX-HTTP-Method:MERGE\r\n\r\n", ("MERGE", "/a", [("X-HTTP-Method", "MERGE")], b"")),
        (b"get /a HTTP/1.1\r\n\r\n", ("get", "/a", [], b"")),
        (b"M-SEARCH /a HTTP/1.1\r\n\r\n", ("M-SEARCH", "/a", [], b"")),
        # What a value is.
        (b"GET /a HTTP/1.1\r\nA: \t b c \t\r\nD:\r\nE: \r\n\r\n", ("GET", "/a", [("A", "b c"), ("D", ""), ("E", "")], b"")),
        (b"GET /a HTTP/1.1\r\nA:\tb\t\r\n\r\n", ("GET", "/a", [("A", "b")], b"")),
        (b"GET /a HTTP/1.1\r\nA: b \r\nC: d\r\n\r\n", ("GET", "/a", [("A", "b"), ("C", "d")], b"")),
        (b"GET /a HTTP/1.1\r\nA: b\r\nC: d \r\n\r\n", ("GET", "/a", [("A", "b"), ("C", "d")], b"")),
        (b"GET /a HTTP/1.1\r\nA: b:c: d\r\n\r\n", ("GET", "/a", [("A", "b:c: d")], b"")),
        (b"GET /a HTTP/1.1\r\nA: \xe9\xc3\xa9\x85\r\n\r\n", ("GET", "/a", [("A", "\xe9\xc3\xa9\x85")], b"")),
        (b"GET /a HTTP/1.1\r\nA: 1\r\nA: 2\r\na: 3\r\n\r\n", ("GET", "/a", [("A", "1"), ("A", "2"), ("a", "3")], b"")),
        # Nothing is kept from an item here; vetting decides.
        (
            b"GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nX_Y: 1\r\nContent-ID: 7\r\n\r\n",
            ("GET", "/a", [("Host", "h"), ("Transfer-Encoding", "chunked"), ("X_Y", "1"), ("Content-ID", "7")], b""),
        ),
        # The blank line is of the kind that the first line has.
        (b"POST /a HTTP/1.1\nA: b\n\nx\r\n\r\ny", ("POST", "/a", [("A", "b")], b"x\r\n\r\ny")),
        (b"POST /a HTTP/1.1\n\nx\r\nb: c\r\n\r\ny", ("POST", "/a", [], b"x\r\nb: c\r\n\r\ny")),
        (b"POST /a HTTP/1.1\r\nA: b\r\n\r\nx\n\ny", ("POST", "/a", [("A", "b")], b"x\n\ny")),
        (b"POST /a HTTP/1.1\r\n\r\nx\n\ny", ("POST", "/a", [], b"x\n\ny")),
    ],
)
def test_a_request_is_read(written: bytes, expected: Request) -> None:
    assert request(written) == expected


@pytest.mark.parametrize(
    ("line", "target"),
    [
        (b"GET /hello/x?y HTTP/1.1", "/hello/x?y"),
        (b"GET /cont/c? HTTP/1.1", "/cont/c?"),
        (b"GET http://h:80/path?q HTTP/1.1", "http://h:80/path?q"),
        (b"GET http://h:80/path?q", "http://h:80/path?q"),
        (b"GET People('x') HTTP/1.1", "People('x')"),
        (b"GET People%28Name%3D%27x%27%29 HTTP/1.1", "People%28Name%3D%27x%27%29"),
        (b"POST $1/Orders HTTP/1.1", "$1/Orders"),
        (b"GET * HTTP/1.1", "*"),
        # Blanks and what is not ASCII.
        (b"GET /c?$filter=x eq 1 HTTP/1.1", "/c?$filter=x%20eq%201"),
        (b"GET /c?$filter=x eq  1", "/c?$filter=x%20eq%20%201"),
        ("GET /c/grüße HTTP/1.1".encode(), "/c/gr%C3%BC%C3%9Fe"),
        (b"GET /c/\xff%20%zz HTTP/1.1", "/c/%FF%20%zz"),
        # A fragment is for the client alone.
        (b"GET /a?b#c HTTP/1.1", "/a?b"),
        (b"GET /a#b c", "/a"),
        (b"GET /a #b HTTP/1.1", "/a"),
        # Visible ASCII stays as it is.
        (b'GET /"<>\\^`{|}~[]%41 HTTP/1.1', '/"<>\\^`{|}~[]%41'),
    ],
)
def test_a_target_is_what_stands_between_method_and_version(line: bytes, target: str) -> None:
    for eol in (b"\r\n", b"\n"):
        assert request(line + eol + b"A: b" + eol + eol)[1] == target


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"\r\n\r\n",
        b"\r",
        b"GET",
        b"GET ",
        b"GET HTTP/1.1",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET #a HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/1.1 HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/1.1  HTTP/1.1 \r\n\r\n",
        b"GET /a http/1.1\r\n\r\n",
        b"GET /a HTTP/11\r\n\r\n",
        b" GET /a HTTP/1.1\r\n\r\n",
        b" /a HTTP/1.1\r\n\r\n",
        b"G\xc3\x84T /a HTTP/1.1\r\n\r\n",
        b"G:T /a HTTP/1.1\r\n\r\n",
        b'{"a": 1}',
        b"Accept: */*\r\n\r\n",
        # Control characters in the target.
        b"GET /a\tb HTTP/1.1\r\n\r\n",
        b"GET\t/a HTTP/1.1\r\n\r\n",
        b"GET /a\x00 HTTP/1.1\r\n\r\n",
        b"GET /a\x7f HTTP/1.1\r\n\r\n",
        b"GET /a\rb HTTP/1.1\r\n\r\n",
        b"GET /a\x0b HTTP/1.1",
        # Lines that another reader would end elsewhere.
        b"GET /a HTTP/1.1\r\nA: b\rC: d\r\n\r\n",
        b"GET /a HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
        b"GET /a HTTP/1.1\nA: b\r\nC: d\r\n\r\n",
        b"GET /a HTTP/1.1\nA: b\rC: d\n\n",
        b"GET /a HTTP/1.1\nA: b\r\n\n",
        b"GET /a HTTP/1.1\n\r\nx",
        b"GET /a HTTP/1.1\r\n\nx",
        b"GET /a HTTP/1.1\r\nA: b\n\nx",
        b"GET /a HTTP/1.1\r\nA: b\x00\r\n\r\n",
        b"GET /a HTTP/1.1\nA: b\x00c\nD: e\n\n",
        b"GET /a HTTP/1.1\r\r\nA: b\r\n\r\n",
        b"GET /a HTTP/1.1\r\nA: b\r",
        b"\rGET /a HTTP/1.1\r\n\r\n",
        # Lines that are no fields.
        b"GET /a HTTP/1.1\r\nX : a\r\n\r\n",
        b"GET /a HTTP/1.1\r\n: a\r\n\r\n",
        b"GET /a HTTP/1.1\r\nAccept\r\n\r\n",
        b"GET /a HTTP/1.1\r\nAccept: b\r\nAccept\r\n\r\n",
        b"GET /a HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"GET /a HTTP/1.1\r\nA: b\r\n\tc: d\r\n\r\n",
        b"GET /a HTTP/1.1\r\n A: b\r\n\r\n",
        b"GET /a HTTP/1.1\r\n \r\nA: b\r\n\r\n",
        b"GET /a HTTP/1.1\r\n\xc3\x84: b\r\n\r\n",
        b"GET /a HTTP/1.1\r\nA\x00: b\r\n\r\n",
        b"GET /a HTTP/1.1\r\n" + b"A: b\r\n" * (MAX_FIELDS + 1) + b"\r\n",
    ],
)
def test_what_is_no_request_is_refused(written: bytes) -> None:
    # A name that is known from elsewhere makes no line without a colon a field.
    request(b"GET / HTTP/1.1\r\nAccept: */*\r\n\r\n")

    with pytest.raises(BadBatch):
        request(written)


@pytest.mark.parametrize(
    "written",
    [
        b"GET /a HTTP/1.1\r\nA: " + b"b" * MAX_HEAD + b"\r\n\r\n",
        b"GET /" + b"a" * MAX_HEAD,
        b"GET /" + b"a" * MAX_HEAD + b" HTTP/1.1\n\n",
        b"GET /a HTTP/1.1\n" + b"A: b\n" * 20_000,
    ],
)
def test_a_head_larger_than_that_of_any_item_is_refused(written: bytes) -> None:
    with pytest.raises(TooLarge):
        request(written)


def test_as_many_fields_as_an_item_may_have_are_read() -> None:
    assert len(request(b"GET /a HTTP/1.1\r\n" + b"A: b\r\n" * MAX_FIELDS + b"\r\n")[2]) == MAX_FIELDS


# Bodies


def posted(fields: bytes, body: bytes) -> bytes:
    return request(b"POST /a HTTP/1.1\r\n" + fields + b"\r\n" + body)[3]


JSON = b"Content-Type: application/json\r\n"
IMAGE = b"Content-Type: image/png\r\n"


@pytest.mark.parametrize(
    ("fields", "body", "expected"),
    [
        # Nothing but line ends, where nothing is announced.
        (b"", b"\r\n\r\n\n", b""),
        (JSON, b"\r\n", b""),
        (IMAGE, b"\r\n\r\n", b""),
        (b"Content-Length: 0\r\n", b"\r\n\r\n", b""),
        (IMAGE + b"Content-Length: 0\r\n", b"\n", b""),
        (b"Content-Length: 0\r\n", b"", b""),
        # As long as announced.
        (JSON + b"Content-Length: 2\r\n", b"{}", b"{}"),
        (b"Content-Length: 4\r\n", b"\r\n\r\n", b"\r\n\r\n"),
        (JSON + b"Content-Length: 6\r\n", b"\r\n{}\r\n", b"\r\n{}\r\n"),
        # Longer: line ends behind it, and one before it.
        (JSON + b"Content-Length: 2\r\n", b"{}\r\n\r\n", b"{}"),
        (JSON + b"Content-Length: 4\r\n", b"{}\r\n\r\n", b"{}\r\n"),
        (IMAGE + b"Content-Length: 3\r\n", b"\x00\n\r\n\n", b"\x00\n\r"),
        (b"Content-Length: 1\r\n", b"\n\n\n", b"\n"),
        (JSON + b"Content-Length: 2\r\n", b"\r\n{}\r\n", b"{}"),
        (JSON + b"Content-Length: 2\r\n", b"\n[]", b"[]"),
        (JSON + b"Content-Length: 4\r\n", b"\n[]\n\n", b"\n[]\n"),
        (b"Content-Length: 4\r\n", b"\r\n<a/>", b"<a/>"),
        # Longer by something else: a client that counts characters, say.
        (JSON + b"Content-Length: 5\r\n", '"üü?"'.encode(), '"üü?"'.encode()),
        (JSON + b"Content-Length: 5\r\n", '"üü?"\n'.encode(), '"üü?"'.encode()),
        (b"Content-Length: 1\r\n", b"\r\nabc\r\n", b"\r\nabc"),
        (b"Content-Length: 0\r\n", b"GET /b HTTP/1.1\r\n\r\n", b"GET /b HTTP/1.1"),
        # Shorter.
        (JSON + b"Content-Length: 9\r\n", b"{}", b"{}"),
        (JSON + b"Content-Length: 9\r\n", b"", b""),
        (JSON + b"Content-Length: 9\r\n", b"\r\n{}\r\n", b"\r\n{}\r\n"),
        # Nothing announced: a text has no line ends around it.
        (JSON, b"{}\r\n\r\n", b"{}"),
        (JSON, b"\r\n{}", b"{}"),
        (b"", b"\n\nabc\r\nd\n", b"abc\r\nd"),
        (b"content-TYPE: Text/CSV; charset=utf-8\r\n", b"a\r\n", b"a"),
        (b"Content-Type: application/atom+xml;type=entry\r\n", b"\n<a/>\n", b"<a/>"),
        (b"Content-Type: application/x-www-form-urlencoded\r\n", b"a=b\n", b"a=b"),
        # Anything else stays as it is.
        (IMAGE, b"\n\x89PNG\r\n\r\n", b"\n\x89PNG\r\n\r\n"),
        (b"Content-Type: application/octet-stream\r\n", b"a\n", b"a\n"),
        (b"Content-Type: application/vnd.openxmlformats-officedocument\r\n", b"a\n", b"a\n"),
        (b"Content-Type: application/jsonx\r\n", b"a\n", b"a\n"),
        (b"Content-Type: application/xjson\r\n", b"a\n", b"a\n"),
        (JSON + b"Content-Encoding: gzip\r\n", b"\x1f\x8b\n", b"\x1f\x8b\n"),
        (b"Content-Encoding: gzip\r\n", b"\x1f\x8b\n", b"\x1f\x8b\n"),
    ],
)
def test_a_body_loses_only_line_ends_that_are_not_its_own(fields: bytes, body: bytes, expected: bytes) -> None:
    assert posted(fields, body) == expected


@pytest.mark.parametrize("body", [b"a\r\nb\nc\rd\0e", b"--b\r\n\r\n--b--", b"\x00" * 9, b"GET /b HTTP/1.1\r\nA: b\r\n\r\n{}", bytes(range(256))])
def test_the_inside_of_a_body_is_never_touched(body: bytes) -> None:
    assert posted(b"", body) == body
    assert posted(JSON, body) == body
    assert posted(IMAGE, body) == body
    assert posted(b"Content-Length: %d\r\n" % len(body), body + b"\r\n") == body


@pytest.mark.parametrize("fields", [b"Content-Length: 2", b"content-length:2", b"CONTENT-LENGTH: \t2 ", b"Content-Length: 2\r\nContent-length: 2"])
def test_a_content_length_is_no_field_of_the_request(fields: bytes) -> None:
    assert request(b"POST /a HTTP/1.1\r\nA: b\r\n" + fields + b"\r\n\r\n{}\r\n") == ("POST", "/a", [("A", "b")], b"{}")


@pytest.mark.parametrize("lengths", [["2", "3"], ["3", "2"], ["x"], ["-1"], ["+2"], ["2, 2"], ["0x2"], [""], ["2", "2", "4"], ["1" * 19], ["###"]])
def test_an_item_whose_lengths_mean_nothing_is_refused_by_itself(lengths: list[str]) -> None:
    head = Head(path="/batch", mount="", host="h", scheme="http", media_type="multipart/mixed", parameters={})
    fields = "".join(f"Content-Length: {length}\r\n" for length in lengths)
    method, target, headers, body = request(f"POST /a HTTP/1.1\r\n{fields}\r\n{{}}".encode())
    item = SubRequest(0, method, target, headers, body)

    settings = Settings()
    Vetter(settings, BatchPaths(settings.path))(Batch([item]), head, DjangoDialect(), 100)

    assert item.refusal is not None
    assert item.refusal.status == 400


def test_what_is_read_and_written_does_not_depend_on_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    written = b"POST /a HTTP/1.1\r\nContent-Length: 1\r\nX-Unheard-Of: b\r\nContent-Encoding: gzip\r\n\r\n\n\r\n"
    expected = ("POST", "/a", [("X-Unheard-Of", "b"), ("Content-Encoding", "gzip")], b"\n")
    headers = [("Etag", "b"), ("X-Unheard-Of", "c"), ("CONTENT-length", "7")]
    head = b"HTTP/1.1 204 No Content\r\nETag: b\r\nX-Unheard-Of: c\r\nContent-Length: 0\r\n\r\n"

    for room in (0, 1000):
        monkeypatch.setattr(_http, "_MEMORY", room)
        for memory in ("_roles", "_leads", "_status_lines"):
            monkeypatch.setattr(_http, memory, {})
        for _ in range(2):
            assert request(written) == expected
            assert written_head(204, "no content", headers, 0) == head
        assert bool(_http._roles) == bool(_http._leads) == bool(_http._status_lines) == bool(room)


def test_what_is_remembered_is_bounded_and_holds_names_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http, "_roles", {})
    monkeypatch.setattr(_http, "_leads", {})

    request(b"GET /a HTTP/1.1\r\n" + b"X" * 100 + b": secret\r\n\r\n")
    response_head(200, "OK", [("X" * 100, "secret")], 0)
    assert _http._roles == _http._leads == {}
    for number in range(_http._MEMORY + 10):
        request(b"GET /a HTTP/1.1\r\nX-%d: secret\r\n\r\n" % number)
        response_head(200, "OK", [(f"X-{number}", "secret")], 0)

    assert len(_http._roles) == len(_http._leads) == _http._MEMORY
    assert "secret" not in str(_http._roles) + str(_http._leads)


# What real clients send


def test_a_batch_of_google_api_python_client_is_read() -> None:
    body = (
        b"--===============123==\nContent-Type: application/http\nMIME-Version: 1.0\nContent-Transfer-Encoding: binary\n"
        b"Content-ID: <2d4c3f4e-8a1f-4b62-9f3b-000000000000 +\n 1>\n\n"
        b"GET /hello/a?question=Q&alt=json HTTP/1.1\nContent-Type: application/json\nMIME-Version: 1.0\naccept: application/json\n"
        b"accept-encoding: gzip, deflate\nuser-agent: (gzip)\nHost: 127.0.0.1:80\n\n\n"
        b"--===============123==\nContent-Type: application/http\nMIME-Version: 1.0\nContent-Transfer-Encoding: binary\nContent-ID: <u + 2>\n\n"
        b"POST /people?alt=json HTTP/1.1\nContent-Type: application/json\nMIME-Version: 1.0\nHost: 127.0.0.1:80\ncontent-length: 14\n\n"
        b'{"name": "Zo\xc3\xab"}\n'
        b"--===============123==--\n"
    )

    (first, get), (second, post) = requests(body, b"===============123==")

    assert first["content-id"] == "<2d4c3f4e-8a1f-4b62-9f3b-000000000000 + 1>"
    assert get[:2] == ("GET", "/hello/a?question=Q&alt=json")
    assert get[2][0] == ("Content-Type", "application/json")
    assert get[3] == b""
    assert second == {"content-type": "application/http", "mime-version": "1.0", "content-transfer-encoding": "binary", "content-id": "<u + 2>"}
    assert (post[0], post[3]) == ("POST", '{"name": "Zoë"}'.encode())


def test_a_batch_of_gcsfs_is_read() -> None:
    boundary = b"===============7330845974216740156=="
    leaf = b"Content-Type: application/http\nContent-Transfer-Encoding: binary\nContent-ID: <u+%d>\n\nDELETE /storage/v1/b/k/o/a%d HTTP/1.1\n%s"
    fields = b"Content-Type: application/json\naccept: application/json\ncontent-length: 0\n"
    body = b"".join(b"\n--" + boundary + b"\n" + leaf % (number, number, fields) for number in (1, 2)) + b"\n--" + boundary + b"--"

    found = requests(body, boundary)

    assert [part["content-id"] for part, _ in found] == ["<u+1>", "<u+2>"]
    wanted = [("Content-Type", "application/json"), ("accept", "application/json")]
    assert [read for _, read in found] == [("DELETE", f"/storage/v1/b/k/o/a{number}", wanted, b"") for number in (1, 2)]


def test_a_batch_of_pyodata_is_read() -> None:
    inner = (
        b"\r\n--changeset_2\r\nContent-Type: application/http\r\nContent-Transfer-Encoding:binary\r\n\r\n"
        b'POST People HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{"Name": "x"}\r\n'
        b"\r\n--changeset_2\r\nContent-Type: application/http\r\nContent-Transfer-Encoding:binary\r\n\r\nDELETE People%28%27x%27%29 HTTP/1.1\r\n"
        b"\r\n--changeset_2--"
    )
    body = b"\r\n--batch_1\r\nContent-Type: multipart/mixed;boundary=changeset_2\r\n\r\n" + inner + b"\r\n--batch_1--"

    [(start, end)] = split(body, b"batch_1", 100)
    fields, content = part_of(body, start, end)

    assert fields == {"content-type": "multipart/mixed;boundary=changeset_2"}
    assert [read for _, read in requests(body[content:end], b"changeset_2")] == [
        ("POST", "People", [("Content-Type", "application/json")], b'{"Name": "x"}'),
        ("DELETE", "People%28%27x%27%29", [], b""),
    ]


def test_a_batch_of_azure_storage_blob_for_javascript_is_read() -> None:
    body = (
        b"--batch_1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: 0\r\n\r\n"
        b"DELETE /devstoreaccount1/c/a? HTTP/1.1\r\nx-ms-date: now\r\nAuthorization: SharedKey a:b=\r\nContent-Length: 0\r\n"
        b"--batch_1--\r\n"
    )

    [(fields, read)] = requests(body, b"batch_1")

    assert fields["content-id"] == "0"
    assert read == ("DELETE", "/devstoreaccount1/c/a?", [("x-ms-date", "now"), ("Authorization", "SharedKey a:b=")], b"")


def test_a_changeset_of_azure_data_tables_for_javascript_is_read() -> None:
    body = (
        b"\r\n\r\n--changeset_1\r\ncontent-type: application/http\r\ncontent-transfer-encoding: binary\r\n\r\n"
        b"POST https://h/devstoreaccount1/t HTTP/1.1\r\naccept: application/json\r\ncontent-type: application/json\r\n\r\n"
        b'\r\n{"PartitionKey":"p"}\r\n--changeset_1--\r\n'
    )

    [(_, read)] = requests(body, b"changeset_1")

    assert read[1] == "https://h/devstoreaccount1/t"
    assert read[3] == b'{"PartitionKey":"p"}'


def test_a_batch_of_office365_is_read() -> None:
    body = (
        b'Content-Type: multipart/mixed;\n boundary="batch_1"\n\n'
        b"--batch_1\nContent-Type: application/http\nContent-Transfer-Encoding: binary\n\n"
        b"GET http://h/sites/team/_api/Web HTTP/1.1\nAccept:application/json\n"
        b"\n--batch_1\nContent-Type: application/http\nContent-Transfer-Encoding: binary\n\n"
        b"POST http://h/sites/team/_api/Web HTTP/1.1\nX-HTTP-Method:MERGE\nContent-Type:application/json\n\n\n"
        b'{"Title": "x"}\n--batch_1--\n'
    )

    (_, get), (_, merge) = requests(body, b"batch_1")

    assert get == ("GET", "http://h/sites/team/_api/Web", [("Accept", "application/json")], b"")
    assert merge[2:] == ([("X-HTTP-Method", "MERGE"), ("Content-Type", "application/json")], b'{"Title": "x"}')


@pytest.mark.parametrize("slack", [b"", b"\r\n", b"\r\n\r\n"])
def test_line_ends_behind_a_body_of_javascript_clients_are_cut(slack: bytes) -> None:
    body = (
        b"--b\r\nContent-Type:application/http\r\nContent-Transfer-Encoding:binary\r\nContent-Id:u\r\n\r\n"
        b"PATCH /odata/People('x') HTTP/1.1\r\nContent-Type:application/json\r\n\r\n{\"a\":1}" + slack + b"\r\n--b--\r\n"
    )

    [(fields, read)] = requests(body, b"b")

    assert fields["content-id"] == "u"
    assert read == ("PATCH", "/odata/People('x')", [("Content-Type", "application/json")], b'{"a":1}')


def test_a_request_of_the_odata_documents_needs_no_version() -> None:
    body = b"--b\r\nContent-Type: application/http\r\n\r\nGET /service/Customers('ALFKI')\r\nHost: host\r\n\r\n--b--"

    assert [read for _, read in requests(body, b"b")] == [("GET", "/service/Customers('ALFKI')", [("Host", "host")], b"")]


# Responses


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\n{}", (200, "OK", [("A", "b"), ("Content-Length", "2")], b"{}")),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\nA: b\n\n{}\n", (200, "OK", [("A", "b"), ("Content-Length", "2")], b"{}")),
        (b"\r\nHTTP/1.1 204 No Content\r\n", (204, "No Content", [], b"")),
        (b"HTTP/1.0 204 \r\n\r\n\r\n", (204, "", [], b"")),
        (b"HTTP/2 404", (404, "", [], b"")),
        (b"HTTP/1.1 200 Gr\xfc\xdfe\r\nContent-Type: text/plain\r\n\r\nabc\r\n", (200, "Grüße", [("Content-Type", "text/plain")], b"abc")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", (200, "OK", [("Content-Length", "9")], b"")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", (200, "OK", [("Content-Length", "x")], b"")),
        (b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n\x00\r\n", (200, "OK", [("Content-Type", "image/png")], b"\x00\r\n")),
    ],
)
def test_a_response_is_read(written: bytes, expected: tuple[int, str, Headers, bytes]) -> None:
    assert response_of(written, 0, len(written)) == expected


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 \xb2\xb2\xb2 OK\r\n\r\n",
        b"HTTP/1.1 200 O\x01K\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
    ],
)
def test_what_is_no_response_is_refused(written: bytes) -> None:
    with pytest.raises(BadBatch):
        response_of(written, 0, len(written))


# Writing


def test_a_request_is_written_with_the_length_of_its_body() -> None:
    written = request_bytes("POST", "/a?b", [("A", "b"), ("content-length", "7"), ("C", "\xe9")], b"{}")

    assert written == b"POST /a?b HTTP/1.1\r\nA: b\r\nC: \xe9\r\nContent-Length: 2\r\n\r\n{}"


def test_a_request_without_a_body_is_written_without_a_length() -> None:
    assert request_bytes("GET", "/a", [], b"") == b"GET /a HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "target", "fields"),
    [
        ("", "/a", []),
        ("G T", "/a", []),
        ("GET\r\n", "/a", []),
        ("GET", "", []),
        ("GET", "/a b", []),
        ("GET", "/a\r\nX: y", []),
        ("GET", "/grüße", []),
        ("GET", "/a#b", []),
        ("GET", "/a\n", []),
        ("GET", "/a", [("A:", "b")]),
        ("GET", "/a", [("A\n", "b")]),
        ("GET", "/a", [("", "b")]),
        ("GET", "/a", [("A", "b\r\nC: d")]),
        ("GET", "/a", [("A", "b\n")]),
        ("GET", "/a", [("A", "b\0")]),
        ("GET", "/a", [("A", "\u20ac")]),
        ("GET", "/a", [("Content-Length", "1\r\n")]),
    ],
)
def test_a_request_that_would_read_as_another_is_not_written(method: str, target: str, fields: Headers) -> None:
    with pytest.raises(ValueError, match="sent|token"):
        request_bytes(method, target, fields, b"")


bodies = st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b"\0", b"--b--", b"{", b"x"]) | st.binary(max_size=4), max_size=6).map(b"".join)
tokens = st.text("!#$%&'*+.^_`|~09azAZ-", min_size=1, max_size=9)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, blacklist_characters="\x7f"), max_size=20).map(lambda text: text.strip(" \t"))
fields = st.lists(st.tuples(tokens | strategies.header_names, values), max_size=5).map(
    lambda found: [field for field in found if field[0].lower() != "content-length"]
)
targets = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, blacklist_characters="#"), min_size=1, max_size=12)


@given(tokens, targets, fields, bodies)
def test_a_request_is_read_as_it_was_written(method: str, target: str, headers: Headers, body: bytes) -> None:
    assert request(request_bytes(method, target, headers, body)) == (method, target, headers, body)


@given(tokens, targets, fields, bodies)
def test_a_request_reads_alike_for_http_server(method: str, target: str, headers: Headers, body: bytes) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def __init__(self, stream: io.BytesIO) -> None:
            self.rfile, self.raw_requestline = stream, stream.readline()

    headers = [(name, value) for name, value in headers if name.lower() not in ("connection", "expect") and value.isascii()]
    written = request_bytes(method, target, headers, body)
    handler = Handler(io.BytesIO(written))

    assert handler.parse_request()
    read = (handler.command, handler.path, [field for field in handler.headers.items() if field[0] != "Content-Length"], handler.rfile.read())
    # Many slashes at the start of a path are one for it.
    assert request(written) == (read[0], target if target.startswith("//") else read[1], *read[2:])


@given(st.integers(200, 599), fields, bodies)
def test_a_response_is_read_as_it_was_written(status: int, headers: Headers, body: bytes) -> None:
    written = written_head(status, "Fine", headers, len(body)) + body

    read = response_of(written, 0, len(written))

    kept = [(name, value) for name, value in headers if not (status in (204, 304) and name.lower() == "content-type")]
    assert read == (status, "Fine", [*kept, ("Content-Length", str(len(body)))], body)


@pytest.mark.parametrize(
    ("status", "reason", "line"),
    [
        (200, "OK", b"HTTP/1.1 200 OK"),
        (204, "NO CONTENT", b"HTTP/1.1 204 No Content"),
        (204, "", b"HTTP/1.1 204 No Content"),
        (404, "not found", b"HTTP/1.1 404 Not Found"),
        (404, "No such person", b"HTTP/1.1 404 No such person"),
        (299, "", b"HTTP/1.1 299 Unknown"),
        (299, "Odd", b"HTTP/1.1 299 Odd"),
        (200, "Gr\xfc\xdfe", b"HTTP/1.1 200 Gr\xfc\xdfe"),
    ],
)
def test_a_status_line_has_a_reason_in_its_usual_spelling(status: int, reason: str, line: bytes) -> None:
    for _ in range(2):
        assert written_head(status, reason, [], 0) == line + b"\r\nContent-Length: 0\r\n\r\n"


def test_the_head_of_a_response_ends_with_its_length() -> None:
    headers = [("content-length", "99"), ("Etag", '"1"'), ("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("x-a", "")]

    for _ in range(2):
        assert written_head(200, "OK", headers, 5) == (
            b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Type: text/plain\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nx-a: \r\nContent-Length: 5\r\n\r\n'
        )


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_content_has_no_content_type(status: int) -> None:
    headers = [("content-TYPE", "text/plain"), ("ETAG", '"1"')]

    assert written_head(status, "x", headers, 0) == b'HTTP/1.1 %d x\r\nETag: "1"\r\nContent-Length: 0\r\n\r\n' % status


@given(fields)
def test_a_response_reads_alike_for_http_client(headers: Headers) -> None:
    class Socket:
        def makefile(self, mode: str) -> io.BytesIO:
            return io.BytesIO(written_head(200, "OK", headers, 2) + b"{}more")

    headers = [(name, value) for name, value in headers if name.lower() not in ("transfer-encoding", "connection") and value.isascii()]
    response = http.client.HTTPResponse(Socket())  # type: ignore[arg-type]
    response.begin()

    assert response.read() == b"{}"
    assert response.status == 200
    assert {name.lower() for name in response.headers} == {name.lower() for name, _ in headers} | {"content-length"}


# Anything

pieces = st.sampled_from(
    [
        *(b"GET /a HTTP/1.1", b"POST /a", b" HTTP/1.1", b"\r\n", b"\r\n\r\n", b"\n", b"\n\n", b"\r", b" ", b"\t", b"\0", b": ", b"A: b", b"Accept"),
        *(b"Content-Length: 3", b"Content-Type: text/plain", b"{}", b"\xc3\xa4", b"\x85", b"\x0b", b"#", b"HTTP/1.1 200 OK", b" x"),
    ]
)
written_requests = st.lists(pieces | st.binary(max_size=3), max_size=14).map(b"".join)
messages = (
    written_requests
    | written_requests.map(lambda rest: b"GET /a HTTP/1.1\r\nA: b" + rest)
    | written_requests.map(lambda rest: b"GET /a HTTP/1.1\nA: b\n" + rest)
)


@given(messages)
def test_any_content_is_a_request_or_is_refused(written: bytes) -> None:
    try:
        method, target, headers, body = request(written)
    except BatchRejected:
        return
    assert method.isascii()
    assert target.isascii()
    assert target.isprintable()
    assert " " not in target
    assert body in written
    assert not {"\0", "\r", "\n"} & {letter for name, value in headers for letter in name + value}


@given(messages)
def test_any_content_is_a_response_or_is_refused(written: bytes) -> None:
    try:
        status, _, _, body = response_of(written, 0, len(written))
    except BatchRejected:
        return
    assert 100 <= status <= 999
    assert body in written


@given(messages)
def test_a_plain_head_is_read_like_any_other(written: bytes) -> None:
    plain = _http._plain(written, 0, len(written))

    if plain is not None:
        line, headers, after = _http._careful(written, 0, len(written))
        assert plain == (*_http._request_line(line), headers, after)


@given(messages, st.binary(max_size=3), st.binary(max_size=3))
def test_nothing_outside_a_span_is_read(inside: bytes, before: bytes, behind: bytes) -> None:
    def read(content: bytes, start: int, end: int) -> object:
        try:
            return request_of(content, start, end)
        except BatchRejected as error:
            return str(error)

    assert read(before + inside + behind, len(before), len(before) + len(inside)) == read(inside, 0, len(inside))
