"""The data of the simulated provider as its endpoints show them: days, quotes and bars, within the plan."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import day_of, days_span, last_midnight, new_york_zone, to_ms
from assetbatch.domain.units import DAY_MS
from assetbatch.sandbox import plans
from assetbatch.sandbox.bars import SHARE_UNITS, VOLUME_UNITS, Row, Source, merge
from assetbatch.sandbox.exchange import Calendar
from assetbatch.sandbox.plans import Plan, Product
from assetbatch.sandbox.responses import Refusal, Request, SandboxResponse, not_authorized, ok
from assetbatch.sandbox.spans import Counting
from assetbatch.sandbox.universe import Instrument

MS_TO_NS = 1_000_000
_PREVIOUS_DAYS_KEPT = 20_000


class MarketData:
    """A source of prices behind a plan, and the calendar of the stock exchange."""

    def __init__(
        self, source: Source, plan: Plan, calendar: Calendar, counting: Counting = Counting.STORED
    ) -> None:
        self.source = source
        self.plan = plan
        self.calendar = calendar
        self.counting = counting
        self.instruments = source.instruments
        self.tickers = list(source.instruments)
        self._previous_days: dict[tuple[str, int], Row | None] = {}

    def tickers_on(self, day: date) -> list[str]:
        """Return the tickers that are listed on a day, ascending."""
        return [
            ticker
            for ticker, one in self.instruments.items()
            if not one.listing or one.listing.is_traded(day)
        ]

    def check_realtime(self, request: Request, kind: str = "fx") -> Product:
        """Refuse a request for today's data that the plan of a class does not include; return that plan.

        The plan of currencies decides for both of their classes.
        """
        product = self.plan.product(kind) if kind in ("stocks", "indices") else self.plan
        if product is None or not product.realtime:
            raise Refusal(not_authorized(plans.NOT_ENTITLED, request.request_id))
        return product

    def check_any_realtime(self, request: Request) -> None:
        """Refuse a request for today's data if the plan of no product includes them."""
        products = (self.plan, self.plan.stocks, self.plan.indices)
        if not any(product and product.realtime for product in products):
            raise Refusal(not_authorized(plans.NOT_ENTITLED, request.request_id))

    def check_kind(self, request: Request, kind: str | None) -> None:
        """Refuse a request for an asset class that the plan does not include."""
        if kind is not None and self.plan.product(kind) is None:
            raise Refusal(not_authorized(plans.NOT_ENTITLED, request.request_id))

    def check_ticker(self, request: Request, ticker: str) -> Product:
        """Refuse a request for a ticker that the plan does not include; return the plan of its class."""
        kind = kind_of(ticker)
        self.check_kind(request, kind)
        product = self.product_of(kind)
        if not product.has(ticker):
            raise Refusal(not_authorized(plans.NOT_ENTITLED, request.request_id))
        return product

    def product_of(self, kind: str | None) -> Product:
        """Return the plan that decides for a class; of currencies, also where it lacks the class."""
        return (self.plan.product(kind) if kind else None) or self.plan

    def check_range(
        self, request: Request, kind: str | None, from_ms: int, to_ms: int, *, intraday: bool
    ) -> None:
        """Refuse a request for bars of a time that the plan does not include."""
        product = self.product_of(kind)
        if refused := plans.refuse_range(product, request.now_ms, from_ms, to_ms, intraday=intraday):
            raise Refusal(not_authorized(refused, request.request_id))

    def day(self, instrument: Instrument, start_ms: int, end_ms: int, now_ms: int) -> Row | None:
        """Return the bar of a day, or None without data."""
        rows = self.source.rows(instrument, self.source.grain_ms(instrument, None), start_ms, end_ms, now_ms)
        return merge(rows, start_ms) if rows else None

    def today(self, instrument: Instrument, now_ms: int) -> Row | None:
        """Return the bar of the present New York day, or None without data."""
        today = day_of(now_ms)
        return self.day(instrument, *days_span(today, today), now_ms)

    def previous_day(self, instrument: Instrument, now_ms: int) -> Row | None:
        """Return the last New York day with data that was over at `now_ms`. It is kept: snapshots need it."""
        midnight_ms = last_midnight(now_ms)
        key = (instrument.ticker, midnight_ms)
        if key not in self._previous_days:
            if len(self._previous_days) >= _PREVIOUS_DAYS_KEPT:
                self._previous_days.clear()
            self._previous_days[key] = self._find_previous_day(instrument, midnight_ms)
        return self._previous_days[key]

    def _find_previous_day(self, instrument: Instrument, end_ms: int) -> Row | None:
        now_ms = end_ms
        while (data_ms := self.source.last_data(instrument, end_ms)) is not None:
            day = day_of(data_ms - 1)
            start_ms, next_ms = days_span(day, day)
            if row := self.day(instrument, start_ms, next_ms, now_ms):
                return row
            end_ms = start_ms
        return None

    def last_quote(self, ticker: str, now_ms: int) -> dict[str, Any] | None:
        """Return the newest quote of a ticker as v1 shows it, or None without one."""
        instrument = self.instruments.get(ticker)
        last = self.source.last(instrument, now_ms) if instrument else None
        if instrument is None or last is None:
            return None
        bid, ask = self.source.quote(instrument, last[0])
        return {
            "ask": price(instrument, ask),
            "bid": price(instrument, bid),
            "exchange": 48,
            "timestamp": last[1],
        }


