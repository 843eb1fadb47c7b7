"""What the columns and partitions of bars mean for the configured assets beforehand. Whether the tables can be
used at all is the plan's matter (`adoption`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from assetbatch.assets import Asset, AssetType
from assetbatch.hours import from_ms
from assetbatch.store import placing
from assetbatch.store.columns import PRICES, TABLE, Column
from assetbatch.store.connection import Connection
from assetbatch.store.statements import statement
from assetbatch.words import listed

DAY_MS = 86_400_000
DAYS_BACK = 34
"""Days of bars that the first call of an asset brings."""
DAYS_AHEAD = 7
"""Days before the end of the last partition that its end is spoken of."""
MOST_SYMBOLS = 200
"""Maximum number of symbols whose partitions are looked at: a table by symbols is rare."""

LARGEST_PRICE = {AssetType.FOREX: 50_000.0, AssetType.CRYPTO: 500_000.0}
LARGEST_VOLUME = {AssetType.FOREX: 1e6, AssetType.CRYPTO: 1e9}
"""What a column should be able to hold, by class: prices of 2026 with room for a few years."""
SCALE = {AssetType.FOREX: 5, AssetType.CRYPTO: 8}
"""Digits after the point that prices of a class have."""


class TableColumn(NamedTuple):
    """A column of one of the owner's tables; `filled_in` where the table gives a value, `generated` where
    nobody else may."""

    table: str
    name: str
    type: str
    base: str
    modifier: int
    not_null: bool
    filled_in: bool
    generated: bool


class Shape(NamedTuple):
    """The columns, and the moments (ms) around now that no partition takes, by symbol."""

    columns: Sequence[TableColumn]
    unplaced: Mapping[str, Sequence[int]]


class Concern(NamedTuple):
    """Something about the tables that keeps data out; of all symbols if `stops_all`."""

    message: str
    hint: str
    stops_all: bool = False


def shape(connection: Connection, symbols: Sequence[str], now_ms: int) -> Shape:
    """Look at the tables; changes nothing. Raises psycopg.Error."""
    columns = [TableColumn(*row) for row in connection.execute(statement("columns"))]
    days = [now_ms + day * DAY_MS for day in range(-DAYS_BACK, DAYS_AHEAD + 1)]
    unplaced = placing.unplaced(connection, list(symbols)[:MOST_SYMBOLS], days)
    return Shape(columns, unplaced)


def concerns(
    found: Shape, assets: Iterable[Asset], prices: Mapping[str, float], now_ms: int
) -> list[Concern]:
    """What the tables will refuse, spoil or lack for these assets; `prices` are the last ones where known."""
    with_bars = [asset for asset in assets if asset.bars]
    return [
        *_of_types(found.columns, with_bars, prices),
        *_of_partitions(found.unplaced, with_bars, now_ms),
    ]


def _of_types(
    columns: Sequence[TableColumn], assets: Sequence[Asset], prices: Mapping[str, float]
) -> list[Concern]:
    """One concern for each kind of trouble and type, with the columns of that type."""
    said: dict[tuple[str, str], list[str]] = {}
    for column in columns:
        if column.table == TABLE:
            for what, hint in _of_type(column, assets, prices):
                said.setdefault((f"{column.type}: {what}", hint), []).append(column.name)
    return [
        Concern(f"{TABLE}: {', '.join(names)} {'is' if len(names) == 1 else 'are'} {what}", hint)
        for (what, hint), names in said.items()
    ]


def _of_type(
    column: TableColumn, assets: Sequence[Asset], prices: Mapping[str, float]
) -> list[tuple[str, str]]:
    limits = Column(column.name, column.type, column.base, column.modifier, column.not_null)
    is_price = column.name in PRICES
    found = []
    if column.base == "real":
        found.append(("it keeps 6 digits, what is finer is rounded", _wider("double precision")))
    elif limits.most is not None and column.name == "trades" and column.base != "bigint":
        found.append((f"more than {limits.most:,.0f} trades of a bar are refused", _wider("bigint")))
    elif limits.most is not None and (is_price or column.name == "volume"):
        largest = LARGEST_PRICE if is_price else LARGEST_VOLUME
        narrow = [asset for asset in assets if limits.most <= _needed(asset, largest, prices, is_price)]
        if narrow:
            what = f"{round(limits.most):,} and more is refused, which {_names(narrow)} may reach"
            found.append((what, _wider("double precision")))
    if is_price and limits.scale is not None and limits.least is not None:
        lost = [asset for asset in assets if 0 < prices.get(asset.symbol, 1.0) < limits.least]
        coarse = [asset for asset in assets if limits.scale < SCALE[asset.asset_type]]
        if lost or coarse:
            what = f"what is below {limits.least:g} would be 0 and is refused, finer digits are rounded"
            coarse.sort(key=lambda asset: -SCALE[asset.asset_type])
            found.append((f"{what} ({_names(lost or coarse)})", _wider("double precision")))
    return found


def _needed(
    asset: Asset, largest: Mapping[AssetType, float], prices: Mapping[str, float], is_price: bool
) -> float:
    known = prices.get(asset.symbol) if is_price else None
    return largest[asset.asset_type] if known is None else max(2 * known, largest[asset.asset_type])


def _wider(type_name: str) -> str:
    return f"ALTER TABLE {TABLE} ALTER COLUMN ... TYPE {type_name}, then run assetbatch init"


def _names(assets: Sequence[Asset]) -> str:
    return listed([asset.symbol for asset in assets])


def _of_partitions(
    unplaced: Mapping[str, Sequence[int]], assets: Sequence[Asset], now_ms: int
) -> list[Concern]:
    """The months without a partition, together for all symbols of which they are the same."""
    alike: dict[tuple[str, ...], list[Asset]] = {}
    for asset in assets:
        if moments := unplaced.get(asset.symbol):
            months = tuple(month for month, _ in groupby(f"{from_ms(at_ms):%Y-%m}" for at_ms in moments))
            alike.setdefault(months, []).append(asset)
    return [
        Concern(
            f"{TABLE} has no partition for {_names(some)} in {', '.join(months)}: such bars are refused",
            "add the partitions, then run assetbatch init",
            stops_all=all(now_ms in unplaced[asset.symbol] for asset in some) and len(some) == len(assets),
        )
        for months, some in alike.items()
    ]
