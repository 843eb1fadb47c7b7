"""What a plan lets be seen, by what its tier lets expect and what the provider has shown and refused."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from msgspec import structs

from assetbatch.domain.asset_classes import AssetType, Product
from assetbatch.domain.entitlements import Entitlements, KnownRestriction, Observation, Restriction
from assetbatch.domain.market_hours import new_york_zone, to_ms

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
FOREX, CRYPTO = AssetType.FOREX, AssetType.CRYPTO
EURUSD, GBPUSD, XAUUSD, XAGUSD = "C:EURUSD", "C:GBPUSD", "C:XAUUSD", "C:XAGUSD"


def new_york(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=new_york_zone()))


MIDNIGHT = new_york("2026-11-18T00:00")
NOON = MIDNIGHT + 12 * HOUR


def free() -> Entitlements:
    return Entitlements(end_of_day=True)


def paid() -> Entitlements:
    return Entitlements(end_of_day=False)


def refuse(known: Entitlements, lack: Restriction, at_ms: int = NOON, **other: Any) -> KnownRestriction:
    return known.refused(lack, FOREX, "not in your plan", at_ms, **{"ticker": EURUSD, **other})


def see(
    known: Entitlements,
    at_ms: int,
    *,
    age_ms: int = 0,
    market_open: bool = True,
    delayed: bool | None = None,
) -> Observation | None:
    """The provider shows forex data that are `age_ms` old, and may say whether they are delayed."""
    return known.saw(FOREX, at_ms - age_ms, at_ms, market_open=market_open, delayed=delayed)


class TestThePlansOfSeveralProducts:
    def test_are_expected_to_show_what_each_of_them_shows(self) -> None:
        known = Entitlements(end_of_day={Product.CURRENCIES, Product.INDICES})
        assert known.snapshots(AssetType.STOCKS, NOON)
        assert known.visible_until_ms(AssetType.STOCKS, NOON) == NOON
        for asset_type in (FOREX, CRYPTO, AssetType.INDICES):
            assert not known.snapshots(asset_type, NOON)
            assert known.visible_until_ms(asset_type, NOON) == MIDNIGHT
        assert known.expects(Restriction.TODAY, FOREX)
        assert not known.expects(Restriction.TODAY, AssetType.STOCKS)

    @pytest.mark.parametrize("lack", Restriction)
    def test_are_learned_apart(self, lack: Restriction) -> None:
        known = Entitlements(end_of_day={Product.CURRENCIES})
        for ticker in ("AAPL", "SPY"):
            known.refused(lack, AssetType.STOCKS, "no", NOON, ticker=ticker, edge_ms=MIDNIGHT)
        known.saw(AssetType.STOCKS, NOON - HOUR, NOON, market_open=True)
        for asset_type, ticker in ((FOREX, EURUSD), (CRYPTO, "X:BTCUSD"), (AssetType.INDICES, "I:NDX")):
            fresh = Entitlements(end_of_day={Product.CURRENCIES})
            assert known.lacks(lack, asset_type, NOON, ticker) is None
            assert known.visible_until_ms(asset_type, NOON) == fresh.visible_until_ms(asset_type, NOON)
            assert known.snapshots(asset_type, NOON) == fresh.snapshots(asset_type, NOON)
            assert known.intraday(asset_type, NOON, ticker)


class TestARefusal:
    def test_is_believed_from_its_moment_for_a_day(self) -> None:
        known = paid()
        refusal = refuse(known, Restriction.SNAPSHOT)
        assert known.lacks(Restriction.SNAPSHOT, FOREX, NOON - 1) is None
        assert known.lacks(Restriction.SNAPSHOT, FOREX, NOON) == refusal
        assert known.lacks(Restriction.SNAPSHOT, FOREX, NOON + DAY - 1) == refusal
        assert known.lacks(Restriction.SNAPSHOT, FOREX, NOON + DAY) is None

    def test_is_one_of_its_class_and_of_nothing_else(self) -> None:
        known = paid()
        refuse(known, Restriction.SNAPSHOT)
        assert known.lacks(Restriction.SNAPSHOT, CRYPTO, NOON) is None
        assert known.lacks(Restriction.TODAY, FOREX, NOON) is None

    def test_says_what_is_to_be_remembered(self) -> None:
        assert refuse(paid(), Restriction.SNAPSHOT) == KnownRestriction(
            restriction=Restriction.SNAPSHOT,
            asset_type=FOREX,
            since_ms=NOON,
            until_ms=NOON + DAY,
            message="not in your plan",
            tickers=(EURUSD,),
        )

    def test_that_was_remembered_counts_for_the_next_process(self) -> None:
        refusal = refuse(paid(), Restriction.SNAPSHOT)
        known = Entitlements(end_of_day=False, restrictions=[refusal])
        assert not known.snapshots(FOREX, NOON)
        assert known.snapshots(FOREX, NOON + DAY)

    def test_is_listed_as_long_as_it_is_believed(self) -> None:
        known = paid()
        refusal = refuse(known, Restriction.SNAPSHOT)
        assert known.believed(NOON + DAY - 1) == [refusal]
        assert known.believed(NOON + DAY) == []

    def test_changes_an_answer_that_was_given_at_the_same_moment(self) -> None:
        known = paid()
        assert known.snapshots(FOREX, NOON)
        refuse(known, Restriction.SNAPSHOT)
        assert not known.snapshots(FOREX, NOON)


class TestWhatMayBeATickersOwn:
    @pytest.mark.parametrize("lack", [Restriction.INTRADAY, Restriction.BARS, Restriction.PREVIOUS_DAY])
    def test_one_refusal_says_nothing_of_another_ticker(self, lack: Restriction) -> None:
        known = paid()
        refuse(known, lack)
        assert known.lacks(lack, FOREX, NOON, EURUSD)
        assert not known.lacks(lack, FOREX, NOON, GBPUSD)

    def test_two_refusals_of_a_market_are_believed_of_all_of_it(self) -> None:
        known = paid()
        refuse(known, Restriction.BARS)
        refuse(known, Restriction.BARS, NOON + 1, ticker=GBPUSD)
        assert known.lacks(Restriction.BARS, FOREX, NOON + 1, "C:USDJPY")
        assert not known.lacks(Restriction.BARS, FOREX, NOON + 1, XAUUSD)

    def test_two_refusals_of_two_markets_are_each_their_tickers_own(self) -> None:
        known = paid()
        refuse(known, Restriction.BARS)
        refuse(known, Restriction.BARS, NOON + 1, ticker=XAUUSD)
        assert not known.lacks(Restriction.BARS, FOREX, NOON + 1, GBPUSD)
        assert not known.lacks(Restriction.BARS, FOREX, NOON + 1, XAGUSD)
        assert known.lacks(Restriction.BARS, FOREX, NOON + 1, EURUSD)

    def test_the_same_refusal_twice_is_still_one_tickers(self) -> None:
        known = paid()
        refuse(known, Restriction.BARS)
        assert refuse(known, Restriction.BARS, NOON + 1).tickers == (EURUSD,)
        assert not known.lacks(Restriction.BARS, FOREX, NOON + 1, GBPUSD)

    def test_without_a_ticker_the_class_is_meant(self) -> None:
        known = paid()
        refuse(known, Restriction.BARS)
        assert known.lacks(Restriction.BARS, FOREX, NOON)

    def test_what_is_of_a_whole_class_is_believed_of_each_ticker_at_once(self) -> None:
        known = paid()
        refuse(known, Restriction.HISTORY, edge_ms=MIDNIGHT - 730 * DAY)
        assert known.lacks(Restriction.HISTORY, FOREX, NOON, GBPUSD)

    def test_refusals_are_gathered_for_a_day_after_which_they_begin_anew(self) -> None:
        known = paid()
        refuse(known, Restriction.BARS)
        within = refuse(known, Restriction.BARS, NOON + DAY - 1, ticker=GBPUSD)
        assert within.tickers == (EURUSD, GBPUSD)
        after = refuse(known, Restriction.BARS, NOON + 2 * DAY - 1, ticker=XAUUSD)
        assert after.tickers == (XAUUSD,)

    def test_an_answer_for_a_ticker_makes_it_none_of_its_own(self) -> None:
        known = paid()
        refuse(known, Restriction.BARS)
        after = known.answered(Restriction.BARS, FOREX, EURUSD)
        assert after is not None
        assert after.tickers == ()
        assert not known.lacks(Restriction.BARS, FOREX, NOON, EURUSD)

    def test_an_answer_for_one_of_a_market_makes_two_refusals_each_their_tickers_own(self) -> None:
        known = paid()
        refuse(known, Restriction.BARS)
        refuse(known, Restriction.BARS, ticker=GBPUSD)
        after = known.answered(Restriction.BARS, FOREX, "C:USDJPY")
        assert after is not None
        assert (after.tickers, after.general) == ((EURUSD, GBPUSD), False)
        assert known.lacks(Restriction.BARS, FOREX, NOON, GBPUSD)
        assert not known.lacks(Restriction.BARS, FOREX, NOON, "C:USDCHF")

    def test_what_an_answer_has_shown_is_not_forgotten_with_the_next_refusal(self) -> None:
        known = paid()
        refuse(known, Restriction.BARS)
        known.answered(Restriction.BARS, FOREX, GBPUSD)
        assert not refuse(known, Restriction.BARS, ticker="C:USDJPY").general
        assert not known.lacks(Restriction.BARS, FOREX, NOON, "C:USDCHF")

    def test_an_answer_for_gold_says_nothing_of_currencies(self) -> None:
        known = paid()
        refuse(known, Restriction.BARS)
        refuse(known, Restriction.BARS, ticker=GBPUSD)
        assert known.answered(Restriction.BARS, FOREX, XAUUSD) is None
        assert known.lacks(Restriction.BARS, FOREX, NOON, "C:USDCHF")

    def test_an_answer_where_nothing_was_refused_changes_nothing(self) -> None:
        assert paid().answered(Restriction.BARS, FOREX, EURUSD) is None

    def test_an_answer_changes_what_was_said_at_the_same_moment(self) -> None:
        known = paid()
        refuse(known, Restriction.BARS)
        refuse(known, Restriction.SNAPSHOT)
        assert known.visible_until_ms(FOREX, NOON, EURUSD) == MIDNIGHT
        known.answered(Restriction.BARS, FOREX, EURUSD)
        assert known.visible_until_ms(FOREX, NOON, EURUSD) == NOON

    @pytest.mark.parametrize("lack", [Restriction.INTRADAY, Restriction.BARS])
    def test_without_either_a_ticker_has_no_intraday_bars(self, lack: Restriction) -> None:
        known = paid()
        assert known.intraday(FOREX, NOON, EURUSD)
        refuse(known, lack)
        assert not known.intraday(FOREX, NOON, EURUSD)
        assert known.intraday(FOREX, NOON, GBPUSD)


class TestTheRunningDay:
    def test_is_what_the_tier_lets_expect_where_nothing_was_seen(self) -> None:
        assert paid().may_ask_today(FOREX, NOON)
        assert not free().may_ask_today(FOREX, NOON)

    def test_that_was_shown_is_shown_for_a_day_though_the_tier_lets_expect_none(self) -> None:
        known = free()
        see(known, NOON)
        assert known.may_ask_today(FOREX, NOON + DAY - 1)
        assert not known.may_ask_today(FOREX, NOON + DAY)
        assert not known.may_ask_today(CRYPTO, NOON)

    def test_that_was_refused_is_not_shown_for_a_day_though_the_tier_lets_expect_it(self) -> None:
        known = paid()
        refuse(known, Restriction.TODAY)
        assert not known.may_ask_today(FOREX, NOON)
        assert not known.may_ask_today(FOREX, NOON + DAY - 1)
        assert known.may_ask_today(FOREX, NOON + DAY)

    def test_goes_by_the_later_of_what_was_shown_and_refused(self) -> None:
        for shown_ms, shows in ((NOON - 1, False), (NOON, False), (NOON + 1, True)):
            known = paid()
            refuse(known, Restriction.TODAY)
            see(known, shown_ms)
            assert known.may_ask_today(FOREX, NOON + 1) is shows

    def test_of_yesterdays_data_shows_nothing(self) -> None:
        known = free()
        see(known, MIDNIGHT)  # the last moment of the day before
        assert not known.has_seen_today(FOREX, MIDNIGHT)
        see(known, MIDNIGHT + 1)
        assert known.has_seen_today(FOREX, MIDNIGHT + 1)
        assert known.has_seen_today(FOREX, MIDNIGHT + DAY)
        assert not known.has_seen_today(FOREX, MIDNIGHT + DAY + 1)

    def test_is_unknown_where_the_tier_lets_expect_none_and_nobody_has_asked(self) -> None:
        assert free().today_untested(FOREX, NOON)
        assert not paid().today_untested(FOREX, NOON)

    def test_is_known_for_a_day_once_it_was_refused_or_shown(self) -> None:
        refused, shown = free(), free()
        refuse(refused, Restriction.TODAY)
        see(shown, NOON)
        for known in (refused, shown):
            assert not known.today_untested(FOREX, NOON + DAY - 1)
            assert known.today_untested(FOREX, NOON + DAY)

    def test_that_was_shown_before_is_not_forgotten_when_yesterdays_data_come(self) -> None:
        known = free()
        see(known, NOON)
        known.saw(FOREX, MIDNIGHT - HOUR, NOON + MINUTE, market_open=True)
        assert known.has_seen_today(FOREX, NOON + MINUTE)


class TestADoubt:
    @pytest.mark.parametrize("lack", [Restriction.TODAY, Restriction.SNAPSHOT])
    def test_a_first_refusal_of_what_was_seen_is_believed_for_a_quarter_of_an_hour(
        self, lack: Restriction
    ) -> None:
        known = paid()
        see(known, NOON - HOUR)
        assert refuse(known, lack).until_ms == NOON + 15 * MINUTE

    @pytest.mark.parametrize("lack", [Restriction.TODAY, Restriction.SNAPSHOT])
    def test_a_second_within_a_day_is_believed_for_a_day(self, lack: Restriction) -> None:
        known = paid()
        see(known, NOON - HOUR)
        refuse(known, lack)
        assert refuse(known, lack, NOON + 15 * MINUTE).until_ms == NOON + 15 * MINUTE + DAY

    def test_a_second_after_a_day_is_a_first_again(self) -> None:
        known = paid()
        refuse(known, Restriction.TODAY)
        see(known, NOON + HOUR)
        assert refuse(known, Restriction.TODAY, NOON + DAY).until_ms == NOON + DAY + 15 * MINUTE

    def test_is_none_of_what_was_not_seen_within_a_day(self) -> None:
        known = paid()
        see(known, NOON - DAY)
        assert refuse(known, Restriction.TODAY).until_ms == NOON + DAY

    def test_is_none_of_other_lacks(self) -> None:
        known = paid()
        see(known, NOON - HOUR)
        assert refuse(known, Restriction.MARKET_SNAPSHOT).until_ms == NOON + DAY


class TestADayThatIsNotPublished:
    @pytest.mark.parametrize(
        ("age", "pause"),
        [
            (MINUTE, 15 * MINUTE),
            (15 * MINUTE + 1, 15 * MINUTE + 1),
            (2 * HOUR, 2 * HOUR),
            (5 * HOUR, 4 * HOUR),
        ],
    )
    def test_is_asked_for_again_after_pauses_that_double_from_15_minutes_to_4_hours(
        self, age: int, pause: int
    ) -> None:
        refusal = refuse(free(), Restriction.LAST_DAY, MIDNIGHT + age, edge_ms=MIDNIGHT)
        assert refusal.until_ms == MIDNIGHT + age + pause

    def test_moves_the_end_of_what_can_be_seen_back_by_a_day_until_then(self) -> None:
        known = free()
        refuse(known, Restriction.LAST_DAY, MIDNIGHT + HOUR, edge_ms=MIDNIGHT)
        assert known.last_day_end_ms(FOREX, MIDNIGHT + HOUR) == MIDNIGHT - DAY
        assert known.last_day_end_ms(FOREX, MIDNIGHT + 2 * HOUR) == MIDNIGHT

    def test_may_be_older_than_the_day_before(self) -> None:
        known = free()
        refuse(known, Restriction.LAST_DAY, MIDNIGHT + HOUR, edge_ms=MIDNIGHT - DAY)
        assert known.last_day_end_ms(FOREX, MIDNIGHT + HOUR) == MIDNIGHT - 2 * DAY

    def test_that_is_still_to_come_moves_nothing(self) -> None:
        known = free()
        refuse(known, Restriction.LAST_DAY, MIDNIGHT - HOUR, edge_ms=MIDNIGHT)
        assert known.last_day_end_ms(FOREX, MIDNIGHT - HOUR) == MIDNIGHT - DAY


class TestHistory:
    def test_begins_where_it_was_refused(self) -> None:
        known = paid()
        assert known.history_from_ms(FOREX, NOON) == 0
        refuse(known, Restriction.HISTORY, edge_ms=MIDNIGHT - 700 * DAY)
        assert known.history_from_ms(FOREX, NOON) == MIDNIGHT - 700 * DAY

    def test_begins_at_the_later_of_two_edges_while_both_are_believed(self) -> None:
        later, earlier = MIDNIGHT - 700 * DAY, MIDNIGHT - 730 * DAY
        for first, second in ((later, earlier), (earlier, later)):
            known = paid()
            refuse(known, Restriction.HISTORY, edge_ms=first)
            both = refuse(known, Restriction.HISTORY, NOON + DAY - 1, edge_ms=second)
            assert both.history_starts_ms == later
        known = paid()
        refuse(known, Restriction.HISTORY, edge_ms=later)
        assert refuse(known, Restriction.HISTORY, NOON + DAY, edge_ms=earlier).history_starts_ms == earlier

    def test_that_was_refused_without_an_edge_is_not_cut(self) -> None:
        known = paid()
        refuse(known, Restriction.HISTORY)
        assert refuse(known, Restriction.HISTORY, NOON + 1).history_starts_ms is None
        assert known.history_from_ms(FOREX, NOON + 1) == 0


class TestSnapshots:
    def test_are_asked_for_where_the_running_day_is_shown(self) -> None:
        assert paid().snapshots(FOREX, NOON)
        assert not free().snapshots(FOREX, NOON)

    def test_of_a_market_are_asked_for_where_unified_ones_are_refused_and_the_day_was_seen(self) -> None:
        known = paid()
        see(known, NOON - 1)
        assert not known.market_snapshots(FOREX, NOON)
        refuse(known, Restriction.SNAPSHOT, NOON - 1)
        refuse(known, Restriction.SNAPSHOT, NOON)
        assert known.market_snapshots(FOREX, NOON)
        assert known.any_snapshots(FOREX, NOON)
        refuse(known, Restriction.MARKET_SNAPSHOT)
        assert not known.market_snapshots(FOREX, NOON)
        assert not known.any_snapshots(FOREX, NOON)

    def test_of_a_market_are_not_asked_for_where_the_day_was_never_seen(self) -> None:
        known = paid()
        refuse(known, Restriction.SNAPSHOT)
        assert not known.market_snapshots(FOREX, NOON)

    def test_of_a_market_are_not_asked_for_where_the_day_was_refused_afterwards(self) -> None:
        known = paid()
        see(known, NOON - 2)
        refuse(known, Restriction.TODAY, NOON - 1)
        assert not known.market_snapshots(FOREX, NOON)

    def test_of_either_sort_are_enough_for_prices(self) -> None:
        assert paid().any_snapshots(FOREX, NOON)
        assert not free().any_snapshots(FOREX, NOON)


class TestASnapshotThatWasRefusedToSomeTickers:
    """A refusal that is not `general`: the snapshots of all others go on."""

    @pytest.mark.parametrize("lack", [Restriction.SNAPSHOT, Restriction.MARKET_SNAPSHOT])
    def test_is_a_lack_of_theirs_and_of_no_other_nor_of_the_class(self, lack: Restriction) -> None:
        known = paid()
        refuse(known, lack, general=False)
        assert known.lacks(lack, FOREX, NOON, EURUSD)
        assert not known.lacks(lack, FOREX, NOON, GBPUSD)
        assert not known.lacks(lack, FOREX, NOON)

    def test_is_asked_for_of_the_others_and_the_class(self) -> None:
        known = paid()
        refuse(known, Restriction.SNAPSHOT, general=False)
        assert not known.snapshots(FOREX, NOON, EURUSD)
        assert known.snapshots(FOREX, NOON, GBPUSD)
        assert known.snapshots(FOREX, NOON)
        assert known.snapshots(CRYPTO, NOON, EURUSD)

    def test_is_asked_for_again_after_a_day(self) -> None:
        known = paid()
        refuse(known, Restriction.SNAPSHOT, general=False)
        assert not known.snapshots(FOREX, NOON + DAY - 1, EURUSD)
        assert known.snapshots(FOREX, NOON + DAY, EURUSD)

    def test_is_one_of_each_that_was_refused_within_a_day(self) -> None:
        known = paid()
        refuse(known, Restriction.SNAPSHOT, general=False)
        second = refuse(known, Restriction.SNAPSHOT, NOON + DAY - 1, ticker=GBPUSD, general=False)
        assert (second.tickers, second.general) == ((EURUSD, GBPUSD), False)
        third = refuse(known, Restriction.SNAPSHOT, NOON + 2 * DAY - 1, ticker=XAUUSD, general=False)
        assert (third.tickers, third.general) == ((XAUUSD,), False)

    def test_stays_one_of_the_class_where_it_was(self) -> None:
        known = paid()
        refuse(known, Restriction.SNAPSHOT)
        again = refuse(known, Restriction.SNAPSHOT, NOON + 1, ticker=GBPUSD, general=False)
        assert (again.tickers, again.general) == ((EURUSD, GBPUSD), True)
        assert not known.snapshots(FOREX, NOON + 1, XAUUSD)

    def test_becomes_one_of_the_class_where_that_is_refused(self) -> None:
        known = paid()
        refuse(known, Restriction.SNAPSHOT, general=False)
        assert refuse(known, Restriction.SNAPSHOT, NOON + 1, ticker=GBPUSD).general
        assert not known.snapshots(FOREX, NOON + 1, XAUUSD)

    def test_is_asked_for_by_the_market_of_that_ticker_alone(self) -> None:
        known = paid()
        see(known, NOON - 1)
        known.refused(Restriction.SNAPSHOT, FOREX, "no", NOON - 1, ticker=EURUSD, general=False)
        known.refused(Restriction.SNAPSHOT, FOREX, "no", NOON, ticker=EURUSD, general=False)
        assert known.market_snapshots(FOREX, NOON, EURUSD)
        assert not known.market_snapshots(FOREX, NOON, GBPUSD)
        assert known.any_snapshots(FOREX, NOON, EURUSD)
        refuse(known, Restriction.MARKET_SNAPSHOT, general=False)
        assert not known.any_snapshots(FOREX, NOON, EURUSD)

    def test_is_gone_with_an_answer_for_it(self) -> None:
        known = paid()
        refuse(known, Restriction.SNAPSHOT, general=False)
        assert known.answered(Restriction.SNAPSHOT, FOREX, EURUSD)
        assert known.snapshots(FOREX, NOON, EURUSD)


class TestTheDelay:
    def test_is_none_where_nothing_was_seen(self) -> None:
        assert paid().delay_ms(FOREX, NOON) == 0

    @pytest.mark.parametrize(("age", "delay"), [(10 * MINUTE - 1, 0), (10 * MINUTE, 15 * MINUTE)])
    def test_is_a_quarter_of_an_hour_where_the_newest_data_are_ten_minutes_old(
        self, age: int, delay: int
    ) -> None:
        known = paid()
        see(known, NOON, age_ms=age)
        assert known.delay_ms(FOREX, NOON) == delay
        assert known.visible_until_ms(FOREX, NOON) == NOON - delay
        assert known.ask_to_ms(FOREX, NOON) == NOON

    def test_is_not_seen_while_the_market_is_closed(self) -> None:
        known = paid()
        see(known, NOON, age_ms=3 * HOUR, market_open=False)
        assert known.delay_ms(FOREX, NOON) == 0

    def test_of_a_day_ago_counts_no_longer(self) -> None:
        known = paid()
        see(known, NOON, age_ms=20 * MINUTE)
        assert known.delay_ms(FOREX, NOON + DAY - 1) == 15 * MINUTE
        assert known.delay_ms(FOREX, NOON + DAY) == 0

    def test_is_gone_with_the_first_fresh_data(self) -> None:
        known = paid()
        see(known, NOON, age_ms=20 * MINUTE)
        see(known, NOON + MINUTE)
        assert known.delay_ms(FOREX, NOON + MINUTE) == 0

    def test_is_that_of_the_freshest_data_of_an_hour(self) -> None:
        known = paid()
        see(known, NOON)
        see(known, NOON + HOUR - 1, age_ms=20 * MINUTE)  # of a ticker that is seldom traded
        assert known.delay_ms(FOREX, NOON + HOUR - 1) == 0
        see(known, NOON + HOUR, age_ms=20 * MINUTE)
        assert known.delay_ms(FOREX, NOON + HOUR) == 15 * MINUTE

    def test_stays_as_it_was_while_the_market_is_closed_or_yesterdays_data_come(self) -> None:
        known = paid()
        see(known, NOON, age_ms=20 * MINUTE)
        see(known, NOON + 2 * HOUR, market_open=False)
        known.saw(FOREX, MIDNIGHT - HOUR, NOON + 2 * HOUR, market_open=True)
        assert known.delay_ms(FOREX, NOON + 2 * HOUR) == 15 * MINUTE

    def test_is_what_the_provider_says_whatever_the_age_of_the_data(self) -> None:
        known = paid()
        see(known, NOON, delayed=True)
        assert known.delay_ms(FOREX, NOON) == 15 * MINUTE
        see(known, NOON + MINUTE, age_ms=HOUR, delayed=False)
        assert known.delay_ms(FOREX, NOON + MINUTE) == 0
        see(known, NOON + 2 * MINUTE, age_ms=HOUR)
        assert known.delay_ms(FOREX, NOON + 2 * MINUTE) == 0

    def test_that_the_provider_says_is_known_while_the_market_is_closed(self) -> None:
        known = paid()
        see(known, NOON, age_ms=3 * HOUR, market_open=False, delayed=True)
        assert known.delay_ms(FOREX, NOON) == 15 * MINUTE

    def test_that_the_provider_has_said_holds_over_a_weekend(self) -> None:
        known = paid()
        known.saw(FOREX, MIDNIGHT - HOUR, NOON, market_open=False, delayed=True)
        assert not known.has_seen_today(FOREX, NOON)
        assert known.delay_ms(FOREX, NOON + 4 * DAY) == 15 * MINUTE

    def test_that_the_provider_has_said_is_disproved_by_fresh_data(self) -> None:
        known = paid()
        see(known, NOON, age_ms=20 * MINUTE, delayed=True)
        see(known, NOON + MINUTE, age_ms=10 * MINUTE)
        assert known.delay_ms(FOREX, NOON + MINUTE) == 15 * MINUTE
        see(known, NOON + 2 * MINUTE, age_ms=10 * MINUTE - 1)
        assert known.delay_ms(FOREX, NOON + 2 * MINUTE) == 0

    def test_of_data_from_the_future_is_none(self) -> None:
        known = paid()
        sighting = see(known, NOON, age_ms=-MINUTE)
        assert sighting is not None
        assert sighting.lag_ms == 0


class TestTheHorizon:
    def test_is_now_or_the_last_midnight(self) -> None:
        assert paid().visible_until_ms(FOREX, NOON) == NOON
        assert free().visible_until_ms(FOREX, NOON) == MIDNIGHT
        assert paid().ask_to_ms(FOREX, NOON) == NOON
        assert free().ask_to_ms(FOREX, NOON) == MIDNIGHT

    def test_of_a_ticker_without_intraday_bars_and_snapshots_is_the_last_midnight(self) -> None:
        known = paid()
        refuse(known, Restriction.BARS)
        assert known.visible_until_ms(FOREX, NOON, EURUSD) == NOON  # snapshots bring its price
        refuse(known, Restriction.SNAPSHOT)
        assert known.visible_until_ms(FOREX, NOON, EURUSD) == MIDNIGHT
        assert known.visible_until_ms(FOREX, NOON, GBPUSD) == NOON
        assert known.visible_until_ms(FOREX, NOON) == NOON


class TestWhatIsNoNews:
    def test_a_lack_that_was_known_or_that_the_tier_says(self) -> None:
        known = paid()
        assert not known.expects(Restriction.SNAPSHOT, FOREX)
        refuse(known, Restriction.SNAPSHOT)
        assert known.expects(Restriction.SNAPSHOT, FOREX)
        assert not known.expects(Restriction.SNAPSHOT, CRYPTO)
        assert free().expects(Restriction.TODAY, FOREX)
        assert not paid().expects(Restriction.TODAY, FOREX)
        assert not free().expects(Restriction.SNAPSHOT, FOREX)

    def test_a_day_that_is_not_published_at_midnight(self) -> None:
        assert paid().expects(Restriction.LAST_DAY, FOREX)


class TestASighting:
    def test_remembers_the_newest_moment_of_any_data(self) -> None:
        known = paid()
        assert known.newest_ms(FOREX) == 0
        see(known, NOON)
        known.saw(FOREX, NOON - HOUR, NOON + 1, market_open=True)
        assert known.newest_ms(FOREX) == NOON
        assert known.newest_ms(CRYPTO) == 0

    def test_is_written_whole(self) -> None:
        assert see(paid(), NOON, age_ms=MINUTE) == Observation(
            asset_type=FOREX, at_ms=NOON, newest_ms=NOON - MINUTE, today_at_ms=NOON, lag_ms=MINUTE
        )

    def test_of_an_ended_day_says_nothing_of_today_and_of_no_delay(self) -> None:
        assert see(paid(), NOON, age_ms=DAY) == Observation(
            asset_type=FOREX, at_ms=NOON, newest_ms=NOON - DAY
        )

    def test_that_says_nothing_new_is_written_again_after_an_hour(self) -> None:
        known = paid()
        see(known, NOON)
        assert see(known, NOON + HOUR - 1) is None
        again = see(known, NOON + HOUR)
        assert again is not None
        assert again.at_ms == NOON + HOUR

    def test_that_is_not_written_counts_all_the_same(self) -> None:
        known = paid()
        see(known, NOON)
        assert see(known, NOON + MINUTE) is None
        assert known.newest_ms(FOREX) == NOON + MINUTE
        assert known.has_seen_today(FOREX, NOON + MINUTE + DAY - 1)

    def test_of_a_new_day_is_written(self) -> None:
        known = free()
        known.saw(FOREX, MIDNIGHT - DAY - 1, NOON, market_open=True)
        assert known.saw(FOREX, MIDNIGHT - DAY, NOON + MINUTE, market_open=True) is not None

    def test_of_the_first_data_of_today_is_written(self) -> None:
        just_after = MIDNIGHT + 2 * MINUTE
        remembered = Observation(asset_type=FOREX, at_ms=just_after, newest_ms=just_after)
        known = Entitlements(end_of_day=True, observations=[remembered])
        assert see(known, just_after + 1) is not None

    def test_of_another_delay_is_written(self) -> None:
        known = paid()
        see(known, NOON, age_ms=20 * MINUTE)
        assert see(known, NOON + MINUTE) is not None
        for age in (10 * MINUTE, 10 * MINUTE - 1):
            known = paid()
            see(known, NOON, age_ms=10 * MINUTE)
            assert (see(known, NOON + 1, age_ms=age) is None) is (age == 10 * MINUTE)

    def test_that_was_remembered_counts_for_the_next_process(self) -> None:
        sighting = see(free(), NOON)
        assert sighting is not None
        known = Entitlements(end_of_day=True, observations=[sighting])
        assert known.may_ask_today(FOREX, NOON + 1)
        assert structs.asdict(sighting)["newest_ms"] == known.newest_ms(FOREX)

    def test_changes_an_answer_that_was_given_at_the_same_moment(self) -> None:
        known = free()
        assert not known.may_ask_today(FOREX, NOON)
        see(known, NOON)
        assert known.may_ask_today(FOREX, NOON)


def test_what_was_worked_out_is_kept_but_not_without_end() -> None:
    known = paid()
    for n in range(10):
        known.snapshots(FOREX, NOON + n)
    assert len(known._memo) >= 10
    sizes = []
    for n in range(3000):
        known.delay_ms(FOREX, NOON + n)
        sizes.append(len(known._memo))
    assert max(sizes) == 1000
