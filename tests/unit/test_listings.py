"""Listings of stocks: what follows from an answer, and when one is asked for."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json, structs

from assetbatch.domain.asset_classes import AssetType, Market
from assetbatch.domain.assets import Asset
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.due import assess
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.listings import (
    THIN_MS,
    UNLISTED_MS,
    Details,
    Listing,
    ListingState,
    TickerChange,
    after_changes,
    after_details,
    after_former,
    after_not_found,
    is_anothers,
    is_silent,
    last_trade_day,
    may_be_gone,
    sessions_between,
    wants_listing,
)
from assetbatch.domain.market_hours import start_of_day, to_ms
from assetbatch.domain.models import END_OF_TIME_MS, StoredAsset
from assetbatch.domain.reasons import Reason
from assetbatch.domain.status import Status
from assetbatch.domain.units import DAY_MS, HOUR_MS
from assetbatch.domain.work import Work

NOW = to_ms(datetime(2026, 11, 18, 15, tzinfo=UTC))  # a Wednesday, the market is open
CLOSE = to_ms(datetime(2026, 11, 10, 21, tzinfo=UTC))  # of the Tuesday of the week before
FREE = Entitlements(end_of_day=True)
META = Asset(symbol="META", polygon_ticker="META", asset_type=AssetType.STOCKS)
WITHOUT_BARS = structs.replace(META, bars=BarSize.NONE)
CHANGES = (TickerChange(date(2022, 6, 9), "META"), TickerChange(date(2012, 5, 18), "FB"))
LISTED = Listing(asked_ms=NOW, list_date=date(2012, 5, 18))
UNLISTED = structs.replace(LISTED, state=ListingState.UNLISTED)


def stored(**fields: object) -> StoredAsset:
    return structs.replace(
        StoredAsset(symbol="META", as_of_ms=CLOSE, last_sync_ms=NOW, sync_status=Status.SUCCESS), **fields
    )


class TestAnAnswer:
    def test_names_the_first_day(self) -> None:
        after = after_details(None, Details(list_date=date(2025, 3, 6), figi="BBG000MM2P62"), None, NOW)
        assert after.first_day == date(2025, 3, 6)
        assert after.from_ms == start_of_day(date(2025, 3, 6))
        assert (after.state, after.to_ms) == (ListingState.LISTED, END_OF_TIME_MS)

    def test_of_a_day_to_come_names_none(self) -> None:
        assert after_details(None, Details(list_date=date(2099, 1, 1)), None, NOW).from_ms == 0

    def test_without_a_day_leaves_what_is_known(self) -> None:
        after = after_details(structs.replace(LISTED, figi="BBG000MM2P62"), Details(), None, NOW)
        assert (after.first_day, after.figi) == (date(2012, 5, 18), "BBG000MM2P62")

    def test_of_a_delisted_ticker_ends_it(self) -> None:
        last = date(2026, 11, 10)
        after = after_details(LISTED, Details(is_active=False, delisted=last), last, NOW)
        assert (after.state, after.until) == (ListingState.DELISTED, last)
        assert after.to_ms == start_of_day(date(2026, 11, 11))

    def test_without_the_day_of_its_end_takes_that_of_the_last_trade(self) -> None:
        assert after_details(LISTED, Details(is_active=False), date(2026, 11, 10), NOW).until == date(
            2026, 11, 10
        )

    def test_that_it_is_delisted_is_not_believed_of_one_that_is_traded_later(self) -> None:
        details = Details(is_active=False, delisted=date(2020, 1, 2))
        assert after_details(LISTED, details, date(2026, 11, 10), NOW).state is ListingState.LISTED

    @pytest.mark.parametrize(("traded", "is_listed"), [(date(2020, 1, 3), False), (date(2020, 1, 4), True)])
    def test_that_it_is_delisted_allows_for_the_day_after(self, traded: date, is_listed: bool) -> None:
        """The provider's day may be the last with a trade, or the first without."""
        details = Details(is_active=False, delisted=date(2020, 1, 2))
        after = after_details(LISTED, details, traded, NOW)
        assert (after.state is ListingState.LISTED) is is_listed

    @pytest.mark.parametrize(("days", "is_believed"), [(1, True), (2, False)])
    def test_of_tomorrow_is_believed(self, days: int, is_believed: bool) -> None:
        """The provider's day may have begun earlier than New York's."""
        details = Details(list_date=date(2026, 11, 18) + timedelta(days=days))
        assert (after_details(None, details, None, NOW).first_day is not None) is is_believed

    def test_of_its_changes_says_since_when_the_ticker_is_its_own(self) -> None:
        """META was a fund's before 2022-06-09, and its company is listed since 2012."""
        assert after_changes(LISTED, "META", CHANGES, None, NOW).first_day == date(2022, 6, 9)

    def test_of_its_changes_leaves_a_ticker_that_it_always_had(self) -> None:
        """The provider's changes may begin later than its bars."""
        changes = [TickerChange(date(2015, 9, 10), "META")]
        assert after_changes(LISTED, "META", changes, None, NOW).first_day == date(2012, 5, 18)

    def test_of_its_changes_names_the_new_ticker_of_one_that_is_not_listed(self) -> None:
        after = after_changes(UNLISTED, "FB", CHANGES, date(2022, 6, 8), NOW)
        assert (after.state, after.ending) == (ListingState.RENAMED, "META since 2022-06-09")
        assert after.to_ms == start_of_day(date(2022, 6, 9))

    def test_of_two_renames_names_the_last_ticker_since_the_first(self) -> None:
        changes = [*CHANGES, TickerChange(date(2026, 1, 2), "METX")]
        assert after_changes(UNLISTED, "FB", changes, None, NOW).ending == "METX since 2022-06-09"

    def test_of_a_rename_to_come_says_nothing_yet(self) -> None:
        changes = [*CHANGES, TickerChange(date(2027, 1, 4), "METX")]
        assert after_changes(LISTED, "META", changes, None, NOW).state is ListingState.LISTED

    @pytest.mark.parametrize("changes", [(), CHANGES])
    def test_without_a_new_ticker_takes_one_that_is_not_listed_for_delisted(
        self, changes: tuple[TickerChange, ...]
    ) -> None:
        after = after_changes(UNLISTED, "META", changes, date(2026, 11, 10), NOW)
        assert (after.state, after.until) == (ListingState.DELISTED, date(2026, 11, 10))

    @pytest.mark.parametrize(
        ("before", "now", "is_another"),
        [("BBG1", "BBG2", True), ("BBG1", "BBG1", False), ("", "BBG2", False), ("BBG1", "", False)],
    )
    def test_may_name_another_company(self, before: str, now: str, is_another: bool) -> None:
        known = structs.replace(LISTED, figi=before)
        assert is_anothers(known, Details(figi=now)) is is_another
        assert not is_anothers(None, Details(figi=now))

    def test_of_what_a_ticker_was_names_its_end_unless_a_trade_does(self) -> None:
        former = after_former(UNLISTED, Details(delisted=date(2025, 5, 30), figi="BBG000MM2P62"), NOW)
        assert (former.state, former.figi) == (ListingState.UNLISTED, "BBG000MM2P62")
        assert after_changes(former, "META", (), None, NOW).ending == "2025-05-30"
        assert after_changes(former, "META", (), date(2025, 5, 29), NOW).ending == "2025-05-29"

    def test_of_what_a_ticker_was_leaves_what_is_known(self) -> None:
        known = structs.replace(UNLISTED, until=date(2025, 5, 30), figi="BBG000MM2P62")
        assert after_former(known, Details(), NOW) == known

    def test_that_it_is_not_found_keeps_what_is_known(self) -> None:
        after = after_not_found(LISTED, NOW)
        assert (after.state, after.first_day) == (ListingState.UNLISTED, date(2012, 5, 18))

    def test_is_read_as_it_was_written(self) -> None:
        after = after_changes(UNLISTED, "FB", CHANGES, None, NOW)
        assert json.decode(json.encode(after), type=Listing) == after


