"""The snapshots of v2: of one ticker, of some, or of a whole market."""

from __future__ import annotations

from typing import Any

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import last_midnight
from assetbatch.sandbox.bars import Row
from assetbatch.sandbox.market_data import MS_TO_NS, MarketData, average, price, trade_size, volume
from assetbatch.sandbox.parameters import listed
from assetbatch.sandbox.responses import Request, SandboxResponse, ok, ticker_not_found
from assetbatch.sandbox.universe import Instrument

PATH = r"/v2/snapshot/locale/global/markets/(forex|crypto)/tickers(?:/([^/]+))?"


def respond(data: MarketData, request: Request, market: str, ticker: str | None) -> SandboxResponse:
    """Return the snapshot of `ticker`, or a list from which unknown tickers are left out."""
    data.check_realtime(request)
    kind = "fx" if market == "forex" else "crypto"
    data.check_kind(request, kind)
    asked = [ticker] if ticker else listed(request.query.get("tickers", ""))
    known = (data.instruments.get(one) for one in asked or data.tickers)
    entries = [_entry(data, one, request.now_ms) for one in known if one and one.kind == kind]
    if ticker is None:
        return ok(request, {"count": len(entries), "tickers": entries})
    if not entries:
        raise ticker_not_found(request)
    return ok(request, {"ticker": entries[0]})


def _entry(data: MarketData, instrument: Instrument, now_ms: int) -> dict[str, Any]:
    is_crypto = instrument.market is Market.CRYPTO
    day = data.today(instrument, now_ms)
    before = data.previous_day(instrument, now_ms)
    change = day[4] - before[4] if day and before else 0
    last = data.source.last(instrument, now_ms)
    # Snapshots are cleared at New York midnight: zeros until the first quote of the day.
    minute = last[0] if last and last[0][0] >= last_midnight(now_ms) else None
    entry: dict[str, Any] = {
        "ticker": instrument.ticker,
        "todaysChange": price(instrument, change),
        "todaysChangePerc": round(100 * change / before[4], 6) if before else 0,
        "updated": (last[1] if last else 0) * (1 if is_crypto else MS_TO_NS),
        "day": _bar(instrument, day, with_average=is_crypto),
        "min": {
            **_bar(instrument, minute, with_average=is_crypto),
            "t": minute[0] if minute else 0,
            "n": minute[6] if minute else 0,
        },
        "prevDay": _bar(instrument, before, with_average=True),
    }
    if last:
        row, at_ms = last
        if is_crypto:
            trade = {"p": price(instrument, row[4]), "s": trade_size(row), "t": at_ms}
            entry["lastTrade"] = {**trade, "x": 1, "c": [1], "i": str(at_ms)}
        else:
            bid, ask = data.source.quote(instrument, row)
            entry["lastQuote"] = {
                "a": price(instrument, ask), "b": price(instrument, bid), "t": at_ms, "x": 48
            }  # fmt: skip
    return entry


def _bar(instrument: Instrument, row: Row | None, *, with_average: bool) -> dict[str, Any]:
    _, opened, high, low, closed, units, *_ = row or (0,) * 8
    prices = {"o": opened, "h": high, "l": low, "c": closed}
    bar = {name: price(instrument, ticks) for name, ticks in prices.items()}
    bar["v"] = volume(instrument, units)
    if with_average:
        bar["vw"] = average(instrument, row) if row and row[7] else 0
    return bar
