"""The app of the demo, by itself: WebTest checks every exchange against PEP 3333."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from webtest import TestApp

from wsgibatch.demo.app import make_app

NOTE = {"author": "mary", "text": "Ask for everything at once"}

MAKE = "import os, sys; from wsgibatch.demo.app import make_app; make_app({})"
LIST = "print(os.listdir(os.environ['TMPDIR']))"


@pytest.fixture
def app(tmp_path: Path) -> TestApp:
    return TestApp(make_app({}, database=str(tmp_path / "notes.sqlite")))


def test_the_notes_are_listed(app: TestApp) -> None:
    assert [note["author"] for note in app.get("/notes").json] == ["ada", "grace", "ada"]


def test_a_note_is_read_by_its_number(app: TestApp) -> None:
    assert app.get("/notes/2").json == {"id": 2, "author": "grace", "text": "Find the moth in the relay"}


def test_a_new_note_is_kept_and_told_where(app: TestApp) -> None:
    answer = app.post_json("/notes", NOTE, status=201)

    assert answer.headers["Location"].endswith("/notes/4")
    assert app.get("/notes/newest").json == app.get("/notes/4").json == {"id": 4, **NOTE}


def test_where_a_new_note_is_counts_the_mount_point(app: TestApp) -> None:
    answer = app.post_json("/notes", NOTE, extra_environ={"SCRIPT_NAME": "/demo"})

    assert answer.headers["Location"].endswith("/demo/notes/4")


@pytest.mark.parametrize("body", ["", "{", "[]", '{"author": "mary"}', '{"author": "", "text": "x"}', '{"author": "a", "text": "x", "id": 1}'])
def test_what_is_no_note_is_refused(app: TestApp, body: str) -> None:
    app.post("/notes", body, content_type="application/json", status=400)

    assert len(app.get("/notes").json) == 3


def test_a_huge_note_is_refused(app: TestApp) -> None:
    app.post_json("/notes", {"author": "mary", "text": "x" * (64 << 10)}, status=413)


@pytest.mark.parametrize("path", ["/", "/notes/99", "/notes/", "/notes/one", "/chartxpng"])
def test_what_is_not_there_is_not_found(app: TestApp, path: str) -> None:
    assert app.get(path, status=404).json["status"] == 404


def test_a_wrong_method_is_refused_with_the_right_ones(app: TestApp) -> None:
    assert app.delete("/notes", status=405).headers["Allow"] == "GET, POST"


def test_the_reports_count_authors_and_words(app: TestApp) -> None:
    assert app.get("/reports/authors").json == {"ada": 2, "grace": 1}
    assert app.get("/reports/words").json["the"] == 4


def test_the_chart_is_an_image_with_a_bar_for_each_author(app: TestApp) -> None:
    answer = app.get("/chart.png")
    signature, chunks = answer.body[:8], dict(chunks_of(answer.body[8:]))

    assert (answer.content_type, signature) == ("image/png", b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    rows = zlib.decompress(chunks[b"IDAT"])
    assert (width, height, len(rows)) == (24, 28, 28 * 25)
    assert [rows[y * 25 :][1:25].count(0x30) for y in (0, 12, 14, 26)] == [24, 0, 12, 0]


def test_an_error_is_raised_for_the_server_to_answer(app: TestApp) -> None:
    with pytest.raises(RuntimeError, match="asked for an error"):
        app.get("/error")


def test_a_database_is_kept_from_one_app_to_the_next(app: TestApp, tmp_path: Path) -> None:
    app.post_json("/notes", NOTE)

    again = TestApp(make_app({}, database=str(tmp_path / "notes.sqlite")))

    assert len(again.get("/notes").json) == 4


def test_without_a_database_a_file_is_made_and_removed_when_the_process_ends(tmp_path: Path) -> None:
    assert "wsgibatch-demo-" in printed(f"{MAKE}; {LIST}", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_forked_process_leaves_the_file_to_the_one_that_made_it(tmp_path: Path) -> None:
    assert "wsgibatch-demo-" in printed(f"{MAKE}; os.fork() or sys.exit(); os.wait(); {LIST}", tmp_path)


def printed(code: str, folder: Path) -> str:
    """What a process prints that makes its temporary files in *folder*."""
    environ = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True).stdout


def chunks_of(png: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG, their checksums checked."""
    found = []
    while png:
        length, kind = struct.unpack(">I4s", png[:8])
        data, checksum = png[8 : 8 + length], png[8 + length : 12 + length]
        assert zlib.crc32(kind + data) == int.from_bytes(checksum, "big")
        found.append((kind, data))
        png = png[12 + length :]
    return found
