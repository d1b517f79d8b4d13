"""Who may claim a key of which something is known."""

from typing import Literal

from ..model import Claim, Lost


def in_the_way(known: Claim | None, fingerprint: bytes, on_crash: Literal["execute", "fail"]) -> Claim | None:
    """What is known, unless that is only an owner's death, which does not matter to whoever asks, and asks the same."""
    return None if isinstance(known, Lost) and on_crash == "execute" and known.fingerprint == fingerprint else known
