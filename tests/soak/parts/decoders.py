"""Each decoder is fed inputs that coverage guides: what comes of them is a batch, or its refusal."""

from collections.abc import Iterator

from tests.soak.fuzzing import fuzzed
from tests.soak.report import Bounds, Row
from tests.soak.targets import WORDS

title = "coverage-guided fuzzing of each decoder; anything but a batch or its refusal is found"
COUNT = 1_000_000


def soak(bounds: Bounds) -> Iterator[Row]:
    for word, share in bounds.shared(WORDS):
        yield fuzzed(word, COUNT, share)
