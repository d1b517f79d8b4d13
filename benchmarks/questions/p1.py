"""P1: how many instructions does an item of a batch cost, over the bare loop?"""

from ..answers import Row, exact
from ..instructions import per_item

title = "instructions per item over the bare loop, trivial app, N=100"
COUNT = 100


def ask() -> list[Row]:
    return [
        Row("plain GETs", exact(_over("gets")), 45_000, ""),
        Row("3 headers and a JSON body", exact(_over("posts")), 65_000, ""),
    ]


def _over(kind: str) -> float:
    bare, batch = per_item([("bare", "trivial", kind), ("batch", "trivial", kind)], COUNT, (10, 60))
    return batch - bare
