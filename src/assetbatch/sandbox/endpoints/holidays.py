"""The holidays and early closes of the next year."""

from __future__ import annotations

from datetime import UTC

from assetbatch.domain.market_hours import day_of, from_ms
from assetbatch.sandbox.exchange import Session
from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.responses import Request, SandboxResponse

PATH = r"/v1/marketstatus/upcoming"


def respond(data: MarketData, request: Request) -> SandboxResponse:
    """Return each day once for each exchange."""
    body = [
        {"date": day.isoformat(), "exchange": exchange, "name": special.name}
        | _hours(data.calendar.session(day))
        for day, special in data.calendar.listed(day_of(request.now_ms)).items()
        for exchange in ("NYSE", "NASDAQ", "OTC")
    ]
    return SandboxResponse(200, body)


def _hours(session: Session | None) -> dict[str, str]:
    """Return the status of a special day, with its hours where it has some."""
    if session is None:
        return {"status": "closed"}
    return {"close": _utc(session.closes_ms), "open": _utc(session.opens_ms), "status": "early-close"}


def _utc(at_ms: int) -> str:
    return f"{from_ms(at_ms).astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"
