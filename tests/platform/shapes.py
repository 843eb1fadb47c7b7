"""Platforms: tables, rows, writers and readers that were there, and what `init` makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Json = dict[str, Any]
Assets = Sequence[Mapping[str, str]]

GOLD = {"symbol": "XAUUSD", "polygon_ticker": "C:XAUUSD", "asset_type": "forex"}
EURO = {"symbol": "EURUSD", "polygon_ticker": "C:EURUSD", "asset_type": "forex"}
BITCOIN = {"symbol": "BTCUSD", "polygon_ticker": "X:BTCUSD", "asset_type": "crypto"}
ETHER = {"symbol": "ETHUSD", "polygon_ticker": "X:ETHUSD", "asset_type": "crypto"}
SOLANA = {"symbol": "SOLUSD", "polygon_ticker": "X:SOLUSD", "asset_type": "crypto"}
POUND = {"symbol": "GBPUSD", "polygon_ticker": "C:GBPUSD", "asset_type": "forex"}


class Writer(NamedTuple):
    """Something the platform does to its tables; `rows` is the query of a COPY FROM STDIN's rows."""

    statement: str
    rows: str | None = None


class Tables(NamedTuple):
    """What the platform calls the tables and their columns, as its own readers know it.

    `reference` is what the bars' `symbol_id` holds of a row `s` of `symbols`, `sync_reference` what
    `ticker_id` holds. `where` and `bars_where` tell our rows from others in `symbols` and in `bars`.
    `bars_ts` is an expression of the start of a bar `b` as timestamptz.
    """

    symbols: str = "trading.symbols"
    symbol: str = "symbol"
    id: str = "id"
    metadata: str = "metadata"
    bars: str = "market_data.ohlcv_5m"
    symbol_id: str = "symbol_id"
    reference: str = "s.id"
    ts: str = "ts"
    bars_ts: str = "b.{ts}"
    prices: tuple[str, str, str, str] = ("open", "high", "low", "close")
    sync_status: str = "data_sources.data_sync_status"
    sync_reference: str = "s.id"
    providers: str = "data_sources.api_providers"
    where: str = "true"
    bars_where: str = "true"
    bars_key: tuple[str, ...] = ("symbol_id", "ts")

    @property
    def all(self) -> tuple[str, str, str, str]:
        return self.symbols, self.bars, self.sync_status, self.providers

    def read_bars(self) -> str:
        """symbol, start, open, high, low, close of each bar of our instruments."""
        prices = ", ".join(f"b.{price}::float8" for price in self.prices)
        return (
            f"SELECT s.{self.symbol}::text, {self.bars_ts.format(ts=self.ts)}, {prices}"
            f" FROM {self.bars} b JOIN {self.symbols} s ON {self.reference} = b.{self.symbol_id}"
            f" WHERE {self.where} AND {self.bars_where}"
        )

    def read_prices(self) -> str:
        """symbol, last_update of each instrument."""
        return (
            f"SELECT s.{self.symbol}::text, s.{self.metadata}::jsonb -> 'last_update'"
            f" FROM {self.symbols} s WHERE {self.where}"
        )

    def read_states(self) -> str:
        """symbol, state, message of each instrument that has any."""
        return (
            f"SELECT s.{self.symbol}::text, d.sync_status::text, d.error_message FROM {self.sync_status} d"
            f" JOIN {self.symbols} s ON {self.sync_reference} = d.ticker_id"
            f" JOIN {self.providers} p ON p.id = d.provider_id WHERE {self.where}"
        )


