"""What the columns and partitions of bars mean beforehand for the configured assets.

Whether the tables can be used at all is decided by the plan (`adoption`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from assetbatch.database import placing
from assetbatch.database.columns import PRICES, Column
from assetbatch.database.names import Table
from assetbatch.database.session import Connection
from assetbatch.domain.assets import Asset
from assetbatch.domain.formatting import listed
from assetbatch.domain.market_hours import from_ms
from assetbatch.domain.units import DAY_MS

DAYS_BACK = 34
"""Number of days of bars that the first call of an asset brings."""
DAYS_AHEAD = 7
"""Number of days before the end of the last partition from which on its end is reported."""
MOST_SYMBOLS = 200
"""Maximum number of symbols whose partitions are looked at: a table by symbols is rare."""

LARGEST_TRADES = 10_000_000
"""Number of trades of a bar that a column should be able to hold."""


class Shape(NamedTuple):
    """The columns of a table of bars by our names, the moments (ms) around now that no partition takes, by
    symbol, and what the table is called."""

    columns: Sequence[Column]
    unplaced: Mapping[str, Sequence[int]]
    table: Table


class Concern(NamedTuple):
    """Something about the tables that keeps data out; of all symbols if `stops_all`."""

    message: str
    hint: str
    stops_all: bool = False


def shape(connection: Connection, symbols: Sequence[str], now_ms: int, of: str = "bars") -> Shape:
    """Look at a table of bars; changes nothing. Raise psycopg.Error."""
    columns = [Column(*row) for row in connection.execute(connection.statements("bars.load_columns", of))]
    days = [now_ms + day * DAY_MS for day in range(-DAYS_BACK, DAYS_AHEAD + 1)]
    unplaced = placing.unplaced(connection, list(symbols)[:MOST_SYMBOLS], days, of)
    return Shape(columns, unplaced, connection.statements.names.table(of))


def concerns(
    found: Shape, assets: Iterable[Asset], prices: Mapping[str, float], now_ms: int
) -> list[Concern]:
    """Return what the table will reject, spoil or lack for these assets with these last known `prices`."""
    with_bars = [asset for asset in assets if asset.bars]
    return [
        *_of_types(found, with_bars, prices),
        *_of_partitions(found, with_bars, now_ms),
    ]


def _of_types(shape: Shape, assets: Sequence[Asset], prices: Mapping[str, float]) -> list[Concern]:
    """Return one concern for each kind of trouble and type, with the columns of that type."""
    said: dict[tuple[str, str], list[str]] = {}
    bars = shape.table
    for column in shape.columns:
        for what, wider in _of_type(column, assets, prices):
            hint = f"ALTER TABLE {bars.place} ALTER COLUMN ... TYPE {wider}, then run assetbatch init"
            said.setdefault((f"{column.type}: {what}", hint), []).append(bars.columns[column.name])
    return [
        Concern(f"{bars.place}: {', '.join(names)} {'is' if len(names) == 1 else 'are'} {what}", hint)
        for (what, hint), names in said.items()
    ]


def _of_type(column: Column, assets: Sequence[Asset], prices: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return what is wrong with a column and the type that would do, of each trouble."""
    is_price = column.name in PRICES
    found = []
    if column.base == "real":
        found.append(("it keeps 6 digits, what is finer is rounded", "double precision"))
    elif column.most is not None and column.name == "trades" and column.most <= LARGEST_TRADES:
        found.append((f"more than {column.most:,.0f} trades of a bar are refused", "bigint"))
    elif column.most is not None and (is_price or column.name == "volume"):
        needed = _largest_price if is_price else _largest_volume
        narrow = [asset for asset in assets if column.most <= needed(asset, prices)]
        if narrow:
            what = f"{round(column.most):,} and more is refused, which {_names(narrow)} may reach"
            found.append((what, "double precision"))
    if is_price and column.scale is not None and column.least is not None:
        lost = [asset for asset in assets if 0 < prices.get(asset.symbol, 1.0) < column.least]
        coarse = [asset for asset in assets if column.scale < asset.asset_class.price_digits]
        if lost or coarse:
            what = f"what is below {column.least:g} would be 0 and is refused, finer digits are rounded"
            coarse.sort(key=lambda asset: -asset.asset_class.price_digits)
            found.append((f"{what} ({_names(lost or coarse)})", "double precision"))
    return found


def _largest_price(asset: Asset, prices: Mapping[str, float]) -> float:
    return max(2 * prices.get(asset.symbol, 0.0), asset.asset_class.largest_price)


def _largest_volume(asset: Asset, _prices: Mapping[str, float]) -> float:
    return asset.asset_class.largest_volume if asset.asset_class.has_volume else 0.0


def _names(assets: Sequence[Asset]) -> str:
    return listed([asset.symbol for asset in assets])


def _of_partitions(shape: Shape, assets: Sequence[Asset], now_ms: int) -> list[Concern]:
    """Return the months without a partition, together for all symbols of which they are the same."""
    alike: dict[tuple[str, ...], list[Asset]] = {}
    place, unplaced = shape.table.place, shape.unplaced
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
