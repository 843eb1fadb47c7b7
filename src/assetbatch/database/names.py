"""What the owner's tables and columns are called here, as `init` has found or made them.

The statements of `sql/` are templates over these names: `{bars}` is the table, `{bars.ts}` its column. The
names are kept in `data_sources.assetbatch_names`, so that a run needs no look at the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from assetbatch.config.tables import TABLES

Reference = Literal["id", "symbol", "polygon_ticker"]


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One table: `columns` gives the table's name for each column of ours; what it has none for is absent.

    `constants` are further columns with the value of our rows, as text; those in `key` tell our rows from
    others and are part of every condition. `zones` names the zone that a column of naive timestamps is in.
    `missing` is what is written instead of NULL.
    """

    schema: str
    name: str
    columns: Mapping[str, str]
    constants: Mapping[str, str] = {}
    key: tuple[str, ...] = ()
    zones: Mapping[str, str] = {}
    missing: Mapping[str, float] = {}

    @property
    def place(self) -> str:
        """Its name in messages."""
        return f"{self.schema}.{self.name}"


def _own(key: str, schema: str, name: str) -> Table:
    return Table(schema=schema, name=name, columns={column: column for column in TABLES[key]})


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """The four tables. The defaults are those of tables that `init` makes.

    `instrument` is what the bars' column `symbol_id` holds: the id or the symbol of a row of `symbols`, or
    the configured ticker. `bars_target` and `sync_status_target` are the columns of `symbols` (the platform's
    names) that the two tables refer to; None: its id. `provider` is the provider's code there. `states`
    gives the platform's words for our states where they differ.
    """

    symbols: Table = _own("symbols", "trading", "symbols")
    bars: Table = _own("bars", "market_data", "ohlcv_5m")
    providers: Table = _own("providers", "data_sources", "api_providers")
    sync_status: Table = _own("sync_status", "data_sources", "data_sync_status")
    instrument: Reference = "id"
    bars_target: str | None = None
    sync_status_target: str | None = None
    provider: str = "polygon"
    states: Mapping[str, str] = {}


OWN = Names()
"""The names of tables that `init` has made itself."""
