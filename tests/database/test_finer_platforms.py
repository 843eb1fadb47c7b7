"""A platform's own tables of minutes and of days: whatever their columns, what came is found there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import NamedTuple

import msgspec
import pytest

from assetbatch.commands.init import look_at
from assetbatch.config.tables import TableMapping, TableMappings
from assetbatch.database import Store
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.models import BAR_MS, Bar, Changes, CoveredInterval, DayBar, IntervalState
from assetbatch.errors import SchemaRefusedError

from .conftest import Sql, asset

NOW_MS = 1_760_000_100_000
START_MS = NOW_MS - NOW_MS % 86_400_000 - 2 * 86_400_000
MINUTE_MS = 60_000
DAY = date(2025, 10, 6)


class Shape(NamedTuple):
    """Columns before and after the prices of type `price`; `{ts}` is the type of the key's moment."""

    ddl: str
    mapping: TableMapping = TableMapping()
    start: str = "ts"
    """A minute's start as timestamptz."""
    before: str = ""
    values: tuple[object, ...] = (2.5, 1.125, 3)
    """Volume, average and trades, as they are stored."""


PRICES = "open {0} NOT NULL, high {0} NOT NULL, low {0} NOT NULL, close {0} NOT NULL"
FLOATS = PRICES.format("float8")
KEY = "symbol_id bigint NOT NULL, {ts} NOT NULL, PRIMARY KEY (symbol_id, {key})"
VALUES = "volume float8, vwap float8, trades bigint"

SHAPES = {
    "domains that take no NULL": Shape(
        "symbol market_data.code, {ts}, open market_data.price, high market_data.price,"
        " low market_data.price, close market_data.price, volume numeric, vwap numeric(18,4), trades int,"
        " source market_data.code, PRIMARY KEY (symbol, {key})",
        before="CREATE DOMAIN market_data.price AS numeric(18,8) NOT NULL CHECK (value > 0);"
        "CREATE DOMAIN market_data.code AS text NOT NULL DEFAULT 'polygon'",
    ),
    "neither volume nor average nor trades": Shape(f"{KEY}, {FLOATS}", values=()),
    "a volume that takes no NULL": Shape(
        f"{KEY}, {FLOATS}, volume numeric(20,2) NOT NULL, vwap float8, trades smallint",
        TableMapping(missing={"volume": 0}),
    ),
    "single precision": Shape(f"{KEY}, {PRICES.format('real')}, volume real, vwap real, trades int"),
    "trades that are no integer": Shape(f"{KEY}, {FLOATS}, volume float8, vwap float8, trades numeric(12,1)"),
    "a length and an exchange in the key": Shape(
        f"symbol_id bigint, {{ts}}, timeframe text NOT NULL DEFAULT '1s', exchange text NOT NULL, {FLOATS},"
        f" {VALUES}, PRIMARY KEY (symbol_id, exchange, timeframe, {{key}})",
        TableMapping(constants={"timeframe": "{word}", "exchange": "fx"}),
    ),
    "columns that the server makes": Shape(
        f"id bigint GENERATED ALWAYS AS IDENTITY, {KEY}, {FLOATS}, {VALUES},"
        " mid float8 GENERATED ALWAYS AS ((high + low) / 2) STORED, created_at timestamptz DEFAULT now()"
    ),
    "the configured ticker": Shape(
        f"ticker varchar(20) NOT NULL, {{ts}} NOT NULL, {FLOATS}, {VALUES}, PRIMARY KEY (ticker, {{key}})",
        TableMapping(instrument="polygon_ticker"),
    ),
    "names of an ORM": Shape(
        '"symbolId" bigint, {ts}, "open" float8, "high" float8, "low" float8, "user" float8, "Vol %" float8,'
        ' vwap float8, trades bigint, PRIMARY KEY ("symbolId", {key})',
        TableMapping(columns={"close": "user", "volume": "Vol %"}),
    ),
    "naive moments": Shape(
        f"{KEY}, {FLOATS}, {VALUES}".replace("timestamptz", "timestamp"), start="ts AT TIME ZONE 'UTC'"
    ),
}


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> Shape:
    return SHAPES[request.param]


