"""One batch of answers, saved in one transaction with the same few round trips whatever its size.

The rows of trading.symbols are locked first, in the order of their ids, so that two writers of the same
symbols follow each other. What is newer is decided here, on what the locked rows hold; the statements
after the lock see whatever other writers committed before it. What the columns cannot hold is left out here,
with its reason; what PostgreSQL refuses beyond that ends the transaction (see `parts`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import psycopg

from assetbatch.database import bars, coverage, last_update
from assetbatch.database.columns import BarColumns, Cause, Column, Denied
from assetbatch.database.session import Connection
from assetbatch.database.text import shortened, storable
from assetbatch.domain.models import (
    BAR_MS,
    LOCKED,
    Bar,
    Changes,
    CoveredInterval,
    IntervalState,
    Outcome,
    Price,
    Rejection,
    RejectionCause,
    Saved,
)
from assetbatch.domain.numbers import positive
from assetbatch.domain.status import Status

ERROR_LIMIT = 500
"""Characters of an error message that are kept."""

RefusedBars = Mapping[int, Denied]
"""Bars by start that cannot be stored."""


NOT_REGISTERED = "it is not registered: run assetbatch init"


class Known(NamedTuple):
    """What earlier transactions have shown: the bars that the database refuses, the symbols whose price or
    outcome it refuses (with the reason), and whether not even a failure can be recorded of those in the
    platform's table. `locked` are symbols of which another transaction holds a row."""

    bars: Mapping[str, RefusedBars] = {}
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
    ours and has yet to be published. Raises psycopg.Error.
    """
    asked = batch.symbols
    encoding = connection.info.parameter_status("server_encoding")
    askable = [symbol for symbol in asked if storable(symbol, encoding) == symbol]
    if known.locked:
        return _save_locked(connection, known.locked, now_ms)
    stored, columns = _locked(connection, askable, now_ms, with_columns=bool(batch.bars))
    unknown = _unknown(connection, [symbol for symbol in asked if symbol not in stored])
    asked_ms = {symbol: batch.asked_ms.get(symbol, now_ms) for symbol in stored}

    by_start = {
        symbol: {bar.t_ms: bar for bar in some}
        for symbol, some in batch.bars.items()
        if symbol in stored and some
    }
    filled = _fill(by_start, connection.statements.names.bars.missing)
    refused = _refused(by_start, columns, known.bars)
    rejected = {symbol: _rejection(by_start[symbol], some) for symbol, some in refused.items()}
    rejected |= {
        symbol: Rejection(error=error, bars=len(refused.get(symbol, ())), price=True)
        for symbol, error in known.symbols.items()
        if symbol in stored
    }
    failed = {
        symbol: rejection
        for symbol, rejection in rejected.items()
        if rejection.price or (rejection.failed and symbol in batch.from_bars)
    }

    newer, published = [], []
    prices = {symbol: price for symbol, price in _newest(batch.prices).items() if symbol in stored}
    for price in prices.values():
        if price.symbol in failed and not _has_its_bar(price.symbol, by_start, refused, known):
            continue
        before = stored[price.symbol]
        later = before.last_sync_ms is not None and before.last_sync_ms > asked_ms[price.symbol]
        if last_update.supersedes(price, before.last_update, now_ms, learned_later=later):
            newer.append(price)
        elif in_doubt and last_update.document(price) == before.last_update:
            published.append(price)
    outcomes = {outcome.symbol: outcome for outcome in batch.outcomes if outcome.symbol in stored}
    outcomes |= {symbol: Outcome(symbol, Status.FAILED, some.error) for symbol, some in failed.items()}
    news = {
        symbol: _without(some, sorted(by_start.get(symbol, ())), refused.get(symbol, {}), asked_ms[symbol])
        for symbol, some in batch.spans.items()
        if symbol in stored and some
    }

    writer = _Outcomes(connection, now_ms, encoding)
    theirs = {
        symbol: outcome
        for symbol, outcome in outcomes.items()
        if not (known.without_outcome and symbol in known.symbols)
    }
    with connection.pipeline():
        written = connection.execute(connection.statements("save_prices"), {"prices": _prices(newer)})
        document = writer.document(outcomes, failed)
        left_out = writer.save_for_readers(
            document if len(theirs) == len(outcomes) else writer.document(theirs, failed)
        )
        writer.save(document, [price for price in prices.values() if price.symbol not in failed])
        if news:
            ledgers = connection.execute(connection.statements("spans"), {"symbols": list(news)})
    updated = {symbol for symbol, has_price in written.fetchall() if has_price}
    skipped = _skipped(
        connection,
        [price.symbol for price in newer if price.symbol not in updated],
        [symbol for (symbol,) in left_out.fetchall()],
    )
    if not_written := skipped | unknown:
        failures = {
            symbol: Outcome(symbol, Status.FAILED, some.error)
            for symbol, some in not_written.items()
            if some.cause is not RejectionCause.UNREGISTERED
        }
        document = writer.document(failures, not_written)
        writer.save_for_readers(document)
        writer.save(document, [])
        writer.forget_prices([symbol for symbol in failures if not_written[symbol].price])
    if news:
        coverage.save(connection, news, dict(ledgers.fetchall()), now_ms, encoding)
    sound = {
        symbol: {t_ms: bar for t_ms, bar in some.items() if t_ms not in refused[symbol]}
        if symbol in refused
        else some
        for symbol, some in by_start.items()
    }
    bars_new, bars_changed = bars.save(
        connection, {symbol: some for symbol, some in sound.items() if some}, asked_ms, columns.form
    )
    return Saved(
        updated=[price for price in newer if price.symbol in updated] + published,
        unknown=list(unknown),
        bars_new=bars_new,
        bars_changed=bars_changed,
        bars_filled=filled,
        rejected={**rejected, **not_written},
    )


def _unknown(connection: Connection, symbols: Sequence[str]) -> dict[str, Rejection]:
    """The symbols whose row could not be locked: it is not there, or a policy keeps it from this role."""
    if not symbols:
        return {}
    encoding = connection.info.parameter_status("server_encoding")
    askable = [symbol for symbol in symbols if storable(symbol, encoding) == symbol]
    rows = connection.execute(connection.statements("symbols_there"), {"symbols": askable})
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
    """The symbols of which the tables have left out a row without an error."""
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
    writer = _Outcomes(connection, now_ms, None)
    writer.save(writer.document(outcomes, rejected), [])
    return Saved(updated=[], unknown=[], rejected=rejected)


NO_OUTCOMES = "[]"


class _Outcomes:
    """Writes how it went for symbols: into our own table, which decides, and for the platform's readers."""

    def __init__(self, connection: Connection, now_ms: int, encoding: str | None) -> None:
        self._connection = connection
        self._now_ms = now_ms
        self._encoding = encoding

    def save(self, document: str, prices: Sequence[Price]) -> None:
        """Write the outcomes of a document, and the moments of the prices that came."""
        if document == NO_OUTCOMES and not prices:
            return
        self._connection.execute(
            self._connection.statements("save_sync"),
            {
                "outcomes": document,
                "symbols": [price.symbol for price in prices],
                "as_of_ms": [price.as_of_ms for price in prices],
                "now_ms": self._now_ms,
            },
        )

    def forget_prices(self, symbols: Collection[str]) -> None:
        """Take back that the prices of these symbols came: they are not stored."""
        statement = self._connection.statements("sync_forget_prices")
        self._connection.execute(statement, {"symbols": list(symbols)})

    def save_for_readers(self, document: str) -> psycopg.Cursor[tuple[Any, ...]]:
        """Write the platform's rows; returns a cursor over the symbols whose row was left out."""
        return self._connection.execute(
            self._connection.statements("save_sync_status"),
            {
                "outcomes": document,
                "now_ms": self._now_ms,
                "error_limit": ERROR_LIMIT,
            },
        )

    def document(self, outcomes: Mapping[str, Outcome], failed: Mapping[str, Rejection]) -> str:
        """The outcomes as both tables take them; symbols with the same outcome come together."""
        alike: dict[tuple[str, str | None, bool], list[str]] = {}
        for outcome in outcomes.values():
            error = None if outcome.status is Status.SUCCESS else outcome.error
            why = failed.get(outcome.symbol)
            rejected = why is not None and why.cause is not RejectionCause.LOCKED
            alike.setdefault((outcome.status, error, rejected), []).append(outcome.symbol)
        words = self._connection.statements.names.states
        return _json(
            {
                "symbols": symbols,
                "succeeded": status is Status.SUCCESS,
                "rejected": rejected,
                "status": storable(status, self._encoding),
                "platform_status": storable(words.get(status, status), self._encoding),
                "error": None if error is None else storable(shortened(error, ERROR_LIMIT), self._encoding),
            }
            for (status, error, rejected), symbols in alike.items()
        )


