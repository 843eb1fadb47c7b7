"""Fixtures that all tests share: real servers, and the recorded data beside the repository.

The servers are our own embedded ones unless ASSETBATCH_TEST_REDIS_URL or ASSETBATCH_TEST_DATABASE_URL
name others (a superuser's URL for PostgreSQL). ASSETBATCH_TEST_PROFILE=ci has hypothesis try more.
"""

from __future__ import annotations

import gc
import os
import shutil
import uuid
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import settings
from psycopg.sql import SQL, Identifier

from assetbatch.embedded import EmbeddedServers
from assetbatch.secret import Secret
from assetbatch.state.connection import RedisClient, connect
from assetbatch.state.keys import Keys

REPOSITORY = Path(__file__).resolve().parents[1]
MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 2 * 2**30  # bytes, for three servers side by side
ROOMY = (
    MEMORY.is_dir()
    and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED
    and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
)
if ROOMY:  # a file that is written and removed takes 0.5 ms of CPU on a disk, 0.04 ms in memory
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# Never a deadline: other processes share the machine, and servers answer when they can.
settings.register_profile("dev", max_examples=25, stateful_step_count=15, deadline=None)
settings.register_profile("ci", max_examples=100, stateful_step_count=50, deadline=None, print_blob=True)
PROFILE = os.environ.get("ASSETBATCH_TEST_PROFILE", "dev")
settings.load_profile(PROFILE)


gc.set_threshold(100_000, 20, 20)  # modules and cases are many, and nothing of them is garbage

SLOW = {"acceptance", "failures", "fire", "groups", "integration", "simulation"}
"""Folders whose tests kill, fail over, start servers again and again or simulate weeks."""
QUICK = {"failures/test_failures.py"}
"""What in them is as quick as the rest."""
EMPTY = "template0"
"""No background worker is ever connected to it, as TimescaleDB's are to template1."""
LONGEST = {
    "test_week.py",
    "test_hour.py",
    "test_real_cron.py",
    "test_readme.py",
    "test_saving_properties.py",
    "test_queue_model.py",
    "test_generated_shapes.py",
}


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        path = item.path.relative_to(REPOSITORY / "tests")
        if path.parts[0] in SLOW and path.as_posix() not in QUICK:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.path.name not in LONGEST)  # begun last, they would end alone


def examples(factor: float) -> settings:
    """So many times the examples of the profile; the test says why."""
    return settings(max_examples=max(1, round(settings().max_examples * factor)))


def every(step: int) -> int:
    """The step of a loop over very many cases: each of them in CI, one in so many for people."""
    return step if PROFILE == "dev" else 1


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The reference data beside the repository; skips where they are absent."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "vendor").is_dir():
        pytest.skip("the reference data (../shared) are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def embedded_servers() -> Iterator[EmbeddedServers]:
    """The servers of this run, in memory where there is room: a database of a test's own took 200 ms of CPU
    and as long again to wait on a disk, 5 ms in memory."""
    with (
        TemporaryDirectory(prefix="assetbatch-tests-", dir=MEMORY if ROOMY else None) as folder,
        EmbeddedServers(Path(folder)) as servers,
    ):
        yield servers


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """A real Redis or Valkey for the whole run; tests keep apart by their key prefixes."""
    given = os.environ.get("ASSETBATCH_TEST_REDIS_URL")
    if given:
        return given
    servers: EmbeddedServers = request.getfixturevalue("embedded_servers")
    url = servers.redis_url()
    with closing(connect(Secret(url))) as client:
        client.config_set("appendfsync", "no")  # durability has tests of its own, with servers of their own
    return url


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """A superuser's URL of a real PostgreSQL for the whole run."""
    given = os.environ.get("ASSETBATCH_TEST_DATABASE_URL")
    if given:
        return given
    servers: EmbeddedServers = request.getfixturevalue("embedded_servers")
    url = servers.database_url()
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(SQL("ALTER SYSTEM SET {} = off").format(Identifier(setting)))
        connection.execute("ALTER SYSTEM SET max_wal_size = '64MB'")  # it may lie in memory
        connection.execute("SELECT pg_reload_conf()")
    return url


@pytest.fixture(autouse=True)
def _emptied_redis(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave nothing behind: what belongs to an API key is shared by all prefixes, so by all tests."""
    yield
    if "redis_url" in request.fixturenames:
        client = connect(Secret(request.getfixturevalue("redis_url")))
        client.flushall()
        client.close()


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[RedisClient]:
    client = connect(Secret(redis_url))
    yield client
    client.close()


@pytest.fixture
def prefix() -> str:
    """A key prefix of this test's own."""
    return f"{{test-{uuid.uuid4().hex[:12]}}}"


@pytest.fixture
def keys(prefix: str) -> Keys:
    return Keys(prefix)


@contextmanager
def new_database(postgres_url: str, template: str) -> Iterator[str]:
    """The name of a database that is a copy of another one; it is gone afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        # Files are copied in 60 % of the CPU time that pages in the log take.
        statement = SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        connection.execute(statement.format(Identifier(name), Identifier(template)))
    try:
        yield name
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))


def url_of(postgres_url: str, name: str) -> str:
    return urlsplit(postgres_url)._replace(path=f"/{name}").geturl()


class Prepare(Protocol):
    """Names a database to copy; `make` has made it once for all tests, at the URL that it is called with."""

    def __call__(self, key: Hashable, make: Callable[[str], object]) -> str: ...


@pytest.fixture(scope="session")
def prepared(postgres_url: str) -> Iterator[Prepare]:
    with ExitStack() as stack:
        names: dict[Hashable, str] = {}

        def name_of(key: Hashable, make: Callable[[str], object]) -> str:
            if key not in names:
                name = stack.enter_context(new_database(postgres_url, EMPTY))
                make(url_of(postgres_url, name))
                with psycopg.connect(postgres_url, autocommit=True) as connection:
                    # Nobody may be connected to what is copied, as the workers of TimescaleDB would be.
                    connection.execute(
                        SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(Identifier(name))
                    )
                names[key] = name
            return names[key]

        yield name_of


@pytest.fixture
def template() -> str:
    """What `database_url` is a copy of: an empty database, or a `prepared` one."""
    return EMPTY


@pytest.fixture
def database_url(postgres_url: str, template: str) -> Iterator[str]:
    """A fresh database of this test's own, with or without our tables as its `template` is."""
    with new_database(postgres_url, template) as name:
        yield url_of(postgres_url, name)