@contextmanager
def adopted(database_url: str, sql: Sql, shape: Shape, table: str) -> Iterator[Store]:
    """A store after `init`, where the platform has this table."""
    sql(f"CREATE SCHEMA market_data; {shape.before}")
    key, word = ("ts", "1m") if table == "ohlcv_1m" else ("day", "1d")
    moment = ("ts timestamp" if "UTC" in shape.start else "ts timestamptz") if key == "ts" else "day date"
    sql(f"CREATE TABLE market_data.{table} ({shape.ddl.format(ts=moment, key=key)})")
    constants = {name: str(value).format(word=word) for name, value in shape.mapping.constants.items()}
    mapping = msgspec.structs.replace(shape.mapping, constants=constants)
    mappings = TableMappings(**{f"bars_{word}": mapping})
    with Store.open(
        database_url, check_schema=False, mappings=mappings, tickers=lambda: {"EURUSD": "C:EURUSD"}
    ) as store:
        store.initialise(mappings, [asset("EURUSD")])
        yield store


def columns(sql: Sql, table: str, start: str, shape: Shape) -> list[tuple[float, ...]]:
    """Start and values of each row, as numbers."""
    close, volume = (shape.mapping.columns.get(name, name) for name in ("close", "volume"))
    further = f', "{volume}", vwap, trades' if shape.values else ""
    rows = sql(f'SELECT {start}, open, high, low, "{close}"{further} FROM market_data.{table} ORDER BY 1')
    return [tuple(round(float(value), 6) for value in row) for row in rows]


def written(sql: Sql, table: str) -> list[tuple[object, ...]]:
    return sql(f"SELECT xmin::text, ctid::text FROM market_data.{table} ORDER BY 1, 2")


def minute(number: int, close: float, volume: float | None = 2.5) -> Bar:
    return Bar(START_MS + number * MINUTE_MS, 1.125, 9.0, 1.0, close, volume, 1.125, 3)


def minutes(some: Sequence[Bar], asked_ms: int = NOW_MS) -> Changes:
    interval = CoveredInterval(START_MS, START_MS + 2 * BAR_MS, IntervalState.ASKED, asked_ms)
    return Changes(
        bars={"EURUSD": some},
        coverage={"EURUSD": [interval]},
        asked_ms={"EURUSD": asked_ms},
        minutes={"EURUSD"},
    )


def test_minutes_are_found_there_and_give_the_bars(database_url: str, sql: Sql, shape: Shape) -> None:
    start = f"(extract(epoch FROM {shape.start}) * 1000)::int8 - {START_MS}"
    with adopted(database_url, sql, shape, "ohlcv_1m") as store:
        first = [minute(n, 1.5) for n in (0, 3, 4, 6)]
        assert store.save(minutes(first), NOW_MS).rejected == {}
        assert columns(sql, "ohlcv_1m", start, shape) == [
            (n * MINUTE_MS, 1.125, 9.0, 1.0, 1.5, *shape.values) for n in (0, 3, 4, 6)
        ]
        before = written(sql, "ohlcv_1m"), written(sql, "ohlcv_5m")
        assert store.save(minutes(first, NOW_MS + 1), NOW_MS + 1).bars_changed == 0
        assert (written(sql, "ohlcv_1m"), written(sql, "ohlcv_5m")) == before
        assert store.save(minutes([minute(4, 1.75)], NOW_MS + 2), NOW_MS + 2).bars_changed == 1
    bars = sql("SELECT high, low, close, volume, vwap, trades FROM market_data.ohlcv_5m ORDER BY ts")
    summed = [(7.5, 1.125, 9), (2.5, 1.125, 3)] if shape.values else [(None, None, None)] * 2
    assert bars == [(9.0, 1.0, 1.75, *summed[0]), (9.0, 1.0, 1.5, *summed[1])]


def test_days_are_found_there(database_url: str, sql: Sql, shape: Shape) -> None:
    def day(close: float) -> Changes:
        return Changes(days={"EURUSD": [DayBar(DAY, 1.125, 9.0, 1.0, close, 2.5, 1.125, 3)]})

    start = f"day - '{DAY}'"
    with adopted(database_url, sql, shape, "ohlcv_1d") as store:
        assert store.save(day(1.5), NOW_MS).rejected == {}
        assert columns(sql, "ohlcv_1d", start, shape) == [(0, 1.125, 9.0, 1.0, 1.5, *shape.values)]
        before = written(sql, "ohlcv_1d")
        store.save(day(1.5), NOW_MS + 1)
        assert written(sql, "ohlcv_1d") == before
        store.save(day(1.75), NOW_MS + 2)
        assert columns(sql, "ohlcv_1d", start, shape)[0][4] == 1.75


