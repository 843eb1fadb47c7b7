from __future__ import annotations

import pytest

from assetbatch.database import Store
from assetbatch.domain.asset_classes import AssetType
from assetbatch.errors import SchemaRefusedError
from tests.schema import migrate, register

from .conftest import Sql, asset


@pytest.fixture
def tables(empty: Store) -> Store:
    migrate(empty)
    return empty


def test_missing_symbols_are_added_with_their_name_and_type(tables: Store, sql: Sql) -> None:
    registered = register(tables, [asset("XAUUSD", "Gold – Spot"), asset("BTCUSD", None, AssetType.CRYPTO)])
    assert (registered.added, registered.present) == (["XAUUSD", "BTCUSD"], [])
    assert sql("SELECT symbol, name, asset_type, metadata FROM trading.symbols ORDER BY symbol") == [
        ("BTCUSD", "BTCUSD", "crypto", {}),
        ("XAUUSD", "Gold – Spot", "forex", {}),
    ]
    assert sql("SELECT code FROM data_sources.api_providers") == [("polygon",)]


def test_registering_makes_no_sync_status(tables: Store, sql: Sql) -> None:
    register(tables, [asset("EURUSD")])
    assert sql("SELECT count(*) FROM data_sources.data_sync_status") == [(0,)]


def test_rows_that_are_there_are_not_touched(tables: Store, sql: Sql) -> None:
    sql(
        "INSERT INTO trading.symbols (symbol, name, asset_type, metadata)"
        """ VALUES ('EURUSD', 'Their name', 'fx', '{"a": 1}')"""
    )
    before = sql("SELECT xmin, s::text FROM trading.symbols s")
    registered = register(tables, [asset("EURUSD", "Our name"), asset("EURUSD", "Twice")])
    assert (registered.added, registered.present) == ([], ["EURUSD"])
    assert sql("SELECT xmin, s::text FROM trading.symbols s") == before


def test_registering_again_uses_up_no_ids(tables: Store, sql: Sql) -> None:
    for _ in range(3):
        register(tables, [asset("EURUSD")])
    register(tables, [asset("XAUUSD")])
    assert sql("SELECT max(id) FROM trading.symbols") == [(2,)]


def test_a_symbol_that_the_table_does_not_take_is_named(tables: Store, sql: Sql) -> None:
    sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON trading.symbols FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    with pytest.raises(SchemaRefusedError, match="did not take EURUSD: a trigger or a policy skips the row"):
        register(tables, [asset("EURUSD")])


def test_a_name_that_is_too_long_for_the_column_says_so(tables: Store, sql: Sql) -> None:
    sql("ALTER TABLE trading.symbols ALTER COLUMN name TYPE varchar(5)")
    with pytest.raises(SchemaRefusedError, match=r"does not take the row EURUSD: .*varying\(5\)"):
        register(tables, [asset("EURUSD", "Euro in US dollars")])
