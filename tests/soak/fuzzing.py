"""Runs a fuzzing process, and reads what it has reached out of what it says."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from .report import Bounds, Row
from .seeds import LONGEST, dictionary, seeds_of

FOUND = Path(__file__).parent / "found"
"""Inputs that found something, in a folder for each target: they are tests from then on."""
_ROOT = Path(__file__).parent.parent.parent
_ENOUGH = 5
"""Findings of one target after which it is left alone."""
_HANGS = 20
"""Seconds for one input."""

_COVERAGE = re.compile(r"^#(\d+)\s+(\w+)\s+cov: (\d+) ft: (\d+) corp: (\d+)/", re.MULTILINE)
_RUN = re.compile(r"^#(\d+)\s|^Done (\d+) runs", re.MULTILINE)
_RAISED = re.compile(r"=== Uncaught Python exception: ===\n(.*)")
_KEPT = re.compile(r"Test unit written to (\S+)")


def fuzzed(name: str, usual: int, bounds: Bounds) -> Row:
    """Fuzz the target *name*; where something is found, what is left is done in further processes."""
    wanted = bounds.wanted(usual)
    row = Row(name, 0, wanted, 0.0, [])
    if find_spec("atheris") is None:
        row.remark = "left out: atheris is not installed (pip install atheris)"
        return row
    began = time.monotonic()
    with _corpus(name) as (folder, options):
        first = None
        while row.count < wanted and len(row.findings) < _ENOUGH and time.monotonic() < bounds.until:
            limits = [f"-runs={wanted - row.count}", f"-max_total_time={int(bounds.left) + 1}", f"-seed={len(row.findings) + 1}"]
            said, status = _run(name, folder, [*options, *limits])
            coverage = _COVERAGE.findall(said)
            row.count += max((int(one or other) for one, other in _RUN.findall(said)), default=0)
            if coverage:
                first = first or next((found for found in coverage if found[1] == "INITED"), coverage[0])
                row.remark = _remark(first, coverage[-1], folder / "tally")
            if status:
                row.findings.append(_finding(said, status))
    row.seconds = time.monotonic() - began
    return row


@contextmanager
def _corpus(name: str) -> Iterator[tuple[Path, list[str]]]:
    """A folder to work in, and the options that say what is in it."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        seeds = seeds_of(name)
        (folder / "corpus").mkdir()
        for place, seed in enumerate(seeds):
            (folder / "corpus" / f"seed-{place}").write_bytes(seed)
        (folder / "words").write_text(dictionary(seeds))
        kept = FOUND / name
        kept.mkdir(parents=True, exist_ok=True)
        yield folder, [f"-dict={folder / 'words'}", f"-max_len={LONGEST}", f"-timeout={_HANGS}", "-rss_limit_mb=2048", f"-artifact_prefix={kept}/"]
        if not any(kept.iterdir()):
            kept.rmdir()


def _run(name: str, folder: Path, options: list[str]) -> tuple[str, int]:
    """What the process says, and how it ends."""
    command = [sys.executable, "-m", "tests.soak.fuzzer", name, str(folder / "tally"), str(folder / "corpus"), *options]
    with (folder / "said").open("w+b") as said:
        ended = subprocess.run(command, cwd=_ROOT, env={**os.environ, "PYTHONPATH": str(_ROOT)}, stdout=said, stderr=subprocess.STDOUT, check=False)
        said.seek(0)
        return said.read().decode(errors="replace"), ended.returncode


def _remark(first: tuple[str, ...], last: tuple[str, ...], tally: Path) -> str:
    """How coverage has grown, and what became of the inputs: a fuzzer that does not learn would find nothing."""
    counts = json.loads(tally.read_text()) if tally.exists() else {}
    total = sum(counts.values()) or 1
    shares = ", ".join(f"{100 * count / total:.0f} % {word}" for word, count in sorted(counts.items()))
    return f"coverage {first[2]} to {last[2]}, features {first[3]} to {last[3]}; {shares}"


def _finding(said: str, status: int) -> str:
    raised, kept = _RAISED.search(said), _KEPT.search(said)
    what = raised[1] if raised else f"the process ended with {status}: {said[-500:]}"
    return f"{what} ({Path(kept[1]).relative_to(_ROOT) if kept else 'no input was kept'})"
