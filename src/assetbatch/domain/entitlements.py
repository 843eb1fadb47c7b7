"""What the plan of an API key lets be seen: the tier's expectation, corrected by what was shown and refused.

Pure: the time comes in as an argument. Days are New York days, as the provider counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import wraps
from typing import Any, TypeVar

import msgspec

from assetbatch.domain.asset_classes import AssetType, class_of, class_of_type
from assetbatch.domain.formatting import listed, moment
from assetbatch.domain.market_hours import day_of, last_midnight
from assetbatch.domain.units import DAY_MS, HOUR_MS, MINUTE_MS


class Restriction(StrEnum):
    """Something a plan can be found not to include, per asset class."""

    SNAPSHOT = "snapshot"
    """`/v3/snapshot`: the snapshots of single markets are tried, or bars are used instead."""
    MARKET_SNAPSHOT = "market_snapshot"
    """`/v2/snapshot` of a market: bars are used instead."""
    TODAY = "today"
    """Data of the running day: ask up to the last New York midnight."""
    LAST_DAY = "last_day"
    """The day that has just ended is not published yet: ask up to the midnight before."""
    HISTORY = "history"
    """Bars from before `edge_ms`."""
    INTRADAY = "intraday"
    """5-minute bars: fall back to daily bars."""
    BARS = "bars"
    """Bars of the whole class: fall back to daily bars."""
    GROUPED = "grouped"
    """The daily bars of a whole market in one call: fall back to the previous day's bar of each symbol."""
    PREVIOUS_DAY = "previous_day"
    """The previous day's bars of the whole class: nothing of it is left."""


REMEMBERED_MS = DAY_MS
"""How long a lack is taken for granted before one call asks again."""

OF_TICKERS = (Restriction.INTRADAY, Restriction.BARS, Restriction.PREVIOUS_DAY)
"""Gold alone may be refused where the euro is not: these are not believed of a market after one refusal."""

OF_TICKERS_ONLY = (Restriction.SNAPSHOT, Restriction.MARKET_SNAPSHOT)
"""A single ticker may be refused within a good answer: then only that ticker is asked for in another way."""

DOUBTED_MS = 15 * MINUTE_MS
"""How long a first refusal is believed that contradicts what was seen within a day."""

UNPUBLISHED_DAYS = 3
"""So many days back are looked for the last that is published."""

LAST_DAY_PAUSE_MS = (15 * MINUTE_MS, 4 * HOUR_MS)
"""The shortest and longest pause until a day that is not published yet is asked for again."""

DELAYED_FROM_MS = 10 * MINUTE_MS
DELAY_MS = 15 * MINUTE_MS
"""Where the newest data of an open market are older than the first, the plan's delay is the second."""

_MEMO_SIZE = 1000

SIGHTING_AGAIN_MS = HOUR_MS
"""How long a sighting that says nothing new is not written again."""


