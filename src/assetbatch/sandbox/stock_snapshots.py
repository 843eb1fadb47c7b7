"""What snapshots show of stocks and indices at a moment, within the plan.

Snapshots are cleared at 03:30 in New York: what the new day has not brought yet is zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from assetbatch.domain.market_hours import day_of, days_span
from assetbatch.domain.units import HOUR_MS
from assetbatch.sandbox.bars import SHARE_UNITS, Row
from assetbatch.sandbox.market_data import MS_TO_NS, MarketData, average, price, volume
from assetbatch.sandbox.plans import Product
from assetbatch.sandbox.stock_days import HALF_HOUR_MS
from assetbatch.sandbox.universe import Instrument

_CLEARED_AFTER_MS = 3 * HOUR_MS + HALF_HOUR_MS


class Seen(NamedTuple):
    """What a plan shows of an instrument.

    `day` and `minute` are None since the last clearing; `last` is the newest minute of all, and `last_ms` the
    moment of its last trade.
    """

    day: Row | None
    minute: Row | None
    before: Row | None
    last: Row | None
    last_ms: int


def see(data: MarketData, instrument: Instrument, product: Product, now_ms: int) -> Seen:
    """Return what a plan shows of a stock or an index."""
    seen_ms = product.seen_ms(now_ms)
    shown = day_of(seen_ms - _CLEARED_AFTER_MS)
    start_ms, end_ms = days_span(shown, shown)
    day = data.day(instrument, start_ms, end_ms, seen_ms)
    last = data.source.last(instrument, seen_ms)
    row, last_ms = last or (None, 0)
    return Seen(
        day=day,
        minute=row if row and row[0] >= start_ms else None,
        before=data.previous_day(instrument, start_ms),
        last=row,
        last_ms=last_ms,
    )


def universal(data: MarketData, instrument: Instrument, product: Product, now_ms: int) -> dict[str, Any]:
    """Return the entry of a stock or an index in `/v3/snapshot`."""
    seen = see(data, instrument, product, now_ms)
    status = data.calendar.status(now_ms)
    timeframe = "DELAYED" if product.delay_ms else "REAL-TIME"
    is_index = instrument.kind == "indices"
    entry: dict[str, Any] = {
        "ticker": instrument.ticker,
        "name": instrument.name,
        "type": instrument.kind,
        "market_status": status if not is_index or status == "open" else "closed",
        "timeframe": timeframe,
        "last_updated": seen.last_ms * MS_TO_NS,
        "session": session_of(instrument, seen.day, seen.before),
    }
    if is_index:
        return {**entry, "value": price(instrument, seen.last[4])} if seen.last else entry
    entry["session"] |= _session_of_stock(instrument, seen, status)
    entry["last_minute"] = _minute(instrument, seen.minute)
    if seen.minute is None:
        return entry
    closed = seen.minute[4]
    if product.trades:
        entry["session"]["price"] = price(instrument, closed)
        entry["last_trade"] = {
            "conditions": [12, 37],
            "exchange": 4,
            "id": str(seen.last_ms),
            "last_updated": seen.last_ms * MS_TO_NS,
            "price": price(instrument, closed),
            "size": _size(seen.minute),
            "timeframe": timeframe,
        }
    if product.quotes:
        bid, ask = data.source.quote(instrument, seen.minute)
        entry["last_quote"] = {
            "ask": price(instrument, ask),
            "ask_size": 3,
            "bid": price(instrument, bid),
            "bid_size": 4,
            "last_updated": seen.last_ms * MS_TO_NS,
            "timeframe": timeframe,
        }
    return entry


def session_of(
    instrument: Instrument, day: Row | None, before: Row | None, *, with_volume: bool = False
) -> dict[str, Any]:
    """Return the session of `/v3/snapshot`: a day, and how it changed the price of the day before."""
    _, opened, high, low, closed, units, *_ = day or (0,) * 8
    previous_close = before[4] if before else 0
    change = closed - previous_close if day and before else 0
    return {
        "change": price(instrument, change),
        "change_percent": _percent(change, previous_close),
        "open": price(instrument, opened),
        "high": price(instrument, high),
        "low": price(instrument, low),
        "close": price(instrument, closed),
        **({"volume": volume(instrument, units)} if with_volume else {}),
        "previous_close": price(instrument, previous_close),
    }


def _session_of_stock(instrument: Instrument, seen: Seen, status: str) -> dict[str, Any]:
    """Return what only the session of a stock has: volume, and changes by the part of the day."""
    before = seen.before[4] if seen.before else 0
    regular = seen.day[4] - before if seen.day and before else 0
    early = late = late_base = 0
    if status == "early_trading" and seen.minute and before:
        early = seen.minute[4] - before
    if seen.day and seen.minute and seen.minute[4] != seen.day[4] and status != "open":
        late, late_base = seen.minute[4] - seen.day[4], seen.day[4]
    shares = volume(instrument, seen.day[5]) if seen.day else 0
    return {
        "volume": shares,
        "decimal_volume": f"{float(shares)}",
        "early_trading_change": price(instrument, early),
        "early_trading_change_percent": _percent(early, before),
        "regular_trading_change": price(instrument, regular),
        "regular_trading_change_percent": _percent(regular, before),
        "late_trading_change": price(instrument, late),
        "late_trading_change_percent": _percent(late, late_base),
    }


def _minute(instrument: Instrument, row: Row | None) -> dict[str, Any]:
    _, opened, high, low, closed, units, count, _ = row or (0,) * 8
    shares = volume(instrument, units)
    return {
        "open": price(instrument, opened),
        "high": price(instrument, high),
        "low": price(instrument, low),
        "close": price(instrument, closed),
        "volume": shares,
        "decimal_volume": f"{float(shares)}",
        "transactions": count,
        "vwap": average(instrument, row) if row else 0,
    }


def of_market(data: MarketData, instrument: Instrument, product: Product, now_ms: int) -> dict[str, Any]:
    """Return the entry of a stock in `/v2/snapshot`."""
    seen = see(data, instrument, product, now_ms)
    before = seen.before[4] if seen.before else 0
    change = seen.day[4] - before if seen.day and before else 0
    minute = seen.minute
    so_far = f"{volume(instrument, seen.day[5] if seen.day else 0)}"
    entry: dict[str, Any] = {
        "ticker": instrument.ticker,
        "todaysChange": price(instrument, change),
        "todaysChangePerc": _percent(change, before),
        "updated": seen.last_ms * MS_TO_NS if minute else 0,
        "day": _bar(instrument, seen.day),
        "min": {
            **_bar(instrument, minute),
            "av": int(float(so_far)),
            "dav": so_far,
            "t": minute[0] if minute else 0,
            "n": minute[6] if minute else 0,
        },
        "prevDay": _bar(instrument, seen.before),
    }
    closed = minute[4] if minute else 0
    if product.trades:
        size = _size(minute) if minute else 0
        entry["lastTrade"] = {
            "c": [14, 41] if minute else [],
            "ds": f"{float(size)}",
            "i": str(seen.last_ms) if minute else "",
            "p": price(instrument, closed),
            "s": size,
            "t": seen.last_ms * MS_TO_NS if minute else 0,
            "x": 4,
        }
    if product.quotes:
        bid, ask = data.source.quote(instrument, minute) if minute else (0, 0)
        entry["lastQuote"] = {
            "P": price(instrument, ask),
            "S": 3,
            "p": price(instrument, bid),
            "s": 4,
            "t": seen.last_ms * MS_TO_NS if minute else 0,
        }
    return entry


def _bar(instrument: Instrument, row: Row | None) -> dict[str, Any]:
    _, opened, high, low, closed, units, *_ = row or (0,) * 8
    prices = {"o": opened, "h": high, "l": low, "c": closed}
    shares = volume(instrument, units)
    return {
        **{name: price(instrument, ticks) for name, ticks in prices.items()},
        "v": shares,
        "vw": average(instrument, row) if row else 0,
        "dv": f"{float(shares)}",
    }


def _size(row: Row) -> int:
    """Return the shares of the last trade of a row."""
    return max(1, row[5] // max(1, row[6]) // SHARE_UNITS)


def _percent(change: int, base: int) -> float:
    return round(100 * change / base, 4) if base else 0
