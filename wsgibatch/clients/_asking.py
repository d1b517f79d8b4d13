"""What a session of requests knows of its calls besides the calls themselves, and how they are sent."""

import threading
from collections.abc import Hashable, Sequence
from typing import Any, Literal, NamedTuple

import requests
from requests.auth import HTTPBasicAuth

from ._calls import Call


class Asked(NamedTuple):
    """A call, as the library knows it."""

    request: requests.PreparedRequest
    kwargs: dict[str, Any]
    response: requests.Response


class How(threading.local):
    """How what is sent now is sent: the library itself sends requests, too."""

    batch = True
    after: Sequence[Call] = ()
    auth: Any = None
    """That of the call, where it has its own."""


class Route(NamedTuple):
    """What has to be equal for calls to travel in one POST."""

    verify: Any
    cert: Any
    proxies: tuple[tuple[str, str], ...]
    timeout: Hashable
    auth: Literal["session", "call", "none"]
    """Whose credentials the batch has: the session's, those that all its calls have, or none."""


def summed(timeout: Any, count: int) -> Any:
    """The time that the answers to *count* calls may take where each may take *timeout*."""
    connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    return (connect, read * count) if isinstance(read, int | float) else timeout


def signs(auth: Any) -> bool:
    """Does *auth* look at the request that it is for? Names and passwords are the same for all."""
    return callable(auth) and not isinstance(auth, HTTPBasicAuth)


def unsigned(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
