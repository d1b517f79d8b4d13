"""Batch requests as fuzzing makes them: a text of a request line, header lines, an empty line, and the body; any bytes are one.

The word behind the target chooses how the endpoint is set up. What no server passes on (control characters, names that are no tokens) is left out, so
that nothing is found that cannot happen.
"""

import io
import re
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

_TOKEN = re.compile(r"[!#$%&'*+.^`|~0-9A-Za-z-]{1,64}\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_DIGITS = re.compile(r"[0-9]{1,9}\Z")


class Message(NamedTuple):
    """A POST."""

    path: str
    query: str
    word: str
    headers: dict[str, str]
    """By name as written first; what is given twice is joined, as servers do."""
    body: bytes

    def environ(self) -> dict[str, Any]:
        """As a server makes it."""
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(self.path.encode("latin-1")).decode("latin-1"),
            "QUERY_STRING": self.query,
            "SERVER_NAME": "internal",
            "SERVER_PORT": "8080",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "shop.example",
            "CONTENT_LENGTH": str(len(self.body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(self.body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in self.headers.items():
            key = name.upper().replace("-", "_")
            if key == "TRANSFER_ENCODING":
                # The server has undone it.
                environ["wsgi.input_terminated"] = True
                del environ["CONTENT_LENGTH"]
            elif key == "CONTENT_LENGTH":
                if _DIGITS.match(value):
                    environ[key] = value
            else:
                environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
        return environ


def written(head: bytes, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """The text of a batch: *head* is the request line."""
    return b"\n".join([head, *(f"{name}: {value}".encode("latin-1") for name, value in headers), b"", body])


def read(data: bytes) -> Message:
    """What the text *data* means."""
    head, _, body = data.partition(b"\n\n")
    line, *fields = head.decode("latin-1").split("\n")
    target, _, word = line.partition(" ")
    path, _, query = _CONTROL.sub("", target).partition("?")
    headers: dict[str, str] = {}
    names: dict[str, str] = {}
    for field in fields:
        name, colon, value = field.partition(":")
        if colon and _TOKEN.match(name):
            name, value = names.setdefault(name.lower(), name), _CONTROL.sub("", value).strip(" \t")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Message(path if path.startswith("/") else f"/{path}", query, word, headers, body)
