"""What an answer says that is none: why a batch was refused, how much would have been taken, when to come again."""

from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import msgspec

from ..errors import BatchFailed
from ..model import Headers

_BEFORE = ("overloaded", "store-unavailable")
"""What our servers answer 503 for, before anything runs. Any other failure may be that of a proxy, which does not know how far the batch has come."""


def retry_after(headers: Headers) -> float | None:
    """Seconds that Retry-After asks for (RFC 9110, section 10.2.3), or None where it does not."""
    value = next((value for name, value in headers if name.lower() == "retry-after"), "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - time(), 0.0)
    except (ValueError, OverflowError):
        # Of a year, or a zone, that is none.
        return None


def failed_batch(status: int, headers: Headers, body: bytes) -> BatchFailed:
    """Why a batch was refused, from whatever the server has answered."""
    try:
        document = msgspec.json.decode(body, type=dict[str, Any])
    except (ValueError, RecursionError):
        document = {}
    inner = document.get("error")
    inner = inner if isinstance(inner, dict) else {}
    said = document.get("detail") or inner.get("message") or document.get("message")
    location = next((value for name, value in headers if name.lower() == "location"), "")
    if not said and location:
        said = f"it is sent on to {location}; give that url"
    if not said and status in (404, 405):
        said = "are batches taken at that url?"
    may_have_run = status >= 500 and not (status == 503 and any(level.get("code") in _BEFORE for level in _levels(document)))
    doubt = " (it may have run)" if may_have_run else ""
    return BatchFailed(f"The batch was answered with {status}{doubt}" + (f": {said}" if said else ""), status, document, headers, may_have_run)


def limit_of(document: Mapping[str, Any]) -> tuple[str, int]:
    """The code in *document*, and the limit that it tells; 0 where it tells none."""
    for place in _levels(document):
        limit = place.get("limit")
        if isinstance(limit, int):
            return str(place.get("code")), limit
    return "", 0


def _levels(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """*document*, and what dialects have inside of it."""
    yield document
    error = document.get("error")
    details = document.get("details")
    inner = [error, *(error.get(name) for name in ("innererror", "error_data"))] if isinstance(error, dict) else []
    yield from (level for level in [*inner, *(details if isinstance(details, list) else [])] if isinstance(level, dict))
