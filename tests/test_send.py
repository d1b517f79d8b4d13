"""``wsgibatch send``, run as its users run it, against a real server."""

import base64
import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Server
from tests.clients.saying import head_of, item, items, lines, saying, told
from tests.servers.run import gunicorn
from tests.test_cli import COMMAND
from wsgibatch import ConfigError, SubRequest, SubResponse
from wsgibatch._send import Outcome, Written, document, shown, written
from wsgibatch.dialects.django import DjangoDialect

LINES = """\
# what is asked
GET /echo/1?a=b
/text

POST /echo {"a": 1}
GET /status/404
GET /bin
"""

BATCHES = {
    "django": [{"method": "GET", "url": "/echo/1"}, {"method": "POST", "url": "/echo/2", "body": "x", "headers": {"Content-Type": "text/plain"}}],
    "django, wrapped": {"batch": [{"method": "GET", "url": "/echo/1"}, {"method": "GET", "url": "/echo/2"}]},
    "aggregator": ["/echo/1", "/echo/2"],
    "graph": {"requests": [{"id": "a", "method": "GET", "url": "/echo/1"}, {"id": "b", "method": "GET", "url": "/echo/2", "dependsOn": ["a"]}]},
}

MULTIPART = (
    b"--b\r\nContent-Type: application/http\r\nContent-ID: <a>\r\n\r\nGET /echo/1 HTTP/1.1\r\n\r\n"
    b"--b\r\nContent-Type: application/http\r\n\r\nPOST /echo/2 HTTP/1.1\r\nContent-Length: 1\r\n\r\nx\r\n--b--\r\n"
)


@pytest.fixture(scope="module")
def auto() -> Iterator[Server]:
    with gunicorn("--worker-class", "gthread", "--threads", "8", "tests.clients.site:make('auto')") as base:
        yield Server(base, "auto")


def sent(*arguments: str, batch: bytes = b"") -> tuple[int, str, str]:
    """Exit status, output and error output."""
    ended = subprocess.run([COMMAND, "send", *arguments], input=batch, check=False, capture_output=True, timeout=60)
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


def items_sent(*arguments: str, batch: bytes = b"") -> list[dict[str, Any]]:
    status, out, err = sent("--json", *arguments, batch=batch)
    assert (status, err) == (0, "")
    return list(json.loads(out)["items"])


def test_a_batch_in_lines_is_shown_as_a_table(auto: Server, tmp_path: Path) -> None:
    (tmp_path / "batch.txt").write_text(LINES)

    status, out, err = sent(auto.batch, str(tmp_path / "batch.txt"))

    lines = out.splitlines()
    assert (status, err) == (1, "")
    assert [line.split()[:3] for line in lines[:-1]] == [
        ["GET", "/echo/1?a=b", "200"],
        ["GET", "/text", "200"],
        ["POST", "/echo", "200"],
        ["GET", "/status/404", "404"],
        ["GET", "/bin", "200"],
    ]
    assert all(re.search(r" [0-9]+ +[0-9]+\.[0-9] ms +=+", line) for line in lines[:-1])
    assert re.fullmatch(r"  5 requests: 1 failed\. [0-9.]+ ms, [0-9]+ bytes sent, [0-9]+ received\.", lines[-1])


@pytest.mark.parametrize("form", BATCHES)
def test_a_batch_in_json_is_sent_as_it_stands(auto: Server, form: str) -> None:
    before = auto.posts()

    found = items_sent(auto.batch, batch=json.dumps(BATCHES[form]).encode())

    assert [(item["status"], item["url"], item["body"]["path"], item["body"]["item"]) for item in found] == [
        (200, "/echo/1", "/echo/1", 0),
        (200, "/echo/2", "/echo/2", 1),
    ]
    assert all(item["duration"] > 0 for item in found)
    assert auto.posts() == before + 1


def test_a_batch_in_odata_is_told_by_its_header(auto: Server) -> None:
    batch = {"requests": [{"id": "a", "method": "GET", "url": "/echo/1"}, {"id": "b", "method": "GET", "url": "$a", "dependsOn": ["a"]}]}

    status, out, _ = sent("--json", "-H", "OData-Version: 4.01", auto.batch, batch=json.dumps(batch).encode())

    assert status == 0
    assert [item["body"]["path"] for item in json.loads(out)["items"]] == ["/echo/1", "/echo/1"]