def test_a_delisted_ticker_without_a_day_has_no_end() -> None:
    assert Listing(state=ListingState.DELISTED, asked_ms=NOW).to_ms == END_OF_TIME_MS


@pytest.mark.parametrize(
    ("as_of", "day"),
    [
        (datetime(2026, 11, 10, 21, tzinfo=UTC), date(2026, 11, 10)),  # the close
        (datetime(2026, 11, 11, 5, tzinfo=UTC), date(2026, 11, 10)),  # the end of the day
        (datetime(2026, 11, 11, 14, 30, 5, tzinfo=UTC), date(2026, 11, 11)),  # just after the open
    ],
)
def test_the_last_trade_is_of_the_day_of_its_session(as_of: datetime, day: date) -> None:
    assert last_trade_day(Market.STOCK, stored(as_of_ms=to_ms(as_of))) == day


def test_the_last_trade_may_be_that_of_a_bar() -> None:
    """Snapshots of a ticker that was given up bring no price, and its bars of the past come all the same."""
    bar_ms = to_ms(datetime(2026, 11, 11, 20, 55, tzinfo=UTC))
    for as_of_ms in (None, CLOSE):
        assert last_trade_day(Market.STOCK, stored(as_of_ms=as_of_ms, last_bar_ms=bar_ms)) == date(
            2026, 11, 11
        )


