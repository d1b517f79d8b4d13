"""What OData has in common in its two formats, JSON and multipart, and in the services that followed it."""

import re
from copy import copy
from typing import Any
from urllib.parse import quote

import msgspec

from ..model import Head, SubResponse

SYSTEM = frozenset({"all", "batch", "crossjoin", "entity", "id", "metadata", "root"})
"""What stands behind a ``$`` at the start of a url and is a resource of the service, whatever requests are called (OData 4.01 Protocol,
"Referencing Returned Entities")."""

# What a url begins with that is not relative to anything, or that is none.
_NOT_RELATIVE = re.compile(r"[/?#\\]|[A-Za-z][A-Za-z0-9+.-]*:|\Z")
# Preferences stand between commas that are not quoted (RFC 7240, section 2).
_PREFERENCE = re.compile(r'(?:[^,"]++|"(?:[^"\\]|\\.?)*+(?:"|\Z))++', re.DOTALL)


def service_root(head: Head) -> str:
    """The path that relative urls continue, without a slash at its end: the parent of the batch's own, percent-encoded."""
    return quote(head.path.removesuffix("/").rpartition("/")[0].encode("latin-1"), "/!$&'()*+,;=:@~")


def resolved(url: str, root: str) -> str:
    """*url*, below *root* where it is relative."""
    return url if _NOT_RELATIVE.match(url) else f"{root}/{url}"


def continue_on_error(head: Head) -> tuple[str, bool] | None:
    """How the client calls the preference to go on after a failure, and whether it has it; the first mention counts.

    None when nothing is said of it. Named without a value it is preferred (OData 4.01 Protocol, "Preference continue-on-error").
    """
    for preference in _PREFERENCE.findall(head.headers.get("Prefer", "")):
        name, _, value = (part.strip(' \t"').lower() for part in preference.partition(";")[0].partition("="))
        if name in ("continue-on-error", "odata.continue-on-error"):
            return name, value != "false"
    return None


_document = msgspec.json.Decoder(dict[str, Any])
_NUMBERED = re.compile(r"[0-9]+:")


def numbered(answer: SubResponse, place: int) -> SubResponse:
    """*answer*, an error, with the place of its request in the changeset in front of its message: what clients of Azure Tables look for there."""
    try:
        document = _document.decode(answer.body)
        message = document["odata.error"]["message"]
        if _NUMBERED.match(message["value"]):
            return answer
        message["value"] = f"{place}:{message['value']}"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        # Not such an error: it is told as it is.
        return answer
    changed = copy(answer)
    changed.body = msgspec.json.encode(document)
    return changed
