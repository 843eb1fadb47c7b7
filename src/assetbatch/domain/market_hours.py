"""When markets are open, computed from New York's wall clock and its summer time.

`asset_classes.py` has the hours of each market, and `nyse.py` the holidays of stocks and indices. Holidays of
the other markets are not coded: they show as empty answers. All moments are Unix milliseconds, UTC.
"""

from __future__ import annotations

from calendar import isleap
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING

import msgspec

from assetbatch.domain.asset_classes import SESSIONS, Market, Sessions, TradingDays
from assetbatch.domain.units import HOUR_MS

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from assetbatch.domain.nyse import SpecialDay, SpecialDays


@cache
def new_york_zone() -> ZoneInfo:
    """Return the zone. It is loaded when hours are asked for: an idle start asks for none."""
    from zoneinfo import ZoneInfo

    return ZoneInfo("America/New_York")


def to_ms(moment: datetime) -> int:
    """Return the Unix milliseconds of an aware datetime. Raise ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return round(moment.timestamp() * 1000)


def from_ms(at_ms: int) -> datetime:
    """Return the aware UTC datetime of Unix milliseconds, exact."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)


def month_of(at_ms: int, more: int = 0) -> int:
    """Return the moment (ms) at which the month (UTC) of `at_ms` begins, or the one `more` months later."""
    moment = from_ms(at_ms)
    months = moment.year * 12 + moment.month - 1 + more
    return to_ms(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC))


@lru_cache(maxsize=4096)
def day_of(at_ms: int) -> date:
    """Return the New York calendar day of a moment; the provider's days are these."""
    return from_ms(at_ms).astimezone(new_york_zone()).date()


@lru_cache(maxsize=4096)
def start_of_day(day: date) -> int:
    """Return the moment at which a New York day begins."""
    return to_ms(datetime.combine(day, time(), tzinfo=new_york_zone()))


def days_span(first: date, last: date) -> tuple[int, int]:
    """Return `[start_ms, end_ms)` of the New York days from `first` to `last`, both inclusive."""
    return start_of_day(first), start_of_day(last + timedelta(days=1))


def last_midnight(at_ms: int) -> int:
    """Return the latest New York midnight at or before `at_ms`."""
    return start_of_day(day_of(at_ms))


def years_before(at_ms: int, years: int) -> int:
    """Return the New York midnight at which the same day began so many years before."""
    day = day_of(at_ms)
    if (day.month, day.day) == (2, 29):
        day -= timedelta(days=1)  # the other year may have no 29 February
    return start_of_day(day.replace(year=day.year - years))


class _Hours(msgspec.Struct, frozen=True, eq=False):
    """The hours of a market. No two are equal, and each is its own key: that is cheap, and what is cached for
    one is never taken for another."""

    sessions: Sessions | None
    listed: SpecialDays = {}
    """What the provider lists; of days that it does not list, what is computed holds."""


_HOURS = {market: _Hours(regular) for market, regular in SESSIONS.items()}


def set_listed_days(listed: SpecialDays) -> None:
    """Lay the days that the provider lists over the computed ones, for all that this process asks from now
    on. They replace those that were listed before."""
    for market, hours in _HOURS.items():
        if isinstance(hours.sessions, TradingDays) and hours.listed != listed:
            _HOURS[market] = _Hours(hours.sessions, dict(listed))


def is_closed_day(market: Market, at_ms: int) -> bool:
    """Return whether the exchange that a market follows has no session on this New York day; False for a
    market of another kind."""
    return isinstance(_HOURS[market].sessions, TradingDays) and not sessions(market, day_of(at_ms))


def special_day(market: Market, day: date) -> SpecialDay | None:
    """Return what a weekday of a market is, with its name, if the market is closed on it or closes early."""
    hours = _HOURS[market]
    return _special_day(hours, hours.sessions, day) if isinstance(hours.sessions, TradingDays) else None


def _special_day(hours: _Hours, regular: TradingDays, day: date) -> SpecialDay | None:
    from assetbatch.domain import nyse  # currencies alone need none of it

    if day.weekday() > 4:
        return None
    computed, listed = nyse.special_day(day), hours.listed.get(day)
    if listed is None or (computed and computed.closes == listed.closes):  # of two names ours is exact
        return computed
    return None if listed.closes == regular.closes else listed


def sessions(market: Market, day: date) -> tuple[tuple[int, int], ...]:
    """Return the intervals `[start_ms, end_ms)` in which a market is open on a New York day."""
    return _sessions(_HOURS[market], day)


