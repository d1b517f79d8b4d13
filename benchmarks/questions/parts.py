"""parts: where do the instructions of a batch go that the bare loop does not take?

Plan, which looks at every item first, and call are counted as the difference between going so far and not. What is left of the whole is the rest of
the story: the run, the lane, the driver, and the answer to the batch itself.
"""

from ..answers import Row, exact
from ..instructions import per_item

title = "instructions per item over the bare loop, by part, trivial app, N=100"
COUNT = 100
LENGTHS = (10, 60)


def ask() -> list[Row]:
    return [*_rows("plain GETs", "gets"), *_rows("3 headers and a JSON body", "posts")]


def _rows(name: str, kind: str) -> list[Row]:
    contestants = ("bare", "batch", "part:decode", "part:plan", "part:environ", "part:call", "part:encode")
    bare, batch, decode, plan, environ, call, encode = per_item([(which, "trivial", kind) for which in contestants], COUNT, LENGTHS)
    parts = {"decode": decode, "plan": plan - decode, "environ": environ, "call": call - environ - bare, "encode": encode}
    parts["run, lane, driver"] = batch - bare - sum(parts.values())
    return [Row(f"{name}: {part}", exact(found), None, "") for part, found in parts.items()] + [Row(f"{name}: all", exact(batch - bare), None, "")]
