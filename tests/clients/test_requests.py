"""The session against real servers, in every dialect."""

import contextlib
import io
import json
import pickle
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth

from tests.apps import IMAGE
from tests.clients.conftest import Server
from tests.clients.saying import item, lines, saying, told
from tests.clients.site import MOST, TEXT
from tests.servers.run import gunicorn
from wsgibatch import BatchFailed, ConfigError, MissingResponse
from wsgibatch.clients.requests import Batching


def batching(server: Server, **more: Any) -> Batching:
    return Batching(server.batch, server.dialect, **more)


def shown(response: requests.Response) -> dict[str, Any]:
    """What ``/echo`` saw."""
    assert response.status_code == 200, response.text
    return dict(response.json())


def test_the_calls_of_a_block_travel_in_one_post(server: Server) -> None:
    before = server.seen()

    with batching(server) as session:
        found = [session.get(f"/echo/{number}", params={"q": "é&"}) for number in range(MOST)]

    assert [(shown(one)["path"], shown(one)["query"], shown(one)["item"]) for one in found] == [
        (f"/echo/{number}", "q=%C3%A9%26", number) for number in range(MOST)
    ]
    after = server.seen()
    assert after.pop("/batch") == before.pop("/batch", 0) + 1
    assert after == before, "nothing was sent besides"


def test_a_response_is_what_the_library_makes_of_one(server: Server) -> None:
    with batching(server) as session:
        found, text, missing, empty = session.get("/echo?a=b"), session.get("/text"), session.get("/status/404"), session.get("/empty")

    assert isinstance(found, requests.Response)
    assert (found.ok, found.url, found.request.method, found.history) == (True, f"{server.base}/echo?a=b", "GET", [])
    assert found.headers["content-type"] == "application/json"
    assert timedelta(0) < found.elapsed < timedelta(seconds=20)
    assert (text.text, text.content) == (TEXT, TEXT.encode())
    assert (missing.status_code, missing.ok, missing.json()) == (404, False, {"said": "404"})
    with pytest.raises(requests.HTTPError, match="404 Client Error"):
        missing.raise_for_status()
    assert (empty.status_code, empty.content) == (204, b"") or server.dialect == "aggregator"
    assert (found.headers.get("X-Shown") == "yes") == (server.dialect != "aggregator")


def test_a_response_survives_pickling(multipart_server: Server) -> None:
    with batching(multipart_server) as session:
        found = session.get("/echo")

    again = pickle.loads(pickle.dumps(found))  # noqa: S301 - it was pickled here

    assert (again.status_code, again.json(), again.headers) == (200, found.json(), found.headers)


def test_the_time_of_a_response_is_that_of_its_item(multipart_server: Server) -> None:
    with batching(multipart_server) as session:
        found = [session.get("/echo"), session.get("/text")]

    assert session.batch_response is not None
    told = re.findall(r"i[01];dur=([0-9.]+)", session.batch_response.headers["Server-Timing"])
    # Both are rounded, one to tenths of a millisecond and the other to microseconds.
    assert [one.elapsed.total_seconds() * 1e3 for one in found] == pytest.approx([*map(float, told)], abs=0.051)


EARLY = ("status_code", "headers", "content", "text", "ok", "encoding", "cookies", "url", "elapsed", "reason", "is_redirect", "links")


@pytest.mark.parametrize("name", EARLY)
def test_who_looks_too_early_is_told_so(multipart_server: Server, name: str) -> None:
    with batching(multipart_server) as session:
        found = session.get("/echo")
        with pytest.raises(ValueError, match="not there yet"):
            getattr(found, name)


@pytest.mark.parametrize("call", ["json", "raise_for_status", "__bool__", "close"])
def test_who_asks_too_early_is_told_so(multipart_server: Server, call: str) -> None:
    with batching(multipart_server) as session:
        found = session.get("/echo")
        with pytest.raises(ValueError, match="not there yet"):
            getattr(found, call)()
        assert repr(found) == "<Response [not there yet]>"
    assert repr(found) == "<Response [200]>"


