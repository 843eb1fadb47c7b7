"""A platform that has the tables already: what is added, what survives, what is refused."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg
import pytest

from assetbatch.database import Changes, Outcome, Saved, Store
from assetbatch.database.migrations import all_migrations
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.models import BAR_MS, Bar, CoveredInterval, IntervalState, Price
from assetbatch.domain.status import Status
from assetbatch.errors import SchemaRefusedError
from tests.schema import migrate, register

from .conftest import Sql, asset

NOW_MS = 1_760_000_100_000

SCHEMAS = "CREATE SCHEMA trading; CREATE SCHEMA market_data; CREATE SCHEMA data_sources;"

PLATFORM = (
    SCHEMAS
    + """
CREATE TYPE trading.asset_kind AS ENUM ('stock', 'forex', 'crypto');
CREATE TYPE data_sources.sync_state AS ENUM
    ('pending', 'success', 'failed', 'not_entitled', 'not_found', 'no_data');
CREATE TABLE trading.symbols (
    id {id},
    exchange varchar(20) NOT NULL DEFAULT 'none',
    symbol varchar(20) NOT NULL,
    name varchar(100),
    asset_type trading.asset_kind NOT NULL,
    metadata {json},
    is_active boolean NOT NULL DEFAULT true,
    updated_at timestamp without time zone,
    CONSTRAINT one_of_each UNIQUE (symbol)
);
CREATE TABLE market_data.ohlcv_5m (
    symbol_id {ref} NOT NULL,
    ts timestamptz NOT NULL,
    open {price} NOT NULL, high {price} NOT NULL, low {price} NOT NULL, close {price} NOT NULL,
    volume {price}, vwap {price}, trades int,
    source varchar(20) DEFAULT 'platform'
);
CREATE UNIQUE INDEX bars_once ON market_data.ohlcv_5m (symbol_id, ts);
CREATE TABLE data_sources.api_providers (
    id serial PRIMARY KEY,
    code varchar(50) CONSTRAINT provider_codes UNIQUE,
    name varchar(100) NOT NULL,
    is_active boolean DEFAULT true
);
CREATE TABLE data_sources.data_sync_status (
    id {id},
    provider_id int NOT NULL REFERENCES data_sources.api_providers,
    ticker_id {ref} NOT NULL REFERENCES trading.symbols,
    last_sync_timestamp timestamp without time zone,
    sync_status data_sources.sync_state NOT NULL DEFAULT 'pending',
    error_message varchar(40),
    updated_at timestamptz DEFAULT now(),
    CONSTRAINT one_status UNIQUE (provider_id, ticker_id)
);
"""
)

SYMBOLS_TABLE = "CREATE TABLE trading.symbols (id serial PRIMARY KEY, symbol text UNIQUE, {})"
BARS_TABLE = (
    "CREATE TABLE market_data.ohlcv_5m (symbol_id bigint, {}, open float8, high float8, low float8,"
    " close float8, vwap float8, trades bigint)"
)
STATUS_TABLE = "CREATE TABLE data_sources.data_sync_status (ticker_id bigint, provider_id bigint, {})"

SHAPES = {
    "uuid and numeric": {
        "id": "uuid PRIMARY KEY DEFAULT gen_random_uuid()",
        "ref": "uuid",
        "price": "numeric(18,8)",
        "json": "jsonb",
    },
    "uuid made by the program": {
        "id": "uuid PRIMARY KEY",
        "ref": "uuid",
        "price": "numeric",
        "json": "jsonb NOT NULL DEFAULT '{}'",
    },
    "int4 and json": {
        "id": "serial PRIMARY KEY",
        "ref": "int",
        "price": "double precision",
        "json": "json",
    },
    "int8 and int4": {
        "id": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "ref": "int",
        "price": "real",
        "json": "jsonb",
    },
}


@pytest.fixture(params=list(SHAPES.values()), ids=list(SHAPES))
def platform(request: pytest.FixtureRequest, sql: Sql) -> dict[str, str]:
    """The tables of a platform that never heard of assetbatch, with a row."""
    shape: dict[str, str] = request.param
    statement = PLATFORM
    for name, value in shape.items():
        statement = statement.replace("{" + name + "}", value)
    sql(statement)
    own_id = f"'{uuid.uuid4()}', " if shape["id"] == "uuid PRIMARY KEY" else ""
    sql(
        f"INSERT INTO trading.symbols ({'id, ' if own_id else ''}symbol, name, asset_type, metadata,"
        " updated_at)"
        f" VALUES ({own_id}'EURUSD', 'Their name', 'stock', '{{\"theirs\": [1, 2]}}', '2020-01-01')"
    )
    return shape


def everything(sql: Sql) -> dict[str, list[tuple[Any, ...]]]:
    """Columns, indexes and constraints of the platform's tables."""
    return {
        "columns": sql(
            "SELECT attrelid::regclass::text, attname::text, format_type(atttypid, atttypmod), attnotnull"
            " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE attnum > 0 AND relkind = 'r'"
            " AND relnamespace IN ('trading'::regnamespace, 'market_data'::regnamespace,"
            " 'data_sources'::regnamespace) AND relname !~ '^assetbatch_|^ohlcv_1|^splits$'"
            " ORDER BY 1, attnum"
        ),
        "indexes": sql(
            "SELECT schemaname::text, tablename::text, indexdef FROM pg_indexes"
            " WHERE schemaname IN ('trading', 'market_data', 'data_sources')"
            " AND tablename !~ '^assetbatch_|^ohlcv_1|^splits$' ORDER BY 1, 2, 3"
        ),
        "constraints": sql(
            "SELECT conrelid::regclass::text, conname::text, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid <> 0 AND contype <> 'n'"
            " AND conrelid::regclass::text !~ 'assetbatch|ohlcv_1|[.]splits$|pg_|information' ORDER BY 1, 2"
        ),
    }


