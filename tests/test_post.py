"""Plain connections that servers close when they please."""

import time

from tests.clients.saying import Saying, saying
from tests.servers.run import gunicorn
from wsgibatch._post import _is_over, asked, opened, post


def test_a_connection_that_the_server_has_closed_while_it_lay_idle_is_opened_anew() -> None:
    # That it is closed is not announced.
    with saying(lambda _head, _body: [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"]) as server, opened(server.base) as connection:
        for _ in range(2):
            status, _, chunks = asked(connection, "GET", server.base, [], b"")
            assert (status, b"".join(chunks)) == (200, b"x")
            while not _is_over(connection):
                time.sleep(0.001)
        assert requests_of(server) == ["GET / HTTP/1.1"] * 2


def requests_of(server: Saying) -> list[str]:
    return [head.decode().partition("\r\n")[0] for head in server.heads]


def test_what_a_server_says_before_it_has_read_all_is_read() -> None:
    with gunicorn("tests.servers.site:sequential") as base:
        for _ in range(3):
            with opened(base) as connection:
                # More than a server reads of what it refuses.
                status, _, chunks = post(connection, base + "/batch", [("Content-Type", "application/json")], b" " * (40 << 20))
                assert (status, b"too-large" in b"".join(chunks)) == (413, True)