def test_a_block_that_is_left_with_an_exception_sends_nothing(multipart_server: Server) -> None:
    before = multipart_server.seen()

    with contextlib.suppress(ZeroDivisionError), batching(multipart_server) as session:
        found = session.post("/echo", json={})
        _ = 1 / 0

    assert multipart_server.seen() == before
    with pytest.raises(ValueError, match="never sent"):
        _ = found.status_code


def test_a_block_without_calls_sends_nothing(multipart_server: Server) -> None:
    before = multipart_server.seen()

    with batching(multipart_server):
        pass

    assert multipart_server.seen() == before


def test_a_session_that_is_closed_with_calls_says_so(multipart_server: Server) -> None:
    session = batching(multipart_server)
    found = session.get("/echo")

    with pytest.warns(ResourceWarning, match="1 calls were never sent"):
        session.close()
    with pytest.raises(ValueError, match="never sent"):
        found.json()


def test_a_session_that_is_dropped_with_calls_says_so(multipart_server: Server) -> None:
    sessions = [batching(multipart_server)]
    sessions[0].get("/echo")

    with pytest.warns(ResourceWarning, match="1 calls were never sent"):
        sessions.clear()


def test_flush_sends_what_has_been_called_so_far(server: Server) -> None:
    session = batching(server)
    first = session.get("/echo/1")
    session.flush()
    assert shown(first)["path"] == "/echo/1"
    second = session.get("/echo/2")
    session.finalize()
    assert shown(second)["path"] == "/echo/2"
    session.close()


def test_a_call_that_opts_out_is_answered_at_once_and_follows_redirects(server: Server) -> None:
    with batching(server) as session:
        now = session.get("/moved", batch=False)
        assert (shown(now)["path"], shown(now)["item"]) == ("/echo", None)
        assert [one.status_code for one in now.history] == [302]


def test_a_redirect_in_a_batch_is_not_followed(server: Server) -> None:
    with batching(server) as session:
        found = session.get("/moved")

    assert (found.status_code, found.history) == (302, [])


def test_a_full_batch_is_sent(multipart_server: Server) -> None:
    before = multipart_server.posts()
    session = batching(multipart_server, max_items=2)
    found = [session.get(f"/echo/{number}") for number in range(3)]

    assert [shown(one)["path"] for one in found[:2]] == ["/echo/0", "/echo/1"]
    assert multipart_server.posts() == before + 1
    session.flush()
    assert shown(found[2])["path"] == "/echo/2"
    session.close()


@pytest.mark.parametrize("url", ["https://{}/echo", "http://elsewhere.example/echo", "http://localhost:1/echo", "//elsewhere.example/echo"])
def test_a_url_of_another_host_is_refused(multipart_server: Server, url: str) -> None:
    with batching(multipart_server) as session:
        with pytest.raises(requests.exceptions.InvalidURL, match="batch=False"):
            session.get(url.format(multipart_server.base.removeprefix("http://")))
        found = session.get(multipart_server.base + "/echo")

    assert shown(found)["path"] == "/echo"


def test_a_batch_url_has_to_be_absolute() -> None:
    with pytest.raises(ValueError, match="no http"):
        Batching("/batch")


@pytest.mark.parametrize(("name", "value"), [("max_items", "5"), ("max_items", 0), ("retries", -1), ("retries", None), ("on_result", 3)])
def test_an_argument_that_cannot_work_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: "):
        Batching("http://localhost/batch", **{name: value})


@pytest.mark.parametrize("dialect", ["auto", "unknown"])
def test_a_dialect_that_nothing_can_be_written_in_is_refused(dialect: str) -> None:
    with pytest.raises(ConfigError):
        Batching("http://localhost/batch", dialect)


def of_the_client(response: requests.Response) -> dict[str, str]:
    """The headers that say something of the client, and not of the connection."""
    headers = dict(shown(response)["headers"])
    for name in ("CONNECTION", "ACCEPT_ENCODING", "ODATA_VERSION"):
        headers.pop(name, None)
    if headers.get("ACCEPT") == "*/*":
        # As good as none.
        del headers["ACCEPT"]
    return headers


