"""The bar of the last complete day of a ticker."""

from __future__ import annotations

from assetbatch.sandbox.market_data import MarketData, aggregates, bar, end_of_utc_day, kind_of
from assetbatch.sandbox.responses import Request, SandboxResponse

PATH = r"/v2/aggs/ticker/([^/]+)/prev"


def respond(data: MarketData, request: Request, ticker: str) -> SandboxResponse:
    """Return the bar, or an empty good response for an unknown ticker."""
    data.check_kind(request, kind_of(ticker))
    instrument = data.instruments.get(ticker)
    row = data.previous_day(instrument, request.now_ms) if instrument else None
    if instrument is None or row is None:
        return aggregates(request, [], 0, {"ticker": ticker})
    found = {"T": ticker, **bar(instrument, row, end_of_utc_day(row[0]))}
    return aggregates(request, [found], 1, {"ticker": ticker})
