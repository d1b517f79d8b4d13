"""What the documents say of stores."""

from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs" / "idempotency.rst"


def test_stores_are_imported_from_where_it_is_written() -> None:
    lines = [line.strip() for line in DOCS.read_text().splitlines() if line.strip().startswith("from wsgibatch.stores")]
    names: dict[str, object] = {}

    exec("\n".join(lines), names)  # noqa: S102 - the document's own lines

    assert {"MemoryStore", "RedisStore", "SqliteStore"} <= names.keys()