def test_what_belongs_to_the_session_belongs_to_each_call(server: Server) -> None:
    def prepared(session: requests.Session) -> requests.Session:
        session.auth = ("zoe", "secret")
        session.headers.update({"X-One": "1", "User-Agent": "test/1", "Accept-Language": "de"})
        session.cookies.set("k", "v")
        session.params = {"key": "x"}
        return session

    with batching(server) as session:
        prepared(session)
        found = session.get("/echo"), session.get("/echo/2?a=b")
    with requests.Session() as plain:
        alone = prepared(plain).get(server.base + "/echo", timeout=10)

    assert [of_the_client(one) for one in found] == [of_the_client(alone)] * 2
    assert [shown(one)["query"] for one in found] == ["key=x", "a=b&key=x"]


def test_what_belongs_to_one_call_belongs_to_no_other(server: Server) -> None:
    with batching(server) as session:
        session.auth = ("zoe", "secret")
        found = [
            session.get("/echo", headers={"X-One": "1", "Accept": "text/plain"}),
            session.get("/echo", auth=("ann", "else")),
            session.get("/echo", auth=lambda request: request),
            session.get("/echo", cookies={"k": "v"}),
            session.get("/echo", headers={"User-Agent": None}),
            session.get("/echo", headers={"Referer": "http://a.example/"}),
        ]

    headers = [of_the_client(one) for one in found]
    assert [one.get("X_ONE") for one in headers] == ["1", None, None, None, None, None]
    assert [one.get("ACCEPT") for one in headers] == ["text/plain", None, None, None, None, None]
    assert [one.get("COOKIE") for one in headers] == [None, None, None, "k=v", None, None]
    assert [one.get("REFERER") for one in headers] == [None, None, None, None, None, "http://a.example/"]
    zoe, ann = "Basic em9lOnNlY3JldA==", "Basic YW5uOmVsc2U="
    assert [one.get("AUTHORIZATION") for one in headers] == [zoe, ann, None, zoe, zoe, zoe]
    assert [one.get("USER_AGENT", "").partition("/")[0] for one in headers[:4]] == ["python-requests"] * 4


def test_auth_that_signs_requests_signs_each_call_and_the_batch(multipart_server: Server) -> None:
    signed: list[str] = []

    def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
        signed.append(request.path_url)
        request.headers["X-Signature"] = f"{request.method} {request.path_url}"
        return request

    with batching(multipart_server) as session:
        session.auth = sign
        found = session.get("/echo/1"), session.delete("/echo/2")

    assert [of_the_client(one)["X_SIGNATURE"] for one in found] == ["GET /echo/1", "DELETE /echo/2"]
    assert signed == ["/echo/1", "/echo/2", "/batch"]


def test_a_call_that_is_signed_keeps_its_signature_and_the_batch_has_another(server: Server) -> None:
    def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["X-Signature"] = f"{request.method} {request.path_url}"
        return request

    with batching(server) as session:
        session.auth = sign
        found = session.get("/echo/1")

    assert of_the_client(found)["X_SIGNATURE"] == "GET /echo/1"


def test_what_only_the_batch_would_be_sent_is_not_handed_down_to_its_calls(server: Server) -> None:
    with batching(server) as session:
        session.cookies.set("k", "v", path="/batch")
        session.headers["X-One"] = "1"
        found = session.get("/echo"), session.get("/echo", headers={"X-One": None})

    assert [of_the_client(one).get("COOKIE") for one in found] == [None, None]
    assert [of_the_client(one).get("X_ONE") for one in found] == ["1", None]


