"""Every setting, declared once: its name, type, default and one sentence.

Three doors lead in, and all values pass the one check in :meth:`Settings.__post_init__`: keyword arguments (typed), strings as an ini file has
them (:meth:`Settings.from_strings`) and, only when asked for, environment variables (:meth:`Settings.from_environment`).
"""

import os
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import FieldInfo, fields, force_setattr

from ._grammar import TOKEN
from ._lookup import named, nearest
from ._paths import condition, configured
from .errors import ConfigError
from .model import SubRequest, SubResponse

BeforeItem: TypeAlias = Callable[[SubRequest, dict[str, Any]], SubResponse | None]
AfterItem: TypeAlias = Callable[[SubRequest, SubResponse], None]

Profile: TypeAlias = Literal["google", "flask-batch", "aspnet", "odata2", "odata4", "sharepoint", "azure-blob", "azure-tables"]
"""Whose clients send a batch in multipart; what they need differs in a few points."""

Words: TypeAlias = tuple[str, ...]
# A read of one byte more has to be possible.
Bytes: TypeAlias = Annotated[int, Meta(ge=1, le=(1 << 62) - 1)]
Count: TypeAlias = Annotated[int, Meta(ge=1)]
# A day is longer than anybody waits; a clock overflows far beyond it.
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=86400)]

_TAKEN = frozenset(
    {"cache-control", "connection", "content-encoding", "content-length", "content-type", "date", "keep-alive", "location"}
    | {"server", "server-timing", "set-cookie", "te", "trailer", "transfer-encoding", "upgrade", "vary", "x-content-type-options"}
)
"""Headers of an answer that a duration cannot stand in."""
_COMPUTED = frozenset(
    {"REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "CONTENT_TYPE", "CONTENT_LENGTH", "RAW_URI", "REQUEST_URI"}
    | {"wsgi.input", "wsgi.input_terminated", "wsgi.file_wrapper", "wsgi.run_once"}
    | {"wsgibatch.deadline", "wsgibatch.group", "wsgibatch.idempotency", "wsgibatch.in_turn", "wsgibatch.item"}
)
"""Environ keys that each item has of its own."""
_REFERENCE = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")
_SIZES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})


def _about(sentence: str, default: str = "") -> Meta:
    return Meta(description=sentence, extra={"default": default} if default else None)


