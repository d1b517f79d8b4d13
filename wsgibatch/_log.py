"""One log record per batch on the logger ``wsgibatch``, one per item on ``wsgibatch.item``, with ``extra`` fields for structured logging."""

import logging
import traceback

from .errors import BatchRejected, StoreError
from .model import Done, Head, SubRequest, SubResponse, Unit

batch_log = logging.getLogger("wsgibatch")
item_log = logging.getLogger("wsgibatch.item")

_LONGEST = 256


def escaped(text: str) -> str:
    """*text* in printable ASCII and cut, so that it can neither forge a line of the log nor flood it."""
    return ascii(text[:_LONGEST])[1:-1][:_LONGEST]


def log_items(done: list[Done]) -> None:
    """A record for each item, once it can be written."""
    for unit, answers in done:
        for item, answer in zip(unit, answers, strict=True):
            told = {**_named(item), "item_status": answer.status, "item_duration": answer.duration, "item_id": item.id}
            line = "item %(item_index)d: %(item_method)s %(item_path)s -> %(item_status)d in %(item_duration).6f s"
            _record(item_log, logging.INFO, line, told)


def log_failure(item: SubRequest, code: str, error: BaseException) -> None:
    """Why an item got an answer of ours; the one place where its traceback is told."""
    told = {**_named(item), "item_code": code}
    _record(batch_log, logging.ERROR, "item %(item_index)d: %(item_method)s %(item_path)s failed: %(item_code)s", told, error)


def log_group(unit: Unit, stage: str, error: BaseException) -> None:
    """Why an atomic group got answers of ours."""
    told = {"group_name": escaped(unit[0].group), "group_size": len(unit), "group_stage": stage}
    _record(batch_log, logging.ERROR, "group %(group_name)s of %(group_size)d items failed at its %(group_stage)s", told, error)


def log_hook(unit: Unit, committed: bool, error: BaseException) -> None:
    """A hook that failed once its group had ended."""
    told: dict[str, object] = {"group_name": escaped(unit[0].group), "group_outcome": "committed" if committed else "rolled back"}
    _record(batch_log, logging.ERROR, "group %(group_name)s is %(group_outcome)s, and a hook of it failed", told, error)


def log_broken(item: SubRequest, answer: SubResponse) -> None:
    """An item of a group that broke its transaction, and did not tell."""
    told = {**_named(item), "item_status": answer.status}
    line = "item %(item_index)d: %(item_method)s %(item_path)s answered %(item_status)d, but has broken the transaction of its group"
    _record(batch_log, logging.ERROR, line, told)


def log_unclosed(error: Exception) -> None:
    """An answer that could not be closed; by then it is whole, or has failed for another reason."""
    _record(batch_log, logging.ERROR, "closing an app's answer failed", {}, error)


def log_store(doing: str, error: Exception) -> None:
    """A store of idempotent replies that could not do what it was asked.

    Where one is down every request comes by here, and what the store says of it is enough: the traceback is for whoever asks for DEBUG, and for
    errors that a store has not foreseen.
    """
    told: dict[str, object] = {"store_call": doing, "store_error": escaped(str(error) or repr(error))}
    foreseen = isinstance(error, StoreError) and not batch_log.isEnabledFor(logging.DEBUG)
    line = "the store of idempotent replies failed to %(store_call)s: %(store_error)s"
    _record(batch_log, logging.ERROR, line, told, None if foreseen else error)


def log_unshared() -> None:
    """Replies in the memory of one process, where the server has several."""
    line = "this server has several processes, and memory:// is each one's own: a request that another one has answered is executed again"
    _record(batch_log, logging.WARNING, f"{line}; give a store that they share, such as sqlite:///path", {})


def log_untold(error: Exception) -> None:
    """A store that is not told of what changes outside of requests, since it cannot be had."""
    line = "what changes outside of requests makes no reply out of date: %(config_error)s"
    _record(batch_log, logging.ERROR, line, {"config_error": escaped(str(error))})


def log_lost(key: str) -> None:
    """A request whose key has gone to another one while it ran. *key* is the one in the store, which tells nobody anything."""
    line = "the lease of a request has ended before it was answered, and its key %(store_key)s may have gone to another one"
    _record(batch_log, logging.WARNING, line, {"store_key": key})


def log_unkept(error: Exception) -> None:
    """An answer of which no record can be made; it has been sent as it is."""
    _record(batch_log, logging.ERROR, "an answer cannot be kept, and its key is given back", {}, error)


def log_refusing(error: BaseException) -> None:
    """An executor that does nothing for batches."""
    line = "the executor takes no calls, so each batch runs in a thread of its own; one that runs calls elsewhere needs a worker_app"
    _record(batch_log, logging.ERROR, line, {}, error)


def log_batch(head: Head, count: int, failed: int, duration: float) -> None:
    """The record of a batch that ran."""
    if batch_log.isEnabledFor(logging.INFO):
        told = {"batch_path": escaped(head.path), "batch_items": count, "batch_failed": failed, "batch_duration": duration}
        line = "batch %(batch_path)s: %(batch_items)d items, %(batch_failed)d failed, in %(batch_duration).6f s"
        _record(batch_log, logging.INFO, line, told)


def log_refusal(head: Head, error: BatchRejected) -> None:
    """The record of a batch that did not happen."""
    told = {"batch_path": escaped(head.path), "batch_status": error.status, "batch_code": error.code}
    _record(batch_log, logging.INFO, "batch %(batch_path)s refused: %(batch_status)d %(batch_code)s", told)


def _named(item: SubRequest) -> dict[str, object]:
    # Without its query, which may hold secrets.
    return {"item_index": item.index, "item_method": escaped(item.method), "item_path": escaped(item.target.partition("?")[0])}


def _record(logger: logging.Logger, level: int, line: str, told: dict[str, object], error: BaseException | None = None) -> None:
    try:
        logger.log(level, line, *([told] if told else []), extra=told, exc_info=error)
    except Exception:
        # A filter or handler that fails must not take a batch that has run with it. Logging tells its own failures like this too.
        traceback.print_exc()
