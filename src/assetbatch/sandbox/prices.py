"""Made-up prices: a pure function of ticker and time, consistent from the day down to the second.

Days drift on a sum of slow waves, hours walk between two days, and each shorter bar divides a longer
one without changing what it adds up to. Nothing is stored but bounded caches; no random state is used.
The days of stocks and indices, and their half hours, are made in `stock_days`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from hashlib import blake2b, shake_128
from itertools import accumulate
from math import exp

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import is_open, last_open, next_open, start_of_day
from assetbatch.domain.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from assetbatch.sandbox import stock_days
from assetbatch.sandbox.bars import VOLUME_UNITS, Bar, Row, bar_of, divide, merge
from assetbatch.sandbox.courses import slow_course
from assetbatch.sandbox.stock_days import HALF_HOUR_MS
from assetbatch.sandbox.universe import Instrument

HISTORY_START_MS = start_of_day(date(2010, 1, 1))
"""There is nothing before this moment."""

# Each level and the next shorter one; small steps make a single second cheap to find.
_CHILD_MS = {
    HOUR_MS: 300_000,
    HALF_HOUR_MS: 300_000,
    300_000: MINUTE_MS,
    MINUTE_MS: 10_000,
    10_000: SECOND_MS,
}
_PARENT_MS = {10_000: MINUTE_MS, SECOND_MS: 10_000, MINUTE_MS: 300_000}
_BELOW_TOP_MS = (300_000, MINUTE_MS, 10_000)

# How busy forex is by the hour of the day in UTC; crypto is taken as even.
_FOREX_HOURS = (
    0.6, 0.7, 0.7, 0.6, 0.6, 0.7, 0.9, 1.2, 1.3, 1.2, 1.1, 1.1,
    1.3, 1.6, 1.7, 1.6, 1.4, 1.1, 0.9, 0.8, 0.6, 0.5, 0.5, 0.6,
)  # fmt: skip


class GeneratedPrices:
    """A `Source` of made-up prices for instruments. Before the hour `since_ms` nothing was traded."""

    def __init__(self, instruments: Mapping[str, Instrument], since_ms: int = HISTORY_START_MS) -> None:
        self.instruments = instruments
        self._since_ms = max(since_ms, HISTORY_START_MS)

    def grain_ms(self, instrument: Instrument, span_ms: int | None) -> int:
        """See `Source.grain_ms`: the longest of a day of stocks, a top level, minute and second."""
        if span_ms is None:
            return DAY_MS if instrument.listing else HOUR_MS
        return next(level for level in (_top_ms(instrument), MINUTE_MS, SECOND_MS) if span_ms % level == 0)

    def rows(
        self, instrument: Instrument, grain_ms: int, start_ms: int, end_ms: int, now_ms: int
    ) -> list[Row]:
        """See `Source.rows`; the row that `now_ms` cuts is built from its complete seconds."""
        return _rows(instrument, grain_ms, max(start_ms, self._since_ms), min(end_ms, now_ms))

    def bar(
        self, instrument: Instrument, grain_ms: int, start_ms: int, end_ms: int, now_ms: int
    ) -> Bar | None:
        """See `Source.bar`."""
        if self._since_ms <= start_ms and end_ms <= now_ms:
            return _whole_bar(instrument, grain_ms, start_ms, end_ms)
        return bar_of(self.rows(instrument, grain_ms, start_ms, end_ms, now_ms), start_ms)

    def next_data(self, instrument: Instrument, at_ms: int) -> int | None:
        """See `Source.next_data`: skips closed hours, and quiet spans down to ten seconds."""
        at_ms = max(at_ms, self._since_ms)
        while (open_ms := _next_open(instrument, at_ms)) is not None:
            quiet_ms = _quiet_level(instrument, open_ms)
            if quiet_ms is None:
                return open_ms
            at_ms = open_ms // quiet_ms * quiet_ms + quiet_ms
        return None

    def last_data(self, instrument: Instrument, at_ms: int) -> int | None:
        """See `Source.last_data`: skips closed hours, and quiet spans down to ten seconds."""
        while at_ms > self._since_ms and (open_ms := _last_open(instrument, at_ms)) is not None:
            quiet_ms = _quiet_level(instrument, open_ms - 1)
            if quiet_ms is None:
                return open_ms
            at_ms = (open_ms - 1) // quiet_ms * quiet_ms
        return None

    def last(self, instrument: Instrument, now_ms: int) -> tuple[Row, int] | None:
        """See `Source.last`: the minute that is forming, or the last one with a quote."""
        end_ms = self.last_data(instrument, now_ms)
        while end_ms is not None and end_ms > self._since_ms:
            start_ms = (end_ms - 1) // MINUTE_MS * MINUTE_MS
            seconds = self.rows(instrument, SECOND_MS, start_ms, end_ms, now_ms)
            if seconds:
                return merge(seconds, start_ms), seconds[-1][0] + SECOND_MS - 1
            end_ms = self.last_data(instrument, start_ms)
        return None

    def quote(self, instrument: Instrument, row: Row) -> tuple[int, int]:
        """Return bid and ask around the close, `spread_ticks` apart."""
        bid = max(1, row[4] - instrument.spread_ticks // 2)
        return bid, bid + instrument.spread_ticks


def _top_ms(instrument: Instrument) -> int:
    """Return the length of the longest rows that are divided."""
    return HALF_HOUR_MS if instrument.listing else HOUR_MS


def _next_open(instrument: Instrument, at_ms: int) -> int | None:
    if instrument.listing:
        return stock_days.next_open(instrument, at_ms)
    return next_open(instrument.market, at_ms)


def _last_open(instrument: Instrument, at_ms: int) -> int | None:
    if instrument.listing:
        return stock_days.last_open(instrument, at_ms)
    return last_open(instrument.market, at_ms)


def _days(instrument: Instrument, start_ms: int, end_ms: int) -> list[Row]:
    """Return the days of a stock or an index that start from `start_ms` on; the last one may be forming."""
    found = []
    for day, session in stock_days.sessions(instrument, start_ms, end_ms):
        row = None
        if session.late_ms <= end_ms:
            row = stock_days.whole_day(instrument, day)
        elif regular := _rows(instrument, HALF_HOUR_MS, session.opens_ms, min(session.closes_ms, end_ms)):
            early = _rows(instrument, HALF_HOUR_MS, session.early_ms, session.opens_ms)
            late = _rows(instrument, HALF_HOUR_MS, session.closes_ms, min(session.late_ms, end_ms))
            row = stock_days.together(
                merge(early, 0) if early else None,
                merge(regular, 0),
                merge(late, 0) if late else None,
                start_of_day(day),
            )
        if row is not None:
            found.append(row)
    return found


def _rows(instrument: Instrument, grain_ms: int, start_ms: int, end_ms: int) -> list[Row]:
    if grain_ms == DAY_MS:
        return _days(instrument, start_ms, end_ms)
    found: list[Row] = []
    at_ms = start_ms
    while at_ms + grain_ms <= end_ms:
        row = _row(instrument, grain_ms, at_ms)
        if row is not None:
            found.append(row)
        at_ms += grain_ms
    if at_ms < end_ms and grain_ms != SECOND_MS:
        forming = _rows(instrument, _CHILD_MS[grain_ms], at_ms, end_ms)
        if forming:
            found.append(merge(forming, at_ms))
    return found


@lru_cache(maxsize=65_536)
def _whole_bar(instrument: Instrument, grain_ms: int, start_ms: int, end_ms: int) -> Bar | None:
    """Return a bar that has ended.

    It is kept for the last month of a few instruments, which is asked for most.
    """
    return bar_of(_rows(instrument, grain_ms, start_ms, end_ms), start_ms)


def _row(instrument: Instrument, level_ms: int, start_ms: int) -> Row | None:
    if level_ms == HOUR_MS:
        day, hour = divmod(start_ms // HOUR_MS, 24)
        return _hours(instrument, day)[hour]
    if level_ms == HALF_HOUR_MS:
        return stock_days.half_hour(instrument, start_ms)
    parent_ms = _PARENT_MS.get(level_ms) or _top_ms(instrument)
    inside_ms = start_ms % parent_ms
    return _parts(instrument, parent_ms, start_ms - inside_ms)[inside_ms // level_ms]


def _quiet_level(instrument: Instrument, at_ms: int) -> int | None:
    """Return the longest level whose row at this moment has no quote, or None if all have one."""
    for level_ms in (_top_ms(instrument), *_BELOW_TOP_MS):
        if _row(instrument, level_ms, at_ms // level_ms * level_ms) is None:
            return level_ms
    return None


@lru_cache(maxsize=16_384)
def _parts(instrument: Instrument, level_ms: int, start_ms: int) -> tuple[Row | None, ...]:
    """Return the rows of the next shorter level within one row."""
    part_ms = _CHILD_MS[level_ms]
    parts = level_ms // part_ms
    row = _row(instrument, level_ms, start_ms)
    if row is None:
        return (None,) * parts
    key = f"{instrument.ticker} {level_ms} {start_ms}".encode()
    return divide(row, parts, part_ms, blake2b(key, digest_size=3 * parts).digest())


@lru_cache(maxsize=4_096)
def _hours(instrument: Instrument, day: int) -> tuple[Row | None, ...]:
    """Return the 24 hours of a UTC day (counted from 1970), with None while the market is closed."""
    noise = shake_128(f"{instrument.ticker} {day}".encode()).digest(96)
    start, end = slow_course(instrument, day), slow_course(instrument, day + 1)
    # A byte's standard deviation is 74: the walk of 24 hours then has the usual daily move.
    scale = instrument.daily_move / (74 * 24**0.5)
    walked = list(accumulate([byte - 128 for byte in noise[:24]], initial=0))
    slope = (end - start - scale * walked[24]) / 24
    ticks = [max(8, int(exp(start + slope * hour + scale * walked[hour]))) for hour in range(25)]
    reach = instrument.daily_move / 12
    crypto = instrument.market is Market.CRYPTO
    rows: list[Row | None] = []
    for hour, trading in enumerate(_open_hours(instrument.market, day)):
        if not trading:
            rows.append(None)
            continue
        first, last = ticks[hour], ticks[hour + 1]
        top, bottom = (first, last) if first > last else (last, first)
        top += int(top * reach * noise[24 + hour] / 256)
        bottom -= int(bottom * reach * noise[48 + hour] / 256)
        busy = (0.5 + noise[72 + hour] / 256) * (1.0 if crypto else _FOREX_HOURS[hour])
        count = max(1, round(instrument.activity * busy))
        volume = round(instrument.hourly_volume * busy * VOLUME_UNITS) if crypto else count
        turnover = volume * (first + top + bottom + last)
        rows.append((day * DAY_MS + hour * HOUR_MS, first, top, bottom, last, volume, count, turnover))
    return tuple(rows)


@lru_cache(maxsize=4_096)
def _open_hours(market: Market, day: int) -> tuple[bool, ...]:
    """Return whether each hour of a UTC day is open. Markets open and close on the hour everywhere."""
    starts = (day * DAY_MS + hour * HOUR_MS for hour in range(24))
    return tuple(start >= HISTORY_START_MS and is_open(market, start) for start in starts)