OWN = Tables()


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One platform, and what is expected of `init`.

    `ddl` makes its tables and rows; `file` is the name of a file of `../shared/platform/ddl` that does.
    `configured` is `database.tables`. `writers` work before, and must afterwards. `readers` are queries of
    the platform that must find something afterwards. `refused` are regular expressions that the refusal
    contains; with none the shape is adopted. `adds` are the objects (`column schema.table.name`, `unique
    schema.table`) that may be added to tables that were there. `success` is the platform's word for it.
    """

    ddl: str = ""
    file: str | None = None
    configured: Json = field(default_factory=dict)
    priority: Assets = (GOLD, EURO, BITCOIN)
    secondary: Assets = ()
    tables: Tables = OWN
    writers: Sequence[Writer | str] = ()
    readers: Sequence[str] = ()
    refused: Sequence[str] = ()
    adds: frozenset[str] = frozenset()
    success: str = "success"

    @property
    def symbols(self) -> list[str]:
        """All that is configured."""
        return [asset["symbol"] for asset in (*self.priority, *self.secondary)]


_INSERT_SPEC_BAR = (
    "INSERT INTO market_data.ohlcv_5m ({id}, {ts}, open, high, low, close, volume)"
    " SELECT id, timestamptz '2020-01-01 00:05Z', 1, 2, 1, 2, 3 FROM trading.symbols WHERE symbol = 'EURUSD'"
)


def _spec(file: str, symbol_id: str, ts: str) -> Shape:
    """The owner's own tables, as they are reconstructed."""
    insert = _INSERT_SPEC_BAR.format(id=symbol_id, ts=ts)
    return Shape(
        file=file,
        tables=Tables(symbol_id=symbol_id, ts=ts, bars_key=("id",)),
        writers=[
            insert,
            insert + f" ON CONFLICT ({symbol_id}, {ts}) DO UPDATE SET close = excluded.close",
            "INSERT INTO market_data.ohlcv_5m"
            " SELECT nextval('market_data.ohlcv_5m_id_seq'), id, now(), 1, 2, 1, 2 FROM trading.symbols",
            f"UPDATE market_data.ohlcv_5m SET volume = 4 WHERE {ts} < now() - interval '39 days'",
            Writer(
                "COPY market_data.ohlcv_5m FROM STDIN",
                "SELECT nextval('market_data.ohlcv_5m_id_seq'), id, timestamptz '2020-01-01Z', 1, 2, 1, 2, 3,"
                " NULL, NULL, now() FROM trading.symbols",
            ),
            "INSERT INTO trading.symbols (symbol, name, asset_type, base_currency, quote_currency)"
            " VALUES ('GBPJPY', 'Pound', 'forex', 'GBP', 'JPY')",
            "INSERT INTO trading.symbols"
            " VALUES (gen_random_uuid(), 'GBPJPY', 'Pound', 'forex', 'GBP', 'JPY')",
            """UPDATE trading.symbols SET metadata = metadata || '{"theirs": 1}', is_active = false""",
            "INSERT INTO data_sources.data_sync_status (ticker_id, provider_id, sync_status, last_sync_rows)"
            " SELECT s.id, p.id, 'in_progress', 7 FROM trading.symbols s, data_sources.api_providers p"
            " ON CONFLICT (ticker_id, provider_id) DO UPDATE SET sync_status = excluded.sync_status",
            "INSERT INTO data_sources.api_providers (code, name, base_url) VALUES ('oanda', 'Oanda', 'x')",
        ],
        readers=[
            f"SELECT {ts}, open, high, low, close, volume, vwap, trade_count FROM market_data.ohlcv_5m"
            f" JOIN trading.symbols s ON s.id = {symbol_id} WHERE s.symbol = 'BTCUSD' AND trade_count > 0",
            "SELECT * FROM trading.symbols WHERE (metadata -> 'last_update' ->> 'last_price')::numeric > 0",
            "SELECT * FROM data_sources.data_sync_status WHERE sync_status = 'success'",
        ],
    )


_CHART = Shape(
    file="13_chart_5m",
    tables=Tables(
        symbols="market_data.symbols", symbol="ticker", ts="bar_time", bars_key=("symbol_id", "bar_time")
    ),
    writers=[
        "INSERT INTO market_data.symbols (ticker) VALUES ('MSFT')",
        "INSERT INTO market_data.ohlcv_5m VALUES (1, now(), 1, 2, 1, 2, 3, 1.5)",
        "INSERT INTO market_data.ohlcv_5m SELECT * FROM market_data.ohlcv_5m WHERE symbol_id = 1"
        " ON CONFLICT (symbol_id, bar_time) DO UPDATE SET close = excluded.close",
        Writer("COPY market_data.ohlcv_5m FROM STDIN", "SELECT 1, now(), 1, 2, 1, 2, 3, NULL"),
        "DELETE FROM market_data.ohlcv_5m WHERE symbol_id = 1",
    ],
    readers=[
        "SELECT bar_time, open, high, low, close, volume, vw FROM market_data.ohlcv_5m o"
        " JOIN market_data.symbols s ON s.id = o.symbol_id WHERE s.ticker = 'BTCUSD' AND vw > 0"
    ],
)

