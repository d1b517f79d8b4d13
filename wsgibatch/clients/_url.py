"""Urls, as far as a client has to know whether they lead to the host of its batch endpoint."""

from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of *url* (RFC 6454).

    :raises ValueError: when it is no absolute http url.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"{url!r} is no http or https url")
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def path(url: str) -> str:
    """The path of *url*, without a slash at its end."""
    return urlsplit(url).path.rstrip("/")
