"""What fuzzing calls: the decoders, one by one, and the middleware with all that is behind it. Whatever they raise is a finding."""

import logging
import warnings
from collections.abc import Callable, Iterable
from contextlib import closing
from copy import copy
from typing import Any
from wsgiref.validate import validator

import msgspec

from tests.apps import mirror, show
from tests.gateway import Answer, send
from tests.soak.listening import Listener
from tests.soak.message import read
from wsgibatch import Batch, BatchMiddleware, BatchRejected, Head, Settings, _lookup, dialects
from wsgibatch._body import FORM_DATA, Spool
from wsgibatch._exchange import _batch_among
from wsgibatch._input import parts_of
from wsgibatch.dialects._lines import TYPE, LinesReader
from wsgibatch.dialects._profiles import PROFILES
from wsgibatch.protocols import Dialect, LinesDialect, Unanswered
from wsgibatch.wsgi import _head_of

WORDS = _lookup.members(dialects)
Target = Callable[[bytes], str]
"""Takes an input, and says in a word what became of it."""

_LIMIT = 1 << 20


def target_of(name: str) -> Target:
    """``middleware``, or a decoder by its word."""
    return Middleware() if name == "middleware" else Decoder(name)


class Decoder:
    """Reads a batch, and vets nothing: a batch, or its refusal."""

    def __init__(self, word: str) -> None:
        self._recogniser = _lookup.member(dialects, word)()
        profiles = PROFILES if word == "multipart" else ()
        self._settings: dict[str, Settings] = {name: Settings(profile=name, dialect="multipart") for name in profiles}
        self._plain = Settings(dialect=word)

    def __call__(self, data: bytes) -> str:
        message = read(data)
        settings = self._settings.get(message.word, self._plain)
        environ, body = message.environ(), message.body
        head = _head_of(environ)
        with closing(_Held()) as held:
            try:
                if head.media_type == FORM_DATA:
                    parts = parts_of(environ, head.parameters.get("boundary", ""), _LIMIT, held.spool)
                    body, head.parts = _batch_among(parts, _LIMIT)
                batch = self._recogniser.choose(head, body, settings).decode(head, body, settings)
            except BatchRejected as error:
                assert 400 <= error.status < 500, error.status
                error.detail.encode()
                return "refused"
        assert isinstance(batch, Batch), batch
        assert [item.index for item in batch.items] == list(range(len(batch.items)))
        return "read"


class _Held:
    """What a form's parts are written to, for as long as they are looked at."""

    def __init__(self) -> None:
        self.spool = Spool()

    def close(self) -> None:
        self.spool.release()