def price(instrument: Instrument, ticks: int) -> float:
    """Return a price from a number of ticks."""
    unit: int = 10**instrument.digits
    return ticks / unit


def volume(instrument: Instrument, units: int) -> float:
    """Return the volume of a row: base units of crypto, shares of stocks, the number of quotes otherwise."""
    per_unit = {Market.CRYPTO: VOLUME_UNITS, Market.STOCK: SHARE_UNITS}.get(instrument.market)
    return units / per_unit if per_unit else units


def average(instrument: Instrument, row: Row) -> float:
    """Return the average price of a row with volume, weighted by volume."""
    found: float = round(row[7] / (4 * row[5]) / 10**instrument.digits, instrument.digits)
    return found


def trade_size(row: Row) -> float:
    """Return the size of the last trade of a row."""
    size: float = row[5] // max(1, row[6]) / VOLUME_UNITS
    return size


def kind_of(ticker: str) -> str | None:
    """Return the provider's asset class of a ticker, or None if its prefix is unknown."""
    if ticker[1:2] != ":":
        return "stocks"
    return {"C:": "fx", "X:": "crypto", "I:": "indices"}.get(ticker[:2])


def bar(instrument: Instrument, row: Row, start_ms: int | None = None) -> dict[str, Any]:
    """Return a bar of an aggregate response. A recorded bar may have no volume, count or average.

    Indices have none of the three.
    """
    at_ms, opened, high, low, closed, units, count, turnover = row
    if instrument.market is Market.INDEX:
        count = 0
    return {
        **({"v": volume(instrument, units)} if units else {}),
        **({"vw": average(instrument, row)} if turnover else {}),
        "o": price(instrument, opened),
        "c": price(instrument, closed),
        "h": price(instrument, high),
        "l": price(instrument, low),
        "t": at_ms if start_ms is None else start_ms,
        **({"n": count} if count else {}),
    }


def is_adjusted(query: Mapping[str, str]) -> bool:
    """Return whether bars are asked for as they are after splits."""
    return query.get("adjusted", "true").lower() != "false"


def adjusted(found: dict[str, Any], factor: float) -> dict[str, Any]:
    """Return a bar of a response with its prices multiplied by a factor and its volume divided by it."""
    changed: dict[str, Any] = {
        name: found[name] * factor for name in ("vw", "o", "c", "h", "l") if name in found
    }
    if "v" in found:
        changed["v"] = found["v"] / factor
    return {**found, **changed}


def adjusted_row(row: Row, factor: float) -> Row:
    """Return a row with its prices multiplied by a factor and its volume divided by it, to the next unit."""
    at_ms, opened, high, low, closed, units, count, turnover = row
    prices = [round(ticks * factor) for ticks in (opened, high, low, closed)]
    return (at_ms, prices[0], prices[1], prices[2], prices[3], round(units / factor), count, turnover)


def stock_bar(
    instrument: Instrument, row: Row, start_ms: int | None = None, *, adjusted_ms: int | None = None
) -> dict[str, Any]:
    """Return a bar of a response, after the splits up to `adjusted_ms` (None: raw)."""
    found = bar(instrument, row, start_ms)
    if adjusted_ms is None or instrument.listing is None:
        return found
    factor = instrument.listing.adjusting_factor(row[0], adjusted_ms)
    return found if factor == 1 else adjusted(found, factor)


def aggregates(
    request: Request,
    bars: list[dict[str, Any]],
    base: int,
    more: Mapping[str, str],
    *,
    query: Mapping[str, str] | None = None,
    kind: str | None = None,
    is_delayed: bool = False,
) -> SandboxResponse:
    """Return the response of an aggregate endpoint; `base` is the number of base aggregates.

    `query` is that of the request with what its cursor adds, if it may have one.
    """
    fields = {
        **more,
        "queryCount": base,
        "resultsCount": len(bars),
        **({} if kind == "indices" else {"adjusted": is_adjusted(query or request.query)}),
        "count": len(bars),
    }
    status = "DELAYED" if is_delayed else "OK"
    return ok(request, {**fields, "results": bars} if bars else fields, status)


def end_of_utc_day(start_ms: int) -> int:
    """Return the last millisecond of the UTC day, with which the provider stamps daily forex bars."""
    return start_ms // DAY_MS * DAY_MS + DAY_MS - 1


def end_of_session(start_ms: int) -> int:
    """Return 16:00 of a New York day, with which the provider stamps days of stocks and indices."""
    return to_ms(datetime.combine(day_of(start_ms), time(16), tzinfo=new_york_zone()))


def adjusted_at(request: Request) -> int | None:
    """Return the moment up to which the splits are applied to what is asked for; None: raw."""
    return request.now_ms if is_adjusted(request.query) else None
