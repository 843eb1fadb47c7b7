"""The bars of one day of all US stocks."""

from __future__ import annotations

from assetbatch.domain.market_hours import days_span
from assetbatch.sandbox.market_data import (
    MarketData,
    adjusted_at,
    aggregates,
    end_of_session,
    stock_bar,
)
from assetbatch.sandbox.parameters import day
from assetbatch.sandbox.responses import Request, SandboxResponse

PATH = r"/v2/aggs/grouped/locale/us/market/stocks/([^/]+)"


def respond(data: MarketData, request: Request, day_text: str) -> SandboxResponse:
    """Return the bar of each stock with a trade on that day; a closed day has none."""
    asked = day(request, "date", day_text)
    start_ms, end_ms = days_span(asked, asked)
    data.check_range(request, "stocks", start_ms, end_ms - 1, intraday=False)
    data.check_kind(request, "stocks")
    product = data.product_of("stocks")
    seen_ms = product.seen_ms(request.now_ms)
    with_otc = request.query.get("include_otc", "").lower() == "true"
    stamp_ms = end_of_session(start_ms)
    bars = []
    for one in data.instruments.values():
        listing = one.listing
        if listing is None or one.kind != "stocks" or (listing.is_otc and not with_otc):
            continue
        if row := data.day(one, start_ms, end_ms, seen_ms):
            found = stock_bar(one, row, stamp_ms, adjusted_ms=adjusted_at(request))
            bars.append({"T": one.ticker, **found, **({"otc": True} if listing.is_otc else {})})
    return aggregates(request, bars, len(bars), {}, is_delayed=product.delay_ms > 0)
