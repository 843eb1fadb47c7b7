"""The tickers that a company has had."""

from __future__ import annotations

from assetbatch.domain.market_hours import day_of
from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.responses import Request, SandboxResponse, ok, ticker_not_found

PATH = r"/vX/reference/tickers/([^/]+)/events"


def respond(data: MarketData, request: Request, name: str) -> SandboxResponse:
    """Return the events of the company that a ticker names today, or a FIGI for ever, the newest first.

    A former ticker is not found: in the provider's own words a ticker stands for the company that has it now.
    """
    today = day_of(request.now_ms)
    listing = None
    for one in data.instruments.values():
        if one.kind != "stocks" or one.listing is None:
            continue
        if (name == one.ticker and one.listing.is_traded(today)) or name == one.listing.figi:
            listing = one.listing
    if listing is None:
        raise ticker_not_found(request)
    types = request.query.get("types", "")
    changes = listing.changes if not types or "ticker_change" in types.split(",") else ()
    events = [
        {"ticker_change": {"ticker": ticker}, "type": "ticker_change", "date": day.isoformat()}
        for day, ticker in reversed(changes)
        if day <= today
    ]
    results = {"name": listing.name, "composite_figi": listing.figi, "cik": "", "events": events}
    return ok(request, {"results": results})
