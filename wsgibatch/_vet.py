"""Limits and policy, decided on a decoded batch before anything of it runs.

What breaks a limit refuses the batch, and raises. What is wrong with one item alone (its method, url or headers, or a policy that forbids it)
becomes that item's answer, and the others run.
"""

import re

from ._inherit import DROPPED, HeaderNames
from ._target import MAX_TARGET, BatchPaths, Fault, Targets
from .errors import BadBatch, Forbidden, NestedBatch, TooLarge, UnknownMediaType
from .model import Batch, Head, SubRequest, SubResponse
from .protocols import Dialect, Recogniser
from .settings import Settings

MAX_FIELDS = 100
"""Header fields of an item: as many as gunicorn and Apache accept in a request by default."""
MAX_HEAD = 64 << 10
"""Bytes of an item's header fields: eight times what nginx and Apache accept in one line by default."""

# The types that a page of another site can make a browser send without asking first (Fetch standard, "CORS-safelisted request-header").
_UNASKED = frozenset({"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
_DIGITS = re.compile(r"[0-9]{1,18}\Z")


def vet_head(head: Head, recogniser: Recogniser) -> None:
    """Is this a request that may carry a batch at all?

    :raises BatchRejected: when it may not.
    """
    if head.item is not None:
        raise NestedBatch("A batch cannot hold a batch: send the items of the inner one in the outer one.")
    if head.media_type not in recogniser.media_types and head.media_type not in recogniser.loose_types:
        wanted = " or ".join(sorted(recogniser.media_types))
        raise UnknownMediaType(f"Send the batch with Content-Type {wanted}.")
    if head.parameters.get("charset", "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
        raise UnknownMediaType("Send the batch in UTF-8.")
    if head.content_encoding.strip().lower() not in ("", "identity"):
        raise UnknownMediaType("Send the batch without a content coding.")
    if head.media_type in _UNASKED and head.cookies and not head.same_origin:
        raise Forbidden("With cookies, send the batch as application/json, or from a page of this origin.")


def answer_in_place(dialect: Dialect, fault: Fault) -> SubResponse:
    """The answer to an item that does not reach the app."""
    headers, body = dialect.failure(*fault)
    return SubResponse(fault.status, REASONS[fault.status], headers, body, "json")


REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}
"""The reason phrases of the statuses that we give items ourselves (RFC 9110, section 15)."""


class Vetter:
    """Vets batches under the settings of one middleware."""

    def __init__(self, settings: Settings, paths: BatchPaths) -> None:
        self._methods = frozenset(settings.methods)
        self._targets = Targets(settings, paths)
        self._names = HeaderNames(settings)
        self._max_item_body = settings.max_item_body

    def __call__(self, batch: Batch, head: Head, dialect: Dialect) -> None:
        """Complete each item with its path, query and CGI fields, or with its refusal.

        :raises BatchRejected: for a batch that breaks a limit.
        """
        for item in batch.items:
            fault = self._item(item, head, batch.pointer)
            if fault is not None:
                item.refusal = answer_in_place(dialect, fault)

    def _item(self, item: SubRequest, head: Head, pointer: str) -> Fault | None:
        if len(item.target) > MAX_TARGET:
            raise TooLarge(MAX_TARGET, f"{pointer}/{item.index}/url")
        if self._max_item_body is not None and len(item.body) > self._max_item_body:
            raise TooLarge(self._max_item_body, f"{pointer}/{item.index}/body")
        fault = self._headers(item, pointer) if item.headers else None
        if item.method not in self._methods:
            return _bad_method(item.method)
        mount, target = head.mount, item.target
        if mount and target.startswith(mount + "/"):
            target = target[len(mount) :]
        plain = self._targets.admit(target)
        if plain is not None and (not mount or target is not item.target):
            item.path, item.query = plain.groups("")
            return fault
        located = self._targets.locate(item.target, head)
        if isinstance(located, Fault):
            return located
        item.path, item.query = located
        return fault

    def _headers(self, item: SubRequest, pointer: str) -> Fault | None:
        if len(item.headers) > MAX_FIELDS:
            raise BadBatch(f"A request may have at most {MAX_FIELDS} header fields.", f"{pointer}/{item.index}/headers")
        known, fields, size = self._names.known, item.fields, 0
        for name, value in item.headers:
            size += len(name) + len(value)
            key = known.get(name)
            if key is None and (key := self._names.learn(name)) is None:
                return Fault(400, "bad-header", "A header name is a token of visible ASCII without separators.")
            if not (value.isascii() and value.isprintable()) and not _VALUE.match(value):
                return Fault(400, "bad-header", "A header value holds no control characters, and nothing beyond U+00FF.")
            if key == DROPPED:
                continue
            if key in fields:
                return Fault(400, "repeated-header", "A header may be given once, in one spelling.")
            fields[key] = value.strip(" \t")
        if size > MAX_HEAD:
            raise TooLarge(MAX_HEAD, f"{pointer}/{item.index}/headers")
        if "HTTP_TRANSFER_ENCODING" in fields:
            return Fault(400, "bad-header", "An item's body is framed by the batch: leave out Transfer-Encoding.")
        if "CONTENT_LENGTH" in fields:
            return _bad_length(fields.pop("CONTENT_LENGTH"), item)
        return None


def _bad_method(method: str) -> Fault:
    if _TOKEN.match(method):
        return Fault(405, "method-not-allowed", "This method cannot be used in a batch.")
    return Fault(400, "bad-method", "A method is a token of visible ASCII without separators.")


def _bad_length(announced: str, item: SubRequest) -> Fault | None:
    if _DIGITS.match(announced) and int(announced) == len(item.body):
        return None
    return Fault(400, "bad-length", "Content-Length contradicts the body: leave it out.")
