"""What the tables mean for the configured assets, and what a column can hold: values in, values out."""

from __future__ import annotations

import pytest

from assetbatch.config.tables import TABLES
from assetbatch.database.columns import BarColumns, Column
from assetbatch.database.names import OWN
from assetbatch.database.shape import Concern, Shape, concerns
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.models import Bar
from assetbatch.domain.units import DAY_MS

TABLE = "market_data.ohlcv_5m"

NOW_MS = 1_796_000_000_000
BTC = Asset(symbol="BTCUSD", polygon_ticker="X:BTCUSD", asset_type=AssetType.CRYPTO)
SHIB = Asset(symbol="SHIBUSD", polygon_ticker="X:SHIBUSD", asset_type=AssetType.CRYPTO)
EURO = Asset(symbol="EURUSD", polygon_ticker="C:EURUSD", asset_type=AssetType.FOREX)


def modifier(precision: int, scale: int) -> int:
    return (precision << 16 | scale & 0x7FF) + 4


def numeric(precision: int, scale: int, name: str = "close", *, not_null: bool = False) -> Column:
    return Column(name, f"numeric({precision},{scale})", "numeric", modifier(precision, scale), not_null)


def table_columns(**types: Column) -> list[Column]:
    """The table of bars of our own, with other types for some columns."""
    own = [Column(name, "double precision", "double precision", -1, False) for name in TABLES["bars"]]
    return [types.get(column.name, column) for column in own]


def said(columns: list[Column], assets: list[Asset], **prices: float) -> list[str]:
    return [concern.message for concern in concerns(Shape(columns, {}, OWN.bars), assets, prices, NOW_MS)]


class TestColumn:
    @pytest.mark.parametrize(
        ("precision", "scale", "fits", "refused"),
        [
            (10, 5, 99_999.99999, 99_999.999995),
            (10, 4, 999_999.9999, 1e6),
            (5, 0, 99_999.4, 99_999.5),
            (3, -2, 99_949.0, 99_950.0),
        ],
    )
    def test_the_largest_value_of_a_numeric(
        self, precision: int, scale: int, fits: float, refused: float
    ) -> None:
        columns = BarColumns([numeric(precision, scale)])
        assert columns.rejected([Bar(0, 1.0, 1.0, 1.0, fits)]) == {}
        assert "cannot hold" in columns.rejected([Bar(0, 1.0, 1.0, 1.0, refused)])[0].error

    def test_the_smallest_price_of_a_numeric(self) -> None:
        columns = BarColumns([numeric(10, 4)])
        assert columns.rejected([Bar(0, 1.0, 1.0, 1.0, 0.00005)]) == {}
        refused = columns.rejected([Bar(300_000, 1.0, 1.0, 1.0, 0.000049)])
        assert refused[300_000].error == f"{TABLE}.close (numeric(10,4)) would round 4.9e-05 to 0"

    @pytest.mark.parametrize(("base", "most"), [("smallint", 2**15 - 1), ("integer", 2**31 - 1)])
    def test_the_most_trades(self, base: str, most: int) -> None:
        columns = BarColumns([Column("trades", base, base, -1, False)])
        assert columns.rejected([Bar(0, 1.0, 1.0, 1.0, 1.0, None, None, most)]) == {}
        assert columns.rejected([Bar(0, 1.0, 1.0, 1.0, 1.0, None, None, most + 1)])

    def test_our_own_types_refuse_nothing_and_take_binary_copies(self) -> None:
        own = [Column("close", "double precision", "double precision", -1, True)]
        own += [Column("trades", "bigint", "bigint", -1, False)]
        own += [Column("ts", "timestamp with time zone", "timestamp with time zone", -1, True)]
        columns = BarColumns(own)
        assert columns.form == "binary"
        assert columns.rejected([Bar(0, 1e308, 1e308, 5e-324, 5e-324, None, None, 2**63 - 1)]) == {}

    def test_another_type_or_a_domain_takes_text(self) -> None:
        assert BarColumns([numeric(18, 8)]).form == "text"
        assert BarColumns([Column("close", "public.price", "double precision", -1, True)]).form == "text"


class TestConcerns:
    def test_tables_of_our_own_are_well(self) -> None:
        assert said(table_columns(), [BTC, EURO]) == []

    def test_the_usual_fixed_point_columns_are_well(self) -> None:
        assert said(table_columns(close=numeric(18, 8), volume=numeric(24, 8, "volume")), [BTC, SHIB]) == []

    def test_a_narrow_column_is_named_with_the_assets_that_it_concerns(self) -> None:
        (narrow, _) = said(table_columns(close=numeric(10, 5), open=numeric(10, 5, "open")), [BTC, EURO])
        assert narrow == (
            f"{TABLE}: open, close are numeric(10,5): 100,000 and more is refused, which BTCUSD may reach"
        )

    def test_a_known_price_counts_where_its_class_has_room(self) -> None:
        columns = table_columns(close=numeric(14, 8))
        assert said(columns, [BTC], BTCUSD=97_000.0) == []
        assert "BTCUSD may reach" in said(table_columns(close=numeric(15, 8)), [BTC], BTCUSD=6e6)[0]

    def test_a_coarse_scale_names_those_that_would_be_0(self) -> None:
        (coarse,) = said(table_columns(close=numeric(20, 4)), [BTC, SHIB], SHIBUSD=8.4e-6, BTCUSD=97_000.0)
        assert "numeric(20,4): what is below 5e-05 would be 0" in coarse
        assert "(SHIBUSD)" in coarse

    @pytest.mark.parametrize(
        ("column", "words"),
        [
            (Column("close", "real", "real", -1, False), "close is real: it keeps 6 digits"),
            (Column("trades", "smallint", "smallint", -1, False), "trades is smallint: more than 32,768"),
        ],
    )
    def test_other_narrow_types_are_named(self, column: Column, words: str) -> None:
        (only,) = said(table_columns(**{column.name: column}), [EURO])
        assert words in only

    def test_months_without_a_partition_are_named_for_all_alike(self) -> None:
        past = [NOW_MS - 33 * DAY_MS, NOW_MS - 32 * DAY_MS]
        found: list[Concern] = concerns(
            Shape(table_columns(), {"BTCUSD": past, "EURUSD": past}, OWN.bars), [BTC, EURO, SHIB], {}, NOW_MS
        )
        assert [concern.message for concern in found] == [
            f"{TABLE} has no partition for BTCUSD, EURUSD in 2026-10: such bars are refused"
        ]
        assert not found[0].stops_all

    def test_no_partition_for_now_stops_all(self) -> None:
        (concern,) = concerns(Shape(table_columns(), {"BTCUSD": [NOW_MS]}, OWN.bars), [BTC], {}, NOW_MS)
        assert concern.stops_all
