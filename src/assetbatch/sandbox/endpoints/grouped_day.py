"""The bars of one day of a whole market."""

from __future__ import annotations

from assetbatch.domain.market_hours import days_span
from assetbatch.sandbox.market_data import MarketData, aggregates, bar, end_of_utc_day
from assetbatch.sandbox.parameters import day
from assetbatch.sandbox.responses import Request, SandboxResponse

PATH = r"/v2/aggs/grouped/locale/global/market/(fx|crypto)/([^/]+)"


def respond(data: MarketData, request: Request, kind: str, day_text: str) -> SandboxResponse:
    """Return the bar of each ticker with data on that day."""
    asked = day(request, "date", day_text)
    start_ms, end_ms = days_span(asked, asked)
    data.check_range(request, kind, start_ms, end_ms - 1, intraday=False)
    data.check_kind(request, kind)
    # Recorded responses stamp forex with the end of the UTC day and crypto within the day.
    stamp_ms = end_of_utc_day(start_ms) if kind == "fx" else start_ms
    bars = [
        {"T": one.ticker, **bar(one, row, stamp_ms)}
        for one in data.instruments.values()
        if one.kind == kind and (row := data.day(one, start_ms, end_ms, request.now_ms))
    ]
    return aggregates(request, bars, len(bars), {})
