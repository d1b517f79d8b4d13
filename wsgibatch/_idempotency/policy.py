"""How requests are guarded, and which: the policies of idempotent replies, each field declared and checked once."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct
from msgspec.structs import fields, force_setattr

from .._grammar import TOKEN
from .._lookup import check_call, named, nearest
from ..errors import ConfigError
from ..settings import Words, checked, from_text

# Longer than anybody keeps a reply, and short enough for the arithmetic of every store.
LONGEST = 10 * 365 * 86400.0
"""Seconds that anything of this module can take."""
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=LONGEST)]
Pause: TypeAlias = Annotated[float, Meta(ge=0, le=LONGEST)]

DAY = 86400.0


def cgi_name(header: str) -> str:
    """Where an environ has *header*."""
    name = header.upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"


class Dimensions(Struct, kw_only=True, frozen=True):
    """What of a request makes a key, where the client sends none.

    :raises ConfigError: when nothing is chosen, since all requests would be one.
    """

    method: bool = True
    """GET, POST and so on."""
    path: bool = True
    """SCRIPT_NAME and PATH_INFO, and what a reply is kept for also the host; a lock holds for all names of the app."""
    query: bool = True
    """What stands behind the question mark, as it was sent."""
    content_type: bool = True
    """The header Content-Type, as it was sent."""
    body: bool = True
    """Every byte of it."""
    principal: bool = True
    """Who sends it. Without this dimension, one client is given what another one was answered."""
    remote_addr: bool = False
    """REMOTE_ADDR, and nothing that a client can write; what stands in its place behind a proxy is the server's affair."""
    headers: Words = ()
    """Further headers, by their names."""
    cookies: Words = ()
    """Cookies, by their names."""

    def __post_init__(self) -> None:
        for info in fields(type(self)):
            force_setattr(self, info.name, checked(info, getattr(self, info.name)))
        for name in self.headers:
            _check_header("headers", name)
        if not any(getattr(self, info.name) for info in fields(type(self))):
            raise ConfigError("Dimensions: at least one is needed")


