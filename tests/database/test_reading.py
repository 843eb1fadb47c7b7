from __future__ import annotations

import pytest

from assetbatch.database import Changes, Outcome, Store
from assetbatch.domain.models import BAR_MS, Bar, Price, StoredAsset
from assetbatch.domain.status import Status
from assetbatch.errors import DatabaseError

from .conftest import SYMBOLS, Sql, on_both_tables
from .proxy import Proxy

NOW_MS = 1_760_000_100_000


@on_both_tables
def test_everything_that_is_known_comes_back(store: Store) -> None:
    batch = Changes(
        prices=[
            Price(
                symbol="EURUSD",
                last_price=1.0834,
                bid=1.0833,
                ask=1.0835,
                daily_open=1.08,
                as_of_ms=NOW_MS + 7,
            )
        ],
        bars={"EURUSD": [Bar(t * BAR_MS, 1.0, 1.0, 1.0, 1.0) for t in (7, 9, 8)]},
        outcomes=[
            Outcome("EURUSD", Status.SUCCESS),
            Outcome("XAUUSD", Status.NOT_FOUND, "Ticker not found."),
        ],
    )
    store.save(batch, NOW_MS)
    assert store.load(SYMBOLS) == {
        "EURUSD": StoredAsset(
            symbol="EURUSD",
            last_price=1.0834,
            bid=1.0833,
            ask=1.0835,
            daily_open=1.08,
            as_of_ms=NOW_MS + 7,
            fetched_to_ms=NOW_MS + 7,
            last_sync_ms=NOW_MS,
            sync_status=Status.SUCCESS,
            status_at_ms=NOW_MS,
            last_bar_ms=9 * BAR_MS,
        ),
        "XAUUSD": StoredAsset(
            symbol="XAUUSD",
            sync_status=Status.NOT_FOUND,
            status_at_ms=NOW_MS,
            error_message="Ticker not found.",
        ),
        "BTCUSD": StoredAsset(symbol="BTCUSD"),
    }


def test_symbols_that_are_not_registered_are_absent(store: Store) -> None:
    assert list(store.load(["NOPE", "EURUSD", "EURUSD"])) == ["EURUSD"]
    assert store.load([]) == {}


@pytest.mark.parametrize(
    "metadata",
    [
        "[]",
        "7",
        "null",
        '{"last_update": null}',
        '{"last_update": [1]}',
        '{"last_update": {"last_price": "1.5", "timestamp": 5}}',
        '{"last_update": {"last_price": -1, "daily_open": true, "timestamp": "soon"}}',
        '{"last_update": {"bid": 0, "ask": "1.5"}}',
        '{"last_update": {"last_price": 1' + "0" * 5000 + ', "timestamp": {"a": null}}}',
    ],
)
def test_what_others_wrote_into_metadata_does_no_harm(store: Store, sql: Sql, metadata: str) -> None:
    sql("UPDATE trading.symbols SET metadata = %s::jsonb", metadata)
    assert store.load(SYMBOLS) == {symbol: StoredAsset(symbol=symbol) for symbol in SYMBOLS}


@on_both_tables
def test_infinite_moments_of_others_are_no_moments(store: Store, sql: Sql) -> None:
    store.save(
        Changes(outcomes=[Outcome("EURUSD", Status.SUCCESS)], bars={"EURUSD": [Bar(0, 1, 1, 1, 1)]}), NOW_MS
    )
    sql("INSERT INTO market_data.ohlcv_5m SELECT symbol_id, 'infinity', 1, 1, 1, 1 FROM market_data.ohlcv_5m")
    sql("INSERT INTO market_data.ohlcv_5m SELECT id, '-infinity', 1, 1, 1, 1 FROM trading.symbols")
    loaded = store.load(["EURUSD", "XAUUSD"])
    assert loaded["EURUSD"] == StoredAsset(
        symbol="EURUSD", last_sync_ms=NOW_MS, sync_status=Status.SUCCESS, status_at_ms=NOW_MS, last_bar_ms=0
    )
    assert loaded["XAUUSD"].last_bar_ms is None


def test_the_status_of_another_provider_is_not_ours(store: Store, sql: Sql) -> None:
    sql("INSERT INTO data_sources.api_providers (code, name) VALUES ('other', 'Other')")
    sql(
        "INSERT INTO data_sources.data_sync_status (ticker_id, provider_id, sync_status)"
        " SELECT s.id, p.id, 'success' FROM trading.symbols s, data_sources.api_providers p"
        " WHERE p.code = 'other'"
    )
    assert store.load(["EURUSD"]) == {"EURUSD": StoredAsset(symbol="EURUSD")}


def test_it_is_one_query_for_any_number_of_symbols(store: Store, database_url: str, sql: Sql) -> None:
    many = [f"S{number}" for number in range(5000)]
    sql(
        "INSERT INTO trading.symbols (symbol, name, asset_type) SELECT unnest(%s::text[]), 'x', 'forex'", many
    )
    with Proxy(database_url) as proxy, Store.open(proxy.url) as through:
        for asked in (many[:1], many):
            before = proxy.turns
            assert len(through.load(asked)) == len(asked)
            assert proxy.turns - before == 3, "BEGIN and settings, the query, COMMIT"


def test_a_closed_store_opens_again_when_it_is_used(store: Store) -> None:
    store.close()
    assert len(store.load(SYMBOLS)) == 3


def test_a_table_that_was_dropped_meanwhile_is_named(store: Store, sql: Sql) -> None:
    sql("DROP TABLE market_data.ohlcv_5m")
    with pytest.raises(DatabaseError, match=r"market_data\.ohlcv_5m"):
        store.load(SYMBOLS)