class Settings(Struct, kw_only=True, frozen=True):
    """The settings of one batch middleware. Building it checks every value.

    :raises ConfigError: for a value of the wrong type or out of range, and for settings that contradict each other.
    """

    path: Annotated[Words, _about("Where batches are posted: one path or several, each with an optional query condition (`*?comp=batch`).")] = (
        "/batch",
    )
    dialect: Annotated[Any, _about("The wire format: a name, `package.module:name`, or an object.")] = "auto"
    profile: Annotated[
        Literal["auto"] | Profile, _about(f"Whose clients send `multipart`: {', '.join(get_args(Profile))}.", "told by the request")
    ] = "auto"
    executor: Annotated[
        Any,
        _about("Where items run: `sequential`, `threads`, `gevent`, `processes`, `package.module:name`, or an object, also of `concurrent.futures`."),
    ] = "sequential"
    workers: Annotated[
        Annotated[int, Meta(ge=1, le=1024)],
        _about("Items of one batch at a time; threads, or with `processes` processes, for each process of the server.", "4 per CPU"),
    ] = field(
        # As django-batch-requests has it: items of a web app mostly wait.
        default_factory=lambda: 4 * (os.cpu_count() or 1)
    )
    order: Annotated[
        Literal["barrier", "free", "sequential"],
        _about("`barrier`: neighbouring safe methods may run side by side, every other item runs alone; `free`; `sequential`."),
    ] = "barrier"
    worker_app: Annotated[
        str | None,
        _about("The app that items run in elsewhere, `package.module:name`: the bare one, without this middleware.", "none"),
    ] = None
    timeout: Annotated[
        Seconds | None, _about("Seconds that an item may take; a longer one becomes a 504. Needs an executor that can leave it.", "none")
    ] = None
    deadline: Annotated[Seconds | None, _about("Seconds from the receipt of a batch after which what is not answered becomes a 504.", "none")] = None
    # Each of them holds a thread, and what it has opened.
    max_abandoned: Annotated[Count, _about("Calls that may still be running when nobody waits for them any more; then batches are answered 503.")] = (
        32
    )
    stream: Annotated[bool, _about("Send each answer as soon as it and all before it are there.")] = False
    coalesce: Annotated[bool, _about("Run equal safe items of a batch once, and answer each of them with that.")] = False
    atomic: Annotated[
        Any,
        _about("What makes atomic groups all or nothing: `package.module:name`, or a callable. `stop` only stops a group at a failure.", "none"),
    ] = None
    max_requests: Annotated[
        Count | None, _about("Items in a batch; `kinto` has 25 by default, `facebook` 50, `odata` and `multipart` 100.", "the dialect's: 20")
    ] = None
    max_body: Annotated[Bytes | None, _about("Bytes of a batch, with its files.", "the dialect's: 1 MiB; 10 MiB with files")] = None
    max_item_body: Annotated[Bytes | None, _about("Bytes of one item's body.", "what `max_body` leaves")] = None
    # The whole answer is held in memory until it is sent; 10 MiB is what cloud gateways let a single answer have.
    max_response: Annotated[Bytes, _about("Bytes of one item's answer; a longer one becomes a 502.", "10 MiB")] = 10 << 20
    methods: Annotated[Words, _about("Methods that items may use. CONNECT and TRACE never are.")] = (
        "GET",
        "HEAD",
        "OPTIONS",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
    )
    durations: Annotated[bool, _about("Tell how long each item and the batch took.")] = True
    duration_header: Annotated[str | None, _about("Another name for the duration header.", "`Batch-Duration`")] = None
    allow_paths: Annotated[Words, _about("Only these paths, and what is below them, may be reached by items.", "all")] = ()
    deny_paths: Annotated[Words, _about("These paths, and what is below them, may not be reached by items.", "none")] = ()
    deny_headers: Annotated[Words, _about("Further headers that an item may not set; the batch's own value stands.", "none")] = ()
    strip_prefix: Annotated[str, _about("Taken off the front of an item's url where it is there.", "none")] = ""
    add_prefix: Annotated[str, _about("Put in front of an item's url where it is not.", "none")] = ""
    keep_environ: Annotated[Words, _about("Further environ keys that items take over from the batch request.", "none")] = ()
    item_cookies: Annotated[bool, _about("May an item bring a Cookie header of its own?")] = False
    before_item: Annotated[
        Any, _about("`f(request, environ)`, called before each item; a `SubResponse` that it returns takes the app's place.", "none")
    ] = None
    after_item: Annotated[
        Any, _about("`f(request, response)`, called with the answer to each item that was not refused; it may change the answer.", "none")
    ] = None

    def __post_init__(self) -> None:
        for info in fields(type(self)):
            force_setattr(self, info.name, checked(info, getattr(self, info.name)))
        _check_together(self)

    def replace(self, **overrides: Any) -> "Settings":
        """A copy with other values.

        :raises ConfigError: for an unknown name, with the nearest known one, and for a wrong value.
        """
        _check_names(overrides)
        return Settings(**(msgspec.structs.asdict(self) | overrides))

    @classmethod
    def from_strings(cls, values: Mapping[str, str]) -> "Settings":
        """Settings from text, as an ini file has them.

        A list is separated by commas or white space, a truth value is one of true/yes/on/1 and false/no/off/0, a size may end in KiB, MiB or
        GiB, and a hook is written ``package.module:name``.

        :raises ConfigError: as :class:`Settings`, and for an unknown name.
        """
        _check_names(values)
        by_name = {info.name: info for info in fields(cls)}
        return cls(**{name: from_text(by_name[name], text) for name, text in values.items()})

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, prefix: str = "WSGIBATCH_") -> "Settings":
        """Settings from environment variables: ``WSGIBATCH_MAX_REQUESTS`` sets ``max_requests``. Nothing reads them unless you call this.

        :raises ConfigError: as :meth:`from_strings`.
        """
        source = os.environ if environ is None else environ
        return cls.from_strings({name.removeprefix(prefix).lower(): text for name, text in source.items() if name.startswith(prefix)})


def _check_names(values: Mapping[str, Any]) -> None:
    known = [info.name for info in fields(Settings)]
    for name in values:
        if name not in known:
            raise ConfigError(f"there is no setting {name!r} {nearest(name, known)}")


def checked(info: FieldInfo, value: Any) -> Any:
    """*value* in the declared type; a lone word may stand for a list of one."""
    if isinstance(value, str) and _is_list(info.type):
        if "," in value or len(value.split()) != 1:
            raise ConfigError(f"{info.name}: {value!r} is one word that looks like several: give a list")
        value = (value,)
    try:
        return msgspec.convert(value, info.type)
    except msgspec.ValidationError as error:
        words = [str(word) for word in _bare(info.type) if not isinstance(word, type)]
        raise ConfigError(f"{info.name}: {value!r} is none of {', '.join(words)}" if words else f"{info.name}: {error}") from None


