"""Save one batch of answers in one transaction with the same few round trips whatever its size.

The rows of trading.symbols are locked first, in the order of their ids, so that two writers of the same
symbols follow each other. What is newer is decided here, on what the locked rows hold; the statements after
the lock see whatever other writers committed before it. What the columns cannot hold is left out here, with
its reason; what PostgreSQL refuses beyond that ends the transaction (see `parts`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from assetbatch.database import bars, coverage, days, last_update, minutes
from assetbatch.database.columns import BarColumns, Cause, Column, RejectedBar
from assetbatch.database.session import Connection
from assetbatch.database.text import shortened, storable
from assetbatch.domain.coverage import ANSWERED, is_asked, record, unanswered
from assetbatch.domain.models import (
    BAR_MS,
    LOCKED,
    Bar,
    Changes,
    Comparison,
    CoveredInterval,
    IntervalState,
    Look,
    Outcome,
    Price,
    Rejection,
    RejectionCause,
    Saved,
    floor_to_bar,
)
from assetbatch.domain.numbers import positive
from assetbatch.domain.status import Status

_ENCODER = msgspec.json.Encoder()

ERROR_LIMIT = 500
"""Maximum number of characters of an error message that is kept."""

_START = attrgetter("t_ms")

RejectedBars = Mapping[int, RejectedBar]
"""Bars by start that cannot be stored."""


NOT_REGISTERED = "it is not registered: run assetbatch init"


class Known(NamedTuple):
    """What earlier transactions have shown: the bars that the database rejects, the symbols whose price or
    outcome it rejects (with the reason), and whether not even a failure can be recorded of those in the
    platform's table. `locked` are symbols of which another transaction holds a row."""

    bars: Mapping[str, RejectedBars] = {}
    symbols: Mapping[str, str] = {}
    without_outcome: bool = False
    locked: Collection[str] = ()


NOTHING_KNOWN = Known()


class _Stored(NamedTuple):
    last_update: dict[str, Any]
    last_sync_ms: int | None


def save(
    connection: Connection,
    batch: Changes,
    now_ms: int,
    *,
    in_doubt: bool = False,
    known: Known = NOTHING_KNOWN,
) -> Saved:
    """Save the batch in the open transaction; see `Store.save`.

    `in_doubt`: an earlier attempt may have been committed, so that a price that is stored already may be
    ours and has yet to be published. Raise psycopg.Error.
    """
    if known.locked:
        return _save_locked(connection, known.locked, now_ms)
    return _Saving(connection, batch, now_ms, known).run(in_doubt=in_doubt)


class _Written(NamedTuple):
    """What the tables have taken of prices and outcomes: the symbols whose price is stored, those of which a
    row was left out, and the coverage that is stored (JSON) of each symbol that has changes of it."""

    updated: set[str]
    not_written: dict[str, Rejection]
    coverage: dict[str, str]


