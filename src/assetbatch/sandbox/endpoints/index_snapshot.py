"""The snapshot of indices, each answered by itself."""

from __future__ import annotations

from assetbatch.sandbox.endpoints.snapshot import page_of
from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.parameters import any_of, with_cursor
from assetbatch.sandbox.responses import Request, SandboxResponse

PATH = r"/v3/snapshot/indices"


def respond(data: MarketData, request: Request) -> SandboxResponse:
    """Return one page of snapshots."""
    data.check_realtime(request, "indices")
    query = with_cursor(request)
    tickers = any_of(request, query)
    if tickers is None:
        tickers = [ticker for ticker in data.tickers if ticker.startswith("I:")]
    return page_of(data, request, query, tickers, ("indices",))
