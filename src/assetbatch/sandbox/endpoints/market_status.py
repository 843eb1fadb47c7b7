"""The markets that are open now."""

from __future__ import annotations

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import from_ms, is_open, new_york_zone
from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.responses import Request, SandboxResponse

PATH = r"/v1/marketstatus/now"


def respond(_data: MarketData, request: Request) -> SandboxResponse:
    """Return the state of the markets. Stocks have hours of their own, without holidays."""
    local = from_ms(request.now_ms).astimezone(new_york_zone())
    minute = local.hour * 60 + local.minute if local.weekday() < 5 else 0
    early = 4 * 60 <= minute < 9 * 60 + 30
    late = 16 * 60 <= minute < 20 * 60
    is_session = 9 * 60 + 30 <= minute < 16 * 60
    stocks = "open" if is_session else "extended-hours" if early or late else "closed"
    body = {
        "afterHours": late,
        "currencies": {
            "crypto": "open",
            "fx": "open" if is_open(Market.FOREX, request.now_ms) else "closed",
        },
        "earlyHours": early,
        "exchanges": {"nasdaq": stocks, "nyse": stocks, "otc": stocks},
        "market": stocks,
        "serverTime": local.isoformat(timespec="seconds"),
    }
    return SandboxResponse(200, body)
