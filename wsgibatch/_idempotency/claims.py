"""Idempotency without I/O: the keys of a request, its fingerprint, and what follows from what a store says of them.

A request *wants* keys: one of its client's or one derived from it, and one that it locks. What a store answers for each is *judged*: the request may
run, is answered as it was before, has to wait, or is refused by a problem document (RFC 9457).
"""

import re
from collections.abc import Iterable
from http import HTTPStatus
from math import ceil
from typing import Any, BinaryIO, Literal, TypeAlias

import msgspec
from msgspec import Struct

from .._keys import read_key
from ..model import SAFE, Claim, Claimed, Fault, Headers, Held, Kept
from .fingerprints import digest, digest_of, fingerprint, path_of, text_of, varied, whole_of
from .policy import Dimensions, Policy, cgi_name
from .records import NOT_KEPT, Record, decode

_FORMAT = "1"
"""Of keys and fingerprints: another one makes other keys of the same requests."""
_SHOWN = 64
"""Characters of a key that a problem document shows."""


class Refused(Exception):
    """A request is answered without running.

    :param retry_after: seconds, for a header of that name.
    :param in_flight: because another request has its key now?
    """

    def __init__(self, fault: Fault, retry_after: int | None = None, in_flight: bool = False) -> None:
        super().__init__(fault.detail)
        self.fault, self.retry_after, self.in_flight = fault, retry_after, in_flight


Kind: TypeAlias = Literal["explicit", "derived", "lock"]
Parts: TypeAlias = tuple[str | bytes | None, ...]
Principal: TypeAlias = tuple[str, ...]
"""Who sends a request, in words that can be hashed."""


class Wanted(Struct):
    """One key that a request wants to have for itself."""

    kind: Kind
    name: str
    """As the client wrote it, without quotes; of the other kinds, the key in the store."""
    key: str
    """In the store: a digest, from which neither the client's key nor who it is can be told."""
    fingerprint: bytes = b""
    shared: bool = False
    """Is it one for several clients, as far as is known?"""


class Busy(Struct):
    """Another request has the key now; seconds that it has it for, unless it takes longer."""

    left: float


Verdict: TypeAlias = Claimed | Record | Busy
"""Run it, answer it as before, or wait."""


def is_idle(environ: dict[str, Any], policy: Policy) -> bool:
    """Is there nothing to do? No client has sent anything that should be a key, and none is wanted, made or locked."""
    if policy.guards_all:
        return False
    for name in policy.fields:  # noqa: SIM110 - a loop is the quickest, and most requests have no key
        if name in environ:
            return False
    return True


def client_key(environ: dict[str, Any], policy: Policy) -> str | None:
    """The key that a client has sent, if it has.

    :raises Refused: for one that is none, several, or of another form than the policy wants; and for none where one is required.
    """
    found = [environ[name] for name in policy.fields if name in environ]
    if not found:
        if policy.required:
            raise Refused(Fault(400, "key-missing", f"Send the header {policy.header[0]} with a key of your own, such as a UUID."))
        return None
    key = read_key(found[0]) if len(found) == 1 else None
    if key is None:
        detail = "A key is 1 to 255 visible ASCII characters without commas, or such a string in double quotes, and is sent once."
        raise Refused(_keyed(Fault(400, "key-invalid", detail), ", ".join(found)))
    if policy.key_pattern is not None and not re.fullmatch(policy.key_pattern, key):
        raise Refused(_keyed(Fault(400, "key-invalid", "The key does not have the form that is expected here."), key))
    return key


def principal(environ: dict[str, Any], policy: Policy) -> Principal | None:
    """Who sends a request, in words that can be hashed; None when nobody knows, and the policy does not take such requests for one.

    :raises TypeError: when the policy's callable gives what is no text.
    """
    if policy.principal is not None:
        told = policy.principal(environ)
        if not (told is None or isinstance(told, str)):
            raise TypeError(f"principal gave {told!r}, which is neither text nor None")
        if told:
            return ("told", told)
    else:
        # A proxy or a test site may have one credential for all users, so cookies that are named always count.
        cookies = [word for pair in _cookies(environ, policy.cookies) if pair[1] for word in pair]
        if environ.get("HTTP_AUTHORIZATION"):
            return ("authorization", environ["HTTP_AUTHORIZATION"], *cookies)
        if environ.get("REMOTE_USER"):
            return ("user", environ["REMOTE_USER"], *cookies)
        if cookies:
            return ("cookies", *cookies)
    if policy.anonymous == "refuse":
        return None
    return ("address", environ.get("REMOTE_ADDR", "")) if policy.anonymous == "address" else ("shared",)


