"""Requests as the library requests prepares them, and responses as it makes them."""

from http.client import HTTPMessage
from http.client import responses as reasons
from io import BytesIO
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPHeaderDict, HTTPResponse

from ..model import Headers, SubResponse

_adapter = HTTPAdapter()


def made(request: requests.PreparedRequest, answer: SubResponse, connection: Any) -> requests.Response:
    """The response to *request* that the library makes of *answer*; hooks send further requests over *connection*."""
    raw = HTTPResponse(
        body=BytesIO(answer.body),
        headers=HTTPHeaderDict(answer.headers),
        status=answer.status,
        reason=answer.reason or reasons.get(answer.status, ""),
        preload_content=False,
        # What a dialect embeds as JSON may have lost its outer white space, and a HEAD has no body.
        enforce_content_length=False,
        original_response=_Original(answer.headers),  # type: ignore[arg-type]
    )
    response = _adapter.build_response(request, raw)
    response.connection = connection
    if not answer.status:
        # The dialect tells none, and what has none has no content for the library; so it is read first.
        response.status_code = 200
        response.content  # noqa: B018 - it is a property that reads
        response.status_code = 0
    return response


class _Original:
    """The head of an answer, as the standard library has it, where the library looks for cookies."""

    def __init__(self, headers: Headers) -> None:
        self.msg = HTTPMessage()
        for name, value in headers:
            self.msg[name] = value

    def isclosed(self) -> bool:
        return True

    def close(self) -> None:
        """There is nothing to close."""


def text_of(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def body_of(request: requests.PreparedRequest) -> bytes:
    """The body of *request*, read if it is a file or an iterable."""
    body: Any = request.body
    if body is None or isinstance(body, str | bytes):
        return body.encode() if isinstance(body, str) else body or b""
    content = body.read() if hasattr(body, "read") else b"".join(map(_encoded, body))
    request.body = content = _encoded(content)
    request.headers.pop("Transfer-Encoding", None)
    request.prepare_content_length(content)
    return content


def _encoded(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
