"""The summaries of any tickers, each answered by itself."""

from __future__ import annotations

from typing import Any

from assetbatch.sandbox.endpoints.snapshot import entry_of
from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.parameters import any_of
from assetbatch.sandbox.responses import Request, SandboxResponse, ok

PATH = r"/v1/summaries"

_NAMES = ("ticker", "name", "type", "market_status", "session", "last_updated", "error", "message")


def respond(data: MarketData, request: Request) -> SandboxResponse:
    """Return what a snapshot shows, without trades, quotes and minutes. Indices have no summary."""
    data.check_any_realtime(request)
    tickers = any_of(request, request.query) or []
    entries = [entry_of(data, one, request.now_ms, ("fx", "crypto", "stocks")) for one in tickers]
    return ok(request, {"results": [_summary(one) for one in entries]})


def _summary(entry: dict[str, Any]) -> dict[str, Any]:
    kept = {name: entry[name] for name in _NAMES if name in entry}
    price = entry.get("session", {}).get("close")
    return {**kept, "price": price} if price else kept