@pytest.mark.parametrize("more", [[], ["-H", "odata-version: 4.0"]])
def test_a_file_in_odata_is_sent_with_its_version(auto: Server, more: list[str]) -> None:
    # Of a group Graph knows nothing.
    batch = json.dumps({"requests": [{"id": "a", "method": "GET", "url": "/echo", "atomicityGroup": "g"}]}).encode()

    assert [found["status"] for found in items_sent("--dialect", "odata", *more, auto.batch, batch=batch)] == [200]


def test_another_host_may_be_named(auto: Server) -> None:
    [found] = items_sent("-H", "Host: shop.example", auto.batch, batch=b"/echo")

    assert found["body"]["headers"]["HOST"] == "shop.example"


@pytest.mark.parametrize("more", [[], ["-H", "authorization: Bearer x"]])
def test_credentials_of_the_url_are_sent_unless_there_are_others(auto: Server, more: list[str]) -> None:
    [found] = items_sent(*more, auto.batch.replace("://", "://zo%C3%AB:a:b@"), batch=b"/echo")

    assert found["body"]["headers"]["AUTHORIZATION"] == ("Bearer x" if more else "Basic " + base64.b64encode("zoë:a:b".encode()).decode())


def test_credentials_of_the_url_are_not_shown() -> None:
    status, _, err = sent("http://zoe:secret@127.0.0.1:1/batch", batch=b"/echo")

    assert (status, "does not answer" in err, "secret" in err) == (1, True, False)


def test_without_a_standard_input_it_says_so() -> None:
    ended = subprocess.run(["/bin/sh", "-c", '"$0" send http://127.0.0.1:1/batch <&-', COMMAND], check=False, capture_output=True, timeout=60)

    assert (ended.returncode, ended.stderr) == (2, b"wsgibatch: there is no standard input: name a file\n")


def test_one_request_is_one(auto: Server) -> None:
    assert "  1 request: " in sent("--plain", auto.batch, batch=b"/echo")[1]


def test_a_batch_in_multipart_is_sent_as_it_stands(auto: Server) -> None:
    found = items_sent(auto.batch, batch=MULTIPART)

    assert [(item["body"]["method"], item["body"]["path"], item["body"]["body"]) for item in found] == [
        ("GET", "/echo/1", ""),
        ("POST", "/echo/2", "x"),
    ]


@pytest.mark.parametrize("dialect", ["django", "graph", "odata", "multipart"])
def test_lines_are_sent_in_any_dialect(auto: Server, dialect: str) -> None:
    found = items_sent("--dialect", dialect, auto.batch, "-", batch=b'GET /echo/1\nPUT /echo/2 {"a": "b c"}\n')

    assert [(item["body"]["method"], item["body"]["path"], item["body"]["body"]) for item in found] == [
        ("GET", "/echo/1", ""),
        ("PUT", "/echo/2", '{"a": "b c"}'),
    ]


def test_headers_are_those_of_the_batch(auto: Server) -> None:
    [found] = items_sent("-H", "Authorization: Bearer x", "-H", "X-One:1", auto.batch, batch=b'["/echo"]')

    assert found["body"]["headers"]["AUTHORIZATION"] == "Bearer x"
    assert found["body"]["headers"]["X_ONE"] == "1"


def test_in_json_text_is_text_and_what_is_neither_is_base64(auto: Server) -> None:
    text, image, empty = items_sent(auto.batch, batch=b"/text\n/bin\n/empty\n")

    assert text["body"] == "Grüße aus dem Süden"
    assert (image["encoding"], image["size"], image["body"][:8]) == ("base64", 256, "AAECAwQF")
    assert (empty["status"], empty["body"], empty["size"]) == (204, "", 0)