@pytest.fixture(scope="session")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The base url of a server that speaks TLS, and the file of the certificate that vouches for it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl that could make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = str(folder / "key.pem"), str(folder / "certificate.pem")
    made = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=test"]
    subprocess.run([*made, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True, timeout=60)
    with gunicorn("--keyfile", key, "--certfile", certificate, "tests.clients.site:make('multipart')") as base:
        yield base.replace("http:", "https:"), certificate


@pytest.mark.parametrize("whose", ["session", "call"])
def test_a_batch_is_sent_where_the_session_or_its_calls_trust_the_server(
    encrypted: tuple[str, str], whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, certificate = encrypted
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        # The library puts them above what the session says.
        monkeypatch.delenv(name, raising=False)
    with Batching(base + "/batch") as session:
        if whose == "session":
            session.verify = certificate
        found = [session.get(f"/echo/{number}", **({"verify": certificate} if whose == "call" else {})) for number in range(2)]

    assert [(shown(one)["path"], shown(one)["item"]) for one in found] == [("/echo/0", 0), ("/echo/1", 1)]


def test_a_batch_is_not_sent_where_nobody_trusts_the_server(encrypted: tuple[str, str]) -> None:
    session = Batching(encrypted[0] + "/batch")
    found = session.get("/echo")

    with pytest.raises(requests.exceptions.SSLError):
        session.flush()
    session.close()
    with pytest.raises(requests.exceptions.SSLError):
        _ = found.status_code


@pytest.mark.parametrize(("timeout", "summed"), [(7, (7, 21)), ((2, 3.5), (2, 10.5)), ((2, None), (2, None)), (None, None)])
def test_time_limits_of_calls_add_up(multipart_server: Server, timeout: Any, summed: Any) -> None:
    limits: list[Any] = []

    class Watching(HTTPAdapter):
        def send(self, *arguments: Any, **more: Any) -> requests.Response:
            limits.append(more["timeout"])
            return super().send(*arguments, **more)

    with batching(multipart_server) as session:
        session.mount("http://", Watching())
        for _ in range(3):
            session.get("/echo", timeout=timeout)

    assert limits == [summed]


def test_cookies_that_an_answer_sets_are_kept_by_the_session(server: Server) -> None:
    if server.dialect == "aggregator":
        pytest.skip("this dialect tells no headers")
    with batching(server) as session:
        found = session.get("/cookies")
    assert dict(found.cookies) == dict(session.cookies) == {"a": "1", "b": "2"}

    with batching(server) as other:
        other.cookies = session.cookies
        again = other.get("/echo")
    assert of_the_client(again)["COOKIE"] == "a=1; b=2"


BODIES = [
    pytest.param(lambda: {"json": {"a": "é"}}, b'{"a": "\\u00e9"}', "application/json", id="json"),
    pytest.param(lambda: {"data": {"a": "é"}}, b"a=%C3%A9", "application/x-www-form-urlencoded", id="form"),
    pytest.param(lambda: {"data": IMAGE, "headers": {"Content-Type": "image/png"}}, IMAGE, "image/png", id="binary"),
    pytest.param(lambda: {"data": IMAGE}, IMAGE, "", id="binary without a type"),
    pytest.param(lambda: {"data": "grün"}, "grün".encode(), "", id="text without a type"),
    pytest.param(lambda: {"data": io.BytesIO(IMAGE)}, IMAGE, "", id="a file"),
    pytest.param(lambda: {"data": iter([b"a", b"b"])}, b"ab", "", id="an iterator"),
    pytest.param(lambda: {"data": b"--x\r\n\r\n--x--", "headers": {"Content-Type": "text/plain"}}, b"--x\r\n\r\n--x--", "text/plain", id="lines"),
    pytest.param(dict, b"", "", id="none"),
]


@pytest.mark.parametrize(("given", "body", "content_type"), BODIES)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_body_arrives_as_it_is(multipart_server: Server, method: str, given: Callable[[], dict[str, Any]], body: bytes, content_type: str) -> None:
    with batching(multipart_server) as session:
        found = session.request(method, "/echo", **given())

    seen = shown(found)
    assert (seen["method"], seen["body"].encode("latin-1"), seen["type"]) == (method, body, content_type)
    assert seen["item"] == 0


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "image/png", None])
@pytest.mark.parametrize("body", [b'{"a": 1}', b'"dGV4dA=="', b"null", b"caf\xc3\xa9", IMAGE])
def test_a_body_arrives_as_it_is_in_every_dialect(server: Server, body: bytes, content_type: str | None) -> None:
    with batching(server) as session:
        found = session.post("/echo", data=body, headers={"Content-Type": content_type} if content_type else None)

    # Kinto says the charset of JSON whether the client did so or not.
    kind = shown(found)["type"].removesuffix("; charset=utf-8") if server.dialect == "kinto" else shown(found)["type"]
    assert (shown(found)["body"].encode("latin-1"), kind) == (body, content_type or "")


