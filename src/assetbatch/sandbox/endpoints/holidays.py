"""The holidays of the next year."""

from __future__ import annotations

from datetime import date, timedelta

from assetbatch.domain.market_hours import day_of
from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.responses import Request, SandboxResponse

PATH = r"/v1/marketstatus/upcoming"


def respond(_data: MarketData, request: Request) -> SandboxResponse:
    """Return each holiday once for each exchange."""
    today = day_of(request.now_ms)
    coming = sorted(
        (day, name)
        for year in (today.year, today.year + 1)
        for day, name in _holidays(year)
        if today <= day <= today + timedelta(days=365)
    )
    body = [
        {"date": day.isoformat(), "exchange": exchange, "name": name, "status": "closed"}
        for day, name in coming
        for exchange in ("NYSE", "NASDAQ", "OTC")
    ]
    return SandboxResponse(200, body)


def _holidays(year: int) -> list[tuple[date, str]]:
    """Return the days of a year on which American stock exchanges are closed and most others too."""

    def observed(day: date) -> date:
        return day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))

    first = date(year, 11, 1)
    thanksgiving = first + timedelta(days=(3 - first.weekday()) % 7 + 21)
    return [
        (observed(date(year, 1, 1)), "New Years Day"),
        (observed(date(year, 7, 4)), "Independence Day"),
        (thanksgiving, "Thanksgiving"),
        (observed(date(year, 12, 25)), "Christmas"),
    ]
