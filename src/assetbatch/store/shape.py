"""What the owner's tables are like, and what that means for the configured assets beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec

from assetbatch.assets import Asset, AssetType
from assetbatch.hours import from_ms
from assetbatch.store import placing
from assetbatch.store.columns import PRICES, Column
from assetbatch.store.connection import Connection
from assetbatch.store.names import Names, Table
from assetbatch.words import listed

DAY_MS = 86_400_000
DAYS_BACK = 34
"""Days of bars that the first call of an asset brings."""
DAYS_AHEAD = 7
"""Days before the end of the last partition that its end is spoken of."""
MOST_SYMBOLS = 200
"""Maximum number of symbols whose partitions are looked at: a table by symbols is rare."""

_FILLED_IN = {"id"}
"""Of these, those that the table may fill in by itself."""

LARGEST_PRICE = {AssetType.FOREX: 50_000.0, AssetType.CRYPTO: 500_000.0}
LARGEST_VOLUME = {AssetType.FOREX: 1e6, AssetType.CRYPTO: 1e9}
"""What a column should be able to hold, by class: prices of 2026 with room for a few years."""
LARGEST_TRADES = 10_000_000
"""Trades of a bar that a column should be able to hold."""
SCALE = {AssetType.FOREX: 5, AssetType.CRYPTO: 8}
"""Digits after the point that prices of a class have."""


class TableColumn(NamedTuple):
    """A column of one of the owner's tables, `key` as in the configuration; `ours` is our name of it where it
    is read or written. `filled_in` where the table gives a value, `generated` where nobody else may."""

    key: str
    table: str
    name: str
    ours: str | None
    type: str
    base: str
    modifier: int
    not_null: bool
    filled_in: bool
    generated: bool


class Shape(NamedTuple):
    """The columns, the moments (ms) around now that no partition takes, by symbol, and the names."""

    columns: Sequence[TableColumn]
    unplaced: Mapping[str, Sequence[int]]
    names: Names


class Concern(NamedTuple):
    """Something about the tables that keeps data out; of all symbols if `stops_all`."""

    message: str
    hint: str
    stops_all: bool = False


def shape(connection: Connection, symbols: Sequence[str], now_ms: int) -> Shape:
    """Look at the tables; changes nothing. Raises psycopg.Error."""
    columns = [TableColumn(*row) for row in connection.execute(connection.statements("columns"))]
    days = [now_ms + day * DAY_MS for day in range(-DAYS_BACK, DAYS_AHEAD + 1)]
    unplaced = placing.unplaced(connection, list(symbols)[:MOST_SYMBOLS], days)
    return Shape(columns, unplaced, connection.statements.names)


def concerns(
    found: Shape, assets: Iterable[Asset], prices: Mapping[str, float], now_ms: int
) -> list[Concern]:
    """What the tables will refuse, spoil or lack for these assets; `prices` are the last ones where known."""
    with_bars = [asset for asset in assets if asset.bars]
    return [
        *_of_missing(found),
        *_of_foreign(found.columns),
        *_of_types(found, with_bars, prices),
        *_of_partitions(found, with_bars, now_ms),
    ]


def _of_missing(found: Shape) -> list[Concern]:
    there = {(column.key, column.name) for column in found.columns}
    return [
        Concern(f"{table.place} has no column {name}", "restore it: every start needs it", stops_all=True)
        for key, table in msgspec.structs.asdict(found.names).items()
        if isinstance(table, Table) and any(column.key == key for column in found.columns)
        for name in sorted(table.columns.values())
        if (key, name) not in there
    ]


def _of_foreign(columns: Sequence[TableColumn]) -> list[Concern]:
    found = []
    for column in columns:
        place = f"{column.table}.{column.name}"
        if column.ours and column.generated and column.ours not in _FILLED_IN:
            hint = "make it an ordinary column"
            found.append(Concern(f"{place} is generated: nothing can be stored in it", hint, stops_all=True))
        if column.ours or not column.not_null or column.filled_in or column.key == "providers":
            continue
        only_new = column.key == "symbols"
        found.append(
            Concern(
                f"{place} is NOT NULL without a default: no {'asset' if only_new else 'row'} can be added",
                f"ALTER TABLE {column.table} ALTER COLUMN {column.name} SET DEFAULT ...",
                stops_all=not only_new,
            )
        )
    return found


def _of_types(shape: Shape, assets: Sequence[Asset], prices: Mapping[str, float]) -> list[Concern]:
    """One concern for each kind of trouble and type, with the columns of that type."""
    said: dict[tuple[str, str], list[str]] = {}
    place = shape.names.bars.place
    for column in shape.columns:
        if column.key == "bars" and column.ours:
            for what, hint in _of_type(column, assets, prices):
                said.setdefault((f"{column.type}: {what}", hint), []).append(column.name)
    return [
        Concern(f"{place}: {', '.join(names)} {'is' if len(names) == 1 else 'are'} {what}", hint)
        for (what, hint), names in said.items()
    ]


def _of_type(
    column: TableColumn, assets: Sequence[Asset], prices: Mapping[str, float]
) -> list[tuple[str, str]]:
    limits = Column(column.ours or "", column.type, column.base, column.modifier, column.not_null)
    is_price = column.ours in PRICES
    found = []
    if column.base == "real":
        found.append(("it keeps 6 digits, what is finer is rounded", _wider(column, "double precision")))
    elif limits.most is not None and column.ours == "trades" and limits.most <= LARGEST_TRADES:
        found.append((f"more than {limits.most:,.0f} trades of a bar are refused", _wider(column, "bigint")))
    elif limits.most is not None and (is_price or column.ours == "volume"):
        largest = LARGEST_PRICE if is_price else LARGEST_VOLUME
        narrow = [asset for asset in assets if limits.most <= _needed(asset, largest, prices, is_price)]
        if narrow:
            what = f"{round(limits.most):,} and more is refused, which {_names(narrow)} may reach"
            found.append((what, _wider(column, "double precision")))
    if is_price and limits.scale is not None and limits.least is not None:
        lost = [asset for asset in assets if 0 < prices.get(asset.symbol, 1.0) < limits.least]
        coarse = [asset for asset in assets if limits.scale < SCALE[asset.asset_type]]
        if lost or coarse:
            what = f"what is below {limits.least:g} would be 0 and is refused, finer digits are rounded"
            coarse.sort(key=lambda asset: -SCALE[asset.asset_type])
            found.append((f"{what} ({_names(lost or coarse)})", _wider(column, "double precision")))
    return found


def _needed(
    asset: Asset, largest: Mapping[AssetType, float], prices: Mapping[str, float], is_price: bool
) -> float:
    known = prices.get(asset.symbol) if is_price else None
    return largest[asset.asset_type] if known is None else max(2 * known, largest[asset.asset_type])


def _wider(column: TableColumn, type_name: str) -> str:
    return f"ALTER TABLE {column.table} ALTER COLUMN ... TYPE {type_name}, then run assetbatch init"


def _names(assets: Sequence[Asset]) -> str:
    return listed([asset.symbol for asset in assets])


def _of_partitions(shape: Shape, assets: Sequence[Asset], now_ms: int) -> list[Concern]:
    """The months without a partition, together for all symbols of which they are the same."""
    alike: dict[tuple[str, ...], list[Asset]] = {}
    place, unplaced = shape.names.bars.place, shape.unplaced
    for asset in assets:
        if moments := unplaced.get(asset.symbol):
            months = tuple(month for month, _ in groupby(f"{from_ms(at_ms):%Y-%m}" for at_ms in moments))
            alike.setdefault(months, []).append(asset)
    return [
        Concern(
            f"{place} has no partition for {_names(some)} in {', '.join(months)}: such bars are refused",
            "add the partitions, then run assetbatch init",
            stops_all=all(now_ms in unplaced[asset.symbol] for asset in some) and len(some) == len(assets),
        )
        for months, some in alike.items()
    ]
