"""What the plan of an API key shows and lacks: the tier's expectation, corrected by what was shown and
refused.

The time comes in as an argument. Days are New York days, as the provider counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from enum import StrEnum
from functools import wraps
from typing import Any, TypeVar

import msgspec

from assetbatch.domain.asset_classes import AssetType, Market, Product, class_of, class_of_type, product_of
from assetbatch.domain.formatting import listed, moment
from assetbatch.domain.market_hours import day_of, days_span, last_midnight
from assetbatch.domain.pages import (
    BY_OPEN_TIME,
    SURE,
    Doubt,
    PageKind,
    PageLength,
    PageLesson,
    Reach,
    learned,
)
from assetbatch.domain.units import DAY_MS, HOUR_MS, MINUTE_MS


class Restriction(StrEnum):
    """Something that a plan may lack for an asset class."""

    SNAPSHOT = "snapshot"
    """`/v3/snapshot`. The snapshots of single markets are tried, or bars are used."""
    MIXED_SNAPSHOT = "mixed_snapshot"
    """`/v3/snapshot` of several products in one call. Each product has calls of its own."""
    MARKET_SNAPSHOT = "market_snapshot"
    """`/v2/snapshot` of a market. Bars are used instead."""
    TODAY = "today"
    """Data of the running day. Calls ask up to the last New York midnight."""
    LAST_DAY = "last_day"
    """The day that has just ended, which is not published yet. Calls ask up to the midnight before."""
    HISTORY = "history"
    """Bars from before `history_starts_ms`."""
    INTRADAY = "intraday"
    """5-minute bars. Daily bars are used instead."""
    BARS = "bars"
    """Bars of the whole class. Daily bars are used instead."""
    GROUPED = "grouped"
    """The daily bars of a whole market in one call. The previous day's bar of each symbol is used instead."""
    PREVIOUS_DAY = "previous_day"
    """The previous day's bars of the whole class. Nothing of the class is left."""


REMEMBERED_MS = DAY_MS
"""How long a restriction is believed before one call asks again."""

OF_TICKERS = (Restriction.INTRADAY, Restriction.BARS, Restriction.PREVIOUS_DAY)
"""Restrictions that may be a ticker's own: gold may be refused where the euro is not. One refusal does not
restrict the market."""

OF_TICKERS_ONLY = (Restriction.SNAPSHOT, Restriction.MARKET_SNAPSHOT)
"""Restrictions of snapshots. A single ticker may be refused within a good answer; then only that ticker is
asked for in another way."""

DOUBTED_MS = 15 * MINUTE_MS
"""How long a first refusal is believed if it contradicts what was seen within a day."""

UNPUBLISHED_DAYS = 3
"""Maximum number of days back to look for the last published one."""

LAST_DAY_PAUSE_MS = (15 * MINUTE_MS, 4 * HOUR_MS)
"""Minimum and maximum pause until a day that is not published yet is asked for again."""

DELAYED_FROM_MS = 10 * MINUTE_MS
DELAY_MS = 15 * MINUTE_MS
"""If the newest data of an open market are older than the first, the plan's delay is the second. What the
provider says itself counts more."""

_MEMO_SIZE = 1000
"""Maximum number of answers that are remembered."""

HISTORY_YEARS = 2
"""Years of history of a plan that refuses an older start (the provider's free plan)."""

OBSERVATION_AGAIN_MS = HOUR_MS
"""How long an observation that says nothing new is not written again."""


