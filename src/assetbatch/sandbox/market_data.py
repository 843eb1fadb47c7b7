"""The data of the simulated provider as its endpoints show them: days, quotes and bars, within the plan."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import day_of, last_midnight, start_of_day
from assetbatch.domain.units import DAY_MS, HOUR_MS
from assetbatch.sandbox import plans
from assetbatch.sandbox.bars import VOLUME_UNITS, Row, Source, merge
from assetbatch.sandbox.plans import Plan
from assetbatch.sandbox.responses import Refusal, Request, SandboxResponse, not_authorized, ok
from assetbatch.sandbox.spans import Counting
from assetbatch.sandbox.universe import Instrument

MS_TO_NS = 1_000_000
_PREVIOUS_DAYS_KEPT = 20_000


class MarketData:
    """A source of prices behind a plan."""

    def __init__(self, source: Source, plan: Plan, counting: Counting = Counting.STORED) -> None:
        self.source = source
        self.plan = plan
        self.counting = counting
        self.instruments = source.instruments
        self.tickers = list(source.instruments)
        self._previous_days: dict[tuple[str, int], Row | None] = {}

    def check_realtime(self, request: Request) -> None:
        """Refuse a request for today's data that the plan does not include."""
        if not self.plan.realtime:
            raise Refusal(not_authorized(plans.NOT_ENTITLED, request.request_id))

    def check_kind(self, request: Request, kind: str | None) -> None:
        """Refuse a request for an asset class that the plan does not include."""
        if kind is not None and kind not in self.plan.kinds:
            raise Refusal(not_authorized(plans.NOT_ENTITLED, request.request_id))

    def check_range(self, request: Request, from_ms: int, to_ms: int, *, intraday: bool) -> None:
        """Refuse a request for bars of a time that the plan does not include."""
        if refused := plans.refuse_range(self.plan, request.now_ms, from_ms, to_ms, intraday=intraday):
            raise Refusal(not_authorized(refused, request.request_id))

    def day(self, instrument: Instrument, start_ms: int, end_ms: int, now_ms: int) -> Row | None:
        """Return the bar of a day, or None without data."""
        rows = self.source.rows(instrument, self.source.grain_ms(HOUR_MS), start_ms, end_ms, now_ms)
        return merge(rows, start_ms) if rows else None

    def today(self, instrument: Instrument, now_ms: int) -> Row | None:
        """Return the bar of the present New York day, or None without data."""
        start_ms = last_midnight(now_ms)
        return self.day(instrument, start_ms, _next_midnight(start_ms), now_ms)

    def previous_day(self, instrument: Instrument, now_ms: int) -> Row | None:
        """Return the last complete New York day with data. It is kept, since each snapshot needs it again."""
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
            start_ms = last_midnight(data_ms - 1)
            if row := self.day(instrument, start_ms, _next_midnight(start_ms), now_ms):
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
    """Return the volume of a row: base units of crypto, the number of quotes otherwise."""
    return units / VOLUME_UNITS if instrument.market is Market.CRYPTO else units


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
    return {"C:": "fx", "X:": "crypto"}.get(ticker[:2])


def bar(instrument: Instrument, row: Row, start_ms: int | None = None) -> dict[str, Any]:
    """Return a bar of an aggregate response. A recorded bar may have no volume, count or average."""
    at_ms, opened, high, low, closed, units, count, turnover = row
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


def aggregates(
    request: Request, bars: list[dict[str, Any]], base: int, more: Mapping[str, str]
) -> SandboxResponse:
    """Return the response of an aggregate endpoint; `base` is the number of base aggregates."""
    fields = {
        **more,
        "queryCount": base,
        "resultsCount": len(bars),
        "adjusted": request.query.get("adjusted", "true").lower() != "false",
        "count": len(bars),
    }
    return ok(request, {**fields, "results": bars} if bars else fields)


def end_of_utc_day(start_ms: int) -> int:
    """Return the last millisecond of the UTC day, with which the provider stamps daily forex bars."""
    return start_ms // DAY_MS * DAY_MS + DAY_MS - 1


def _next_midnight(midnight_ms: int) -> int:
    return start_of_day(day_of(midnight_ms) + timedelta(days=1))
