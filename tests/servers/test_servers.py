"""The same batch through real servers."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.apps import show
from tests.gateway import environ_of, get, send
from tests.servers import run, wire
from wsgibatch import BatchMiddleware

Server = Callable[[str], contextlib.AbstractContextManager[str]]

SERVERS: dict[str, Server] = {
    "gunicorn sync": lambda app: run.gunicorn(app),
    "gunicorn gthread": lambda app: run.gunicorn("--worker-class", "gthread", "--threads", "4", app),
    "gunicorn gthread preload": lambda app: run.gunicorn("--worker-class", "gthread", "--threads", "4", "--workers", "2", "--preload", app),
    "waitress": lambda app: run.waitress(app),
    "wsgiref": lambda app: run.wsgiref(app),
}

ITEMS = [
    get("/a?b=c%20d"),
    get("/%C3%BC//x/../%ff", X_Echo="\xff"),
    get("/bin"),
    get("/text"),
    get("/missing"),
    get("/empty"),
    get("/raise"),
    get("//elsewhere.example/"),
    {"method": "HEAD", "url": "/a"},
    {"method": "POST", "url": "/people", "headers": {"Content-Type": "text/plain"}, "body": "Zoë\r\n"},
    {"method": "PUT", "url": "/people/1", "body": {"name": "Zoë"}},
    {"method": "DELETE", "url": "/people/1"},
    {"method": "TRACE", "url": "/"},
]
BATCHES = {
    "every kind of item": json.dumps(ITEMS).encode(),
    "wrapped": json.dumps({"batch": ITEMS[:3]}).encode(),
    "routes": json.dumps(["/a", "/bin", "/text", "/raise"]).encode(),
    "broken": b"[",
    "too many": json.dumps([get("/a")] * 21).encode(),
}


def plain(body: bytes) -> bytes:
    """*body* without its durations."""
    return re.sub(rb'"batch_requests.duration":[0-9.e-]+', b'"batch_requests.duration":0', body)


def told(answer: wire.Answer) -> tuple[int, dict[str, str], bytes]:
    """What we said of what a server sent."""
    ours = ("Content-Type", "Cache-Control", "X-Content-Type-Options")
    return answer.status, {name: value for name, value in answer.headers if name in ours}, plain(answer.body)


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    with SERVERS[request.param]("tests.servers.site:threads") as base:
        yield base


@pytest.mark.parametrize("batch", BATCHES)
def test_a_batch_is_answered_with_the_same_bytes_by_every_server(server: str, batch: str) -> None:
    here = BatchMiddleware(show, executor="threads", workers=4)
    with contextlib.closing(here):
        expected = send(here, environ_of(BATCHES[batch]))

    status, headers, body = told(wire.post(server, BATCHES[batch]))

    assert (status, body) == (expected.status, plain(expected.body))
    assert headers == {name: value for name, value in expected.headers if name in headers}
    assert len(headers) == 3


def test_many_clients_at_once_are_each_answered_with_their_own(server: str) -> None:
    def ask(number: int) -> list[str]:
        answer = wire.post(server, json.dumps([get(f"/{number}/{index}") for index in range(10)]).encode())
        return [json.loads(item["body"])["path"] for item in json.loads(answer.body)]

    with ThreadPoolExecutor(16) as clients:
        answered = list(clients.map(ask, range(64)))

    assert answered == [[f"/{number}/{index}" for index in range(10)] for number in range(64)]


def test_a_client_that_goes_away_in_the_middle_of_its_batch_harms_nobody(server: str) -> None:
    for _ in range(5):
        with wire.connected(server) as connection:
            connection.sendall(b'POST /batch HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n["/a"]')

    assert wire.post(server, b'["/text"]').body == '{"/text":"grüße"}'.encode()


def test_what_is_no_batch_passes_through(server: str) -> None:
    answer = wire.exchanged(server, "GET", "/bin", [("Host", "shop.example")])

    assert (answer.status, answer.body) == (200, bytes(range(256)))


@pytest.mark.parametrize("kind", ["gunicorn sync", "gunicorn gthread", "waitress"])
def test_a_batch_without_a_length_is_answered_where_the_server_marks_its_end(kind: str) -> None:
    with SERVERS[kind]("tests.servers.site:sequential") as base:
        chunked = b'6\r\n["/tex\r\n3\r\nt"]\r\n0\r\n\r\n'
        headers = [("Host", "shop.example"), ("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")]

        answer = wire.exchanged(base, "POST", "/batch", headers, chunked)

    assert (answer.status, answer.body) == (200, '{"/text":"grüße"}'.encode())


def test_a_batch_without_a_length_is_refused_where_nobody_marks_its_end() -> None:
    with run.wsgiref("tests.servers.site:sequential") as base:
        answer = wire.exchanged(base, "POST", "/batch", [("Host", "shop.example"), ("Content-Type", "application/json")])

    assert (answer.status, json.loads(answer.body)["code"]) == (411, "length-required")


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize(("head", "status"), [("application/json", 413), ("image/png", 415)])
def test_a_client_that_sends_too_much_all_at_once_sees_why_it_is_refused(kind: str, head: str, status: int) -> None:
    body = b"[" + b" " * (9 << 20)
    headers = [("Host", "shop.example"), ("Content-Type", head), ("Content-Length", str(len(body)))]
    with SERVERS[kind]("tests.servers.site:sequential") as base:
        # It reads nothing before all is sent, as most clients do.
        answers = [wire.exchanged(base, "POST", "/batch", headers, body) for _ in range(3)]

    assert [answer.status for answer in answers] == [status] * 3


def test_a_worker_that_the_server_ends_for_being_slow_answers_what_it_has_and_ends() -> None:
    with run.gunicorn("--timeout", "1", "--graceful-timeout", "5", "tests.servers.site:stuck") as base:
        answer = wire.post(base, json.dumps([get("/quick"), get("/stuck"), get("/quick")]).encode())
        again = wire.post(base, json.dumps([get("/quick")]).encode())

    assert [item["status_code"] for item in json.loads(answer.body)] == [200, 500, 503]
    assert [item["status_code"] for item in json.loads(again.body)] == [200]
