"""Reading the requests of a Facebook batch: what they call each other, and what they take from the form that they came in."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from .._body import joined
from ..errors import BadBatch, TooLarge
from ..model import MAX_PATH, Edge, Head, Headers, Late, Reference, SubRequest
from ..settings import Settings
from ._envelope import content_type_of, field_in
from ._files import Files
from ._form import Form, Piece, fields_of, in_parts
from ._json import read_json, upper_case
from ._results import Results

PLACE = "/batch"
"""A JSON Pointer to the list of requests."""
FORM = "application/x-www-form-urlencoded"
"""The content type of a body, where nothing is said of it."""

_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z][A-Za-z0-9+.-]*:")
_RAW = re.compile(r"[ \x80-\U0010ffff]+")
_TOKEN_IN_QUERY = re.compile(r"[?&]access_token=")
_TOKEN_IN_FORM = re.compile(r"(?:\A|&)access_token=")


class Header(Struct, gc=False):
    """A header, as it stands in requests and answers."""

    name: str
    value: str


class Request(Struct, gc=False):
    """A request as it stands in a batch."""

    method: str
    relative_url: str
    # As lines, the PHP library writes them.
    headers: list[Header | str] | None = None
    body: str | None = None
    # Of any type, since one client library takes it from whatever parameter of a request is called so.
    name: Any = None
    depends_on: str | None = None
    omit_response_on_success: bool | None = None
    attached_files: str | None = None


_requests = msgspec.json.Decoder(list[Request])


def requests_of(form: Form) -> list[Request]:
    """The requests that the parameter ``batch`` of *form* lists.

    :raises BadBatch: when there is none, or what it says is no such list.
    """
    text = form.get("batch")
    if text is None:
        raise BadBatch("Send the batch as the parameter 'batch', a list of requests in JSON.")
    try:
        return read_json(_requests, text.encode())
    except BadBatch as error:
        raise BadBatch(error.detail, PLACE + error.pointer) from None


def is_form(headers: Headers) -> bool:
    """Is a body with these *headers* a form that is url-encoded, as it is where they do not tell?"""
    content_type = content_type_of(headers)
    return content_type is None or content_type.partition(";")[0].strip().lower() == FORM


class Items:
    """Makes items of *requests*, which came in *form* with *head*."""

    def __init__(self, requests: Sequence[Request], form: Form, head: Head, settings: Settings) -> None:
        self.results = Results([request.name if isinstance(request.name, str) else None for request in requests], PLACE)
        self._files = Files(head, settings)
        self._mount = head.mount
        token = form.get("access_token")
        self._token = f"access_token={quote(token, safe='')}" if token else ""
        if len(self._token) > MAX_PATH:
            raise TooLarge(MAX_PATH, "/access_token")

    def item(self, index: int, request: Request) -> SubRequest:
        """The item that *request* stands for.

        :raises BadBatch: for references and names that lead nowhere.
        """
        method, url = upper_case(request.method), request.relative_url
        pieces = self.results.pieces(url if _ABSOLUTE.match(url) else f"{self._mount}/{url}", index, "relative_url")
        target = [_encoded(piece) if isinstance(piece, str) else piece for piece in pieces]
        headers = _fields(request.headers, f"{PLACE}/{index}/headers") if request.headers else []
        if self._token and not _brings_token(request, headers):
            queried = any("?" in piece for piece in target if isinstance(piece, str))
            target.append(("&" if queried else "?") + self._token)
        if request.attached_files:
            headers, body = self._with_files(index, request, headers)
        else:
            body = self._body(index, request, headers)
        used = [piece.index for piece in (*target, *body) if isinstance(piece, Reference)]
        if request.depends_on:
            used.append(self.results.earlier(request.depends_on, index, "depends_on"))
        item = SubRequest(index, method, url, headers, after=tuple(map(Edge, dict.fromkeys(used))))
        _complete(item, target, body)
        return item

    def _body(self, index: int, request: Request, headers: Headers) -> list[Piece]:
        """The pieces of a body that is sent as it is, with its type in *headers*."""
        if not request.body:
            return []
        if not is_form(headers):
            return [request.body.encode()]
        if content_type_of(headers) is None:
            headers.append(("Content-Type", FORM))
        pieces = self.results.pieces(request.body, index, "body")
        return [piece if isinstance(piece, Reference) else piece.encode() for piece in pieces]

    def _with_files(self, index: int, request: Request, headers: Headers) -> tuple[Headers, list[Piece]]:
        """The headers and the pieces of a body in parts: the fields that the request gives, and its files."""
        if not is_form(headers):
            raise BadBatch("Files are sent with the fields of a form.", f"{PLACE}/{index}/headers")
        text = self.results.pieces(request.body or "", index, "body", "text")
        try:
            fields = fields_of(text)
        except ValueError as error:
            raise BadBatch(str(error), f"{PLACE}/{index}/body") from None
        content_type, body = in_parts(fields, self._files.take(request.attached_files or "", f"{PLACE}/{index}/attached_files"))
        return [*(header for header in headers if header[0].lower() != "content-type"), ("Content-Type", content_type)], body


def _fields(headers: list[Header | str], place: str) -> Headers:
    return [
        field_in(header, f"{place}/{number}") if isinstance(header, str) else (header.name, header.value) for number, header in enumerate(headers)
    ]


def _encoded(url: str) -> str:
    """*url* with what clients leave as it is percent-encoded: spaces, and what is not ASCII."""
    return url if url.isascii() and " " not in url else _RAW.sub(lambda found: quote(found[0]), url)


def _brings_token(request: Request, headers: Headers) -> bool:
    """Does *request* say on whose behalf it is made?"""
    if _TOKEN_IN_QUERY.search(request.relative_url) or any(name.lower() == "authorization" for name, _ in headers):
        return True
    return request.body is not None and is_form(headers) and _TOKEN_IN_FORM.search(request.body) is not None


def _complete(item: SubRequest, target: list[str | Reference], body: list[Piece]) -> None:
    """Give *item* its url and its body, as far as they are known."""
    late = Late()
    if any(isinstance(piece, Reference) for piece in target):
        late.target = tuple(target)
    else:
        item.target = "".join(piece for piece in target if isinstance(piece, str))
    if any(isinstance(piece, Reference) for piece in body):
        late.body = tuple(body)
    else:
        item.body, item.form = joined([piece for piece in body if not isinstance(piece, Reference)])
    if late.target or late.body:
        item.late = late