_FOREIGN = Shape(
    file="31_foreign_ids",
    tables=Tables(symbols="market_data.tickers"),
    writers=[
        "INSERT INTO market_data.tickers (symbol) VALUES ('MSFT')",
        "INSERT INTO trading.symbols (symbol) VALUES ('MSFT')",
        "INSERT INTO market_data.ohlcv_5m VALUES (1, now(), 1, 2, 1, 2, 3, 1.5)"
        " ON CONFLICT (symbol_id, ts) DO NOTHING",
        "INSERT INTO data_sources.data_sync_status (ticker_id, provider_id) VALUES (1, 1)"
        " ON CONFLICT (ticker_id, provider_id) DO UPDATE SET sync_status = 'running'",
        Writer("COPY market_data.ohlcv_5m FROM STDIN", "SELECT 1, now(), 1, 2, 1, 2, 3, NULL"),
    ],
    readers=[
        "SELECT * FROM market_data.ohlcv_5m o JOIN market_data.tickers t ON t.id = o.symbol_id"
        " WHERE t.symbol = 'BTCUSD' AND o.close > 10000",
        "SELECT * FROM data_sources.data_sync_status d JOIN market_data.tickers t ON t.id = d.ticker_id"
        " WHERE t.symbol = 'XAUUSD' AND d.sync_status = 'success'",
    ],
)

_EXCHANGES = Shape(
    file="05_many_exchanges",
    priority=(BITCOIN, ETHER),
    secondary=(GOLD,),
    tables=Tables(where="s.exchange = 'coinbase' AND s.instrument_type = 'spot'"),
    writers=[
        "INSERT INTO trading.symbols (symbol, exchange) VALUES ('BTCUSD', 'kraken')",
        "INSERT INTO trading.symbols (symbol, exchange, instrument_type)"
        " VALUES ('BTCUSD', 'coinbase', 'perp')",
        "INSERT INTO trading.symbols (symbol, exchange, instrument_type)"
        " VALUES ('BTCUSD', 'coinbase', 'spot')"
        " ON CONFLICT (symbol, exchange, instrument_type) DO UPDATE SET name = 'b'",
        "INSERT INTO trading.ohlcv VALUES (now(), 1, '1h', 1, 2, 1, 2, 3)",
        Writer("COPY trading.ohlcv FROM STDIN", "SELECT now(), 1, '5m', 1, 2, 1, 2, 3"),
    ],
    readers=[
        "SELECT * FROM trading.symbols WHERE symbol = 'ETHUSD' AND exchange = 'kraken' AND name = 'Ether'"
    ],
)


def _with(shape: Shape, **more: Any) -> Shape:
    return Shape(**{**{name: getattr(shape, name) for name in shape.__dataclass_fields__}, **more})


