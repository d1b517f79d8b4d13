"""What is posted as a form: parameters and files, read out of a batch request and written into the body of an item.

A form comes url-encoded (URL Standard, "application/x-www-form-urlencoded") or in parts (RFC 7578). Some clients post the same parameters as the
members of a JSON object, or in the query of the url.
"""

import secrets
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from msgspec import Raw
from multipart import MultipartError, MultipartSegment, PushMultipartParser

from ..errors import BadBatch
from ..model import Head, Reference
from ._json import read_json

MAX_FIELDS = 1000
"""Parameters and files of one request: as many as PHP and Django take by default."""

_members = msgspec.json.Decoder(dict[str, Raw])
_string = msgspec.json.Decoder(str)


class File(NamedTuple):
    """A file as it was uploaded."""

    name: str
    """Of the field."""
    filename: str
    content_type: str
    content: bytes


class Form:
    """What the request *head* brings in its *body* and in its query.

    :raises BadBatch: for a body that is not what its content type says.
    """

    def __init__(self, head: Head, body: bytes) -> None:
        self.files: dict[str, list[File]] = {}
        """By the names of their fields."""
        self._fields: list[tuple[str, str]] = []
        self._query = pairs(head.query.encode("latin-1", "replace"))
        if head.media_type == "multipart/form-data":
            self._read_parts(head.parameters.get("boundary", ""), body)
        elif head.media_type == "application/json":
            self._fields = _from_json(body) if body else []
        else:
            self._fields = pairs(body)

    def get(self, name: str) -> str | None:
        """The parameter *name*: that of the body, or else that of the query.

        :raises BadBatch: when it is given twice in one place, which readers would understand in two ways.
        """
        for fields in (self._fields, self._query):
            values = [value for found, value in fields if found == name]
            if len(values) > 1:
                raise BadBatch("This parameter is given twice.", f"/{name}")
            if values:
                return values[0]
        return None

    def _read_parts(self, boundary: str, body: bytes) -> None:
        try:
            with PushMultipartParser(boundary, len(body), max_segment_count=MAX_FIELDS) as parser:
                chunks: list[bytes] = []
                for event in parser.parse(body):
                    if isinstance(event, MultipartSegment):
                        segment, chunks = event, []
                    elif event is None:
                        self._add(segment, b"".join(chunks))
                    else:
                        chunks.append(bytes(event))
        except MultipartError as error:
            raise BadBatch(f"The body is no form in parts: {error}.") from None
        except UnicodeDecodeError:
            raise BadBatch("The body is no form in UTF-8.") from None

    def _add(self, segment: MultipartSegment, content: bytes) -> None:
        name = segment.name or ""
        if segment.filename is None:
            self._fields.append((name, content.decode()))
        else:
            content_type = segment.header("Content-Type") or "application/octet-stream"
            self.files.setdefault(name, []).append(File(name, segment.filename, content_type, content))


def pairs(text: bytes) -> list[tuple[str, str]]:
    """The names and values of a form that is url-encoded.

    :raises BadBatch: for what is not UTF-8, and for too many of them.
    """
    try:
        return parse_qsl(text.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        raise BadBatch("The form is not UTF-8.") from None
    except ValueError:
        raise BadBatch(f"A form has at most {MAX_FIELDS} fields.") from None


def _from_json(body: bytes) -> list[tuple[str, str]]:
    """The members of a JSON object as the parameters they stand for: text as it is, anything else as JSON."""
    members = ((name, bytes(raw)) for name, raw in read_json(_members, body).items())
    return [(name, _string.decode(raw) if raw.startswith(b'"') else raw.decode()) for name, raw in members if raw != b"null"]


Value = list[bytes | Reference]


def fields_of(pieces: Iterable[str | Reference]) -> list[tuple[bytes, Value]]:
    """The names and values of a form that is url-encoded and has references in its values.

    :raises ValueError: for a reference anywhere else.
    """
    written: list[list[str | Reference]] = [[]]
    for piece in pieces:
        if isinstance(piece, Reference):
            written[-1].append(piece)
        else:
            first, *more = piece.split("&")
            written[-1].append(first)
            written += [[text] for text in more]
    return [_field(*field) for field in written if field not in ([], [""])]


def _field(first: str | Reference, *rest: str | Reference) -> tuple[bytes, Value]:
    name, equals, value = ("", "", "") if isinstance(first, Reference) else first.partition("=")
    if not equals and (rest or isinstance(first, Reference)):
        raise ValueError("In a form with files a reference stands in a value.")
    return _decoded(name), [_decoded(value), *(piece if isinstance(piece, Reference) else _decoded(piece) for piece in rest)]


def _decoded(text: str) -> bytes:
    return unquote_to_bytes(text.replace("+", " "))


def in_parts(fields: Iterable[tuple[bytes, Value]], files: Iterable[File]) -> tuple[str, Value]:
    """The content type of a form in parts, and its pieces."""
    # Nobody can guess it, so nothing that an earlier answer puts into the form can end a part.
    boundary = secrets.token_hex(16)
    pieces: Value = []
    for name, value in fields:
        pieces += [b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n' % (boundary.encode(), _quoted(name)), *value, b"\r\n"]
    for file in files:
        disposition = b'form-data; name="%b"; filename="%b"' % (_quoted(file.name.encode()), _quoted(file.filename.encode()))
        head = b"Content-Disposition: %b\r\nContent-Type: %b" % (disposition, file.content_type.encode())
        pieces += [b"--%b\r\n%b\r\n\r\n" % (boundary.encode(), head), file.content, b"\r\n"]
    return f"multipart/form-data; boundary={boundary}", [*pieces, b"--%b--\r\n" % boundary.encode()]


def _quoted(text: bytes) -> bytes:
    # As browsers do it (HTML Standard, "Multipart form data").
    return text.replace(b'"', b"%22").replace(b"\r", b"%0D").replace(b"\n", b"%0A")
