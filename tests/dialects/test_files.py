"""Batches with files beside them, in every dialect in JSON whose items may have some."""

import base64
import hashlib
import io
import json
import resource
import threading
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote
from wsgiref.validate import validator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multipart import MultipartParser, parse_options_header

from tests import strategies
from tests.apps import IMAGE, show
from tests.gateway import Answer, Item, environ_of, send
from wsgibatch import BatchMiddleware, SubRequest, SubResponse, _body, _drive
from wsgibatch._limits import Ticket
from wsgibatch.idempotency import IdempotencyMiddleware
from wsgibatch.model import Answers, Unit

Sent = tuple[str, bytes]


def wrapped(name: str) -> Callable[[list[Item]], object]:
    return lambda items: {name: items}


def identified(items: list[Item]) -> object:
    return {"requests": [{"id": str(index), **item} for index, item in enumerate(items)]}


def of_kinto(items: list[Item]) -> object:
    return {"requests": [{"path" if name == "url" else name: value for name, value in item.items()} for item in items]}


# What a batch of items is in each dialect, where it lists them, and where its answer does.
DIALECTS: dict[str, tuple[str, Callable[[list[Item]], object], str, str]] = {
    "django": ("django", lambda items: items, "", ""),
    "django in an object": ("django", wrapped("batch"), "/batch", "batch"),
    "graph": ("graph", identified, "/requests", "responses"),
    "odata": ("odata", identified, "/requests", "responses"),
    "kinto": ("kinto", of_kinto, "/requests", "responses"),
}

every_dialect = pytest.mark.parametrize("word", DIALECTS)


