"""Write the bars of days that came along with prices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from assetbatch.database.bars import skipped, with_defaults
from assetbatch.database.columns import BarColumns, Column
from assetbatch.database.names import Table
from assetbatch.database.session import Connection
from assetbatch.database.statements import VALUES, doubled
from assetbatch.database.text import storable
from assetbatch.domain.models import AnsweredDay, DayBar, MarketDay, Rejection


def save(connection: Connection, days: Mapping[str, Sequence[DayBar]], asked_ms: int) -> dict[str, Rejection]:
    """Write the bars of registered symbols that are new or differ, in the open transaction; return what the
    columns cannot hold.

    Nobody has to hold the rows of the symbols: the provider's word on a day that is over does not depend on
    who asked. What was asked for at `asked_ms`, where a bar does not say otherwise, changes no bar that an
    answer of a later moment has brought. Raise psycopg.Error; DataError if a trigger or a policy leaves rows
    out.
    """
    if not days:
        return {}
    table = connection.statements.names.bars_1d
    described = connection.execute(connection.statements("bars.load_columns", "bars_1d"))
    columns = BarColumns((Column(*row) for row in described), table)
    rejected: dict[str, Rejection] = {}
    encoding = connection.info.parameter_status("server_encoding")
    # Row by row: the values of a whole market would take four times the memory of their text.
    rows = [msgspec.json.encode(row) for row in _rows(table, columns, days, rejected, asked_ms, encoding)]
    if rows:
        document = (b"[" + b",".join(rows) + b"]").decode()
        del rows
        merge = connection.statements("days.merge", values=_typed(columns, table))
        with connection.pipeline():
            connection.execute(connection.statements("days.record_answers"), {"days": document})
            merged = connection.execute(merge, {"days": document})
        found = merged.fetchone()
        assert found is not None, "an aggregate without GROUP BY has one row"
        wanted, written = found
        if written < wanted:
            raise skipped(table)
    return rejected


def save_market_days(connection: Connection, some: Iterable[MarketDay], asked_ms: int) -> None:
    """Record which days of whole markets were answered. Raise psycopg.Error."""
    for market, day, bars in some:
        arguments = {"market": market, "day": day, "bars": bars, "asked_ms": asked_ms}
        connection.execute(connection.statements("days.save_market_day"), arguments)


def forget_market_days(connection: Connection, market: str) -> None:
    """Forget which days of a market were answered, in the open transaction. Raise psycopg.Error."""
    connection.execute(connection.statements("days.forget_market_days"), {"market": market})


def load_market_days(connection: Connection, market: str, since: date) -> list[AnsweredDay]:
    """Return which days of a market were answered since a day. Raise psycopg.Error."""
    arguments = {"market": market, "since": since}
    rows = connection.execute(connection.statements("days.load_market_days"), arguments)
    return [AnsweredDay(*row) for row in rows]


def _rows(
    table: Table,
    columns: BarColumns,
    days: Mapping[str, Sequence[DayBar]],
    rejected: dict[str, Rejection],
    asked_ms: int,
    encoding: str | None,
) -> Iterator[dict[str, Any]]:
    """Yield what is to be written, and note the rest. Of two bars of a day that asked for last counts."""

    def asked(bar: DayBar) -> int:
        return asked_ms if bar.asked_ms is None else bar.asked_ms

    for symbol, some in days.items():
        if storable(symbol, encoding) != symbol:  # it cannot be registered
            continue
        for bar in {bar.day: bar for bar in sorted(some, key=asked)}.values():
            filled = with_defaults(bar, table.missing)
            if error := columns.error(filled):
                rejected[symbol] = Rejection(error=error, bars=1, failed=False)
                continue
            values = {name: getattr(filled, name) for name in VALUES if name in table.columns}
            yield {"symbol": symbol, "asked_ms": asked(bar), "day": bar.day, "bar": values}


def _typed(columns: BarColumns, table: Table) -> str:
    """Return the values of the JSON object `n.bar` as SQL, in the types of the table."""
    typed = (
        f"CAST(n.bar ->> '{name}' AS {doubled(columns.by_name[name].type)}) AS {name}"
        for name in VALUES
        if name in table.columns
    )
    return ", ".join(typed)
