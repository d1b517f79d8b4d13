"""Where an item goes: from the url that a client wrote to a path of the app, or to the reason why not.

Nearly every url is plain, and a plain one is admitted by one regular expression that was built for the settings. What it does not admit is not
refused but looked at with care (:meth:`Targets.locate`): absolute urls, percent-encoding, dot segments, everything that is near a batch path or
under a path policy.
"""

import re

from ._paths import condition, configured, decoded, folded, is_below, resolve
from .model import Fault, Head
from .settings import Settings

_DEFAULT_PORTS = {"http": "80", "https": "443"}
_ABSOLUTE = re.compile(r"(?i:(https?)):[/][/]([^/?#\\]*)([/?].*)?\Z")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")


_NO_PATH = Fault(400, "bad-url", "A url begins with one slash, or is an http or https url of this host.")


class BatchPaths:
    """The paths that batches are posted to."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        plain = {configured("path", path) for path in paths if "?" not in path}
        self.exact = frozenset(plain | {path + "/" for path in plain})
        self.conditions = tuple(condition(path) for path in paths if "?" in path)
        self._folded = frozenset(map(folded, plain))

    def match(self, path: str, query: str) -> bool:
        """Is a request for *path* and *query* a batch? (Its method is not asked here.) A slash at the end is tolerated."""
        return path in self.exact or any(
            wanted in ("*", path, path.removesuffix("/")) and parameter in query.split("&") for wanted, parameter in self.conditions
        )

    def near(self, path: str, query: str) -> bool:
        """Could an app, or what stands before it, take *path* for a batch path? *path* is resolved and case-folded."""
        return path in self._folded or any(
            folded(wanted) in ("*", path) and parameter.casefold() in folded(decoded(query)).split("&") for wanted, parameter in self.conditions
        )

    def lookahead(self) -> str:
        """The piece of a pattern that fails on what may be a batch path."""
        paths = "|".join(re.escape(path) for path in self._folded)
        query = r"|[^?]*\?" if self.conditions else ""
        return rf"(?!(?i:(?:{paths})/?(?:\?|\Z){query}))"


class Targets:
    """Decides where a url leads, under the settings of one middleware."""

    def __init__(self, settings: Settings, paths: BatchPaths) -> None:
        self._paths = paths
        self._strip, self._add = settings.strip_prefix, settings.add_prefix
        self._allow = tuple(configured("allow_paths", path) for path in settings.allow_paths)
        self._deny = tuple(folded(configured("deny_paths", path)) for path in settings.deny_paths)
        simple = r"((?:/(?![/.])[A-Za-z0-9._~!$&'()*+,:=@-]*+)++)(?:\?([!\"$-~]*+))?\Z"
        # A pattern that never matches sends every url of a middleware with policies or prefixes the careful way.
        careful = settings.allow_paths or settings.deny_paths or self._strip or self._add
        self.admit = re.compile(r"(?!)()()" if careful else paths.lookahead() + simple).match
        """Matches a url that needs no thought, below an empty mount point; its groups are PATH_INFO and QUERY_STRING."""

    def locate(self, url: str, head: Head, method: str) -> tuple[str, str, str] | Fault:
        """*url* as a request line would have it, its PATH_INFO and QUERY_STRING, or why *method* is refused there."""
        target = to_path(url, head)
        if isinstance(target, Fault):
            return target
        target = self._prefixed(target)
        if target.startswith(("//", "/\\")):
            return _NO_PATH
        full, _, query = target.partition("?")
        if head.mount and not (full == head.mount or full.startswith(head.mount + "/")):
            return Fault(404, "outside-mount", "Every url has to begin with the path where this app is mounted.")
        if _BAD_ESCAPE.search(full):
            return Fault(400, "bad-url", "A percent sign in a path must begin an escape of two hexadecimal digits other than %00.")
        path = decoded(full.removeprefix(head.mount))
        return self._refused(path, query, head, method) or (target, path, query)

    def _prefixed(self, target: str) -> str:
        if self._strip and is_below(target.partition("?")[0], self._strip):
            target = target.removeprefix(self._strip) or "/"
            target = target if target.startswith("/") else "/" + target
        if self._add and not is_below(target.partition("?")[0], self._add):
            target = self._add + target
        return target

    def _refused(self, path: str, query: str, head: Head, method: str) -> Fault | None:
        # An app may or may not follow dot segments, and may follow them out of its mount point and back.
        mount = resolve(head.mount)
        out_and_back = resolve(mount + path)
        if is_below(folded(out_and_back), folded(mount)):
            out_and_back = out_and_back[len(mount) :]
        readings = {resolve(path, follow=False), resolve(path), out_and_back}
        plainest = [folded(reading) for reading in readings]
        # Only what is posted is a batch. Headers that call it otherwise do not reach the app.
        if method == "POST" and any(self._paths.near(reading, query) for reading in plainest):
            return Fault(400, "nested-batch", "A batch cannot hold a batch: send the items of the inner one in the outer one.")
        if not (self._allow or self._deny):
            return None
        denied = any(is_below(reading, prefix) for reading in plainest for prefix in self._deny)
        allowed = not self._allow or all(any(is_below(reading, prefix) for prefix in self._allow) for reading in readings)
        return None if allowed and not denied else Fault(403, "path-not-allowed", "This path cannot be reached in a batch.")


def to_path(url: str, head: Head) -> str | Fault:
    """Path and query of *url*; the authority of an absolute one has to be the batch's own."""
    if not url or not url.isascii() or not url.isprintable() or " " in url or url.startswith("?"):
        return Fault(400, "bad-url", "A url is a path in printable ASCII: percent-encode what is not.")
    if "#" in url:
        return Fault(400, "bad-url", "A fragment is never sent to a server: leave out the '#' and what follows.")
    if absolute := _ABSOLUTE.match(url):
        scheme, authority, rest = absolute.groups("")
        if _with_port(authority, scheme) != _with_port(head.host, head.scheme, scheme):
            return Fault(400, "foreign-host", "A batch reaches only the host that it is sent to.")
        url = rest if rest.startswith("/") else "/" + rest
    if url.startswith(("//", "/\\", "\\")) or _SCHEME.match(url):
        return _NO_PATH
    return url if url.startswith("/") else f"{head.mount}/{url}"


def _with_port(authority: str, scheme: str, other: str = "") -> tuple[str, str]:
    """Host and port; the port that *scheme*, or *other*, has by default counts as none, since TLS often ends before us."""
    host, colon, port = authority.lower().rpartition(":")
    if not colon or not port.isdigit():
        return (authority.lower().removesuffix(":"), "")
    defaults = {_DEFAULT_PORTS.get(scheme.lower()), _DEFAULT_PORTS.get(other.lower())}
    return (host, "" if port in defaults else port)
