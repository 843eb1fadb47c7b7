"""Shapes of platforms' tables: what is recognised, what is refused with nothing changed, what stays."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from assetbatch.config.tables import TableMapping, TableMappings
from assetbatch.database import Store
from assetbatch.database.adoption import Plan
from assetbatch.database.names import Names
from assetbatch.database.quoting import quoted
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.errors import SchemaRefusedError

from .conftest import Sql, asset
from .platforms import everything, mapped, rows

ASSETS = [asset("XAUUSD"), asset("EURUSD"), asset("BTCUSD", asset_type=AssetType.CRYPTO)]
BTC = ASSETS[2:]
NO_EXTENSION = (
    'CREATE EXTENSION IF NOT EXISTS "uuid-ossp";',
    "CREATE FUNCTION public.uuid_generate_v4() RETURNS uuid LANGUAGE sql AS 'SELECT gen_random_uuid()';",
)
"""The embedded server has no extensions."""

NOTHING = TableMappings()
SCHEMAS = "CREATE SCHEMA trading; CREATE SCHEMA market_data; CREATE SCHEMA data_sources;"
SYMBOLS = (
    "CREATE TABLE trading.symbols (id serial PRIMARY KEY, symbol text UNIQUE NOT NULL, metadata jsonb,"
    " updated_at timestamptz);"
    "INSERT INTO trading.symbols (symbol) VALUES ('EURUSD'), ('XAUUSD'), ('BTCUSD'), ('AAPL');"
)
OHLC = "open float8 NOT NULL, high float8 NOT NULL, low float8 NOT NULL, close float8 NOT NULL"
REST = "volume float8, vwap float8, trades bigint"
BARS = f"CREATE TABLE market_data.ohlcv_5m (symbol_id int NOT NULL, ts timestamptz NOT NULL, {OHLC}, {REST}"
PROVIDERS = (
    "CREATE TABLE data_sources.api_providers (id serial PRIMARY KEY, code text UNIQUE NOT NULL, name text);"
    "INSERT INTO data_sources.api_providers (code, name) VALUES ('polygon', 'Polygon');"
)
SYNC = (
    "CREATE TABLE data_sources.data_sync_status (ticker_id int NOT NULL, provider_id int NOT NULL,"
    " last_sync_timestamp timestamptz, sync_status text, error_message text, updated_at timestamptz"
)


def plan_of(store: Store, mappings: TableMappings = NOTHING, assets: list[Asset] = ASSETS) -> Plan:
    return store.plan(mappings, assets)


def names_of(store: Store, mappings: TableMappings = NOTHING) -> Names:
    found = plan_of(store, mappings)
    assert found.refusals == ()
    assert found.names is not None
    return found.names


def refused(store: Store, sql: Sql, mappings: TableMappings = NOTHING, assets: list[Asset] = ASSETS) -> str:
    """What `init` says while it changes nothing."""
    before = everything(sql)
    with pytest.raises(SchemaRefusedError) as caught:
        store.initialise(mappings, assets)
    assert everything(sql) == before
    return caught.value.message


# --- the shapes beside the repository ---


class Adopted(NamedTuple):
    """A shape that is adopted: what it is added to, the columns that are called otherwise, and what the
    platform could write before."""

    file: str
    mappings: TableMappings
    assets: list[Asset]
    columns: dict[str, str]
    writers: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


ADOPTED = {
    "01": Adopted(
        "01_quant_system",
        NOTHING,
        ASSETS,
        {"symbols.id": "id"},
        ("INSERT INTO trading.symbols (symbol, asset_type) VALUES ('MSFT', 'stocks')",),
        ("trading.symbols.metadata jsonb",),
    ),
    "02, all assets there": Adopted(
        "02_base_quote",
        NOTHING,
        BTC,
        {"symbols.id": "id"},
        (
            "INSERT INTO trading.candles (symbol, timeframe, open_time) VALUES ('BTCUSD', '1h', now())",
            "INSERT INTO trading.symbols (symbol, base_asset, quote_asset) VALUES ('ADAUSD', 'ADA', 'USD')",
        ),
        ("trading.symbols.metadata jsonb",),
    ),
    "04": Adopted(
        "04_symbol_id_pk",
        NOTHING,
        ASSETS,
        {"symbols.id": "symbol_id"},
        ("INSERT INTO trading.symbols (symbol) VALUES ('MSFT')",),
        ("trading.symbols.metadata jsonb",),
    ),
    "05, told which are ours": Adopted(
        "05_many_exchanges",
        mapped(
            symbols=TableMapping(constants={"exchange": "coinbase", "instrument_type": "spot"}),
            bars=TableMapping(table="trading.ohlcv", constants={"timeframe": "5m"}),
        ),
        ASSETS,
        {"symbols.id": "id", "bars.ts": "ts"},
        (
            "INSERT INTO trading.symbols (symbol, exchange, instrument_type)"
            " VALUES ('BTCUSD', 'kraken', 'spot')",
            "INSERT INTO trading.ohlcv (ts, symbol_id, timeframe) VALUES (now(), 1, '1d'), (now(), 1, '1h')",
        ),
        ("trading.symbols.metadata jsonb",),
    ),
    "13, told whose ids": Adopted(
        "13_chart_5m",
        mapped(symbols=TableMapping(table="market_data.symbols"), bars=TableMapping(missing={"volume": 0})),
        ASSETS,
        {"symbols.id": "id", "symbols.symbol": "ticker", "bars.ts": "bar_time", "bars.vwap": "vw"},
        ("INSERT INTO market_data.ohlcv_5m VALUES (1, now(), 1, 2, 1, 2, 3, 1.5)",),
        ("market_data.symbols.metadata jsonb",),
    ),
    "20": Adopted(
        "20_spec_literal",
        NOTHING,
        ASSETS,
        {"bars.symbol_id": "ticker_id", "bars.ts": "timestamp", "bars.trades": "trade_count"},
        (
            "INSERT INTO market_data.ohlcv_5m (ticker_id, timestamp, open, high, low, close)"
            " SELECT id, now(), 1, 2, 1, 2 FROM trading.symbols",
        ),
    ),
    "21": Adopted("21_spec_our_names", NOTHING, ASSETS, {"bars.trades": "trade_count"}),
    "31, told whose ids": Adopted(
        "31_foreign_ids",
        mapped(symbols=TableMapping(table="market_data.tickers")),
        ASSETS,
        {"symbols.id": "id", "bars.symbol_id": "symbol_id"},
        ("INSERT INTO market_data.tickers (symbol) VALUES ('AAPL')",),
        ("market_data.tickers.metadata jsonb",),
    ),
    "32, by the owner": Adopted("32_row_level_security", NOTHING, ASSETS, {"symbols.id": "id"}),
}

REFUSED_FILES = {
    "02": (
        "02_base_quote",
        "trading.symbols has no row XAUUSD, EURUSD, and base_asset, quote_asset are NOT NULL",
    ),
    "05": ("05_many_exchanges", "trading.symbols tells rows apart by (symbol, exchange, instrument_type)"),
    "13": ("13_chart_5m", "refers to market_data.symbols, and trading.symbols is not there"),
    "31": (
        "31_foreign_ids",
        "data_sync_status.ticker_id refers to market_data.tickers, not to trading.symbols",
    ),
}


def make(shared_dir: Path, sql: Sql, file: str) -> None:
    path = shared_dir / "platform" / "ddl" / f"{file}.sql"
    if not path.is_file():
        pytest.skip(f"{file} is not in the reference data")
    sql(path.read_text().replace(*NO_EXTENSION))


@pytest.mark.parametrize(("file", "words"), REFUSED_FILES.values(), ids=list(REFUSED_FILES))
def test_a_shape_that_would_be_harmed_is_refused(
    shared_dir: Path, empty: Store, sql: Sql, file: str, words: str
) -> None:
    make(shared_dir, sql, file)
    assert words in refused(empty, sql)


@pytest.mark.parametrize("shape", ADOPTED.values(), ids=list(ADOPTED))
def test_a_shape_that_can_be_used_gets_what_the_plan_says_and_nothing_else(
    shared_dir: Path, empty: Store, sql: Sql, shape: Adopted
) -> None:
    make(shared_dir, sql, shape.file)
    before = everything(sql)
    planned = plan_of(empty, shape.mappings, shape.assets)
    assert everything(sql) == before, "a plan changes nothing"
    assert empty.initialise(shape.mappings, shape.assets).plan == planned

    changed = [
        addition.what for addition in planned.additions if addition.part in ("column", "index", "default")
    ]
    assert changed == list(shape.added)
    after = everything(sql)
    for name in ("indexes", "constraints", "triggers", "policies", "types", "columns"):
        gone = set(before[name]) - set(after[name])
        assert not gone, f"{name} of theirs"
    names = planned.names
    assert names is not None
    for path, theirs in shape.columns.items():
        table, ours = path.split(".")
        assert getattr(names, table).columns[ours] == theirs, path
    for statement in shape.writers:
        sql(statement)

    again = plan_of(empty, shape.mappings, shape.assets)
    assert (again.additions, again.refusals, again.names) == ((), (), names)


def test_the_spelling_of_states_that_an_enum_lacks_is_its_word_for_failed(
    shared_dir: Path, empty: Store, sql: Sql
) -> None:
    make(shared_dir, sql, "20_spec_literal")
    names = names_of(empty)
    assert names.states == {"not_entitled": "failed", "not_found": "failed", "no_data": "failed"}
    assert names.bars.missing == {"volume": 0.0}


# --- whose ids ---


class TestWhoseIds:
    def test_bars_whose_ids_belong_to_no_symbol_are_refused(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + BARS + ", PRIMARY KEY (symbol_id, ts))")
        sql(
            "INSERT INTO market_data.ohlcv_5m SELECT n % 5 + 1, to_timestamp(n), 1, 2, 1, 2"
            " FROM generate_series(1, 20) n"
        )
        assert "market_data.ohlcv_5m.symbol_id has 5, which is no row of trading.symbols" in refused(
            empty, sql
        )

    def test_they_are_found_where_no_index_begins_with_them(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + BARS + ", PRIMARY KEY (ts, symbol_id))")
        sql("INSERT INTO market_data.ohlcv_5m VALUES (77, now(), 1, 2, 1, 2)")
        assert "market_data.ohlcv_5m.symbol_id has 77" in refused(empty, sql)

    def test_a_status_whose_id_belongs_to_no_symbol_is_refused(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + PROVIDERS + SYNC + ", PRIMARY KEY (ticker_id, provider_id))")
        sql("INSERT INTO data_sources.data_sync_status VALUES (99, 1)")
        assert "data_sources.data_sync_status.ticker_id has 99" in refused(empty, sql)

    def test_ids_that_are_another_tables_by_their_name_are_asked_about(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + PROVIDERS + SYNC + ", PRIMARY KEY (ticker_id, provider_id))")
        sql("CREATE TABLE market_data.tickers (id serial PRIMARY KEY, symbol text UNIQUE)")
        said = refused(empty, sql)
        assert "by its name its ids may be those of market_data.tickers" in said
        assert "set database.tables.symbols.table: market_data.tickers if they are" in said
        told = mapped(sync_status=TableMapping(columns={"ticker_id": "ticker_id"}))
        assert names_of(empty, told).symbols.schema == "trading"
        told = mapped(symbols=TableMapping(table="market_data.tickers"))
        assert names_of(empty, told).symbols.schema == "market_data"

    def test_a_second_table_of_symbols_is_asked_about_where_bars_have_rows(
        self, empty: Store, sql: Sql
    ) -> None:
        sql(SCHEMAS + SYMBOLS + BARS + ", PRIMARY KEY (symbol_id, ts))")
        sql("CREATE TABLE market_data.symbols (id serial PRIMARY KEY, ticker text UNIQUE)")
        names_of(empty)
        sql("INSERT INTO market_data.ohlcv_5m VALUES (1, now(), 1, 2, 1, 2)")
        assert "its ids may be those of market_data.symbols" in refused(empty, sql)

    def test_tables_that_init_has_made_are_not_asked_about(self, empty: Store, sql: Sql) -> None:
        sql("CREATE SCHEMA market_data; CREATE TABLE market_data.tickers (id serial PRIMARY KEY)")
        empty.initialise(NOTHING, ASSETS)
        names_of(empty)

    def test_symbols_are_not_made_where_bars_have_ids_already(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + BARS + ", PRIMARY KEY (symbol_id, ts))")
        sql("INSERT INTO market_data.ohlcv_5m VALUES (1, now(), 1, 2, 1, 2)")
        said = refused(empty, sql)
        assert "trading.symbols is not there, but market_data.ohlcv_5m has rows" in said
        assert "set database.tables.symbols.table to the table that their ids belong to" in said

    def test_providers_are_not_made_where_a_status_has_ids_already(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + SYNC + ", PRIMARY KEY (ticker_id, provider_id))")
        sql("INSERT INTO data_sources.data_sync_status VALUES (1, 1)")
        assert (
            "data_sources.api_providers is not there, but data_sources.data_sync_status has rows"
            in refused(empty, sql)
        )

    def test_symbols_that_are_made_take_the_type_of_the_ids_that_wait_for_them(
        self, empty: Store, sql: Sql
    ) -> None:
        sql(SCHEMAS + BARS.replace("symbol_id int", "symbol_id uuid") + ", PRIMARY KEY (symbol_id, ts))")
        empty.initialise(NOTHING, ASSETS)
        assert sql("SELECT pg_typeof(id)::text, count(*) FROM trading.symbols GROUP BY 1") == [("uuid", 3)]

    def test_ids_that_a_key_refers_to_are_taken_before_any_other(self, empty: Store, sql: Sql) -> None:
        sql(
            SCHEMAS + "CREATE TABLE trading.symbols (row_no serial PRIMARY KEY,"
            " symbol_id uuid UNIQUE DEFAULT gen_random_uuid(), symbol text UNIQUE, metadata jsonb);"
            + BARS.replace("symbol_id int NOT NULL", "symbol_id uuid REFERENCES trading.symbols (symbol_id)")
            + ", PRIMARY KEY (symbol_id, ts))"
        )
        assert names_of(empty).symbols.columns["id"] == "symbol_id"

    def test_where_only_the_symbol_identifies_a_row_it_is_the_id(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + "CREATE TABLE trading.symbols (symbol varchar(12) PRIMARY KEY, metadata jsonb)")
        empty.initialise(NOTHING, ASSETS)
        assert names_of(empty).symbols.columns["id"] == "symbol"
        assert sql("SELECT count(*) FROM information_schema.columns WHERE table_schema = 'trading'") == [(2,)]


class TestKinsOfIds:
    def test_of_two_ids_the_one_of_the_type_that_refers_to_it_is_meant(self, empty: Store, sql: Sql) -> None:
        sql(
            SCHEMAS + "CREATE TABLE trading.symbols (id serial PRIMARY KEY, uuid uuid UNIQUE NOT NULL"
            " DEFAULT gen_random_uuid(), symbol text UNIQUE, metadata jsonb);"
            + BARS.replace("symbol_id int", "symbol_id uuid")
            + ", PRIMARY KEY (symbol_id, ts))"
        )
        assert names_of(empty).symbols.columns["id"] == "uuid"

    def test_a_second_key_to_another_table_is_no_matter(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + "CREATE TABLE trading.all_ids (id int PRIMARY KEY);" + BARS + ")")
        sql(
            "ALTER TABLE market_data.ohlcv_5m"
            " ADD CONSTRAINT a FOREIGN KEY (symbol_id) REFERENCES trading.all_ids,"
            " ADD CONSTRAINT b FOREIGN KEY (symbol_id) REFERENCES trading.symbols, ADD UNIQUE (symbol_id, ts)"
        )
        assert names_of(empty).symbols.columns["id"] == "id"

    def test_the_same_symbol_in_another_spelling_is_spoken_of(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + "UPDATE trading.symbols SET symbol = 'eur/usd' WHERE symbol = 'EURUSD'")
        (warning,) = plan_of(empty).warnings
        assert "trading.symbols has eur/usd, and EURUSD is entered beside it" in str(warning)


# --- names ---


class TestNames:
    @pytest.mark.parametrize("column", ["time", "bar_time", "open_time", "bucket", "openTime", "Timestamp"])
    def test_the_usual_names_of_a_bars_start_are_recognised(
        self, empty: Store, sql: Sql, column: str
    ) -> None:
        sql(SCHEMAS + SYMBOLS + BARS.replace("ts timestamptz", f'"{column}" timestamptz') + ")")
        sql(f'CREATE UNIQUE INDEX ON market_data.ohlcv_5m (symbol_id, "{column}")')
        assert names_of(empty).bars.columns["ts"] == column

    def test_two_that_may_be_meant_are_asked_about(self, empty: Store, sql: Sql) -> None:
        sql(
            SCHEMAS
            + SYMBOLS
            + BARS.replace("ts timestamptz NOT NULL", "time timestamptz, bar_time timestamptz")
            + ")"
        )
        said = refused(empty, sql)
        assert "market_data.ohlcv_5m has several columns that may be ts: time, bar_time" in said
        assert "set database.tables.bars.ts to one of them" in said

    def test_of_two_the_one_in_the_key_is_meant(self, empty: Store, sql: Sql) -> None:
        sql(
            SCHEMAS
            + SYMBOLS
            + BARS.replace("ts timestamptz NOT NULL", "time timestamptz, bar_time timestamptz")
            + ", UNIQUE (symbol_id, bar_time))"
        )
        assert names_of(empty).bars.columns["ts"] == "bar_time"

    def test_what_is_configured_counts(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + BARS.replace("ts timestamptz NOT NULL", "wann timestamptz, ts date") + ")")
        told = mapped(bars=TableMapping(columns={"ts": "wann", "vwap": None}))
        found = names_of(empty, told).bars.columns
        assert (found["ts"], "vwap" in found) == ("wann", False)

    def test_a_configured_column_that_is_not_there_names_those_like_it(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + BARS.replace("ts timestamptz", "bar_time timestamptz") + ")")
        said = refused(empty, sql, mapped(bars=TableMapping(columns={"ts": "bar_tme"})))
        assert (
            "market_data.ohlcv_5m has no column bar_tme (hint: set database.tables.bars.ts to bar_time)"
            in said
        )

    def test_one_column_is_not_taken_for_two(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + BARS + ", PRIMARY KEY (symbol_id, ts))")
        said = refused(empty, sql, mapped(bars=TableMapping(columns={"volume": "vwap", "vwap": "vwap"})))
        assert "market_data.ohlcv_5m has one column vwap for several" in said

    def test_bars_that_are_known_by_their_end_are_refused(self, empty: Store, sql: Sql) -> None:
        sql(
            SCHEMAS
            + SYMBOLS
            + BARS.replace("ts timestamptz", "close_time timestamptz")
            + ", UNIQUE (symbol_id, close_time))"
        )
        assert "market_data.ohlcv_5m.close_time is the end of a bar" in refused(empty, sql)

    def test_even_where_they_have_a_start_besides(self, empty: Store, sql: Sql) -> None:
        sql(
            SCHEMAS
            + SYMBOLS
            + BARS
            + ", close_time timestamptz DEFAULT now(), UNIQUE (symbol_id, close_time))"
        )
        assert "market_data.ohlcv_5m.close_time is the end of a bar" in refused(empty, sql)

    def test_an_end_beside_the_start_in_the_key_is_no_matter(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + BARS + ", close_time timestamptz, UNIQUE (symbol_id, ts))")
        assert names_of(empty).bars.columns["ts"] == "ts"

    def test_another_name_for_bars_leaves_a_table_that_cannot_be_used_alone(
        self, empty: Store, sql: Sql
    ) -> None:
        sql(
            SCHEMAS
            + SYMBOLS
            + "CREATE VIEW market_data.ohlcv_5m AS SELECT id AS symbol_id, now() AS ts FROM trading.symbols"
        )
        said = refused(empty, sql)
        assert "market_data.ohlcv_5m is a view" in said
        assert "trading.symbols" in said
        told = mapped(bars=TableMapping(table="market_data.bars_5m"))
        empty.initialise(told, ASSETS)
        assert sql("SELECT count(*) FROM market_data.bars_5m") == [(0,)]


class TestInstruments:
    TEXT = BARS.replace("symbol_id int", "ticker text") + ", PRIMARY KEY (ticker, ts))"

    def test_a_text_column_holds_the_symbol(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + self.TEXT)
        names = names_of(empty)
        assert (names.bars.columns["symbol_id"], names.bars.instrument) == ("ticker", "symbol")

    def test_or_the_ticker_where_its_rows_do(self, empty: Store, sql: Sql) -> None:
        sql(
            SCHEMAS
            + SYMBOLS
            + self.TEXT
            + "; INSERT INTO market_data.ohlcv_5m VALUES ('C:EURUSD', now(), 1, 2, 1, 2)"
        )
        assert names_of(empty).bars.instrument == "polygon_ticker"

    def test_or_what_is_configured(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + self.TEXT)
        assert (
            names_of(empty, mapped(bars=TableMapping(instrument="polygon_ticker"))).bars.instrument
            == "polygon_ticker"
        )

    def test_a_symbol_in_words_beside_the_id_is_not_the_reference(self, empty: Store, sql: Sql) -> None:
        sql(
            SCHEMAS
            + SYMBOLS
            + BARS.replace("symbol_id", "ticker_id")
            + ", symbol text, UNIQUE (ticker_id, ts))"
        )
        assert names_of(empty).bars.columns["symbol_id"] == "ticker_id"

    def test_words_speak_for_themselves_where_symbols_are_made(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + self.TEXT + "; INSERT INTO market_data.ohlcv_5m VALUES ('AAPL', now(), 1, 2, 1, 2)")
        assert names_of(empty).bars.instrument == "symbol"


# --- keys ---


class TestKeys:
    def test_no_narrower_index_is_added_to_bars_of_several_timeframes(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + BARS + ", timeframe text NOT NULL, PRIMARY KEY (symbol_id, ts, timeframe))")
        sql(
            "INSERT INTO market_data.ohlcv_5m SELECT 1, now(), 1, 2, 1, 2, 3, NULL, NULL, frame"
            " FROM unnest(ARRAY['5min', '1d']) AS frame"
        )
        said = refused(empty, sql)
        assert "market_data.ohlcv_5m tells rows apart by (symbol_id, ts, timeframe)" in said
        assert "database: {tables: {bars: {timeframe: '5min'}}} (there are timeframe: 1d, 5min)" in said
        names = names_of(empty, mapped(bars=TableMapping(constants={"timeframe": "5min"})))
        assert (names.bars.key, names.bars.constants) == (("timeframe",), {"timeframe": "5min"})

    def test_nor_where_a_name_alone_says_that_rows_are_told_apart_by_it(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + BARS + ", source text DEFAULT 'x')")
        assert "has no unique index, and seems to tell rows apart by source" in refused(empty, sql)
        told = mapped(bars=TableMapping(constants={"source": "polygon"}))
        empty.initialise(told, ASSETS)
        assert sql("SELECT indexdef FROM pg_indexes WHERE tablename = 'ohlcv_5m'") == [
            (
                "CREATE UNIQUE INDEX ohlcv_5m_symbol_id_ts_source_idx ON market_data.ohlcv_5m"
                " USING btree (symbol_id, ts, source)",
            )
        ]

    def test_a_table_with_heirs_is_refused(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + BARS + ", UNIQUE (symbol_id, ts))")
        sql("CREATE TABLE market_data.bars_2026 () INHERITS (market_data.ohlcv_5m)")
        assert "market_data.ohlcv_5m is inherited by market_data.bars_2026" in refused(empty, sql)

    def test_a_table_with_a_rule_for_writers_is_refused(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + BARS + ", UNIQUE (symbol_id, ts))")
        sql("CREATE RULE elsewhere AS ON INSERT TO market_data.ohlcv_5m DO INSTEAD NOTHING")
        found = refused(empty, sql)
        assert "market_data.ohlcv_5m has the rule elsewhere" in found
        assert "DROP RULE elsewhere ON market_data.ohlcv_5m" in found

    def test_a_surrogate_in_an_index_tells_nothing_apart(self, empty: Store, sql: Sql) -> None:
        sql(
            SCHEMAS
            + SYMBOLS
            + BARS
            + ", id bigserial, PRIMARY KEY (id, symbol_id, ts), UNIQUE (symbol_id, ts))"
        )
        assert names_of(empty).bars.key == ()

    def test_one_status_for_each_symbol_alone_is_refused(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + PROVIDERS + SYNC + ", PRIMARY KEY (ticker_id))")
        assert "data_sources.data_sync_status has at most one row for each (ticker_id)" in refused(empty, sql)

    def test_a_partitioned_table_whose_index_would_need_its_key_is_refused(
        self, empty: Store, sql: Sql
    ) -> None:
        sql(SCHEMAS + SYMBOLS + BARS + ", day date) PARTITION BY RANGE (day)")
        assert "is partitioned by day, which such an index would need" in refused(empty, sql)

    def test_a_constant_that_its_column_does_not_take_is_refused(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + BARS + ", source_id int, PRIMARY KEY (symbol_id, ts))")
        said = refused(empty, sql, mapped(bars=TableMapping(constants={"source_id": "polygon"})))
        assert "database.tables.bars.source_id does not fit its column" in said

    def test_a_timeframe_that_would_be_untrue_is_refused(self, empty: Store, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + BARS + ", interval text NOT NULL DEFAULT '1h', PRIMARY KEY (symbol_id, ts))")
        assert "market_data.ohlcv_5m.interval would be 1h in bars of five minutes" in refused(empty, sql)

    @pytest.mark.parametrize("preset", ["'5m'", "'5min'::text", "'M5'"])
    def test_one_that_says_five_minutes_is_not(self, empty: Store, sql: Sql, preset: str) -> None:
        sql(
            SCHEMAS
            + SYMBOLS
            + BARS
            + f", interval text NOT NULL DEFAULT {preset}, PRIMARY KEY (symbol_id, ts))"
        )
        names_of(empty)


# --- values ---


class TestValues:
    @pytest.mark.parametrize(
        ("column", "missing"),
        [
            ("numeric NOT NULL DEFAULT 0", {"volume": 0.0}),
            ("numeric(20,2) NOT NULL DEFAULT '0'", {"volume": 0.0}),
        ],
    )
    def test_the_default_of_a_volume_is_what_is_written_without_one(
        self, empty: Store, sql: Sql, column: str, missing: dict[str, float]
    ) -> None:
        sql(
            SCHEMAS
            + SYMBOLS
            + BARS.replace("volume float8", f"volume {column}")
            + ", PRIMARY KEY (symbol_id, ts))"
        )
        assert names_of(empty).bars.missing == missing

    def test_without_one_a_bar_without_volume_is_rejected_and_that_is_said(
        self, empty: Store, sql: Sql
    ) -> None:
        sql(
            SCHEMAS
            + SYMBOLS
            + BARS.replace("volume float8", "volume float8 NOT NULL")
            + ", PRIMARY KEY (symbol_id, ts))"
        )
        (warning,) = plan_of(empty).warnings
        assert "is NOT NULL: a bar without volume is rejected" in str(warning)
        told = mapped(bars=TableMapping(missing={"volume": 0}))
        assert plan_of(empty, told).warnings == ()

    def test_generated_columns_are_left_alone(self, empty: Store, sql: Sql) -> None:
        generated = "vwap float8 GENERATED ALWAYS AS ((high + low) / 2) STORED"
        sql(SCHEMAS + SYMBOLS + BARS.replace("vwap float8", generated) + ", PRIMARY KEY (symbol_id, ts))")
        assert "vwap" not in names_of(empty).bars.columns

    def test_columns_that_bars_lack_are_not_added(self, empty: Store, sql: Sql) -> None:
        sql(
            SCHEMAS
            + SYMBOLS
            + BARS.replace(", vwap float8, trades bigint", "")
            + ", PRIMARY KEY (symbol_id, ts))"
        )
        found = plan_of(empty)
        assert [warning.why for warning in found.warnings] == [
            "has no column for vwap: it is not kept",
            "has no column for trades: it is not kept",
        ]
        empty.initialise(NOTHING, ASSETS)
        sql("INSERT INTO market_data.ohlcv_5m VALUES (1, now(), 1, 2, 1, 2, 3)")

    @pytest.mark.parametrize("column", ["error_message", "last_sync_timestamp"])
    def test_what_takes_no_null_in_the_status_is_refused(self, empty: Store, sql: Sql, column: str) -> None:
        sql(SCHEMAS + SYMBOLS + PROVIDERS + SYNC + ", PRIMARY KEY (ticker_id, provider_id))")
        sql(f"ALTER TABLE data_sources.data_sync_status ALTER COLUMN {column} SET NOT NULL")
        said = refused(empty, sql)
        assert f"data_sources.data_sync_status.{column} must take NULL for what is not known" in said
        assert f"ALTER COLUMN {column} DROP NOT NULL" in said

    @pytest.mark.parametrize(
        ("column", "states"),
        [
            ("varchar(20) CHECK (sync_status IN ('COMPLETED', 'ERROR'))", ("COMPLETED", "ERROR", "ERROR")),
            ("varchar(7)", ("success", "failed", "failed")),
            ("their_words", ("ok", "error", "error")),
            ("their_domain", ("done", "failure", "failure")),
        ],
    )
    def test_words_that_mean_the_same_are_recognised(
        self, empty: Store, sql: Sql, column: str, states: tuple[str, str, str]
    ) -> None:
        sql("CREATE TYPE their_words AS ENUM ('ok', 'error', 'running')")
        sql("CREATE DOMAIN their_domain AS varchar(10) CHECK (VALUE IN ('done', 'failure'))")
        sql(SCHEMAS + SYMBOLS + PROVIDERS + SYNC.replace("sync_status text", f"sync_status {column}") + ")")
        names = names_of(empty)
        found = [names.states.get(state, state) for state in ("success", "failed", "not_found")]
        assert tuple(found) == states

    @pytest.mark.parametrize("code", ["POLYGON", "Polygon.io", "polygon_io", "massive", "Massive.com"])
    def test_the_provider_in_another_spelling_is_the_same(self, empty: Store, sql: Sql, code: str) -> None:
        sql(SCHEMAS + SYMBOLS + PROVIDERS.replace("'polygon'", f"'{code}'"))
        assert names_of(empty).provider == code
        empty.initialise(NOTHING, ASSETS)
        assert sql("SELECT code FROM data_sources.api_providers") == [(code,)]

    def test_two_of_them_are_asked_about(self, empty: Store, sql: Sql) -> None:
        sql(
            SCHEMAS + SYMBOLS + PROVIDERS + "INSERT INTO data_sources.api_providers (code) VALUES ('massive')"
        )
        assert names_of(empty).provider == "polygon"
        sql("UPDATE data_sources.api_providers SET code = 'POLYGON' WHERE code = 'polygon'")
        assert "several codes that may be the provider: POLYGON, massive" in refused(empty, sql)

    def test_a_provider_that_wants_more_is_to_be_inserted_by_hand(self, empty: Store, sql: Sql) -> None:
        sql(
            SCHEMAS + SYMBOLS + "CREATE TABLE data_sources.api_providers"
            " (id serial PRIMARY KEY, code text UNIQUE, base_url text NOT NULL)"
        )
        assert (
            "insert this row yourself: INSERT INTO data_sources.api_providers (code, base_url)"
            " VALUES ('polygon', ...);" in refused(empty, sql)
        )


class TestZones:
    NAIVE = SYNC.replace("last_sync_timestamp timestamptz", "last_sync_timestamp timestamp")

    def open(self, database_url: str) -> Store:
        return Store.open(database_url, check_schema=False)  # after the database got its zone

    @pytest.mark.parametrize(
        ("value", "zone"),
        [("now() AT TIME ZONE 'UTC'", "UTC"), ("now() AT TIME ZONE 'Pacific/Auckland'", "Pacific/Auckland")],
    )
    def test_the_newest_row_tells_the_zone(self, database_url: str, sql: Sql, value: str, zone: str) -> None:
        sql(SCHEMAS + SYMBOLS + PROVIDERS + self.NAIVE + ", PRIMARY KEY (ticker_id, provider_id))")
        sql(f"INSERT INTO data_sources.data_sync_status SELECT 1, 1, {value}")
        with self.open(database_url) as store:
            assert names_of(store).sync_status.zones.get("last_sync_timestamp", "UTC") == zone

    def test_a_moment_with_a_zone_beside_it_tells_the_zone(self, database_url: str, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + PROVIDERS + self.NAIVE + ", PRIMARY KEY (ticker_id, provider_id))")
        sql(
            "INSERT INTO data_sources.data_sync_status"
            " (ticker_id, provider_id, last_sync_timestamp, updated_at)"
            " SELECT 1, 1, at AT TIME ZONE 'Pacific/Auckland', at"
            " FROM (SELECT now() - interval '9 days' AS at) AS x"
        )
        with self.open(database_url) as store:
            assert names_of(store).sync_status.zones == {"last_sync_timestamp": "Pacific/Auckland"}

    def test_nothing_that_tells_is_utc(self, database_url: str, sql: Sql) -> None:
        sql(SCHEMAS + SYMBOLS + PROVIDERS + self.NAIVE + ", PRIMARY KEY (ticker_id, provider_id))")
        with self.open(database_url) as store:
            assert names_of(store).sync_status.zones == {}
            taken = [str(note) for note in plan_of(store).taken]
        assert (
            "data_sources.data_sync_status.last_sync_timestamp has no time zone: moments are written there"
            " in UTC (nothing tells another)" in taken
        )

    def test_bars_in_a_zone_with_summer_time_are_refused(self, database_url: str, sql: Sql) -> None:
        sql(
            SCHEMAS
            + SYMBOLS
            + BARS.replace("ts timestamptz", "ts timestamp")
            + ", PRIMARY KEY (symbol_id, ts))"
        )
        with self.open(database_url) as store:
            assert names_of(store).bars.zones == {}
            sql(
                "INSERT INTO market_data.ohlcv_5m SELECT 1, now() AT TIME ZONE 'Pacific/Auckland', 1, 2, 1, 2"
            )
            said = refused(store, sql)
        assert "when clocks go back, two bars would be one" in said
        assert "TYPE timestamptz USING ts AT TIME ZONE 'Pacific/Auckland'" in said


# --- rights ---


class TestRights:
    @pytest.fixture
    def role(self, sql: Sql) -> Iterator[str]:
        name = f"limited_{uuid.uuid4().hex[:8]}"
        sql(f"CREATE ROLE {name} LOGIN")
        yield name
        sql(f"DROP OWNED BY {name}")
        sql(f"DROP ROLE {name}")

    def test_what_init_may_not_do_is_said_with_the_statement_for_the_owner(
        self, database_url: str, sql: Sql, role: str
    ) -> None:
        sql(SCHEMAS + SYMBOLS.replace(", metadata jsonb", ""))
        sql(f"GRANT USAGE ON SCHEMA trading, market_data, data_sources TO {role}")
        sql(f"GRANT SELECT, INSERT, UPDATE ON trading.symbols TO {role}")
        with Store.open(as_role(database_url, role), check_schema=False) as store:
            said = refused(store, sql)
        assert "ALTER TABLE trading.symbols ADD COLUMN metadata jsonb" in said
        assert f"GRANT CREATE, USAGE ON SCHEMA data_sources TO {role}" in said

    def test_a_policy_that_lets_nothing_be_updated_is_refused(
        self, database_url: str, sql: Sql, role: str
    ) -> None:
        sql(SCHEMAS + SYMBOLS)
        sql(
            "ALTER TABLE trading.symbols ENABLE ROW LEVEL SECURITY;"
            "CREATE POLICY reading ON trading.symbols FOR SELECT USING (true);"
            f"GRANT ALL ON SCHEMA trading, market_data, data_sources TO {role};"
            f"GRANT ALL ON trading.symbols TO {role}"
        )
        with Store.open(as_role(database_url, role), check_schema=False) as store:
            said = refused(store, sql)
        assert f"has row level security without a policy that lets {role} UPDATE" in said
        assert f"CREATE POLICY assetbatch_update ON trading.symbols FOR UPDATE TO {role} USING (true)" in said

    def test_rows_that_a_policy_lets_nobody_update_are_named_and_held_ones_are_not(
        self, database_url: str, sql: Sql, role: str
    ) -> None:
        with Store.open(database_url, check_schema=False) as owner:
            owner.initialise(NOTHING, ASSETS)
        sql(
            "ALTER TABLE trading.symbols ENABLE ROW LEVEL SECURITY;"
            "CREATE POLICY reading ON trading.symbols FOR SELECT USING (true);"
            "CREATE POLICY writing ON trading.symbols FOR UPDATE USING (symbol <> 'EURUSD');"
            f"GRANT USAGE ON SCHEMA trading, data_sources, market_data TO {role};"
            f"GRANT SELECT, UPDATE ON trading.symbols TO {role};"
            f"GRANT SELECT ON ALL TABLES IN SCHEMA data_sources, market_data TO {role}"
        )
        symbols = [asset.symbol for asset in ASSETS]
        with (
            psycopg.connect(database_url) as other,
            Store.open(as_role(database_url, role)) as store,
        ):
            other.execute("SELECT FROM trading.symbols WHERE symbol = 'BTCUSD' FOR UPDATE")
            released = threading.Timer(0.25, other.rollback)
            released.start()
            assert store.locked_out(symbols) == ["EURUSD"]
            released.join()

    def test_rights_are_asked_of_the_tables_by_their_names(
        self, database_url: str, sql: Sql, role: str
    ) -> None:
        told = mapped(bars=TableMapping(table="market_data.bars"))
        with Store.open(database_url, check_schema=False) as owner:
            owner.initialise(told, ASSETS)
        sql(f"GRANT USAGE ON SCHEMA data_sources TO {role}")
        sql(f"GRANT SELECT ON data_sources.assetbatch_names TO {role}")
        with Store.open(as_role(database_url, role), check_schema=False) as store:
            assert "INSERT ON market_data.bars" in store.facts().missing_rights


def as_role(url: str, role: str) -> str:
    return psycopg.conninfo.make_conninfo(url, user=role)


def test_names_are_quoted_wherever_postgresql_would(sql: Sql) -> None:
    words = [word for (word,) in sql("SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')")]
    assert [word for word in words if quoted(word) == word] == []


def test_rows_that_are_there_stay_as_they_are(empty: Store, sql: Sql) -> None:
    sql(SCHEMAS + SYMBOLS + BARS + ", PRIMARY KEY (symbol_id, ts))")
    sql(
        "INSERT INTO market_data.ohlcv_5m SELECT 1, to_timestamp(n * 300), 1, 2, 1, 2"
        " FROM generate_series(1, 9) n"
    )
    before = rows(sql, "market_data.ohlcv_5m")
    assert "are replaced where they differ" in " ".join(map(str, plan_of(empty).taken))
    empty.initialise(NOTHING, ASSETS)
    assert rows(sql, "market_data.ohlcv_5m") == before
