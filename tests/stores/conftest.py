"""Where each store keeps its records while it is tested: for a member of the family ``x``, the fixture ``x_url``."""

from pathlib import Path

import pytest

from tests.servers.redis import Server


@pytest.fixture
def memory_url() -> str:
    return "memory://"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/records.db"


@pytest.fixture
def redis_url(redis: Server) -> str:
    return redis.empty_url()
