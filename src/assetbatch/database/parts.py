"""Save a batch of which PostgreSQL has refused a value in parts, so that it costs only its own symbol.

It halves the symbols until each part is stored or is a single symbol: one bad symbol of `n` costs about `2
log2 n` transactions. It halves the bars of a single symbol in the same way, within a budget, and then tries
its price. It records what was rejected, with the reason. A symbol of which another transaction holds a row
comes at the end, and is recorded as held if the lock lasts too long. Days of bars that came along come last
and apart, so that a bad one costs only itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from assetbatch.database.columns import Cause, RejectedBar
from assetbatch.database.failures import UNTRANSLATABLE, DataError, LockedError
from assetbatch.database.saving import Known
from assetbatch.database.statements import VALUES
from assetbatch.database.text import PLAIN, storable
from assetbatch.domain.formatting import moment
from assetbatch.domain.models import LOCKED, Bar, Changes, DayBar, Rejection, Saved

PROBES = 200
"""Maximum number of transactions of one batch that look for the rejected bars of its symbols; what is still
mixed then is rejected with them."""

PROBES_OF_A_SYMBOL = 60


class Database(Protocol):
    """What saving in parts asks of the database; each call is a transaction, and all share one deadline."""

    def place(self, of: str) -> str:
        """Return the name of a table of bars."""

    def save(self, batch: Changes, known: Known) -> Saved:
        """Save a part; raise DataError where a value is refused, LockedError where a row is held."""

    def waits(self) -> bool:
        """Return whether a row that is held is still waited for."""

    def unplaced(self, symbol: str, starts_ms: Sequence[int], of: str) -> Sequence[int]:
        """Return those of the moments that no partition of a table of bars takes."""

    def columns_of(self, constraint: str, of: str) -> Sequence[str]:
        """Return the columns that a constraint of a table of bars speaks of."""


def save_in_parts(database: Database, batch: Changes, error: DataError | LockedError) -> Saved:
    """Save what can be saved of a batch that was refused as a whole; raise DatabaseError."""
    return _Parts(database, batch).run(error)


class _Parts:
    def __init__(self, database: Database, batch: Changes) -> None:
        self._database = database
        self._batch = msgspec.structs.replace(batch, days={}, market_days=())
        self._days = list(batch.days.items())
        self._probes_left = PROBES
        self._held: list[str] = []
        self._saved = Saved(updated=[], unknown=[])

    def run(self, error: DataError | LockedError) -> Saved:
        if not self._days:
            self._halve(self._batch.symbols, error)
        else:
            try:
                self._save(self._batch, Known())
            except (DataError, LockedError) as raised:
                self._halve(self._batch.symbols, raised)
        held = self._held
        while held and self._database.waits():
            self._held = []
            for symbol in held:
                self._save_one_unless_held(symbol, None)
            held = self._held
        if held:
            self._save(Changes(), Known(locked=held))
        self._save_days(self._days)
        return self._saved

    def _save_days(self, days: Sequence[tuple[str, Sequence[DayBar]]]) -> None:
        if not days:
            return
        self._probes_left -= 1
        try:
            self._save(Changes(days=dict(days)), Known())
        except (DataError, LockedError) as error:
            if len(days) == 1 or self._probes_left < 2:
                said = error.said if isinstance(error, DataError) else LOCKED
                rejected = {
                    symbol: Rejection(error=said, bars=len(some), failed=False) for symbol, some in days
                }
                self._saved = Saved(updated=[], unknown=[], rejected=rejected) + self._saved
                return
            self._save_days(days[: len(days) // 2])
            self._save_days(days[len(days) // 2 :])

    def _halve(self, symbols: Sequence[str], error: DataError | LockedError) -> None:
        """Save symbols that were refused together."""
        if len(symbols) <= 1:
            for symbol in symbols:
                self._save_one_unless_held(symbol, error)
            return
        middle = len(symbols) // 2
        for half in (symbols[:middle], symbols[middle:]):
            try:
                self._save(self._batch.only(set(half)), Known())
            except (DataError, LockedError) as raised:
                self._halve(half, raised)

    def _save_one_unless_held(self, symbol: str, error: DataError | LockedError | None) -> None:
        """Save a symbol, or note that a row of it is held; `error` is what an attempt has shown already."""
        batch = self._batch.only({symbol})
        try:
            if error is None:
                try:
                    self._save(batch, Known())
                    return
                except DataError as raised:
                    error = raised
            if isinstance(error, DataError):
                self._save_one(symbol, batch, error)
                return
        except LockedError:
            pass
        self._held.append(symbol)

    def _save(self, batch: Changes, known: Known) -> None:
        self._saved += self._database.save(batch, known)

    def _save_one(self, symbol: str, batch: Changes, error: DataError) -> None:
        if error.state == UNTRANSLATABLE:
            batch = _plain(batch)
            try:
                self._save(batch, Known())
                return
            except DataError as raised:
                error = raised
        bars = {bar.t_ms: bar for bar in batch.bars.get(symbol, ())}
        rejected: Mapping[int, RejectedBar] = {}
        if bars:
            rejected = self._unplaced(symbol, bars)
            for looked_closer in (False, True):
                if looked_closer:
                    rejected = {**rejected, **self._probed(symbol, batch, bars, rejected, error)}
                try:
                    self._save(batch, Known(bars={symbol: rejected}))
                    return
                except DataError as raised:
                    error = raised
        # Not the bars: the price, or what is to be recorded of it.
        for without_outcome in (False, True):
            known = Known(
                bars={symbol: rejected}, symbols={symbol: error.said}, without_outcome=without_outcome
            )
            try:
                self._save(batch, known)
                return
            except DataError as raised:
                error = raised
        everything = dict.fromkeys(bars, RejectedBar(error.said))
        known = Known(bars={symbol: everything}, symbols={symbol: error.said}, without_outcome=True)
        self._save(msgspec.structs.replace(batch, coverage={}), known)

    def _unplaced(self, symbol: str, bars: Mapping[int, Bar]) -> dict[int, RejectedBar]:
        of = self._table_of(symbol)
        place = self._database.place(of)
        return {
            t_ms: RejectedBar(f"{place} has no partition for {moment(t_ms)}", Cause.NO_PARTITION)
            for t_ms in self._database.unplaced(symbol, list(bars), of)
        }

    def _table_of(self, symbol: str) -> str:
        return "bars_1m" if symbol in self._batch.minutes else "bars"

    def _probed(
        self,
        symbol: str,
        batch: Changes,
        bars: Mapping[int, Bar],
        known: Mapping[int, RejectedBar],
        error: DataError,
    ) -> dict[int, RejectedBar]:
        """Return the bars that are rejected, found by storing the others, the largest parts first."""
        rejected: dict[int, RejectedBar] = {}
        waiting = deque([(sorted(bars.keys() - known.keys()), error)])
        budget = PROBES_OF_A_SYMBOL
        while waiting:
            starts, why = waiting.popleft()
            halves = [half for half in (starts[: len(starts) // 2], starts[len(starts) // 2 :]) if half]
            if len(halves) < 2 or min(budget, self._probes_left) < 2:
                said = self._said(why, symbol, bars[starts[0]]) if len(starts) == 1 else why.said
                rejected |= dict.fromkeys(starts, RejectedBar(said))
                continue
            for half in halves:
                budget -= 1
                self._probes_left -= 1
                part = Changes(
                    bars={symbol: [bars[t_ms] for t_ms in half]},
                    asked_ms=batch.asked_ms,
                    answers=batch.answers,
                    minutes=batch.minutes,
                )
                try:
                    self._save(part, Known())
                except DataError as raised:
                    waiting.append((half, raised))
        return rejected

    def _said(self, error: DataError, symbol: str, bar: Bar) -> str:
        """Return what is said of a single rejected bar, with the columns and their values as far as they are
        known."""
        names = [error.column] if error.column else []
        if error.constraint and not names:
            names = list(self._database.columns_of(error.constraint, self._table_of(symbol)))
        values = ", ".join(f"{name} {getattr(bar, name)!r}" for name in names if name in VALUES)
        shown = values or f"open {bar.open!r}, high {bar.high!r}, low {bar.low!r}, close {bar.close!r}"
        return f"{error.said} (bar of {moment(bar.t_ms)}: {shown})"


def _plain(batch: Changes) -> Changes:
    """Return the batch with texts that every server takes."""
    replace = msgspec.structs.replace

    def plain(text: str | None) -> str | None:
        return None if text is None else storable(text, PLAIN)

    return replace(
        batch,
        outcomes=[replace(outcome, error=plain(outcome.error)) for outcome in batch.outcomes],
        coverage={
            symbol: [replace(interval, error=plain(interval.error)) for interval in intervals]
            for symbol, intervals in batch.coverage.items()
        },
    )
