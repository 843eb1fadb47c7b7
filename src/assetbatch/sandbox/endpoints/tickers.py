"""The reference: all tickers, to be searched and sorted."""

from __future__ import annotations

from typing import Any

from assetbatch.domain.market_hours import from_ms
from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.parameters import choice, day, integer, page_of_tickers, with_cursor, within
from assetbatch.sandbox.responses import Request, SandboxResponse, ok
from assetbatch.sandbox.universe import CURRENCY_NAMES, Instrument

PATH = r"/v3/reference/tickers"

_SORTS = (
    "ticker", "name", "market", "locale", "primary_exchange", "type", "currency_symbol", "currency_name",
    "base_currency_symbol", "base_currency_name", "cik", "composite_figi", "share_class_figi",
    "last_updated_utc", "delisted_utc",
)  # fmt: skip


def respond(data: MarketData, request: Request) -> SandboxResponse:
    """Return one page of tickers, 100 unless `limit` says otherwise."""
    query = with_cursor(request)
    limit = integer(request, query, "limit", 100, 1, 1_000)
    market = choice(request, query, "market", ("stocks", "crypto", "fx", "otc", "indices"), "")
    is_active = choice(request, query, "active", ("true", "false"), "true") == "true"
    sort = choice(request, query, "sort", _SORTS, "ticker")
    if query.get("date"):
        day(request, "date", query["date"])
    no_pair_has = ("type", "exchange", "cusip", "cik")
    found = within(data.tickers, query) if is_active and not any(map(query.get, no_pair_has)) else []
    term = query.get("search", "").lower()
    entries = {
        ticker: _entry(data.instruments[ticker], request.now_ms)
        for ticker in found
        if (not market or data.instruments[ticker].kind == market)
        and (term in ticker.lower() or term in data.instruments[ticker].name.lower())
    }
    ordered = sorted(entries, key=lambda ticker: (entries[ticker].get(sort, ""), ticker))
    page, more = page_of_tickers(request, query, ordered, limit)
    return ok(request, {"results": [entries[ticker] for ticker in page], "count": len(page), **more})


def _entry(instrument: Instrument, now_ms: int) -> dict[str, Any]:
    return {
        "ticker": instrument.ticker,
        "name": instrument.name,
        "market": instrument.kind,
        "locale": "global",
        "active": True,
        "currency_symbol": instrument.quote,
        "currency_name": CURRENCY_NAMES.get(instrument.quote, instrument.quote),
        "base_currency_symbol": instrument.base,
        "base_currency_name": CURRENCY_NAMES.get(instrument.base, instrument.base),
        "last_updated_utc": f"{from_ms(now_ms):%Y-%m-%d}T00:00:00Z",
    }
