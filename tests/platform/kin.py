"""Platforms that parts do not make: foreign ids, orphans, rules, triggers, odd names, rows in the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .shapes import BITCOIN, EURO, GOLD, Shape, Tables, Writer

SCHEMAS = "CREATE SCHEMA trading; CREATE SCHEMA market_data; CREATE SCHEMA data_sources; "
SYMBOLS = (
    "CREATE TABLE trading.symbols (id serial PRIMARY KEY, symbol text UNIQUE NOT NULL, metadata jsonb);"
    "INSERT INTO trading.symbols (symbol) VALUES ('AAPL'), ('EURUSD'), ('BTCUSD');"
)
PRICES = (
    "open float8 NOT NULL, high float8 NOT NULL, low float8 NOT NULL, close float8 NOT NULL, volume float8"
)
BARS = f"CREATE TABLE market_data.ohlcv_5m ({{}}, {PRICES}{{}});"
KEY = "symbol_id int NOT NULL, ts timestamptz NOT NULL, PRIMARY KEY (symbol_id, ts)"
BAR = (
    "INSERT INTO market_data.ohlcv_5m (symbol_id, ts, open, high, low, close)"
    " VALUES (2, '2020-01-01Z', 1, 2, 1, 2)"
)
PROVIDERS = (
    "CREATE TABLE data_sources.api_providers (id serial PRIMARY KEY, code text UNIQUE NOT NULL);"
    "INSERT INTO data_sources.api_providers (code) VALUES ('polygon');"
)
SYNC = (
    "CREATE TABLE data_sources.data_sync_status ({}, provider_id int REFERENCES data_sources.api_providers,"
    " last_sync_timestamp timestamptz, sync_status text, error_message text, updated_at timestamptz,"
    " PRIMARY KEY (ticker_id, provider_id));"
)

ZONE = "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET timezone TO %L', current_database(), 'ZONE'); END$$;"


def by_hand(*ddl: str, **more: Any) -> Shape:
    return Shape(ddl="; ".join((SCHEMAS, *ddl)), **{"priority": (GOLD, EURO), "secondary": (BITCOIN,)} | more)


_BY_EXCHANGE = (
    "CREATE TABLE trading.symbols (id serial PRIMARY KEY, exchange text NOT NULL, symbol text NOT NULL,"
    " metadata jsonb, UNIQUE (exchange, symbol));"
    "INSERT INTO trading.symbols (exchange, symbol) VALUES ('fx', 'EURUSD'), ('cme', 'EURUSD');",
    f"CREATE TABLE market_data.ohlcv_5m (exchange text, symbol text, ts timestamptz, {PRICES},"
    " PRIMARY KEY (exchange, symbol, ts),"
    " FOREIGN KEY (exchange, symbol) REFERENCES trading.symbols (exchange, symbol));"
    "INSERT INTO market_data.ohlcv_5m VALUES ('cme', 'EURUSD', '2020-01-01Z', 1, 2, 1, 2)",
)
_KINDS = (
    "CREATE TYPE trading.kind AS ENUM ('stock', 'fx');"
    "CREATE TABLE trading.symbols (id serial PRIMARY KEY, symbol text UNIQUE,"
    " asset_type trading.kind NOT NULL, metadata jsonb);"
    "INSERT INTO trading.symbols (symbol, asset_type) VALUES ('EURUSD', 'fx')"
)
_LENGTHS = (
    SYMBOLS,
    "CREATE TABLE market_data.timeframes (id int PRIMARY KEY, name text);"
    "INSERT INTO market_data.timeframes VALUES (1, '1m'), (2, '5m');",
    BARS.format(
        "symbol_id int, ts timestamptz, timeframe_id int NOT NULL REFERENCES market_data.timeframes,"
        " PRIMARY KEY (symbol_id, timeframe_id, ts)",
        "",
    ),
    "INSERT INTO market_data.ohlcv_5m (symbol_id, timeframe_id, ts, open, high, low, close)"
    " VALUES (2, 1, '2020-01-01Z', 1, 2, 1, 2)",
)

REFUSED: Mapping[str, Shape] = {
    "a key of two columns that refers to one": by_hand(
        *_BY_EXCHANGE, refused=["trading.symbols", "exchange"]
    ),
    "a length by its number": by_hand(*_LENGTHS, refused=["market_data.ohlcv_5m", "timeframe_id"]),
    "a kind of asset that the enum lacks": by_hand(
        _KINDS, refused=["trading.symbols", "BTCUSD", "INSERT INTO"]
    ),
    "symbols that a trigger writes otherwise": by_hand(
        SYMBOLS,
        "CREATE FUNCTION trading.lower() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN NEW.symbol = lower(NEW.symbol); RETURN NEW; END$$;"
        "CREATE TRIGGER low BEFORE INSERT ON trading.symbols FOR EACH ROW EXECUTE FUNCTION trading.lower()",
        refused=["trading.symbols", "XAUUSD"],
    ),
    "moments that the server generates": by_hand(
        SYMBOLS,
        BARS.format(
            "symbol_id int, open_ms bigint, ts timestamptz GENERATED ALWAYS AS"
            " (to_timestamp(open_ms / 1000.0)) STORED, PRIMARY KEY (symbol_id, open_ms)",
            "",
        ),
        refused=["market_data.ohlcv_5m.ts", "generated"],
    ),
    "a state of one provider only": by_hand(
        SYMBOLS,
        PROVIDERS,
        SYNC.format("ticker_id int").replace(
            "PRIMARY KEY (ticker_id, provider_id)", "PRIMARY KEY (ticker_id)"
        ),
        refused=["data_sources.data_sync_status", "ticker_id"],
    ),
    "only the status refers to another table": by_hand(
        SYMBOLS,
        "CREATE TABLE market_data.tickers (id serial PRIMARY KEY, symbol text);"
        "INSERT INTO market_data.tickers (symbol) VALUES ('EURUSD');",
        PROVIDERS,
        SYNC.format("ticker_id int REFERENCES market_data.tickers"),
        writers=[
            "INSERT INTO data_sources.data_sync_status (ticker_id, provider_id) VALUES (1, 1)",
        ],
        refused=["data_sources.data_sync_status", "market_data.tickers"],
    ),
    "bars of instruments that nobody knows": by_hand(
        SYMBOLS,
        BARS.format(KEY, ""),
        BAR.replace("VALUES (2", "VALUES (99"),
        writers=[BAR],
        refused=["market_data.ohlcv_5m", "99"],
    ),
    "states of instruments that nobody knows": by_hand(
        SYMBOLS,
        PROVIDERS,
        SYNC.format("ticker_id int"),
        "INSERT INTO data_sources.data_sync_status VALUES (99, 1)",
        refused=["data_sources.data_sync_status", "99"],
    ),
    "bars without any table of symbols": by_hand(
        BARS.format(KEY, ""), BAR, refused=["market_data.ohlcv_5m", "trading.symbols", "database.tables"]
    ),
    "a key that is checked later": by_hand(
        "CREATE TABLE trading.symbols (id serial PRIMARY KEY,"
        " symbol text CONSTRAINT later UNIQUE DEFERRABLE, metadata jsonb)",
        refused=["trading.symbols", "later", "deferrable"],
    ),
    "two columns that may be the time": by_hand(
        SYMBOLS,
        BARS.format(
            'symbol_id int NOT NULL, "timestamp" timestamptz NOT NULL, time timestamptz NOT NULL', ""
        ),
        refused=["market_data.ohlcv_5m", "timestamp", "time", "database.tables"],
    ),
    "moments that are numbers": by_hand(
        SYMBOLS,
        BARS.format("symbol_id int, open_time bigint, PRIMARY KEY (symbol_id, open_time)", ""),
        refused=["market_data.ohlcv_5m.open_time", "bigint", "timestamptz"],
    ),
    "prices that are money": by_hand(
        SYMBOLS,
        BARS.format(KEY, "").replace("float8", "money"),
        refused=["market_data.ohlcv_5m", "money"],
    ),
    "bars in tables that inherit": by_hand(
        SYMBOLS,
        BARS.format(KEY, ""),
        "CREATE TABLE market_data.bars_2026 (CHECK (ts >= '2020-01-01Z')) INHERITS (market_data.ohlcv_5m);"
        "CREATE FUNCTION market_data.place() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN INSERT INTO market_data.bars_2026 VALUES (NEW.*); RETURN NULL; END$$;"
        "CREATE TRIGGER place BEFORE INSERT ON market_data.ohlcv_5m"
        " FOR EACH ROW EXECUTE FUNCTION market_data.place()",
        writers=[BAR],
        refused=["market_data.ohlcv_5m", "market_data.bars_2026|inherit"],
    ),
    "ids that nobody makes": by_hand(
        "CREATE TABLE trading.symbols (id bigint PRIMARY KEY, symbol text UNIQUE, metadata jsonb);"
        "INSERT INTO trading.symbols VALUES (1, 'EURUSD');",
        refused=["trading.symbols", "XAUUSD", "INSERT INTO", r"\bid\b"],
    ),
    "bars that insist on more": by_hand(
        SYMBOLS,
        BARS.format(KEY, ", venue_code text NOT NULL"),
        BAR.replace("close)", "close, venue_code)").replace("1, 2)", "1, 2, 'x')"),
        writers=[
            BAR.replace("close)", "close, venue_code)").replace("1, 2)", "1, 2, 'x')").replace("2020", "2021")
        ],
        refused=["market_data.ohlcv_5m", "venue_code", "{tables: {bars: "],
    ),
    "a row of the same symbol in other letters": by_hand(
        "CREATE TABLE trading.symbols (id serial PRIMARY KEY, symbol text NOT NULL, metadata jsonb);"
        "CREATE UNIQUE INDEX ON trading.symbols (lower(symbol));"
        "INSERT INTO trading.symbols (symbol) VALUES ('eurusd');",
        refused=["trading.symbols", "EURUSD"],
    ),
    "duplicates": by_hand(
        "CREATE TABLE trading.symbols (id serial PRIMARY KEY, symbol text);"
        "INSERT INTO trading.symbols (symbol) VALUES ('EURUSD'), ('EURUSD')",
        writers=["INSERT INTO trading.symbols (symbol) VALUES ('EURUSD')"],
        refused=["trading.symbols", "EURUSD|duplicate"],
    ),
    "symbols that a check forbids": by_hand(
        "CREATE TABLE trading.symbols (id serial PRIMARY KEY,"
        " symbol text UNIQUE CHECK (symbol ~ '/'), metadata jsonb)",
        refused=["trading.symbols", "XAUUSD"],
    ),
    "symbols that a trigger forbids": by_hand(
        SYMBOLS,
        "CREATE FUNCTION trading.no() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'ask the desk'; END$$;"
        "CREATE TRIGGER no BEFORE INSERT ON trading.symbols FOR EACH ROW EXECUTE FUNCTION trading.no()",
        refused=["trading.symbols", "XAUUSD", "ask the desk"],
    ),
    "ids of another type": by_hand(
        SYMBOLS,
        BARS.format("symbol_id uuid, ts timestamptz, PRIMARY KEY (symbol_id, ts)", ""),
        refused=["market_data.ohlcv_5m.symbol_id", "uuid"],
    ),
    "states that are numbers": by_hand(
        SYMBOLS,
        PROVIDERS,
        SYNC.format("ticker_id int REFERENCES trading.symbols").replace(
            "sync_status text", "sync_status int"
        ),
        refused=["data_sources.data_sync_status.sync_status", "integer"],
    ),
    "a foreign table": by_hand(
        SYMBOLS,
        "CREATE FOREIGN DATA WRAPPER far; CREATE SERVER there FOREIGN DATA WRAPPER far;"
        "CREATE FOREIGN TABLE market_data.ohlcv_5m (symbol_id int, ts timestamptz) SERVER there",
        refused=["market_data.ohlcv_5m", "foreign table"],
    ),
    "a view of symbols": by_hand(
        "CREATE TABLE trading.instruments (id serial PRIMARY KEY, symbol text UNIQUE, metadata jsonb);"
        "CREATE VIEW trading.symbols AS SELECT * FROM trading.instruments",
        refused=["trading.symbols", "view", "trading.instruments"],
    ),
    "a rule that does something instead": by_hand(
        SYMBOLS,
        BARS.format(KEY, ""),
        "CREATE RULE elsewhere AS ON INSERT TO market_data.ohlcv_5m DO INSTEAD NOTHING",
        writers=[BAR],
        refused=["market_data.ohlcv_5m", "elsewhere"],
    ),
    "mapped columns that are not there": by_hand(
        SYMBOLS,
        BARS.format(KEY, ""),
        configured={"bars": {"ts": "tss", "vwap": None}},
        refused=["market_data.ohlcv_5m", "tss", "ts"],
    ),
    "two spellings of the provider": by_hand(
        SYMBOLS,
        PROVIDERS.replace("('polygon')", "('POLYGON'), ('Polygon.io')"),
        refused=["data_sources.api_providers", "POLYGON", "Polygon.io"],
    ),
    "bars of mixed lengths": by_hand(
        SYMBOLS,
        BARS.format(
            "symbol_id int, ts timestamptz, timeframe text NOT NULL DEFAULT '1m',"
            " PRIMARY KEY (symbol_id, ts, timeframe)",
            "",
        ),
        BAR,
        writers=[BAR.replace("(symbol_id", "(timeframe, symbol_id").replace("VALUES (", "VALUES ('1h', ")],
        refused=["market_data.ohlcv_5m", "timeframe"],
    ),
    "naive bars in a zone with summer time": by_hand(
        SYMBOLS,
        BARS.format("symbol_id int, ts timestamp, PRIMARY KEY (symbol_id, ts)", ""),
        ZONE.replace("ZONE", "Pacific/Auckland"),
        "INSERT INTO market_data.ohlcv_5m SELECT 2, now() AT TIME ZONE 'Pacific/Auckland' - interval '1 min',"
        " 1, 2, 1, 2",
        refused=["market_data.ohlcv_5m", "Pacific/Auckland", "timestamptz"],
    ),
}

ADOPTED: Mapping[str, Shape] = {
    "a key of two columns, ours named": by_hand(
        *_BY_EXCHANGE,
        configured={"symbols": {"exchange": "fx"}, "bars": {"exchange": "fx"}},
        tables=Tables(
            symbol_id="symbol",
            reference="s.symbol",
            where="s.exchange = 'fx'",
            bars_where="b.exchange = 'fx'",
            bars_key=("exchange", "symbol", "ts"),
        ),
        writers=[
            "INSERT INTO trading.symbols (exchange, symbol) VALUES ('cme', 'BTCUSD'), ('cme', 'XAUUSD')",
            "INSERT INTO market_data.ohlcv_5m VALUES ('cme', 'EURUSD', now(), 1, 2, 1, 2)",
        ],
    ),
    "a length by its number, ours named": by_hand(
        *_LENGTHS,
        configured={"bars": {"timeframe_id": 2}},
        tables=Tables(bars_where="b.timeframe_id = 2", bars_key=("symbol_id", "ts", "timeframe_id")),
    ),
    "a length that is an enum": by_hand(
        SYMBOLS,
        "CREATE TYPE market_data.length AS ENUM ('1m', '5m');",
        BARS.format(
            "symbol_id int, ts timestamptz, timeframe market_data.length NOT NULL,"
            " PRIMARY KEY (symbol_id, timeframe, ts)",
            "",
        ),
        configured={"bars": {"timeframe": "5m"}},
        tables=Tables(bars_where="b.timeframe = '5m'", bars_key=("symbol_id", "ts", "timeframe")),
    ),
    "kinds of assets that are all there": by_hand(
        _KINDS,
        "INSERT INTO trading.symbols (symbol, asset_type) VALUES ('XAUUSD', 'fx'), ('BTCUSD', 'stock')",
    ),
    "all in one schema": by_hand(
        "CREATE TABLE public.symbols (id serial PRIMARY KEY, ticker text UNIQUE NOT NULL,"
        " extra jsonb NOT NULL);"
        "INSERT INTO public.symbols (ticker, extra) VALUES ('EURUSD', '{}');"
        f"CREATE TABLE public.candles (instrument_id int REFERENCES public.symbols, t timestamptz, {PRICES},"
        " PRIMARY KEY (instrument_id, t));"
        "CREATE TABLE public.providers (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), code text UNIQUE);"
        "CREATE TABLE public.syncs (ticker_id int REFERENCES public.symbols, provider_id uuid"
        " REFERENCES public.providers, sync_status text, last_sync_timestamp timestamptz,"
        " error_message text, updated_at timestamptz, UNIQUE (ticker_id, provider_id))",
        configured={
            "symbols": {"table": "public.symbols", "metadata": "extra"},
            "bars": {"table": "public.candles"},
            "providers": {"table": "public.providers"},
            "sync_status": {"table": "public.syncs"},
        },
        tables=Tables(
            symbols="public.symbols",
            symbol="ticker",
            metadata="extra",
            bars="public.candles",
            symbol_id="instrument_id",
            ts="t",
            bars_key=("instrument_id", "t"),
            providers="public.providers",
            sync_status="public.syncs",
        ),
    ),
    "a status by a text without a foreign key": by_hand(
        SYMBOLS,
        PROVIDERS,
        SYNC.format("ticker_id text"),
        "INSERT INTO data_sources.data_sync_status (ticker_id, provider_id) VALUES ('EURUSD', 1)",
        tables=Tables(sync_reference="s.symbol"),
    ),
    "ids by another column than the key": by_hand(
        "CREATE TABLE trading.symbols (id serial PRIMARY KEY,"
        " uid uuid UNIQUE NOT NULL DEFAULT gen_random_uuid(), symbol text UNIQUE NOT NULL, metadata jsonb);"
        "INSERT INTO trading.symbols (symbol) VALUES ('EURUSD');",
        BARS.format(
            "symbol_id uuid REFERENCES trading.symbols (uid), ts timestamptz, PRIMARY KEY (symbol_id, ts)", ""
        ),
        PROVIDERS,
        SYNC.format("ticker_id int REFERENCES trading.symbols"),
        tables=Tables(reference="s.uid"),
    ),
    "a status by the symbol": by_hand(
        SYMBOLS,
        PROVIDERS,
        SYNC.format("ticker_id text REFERENCES trading.symbols (symbol)"),
        tables=Tables(sync_reference="s.symbol"),
    ),
    "names as an ORM writes them": by_hand(
        'CREATE TABLE trading."Symbol" ("symbolId" serial PRIMARY KEY, "tickerCode" text UNIQUE NOT NULL,'
        ' "Meta Data" jsonb, "updatedAt" timestamptz DEFAULT now());'
        """INSERT INTO trading."Symbol" ("tickerCode") VALUES ('EURUSD');"""
        'CREATE TABLE market_data."Candle" ("symbolId" int REFERENCES trading."Symbol",'
        ' "openTime" timestamptz, "order" float8, "high" float8, "low" float8, "user" float8,'
        ' "isFinal" boolean NOT NULL DEFAULT true, PRIMARY KEY ("symbolId", "openTime"));',
        configured={
            "symbols": {
                "table": "trading.Symbol",
                "id": "symbolId",
                "symbol": "tickerCode",
                "metadata": "Meta Data",
                "updated_at": "updatedAt",
            },
            "bars": {
                "table": "market_data.Candle",
                "symbol_id": "symbolId",
                "ts": "openTime",
                "open": "order",
                "close": "user",
            },
        },
        tables=Tables(
            symbols='trading."Symbol"',
            symbol='"tickerCode"',
            id='"symbolId"',
            metadata='"Meta Data"',
            bars='market_data."Candle"',
            symbol_id='"symbolId"',
            reference='s."symbolId"',
            sync_reference='s."symbolId"',
            ts='"openTime"',
            prices=('"order"', "high", "low", '"user"'),
            bars_key=("symbolId", "openTime"),
        ),
        writers=[Writer('COPY market_data."Candle" FROM STDIN', "SELECT 1, now(), 1, 2, 1, 2, false")],
        readers=[
            """SELECT "Meta Data" FROM trading."Symbol" WHERE "Meta Data" ? 'last_update'""",
            'SELECT * FROM market_data."Candle" JOIN trading."Symbol" USING ("symbolId")'
            ' WHERE "user" > 10000',
        ],
    ),
    "generated columns, checks and a default of theirs": by_hand(
        SYMBOLS,
        BARS.format(
            "id bigint GENERATED ALWAYS AS IDENTITY, symbol_id int NOT NULL REFERENCES trading.symbols"
            " ON DELETE CASCADE, ts timestamptz NOT NULL, UNIQUE (symbol_id, ts)",
            ", mid float8 GENERATED ALWAYS AS ((high + low) / 2) STORED,"
            " created_at timestamptz DEFAULT now(), CHECK (high >= low), CHECK (volume >= 0)",
        ),
        BAR,
        tables=Tables(bars_key=("id",)),
        writers=[BAR.replace("2020", "2021"), "DELETE FROM trading.symbols WHERE symbol = 'AAPL'"],
        readers=["SELECT * FROM market_data.ohlcv_5m WHERE mid > 10000 AND created_at IS NOT NULL"],
    ),
    "a constant that the bars insist on": by_hand(
        SYMBOLS,
        BARS.format(KEY, ", venue_code text NOT NULL, quality int NOT NULL"),
        configured={"bars": {"venue_code": "fx", "quality": 3}},
        writers=[
            BAR.replace("close)", "close, venue_code, quality)").replace("1, 2)", "1, 2, 'x', 1)"),
        ],
        readers=["SELECT * FROM market_data.ohlcv_5m WHERE venue_code = 'fx' AND quality = 3"],
    ),
    "bars of mixed lengths, ours named": by_hand(
        SYMBOLS,
        BARS.format(
            "symbol_id int, ts timestamptz, timeframe text NOT NULL DEFAULT '1m',"
            " PRIMARY KEY (symbol_id, ts, timeframe)",
            "",
        ),
        BAR,
        configured={"bars": {"timeframe": "5m"}},
        tables=Tables(bars_where="b.timeframe = '5m'", bars_key=("symbol_id", "ts", "timeframe")),
        writers=[
            BAR.replace("(symbol_id", "(timeframe, symbol_id").replace("VALUES (", "VALUES ('1h', "),
            BAR.replace("2020", "2021") + " ON CONFLICT (symbol_id, ts, timeframe) DO NOTHING",
        ],
    ),
    "bars of one minute at the same moments": by_hand(
        SYMBOLS,
        BARS.format(
            "symbol_id int, ts timestamptz, timeframe text NOT NULL DEFAULT '1m',"
            " PRIMARY KEY (symbol_id, ts, timeframe)",
            "",
        ),
        "INSERT INTO market_data.ohlcv_5m (symbol_id, ts, open, high, low, close)"
        " SELECT 2, date_trunc('day', now()) - n * interval '5 min', 1, 2, 1, 2"
        " FROM generate_series(1, 9000) n;",
        configured={"bars": {"timeframe": "5m"}},
        tables=Tables(bars_where="b.timeframe = '5m'", bars_key=("symbol_id", "ts", "timeframe")),
    ),
    "a volume that may not be nothing": by_hand(
        SYMBOLS,
        BARS.format(KEY, "").replace("volume float8", "volume float8 NOT NULL"),
        configured={"bars": {"missing": {"volume": 0}}},
    ),
    "a time that one has to name": by_hand(
        SYMBOLS,
        BARS.format(
            'symbol_id int, "timestamp" timestamptz, time timestamptz, PRIMARY KEY (symbol_id, time)', ""
        ),
        configured={"bars": {"ts": "time"}},
        tables=Tables(ts="time", bars_key=("symbol_id", "time")),
    ),
    "symbols of a domain, padded": by_hand(
        "CREATE DOMAIN trading.code AS char(12) CHECK (value <> '');"
        "CREATE TABLE trading.symbols (id serial PRIMARY KEY, symbol trading.code UNIQUE, metadata jsonb);"
        "INSERT INTO trading.symbols (symbol) VALUES ('EURUSD');",
    ),
    "ids that the server always makes": by_hand(
        "CREATE TABLE trading.symbols (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " symbol text UNIQUE, metadata jsonb);"
        "INSERT INTO trading.symbols (symbol) VALUES ('EURUSD');",
    ),
    "symbols that are all there and let none in": by_hand(
        SYMBOLS,
        "INSERT INTO trading.symbols (symbol) VALUES ('XAUUSD');"
        "CREATE FUNCTION trading.no() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'ask the desk'; END$$;"
        "CREATE TRIGGER no BEFORE INSERT ON trading.symbols FOR EACH ROW EXECUTE FUNCTION trading.no()",
    ),
    "metadata that is no object": by_hand(
        SYMBOLS, """UPDATE trading.symbols SET metadata = '[1, 2]' WHERE symbol = 'EURUSD'"""
    ),
    "naive times of the status in the zone of the database": by_hand(
        SYMBOLS,
        PROVIDERS,
        SYNC.format("ticker_id int REFERENCES trading.symbols").replace("timestamptz", "timestamp"),
        ZONE.replace("ZONE", "Asia/Kolkata"),
        "INSERT INTO data_sources.data_sync_status"
        " SELECT 1, 1, now() AT TIME ZONE 'Asia/Kolkata', 'ok', NULL, now() AT TIME ZONE 'Asia/Kolkata'",
    ),
    "naive bars in a zone that is not UTC": by_hand(
        SYMBOLS,
        BARS.format(KEY.replace("timestamptz", "timestamp"), ""),
        ZONE.replace("ZONE", "Asia/Kolkata"),
        "INSERT INTO market_data.ohlcv_5m"
        " SELECT 1, date_trunc('hour', now() AT TIME ZONE 'Asia/Kolkata'), 1, 2, 1, 2",
        tables=Tables(bars_ts="b.{ts} AT TIME ZONE 'Asia/Kolkata'"),
    ),
    "a status with nothing but a state": by_hand(
        SYMBOLS,
        PROVIDERS,
        "CREATE TABLE data_sources.data_sync_status (ticker_id int, provider_id int, sync_status text,"
        " PRIMARY KEY (ticker_id, provider_id))",
        adds=frozenset(
            f"column data_sources.data_sync_status.{name}"
            for name in ("last_sync_timestamp", "error_message", "updated_at")
        ),
    ),
    "successes of theirs before we came": by_hand(
        SYMBOLS,
        PROVIDERS,
        SYNC.format("ticker_id int REFERENCES trading.symbols"),
        "INSERT INTO data_sources.data_sync_status"
        " SELECT id, 1, now() - interval '5 days', 'success', NULL, now() FROM trading.symbols",
    ),
    "another provider besides, and many keys": by_hand(
        SYMBOLS,
        PROVIDERS.replace("('polygon')", "('oanda'), ('MASSIVE')"),
        SYNC.format("id bigserial, ticker_id int REFERENCES trading.symbols"),
        "INSERT INTO data_sources.data_sync_status (ticker_id, provider_id, sync_status)"
        " VALUES (2, 1, 'success')",
        readers=[
            "SELECT * FROM data_sources.data_sync_status WHERE provider_id = 1 AND sync_status = 'success'",
            "SELECT * FROM data_sources.data_sync_status WHERE provider_id = 2 AND sync_status = 'success'",
        ],
    ),
}
