"""The answer to one batch, read as it arrives: at once where it comes in lines, otherwise when it is whole."""

from collections.abc import Iterable, Iterator, Sequence

from .._timing import read_timing
from ..dialects._lines import TYPE, LinesReader
from ..errors import MissingResponse
from ..model import Headers, SubRequest, SubResponse
from ..protocols import Dialect, LinesDialect, Unanswered

Answers = Iterable[tuple[int, SubResponse]]

_LONGEST = 1e9
"""Seconds, some 30 years: a time that is longer, or less than none, is not believed."""


class Reading:
    """Finds out whose answer is whose. An answer to a request is given once.

    :param status: of the answer, and
    :param headers: of it.
    """

    def __init__(self, dialect: Dialect, requests: Sequence[SubRequest], status: int, headers: Headers) -> None:
        self._dialect, self._requests, self._status, self._headers = dialect, requests, status, headers
        self._lines = LinesReader(dialect.read_line, requests) if isinstance(dialect, LinesDialect) and _is_lines(headers) else None
        self._pieces: list[bytes] = []
        self._answered: set[int] = set()
        self.fault = ""
        """Why there are no more answers, where there should be."""

    def missing(self, request: str, cause: Exception | None) -> MissingResponse:
        """What is told whoever waits for an answer to *request* that is not there."""
        error = MissingResponse(f"{request}: {self.fault or 'the server has not answered it'}")
        error.status, error.headers, error.body, error.__cause__ = self._status, self._headers, b"".join(self._pieces), cause
        return error

    def feed(self, data: bytes) -> Iterator[tuple[int, SubResponse]]:
        """The answers that *data*, the next bytes, completes, each with the place of its request."""
        if self._lines is None:
            self._pieces.append(data)
        elif not self.fault:
            yield from self._once(self._lines.feed(data))

    def end(self, cut: bool = False) -> Iterator[tuple[int, SubResponse]]:
        """The answers that are known once all bytes are, or no more can be had.

        :param cut: are these not all the bytes that there should be?
        """
        if self._lines is None:
            yield from self._once(self._whole())
        elif not self._lines.complete and not self.fault:
            cut = True
        if cut and len(self._answered) < len(self._requests):
            self.fault = "the answer to the batch was cut off"

    def _whole(self) -> Answers:
        try:
            answers: Sequence[SubResponse | None] = self._dialect.read(self._headers, b"".join(self._pieces), self._requests)
        except Unanswered as error:
            answers = error.answers
            if error.cut:
                self.fault = "the answer to the batch was cut off"
        times = read_timing(self._headers)
        for place, answer in enumerate(answers):
            if answer is not None:
                if place in times:
                    answer.started = times[place][0]
                    answer.duration = answer.duration or times[place][1]
                yield place, answer

    def _once(self, answers: Answers) -> Answers:
        try:
            for place, answer in answers:
                if place not in self._answered:
                    self._answered.add(place)
                    if not (0 <= answer.started < _LONGEST and 0 <= answer.duration < _LONGEST):
                        answer.started = answer.duration = 0.0
                    yield place, answer
        except ValueError as error:
            kind = f"{self._status} {_type(self._headers)}".strip()
            self.fault = f"the answer to the batch cannot be read: it is {kind}, and {error}"


def _is_lines(headers: Headers) -> bool:
    return _type(headers) == TYPE


def _type(headers: Headers) -> str:
    content_type = next((value for name, value in headers if name.lower() == "content-type"), "")
    return content_type.partition(";")[0].strip().lower()
