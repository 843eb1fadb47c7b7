"""The markets that are open now."""

from __future__ import annotations

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import from_ms, is_open, new_york_zone
from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.responses import Request, SandboxResponse

PATH = r"/v1/marketstatus/now"


def respond(data: MarketData, request: Request) -> SandboxResponse:
    """Return the state of the markets."""
    now_ms = request.now_ms
    status = data.calendar.status(now_ms)
    early = status == "early_trading"
    stocks = "extended-hours" if status in ("early_trading", "late_trading") else status
    body = {
        "afterHours": status == "late_trading",
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
