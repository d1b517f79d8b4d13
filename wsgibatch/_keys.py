"""Idempotency keys as they are written, and the keys of the items of a batch.

A key may come bare or as a string of structured headers (RFC 8941, section 3.3.3), which is what the Idempotency-Key draft of the IETF asks for; both
spellings are one key.
"""

import re
from hashlib import sha256
from urllib.parse import quote

from .model import SAFE, Batch, SubRequest

KEY = "HTTP_IDEMPOTENCY_KEY"
"""Where an environ has the header Idempotency-Key."""
LONGEST = 255
"""Characters of a key, as Stripe has it."""

# A comma in a bare key would be what a server makes of two header lines.
_BARE = re.compile(r"[!#-+\--~]+\Z")
_QUOTED = re.compile(r'"((?:[!#-\[\]-~]|\\["\\])+)"\Z')
_ESCAPED = re.compile(r"\\(.)")


def read_key(text: str) -> str | None:
    """The key that the value of a header says: 1 to 255 visible ASCII characters. None when it says none, or several."""
    text = text.strip(" \t")
    if len(text) > 2 * LONGEST + 2:
        return None
    if quoted := _QUOTED.match(text):
        key = _ESCAPED.sub(r"\1", quoted[1])
    elif _BARE.match(text):
        key = text
    else:
        return None
    return key if len(key) <= LONGEST else None


def spelt(key: str) -> str:
    """*key* as a header's value that :func:`read_key` reads."""
    return key if _BARE.match(key) else '"{}"'.format(key.replace("\\", r"\\").replace('"', r"\""))


def key_items(batch: Batch, outer: str | None) -> list[list[int]]:
    """Give the unsafe items of a batch that has the key *outer* keys made of it; the indexes of items that share one, for the plan.

    A value that is no key is handed on as it is, for whoever guards the items to refuse: what was sent to be guarded must not run unguarded.
    """
    whole = None if outer is None else read_key(outer)
    ids = {_name(item) for item in batch.items if item.id is not None} if outer is not None else set()
    found: dict[str, list[int]] = {}
    for item in batch.items:
        text: str | None = item.fields.get(KEY)
        if text is None:
            if outer is None or item.method in SAFE:
                continue
            text = outer if whole is None else spelt(_below(whole, item, ids))
            item.fields = {**item.fields, KEY: text}
        key = read_key(text)
        if key is not None:
            batch.keyed = batch.keyed or item.method not in SAFE
            found.setdefault(key, []).append(item.index)
    repeated = [indexes for indexes in found.values() if len(indexes) > 1]
    batch.linked = batch.linked or bool(repeated)
    return repeated


def _below(whole: str, item: SubRequest, ids: set[str]) -> str:
    name = _name(item)
    while item.id is None and name in ids:
        # The place of one item is the id of another; no id that is percent-encoded begins like this.
        name = f"#{name}"
    key = f"{whole}/{name}"
    return key if len(key) <= LONGEST else sha256(key.encode()).hexdigest()


def _name(item: SubRequest) -> str:
    return quote(str(item.index if item.id is None else item.id), safe="")
