"""What can go wrong before anything runs.

::

    WSGIBatchError
      ConfigError (also ValueError)     at construction, never during a request
      BatchRejected                     the batch did not happen
        BadBatch             400
          DependencyCycle    400
          DuplicateId        400
          NestedBatch        400
          UnknownDependency  400
        Forbidden            403
        LengthRequired       411
        TooLarge             413        bytes
        TooManyItems         413        sub-requests
        UnknownMediaType     415
        Overloaded           503
      StoreError             503        a store cannot be reached, or has no room
      ClientError                       a client has no answer to give
        BatchFailed                     the whole batch was refused, or its answer is a failure of the server
        MissingResponse (also ValueError)

An exception means that the batch did not happen; a status means that an item failed. So on the server no exception of this tree ever speaks of one
item, and what fails while items run is never an exception. What a client raises tells why it has no answer, to a batch or to a request of one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class WSGIBatchError(Exception):
    """The base of all errors of this package."""


class ConfigError(WSGIBatchError, ValueError):
    """The configuration cannot work; raised while the middleware is built."""


class BatchRejected(WSGIBatchError):
    """The batch did not happen: nothing of it has run.

    :param detail: a sentence that says what to do.
    :param pointer: a JSON Pointer (RFC 6901) to the place in the batch, or ``""``.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad-batch"

    def __init__(self, detail: str, pointer: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer

    def members(self) -> dict[str, object]:
        """Further members of the problem document (RFC 9457, section 3.2)."""
        return {"pointer": self.pointer} if self.pointer else {}

    def headers(self) -> list[tuple[str, str]]:
        """Further headers of the answer."""
        return []


class BadBatch(BatchRejected):
    """The batch cannot be read as its dialect's grammar wants it."""


class DependencyCycle(BadBatch):
    """Items wait for each other, or an item for itself."""

    code = "dependency-cycle"


class DuplicateId(BadBatch):
    """Two items, or an item and a group, have one id."""

    code = "duplicate-id"


class UnknownDependency(BadBatch):
    """An item waits for, or refers to, one that is not there, or not before it."""

    code = "unknown-dependency"


class NestedBatch(BadBatch):
    """The batch is itself an item of a batch."""

    code = "nested-batch"


class Forbidden(BatchRejected):
    """Nothing says that the user wanted this batch to be sent."""

    status = 403
    code = "forbidden"


class LengthRequired(BatchRejected):
    """The body has no Content-Length and the server does not mark its end."""

    status = 411
    code = "length-required"


class TooLarge(BatchRejected):
    """The body has more bytes than are accepted."""

    status = 413
    code = "too-large"

    def __init__(self, limit: int, pointer: str = "") -> None:
        super().__init__(f"At most {limit} bytes are accepted here: send less, or split the batch.", pointer)
        self.limit = limit

    def members(self) -> dict[str, object]:
        return {**super().members(), "limit": self.limit}


class TooManyItems(BatchRejected):
    """The batch has more sub-requests than are accepted."""

    status = 413
    code = "too-many-items"

    def __init__(self, count: int, limit: int, pointer: str = "") -> None:
        super().__init__(f"The batch holds {count} requests and at most {limit} are accepted: split it.", pointer)
        self.limit = limit

    def members(self) -> dict[str, object]:
        return {**super().members(), "limit": self.limit}


class UnknownMediaType(BatchRejected):
    """No dialect that is configured here reads this content type, charset or content coding."""

    status = 415
    code = "unknown-media-type"


class Overloaded(BatchRejected):
    """Too many calls that took too long are still running.

    :param left: how many.
    :param limit: seconds that one of them had.
    """

    status = 503
    code = "overloaded"

    def __init__(self, left: int, limit: float) -> None:
        super().__init__(f"{left} requests of earlier batches took too long, and are still running: try again later.")
        self._limit = limit

    def headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", str(math.ceil(self._limit)))]


class StoreError(WSGIBatchError):
    """A store cannot answer: it cannot be reached, or has no room."""


class ClientError(WSGIBatchError):
    """There is no answer to what was asked of a batch endpoint."""


class BatchFailed(ClientError):
    """The batch as a whole was answered with a failure: it was refused, or what stands in front of the server has lost its answer.

    :param message: what the server says, in a sentence.
    :param status: of its answer.
    :param document: its answer, such as a problem document (RFC 9457); empty where that was no JSON object.
    :param headers: of its answer.
    :param may_have_run: False where the answer is a refusal, so that nothing of the batch has run; True where nobody knows.
    """

    def __init__(
        self, message: str, status: int, document: Mapping[str, Any], headers: Sequence[tuple[str, str]], may_have_run: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.document = document
        self.headers = headers
        self.may_have_run = may_have_run

    def __reduce__(self) -> tuple[Any, ...]:
        # For copies, one for each who waits for the batch.
        return type(self), (str(self), self.status, self.document, self.headers, self.may_have_run), vars(self)


class MissingResponse(ClientError, ValueError):
    """A batch was sent, and among the answers there is none to this request. It may have run.

    :param message: which request, and what came instead.
    """

    status: int = 0
    """Of the answer to the batch; 0 where it is not known."""
    headers: Sequence[tuple[str, str]] = ()
    """Of that answer."""
    body: bytes = b""
    """That answer, as far as it came, where it was not read in lines."""