def test_the_exit_status_says_whether_all_has_gone_well(auto: Server) -> None:
    assert sent(auto.batch, batch=b"/echo")[0] == 0
    assert sent(auto.batch, batch=b"/echo\n/status/500")[0] == 1


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        pytest.param(b"", "there is nothing to send", id="nothing"),
        pytest.param(b"# only\n\n", "there is nothing to send", id="only a comment"),
        pytest.param(b"GET\n", "line 1: a method and a path are wanted", id="no path"),
        pytest.param(b"/a\n1 /b\n", "line 2", id="number"),
        pytest.param(b"GET /a HTTP/1.1\n", "only a body in JSON can stand behind", id="version"),
        pytest.param(b"/a?q=b c\n", "only a body in JSON can stand behind", id="blank in a query"),
        pytest.param(b"hello world\n", "a method and a path are wanted", id="words"),
        pytest.param(b"[1, 2]", "this is no batch", id="numbers"),
        pytest.param(b'[{"method": "GET", "url": 5}]', "this is no batch: ", id="wrong type"),
        pytest.param(b'{"requests": [{"id": "a", "url": "/"}]}', "(at /requests/0)", id="a place"),
        pytest.param(b"--b\r\nnonsense", "this is no batch", id="broken multipart"),
    ],
)
def test_what_is_no_batch_is_a_wrong_question(auto: Server, batch: bytes, words: str) -> None:
    before = auto.posts()

    status, out, err = sent(auto.batch, batch=batch)

    assert (status, out) == (2, "")
    assert err.startswith("wsgibatch: ")
    assert words in err
    assert auto.posts() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["http://127.0.0.1/a b"], "percent-encoded", id="blank"),
        pytest.param(["http://127.0.0.1/ä"], "percent-encoded", id="letter"),
        pytest.param(["http://bücher.example/"], "percent-encoded", id="host"),
        pytest.param(["ftp://127.0.0.1/batch"], "no http or https url", id="scheme"),
        pytest.param(["127.0.0.1:8000/batch"], "no http or https url", id="no scheme"),
        pytest.param(["http://127.0.0.1:port/batch"], "no http or https url", id="port"),
        pytest.param(["http:///batch"], "no http or https url", id="no host"),
        pytest.param(["http://127.0.0.1/batch", "/nowhere/at/all"], "No such file", id="file"),
        pytest.param(["-H", "nonsense", "http://127.0.0.1/batch"], "is no header", id="header"),
        pytest.param(["-H", "X: a\nY: b", "http://127.0.0.1/batch"], "is no header", id="two headers"),
        pytest.param(["-H", "X: 你", "http://127.0.0.1/batch"], "is no header", id="letters"),
        pytest.param(["--dialect", "grph", "http://127.0.0.1/batch"], "did you mean 'graph'", id="dialect"),
    ],
)
def test_a_wrong_question_is_told(arguments: list[str], words: str) -> None:
    status, out, err = sent(*arguments, batch=b"/echo")

    assert (status, out) == (2, "")
    assert words in err


def test_a_server_that_is_not_there_is_told() -> None:
    status, _, err = sent("http://127.0.0.1:1/batch", batch=b"/echo")

    assert status == 1
    assert err.startswith("wsgibatch: http://127.0.0.1:1/batch does not answer: ConnectionRefusedError")


def test_a_batch_that_is_refused_is_told_with_the_reason(auto: Server) -> None:
    status, out, err = sent(auto.batch, batch=b"/echo\n" * 11)

    assert (status, out) == (1, "")
    assert err == "wsgibatch: The batch was answered with 413: The batch holds 11 requests and at most 10 are accepted: split it.\n"


def test_an_answer_that_is_none_is_told(auto: Server) -> None:
    status, out, _ = sent(auto.base + "/text", batch=b"/echo")

    assert status == 1
    assert "no answer" in out
    assert "the answer to the batch cannot be read" in out


@pytest.mark.parametrize(("options", "progress"), [([], b"1/2"), (["--plain"], b"1 of 2")])
def test_on_a_terminal_it_shows_how_many_have_arrived(auto: Server, options: list[str], progress: bytes) -> None:
    key = f"terminal{len(options)}"
    reading, writing = pty.openpty()
    with subprocess.Popen([COMMAND, "send", *options, auto.batch], stdin=subprocess.PIPE, stdout=writing, stderr=writing) as process:
        os.close(writing)
        assert process.stdin is not None
        process.stdin.write(f"/wait/{key}\n/echo\n".encode())
        process.stdin.close()
        seen = b""
        while progress not in seen:
            seen += os.read(reading, 1000)
        # Only now does the app answer the first request.
        assert sent(auto.batch, batch=f"/go/{key}".encode())[0] == 0
        while b"requests:" not in seen:
            seen += os.read(reading, 1000)
    os.close(reading)
    assert process.returncode == 0
    assert (b"\x1b[" in seen) == (not options)


