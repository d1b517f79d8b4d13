"""What ``wsgibatch send`` does: a batch from a file, sent as it stands, and what came back, item by item."""

import base64
import re
import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from time import perf_counter
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw, Struct

from . import _lookup, dialects
from ._post import PostError, opened, post
from .clients._reading import Reading
from .clients._refusals import failed_batch
from .demo.show import Line, Page, bar, milliseconds, page, printable, style_of
from .dialects._json import JSON
from .dialects._lines import TYPE
from .errors import BatchFailed, BatchRejected, ConfigError
from .model import Head, Headers, SubRequest, SubResponse
from .protocols import Dialect, LinesDialect
from .settings import Settings

Arrived: TypeAlias = Callable[[int], object]
"""Called with the number of items that are answered."""

# Whether the server takes as many is for it to say.
_ANY_NUMBER = Settings(max_requests=1_000_000)
_JSON_TYPES = ("application/json", "+json")
# What JSON may hold as it is, and a terminal takes for an order.
_CONTROL = re.compile(r"[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_NOT_ASCII = re.compile(r"[^\n -~]")
_UNIT = re.compile("....")


class Written(Struct):
    """A batch as it is sent, and what is in it."""

    dialect: Dialect
    headers: Headers
    body: bytes
    requests: list[SubRequest]


class Outcome(Struct):
    """What came of a batch."""

    answers: list[SubResponse | None]
    sent: int
    """Bytes of the batch."""
    received: int
    """Bytes of its answer."""
    seconds: float
    fault: str

    @property
    def failed(self) -> int:
        return sum(answer is None or answer.status >= 400 for answer in self.answers)


def written(text: bytes, word: str, headers: Headers) -> Written:
    """The batch that *text* is, in whatever dialect, or that its lines ask for: ``METHOD /path`` each, or a path alone.

    :param word: the dialect; ``auto`` to have it told by the shape.
    :param headers: those that are sent besides, since a dialect may be told by them.
    :raises ConfigError: when it is none.
    """
    text = text.removeprefix(BOM_UTF8)
    start = text.lstrip()[:1]
    if start in (b"[", b"{"):
        # What a dialect has to be told by besides, such as the version of OData.
        own = [] if word == "auto" else _dialect(word).write([SubRequest(0, "GET", "/", [])])[0]
        given = {name.lower() for name, _ in headers} | {"content-type"}
        return _read(text, word, [*headers, *(header for header in own if header[0].lower() not in given), *JSON[:1]])
    if text.startswith(b"--"):
        boundary = text.partition(b"\n")[0].strip()[2:].decode("latin-1")
        return _read(text, word, [*headers, ("Content-Type", f'multipart/mixed; boundary="{boundary}"')])
    # No other signs end a line here, since JSON may hold them.
    lines = enumerate(text.decode(errors="replace").split("\n"), 1)
    requests = [_line(number, line) for number, line in lines if line.strip() and line[0] != "#"]
    if not requests:
        raise ConfigError("there is nothing to send")
    dialect = _dialect("django" if word == "auto" else word)
    for index, request in enumerate(requests):
        request.index = index
    try:
        own, body = dialect.write(requests)
    except ValueError as error:
        raise ConfigError(f"this cannot be sent so: {error}; name another --dialect") from None
    return Written(dialect, [*headers, *own], body, requests)


def _line(number: int, line: str) -> SubRequest:
    method, _, rest = line.strip().partition(" ")
    if "/" in method:
        method, rest = "GET", line.strip()
    target, _, body = rest.strip().partition(" ")
    if "/" not in target or not (method.isascii() and method.isalpha()):
        raise ConfigError(f"line {number}: a method and a path are wanted, such as 'GET /people', and for a method that sends one a body in JSON")
    content = body.strip().encode()
    if content and not _is_json(content):
        raise ConfigError(f"line {number}: only a body in JSON can stand behind a method and a path, and {body!r} is none")
    return SubRequest(0, method.upper(), target, [("Content-Type", "application/json")] if content else [], content)


def _read(body: bytes, word: str, headers: Headers) -> Written:
    fields = {name.title(): value for name, value in headers}
    head = Head("/batch", "", "localhost", "http", fields["Content-Type"].partition(";")[0], {}, headers=fields)
    try:
        dialect = _dialect(word).choose(head, body, _ANY_NUMBER)
        return Written(dialect, headers, body, dialect.decode(head, body, _ANY_NUMBER).items)
    except BatchRejected as error:
        place = f" (at {error.pointer})" if error.pointer else ""
        raise ConfigError(f"this is no batch: {error.detail}{place}") from None


def _dialect(word: str) -> Any:
    return _lookup.member(dialects, word)()


def sent(url: str, batch: Written, arrived: Arrived) -> Outcome:
    """Send *batch*.

    :raises BatchFailed: when it is refused.
    :raises PostError: when there is no answer.
    """
    form = f"{TYPE}, application/json;q=0.9" if isinstance(batch.dialect, LinesDialect) else "multipart/mixed"
    headers = [*batch.headers, *([] if any(name.lower() == "accept" for name, _ in batch.headers) else [("Accept", form)])]
    answers: list[SubResponse | None] = [None] * len(batch.requests)
    began, received = perf_counter(), 0
    with opened(url) as connection:
        status, answered, chunks = post(connection, url, headers, batch.body)
        if not 200 <= status < 300:
            raise failed_batch(status, answered, b"".join(chunks))
        reading, broken = Reading(batch.dialect, batch.requests, status, answered), ""
        try:
            for chunk in chunks:
                received += len(chunk)
                for place, answer in reading.feed(chunk):
                    now = perf_counter() - began
                    if not answer.duration:
                        # Nobody tells when it ran: then from the start until now.
                        answer.duration = now
                    answers[place] = answer
                    arrived(sum(answer is not None for answer in answers))
                if reading.fault:
                    # What stands behind it may have no end.
                    break
        except PostError as error:
            # What has arrived by then is shown.
            broken = str(error)
        for place, answer in reading.end(bool(broken)):
            answers[place] = answer
        fault = broken or reading.fault
    return Outcome(answers, len(batch.body), received, perf_counter() - began, fault)


def shown(batch: Written, outcome: Outcome, width: int, glyphs: str) -> Iterator[Line]:
    """The lines of a table: an item each, with status, size, duration and when it ran."""
    asked = [(printable(request.method), printable(request.target)) for request in batch.requests]
    methods = max(len(method) for method, _ in asked)
    targets = min(max(len(target) for _, target in asked), width // 3)
    end = max((answer.started + answer.duration for answer in outcome.answers if answer), default=0.0)
    # A status has three characters, a size eight, a duration nine; two stand in front of each of the six columns.
    free = width - methods - targets - 3 - 8 - 9 - 6 * 2
    for (method, whole), answer in zip(asked, outcome.answers, strict=True):
        target = whole if len(whole) <= targets else whole[: targets - 3] + "..."
        line: Line = [(f"  {method:{methods}}  ", "bold"), (f"{target:{targets}}  ", "")]
        if answer is None:
            yield [*line, ("no answer", "red")]
            continue
        style = style_of(answer.status)
        time = (answer.started, answer.duration) if answer.duration else None
        yield [
            *line,
            (f"{answer.status or '-':>3}  ", style),
            (f"{len(answer.body):>8}  ", "dim"),
            (f"{milliseconds(answer.duration):>9}  " if time else " " * 11, ""),
            (bar(time, end, free, glyphs), style if answer.status >= 400 else "blue"),
        ]
    failed = f"{outcome.failed} failed. " if outcome.failed else ""
    total = f"{failed}{milliseconds(outcome.seconds)}, {outcome.sent} bytes sent, {outcome.received} received."
    yield [(f"  {counted(len(batch.requests))}: {total}", "dim")]
    if outcome.fault:
        yield [(f"  {printable(outcome.fault)}", "red")]


def counted(requests: int) -> str:
    return f"{requests} request" + ("s" if requests != 1 else "")


def document(batch: Written, outcome: Outcome) -> bytes:
    """The same for programs, with headers and bodies."""
    items = [_item(request, answer) for request, answer in zip(batch.requests, outcome.answers, strict=True)]
    whole = {"failed": outcome.failed, "duration": round(outcome.seconds, 6), "sent": outcome.sent, "received": outcome.received}
    return msgspec.json.format(msgspec.json.encode({"items": items, **whole, **({"fault": outcome.fault} if outcome.fault else {})}), indent=2)


def _item(request: SubRequest, answer: SubResponse | None) -> dict[str, Any]:
    asked = {"index": request.index, "id": request.id, "method": request.method, "url": request.target}
    if answer is None:
        return {**asked, "status": None}
    times = {"started": answer.started, "duration": answer.duration}
    return {**asked, "status": answer.status, "size": len(answer.body), **times, "headers": answer.headers, **_body(answer)}


def _body(answer: SubResponse) -> dict[str, Any]:
    content_type = next((value for name, value in answer.headers if name.lower() == "content-type"), "").partition(";")[0].strip().lower()
    if content_type.endswith(_JSON_TYPES) and not answer.body:
        return {"body": None}
    if content_type.endswith(_JSON_TYPES) and _is_json(answer.body):
        return {"body": Raw(answer.body)}
    try:
        return {"body": answer.body.decode()}
    except ValueError:
        return {"body": base64.b64encode(answer.body).decode(), "encoding": "base64"}


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def send(url: str, text: bytes, word: str, headers: Headers, as_json: bool, plain: bool) -> int:
    """The command.

    :return: 0 when every item has succeeded, 1 when not.
    :raises ConfigError: when *text* is no batch.
    """
    batch = written(text, word, headers)
    try:
        with _progress(len(batch.requests), plain or as_json) as arrived:
            outcome = sent(url, batch, arrived)
    except (BatchFailed, PostError) as error:
        print(f"wsgibatch: {printable(str(error))}", file=sys.stderr)
        return 1
    if as_json:
        print(_escaped(document(batch, outcome).decode()))
    else:
        out: Page = page(plain)
        for line in shown(batch, outcome, out.width, out.glyphs):
            out.write(line)
    return 1 if outcome.failed or outcome.fault else 0


def _escaped(text: str) -> str:
    """*text*, JSON, with all escaped that standard output cannot take, or a terminal takes for an order."""
    encoding = getattr(sys.stdout, "encoding", None) or ""
    unsafe = _CONTROL if encoding.lower() == "utf-8" else _NOT_ASCII
    return unsafe.sub(lambda found: _UNIT.sub(r"\\u\g<0>", found[0].encode("utf-16-be").hex()), text)


@contextmanager
def _progress(total: int, plain: bool) -> Iterator[Arrived]:
    """How many have arrived, on a terminal, while more may."""
    if not sys.stderr.isatty():
        yield lambda count: None
    elif plain or find_spec("rich") is None:
        yield lambda count: print(f"\r{count} of {total}", end="", file=sys.stderr, flush=True)
        print("\r" + " " * len(f"{total} of {total}") + "\r", end="", file=sys.stderr, flush=True)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress

        with Progress(BarColumn(), MofNCompleteColumn(), console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("", total=total)
            yield lambda count: progress.update(task, completed=count)
