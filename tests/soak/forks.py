"""Forks in the middle of it: the child posts a batch of its own to what its parent uses, while its parent's other threads use it.

A child may use every endpoint: executors and stores are made anew there, or come to rest before the fork. Only what a user has made, and used, before
the fork and hands over is of no use behind it, so what batches share is another one there (:class:`tests.soak.endpoints.Shared`).
"""

import faulthandler
import os
import tempfile
import threading

from tests.soak.clients import Client
from tests.soak.endpoints import Endpoint
from tests.soak.report import Row
from tests.soak.tally import Fault, Tally

_PAUSE = 0.2
"""Seconds between two forks."""
_PATIENCE = 120
"""Seconds that a child may take."""


def fork(number: int, all_of_them: list[Endpoint], row: Row, tally: Tally, stop: threading.Event) -> None:
    """Fork *number* times, one after the other, unless it is to *stop* before that; what a child finds is found."""
    for place in range(number):
        if stop.wait(_PAUSE):
            return
        with tempfile.TemporaryFile("w+") as told:
            pid = os.fork()
            if not pid:
                faulthandler.dump_traceback_later(_PATIENCE, exit=True, file=told)
                os._exit(_child(Client(1000 + place, all_of_them, Tally()), told.fileno()))
            _, status = os.waitpid(pid, 0)
            if status:
                told.seek(0)
                row.findings.append(f"a process that was forked ended with {os.waitstatus_to_exitcode(status)}: {told.read()[-3000:]}")
            else:
                tally.count(Fault.FORKED)


def _child(client: Client, told: int) -> int:
    """Post until a batch is answered; the status to end with."""
    try:
        # Where the client is gone, nothing is looked at.
        while not client.post():
            continue
    except BaseException as error:
        os.write(told, f"{type(error).__name__}: {error}"[:600].encode(errors="replace"))
        return 2
    return 0