def test_calls_without_a_body_have_none(server: Server) -> None:
    with batching(server) as session:
        found = [session.get("/echo"), session.delete("/echo"), session.options("/echo"), session.post("/echo")]
        head = session.head("/echo")

    assert [(shown(one)["method"], shown(one)["body"]) for one in found] == [("GET", ""), ("DELETE", ""), ("OPTIONS", ""), ("POST", "")]
    assert (head.status_code, head.content) == (200, b"")


def test_files_are_uploaded(server: Server) -> None:
    with batching(server) as session:
        found = session.post("/echo", files={"image": ("a.png", IMAGE, "image/png")})

    assert IMAGE in shown(found)["body"].encode("latin-1")
    assert shown(found)["type"].startswith("multipart/form-data; boundary=")


def test_what_the_dialect_cannot_say_is_sent_alone_in_its_turn(server: Server) -> None:
    key = uuid4().hex
    with batching(server) as session:
        before = session.get(f"/busy/{key}/0")
        between = session.request("REPORT", f"/busy/{key}/0")
        after = session.get(f"/busy/{key}/0")

    assert [one.json()["asked"] for one in (before, between, after)] == [1, 2, 3]


def test_a_body_that_is_too_large_for_a_batch_is_sent_alone(server: Server) -> None:
    large = b"x" * ((11 if server.dialect == "multipart" else 2) << 20)
    with batching(server) as session:
        headers = {"Content-Type": "text/plain"}
        found = session.get("/echo/1"), session.post("/echo/2", data=large, headers=headers), session.get("/echo/3")

    assert [shown(one)["path"] for one in found] == ["/echo/1", "/echo/2", "/echo/3"]
    assert shown(found[1])["item"] is None
    assert shown(found[1])["body"] == large.decode()


def test_more_than_the_server_takes_is_split_as_it_says(server: Server) -> None:
    before = server.posts()
    with batching(server) as session:
        found = [session.get(f"/echo/{number}") for number in range(2 * MOST + 1)]
        session.flush()
        assert server.posts() == before + 1 + 3, "one that was refused, and three"
        more = [session.get(f"/echo/{number}") for number in range(MOST + 1)]

    assert [shown(one)["path"] for one in found] == [f"/echo/{number}" for number in range(2 * MOST + 1)]
    assert [shown(one)["path"] for one in more] == [f"/echo/{number}" for number in range(MOST + 1)]
    assert server.posts() == before + 1 + 3 + 2, "what was learnt is kept"


def test_what_waits_for_a_success_runs_after_it(server: Server) -> None:
    key = uuid4().hex
    with batching(server) as session:
        first = session.get(f"/busy/{key}/0")
        second = session.get(f"/busy/{key}/0", depends_on=first)
        third = session.get(f"/busy/{key}/0", depends_on=[first, second])

    assert [one.json()["asked"] for one in (first, second, third)] == [1, 2, 3]


def test_what_waits_for_a_failure_is_not_run_and_neither_is_what_waits_for_that(server: Server) -> None:
    with batching(server) as session:
        failed = session.get("/status/404")
        behind = session.get("/echo", depends_on=failed)
        further = session.get("/echo", depends_on=[behind])
        other = session.get("/echo")

    assert [one.status_code for one in (failed, behind, further, other)] == [404, 424, 424, 200]


def test_what_waits_may_wait_for_an_earlier_batch(server: Server) -> None:
    with batching(server) as session:
        good, bad = session.get("/echo"), session.get("/status/500")
        session.flush()
        after_good, after_bad = session.get("/echo", depends_on=good), session.get("/echo", depends_on=bad)

    assert (after_good.status_code, after_bad.status_code) == (200, 424)


