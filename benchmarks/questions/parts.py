"""parts: where do the instructions of a batch go that the bare loop does not take?

Vet and plan, in which every item is looked at, and call are counted as the difference between going so far and not. What is left of the whole is
the rest of the story: the run, the lane, the driver, and the answer to the batch itself.
"""

from functools import cache

from ..answers import Row
from ..instructions import counted, per_item

title = "instructions per item beyond those of the bare loop, by part, trivial app, N=100"
COUNT = 100
LENGTHS = (10, 60)
KINDS = {"gets": "plain GETs", "posts": "3 headers and a JSON body"}
PARTS = ("decode", "vet and plan", "environ", "call", "encode", "run, lane, driver", "all")


def ask() -> list[Row]:
    return [counted(f"{name}: {part}", None, "", _part, kind, part) for kind, name in KINDS.items() for part in PARTS]


def _part(kind: str, part: str) -> float:
    return _parts(kind)[part]


@cache
def _parts(kind: str) -> dict[str, float]:
    contestants = ("bare", "batch", "part:decode", "part:plan", "part:environ", "part:call", "part:encode")
    bare, batch, decode, plan, environ, call, encode = per_item([(which, "trivial", kind) for which in contestants], COUNT, LENGTHS)
    found = (decode, plan - decode, environ, call - environ - bare, encode)
    return dict(zip(PARTS, (*found, batch - bare - sum(found), batch - bare), strict=True))
