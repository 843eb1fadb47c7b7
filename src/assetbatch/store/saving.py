"""One batch of answers, saved in one transaction with the same few round trips whatever its size.

The rows of trading.symbols are locked first, in the order of their ids, so that two writers of the same
symbols follow each other. What is newer is decided here, on what the locked rows hold; the statements
after the lock see whatever other writers committed before it. What the columns cannot hold is left out here,
with its reason; what PostgreSQL refuses beyond that ends the transaction (see `parts`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from assetbatch.market import BAR_MS, Bar, Batch, Outcome, Price, Rejection, Saved, Span, SpanState
from assetbatch.store import bars, last_update, spans
from assetbatch.store.columns import BarColumns, Cause, Column, Refused
from assetbatch.store.connection import Connection
from assetbatch.store.statements import statement
from assetbatch.store.text import shortened, storable

SUCCESS = "success"
FAILED = "failed"

ERROR_LIMIT = 500
"""Characters of an error message that are kept."""

RefusedBars = Mapping[int, Refused]
"""Bars by start that cannot be stored."""


class Known(NamedTuple):
    """What earlier transactions have shown: the bars that the database refuses, the symbols whose price or
    outcome it refuses (with the reason), and whether not even a failure can be recorded of those."""

    bars: Mapping[str, RefusedBars] = {}
    symbols: Mapping[str, str] = {}
    without_outcome: bool = False


NOTHING_KNOWN = Known()


class _Stored(NamedTuple):
    last_update: dict[str, Any]
    last_sync_ms: int | None


def save(
    connection: Connection,
    batch: Batch,
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
    stored, columns = _locked(connection, asked, now_ms, with_columns=bool(batch.bars), encoding=encoding)
    asked_ms = {symbol: batch.asked_ms.get(symbol, now_ms) for symbol in stored}

    by_start = {
        symbol: {bar.t_ms: bar for bar in some}
        for symbol, some in batch.bars.items()
        if symbol in stored and some
    }
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
    for price in (price for symbol, price in _newest(batch.prices).items() if symbol in stored):
        if price.symbol in failed and not _has_its_bar(price.symbol, by_start, refused, known):
            continue
        before = stored[price.symbol]
        later = before.last_sync_ms is not None and before.last_sync_ms > asked_ms[price.symbol]
        if last_update.supersedes(price, before.last_update, now_ms, learned_later=later):
            newer.append(price)
        elif in_doubt and last_update.document(price) == before.last_update:
            published.append(price)
    outcomes = {outcome.symbol: outcome for outcome in batch.outcomes if outcome.symbol in stored}
    outcomes |= {symbol: Outcome(symbol, FAILED, some.error) for symbol, some in failed.items()}
    if known.without_outcome:
        outcomes = {symbol: outcome for symbol, outcome in outcomes.items() if symbol not in known.symbols}
    news = {
        symbol: _without(some, sorted(by_start.get(symbol, ())), refused.get(symbol, {}), asked_ms[symbol])
        for symbol, some in batch.spans.items()
        if symbol in stored and some
    }

    with connection.pipeline():
        written = connection.execute(statement("save_prices"), {"prices": _prices(newer)})
        connection.execute(
            statement("save_outcomes"),
            {
                "outcomes": _outcomes(outcomes.values(), encoding),
                "now_ms": now_ms,
                "error_limit": ERROR_LIMIT,
            },
        )
        if failed:
            rows = [
                {"symbol": symbol, "error": storable(some.error, encoding)} for symbol, some in failed.items()
            ]
            connection.execute(statement("save_rejections"), {"rejections": _json(rows), "now_ms": now_ms})
        if news:
            ledgers = connection.execute(statement("spans"), {"symbols": list(news)})
    if news:
        spans.save(connection, news, dict(ledgers.fetchall()), now_ms, encoding)
    updated = {symbol for (symbol,) in written.fetchall()}
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
        unknown=[symbol for symbol in asked if symbol not in stored],
        bars_new=bars_new,
        bars_changed=bars_changed,
        rejected=rejected,
    )


def _newest(prices: Iterable[Price]) -> dict[str, Price]:
    """The newest price of each symbol; of two of one moment the last. A 0 or NaN is no price."""
    sound = [price for price in prices if last_update.positive(price.last_price) is not None]
    return {price.symbol: price for price in sorted(sound, key=lambda price: price.as_of_ms)}


def _locked(
    connection: Connection, symbols: Sequence[str], now_ms: int, *, with_columns: bool, encoding: str | None
) -> tuple[dict[str, _Stored], BarColumns]:
    """Lock the rows of the symbols: what is stored of each that has one; and the columns of the bars."""
    askable = [symbol for symbol in symbols if storable(symbol, encoding) == symbol]
    with connection.pipeline():
        rows = connection.execute(statement("lock_symbols"), {"symbols": askable, "now_ms": now_ms})
        columns = connection.execute(statement("bars_columns")) if with_columns else ()
    stored = {symbol: _Stored(last_update.parse(text), sync_ms) for symbol, text, sync_ms in rows}
    return stored, BarColumns(Column(*row) for row in columns)


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


def _without(news: Sequence[Span], starts: Sequence[int], refused: RefusedBars, asked_ms: int) -> list[Span]:
    """What is known of the stretches when some of their bars are refused: those are rejected, each run of
    them with the reason of its first."""
    left = list(news)
    for start_ms, end_ms, why in _runs(starts, refused):
        left = [piece for span in left for piece in _cut_out(span, start_ms, end_ms)]
        left.append(Span(start_ms, end_ms, SpanState.REJECTED, asked_ms, why))
    return left


def _runs(starts: Sequence[int], refused: RefusedBars) -> Iterator[tuple[int, int, str]]:
    """The stretches of refused bars between which no bar was stored, and why."""
    run: tuple[int, int, Refused] | None = None
    for t_ms in starts:
        why = refused.get(t_ms)
        if run and (why is None or why.cause is not run[2].cause):
            yield run[0], run[1], run[2].error
            run = None
        if why is not None:
            run = (run[0] if run else t_ms, t_ms + BAR_MS, run[2] if run else why)
    if run:
        yield run[0], run[1], run[2].error


def _cut_out(span: Span, start_ms: int, end_ms: int) -> list[Span]:
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
        error = None if outcome.status == SUCCESS else outcome.error
        alike.setdefault((outcome.status, error), []).append(outcome.symbol)
    return _json(
        {
            "symbols": symbols,
            "succeeded": status == SUCCESS,
            "status": storable(status, encoding),
            "error": None if error is None else storable(shortened(error, ERROR_LIMIT), encoding),
        }
        for (status, error), symbols in alike.items()
    )


def _json(rows: Iterable[dict[str, Any]]) -> str:
    return msgspec.json.encode(list(rows)).decode()
