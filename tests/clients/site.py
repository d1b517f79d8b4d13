"""What the clients of these tests talk to: an app that shows what it was asked, a batch endpoint before it, and before that a count of requests."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from tests.apps import IMAGE, mirror
from wsgibatch import BatchMiddleware

MOST = 10
"""Requests that the endpoint takes in a batch."""
TEXT = "Grüße aus dem Süden"


class App:
    """``/echo`` shows the request; the others do what their name says."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()
        self._events: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        _, name, *rest = environ["PATH_INFO"].split("/")
        query = parse_qs(environ["QUERY_STRING"])
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if name == "bin":
            return answer(start_response, 200, IMAGE, ("Content-Type", "image/png"))
        if name == "text":
            return answer(start_response, 200, TEXT.encode(), ("Content-Type", "text/plain; charset=utf-8"))
        if name == "status":
            return answer(start_response, int(rest[0]), json.dumps({"said": rest[0]}).encode(), ("Content-Type", "application/json"))
        if name == "empty":
            return answer(start_response, 204, b"")
        if name == "moved":
            return answer(start_response, 302, b"", ("Location", "/echo"))
        if name == "cookies":
            return answer(start_response, 200, b"{}", ("Content-Type", "application/json"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/"))
        if name == "busy":
            return self._busy(start_response, environ["PATH_INFO"], int(rest[1]), query)
        if name == "wait":
            came = self._event(rest[0]).wait(20)
            return answer(start_response, 200 if came else 500, b"{}", ("Content-Type", "application/json"))
        if name == "go":
            self._event(rest[0]).set()
        shown = {
            "method": environ["REQUEST_METHOD"],
            "path": environ["PATH_INFO"],
            "query": environ["QUERY_STRING"],
            "body": body.decode("latin-1"),
            "type": environ.get("CONTENT_TYPE", ""),
            "headers": {key[5:]: value for key, value in environ.items() if key.startswith("HTTP_")},
            "item": environ.get("wsgibatch.item"),
        }
        # Pretty, so that there are line breaks in it.
        return answer(start_response, 200, json.dumps(shown, indent=1).encode(), ("Content-Type", "application/json"), ("X-Shown", "yes"))

    def _busy(self, start_response: Callable[..., Any], path: str, times: int, query: dict[str, list[str]]) -> Iterable[bytes]:
        """503, or another status, so many times, and then how often it was asked."""
        with self._lock:
            self._asked[path] += 1
            asked = self._asked[path]
        status = int(query.get("status", ["503"])[0]) if asked <= times else 200
        after = [("Retry-After", query["after"][0])] if "after" in query and status != 200 else []
        return answer(start_response, status, json.dumps({"asked": asked}).encode(), ("Content-Type", "application/json"), *after)

    def _event(self, name: str) -> threading.Event:
        with self._lock:
            return self._events.setdefault(name, threading.Event())


def answer(start_response: Callable[..., Any], status: int, body: bytes, *headers: tuple[str, str]) -> Iterable[bytes]:
    length = [] if status == 204 else [("Content-Length", str(len(body)))]
    start_response(f"{status} Said So", [*headers, *length])
    return [body]


class Counted:
    """Counts requests by path; ``/seen`` tells."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app, self._seen, self._lock = app, Counter[str](), threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            if environ["PATH_INFO"] == "/seen":
                return answer(start_response, 200, json.dumps(self._seen).encode(), ("Content-Type", "application/json"))
            self._seen[environ["PATH_INFO"]] += 1
        return self._app(environ, start_response)


def make(dialect: str) -> Counted:
    """The app behind an endpoint that speaks *dialect*."""
    return Counted(BatchMiddleware(App(), dialect=dialect, executor="threads", workers=4, max_requests=MOST))


def make_mirror(dialect: str) -> BatchMiddleware:
    """An app that shows its environ."""
    return BatchMiddleware(mirror, dialect=dialect, max_requests=100)