def test_only_calls_of_the_session_can_be_waited_for(multipart_server: Server) -> None:
    with batching(multipart_server) as session:
        now = session.get("/echo", batch=False)
        with pytest.raises(ValueError, match="depends_on"):
            session.get("/echo", depends_on=now)
        with pytest.raises(ValueError, match="depends_on"):
            session.get("/echo", depends_on=session.get("/echo"), batch=False)


@pytest.mark.parametrize("sent", [False, True])
def test_a_call_of_another_session_cannot_be_waited_for(multipart_server: Server, sent: bool) -> None:
    with batching(multipart_server) as session, batching(multipart_server) as other:
        first = other.get("/echo")
        if sent:
            other.flush()
        with pytest.raises(ValueError, match="responses to earlier calls of this session are wanted"):
            session.get("/echo", depends_on=first)


def test_what_failed_for_a_while_is_sent_again_and_nothing_else(server: Server) -> None:
    key = uuid4().hex
    with batching(server, retries=2) as session:
        good = session.get(f"/busy/good{key}/0")
        busy = session.get(f"/busy/a{key}/2?after=0")
        limited = session.get(f"/busy/b{key}/1?after=0&status=429")
        behind = session.get(f"/busy/c{key}/0", depends_on=busy)
        broken = session.get(f"/busy/d{key}/1?status=500")
        hopeless = session.get(f"/busy/e{key}/9?after=0")

    assert [one.status_code for one in (good, busy, limited, behind, broken, hopeless)] == [200, 200, 200, 200, 500, 503]
    assert [one.json()["asked"] for one in (good, busy, limited, behind, broken, hopeless)] == [1, 3, 2, 1, 1, 3]


def test_nothing_is_sent_again_unless_asked(server: Server) -> None:
    with batching(server) as session:
        busy = session.get(f"/busy/{uuid4().hex}/1?after=0")

    assert (busy.status_code, busy.json()) == (503, {"asked": 1})


def test_a_pause_of_hours_is_not_waited_for(multipart_server: Server) -> None:
    with batching(multipart_server, retries=3) as session:
        busy = session.get(f"/busy/{uuid4().hex}/1?after=7200")

    assert (busy.status_code, busy.json()) == (503, {"asked": 1})


def test_each_response_is_told_of(server: Server) -> None:
    told: list[str] = []
    with batching(server, on_result=lambda response: told.append(response.json()["path"])) as session:
        for number in range(MOST + 3):
            session.get(f"/echo/{number}")

    assert sorted(told) == sorted(f"/echo/{number}" for number in range(MOST + 3))


def test_a_response_in_a_stream_is_told_of_before_the_others_are_there(server: Server) -> None:
    if server.dialect == "multipart":
        pytest.skip("this dialect has no stream of answers in any order")
    key = uuid4().hex

    def told(response: requests.Response) -> None:
        if response.url.endswith("/echo"):
            # Only now does the app answer the first call.
            requests.get(f"{server.base}/go/{key}", timeout=10)

    with batching(server, on_result=told) as session:
        slow, quick = session.get(f"/wait/{key}"), session.get("/echo")

    assert (slow.status_code, quick.status_code) == (200, 200)


def test_hooks_of_calls_and_of_the_session_see_each_response_and_not_the_batch(server: Server) -> None:
    seen: list[tuple[str, str]] = []
    with batching(server) as session:
        session.hooks["response"].append(lambda response, **_: seen.append(("session", response.json()["path"])))
        session.get("/echo/1", hooks={"response": lambda response, **_: seen.append(("call", response.json()["path"]))})
        session.get("/echo/2")

    assert sorted(seen) == [("call", "/echo/1"), ("session", "/echo/2")]


