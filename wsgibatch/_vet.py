"""Limits and policy, decided on a decoded batch before anything of it runs.

What breaks a limit refuses the batch, and raises. What is wrong with one item alone (its method, url or headers, or a policy that forbids it)
becomes that item's answer, and the others run.
"""

from http import HTTPStatus

from ._body import FORM_DATA
from ._grammar import DIGITS, TOKEN, VALUE
from ._inherit import HeaderNames
from ._target import BatchPaths, Targets
from .errors import BadBatch, Forbidden, NestedBatch, TooLarge, UnknownMediaType
from .model import MAX_PATH, Batch, Fault, Head, SubRequest, SubResponse
from .protocols import Dialect, Recogniser
from .settings import Settings

MAX_FIELDS = 100
"""Header fields of an item: as many as gunicorn and Apache accept in a request by default."""
MAX_HEAD = 64 << 10
"""Bytes of an item's header fields: eight times what nginx and Apache accept in one line by default."""

# The types that a page of another site can make a browser send without asking first (Fetch standard, "CORS-safelisted request-header").
_UNASKED = frozenset({"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})


def vet_head(head: Head, recogniser: Recogniser) -> None:
    """Is this a request that may carry a batch at all?

    :raises BatchRejected: when it may not.
    """
    if head.item is not None:
        raise NestedBatch("A batch cannot hold a batch: send the items of the inner one in the outer one.")
    if head.media_type not in recogniser.media_types and head.media_type not in recogniser.loose_types:
        wanted = " or ".join(sorted(recogniser.media_types))
        files = "; with files, where a dialect that takes some is configured by name" if head.media_type == FORM_DATA else ""
        raise UnknownMediaType(f"Send the batch with Content-Type {wanted}{files}.")
    if head.parameters.get("charset", "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
        raise UnknownMediaType("Send the batch in UTF-8.")
    if head.content_encoding.strip().lower() not in ("", "identity"):
        raise UnknownMediaType("Send the batch without a content coding.")
    if head.media_type in _UNASKED and head.cookies and not head.same_origin:
        raise Forbidden("With cookies, send the batch as application/json, or from a page of this origin.")
    if head.media_type in _UNASKED and head.other_origin and "Authorization" in head.headers:
        # Without being asked a script cannot send any, but a browser adds a password that it knows.
        raise Forbidden("From a page of another origin, send the batch as application/json, or without Authorization.")
    if head.media_type == FORM_DATA and head.other_origin:
        # Browsers let forms bear more than that: certificates, and a place in the network.
        raise Forbidden("Send a batch with files from a page of this origin, or from no page.")


def answer_in_place(dialect: Dialect, fault: Fault) -> SubResponse:
    """The answer to an item that does not reach the app."""
    headers, body = dialect.failure(fault)
    return SubResponse(fault.status, HTTPStatus(fault.status).phrase, headers, body, "json")


class Vetter:
    """Vets batches under the settings of one middleware."""

    def __init__(self, settings: Settings, paths: BatchPaths) -> None:
        self._methods = frozenset(settings.methods)
        self._targets = Targets(settings, paths)
        self._names = HeaderNames(settings)
        self._max_item_body = settings.max_item_body

    @property
    def keyed(self) -> bool:
        """May items have idempotency keys of their own?"""
        return self._names.keyed

    def __call__(self, batch: Batch, head: Head, dialect: Dialect, size: int) -> None:
        """Complete each item with its path, query and CGI fields, or with its refusal.

        :param size: bytes of the batch's body.
        :raises BatchRejected: for a batch that breaks a limit.
        """
        methods, admit, mount, largest = self._methods, self._targets.admit, head.mount, self._max_item_body
        # The head of an item is part of the batch, so it cannot be larger.
        weigh = size > MAX_HEAD
        for item in batch.items:
            target = item.target
            if not mount and item.method in methods and len(target) <= MAX_PATH and (plain := admit(target)) is not None:
                item.path, item.query = plain.groups("")
                fault = None
            else:
                fault = self._target(item, head, batch)
            if largest is not None and item.size > largest:
                raise TooLarge(largest, batch.place(item, "body"))
            if item.headers:
                if weigh and sum(len(name) + len(value) for name, value in item.headers) > MAX_HEAD:
                    raise TooLarge(MAX_HEAD, batch.place(item, "headers"))
                fault = self._headers(item, batch) or fault
            if fault is not None:
                item.refusal = answer_in_place(dialect, fault)

    def aim(self, item: SubRequest, head: Head) -> Fault | None:
        """Complete *item* with the path and query that its target leads to, or tell why it cannot be sent there."""
        # Looking at a path with care takes its time; at a query it takes none.
        if len(item.target) > MAX_PATH and len(item.target.partition("?")[0]) > MAX_PATH:
            return _LONG_PATH
        if head.mount and item.target.startswith(head.mount + "/"):
            plain = self._targets.admit(item.target[len(head.mount) :])
            if plain is not None:
                item.path, item.query = plain.groups("")
                return None
        located = self._targets.locate(item.target, head, item.method)
        if isinstance(located, Fault):
            return located
        item.target, item.path, item.query = located
        return None

    def set_header(self, item: SubRequest, name: str, value: str) -> None:
        """Give the header *name*, which *item* has been vetted with, another value."""
        key = self._names.known.get(name) or self._names.learn(name)
        if key:
            item.fields = {**item.fields, key: value.strip(" \t")}

    def _target(self, item: SubRequest, head: Head, batch: Batch) -> Fault | None:
        """The same for an item whose method or target is not plain."""
        if len(item.target) > batch.max_target:
            raise TooLarge(batch.max_target, batch.place(item, "url"))
        if item.method not in self._methods and item.method not in batch.methods:
            return _bad_method(item.method)
        # What is not known yet is looked at when it is.
        return None if item.late is not None and item.late.target else self.aim(item, head)

    def _headers(self, item: SubRequest, batch: Batch) -> Fault | None:
        if len(item.headers) > MAX_FIELDS:
            raise BadBatch(f"A request may have at most {MAX_FIELDS} header fields.", batch.place(item, "headers"))
        known, dropped = self._names.known, 0
        fields: dict[str, str] = {}
        item.fields = fields
        for name, value in item.headers:
            key = known.get(name)
            if key is None and (key := self._names.learn(name)) is None:
                return Fault(400, "bad-header", "A header name is a token of visible ASCII without separators.")
            if not (value.isascii() and value.isprintable()) and not VALUE.match(value):
                return Fault(400, "bad-header", "A header value holds no control characters, and nothing beyond U+00FF.")
            if key:
                fields[key] = value.strip(" \t")
            else:
                dropped += 1
        if len(fields) + dropped != len(item.headers):
            return Fault(400, "repeated-header", "A header may be given once, in one spelling.")
        if "HTTP_TRANSFER_ENCODING" in fields:
            return Fault(400, "bad-header", "An item's body is framed by the batch: leave out Transfer-Encoding.")
        if "CONTENT_LENGTH" in fields:
            return _bad_length(fields.pop("CONTENT_LENGTH"), item)
        return None


_LONG_PATH = Fault(414, "url-too-long", f"The path of a url has at most {MAX_PATH} bytes; what is longer belongs in its query, or in a body.")


def _bad_method(method: str) -> Fault:
    if TOKEN.match(method):
        return Fault(405, "method-not-allowed", "This method cannot be used in a batch.")
    return Fault(400, "bad-method", "A method is a token of visible ASCII without separators.")


def _bad_length(announced: str, item: SubRequest) -> Fault | None:
    if DIGITS.match(announced) and int(announced) == item.size:
        return None
    return Fault(400, "bad-length", "Content-Length contradicts the body: leave it out.")
