"""The markets that are open now."""

from __future__ import annotations

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import day_of, from_ms, is_open, new_york_zone, sessions
from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.responses import Request, SandboxResponse

PATH = r"/v1/marketstatus/now"


def respond(_data: MarketData, request: Request) -> SandboxResponse:
    """Return the state of the markets."""
    now_ms = request.now_ms
    is_session = is_open(Market.STOCK, now_ms)
    is_extended = is_open(Market.STOCK_EXTENDED, now_ms) and not is_session
    early = is_extended and now_ms < sessions(Market.STOCK, day_of(now_ms))[0][0]
    stocks = "open" if is_session else "extended-hours" if is_extended else "closed"
    body = {
        "afterHours": is_extended and not early,
        "currencies": {
            "crypto": "open",
            "fx": "open" if is_open(Market.FOREX, now_ms) else "closed",
        },
        "earlyHours": early,
        "exchanges": {"nasdaq": stocks, "nyse": stocks, "otc": stocks},
        "market": stocks,
        "serverTime": from_ms(now_ms).astimezone(new_york_zone()).isoformat(timespec="seconds"),
    }
    return SandboxResponse(200, body)