class _Saving:
    """Saves one batch: locks its rows, decides what of it can be stored, and writes that."""

    def __init__(self, connection: Connection, batch: Changes, now_ms: int, known: Known) -> None:
        self._connection = connection
        self._batch = batch
        self._now_ms = now_ms
        self._known = known
        self._encoding = connection.info.parameter_status("server_encoding")
        askable = [symbol for symbol in batch.symbols if storable(symbol, self._encoding) == symbol]
        self._minutes = set(batch.minutes) & (batch.bars.keys() | batch.coverage.keys())
        has_bars = bool(batch.bars or batch.looks or self._minutes)
        tables = ["bars"] * has_bars + ["bars_1m"] * bool(self._minutes)
        self._stored, self._columns = _locked(connection, askable, now_ms, tables)
        missing = [symbol for symbol in batch.symbols if symbol not in self._stored]
        self._unknown = _unknown(connection, missing)
        self._asked_ms = {symbol: batch.asked_ms.get(symbol, now_ms) for symbol in self._stored}
        self._bars: dict[str, Sequence[Bar]] = {}
        self._filled = 0
        for symbol, some in batch.bars.items():
            if symbol in self._stored and some:
                table = connection.statements.names.table(self._table_of(symbol))
                self._bars[symbol], count = bars.filled(some, table.missing)
                self._filled += count
        self._rejected_bars = {
            symbol: rejected
            for symbol, some in self._bars.items()
            if (
                rejected := {
                    **self._columns[self._table_of(symbol)].rejected(some),
                    **known.bars.get(symbol, {}),
                }
            )
        }
        self._refused = {symbol: refused for symbol in self._bars if (refused := self._refused_of(symbol))}
        self._rejected = self._rejections()
        self._failed = {
            symbol: rejection
            for symbol, rejection in self._rejected.items()
            if rejection.price or (rejection.failed and symbol in batch.from_bars)
        }
        self._with_new_bars: set[str] = set()  # of five minutes
        self._has_other_minutes = False
        self._known_minutes: Mapping[str, Sequence[Bar]] = {}
        self._prices = {
            symbol: price for symbol, price in _newest(batch.prices).items() if symbol in self._stored
        }

    def run(self, *, in_doubt: bool) -> Saved:
        newer, published = self._compared(in_doubt=in_doubt)
        intervals = self._intervals()
        written = self._write(newer, intervals)
        compared, doubted = self._compare(intervals, written.coverage)
        for symbol, wanted in doubted.items():
            intervals[symbol] = [*intervals.get(symbol, ()), *wanted]
        bars_new, bars_changed = self._save_bars()
        if intervals:
            intervals = self._derive(intervals, written.coverage)
            coverage.save(
                self._connection,
                intervals,
                written.coverage,
                self._now_ms,
                self._encoding,
                minutes=self._minutes,
                in_session=self._batch.in_session,
            )
        if self._with_new_bars:
            bars.keep_hourly_closes(self._connection, self._with_new_bars)
        rejected_days = days.save(self._connection, self._batch.days, self._now_ms)
        days.save_market_days(self._connection, self._batch.market_days, self._now_ms)
        return Saved(
            updated=[price for price in newer if price.symbol in written.updated] + published,
            unknown=list(self._unknown),
            bars_new=bars_new,
            bars_changed=bars_changed,
            bars_filled=self._filled,
            rejected={**rejected_days, **self._rejected, **written.not_written},
            compared=compared,
            doubted=tuple(doubted),
        )

    def _rejections(self) -> dict[str, Rejection]:
        """Return what is rejected of each symbol: bars, or the price."""
        rejected = {symbol: _rejection(self._starts(symbol), some) for symbol, some in self._refused.items()}
        return rejected | {
            symbol: Rejection(error=error, bars=len(self._refused.get(symbol, ())), price=True)
            for symbol, error in self._known.symbols.items()
            if symbol in self._stored
        }

    def _compared(self, *, in_doubt: bool) -> tuple[list[Price], list[Price]]:
        """Return the prices that are newer than what is stored, and those that an earlier attempt stored."""
        newer, published = [], []
        for price in self._prices.values():
            symbol = price.symbol
            if symbol in self._failed and not self._has_its_bar(symbol):
                continue
            before = self._stored[symbol]
            later = before.last_sync_ms is not None and before.last_sync_ms > self._asked_ms[symbol]
            if last_update.supersedes(price, before.last_update, self._now_ms, learned_later=later):
                newer.append(price)
            elif in_doubt and last_update.document(price) == before.last_update:
                published.append(price)
        return newer, published

    def _intervals(self) -> dict[str, list[CoveredInterval]]:
        """Return what is new of the coverage of each symbol."""
        return {
            symbol: _without(some, sorted(self._starts(symbol)), refused, self._asked_ms[symbol])
            if (refused := self._refused.get(symbol))
            else list(some)
            for symbol, some in self._batch.coverage.items()
            if symbol in self._stored and some
        }

    def _write(self, newer: Sequence[Price], intervals: Mapping[str, Sequence[CoveredInterval]]) -> _Written:
        """Write prices and outcomes, in one round trip unless a table leaves rows out."""
        connection, writer = self._connection, _Outcomes(self._connection, self._now_ms, self._encoding)
        outcomes = {one.symbol: one for one in self._batch.outcomes if one.symbol in self._stored}
        outcomes |= {
            symbol: Outcome(symbol, Status.FAILED, some.error) for symbol, some in self._failed.items()
        }
        came = {symbol: one.as_of_ms for symbol, one in self._prices.items() if symbol not in self._failed}
        unreadable = self._known.symbols if self._known.without_outcome else ()
        with connection.pipeline():
            written = connection.execute(
                connection.statements("assets.save_prices"), {"prices": _prices(newer)}
            )
            left_out = writer.save(outcomes, self._failed, came, hidden=unreadable)
            if intervals:
                stored = connection.execute(
                    connection.statements("coverage.load"), {"symbols": list(intervals)}
                )
        updated = {symbol for symbol, has_price in written.fetchall() if has_price}
        skipped = _skipped(
            connection,
            [price.symbol for price in newer if price.symbol not in updated],
            [symbol for (symbol,) in left_out],
        )
        if not_written := skipped | self._unknown:
            _record_not_written(writer, not_written)
        return _Written(updated, not_written, dict(stored.fetchall()) if intervals else {})

    def _table_of(self, symbol: str) -> str:
        return "bars_1m" if symbol in self._minutes else "bars"

    def _starts(self, symbol: str) -> Collection[int]:
        """Return the starts of the bars of five minutes that came for a symbol, or whose minutes came."""
        starts = {bar.t_ms for bar in self._bars.get(symbol, ())}
        return set(map(floor_to_bar, starts)) if symbol in self._minutes else starts

    def _refused_of(self, symbol: str) -> RejectedBars:
        """Return the bars of five minutes that cannot be stored. One of whose minutes a column cannot hold,
        of whichever size, is none either."""
        rejected: RejectedBars = self._rejected_bars.get(symbol, {})
        if symbol not in self._minutes:
            return rejected
        some, _ = bars.filled(self._bars[symbol], self._connection.statements.names.bars.missing)
        rejected = {**self._columns["bars"].rejected(some), **rejected}
        return {floor_to_bar(t_ms): why for t_ms, why in rejected.items()}

    def _has_its_bar(self, symbol: str) -> bool:
        """Return whether the newest bar, from which the price follows, can be stored."""
        return symbol not in self._known.symbols and max(self._starts(symbol)) not in self._refused[symbol]

    def _compare(
        self, intervals: Mapping[str, Sequence[CoveredInterval]], stored: Mapping[str, str]
    ) -> tuple[Mapping[str, Comparison], Mapping[str, Sequence[CoveredInterval]]]:
        """Compare what came with what is stored; `stored` is the coverage before, as JSON.

        Return what differs of each symbol, and what is wanted again of those of which too much does.
        """
        looks = {
            symbol: [
                part for look in some for part in _looked_at(look, sorted(self._refused.get(symbol, ())))
            ]
            for symbol, some in self._batch.looks.items()
            if symbol in self._stored
        }
        if not looks:
            return {}, {}
        from assetbatch.database import verification

        return verification.compare(
            self._connection,
            looks,
            self._sound_bars(),
            {of: columns.form for of, columns in self._columns.items()},
            {symbol: self._table_of(symbol) for symbol in looks},
            {
                symbol: record(coverage.decode(stored.get(symbol)), some)
                for symbol, some in intervals.items()
                if symbol in looks
            },
            self._now_ms,
        )

    def _save_bars(self) -> tuple[int, int]:
        """Write the bars of each size; return how many were new and how many differed."""
        sound = self._sound_bars()
        new = changed = 0
        for of, columns in self._columns.items():
            some = {symbol: sound[symbol] for symbol in sound if self._table_of(symbol) == of}
            written = bars.save(self._connection, some, self._asked_ms, self._batch.answers, columns.form, of)
            new, changed = new + written.new, changed + written.changed
            if of == "bars" and (written.new or written.changed):
                self._with_new_bars.update(some)
            if of == "bars_1m":
                self._has_other_minutes = written.new + written.changed > 0
                if columns.form == "binary":  # else a column may round
                    self._known_minutes = {symbol: some[symbol] for symbol in written.into_nothing}
        return new, changed

    def _derive(
        self, intervals: dict[str, list[CoveredInterval]], stored: Mapping[str, str]
    ) -> dict[str, list[CoveredInterval]]:
        """Write the bars of five minutes that are complete by this batch; return the coverage without those
        that their table refuses. `stored` is the coverage before, as JSON."""
        complete = {
            symbol: self._complete(symbol, some, coverage.decode(stored.get(symbol)))
            for symbol, some in intervals.items()
            if symbol in self._minutes
        }
        if not complete:
            return intervals
        derived = minutes.derive(self._connection, complete, self._known_minutes, self._columns["bars"])
        if derived.changed:
            self._with_new_bars.update(complete)
        for symbol, refused in derived.rejected.items():
            starts = sorted({*self._starts(symbol), *refused})
            intervals[symbol] = _without(intervals[symbol], starts, refused, self._asked_ms[symbol])
            self._rejected.setdefault(symbol, _rejection(starts, refused))
        return intervals

    def _complete(
        self, symbol: str, news: Sequence[CoveredInterval], known: Sequence[CoveredInterval]
    ) -> list[tuple[int, int]]:
        """Return what is answered as a whole now, and the bars of earlier answers of which minutes came; only
        what was not answered before where all minutes are stored as they came, and nobody verifies them."""
        united = record((), news)
        if not self._has_other_minutes and symbol not in self._batch.looks:
            asked = [one for one in united if one.state in ANSWERED]
            new = [piece for one in asked for piece in unanswered(known, one.start_ms, one.end_ms)]
            return [(piece.start_ms, piece.end_ms) for piece in new]
        late = [
            CoveredInterval(t_ms, t_ms + BAR_MS, IntervalState.ASKED)
            for t_ms in sorted({floor_to_bar(bar.t_ms) for bar in self._beside(symbol, united)})
            if is_asked(known, t_ms)
        ]
        if late:
            united = record(united, late)
        return [(one.start_ms, one.end_ms) for one in united if one.state in ANSWERED]

    def _beside(self, symbol: str, coverage: Sequence[CoveredInterval]) -> Iterator[Bar]:
        """Yield the bars that came and are not answered in a coverage."""
        some, at = self._bars.get(symbol, ()), 0
        for interval in coverage:
            if interval.state in ANSWERED:
                yield from some[at : bisect_left(some, interval.start_ms, key=_START)]
                at = bisect_left(some, interval.end_ms, key=_START)
        yield from some[at:]

    def _sound_bars(self) -> dict[str, Sequence[Bar]]:
        """Return the bars that are not rejected, of each symbol that has any."""
        sound = {
            symbol: [bar for bar in some if bar.t_ms not in self._rejected_bars[symbol]]
            if symbol in self._rejected_bars
            else some
            for symbol, some in self._bars.items()
        }
        return {symbol: some for symbol, some in sound.items() if some}


