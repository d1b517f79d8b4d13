"""The whole middleware is fed inputs that coverage guides: the answer is 2xx or 4xx, and one that the client's half of the dialect reads."""

from collections.abc import Iterator

from tests.soak.fuzzing import fuzzed
from tests.soak.report import Bounds, Row

title = "coverage-guided fuzzing of the whole middleware; any answer but 2xx and 4xx, and any exception of its own, is found"
COUNT = 1_000_000


def soak(bounds: Bounds) -> Iterator[Row]:
    yield fuzzed("middleware", COUNT, bounds)
