"""The endpoints of the simulated provider: one module each, with its `PATH` and its `respond`.

They are true to the provider's OpenAPI spec. Where its live service is known to differ, they follow it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote

from assetbatch.sandbox.endpoints import (
    bars,
    conversion,
    dividends,
    exchanges,
    grouped_day,
    grouped_stocks,
    holidays,
    index_snapshot,
    last_quote,
    last_trade,
    market_snapshot,
    market_status,
    open_close,
    previous_day,
    snapshot,
    splits,
    stock_snapshot,
    summaries,
    ticker_details,
    ticker_events,
    tickers,
)
from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.responses import Refusal, Request, SandboxResponse, unknown_path

ENDPOINTS: dict[re.Pattern[str], Callable[..., SandboxResponse]] = {
    re.compile(module.PATH): module.respond
    for module in (
        snapshot, market_snapshot, bars, previous_day, grouped_day, grouped_stocks, market_status, holidays,
        last_quote, last_trade, conversion, tickers, exchanges, ticker_details, ticker_events, splits,
        stock_snapshot, index_snapshot, summaries, open_close, dividends,
    )
}  # fmt: skip


def respond(data: MarketData, request: Request) -> SandboxResponse:
    """Respond to an authenticated GET: a pure function of the request, the plan, the prices and the time."""
    for path, endpoint in ENDPOINTS.items():
        if matched := path.fullmatch(request.path):
            try:
                return endpoint(data, request, *(part and unquote(part) for part in matched.groups()))
            except Refusal as refusal:
                return refusal.response
    return unknown_path()