ORDERS = "\x1b[31m\x9b2J\x07\u202e"
"""What a terminal would follow."""


@pytest.mark.parametrize("status", [302, 500])
def test_a_refusal_cannot_steer_the_terminal(status: int) -> None:
    body = json.dumps({"detail": ORDERS}).encode() if status == 500 else b""
    with saying(lambda _head, _body: [told(status, body, Location="http://elsewhere.example/\x1b[31m")]) as server:
        _, _, err = sent(server.batch, batch=b"/a")

    assert err.rstrip("\n").isprintable()
    assert "\\x1b[31m" in err


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_an_answer_in_json_cannot_steer_the_terminal_and_says_the_same(encoding: str) -> None:
    said = ORDERS + "ü你\U0001f600"
    with saying(items(item(said, headers={"X-Said": said}))) as server:
        env = {**os.environ, "PYTHONIOENCODING": encoding}
        out = subprocess.run([COMMAND, "send", "--json", server.batch], input=b"/a", check=True, capture_output=True, env=env, timeout=60).stdout

    assert out.decode(encoding).replace("\n", "").isprintable()
    found = json.loads(out)["items"][0]
    assert (found["body"], found["headers"]) == (said, [["X-Said", said]])


def test_a_file_cannot_steer_the_terminal() -> None:
    asked = [{"method": "G\x1b[31mT", "url": "/" + ORDERS}]
    with saying(items(item())) as server:
        status, out, _ = sent(server.batch, batch=json.dumps(asked).encode())

    assert (status, out.replace("\n", "").isprintable()) == (0, True)


def test_what_standard_output_cannot_spell_is_escaped() -> None:
    with saying(items(item())) as server:
        env = {**os.environ, "PYTHONIOENCODING": "ascii"}
        ended = subprocess.run([COMMAND, "send", server.batch], input="/你".encode(), check=False, capture_output=True, env=env, timeout=60)

    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"/\\u4f60" in ended.stdout


def test_times_that_cannot_be_are_not_drawn() -> None:
    with saying(lines({"index": 0, "started": 1e308, "duration": 1e308, **item()}, {"complete": True})) as server:
        status, out, err = sent(server.batch, batch=b"/a")

    assert (status, err) == (0, "")
    assert "200" in out


def test_json_that_is_too_deep_is_text() -> None:
    deep = "[" * 5000 + "]" * 5000
    with saying(items(item(deep, headers={"Content-Type": "application/json"}))) as server:
        assert items_sent(server.batch, batch=b"/a")[0]["body"] == deep


def test_what_arrived_before_an_answer_broke_off_is_shown() -> None:
    said = json.dumps({"index": 1, **item()}).encode() + b"\n"
    head = head_of(200, Content_Type="application/x-ndjson", Transfer_Encoding="chunked")
    with saying(lambda _head, _body: [head + b"%x\r\n%b\r\n" % (len(said), said)]) as server:
        status, out, err = sent(server.batch, batch=b"/a\n/b")

    assert (status, err) == (1, "")
    assert [line.split()[:4] for line in out.splitlines()[:2]] == [["GET", "/a", "no", "answer"], ["GET", "/b", "200", "1"]]
    assert "broke off" in out


def test_what_arrived_before_an_answer_in_parts_broke_off_is_shown() -> None:
    said = b"--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx\r\n--b\r\nContent-Type: appl"
    head = head_of(200, Content_Type="multipart/mixed; boundary=b", Transfer_Encoding="chunked")
    with saying(lambda _head, _body: [head + b"%x\r\n%b\r\n" % (len(said), said)]) as server:
        status, out, err = sent("--dialect", "multipart", server.batch, batch=b"/a\n/b")

    assert (status, err) == (1, "")
    assert [line.split()[:4] for line in out.splitlines()[:2]] == [["GET", "/a", "200", "1"], ["GET", "/b", "no", "answer"]]
    assert "broke off" in out


