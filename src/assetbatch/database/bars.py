"""Write the bars of a batch: copied straight into the table where it has none of them, else merged.

Every writer of ours holds the lock on a symbol's row before it looks, so that only another program can put a
bar there meanwhile. Then the copy is undone and the bars are merged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import psycopg

from assetbatch.database import binary_copy
from assetbatch.database.failures import DataError
from assetbatch.database.names import Table
from assetbatch.database.session import Connection
from assetbatch.database.statements import VALUES
from assetbatch.domain.market_hours import from_ms
from assetbatch.domain.models import SETTLED_AFTER_MS, AnsweredBars, Bar, DayBar

_NOT_SO = (psycopg.errors.UniqueViolation, psycopg.errors.FeatureNotSupported)
"""Another program was faster; or the table does not take COPY (row-level security, a rule)."""

_NEVER_MS = 2**62
"""The moment before which each bar was settled."""

_COPY_DIRECT = {"binary": "bars.copy_direct_binary", "text": "bars.copy_direct_text"}
_COPY_BATCH = {"binary": "bars.copy_binary", "text": "bars.copy_text"}
"""The statements by the form of COPY."""

B = TypeVar("B", Bar, DayBar)

BarsOfSymbols = Mapping[str, Sequence[Bar]]
"""Ascending bars of each symbol; of those that are written at least one."""


class Written(NamedTuple):
    """How many bars were new and how many differed, and the symbols that had none between the first and the
    last of theirs."""

    new: int = 0
    changed: int = 0
    into_nothing: Collection[str] = ()


SKIPPED = "AB002"
"""In place of an SQLSTATE: rows were left out without an error."""


def save(
    connection: Connection,
    bars: BarsOfSymbols,
    asked_ms: Mapping[str, int],
    answers: Mapping[str, Sequence[AnsweredBars]],
    form: str,
    of: str = "bars",
) -> Written:
    """Write the bars of registered symbols in the open transaction. `of` is their table.

    What the provider said at `asked_ms` is final for bars that were settled then, however late it is saved.
    `answers` says which bars came together; without it, all of a symbol. An answer changes nothing where a
    call of a later moment was answered and stored before. `form` is that of COPY.
    Raise psycopg.Error.
    """
    if not bars:
        return Written()
    came = _json([row for symbol, some in bars.items() for row in _answers(symbol, some, asked_ms, answers)])
    with connection.pipeline():
        later = connection.execute(connection.statements("coverage.record_answers"), {"answers": came})
        there = connection.execute(connection.statements("bars.find_stored", of), {"ranges": _ranges(bars)})
    copied, to_merge = _copy_into_nothing(connection, bars, there, form, of)
    into_nothing = bars.keys() - to_merge.keys()
    if answered := [row for row in later.fetchall() if row[0] in to_merge]:
        to_merge = _without_answered(connection, to_merge, answered, of)
    if not to_merge:
        return Written(copied, 0, into_nothing)
    settled_ms = {symbol: asked_ms[symbol] - SETTLED_AFTER_MS for symbol in to_merge}
    new, changed = _merge(connection, to_merge, settled_ms, form, of)
    return Written(copied + new, changed, into_nothing)


def overwrite(connection: Connection, bars: BarsOfSymbols, form: str) -> int:
    """Write bars of five minutes of registered symbols in the open transaction, whatever is stored of them;
    return how many were new or differed. Raise psycopg.Error."""
    there = connection.execute(connection.statements("bars.find_stored"), {"ranges": _ranges(bars)})
    copied, to_merge = _copy_into_nothing(connection, bars, there, form, "bars")
    if not to_merge:
        return copied
    new, changed = _merge(connection, to_merge, dict.fromkeys(to_merge, _NEVER_MS), form, "bars")
    return copied + new + changed


def _ranges(bars: BarsOfSymbols) -> str:
    return _json(
        [
            {"symbol": symbol, "first_ms": some[0].t_ms, "last_ms": some[-1].t_ms}
            for symbol, some in bars.items()
        ]
    )


def _answers(
    symbol: str,
    some: Sequence[Bar],
    asked_ms: Mapping[str, int],
    answers: Mapping[str, Sequence[AnsweredBars]],
) -> Iterator[dict[str, Any]]:
    """Yield which of these bars came together, and when they were asked for."""
    first_ms, last_ms = some[0].t_ms, some[-1].t_ms
    for answer in answers.get(symbol) or [AnsweredBars(first_ms, last_ms, asked_ms[symbol])]:
        if answer.first_ms <= last_ms and first_ms <= answer.last_ms:
            yield {
                "symbol": symbol,
                "asked_ms": answer.asked_ms,
                "first_ms": max(first_ms, answer.first_ms),
                "last_ms": min(last_ms, answer.last_ms),
            }


def _copy_into_nothing(
    connection: Connection, bars: BarsOfSymbols, there: Iterable[tuple[str, Any, bool]], form: str, of: str
) -> tuple[int, BarsOfSymbols]:
    """Copy the bars of the symbols that have none in between. Return how many, and the bars of the others:
    those of all symbols where it turns out not to be possible."""
    ids = {symbol: symbol_id for symbol, symbol_id, some_there in there if not some_there}
    into_nothing = {ids[symbol]: some for symbol, some in bars.items() if symbol in ids}
    copied = _copy(connection, into_nothing, form, of) if into_nothing else 0
    if not copied:
        return 0, bars
    return copied, {symbol: some for symbol, some in bars.items() if symbol not in ids}


def keep_hourly_closes(connection: Connection, symbols: Collection[str]) -> None:
    """Keep the few closes that the page draws, of registered symbols whose bars were written in the open
    transaction. Raise psycopg.Error."""
    connection.execute(connection.statements("bars.keep_hourly_closes"), {"symbols": list(symbols)})


def _without_answered(
    connection: Connection, bars: BarsOfSymbols, answered: Iterable[tuple[str, int, int]], of: str
) -> BarsOfSymbols:
    """Return the bars without those that are stored within an interval that was answered later."""
    intervals = [
        {"symbol": symbol, "first_ms": first_ms, "last_ms": last_ms} for symbol, first_ms, last_ms in answered
    ]
    stored = set(
        connection.execute(connection.statements("bars.load_starts", of), {"ranges": _json(intervals)})
    )
    left = {
        symbol: [bar for bar in some if (symbol, bar.t_ms) not in stored] for symbol, some in bars.items()
    }
    return {symbol: some for symbol, some in left.items() if some}


def _copy(connection: Connection, bars: Mapping[Any, Collection[Bar]], form: str, of: str) -> int:
    """Copy bars by symbol id into the table; return how many, or 0 where it turns out not to be possible."""
    table = connection.statements.names.table(of)
    cursor = connection.cursor()
    try:
        with (
            connection.transaction(),
            cursor.copy(connection.statements(_COPY_DIRECT[form], of)) as copy,
        ):
            if form == "binary":
                binary_copy.write(copy, bars.items(), binary_copy.MICROSECONDS)
            else:
                _write_rows(copy, bars, table)
    except _NOT_SO:
        return 0
    count = sum(map(len, bars.values()))
    if cursor.rowcount < count:
        raise skipped(table)
    return count


def _write_rows(copy: psycopg.Copy, bars: Mapping[Any, Collection[Bar]], table: Table) -> None:
    """Write bars by symbol id as text, in whatever columns a platform has."""
    ts_of = _in_zone(table.zones.get("ts"))
    values_of = attrgetter(*(name for name in VALUES if name in table.columns))
    constants = tuple(table.constants.values())
    for symbol_id, some in bars.items():
        for bar in some:
            copy.write_row((symbol_id, ts_of(bar.t_ms), *values_of(bar), *constants))


def _merge(
    connection: Connection, bars: BarsOfSymbols, settled_ms: Mapping[str, int], form: str, of: str
) -> tuple[int, int]:
    """Copy the bars into a temporary table, and write from there what is new or differs."""
    copy_batch(connection, bars, form, of)
    row = connection.execute(
        connection.statements("bars.merge", of),
        {"symbols": list(bars), "settled_ms": [settled_ms[symbol] for symbol in bars]},
    ).fetchone()
    assert row is not None, "an aggregate without GROUP BY has one row"
    new, changed, written = row
    if written < new + changed:
        raise skipped(connection.statements.names.table(of))
    return new, changed


def copy_batch(connection: Connection, bars: BarsOfSymbols, form: str, of: str) -> None:
    """Copy the bars into a temporary table, in which their symbols are numbered from 1 in their order. Raise
    psycopg.Error.

    Binary COPY is faster, text suits whatever types a platform's columns have; both carry a float exactly.
    """
    connection.execute(connection.statements("bars.create_batch", of))
    table = connection.statements.names.table(of)
    by_asset = list(enumerate(bars.values(), start=1))
    with connection.cursor().copy(connection.statements(_COPY_BATCH[form], of)) as copy:
        if form == "binary":
            binary_copy.write(copy, by_asset, binary_copy.MILLISECONDS)
        else:
            values_of = _values_of(table)
            for asset, some in by_asset:
                for bar in some:
                    copy.write_row((asset, bar.t_ms, *values_of(bar)))


def filled(bars: Sequence[Bar], missing: Mapping[str, float]) -> tuple[Sequence[Bar], int]:
    """Return the bars with the values of `missing` where one has none, and how many bars that are."""
    if not missing:
        return bars, 0
    some = [with_defaults(bar, missing) for bar in bars]
    return some, sum(one is not bar for one, bar in zip(some, bars, strict=True))


def with_defaults(bar: B, missing: Mapping[str, float]) -> B:
    """Return a bar with the values of `missing` where it has none: itself, if it has all."""
    lacking: dict[str, Any] = {name: value for name, value in missing.items() if getattr(bar, name) is None}
    return msgspec.structs.replace(bar, **lacking) if lacking else bar


def _json(rows: list[dict[str, Any]]) -> str:
    return msgspec.json.encode(rows).decode()


def skipped(table: Table) -> DataError:
    """Return the error that a table has left rows out without one."""
    said = f"a trigger or a row-level policy of {table.place} leaves rows out"
    return DataError(said, hint="see the table's triggers and policies", said=said, state=SKIPPED)


def _values_of(table: Table) -> Callable[[Bar], tuple[float | None, ...]]:
    """Return what reads the values of a bar, NULL for those that the table has no column for."""
    has = [name in table.columns for name in VALUES]
    all_of = attrgetter(*VALUES)
    return lambda bar: tuple(value if there else None for value, there in zip(all_of(bar), has, strict=True))


def _in_zone(name: str | None) -> Callable[[int], datetime]:
    """Return what turns the start of a bar into the value of its column: in a zone, where the column knows
    none."""
    if name is None:
        return from_ms
    zone = ZoneInfo(name)
    return lambda at_ms: from_ms(at_ms).astimezone(zone).replace(tzinfo=None)
