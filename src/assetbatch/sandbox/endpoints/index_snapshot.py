"""The snapshot of indices, each answered by itself."""

from __future__ import annotations

from assetbatch.sandbox.endpoints.snapshot import entry_of
from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.parameters import choice, integer, page_of_tickers, with_cursor, within
from assetbatch.sandbox.responses import Request, SandboxResponse, bad_request, ok

PATH = r"/v3/snapshot/indices"


def respond(data: MarketData, request: Request) -> SandboxResponse:
    """Return one page of snapshots, 10 unless `limit` says otherwise."""
    data.check_realtime(request, "indices")
    query = with_cursor(request)
    limit = integer(request, query, "limit", 10, 1, 250)
    choice(request, query, "sort", ("ticker",), "ticker")
    tickers = [ticker for ticker in data.tickers if ticker.startswith("I:")]
    if asked := query.get("ticker.any_of"):
        tickers = sorted(set(filter(None, asked.split(","))))
        if len(tickers) > 250:
            raise bad_request(request, "ticker.any_of holds more than 250 tickers.")
    page, more = page_of_tickers(request, query, within(tickers, query), limit)
    results = [entry_of(data, ticker, request.now_ms, ("indices",)) for ticker in page]
    return ok(request, {"results": results, **more})
