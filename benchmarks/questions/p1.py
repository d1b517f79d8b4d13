"""P1: how many instructions does an item of a batch cost, over the bare loop?"""

from ..answers import Row
from ..instructions import counted, per_item

title = "instructions per item beyond those of the bare loop, trivial app, N=100"
COUNT = 100


def ask() -> list[Row]:
    return [
        counted("plain GETs", 45_000, "", _over, "gets"),
        counted("3 headers and a JSON body", 65_000, "", _over, "posts"),
    ]


def _over(kind: str) -> float:
    bare, batch = per_item([("bare", "trivial", kind), ("batch", "trivial", kind)], COUNT, (10, 60))
    return batch - bare
