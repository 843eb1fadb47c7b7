"""Made-up days of stocks and indices, and the half hours of which they consist.

A day's prices are those of the regular session; its volume includes what is traded before and after it. All
prices are raw: of the shares as they were on the day.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from hashlib import blake2b, shake_128
from math import exp
from typing import NamedTuple

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.market_hours import day_of, start_of_day
from assetbatch.domain.units import HOUR_MS
from assetbatch.sandbox.bars import SHARE_UNITS, Row, divide
from assetbatch.sandbox.courses import slow_course
from assetbatch.sandbox.exchange import Session
from assetbatch.sandbox.listings import Listing
from assetbatch.sandbox.universe import Instrument

HALF_HOUR_MS = HOUR_MS // 2
_EPOCH = date(1970, 1, 1).toordinal()


class _Parts(NamedTuple):
    """What a day consists of; a part without a trade is None."""

    early: Row | None
    regular: Row | None
    late: Row | None


def hours_of(instrument: Instrument, session: Session) -> tuple[int, int]:
    """Return from when to when an instrument is traded in a session."""
    if instrument.market is Market.INDEX:
        return session.opens_ms, session.closes_ms
    return session.early_ms, session.late_ms


def sessions(instrument: Instrument, start_ms: int, end_ms: int) -> Iterator[tuple[date, Session]]:
    """Yield the sessions of an instrument whose days start in `[start_ms, end_ms)`, ascending."""
    listing = _listing(instrument)
    day = day_of(start_ms)
    if start_of_day(day) < start_ms:
        day += timedelta(days=1)
    while start_of_day(day) < end_ms:
        session = listing.calendar.session(day)
        if session is not None and listing.is_traded(day):
            yield day, session
        day += timedelta(days=1)


def next_open(instrument: Instrument, at_ms: int) -> int | None:
    """Return `at_ms` itself while the instrument is traded, else the start of its next session, or None."""
    listing = _listing(instrument)
    while True:
        day, session = listing.calendar.next_session(at_ms)
        starts_ms, ends_ms = hours_of(instrument, session)
        if ends_ms <= at_ms:
            at_ms = session.late_ms
        elif listing.is_traded(day):
            return max(at_ms, starts_ms)
        else:
            first = min((first for first, _ in listing.traded if first > day), default=None)
            if first is None:
                return None
            at_ms = start_of_day(first)


def last_open(instrument: Instrument, at_ms: int) -> int | None:
    """Return `at_ms` itself while the instrument is traded, else the end of its latest session, or None."""
    listing = _listing(instrument)
    while True:
        day, session = listing.calendar.last_session(at_ms)
        starts_ms, ends_ms = hours_of(instrument, session)
        if starts_ms >= at_ms:
            at_ms = session.early_ms
        elif listing.is_traded(day):
            return min(at_ms, ends_ms)
        else:
            end = max((end for _, end in listing.traded if end and end <= day), default=None)
            if end is None:
                return None
            at_ms = start_of_day(end)


def _listing(instrument: Instrument) -> Listing:
    assert instrument.listing is not None
    return instrument.listing


def whole_day(instrument: Instrument, day: date) -> Row | None:
    """Return a day that is over, which starts at New York midnight, or None without a regular trade."""
    early, regular, late = _parts(instrument, day)
    return together(early, regular, late, start_of_day(day)) if regular else None


def together(early: Row | None, regular: Row, late: Row | None, start_ms: int) -> Row:
    """Return the bar of a day: the prices of its regular session, and all volume."""
    _, opened, high, low, closed, volume, count, turnover = regular
    for one in (early, late):
        if one is not None:
            volume, count, turnover = volume + one[5], count + one[6], turnover + one[7]
    return (start_ms, opened, high, low, closed, volume, count, turnover)


def half_hour(instrument: Instrument, start_ms: int) -> Row | None:
    """Return the half hour that starts then, or None without a trade."""
    first_ms, rows = _half_hours(instrument, day_of(start_ms))
    place = (start_ms - first_ms) // HALF_HOUR_MS
    return rows[place] if 0 <= place < len(rows) else None


@lru_cache(maxsize=2_048)
def _half_hours(instrument: Instrument, day: date) -> tuple[int, tuple[Row | None, ...]]:
    """Return the start of the first half hour of a day, and all of them."""
    session = _listing(instrument).calendar.session(day)
    if session is None:
        return 0, ()
    first_ms, end_ms = hours_of(instrument, session)
    rows: list[Row | None] = []
    parts = _parts(instrument, day)
    bounds_ms = (session.early_ms, session.opens_ms, session.closes_ms, session.late_ms)
    for name, part, start_ms, until_ms in zip("eml", parts, bounds_ms, bounds_ms[1:], strict=False):
        if not first_ms <= start_ms < end_ms:
            continue
        count = (until_ms - start_ms) // HALF_HOUR_MS
        if part is None:
            rows += [None] * count
            continue
        noise = shake_128(f"{instrument.ticker} {day.toordinal()} {name}".encode()).digest(3 * count)
        rows += divide(part, count, HALF_HOUR_MS, noise)
    return first_ms, tuple(rows)


def _parts(instrument: Instrument, day: date) -> _Parts:
    listing = _listing(instrument)
    session = listing.calendar.session(day) if listing.is_traded(day) else None
    if session is None:
        return _Parts(None, None, None)
    ordinal = day.toordinal()
    noise = blake2b(f"{instrument.ticker} {ordinal}".encode(), digest_size=12).digest()
    move, raw = instrument.daily_move, listing.raw_factor(session.early_ms)
    # The course of the day before leads to the open, and that of this day to the close.
    number = ordinal - _EPOCH
    opened = max(8, int(exp(slow_course(instrument, number) + move * (noise[0] - 128) / 512) * raw))
    closed = max(8, int(exp(slow_course(instrument, number + 1) + move * (noise[1] - 128) / 512) * raw))
    length = (session.closes_ms - session.opens_ms) / HOUR_MS
    busy = length * (0.5 + noise[2] / 256)
    is_index = instrument.market is Market.INDEX
    # Fewer shares at a higher price are the same turnover.
    volume = 0 if is_index else round(instrument.hourly_volume * busy / raw * SHARE_UNITS) + noise[3]
    count = int(instrument.activity * busy + noise[4] / 256)

    def part(start_ms: int, first: int, last: int, share: float, reach: float) -> Row | None:
        trades = int(count * share)
        if not trades:
            return None
        top, bottom = (first, last) if first > last else (last, first)
        top += int(top * reach * noise[5] / 256)
        bottom -= int(bottom * reach * noise[6] / 256)
        shares = volume if share == 1 else int(volume * share)
        turnover = shares * (first + top + bottom + last)
        return (start_ms, first, top, bottom, last, shares, trades, turnover)

    regular = part(session.opens_ms, opened, closed, 1, move / 3)
    if is_index:
        return _Parts(None, regular, None)
    before = max(8, opened + int(opened * move * (noise[7] - 128) / 256))
    until = max(8, opened + int(opened * move * (noise[8] - 128) / 2_048))
    after = max(8, closed + int(closed * move * (noise[9] - 128) / 512))
    early = part(session.early_ms, before, until, 0.01 + noise[10] / 5_000, move / 6)
    late = part(session.closes_ms, closed, after, 0.01 + noise[11] / 5_000, move / 6)
    return _Parts(early, regular, late)
