import email
import email.policy
import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multipart import MultipartSegment, PushMultipartParser

from wsgibatch import BadBatch, BatchRejected, TooLarge, TooManyItems
from wsgibatch.dialects._mime import _MEMORY, MAX_LINE, MAX_LINES, MAX_PREAMBLE, _heads, boundary_of, head_of, part_of, split


def parts(body: bytes, boundary: bytes = b"b", limit: int = 100) -> list[bytes]:
    return [body[start:end] for start, end in split(body, boundary, limit)]


def part(written: bytes) -> tuple[Mapping[str, str], bytes]:
    fields, content = part_of(written, 0, len(written))
    return fields, written[content:]


# The boundary


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/mixed; boundary=x", b"x"),
        ("multipart/mixed;boundary=x", b"x"),
        ("multipart/mixed; BOUNDARY=x", b"x"),
        ("multipart/mixed ; charset=utf-8 ; boundary=x ; a=b", b"x"),
        ("multipart/mixed; boundary = x", b"x"),
        ("multipart/mixed; boundary=x;", b"x"),
        ("multipart/mixed;; boundary=x", b"x"),
        ('multipart/mixed; boundary="x"', b"x"),
        ('multipart/mixed; boundary="===============7330845974216740156=="', b"===============7330845974216740156=="),
        ("multipart/mixed; boundary====123==; a=b", b"===123=="),
        ("multipart/mixed; boundary=a=b", b"a=b"),
        ("multipart/mixed; boundary=a:b/c(d),e", b"a:b/c(d),e"),
        ("multipart/mixed; boundary=a b", b"a b"),
        ('multipart/mixed; boundary="a;b"', b"a;b"),
        (r'multipart/mixed; boundary="a\"b\\c\d"', rb'a"b\cd'),
        ('multipart/mixed; a="; boundary=z"; boundary=x', b"x"),
        ("multipart/mixed; notboundary=x; boundary=y; xboundary=z", b"y"),
        ("multipart/batch; boundary=batch_8f6f5b5e-6d1c", b"batch_8f6f5b5e-6d1c"),
        ("multipart/mixed; boundary=\xff", b"\xff"),
        ("multipart/mixed; boundary=" + "x" * 200, b"x" * 200),
    ],
)
def test_a_boundary_is_found_as_clients_write_it(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "multipart/mixed",
        "multipart/mixed;",
        "multipart/mixed; a=b",
        "multipart/mixed; boundary",
        "multipart/mixed; boundary=",
        'multipart/mixed; boundary=""',
        'multipart/mixed; boundary=" "',
        'multipart/mixed; boundary="x "',
        'multipart/mixed; boundary="x',
        'multipart/mixed; boundary="x"y',
        'multipart/mixed; boundary=x"y"',
        "multipart/mixed; boundary=" + "x" * 201,
        "multipart/mixed; boundary=x; boundary=y",
        "multipart/mixed; boundary=x; Boundary=x",
        "multipart/mixed; boundary*=utf-8''x",
        "multipart/mixed; boundary*0=x; boundary*1=y",
        "multipart/mixed; boundary=x; boundary*=utf-8''y",
        "multipart/mixed; boundary=x\0y",
        "multipart/mixed; boundary=x\ry",
        "multipart/mixed; boundary=x\ny",
        'multipart/mixed; boundary="x\r\ny"',
        "multipart/mixed; boundary=\u20ac",
        "multipart/mixed; boundary=\x7f",
    ],
)
def test_what_names_no_boundary_or_more_than_one_is_refused(content_type: str) -> None:
    with pytest.raises(BadBatch):
        boundary_of(content_type)


@given(st.text(st.sampled_from('; ="\\bB*\t\r\n\0xboundary') | st.characters(max_codepoint=300), max_size=60))
def test_any_content_type_gives_a_boundary_or_is_refused(parameters: str) -> None:
    try:
        boundary = boundary_of("multipart/mixed; boundary=" + parameters)
    except BadBatch:
        return
    assert 1 <= len(boundary) <= 200
    assert not {0, 10, 13} & set(boundary)


