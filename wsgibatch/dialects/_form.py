"""What is posted as a form: parameters and files, read out of a batch request and written into the body of an item.

A form comes url-encoded (URL Standard, "application/x-www-form-urlencoded") or in parts (RFC 7578). Some clients post the same parameters as the
members of a JSON object, or in the query of the url.
"""

import re
import secrets
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from msgspec import Raw

from .._body import FORM_DATA, MAX_PARTS, Part
from ..errors import BadBatch, TooLarge
from ..model import Head, Reference
from ._json import read_json

TOO_MANY = f"A form has at most {MAX_PARTS} fields."
"""What is said of more, and of more in the form of an item: the head of each part may be much longer than what asks for it."""

_members = msgspec.json.Decoder(dict[str, Raw])
_string = msgspec.json.Decoder(str)


class Form:
    """The parameters that the request *head* brings in its *body*, which of a form in parts is the one called ``batch``, and in its query.

    :param limit: bytes of a parameter that comes in a part of its own.
    :raises BadBatch: for a body that is not what its content type says.
    """

    def __init__(self, head: Head, body: bytes, limit: int) -> None:
        self._limit = limit
        self._fields: list[tuple[str, str | Part]]
        self._query = pairs(head.query.encode("latin-1", "replace"))
        if head.parts is not None:
            self._fields = [(part.name, part) for part in head.parts if part.filename is None]
            if body:
                self._fields.append(("batch", _text(body)))
        elif head.media_type == "application/json":
            self._fields = [(name, as_text(value)) for name, value in members_of(body)] if body else []
        else:
            self._fields = [*pairs(body)]

    def get(self, name: str) -> str | None:
        """The parameter *name*: that of the body, or else that of the query.

        :raises BadBatch: when it is given twice in one place, which readers would understand in two ways.
        :raises TooLarge: when it is.
        """
        for fields in (self._fields, self._query):
            values = [value for found, value in fields if found == name]
            if len(values) > 1:
                raise BadBatch("This parameter is given twice.", f"/{name}")
            if values:
                [value] = values
                return self._read(value) if isinstance(value, Part) else value
        return None

    def _read(self, part: Part) -> str:
        if part.size > self._limit:
            raise TooLarge(self._limit, f"/{part.name}")
        return _text(part.read())


def pairs(text: bytes) -> list[tuple[str, str]]:
    """The names and values of a form that is url-encoded.

    :raises BadBatch: for what is not UTF-8, and for too many of them.
    """
    try:
        return parse_qsl(text.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARTS)
    except UnicodeDecodeError:
        raise BadBatch("The form is not UTF-8.") from None
    except ValueError:
        raise BadBatch(TOO_MANY) from None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadBatch("The form is not UTF-8.") from None


def members_of(body: bytes) -> list[tuple[str, bytes]]:
    """The names and values of a form that is written as a JSON object, each value as it stands there; null is none.

    :raises BadBatch: for anything but that.
    """
    members = ((name, bytes(raw)) for name, raw in read_json(_members, body).items())
    return [(name, raw) for name, raw in members if raw != b"null"]


def as_text(raw: bytes) -> str:
    """A value in JSON as the parameter that it stands for: text as it is, anything else as JSON."""
    return _string.decode(raw) if raw.startswith(b'"') else raw.decode()


_SPECIAL = re.compile(rb'["\r\n\0]')
Piece = bytes | Part | Reference


def fields_of(pieces: Sequence[str | Reference]) -> list[tuple[bytes, list[Piece]]]:
    """The names and values of a form that is url-encoded and has references in its values.

    :raises ValueError: for a reference anywhere else, and for too many of them.
    """
    if sum(piece.count("&") for piece in pieces if isinstance(piece, str)) >= MAX_PARTS:
        raise ValueError(TOO_MANY)
    written: list[list[str | Reference]] = [[]]
    for piece in pieces:
        if isinstance(piece, Reference):
            written[-1].append(piece)
        else:
            first, *more = piece.split("&")
            written[-1].append(first)
            written += [[text] for text in more]
    return [_field(*field) for field in written if field not in ([], [""])]


def _field(first: str | Reference, *rest: str | Reference) -> tuple[bytes, list[Piece]]:
    name, equals, value = ("", "", "") if isinstance(first, Reference) else first.partition("=")
    if not equals and (rest or isinstance(first, Reference)):
        raise ValueError("In a form with files a reference stands in a value.")
    return _decoded(name), [_decoded(value), *(piece if isinstance(piece, Reference) else _decoded(piece) for piece in rest)]


def _decoded(text: str) -> bytes:
    return unquote_to_bytes(text.replace("+", " "))


def head_of(field: str, file: Part) -> bytes:
    """The head of the part in which *file* is sent as *field*."""
    disposition = b'form-data; name="%b"; filename="%b"' % (_quoted(field.encode()), _quoted((file.filename or "").encode()))
    content_type = b"Content-Type: %b\r\n" % file.content_type.encode() if file.content_type else b""
    return b"Content-Disposition: %b\r\n%b\r\n" % (disposition, content_type)


def in_parts(fields: Iterable[tuple[bytes, Sequence[Piece]]], files: Iterable[tuple[bytes, Part]]) -> tuple[str, list[Piece]]:
    """The content type of a form in parts, and its pieces; *files* come with their heads."""
    parts: list[tuple[bytes, Sequence[Piece]]] = [
        (b'Content-Disposition: form-data; name="%b"\r\n\r\n' % _quoted(name), value) for name, value in fields
    ]
    parts += [(head, [file]) for head, file in files]
    boundary = _boundary([piece for head, content in parts for piece in (head, *content)])
    pieces = [piece for head, content in parts for piece in (b"--%b\r\n%b" % (boundary, head), *content, b"\r\n")]
    return f"{FORM_DATA}; boundary={boundary.decode()}", [*pieces, b"--%b--\r\n" % boundary]


def _boundary(pieces: Sequence[Piece]) -> bytes:
    """What stands in none of *pieces*; it is the same for the same ones, so that a request that is sent again is the same request."""
    whole = blake2b(digest_size=16)
    for piece in pieces:
        if isinstance(piece, Reference):
            # Whoever has a hand in an earlier answer must not be able to tell it.
            return secrets.token_hex(16).encode()
        whole.update(piece.digest if isinstance(piece, Part) else blake2b(piece).digest())
    return whole.hexdigest().encode()


def _quoted(text: bytes) -> bytes:
    # As browsers do it (HTML Standard, "Multipart form data"), and likewise with what they cannot have.
    return _SPECIAL.sub(lambda found: b"%%%02X" % ord(found[0]), text)
