"""The lines on the terminal."""

import io
import re
import subprocess
import sys

import pytest

from wsgibatch import SubRequest, SubResponse
from wsgibatch.demo.run import Exchange
from wsgibatch.demo.show import bar, curl, excerpt, page, told

JSON = [("Content-Type", "application/json")]


def exchange(**changes: object) -> Exchange:
    """A batch of four, as it could have been."""
    requests = [
        SubRequest(0, "GET", "/notes", []),
        SubRequest(1, "GET", "/reports/authors", []),
        SubRequest(2, "POST", "/notes", JSON, b"{}"),
        SubRequest(3, "GET", "/chart.png", []),
    ]
    answers = [
        SubResponse(200, "OK", JSON, b'[{"id":1,"author":"ada"}]'),
        SubResponse(404, "Not Found", JSON, b"{}"),
        SubResponse(500, "Internal Server Error", JSON, b""),
        SubResponse(200, "OK", [("content-type", "image/png")], b"\x89PNG"),
    ]
    times = {0: (0.0, 0.1), 1: (0.0, 0.4), 2: (0.4, 0.0001), 3: (0.4, 0.1)}
    return Exchange(**{"title": "django", "requests": requests, "sent": 120, "received": 340, "answers": answers, "times": times} | changes)  # type: ignore[arg-type]


def plain(exchange: Exchange, width: int = 72) -> str:
    return "\n".join("".join(text for text, _ in line).rstrip() for line in told(exchange, width, " ==="))


def test_a_batch_is_told_in_one_line_for_each_item_with_a_waterfall() -> None:
    assert (
        plain(exchange())
        == """\
django: 4 requests, 120 bytes sent, 340 received
  GET   /notes            200  [{"id":1,"a...  ===              100.0 ms
  GET   /reports/authors  404  {}              ===========      400.0 ms
  POST  /notes            500                             =       0.1 ms
  GET   /chart.png        200  image/png, ...             ===   100.0 ms
  All done after 500.0 ms; one after another: 600.1 ms."""
    )


def test_a_wider_terminal_gives_its_room_to_answers_and_bars() -> None:
    assert plain(exchange(), 96).splitlines()[1] == (
        '  GET   /notes            200  [{"id":1,"author":"ada"}]   =====                        100.0 ms'
    )


@pytest.mark.parametrize("width", [72, 80, 99, 120])
def test_no_line_is_longer_than_the_terminal_is_wide(width: int) -> None:
    assert max(map(len, plain(exchange(), width).splitlines())) == width


def test_a_dialect_without_statuses_is_told_as_one() -> None:
    silent = [SubResponse(0, "", [], b"{}")] * 4

    lines = plain(exchange(answers=silent)).splitlines()

    assert lines[1].startswith("  GET   /notes              -  {}")
    assert lines[-1].endswith("This dialect tells no statuses.")


def test_an_item_whose_time_is_not_told_has_no_bar() -> None:
    assert plain(exchange(times={0: (0.0, 0.1)})).splitlines()[2] == "  GET   /reports/authors  404  {}"


def test_a_batch_whose_times_are_not_told_has_no_bars() -> None:
    assert "=" not in plain(exchange(times={}))


@pytest.mark.parametrize(
    ("time", "cells"),
    [
        ((0.0, 8.0), "━━━━"),
        ((0.0, 1.0), "╸   "),
        ((1.0, 1.0), "╺   "),
        ((1.0, 6.0), "╺━━╸"),
        ((3.0, 3.0), " ╺━ "),
        ((8.0, 0.0), "   ╺"),
        ((0.0, 0.0), "╸   "),
        (None, "    "),
    ],
)
def test_a_bar_is_drawn_to_half_a_cell_and_never_vanishes(time: tuple[float, float] | None, cells: str) -> None:
    assert bar(time, 8.0, 4, " ╸╺━") == cells


def test_an_answer_cannot_send_commands_to_the_terminal() -> None:
    assert excerpt(SubResponse(200, "OK", [], b"\x1b[2J\r\nhi \xc3\xa9"), 40) == r"\x1b[2J\r\nhi \xe9"


def test_an_answer_of_earlier_says_so() -> None:
    answer = SubResponse(201, "Created", [("idempotent-replayed", "true")], b'{"id":1}')

    assert excerpt(answer, 40) == 'as before: {"id":1}'
    assert excerpt(answer, 12) == "as before..."


def test_a_type_cannot_send_commands_to_the_terminal() -> None:
    assert "\x1b" not in excerpt(SubResponse(200, "OK", [("Content-Type", "\x1b[2J")], b"\xff"), 40)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1}',
        b"it's",
        b"@/etc/hostname",
        b"--x\r\nContent-Type: application/http\r\n\r\nGET /it's HTTP/1.1\r\n\\n\r\n--x--\r\n",
        bytes(range(1, 256)),
        "grüße\x01".encode() + b"7",
    ],
)
def test_a_curl_command_gives_the_shell_every_byte_of_a_body(body: bytes) -> None:
    command = curl("http://127.0.0.1:8000/batch", [("Content-Type", "x; boundary='a b'")], body)
    code = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"

    said = subprocess.run(["bash", "-c", command.replace("curl", '"$0" -c "$1"', 1), sys.executable, code], capture_output=True, check=True).stdout

    expected = [b"-s", b"http://127.0.0.1:8000/batch", b"-H", b"Content-Type: x; boundary='a b'", b"--data-binary", body]
    assert said.split(b"\0") == expected


class Terminal(io.StringIO):
    """A terminal that keeps what it is sent."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, asked_plain: bool) -> str:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    where = page(asked_plain)
    for line in told(exchange(), where.width, where.glyphs):
        where.write(line)
    return terminal.getvalue()


def test_a_terminal_gets_colours_around_the_same_text(monkeypatch: pytest.MonkeyPatch) -> None:
    written = shown(monkeypatch, False)

    assert "\x1b[32m200" in written
    text = re.sub(r"\x1b\[[0-9;]*m", "", written)
    assert [line.rstrip() for line in re.sub("[╸╺━]", "=", text).splitlines()] == plain(exchange(), 80).splitlines()


def test_a_terminal_gets_plain_text_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, True) == plain(exchange(), 80) + "\n"


def test_a_terminal_gets_plain_text_where_rich_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)

    assert shown(monkeypatch, False) == plain(exchange(), 80) + "\n"


def test_what_is_no_terminal_gets_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Terminal, "isatty", lambda self: False)

    assert shown(monkeypatch, False) == plain(exchange(), 80) + "\n"