class Policy(Struct, kw_only=True, frozen=True, dict=True):
    """How one kind of request is guarded. Building it checks every value.

    :raises ConfigError: for a value of the wrong type or out of range, and for fields that contradict each other.
    """

    header: Words = ("Idempotency-Key",)
    """The header that brings the key; several where clients differ, of which a request may have one. None, where keys are only derived."""
    required: bool = False
    """Is a request without a key refused?"""
    key_pattern: str | None = None
    """A regular expression for the whole of a key, and of the keys that a batch makes of its own: ``/`` and a name stand behind it there."""
    derive: Any = None
    """What makes a key of a request that brings none: :class:`Dimensions`, or ``f(environ, body) -> str | None``, where None leaves it alone."""
    lock: Any = None
    """What only one request at a time may have in common, whose replies are not kept: :class:`Dimensions`, or ``f(environ, body) -> str | None``."""
    namespace: str = ""
    """Sets the keys of one service apart from those of others in the same store."""

    principal: Any = None
    """Who sends a request: ``f(environ) -> str | None``. Left out, it is told by Authorization, else REMOTE_USER, and by the ``cookies``."""
    cookies: Words = ()
    """The cookies that tell who sends a request, such as ``sessionid``."""
    anonymous: Literal["refuse", "shared", "address"] = "refuse"
    """Requests of which nobody knows who sends them: ``refuse`` those with a key, and leave those without one unguarded; ``shared``, they are all one
    principal; ``address``, one for each REMOTE_ADDR."""
    revalidate: Any = None
    """``f(environ) -> bool``, asked before a reply is given out again: may this request still have it?"""

    fingerprint: Any = "raw"
    """What has to be equal where the key is: ``raw`` all bytes, ``json`` a JSON value however it is written, ``multipart`` all but the boundary,
    ``f(environ, body) -> bytes | str`` what that gives, None nothing."""

    wait: Pause = 0.0
    """Seconds that a request waits for another one with its key, which is being answered. ``Prefer: wait`` may lower it."""
    ttl: Seconds | None = None
    """Seconds that a reply is kept: a day, unless keys are derived; there it has to be said."""
    lease: Seconds = 30.0
    """Seconds after which a request whose process is gone is taken for lost; renewed all the while it runs."""
    max_run: Seconds = 900.0
    """Seconds for which a lease is renewed, since a request that hangs must not hold its key for ever."""
    keep: Seconds | None = None
    """Seconds that it is remembered that a request was lost: as ``ttl``."""
    on_crash: Literal["execute", "fail"] = "execute"
    """What a retry of a lost request gets: with ``execute`` it is executed again, with ``fail`` refused, since nobody knows how far the first one
    came."""
    drain_timeout: Pause = 5.0
    """Seconds for which an answer is read on whose client is gone."""

    on_change: Literal["execute", "replay"] = "execute"
    """What becomes of a reply with a derived key once somebody else has changed what it changed, or goes by: the next request is executed again
    (``execute``), or given it all the same (``replay``). Where the key was sent by a client, the reply is never anything but what it was."""
    expose_stale: bool = False
    """Say ``Idempotent-Stale: true`` with a reply of which that is so?"""

    on_error: Literal["release", "store"] = "release"
    """What becomes of a 5xx, and of an app that raised: the next try executes again (``release``), or is told the same (``store``)."""
    max_body: Annotated[int, Meta(ge=0)] | None = None
    """Bytes of an answer that are kept: what the store says (SQLite: 16 MiB), or 1 MiB. Of a larger one only its status and headers are."""
    max_request: Annotated[int, Meta(ge=0)] = 64 << 20
    """Bytes of a request that are read ahead, on disk from 256 KiB on; as much as what most proxies let through at their largest."""
    keep_cookies: bool = False
    """Is Set-Cookie part of a kept reply?"""

    in_flight_status: Literal[409, 423, 503] = 409
    """The status while another request has the key: 409, 423 or 503."""
    reused_status: Literal[422, 409] = 422
    """The status of a key that was sent with another request: 422, or 409."""
    replayed_header: str = "Idempotent-Replayed"
    """What marks a reply that is given out again."""
    expose_age: bool = False
    """Tell in Age how old such a reply is?"""
    problem_base: str = ""
    """What the types of problem documents begin with; they are ``about:blank`` where it is empty."""
    docs: str = ""
    """Where people can read of all this, for a Link in problem documents."""

    def __post_init__(self) -> None:
        for info in fields(type(self)):
            force_setattr(self, info.name, checked(info, getattr(self, info.name)))
        _check_together(self)

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Where an environ has the header."""
        return tuple(map(cgi_name, self.header))

    @cached_property
    def guards_all(self) -> bool:
        """Are requests without a key no matter of indifference?"""
        return self.required or self.derive is not None or self.lock is not None

    @property
    def kept_for(self) -> float:
        """Seconds that a reply is kept."""
        return DAY if self.ttl is None else self.ttl


Rule: TypeAlias = tuple[str | Iterable[str], str, Policy | None]
"""Methods, a regular expression for the whole of PATH_INFO, and the policy of such requests; None guards none of them."""
Choice: TypeAlias = Callable[[dict[str, Any]], Policy | None]
"""The policy of a request, by its environ."""


def _check_together(policy: Policy) -> None:
    if not (policy.header or policy.guards_all):
        raise ConfigError("header: at least one is needed, where nothing is derived or locked")
    for name in (*policy.header, policy.replayed_header):
        _check_header("header" if name in policy.header else "replayed_header", name)
    if policy.key_pattern is not None:
        _compiled("key_pattern", policy.key_pattern)
    for name in ("derive", "lock"):
        chosen = getattr(policy, name)
        if not (chosen is None or isinstance(chosen, Dimensions) or callable(chosen)):
            raise ConfigError(f"{name}: wsgibatch.idempotency.Dimensions or a callable is wanted, not {chosen!r}")
        if callable(chosen):
            check_call(name, chosen, "environ", "body")
    for name in ("principal", "revalidate"):
        if getattr(policy, name) is not None:
            check_call(name, getattr(policy, name), "environ")
    known = ("raw", "json", "multipart")
    if not (policy.fingerprint is None or policy.fingerprint in known or callable(policy.fingerprint)):
        raise ConfigError(f"fingerprint: {policy.fingerprint!r} is none of {', '.join(known)}, no callable and not None")
    if callable(policy.fingerprint):
        check_call("fingerprint", policy.fingerprint, "environ", "body")
    if policy.derive is not None and policy.required:
        raise ConfigError("derive: makes keys of requests that required=True refuses")
    if policy.derive is not None and policy.ttl is None:
        raise ConfigError("ttl: say for how long equal requests are one, where keys are derived")
    if policy.principal is not None and policy.cookies:
        raise ConfigError("cookies: are not looked at where principal is a callable")
    if policy.max_run < policy.lease:
        raise ConfigError("max_run: is shorter than a lease")
    for name in ("problem_base", "docs"):
        if re.search(r"[^!#-;=?-~]", getattr(policy, name)):
            raise ConfigError(f"{name}: {getattr(policy, name)!r} should be a URL")


def _check_header(field: str, name: str) -> None:
    if not TOKEN.match(name) or "_" in name:
        raise ConfigError(f"{field}: {name!r} should be written as in a request, such as 'Idempotency-Key'")


def _compiled(name: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{name}: {pattern!r} is no regular expression: {error}") from error


GUARDED = ("POST", "PATCH")
"""The methods that are neither safe nor idempotent by themselves (RFC 9110, section 9.2.2; RFC 5789, section 2)."""


def chosen(policy: Policy | Choice | Iterable[Rule] | None, overrides: dict[str, Any]) -> Choice:
    """What tells the policy of each request.

    :raises ConfigError: for a policy that cannot work.
    """
    known = [info.name for info in fields(Policy)]
    for name in overrides:
        if name not in known:
            raise ConfigError(f"a policy has no field {name!r} {nearest(name, known)}")
    if overrides and policy is not None:
        raise ConfigError(f"{next(iter(overrides))}: belongs into the policy that is given")
    if policy is None or isinstance(policy, Policy):
        return _by_method(Policy(**overrides) if policy is None else policy)
    if callable(policy):
        return _checked(policy)
    if isinstance(policy, str) or not isinstance(policy, Iterable):
        raise ConfigError(f"policy: {policy!r} is no Policy, no callable and no list of (methods, path, Policy)")
    rules = [_rule(rule) for rule in policy]
    if not rules:
        raise ConfigError("policy: a list without a rule guards nothing")
    return _by_rule(rules)


def _checked(choice: Choice) -> Choice:
    check_call("policy", choice, "environ")

    def choose(environ: dict[str, Any]) -> Policy | None:
        policy = choice(environ)
        if policy is None or isinstance(policy, Policy):
            return policy
        raise TypeError(f"policy gave {policy!r}, which is neither a Policy nor None")

    return choose


def _by_method(policy: Policy) -> Choice:
    if not policy.guards_all and len(policy.fields) == 1:
        # The usual case, in the shortest way.
        [first] = policy.fields
        return lambda environ: policy if first in environ and environ["REQUEST_METHOD"] in GUARDED else None

    def choose(environ: dict[str, Any]) -> Policy | None:
        return policy if environ["REQUEST_METHOD"] in GUARDED else None

    return choose


def _by_rule(rules: list[tuple[frozenset[str], re.Pattern[str], Policy | None]]) -> Choice:
    def choose(environ: dict[str, Any]) -> Policy | None:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        return next((policy for methods, pattern, policy in rules if method in methods and pattern.fullmatch(path)), None)

    return choose


def _rule(rule: Any) -> tuple[frozenset[str], re.Pattern[str], Policy | None]:
    try:
        methods, pattern, policy = rule
        methods = frozenset([methods] if isinstance(methods, str) else methods)
    except (TypeError, ValueError):
        raise ConfigError(f"policy: {rule!r} should be (methods, path, Policy)") from None
    for method in methods:
        if not (isinstance(method, str) and method.isascii() and method.isalpha() and method.isupper()):
            raise ConfigError(f"policy: {method!r} should be a method in upper case")
    if not isinstance(pattern, str) or not (policy is None or isinstance(policy, Policy)):
        raise ConfigError(f"policy: {rule!r} should be (methods, path, Policy)")
    return methods, _compiled("policy", pattern), policy


def understood(name: str, value: Any) -> Any:
    """What a value for the field *name* means, where it is text that stands for something else.

    ``package.module:name`` is a callable; dimensions are words, of which ``header:X-Tenant`` and ``cookie:tenant`` name one of several; ``none`` is a
    fingerprint of nothing.

    :raises ConfigError: for a reference that leads nowhere, and for a word that is no dimension.
    """
    if not isinstance(value, str):
        return value
    if name in ("principal", "revalidate"):
        return named(value, name)
    if name == "fingerprint":
        return None if value == "none" else named(value, name) if ":" in value else value
    if name in ("derive", "lock"):
        return _dimensions(name, value)
    return value


def _dimensions(field: str, text: str) -> Any:
    words = text.replace(",", " ").split()
    if len(words) == 1 and ":" in text and words[0].partition(":")[0] not in ("header", "cookie"):
        return named(words[0], field)
    several: dict[str, list[str]] = {"headers": [], "cookies": []}
    known = [info.name for info in fields(Dimensions) if info.name not in several]
    found = dict.fromkeys(known, False)
    for word in words:
        kind, colon, name = word.partition(":")
        if colon and f"{kind}s" in several:
            several[f"{kind}s"].append(name)
        elif word in known:
            found[word] = True
        else:
            raise ConfigError(f"{field}: there is no dimension {word!r} {nearest(word, known)}")
    return Dimensions(**found, headers=tuple(several["headers"]), cookies=tuple(several["cookies"]))


def fields_from_strings(values: Mapping[str, str]) -> dict[str, Any]:
    """Fields of a policy from text, as an ini file has them: as :meth:`wsgibatch.Settings.from_strings` reads text, and as :func:`understood`.

    :raises ConfigError: as they do.
    """
    by_name = {info.name: info for info in fields(Policy)}
    return {name: understood(name, from_text(by_name[name], text) if name in by_name else text) for name, text in values.items()}