def in_parts(*parts: Sent, boundary: str = "b") -> bytes:
    body = b"".join(f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n" for head, content in parts)
    return body + f"--{boundary}--\r\n".encode()


def file(name: str, content: bytes = IMAGE, filename: str = "cat.png", content_type: str = "image/png") -> Sent:
    return f'name="{name}"; filename="{filename}"\r\nContent-Type: {content_type}', content


def batch_part(word: str, *items: Item) -> Sent:
    return 'name="batch"\r\nContent-Type: application/json', json.dumps(DIALECTS[word][1](list(items))).encode()


def posted(word: str, *parts: Sent, app: Any = show, environ: dict[str, Any] | None = None, **settings: Any) -> Answer:
    """The answer to a form of *parts*."""
    middleware = BatchMiddleware(app, dialect=DIALECTS[word][0], **settings)
    try:
        return send(middleware, environ_of(in_parts(*parts), CONTENT_TYPE="multipart/form-data; boundary=b", **(environ or {})))
    finally:
        middleware.close()


def uploaded(word: str, items: list[Item], *files: Sent, **changes: Any) -> list[Any]:
    """What the app made of *items*."""
    answer = posted(word, batch_part(word, *items), *files, **changes)
    assert answer.status == 200, answer
    member = DIALECTS[word][3]
    answered = answer.json()[member] if member else answer.json()
    bodies = [item["body"] for item in answered]
    return [json.loads(body) if isinstance(body, str) else body for body in bodies]


def refused(word: str, items: list[Item], *files: Sent, **changes: Any) -> tuple[int, str | None]:
    """The status with which a batch is refused, and the pointer to what is wrong."""
    return fault_of(word, posted(word, batch_part(word, *items), *files, **changes))


def fault_of(word: str, answer: Answer) -> tuple[int, str | None]:
    """The status of a refusal, and the pointer to what is wrong."""
    assert answer.status != 200, answer
    document = answer.json()
    if word == "kinto":
        return answer.status, "/" + document["details"][0]["name"].replace(".", "/") if document["details"][0]["name"] else None
    return answer.status, document["error"].get("target") if "error" in document else document.get("pointer")


def refuses_to_run(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    raise AssertionError(f"{environ['PATH_INFO']} has been run")


def form_of(told: Item) -> tuple[dict[str, str], list[tuple[str, str, str, bytes]]]:
    """The fields of a form that the app has shown, and its files."""
    media_type, parameters = parse_options_header(told["type"])
    assert media_type == "multipart/form-data"
    body = io.BytesIO(told["body"].encode("latin-1"))
    parts = list(MultipartParser(body, parameters["boundary"], strict=True, spool_limit=1 << 24, memory_limit=1 << 26))
    fields = {part.name: part.value for part in parts if part.filename is None}
    return fields, [(part.name, part.filename, part.headers["Content-Type"], part.raw) for part in parts if part.filename is not None]


def photo(**more: Any) -> Item:
    return {"method": "POST", "url": "/photos", "attached_files": "cat", **more}


@pytest.fixture
def spools(monkeypatch: pytest.MonkeyPatch) -> list[_body.Spool]:
    """Where the parts of each form that is posted lie."""
    made: list[_body.Spool] = []

    class Noted(_body.Spool):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(_drive, "Spool", Noted)
    return made


# What reaches the app.


@every_dialect
def test_files_reach_the_app_in_a_form_with_the_fields_of_the_item(word: str) -> None:
    body = {"title": "Zoë & Bob", "stars": 4.50, "public": True, "none": None}
    items = [photo(body=body, attached_files="cat, dog"), photo(), {"method": "GET", "url": "/a"}]

    both, one, none = uploaded(word, items, file("cat", filename="zoë.png"), file("dog", b"--b\r", "dog.txt", "text/plain; charset=utf-8"))

    fields, files = form_of(both)
    assert fields == {"title": "Zoë & Bob", "stars": "4.5", "public": "true"}
    assert files == [("cat", "zoë.png", "image/png", IMAGE), ("dog", "dog.txt", "text/plain; charset=utf-8", b"--b\r")]
    assert form_of(one) == ({}, files[:1])
    assert none["type"] is None


@every_dialect
@pytest.mark.parametrize("named", ["b,a", " b , a,b ,", ["b", "a"], ["b", "a", "b"], {"b": "b", "a": "a"}])
def test_files_are_named_with_commas_between_them_or_in_a_list_or_by_their_fields(word: str, named: object) -> None:
    [told] = uploaded(word, [photo(attached_files=named)], file("a", b"1"), file("b", b"2"))

    assert [(name, content) for name, _, _, content in form_of(told)[1]] == [("b", b"2"), ("a", b"1")]


@every_dialect
def test_items_may_send_files_of_different_names_in_fields_of_one_name(word: str) -> None:
    items = [photo(attached_files={"photo": "first, of all"}), photo(attached_files={"photo": "second", "thumbnail": "second"})]

    first, second = uploaded(word, items, file("first, of all", b"1"), file("second", b"2"))

    assert [(name, content) for name, _, _, content in form_of(first)[1]] == [("photo", b"1")]
    assert [(name, content) for name, _, _, content in form_of(second)[1]] == [("photo", b"2"), ("thumbnail", b"2")]


@every_dialect
def test_files_of_one_name_go_together_and_to_each_item_that_names_them(word: str) -> None:
    first, second = uploaded(word, [photo(), photo()], file("cat", b"1"), file("cat", b"2"))

    assert [content for *_, content in form_of(first)[1]] == [b"1", b"2"]
    assert form_of(first) == form_of(second)


@every_dialect
@pytest.mark.parametrize("named", [None, "", [], {}])
def test_an_item_that_names_no_file_is_sent_as_ever(word: str, named: object) -> None:
    plain, _ = uploaded(word, [photo(body={"a": 1}, attached_files=named), photo()], file("cat"))

    assert plain["type"].startswith("application/json")
    assert json.loads(plain["body"]) == {"a": 1}


@pytest.mark.parametrize(
    ("word", "body"), [("django", "a=b+c%26&d=&e=Zo%C3%AB"), ("graph", base64.b64encode(b"a=b+c%26&d=&e=Zo%C3%AB").decode())], ids=["django", "graph"]
)
def test_the_body_of_the_item_may_be_a_form_that_is_url_encoded(word: str, body: str) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}

    [told] = uploaded(word, [photo(headers=headers, body=body)], file("cat"))

    assert form_of(told)[0] == {"a": "b c&", "d": "", "e": "Zoë"}


@every_dialect
def test_headers_are_kept_but_for_the_type_and_the_length_of_the_body(word: str) -> None:
    [told] = uploaded(word, [photo(headers={"content-type": "application/json", "Content-Length": "8", "X-One": "1"}, body={"a": "1"})], file("cat"))

    assert told["headers"]["HTTP_X_ONE"] == "1"
    assert form_of(told)[0] == {"a": "1"}


def test_a_type_without_a_body_does_not_matter() -> None:
    [told] = uploaded("django", [photo(headers={"Content-Type": "multipart/form-data"})], file("cat"))

    assert form_of(told)[1][0][3] == IMAGE


@pytest.mark.parametrize("name", ['a"b', "a\r\nX-Evil: 1", "a\0b", "a\\b", "ä"])
def test_the_name_of_a_field_cannot_leave_its_header(name: str) -> None:
    [told] = uploaded("django", [photo(body={name: "1"}, attached_files={name: "cat"})], file("cat"))

    escaped = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A").replace("\0", "%00")
    body = told["body"].encode("latin-1")
    assert f'form-data; name="{escaped}"\r\n\r\n1\r\n'.encode() in body
    assert f'form-data; name="{escaped}"; filename="cat.png"\r\nContent-Type: image/png\r\n\r\n'.encode() in body


@pytest.mark.parametrize(
    ("said", "name"),
    [
        # As HttpClient of .NET writes it.
        ("filename=\"=?utf-8?B?ZMO2Zy5wbmc=?=\"; filename*=utf-8''d%C3%B6g.png", "dög.png"),
        ("filename*=UTF-8'de'd%C3%B6g.png", "dög.png"),
        ("FileName* = \"iso-8859-1''d%F6g.png\"; filename=a.png", "dög.png"),
        ("filename*=utf-8''a%0D%0AX-Evil:%201%00%22", "a%0D%0AX-Evil: 1%00%22"),
        ("filename=\"a; filename*=utf-8''b.png\"", "a; filename*=utf-8''b.png"),
        ('filename="a%2Fb.png"', "a%2Fb.png"),
    ],
)
def test_a_name_that_a_client_writes_in_two_ways_is_the_one_that_frameworks_take(said: str, name: str) -> None:
    [told] = uploaded("django", [photo()], (f'name="cat"; {said}\r\nContent-Type: image/png', IMAGE))

    assert f'name="cat"; filename="{name}"\r\nContent-Type: image/png\r\n'.encode() in told["body"].encode("latin-1")


@pytest.mark.parametrize("said", ["d%C3%B6g.png", "utf-8'd.png", "utf-7''a", "utf-8''%ff", "''a", "utf-8''ä"])
def test_a_second_name_of_a_file_that_cannot_be_read_refuses_the_batch(said: str) -> None:
    answer = posted("django", batch_part("django", photo()), (f'name="cat"; filename="a.png"; filename*={said}', IMAGE))

    assert answer.status == 400
    assert "'filename*' begins with UTF-8''" in answer.json()["detail"]


def test_a_file_without_a_type_is_sent_without_one() -> None:
    [told] = uploaded("django", [photo()], ('name="cat"; filename="cat"', b"abc"))

    assert 'form-data; name="cat"; filename="cat"\r\n\r\nabc\r\n' in told["body"]


def test_an_item_that_is_sent_again_is_the_same_request() -> None:
    items = [photo(body={"a": "1"})]

    first, again, other = (uploaded("django", items, file("cat", content))[0] for content in (b"1", b"1", b"2"))

    assert (first["type"], first["body"]) == (again["type"], again["body"])
    assert first["type"] != other["type"]


def test_an_upload_that_is_sent_again_with_its_key_is_answered_as_before() -> None:
    seen: list[bytes] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        seen.append(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        start_response("201 Created", [("Content-Type", "text/plain")])
        return [b"%d" % len(seen)]

    guarded = IdempotencyMiddleware(app, anonymous="shared")
    keyed = {"HTTP_IDEMPOTENCY_KEY": "a"}

    answers = [posted("django", batch_part("django", photo(body={"a": "1"})), file("cat"), app=guarded, environ=keyed).items[0] for _ in range(2)]

    assert [(answer["status_code"], answer["body"]) for answer in answers] == [(201, "1"), (201, "1")]
    assert len(seen) == 1
    guarded.close()


@pytest.mark.parametrize(("fingerprint", "again"), [("multipart", 201), ("raw", 422)])
def test_an_upload_with_what_an_earlier_answer_says_is_told_again_by_its_parts(fingerprint: str, again: int) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("201 Created", [("Content-Type", "application/json")])
        return [b'{"id": 7}']

    guarded = IdempotencyMiddleware(app, anonymous="shared", fingerprint=fingerprint)
    album = {"method": "POST", "relative_url": "albums", "name": "album", "omit_response_on_success": False}
    upload = {"method": "POST", "relative_url": "photos", "attached_files": "cat", "body": "album={result=album:$.id}"}
    body = in_parts(('name="batch"', json.dumps([album, upload]).encode()), file("cat"))
    environ = {"CONTENT_TYPE": "multipart/form-data; boundary=b", "HTTP_IDEMPOTENCY_KEY": "a"}

    answers = [send(BatchMiddleware(guarded, dialect="facebook"), environ_of(body, **environ)).json() for _ in range(2)]

    assert [[item["code"] for item in answer] for answer in answers] == [[201, 201], [201, again]]
    guarded.close()


def test_what_an_item_of_odata_takes_from_others_stands_beside_its_files() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/albums":
            return show(environ, start_response)
        start_response("201 Created", [("Location", "/albums/7"), ("ETag", '"v1"'), ("Content-Type", "application/json")])
        return [b"{}"]

    items = [{"method": "POST", "url": "/albums"}, photo(url="$0/photos", headers={"If-Match": "$0"}, body={"a": "1"})]

    _, told = uploaded("odata", items, file("cat"), app=app)

    assert (told["path"], told["headers"]["HTTP_IF_MATCH"]) == ("/albums/7/photos", '"v1"')
    assert form_of(told) == ({"a": "1"}, [("cat", "cat.png", "image/png", IMAGE)])


def test_a_transaction_of_kinto_may_have_files() -> None:
    answers = uploaded("kinto", [photo(), photo()], file("cat"), atomic="stop")

    assert [form_of(told)[1][0][3] for told in answers] == [IMAGE, IMAGE]


# What is refused.


@every_dialect
@pytest.mark.parametrize("named", ["dog", "cat,dog", "cat;dog", ["cat", "dog"], [" cat"], {"cat": "dog"}, "batch"])
def test_a_file_that_is_not_there_refuses_the_batch(word: str, named: object) -> None:
    assert refused(word, [photo(), photo(attached_files=named)], file("cat")) == (400, DIALECTS[word][2] + "/1/attached_files")


@every_dialect
def test_a_file_that_no_item_names_refuses_the_batch(word: str) -> None:
    answer = posted(word, batch_part(word, photo()), file("cat"), file("dög"), file("bird"))

    assert fault_of(word, answer) == (400, None)
    assert "No request names the file 'dög' in its 'attached_files'." in answer.body.decode()


@every_dialect
@pytest.mark.parametrize("named", [5, True, [5], [["cat"]], {"cat": 5}, {"cat": ["cat"]}])
def test_names_of_files_are_text(word: str, named: object) -> None:
    status, pointer = refused(word, [photo(), photo(attached_files=named)], file("cat"))

    assert (status, (pointer or "").startswith(DIALECTS[word][2] + "/1/attached_files")) == (400, True)


@every_dialect
@pytest.mark.parametrize("value", [{}, {"b": 1}, [], [1]])
def test_a_field_is_a_single_value(word: str, value: object) -> None:
    assert refused(word, [photo(body={"a": value})], file("cat")) == (400, DIALECTS[word][2] + "/0/body")


@pytest.mark.parametrize(("content_type", "body"), [("text/plain", "a=b"), ("application/json", "[1]"), ("application/json", "{"), ("x", "{}")])
def test_a_body_that_gives_no_fields_refuses_the_batch(content_type: str, body: str) -> None:
    assert refused("django", [photo(headers={"Content-Type": content_type}, body=body)], file("cat")) == (400, "/0/body")


def test_a_reference_in_the_body_beside_files_refuses_the_batch() -> None:
    items = [{"method": "GET", "url": "/a"}, photo(body={"a": "$0/path"}, dependsOn=["0"])]

    assert refused("odata", items, file("cat")) == (400, "/requests/1/body")


@every_dialect
@pytest.mark.parametrize("auto", [True, False])
@pytest.mark.parametrize("named", ["cat", ["cat"], {"photo": "cat"}])
def test_files_that_are_named_in_a_batch_that_is_no_form_refuse_it(word: str, auto: bool, named: object) -> None:
    dialect, made, place, _ = DIALECTS[word]
    body = json.dumps(made([{"method": "GET", "url": "/a"}, photo(attached_files=named)])).encode()
    headers = {"HTTP_ODATA_VERSION": "4.01"} if word == "odata" else {}

    answer = send(BatchMiddleware(refuses_to_run, dialect="auto" if auto else dialect), environ_of(body, **headers))

    assert (answer.status, fault_of(word, answer)[1]) == (400, f"{place}/1/attached_files")
    assert b"multipart/form-data" in answer.body


@every_dialect
@pytest.mark.parametrize("named", [None, "", [], {}])
def test_a_batch_that_is_no_form_may_name_no_file(word: str, named: object) -> None:
    dialect, made, *_ = DIALECTS[word]
    body = json.dumps(made([photo(attached_files=named)])).encode()

    assert send(BatchMiddleware(show, dialect=dialect), environ_of(body)).status == 200


def test_files_are_unknown_to_kinto_in_its_defaults() -> None:
    shared = {"requests": [{"path": "/a"}], "defaults": {"method": "POST", "attached_files": "cat"}}
    other = {"requests": [{"path": "/a", "attached_files": "cat", "attached": "cat"}]}

    for batch in (shared, other):
        assert posted("kinto", ('name="batch"', json.dumps(batch).encode()), file("cat")).status == 400


def test_the_defaults_of_kinto_give_fields_beside_files() -> None:
    batch = {"requests": [{"path": "/a", "attached_files": "cat"}], "defaults": {"method": "POST", "body": {"a": "1"}}}

    answer = posted("kinto", ('name="batch"', json.dumps(batch).encode()), file("cat"))

    assert form_of(answer.json()["responses"][0]["body"])[0] == {"a": "1"}


def test_only_a_dialect_that_is_named_takes_files() -> None:
    for dialect in ("auto", "aggregator", "multipart"):
        body = in_parts(batch_part("django", photo()), file("cat"))
        answer = send(BatchMiddleware(show, dialect=dialect), environ_of(body, CONTENT_TYPE="multipart/form-data; boundary=b"))
        assert answer.status == 415
        assert b"with files, where a dialect that takes some is configured by name." in answer.body


@every_dialect
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"HTTP_COOKIE": "session=1"}, 403),
        ({"HTTP_COOKIE": "session=1", "HTTP_ORIGIN": "http://shop.example"}, 200),
        ({"HTTP_COOKIE": "session=1", "HTTP_SEC_FETCH_SITE": "same-origin"}, 200),
        ({"HTTP_ORIGIN": "http://evil.example"}, 403),
        ({"HTTP_ORIGIN": "null"}, 403),
        ({"HTTP_SEC_FETCH_SITE": "cross-site"}, 403),
        ({"HTTP_SEC_FETCH_SITE": "same-site"}, 403),
        ({"HTTP_SEC_FETCH_SITE": "none"}, 200),
        ({"HTTP_SEC_FETCH_SITE": "cross-site", "HTTP_AUTHORIZATION": "Basic YTpi"}, 403),
        ({"HTTP_AUTHORIZATION": "Basic YTpi"}, 200),
    ],
)
def test_a_form_that_a_page_of_another_origin_may_have_sent_is_refused(word: str, headers: dict[str, str], status: int) -> None:
    assert posted(word, batch_part(word, photo()), file("cat"), environ=headers).status == status


