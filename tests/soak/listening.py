"""What the package logs as gone wrong in itself, rather than in the app, a store or a worker."""

import logging
import traceback
from pathlib import Path

import wsgibatch
from wsgibatch._answer import InvalidAnswer
from wsgibatch.errors import StoreError

_OURS = str(Path(wsgibatch.__file__).parent)
_TESTS = str(Path(__file__).parent.parent)
"""Where the apps are, and executors that fail."""


class Listener(logging.Handler):
    """Keeps each exception that was raised by the package, by what it calls, or by a check of PEP 3333, and was meant for nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        # No line of the log is forged.
        record.getMessage().encode("ascii")
        error = record.exc_info[1] if record.exc_info else None
        if error is None or isinstance(error, InvalidAnswer | StoreError):
            return
        while error.__cause__ is not None:
            error = error.__cause__
        # What neither has written was called by one of them, such as a module of the standard library.
        files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        caller = next((file for file in reversed(files) if file.startswith((_OURS, _TESTS)) or "wsgiref" in file), "")
        if not caller.startswith(_TESTS):
            self.kept.append(error)

    def attach(self, level: int) -> None:
        """Hear all that is logged from *level* on; nobody else does."""
        log = logging.getLogger("wsgibatch")
        log.addHandler(self)
        log.setLevel(level)
        log.propagate = False

    def detach(self) -> None:
        log = logging.getLogger("wsgibatch")
        log.removeHandler(self)
        log.setLevel(logging.NOTSET)
        log.propagate = True
