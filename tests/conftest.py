"""What all tests share: hypothesis looks for facts, not for slow machines; one server of each database for each process that runs tests."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import postgres as postgres_servers
from tests.servers import redis as redis_servers

settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
settings.load_profile("tests")


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_servers.Server]:
    """A PostgreSQL, started when a test first asks for it. Whoever uses it makes a database of its own."""
    programs = postgres_servers.programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed here (Debian: apt-get install postgresql)")
    with postgres_servers.running(programs) as server:
        yield server


@pytest.fixture(scope="session")
def redis_program() -> str:
    """The program of Redis, for who must have a server of its own."""
    program = redis_servers.program()
    if program is None:
        pytest.skip("no Redis server is installed here (Debian: apt-get install redis-server)")
    return program


@pytest.fixture(scope="session")
def redis(redis_program: str) -> Iterator[redis_servers.Server]:
    """A Redis, started when a test first asks for it. Whoever uses it empties it first."""
    with redis_servers.running(redis_program) as server:
        yield server