def _cookies(environ: dict[str, Any], names: tuple[str, ...]) -> list[tuple[str, str]]:
    """The cookies of these names, all of each name, since apps differ in which one they go by."""
    pairs = (pair.strip().partition("=") for pair in environ.get("HTTP_COOKIE", "").split(";")) if names else ()
    return sorted((name.strip(), value.strip()) for name, _, value in pairs if name.strip() in names)


def sender(environ: dict[str, Any], policy: Policy, key: str | None) -> Principal | None:
    """Who sends a request, where that matters; told before its body is read, since nobody makes us read a body to be refused.

    :raises Refused: when nobody knows, and a client has sent a key or the app wants a lock.
    """
    made = policy.derive if key is None else None
    if key is None and not any(callable(source) or (source is not None and source.principal) for source in (policy.lock, made)):
        return None
    who = principal(environ, policy)
    if who is None and (key is not None or (isinstance(policy.lock, Dimensions) and policy.lock.principal)):
        raise _nobody()
    return who


def _nobody() -> Refused:
    return Refused(
        Fault(400, "principal-missing", "Say who you are, as by Authorization: keys are each client's own, and requests of nobody have none.")
    )


def _derived(policy: Policy, key: str | None, who: Principal | None) -> Any:
    """What makes a key of a request: nothing, where nobody knows whose it would be. Its client has sent none, and is not refused for that."""
    source = policy.derive if key is None else None
    return None if who is None and (callable(source) or (source is not None and source.principal)) else source


def needs_body(policy: Policy, key: str | None, who: Principal | None) -> bool:
    """Does what a request wants depend on its body?"""
    made = (policy.lock, _derived(policy, key, who))
    return (key is not None and policy.fingerprint is not None) or any(callable(one) or (one is not None and one.body) for one in made)


def wanted(environ: dict[str, Any], policy: Policy, key: str | None, who: Principal | None, body: BinaryIO) -> list[Wanted]:
    """The keys that a request wants, in the order in which they are claimed: a lock stands outside of what is kept.

    :param who: what :func:`sender` told.
    :param body: of the request, left at its beginning.
    :raises Refused: when nobody knows who sends a request that wants a lock.
    """
    wants: list[Wanted] = []
    if policy.lock is not None and (parts := _parts("lock", policy.lock, environ, who, body)) is not None:
        wants.append(_wanted("lock", policy, parts))
    if key is not None:
        parts = (*(who or ()), key)
        wants.append(_wanted("explicit", policy, parts, key, fingerprint(environ, policy, body)))
    elif (source := _derived(policy, key, who)) is not None and (parts := _parts("derive", source, environ, who, body)) is not None:
        want = _wanted("derived", policy, parts)
        want.shared = who is None or who[0] in ("shared", "address")
        wants.append(want)
    return wants


def _wanted(kind: Kind, policy: Policy, parts: Parts, name: str = "", compared: bytes = b"") -> Wanted:
    stored = digest(_FORMAT, policy.namespace, kind, *parts)
    return Wanted(kind, name or stored, stored, compared)


def _parts(field: str, source: Any, environ: dict[str, Any], who: Principal | None, body: BinaryIO) -> Parts | None:
    """What makes a key of the request itself."""
    if isinstance(source, Dimensions):
        named = (who or ()) if source.principal else ("anybody",)
        # A lock is the app's, by whatever name it is reached; a reply is that of one host.
        host = ("host", environ.get("HTTP_HOST", "").lower()) if field == "derive" and source.path else ()
        return (str(len(named)), *named, *host, *_chosen(source, environ, body))
    told = source(environ, whole_of(body))
    if told is None:
        return None
    if who is None:
        raise _nobody()
    return (*who, "callable", text_of(told, field))


def _chosen(source: Dimensions, environ: dict[str, Any], body: BinaryIO) -> Iterable[str | bytes | None]:
    if source.method:
        yield from ("method", environ["REQUEST_METHOD"])
    if source.path:
        yield from ("path", path_of(environ))
    if source.query:
        yield from ("query", environ.get("QUERY_STRING", ""))
    if source.content_type:
        yield from ("type", environ.get("CONTENT_TYPE"))
    if source.remote_addr:
        yield from ("address", environ.get("REMOTE_ADDR"))
    for name in source.headers:
        yield from ("header", name.lower(), environ.get(cgi_name(name)))
    for name, value in _cookies(environ, source.cookies):
        yield from ("cookie", name, value)
    if source.body:
        yield "body"
        yield digest_of(body)


