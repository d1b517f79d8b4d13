"""What all tests share: hypothesis looks for facts, not for slow machines; one database server for each process that runs tests."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import postgres as servers

settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
settings.load_profile("tests")


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.Server]:
    """A PostgreSQL, started when a test first asks for it. Whoever uses it makes a database of its own."""
    programs = servers.programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed here (Debian: apt-get install postgresql)")
    with servers.running(programs) as server:
        yield server
