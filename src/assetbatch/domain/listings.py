"""Since when a stock is listed under its ticker, and whether it still is.

Pure: what the provider says of a ticker comes in as values, and the time as an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from assetbatch.domain.asset_classes import AssetType, Market
from assetbatch.domain.market_hours import day_of, last_open, sessions, start_of_day
from assetbatch.domain.models import BAR_MS, END_OF_TIME_MS
from assetbatch.domain.status import Status
from assetbatch.domain.units import DAY_MS

if TYPE_CHECKING:
    from assetbatch.domain.assets import Asset
    from assetbatch.domain.entitlements import Entitlements
    from assetbatch.domain.models import StoredAsset

SILENT_SESSIONS = 5
"""After how many sessions without a trade it is asked whether a stock is still listed."""

THIN_MS = 30 * DAY_MS
"""How long a stock is believed to be listed that is silent all the same."""

UNLISTED_MS = 7 * DAY_MS
"""How long it is believed that the provider lists no such ticker."""


class ListingState(StrEnum):
    """What became of the ticker of a stock."""

    LISTED = "listed"
    UNLISTED = "unlisted"
    """The provider does not list it, and it is not known what became of it."""
    DELISTED = "delisted"
    RENAMED = "renamed"
    """Its company has another ticker."""


ENDED = (ListingState.DELISTED, ListingState.RENAMED)
"""Nothing comes under the ticker any more, and nothing is asked for."""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the ticker of a stock."""

    state: ListingState = ListingState.LISTED
    asked_ms: int
    """When the provider was last asked."""
    list_date: date | None = None
    """When its company was first listed, under whatever ticker."""
    since: date | None = None
    """Since when the ticker is its company's, if it had another one before."""
    until: date | None = None
    """The last day of a delisted ticker, or the first day of its company's new one."""
    renamed_to: str = ""
    figi: str = ""
    """The provider's name of the company's shares, whatever their ticker is."""

    @property
    def first_day(self) -> date | None:
        """The first day whose bars are its own; None if that is not known."""
        return max((day for day in (self.list_date, self.since) if day is not None), default=None)

    @property
    def from_ms(self) -> int:
        """The moment before which bars are not its own; 0 if that is not known."""
        return start_of_day(self.first_day) if self.first_day is not None else 0

    @property
    def to_ms(self) -> int:
        """The moment from which on nothing comes under the ticker; the end of all time if that is not
        known."""
        if not self.has_ended or self.until is None:
            return END_OF_TIME_MS
        return start_of_day(self.until + timedelta(days=self.state is ListingState.DELISTED))

    @property
    def has_ended(self) -> bool:
        """Whether nothing comes under the ticker any more."""
        return self.state in ENDED

    @property
    def is_unlisted(self) -> bool:
        """Whether the provider does not list it, and it is not known what became of it."""
        return self.state is ListingState.UNLISTED

    @property
    def ending(self) -> str:
        """What became of a ticker that has ended, for people: `NEWX since 2025-04-14` or `2025-05-30`."""
        day = str(self.until) if self.until else "some day"
        return f"{self.renamed_to} since {day}" if self.renamed_to else day


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider says of a ticker that it lists."""

    is_active: bool = True
    list_date: date | None = None
    delisted: date | None = None
    figi: str = ""


class TickerChange(NamedTuple):
    """Since when a company has which ticker."""

    day: date
    ticker: str


# --- what follows from an answer ---


def after_details(before: Listing | None, details: Details, last_day: date | None, now_ms: int) -> Listing:
    """Return what is known after the provider has named a ticker. One that is traded after the day of its
    delisting is listed; `last_day` is that of its last trade."""
    before = before or Listing(asked_ms=now_ms)
    today = day_of(now_ms)
    delisted = _past(details.delisted, today)
    is_listed = details.is_active or (
        last_day is not None and delisted is not None and last_day > delisted + timedelta(days=1)
    )
    return msgspec.structs.replace(
        before,
        state=ListingState.LISTED if is_listed else ListingState.DELISTED,
        asked_ms=now_ms,
        list_date=_past(details.list_date, today) or before.list_date,
        until=None if is_listed else delisted or last_day,
        renamed_to="",
        figi=details.figi or before.figi,
    )


def is_anothers(before: Listing | None, details: Details) -> bool:
    """Return whether a ticker names another company's shares than when it was last asked for."""
    return before is not None and bool(before.figi and details.figi) and before.figi != details.figi


def after_not_found(before: Listing | None, now_ms: int) -> Listing:
    """Return what is known after the provider has not found a ticker; the changes of its company may say
    more."""
    before = before or Listing(asked_ms=now_ms)
    return msgspec.structs.replace(before, state=ListingState.UNLISTED, asked_ms=now_ms)


def after_former(before: Listing, details: Details, now_ms: int) -> Listing:
    """Return what is known after the provider has said what a ticker was that has ended: whose shares it
    named, and until when. The changes of the company's ticker may say more."""
    return msgspec.structs.replace(
        before,
        asked_ms=now_ms,
        until=_past(details.delisted, day_of(now_ms)) or before.until,
        figi=details.figi or before.figi,
    )