# Which part is the batch.


@pytest.mark.parametrize(
    "head",
    [
        'name="batch"',
        'name="batch"\r\nContent-Type: text/plain',
        'name="batch"; filename="batch.json"\r\nContent-Type: application/octet-stream',
        'name="anything"\r\nContent-Type: Application/JSON; charset=utf-8',
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_the_batch_is_the_part_of_that_name_or_the_only_one_in_json(head: str, last: bool) -> None:
    parts = [(head, json.dumps([photo()]).encode()), ('name="more"', b"\xff"), file("cat", b"{}", "cat.json", "application/json")]

    [item] = posted("django", *(reversed(parts) if last else parts)).items

    assert form_of(json.loads(item["body"]))[1] == [("cat", "cat.json", "application/json", b"{}")]


JSON = "Content-Type: application/json"


@pytest.mark.parametrize(
    "heads",
    [
        [],
        ['name="anything"'],
        [f'name="a"\r\n{JSON}', f'name="b"\r\n{JSON}'],
        ['name="batch"', f'name="batch"; filename="batch.json"\r\n{JSON}'],
        [f'name="a"; filename="batch.json"\r\n{JSON}'],
    ],
)
@every_dialect
def test_without_one_part_that_is_the_batch_it_is_refused(word: str, heads: list[str]) -> None:
    _, content = batch_part(word, {"method": "GET", "url": "/a"})

    assert posted(word, *((head, content) for head in heads)).status == 400


@every_dialect
@pytest.mark.parametrize(
    "parts",
    [
        [],
        [file("cat")],
        [('name="data"', b"[]")],
        [("", b"[]")],
        [(f'name="a"\r\n{JSON}', b"[]"), (f'name="b"\r\n{JSON}', b"[]")],
        [('name="batch"', b""), file("cat")],
    ],
)
def test_it_is_told_that_no_part_is_the_batch(word: str, parts: list[Sent]) -> None:
    answer = posted(word, *parts, ('name="more"', b"1"))

    assert fault_of(word, answer) == (400, None)
    assert b"Send the batch as the part 'batch' of the form" in answer.body


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([('name="a"', b"")] * 1000, "The body has more than 1000 parts."),
        ([('name="a"' + "\r\nX-A: b" * 8, b"")], "The head of a part has more than 8 fields, or one of more than 4224 bytes."),
        ([('name="a' + "a" * 4224 + '"', b"")], "The head of a part has more than 8 fields, or one of more than 4224 bytes."),
    ],
)
def test_a_form_that_has_too_much_is_told_how_much_it_may_have(parts: list[Sent], reason: str) -> None:
    answer = posted("django", batch_part("django"), *parts)

    assert (answer.status, answer.json()["detail"]) == (400, reason)


