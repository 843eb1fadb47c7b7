"""The days of the New York Stock Exchange that are no ordinary weekdays, computed from its rules.

The rules and the table hold from 2003 on. What the provider lists comes before what is computed: it knows a
closure that nobody has planned.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, time, timedelta
from functools import cache

import msgspec


class SpecialDay(msgspec.Struct, frozen=True):
    """A weekday on which the exchange is closed, or closes early."""

    name: str
    closes: time | None = None
    """When it closes, on New York's wall clock; None for a day on which it never opens."""


SpecialDays = Mapping[date, SpecialDay]

LISTED_AHEAD = timedelta(days=800)
"""How far ahead of today a listed day is believed. The provider lists about a year."""

_MONDAY, _THURSDAY, _SATURDAY, _SUNDAY = 0, 3, 5, 6
_EARLY = time(13)

_UNSCHEDULED: SpecialDays = {
    date(2003, 12, 26): SpecialDay("Day after Christmas", _EARLY),
    date(2004, 6, 11): SpecialDay("Funeral of Ronald Reagan"),
    date(2007, 1, 2): SpecialDay("Funeral of Gerald Ford"),
    date(2012, 10, 29): SpecialDay("Hurricane Sandy"),
    date(2012, 10, 30): SpecialDay("Hurricane Sandy"),
    date(2018, 12, 5): SpecialDay("Funeral of George H. W. Bush"),
    date(2025, 1, 9): SpecialDay("Funeral of Jimmy Carter"),
}
"""The days that follow from no rule."""


def special_day(day: date) -> SpecialDay | None:
    """Return what a weekday is if it is no ordinary one."""
    return special_days(day.year).get(day)


def learn(known: SpecialDays, listed: SpecialDays, today: date) -> SpecialDays:
    """Return what is known of listed days, ascending, after the provider has listed those to come.

    It is right from `today` up to the last day that it lists: what it leaves out between is withdrawn, and
    what is computed holds again. Past days stay: the provider lists none, and whoever fills gaps asks for
    them. `today` is the provider's, which begins before New York's. An empty list says nothing.
    """
    found = {day: special for day, special in listed.items() if today <= day <= today + LISTED_AHEAD}
    last = max(found, default=today - timedelta(days=1))
    kept = {day: special for day, special in known.items() if day < today or day > last}
    return dict(sorted((kept | found).items()))


@cache
def special_days(year: int) -> SpecialDays:
    """Return the special days of a year, ascending. None is on a weekend."""
    found = {day: SpecialDay(name) for day, name in _holidays(year)}
    found |= {day: SpecialDay(name, _EARLY) for day, name in _early_closes(year) if day not in found}
    found |= {day: special for day, special in _UNSCHEDULED.items() if day.year == year}
    return dict(sorted(found.items()))


def _holidays(year: int) -> list[tuple[date, str]]:
    new_year = date(year, 1, 1)
    holidays = [
        (_from(date(year, 1, 15), _MONDAY), "Martin Luther King Jr. Day"),
        (_from(date(year, 2, 15), _MONDAY), "Presidents' Day"),
        (_easter(year) - timedelta(days=2), "Good Friday"),
        (_from(date(year, 5, 25), _MONDAY), "Memorial Day"),
        (_observed(date(year, 7, 4)), "Independence Day"),
        (_from(date(year, 9, 1), _MONDAY), "Labor Day"),
        (_thanksgiving(year), "Thanksgiving Day"),
        (_observed(date(year, 12, 25)), "Christmas Day"),
    ]
    if new_year.weekday() != _SATURDAY:  # the Friday before ends the books of the old year: it is none
        holidays.append((_observed(new_year), "New Year's Day"))
    if year >= 2022:
        holidays.append((_observed(date(year, 6, 19)), "Juneteenth"))
    return holidays


def _early_closes(year: int) -> list[tuple[date, str]]:
    """Return the days with an early close. One that is a holiday too is a holiday."""
    days = [
        (date(year, 7, 3), "Day before Independence Day"),
        (_thanksgiving(year) + timedelta(days=1), "Day after Thanksgiving"),
        (date(year, 12, 24), "Christmas Eve"),
    ]
    return [(day, name) for day, name in days if day.weekday() < _SATURDAY]


def _thanksgiving(year: int) -> date:
    return _from(date(year, 11, 22), _THURSDAY)


def _from(first: date, weekday: int) -> date:
    """Return the first such weekday at or after a day."""
    return first + timedelta(days=(weekday - first.weekday()) % 7)


def _observed(day: date) -> date:
    """Return the weekday on which a holiday of a fixed date is kept."""
    return day + timedelta(days={_SATURDAY: -1, _SUNDAY: 1}.get(day.weekday(), 0))


def _easter(year: int) -> date:
    """Return Easter Sunday of the Gregorian calendar, by the rule of Meeus, Jones and Butcher."""
    golden = year % 19
    century, of_century = divmod(year, 100)
    leap_centuries, rest = divmod(century, 4)
    moon = (century - (century + 8) // 25 + 1) // 3
    epact = (19 * golden + century - leap_centuries - moon + 15) % 30
    sunday = (32 + 2 * rest + 2 * (of_century // 4) - epact - of_century % 4) % 7
    late = (golden + 11 * epact + 22 * sunday) // 451
    month, day = divmod(epact + sunday - 7 * late + 114, 31)
    return date(year, month, day + 1)