class KnownRestriction(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal and until when it is believed. `message` is the provider's text.

    `edge_ms`: what starts before it is refused (HISTORY), or the midnight before which the last day is not
    published yet (LAST_DAY). `tickers` are whose calls were refused; of lacks that may be a ticker's own
    (`OF_TICKERS`) they are believed for those, and for their market if there are two of it and `general`.
    Denied snapshots (`OF_TICKERS_ONLY`) are believed of the class, or of the tickers where not `general`.
    """

    lack: Restriction
    asset_type: AssetType
    since_ms: int
    until_ms: int
    message: str
    edge_ms: int | None = None
    tickers: tuple[str, ...] = ()
    general: bool = True


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider has shown of an asset class: the newest moment of any data, when data of the running
    day were last seen, and how old the newest were then, in ms (the market being open)."""

    asset_type: AssetType
    at_ms: int
    newest_ms: int
    today_at_ms: int | None = None
    lag_ms: int | None = None


_Found = TypeVar("_Found")


def _memoized_per_moment(
    method: Callable[[Entitlements, AssetType, int], _Found],
) -> Callable[[Entitlements, AssetType, int], _Found]:
    """Works out an answer once per class and moment, until something is learned: each asset asks."""

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
    """What may be asked now. `end_of_day` is the tier's expectation that there are neither snapshots
    nor data of the running day (the provider's free plan); what was shown or refused later counts more."""

    def __init__(
        self,
        *,
        end_of_day: bool,
        refusals: Iterable[KnownRestriction] = (),
        sightings: Iterable[Observation] = (),
    ) -> None:
        self._end_of_day = end_of_day
        self._refusals = {(refusal.lack, refusal.asset_type): refusal for refusal in refusals}
        self._sightings = {sighting.asset_type: sighting for sighting in sightings}
        self._memo: dict[tuple[object, AssetType, int], Any] = {}

    # --- what is known ---

    def lacks(
        self, lack: Restriction, asset_type: AssetType, now_ms: int, ticker: str | None = None
    ) -> KnownRestriction | None:
        """The refusal that is believed at this moment, if any; of a ticker where it may be its own."""
        refusal = self._refusals.get((lack, asset_type))
        if refusal is None or not refusal.since_ms <= now_ms < refusal.until_ms:
            return None
        if lack in OF_TICKERS and ticker is not None and ticker not in refusal.tickers:
            alike = [one for one in refusal.tickers if class_of(one) is class_of(ticker)]
            return refusal if refusal.general and len(alike) > 1 else None
        if lack in OF_TICKERS_ONLY and not refusal.general and ticker not in refusal.tickers:
            return None
        return refusal

    def believed(self, now_ms: int) -> list[KnownRestriction]:
        """All refusals that are believed at this moment."""
        return [refusal for refusal in self._refusals.values() if now_ms < refusal.until_ms]

    @_memoized_per_moment
    def may_ask_today(self, asset_type: AssetType, now_ms: int) -> bool:
        """Whether data of the running day may be seen: by the latest of what was shown and what was refused
        within a day, else as the tier lets expect."""
        refused = self.lacks(Restriction.TODAY, asset_type, now_ms)
        shown_ms = self._today_at_ms(asset_type, now_ms)
        if refused and (shown_ms is None or shown_ms <= refused.since_ms):
            return False
        return shown_ms is not None or not self._end_of_day

    def today_untested(self, asset_type: AssetType, now_ms: int) -> bool:
        """Whether the tier lets expect no data of the running day and nobody has asked for them lately: one
        call may find out that the plan has become larger."""
        if self.lacks(Restriction.TODAY, asset_type, now_ms):
            return False
        return self._end_of_day and self._today_at_ms(asset_type, now_ms) is None

    def has_seen_today(self, asset_type: AssetType, now_ms: int) -> bool:
        """Whether the provider has shown data of the running day within a day."""
        return self._today_at_ms(asset_type, now_ms) is not None

    def _today_at_ms(self, asset_type: AssetType, now_ms: int) -> int | None:
        sighting = self._sightings.get(asset_type)
        if sighting is None or sighting.today_at_ms is None:
            return None
        return sighting.today_at_ms if now_ms - sighting.today_at_ms < REMEMBERED_MS else None

    def snapshots(self, asset_type: AssetType, now_ms: int, ticker: str | None = None) -> bool:
        """Whether a unified snapshot of this ticker, or of its class, is worth asking for."""
        return self._class_snapshots(asset_type, now_ms) and not self._is_refused_alone(
            Restriction.SNAPSHOT, asset_type, now_ms, ticker
        )

    @_memoized_per_moment
    def _class_snapshots(self, asset_type: AssetType, now_ms: int) -> bool:
        return self.may_ask_today(asset_type, now_ms) and not self.lacks(
            Restriction.SNAPSHOT, asset_type, now_ms
        )

    def _is_refused_alone(
        self, lack: Restriction, asset_type: AssetType, now_ms: int, ticker: str | None
    ) -> bool:
        refusal = self._refusals.get((lack, asset_type)) if ticker else None
        return bool(refusal and not refusal.general and self.lacks(lack, asset_type, now_ms, ticker))

    def market_snapshots(self, asset_type: AssetType, now_ms: int, ticker: str | None = None) -> bool:
        """Whether a snapshot of this ticker's market is worth asking for: only where unified ones are
        refused and bars of the running day were really seen."""
        return (
            class_of_type(asset_type).snapshot_market is not None
            and self.has_seen_today(asset_type, now_ms)
            and self.may_ask_today(asset_type, now_ms)
            and not self.snapshots(asset_type, now_ms, ticker)
            and not self.lacks(Restriction.MARKET_SNAPSHOT, asset_type, now_ms, ticker)
        )

    def any_snapshots(self, asset_type: AssetType, now_ms: int, ticker: str | None = None) -> bool:
        """Whether prices of this ticker, or of its class, come by snapshots of either sort: bars are work of
        their own then."""
        return self.snapshots(asset_type, now_ms, ticker) or self.market_snapshots(asset_type, now_ms, ticker)

    def intraday(self, asset_type: AssetType, now_ms: int, ticker: str) -> bool:
        """Whether 5-minute bars of this ticker are worth asking for."""
        return not any(
            self.lacks(lack, asset_type, now_ms, ticker) for lack in (Restriction.INTRADAY, Restriction.BARS)
        )

    @_memoized_per_moment
    def delay_ms(self, asset_type: AssetType, now_ms: int) -> int:
        """How old the newest data of an open market are at least: 0 or 15 minutes, as was seen."""
        if self._today_at_ms(asset_type, now_ms) is None:
            return 0
        lag_ms = self._sightings[asset_type].lag_ms
        return DELAY_MS if lag_ms is not None and lag_ms >= DELAYED_FROM_MS else 0

    def visible_until_ms(self, asset_type: AssetType, now_ms: int, ticker: str | None = None) -> int:
        """The latest moment whose data this key may see, of a ticker or of its class: now, 15 minutes ago, or
        the end of a New York day."""
        by_the_minute = (
            ticker is None
            or self.any_snapshots(asset_type, now_ms, ticker)
            or self.intraday(asset_type, now_ms, ticker)
        )
        if by_the_minute:
            return self._class_horizon_ms(asset_type, now_ms)
        return self.last_day_end_ms(asset_type, now_ms)

    @_memoized_per_moment
    def _class_horizon_ms(self, asset_type: AssetType, now_ms: int) -> int:
        if self.may_ask_today(asset_type, now_ms):
            return now_ms - self.delay_ms(asset_type, now_ms)
        return self.last_day_end_ms(asset_type, now_ms)

    def ask_to_ms(self, asset_type: AssetType, now_ms: int) -> int:
        """The latest moment that a range of bars may reach to without being refused."""
        return now_ms if self.may_ask_today(asset_type, now_ms) else self.last_day_end_ms(asset_type, now_ms)

    @_memoized_per_moment
    def last_day_end_ms(self, asset_type: AssetType, now_ms: int) -> int:
        """The end of the last New York day that is published."""
        midnight = last_midnight(now_ms)
        unpublished = self.lacks(Restriction.LAST_DAY, asset_type, now_ms)
        if unpublished and unpublished.edge_ms and unpublished.edge_ms <= midnight:
            return last_midnight(unpublished.edge_ms - 1)
        return midnight

    def history_from_ms(self, asset_type: AssetType, now_ms: int) -> int:
        """The first moment whose bars are not known to be refused as too old; 0 where none were."""
        refused = self.lacks(Restriction.HISTORY, asset_type, now_ms)
        return refused.edge_ms or 0 if refused else 0

    def expects(self, lack: Restriction, asset_type: AssetType) -> bool:
        """Whether a lack is no news: it was known before, the tier says so, or it is so every midnight."""
        by_tier = self._end_of_day and lack is Restriction.TODAY
        return by_tier or lack is Restriction.LAST_DAY or (lack, asset_type) in self._refusals

    def newest_ms(self, asset_type: AssetType) -> int:
        """The newest moment of any data of this class that the provider has shown; 0 for none."""
        sighting = self._sightings.get(asset_type)
        return sighting.newest_ms if sighting else 0

    # --- what is learned ---

    def refused(
        self,
        lack: Restriction,
        asset_type: AssetType,
        message: str,
        now_ms: int,
        *,
        ticker: str,
        edge_ms: int = 0,
        general: bool = True,
    ) -> KnownRestriction:
        """Takes a refusal into account from now on, and returns it to be remembered.

        A day that is not published yet is asked for again after pauses that double with its age. What
        contradicts data seen within a day is doubted, unless it is said twice. A refusal that is not
        `general` leaves one of the whole class as it is.
        """
        self._memo.clear()
        before = self._refusals.get((lack, asset_type))
        known = before is not None and now_ms - before.since_ms < REMEMBERED_MS
        until_ms = now_ms + REMEMBERED_MS
        tickers: tuple[str, ...] = (ticker,)
        if lack is Restriction.LAST_DAY:
            shortest, longest = LAST_DAY_PAUSE_MS
            until_ms = now_ms + min(longest, max(shortest, now_ms - edge_ms))
        elif (lack in OF_TICKERS and before and known) or (not general and before and known):
            tickers = tuple(dict.fromkeys([*before.tickers, ticker]))
            general = before.general
        elif lack is Restriction.HISTORY and before and now_ms < before.until_ms:
            edge_ms = max(edge_ms, before.edge_ms or 0)
        elif (
            lack in (Restriction.TODAY, Restriction.SNAPSHOT)
            and not known
            and self._today_at_ms(asset_type, now_ms)
        ):
            until_ms = now_ms + DOUBTED_MS
        refusal = KnownRestriction(
            lack=lack,
            asset_type=asset_type,
            since_ms=now_ms,
            until_ms=until_ms,
            message=message,
            edge_ms=edge_ms or None,
            tickers=tickers,
            general=general,
        )
        self._refusals[lack, asset_type] = refusal
        return refusal

    def saw(
        self, asset_type: AssetType, newest_ms: int, now_ms: int, *, market_open: bool
    ) -> Observation | None:
        """Takes data into account that the provider has shown; returns the sighting if it is worth
        remembering: a new day, data of the running day, another delay, or the first in an hour."""
        self._memo.clear()
        before = self._sightings.get(asset_type)
        today = newest_ms > last_midnight(now_ms)
        lag_ms = max(0, now_ms - newest_ms) if today and market_open else None
        if lag_ms is None or (
            before
            and before.lag_ms is not None
            and before.lag_ms < lag_ms
            and now_ms - before.at_ms < SIGHTING_AGAIN_MS
        ):
            lag_ms = before.lag_ms if before else None
        sighting = Observation(
            asset_type=asset_type,
            at_ms=now_ms,
            newest_ms=max(newest_ms, before.newest_ms if before else 0),
            today_at_ms=now_ms if today else before.today_at_ms if before else None,
            lag_ms=lag_ms,
        )
        if before and _says_nothing_new(before, sighting, now_ms):
            sighting = msgspec.structs.replace(sighting, at_ms=before.at_ms)
            self._sightings[asset_type] = sighting
            return None
        self._sightings[asset_type] = sighting
        return sighting

    def answered(self, lack: Restriction, asset_type: AssetType, ticker: str) -> KnownRestriction | None:
        """An answer has shown that a lack is none of this ticker, nor of its market; returns what is left of
        the memory if that changes it."""
        self._memo.clear()
        before = self._refusals.get((lack, asset_type))
        if before is None:
            return None
        tickers = tuple(one for one in before.tickers if one != ticker)
        alike = any(class_of(one) is class_of(ticker) for one in tickers)
        after = msgspec.structs.replace(before, tickers=tickers, general=before.general and not alike)
        if after == before:
            return None
        self._refusals[lack, asset_type] = after
        return after


def _says_nothing_new(before: Observation, after: Observation, now_ms: int) -> bool:
    def is_delayed(sighting: Observation) -> bool:
        return sighting.lag_ms is not None and sighting.lag_ms >= DELAYED_FROM_MS

    return (
        now_ms - before.at_ms < SIGHTING_AGAIN_MS
        and day_of(before.newest_ms) == day_of(after.newest_ms)
        and (before.today_at_ms is None) == (after.today_at_ms is None)
        and is_delayed(before) == is_delayed(after)
    )


_LACKS = {
    Restriction.SNAPSHOT: "your plan has no unified {type} snapshots; those of the market or bars are used",
    Restriction.MARKET_SNAPSHOT: "your plan has no {type} snapshots; bars are used instead",
    Restriction.TODAY: "your plan has no {type} data of the running day; data up to the last day are used",
    Restriction.HISTORY: "your plan has no {type} bars from before {edge}; they are left out",
    Restriction.LAST_DAY: "the last day of {type} is not published yet; the day before is used",
    Restriction.INTRADAY: "your plan has no 5-minute bars of {type}; daily bars are used",
    Restriction.BARS: "your plan has no bars of {type} by range; daily bars are used",
    Restriction.GROUPED: (
        "your plan has no daily bars of all {type}; the previous day's bar of each symbol is used"
    ),
    Restriction.PREVIOUS_DAY: "your plan has no {type} at all; nothing of it is asked for",
}


def restriction_in_words(refusal: KnownRestriction) -> str:
    """What a plan lacks and what is done about it, for a person."""
    edge = "" if refusal.edge_ms is None else moment(refusal.edge_ms)
    alone = refusal.lack in OF_TICKERS_ONLY and not refusal.general
    whose = listed(refusal.tickers) if alone else refusal.asset_type.value
    what = _LACKS[refusal.lack].format(type=whose, edge=edge)
    return f"{what}; asked again {moment(refusal.until_ms)}"