def after_changes(
    before: Listing, ticker: str, changes: Sequence[TickerChange], last_day: date | None, now_ms: int
) -> Listing:
    """Return what is known after the changes of its company's ticker have come; none if it has none.

    They say since when the ticker is its company's, if that had another one before. Of a ticker that is not
    listed any more they say what it was renamed to; else it counts as delisted after `last_day`, that of its
    last trade, or on the day that the provider has named.
    """
    today = day_of(now_ms)
    ordered = sorted(change for change in changes if change.day <= today)
    mine = [number for number, change in enumerate(ordered) if change.ticker == ticker]
    since = ordered[mine[-1]].day if mine and mine[-1] > 0 else before.since
    after = msgspec.structs.replace(before, since=since, asked_ms=now_ms)
    if before.state is not ListingState.UNLISTED:
        return after
    later = ordered[mine[-1] + 1 :] if mine else []
    if later:
        return msgspec.structs.replace(
            after, state=ListingState.RENAMED, until=later[0].day, renamed_to=later[-1].ticker
        )
    return msgspec.structs.replace(after, state=ListingState.DELISTED, until=last_day or before.until)


def _past(day: date | None, today: date) -> date | None:
    """Return a day if it can be one of the past: what the provider says may be garbage."""
    return day if day is not None and day <= today + timedelta(days=1) else None


# --- what is asked, and when ---

_ANSWERS_WITHOUT = (Status.NOT_FOUND, Status.NO_DATA)
"""What is recorded of a stock after an answer without a price."""


def wants_listing(asset: Asset, stored: StoredAsset, known: Entitlements, now_ms: int) -> bool:
    """Return whether the provider is to be asked for the listing of a stock.

    Once for a stock that keeps bars, since none from before are asked for; for another one once an answer
    has brought nothing, if it never had a trade. Then after five sessions without a trade; one that is still
    listed is asked for again after a month. A ticker that the provider did not list is asked for again after
    a week, and one that has ended only after `init`.
    """
    if asset.asset_type is not AssetType.STOCKS:
        return False
    listing = stored.listing
    if listing is None:
        came_empty = last_trade_ms(stored) is None and stored.sync_status in _ANSWERS_WITHOUT
        return bool(asset.bars) or came_empty or is_silent(asset, stored, known, now_ms)
    if not listing.asked_ms:
        return True  # it has ended, and `init` was run
    since_ms = abs(now_ms - listing.asked_ms)
    match listing.state:
        case ListingState.LISTED:
            is_traded = last_trade_ms(stored) is not None
            was_silent = _silent_sessions(asset.market, stored, listing.asked_ms) >= SILENT_SESSIONS
            pause_ms = 0 if is_traded and not was_silent else THIN_MS
            return since_ms >= pause_ms and is_silent(asset, stored, known, now_ms)
        case ListingState.UNLISTED:
            return since_ms >= UNLISTED_MS
    return False


def may_be_gone(asset: Asset, stored: StoredAsset, known: Entitlements, now_ms: int) -> bool:
    """Return whether a stock that the provider does not list may have lost its ticker: it never had a trade
    under it, or has fallen silent."""
    return last_trade_ms(stored) is None or is_silent(asset, stored, known, now_ms)


def is_silent(asset: Asset, stored: StoredAsset, known: Entitlements, now_ms: int) -> bool:
    """Return whether five sessions have brought nothing of a stock since its last trade, or since it was
    found to be listed, though they were asked for since they can be seen."""
    if _silent_sessions(asset.market, stored, now_ms) < SILENT_SESSIONS:
        return False
    asked_ms = stored.last_sync_ms or 0
    if stored.sync_status in _ANSWERS_WITHOUT:
        asked_ms = max(asked_ms, stored.status_at_ms or 0)
    seen_ms = known.visible_until_ms(asset.asset_type, min(now_ms, asked_ms))
    return _silent_sessions(asset.market, stored, seen_ms) >= SILENT_SESSIONS


def _silent_sessions(market: Market, stored: StoredAsset, end_ms: int) -> int:
    since_ms = last_trade_ms(stored)
    if since_ms is None and stored.listing is not None:
        since_ms = stored.listing.asked_ms
    return 0 if since_ms is None else sessions_between(market, since_ms, end_ms)


def sessions_between(market: Market, start_ms: int, end_ms: int) -> int:
    """Return how many whole sessions of a market lie between two moments; no more than are of interest. The
    price of a day may be as of its end."""
    found = 0
    day = day_of(start_ms - 1) + timedelta(days=1)
    last = day_of(end_ms)
    while day <= last and found < SILENT_SESSIONS:
        found += any(closes <= end_ms for _, closes in sessions(market, day))
        day += timedelta(days=1)
    return found


def last_trade_ms(stored: StoredAsset) -> int | None:
    """Return the moment of the last trade of a stock: that of its price, or the end of its last bar."""
    if stored.last_bar_ms is None:
        return stored.as_of_ms
    return max(stored.as_of_ms or 0, stored.last_bar_ms + BAR_MS)


def last_trade_day(market: Market, stored: StoredAsset | None) -> date | None:
    """Return the New York day of the last trade of a stock."""
    at_ms = last_trade_ms(stored) if stored is not None else None
    return None if at_ms is None else day_of(last_open(market, at_ms) - 1)
