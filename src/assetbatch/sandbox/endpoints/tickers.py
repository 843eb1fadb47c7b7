"""The reference: all tickers, to be searched and sorted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from assetbatch.domain.market_hours import day_of, from_ms
from assetbatch.sandbox.listings import Listing
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
    on_day = day(request, "date", query["date"]) if query.get("date") else day_of(request.now_ms)
    term = query.get("search", "").lower()
    asked = {name: query.get(name, "") for name in ("type", "exchange", "cusip", "cik")}
    found = [
        ticker
        for ticker in within(data.tickers, query)
        if _is_chosen(data.instruments[ticker], on_day, market, asked, is_active=is_active)
        and (term in ticker.lower() or term in data.instruments[ticker].name.lower())
    ]
    if sort != "ticker":
        entries = {ticker: entry_of(data.instruments[ticker], request.now_ms, on_day) for ticker in found}
        found.sort(key=lambda ticker: (str(entries[ticker].get(sort, "")), ticker))
    page, more = page_of_tickers(request, query, found, limit)
    results = [entry_of(data.instruments[ticker], request.now_ms, on_day) for ticker in page]
    return ok(request, {"results": results, "count": len(page), **more})


def _is_chosen(
    instrument: Instrument, on_day: date, market: str, asked: Mapping[str, str], *, is_active: bool
) -> bool:
    """Return whether an instrument is of a market, active or gone on a day, and has the fields asked for."""
    listing = instrument.listing
    if market and _market(instrument) != market:
        return False
    if listing is None:
        return is_active and not any(asked.values())
    if not (listing.is_traded(on_day) if is_active else listing.ended(on_day)):
        return False
    has = {"type": listing.type, "exchange": listing.exchange, "cik": _cik(listing), "cusip": ""}
    return all(not value or value == has[name] for name, value in asked.items())


def _market(instrument: Instrument) -> str:
    return "otc" if instrument.listing and instrument.listing.is_otc else instrument.kind


def _cik(listing: Listing) -> str:
    """Return a made-up number of a company; funds have none."""
    return f"{int(listing.figi[5:], 16) % 10**10:010d}" if listing.type == "CS" else ""


def entry_of(instrument: Instrument, now_ms: int, on_day: date) -> dict[str, Any]:
    """Return what the reference says of an instrument on a day."""
    listing = instrument.listing
    updated = f"{from_ms(now_ms):%Y-%m-%d}T00:00:00Z"
    if listing is None:
        return _pair(instrument, updated)
    ended = listing.ended(on_day)
    entry: dict[str, Any] = {
        "ticker": instrument.ticker,
        "name": listing.name,
        "market": _market(instrument),
        "locale": "us",
        "active": ended is None,
    }
    if instrument.kind == "indices":
        return {**entry, "source_feed": "CMEMarketDataPlatform"}
    cik = _cik(listing)
    return {
        **entry,
        **({"primary_exchange": listing.exchange} if listing.exchange else {}),
        "type": listing.type,
        "currency_name": "usd",
        **({"cik": cik} if cik else {}),
        "composite_figi": listing.figi,
        "share_class_figi": f"BBG001{listing.figi[6:]}",
        "last_updated_utc": updated,
        **({"delisted_utc": f"{ended:%Y-%m-%d}T00:00:00Z"} if ended else {}),
    }


def _pair(instrument: Instrument, updated: str) -> dict[str, Any]:
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
        "last_updated_utc": updated,
    }
