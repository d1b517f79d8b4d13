"""A process that fuzzes one target: ``python -m tests.soak.fuzzer TARGET TALLY CORPUS [libFuzzer's options]``. atheris ends it by itself."""

import json
import sys
from collections import Counter
from pathlib import Path
from random import Random

import atheris

# Whatever has no part in it stays as it is, and fast.
with atheris.instrument_imports(include=["wsgibatch", "multipart"]):
    from wsgibatch import _lookup, dialects, wsgi  # noqa: F401 - with all that it imports

    for _word in _lookup.members(dialects):
        _lookup.member(dialects, _word)

from tests.soak.mutate import mixed, mutated, restated
from tests.soak.seeds import seeds_of
from tests.soak.targets import target_of

_EVERY = 256
"""Inputs after which the tally is written: nothing is called when libFuzzer ends."""


_chance = Random(0)
_seeds: list[bytes] = []


def main() -> None:
    name, tally, *rest = sys.argv[1:]
    target = target_of(name)
    _seeds.extend(seeds_of(name))
    counts: Counter[str] = Counter()

    def one(data: bytes) -> None:
        counts[target(data)] += 1
        if counts.total() % _EVERY == 0:
            Path(tally).write_text(json.dumps(counts))

    atheris.Setup([sys.argv[0], *rest], one, custom_mutator=_mutator)
    atheris.Fuzz()


def _mutator(data: bytes, longest: int, seed: int) -> bytes:
    # Making a generator of each seed would take longer than all else here.
    fate = _chance.random()
    if fate < 0.1:
        return mixed(_chance.choice(_seeds), _chance.choice(_seeds), _chance)[:longest]
    if fate < 0.25:
        return restated(_chance.choice(_seeds), _chance)[:longest]
    if fate < 0.4:
        # What has been learnt is mostly what is wrong, and leads to more of that.
        return mutated(_chance.choice(_seeds), _chance)[:longest]
    if fate < 0.75 and (changed := mutated(data, _chance)[:longest]):
        return changed
    return bytes(atheris.Mutate(data, longest))


if __name__ == "__main__":
    main()
