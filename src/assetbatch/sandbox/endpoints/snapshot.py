"""The universal snapshot: the newest prices of any tickers, each answered by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import day_of, is_open
from assetbatch.sandbox.bars import Row
from assetbatch.sandbox.market_data import MS_TO_NS, MarketData, price, volume
from assetbatch.sandbox.parameters import choice, integer, page_of_tickers, with_cursor, within
from assetbatch.sandbox.responses import Request, SandboxResponse, bad_request, ok
from assetbatch.sandbox.stock_snapshots import universal
from assetbatch.sandbox.universe import Instrument

PATH = r"/v3/snapshot"


def respond(data: MarketData, request: Request) -> SandboxResponse:
    """Return one page of snapshots, 10 unless `limit` says otherwise."""
    data.check_any_realtime(request)
    query = with_cursor(request)
    limit = integer(request, query, "limit", 10, 1, 250)
    choice(request, query, "sort", ("ticker",), "ticker")
    kind = choice(request, query, "type", ("stocks", "options", "crypto", "fx", "indices"), "")
    if asked := query.get("ticker.any_of"):
        tickers = sorted(set(filter(None, asked.split(","))))
        if len(tickers) > 250:
            raise bad_request(request, "ticker.any_of holds more than 250 tickers.")
    else:
        tickers = data.tickers_on(day_of(request.now_ms))
    chosen = within(tickers, query)
    if kind:
        chosen = [one for one in chosen if one in data.instruments and data.instruments[one].kind == kind]
    page, more = page_of_tickers(request, query, chosen, limit)
    return ok(request, {"results": [entry_of(data, ticker, request.now_ms) for ticker in page], **more})


def entry_of(
    data: MarketData, ticker: str, now_ms: int, kinds: Sequence[str] = ("fx", "crypto", "stocks", "indices")
) -> dict[str, Any]:
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
    session = _session(instrument, data.today(instrument, now_ms), data.previous_day(instrument, now_ms))
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


def _session(instrument: Instrument, day: Row | None, before: Row | None) -> dict[str, float]:
    _, opened, high, low, closed, units, *_ = day or (0,) * 8
    previous_close = before[4] if before else 0
    change = closed - previous_close if day and before else 0
    return {
        "change": price(instrument, change),
        "change_percent": round(100 * change / previous_close, 4) if previous_close else 0,
        "open": price(instrument, opened),
        "high": price(instrument, high),
        "low": price(instrument, low),
        "close": price(instrument, closed),
        "volume": volume(instrument, units),
        "previous_close": price(instrument, previous_close),
    }


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
