"""The newest trade of a crypto pair."""

from __future__ import annotations

from assetbatch.sandbox.market_data import MarketData, price, trade_size
from assetbatch.sandbox.responses import Request, SandboxResponse, ok, ticker_not_found

PATH = r"/v1/last/crypto/([^/]+)/([^/]+)"


def respond(data: MarketData, request: Request, base: str, quoted: str) -> SandboxResponse:
    """Return the trade."""
    data.check_realtime(request)
    data.check_kind(request, "crypto")
    instrument = data.instruments.get(f"X:{base}{quoted}")
    last = data.source.last(instrument, request.now_ms) if instrument else None
    if instrument is None or last is None:
        raise ticker_not_found(request)
    row, at_ms = last
    trade = {
        "conditions": [1],
        "exchange": 1,
        "price": price(instrument, row[4]),
        "size": trade_size(row),
        "timestamp": at_ms,
    }
    return ok(request, {"last": trade, "symbol": f"{base}-{quoted}"}, "success")
