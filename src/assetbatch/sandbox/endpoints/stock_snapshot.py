"""The snapshot of v2 for stocks: of one, of some, or of the whole market."""

from __future__ import annotations

from assetbatch.domain.market_hours import day_of
from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.parameters import listed
from assetbatch.sandbox.responses import Request, SandboxResponse, ok, ticker_not_found
from assetbatch.sandbox.stock_snapshots import of_market

PATH = r"/v2/snapshot/locale/us/markets/stocks/tickers(?:/([^/]+))?"


def respond(data: MarketData, request: Request, ticker: str | None) -> SandboxResponse:
    """Return the snapshot of `ticker`, or a list from which unknown tickers are left out."""
    product = data.check_realtime(request, "stocks")
    today = day_of(request.now_ms)
    asked = [ticker] if ticker else listed(request.query.get("tickers", ""))
    with_otc = bool(asked) or request.query.get("include_otc", "").lower() == "true"
    entries = [
        of_market(data, one, product, request.now_ms)
        for one in map(data.instruments.get, asked or data.tickers)
        if one
        and one.kind == "stocks"
        and one.listing
        and one.listing.is_traded(today)
        and (with_otc or not one.listing.is_otc)
    ]
    if ticker is None:
        return ok(request, {"count": len(entries), "tickers": entries})
    if not entries:
        raise ticker_not_found(request)
    return ok(request, {"ticker": entries[0]})
