"""Fixtures that all tests share: real servers, and the recorded data beside the repository.

The servers are our own embedded ones unless ASSETBATCH_TEST_REDIS_URL or ASSETBATCH_TEST_DATABASE_URL
name others (a superuser's URL for PostgreSQL).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from assetbatch.embedded import EmbeddedServers
from assetbatch.secret import Secret
from assetbatch.state.connection import RedisClient, connect
from assetbatch.state.keys import Keys

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The reference data beside the repository; skips where they are absent."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "vendor").is_dir():
        pytest.skip("the reference data (../shared) are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def embedded_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServers]:
    with EmbeddedServers(tmp_path_factory.mktemp("servers")) as servers:
        yield servers


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """A real Redis or Valkey for the whole run; tests keep apart by their key prefixes."""
    given = os.environ.get("ASSETBATCH_TEST_REDIS_URL")
    if given:
        return given
    servers: EmbeddedServers = request.getfixturevalue("embedded_servers")
    return servers.redis_url()


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """A superuser's URL of a real PostgreSQL for the whole run."""
    given = os.environ.get("ASSETBATCH_TEST_DATABASE_URL")
    if given:
        return given
    servers: EmbeddedServers = request.getfixturevalue("embedded_servers")
    return servers.database_url()


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


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """A fresh, empty database of this test's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    try:
        yield urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))
