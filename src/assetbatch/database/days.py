"""Write the bars of days that came along with prices, by one statement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from assetbatch.database.bars import skipped
from assetbatch.database.columns import BarColumns, Column
from assetbatch.database.names import Table
from assetbatch.database.session import Connection
from assetbatch.database.statements import VALUES
from assetbatch.database.text import storable
from assetbatch.domain.models import DayBar, Rejection


def save(connection: Connection, days: Mapping[str, Sequence[DayBar]]) -> dict[str, Rejection]:
    """Write the bars of registered symbols that are new or differ, in the open transaction; return what the
    columns cannot hold.

    Nobody has to hold the rows of the symbols: the provider's word on a day that is over does not depend on
    who asked. Raise psycopg.Error; DataError if a trigger or a policy leaves rows out.
    """
    if not days:
        return {}
    table = connection.statements.names.bars_1d
    described = connection.execute(connection.statements("bars.load_columns", "bars_1d"))
    columns = BarColumns((Column(*row) for row in described), table)
    rejected: dict[str, Rejection] = {}
    rows = list(_rows(table, columns, days, rejected, connection.info.parameter_status("server_encoding")))
    if rows:
        document = msgspec.json.encode(rows).decode()
        found = connection.execute(connection.statements("days.merge"), {"days": document}).fetchone()
        assert found is not None, "an aggregate without GROUP BY has one row"
        wanted, written = found
        if written < wanted:
            raise skipped(table)
    return rejected


def _rows(
    table: Table,
    columns: BarColumns,
    days: Mapping[str, Sequence[DayBar]],
    rejected: dict[str, Rejection],
    encoding: str | None,
) -> Iterator[dict[str, Any]]:
    """Yield what is to be written, and note the rest. Of two bars of a day the last counts."""
    for symbol, some in days.items():
        if storable(symbol, encoding) != symbol:  # it cannot be registered
            continue
        for bar in {bar.day: bar for bar in some}.values():
            filled = _filled(bar, table.missing)
            if error := columns.error(filled):
                rejected[symbol] = Rejection(error=error, bars=1, failed=False)
                continue
            values = {table.columns[name]: getattr(filled, name) for name in VALUES if name in table.columns}
            yield {"symbol": symbol, "day": bar.day, "bar": values}


def _filled(bar: DayBar, missing: Mapping[str, float]) -> DayBar:
    lacking: Iterable[str] = [name for name in missing if getattr(bar, name) is None]
    values: dict[str, Any] = {name: missing[name] for name in lacking}
    return msgspec.structs.replace(bar, **values) if values else bar