def _fill(bars_of: Mapping[str, dict[int, Bar]], missing: Mapping[str, float]) -> int:
    """Put the values of `missing` where a bar has none; returns how many bars that are."""
    count = 0
    for some in bars_of.values() if missing else ():
        for t_ms, bar in some.items():
            lacking = {name: value for name, value in missing.items() if getattr(bar, name) is None}
            if lacking:
                some[t_ms] = msgspec.structs.replace(bar, **lacking)
                count += 1
    return count


def _newest(prices: Iterable[Price]) -> dict[str, Price]:
    """The newest price of each symbol; of two of one moment the last. A 0 or NaN is no price."""
    sound = [price for price in prices if positive(price.last_price) is not None]
    return {price.symbol: price for price in sorted(sound, key=lambda price: price.as_of_ms)}


def _locked(
    connection: Connection, symbols: Sequence[str], now_ms: int, *, with_columns: bool
) -> tuple[dict[str, _Stored], BarColumns]:
    """Lock the rows of the symbols: what is stored of each that has one; and the columns of the bars."""
    statements = connection.statements
    with connection.pipeline():
        rows = connection.execute(statements("lock_symbols"), {"symbols": symbols, "now_ms": now_ms})
        columns = connection.execute(statements("bars_columns")) if with_columns else ()
    stored = {symbol: _Stored(last_update.parse(text), sync_ms) for symbol, text, sync_ms in rows}
    return stored, BarColumns((Column(*row) for row in columns), statements.names.bars)