@lru_cache(maxsize=4096)
def _sessions(hours: _Hours, day: date) -> tuple[tuple[int, int], ...]:
    regular = hours.sessions
    if regular is None:
        return ((start_of_day(day), start_of_day(day + timedelta(days=1))),)
    if isinstance(regular, TradingDays):
        return _trading_session(hours, regular, day)

    def at(hour: int) -> int:
        return start_of_day(day + timedelta(days=1)) if hour == 24 else _moment(day, time(hour))

    return tuple((at(opens), at(closes)) for opens, closes in regular.get(day.weekday(), ()))


def _trading_session(hours: _Hours, regular: TradingDays, day: date) -> tuple[tuple[int, int], ...]:
    if day.weekday() > 4:
        return ()
    special = _special_day(hours, regular, day)
    closes = special.closes if special else regular.closes
    if closes is None:
        return ()
    return ((_moment(day, regular.opens), _moment(day, closes) + regular.late_hours * HOUR_MS),)


def _moment(day: date, at: time) -> int:
    """Return the moment of a time on New York's wall clock."""
    return to_ms(datetime.combine(day, at, tzinfo=new_york_zone()))


def is_open(market: Market, at_ms: int) -> bool:
    """Return whether the market trades at this moment."""
    return _is_open(_HOURS[market], at_ms)


@lru_cache(maxsize=2**10)
def _is_open(hours: _Hours, at_ms: int) -> bool:
    return any(start <= at_ms < end for start, end in _sessions(hours, day_of(at_ms)))


def last_open(market: Market, at_ms: int) -> int:
    """Return `at_ms` itself while the market is open, else the end of its latest session."""
    return _last_open(_HOURS[market], at_ms)


@lru_cache(maxsize=2**10)
def _last_open(hours: _Hours, at_ms: int) -> int:
    day = day_of(at_ms)
    for _ in range(8 + len(hours.listed)):
        for start, end in reversed(_sessions(hours, day)):
            if start <= at_ms:
                return min(at_ms, end)
        day -= timedelta(days=1)
    raise AssertionError("every market opens within a week, without what is listed")


def next_open(market: Market, at_ms: int) -> int:
    """Return `at_ms` itself while the market is open, else the start of its next session."""
    hours, day = _HOURS[market], day_of(at_ms)
    for _ in range(8 + len(hours.listed)):
        for start, end in _sessions(hours, day):
            if at_ms < end:
                return max(at_ms, start)
        day += timedelta(days=1)
    raise AssertionError("every market opens within a week, without what is listed")


def open_intervals(market: Market, start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    """Return the intervals within `[start_ms, end_ms)` in which a market is open, merged over midnight."""
    hours = _HOURS[market]
    if hours.sessions is None:
        return [(start_ms, end_ms)] if start_ms < end_ms else []
    found: list[tuple[int, int]] = []
    day = day_of(start_ms)
    while start_of_day(day) < end_ms:
        for opens, closes in _sessions(hours, day):
            opens, closes = max(opens, start_ms), min(closes, end_ms)
            if opens >= closes:
                continue
            if found and found[-1][1] == opens:
                found[-1] = (found[-1][0], closes)
            else:
                found.append((opens, closes))
        day += timedelta(days=1)
    return found


def open_ms_between(market: Market, start_ms: int, end_ms: int) -> int:
    """Return for how many milliseconds the market is open within `[start_ms, end_ms)`. It is cheap over
    years."""
    if start_ms >= end_ms:
        return 0
    hours = _HOURS[market]
    if hours.sessions is None:
        return end_ms - start_ms
    first, last = day_of(start_ms), day_of(end_ms)
    years = sum(_open_ms_before(hours, year)[-1] for year in range(first.year, last.year))
    return years + _open_ms_until(hours, last, end_ms) - _open_ms_until(hours, first, start_ms)


def _open_ms_until(hours: _Hours, day: date, at_ms: int) -> int:
    """Return for how long the market was open from New Year to a moment of a day."""
    before = _open_ms_before(hours, day.year)[day.timetuple().tm_yday - 1]
    return before + sum(max(0, min(closes, at_ms) - opens) for opens, closes in _sessions(hours, day))


@lru_cache(maxsize=1024)
def _open_ms_before(hours: _Hours, year: int) -> tuple[int, ...]:
    """Return for how long the market was open from New Year to the start of each day of a year, and to its
    end."""
    days = [date(year, 1, 1) + timedelta(days=n) for n in range(366 if isleap(year) else 365)]
    lengths = (sum(closes - opens for opens, closes in _sessions(hours, day)) for day in days)
    return tuple(accumulate(lengths, initial=0))
