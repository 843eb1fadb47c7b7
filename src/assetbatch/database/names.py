"""What the owner's tables and columns are called here, as `init` has found or made them.

The statements of `sql/` are templates over these names: `{bars}` is the table, `{bars.ts}` its column. The
names are kept in `data_sources.assetbatch_names`, so that a run needs no look at the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from assetbatch.config.tables import OF_INSTRUMENTS, TABLES

Reference = Literal["id", "symbol", "polygon_ticker"]


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One table: `columns` gives the table's name for each column of ours; what it has none for is absent.

    `constants` are further columns with the value of our rows, as text; those in `key` tell our rows from
    others and are part of every condition. `zones` names the zone that a column of naive timestamps is in.
    `missing` is what is written instead of NULL.

    Of a table of bars or splits, `instrument` is what the column `symbol_id` holds: the id or the symbol of a
    row of `symbols`, or the configured ticker. `target` is the column of `symbols` (the platform's name) that
    it refers to; None: its id.
    """

    schema: str
    name: str
    columns: Mapping[str, str]
    constants: Mapping[str, str] = {}
    key: tuple[str, ...] = ()
    zones: Mapping[str, str] = {}
    missing: Mapping[str, float] = {}
    instrument: Reference = "id"
    target: str | None = None

    @property
    def place(self) -> str:
        """Its name in messages."""
        return f"{self.schema}.{self.name}"


def _own(key: str, schema: str, name: str) -> Table:
    return Table(schema=schema, name=name, columns={column: column for column in TABLES[key]})


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """The owner's tables. The defaults are those of tables that `init` makes.

    `sync_status_target` is the column of `symbols` (the platform's name) that the status refers to; None: its
    id. `provider` is the provider's code there. `states` gives the platform's words for our states where
    they differ.
    """

    symbols: Table = _own("symbols", "trading", "symbols")
    bars: Table = _own("bars", "market_data", "ohlcv_5m")
    bars_1m: Table = _own("bars_1m", "market_data", "ohlcv_1m")
    bars_1d: Table = _own("bars_1d", "market_data", "ohlcv_1d")
    splits: Table = _own("splits", "market_data", "splits")
    providers: Table = _own("providers", "data_sources", "api_providers")
    sync_status: Table = _own("sync_status", "data_sources", "data_sync_status")
    sync_status_target: str | None = None
    provider: str = "polygon"
    states: Mapping[str, str] = {}

    def table(self, key: str) -> Table:
        """Return a table by its name in the configuration."""
        found: Table = getattr(self, key)
        return found

    @property
    def of_instruments(self) -> tuple[Table, ...]:
        """The tables whose column `symbol_id` may hold a symbol or a ticker."""
        return tuple(getattr(self, key) for key in OF_INSTRUMENTS)


OWN = Names()
"""The names of tables that `init` has made itself."""


class _Before9(msgspec.Struct):
    """What stood beside the tables in a record of a schema older than version 9."""

    instrument: Reference = "id"
    bars_target: str | None = None


def decode(text: str) -> Names:
    """Return the names of a record."""
    names = msgspec.json.decode(text, type=Names)
    before = msgspec.json.decode(text, type=_Before9)
    if before == _Before9():
        return names
    bars = msgspec.structs.replace(names.bars, instrument=before.instrument, target=before.bars_target)
    return msgspec.structs.replace(names, bars=bars)
