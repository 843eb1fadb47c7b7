"""The dividends of all stocks: none of the simulated ones pays any."""

from __future__ import annotations

from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.parameters import integer
from assetbatch.sandbox.responses import Request, SandboxResponse, ok

PATH = r"/(stocks/v1|v3/reference)/dividends"


def respond(_data: MarketData, request: Request, version: str) -> SandboxResponse:
    """Return an empty page, in the form of either version."""
    integer(request, request.query, "limit", 10, 1, 5_001 if version == "stocks/v1" else 1_000)
    return ok(request, {"results": []})