# The parts


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"--b\r\none\r\n--b--\r\n", [b"one"]),
        (b"--b\r\none\r\n--b\r\ntwo\r\n--b--\r\n", [b"one", b"two"]),
        (b"--b\none\n--b\ntwo\n--b--\n", [b"one", b"two"]),
        # Each delimiter has its own line end.
        (b"--b\none\r\n--b\r\ntwo\n--b--\r\n", [b"one", b"two"]),
        # The one line end before a delimiter belongs to it, and no other.
        (b"--b\r\none\r\n\r\n--b\ntwo\n\n--b--", [b"one\r\n", b"two\n"]),
        (b"--b\r\none\n\r\n--b\ntwo\r\n\n--b--", [b"one\n", b"two\r\n"]),
        # No end of line behind the last delimiter, and an epilogue.
        (b"--b\r\none\r\n--b--", [b"one"]),
        (b"--b\r\none\r\n--b--\r\nepilogue\r\n--b\r\ntwo\r\n--b--\r\n", [b"one"]),
        # A preamble, empty or not, and a byte order mark.
        (b"\r\n--b\r\none\r\n--b--", [b"one"]),
        (b"\n\n--b\none\n--b--", [b"one"]),
        (b'Content-Type: multipart/mixed;\n boundary="b"\n\n--b\none\n--b--\n', [b"one"]),
        (b"\xef\xbb\xbf--b\r\none\r\n--b--\r\n", [b"one"]),
        (b"\xef\xbb\xbf\r\n--b\r\none\r\n--b--\r\n", [b"one"]),
        (b"--b2\r\npreamble\r\n--b\r\none\r\n--b--", [b"one"]),
        (b"x--b\r\n--b\r\none\r\n--b--", [b"one"]),
        (b"." * MAX_PREAMBLE + b"\n--b\none\n--b--", [b"one"]),
        # Blanks behind a boundary.
        (b"--b \t \r\none\r\n--b\t\ntwo\r\n--b-- \r\n", [b"one", b"two"]),
        (b"--b\r\none\r\n--b--\t ", [b"one"]),
        # Lines that begin like delimiters, or hold them.
        (b"--b\r\n--b2\r\n --b\r\nx--b--\r\n--bb--\r\n--b-\r\n--b -- \r\n--b--x\r\n--b\r\ntwo\r\n--b--", None),
        (b"--b\r\none--b--\r\n--b--", [b"one--b--"]),
        (b"--b\r\none\r--b--\r\n--b--", [b"one\r--b--"]),
        (b"--b\r\none\r\n--b\r--b--\r\n--b--", [b"one\r\n--b\r--b--"]),
        # Bytes are bytes.
        (b"--b\r\n\x00\xff\r\n\r\n\n\r\r\n--b--", [b"\x00\xff\r\n\r\n\n\r"]),
    ],
)
def test_a_body_has_these_parts(body: bytes, expected: list[bytes] | None) -> None:
    if expected is None:
        expected = [b"--b2\r\n --b\r\nx--b--\r\n--bb--\r\n--b-\r\n--b -- \r\n--b--x", b"two"]

    assert parts(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n",
        b"one",
        b"--b",
        b"--b\r",
        b"--b\r\n",
        # Not closed, or closed where no line begins, or not on a line of its own.
        b"--b\r\none",
        b"--b\r\none\r\n",
        b"--b\r\none\r\n--b",
        b"--b\r\none\r\n--b\r\n",
        b"--b\r\none\r\n--b\r\ntwo",
        b"--b\r\none\r\n--b-",
        b"--b\r\none --b--",
        b"--b\r\none\r--b--",
        b"--b\r\none\r\n--b--x",
        b"--b\r\none\r\n--b--\r",
        # No parts.
        b"--b--",
        b"--b--\r\n",
        b"\r\n--b--\r\n--b\r\none\r\n--b--",
        b"--b--\r\nepilogue\r\n--b\r\none\r\n--b--",
        # Empty parts.
        b"--b\r\n--b--",
        b"--b\r\n\r\n--b--",
        b"--b\n--b\none\n--b--",
        b"--b\r\none\r\n--b\r\n--b--",
        b"--b\r\none\r\n--b\r\n\n--b--",
        # Another boundary, or a preamble that is too long.
        b"--c\r\none\r\n--c--",
        b"--B\r\none\r\n--B--",
        b"." * (MAX_PREAMBLE + 1) + b"\n--b\none\n--b--",
        b"\n--b2" * 2000 + b"\n--b\none\n--b--",
    ],
)
def test_a_body_that_may_not_be_whole_or_has_no_parts_is_refused(body: bytes) -> None:
    with pytest.raises(BadBatch):
        parts(body)