def test_lines_without_an_end_are_not_read_for_ever() -> None:
    with saying(lines({"index": 0, **item()}, then=b"<html>\n")) as server:
        status, out, _ = sent(server.batch, batch=b"/a\n/b")

    assert (status, "cannot be read" in out) == (1, True)


@pytest.mark.parametrize("option", ["--plain", "--json"])
def test_it_ends_quietly_when_nobody_reads_on(auto: Server, option: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run([COMMAND, "send", option, auto.batch], input=b"/echo", check=False, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)

    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.parametrize(("to", "status", "words"), [(">/dev/full", 1, "No space left"), (">&-", 0, "")])
def test_a_standard_output_that_takes_nothing_is_told(auto: Server, to: str, status: int, words: str) -> None:
    ended = subprocess.run(["bash", "-c", f"echo /echo | '{COMMAND}' send {auto.batch} {to}"], check=False, capture_output=True, timeout=60)

    assert (ended.returncode, ended.stdout) == (status, b"")
    assert "Traceback" not in ended.stderr.decode()
    assert words in ended.stderr.decode()


def line(text: bytes) -> list[tuple[str, str, bytes]]:
    return [(request.method, request.target, request.body) for request in written(text, "auto", []).requests]


def test_a_line_is_a_method_a_path_and_a_body() -> None:
    assert line(b'get /a\n/b?c=d\nhttp://h/x\nPOST /e  {"f": " g "} \nDELETE http://h/y\n') == [
        ("GET", "/a", b""),
        ("GET", "/b?c=d", b""),
        ("GET", "http://h/x", b""),
        ("POST", "/e", b'{"f": " g "}'),
        ("DELETE", "http://h/y", b""),
    ]


def test_a_mark_of_the_encoding_in_front_is_none_of_the_batch() -> None:
    assert line(b"\xef\xbb\xbf/a\r\n/b\r\n") == [("GET", "/a", b""), ("GET", "/b", b"")]
    assert line(b'\xef\xbb\xbf[{"method": "GET", "url": "/a"}]') == [("GET", "/a", b"")]


def test_a_body_may_hold_what_ends_lines_elsewhere() -> None:
    body = '{"a": "\u2028\x85"}'.encode()

    assert line(b"POST /a " + body) == [("POST", "/a", body)]


def test_what_the_dialect_cannot_say_is_a_wrong_question() -> None:
    with pytest.raises(ConfigError, match="name another --dialect"):
        written(b"POST /a {}", "aggregator", [])


def outcome(*answers: SubResponse | None) -> tuple[Written, Outcome]:
    requests = [SubRequest(number, "GET", f"/{'x' * 20 * number}", []) for number in range(len(answers))]
    return Written(DjangoDialect(), [], b"", requests), Outcome(list(answers), 10, 20, 0.5, "cut off")


def table(width: int, *answers: SubResponse | None) -> list[str]:
    batch, came = outcome(*answers)
    return ["".join(text for text, _ in pieces).rstrip() for pieces in shown(batch, came, width, " ===")]


def test_a_table_has_status_size_duration_and_a_waterfall() -> None:
    found = table(
        72,
        SubResponse(200, "OK", [], b"12345", started=0.0, duration=0.1),
        SubResponse(500, "", [], b"", started=0.1, duration=0.3),
        None,
        SubResponse(0, "", [], b"x"),
    )

    assert found == [
        "  GET  /                         200         5   100.0 ms  ===",
        "  GET  /xxxxxxxxxxxxxxxxxxxx     500         0   300.0 ms     ==========",
        "  GET  /xxxxxxxxxxxxxxxxxxxx...  no answer",
        "  GET  /xxxxxxxxxxxxxxxxxxxx...    -         1",
        "  4 requests: 2 failed. 500.0 ms, 10 bytes sent, 20 received.",
        "  cut off",
    ]


def test_a_call_without_an_answer_has_no_status_in_json() -> None:
    found = json.loads(document(*outcome(None)))

    assert (found["items"], found["failed"], found["fault"]) == (
        [{"index": 0, "id": None, "method": "GET", "url": "/", "status": None}],
        1,
        "cut off",
    )