def test_a_platforms_tables_keep_their_columns_indexes_constraints_and_rows(
    platform: dict[str, str], empty: Store, sql: Sql
) -> None:
    shape, rows = everything(sql), sql("SELECT xmin, s::text FROM trading.symbols s")
    assert migrate(empty).steps == [step.name for step in all_migrations()]
    assert everything(sql) == shape
    assert sql("SELECT xmin, s::text FROM trading.symbols s") == rows


def test_on_a_platforms_tables_everything_works(platform: dict[str, str], empty: Store, sql: Sql) -> None:
    migrate(empty)
    registered = register(empty, [asset("EURUSD", "Our name"), asset("XAUUSD", "Gold")])
    assert (registered.added, registered.present) == (["XAUUSD"], ["EURUSD"])
    assert sql("SELECT symbol, name, asset_type::text FROM trading.symbols ORDER BY symbol") == [
        ("EURUSD", "Their name", "stock"),
        ("XAUUSD", "Gold", "forex"),
    ]

    bars = [Bar(NOW_MS - (10 - n) * BAR_MS, 1.1, 1.25, 1.0, 1.125 + n / 64, 10.5, None, 7) for n in range(5)]
    spans = (
        CoveredInterval(bars[0].t_ms, bars[-1].end_ms, IntervalState.ASKED, NOW_MS),
        CoveredInterval(bars[-1].end_ms, NOW_MS, IntervalState.FAILED, NOW_MS, "timeout"),
    )
    batch = Changes(
        prices=[Price(symbol="EURUSD", last_price=1.08345, bid=1.0834, as_of_ms=NOW_MS)],
        bars={"XAUUSD": bars, "EURUSD": bars},
        coverage=dict.fromkeys(("XAUUSD", "EURUSD"), spans),
        outcomes=[Outcome("EURUSD", Status.SUCCESS), Outcome("XAUUSD", Status.NOT_ENTITLED, "upgrade " * 20)],
    )
    assert empty.save(batch, NOW_MS) == Saved(updated=list(batch.prices), unknown=[], bars_new=10)
    assert empty.save(batch, NOW_MS) == Saved(updated=[], unknown=[])

    stored = empty.load(["EURUSD", "XAUUSD"])
    assert stored["EURUSD"].last_price == 1.08345
    assert stored["EURUSD"].last_sync_ms == NOW_MS
    assert stored["EURUSD"].last_bar_ms == bars[-1].t_ms
    assert stored["XAUUSD"].coverage == stored["EURUSD"].coverage == spans
    assert empty.gaps({"XAUUSD": (bars[0].t_ms, NOW_MS)}) == {"XAUUSD": [(bars[-1].end_ms, NOW_MS)]}
    assert stored["XAUUSD"].sync_status == "not_entitled"
    assert (stored["XAUUSD"].error_message or "").startswith("upgrade upgrade")
    assert sql("SELECT metadata -> 'theirs' FROM trading.symbols WHERE symbol = 'EURUSD'") == [([1, 2],)]
    assert sql("SELECT DISTINCT trades, source FROM market_data.ohlcv_5m") == [(7, "platform")]


