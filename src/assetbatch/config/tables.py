"""`database.tables`: a platform's names of our tables and columns, and the values of its further columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

Constant = str | int | float | bool
"""The value of a further column, the same in every row that is read or written."""

_VALUES = ("open", "high", "low", "close", "volume", "vwap", "trades")

BARS = ("bars", "bars_1m", "bars_1d")
"""The tables of bars: of five minutes, of one minute, of a day."""

OF_INSTRUMENTS = (*BARS, "splits")
"""The tables whose `symbol_id` may hold another name of the instrument than the id of its row."""

TABLES: Mapping[str, tuple[str, ...]] = {
    "symbols": ("id", "symbol", "name", "asset_type", "metadata", "updated_at"),
    "bars": ("symbol_id", "ts", *_VALUES),
    "bars_1m": ("symbol_id", "ts", *_VALUES),
    "bars_1d": ("symbol_id", "day", *_VALUES),
    "splits": (
        "symbol_id",
        "execution_date",
        "split_from",
        "split_to",
        "kind",
        "state",
        "learned_at",
        "fits",
    ),
    "providers": ("id", "code", "name"),
    "sync_status": (
        "ticker_id",
        "provider_id",
        "last_sync_timestamp",
        "sync_status",
        "error_message",
        "updated_at",
    ),
}
"""The tables by their names in the configuration, each with the names of its columns there."""


class TableMapping(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of one table. `init` finds out what is absent.

    `table` is `schema.name`. `columns` gives the platform's name of our column, or None if the platform
    has none: then nothing is written. `constants` are further columns of the platform, with the value that
    marks our rows. `missing` is written if the provider gives no value and the column takes no NULL.
    `states` gives the platform's words for our states. `instrument` says what a text column for the
    instrument holds.
    """

    table: str | None = None
    columns: Mapping[str, str | None] = {}
    constants: Mapping[str, Constant] = {}
    missing: Mapping[str, float] = {}
    states: Mapping[str, str] = {}
    instrument: Literal["symbol", "polygon_ticker"] | None = None


class TableMappings(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of the owner's tables."""

    symbols: TableMapping = TableMapping()
    bars: TableMapping = TableMapping()
    bars_1m: TableMapping = TableMapping()
    bars_1d: TableMapping = TableMapping()
    splits: TableMapping = TableMapping()
    providers: TableMapping = TableMapping()
    sync_status: TableMapping = TableMapping()

    def table(self, key: str) -> TableMapping:
        """Return the configuration of a table by its name."""
        found: TableMapping = getattr(self, key)
        return found