def test_a_body_cut_off_anywhere_is_refused() -> None:
    body = b"\r\n--b\r\nA: 1\r\n\r\none\r\n--b\r\nB: 2\r\n\r\ntwo\r\n--b--"

    for length in range(len(body)):
        with pytest.raises(BadBatch):
            parts(body[:length])
    assert len(parts(body)) == 2


def test_more_parts_than_the_limit_are_refused_and_as_many_are_not() -> None:
    body = b"--b\r\none\r\n" * 3 + b"--b--"

    assert len(parts(body, limit=3)) == 3
    with pytest.raises(TooManyItems) as caught:
        parts(body, limit=2)
    assert caught.value.limit == 2


def test_parts_beyond_the_limit_are_not_looked_at() -> None:
    with pytest.raises(TooManyItems):
        parts(b"--b\r\none\r\n" * 3 + b"--b\r\nnot closed", limit=2)


def test_a_limit_of_none_refuses_the_first_part() -> None:
    with pytest.raises(TooManyItems):
        parts(b"--b\r\none\r\n--b--", limit=0)


def test_a_body_within_a_body_is_split_where_it_stands() -> None:
    body = b"--b\r\nA: 1\r\n\r\n\r\n--b2\r\none\r\n--b2\r\ntwo\r\n--b2--\r\n--b\r\nlast\r\n--b--"
    [(start, end), last] = split(body, b"b", 10)
    _, content = part_of(body, start, end)

    assert [body[start:end] for start, end in split(body, b"b2", 10, content, end)] == [b"one", b"two"]
    assert body[slice(*last)] == b"last"


def test_a_body_within_a_body_ends_where_its_part_does() -> None:
    body = b"--b\r\nA: 1\r\n\r\n--i\r\none\r\n--b\r\nA: 2\r\n\r\n--i\r\ntwo\r\n--i--\r\n--b--"
    (start, end), _ = split(body, b"b", 10)
    _, content = part_of(body, start, end)

    with pytest.raises(BadBatch):
        split(body, b"i", 10, content, end)


def test_a_body_within_a_body_may_end_with_its_last_delimiter() -> None:
    body = b"--b\r\nA: 1\r\n\r\n--i\r\none\r\n--i--\r\n--b--"
    [(start, end)] = split(body, b"b", 10)
    _, content = part_of(body, start, end)

    assert [body[slice(*span)] for span in split(body, b"i", 10, content, end)] == [b"one"]


HOSTILE = [
    b"\n--bx",
    b"\n--b x",
    b"\r\n--b \t-",
    b"--b",
    b"\n--b--x",
    b"\n--b-",
    b"\r",
    b"\n",
    b"\r\n",
    b"-",
    b"\n-",
    b"\n--",
    b" ",
    b"\n--b" + b" " * 99 + b"x",
]


