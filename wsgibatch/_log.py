"""One log record per batch on the logger ``wsgibatch``, one per item on ``wsgibatch.item``, with ``extra`` fields for structured logging."""

import logging

from .errors import BatchRejected
from .model import Done, Head

batch_log = logging.getLogger("wsgibatch")
item_log = logging.getLogger("wsgibatch.item")

_LONGEST = 256


def escaped(text: str) -> str:
    """*text* in printable ASCII and cut, so that it can neither forge a line of the log nor flood it."""
    return ascii(text[:_LONGEST])[1:-1][:_LONGEST]


def log_items(done: list[Done]) -> None:
    """A record for each item, once it can be written."""
    if not item_log.isEnabledFor(logging.INFO):
        return
    for unit, answers in done:
        for item, answer in zip(unit, answers, strict=True):
            told = {
                "method": escaped(item.method),
                "path": escaped(item.target.partition("?")[0]),
                "status": answer.status,
                "duration": answer.duration,
                "index": item.index,
                "id": item.id,
            }
            line = "item %(index)d: %(method)s %(path)s -> %(status)d in %(duration).6f s"
            item_log.info(line, told, extra={"item_" + name: value for name, value in told.items()})


def log_batch(head: Head, count: int, failed: int, duration: float) -> None:
    """The record of a batch that ran."""
    if batch_log.isEnabledFor(logging.INFO):
        told = {"batch_path": escaped(head.path), "batch_items": count, "batch_failed": failed, "batch_duration": duration}
        line = "batch %(batch_path)s: %(batch_items)d items, %(batch_failed)d failed, in %(batch_duration).6f s"
        batch_log.info(line, told, extra=told)


def log_refusal(head: Head, error: BatchRejected) -> None:
    """The record of a batch that did not happen."""
    told = {"batch_path": escaped(head.path), "batch_status": error.status, "batch_code": error.code}
    line = "batch %(batch_path)s refused: %(batch_status)d %(batch_code)s"
    batch_log.info(line, told, extra=told)