def _record_not_written(writer: _Outcomes, not_written: Mapping[str, Rejection]) -> None:
    """Record the symbols of which the tables have not taken a row: their refresh has failed."""
    failures = {
        symbol: Outcome(symbol, Status.FAILED, some.error)
        for symbol, some in not_written.items()
        if some.cause is not RejectionCause.UNREGISTERED
    }
    writer.save(failures, not_written)
    writer.forget_prices([symbol for symbol in failures if not_written[symbol].price])


def _unknown(connection: Connection, symbols: Sequence[str]) -> dict[str, Rejection]:
    """Return the symbols whose row could not be locked: missing, or kept from this role by a policy."""
    if not symbols:
        return {}
    encoding = connection.info.parameter_status("server_encoding")
    askable = [symbol for symbol in symbols if storable(symbol, encoding) == symbol]
    rows = connection.execute(connection.statements("assets.find"), {"symbols": askable})
    visible = {symbol for (symbol,) in rows}
    place = connection.statements.names.symbols.place
    hidden = f"a row-level policy of {place} lets this role read the row, but not update it"
    return {
        symbol: Rejection(error=hidden, price=True, cause=RejectionCause.SKIPPED)
        if symbol in visible
        else Rejection(error=NOT_REGISTERED, price=True, cause=RejectionCause.UNREGISTERED)
        for symbol in symbols
    }