def test_without_a_trade_there_is_no_day() -> None:
    assert last_trade_day(Market.STOCK, stored(as_of_ms=None)) is None
    assert last_trade_day(Market.STOCK, None) is None


class TestSessions:
    def test_begin_after_the_day_of_a_price_that_is_as_of_its_end(self) -> None:
        midnight = start_of_day(date(2026, 11, 11))
        assert sessions_between(Market.STOCK, midnight, NOW) == 5
        assert sessions_between(Market.STOCK, midnight + 1, NOW) == 4

    def test_are_counted_over_weekends(self) -> None:
        assert sessions_between(Market.STOCK, CLOSE, NOW) == 5  # Wednesday to Tuesday

    def test_are_not_counted_on_holidays(self) -> None:
        thanksgiving = to_ms(datetime(2026, 11, 25, 21, tzinfo=UTC))
        assert sessions_between(Market.STOCK, thanksgiving, thanksgiving + 5 * DAY_MS) == 2

    @given(st.integers(0, 40), st.integers(0, 23))
    def test_are_never_fewer_later(self, days: int, hours: int) -> None:
        end_ms = CLOSE + days * DAY_MS + hours * HOUR_MS
        assert sessions_between(Market.STOCK, CLOSE, end_ms) <= sessions_between(
            Market.STOCK, CLOSE, end_ms + HOUR_MS
        )


class TestSilence:
    def test_is_of_five_sessions_that_were_asked_for(self) -> None:
        assert is_silent(META, stored(), FREE, NOW)
        assert not is_silent(META, stored(as_of_ms=CLOSE + DAY_MS), FREE, NOW)

    def test_is_none_while_nobody_asks(self) -> None:
        assert not is_silent(META, stored(last_sync_ms=CLOSE + 2 * DAY_MS), FREE, NOW)

    def test_is_none_of_a_stock_that_never_had_a_trade(self) -> None:
        assert not is_silent(META, stored(as_of_ms=None), FREE, NOW)

    def test_is_also_of_a_ticker_that_snapshots_do_not_find(self) -> None:
        lost = stored(last_sync_ms=CLOSE, sync_status=Status.NOT_FOUND, status_at_ms=NOW)
        assert is_silent(META, lost, FREE, NOW)

    def test_of_a_listed_stock_without_any_trade_begins_when_it_was_asked_for(self) -> None:
        listing = structs.replace(LISTED, asked_ms=CLOSE)
        assert is_silent(META, stored(as_of_ms=None, listing=listing), FREE, NOW)
        later = structs.replace(LISTED, asked_ms=CLOSE + DAY_MS)
        assert not is_silent(META, stored(as_of_ms=None, listing=later), FREE, NOW)

    def test_lets_a_ticker_be_gone_and_so_does_the_lack_of_any_trade(self) -> None:
        assert may_be_gone(META, stored(), FREE, NOW)
        assert may_be_gone(META, stored(as_of_ms=None), FREE, NOW)
        assert not may_be_gone(META, stored(as_of_ms=NOW), FREE, NOW)

    def test_is_none_while_the_provider_fails(self) -> None:
        failing = stored(last_sync_ms=CLOSE, sync_status=Status.FAILED, status_at_ms=NOW)
        assert not is_silent(META, failing, FREE, NOW)


