"""The bar of the last complete day of a ticker."""

from __future__ import annotations

from assetbatch.sandbox.market_data import (
    MarketData,
    adjusted_at,
    aggregates,
    bar,
    end_of_session,
    end_of_utc_day,
    kind_of,
    stock_bar,
)
from assetbatch.sandbox.responses import Request, SandboxResponse

PATH = r"/v2/aggs/ticker/([^/]+)/prev"


def respond(data: MarketData, request: Request, ticker: str) -> SandboxResponse:
    """Return the bar, or an empty good response for an unknown ticker."""
    product = data.check_ticker(request, ticker)
    kind = kind_of(ticker)
    instrument = data.instruments.get(ticker)
    # A day of stocks is over for this endpoint at New York's midnight, however late other data are.
    seen_ms = request.now_ms if product.realtime else product.opened_ms(request.now_ms)
    row = data.previous_day(instrument, seen_ms) if instrument else None
    if instrument is None or row is None:
        return aggregates(request, [], 0, {"ticker": ticker}, kind=kind)
    if instrument.listing:
        found = stock_bar(instrument, row, end_of_session(row[0]), adjusted_ms=adjusted_at(request))
    else:
        found = bar(instrument, row, end_of_utc_day(row[0]))
    return aggregates(request, [{"T": ticker, **found}], 1, {"ticker": ticker}, kind=kind)