class Noted:
    """A dialect, and the last batch that it has read."""

    def __init__(self, dialect: Any, notes: dict[str, Any]) -> None:
        self._dialect, self._notes = dialect, notes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dialect, name)

    def choose(self, head: Head, body: bytes, settings: Settings) -> "Noted":
        return Noted(self._dialect.choose(head, body, settings), self._notes)

    def decode(self, head: Head, body: bytes, settings: Settings) -> Batch:
        batch: Batch = self._dialect.decode(head, body, settings)
        # As the client has them: vetting changes what a batch holds.
        self._notes.update(items=[copy(item) for item in batch.items], dialect=self._dialect)
        return batch


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers in all the ways of the two apps of the tests; what asks for a status is not let have nonsense, and has to be an item."""
    if environ["PATH_INFO"] in ("/raise", "/bin", "/text", "/empty", "/missing"):
        return show(environ, start_response)
    status = environ.get("HTTP_X_STATUS", "200 OK")
    sound = len(status) > 4 and status[:3].isascii() and status[:3].isdigit() and "200" <= status[:3] < "600" and status[3] == " "
    if not sound or "wsgibatch.item" not in environ:
        environ.pop("HTTP_X_STATUS", None)
    return mirror(environ, start_response)


_PATHS = ("/batch", "/$batch", "/_api/$batch", "*?comp=batch")
_WAYS: dict[str, dict[str, Any]] = {
    **{word: {"dialect": word} for word in WORDS},
    **{name: {"dialect": "multipart", "profile": name, "atomic": "stop"} for name in PROFILES},
    "stop": {"atomic": "stop", "coalesce": True, "durations": False},
    "free": {"order": "free", "atomic": "stop", "item_cookies": True},
    "stream": {"stream": True},
    "paths": {"allow_paths": ["/a", "/items"], "deny_paths": ["/a/deny"], "strip_prefix": "/api", "deny_headers": ["X-User"]},
    "small": {"max_requests": 3, "max_item_body": 64, "max_response": 300, "add_prefix": "/v1", "methods": ["GET", "POST"]},
    "facebook-stop": {"dialect": "facebook", "atomic": "stop", "stream": True},
    "odata-stop": {"dialect": "odata", "atomic": "stop"},
}


class Middleware:
    """Posts a batch to the middleware, in one of many setups: the answer is 2xx or 4xx, keeps PEP 3333, and can be read by the dialect's client."""

    def __init__(self) -> None:
        self._notes: dict[str, Any] = {}
        self._listener = Listener()
        # MERGE, which some clients of multipart use.
        warnings.filterwarnings("ignore", "Unknown REQUEST_METHOD")
        self._apps = {word: self._made(app, settings) for word, settings in _WAYS.items()}
        self._validated = {word: validator(self._made(validator(app), settings)) for word, settings in _WAYS.items()}
        self._words = list(self._apps)
        self._listener.attach(logging.ERROR)

    def _made(self, app: Any, settings: dict[str, Any]) -> Any:
        dialect = _lookup.member(dialects, settings.get("dialect", "auto"))()
        ours = {name: value for name, value in settings.items() if name not in ("dialect", "profile")}
        if "profile" in settings:
            dialect = _Fixed(dialect, settings["profile"])
        return BatchMiddleware(app, path=_PATHS, dialect=Noted(dialect, self._notes), **ours)

    def __call__(self, data: bytes) -> str:
        message = read(data)
        word = message.word if message.word in self._apps else self._words[len(message.word) % len(self._words)]
        # The checks and the records of all items take as long as everything else, so one input in four has them.
        strict = len(data) % 4 == 0
        logging.getLogger("wsgibatch").setLevel(logging.INFO if strict else logging.ERROR)
        chosen = (self._validated if strict else self._apps)[word]
        self._notes.clear()
        answer = send(chosen, message.environ())
        if self._listener.kept:
            raise self._listener.kept.pop()
        if "items" not in self._notes or answer.status >= 300:
            assert 200 <= answer.status < 300 or 400 <= answer.status < 500, answer
            _is_json(answer)
            return "refused" if answer.status >= 400 else "passed on"
        self._read_back(answer)
        return "answered"

    def _read_back(self, answer: Answer) -> None:
        dialect, items = self._notes["dialect"], self._notes["items"]
        _is_json(answer)
        if (answer.header("Content-Type") or "").startswith(TYPE):
            self._read_lines(dialect, answer)
            return
        try:
            dialect.read(answer.headers, answer.body, items)
        except Unanswered as unanswered:
            # Not wanted, or not run behind a failure.
            assert len(unanswered.answers) == len(items)

    def _read_lines(self, dialect: Dialect, answer: Answer) -> None:
        assert isinstance(dialect, LinesDialect)
        reader = LinesReader(dialect.read_line, self._notes["items"])
        list(reader.feed(answer.body))
        assert reader.complete


class _Fixed:
    """The dialect ``multipart`` for the clients of one profile, whatever their batch tells."""

    def __init__(self, dialect: Any, profile: Any) -> None:
        self._dialect, self._settings = dialect, Settings(dialect="multipart", profile=profile)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dialect, name)

    def choose(self, head: Head, body: bytes, settings: Settings) -> Any:
        return self._dialect.choose(head, body, self._settings)


def _is_json(answer: Answer) -> None:
    content_type = answer.header("Content-Type") or ""
    if answer.body and ("application/json" in content_type or "+json" in content_type):
        msgspec.json.decode(answer.body)