def _skipped(
    connection: Connection, prices: Collection[str], outcomes: Collection[str]
) -> dict[str, Rejection]:
    """Return the symbols of which the tables have left out a row without an error."""
    names = connection.statements.names
    found: dict[str, Rejection] = {}
    for symbols, place, is_price in (
        (outcomes, names.sync_status.place, False),
        (prices, names.symbols.place, True),
    ):
        error = f"{place} was not written: a trigger or a row-level policy leaves the row out"
        rejection = Rejection(error=error, price=is_price, cause=RejectionCause.SKIPPED)
        found |= dict.fromkeys(symbols, rejection)
    return found


def _save_locked(connection: Connection, symbols: Collection[str], now_ms: int) -> Saved:
    """Record in our own table alone that a row of these symbols was held by another transaction."""
    rejection = Rejection(error=LOCKED, price=True, cause=RejectionCause.LOCKED)
    rejected = dict.fromkeys(symbols, rejection)
    outcomes = {symbol: Outcome(symbol, Status.FAILED, LOCKED) for symbol in symbols}
    _Outcomes(connection, now_ms, None).save(outcomes, rejected, hidden=outcomes)
    return Saved(updated=[], unknown=[], rejected=rejected)


class _Outcomes:
    """Writes how it went for symbols: into our own table, which decides, and for the platform's readers."""

    def __init__(self, connection: Connection, now_ms: int, encoding: str | None) -> None:
        self._connection = connection
        self._now_ms = now_ms
        self._encoding = encoding

    def save(
        self,
        outcomes: Mapping[str, Outcome],
        failed: Mapping[str, Rejection],
        as_of_ms: Mapping[str, int] = {},
        *,
        hidden: Collection[str] = (),
    ) -> Iterable[tuple[str]]:
        """Write the outcomes, and the moments of the prices that came; the `hidden` into our own table alone.

        Return the symbols of which the platform's table has left out a row.
        """
        document = self._document(outcomes, failed, as_of_ms, hidden)
        if not document:
            return ()
        arguments = {"outcomes": _json(document), "now_ms": self._now_ms, "error_limit": ERROR_LIMIT}
        return self._connection.execute(self._connection.statements("sync.save"), arguments)

    def forget_prices(self, symbols: Collection[str]) -> None:
        """Take back that the prices of these symbols came: they are not stored."""
        statement = self._connection.statements("sync.forget_prices")
        self._connection.execute(statement, {"symbols": list(symbols)})

    def _document(
        self,
        outcomes: Mapping[str, Outcome],
        failed: Mapping[str, Rejection],
        as_of_ms: Mapping[str, int],
        hidden: Collection[str],
    ) -> list[dict[str, Any]]:
        """Return the outcomes as the statement takes them; symbols with the same outcome come together."""
        alike: dict[tuple[Status, str | None, bool, bool], list[str]] = {}
        for symbol, outcome in outcomes.items():
            error = None if outcome.status is Status.SUCCESS else outcome.error
            why = failed.get(symbol)
            rejected = why is not None and why.cause is not RejectionCause.LOCKED
            alike.setdefault((outcome.status, error, rejected, symbol not in hidden), []).append(symbol)
        words = self._connection.statements.names.states
        document: list[dict[str, Any]] = [
            {
                "symbols": symbols,
                "as_of_ms": list(map(as_of_ms.get, symbols)),
                "succeeded": status is Status.SUCCESS,
                "rejected": rejected,
                "for_readers": for_readers,
                "status": storable(status, self._encoding),
                "platform_status": storable(words.get(status, status), self._encoding),
                "error": None if error is None else storable(shortened(error, ERROR_LIMIT), self._encoding),
            }
            for (status, error, rejected, for_readers), symbols in alike.items()
        ]
        if alone := [symbol for symbol in as_of_ms if symbol not in outcomes]:
            document.append({"symbols": alone, "as_of_ms": [as_of_ms[symbol] for symbol in alone]})
        return document