def test_a_name_that_is_not_in_utf_8_is_told_in_a_sentence() -> None:
    body = in_parts(batch_part("django", photo()), file("cat", filename="dög.png")).replace("ö".encode(), b"\xf6")

    answer = send(BatchMiddleware(show, dialect="django"), environ_of(body, CONTENT_TYPE="multipart/form-data; boundary=b"))

    assert (answer.status, answer.json()["detail"]) == (400, "The body is no form in parts: the head of a part is not UTF-8.")


# How much there may be.


@every_dialect
def test_the_limit_of_a_batch_with_files_is_ten_mebibytes_and_of_the_batch_itself_one(word: str) -> None:
    assert posted(word, batch_part(word, photo()), file("cat", b"x" * (9 << 20)), app=_drained).status == 200
    assert posted(word, batch_part(word, photo()), file("cat", b"x" * (10 << 20))).status == 413
    assert posted(word, batch_part(word, photo(body={"a": "x" * (1 << 20)})), file("cat")).status == 413


def _drained(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers with the number of bytes that it read, and their digest."""
    digest, length = hashlib.sha256(), 0
    while piece := environ["wsgi.input"].read(64 << 10):
        digest.update(piece)
        length += len(piece)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"length": length, "announced": int(environ["CONTENT_LENGTH"]), "digest": digest.hexdigest()}).encode()]


@every_dialect
@pytest.mark.parametrize("length", [True, False])
def test_the_setting_limits_the_sum_of_all_parts(word: str, length: bool) -> None:
    parts = [batch_part(word, photo()), file("cat", b"x" * 5000), ('name="more"', b"x" * 5000)]
    size = len(in_parts(*parts))
    environ = {} if length else {"CONTENT_LENGTH": None, "wsgi.input_terminated": True}

    assert posted(word, *parts, environ=environ, max_body=size).status == 200
    assert posted(word, *parts, environ=environ, max_body=size - 1).status == 413


@every_dialect
def test_the_body_that_is_made_keeps_to_the_limit_of_an_item(word: str) -> None:
    [told] = uploaded(word, [photo()], file("cat"))
    size = len(told["body"])

    assert uploaded(word, [photo()], file("cat"), max_item_body=size) == [told]
    assert refused(word, [photo()], file("cat"), max_item_body=size - 1) == (413, DIALECTS[word][2] + "/0/body")


@every_dialect
def test_a_file_that_is_sent_several_times_counts_several_times(word: str) -> None:
    cat = file("cat", b"x" * 40_000)

    assert len(uploaded(word, [photo()] * 2, cat, max_body=100_000)) == 2
    assert refused(word, [photo()] * 3, cat, max_body=100_000) == (413, DIALECTS[word][2] + "/2/attached_files")


@every_dialect
def test_a_name_that_is_longer_than_its_file_counts_as_often(word: str) -> None:
    cat = file("cat", b"", "x" * 3_000, "image/" + "y" * 3_000)

    assert len(uploaded(word, [photo()] * 10, cat, max_body=100_000)) == 10
    assert refused(word, [photo()] * 20, cat, max_body=100_000) == (413, DIALECTS[word][2] + "/16/attached_files")
    assert refused(word, [photo(attached_files={str(place): "cat" for place in range(20)})], cat, max_body=100_000)[0] == 413


@every_dialect
def test_the_form_of_an_item_has_a_limited_number_of_fields_and_of_files(word: str) -> None:
    thousand = {str(place): "cat" for place in range(1000)}
    place = DIALECTS[word][2] + "/0"

    assert len(uploaded(word, [photo(attached_files=thousand, body=thousand)], file("cat", b""))) == 1
    assert refused(word, [photo(attached_files={**thousand, "more": "cat"})], file("cat", b"")) == (400, place + "/attached_files")
    assert refused(word, [photo(body={**thousand, "more": "cat"})], file("cat", b"")) == (400, place + "/body")


def test_a_form_has_a_limited_number_of_parts() -> None:
    assert posted("django", batch_part("django"), *[('name="a"', b"")] * 999).status == 200
    assert posted("django", batch_part("django"), *[('name="a"', b"")] * 1000).status == 400


class Endless:
    """The input of a server, made as it is read: *before*, *size* bytes, and *after*."""

    def __init__(self, before: bytes, size: int, after: bytes) -> None:
        self._pieces: Iterator[bytes] = iter([before, *[b"\r\n-x" * 16384] * (size >> 16), after])
        self._rest = b""

    def read(self, size: int) -> bytes:
        if not self._rest:
            self._rest = next(self._pieces, b"")
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


@pytest.mark.parametrize("dialect", ["django", "facebook"])
def test_a_large_file_is_never_held_in_memory(dialect: str) -> None:
    size = 64 << 20
    items = [photo()] if dialect == "django" else [{"method": "POST", "relative_url": "photos", "attached_files": "cat"}]
    before, after = in_parts(('name="batch"', json.dumps(items).encode()), file("cat", b"!")).split(b"!")
    environ = environ_of(
        CONTENT_TYPE="multipart/form-data; boundary=b",
        CONTENT_LENGTH=str(len(before) + size + len(after)),
        wsgi__input=Endless(before, size, after),
    )
    middleware = BatchMiddleware(_drained, dialect=dialect, max_body=128 << 20)

    tracemalloc.start()
    try:
        answer = send(middleware, environ)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    told = json.loads(answer.json()[0]["body"])
    assert size < told["length"] == told["announced"] < size + 1000
    assert peak < 4 << 20


# When it is over.


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_the_files_are_gone_with_the_batch(spools: list[_body.Spool], size: int) -> None:
    kept: list[Any] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        kept.append(environ["wsgi.input"])
        return _drained(environ, start_response)

    uploaded("django", [photo()], file("cat", b"x" * size), app=app)

    assert [spool.hold() for spool in spools] == [False]
    kept[0].seek(0)
    with pytest.raises(ValueError, match="closed file"):
        kept[0].read()


@pytest.mark.parametrize("spoil", [lambda body: body[:-9], lambda body: b"", lambda body: body.replace(b"/photos", b"\xff"), lambda body: body * 2])
def test_the_files_are_gone_with_a_batch_that_is_refused(spools: list[_body.Spool], spoil: Callable[[bytes], bytes]) -> None:
    body = spoil(in_parts(batch_part("django", photo()), file("cat", b"x" * (1 << 20))))

    send(BatchMiddleware(show, dialect="django", max_body=1 << 21), environ_of(body, CONTENT_TYPE="multipart/form-data; boundary=b"))

    assert [spool.hold() for spool in spools] == [False]


def test_the_files_are_gone_when_the_server_fails_to_read_the_batch(spools: list[_body.Spool]) -> None:
    class Broken:
        def read(self, size: int) -> bytes:
            raise OSError("the client has gone")

    environ = environ_of(CONTENT_TYPE="multipart/form-data; boundary=b", CONTENT_LENGTH="100", wsgi__input=Broken())

    with pytest.raises(OSError, match="the client has gone"):
        send(BatchMiddleware(show, dialect="django"), environ)

    assert [spool.hold() for spool in spools] == [False]


def test_a_disk_that_is_full_fails_the_batch_before_anything_of_it_runs(spools: list[_body.Spool]) -> None:
    # A little is held back before it is written.
    parts = file("cat", b"x" * 300_000), file("dog", b"y" * 4_000)
    paid = {"method": "POST", "relative_url": "paid"}
    query = "batch=" + quote(json.dumps([paid, {**paid, "attached_files": "dog"}]))
    environ = environ_of(in_parts(*parts), CONTENT_TYPE="multipart/form-data; boundary=b", QUERY_STRING=query)
    ran: list[str] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        ran.append(environ["PATH_INFO"])
        return show(environ, start_response)

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (301_000, before[1]))
    try:
        with pytest.raises(OSError, match="large"):
            send(BatchMiddleware(app, dialect="facebook"), environ)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert ran == []
    assert not spools[0].hold()


def test_a_call_that_is_left_behind_reads_its_file_to_the_end(spools: list[_body.Spool]) -> None:
    answered, ended = threading.Event(), threading.Event()
    read: list[bytes] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        first = environ["wsgi.input"].read(1)
        assert answered.wait(timeout=20)
        read.append(first + environ["wsgi.input"].read())
        start_response("200 OK", [])
        return _Closing(ended)

    content = bytes(range(256)) * 4096
    middleware = BatchMiddleware(app, dialect="django", executor="threads", timeout=0.05)
    body = in_parts(batch_part("django", photo()), file("cat", content))

    answer = send(middleware, environ_of(body, CONTENT_TYPE="multipart/form-data; boundary=b"))

    assert answer.statuses == [504]
    answered.set()
    assert ended.wait(timeout=20)
    assert content in read[0]
    middleware.close()
    assert [spool.hold() for spool in spools] == [False]


class _Closing:
    """An answer of nothing that tells when it has been closed."""

    def __init__(self, closed: threading.Event) -> None:
        self._closed = closed

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    def close(self) -> None:
        self._closed.set()


@contextmanager
def streamed(app: Any, body: bytes) -> Iterator[Iterator[bytes]]:
    """The answer to a batch, while it is sent; it is closed when the block is left."""
    middleware = BatchMiddleware(app, dialect="django", executor="threads", workers=1, stream=True)
    result: Any = middleware(environ_of(body, CONTENT_TYPE="multipart/form-data; boundary=b"), lambda status, headers: None)
    try:
        yield iter(result)
    finally:
        result.close()
        middleware.close()


def test_the_files_are_gone_when_a_client_leaves_in_the_middle_of_its_answer(spools: list[_body.Spool]) -> None:
    running, left = threading.Event(), threading.Event()
    lengths: list[int] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/slow":
            running.set()
            assert left.wait(timeout=20)
        lengths.append(len(environ["wsgi.input"].read()))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return []

    items = [photo(), photo(url="/slow"), photo()]
    go_on = threading.Timer(0.0, left.set)
    with streamed(app, in_parts(batch_part("django", *items), file("cat", b"x" * 300_000))) as answer:
        assert b'"status_code":200' in next(answer)
        assert running.wait(timeout=20)
        workers = [thread for thread in threading.enumerate() if thread.name == "wsgibatch"]
        go_on.start()
    for thread in (go_on, *workers):
        thread.join(timeout=20)

    assert len(lengths) == 2
    assert min(lengths) > 300_000
    assert [spool.hold() for spool in spools] == [False]


def test_what_is_taken_up_after_the_batch_is_over_is_not_run() -> None:
    unstarted = SubResponse(504, "", [], b"")

    class Never:
        def call(self, unit: Unit, ticket: Ticket | None = None) -> Answers:
            raise AssertionError("it was run")

        def late(self, ticket: Ticket) -> Answers:
            raise AssertionError("it was late")

        def unstarted(self, unit: Unit) -> Answers:
            return (unstarted,)

    spool = _body.Spool()
    work = _drive.Holding(Never(), spool)
    spool.release()

    assert work.call((SubRequest(0, "GET", "/a", []),)) == (unstarted,)


# Both faces, and anything at all.


@pytest.mark.parametrize("executor", ["sequential", "threads"])
def test_pep_3333_is_kept_towards_the_app_and_the_server(executor: str) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        stream = environ["wsgi.input"]
        pieces = [stream.read(3), stream.readline(), stream.readline(5), *stream.readlines(1), *stream, stream.read(10), stream.readline()]
        body = b"".join(pieces)
        assert (len(body), stream.read(1)) == (int(environ["CONTENT_LENGTH"]), b"")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [body]

    middleware = BatchMiddleware(validator(app), dialect="django", executor=executor)
    body = in_parts(batch_part("django", photo(), photo()), file("cat", b"a\nb\n\n" * 100_000))
    environ = environ_of(body, CONTENT_TYPE="multipart/form-data; boundary=b")

    answer = send(validator(middleware), environ)

    assert ["a\nb\n\n" * 100_000 in item["body"] for item in answer.items] == [True, True]
    middleware.close()


def fine(answer: Answer) -> bool:
    return answer.status == 200 or 400 <= answer.status < 500


@every_dialect
@given(strategies.anything)
def test_any_parts_are_answered_and_are_no_server_error(word: str, body: bytes) -> None:
    for whole in (
        body,
        b"--b\r\n" + body,
        b'--b\r\nContent-Disposition: form-data; name="batch"\r\n' + body,
        in_parts(('name="batch"', body), file("cat")),
        in_parts(batch_part(word, photo()), (body.decode("latin-1"), b"")),
    ):
        environ = environ_of(whole, CONTENT_TYPE="multipart/form-data; boundary=b")
        assert fine(send(BatchMiddleware(show, dialect=DIALECTS[word][0]), environ))


@every_dialect
@given(st.data())
def test_a_spoilt_form_is_answered_and_is_no_server_error(word: str, data: st.DataObject) -> None:
    valid = in_parts(batch_part(word, photo(body={"a": "1"}), photo(attached_files={"a": "cat"})), file("cat"), ('name="a"', b"1"))

    environ = environ_of(data.draw(strategies.spoilt(valid)), CONTENT_TYPE="multipart/form-data; boundary=b")

    assert fine(send(BatchMiddleware(show, dialect=DIALECTS[word][0]), environ))


@given(st.text(max_size=80) | st.sampled_from(["b", '"b"', "", "b" * 5000, "\x00", "\n", "-", "b; charset=rot13", "b; boundary=c", "é"]))
def test_any_boundary_is_answered_and_is_no_server_error(boundary: str) -> None:
    body = in_parts(batch_part("django", photo()), file("cat"))
    content_type = f"multipart/form-data; boundary={boundary}".encode("utf-8", "surrogatepass").decode("latin-1")

    assert fine(send(BatchMiddleware(show, dialect="django"), environ_of(body, CONTENT_TYPE=content_type)))


@pytest.mark.parametrize("stray", ["\n", "\r", "\0"])
def test_a_stray_line_end_in_the_head_of_a_part_refuses_the_batch(stray: str) -> None:
    assert refused("django", [photo()], file("cat", content_type=f"image/png{stray}X-Evil: 1"))[0] == 400


@pytest.mark.parametrize(("encoding", "status"), [("binary", 200), ("8BIT", 200), ("base64", 415), ("quoted-printable", 415), ("", 200)])
def test_a_part_with_a_transfer_encoding_refuses_the_batch(encoding: str, status: int) -> None:
    cat = file("cat", content_type=f"image/png\r\nContent-Transfer-Encoding: {encoding}")

    assert posted("django", batch_part("django", photo()), cat).status == status


@pytest.mark.parametrize("cut", [1, 2, 5, 300, 2000])
def test_a_form_that_ends_too_soon_is_refused_wherever_it_ends(cut: int) -> None:
    body = in_parts(batch_part("django", photo()), file("cat")) + b"what stands behind the last part " * 60
    environ = environ_of(body, CONTENT_TYPE="multipart/form-data; boundary=b", wsgi__input=io.BytesIO(body[:-cut]))

    answer = send(BatchMiddleware(show, dialect="django"), environ)

    assert (answer.status, "ended after" in answer.json()["detail"]) == (400, True)


def test_what_stands_around_the_parts_is_passed_over() -> None:
    body = b"before\r\n" + in_parts(batch_part("django", photo()), file("cat")) + b"behind" * 50_000

    [item] = send(BatchMiddleware(show, dialect="django"), environ_of(body, CONTENT_TYPE="multipart/form-data; boundary=b")).items

    assert form_of(json.loads(item["body"]))[1][0][3] == IMAGE


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.text(max_size=8), st.binary(max_size=40) | st.just(b"\r\n" * 200_000)), max_size=4))
def test_any_file_arrives_as_it_was_sent(files: list[tuple[str, str, bytes]]) -> None:
    sent = [(name, "".join(c for c in filename if c not in '"\\%\r\n\0:/'), content) for name, filename, content in files if b"--b" not in content]
    named = list(dict.fromkeys(name for name, _, _ in sent))

    [told] = uploaded("django", [photo(attached_files=named)], *(file(name, content, filename) for name, filename, content in sent))

    if sent:
        expected = [(name, filename, "image/png", content) for wanted in named for name, filename, content in sent if name == wanted]
        assert form_of(told)[1] == expected
