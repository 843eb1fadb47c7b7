"""The holidays and early closes of the next year."""

from __future__ import annotations

from datetime import UTC, date, timedelta

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import day_of, from_ms, sessions
from assetbatch.domain.nyse import special_days
from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.responses import Request, SandboxResponse

PATH = r"/v1/marketstatus/upcoming"


def respond(_data: MarketData, request: Request) -> SandboxResponse:
    """Return each day once for each exchange."""
    today = day_of(request.now_ms)
    body = [
        {"date": day.isoformat(), "exchange": exchange, "name": special.name} | _hours(day)
        for year in (today.year, today.year + 1)
        for day, special in special_days(year).items()
        if today <= day <= today + timedelta(days=365)
        for exchange in ("NYSE", "NASDAQ", "OTC")
    ]
    return SandboxResponse(200, body)


def _hours(day: date) -> dict[str, str]:
    """Return the status of a special day, with its hours where it has some."""
    session = sessions(Market.STOCK, day)
    if not session:
        return {"status": "closed"}
    ((opens_ms, closes_ms),) = session
    return {"close": _utc(closes_ms), "open": _utc(opens_ms), "status": "early-close"}


def _utc(at_ms: int) -> str:
    return f"{from_ms(at_ms).astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"
