"""Write the bars of five minutes of assets whose minutes are stored, from these and in their transaction."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

import msgspec
import psycopg

from assetbatch.database import bars, placing
from assetbatch.database.columns import BarColumns, Cause, RejectedBar
from assetbatch.database.failures import is_of_data, said_by
from assetbatch.database.session import Connection
from assetbatch.domain.five_minutes import five_minute_bars
from assetbatch.domain.formatting import moment
from assetbatch.domain.models import Bar

Interval = tuple[int, int]
"""`[start_ms, end_ms)` of a symbol, both multiples of `BAR_MS`."""

PROBES = 60
"""Maximum number of attempts that look for the bars which the table refuses; what is still mixed then is
refused with them."""

_START = attrgetter("t_ms")


class Derived(NamedTuple):
    """What was written: how many bars are new or differ, and by symbol and start those that the table
    refuses."""

    changed: int
    rejected: Mapping[str, Mapping[int, RejectedBar]]


def derive(
    connection: Connection,
    intervals: Mapping[str, Sequence[Interval]],
    known: Mapping[str, Sequence[Bar]],
    columns: BarColumns,
) -> Derived:
    """Write what the stored minutes give in these intervals, in the open transaction.

    `known` are ascending minutes of symbols that have no others between the first and the last of these:
    those need not be read back. `columns` are those of the bars of five minutes. All bars are written but
    those that the table refuses. Raise psycopg.Error for everything that is not about a value, DataError if
    the table leaves rows out.
    """
    stored = _load(connection, intervals, known)
    some = {
        symbol: five_minute_bars(_ascending(within, known.get(symbol, ()), stored.get(symbol, [])))
        for symbol, within in intervals.items()
    }
    return _Deriving(connection, columns).run(some)


def _load(
    connection: Connection, intervals: Mapping[str, Sequence[Interval]], known: Mapping[str, Sequence[Bar]]
) -> dict[str, list[Bar]]:
    """Return the stored minutes of each symbol in its intervals, ascending, without those between the first
    and the last that are known."""
    wanted = [
        {"symbol": symbol, "start_ms": start_ms, "end_ms": end_ms}
        for symbol, within in intervals.items()
        for interval in within
        for start_ms, end_ms in _outside(interval, known.get(symbol, ()))
    ]
    found: dict[str, list[Bar]] = {}
    if wanted:
        document = msgspec.json.encode(wanted).decode()
        rows = connection.execute(connection.statements("minutes.load"), {"intervals": document})
        for symbol, *values in rows:
            found.setdefault(symbol, []).append(Bar(*values))
    return found


def _outside(interval: Interval, known: Sequence[Bar]) -> Iterator[Interval]:
    """Yield what of an interval lies before the first and after the last of ascending minutes."""
    start_ms, end_ms = interval
    if not known:
        yield interval
        return
    first_ms, after_ms = known[0].t_ms, known[-1].t_ms + 1
    if start_ms < first_ms:
        yield start_ms, min(end_ms, first_ms)
    if after_ms < end_ms:
        yield max(start_ms, after_ms), end_ms


def _ascending(within: Sequence[Interval], known: Sequence[Bar], stored: Sequence[Bar]) -> Iterable[Bar]:
    """Return the minutes within ascending intervals: those that are known, between those that are stored
    before and after them."""
    if not known:
        return stored
    middle = bisect_left(stored, known[0].t_ms, key=_START)
    parts = (
        known[bisect_left(known, start_ms, key=_START) : bisect_left(known, end_ms, key=_START)]
        for start_ms, end_ms in within
    )
    return chain(stored[:middle], *parts, stored[middle:])


_Part = Mapping[str, Sequence[Bar]]
"""Ascending bars of each symbol."""


class _Deriving:
    def __init__(self, connection: Connection, columns: BarColumns) -> None:
        self._connection = connection
        self._columns = columns
        self._table = connection.statements.names.bars
        self._probes = PROBES
        self._changed = 0
        self._rejected: dict[str, dict[int, RejectedBar]] = {}

    def run(self, all_bars: _Part) -> Derived:
        part = {symbol: self._fitting(symbol, some) for symbol, some in all_bars.items()}
        part = {symbol: some for symbol, some in part.items() if some}
        if part and self._refusal(part):
            self._write_in_parts({symbol: self._placed(symbol, some) for symbol, some in part.items()})
        return Derived(self._changed, self._rejected)

    def _fitting(self, symbol: str, some: Sequence[Bar]) -> Sequence[Bar]:
        """Return the bars without those that the columns cannot hold, which are refused."""
        some, _ = bars.filled(some, self._table.missing)
        refused = self._columns.rejected(some)
        return self._without(symbol, some, refused) if refused else some

    def _placed(self, symbol: str, some: Sequence[Bar]) -> Sequence[Bar]:
        """Return the bars without those that no partition takes, which are refused."""
        starts = [bar.t_ms for bar in some]
        return self._without(
            symbol,
            some,
            {
                t_ms: RejectedBar(
                    f"{self._table.place} has no partition for {moment(t_ms)}", Cause.NO_PARTITION
                )
                for t_ms in placing.unplaced(self._connection, [symbol], starts).get(symbol, ())
            },
        )

    def _without(self, symbol: str, some: Sequence[Bar], refused: Mapping[int, RejectedBar]) -> Sequence[Bar]:
        if refused:
            self._rejected.setdefault(symbol, {}).update(refused)
        return [bar for bar in some if bar.t_ms not in refused]

    def _write_in_parts(self, part: _Part) -> None:
        """Write bars that were refused together, the largest parts first."""
        waiting = deque([part])
        while waiting:
            part = {symbol: some for symbol, some in waiting.popleft().items() if some}
            said = self._refusal(part) if part else ""
            if not said:
                continue
            halves = _halves(part)
            if halves and self._probes >= len(waiting):
                waiting += halves
                continue
            for symbol, some in part.items():
                self._without(symbol, some, {bar.t_ms: RejectedBar(said) for bar in some})

    def _refusal(self, part: _Part) -> str:
        """Write some bars; return what the table has against one of their values, or ""."""
        self._probes -= 1
        try:
            with self._connection.transaction():
                self._changed += bars.overwrite(self._connection, part, self._columns.form)
        except psycopg.Error as error:
            if not is_of_data(error):
                raise
            return said_by(error)
        return ""


def _halves(part: _Part) -> Sequence[_Part]:
    """Return two halves of some bars; none of a single bar."""
    symbols = list(part)
    if len(symbols) > 1:
        middle = len(symbols) // 2
        return [{symbol: part[symbol] for symbol in some} for some in (symbols[:middle], symbols[middle:])]
    ((symbol, some),) = part.items()
    middle = len(some) // 2
    return [{symbol: some[:middle]}, {symbol: some[middle:]}] if middle else []