@pytest.mark.parametrize("chunk", HOSTILE)
def test_a_body_of_nothing_but_lines_that_are_nearly_delimiters_is_one_part(chunk: bytes) -> None:
    body = b"--b\r\n." + chunk * (50_000 // len(chunk))

    assert parts(body + b"\r\n--b--") == [body[5:]]
    with pytest.raises(BadBatch):
        parts(body)


@pytest.mark.parametrize("boundary", [b"-", b"--", b".*", b"(", b"a|b", b"[", b"\\", b"a b", b"\xff", b"=_+'?", b"-" * 200])
def test_no_byte_of_a_boundary_means_anything_else(boundary: bytes) -> None:
    body = b"--%b\r\none\r\n--%bx\r\n--%b\r\ntwo\r\n--%b--" % ((boundary,) * 4)

    assert parts(body, boundary) == [b"one\r\n--%bx" % boundary, b"two"]


# The head of a part


@pytest.mark.parametrize(
    ("written", "fields", "content"),
    [
        (b"Content-Type: application/http\r\n\r\nx", {"content-type": "application/http"}, b"x"),
        (b"Content-Type: application/http\n\nx", {"content-type": "application/http"}, b"x"),
        (b"content-type:application/http \t\r\n\r\n\r\nx", {"content-type": "application/http"}, b"\r\nx"),
        (b"Content-Transfer-Encoding:binary\r\nContent-Id: 1\r\n\r\n", {"content-transfer-encoding": "binary", "content-id": "1"}, b""),
        (b"Content-ID: <u +\n 1>\nA: b\n\nx", {"content-id": "<u + 1>", "a": "b"}, b"x"),
        (b"Content-ID: <u +\r\n\t 1>\r\n  2\r\n\r\nx", {"content-id": "<u + 1> 2"}, b"x"),
        (b"A:\r\nB: \r\n\r\n", {"a": "", "b": ""}, b""),
        (b"A: b:c\r\n\r\n", {"a": "b:c"}, b""),
        (b"A: \xe9\t\xc3\xa9\r\n\r\n", {"a": "\xe9\t\xc3\xa9"}, b""),
        (b"A: 1\r\na: 2\r\n\r\n", {"a": "2"}, b""),
        # No head.
        (b"\r\nx", {}, b"x"),
        (b"\nx", {}, b"x"),
        (b"\r\n\r\nx", {}, b"\r\nx"),
        (b"\n\r\nx", {}, b"\r\nx"),
        # No content.
        (b"A: b", {"a": "b"}, b""),
        (b"A: b\r\n", {"a": "b"}, b""),
        (b"A: b\nC: d\n", {"a": "b", "c": "d"}, b""),
        # The head ends at the first blank line, of the kind that its own first line has.
        (b"A: b\n\nGET / HTTP/1.1\r\nC: d\r\n\r\n", {"a": "b"}, b"GET / HTTP/1.1\r\nC: d\r\n\r\n"),
        (b"A: b\nC: d\n\nGET / HTTP/1.1\r\n\r\n", {"a": "b", "c": "d"}, b"GET / HTTP/1.1\r\n\r\n"),
        (b"A: b\r\n\r\nGET / HTTP/1.1\n\n", {"a": "b"}, b"GET / HTTP/1.1\n\n"),
        (b"A: b\r\n\r\n\r\n\r\n", {"a": "b"}, b"\r\n\r\n"),
    ],
)
def test_a_part_has_these_fields_and_this_content(written: bytes, fields: dict[str, str], content: bytes) -> None:
    # What has been read before may be remembered, and is read alike.
    for _ in range(2):
        assert part(written) == (fields, content)


@pytest.mark.parametrize(
    "written",
    [
        b"x",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET http://h/ HTTP/1.1\r\n\r\n",
        b"A : b\r\n\r\n",
        b" A: b\r\n\r\n",
        b"\tA: b\r\n\r\n",
        b": b\r\n\r\n",
        b"A\r\n\r\n",
        b"\xc3\x84: b\r\n\r\n",
        b"A: b\x00\r\n\r\n",
        b"A: b\x01\r\n\r\n",
        b"A: b\x7f\r\n\r\n",
        b"A: b\rC: d\r\n\r\n",
        b"A: b\r\nC: d\n\r\n\r\n",
        b"A: b\nC: d\r\n\n",
        b"A: b\n\r\nx",
        b"A: b\r\n\nx",
        b"A: b\r\n \t\r\nC: d\r\n\r\n",
        b"A: b\r\r\n\r\n",
        b"\rA: b\r\n\r\n",
        b"Content-Type: application/http\r\nContent-Type: text/plain\r\n\r\n",
        b"Content-Type: application/http\r\nContent-ID: 1\r\ncontent-id: 1\r\n\r\n",
        b"Content-Type: application/http\r\nContent-ID : 1\r\n\r\n",
        b"Content-Type: application/http\r\nContent-ID: 1\n2\r\n\r\n",
        b"Content-Type: application/http\r\nContent-ID: 1\r2\r\n\r\n",
        b"A: b\r\n" * (MAX_LINES + 1) + b"\r\n",
        b"A: b\r\n" + b" x\r\n" * MAX_LINES + b"\r\n",
        b"A: " + b"b" * MAX_LINE + b"\r\n\r\n",
        b"A: b\r\n" + b" " + b"b" * MAX_LINE + b"\r\n\r\n",
    ],
)
def test_what_is_no_head_of_a_part_is_refused(written: bytes) -> None:
    part(b"Content-Type: application/http\r\n\r\n")

    with pytest.raises(BadBatch):
        part(written)


def test_a_head_of_as_many_and_as_long_lines_as_allowed_is_read() -> None:
    assert len(part(b"".join(b"A%d: b\r\n" % number for number in range(MAX_LINES)) + b"\r\n")[0]) == MAX_LINES
    assert len(part(b"A: " + b"b" * (MAX_LINE - 3) + b"\r\n\r\n")[0]["a"]) == MAX_LINE - 3


@pytest.mark.parametrize("written", [b"A: b\r\n" * 20_000 + b"\r\n", b"A: " + b"b" * 70_000, b"A: b\n" + b" b\n" * 30_000 + b"\n"])
def test_a_head_larger_than_any_may_be_is_refused_before_it_is_read(written: bytes) -> None:
    with pytest.raises(TooLarge):
        part(written)


def test_what_is_remembered_of_a_head_does_not_outgrow_it() -> None:
    plain = b"Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"

    for value in (b"1", b"2", b"<a + 1>"):
        assert part(plain + b"Content-ID: " + value + b"\r\n\r\nx") == (
            {"content-type": "application/http", "content-transfer-encoding": "binary", "content-id": value.decode()},
            b"x",
        )
    assert part(plain + b"\r\nx") == ({"content-type": "application/http", "content-transfer-encoding": "binary"}, b"x")
    assert part(plain[:32] + b"\r\nx") == ({"content-type": "application/http"}, b"x")


def test_a_folded_line_is_not_remembered_by_its_beginning() -> None:
    for _ in range(2):
        assert part(b"Content-Type: a/folded;\r\n b=c\r\n\r\n")[0] == {"content-type": "a/folded; b=c"}
        assert part(b"Content-Type: a/folded;\r\n\r\n")[0] == {"content-type": "a/folded;"}


def test_boundaries_and_ids_are_not_remembered() -> None:
    for written in (
        b"Content-Type: multipart/mixed; boundary=secret\r\n\r\n",
        b"Content-Type: application/http; a=1\r\nContent-ID: secret\r\n\r\n",
        b"Authorization: secret\r\nContent-Type: a/b\r\n\r\n",
    ):
        part(written)

    assert not [head for head, fields in _heads.items() if b"secret" in head or "secret" in str(fields)]


def test_what_is_remembered_is_bounded() -> None:
    remembered = dict(_heads)
    try:
        for number in range(_MEMORY + 10):
            assert part(b"Content-Type: a/b%d\r\n\r\n" % number)[0] == {"content-type": f"a/b{number}"}
        assert len(_heads) == _MEMORY
    finally:
        _heads.clear()
        _heads.update(remembered)


def test_what_is_remembered_cannot_be_changed_by_who_is_given_it() -> None:
    written = b"MIME-Version: 1.0\r\n\r\n"
    part(written)
    fields = part(written)[0]

    with pytest.raises(TypeError):
        fields["content-id"] = "1"  # type: ignore[index]


# Against other readers, and against anything

boundaries = st.text("abzAZ09'()+_,-./:=?", min_size=1, max_size=40).map(str.encode)
tokens = st.text("abcXYZ019-", min_size=1, max_size=8).map(lambda word: "X-" + word)
values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=12)
fields_of_parts = st.lists(st.tuples(tokens, values), min_size=1, max_size=4, unique_by=lambda field: field[0].lower())
contents = st.lists(
    st.sampled_from([b"a", b"\r\n", b"\n", b"\r", b"\0", b"\xff", b"--", b"--b", b"\r\n--b", b"\r\n\r\n"]) | st.binary(max_size=5), max_size=8
).map(b"".join)
written_parts = st.lists(st.tuples(fields_of_parts, contents), min_size=1, max_size=5)


