"""How long a page of bars may be: 34 days of any market, or longer where that was seen to come whole.

The provider counts 50,000 one-minute bars for a page. By its own words it counts those that it has: then a
page reaches further where a market closes, or where a coin is traded seldom. A longer page is tried in a way
that costs no call if it is cut, and the outcome is remembered.
"""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum
from typing import NamedTuple

import msgspec

from assetbatch.domain.asset_classes import Market, longest_hours
from assetbatch.domain.market_hours import day_of, days_span, open_ms_between, start_of_day
from assetbatch.domain.units import DAY_MS

PAGE_DAYS = 34
"""Number of New York days of a page that comes whole in any market: measured."""

PAGE_MS = PAGE_DAYS * DAY_MS
"""Length of the bars that one call can bring: 50,000 base minutes are 34 days of a market that never
closes."""

LENGTH_KEPT_MS = 30 * DAY_MS
"""How long it is believed how long a page may be. Then a longer one is tried again."""

LENGTH_AGAIN_MS = DAY_MS
"""How long a length that proves itself again is not written again."""

MOST_PAGES = 12
"""Maximum number of pages of `PAGE_DAYS` that one call asks for."""

DOUBTS_KEPT = 20
"""Maximum number of doubted intervals that are remembered of a market."""

DOUBTS_OF_A_PAGE = 3
"""Maximum number of doubted intervals that are remembered of one answer."""

MEASURED_MS = 30 * DAY_MS
"""Minimum length of an answer from which it follows how seldom a symbol is traded."""

MONTH_MS = 30 * DAY_MS
"""Minimum length at which the provider may cut a page: by its advice a page has at most a month."""

MONTHS_MS = (MONTH_MS, 31 * DAY_MS)
"""Lengths at which the provider may cut a page."""

PROOF_MARGIN_MS = 3 * DAY_MS
"""How much shorter than it could be a page may be that shows that longer pages come whole."""


class Reach(NamedTuple):
    """How far a page may reach: a number of New York days, or more of them if they hold no more than
    `open_ms` of open time."""

    days: int = PAGE_DAYS
    open_ms: int = 0

    def first_day(self, market: Market, last: date) -> date:
        """Return the first day of the longest page that ends with the day `last`."""
        return self._furthest(market, last, -1)

    def last_day(self, market: Market, first: date) -> date:
        """Return the last day of the longest page that begins with the day `first`."""
        return self._furthest(market, first, 1)

    def _furthest(self, market: Market, day: date, step: int) -> date:
        furthest = day + step * timedelta(days=self.days - 1)
        market = longest_hours(market)  # a page has room for minutes that are not kept too
        while self.open_ms and abs((furthest - day).days) < MOST_PAGES * PAGE_DAYS:
            further = furthest + step * timedelta(days=1)
            first, last = min(day, further), max(day, further)
            if open_ms_between(market, *days_span(first, last)) > self.open_ms:
                break
            furthest = further
        return furthest


SURE = Reach()
"""The page that comes whole in any market."""

BY_OPEN_TIME = Reach(open_ms=PAGE_MS)
"""The page that comes whole if the provider counts the minutes that it has. A market has none while it is
closed: of forex these are about 48 days."""


class PageKind(StrEnum):
    """What is known of the page that a call asks for."""

    SURE = "sure"
    """It has at most `PAGE_DAYS`."""
    TRIED = "tried"
    """It is longer, and nobody knows whether such a page comes whole."""
    PROVEN = "proven"
    """It is longer, and such pages of its market came whole."""
    THIN = "thin"
    """It is longer, since its symbol is traded so seldom that its minutes fit."""


class Doubt(msgspec.Struct, frozen=True):
    """An interval `[start_ms, end_ms)` of open time of which a longer page had nothing. If a page of
    `PAGE_DAYS` has bars of it, the longer page was cut."""

    symbol: str
    start_ms: int
    end_ms: int


class PageLength(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of longer pages: of a market, or of one ticker that is traded seldom.

    `whole`: whether one came whole; None while that is open. `pages` is how many pages of `PAGE_DAYS` one
    call for the ticker should bring.
    """

    of: str
    since_ms: int
    until_ms: int
    whole: bool | None = None
    pages: int = 1
    doubts: tuple[Doubt, ...] = ()


class PageLesson(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer shows of longer pages of a market or a ticker.

    `whole` is None if it shows nothing. `settled` are doubts for which nothing came again.
    """

    of: str
    whole: bool | None = None
    pages: int = 1
    doubts: tuple[Doubt, ...] = ()
    settled: tuple[Doubt, ...] = ()


def sure_until(start_ms: int) -> int:
    """Return up to when a page that begins at `start_ms` comes whole in any market."""
    return max(start_ms + PAGE_MS, start_of_day(day_of(start_ms) + timedelta(days=PAGE_DAYS)))


def learned(before: PageLength | None, lesson: PageLesson, now_ms: int) -> PageLength | None:
    """Return what is known after a lesson, or None if that is not worth remembering.

    A cut page counts for a month, whatever comes whole meanwhile.
    """
    if before is not None and now_ms >= before.until_ms:
        before = None
    if before is not None and before.whole is False:
        return None
    doubts = before.doubts if before else ()
    left = tuple(dict.fromkeys(one for one in (*doubts, *lesson.doubts) if one not in lesson.settled))
    whole = lesson.whole if lesson.whole is not None or before is None else before.whole
    after = PageLength(
        of=lesson.of,
        since_ms=now_ms,
        until_ms=now_ms + LENGTH_KEPT_MS,
        whole=whole,
        pages=lesson.pages,
        doubts=() if whole is False else left[-DOUBTS_KEPT:],
    )
    if before is None:
        return after if (whole, after.pages, left) != (None, 1, ()) else None
    if (before.whole, before.pages, before.doubts) != (whole, after.pages, after.doubts):
        return after
    proves_again = lesson.whole or lesson.pages > 1
    return after if proves_again and now_ms - before.since_ms >= LENGTH_AGAIN_MS else None


def pages_of_thin(traded_ms: int, asked_ms: int) -> int:
    """Return how many pages of `PAGE_DAYS` of a symbol one call should bring, if `asked_ms` had bars of
    `traded_ms` together.

    A bar of five minutes may have all five of them. There may be twice as many at another time.
    """
    most_ms = max(1, 2 * traded_ms * PAGE_MS // asked_ms)
    return max(1, min(MOST_PAGES, PAGE_MS // most_ms))


def length_in_words(known: PageLength, days: int) -> str:
    """Return what is known of longer pages, for people: `forex: one call brings up to 47 days of bars`."""
    if known.whole is False:
        return f"{known.of}: longer pages of bars are cut; one call asks for {days} days"
    return f"{known.of}: one call brings up to {days} days of bars"