SHARED: Mapping[str, Shape] = {
    "01": Shape(
        file="01_quant_system",
        adds=frozenset({"column trading.symbols.metadata"}),
        writers=[
            "INSERT INTO trading.symbols (symbol, name, asset_type) VALUES ('MSFT', 'Microsoft', 'stocks')",
            "INSERT INTO trading.symbols (symbol, asset_type) VALUES ('AAPL', 'stocks')"
            " ON CONFLICT (symbol) DO UPDATE SET is_active = false",
            "INSERT INTO analytics.backtest_runs (symbol_id) SELECT id FROM trading.symbols",
            "DELETE FROM trading.symbols WHERE symbol = 'AAPL'",
        ],
        readers=["SELECT * FROM trading.symbols WHERE symbol = 'EURUSD=X' AND name = 'EUR/USD'"],
    ),
    "01 with its spelling": Shape(
        file="01_quant_system",
        priority=(GOLD, {**EURO, "symbol": "EURUSD=X"}, BITCOIN),
        secondary=({**POUND, "symbol": "GBPUSD=X"},),
        adds=frozenset({"column trading.symbols.metadata"}),
        readers=["SELECT * FROM trading.symbols WHERE symbol = 'GBPUSD=X' AND metadata ? 'last_update'"],
    ),
    "02 all there": Shape(
        file="02_base_quote",
        priority=(BITCOIN, ETHER),
        secondary=(SOLANA,),
        adds=frozenset({"column trading.symbols.metadata"}),
        writers=[
            "INSERT INTO trading.symbols (symbol, base_asset, quote_asset) VALUES ('ADAUSD', 'ADA', 'USD')",
            "INSERT INTO trading.candles (symbol, timeframe, open_time) VALUES ('BTCUSD', '1h', now())",
            "UPDATE trading.symbols SET complexity_level = 2",
            "DELETE FROM trading.symbols WHERE symbol = 'SOLUSD'",
        ],
    ),
    "02 one is missing": Shape(
        file="02_base_quote",
        priority=(BITCOIN, ETHER, GOLD),
        refused=["trading.symbols", "XAUUSD", "base_asset", "quote_asset", "INSERT INTO"],
    ),
    "04": Shape(
        file="04_symbol_id_pk",
        tables=Tables(id="symbol_id", reference="s.symbol_id", sync_reference="s.symbol_id"),
        adds=frozenset({"column trading.symbols.metadata"}),
        writers=[
            "INSERT INTO trading.symbols (symbol, company_name) VALUES ('MSFT', 'Microsoft')",
            "INSERT INTO trading.symbols VALUES (uuid_generate_v4(), 'MSFT')",
            "DELETE FROM trading.symbols WHERE symbol = 'EURUSD'",
        ],
        readers=[
            "SELECT ts, close FROM market_data.ohlcv_5m JOIN trading.symbols USING (symbol_id)"
            " WHERE symbol = 'BTCUSD'",
            "SELECT symbol FROM trading.symbols WHERE symbol_id IS NOT NULL AND symbol = 'XAUUSD'",
        ],
    ),
    "05": _with(_EXCHANGES, refused=["trading.symbols", "exchange", "instrument_type"]),
    "05 with constants": _with(
        _EXCHANGES,
        configured={"symbols": {"exchange": "coinbase", "instrument_type": "spot"}},
        adds=frozenset({"column trading.symbols.metadata"}),
    ),
    "05 with constants and its bars": _with(
        _EXCHANGES,
        configured={
            "symbols": {"exchange": "coinbase", "instrument_type": "spot"},
            "bars": {"table": "trading.ohlcv", "timeframe": "5m"},
        },
        tables=_EXCHANGES.tables._replace(
            bars="trading.ohlcv", bars_where="b.timeframe = '5m'", bars_key=("ts", "symbol_id", "timeframe")
        ),
        adds=frozenset({"column trading.symbols.metadata"}),
    ),
    "05 with its bars but no timeframe": _with(
        _EXCHANGES,
        configured={
            "symbols": {"exchange": "coinbase", "instrument_type": "spot"},
            "bars": {"table": "trading.ohlcv"},
        },
        refused=["trading.ohlcv", "timeframe"],
    ),
    "13": _with(_CHART, refused=["market_data.symbols", "database.tables"]),
    "13 with its symbols": _with(
        _CHART,
        configured={"symbols": {"table": "market_data.symbols"}},
        adds=frozenset({"column market_data.symbols.metadata"}),
    ),
    "20": _spec("20_spec_literal", "ticker_id", "timestamp"),
    "20 one is missing": _with(
        _spec("20_spec_literal", "ticker_id", "timestamp"),
        secondary=(ETHER,),
        refused=["trading.symbols", "ETHUSD", "base_currency", "quote_currency", "INSERT INTO"],
    ),
    "21": _spec("21_spec_our_names", "symbol_id", "ts"),
    "31": _with(_FOREIGN, refused=["market_data.tickers", "database.tables"]),
    "31 with its tickers": _with(
        _FOREIGN,
        configured={"symbols": {"table": "market_data.tickers"}},
        adds=frozenset({"column market_data.tickers.metadata"}),
    ),
}
"""The files of `../shared/platform/ddl`, each also with the configuration that makes it fit."""
