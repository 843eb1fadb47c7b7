"""The newest quote of a forex pair."""

from __future__ import annotations

from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.responses import Request, SandboxResponse, ok, ticker_not_found

PATH = r"/v1/last_quote/currencies/([^/]+)/([^/]+)"


def respond(data: MarketData, request: Request, base: str, quoted: str) -> SandboxResponse:
    """Return the quote."""
    data.check_realtime(request)
    data.check_kind(request, "fx")
    last = data.last_quote(f"C:{base}{quoted}", request.now_ms)
    if last is None:
        raise ticker_not_found(request)
    return ok(request, {"last": last, "symbol": f"{base}/{quoted}"}, "success")
