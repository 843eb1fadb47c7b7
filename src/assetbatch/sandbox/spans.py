"""How the provider cuts time into bars, and a range of bars into pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from assetbatch.domain.market_hours import day_of, start_of_day
from assetbatch.domain.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from assetbatch.sandbox.bars import Bar, Source
from assetbatch.sandbox.universe import Instrument

FIXED_UNITS = {"second": SECOND_MS, "minute": MINUTE_MS, "hour": HOUR_MS}
CALENDAR_UNITS = ("day", "week", "month", "quarter", "year")
_MONTHS = {"month": 1, "quarter": 3, "year": 12}


class Counting(StrEnum):
    """What the limit of a page counts, for bars of minutes and less."""

    STORED = "stored"
    """The minutes that there are: the provider's own words."""
    ELAPSED = "elapsed"
    """The minutes of time, traded or not."""
    MONTH = "month"
    """The minutes that there are, of 30 days at most."""


_MONTH_MS = 30 * DAY_MS


@dataclass(frozen=True)
class Span:
    """`multiplier` times a unit of time: the length of a bar and where it starts."""

    multiplier: int
    unit: str

    def floor(self, at_ms: int) -> int:
        """Return the start of the bar that holds `at_ms`. Days are those of New York's calendar."""
        if length_ms := self.fixed_ms:
            return at_ms // length_ms * length_ms
        return start_of_day(self._calendar(day_of(at_ms), 0))

    def next(self, start_ms: int) -> int:
        """Return the start of the bar after the one that starts at `start_ms`."""
        if length_ms := self.fixed_ms:
            return start_ms + length_ms
        return start_of_day(self._calendar(day_of(start_ms), 1))

    def _calendar(self, day: date, ahead: int) -> date:
        if self.unit in _MONTHS:
            months = _MONTHS[self.unit] * self.multiplier
            month = (day.year * 12 + day.month - 1) // months * months + ahead * months
            return date(max(1, month // 12), month % 12 + 1, 1)
        # Ordinal 7 was a Sunday, the provider's first day of the week.
        days = self.multiplier * (7 if self.unit == "week" else 1)
        return date.fromordinal(max(1, (day.toordinal() // days + ahead) * days))

    @property
    def fixed_ms(self) -> int | None:
        """The length of a bar, or None where it consists of whole days."""
        return FIXED_UNITS[self.unit] * self.multiplier if self.unit in FIXED_UNITS else None

    def base_count(self, bar: Bar, grain_ms: int) -> int:
        """Return the number of base aggregates (seconds, minutes or days) in the rows of a bar."""
        if self.unit in FIXED_UNITS:
            return bar.rows * (grain_ms // (SECOND_MS if self.unit == "second" else MINUTE_MS))
        if grain_ms == DAY_MS:
            return bar.rows
        return max(1, round((bar.last_ms - bar.first_ms) / DAY_MS))


@dataclass(frozen=True)
class Page:
    """The bars of one page, the number of their base aggregates, and where the rest begins, if any."""

    bars: list[Bar]
    base: int
    rest_ms: int | None


def read_page(
    source: Source,
    instrument: Instrument,
    span: Span,
    bounds_ms: tuple[int, int],
    now_ms: int,
    limit: int,
    *,
    descending: bool,
    counting: Counting = Counting.STORED,
) -> Page:
    """Read the first (or last) bars that start within both bounds, up to `limit` base aggregates.

    With another `counting` they also lie within so much time.
    """
    from_ms, last_ms = bounds_ms[0], min(bounds_ms[1], now_ms - 1)
    most_ms = _MONTH_MS if counting is Counting.MONTH else limit * MINUTE_MS
    is_timed = counting is not Counting.STORED and span.unit in FIXED_UNITS
    grain_ms = source.grain_ms(instrument, span.fixed_ms)
    bars: list[Bar] = []
    base = 0
    start_ms = span.floor(last_ms if descending else from_ms)
    if not descending and start_ms < from_ms:
        start_ms = span.next(start_ms)
    while from_ms <= start_ms <= last_ms:
        reached_ms = last_ms - start_ms if descending else start_ms - from_ms
        if base >= limit or (is_timed and bars and reached_ms >= most_ms):
            return Page(bars, base, start_ms)
        end_ms = span.next(start_ms)
        if bar := source.bar(instrument, grain_ms, start_ms, end_ms, now_ms):
            bars.append(bar)
            base += span.base_count(bar, grain_ms)
            start_ms = span.floor(start_ms - 1) if descending else end_ms
            continue
        data_ms = (
            source.last_data(instrument, start_ms) if descending else source.next_data(instrument, end_ms)
        )
        if data_ms is None:
            break
        start_ms = span.floor(data_ms - 1 if descending else data_ms)
    return Page(bars, base, None)
