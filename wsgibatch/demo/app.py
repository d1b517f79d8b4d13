"""Notes in SQLite: a plain WSGI app that knows nothing of batches.

::

    GET  /notes              all notes
    POST /notes              a new one: {"author": ..., "text": ...}
    GET  /notes/1, /newest   one of them
    GET  /reports/authors    how many notes each author wrote; takes its time, as /reports/words does
    GET  /chart.png          the same as an image
    GET  /error              raises
"""

import atexit
import os
import re
import shutil
import sqlite3
import struct
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct

REPORT_TAKES = 0.3
"""Seconds, as they pass while a busy database makes a report."""

_LONGEST = 64 << 10

_SCHEMA = "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, author TEXT NOT NULL, text TEXT NOT NULL)"
_FIRST = (("ada", "Send the cards to the engine"), ("grace", "Find the moth in the relay"), ("ada", "Write note G"))


class NewNote(Struct, forbid_unknown_fields=True):
    """The body of a POST."""

    author: Annotated[str, Meta(min_length=1, max_length=40)]
    text: Annotated[str, Meta(min_length=1, max_length=1000)]


class Answer(NamedTuple):
    """What is sent back."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class DemoApp:
    """The app.

    :param database: the path of the SQLite file, made if it is not there.
    """

    def __init__(self, database: str) -> None:
        self._database = database
        with closing(self._connect()) as connection, connection:
            # Other processes may be starting as well: look and fill under one lock.
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_SCHEMA)
            if not connection.execute("SELECT count(*) FROM notes").fetchone()[0]:
                connection.executemany("INSERT INTO notes (author, text) VALUES (?, ?)", _FIRST)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        answer = self._answer(environ)
        headers = [("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body))), *answer.headers]
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", headers)
        return [answer.body]

    def _answer(self, environ: dict[str, Any]) -> Answer:
        found = [(method, handler, match) for method, pattern, handler in _ROUTES if (match := re.fullmatch(pattern, environ.get("PATH_INFO", "")))]
        for method, handler, match in found:
            if method == environ["REQUEST_METHOD"]:
                with closing(self._connect()) as connection, connection:
                    return handler(connection, environ, *match.groups())
        if found:
            return _problem(405, "That cannot be done here.", ("Allow", ", ".join(method for method, _, _ in found)))
        return _problem(404, "There is nothing here.")

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._database)


def make_app(global_conf: Mapping[str, str], /, database: str = "") -> DemoApp:
    """The app for PasteDeploy.

    :param database: the path of the SQLite file; left out, a new file is made, and removed when the process ends.
    """
    return DemoApp(database or _file_for_this_run())


def _file_for_this_run() -> str:
    folder, maker = tempfile.mkdtemp(prefix="wsgibatch-demo-"), os.getpid()

    def remove() -> None:
        # A server's workers, forked from the process that made it, end sooner.
        if os.getpid() == maker:
            shutil.rmtree(folder)

    atexit.register(remove)
    return str(Path(folder, "notes.sqlite"))


def _notes(connection: sqlite3.Connection, environ: dict[str, Any]) -> Answer:
    rows = connection.execute("SELECT id, author, text FROM notes ORDER BY id")
    return _json([_as_object(row) for row in rows])


def _note(connection: sqlite3.Connection, environ: dict[str, Any], number: str) -> Answer:
    return _json_of(connection.execute("SELECT id, author, text FROM notes WHERE id = ?", (number,)).fetchone())


def _newest(connection: sqlite3.Connection, environ: dict[str, Any]) -> Answer:
    return _json_of(connection.execute("SELECT id, author, text FROM notes ORDER BY id DESC LIMIT 1").fetchone())


def _create(connection: sqlite3.Connection, environ: dict[str, Any]) -> Answer:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > _LONGEST:
        return _problem(413, f"A note has at most {_LONGEST} bytes.")
    try:
        note = msgspec.json.decode(environ["wsgi.input"].read(length), type=NewNote)
    except msgspec.DecodeError as error:
        return _problem(400, f"{error}.")
    number = connection.execute("INSERT INTO notes (author, text) VALUES (?, ?)", (note.author, note.text)).lastrowid
    location = f"{environ.get('SCRIPT_NAME', '')}/notes/{number}"
    return _json({"id": number, "author": note.author, "text": note.text}, 201, ("Location", location))


def _authors(connection: sqlite3.Connection, environ: dict[str, Any]) -> Answer:
    time.sleep(REPORT_TAKES)
    return _json(_notes_by_author(connection))


def _words(connection: sqlite3.Connection, environ: dict[str, Any]) -> Answer:
    time.sleep(REPORT_TAKES)
    texts = connection.execute("SELECT text FROM notes")
    return _json(dict(Counter(word for (text,) in texts for word in text.lower().split()).most_common(5)))


def _chart(connection: sqlite3.Connection, environ: dict[str, Any]) -> Answer:
    return Answer(_png(_bars(list(_notes_by_author(connection).values()))), content_type="image/png")


def _error(connection: sqlite3.Connection, environ: dict[str, Any]) -> Answer:
    raise RuntimeError("the demo was asked for an error")


_ROUTES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("GET", "/notes", _notes),
    ("POST", "/notes", _create),
    ("GET", "/notes/newest", _newest),
    ("GET", "/notes/([0-9]{1,18})", _note),
    ("GET", "/reports/authors", _authors),
    ("GET", "/reports/words", _words),
    ("GET", r"/chart\.png", _chart),
    ("GET", "/error", _error),
)


def _notes_by_author(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT author, count(*) FROM notes GROUP BY author ORDER BY author").fetchall())


def _as_object(row: tuple[int, str, str]) -> dict[str, object]:
    return dict(zip(("id", "author", "text"), row, strict=True))


def _json_of(row: tuple[int, str, str] | None) -> Answer:
    return _problem(404, "There is no such note.") if row is None else _json(_as_object(row))


def _json(value: object, status: int = 200, *headers: tuple[str, str]) -> Answer:
    return Answer(msgspec.json.encode(value), status, headers=headers)


def _problem(status: int, detail: str, *headers: tuple[str, str]) -> Answer:
    document = msgspec.json.encode({"status": status, "title": HTTPStatus(status).phrase, "detail": detail})
    return Answer(document, status, "application/problem+json", headers)


def _bars(lengths: list[int]) -> list[bytes]:
    """Rows of grey pixels: a bar for each length, twelve pixels to the unit."""
    width = 12 * max(lengths)
    dark = [(b"\x30" * (12 * length)).ljust(width, b"\xf0") for length in lengths]
    return [row for bar in dark for row in [bar] * 10 + [b"\xf0" * width] * 4]


def _png(rows: list[bytes]) -> bytes:
    """An image of eight-bit grey (PNG specification, section 11)."""
    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    # The zero in front of a row says that its bytes are not filtered.
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