class TestTheQuestion:
    def wants(self, listing: Listing | None, asset: Asset = META, **fields: object) -> bool:
        return wants_listing(asset, stored(listing=listing, **fields), FREE, NOW)

    def test_is_asked_once_for_a_stock_that_keeps_bars(self) -> None:
        assert self.wants(None, as_of_ms=None)
        assert not self.wants(LISTED, as_of_ms=NOW - DAY_MS)

    def test_is_not_asked_for_a_stock_without_bars_that_is_traded(self) -> None:
        assert not self.wants(None, WITHOUT_BARS, as_of_ms=NOW - DAY_MS)
        assert not self.wants(None, WITHOUT_BARS, as_of_ms=None)

    @pytest.mark.parametrize("status", [Status.NOT_FOUND, Status.NO_DATA])
    def test_is_asked_for_a_stock_without_bars_of_which_nothing_came(self, status: Status) -> None:
        assert self.wants(None, WITHOUT_BARS, as_of_ms=None, sync_status=status, status_at_ms=NOW)
        assert not self.wants(None, WITHOUT_BARS, as_of_ms=NOW, sync_status=status, status_at_ms=NOW)
        assert not self.wants(LISTED, WITHOUT_BARS, as_of_ms=None, sync_status=status, status_at_ms=NOW)

    def test_is_asked_again_after_a_month_for_one_without_any_trade(self) -> None:
        listing = structs.replace(LISTED, asked_ms=NOW - THIN_MS)
        assert self.wants(listing, as_of_ms=None)
        assert not self.wants(structs.replace(listing, asked_ms=NOW - THIN_MS + 1), as_of_ms=None)

    def test_is_asked_for_every_stock_that_falls_silent(self) -> None:
        assert self.wants(None, WITHOUT_BARS)
        assert self.wants(structs.replace(LISTED, asked_ms=CLOSE - DAY_MS))

    def test_pauses_for_a_month_or_a_week(self) -> None:
        assert (THIN_MS, UNLISTED_MS) == (30 * DAY_MS, 7 * DAY_MS)

    def test_is_asked_again_after_a_month_for_one_that_stays_silent(self) -> None:
        quiet = stored(as_of_ms=CLOSE - 60 * DAY_MS, listing=structs.replace(LISTED, asked_ms=NOW - THIN_MS))
        assert wants_listing(META, quiet, FREE, NOW)
        assert not wants_listing(META, quiet, FREE, NOW - 1)

    def test_is_asked_again_after_a_week_for_a_ticker_that_was_not_listed(self) -> None:
        assert self.wants(structs.replace(UNLISTED, asked_ms=NOW - UNLISTED_MS))
        assert not self.wants(structs.replace(UNLISTED, asked_ms=NOW - UNLISTED_MS + 1))

    @pytest.mark.parametrize("state", [ListingState.DELISTED, ListingState.RENAMED])
    def test_is_asked_again_after_init_for_one_that_has_ended_and_never_had_a_trade(
        self, state: ListingState
    ) -> None:
        assert self.wants(structs.replace(LISTED, state=state, asked_ms=0), as_of_ms=None)

    def test_is_not_asked_for_one_that_has_ended(self) -> None:
        assert not self.wants(Listing(state=ListingState.DELISTED, asked_ms=1))
        assert not self.wants(Listing(state=ListingState.RENAMED, asked_ms=1, renamed_to="METX"))

    @pytest.mark.parametrize("asset_type", [AssetType.INDICES, AssetType.FOREX, AssetType.CRYPTO])
    def test_is_asked_for_stocks_only(self, asset_type: AssetType) -> None:
        assert not self.wants(None, structs.replace(META, asset_type=asset_type))


@pytest.mark.parametrize(
    ("listing", "reason", "words"),
    [
        (
            Listing(state=ListingState.DELISTED, asked_ms=0, until=date(2026, 11, 10)),
            Reason.DELISTED,
            "delisted since 2026-11-10; nothing is asked for any more",
        ),
        (
            Listing(state=ListingState.RENAMED, asked_ms=0, until=date(2026, 11, 10), renamed_to="METX"),
            Reason.RENAMED,
            "renamed to METX since 2026-11-10; nothing is asked for any more",
        ),
    ],
)
def test_nothing_is_due_of_a_ticker_that_has_ended(listing: Listing, reason: Reason, words: str) -> None:
    found = stored(listing=listing, last_sync_ms=CLOSE, as_of_ms=CLOSE - 3 * DAY_MS)
    verdict = assess(Work(META), found, FREE, NOW)
    assert (verdict.due, verdict.paused, verdict.why.reason) == (False, False, reason)
    assert verdict.why.text == words
