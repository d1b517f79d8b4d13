"""The batch endpoint in front of a WSGI app: which requests are batches, and what their heads say."""

import warnings
from collections.abc import Callable, Container, Iterable
from http.client import responses
from time import perf_counter
from typing import Any
from urllib.parse import quote

from multipart import parse_options_header

from ._caller import WSGIApp
from ._drive import Drive, Stream
from ._exchange import Endpoint, exchange
from ._inherit import CLAIM, MARK
from ._keys import KEY
from .errors import ConfigError
from .model import Head, Headers
from .settings import Settings

with warnings.catch_warnings():
    # WebOb imports cgi, which Python 3.11 and 3.12 announce the end of; from 3.13 on legacy-cgi takes its place.
    warnings.filterwarnings("ignore", "'cgi' is deprecated", DeprecationWarning)
    import webob
    from webob.headers import EnvironHeaders

_JOINED = 64 << 10
"""Bytes up to which an answer is sent in one piece; a larger one stays the pieces that it was made of."""


class BatchMiddleware:
    """Answers batches that are posted to a path, by sending their items through *app*.

    Every other request reaches the app as it came, and gets what the app returned.

    :param app: any WSGI app.
    :param settings: a :class:`~wsgibatch.Settings`; the defaults where it is left out.
    :param overrides: single settings by name, which stand before those in *settings*.
    :raises ConfigError: for settings that cannot work.
    """

    def __init__(self, app: WSGIApp, settings: Settings | None = None, **overrides: Any) -> None:
        if settings is not None and not isinstance(settings, Settings):
            raise ConfigError(f"settings: {settings!r} is no wsgibatch.Settings; give single settings as keywords")
        if not callable(app):
            raise ConfigError(f"app: {app!r} is no WSGI app, since it cannot be called")
        self.app = app
        self.settings = (settings or Settings()).replace(**overrides)
        self._endpoint = Endpoint(self.settings)
        # What is looked at for each request, batch or not.
        self._paths: Container[str] = _Anywhere() if self._endpoint.paths.conditions else self._endpoint.paths.exact

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            near = environ["PATH_INFO"] in self._paths
        except KeyError:
            # An empty path may be left out (PEP 3333).
            near = "" in self._paths
        if near and environ["REQUEST_METHOD"] == "POST" and self._matches(environ):
            return self._serve(environ, start_response)
        return self.app(environ, start_response)

    def close(self) -> None:
        """Give back what the executor holds, such as its threads."""
        self._endpoint.executor.close()

    def _matches(self, environ: dict[str, Any]) -> bool:
        return self._endpoint.paths.match(environ.get("PATH_INFO", ""), environ.get("QUERY_STRING", ""))

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        received = perf_counter()
        head = _head_of(environ)
        drive = Drive(self.app, environ, head, self._endpoint, received)
        pieces = drive.through(exchange(head, self._endpoint))
        chunks = next(pieces)
        if drive.streamed:
            return _sent(drive, [], Stream(pieces), start_response)
        for more in pieces:
            chunks += more
        size = sum(map(len, chunks))
        body = [b"".join(chunks)] if size <= _JOINED else chunks
        return _sent(drive, [("Content-Length", str(size))], body, start_response)


def _sent(drive: Drive, framing: Headers, body: Iterable[bytes], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response(f"{drive.status} {responses.get(drive.status, 'Unknown')}", [*drive.headers, *framing])
    return body


class _Anywhere:
    """Where batches may be posted that are told by their query."""

    def __contains__(self, path: object) -> bool:
        return True


def _head_of(environ: dict[str, Any]) -> Head:
    """What the story has to know of the batch request."""
    media_type, parameters = parse_options_header(environ.get("CONTENT_TYPE", ""))
    origin, site = environ.get("HTTP_ORIGIN", ""), environ.get("HTTP_SEC_FETCH_SITE", "none")
    same_origin = site == "same-origin" or (bool(origin) and origin.lower() == webob.Request(environ).host_url.lower())
    claim = environ.get(CLAIM)
    mount = environ.get("SCRIPT_NAME", "")
    return Head(
        path=mount + environ.get("PATH_INFO", ""),
        mount=mount and quote(mount.encode("latin-1"), "/!$&'()*+,;=:@~"),
        host=environ["HTTP_HOST"] if "HTTP_HOST" in environ else f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}",
        scheme=environ["wsgi.url_scheme"],
        query=environ.get("QUERY_STRING", ""),
        media_type=media_type,
        parameters=parameters,
        headers=EnvironHeaders(environ),
        content_encoding=environ.get("HTTP_CONTENT_ENCODING", ""),
        key=environ.get(KEY),
        lines="x-ndjson" in environ.get("HTTP_ACCEPT", "").lower() and _prefers_lines(environ),
        item=environ.get(MARK),
        cookies="HTTP_COOKIE" in environ,
        same_origin=same_origin,
        # None is what a user starts who is on no page.
        other_origin=not same_origin and (bool(origin) or site != "none"),
        lasting=None if claim is None else claim.lasting,
    )


def _prefers_lines(environ: dict[str, Any]) -> bool:
    offers = webob.Request(environ).accept.acceptable_offers(["application/json", "application/x-ndjson"])
    return bool(offers) and offers[0][0] == "application/x-ndjson"
