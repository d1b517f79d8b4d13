"""A configuration of gunicorn whose workers tell when they have been told to end: by a file named after the process, in the directory ``TOLD``."""

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any


def post_worker_init(worker: Any) -> None:
    """A hook of gunicorn's: the worker has loaded the app, and handles signals."""
    end = signal.getsignal(signal.SIGTERM)

    def tell(number: int, frame: FrameType | None) -> None:
        assert callable(end)
        end(number, frame)
        (Path(os.environ["TOLD"]) / str(os.getpid())).touch()

    signal.signal(signal.SIGTERM, tell)
