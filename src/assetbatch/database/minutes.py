"""Write the bars of five minutes of assets whose minutes are stored, from these and in their transaction."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import psycopg

from assetbatch.database import placing
from assetbatch.database.bars import skipped
from assetbatch.database.columns import BarColumns, Cause, RejectedBar
from assetbatch.database.failures import is_of_data
from assetbatch.database.session import Connection
from assetbatch.database.statements import VALUES, doubled, literal
from assetbatch.domain.formatting import moment
from assetbatch.domain.models import BAR_MS

Interval = tuple[int, int]
"""`[start_ms, end_ms)` of a symbol, both multiples of `BAR_MS`."""

PROBES = 60
"""Maximum number of attempts that look for the bars which the table refuses; what is still mixed then is
refused with them."""


class Derived(NamedTuple):
    """What was written: how many bars are new or differ, and by symbol and start those that the table
    refuses."""

    changed: int
    rejected: Mapping[str, Mapping[int, RejectedBar]]


def derive(
    connection: Connection, intervals: Mapping[str, Sequence[Interval]], columns: BarColumns
) -> Derived:
    """Write what the stored minutes give in these intervals, in the open transaction.

    `columns` are those of the bars of five minutes. All bars are written but those that the table refuses.
    Raise psycopg.Error for everything that is not about a value, DataError if the table leaves rows out.
    """
    parts = [(symbol, *interval) for symbol, some in intervals.items() for interval in some]
    return _Deriving(connection, columns).run(parts) if parts else Derived(0, {})


_Part = tuple[str, int, int]


class _Deriving:
    def __init__(self, connection: Connection, columns: BarColumns) -> None:
        self._connection = connection
        self._statement = connection.statements("minutes.derive", values=_typed(connection, columns))
        self._probes = PROBES
        self._changed = 0
        self._rejected: dict[str, dict[int, RejectedBar]] = {}

    def run(self, parts: Sequence[_Part]) -> Derived:
        if self._refusal(parts):
            self._write_in_parts(list(self._placed(parts)))
        return Derived(self._changed, self._rejected)

    def _placed(self, parts: Sequence[_Part]) -> Iterator[_Part]:
        """Yield the intervals without the bars that no partition takes, which are refused."""
        place = self._connection.statements.names.bars.place
        for symbol, start_ms, end_ms in parts:
            starts = range(start_ms, end_ms, BAR_MS)
            at_ms = start_ms
            for t_ms in placing.unplaced(self._connection, [symbol], starts).get(symbol, ()):
                said = f"{place} has no partition for {moment(t_ms)}"
                self._reject(symbol, t_ms, RejectedBar(said, Cause.NO_PARTITION))
                if at_ms < t_ms:
                    yield symbol, at_ms, t_ms
                at_ms = t_ms + BAR_MS
            if at_ms < end_ms:
                yield symbol, at_ms, end_ms

    def _write_in_parts(self, parts: Sequence[_Part]) -> None:
        """Write the bars of some intervals that were refused together, the largest parts first."""
        waiting = deque([parts])
        while waiting:
            some = waiting.popleft()
            said = self._refusal(some) if some else ""
            if not said:
                continue
            halves = _halves(some)
            if halves is None or self._probes < len(waiting):
                for symbol, start_ms, end_ms in some:
                    for t_ms in range(start_ms, end_ms, BAR_MS):
                        self._reject(symbol, t_ms, RejectedBar(said))
            else:
                waiting += halves

    def _reject(self, symbol: str, t_ms: int, why: RejectedBar) -> None:
        self._rejected.setdefault(symbol, {})[t_ms] = why

    def _refusal(self, parts: Sequence[_Part]) -> str:
        """Write the bars of some intervals; return what the table has against one of their values, or ""."""
        self._probes -= 1
        rows = [{"symbol": symbol, "start_ms": start, "end_ms": end} for symbol, start, end in parts]
        document = msgspec.json.encode(rows).decode()
        try:
            with self._connection.transaction():
                found = self._connection.execute(self._statement, {"intervals": document}).fetchone()
        except psycopg.Error as error:
            if not is_of_data(error):
                raise
            return " ".join((error.diag.message_primary or str(error)).split())
        assert found is not None, "a row of two counts"
        changed, written = found
        if written < changed:
            raise skipped(self._connection.statements.names.bars)
        self._changed += changed
        return ""


def _halves(parts: Sequence[_Part]) -> tuple[Sequence[_Part], Sequence[_Part]] | None:
    """Return two halves of some intervals; None of a single bar."""
    if len(parts) > 1:
        return parts[: len(parts) // 2], parts[len(parts) // 2 :]
    ((symbol, start_ms, end_ms),) = parts
    middle_ms = start_ms + (end_ms - start_ms) // BAR_MS // 2 * BAR_MS
    if middle_ms == start_ms:
        return None
    return [(symbol, start_ms, middle_ms)], [(symbol, middle_ms, end_ms)]


def _typed(connection: Connection, columns: BarColumns) -> str:
    """Return the values of a bar `b` as SQL: filled where the table takes no NULL, in the types of the
    table."""
    table = connection.statements.names.bars
    typed = []
    for name in VALUES:
        if name not in table.columns:
            continue
        value = f"b.{name}"
        if name in table.missing:
            value = f"coalesce({value}, {literal(str(table.missing[name]))}::float8)"
        typed.append(f"CAST({value} AS {doubled(columns.by_name[name].type)}) AS {name}")
    return ", ".join(typed)
