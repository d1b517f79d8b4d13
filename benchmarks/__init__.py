"""How fast is it, and is that fast enough? ``python -m benchmarks`` asks every question and tells which bar is missed.

A *question* (one file in ``questions``) compares *contestants*, ways of having N requests answered (one file each in ``contestants``), on *apps*
(one file each in ``apps``).
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The clone, in which the documentation and the tests stand as well."""
