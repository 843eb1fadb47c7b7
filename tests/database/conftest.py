"""A store on a fresh database, and a superuser's view of what it wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from assetbatch.database import Store
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from tests.conftest import EMPTY, Prepare
from tests.schema import migrate, register

SYMBOLS = ("EURUSD", "XAUUSD", "BTCUSD")

TIMESCALEDB_AVAILABLE = (
    "SELECT name FROM pg_available_extensions WHERE name = 'timescaledb'"
    " AND current_setting('shared_preload_libraries') LIKE '%timescaledb%'"
)
"""The extension can be created only where the server has loaded it at its start."""


Sql = Callable[..., list[tuple[Any, ...]]]
"""Run a statement as the superuser, outside of the store; its rows."""


@pytest.fixture
def sql(database_url: str) -> Iterator[Sql]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        # Nothing may depend on the zone a server happens to have.
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET timezone = 'Pacific/Auckland'".encode())

        def run(query: str, *parameters: object) -> list[tuple[Any, ...]]:
            cursor = connection.execute(query.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

        yield run


@pytest.fixture
def empty(database_url: str) -> Iterator[Store]:
    """A store on a database without our tables."""
    with Store.open(database_url, check_schema=False) as store:
        yield store


@pytest.fixture
def by_month() -> bool:
    """Whether the table of bars is partitioned; `on_both_tables` tries a module's tests on both."""
    return False


@pytest.fixture
def template(request: pytest.FixtureRequest, prepared: Prepare, by_month: bool) -> str:
    """With the tables and assets where a test asks for `store`; a test of `empty` gets none."""
    if "store" not in request.fixturenames:
        return EMPTY

    def make(url: str) -> None:
        with Store.open(url, check_schema=False) as store:
            migrate(store, by_month=by_month)
            register(store, [asset(symbol) for symbol in SYMBOLS])

    return prepared(("store", by_month), make)


on_both_tables = pytest.mark.parametrize("by_month", [False, True], ids=["one_table", "by_month"])


@pytest.fixture
def store(empty: Store) -> Store:
    """A store with its tables and the assets of `SYMBOLS`."""
    empty.check_schema()
    return empty


def asset(symbol: str, name: str | None = None, asset_type: AssetType = AssetType.FOREX) -> Asset:
    return Asset(symbol=symbol, polygon_ticker=f"C:{symbol}", asset_type=asset_type, name=name)


def wait_for_a_waiting_lock(sql: Sql) -> None:
    """Return as soon as a session in the database waits for a lock; fail after ten seconds."""
    for _ in range(1000):
        # Not pg_locks: it names no database for a wait for another's transaction.
        if sql(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()"
        ):
            return
        sql("SELECT pg_sleep(0.01)")
    raise AssertionError("nobody waits for a lock")


def deadlocks(sql: Sql) -> int:
    """How many there were in the database; close the stores before, for sessions report when they end."""
    for _ in range(1000):
        if not sql(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ):
            break
        sql("SELECT pg_sleep(0.01)")
    ((number,),) = sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(number)