def judged(claim: Claim, want: Wanted, policy: Policy) -> Verdict | None:
    """What follows from what a store says of a key. None for a derived key whose reply cannot be read: its client asked for no promise.

    :raises Refused: when the request is not to run.
    """
    if isinstance(claim, Claimed):
        return claim
    if claim.fingerprint != want.fingerprint:
        detail = "This key was sent with another request: make a new one for each, and send it again only with the same request."
        raise Refused(_told(Fault(policy.reused_status, "key-reused", detail), want))
    if isinstance(claim, Held):
        return Busy(claim.left)
    record = decode(claim.value) if isinstance(claim, Kept) else None
    if record is None:
        if want.kind == "derived" and isinstance(claim, Kept):
            return None
        detail = "A request with this key was begun, and what became of it is not known: find out before you send it with a new key."
        raise Refused(_told(Fault(409, "outcome-unknown", detail), want))
    if record.flags & NOT_KEPT:
        raise Refused(_told(_too_large(record), want))
    return record


def fades(want: Wanted, policy: Policy) -> bool:
    """Does a reply end with what it goes by?"""
    return want.kind == "derived" and policy.on_change == "execute"


def fits(record: Record, want: Wanted, environ: dict[str, Any]) -> bool:
    """Does a reply fit what a request says in the fields that decided about it (RFC 9111, section 4.1)?

    That matters where nobody has said that both requests are one, and only to those that may always be executed: a form that is submitted twice is
    one whatever its second try says.
    """
    if want.kind != "derived" or not record.varied or environ["REQUEST_METHOD"] not in SAFE:
        return True
    return record.varied != "*" and record.varied == varied(environ, record.headers)


def withheld(headers: Headers, want: Wanted, environ: dict[str, Any]) -> bool:
    """Does an answer say that it is not to be kept (RFC 9111, section 5.2.2), where the app and not its client has it kept?

    That matters to reads only, as in :func:`fits`: many apps say so of all that they answer, and the form would be executed twice.
    """
    if want.kind != "derived" or environ["REQUEST_METHOD"] not in SAFE:
        return False
    said = {word.partition("=")[0].strip().lower() for name, value in headers if name.lower() == "cache-control" for word in str(value).split(",")}
    return "no-store" in said or ("private" in said and want.shared)


def _too_large(record: Record) -> Fault:
    location = next((value for name, value in record.headers if name.lower() == "location"), None)
    members: tuple[tuple[str, object], ...] = (("original_status", record.code),)
    if location is not None:
        members += (("location", location),)
    return Fault(409, "response-not-kept", "The request with this key has been answered, and the answer was too large to be kept.", members)


def in_flight(busy: Busy, want: Wanted, policy: Policy) -> Refused:
    """The refusal of a request that has waited in vain."""
    detail = "Another request that must not run beside this one" if want.kind == "lock" else "A request with this key"
    fault = Fault(policy.in_flight_status, "in-flight", f"{detail} is being answered: come back for its answer.")
    return Refused(_told(fault, want), max(1, min(ceil(busy.left), 5)), in_flight=True)


def in_group(want: Wanted) -> Refused:
    """The refusal of a member of a group of which a part has been answered before."""
    detail = "Of this group, some requests have been answered before and others have not, or two have one key: a group is sent again as it was."
    return Refused(_told(Fault(409, "in-group", detail), want))


def unavailable() -> Refused:
    """The refusal of a request that must not run unguarded."""
    return Refused(Fault(503, "store-unavailable", "Whether this request has been answered before cannot be found out now."), 1)


def revoked(want: Wanted) -> Refused:
    """The refusal to give an answer out again."""
    return Refused(_told(Fault(403, "replay-refused", "The answer to this request is not given out any more."), want))


def _told(fault: Fault, want: Wanted) -> Fault:
    """*fault* with the key that the client has sent."""
    return _keyed(fault, want.name) if want.kind == "explicit" else fault


def _keyed(fault: Fault, key: str) -> Fault:
    return fault._replace(members=(*fault.members, ("key", key[:_SHOWN])))


def problem(refused: Refused, policy: Policy) -> tuple[str, Headers, bytes]:
    """The answer that tells why: status line, headers, body."""
    fault = refused.fault
    phrase = HTTPStatus(fault.status).phrase
    told = {
        "type": policy.problem_base + fault.code if policy.problem_base else "about:blank",
        # A type of its own has a title of its own (RFC 9457, section 4.2.1).
        "title": fault.code.replace("-", " ").capitalize() if policy.problem_base else phrase,
        "status": fault.status,
        "code": fault.code,
        "detail": fault.detail,
        **dict(fault.members),
    }
    body = msgspec.json.encode(told)
    headers = [("Content-Type", "application/problem+json"), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
    if refused.retry_after is not None:
        headers.append(("Retry-After", str(refused.retry_after)))
    if policy.docs:
        headers.append(("Link", f'<{policy.docs}>; rel="describedby"'))
    return f"{fault.status} {phrase}", headers, body
