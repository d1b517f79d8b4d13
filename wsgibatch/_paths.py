"""Spellings of a path: what a server makes of it, and the plainest one, which paths are compared in."""

from urllib.parse import unquote_to_bytes

from .errors import ConfigError


def decoded(path: str) -> str:
    """A percent-encoded path as a server gives it to an app: bytes as latin-1 text (PEP 3333)."""
    return unquote_to_bytes(path.encode("latin-1")).decode("latin-1") if "%" in path else path


def resolve(path: str, follow: bool = True) -> str:
    """The plainest spelling of a decoded path, for comparing only: what the most lenient app could take it for.

    Escapes that are left are decoded too, backslashes are slashes, parameters (``;x``), empty segments, white space and NUL at the end are gone,
    and dot segments are followed unless *follow* is false.
    """
    for _ in range(3):
        path = decoded(path)
    segments: list[str] = []
    for segment in path.replace("\\", "/").split("/"):
        name = segment.partition(";")[0].strip("\0\t\n\v\f\r ")
        if name == ".." and follow:
            del segments[-1:]
        elif name not in ("", "."):
            segments.append(name)
    return "".join("/" + name for name in segments)


def folded(path: str) -> str:
    """A decoded path without regard to case, for comparing only."""
    return path.encode("latin-1").decode(errors="surrogateescape").casefold()


def is_below(path: str, prefix: str) -> bool:
    """Is *path* the same as *prefix*, or below it by whole segments?"""
    return path == prefix or path.startswith(prefix + "/")


def configured(setting: str, path: str) -> str:
    """A path of the configuration as environ has it: UTF-8 bytes as latin-1 text, without a slash at its end.

    :raises ConfigError: for a spelling that no path is ever compared in, and that would so do nothing.
    """
    if not path.startswith("/") or not path.isprintable():
        raise ConfigError(f"{setting}: {path!r} should begin with '/' and be printable")
    found = path.encode().decode("latin-1").rstrip("/")
    if "%" in path or "#" in path or resolve(found) != found:
        plain = resolve(found).encode("latin-1").decode(errors="replace") or "/"
        raise ConfigError(f"{setting}: {path!r} should be written decoded and resolved: {plain!r}")
    return found


def condition(path: str) -> tuple[str, str]:
    """The path, or ``*``, and the one query parameter that ``path?parameter`` in the configuration asks for.

    :raises ConfigError: as :func:`configured`, and when there is not exactly one parameter.
    """
    where, _, wanted = path.partition("?")
    if not wanted or "&" in wanted:
        raise ConfigError(f"path: {path!r} should have one parameter behind its question mark, such as '*?comp=batch'")
    return (where if where == "*" else configured("path", where)), wanted