def is_clear_of(boundary: bytes, content: bytes) -> bool:
    return b"--" + boundary not in content


def written(sent: list[tuple[list[tuple[str, str]], bytes]], boundary: bytes, eol: bytes) -> bytes:
    pieces = []
    for fields, content in sent:
        head = b"".join(f"{name}: {value}".encode() + eol for name, value in fields)
        pieces.append(b"--" + boundary + eol + head + eol + content + eol)
    return b"".join(pieces) + b"--" + boundary + b"--" + eol


@given(written_parts, boundaries, st.sampled_from([b"\r\n", b"\n"]))
def test_what_was_written_is_read(sent: list[tuple[list[tuple[str, str]], bytes]], boundary: bytes, eol: bytes) -> None:
    # Before a bare LF, a CR at the end of a content would make another line end of it.
    sent = [(fields, content) for fields, content in sent if is_clear_of(boundary, content) and not (eol == b"\n" and content.endswith(b"\r"))]
    if not sent:
        return
    body = written(sent, boundary, eol)

    read = [(part_of(body, start, end), end) for start, end in split(body, boundary, 10)]

    assert [(dict(fields), body[content:end]) for (fields, content), end in read] == [
        ({name.lower(): value for name, value in fields}, content) for fields, content in sent
    ]


@given(written_parts, boundaries)
def test_parts_are_those_that_the_package_multipart_reads(sent: list[tuple[list[tuple[str, str]], bytes]], boundary: bytes) -> None:
    sent = [([("Content-Disposition", 'form-data; name="a"'), *fields], content) for fields, content in sent if is_clear_of(boundary, content)]
    if not sent:
        return
    body = written(sent, boundary, b"\r\n")

    theirs: list[tuple[dict[str, str], bytes]] = []
    with PushMultipartParser(boundary) as parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                theirs.append(({name.lower(): value for name, value in event.headerlist}, b""))
            elif event:
                theirs[-1] = (theirs[-1][0], theirs[-1][1] + event)

    ours = [(part_of(body, start, end), end) for start, end in split(body, boundary, 10)]
    assert [(dict(fields), body[content:end]) for (fields, content), end in ours] == theirs