def _check_together(settings: Settings) -> None:
    for name in ("allow_paths", "deny_paths"):
        for path in getattr(settings, name):
            configured(name, path)
    for path in settings.path:
        if "?" in path:
            condition(path)
        else:
            configured("path", path)
    for name in ("strip_prefix", "add_prefix"):
        prefix = getattr(settings, name)
        if prefix and not (prefix.isascii() and "?" not in prefix and configured(name, prefix) == prefix):
            raise ConfigError(f"{name}: {prefix!r} should be a plain path in ASCII, without a slash at its end")
    for name in ("before_item", "after_item"):
        hook = getattr(settings, name)
        if hook is not None and not callable(hook):
            raise ConfigError(f"{name}: a callable is wanted, not {hook!r}")
    atomic = settings.atomic
    if not (atomic is None or atomic == "stop" or callable(atomic) or (isinstance(atomic, str) and ":" in atomic)):
        raise ConfigError(f"atomic: 'stop', 'package.module:name' or a callable is wanted, not {atomic!r}")
    if settings.worker_app is not None and not _REFERENCE.fullmatch(settings.worker_app):
        raise ConfigError(f"worker_app: {settings.worker_app!r} should be written 'package.module:name'")
    if settings.worker_app is not None and settings.worker_app.startswith("__main__:"):
        raise ConfigError("worker_app: a worker has a main module of its own; the app has to be in another one")
    if settings.profile != "auto" and settings.dialect not in ("auto", "multipart"):
        raise ConfigError(f"profile: {settings.profile!r} says something of the dialect 'multipart' only")
    if settings.timeout is not None and settings.deadline is not None and settings.timeout > settings.deadline:
        raise ConfigError(f"timeout: {settings.timeout} seconds are never up before the deadline of {settings.deadline}")
    for method in settings.methods:
        if method in ("CONNECT", "TRACE"):
            raise ConfigError(f"methods: {method} changes or reveals the connection and can never be an item's")
        if not (method.isascii() and method.isalpha() and method.isupper()):
            raise ConfigError(f"methods: {method!r} should be letters in upper case")
    for name in ("path", "methods"):
        if not getattr(settings, name):
            raise ConfigError(f"{name}: at least one is needed")
    for name in settings.deny_headers:
        if not TOKEN.match(name) or "_" in name:
            raise ConfigError(f"deny_headers: {name!r} should be written as in a request, such as 'X-User'")
    for key in settings.keep_environ:
        if key in _COMPUTED:
            raise ConfigError(f"keep_environ: {key} is each item's own")
    if settings.duration_header is not None and not TOKEN.match(settings.duration_header):
        raise ConfigError(f"duration_header: {settings.duration_header!r} is no header name (RFC 9110, section 5.1)")
    if settings.duration_header is not None and settings.duration_header.lower() in _TAKEN:
        raise ConfigError(f"duration_header: {settings.duration_header} means something else")
    if not settings.durations and settings.duration_header:
        raise ConfigError("duration_header: names a header that durations=False leaves out")


def from_text(info: FieldInfo, text: str) -> Any:
    """What *text* says, in a type that the check will take."""
    text = text.strip()
    wanted = _bare(info.type)
    if info.name in ("before_item", "after_item"):
        return named(text, info.name)
    if _is_list(info.type):
        return tuple(text.replace(",", " ").split())
    if bool in wanted:
        return _truth(info.name, text)
    if int in wanted or any(type(word) is int for word in wanted):
        return _number(info.name, text)
    if float in wanted:
        return _seconds(info.name, text)
    return text


def _truth(name: str, text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ConfigError(f"{name}: {text!r} should be true or false")


def _number(name: str, text: str) -> int:
    digits, unit = text, 1
    for suffix, factor in _SIZES.items():
        if text.endswith(suffix):
            digits, unit = text.removesuffix(suffix).strip(), factor
    if not (digits.isascii() and digits.isdigit()):
        raise ConfigError(f"{name}: {text!r} should be a whole number, or one with KiB, MiB or GiB behind it")
    return int(digits) * unit


def _seconds(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{name}: {text!r} should be a number of seconds") from None


def _bare(declared: Any) -> tuple[Any, ...]:
    """The plain types in a declaration: ``Annotated[int | None, ...]`` holds ``int`` and ``NoneType``."""
    while get_origin(declared) is Annotated:
        declared = get_args(declared)[0]
    return tuple(found for part in get_args(declared) for found in _bare(part)) or (declared,)


def _is_list(declared: Any) -> bool:
    while get_origin(declared) is Annotated:
        declared = get_args(declared)[0]
    return get_origin(declared) is tuple
