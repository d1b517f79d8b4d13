"""Batches that carry files: a form in parts (multipart/form-data), of which the part ``batch`` is a batch in JSON, and the others are files.

An item names those that it wants in ``attached_files``: names with commas between them, a list of them, or an object that tells the field of each.
It is sent as a form in parts, as a browser sends one, with the fields that its own body gives: a form that is url-encoded, or an object in JSON.

Such a batch is taken only where its dialect is configured by name, since a page of another site can have it sent. A file that is missing, and
one that no item names, refuse the batch.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol, Self, TypeVar

from .._body import FORM_DATA, MAX_FORM, MAX_PARTS, Part, joined
from ..errors import BadBatch, TooLarge
from ..model import Batch, Head, SubRequest
from ..settings import Settings
from ._envelope import content_type_of, kind_of
from ._form import TOO_MANY, as_text, head_of, in_parts, members_of, pairs
from ._json import JSONDialect

B = TypeVar("B", bound=Batch)

FileNames = str | list[str] | dict[str, str]
"""Of files: with commas between them, in a list, or each under the name of its field."""


class Naming(Protocol):
    """A request as it stands in a batch."""

    @property
    def attached_files(self) -> FileNames | None:
        """The files that it is sent with."""


class FilesDialect(JSONDialect):
    """A dialect in JSON whose items may be sent files."""

    loose_types = frozenset({FORM_DATA})

    def choose(self, head: Head, body: bytes, settings: Settings) -> Self:
        if head.parts is not None and not body:
            raise BadBatch("Send the batch as the part 'batch' of the form: there is none, or nothing is in it.")
        return super().choose(head, body, settings)

    def with_files(self, batch: B, requests: Sequence[Naming], head: Head, settings: Settings) -> B:
        """*batch*, which lists *requests*, with the files that came beside it.

        :raises BatchRejected: for those that are missing, or that are too many, and for bodies that are no fields of a form.
        """
        # Nearly always no item names any, so that is told by the shortest loop there is.
        if [request for request in requests if request.attached_files] or head.parts is not None:
            files = Files(head, settings)
            for item, request in zip(batch.items, requests, strict=True):
                if request.attached_files:
                    _attach(item, files.take(request.attached_files, batch.place(item, "attached_files")), batch)
            files.check_all_taken()
        return batch


class Files:
    """The files that came with the batch *head*, for items to take. One that is taken several times counts several times, each time with its name."""

    def __init__(self, head: Head, settings: Settings) -> None:
        self._limit = self._left = MAX_FORM if settings.max_body is None else settings.max_body
        self._come = head.parts is not None
        self._files: dict[str, list[Part]] = {}
        for part in head.parts or ():
            if part.filename is not None:
                self._files.setdefault(part.name, []).append(part)
        self._untaken = dict.fromkeys(self._files)

    def take(self, named: FileNames, pointer: str) -> list[tuple[bytes, Part]]:
        """The files that are *named*, each with the head of the part that it is sent in.

        :param pointer: to where they are named.
        :raises BadBatch: for one that is not there, as none is where the batch is no form in parts, and for too many of them.
        :raises TooLarge: when all that are taken are larger together than a batch may be.
        """
        if not self._come:
            raise BadBatch(f"Files come with a batch that is sent as {FORM_DATA}.", pointer)
        taken: list[tuple[bytes, Part]] = []
        for field, name in _by_field(named):
            files = self._files.get(name)
            if files is None:
                raise BadBatch("No file that came with the batch has this name.", pointer)
            self._untaken.pop(name, None)
            for file in files:
                taken.append((head_of(field, file), file))
                # A name may be longer than the file.
                self._left -= len(taken[-1][0]) + file.size
                if self._left < 0:
                    raise TooLarge(self._limit, pointer)
            if len(taken) > MAX_PARTS:
                raise BadBatch(TOO_MANY, pointer)
        return taken

    def check_all_taken(self) -> None:
        """Has every file been taken?

        :raises BadBatch: when one has not.
        """
        for name in self._untaken:
            raise BadBatch(f"No request names the file '{name}' in its 'attached_files'.")


def _by_field(named: FileNames) -> Iterable[tuple[str, str]]:
    if isinstance(named, dict):
        return named.items()
    # Some end with a comma.
    names = filter(None, map(str.strip, named.split(","))) if isinstance(named, str) else named
    return [(name, name) for name in dict.fromkeys(names)]


def _attach(item: SubRequest, files: list[tuple[bytes, Part]], batch: Batch) -> None:
    """Have *item* sent as a form in parts, with *files* and the fields that its body gives."""
    if item.late is not None and item.late.body:
        raise BadBatch("Beside files a body cannot refer to the answers of other requests.", batch.place(item, "body"))
    try:
        fields = _fields_of(item) if item.body else []
    except BadBatch as error:
        raise BadBatch(error.detail, batch.place(item, "body") + error.pointer) from None
    content_type, pieces = in_parts([(name.encode(), [value.encode()]) for name, value in fields], files)
    item.headers = [header for header in item.headers if header[0].lower() not in ("content-type", "content-length")]
    item.headers.append(("Content-Type", content_type))
    item.body, item.form = joined([piece for piece in pieces if isinstance(piece, bytes | Part)])


def _fields_of(item: SubRequest) -> list[tuple[str, str]]:
    content_type = content_type_of(item.headers) or ""
    if kind_of(content_type) == "json":
        members = members_of(item.body)
        if len(members) > MAX_PARTS:
            raise BadBatch(TOO_MANY)
        if any(value.startswith((b"{", b"[")) for _, value in members):
            raise BadBatch("A field of a form is text, a number or a truth value.")
        return [(name, as_text(value)) for name, value in members]
    if content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
        return pairs(item.body)
    raise BadBatch("Files are sent with the fields of a form, as an object in JSON or url-encoded.")