texts = st.text("abc \n-:", max_size=30).map(lambda text: text.strip() + "x")


@given(
    st.lists(st.tuples(fields_of_parts, texts.map(str.encode)), min_size=1, max_size=5),
    st.text("abzAZ09_+-", min_size=1, max_size=40).map(str.encode),
    st.sampled_from([b"\r\n", b"\n"]),
    st.sampled_from([b"", b"preamble\n", b"\r\n"]),
)
def test_parts_are_those_that_the_package_email_reads(
    sent: list[tuple[list[tuple[str, str]], bytes]], boundary: bytes, eol: bytes, preamble: bytes
) -> None:
    sent = [(fields, content) for fields, content in sent if is_clear_of(boundary, content)]
    if not sent:
        return
    body = preamble + written(sent, boundary, eol)

    message = email.message_from_bytes(b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\n\n' + body, policy=email.policy.compat32)

    theirs = [(dict(found.items()), found.get_payload()) for found in message.walk() if not found.is_multipart()]
    ours = [(part_of(body, start, end), end) for start, end in split(body, boundary, 10)]
    assert [(dict(fields), body[content:end].decode()) for (fields, content), end in ours] == [
        ({name.lower(): value for name, value in fields.items()}, payload) for fields, payload in theirs
    ]


pieces = st.sampled_from(
    [
        b"--b",
        b"--b\r\n",
        b"--b\n",
        b"--b--",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b"\0",
        b"A: b",
        b":",
        b"--b2",
        b"Content-Type: application/http",
        b"x",
    ]
)


def read_line_by_line(body: bytes) -> list[bytes] | None:
    """The parts as the rules have it, without regard to time; None when there is something to refuse."""
    found: list[bytes] = []
    content: bytes | None = None
    for line in re.findall(rb"[^\n]*\n|[^\n]+\Z", body.removeprefix(b"\xef\xbb\xbf")):
        closes = re.fullmatch(rb"--b--[ \t]*(\r?\n)?", line)
        if closes or re.fullmatch(rb"--b[ \t]*\r?\n", line):
            if content is not None:
                found.append(re.sub(rb"\r?\n\Z", b"", content))
            if closes:
                return found if found and all(found) else None
            content = b""
        elif content is not None:
            content += line
    return None


bodies = st.lists(pieces | st.binary(max_size=4), max_size=20).map(b"".join)


@given(bodies | bodies.map(lambda body: b"--b\r\n" + body + b"\r\n--b--"))
def test_any_body_has_the_parts_that_the_rules_give_it_or_is_refused(body: bytes) -> None:
    try:
        found = parts(body)
    except BatchRejected:
        found = None

    assert found == read_line_by_line(body)


@given(bodies)
def test_any_part_has_fields_and_content_or_is_refused(whole: bytes) -> None:
    if not whole:
        return
    try:
        fields, content = part(whole)
    except BatchRejected:
        return
    assert whole.endswith(content)
    assert not {"\0", "\r", "\n"} & {letter for field in fields.items() for letter in "".join(field)}


@given(st.lists(pieces | st.binary(max_size=4), max_size=12).map(b"".join), st.binary(max_size=3), st.binary(max_size=3))
def test_nothing_outside_a_span_is_read(inside: bytes, before: bytes, behind: bytes) -> None:
    def read(body: bytes, start: int, end: int) -> object:
        try:
            fields, content = part_of(body, start, end)
        except BatchRejected as error:
            return str(error)
        return dict(fields), content - start

    if inside:
        alone = read(inside, 0, len(inside))
        assert read(before + inside + behind, len(before), len(before) + len(inside)) == alone


def test_a_head_has_one_line_at_least() -> None:
    assert head_of(b"", 0, 0) == ([""], 0)
    assert head_of(b"A\r\n\r\nB", 0, 6) == (["A"], 5)