def _newest(prices: Iterable[Price]) -> dict[str, Price]:
    """Return the newest price of each symbol; of two of one moment the last. A 0 or NaN is no price."""
    sound = [price for price in prices if positive(price.last_price) is not None]
    return {price.symbol: price for price in sorted(sound, key=lambda price: price.as_of_ms)}


def _locked(
    connection: Connection, symbols: Sequence[str], now_ms: int, tables: Sequence[str]
) -> tuple[dict[str, _Stored], dict[str, BarColumns]]:
    """Lock the rows of the symbols; return what is stored of each, and the columns of the tables of bars."""
    statements = connection.statements
    with connection.pipeline():
        rows = connection.execute(statements("assets.lock"), {"symbols": symbols, "now_ms": now_ms})
        found = {of: connection.execute(statements("bars.load_columns", of)) for of in tables}
    stored = {symbol: _Stored(last_update.parse(text), sync_ms) for symbol, text, sync_ms in rows}
    columns = {
        of: BarColumns((Column(*row) for row in rows_of), statements.names.table(of))
        for of, rows_of in found.items()
    }
    return stored, columns


def _rejection(some: Collection[int], rejected: RejectedBars) -> Rejection:
    """Return what is said of a symbol: bars of the past without a partition are gaps, everything else a
    failure."""
    by_value = [t_ms for t_ms, why in rejected.items() if why.cause is Cause.VALUE]
    newest_ms = max(some)
    shown_ms = newest_ms if newest_ms in rejected else max(by_value or rejected)
    return Rejection(
        error=rejected[shown_ms].error,
        bars=len(rejected),
        failed=bool(by_value) or newest_ms in rejected,
    )


