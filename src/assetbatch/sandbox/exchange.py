"""The days and hours of the simulated stock exchange: computed ones, and closures that nobody has planned.

The program may run in the same process and lay the days that it was told over its calendar. So nothing here
asks that calendar for hours: the rules of `domain/nyse.py` and the closures here are all.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple

from assetbatch.domain.market_hours import day_of, new_york_zone, to_ms
from assetbatch.domain.nyse import SpecialDay, special_day
from assetbatch.domain.units import HOUR_MS

_EARLY_HOURS_MS = 5 * HOUR_MS + HOUR_MS // 2
_LATE_HOURS_MS = 4 * HOUR_MS


class Closure(NamedTuple):
    """A day on which the exchange stays closed, and the day from which on the provider lists it."""

    day: date
    name: str
    listed: date


CLOSURES = (
    Closure(date(2025, 5, 15), "Day of Mourning", date(2025, 5, 12)),
    Closure(date(2026, 9, 17), "Power Failure", date(2026, 9, 17)),
)
"""The closures of a simulated exchange for which nothing else is said."""


class Session(NamedTuple):
    """The hours of a day, in Unix milliseconds: before, in and after the regular session."""

    early_ms: int
    opens_ms: int
    closes_ms: int
    late_ms: int


class Calendar:
    """The days of one simulated exchange. Compared by identity: it is part of the key of what is cached."""

    def __init__(self, closures: tuple[Closure, ...] = CLOSURES) -> None:
        self._closures = {one.day: one for one in closures}

    def special_day(self, day: date) -> SpecialDay | None:
        """Return what a weekday is on which the exchange is closed or closes early."""
        if day in self._closures:
            return SpecialDay(self._closures[day].name)
        return special_day(day)

    def listed(self, today: date) -> dict[date, SpecialDay]:
        """Return the special days from today on that are known today, a year ahead, ascending."""
        days = (today + timedelta(days=ahead) for ahead in range(366))
        found = {day: self.special_day(day) for day in days if day.weekday() < 5}
        unknown = {day for day, one in self._closures.items() if one.listed > today}
        return {day: special for day, special in found.items() if special and day not in unknown}

    def session(self, day: date) -> Session | None:
        """Return the hours of a day, or None if the exchange is closed."""
        return _session(self, day)

    def status(self, at_ms: int) -> str:
        """Return `open`, `early_trading`, `late_trading` or `closed`."""
        session = _session(self, day_of(at_ms))
        if session is None or not session.early_ms <= at_ms < session.late_ms:
            return "closed"
        if at_ms < session.opens_ms:
            return "early_trading"
        return "open" if at_ms < session.closes_ms else "late_trading"

    def next_session(self, at_ms: int) -> tuple[date, Session]:
        """Return the first session with a late end after a moment, and its day."""
        day = day_of(at_ms)
        while (found := _session(self, day)) is None or found.late_ms <= at_ms:
            day += timedelta(days=1)
        return day, found

    def last_session(self, at_ms: int) -> tuple[date, Session]:
        """Return the last session with an early start before a moment, and its day."""
        day = day_of(at_ms)
        while (found := _session(self, day)) is None or found.early_ms >= at_ms:
            day -= timedelta(days=1)
        return day, found


@lru_cache(maxsize=8_192)
def _session(calendar: Calendar, day: date) -> Session | None:
    if day.weekday() > 4:
        return None
    special = calendar.special_day(day)
    closes = special.closes if special else time(16)
    if closes is None:
        return None
    opens_ms, closes_ms = _moment(day, time(9, 30)), _moment(day, closes)
    return Session(opens_ms - _EARLY_HOURS_MS, opens_ms, closes_ms, closes_ms + _LATE_HOURS_MS)


def _moment(day: date, at: time) -> int:
    return to_ms(datetime.combine(day, at, tzinfo=new_york_zone()))
