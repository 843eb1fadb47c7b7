"""The open and the close of one stock or index on a day."""

from __future__ import annotations

from assetbatch.domain.market_hours import days_span
from assetbatch.sandbox.market_data import MarketData, adjusted_at, kind_of, stock_bar
from assetbatch.sandbox.parameters import day
from assetbatch.sandbox.responses import Request, SandboxResponse, ok, ticker_not_found

PATH = r"/v1/open-close/([^/]+)/([^/]+)"


def respond(data: MarketData, request: Request, ticker: str, day_text: str) -> SandboxResponse:
    """Return the day, without what was before and after its session."""
    asked = day(request, "date", day_text)
    start_ms, end_ms = days_span(asked, asked)
    data.check_range(request, kind_of(ticker), start_ms, end_ms - 1, intraday=False)
    product = data.check_ticker(request, ticker)
    instrument = data.instruments.get(ticker)
    if instrument is None or instrument.listing is None:
        raise ticker_not_found(request)
    row = data.day(instrument, start_ms, end_ms, product.seen_ms(request.now_ms))
    if row is None:
        raise ticker_not_found(request)
    found = stock_bar(instrument, row, adjusted_ms=adjusted_at(request))
    names = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
    prices = {name: found[short] for name, short in names.items() if short in found}
    return ok(request, {"from": asked.isoformat(), "symbol": ticker, **prices})