def _refused(
    bars_of: Mapping[str, Mapping[int, Bar]], columns: BarColumns, known: Mapping[str, RefusedBars]
) -> dict[str, RefusedBars]:
    """The bars that cannot be stored, of each symbol that has any."""
    found: dict[str, RefusedBars] = {}
    for symbol, some in bars_of.items():
        refused = {**columns.refused(some.values()), **known.get(symbol, {})}
        if refused:
            found[symbol] = refused
    return found


def _rejection(some: Mapping[int, Bar], refused: RefusedBars) -> Rejection:
    """What is said of a symbol: bars of the past without a partition are holes, everything else a failure."""
    by_value = [t_ms for t_ms, why in refused.items() if why.cause is Cause.VALUE]
    newest_ms = max(some)
    shown_ms = newest_ms if newest_ms in refused else max(by_value or refused)
    return Rejection(
        error=refused[shown_ms].error,
        bars=len(refused),
        failed=bool(by_value) or newest_ms in refused,
    )


def _has_its_bar(
    symbol: str,
    bars_of: Mapping[str, Mapping[int, Bar]],
    refused: Mapping[str, RefusedBars],
    known: Known,
) -> bool:
    """Whether the newest bar, from which the price follows, can be stored."""
    return symbol not in known.symbols and max(bars_of[symbol]) not in refused[symbol]


def _without(
    news: Sequence[CoveredInterval], starts: Sequence[int], refused: RefusedBars, asked_ms: int
) -> list[CoveredInterval]:
    """What is known of the stretches when some of their bars are refused: those are rejected, each run of
    them with the reason of its first."""
    left = list(news)
    for start_ms, end_ms, why in _runs(starts, refused):
        left = [piece for span in left for piece in _cut_out(span, start_ms, end_ms)]
        left.append(CoveredInterval(start_ms, end_ms, IntervalState.REJECTED, asked_ms, why))
    return left


def _runs(starts: Sequence[int], refused: RefusedBars) -> Iterator[tuple[int, int, str]]:
    """The stretches of refused bars between which no bar was stored, and why."""
    run: tuple[int, int, Denied] | None = None
    for t_ms in starts:
        why = refused.get(t_ms)
        if run and (why is None or why.cause is not run[2].cause):
            yield run[0], run[1], run[2].error
            run = None
        if why is not None:
            run = (run[0] if run else t_ms, t_ms + BAR_MS, run[2] if run else why)
    if run:
        yield run[0], run[1], run[2].error


def _cut_out(span: CoveredInterval, start_ms: int, end_ms: int) -> list[CoveredInterval]:
    """The parts of a span outside of `[start_ms, end_ms)`."""
    before = msgspec.structs.replace(span, end_ms=min(span.end_ms, start_ms))
    after = msgspec.structs.replace(span, start_ms=max(span.start_ms, end_ms))
    return [part for part in (before, after) if part.start_ms < part.end_ms]


def _prices(prices: Iterable[Price]) -> str:
    return _json({"symbol": price.symbol, "last_update": last_update.document(price)} for price in prices)


def _outcomes(outcomes: Iterable[Outcome], encoding: str | None) -> str:
    """Symbols with the same outcome come together."""
    alike: dict[tuple[str, str | None], list[str]] = {}
    for outcome in outcomes:
        error = None if outcome.status is Status.SUCCESS else outcome.error
        alike.setdefault((outcome.status, error), []).append(outcome.symbol)
    return _json(
        {
            "symbols": symbols,
            "succeeded": status is Status.SUCCESS,
            "status": storable(status, encoding),
            "error": None if error is None else storable(shortened(error, ERROR_LIMIT), encoding),
        }
        for (status, error), symbols in alike.items()
    )


def _json(rows: Iterable[dict[str, Any]]) -> str:
    return msgspec.json.encode(list(rows)).decode()