@pytest.mark.parametrize("whose", ["session", "call"])
def test_a_challenge_to_a_call_is_answered(whose: str) -> None:
    challenge = item(status=401, headers={"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'})

    def say(head: bytes, body: bytes) -> list[bytes]:
        if head.startswith(b"POST /batch"):
            answers = [challenge if one["url"] == "/closed" else item("open") for one in json.loads(body)["batch"]]
            return [told(200, json.dumps(answers).encode(), Content_Type="application/json")]
        return [told(200, b"secret")] if b'Digest username="zoe"' in head and b"X-Sent-By: an adapter" in head else [told(401)]

    auth = HTTPDigestAuth("zoe", "pw")
    with saying(say) as server, Batching(server.batch, "django") as session:
        session.mount(server.base, Marking())
        session.auth = auth if whose == "session" else None
        closed, free = session.get("/closed", **({"auth": auth} if whose == "call" else {})), session.get("/free")
        session.flush()

    assert (closed.status_code, closed.text, [one.status_code for one in closed.history]) == (200, "secret", [401])
    assert (free.status_code, free.text) == (200, "open")


class Marking(HTTPAdapter):
    """Stands for the proxies and certificates of a session's own adapter."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        request.headers["X-Sent-By"] = "an adapter"
        return super().send(request, *args, **kwargs)


def test_a_hook_that_raises_leaves_the_other_responses_alone(server: Server) -> None:
    def refuse(response: requests.Response, **_: Any) -> None:
        response.raise_for_status()

    session = batching(server)
    bad, good = session.get("/status/500", hooks={"response": refuse}), session.get("/echo")
    with pytest.raises(requests.HTTPError, match="500"):
        session.flush()
    session.close()

    assert shown(good)["path"] == "/echo"
    with pytest.raises(requests.HTTPError, match="500"):
        bad.json()


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_what_is_interrupted_says_so(multipart_server: Server, interrupt: type[BaseException]) -> None:
    def stop(_: requests.Response) -> None:
        raise interrupt

    session = batching(multipart_server, on_result=stop)
    first, second = session.get("/echo/1"), session.get("/echo/2")

    with pytest.raises(interrupt):
        session.flush()
    session.close()

    assert shown(first)["path"] == "/echo/1"
    with pytest.raises(MissingResponse, match=interrupt.__name__):
        _ = second.status_code


def test_what_was_told_of_a_call_stays_true_when_a_later_batch_is_refused() -> None:
    def say(_head: bytes, body: bytes) -> list[bytes]:
        return [told(200, b"<html>") if b"/0" in body else told(500)]

    with saying(say) as server:
        session = Batching(server.batch, "django")
        # Cookies are those of a whole batch, so the second travels behind the first.
        first, second = session.get("/0", cookies={"a": "b"}), session.get("/1")
        with pytest.raises(BatchFailed):
            session.flush()
        session.close()

    with pytest.raises(MissingResponse):
        _ = first.status_code
    with pytest.raises(BatchFailed):
        _ = second.status_code


def test_batches_that_threads_send_at_the_same_time_keep_their_answers(multipart_server: Server) -> None:
    both = Barrier(2)

    class Meeting(Batching):
        def after_response(self) -> None:
            both.wait(20)

    session = Meeting(multipart_server.batch)
    made: list[requests.Response] = []
    with ThreadPoolExecutor(2) as pool:
        sending = []
        for number in range(2):
            made.append(session.get(f"/echo/{number}"))
            sending.append(pool.submit(session.flush))
            while session._pending:
                time.sleep(0.001)
        for one in sending:
            one.result()
    session.close()

    assert [shown(one)["path"] for one in made] == ["/echo/0", "/echo/1"]


def test_the_connection_of_an_answer_that_is_not_read_to_its_end_is_closed() -> None:
    with saying(lines({"no": "answer"}, then=b"\n")) as server:
        session = Batching(server.batch, "django")
        session.get("/")
        with pytest.raises(MissingResponse):
            session.flush()
        # The session is open, and has kept the response.
        assert server.left.wait(20)
        session.close()


def test_a_host_may_have_letters_of_any_language() -> None:
    session = Batching("http://bücher.example/bätch")

    for url in ("/a", "http://bücher.example/b", "http://xn--bcher-kva.example/c"):
        session.get(url)

    with pytest.warns(ResourceWarning, match="3 calls"):
        session.close()


def test_a_subclass_may_look_at_the_batch_before_and_after(server: Server) -> None:
    class Watching(Batching):
        def before_request(self) -> None:
            assert self.batch_request is not None
            self.batch_request.headers["X-Batch"] = "seen"

        def after_response(self) -> None:
            assert self.batch_response is not None
            statuses.append(self.batch_response.status_code)

    statuses: list[int] = []
    with Watching(server.batch, server.dialect) as session:
        found = session.get("/echo")

    assert (shown(found)["headers"]["X_BATCH"], statuses) == ("seen", [200])


def test_a_key_for_the_whole_batch_is_none_of_its_calls_and_theirs_is_none_of_the_batch() -> None:
    class Once(Batching):
        def before_request(self) -> None:
            assert self.batch_request is not None
            self.batch_request.headers["Idempotency-Key"] = "whole"

    bodies: list[bytes] = []

    def say(_head: bytes, body: bytes) -> list[bytes]:
        bodies.append(body)
        return [told(200, json.dumps([item(), item()]).encode(), Content_Type="application/json")]

    with saying(say) as server:
        with Once(server.batch, "django") as session:
            session.post("/a", headers={"Idempotency-Key": "own"})
            session.post("/b")
        [head] = server.heads

    assert b"\r\nIdempotency-Key: whole\r\n" in head
    assert [one["headers"].get("Idempotency-Key") for one in json.loads(bodies[0])["batch"]] == ["own", None]


def test_a_prepared_request_travels_with_the_others(server: Server) -> None:
    with batching(server) as session:
        found = session.send(session.prepare_request(requests.Request("GET", server.base + "/echo")))

    assert shown(found)["item"] == 0


def test_a_batch_that_is_refused_fails_with_the_document_of_the_server(multipart_server: Server) -> None:
    session = Batching(multipart_server.batch, "graph")
    found = session.get("/echo")

    with pytest.raises(BatchFailed) as failed:
        session.flush()
    session.close()

    error = failed.value
    assert isinstance(error, requests.HTTPError)
    assert (error.status, error.document["error"]["innererror"]["code"]) == (415, "unknown-media-type")
    assert error.response is not None
    assert error.response.json() == error.document
    assert str(error).startswith("The batch was answered with 415: ")
    with pytest.raises(BatchFailed):
        found.json()


def test_a_batch_whose_answer_a_proxy_has_lost_may_have_run() -> None:
    with saying(lambda _head, _body: [told(504, b"<h1>Gateway Timeout</h1>")]) as server:
        session = Batching(server.batch)
        session.post("/echo")
        with pytest.raises(requests.HTTPError, match=r"504 \(it may have run\)") as failed:
            session.flush()
        session.close()

    assert isinstance(failed.value, BatchFailed)
    assert failed.value.may_have_run


def test_a_server_that_is_not_there_is_an_error_of_the_library_for_each_call() -> None:
    session = Batching("http://127.0.0.1:1/batch")
    found = session.get("/echo")

    with pytest.raises(requests.ConnectionError):
        session.flush()
    session.close()

    with pytest.raises(requests.ConnectionError):
        found.json()


def test_an_answer_that_is_none_leaves_each_call_without_one(multipart_server: Server) -> None:
    session = Batching(multipart_server.base + "/text", "multipart")
    found = session.get("/echo")

    with pytest.raises(MissingResponse, match="GET /echo: the answer to the batch cannot be read"):
        session.flush()
    session.close()
    with pytest.raises(MissingResponse):
        found.json()


def test_a_batch_that_is_sent_elsewhere_says_where(multipart_server: Server) -> None:
    session = Batching(multipart_server.base + "/moved")
    session.get("/echo")

    with pytest.raises(BatchFailed, match="it is sent on to /echo"):
        session.flush()
    session.close()


def test_a_call_to_the_endpoint_itself_is_no_item(multipart_server: Server) -> None:
    with batching(multipart_server) as session:
        found = session.post("/batch", data=b"[]", headers={"Content-Type": "application/json"})

    assert found.status_code == 415


def test_without_requests_one_sentence_says_what_to_install() -> None:
    code = "import sys; sys.modules['requests'] = None; import wsgibatch.clients.requests"

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert ended.stderr.splitlines()[-1].startswith("ImportError: wsgibatch.clients.requests needs requests (")
    assert ended.stderr.splitlines()[-1].endswith("): pip install 'wsgibatch[requests]'")