class TestOneTableOfAllSizes:
    SIZES = (
        f"CREATE SCHEMA market_data; CREATE TABLE market_data.ohlcv_5m (symbol_id bigint, ts timestamptz,"
        f" timeframe text, {FLOATS}, {VALUES}, PRIMARY KEY (symbol_id, timeframe, ts))"
    )
    SAME = "market_data.ohlcv_5m"

    def test_holds_minutes_and_bars_where_its_key_tells_them_apart(self, database_url: str, sql: Sql) -> None:
        sql(self.SIZES)
        mappings = TableMappings(
            bars=TableMapping(constants={"timeframe": "5m"}),
            bars_1m=TableMapping(table=self.SAME, constants={"timeframe": "1m"}),
        )
        with Store.open(database_url, check_schema=False, mappings=mappings) as store:
            store.initialise(mappings, [asset("EURUSD")])
            store.save(minutes([minute(0, 1.5), minute(7, 1.75)]), NOW_MS)
        found = sql(
            f"SELECT timeframe, (extract(epoch FROM ts) * 1000)::int8 - {START_MS}, close FROM {self.SAME}"
            " ORDER BY 1, 2"
        )
        assert found == [
            ("1m", 0, 1.5),
            ("1m", 7 * MINUTE_MS, 1.75),
            ("5m", 0, 1.5),
            ("5m", BAR_MS, 1.75),
        ]

    @pytest.mark.parametrize("one", [{}, {"timeframe": "5m"}], ids=["no length", "one length"])
    def test_is_refused_where_nothing_tells_them_apart(
        self, empty: Store, sql: Sql, one: dict[str, str]
    ) -> None:
        sql(self.SIZES if one else self.SIZES.replace("timeframe, ts", "ts"))
        mappings = TableMappings(
            bars=TableMapping(constants=one), bars_1m=TableMapping(table=self.SAME, constants=one)
        )
        with pytest.raises(SchemaRefusedError, match="five minutes and of one minute") as caught:
            empty.initialise(mappings, [])
        assert "set database.tables.bars_1m.table to another name" in caught.value.message


@pytest.mark.parametrize("kind", ["VIEW", "MATERIALIZED VIEW"])
def test_a_view_of_the_bars_is_refused_with_another_place(store: Store, sql: Sql, kind: str) -> None:
    """The bars that it reads from are no table of days."""
    sql("DROP TABLE market_data.ohlcv_1d; DELETE FROM data_sources.assetbatch_names")
    sql(f"CREATE {kind} market_data.ohlcv_1d AS SELECT symbol_id, ts::date AS day FROM market_data.ohlcv_5m")
    with pytest.raises(SchemaRefusedError) as caught:
        store.initialise(TableMappings(), [])
    assert caught.value.message.endswith(
        "(hint: set database.tables.bars_1d.table to another name, which init makes)"
    )


def test_what_a_table_of_minutes_refuses_is_told_beforehand(empty: Store, sql: Sql) -> None:
    """Of the assets that keep minutes only."""
    sql(
        "CREATE SCHEMA market_data; CREATE TABLE market_data.ohlcv_1m (symbol_id bigint, ts timestamptz,"
        f" {PRICES.format('numeric(8,5)')}, {VALUES}, PRIMARY KEY (symbol_id, ts)) PARTITION BY RANGE (ts);"
        "CREATE TABLE market_data.old PARTITION OF market_data.ohlcv_1m"
        " FOR VALUES FROM (MINVALUE) TO ('2024-01-01Z')"
    )
    bitcoin = asset("BTCUSD", asset_type=AssetType.CRYPTO)
    minutely = msgspec.structs.replace(bitcoin, bars=BarSize.ONE_MINUTE)
    empty.initialise(TableMappings(), [bitcoin])
    assert look_at(empty, [bitcoin]) == []
    told = [concern.message for concern in look_at(empty, [minutely])]
    assert told[0].startswith("market_data.ohlcv_1m: ")
    assert "are numeric(8,5): 1,000 and more is refused, which BTCUSD may reach" in told[0]
    assert told[-1].startswith("market_data.ohlcv_1m has no partition for BTCUSD in")
