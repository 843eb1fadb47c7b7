"""What the reference says of one ticker."""

from __future__ import annotations

from assetbatch.domain.market_hours import day_of
from assetbatch.sandbox.endpoints.tickers import entry_of
from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.parameters import day
from assetbatch.sandbox.responses import Request, SandboxResponse, ok, ticker_not_found

PATH = r"/v3/reference/tickers/([^/]+)"


def respond(data: MarketData, request: Request, ticker: str) -> SandboxResponse:
    """Return the details on a day, today's unless `date` says otherwise.

    A delisted ticker still has some. One that its company gave up for another has none from that day on.
    """
    text = request.query.get("date")
    on_day = day(request, "date", text) if text else day_of(request.now_ms)
    instrument = data.instruments.get(ticker)
    if instrument is None:
        raise ticker_not_found(request)
    listing = instrument.listing
    if listing is not None and not listing.is_traded(on_day):
        ended = listing.ended(on_day)
        if ended is None or any(ended == since for since, _ in listing.changes):
            raise ticker_not_found(request)
    details = {"currency_name": "usd", **entry_of(instrument, request.now_ms, on_day)}
    if listing is not None and instrument.kind == "stocks":
        details["ticker_root"] = ticker.partition(".")[0]
        details["list_date"] = listing.listed.isoformat()
        details["round_lot"] = 100
        details["share_class_shares_outstanding"] = round(instrument.hourly_volume * 1_000)
    return ok(request, {"results": details})
