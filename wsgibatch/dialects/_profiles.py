"""Whose clients send a batch in multipart, and what is peculiar to them."""

import re
from typing import NamedTuple

from ..model import Head
from ..settings import Profile


class Way(NamedTuple):
    """What the clients of a profile need besides the form that is common to all."""

    status: int = 200
    """Of the whole answer."""
    max_requests: int = 100
    methods: frozenset[str] = frozenset()
    """Besides those of HTTP."""
    tunnels: bool = False
    """May a POST say in a header what its method is?"""
    stops: bool = False
    """Does a failure end the batch, unless the client prefers to go on?"""
    responds: bool = False
    """Does a Content-ID come back as ``<response-...>``?"""
    adds_query: bool = False
    """Do the parameters in the query of the batch belong to every request?"""
    refers: bool = False
    """Does ``$id`` mean what an earlier request of the same changeset has made?"""
    refers_across: bool = False
    """Or any earlier request?"""
    flat: bool = False
    """Do the answers to a changeset stand among the others?"""
    keeps_failed: bool = False
    """Is the one answer to a changeset that has failed a changeset still?"""
    one_unit: bool = False
    """Is a batch one changeset, or one request?"""


_MERGE = frozenset({"MERGE"})

PROFILES: dict[Profile, Way] = {
    "google": Way(responds=True, adds_query=True),
    "flask-batch": Way(),
    "aspnet": Way(),
    "odata2": Way(status=202, methods=_MERGE, tunnels=True, refers=True),
    "odata4": Way(stops=True, refers=True, refers_across=True),
    "sharepoint": Way(methods=_MERGE, tunnels=True, refers=True, flat=True),
    "azure-blob": Way(status=202, max_requests=256),
    "azure-tables": Way(status=202, methods=_MERGE, tunnels=True, keeps_failed=True, one_unit=True),
}


# Parameters of JSON, and preferences, as version 4.0 calls them; in JSON of version 3 it is "odata=".
_FOUR = re.compile(r"(?:^|[;,\s])odata\.[a-z]", re.IGNORECASE)


def told_by(head: Head) -> Profile | None:
    """The profile that the head of a batch tells by its path, query and headers; None where it does not."""
    if "comp=batch" in head.query.split("&"):
        return "azure-blob"
    path = head.path.rstrip("/").lower()
    if path.endswith("/_api/$batch"):
        return "sharepoint"
    if not path.endswith("/$batch"):
        return None
    if "x-ms-version" in head.headers:
        return "azure-tables"
    versions = (head.headers.get(name, "") for name in ("OData-Version", "OData-MaxVersion"))
    if any(version.strip().startswith("4") for version in versions):
        return "odata4"
    # A client that tells nothing may be of any version: what those before 4.0 need, the others take as well.
    older = any(name in head.headers for name in ("DataServiceVersion", "MaxDataServiceVersion"))
    newer = any(_FOUR.search(head.headers.get(name, "")) for name in ("Accept", "Prefer"))
    return "odata4" if newer and not older else "odata2"
