"""What a server serves whose workers are killed: each ``POST /note/<token>/<dots>`` is written down, once for each time that it runs.

The answer is the token, and as many dots as the path says.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from wsgibatch import BatchMiddleware
from wsgibatch.idempotency import IdempotencyMiddleware

LEASE = 2.0
_folder = Path(os.environ["FOLDER"])
_notes = os.open(_folder / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def _note(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    _, kind, token, dots = environ["PATH_INFO"].split("/")
    if kind == "note":
        os.write(_notes, f"{token}\n".encode())
    start_response("201 Created" if kind == "note" else "200 OK", [("Content-Type", "text/plain")])
    return [token.encode() + b"." * int(dots)]


_guarded = IdempotencyMiddleware(_note, store=f"sqlite:///{_folder}/replies.db", lease=LEASE, keep=3600, ttl=3600, on_crash="fail", wait=5)
app = BatchMiddleware(_guarded, dialect="django", executor="threads", workers=4, stream=True)
