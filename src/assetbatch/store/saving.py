"""One batch of answers, saved in one transaction with the same few round trips whatever its size.

The rows of trading.symbols are locked first, in the order of their ids, so that two writers of the same
symbols follow each other. What is newer is decided here, on what the locked rows hold; the statements
after the lock see whatever other writers committed before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from assetbatch.market import Batch, Outcome, Price, Saved
from assetbatch.store import bars, last_update, spans
from assetbatch.store.connection import Connection
from assetbatch.store.statements import statement
from assetbatch.store.text import shortened, storable

SUCCESS = "success"

ERROR_LIMIT = 500
"""Characters of an error message that are kept."""


def save(connection: Connection, batch: Batch, now_ms: int, *, in_doubt: bool = False) -> Saved:
    """Save the batch in the open transaction; see `Store.save`.

    `in_doubt`: an earlier attempt may have been committed, so that a price that is stored already may be
    ours and has yet to be published. Raises psycopg.Error.
    """
    prices = _newest(batch.prices)
    outcomes = {outcome.symbol: outcome for outcome in batch.outcomes}
    news = {symbol: some for symbol, some in batch.spans.items() if some}
    asked = list(dict.fromkeys([*(price.symbol for price in batch.prices), *batch.bars, *news, *outcomes]))
    stored = _locked(connection, asked)

    newer, published = [], []
    for price in (price for symbol, price in prices.items() if symbol in stored):
        if last_update.supersedes(price, stored[price.symbol], now_ms):
            newer.append(price)
        elif in_doubt and last_update.document(price) == stored[price.symbol]:
            published.append(price)
    new_bars = {symbol: some for symbol, some in batch.bars.items() if symbol in stored}
    news = {symbol: some for symbol, some in news.items() if symbol in stored}
    outcomes = {symbol: outcome for symbol, outcome in outcomes.items() if symbol in stored}

    with connection.pipeline():
        written = connection.execute(statement("save_prices"), {"prices": _prices(newer)})
        connection.execute(
            statement("save_outcomes"),
            {"outcomes": _outcomes(outcomes.values()), "now_ms": now_ms, "error_limit": ERROR_LIMIT},
        )
        if news:
            ledgers = connection.execute(statement("spans"), {"symbols": list(news)})
    if news:
        spans.save(connection, news, dict(ledgers.fetchall()), now_ms)
    updated = {symbol for (symbol,) in written.fetchall()}
    bars_new, bars_changed = bars.save(connection, new_bars, batch.bars_asked_ms or now_ms)
    return Saved(
        updated=[price for price in newer if price.symbol in updated] + published,
        unknown=[symbol for symbol in asked if symbol not in stored],
        bars_new=bars_new,
        bars_changed=bars_changed,
    )


def _newest(prices: Iterable[Price]) -> dict[str, Price]:
    """The newest price of each symbol; of two of one moment the last. A 0 or NaN is no price."""
    sound = [price for price in prices if last_update.positive(price.last_price) is not None]
    return {price.symbol: price for price in sorted(sound, key=lambda price: price.as_of_ms)}


def _locked(connection: Connection, symbols: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Lock the rows of the symbols; the stored `last_update` of each that has one."""
    askable = [symbol for symbol in symbols if storable(symbol) == symbol]
    rows = connection.execute(statement("lock_symbols"), {"symbols": askable}).fetchall()
    return {symbol: last_update.parse(text) for symbol, text in rows}


def _prices(prices: Iterable[Price]) -> str:
    return _json({"symbol": price.symbol, "last_update": last_update.document(price)} for price in prices)


def _outcomes(outcomes: Iterable[Outcome]) -> str:
    """Symbols with the same outcome come together."""
    alike: dict[tuple[str, str | None], list[str]] = {}
    for outcome in outcomes:
        error = None if outcome.status == SUCCESS else outcome.error
        alike.setdefault((outcome.status, error), []).append(outcome.symbol)
    return _json(
        {
            "symbols": symbols,
            "succeeded": status == SUCCESS,
            "status": storable(status),
            "error": None if error is None else shortened(storable(error), ERROR_LIMIT),
        }
        for (status, error), symbols in alike.items()
    )


def _json(rows: Iterable[dict[str, Any]]) -> str:
    return msgspec.json.encode(list(rows)).decode()
