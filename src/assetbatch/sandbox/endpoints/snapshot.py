"""The universal snapshot: the newest prices of any tickers, each answered by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import day_of, is_open
from assetbatch.sandbox.bars import Row
from assetbatch.sandbox.market_data import MS_TO_NS, MarketData, price
from assetbatch.sandbox.parameters import (
    Query,
    any_of,
    choice,
    integer,
    page_of_tickers,
    with_cursor,
    within,
)
from assetbatch.sandbox.responses import Request, SandboxResponse, ok
from assetbatch.sandbox.stock_snapshots import session_of, universal
from assetbatch.sandbox.universe import Instrument

PATH = r"/v3/snapshot"


ALL_KINDS = ("fx", "crypto", "stocks", "indices")


def respond(data: MarketData, request: Request) -> SandboxResponse:
    """Return one page of snapshots of any class."""
    data.check_any_realtime(request)
    query = with_cursor(request)
    kind = choice(request, query, "type", (*ALL_KINDS, "options"), "")
    tickers = any_of(request, query)
    if tickers is None:
        tickers = data.tickers_on(day_of(request.now_ms))
    if kind:
        tickers = [one for one in tickers if one in data.instruments and data.instruments[one].kind == kind]
    return page_of(data, request, query, tickers)


def page_of(
    data: MarketData, request: Request, query: Query, tickers: Sequence[str], kinds: Sequence[str] = ALL_KINDS
) -> SandboxResponse:
    """Return one page of snapshots of tickers of some classes, 10 unless `limit` says otherwise."""
    limit = integer(request, query, "limit", 10, 1, 250)
    choice(request, query, "sort", ("ticker",), "ticker")
    page, more = page_of_tickers(request, query, within(tickers, query), limit)
    results = [entry_of(data, ticker, request.now_ms, kinds) for ticker in page]
    return ok(request, {"results": results, **more})


def entry_of(data: MarketData, ticker: str, now_ms: int, kinds: Sequence[str] = ALL_KINDS) -> dict[str, Any]:
    """Return the snapshot of a ticker of some classes, or its error."""
    instrument = data.instruments.get(ticker)
    listing = instrument.listing if instrument else None
    is_gone = listing is not None and not listing.is_traded(day_of(now_ms))
    if instrument is None or instrument.kind not in kinds or is_gone:
        return {"ticker": ticker, "error": "NOT_FOUND", "message": "Ticker not found."}
    product = data.plan.product(instrument.kind)
    if product is None or not product.realtime or not product.has(ticker):
        return {"ticker": ticker, "error": "NOT_ENTITLED", "message": "Not entitled to this ticker."}
    if listing is not None:
        return universal(data, instrument, product, now_ms)
    day, before = data.today(instrument, now_ms), data.previous_day(instrument, now_ms)
    session = session_of(instrument, day, before, with_volume=True)
    entry = {
        "ticker": ticker,
        "name": instrument.name,
        "type": instrument.kind,
        "market_status": "open" if is_open(instrument.market, now_ms) else "closed",
        "session": session,
    }
    if last := data.source.last(instrument, now_ms):
        row, at_ms = last
        if instrument.market is Market.CRYPTO:
            session["price"] = price(instrument, row[4])
            entry["last_trade"] = _last_trade(instrument, row, at_ms)
        else:
            entry["last_quote"] = _last_quote(instrument, *data.source.quote(instrument, row), at_ms)
    return entry


def _last_trade(instrument: Instrument, row: Row, at_ms: int) -> dict[str, Any]:
    """Return the trade without `size`: the spec requires it, the live service leaves it out."""
    return {
        "participant_timestamp": at_ms * MS_TO_NS,
        "timeframe": "REAL-TIME",
        "id": str(at_ms),
        "price": price(instrument, row[4]),
        "exchange": 1,
        "conditions": [1],
    }


def _last_quote(instrument: Instrument, bid: int, ask: int, at_ms: int) -> dict[str, Any]:
    return {
        "last_updated": at_ms * MS_TO_NS,
        "timeframe": "REAL-TIME",
        "ask": price(instrument, ask),
        "bid": price(instrument, bid),
        "exchange": 48,
    }
