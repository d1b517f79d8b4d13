"""Each part of the soak for a moment, so that it can be run at any time; and every input that it has ever found something with."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.soak.fuzzing import FOUND
from tests.soak.seeds import seeds_of
from tests.soak.targets import WORDS, target_of

ROOT = Path(__file__).parent.parent
KEPT = sorted(path.relative_to(FOUND) for path in FOUND.glob("*/*"))


def soaked(tmp_path: Path, part: str, inputs: int) -> list[dict[str, object]]:
    """The rows that *part* tells after some *inputs*, and nothing found."""
    told = tmp_path / "told.json"
    command = [sys.executable, "-m", "tests.soak", part, "--minutes", "5", "--inputs", str(inputs), "--json", str(told)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows: list[dict[str, object]] = json.loads(told.read_text())[part]["rows"]
    return rows


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """A target listens to the log, for as long as its process lives."""
    log = logging.getLogger("wsgibatch")
    before = log.handlers[:], log.level, log.propagate
    yield
    log.handlers[:], log.level, log.propagate = before


@pytest.mark.parametrize("part", ["alike", "faults", "kills"])
def test_a_part_of_the_soak_counts_what_it_is_asked_for_and_finds_nothing(tmp_path: Path, part: str) -> None:
    rows = soaked(tmp_path, part, 200)

    assert all(row["count"] >= row["wanted"] for row in rows)  # type: ignore[operator]  # both are numbers


@pytest.mark.parametrize("part", ["decoders", "middleware"])
def test_fuzzing_runs_every_target_and_finds_nothing(tmp_path: Path, part: str) -> None:
    pytest.importorskip("atheris", reason="the soak fuzzes with atheris (pip install atheris)")

    rows = soaked(tmp_path, part, 2000)

    assert [row["name"] for row in rows] == (WORDS if part == "decoders" else ["middleware"])
    assert all(row["count"] >= row["wanted"] for row in rows)  # type: ignore[operator]  # both are numbers


@pytest.mark.parametrize("name", [*WORDS, "middleware"])
def test_what_fuzzing_begins_with_leads_far_and_finds_nothing(name: str) -> None:
    target = target_of(name)

    words = {target(seed) for seed in seeds_of(name)}

    assert words >= {"answered" if name == "middleware" else "read", "refused"}


@pytest.mark.parametrize("kept", KEPT, ids=str)
def test_an_input_that_found_something_finds_nothing_any_more(kept: Path) -> None:
    target_of(kept.parent.name)((FOUND / kept).read_bytes())