def _without(
    news: Sequence[CoveredInterval], starts: Sequence[int], rejected: RejectedBars, asked_ms: int
) -> list[CoveredInterval]:
    """Return the coverage when some bars are rejected: each run of them becomes a rejected interval.

    Its reason is that of its first bar.
    """
    left = list(news)
    for start_ms, end_ms, why in _runs(starts, rejected):
        left = [piece for interval in left for piece in _cut_out(interval, start_ms, end_ms)]
        left.append(CoveredInterval(start_ms, end_ms, IntervalState.REJECTED, asked_ms, why))
    return left


def _runs(starts: Sequence[int], rejected: RejectedBars) -> Iterator[tuple[int, int, str]]:
    """Yield the intervals of rejected bars between which no bar was stored, and why."""
    run: tuple[int, int, RejectedBar] | None = None
    for t_ms in starts:
        why = rejected.get(t_ms)
        if run and (why is None or why.cause is not run[2].cause):
            yield run[0], run[1], run[2].error
            run = None
        if why is not None:
            run = (run[0] if run else t_ms, t_ms + BAR_MS, run[2] if run else why)
    if run:
        yield run[0], run[1], run[2].error


def _looked_at(look: Look, refused: Iterable[int]) -> Iterator[Look]:
    """Yield the parts of a look; what came of a bar that is refused cannot be compared."""
    replace = msgspec.structs.replace
    at_ms = look.start_ms
    for t_ms in refused:
        if look.start_ms <= t_ms < look.end_ms:
            if at_ms < t_ms:
                yield replace(look, start_ms=at_ms, end_ms=t_ms, room=(t_ms - at_ms) // BAR_MS)
            yield replace(look, start_ms=t_ms, end_ms=t_ms + BAR_MS, usable=False)
            at_ms = t_ms + BAR_MS
    if at_ms == look.start_ms:
        yield look
    elif at_ms < look.end_ms:
        yield replace(look, start_ms=at_ms, room=(look.end_ms - at_ms) // BAR_MS)


def _cut_out(interval: CoveredInterval, start_ms: int, end_ms: int) -> list[CoveredInterval]:
    """Return the parts of an interval outside of `[start_ms, end_ms)`."""
    before = msgspec.structs.replace(interval, end_ms=min(interval.end_ms, start_ms))
    after = msgspec.structs.replace(interval, start_ms=max(interval.start_ms, end_ms))
    return [part for part in (before, after) if part.start_ms < part.end_ms]


def _prices(prices: Iterable[Price]) -> str:
    return _json({"symbol": price.symbol, "last_update": last_update.document(price)} for price in prices)


def _json(rows: Iterable[dict[str, Any]]) -> str:
    """Return rows as a JSON array, encoded one by one: together they take four times the memory of their
    text."""
    return (b"[" + b",".join(map(_ENCODER.encode, rows)) + b"]").decode()
