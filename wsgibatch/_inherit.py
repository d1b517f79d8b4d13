"""What an item takes over from the batch request, and what it may bring of its own.

An item's environ is built from an allow-list, never from a patched copy of the batch's: framework caches, server sockets and whatever outer
middleware left there would otherwise turn up in every item. Headers come through unless they speak of the batch's own body, connection or
conditions. What says who the client is can only come from the batch request, where servers and proxies have vetted it.
"""

from typing import Any
from wsgiref.util import FileWrapper

from ._grammar import TOKEN
from .settings import Settings

MARK = "wsgibatch.item"
"""The environ key that tells an item, and its index, to whoever cares."""
DEADLINE = "wsgibatch.deadline"
"""The environ key of the moment from which on an item is late, on the clock of :func:`time.monotonic`."""
GROUP = "wsgibatch.group"
"""The environ key of the atomic group that an item belongs to, while it runs."""
CLAIM = "wsgibatch.idempotency"
"""The environ key of what holds the key of a request, while it runs."""
IN_TURN = "wsgibatch.in_turn"
"""The environ key of an item whose batch runs its writes one after the other, and wants to be told of one that is in flight elsewhere."""
IN_FLIGHT = "Wsgibatch-In-Flight"
"""The header that tells it, of an answer to such an item."""
TOUCH, READS = "wsgibatch.touch", "wsgibatch.reads"
"""The environ keys of what a request says what it changes, and what its answer goes by, with."""

_KEPT = (
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "SERVER_SOFTWARE",
    "GATEWAY_INTERFACE",
    "SCRIPT_NAME",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REMOTE_HOST",
    "REMOTE_USER",
    "AUTH_TYPE",
    "HTTPS",
    "UNIQUE_ID",
    "mod_wsgi.application_group",
    "mod_wsgi.process_group",
    "wsgi.version",
    "wsgi.url_scheme",
    "wsgi.errors",
    "wsgi.multithread",
    "wsgi.multiprocess",
    # Where it is the batch that is collected, what its items say is said of it.
    TOUCH,
    READS,
)

URI_KEYS = ("RAW_URI", "REQUEST_URI")
"""Where gunicorn, and waitress, uWSGI and mod_wsgi, say what the request line said; rewritten for an item where the batch has them."""

_NOT_INHERITED = frozenset(
    {
        "HTTP_ACCEPT_ENCODING",
        "HTTP_CONNECTION",
        "HTTP_DIGEST",
        "HTTP_EXPECT",
        "HTTP_HTTP2_SETTINGS",
        "HTTP_IDEMPOTENCY_KEY",
        "HTTP_KEEP_ALIVE",
        "HTTP_PREFER",
        "HTTP_RANGE",
        "HTTP_TE",
        "HTTP_TRAILER",
        "HTTP_TRANSFER_ENCODING",
        "HTTP_UPGRADE",
        # Some proxies say here what the url of the batch was.
        "HTTP_X_ORIGINAL_URI",
        "HTTP_X_ORIGINAL_URL",
        "HTTP_X_REWRITE_URL",
    }
)
_NOT_INHERITED_PREFIXES = ("HTTP_CONTENT_", "HTTP_IF_", "HTTP_PROXY", "HTTP_SEC_WEBSOCKET_", "HTTP_X_HTTP_METHOD", "HTTP_X_METHOD_OVERRIDE")

# What an item may not set. The framing is computed, the host is the batch's, and the rest claims an identity or an origin, or changes the
# method behind the back of what has vetted it. `Proxy` would become HTTP_PROXY, which CGI programs take for the address of their proxy.
_DROPPED = frozenset(
    {
        "accept-encoding",
        "cf-connecting-ip",
        "client-ip",
        "connection",
        "expect",
        "fastly-client-ip",
        "fly-client-ip",
        "forwarded",
        "front-end-https",
        "host",
        "http2-settings",
        "keep-alive",
        "origin",
        "referer",
        "te",
        "trailer",
        "true-client-ip",
        "upgrade",
        "x-azure-clientip",
        "x-azure-socketip",
        "x-client-cert",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-forward-for",
        "x-host",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-for",
        "x-original-host",
        "x-original-method",
        "x-original-uri",
        "x-original-url",
        "x-proxyuser-ip",
        "x-real-ip",
        "x-rewrite-url",
        "x-scheme",
        "x-script-name",
        "x-url-scheme",
    }
)
_DROPPED_PREFIXES = (
    *("proxy", "remote-", "sec-", "ssl-", "x-forwarded", "x-remote-", "x-ssl-"),
    # Of proxies that sign in users, or tell where a client is.
    *("x-amzn-oidc-", "x-auth-request-", "x-envoy-", "x-goog-authenticated-user-", "x-goog-iap-", "x-originating-"),
    *("x-ms-client-principal", "x-ms-token-", "cf-", "cloudfront-", "tailscale-", "x-consumer-", "x-credential-", "x-authentik-"),
    *("x-accel-", "x-pomerium-", "x-authenticated-", "x-webauth-", "x-appengine-", "x-client-", "client-cert", "x-arr-"),
    *("wl-proxy-", "x-vercel-", "x-nf-"),
)

