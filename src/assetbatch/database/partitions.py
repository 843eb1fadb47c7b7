"""Partition the tables of bars of five minutes and of one minute by months, where `init` is told so.

Such a table has a partition for each month (UTC), one for all that is earlier and one for all that is later:
no bar is ever rejected. There is no DEFAULT partition: with one, PostgreSQL cannot read the others in the
order of time and would look for a symbol's last bar in every single one.

The partition `LATER` marks a table whose partitions assetbatch looks after. What a platform has partitioned
by itself is left alone. Where TimescaleDB is installed, its hypertable takes all that over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from assetbatch.database.quoting import literal, qualified, quoted
from assetbatch.database.session import Connection
from assetbatch.domain.market_hours import from_ms, month_of
from assetbatch.errors import SchemaRefusedError

_PREFIXES = {"bars": "ohlcv_5m", "bars_1m": "ohlcv_1m"}
"""What the names of partitions begin with, by table."""
EARLIER = "ohlcv_5m_earlier"
LATER = "ohlcv_5m_later"
"""The two partitions with an open end, of the table of bars of five minutes."""

MONTHS_BACK = 24
"""Number of months before the present one that get a partition: the history of most plans."""

MONTHS_AHEAD = 3
"""Number of months after the present one. Each costs every search for a last bar a look into an empty index.
"""

BY_HAND = 'nothing was changed; docs/deploying.md, "Bars by month", has the SQL for a table that is there'


class Partition(NamedTuple):
    """A table for the bars that start within `[start_ms, end_ms)`; None is an open end."""

    name: str
    start_ms: int | None
    end_ms: int | None


class Prepared(NamedTuple):
    """What was done now: the names of added partitions, and whether a hypertable was made."""

    partitions: list[str]
    hypertable: bool = False


def missing(there: Sequence[Partition], now_ms: int, of: str = "bars") -> list[Partition]:
    """Return the partitions that a table with those `there` needs, `LATER` among them if it begins elsewhere.

    Every moment has one, and the months from the first partition to `MONTHS_AHEAD` have their own.
    """
    later = next((part for part in there if part.name == _later(of)), None)
    others = sorted((part for part in there if part is not later), key=_beginning)
    found: list[Partition] = []
    if not others or others[0].start_ms is not None:
        first_ms = others[0].start_ms if others else month_of(now_ms, -MONTHS_BACK)
        others.insert(0, Partition(f"{_PREFIXES[of]}_earlier", None, first_ms))
        found.append(others[0])
    for before, after in pairwise(others):
        if before.end_ms is not None and after.start_ms is not None:
            found += _months(before.end_ms, after.start_ms, of)
    at_ms = others[-1].end_ms
    if at_ms is None:
        return found
    end_ms = max(at_ms, month_of(now_ms, MONTHS_AHEAD + 1), (later.start_ms or 0) if later else 0)
    found += _months(at_ms, end_ms, of)
    if later is None or later.start_ms != end_ms:
        found.append(Partition(_later(of), end_ms, None))
    return found


def _later(of: str) -> str:
    return f"{_PREFIXES[of]}_later"


def _beginning(part: Partition) -> float:
    return float("-inf") if part.start_ms is None else part.start_ms


def _months(start_ms: int, end_ms: int, of: str) -> Iterator[Partition]:
    at_ms = start_ms
    while at_ms < end_ms:
        next_ms = min(month_of(at_ms, 1), end_ms)
        part_of_month = "" if at_ms == month_of(at_ms) else "_%d"
        yield Partition(from_ms(at_ms).strftime(f"{_PREFIXES[of]}_%Y_%m{part_of_month}"), at_ms, next_ms)
        at_ms = next_ms


def prepare(connection: Connection, *, by_month: bool, of: str = "bars") -> Prepared:
    """Add the partitions that a table is missing now, in the open transaction.

    A table that is not partitioned by assetbatch gets none, unless `by_month` says that it shall. Raise
    SchemaRefusedError where that cannot be without rewriting or dropping something, psycopg.Error for
    everything else.
    """
    ((now_ms, is_partitioned, by_time, timescaledb),) = connection.execute(
        connection.statements("partitions.load_state", of)
    ).fetchall()
    if not is_partitioned:
        if not by_month or timescaledb is None:
            return Prepared([])
        return Prepared([], hypertable=_make_hypertable(connection, timescaledb, of))
    there = partitions(connection, of)
    if not by_month and not looked_after(there, of):
        return Prepared([])
    if not by_time:
        raise SchemaRefusedError(
            f"{_table(connection, of)} is partitioned already, and not by ranges of its time alone",
            hint="leave out --partition: assetbatch works with the table as it is",
        )
    needed = missing(there, now_ms, of)
    if needed:
        _add(connection, there, needed, of)
    return Prepared([part.name for part in needed if part.name not in {old.name for old in there}])


def is_divided(connection: Connection) -> bool:
    """Return whether the table of bars of five minutes is divided by months, or is a hypertable. Raise
    psycopg.Error."""
    ((_, _, _, timescaledb),) = connection.execute(connection.statements("partitions.load_state")).fetchall()
    if timescaledb is not None:
        return _is_hypertable(connection, "bars")
    return looked_after(partitions(connection))


def partitions(connection: Connection, of: str = "bars") -> tuple[Partition, ...]:
    """Return the partitions of a table of bars, ascending; none of a table that has none. Raise
    psycopg.Error."""
    return tuple(Partition(*row) for row in connection.execute(connection.statements("partitions.load", of)))


def looked_after(there: Sequence[Partition], of: str = "bars") -> bool:
    """Return whether these partitions are those of a table that assetbatch has partitioned."""
    return any(part.name == _later(of) for part in there)


def _add(connection: Connection, there: Sequence[Partition], needed: Sequence[Partition], of: str) -> None:
    connection.execute(connection.statements("partitions.lock", of))
    moving = looked_after(there, of) and needed[-1].name == _later(of)
    if moving:
        connection.execute(_statement(connection, "partitions.detach", needed[-1], of))
    for part in needed[:-1] if moving else needed:
        connection.execute(_statement(connection, "partitions.add", part, of))
    if moving:
        later = needed[-1]
        before = later._replace(end_ms=later.start_ms)
        connection.execute(_statement(connection, "partitions.move_rows", before, of))
        connection.execute(_statement(connection, "partitions.attach", later, of))


def _table(connection: Connection, of: str) -> str:
    table = connection.statements.names.table(of)
    return table.place


def _statement(connection: Connection, name: str, part: Partition, of: str) -> bytes:
    bars = connection.statements.names.table(of)
    return connection.statements(
        name,
        of,
        partition=qualified(bars.schema, part.name),
        starts="MINVALUE" if part.start_ms is None else literal(from_ms(part.start_ms).isoformat()),
        ends="MAXVALUE" if part.end_ms is None else literal(from_ms(part.end_ms).isoformat()),
    )


def _is_hypertable(connection: Connection, of: str) -> bool:
    return connection.execute(connection.statements("partitions.has_hypertable", of)).fetchall() == [(True,)]


def _make_hypertable(connection: Connection, schema: str, of: str) -> bool:
    """Have TimescaleDB take the table over; return False if it has already."""
    if _is_hypertable(connection, of):
        return False
    if connection.execute(connection.statements("partitions.has_bars", of)).fetchall() == [(True,)]:
        raise SchemaRefusedError(f"{_table(connection, of)} holds bars and is no hypertable", hint=BY_HAND)
    create = connection.statements("partitions.create_hypertable", of, timescaledb=quoted(schema))
    connection.execute(create)
    return True
