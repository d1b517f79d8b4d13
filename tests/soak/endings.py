"""Processes whose main thread ends while batches run: they end, and soon. The clock is the machine's, and the same in every process."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.soak.report import Row

_WORDS = ("threads", "limited", "futures", "store", "processes")
_EACH = 5
"""Processes for each of these words."""
_AT_ONCE = 2
_SOON, _SOON_ENOUGH = 2, 10
"""Seconds in which a process ends, since what takes longer is held up by something; and where few are wanted, as by tests that run beside others."""
_PATIENCE = 120
"""Seconds after which it is held that one hangs."""

_ENDING = """
import sys
import threading
import time
from tests.soak.clients import Client
from tests.soak.endpoints import endpoints
from tests.soak.tally import Tally

tally = Tally()
found = [endpoint for endpoint in endpoints({"memory": "memory://"}, tally) if endpoint.name.startswith(sys.argv[1])]
def run(client):
    while True:
        client.post()
for number in range(8):
    threading.Thread(target=run, args=(Client(number, found, tally),), daemon=True).start()
threading.Event().wait(1)
print(time.monotonic(), flush=True)
"""


def row(part: float) -> Row:
    """What became of them; *part* of them, where fewer inputs are wanted."""
    made = Row("ends with items in flight", 0, max(1, round(len(_WORDS) * _EACH * part)), 0.0, [])
    began = time.monotonic()
    soon = _SOON if part == 1 else _SOON_ENOUGH
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        ended = list(pool.map(partial(_ended, soon), (_WORDS * _EACH)[: made.wanted]))
    made.count = len(ended)
    made.findings += [found for found in ended if isinstance(found, str)]
    made.remark = f"the slowest took {max((found for found in ended if isinstance(found, float)), default=0.0):.1f} s"
    made.seconds = time.monotonic() - began
    return made


def _ended(soon: float, word: str) -> float | str:
    """Seconds that a process took to end, or what was wrong with it."""
    command = [sys.executable, "-W", "ignore", "-c", _ENDING, word]
    try:
        ended = subprocess.run(command, check=False, capture_output=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired as error:
        return f"{word}: {error}"
    if ended.returncode or not ended.stdout:
        return f"{word}: ended with {ended.returncode}: {ended.stderr[-300:]!r}"
    took = time.monotonic() - float(ended.stdout)
    return f"{word}: took {took:.1f} seconds to end" if took > soon else took