_PRINCIPAL = frozenset({"authorization", "cookie"})

_MEMORY = 1024
_LONGEST = 64
"""Characters of a name that is remembered, so that nobody can fill the memory with junk."""


def template(environ: dict[str, Any], settings: Settings, concurrent: bool) -> dict[str, Any]:
    """What every item of the batch in *environ* has in its own environ; copied for each, then completed."""
    try:
        # Twice as fast as asking for each key whether it is known.
        made = {key: value for key, value in environ.items() if _inherited[key]}
    except KeyError:
        made = {key: value for key, value in environ.items() if _learnt(key)}
    for key in settings.keep_environ:
        if key in environ:
            made[key] = environ[key]
    accept = made.get("HTTP_ACCEPT", "").lower()
    if accept.startswith("multipart/") or "x-ndjson" in accept:
        # It asks for the form of the batch's own answer.
        del made["HTTP_ACCEPT"]
    connection = environ.get("HTTP_CONNECTION", "")
    # What nearly all clients and proxies say calls nothing its own.
    if connection.lower() not in _USUAL:
        for key in _named_by_connection(connection, settings):
            made.pop(key, None)
    if concurrent:
        made["wsgi.multithread"] = True
    made["wsgi.run_once"] = False
    made["wsgi.input_terminated"] = True
    # The server's own wrapper may hand the file to the client's socket.
    made["wsgi.file_wrapper"] = FileWrapper
    return made


_USUAL = frozenset({"", "close", "keep-alive"})


_inherited = dict.fromkeys(_KEPT, True)
"""A bounded memory: does an item have this key of the outer environ?"""


def _learnt(key: str) -> bool:
    inherited = _inherited.get(key)
    if inherited is None:
        header = key.startswith("HTTP_") and key not in _NOT_INHERITED and not key.startswith(_NOT_INHERITED_PREFIXES)
        inherited = header or key.startswith("SSL_")
        if len(_inherited) < _MEMORY and len(key) <= _LONGEST:
            _inherited[key] = inherited
    return inherited


def is_inherited(name: str) -> bool:
    """Does an item that brings no header called *name* have the batch's?"""
    return _learnt("HTTP_" + name.upper().replace("-", "_"))


def is_dropped(name: str) -> bool:
    """Is a header called *name* left out where an item brings it, unless the settings say otherwise?"""
    lower = name.lower()
    return lower in _DROPPED or lower == "cookie" or lower.startswith(_DROPPED_PREFIXES) or "_" in lower


def _named_by_connection(value: str, settings: Settings) -> set[str]:
    """The fields that a Connection header calls its own (RFC 9110, section 7.6.1).

    A client writes it, so it cannot take away what says who the client is, or where it goes.
    """
    names = {name.strip().lower().replace("_", "-") for name in value.split(",")}
    free = [name for name in names if name not in _DROPPED and name not in _PRINCIPAL and not name.startswith(_DROPPED_PREFIXES)]
    denied = {name.lower() for name in settings.deny_headers}
    return {"HTTP_" + name.upper().replace("-", "_") for name in free if name not in denied}


class HeaderNames:
    """The CGI name of a header that an item brings, by its name as written: a bounded memory, since the same few names come again and again."""

    def __init__(self, settings: Settings) -> None:
        self._dropped = _DROPPED | {name.lower() for name in settings.deny_headers} | (set() if settings.item_cookies else {"cookie"})
        self.known: dict[str, str] = {}
        self.keyed = False
        """Has any item ever brought an idempotency key?"""

    def learn(self, name: str) -> str | None:
        """The CGI name, an empty word for one that an item may not set, or None for what is no header name (RFC 9110, section 5.1)."""
        if not TOKEN.match(name):
            return None
        lower = name.lower()
        if lower in self._dropped or lower.startswith(_DROPPED_PREFIXES) or "_" in name:
            # A name with an underscore could not be told from one with a hyphen once it is a CGI name.
            key = ""
        elif lower in ("content-type", "content-length"):
            key = lower.upper().replace("-", "_")
        else:
            key = "HTTP_" + lower.upper().replace("-", "_")
            self.keyed = self.keyed or lower == "idempotency-key"
        if len(self.known) < _MEMORY and len(name) <= _LONGEST:
            self.known[name] = key
        return key