class KnownRestriction(msgspec.Struct, frozen=True, kw_only=True):
    """A restriction that the provider has shown, and until when it is believed.

    `message` is the provider's text. `tickers` are those whose calls were refused. A restriction that may be
    a ticker's own (`OF_TICKERS`) holds for them, and for their market if two of it were refused and it is
    `general`, unless a plan may have single tickers of it. One of snapshots (`OF_TICKERS_ONLY`) holds for the
    class, or for the tickers if it is not `general`.
    """

    restriction: Restriction
    asset_type: AssetType
    since_ms: int
    until_ms: int
    message: str
    history_starts_ms: int | None = None
    """HISTORY only: bars that start earlier are refused."""
    unpublished_since_ms: int | None = None
    """LAST_DAY only: the midnight that ended the day that is not published yet."""
    tickers: tuple[str, ...] = ()
    general: bool = True


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider has shown of an asset class.

    `newest_ms` is the newest moment of any data. `today_at_ms` is when data of the running day were last
    seen, and `lag_ms` how old the newest of an open market were then. `delayed` is what the provider last
    said of it. `day_end_ms` is the end of the newest day of which the provider has shown the whole market,
    and `day_at_ms` is when it was asked for that.
    """

    asset_type: AssetType
    at_ms: int
    newest_ms: int
    today_at_ms: int | None = None
    lag_ms: int | None = None
    delayed: bool | None = None
    day_end_ms: int | None = None
    day_at_ms: int | None = None

    @property
    def is_delayed(self) -> bool:
        """Whether the plan delays the data: as the provider says, or else by their age."""
        if self.delayed is not None:
            return self.delayed
        return self.lag_ms is not None and self.lag_ms >= DELAYED_FROM_MS


_Found = TypeVar("_Found")


def _memoized_per_moment(
    method: Callable[[Entitlements, AssetType, int], _Found],
) -> Callable[[Entitlements, AssetType, int], _Found]:
    """Remember the answer for a class and a moment until something is learned, since each asset asks for
    it."""

    @wraps(method)
    def answer(self: Entitlements, asset_type: AssetType, now_ms: int) -> _Found:
        key = (method, asset_type, now_ms)
        found: _Found | None = self._memo.get(key)
        if found is None:
            if len(self._memo) >= _MEMO_SIZE:
                self._memo.clear()
            found = self._memo[key] = method(self, asset_type, now_ms)
        return found

    return answer


class Entitlements:
    """What may be asked for at a moment.

    `end_of_day` are the products of whose plans it is expected that there are neither snapshots nor data of
    the running day, as on the provider's free plan (True: all products). What was shown or refused later
    counts more, and for its class alone.
    """

    def __init__(
        self,
        *,
        end_of_day: bool | Collection[Product],
        restrictions: Iterable[KnownRestriction] = (),
        observations: Iterable[Observation] = (),
        page_lengths: Iterable[PageLength] = (),
    ) -> None:
        if isinstance(end_of_day, bool):
            end_of_day = tuple(Product) if end_of_day else ()
        self._end_of_day = frozenset(one for one in AssetType if product_of(one) in end_of_day)
        self._restrictions = {(known.restriction, known.asset_type): known for known in restrictions}
        self._observations = {observation.asset_type: observation for observation in observations}
        self._page_lengths = {length.of: length for length in page_lengths}
        self._cleared: set[str] = set()
        self._memo: dict[tuple[object, AssetType, int], Any] = {}

    # --- what is known ---

    def lacks(
        self, restriction: Restriction, asset_type: AssetType, now_ms: int, ticker: str | None = None
    ) -> KnownRestriction | None:
        """Return the restriction if it is believed at this moment, of a ticker or of its class; else None."""
        known = self._restrictions.get((restriction, asset_type))
        if known is None or not known.since_ms <= now_ms < known.until_ms:
            return None
        if restriction in OF_TICKERS and ticker is not None and ticker not in known.tickers:
            of = class_of(ticker)
            alike = [one for one in known.tickers if class_of(one) is of]
            return known if known.general and len(alike) > 1 and not of.is_sold_by_ticker else None
        if restriction in OF_TICKERS_ONLY and not known.general and ticker not in known.tickers:
            return None
        return known

    def believed(self, now_ms: int) -> list[KnownRestriction]:
        """Return all restrictions that are believed at this moment."""
        return [known for known in self._restrictions.values() if now_ms < known.until_ms]

    @_memoized_per_moment
    def may_ask_today(self, asset_type: AssetType, now_ms: int) -> bool:
        """Return whether data of the running day may be seen.

        The later of what was shown and what was refused within a day decides; without either, the tier does.
        """
        refused = self.lacks(Restriction.TODAY, asset_type, now_ms)
        shown_ms = self._today_at_ms(asset_type, now_ms)
        if refused and (shown_ms is None or shown_ms <= refused.since_ms):
            return False
        return shown_ms is not None or asset_type not in self._end_of_day

    def today_untested(self, asset_type: AssetType, now_ms: int) -> bool:
        """Return whether nobody knows if the plan shows the running day: the tier expects none, and nobody
        has asked lately. One call may then find out that the plan has become larger."""
        if self.lacks(Restriction.TODAY, asset_type, now_ms):
            return False
        return asset_type in self._end_of_day and self._today_at_ms(asset_type, now_ms) is None

    def has_seen_today(self, asset_type: AssetType, now_ms: int) -> bool:
        """Return whether the provider has shown data of the running day within a day."""
        return self._today_at_ms(asset_type, now_ms) is not None

    def _today_at_ms(self, asset_type: AssetType, now_ms: int) -> int | None:
        observation = self._observations.get(asset_type)
        if observation is None or observation.today_at_ms is None:
            return None
        return observation.today_at_ms if now_ms - observation.today_at_ms < REMEMBERED_MS else None

    def snapshots(self, asset_type: AssetType, now_ms: int, ticker: str | None = None) -> bool:
        """Return whether a unified snapshot of this ticker, or of its class, is worth a call."""
        return (
            ticker not in self._cleared
            and self._class_snapshots(asset_type, now_ms)
            and not self._is_refused_alone(Restriction.SNAPSHOT, asset_type, now_ms, ticker)
        )

    @_memoized_per_moment
    def _class_snapshots(self, asset_type: AssetType, now_ms: int) -> bool:
        return self.may_ask_today(asset_type, now_ms) and not self.lacks(
            Restriction.SNAPSHOT, asset_type, now_ms
        )

    @_memoized_per_moment
    def mixes_products(self, asset_type: AssetType, now_ms: int) -> bool:
        """Return whether one unified snapshot may have this class and other products: no class of its product
        was refused beside another one."""
        product = product_of(asset_type)
        alike = [one for one in AssetType if product_of(one) is product]
        return not any(self.lacks(Restriction.MIXED_SNAPSHOT, one, now_ms) for one in alike)

    def _is_refused_alone(
        self, restriction: Restriction, asset_type: AssetType, now_ms: int, ticker: str | None
    ) -> bool:
        known = self._restrictions.get((restriction, asset_type)) if ticker else None
        return bool(known and not known.general and self.lacks(restriction, asset_type, now_ms, ticker))

    def market_snapshots(self, asset_type: AssetType, now_ms: int, ticker: str | None = None) -> bool:
        """Return whether a snapshot of this ticker's market is worth a call: unified ones are refused, and
        bars of the running day were really seen."""
        return (
            ticker not in self._cleared
            and class_of_type(asset_type).has_market_snapshot
            and self.has_seen_today(asset_type, now_ms)
            and self.may_ask_today(asset_type, now_ms)
            and not self.snapshots(asset_type, now_ms, ticker)
            and not self.lacks(Restriction.MARKET_SNAPSHOT, asset_type, now_ms, ticker)
        )

    def is_cleared(self, ticker: str) -> bool:
        """Return whether the snapshots of a ticker are cleared for as long as this process lives."""
        return ticker in self._cleared

    def any_snapshots(self, asset_type: AssetType, now_ms: int, ticker: str | None = None) -> bool:
        """Return whether snapshots of either sort bring the price of this ticker, or of its class. Bars are
        work of their own then."""
        return self.snapshots(asset_type, now_ms, ticker) or self.market_snapshots(asset_type, now_ms, ticker)

    def intraday(self, asset_type: AssetType, now_ms: int, ticker: str) -> bool:
        """Return whether 5-minute bars of this ticker are worth a call."""
        return not any(
            self.lacks(restriction, asset_type, now_ms, ticker)
            for restriction in (Restriction.INTRADAY, Restriction.BARS)
        )

    @_memoized_per_moment
    def delay_ms(self, asset_type: AssetType, now_ms: int) -> int:
        """Return how old the newest data of an open market are at least: 0 or 15 minutes, as was said or
        seen."""
        observation = self._observations.get(asset_type)
        if observation is None:
            return 0
        if observation.delayed is None and self._today_at_ms(asset_type, now_ms) is None:
            return 0  # what was guessed is forgotten; what was said holds over a weekend
        return DELAY_MS if observation.is_delayed else 0

    def visible_until_ms(self, asset_type: AssetType, now_ms: int, ticker: str | None = None) -> int:
        """Return the latest moment whose data this key may see, of a ticker or of its class: now, 15 minutes
        ago, or the end of a New York day."""
        by_the_minute = (
            ticker is None
            or self.any_snapshots(asset_type, now_ms, ticker)
            or self.intraday(asset_type, now_ms, ticker)
        )
        if by_the_minute:
            return self._class_visible_until_ms(asset_type, now_ms)
        return self.last_day_end_ms(asset_type, now_ms)

    @_memoized_per_moment
    def _class_visible_until_ms(self, asset_type: AssetType, now_ms: int) -> int:
        if self.may_ask_today(asset_type, now_ms):
            return now_ms - self.delay_ms(asset_type, now_ms)
        return self.last_day_end_ms(asset_type, now_ms)

    def ask_to_ms(self, asset_type: AssetType, now_ms: int) -> int:
        """Return the latest moment to which a range of bars may reach without being refused."""
        return now_ms if self.may_ask_today(asset_type, now_ms) else self.last_day_end_ms(asset_type, now_ms)

    @_memoized_per_moment
    def last_day_end_ms(self, asset_type: AssetType, now_ms: int) -> int:
        """Return the end of the last New York day that is published."""
        midnight = last_midnight(now_ms - class_of_type(asset_type).published_after_ms)
        unpublished = self.lacks(Restriction.LAST_DAY, asset_type, now_ms)
        since_ms = unpublished.unpublished_since_ms if unpublished else None
        return last_midnight(since_ms - 1) if since_ms and since_ms <= midnight else midnight

    def history_from_ms(self, asset_type: AssetType, now_ms: int) -> int:
        """Return the first moment whose bars are not known to be refused as too old; 0 without a refusal."""
        refused = self.lacks(Restriction.HISTORY, asset_type, now_ms)
        return refused.history_starts_ms or 0 if refused else 0

    def expects(self, restriction: Restriction, asset_type: AssetType) -> bool:
        """Return whether a restriction is no news: it was known, the tier says so, each midnight has it, or
        nothing is lost with it."""
        by_tier = asset_type in self._end_of_day and restriction is Restriction.TODAY
        is_no_loss = restriction in (Restriction.LAST_DAY, Restriction.MIXED_SNAPSHOT)
        return by_tier or is_no_loss or (restriction, asset_type) in self._restrictions

    def newest_ms(self, asset_type: AssetType) -> int:
        """Return the newest moment of any data of this class that the provider has shown; 0 for none."""
        observation = self._observations.get(asset_type)
        return observation.newest_ms if observation else 0

    def whole_day_at_ms(self, asset_type: AssetType, at_ms: int) -> int | None:
        """Return when the provider was asked for the whole market of the day of a moment or of a later one;
        None before it has shown it."""
        observation = self._observations.get(asset_type)
        if observation is None or observation.day_end_ms is None or observation.day_end_ms < at_ms:
            return None
        return observation.day_at_ms

    def is_unpublished(self, asset_type: AssetType, end_ms: int, now_ms: int) -> bool:
        """Return whether the day that ended at `end_ms` is believed not to be published yet."""
        unpublished = self.lacks(Restriction.LAST_DAY, asset_type, now_ms)
        return unpublished is not None and unpublished.unpublished_since_ms == end_ms

    def page_kind(self, market: Market, ticker: str, now_ms: int) -> PageKind:
        """Return what is known of the longest page of this ticker that is worth a call."""
        if self.pages_at_once(ticker, now_ms) > 1:
            return PageKind.THIN
        of_market = self._page_length(market, now_ms)
        if of_market is None or of_market.whole is None:
            return PageKind.TRIED
        return PageKind.PROVEN if of_market.whole else PageKind.SURE

    def reach(self, market: Market, now_ms: int) -> Reach:
        """Return how far a page of a market reaches that is expected to come whole."""
        known = self._page_length(market, now_ms)
        return BY_OPEN_TIME if known and known.whole else SURE

    def pages_at_once(self, ticker: str, now_ms: int) -> int:
        """Return how many pages of `PAGE_DAYS` one call for a ticker should bring: several if it is traded
        seldom."""
        known = self._page_length(ticker, now_ms)
        return known.pages if known and known.whole is not False else 1

    def doubts(self, market: Market, now_ms: int) -> tuple[Doubt, ...]:
        """Return the intervals of which longer pages of a market had nothing."""
        known = self._page_length(market, now_ms)
        return known.doubts if known else ()

    def market_lengths(self, now_ms: int) -> list[tuple[PageLength, int]]:
        """Return what is known of longer pages of each market, each with the days that one call asks for."""
        last = day_of(now_ms)
        found = []
        for market in Market:
            known = self._page_length(market, now_ms)
            if known is not None and known.whole is not None:
                reach = BY_OPEN_TIME if known.whole else SURE
                found.append((known, (last - reach.first_day(market, last)).days + 1))
        return found

    def _page_length(self, of: str, now_ms: int) -> PageLength | None:
        known = self._page_lengths.get(of)
        return known if known is not None and known.since_ms <= now_ms < known.until_ms else None

    # --- what is learned ---

    def learn_page(self, lesson: PageLesson, now_ms: int) -> PageLength | None:
        """Take over what an answer shows of longer pages. Return what is to be remembered, or None."""
        after = learned(self._page_lengths.get(lesson.of), lesson, now_ms)
        if after:
            self._page_lengths[lesson.of] = after
        return after

    def refused(
        self,
        restriction: Restriction,
        asset_type: AssetType,
        message: str,
        now_ms: int,
        *,
        ticker: str,
        edge_ms: int = 0,
        general: bool = True,
    ) -> KnownRestriction:
        """Take a refusal into account from now on, and return the restriction to be remembered.

        `edge_ms` is where the history starts (HISTORY) or since when the last day is unpublished (LAST_DAY).
        A refusal that is not `general` leaves the restriction of a whole class as it is.
        """
        self._memo.clear()
        before = self._restrictions.get((restriction, asset_type))
        is_known = before is not None and now_ms - before.since_ms < REMEMBERED_MS
        tickers: tuple[str, ...] = (ticker,)
        if before and is_known and (restriction in OF_TICKERS or not general):
            tickers = tuple(dict.fromkeys([*before.tickers, ticker]))
            general = before.general
        if restriction is Restriction.HISTORY and before and now_ms < before.until_ms:
            edge_ms = max(edge_ms, before.history_starts_ms or 0)
        known = KnownRestriction(
            restriction=restriction,
            asset_type=asset_type,
            since_ms=now_ms,
            until_ms=now_ms
            + self._believed_for_ms(restriction, asset_type, now_ms, edge_ms, is_known=is_known),
            message=message,
            history_starts_ms=edge_ms or None if restriction is Restriction.HISTORY else None,
            unpublished_since_ms=edge_ms or None if restriction is Restriction.LAST_DAY else None,
            tickers=tickers,
            general=general,
        )
        self._restrictions[restriction, asset_type] = known
        return known

    def _believed_for_ms(
        self, restriction: Restriction, asset_type: AssetType, now_ms: int, edge_ms: int, *, is_known: bool
    ) -> int:
        """Return how long a refusal is believed.

        A day that is not published yet is asked for again after pauses that double with its age. That of an
        exchange may never be, since it was closed: the next day is not held back by it. What
        contradicts data seen within a day is doubted until it is said twice.
        """
        if restriction is Restriction.LAST_DAY:
            shortest, longest = LAST_DAY_PAUSE_MS
            pause_ms = min(longest, max(shortest, now_ms - edge_ms))
            of = class_of_type(asset_type)
            if of.has_trading_days:
                today = day_of(now_ms - of.published_after_ms)
                pause_ms = min(pause_ms, days_span(today, today)[1] + of.published_after_ms - now_ms)
            return pause_ms
        is_of_today = restriction in (Restriction.TODAY, Restriction.SNAPSHOT)
        if is_of_today and not is_known and self.has_seen_today(asset_type, now_ms):
            return DOUBTED_MS
        return REMEMBERED_MS

    def saw(
        self,
        asset_type: AssetType,
        newest_ms: int,
        now_ms: int,
        *,
        market_open: bool,
        delayed: bool | None = None,
    ) -> Observation | None:
        """Take data into account that the provider has shown, and whether it has said that they are delayed.

        Return the observation if it is worth remembering: a new day, data of the running day, another delay,
        or the first in an hour.
        """
        self._memo.clear()
        before = self._observations.get(asset_type)
        today = newest_ms > last_midnight(now_ms)
        lag_ms = max(0, now_ms - newest_ms) if today and market_open else None
        if delayed is None and before and (lag_ms is None or lag_ms >= DELAYED_FROM_MS):
            delayed = before.delayed  # fresh data disprove it
        if lag_ms is None or (
            before
            and before.lag_ms is not None
            and before.lag_ms < lag_ms
            and now_ms - before.at_ms < OBSERVATION_AGAIN_MS
        ):
            lag_ms = before.lag_ms if before else None
        observation = Observation(
            asset_type=asset_type,
            at_ms=now_ms,
            newest_ms=max(newest_ms, before.newest_ms if before else 0),
            today_at_ms=now_ms if today else before.today_at_ms if before else None,
            lag_ms=lag_ms,
            delayed=delayed,
            day_end_ms=before.day_end_ms if before else None,
            day_at_ms=before.day_at_ms if before else None,
        )
        if before and _says_nothing_new(before, observation, now_ms):
            observation = msgspec.structs.replace(observation, at_ms=before.at_ms)
            self._observations[asset_type] = observation
            return None
        self._observations[asset_type] = observation
        return observation

    def found_cleared(self, ticker: str) -> None:
        """Take into account that the snapshot of a ticker is cleared, while its exchange is closed."""
        self._cleared.add(ticker)

    def saw_day(self, asset_type: AssetType, end_ms: int, now_ms: int) -> Observation | None:
        """Take into account that the provider has shown the whole market of the day that ended at `end_ms`.

        Return the observation, or None if as new a day was shown before.
        """
        before = self._observations.get(asset_type)
        if before is None:
            before = Observation(asset_type=asset_type, at_ms=now_ms, newest_ms=0)
        if before.day_end_ms is not None and end_ms <= before.day_end_ms:
            return None
        self._memo.clear()
        observation = msgspec.structs.replace(before, day_end_ms=end_ms, day_at_ms=now_ms)
        self._observations[asset_type] = observation
        return observation

    def answered(
        self, restriction: Restriction, asset_type: AssetType, ticker: str
    ) -> KnownRestriction | None:
        """Record that a ticker, and so its market, is not restricted. Return the changed restriction, or
        None."""
        self._memo.clear()
        before = self._restrictions.get((restriction, asset_type))
        if before is None:
            return None
        tickers = tuple(one for one in before.tickers if one != ticker)
        alike = any(class_of(one) is class_of(ticker) for one in tickers)
        after = msgspec.structs.replace(before, tickers=tickers, general=before.general and not alike)
        if after == before:
            return None
        self._restrictions[restriction, asset_type] = after
        return after


def _says_nothing_new(before: Observation, after: Observation, now_ms: int) -> bool:
    return (
        now_ms - before.at_ms < OBSERVATION_AGAIN_MS
        and day_of(before.newest_ms) == day_of(after.newest_ms)
        and (before.today_at_ms is None) == (after.today_at_ms is None)
        and before.is_delayed == after.is_delayed
    )


_IN_WORDS = {
    Restriction.SNAPSHOT: "your plan has no unified {type} snapshots; those of the market or bars are used",
    Restriction.MIXED_SNAPSHOT: "your plan has no snapshots of {type} with other products; each has its own",
    Restriction.MARKET_SNAPSHOT: "your plan has no {type} snapshots; bars are used instead",
    Restriction.TODAY: "your plan has no {type} data of the running day; data up to the last day are used",
    Restriction.HISTORY: "your plan has no {type} bars from before {start}; they are left out",
    Restriction.LAST_DAY: "the last day of {type} is not published yet; the day before is used",
    Restriction.INTRADAY: "your plan has no 5-minute bars of {type}; daily bars are used",
    Restriction.BARS: "your plan has no bars of {type} by range; daily bars are used",
    Restriction.GROUPED: (
        "your plan has no daily bars of all {type}; the previous day's bar of each symbol is used"
    ),
    Restriction.PREVIOUS_DAY: "your plan has no {type} at all; nothing of it is asked for",
}


def restriction_in_words(known: KnownRestriction) -> str:
    """Return what a plan lacks and what is done about it, for people."""
    start = "" if known.history_starts_ms is None else moment(known.history_starts_ms)
    by_ticker = class_of_type(known.asset_type).is_sold_by_ticker and known.restriction in OF_TICKERS
    alone = by_ticker or (known.restriction in OF_TICKERS_ONLY and not known.general)
    whose = listed(known.tickers) if alone else known.asset_type.value
    what = _IN_WORDS[known.restriction].format(type=whose, start=start)
    return f"{what}; asked again {moment(known.until_ms)}"
