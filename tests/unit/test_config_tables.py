"""`database.tables`: what a platform calls the tables and their columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from assetbatch.config import Config, load
from assetbatch.config.checking import ConfigProblem
from assetbatch.config.display import effective
from assetbatch.config.mapping import read_tables
from assetbatch.config.tables import TableMapping, TableMappings
from assetbatch.errors import ConfigError

WHOLE = """
database:
  url: embedded
  tables:
    symbols:     {table: trading.symbols, id: symbol_id, symbol: ticker, metadata: extra, exchange: coinbase}
    bars:        {table: market_data.ohlcv_5m, symbol_id: ticker_id, ts: timestamp, trades: trade_count,
                  vwap: null, instrument: symbol, missing: {volume: 0}, source: polygon, level: 5,
                  closed: true}
    providers:   {code: provider_code}
    sync_status: {states: {success: completed, failed: error}}
"""
CONSTANT = "a text, a number, true or false: it is a further column of the platform with this value"
COLUMN = "a column's name of 1 to 63 bytes"


def read(folder: Path, text: str) -> Config:
    (folder / "config.yml").write_text(text, encoding="utf-8")
    return load(None, {}, cwd=folder)


def tables(folder: Path, text: str) -> TableMappings:
    return read(folder, f"database:\n  tables: {{{text}}}").database.tables


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        tables(folder, text)
    prefix, suffix = "config.yml: database.tables", " (line 2)"
    return [line.removeprefix(prefix).removesuffix(suffix) for line in str(caught.value).split("\n")]


def test_names_constants_and_states_are_read(tmp_path: Path) -> None:
    config = read(tmp_path, WHOLE)
    assert config.database.tables == TableMappings(
        symbols=TableMapping(
            table="trading.symbols",
            columns={"id": "symbol_id", "symbol": "ticker", "metadata": "extra"},
            constants={"exchange": "coinbase"},
        ),
        bars=TableMapping(
            table="market_data.ohlcv_5m",
            columns={"symbol_id": "ticker_id", "ts": "timestamp", "trades": "trade_count", "vwap": None},
            constants={"source": "polygon", "level": 5, "closed": True},
            missing={"volume": 0},
            instrument="symbol",
        ),
        providers=TableMapping(columns={"code": "provider_code"}),
        sync_status=TableMapping(states={"success": "completed", "failed": "error"}),
    )
    assert config.database.url is not None


def test_without_it_nothing_is_named_otherwise(tmp_path: Path) -> None:
    for text in (
        "",
        "database:",
        "database: {tables: }",
        "database: {tables: {}}",
        "database: {tables: {bars: }}",
    ):
        assert read(tmp_path, text).database.tables == TableMappings()


def test_a_sandbox_has_tables_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text(WHOLE)
    config = load(None, {}, cwd=tmp_path, sandbox=True)
    assert config.database.tables == TableMappings()
    assert config.origins["database.tables"] == "--sandbox"


def test_every_name_is_shown(tmp_path: Path) -> None:
    lines = [line for line in effective(read(tmp_path, WHOLE)) if line.path.startswith("database.tables")]
    assert {line.origin for line in lines} == {"config.yml database.tables"}
    assert [(line.path.removeprefix("database.tables."), line.value) for line in lines] == [
        ("symbols.table", "trading.symbols"),
        ("symbols.id", "symbol_id"),
        ("symbols.symbol", "ticker"),
        ("symbols.metadata", "extra"),
        ("symbols.exchange", "coinbase"),
        ("bars.table", "market_data.ohlcv_5m"),
        ("bars.symbol_id", "ticker_id"),
        ("bars.ts", "timestamp"),
        ("bars.trades", "trade_count"),
        ("bars.vwap", "null"),
        ("bars.instrument", "symbol"),
        ("bars.source", "polygon"),
        ("bars.level", "5"),
        ("bars.closed", "true"),
        ("bars.missing.volume", "0"),
        ("providers.code", "provider_code"),
        ("sync_status.states.success", "completed"),
        ("sync_status.states.failed", "error"),
    ]


@pytest.mark.parametrize("name", ["Time of Bar", "Zeit\u20ac", 'a"b', "x" * 63])
def test_any_name_that_postgresql_takes_is_a_column(tmp_path: Path, name: str) -> None:
    quoted = name.replace("'", "''")
    assert tables(tmp_path, f"bars: {{ts: '{quoted}'}}").bars.columns == {"ts": name}


@pytest.mark.parametrize("key", ["exchange", "uid", "tz", "mode", "closed", "high_low", "isin", "timeframe"])
def test_a_name_of_its_own_is_a_further_column(tmp_path: Path, key: str) -> None:
    value = 1 if key == "closed" else "x"
    found = tables(tmp_path, f"bars: {{{key}: {value}}}").bars.constants
    assert found == {key: value}


@pytest.mark.parametrize(
    ("table", "typed", "meant"),
    [
        ("bars", "vwp", "vwap"),
        ("bars", "vwaap", "vwap"),
        ("bars", "vawp", "vwap"),
        ("bars", "volum", "volume"),
        ("bars", "tabel", "table"),
        ("bars", "symbol_ids", "symbol_id"),
        ("bars", "missings", "missing"),
        ("symbols", "simbol", "symbol"),
        ("sync_status", "state", "states"),
        ("providers", "codes", "code"),
    ],
)
def test_a_slip_of_one_letter_is_a_mistake(tmp_path: Path, table: str, typed: str, meant: str) -> None:
    (told,) = mistakes(tmp_path, f"{table}: {{{typed}: x}}")
    assert told.startswith(f".{table}.{typed}: unknown key, did you mean {meant}? expected one of table, ")
    assert told.endswith(", or a further column")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bars: 5", ".bars: found a whole number, expected a mapping of names"),
        (
            "bar: {}",
            ".bar: unknown key, did you mean bars? "
            "expected one of symbols, bars, bars_1m, bars_1d, splits, providers, sync_status",
        ),
        (
            "bars_1min: {}",
            ".bars_1min: unknown key, did you mean bars_1m? "
            "expected one of symbols, bars, bars_1m, bars_1d, splits, providers, sync_status",
        ),
        ("bars_1m: {ts: 5}", f".bars_1m.ts: found 5, expected {COLUMN}"),
        ("bars: {table: ohlcv}", ".bars.table: found 'ohlcv', expected SCHEMA.NAME, such as trading.symbols"),
        ("bars: {table: a.b.c}", ".bars.table: found 'a.b.c', expected SCHEMA.NAME, such as trading.symbols"),
        ("bars: {table: .b}", ".bars.table: found '.b', expected SCHEMA.NAME, such as trading.symbols"),
        (
            "bars: {table: }",
            ".bars.table: found nothing (null), expected SCHEMA.NAME, such as trading.symbols",
        ),
        ("bars: {ts: }", f".bars.ts: found nothing (null), expected {COLUMN}"),
        ("bars: {ts: 5}", f".bars.ts: found 5, expected {COLUMN}"),
        ("bars: {ts: ''}", f".bars.ts: found '', expected {COLUMN}"),
        ("bars: {vwap: []}", f".bars.vwap: found a list, expected {COLUMN}, or null for none"),
        (f"bars: {{ts: {'x' * 64}}}", f".bars.ts: found a text that is not shown, expected {COLUMN}"),
        (
            f"bars: {{ts: {'€' * 22}}}",
            f".bars.ts: found a text that is not shown, expected {COLUMN}",
        ),
        ("bars: {instrument: id}", ".bars.instrument: found 'id', expected one of symbol, polygon_ticker"),
        (
            "bars: {missing: 0}",
            ".bars.missing: found a whole number, expected a mapping with the keys volume, vwap, trades",
        ),
        ("bars: {missing: {volume: x}}", ".bars.missing.volume: found 'x', expected a number"),
        (
            "bars: {missing: {volume: 1" + "0" * 400 + "}}",
            ".bars.missing.volume: found a very large number, expected a number",
        ),
        ("bars: {missing: {volume: .inf}}", ".bars.missing.volume: found inf, expected a number"),
        ("bars: {missing: {ts: 0}}", ".bars.missing.ts: unknown key, expected one of volume, vwap, trades"),
        (
            "sync_status: {states: {sucess: ok}}",
            ".sync_status.states.sucess: unknown key, did you mean success? "
            "expected one of success, failed, not_entitled, not_found, no_data",
        ),
        (
            "sync_status: {states: {failed: 1}}",
            ".sync_status.states.failed: found 1, expected the platform's word for it",
        ),
        (
            "symbols: {exchange: }",
            f".symbols.exchange: found nothing (null), expected {CONSTANT}",
        ),
        (
            "symbols: {missing: {volume: 0}}",
            f".symbols.missing: found a mapping, expected {CONSTANT}",
        ),
        (
            "bars: {NO: x}",
            f".bars: found the key false, expected {COLUMN} "
            "(YAML reads NO and yes without quotes as false and true)",
        ),
        (
            "bars: {open: price, close: price}",
            ".bars.close: found the column 'price' again, expected every column once (first as open)",
        ),
        (
            "bars: {source: polygon, ts: source}",
            ".bars.ts: found the column 'source' again, expected every column once (first as source)",
        ),
    ],
)
def test_a_mistake_is_told_with_what_is_allowed(tmp_path: Path, text: str, told: str) -> None:
    assert mistakes(tmp_path, text) == [told]


def test_the_tables_must_be_a_mapping(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"tables: found a list, expected a mapping with the keys symbols, "
    ):
        read(tmp_path, "database: {tables: [bars]}")


def test_a_value_that_a_hint_left_open_is_no_constant() -> None:
    mistakes: list[ConfigProblem] = []
    read_tables({"bars": {"source": "..."}}, ("database", "tables"), mistakes)
    assert ["found '...'" in mistake.text for mistake in mistakes] == [True]
