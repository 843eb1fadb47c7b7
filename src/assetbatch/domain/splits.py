"""Splits of stocks: what the provider's list changes of what is known, and which splits a price answers for.

Bars are stored as they were traded. The adjusted views multiply them by the applied splits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
from enum import StrEnum
from math import isclose, log
from typing import NamedTuple
from zlib import crc32

import msgspec

BACK = timedelta(days=7)
"""How far back the splits of the whole market are asked for again: the list is corrected afterwards."""

AHEAD = timedelta(days=14)
"""How far ahead they are asked for."""

LONGEST_PAUSE = timedelta(days=365)
"""How far back is asked besides where nobody remembers the last answer. A year is about one page."""

EARLIEST = date(1900, 1, 1)
"""The first day of the splits of all times."""

TICKERS_A_CALL = 250
"""Maximum number of tickers in one request for the history of their splits."""

CALLS_FOR_ALL = 10
"""About how many calls bring the splits of all times of the whole market, at 5,000 a call: the provider lists
some ten thousand. A wrong number costs some calls, and no split."""

_EVERYBODY = "*"
"""What stands in the place of the tickers where those of the whole market are asked for. No ticker sorts like
it, so that an earlier version finds nobody whom such a request is about."""

FITS_WITHIN = 1.8
"""By which factor the first price after a split may differ from the one that the split lets expect."""

TOLD_FROM = 1.2
"""The least ratio of a split that two prices can tell from no split."""


class SplitKind(StrEnum):
    """What a split is, as the provider says it."""

    FORWARD = "forward_split"
    REVERSE = "reverse_split"
    STOCK_DIVIDEND = "stock_dividend"


class SplitState(StrEnum):
    """Whether a split counts."""

    APPLIED = "applied"
    CONFLICT = "conflict"
    """The provider lists several for one day, and they differ: none counts."""
    WITHDRAWN = "withdrawn"
    """The provider does not list it any more."""


class Split(msgspec.Struct, frozen=True):
    """From `execution_date` on, `split_from` old shares are `split_to` new ones."""

    execution_date: date
    split_from: float
    split_to: float
    kind: SplitKind

    @property
    def price_factor(self) -> float:
        """What a price of the days before is multiplied by."""
        return self.split_from / self.split_to

    def is_like(self, other: Split) -> bool:
        """Return whether two splits of one day say the same: 1 to 2 is 2 to 4."""
        return isclose(self.split_from * other.split_to, other.split_from * self.split_to, rel_tol=1e-9)


class KnownSplit(msgspec.Struct, frozen=True):
    """A split as it is stored."""

    split: Split
    state: SplitState


class Listed(NamedTuple):
    """The rows of one ticker in an answer, and the days of its rows that are of no use."""

    splits: Sequence[Split] = ()
    useless: Collection[date] = ()


class Days(NamedTuple):
    """The execution dates that an answer is right about, both inclusive."""

    first: date
    last: date

    def __contains__(self, day: object) -> bool:
        """Return whether a day is one of them."""
        return isinstance(day, date) and self.first <= day <= self.last


class Request(NamedTuple):
    """What is asked for: the splits since a day, of the whole market, or of the tickers from `low` to `high`
    that are kept.

    The splits of all times of the whole market have a `low` that no ticker has, and as `high` the checksum of
    the tickers that are kept: for others the first pages would be missing.
    """

    first: date
    low: str = ""
    high: str = ""

    @property
    def is_of_market(self) -> bool:
        """Whether the whole market is meant."""
        return not self.low or self.is_of_everybody

    @property
    def is_of_everybody(self) -> bool:
        """Whether the splits of all times of the whole market are meant."""
        return self.low == _EVERYBODY

    @property
    def is_history(self) -> bool:
        """Whether its last page ends what is asked once for each ticker."""
        return bool(self.low)

    def is_about(self, kept: Collection[str]) -> bool:
        """Return whether it still has a use for the tickers that are kept."""
        if self.is_of_everybody:
            return self.high == _checksum(kept)
        return bool(self.tickers(kept))

    @property
    def text(self) -> str:
        """The request as the id of an item of the queue has it: `2026-11-09` or `1900-01-01:AAPL~MSFT`."""
        tickers = self.low if self.low == self.high else f"{self.low}~{self.high}"
        return f"{self.first}:{tickers}" if self.low else f"{self.first}"

    @property
    def words(self) -> str:
        """The request for people."""
        since = "" if self.first == EARLIEST else f" since {self.first}"
        if self.is_of_market:
            return f"splits of all stocks{since}" if since else "all splits of all stocks"
        return f"splits of {self.low if self.low == self.high else f'{self.low} to {self.high}'}{since}"

    def days(self, today: date) -> Days:
        """Return the execution dates that are asked for."""
        return Days(self.first, max(self.first, today + AHEAD))

    def tickers(self, kept: Iterable[str]) -> list[str]:
        """Return those of the kept tickers that are asked for, ascending; all if it is the whole market."""
        if self.is_of_market:
            return sorted(kept)
        return sorted(one for one in kept if self.low <= one <= self.high)[:TICKERS_A_CALL]


def parse_request(text: str) -> Request | None:
    """Read what `Request.text` has made. Return None for anything else."""
    day, _, tickers = text.partition(":")
    low, _, high = tickers.partition("~")
    try:
        return Request(date.fromisoformat(day), low, high or low)
    except ValueError:
        return None


def request_of_market(today: date, answered_on: date | None) -> Request:
    """Return the daily request, by the New York days of today and of the last answer.

    After a pause of the program the days since the last answer are asked for too.
    """
    known_to = today - LONGEST_PAUSE if answered_on is None else min(today, answered_on)
    return Request(known_to - BACK)


def requests_of_history(unasked: Iterable[str], kept: Iterable[str]) -> list[Request]:
    """Return the fewest requests that bring the splits of all times of tickers of which they were not asked
    for; `kept` are all tickers, whose neighbours share a request.

    Where that takes more than `CALLS_FOR_ALL`, the pages of the whole market are fewer: of 12,500 stocks some
    ten calls in place of 50.
    """
    by_ticker = _by_ticker(unasked, kept := set(kept))
    if len(by_ticker) > CALLS_FOR_ALL:
        return [Request(EARLIEST, _EVERYBODY, _checksum(kept))]
    return by_ticker


def _checksum(kept: Iterable[str]) -> str:
    return f"{crc32(' '.join(sorted(kept)).encode()):08x}"


def _by_ticker(unasked: Iterable[str], kept: Iterable[str]) -> list[Request]:
    places = {ticker: place for place, ticker in enumerate(sorted(kept))}
    found: list[Request] = []
    end = 0
    for ticker in sorted(set(unasked) & places.keys()):
        if places[ticker] < end:
            found[-1] = found[-1]._replace(high=ticker)
        else:
            found.append(Request(EARLIEST, ticker, ticker))
            end = places[ticker] + TICKERS_A_CALL
    return found


def learn(known: Mapping[date, KnownSplit], listed: Listed, asked: Days | None) -> list[KnownSplit]:
    """Return the rows of one ticker that an answer changes, ascending.

    `asked` are the days of which the answer has every row; None if it may lack some. What it does not list
    of them is withdrawn. A row of no use withdraws nothing: the provider has something for that day.
    """
    by_day: dict[date, list[Split]] = {}
    for split in sorted(listed.splits, key=lambda one: (one.execution_date, one.split_from, one.split_to)):
        by_day.setdefault(split.execution_date, []).append(split)
    found = {day: _judged(some, known.get(day)) for day, some in by_day.items()}
    for day, old in known.items():
        if asked and day in asked and day not in found and day not in listed.useless:
            found[day] = KnownSplit(old.split, SplitState.WITHDRAWN)
    return [found[day] for day in sorted(found) if found[day] != known.get(day)]


def _judged(some: Sequence[Split], old: KnownSplit | None) -> KnownSplit:
    """Return what the rows of one day amount to. What is known keeps its numbers where they still hold."""
    same = [split for split in some if old and split.is_like(old.split) and split.kind == old.split.kind]
    split = old.split if old and same else some[0]
    if all(split.is_like(other) for other in some):
        return KnownSplit(split, SplitState.APPLIED)
    return KnownSplit(split, SplitState.CONFLICT)


def fits(split: Split, close_before: float, open_after: float) -> bool:
    """Return whether a split explains the last price before it and the first price since.

    The first price since may be off by less than `FITS_WITHIN`: a night moves prices too. A ratio of at least
    `TOLD_FROM` must also explain it better than no split does, else the day is wrong.
    """
    off = abs(log(open_after / close_before) - log(split.price_factor))
    if off >= log(FITS_WITHIN):
        return False
    is_told = abs(log(split.price_factor)) >= log(TOLD_FROM)
    return not is_told or off <= abs(log(open_after / close_before))