def test_numeric_prices_take_every_digit_and_are_rounded_only_by_their_scale(empty: Store, sql: Sql) -> None:
    sql(
        SCHEMAS
        + "CREATE TABLE market_data.ohlcv_5m (symbol_id bigint, ts timestamptz, open numeric, high numeric,"
        " low numeric(18,4), close numeric(18,4), volume numeric, vwap numeric, trades int8,"
        " PRIMARY KEY (symbol_id, ts))"
    )
    migrate(empty)
    register(empty, [asset("BTCUSD")])
    batch = Changes(
        bars={"BTCUSD": [Bar(0, 0.1 + 0.2, 12345678.12345679, 0.30004, 0.30006, 1e-07, None, None)]}
    )
    assert empty.save(batch, NOW_MS).bars_new == 1
    assert sql(
        "SELECT open::text, high::text, low::text, close::text, volume::text FROM market_data.ohlcv_5m"
    ) == [("0.30000000000000004", "12345678.12345679", "0.3000", "0.3001", "0.0000001")]
    assert empty.save(batch, NOW_MS).bars_changed == 0, "compared after rounding"


def test_missing_columns_and_unique_indexes_are_added(empty: Store, sql: Sql) -> None:
    sql(
        SCHEMAS + "CREATE TABLE trading.symbols (id serial PRIMARY KEY, symbol text);"
        "INSERT INTO trading.symbols (symbol) VALUES ('EURUSD');"
        "CREATE TABLE data_sources.data_sync_status (ticker_id int, provider_id int)"
    )
    migrate(empty)
    register(empty, [asset("EURUSD"), asset("XAUUSD")])
    batch = Changes(
        prices=[Price(symbol=symbol, last_price=1.5, as_of_ms=NOW_MS) for symbol in ("EURUSD", "XAUUSD")],
        outcomes=[Outcome("EURUSD", Status.SUCCESS), Outcome("XAUUSD", Status.SUCCESS)],
    )
    assert len(empty.save(batch, NOW_MS).updated) == 2
    assert len(empty.save(batch, NOW_MS).updated) == 0
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql("INSERT INTO trading.symbols (symbol) VALUES ('EURUSD')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql("INSERT INTO data_sources.data_sync_status SELECT * FROM data_sources.data_sync_status")


@pytest.mark.parametrize(
    "index",
    [
        "INDEX ON trading.symbols (symbol)",
        "UNIQUE INDEX ON trading.symbols (lower(symbol))",
    ],
)
def test_an_index_that_does_not_keep_symbols_apart_is_not_taken_for_one(
    empty: Store, sql: Sql, index: str
) -> None:
    sql(SCHEMAS + SYMBOLS_TABLE.replace(" UNIQUE", "").replace("{}", "is_active boolean"))
    sql("CREATE " + index)
    migrate(empty)
    assert register(empty, [asset("EURUSD")]).added == ["EURUSD"]
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql("INSERT INTO trading.symbols (symbol, is_active) VALUES ('EURUSD', false)")


def test_an_id_that_the_platforms_program_makes_is_no_other_key(empty: Store, sql: Sql) -> None:
    sql(SCHEMAS + BARS_TABLE.replace("{}", "id uuid, ts timestamptz, volume float8, PRIMARY KEY (id, ts)"))
    register(empty, [asset("EURUSD")])
    found = sql("SELECT indexdef FROM pg_indexes WHERE tablename = 'ohlcv_5m'")
    assert any("(symbol_id, ts)" in definition for (definition,) in found)


def test_a_unique_index_with_further_columns_included_is_enough(empty: Store, sql: Sql) -> None:
    sql(SCHEMAS + SYMBOLS_TABLE.replace(" UNIQUE", "").replace("{}", "name text"))
    sql("CREATE UNIQUE INDEX theirs ON trading.symbols (symbol) INCLUDE (name)")
    migrate(empty)
    assert sql("SELECT indexname::text FROM pg_indexes WHERE tablename = 'symbols' ORDER BY 1") == [
        ("symbols_pkey",),
        ("theirs",),
    ]


def test_a_partitioned_bar_table_is_adopted(empty: Store, sql: Sql) -> None:
    sql(
        SCHEMAS
        + "CREATE TABLE market_data.ohlcv_5m (symbol_id bigint, ts timestamptz, open float8, high float8,"
        " low float8, close float8, volume float8, vwap float8, trades bigint, PRIMARY KEY (symbol_id, ts))"
        " PARTITION BY RANGE (ts);"
        "CREATE TABLE market_data.p1 PARTITION OF market_data.ohlcv_5m"
        " FOR VALUES FROM (MINVALUE) TO ('2020-01-01');"
        "CREATE TABLE market_data.p2 PARTITION OF market_data.ohlcv_5m"
        " FOR VALUES FROM ('2020-01-01') TO (MAXVALUE)"
    )
    migrate(empty)
    register(empty, [asset("EURUSD")])
    bars = [Bar(t_ms, 1.0, 2.0, 1.0, 2.0) for t_ms in (0, NOW_MS)]
    assert empty.save(Changes(bars={"EURUSD": bars}), NOW_MS).bars_new == 2
    assert empty.save(Changes(bars={"EURUSD": bars}), NOW_MS) == Saved(updated=[], unknown=[])
    assert empty.load(["EURUSD"])["EURUSD"].last_bar_ms == NOW_MS


def test_a_provider_that_the_platform_knows_is_left_alone(empty: Store, sql: Sql) -> None:
    sql(
        SCHEMAS + "CREATE TABLE data_sources.api_providers"
        " (id int PRIMARY KEY, code text UNIQUE, name text, url text NOT NULL);"
        "INSERT INTO data_sources.api_providers VALUES (7, 'polygon', 'Their polygon', 'https://example.org')"
    )
    migrate(empty)
    register(empty, [])
    assert sql("SELECT id, code, name FROM data_sources.api_providers") == [(7, "polygon", "Their polygon")]


REFUSED = {
    "metadata is text": (
        SYMBOLS_TABLE.replace("{}", "metadata text"),
        ["trading.symbols.metadata is text and must be jsonb"],
        "ALTER TABLE trading.symbols ALTER COLUMN metadata TYPE jsonb USING metadata::jsonb",
    ),
    "metadata is broken json": (
        SYMBOLS_TABLE.replace("{}", "metadata json")
        + """; INSERT INTO trading.symbols (symbol, metadata) VALUES ('A', '{"a": "\\u0000"}')""",
        ["trading.symbols.metadata has values that are no jsonb"],
        "SELECT metadata::jsonb FROM trading.symbols",
    ),
    "duplicate symbols": (
        "CREATE TABLE trading.symbols (id serial PRIMARY KEY, symbol text);"
        "INSERT INTO trading.symbols (symbol) VALUES ('EURUSD'), ('EURUSD')",
        ["trading.symbols has duplicates in (symbol), such as EURUSD"],
        "remove the duplicates from trading.symbols",
    ),
    "whole volumes": (
        BARS_TABLE.replace("{}", "ts timestamptz, volume bigint"),
        ["market_data.ohlcv_5m.volume is bigint and must be float8"],
        "ALTER COLUMN volume TYPE float8 USING volume::float8; else set database.tables.bars.volume: null",
    ),
    "bars that count milliseconds": (
        BARS_TABLE.replace("{}", "ts bigint, volume float8"),
        ["market_data.ohlcv_5m.ts is bigint and must be timestamptz"],
        "USING to_timestamp(ts) (if it counts seconds; ts / 1000.0 if milliseconds); else set"
        " database.tables.bars.table to another name, which init makes",
    ),
    "a column of bars that insists": (
        BARS_TABLE.replace("{}", "ts timestamptz, volume float8, region text NOT NULL"),
        ["market_data.ohlcv_5m.region is NOT NULL without a default"],
        "database: {tables: {bars: {region: ...}}}; or ALTER TABLE market_data.ohlcv_5m ALTER COLUMN region"
        " SET DEFAULT ...",
    ),
    "a column of new symbols that insists": (
        SYMBOLS_TABLE.replace("{}", "exchange_id int NOT NULL"),
        ["trading.symbols has no row EURUSD, BTCUSD, and exchange_id is NOT NULL without a default"],
        "INSERT INTO trading.symbols (symbol, exchange_id) VALUES ('EURUSD', ...), ('BTCUSD', ...);",
    ),
    "an id nobody makes": (
        "CREATE TABLE trading.symbols (id bigint PRIMARY KEY, symbol text UNIQUE)",
        ["trading.symbols has no row EURUSD, BTCUSD, and id is NOT NULL without a default"],
        "INSERT INTO trading.symbols (symbol, id) VALUES ('EURUSD', ...), ('BTCUSD', ...);",
    ),
    "two currencies of each symbol": (
        SYMBOLS_TABLE.replace(
            "{}", "base_asset text NOT NULL, quote_currency text NOT NULL, board text NOT NULL"
        ),
        ["base_asset, quote_currency, board are NOT NULL without a default"],
        "INSERT INTO trading.symbols (symbol, base_asset, quote_currency, board) VALUES"
        " ('EURUSD', 'EUR', 'USD', ...), ('BTCUSD', 'BTC', 'USD', ...);",
    ),
    "no symbol": (
        "CREATE TABLE trading.symbols (id serial PRIMARY KEY, isin text)",
        ["trading.symbols has no column symbol"],
        "set database.tables.symbols.symbol to the column that holds it",
    ),
    "nothing that identifies a symbol": (
        "CREATE TABLE trading.symbols (symbol text)",
        ["trading.symbols has no column that identifies a row"],
        "give the table a primary key",
    ),
    "a foreign kind of asset": (
        "CREATE TYPE kind AS ENUM ('stock', 'forex');" + SYMBOLS_TABLE.replace("{}", "asset_type kind"),
        ["trading.symbols does not take the row", 'invalid input value for enum kind: "crypto"'],
        "insert these symbols yourself: INSERT INTO trading.symbols (symbol, asset_type) VALUES"
        " ('EURUSD', 'forex'), ('BTCUSD', 'crypto');",
    ),
    "a rule on new symbols": (
        SYMBOLS_TABLE.replace("{}", "name text CHECK (name LIKE '%/%')"),
        ["trading.symbols does not take the row", "symbols_name_check"],
        "insert these symbols yourself",
    ),
    "states without a word for failed": (
        STATUS_TABLE.replace("{}", "sync_status varchar(20) CHECK (sync_status IN ('success', 'pending'))"),
        ["data_sources.data_sync_status.sync_status (character varying(20)) has no word for failed"],
        "say which of its words it is: database: {tables: {sync_status: {states: {failed: ...}}}}",
    ),
    "short states": (
        STATUS_TABLE.replace("{}", "sync_status varchar(1)"),
        ["data_sources.data_sync_status.sync_status (character varying(1)) has no word for success"],
        "say which of its words it is: database: {tables: {sync_status: {states: {success: ...}}}}",
    ),
    "ids of another kind": (
        "CREATE TABLE trading.symbols (id uuid PRIMARY KEY, symbol text UNIQUE);"
        + STATUS_TABLE.replace("{}", "sync_status text"),
        ["data_sources.data_sync_status.ticker_id is bigint, but trading.symbols.id is uuid"],
        "give data_sources.data_sync_status.ticker_id the type uuid",
    ),
    "a deferrable constraint": (
        "CREATE TABLE trading.symbols"
        " (id serial PRIMARY KEY, symbol text CONSTRAINT later UNIQUE DEFERRABLE)",
        ["the unique constraint trading.later of trading.symbols is deferrable"],
        "make trading.later not deferrable",
    ),
    "a key with an expression besides our columns": (
        BARS_TABLE.replace("{}", "ts timestamptz, volume float8, flavour text")
        + "; CREATE UNIQUE INDEX k ON market_data.ohlcv_5m (symbol_id, ts, coalesce(flavour, ''))",
        ["market_data.ohlcv_5m tells rows apart by k, which uses (symbol_id, ts, flavour)"],
        "CREATE UNIQUE INDEX ON market_data.ohlcv_5m (symbol_id, ts) if no two rows may have the same there",
    ),
    "a key of other columns": (
        "CREATE TABLE trading.symbols (id serial PRIMARY KEY, symbol text, base text, quote text, board text,"
        " CONSTRAINT k UNIQUE (base, quote, board));"
        "INSERT INTO trading.symbols (symbol) VALUES ('EURUSD'), ('BTCUSD')",
        ["trading.symbols tells rows apart by k, which uses (base, quote, board)"],
        "set database.tables.symbols to the columns of that key if they are meant",
    ),
    "a key of another moment": (
        BARS_TABLE.replace("{}", "open_time timestamptz, ts timestamptz DEFAULT now(), volume float8")
        + "; ALTER TABLE market_data.ohlcv_5m ADD CONSTRAINT k UNIQUE (symbol_id, open_time)",
        ["market_data.ohlcv_5m tells rows apart by k, which uses (symbol_id, open_time)"],
        "set database.tables.bars to the columns of that key if they are meant",
    ),
    "bars of several lengths without a key": (
        BARS_TABLE.replace("{}", "ts timestamptz, volume float8, duration interval, bar_type text"),
        ["market_data.ohlcv_5m has no unique index, and seems to tell rows apart by duration, bar_type"],
        "database: {tables: {bars: {duration: '00:05:00', bar_type: ...}}}",
    ),
    "bars of a minute unless somebody says so": (
        BARS_TABLE.replace("{}", "ts timestamptz, volume float8, tf_seconds int NOT NULL DEFAULT 60")
        + "; CREATE UNIQUE INDEX ON market_data.ohlcv_5m (symbol_id, ts)",
        ["market_data.ohlcv_5m.tf_seconds would be 60 in bars of five minutes"],
        "database: {tables: {bars: {tf_seconds: '300'}}}",
    ),
    "a trigger that copies whole rows": (
        SYMBOLS_TABLE.replace("{}", "name text") + "; INSERT INTO trading.symbols (symbol) VALUES ('EURUSD');"
        "CREATE TABLE trading.history (LIKE trading.symbols);"
        "CREATE FUNCTION trading.keep() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN INSERT INTO trading.history SELECT OLD.*; RETURN NULL; END$$;"
        "CREATE TRIGGER keep AFTER UPDATE ON trading.symbols FOR EACH ROW EXECUTE FUNCTION trading.keep()",
        ["trading.symbols takes no UPDATE any more once it has trading.symbols.metadata jsonb"],
        "add the columns yourself, and to what the triggers of the table write",
    ),
    "ids of the table that the bars of an hour refer to": (
        SYMBOLS_TABLE.replace("{}", "name text")
        + "; CREATE TABLE market_data.instruments (id serial PRIMARY KEY, code text);"
        "CREATE TABLE market_data.ohlcv_1h (symbol_id int REFERENCES market_data.instruments);"
        + BARS_TABLE.replace("{}", "ts timestamptz, volume float8"),
        ["the same column of other tables refers to market_data.instruments"],
        "database.tables.bars.symbol_id: symbol_id if they are those of trading.symbols",
    ),
    "bars whose end insists": (
        BARS_TABLE.replace("{}", "ts timestamptz, close_time timestamptz NOT NULL, volume float8")
        + "; CREATE UNIQUE INDEX ON market_data.ohlcv_5m (symbol_id, ts)",
        ["market_data.ohlcv_5m.close_time is NOT NULL without a default (hint: ALTER TABLE"],
        "DROP NOT NULL, or SET DEFAULT ... and a trigger that sets it; or set database.tables.bars.table",
    ),
    "a unique index of some rows": (
        SYMBOLS_TABLE.replace(" UNIQUE", "").replace("{}", "is_active boolean")
        + "; CREATE UNIQUE INDEX ON trading.symbols (symbol) WHERE is_active",
        ["trading.symbols keeps (symbol) apart only for some rows, by symbols_symbol_idx"],
        "CREATE UNIQUE INDEX ON trading.symbols (symbol)",
    ),
    "a view": (
        "CREATE TABLE trading.instruments (id int, code text);"
        "CREATE VIEW trading.symbols AS SELECT id, code AS symbol FROM trading.instruments",
        ["trading.symbols is a view"],
        "set database.tables.symbols.table: trading.instruments, which it reads from; or set"
        " database.tables.symbols.table to another name, which init makes",
    ),
    "two at once": (
        SYMBOLS_TABLE.replace("{}", "metadata text")
        + ";"
        + BARS_TABLE.replace("{}", "ts timestamptz, volume bigint"),
        ["trading.symbols.metadata is text", "market_data.ohlcv_5m.volume is bigint"],
        "TYPE float8",
    ),
}


@pytest.mark.parametrize(("tables", "messages", "hint"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_used_is_named_with_its_remedy_and_nothing_is_changed(
    empty: Store, sql: Sql, tables: str, messages: list[str], hint: str
) -> None:
    sql(SCHEMAS + tables)
    before = everything(sql)
    with pytest.raises(SchemaRefusedError) as caught:
        register(empty, [asset("EURUSD"), asset("BTCUSD", asset_type=AssetType.CRYPTO)])
    for message in messages:
        assert message in caught.value.message
    assert hint in caught.value.message
    assert caught.value.exit_code == 2
    assert everything(sql) == before
    assert sql("SELECT to_regclass('data_sources.assetbatch_migrations')") == [(None,)]
