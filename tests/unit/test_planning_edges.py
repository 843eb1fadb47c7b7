"""The moments and sizes at which a decision about what is due, and by which call, turns."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.calls import (
    BarsCall,
    Call,
    GroupedDayCall,
    MarketSnapshotCall,
    PreviousDayCall,
    SnapshotCall,
    asset_types,
    choose_calls,
    shares_calls,
)
from assetbatch.domain.due import assess, bars_lag, bars_to_queue, expected_next_start
from assetbatch.domain.entitlements import Entitlements, Restriction
from assetbatch.domain.history_pages import history_ranges
from assetbatch.domain.market_hours import new_york_zone, start_of_day, to_ms
from assetbatch.domain.models import CoveredInterval, IntervalState, StoredAsset
from assetbatch.domain.ranges import askable, latest_range, pages_to_ask
from assetbatch.domain.status import Status
from assetbatch.domain.work import Work, WorkId, WorkKind, parse_work_id

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
BAR = 5 * MINUTE
PAGE = 34 * DAY
FOREX, CRYPTO = AssetType.FOREX, AssetType.CRYPTO
FREE = Entitlements(end_of_day=True)
PAID = Entitlements(end_of_day=False)
EURUSD = Asset(symbol="EURUSD", polygon_ticker="C:EURUSD", asset_type=FOREX)
BTCUSD = Asset(symbol="BTCUSD", polygon_ticker="X:BTCUSD", asset_type=CRYPTO)
AAPL = Asset(symbol="AAPL", polygon_ticker="AAPL", asset_type=AssetType.STOCKS)
NDX = Asset(symbol="NDX", polygon_ticker="I:NDX", asset_type=AssetType.INDICES)
WEDNESDAY = to_ms(datetime(2026, 11, 18, 15, tzinfo=UTC))
MIDNIGHT = WEDNESDAY - 10 * HOUR
"""New York's, of that Wednesday."""
CLOSE = to_ms(datetime(2026, 11, 20, 17, tzinfo=new_york_zone()))
"""Of forex, on the Friday after."""


def paid_without(*lacks: Restriction, asset_type: AssetType = FOREX, at_ms: int = WEDNESDAY) -> Entitlements:
    """A paid plan that has refused something of two tickers of each market."""
    known = Entitlements(end_of_day=False)
    for lack in lacks:
        for ticker in ("C:EURUSD", "C:GBPUSD", "X:BTCUSD", "X:ETHUSD"):
            known.refused(lack, asset_type, "no", at_ms, ticker=ticker)
    return known


def delayed(at_ms: int, asset_type: AssetType = FOREX) -> Entitlements:
    """A paid plan whose newest data are a quarter of an hour old."""
    known = Entitlements(end_of_day=False)
    known.saw(asset_type, at_ms - 15 * MINUTE, at_ms, market_open=True)
    return known


def stored(as_of_ms: int, synced_ms: int, **other: Any) -> StoredAsset:
    plain = StoredAsset(
        symbol="EURUSD",
        last_price=1.0,
        as_of_ms=as_of_ms,
        last_sync_ms=synced_ms,
        sync_status=Status.SUCCESS,
        status_at_ms=synced_ms,
    )
    return structs.replace(plain, **other)


def due(
    before: StoredAsset | None, now_ms: int, known: Entitlements = PAID, asset: Asset = EURUSD
) -> tuple[bool, str]:
    verdict = assess(Work(asset), before, known, now_ms)
    return verdict.due, verdict.why.text


def wanted_range(
    work: Work, before: StoredAsset | None, known: Entitlements, now_ms: int
) -> tuple[int, int] | None:
    """The range of a page of the past that goes out by itself."""
    found = history_ranges([work], before, known, now_ms, reach_out=False)
    return found[0][:2] if found else None


class TestAPriceIsDue:
    @pytest.mark.parametrize(("frequency", "early_ms"), [(60, 18_000), (300, 90_000), (3600, 90_000)])
    def test_three_tenths_of_its_frequency_early_but_at_most_a_minute_and_a_half(
        self, frequency: int, early_ms: int
    ) -> None:
        asset = structs.replace(BTCUSD, update_frequency_seconds=frequency)
        before = stored(WEDNESDAY, WEDNESDAY)
        turn_ms = WEDNESDAY + frequency * 1000 - early_ms
        assert not due(before, turn_ms - 1, asset=asset)[0]
        assert due(before, turn_ms, asset=asset)[0]

    def test_where_it_was_refreshed_in_the_future_by_more_than_half_a_minute(self) -> None:
        for ahead_ms, is_due in ((30_000, False), (30_001, True)):
            before = stored(WEDNESDAY - HOUR, WEDNESDAY + ahead_ms)
            assert due(before, WEDNESDAY)[0] is is_due
        assert "the clock was set back" in due(before, WEDNESDAY)[1]

    def test_not_while_it_is_complete_to_the_millisecond(self) -> None:
        for as_of_ms, is_due in ((CLOSE, False), (CLOSE - 1, True)):
            assert due(stored(as_of_ms, CLOSE - HOUR), CLOSE + HOUR)[0] is is_due

    def test_at_once_where_the_close_can_be_seen_now_and_could_not_at_the_last_refresh(self) -> None:
        seen_ms = CLOSE + 15 * MINUTE
        known = delayed(CLOSE - MINUTE)
        for synced_ms, is_due in ((seen_ms - 1, True), (seen_ms, False)):
            before = stored(CLOSE - 20 * MINUTE, synced_ms)
            assert due(before, seen_ms + 1, known)[0] is is_due

    def test_no_more_where_an_answer_an_hour_after_the_close_had_nothing_newer(self) -> None:
        for synced_ms, is_due in ((CLOSE + HOUR, False), (CLOSE + HOUR - 1, True)):
            before = stored(CLOSE - MINUTE, synced_ms)
            assert due(before, CLOSE + 20 * HOUR)[0] is is_due

    def test_after_the_close_again_after_as_long_as_the_last_refresh_came_after_it(self) -> None:
        before = stored(CLOSE - MINUTE, CLOSE + 20 * MINUTE)
        assert not due(before, CLOSE + 40 * MINUTE - 1)[0]
        assert due(before, CLOSE + 40 * MINUTE)[0]

    def test_on_the_free_plan_from_midnight_on_and_then_with_pauses(self) -> None:
        for synced_ms, now_ms, is_due in (
            (MIDNIGHT - 1, MIDNIGHT + 1, True),
            (MIDNIGHT, MIDNIGHT + 210_000 - 1, False),
            (MIDNIGHT, MIDNIGHT + 210_000, True),
            (MIDNIGHT + 3 * HOUR, MIDNIGHT + 6 * HOUR - 1, False),
            (MIDNIGHT + 3 * HOUR, MIDNIGHT + 6 * HOUR, True),
        ):
            before = stored(MIDNIGHT - DAY, synced_ms)
            assert due(before, now_ms, FREE, BTCUSD)[0] is is_due

    def test_not_by_bars_of_today_where_the_plan_has_none_of_this_ticker(self) -> None:
        before = stored(MIDNIGHT, MIDNIGHT + HOUR)
        assert due(before, WEDNESDAY, paid_without(Restriction.SNAPSHOT))[0]
        assert not due(before, WEDNESDAY, paid_without(Restriction.SNAPSHOT, Restriction.BARS))[0]

    def test_where_snapshots_bring_it_though_its_bars_are_known_to_now(self) -> None:
        asked = CoveredInterval(WEDNESDAY - DAY, WEDNESDAY, IntervalState.ASKED, WEDNESDAY)
        before = stored(WEDNESDAY - HOUR, WEDNESDAY - HOUR, coverage=(asked,))
        assert due(before, WEDNESDAY)[0]
        assert not due(before, WEDNESDAY, paid_without(Restriction.SNAPSHOT))[0]

    @pytest.mark.parametrize("absent", ["as_of_ms", "last_sync_ms"])
    def test_where_it_has_no_moment_or_never_succeeded(self, absent: str) -> None:
        before = structs.replace(stored(WEDNESDAY, WEDNESDAY), **{absent: None})
        assert due(before, WEDNESDAY) == (True, "never fetched")

    def test_not_where_nothing_of_the_plan_brings_it(self) -> None:
        known = paid_without(Restriction.SNAPSHOT, Restriction.BARS, Restriction.PREVIOUS_DAY)
        verdict = assess(Work(EURUSD), None, known, WEDNESDAY)
        assert (verdict.due, verdict.why.text) == (False, "not in the plan; asked again once a day")
        assert verdict.restriction is not None
        assert verdict.restriction.restriction is Restriction.PREVIOUS_DAY
        for lacks in (
            (Restriction.BARS, Restriction.PREVIOUS_DAY),
            (Restriction.SNAPSHOT, Restriction.PREVIOUS_DAY),
        ):
            assert due(None, WEDNESDAY, paid_without(*lacks))[0]

    def test_after_a_status_of_the_future_as_after_one_of_the_past(self) -> None:
        ahead = StoredAsset(symbol="EURUSD", sync_status=Status.NOT_ENTITLED, status_at_ms=WEDNESDAY + DAY)
        assert due(ahead, WEDNESDAY)[0]
        assert not due(ahead, WEDNESDAY + 1)[0]

    def test_again_a_quarter_of_an_hour_after_a_ticker_was_not_found_that_was_there(self) -> None:
        before = stored(WEDNESDAY, WEDNESDAY, sync_status=Status.NOT_FOUND, status_at_ms=WEDNESDAY + MINUTE)
        back_ms = WEDNESDAY + 16 * MINUTE
        assert due(before, back_ms - 1) == (
            False,
            "the provider does not know this ticker; asked again after 15 min",
        )
        assert due(before, back_ms)[0]

    def test_again_a_day_after_the_database_refused_it_for_the_tenth_day(self) -> None:
        before = stored(
            WEDNESDAY - DAY,
            WEDNESDAY - DAY,
            rejected_ms=WEDNESDAY,
            rejected_since_ms=WEDNESDAY - 10 * DAY,
        )
        assert not due(before, WEDNESDAY + DAY - 1)[0]
        assert due(before, WEDNESDAY + DAY)[0]

    def test_by_bars_again_after_six_hours_without_data_and_by_snapshots_after_one(self) -> None:
        before = StoredAsset(symbol="EURUSD", sync_status=Status.NO_DATA, status_at_ms=WEDNESDAY)
        assert due(before, WEDNESDAY)[1] == "the provider had nothing; asked again after 60 min"
        assert due(before, WEDNESDAY, FREE)[1] == "the provider had nothing; asked again after 6 h"

    @pytest.mark.parametrize("status", [Status.NOT_FOUND, Status.NOT_ENTITLED, Status.NO_DATA])
    def test_pauses_after_a_failure(self, status: Status) -> None:
        before = StoredAsset(symbol="EURUSD", sync_status=status, status_at_ms=WEDNESDAY)
        verdict = assess(Work(EURUSD), before, PAID, WEDNESDAY)
        assert (verdict.due, verdict.paused) == (False, True)

    def test_pauses_where_the_database_or_the_plan_refuses_it(self) -> None:
        rejected = stored(WEDNESDAY, WEDNESDAY, rejected_ms=WEDNESDAY, rejected_since_ms=WEDNESDAY)
        lacking = paid_without(Restriction.SNAPSHOT, Restriction.BARS, Restriction.PREVIOUS_DAY)
        for before, known in ((rejected, PAID), (None, lacking)):
            verdict = assess(Work(EURUSD), before, known, WEDNESDAY)
            assert (verdict.due, verdict.paused) == (False, True)

    def test_does_not_pause_where_it_is_fresh_or_due(self) -> None:
        for before in (stored(WEDNESDAY, WEDNESDAY), None):
            verdict = assess(Work(EURUSD), before, PAID, WEDNESDAY)
            assert (verdict.due, verdict.paused) == (before is None, False)


ASKED_TO_WEDNESDAY = CoveredInterval(WEDNESDAY - DAY, WEDNESDAY, IntervalState.ASKED, WEDNESDAY)


class TestBarsAreBehind:
    @pytest.mark.parametrize(("frequency", "behind_ms"), [(60, BAR), (300, BAR), (3600, HOUR)])
    def test_by_a_bar_or_by_the_assets_frequency(self, frequency: int, behind_ms: int) -> None:
        asset = structs.replace(BTCUSD, update_frequency_seconds=frequency)
        before = stored(WEDNESDAY, WEDNESDAY, coverage=(ASKED_TO_WEDNESDAY,))
        assert not bars_lag(asset, before, PAID, WEDNESDAY + behind_ms - 1)
        assert bars_lag(asset, before, PAID, WEDNESDAY + behind_ms)

    def test_only_of_what_the_plan_shows(self) -> None:
        before = stored(WEDNESDAY, WEDNESDAY, coverage=(ASKED_TO_WEDNESDAY,))
        now_ms = WEDNESDAY + BAR + 15 * MINUTE
        known = delayed(now_ms, CRYPTO)
        assert not bars_lag(BTCUSD, before, known, now_ms - 1)
        assert bars_lag(BTCUSD, before, known, now_ms)

    def test_not_while_the_ledger_knows_that_there_are_none(self) -> None:
        asked = CoveredInterval(WEDNESDAY - DAY, WEDNESDAY, IntervalState.ASKED, WEDNESDAY)
        assert not bars_lag(BTCUSD, stored(WEDNESDAY, WEDNESDAY, coverage=(asked,)), PAID, WEDNESDAY)

    def test_whatever_bars_another_program_has_stored(self) -> None:
        for last_bar_ms in (WEDNESDAY - BAR, WEDNESDAY + DAY):
            assert bars_lag(BTCUSD, stored(WEDNESDAY, WEDNESDAY, last_bar_ms=last_bar_ms), PAID, WEDNESDAY)

    def test_not_for_a_day_after_the_plan_has_refused_them(self) -> None:
        refused = CoveredInterval(WEDNESDAY - DAY, WEDNESDAY, IntervalState.NOT_IN_PLAN, WEDNESDAY)
        before = stored(WEDNESDAY, WEDNESDAY, coverage=(refused,))
        assert not bars_lag(BTCUSD, before, PAID, WEDNESDAY + DAY - 1)
        assert bars_lag(BTCUSD, before, PAID, WEDNESDAY + DAY)
        older = structs.replace(
            before, coverage=(refused, CoveredInterval(WEDNESDAY, WEDNESDAY + BAR, IntervalState.REQUESTED))
        )
        assert bars_lag(BTCUSD, older, PAID, WEDNESDAY + 1)  # the newest row counts

    def test_not_where_the_plan_has_no_5_minute_bars(self) -> None:
        before = stored(WEDNESDAY, WEDNESDAY)
        assert bars_lag(BTCUSD, before, PAID, WEDNESDAY)
        assert not bars_lag(BTCUSD, before, paid_without(Restriction.INTRADAY, asset_type=CRYPTO), WEDNESDAY)

    def test_and_queued_not_within_half_an_hour_of_a_failure(self) -> None:
        failed = CoveredInterval(WEDNESDAY - DAY, WEDNESDAY, IntervalState.FAILED, WEDNESDAY, "HTTP 503")
        before = stored(WEDNESDAY, WEDNESDAY, coverage=(failed,))
        assert bars_lag(BTCUSD, before, PAID, WEDNESDAY + 1)
        assert not bars_to_queue(BTCUSD, before, PAID, WEDNESDAY + 30 * MINUTE - 1)
        assert bars_to_queue(BTCUSD, before, PAID, WEDNESDAY + 30 * MINUTE)

    def test_and_queued_never_where_they_are_not_behind(self) -> None:
        asked = CoveredInterval(WEDNESDAY - DAY, WEDNESDAY, IntervalState.ASKED, WEDNESDAY)
        assert not bars_to_queue(BTCUSD, stored(WEDNESDAY, WEDNESDAY, coverage=(asked,)), PAID, WEDNESDAY)

    def test_of_an_asset_without_a_row_always(self) -> None:
        verdict = assess(Work(BTCUSD, WorkKind.BARS), None, PAID, WEDNESDAY)
        assert (verdict.due, verdict.why.text) == (True, "bars behind")
        asked = CoveredInterval(WEDNESDAY - DAY, WEDNESDAY, IntervalState.ASKED, WEDNESDAY)
        before = stored(WEDNESDAY, WEDNESDAY, coverage=(asked,))
        verdict = assess(Work(BTCUSD, WorkKind.BARS), before, PAID, WEDNESDAY)
        assert (verdict.due, verdict.why.text) == (False, "bars up to date")


def page(asset: Asset, first: date, last: date) -> Work:
    return Work(asset, WorkKind.HISTORY, first, last)


class TestAPageOfThePast:
    FIRST, LAST = date(2026, 10, 1), date(2026, 10, 3)

    def test_is_not_due_for_an_asset_that_keeps_no_bars(self) -> None:
        asset = structs.replace(BTCUSD, bars=BarSize.NONE)
        verdict = assess(page(asset, self.FIRST, self.LAST), None, PAID, WEDNESDAY)
        assert (verdict.due, verdict.why.text) == (False, "keeps no bars")

    @pytest.mark.parametrize("lack", [Restriction.INTRADAY, Restriction.BARS])
    def test_is_not_due_where_the_plan_has_no_5_minute_bars(self, lack: Restriction) -> None:
        known = paid_without(lack, asset_type=CRYPTO)
        verdict = assess(page(BTCUSD, self.FIRST, self.LAST), None, known, WEDNESDAY)
        assert verdict.why.text == "the plan has no 5-minute bars of it"
        assert verdict.restriction is not None
        assert verdict.restriction.restriction is lack

    def test_is_older_than_the_history_that_begins_with_its_end(self) -> None:
        end_ms = to_ms(datetime(2026, 10, 4, tzinfo=new_york_zone()))
        for edge_ms, is_due in ((end_ms, False), (end_ms - BAR, True)):
            known = Entitlements(end_of_day=False)
            known.refused(Restriction.HISTORY, CRYPTO, "no", WEDNESDAY, ticker="X:BTCUSD", edge_ms=edge_ms)
            verdict = assess(page(BTCUSD, self.FIRST, self.LAST), None, known, WEDNESDAY)
            assert verdict.due is is_due
            assert (verdict.restriction is None) is is_due

    def test_of_a_weekend_has_nothing_to_ask_for(self) -> None:
        saturday = page(EURUSD, date(2026, 11, 14), date(2026, 11, 14))
        assert wanted_range(saturday, None, PAID, WEDNESDAY) is None
        assert assess(saturday, None, PAID, WEDNESDAY).why.text == "asked already"
        assert wanted_range(page(BTCUSD, date(2026, 11, 14), date(2026, 11, 14)), None, PAID, WEDNESDAY)

    def test_of_today_ends_with_the_last_whole_bar_that_can_be_seen(self) -> None:
        today = page(BTCUSD, date(2026, 11, 18), date(2026, 11, 18))
        now_ms = WEDNESDAY + BAR - 1
        assert wanted_range(today, None, PAID, now_ms) == (MIDNIGHT, WEDNESDAY)
        assert wanted_range(today, None, FREE, now_ms) is None

    def test_is_asked_for_from_the_first_to_the_last_of_what_is_missing(self) -> None:
        start_ms = to_ms(datetime(2026, 10, 1, tzinfo=new_york_zone()))
        coverage = tuple(
            CoveredInterval(start_ms + first * HOUR, start_ms + last * HOUR, IntervalState.ASKED, 1)
            for first, last in ((0, 5), (10, 20), (50, 80))
        )
        before = stored(WEDNESDAY, WEDNESDAY, coverage=coverage)
        wanted = wanted_range(page(BTCUSD, self.FIRST, self.LAST), before, PAID, WEDNESDAY)
        assert wanted == (start_ms + 5 * HOUR, start_ms + 50 * HOUR)

    def test_is_none_for_an_asset_that_is_unknown_refused_or_keeps_no_bars(self) -> None:
        wanted = CoveredInterval(MIDNIGHT - 300 * DAY, MIDNIGHT - 200 * DAY, IntervalState.REQUESTED)
        before = stored(WEDNESDAY, WEDNESDAY, coverage=(wanted,))
        assert pages_to_ask(BTCUSD, before, PAID, WEDNESDAY)
        assert not pages_to_ask(BTCUSD, None, PAID, WEDNESDAY)
        assert not pages_to_ask(structs.replace(BTCUSD, bars=BarSize.NONE), before, PAID, WEDNESDAY)
        for status in ("not_found", "not_entitled"):
            refused = structs.replace(before, sync_status=status)
            assert not pages_to_ask(BTCUSD, refused, PAID, WEDNESDAY)


class TestWhatIsWorthACall:
    START = MIDNIGHT - 10 * DAY

    def coverage(
        self, state: IntervalState, asked_ms: int | None = None, error: str | None = None
    ) -> list[CoveredInterval]:
        hole = CoveredInterval(self.START, self.START + DAY, state, asked_ms, error)
        before = stored(WEDNESDAY, WEDNESDAY, coverage=(hole,))
        return askable(BTCUSD, before, self.START, self.START + DAY, WEDNESDAY)

    def test_is_what_was_never_asked_for(self) -> None:
        assert self.coverage(IntervalState.REQUESTED)
        assert not self.coverage(IntervalState.ASKED, 1)
        assert not self.coverage(IntervalState.NOT_IN_PLAN, 1)

    def test_is_what_failed_six_hours_ago(self) -> None:
        assert self.coverage(IntervalState.FAILED, WEDNESDAY - 6 * HOUR, "HTTP 503")
        assert not self.coverage(IntervalState.FAILED, WEDNESDAY - 6 * HOUR + 1, "HTTP 503")
        assert self.coverage(IntervalState.FAILED, None)

    def test_is_nothing_before_the_beginning_of_the_assets_history(self) -> None:
        before = stored(
            WEDNESDAY, WEDNESDAY, coverage=(CoveredInterval(self.START, MIDNIGHT, IntervalState.REQUESTED),)
        )
        (found,) = askable(BTCUSD, before, self.START - DAY, MIDNIGHT - DAY, WEDNESDAY)
        assert (found.start_ms, found.end_ms) == (self.START, MIDNIGHT - DAY)
        assert not askable(BTCUSD, None, self.START, MIDNIGHT, WEDNESDAY)
        assert not askable(BTCUSD, stored(WEDNESDAY, WEDNESDAY), self.START, MIDNIGHT, WEDNESDAY)

    def test_is_nothing_of_a_closed_market(self) -> None:
        coverage = (CoveredInterval(CLOSE, CLOSE + DAY, IntervalState.REQUESTED),)
        assert not askable(
            EURUSD, stored(CLOSE, CLOSE, coverage=coverage), CLOSE, CLOSE + DAY, CLOSE + 2 * DAY
        )


class TestTheLatestRange:
    def test_begins_with_the_day_before_where_the_bars_are_known_to_midnight(self) -> None:
        for last_bar_ms, begins_ms in ((MIDNIGHT - BAR, MIDNIGHT - DAY), (MIDNIGHT, MIDNIGHT)):
            before = stored(WEDNESDAY, WEDNESDAY, last_bar_ms=last_bar_ms)
            assert latest_range(BTCUSD, before, PAID, WEDNESDAY) == (begins_ms, WEDNESDAY)

    def test_of_bars_that_are_known_to_now_begins_with_today_a_millisecond_after_midnight(self) -> None:
        asked = CoveredInterval(MIDNIGHT - DAY, MIDNIGHT + BAR, IntervalState.ASKED, MIDNIGHT)
        before = stored(MIDNIGHT, MIDNIGHT, coverage=(asked,))
        assert latest_range(BTCUSD, before, PAID, MIDNIGHT + 1) == (MIDNIGHT, MIDNIGHT + 1)

    def test_begins_with_a_whole_bar(self) -> None:
        assert latest_range(BTCUSD, None, PAID, WEDNESDAY + 1) == (WEDNESDAY - PAGE, WEDNESDAY + 1)

    def test_has_a_bar_at_least_where_the_history_begins_later(self) -> None:
        known = Entitlements(end_of_day=True)
        known.refused(Restriction.HISTORY, CRYPTO, "no", WEDNESDAY, ticker="X:BTCUSD", edge_ms=MIDNIGHT)
        assert latest_range(BTCUSD, None, known, WEDNESDAY) == (MIDNIGHT - BAR, MIDNIGHT)

    def test_begins_where_the_history_begins(self) -> None:
        known = Entitlements(end_of_day=False)
        known.refused(
            Restriction.HISTORY, CRYPTO, "no", WEDNESDAY, ticker="X:BTCUSD", edge_ms=MIDNIGHT - 3 * DAY
        )
        assert latest_range(BTCUSD, None, known, WEDNESDAY) == (MIDNIGHT - 3 * DAY, WEDNESDAY)

    def test_of_bars_that_are_known_beyond_the_plans_end_begins_with_its_last_day(self) -> None:
        before = stored(WEDNESDAY, WEDNESDAY, last_bar_ms=WEDNESDAY - BAR)
        assert latest_range(BTCUSD, before, FREE, WEDNESDAY) == (MIDNIGHT - DAY, MIDNIGHT)

    def test_reaches_to_now_where_it_is_to_find_out_about_today_and_nobody_knows(self) -> None:
        assert latest_range(BTCUSD, None, FREE, WEDNESDAY, probe_today=True)[1] == WEDNESDAY
        assert latest_range(BTCUSD, None, FREE, WEDNESDAY)[1] == MIDNIGHT

    @pytest.mark.parametrize("day", [date(2026, 11, 26), date(2026, 11, 28), date(2027, 3, 26)])
    def test_asks_for_nothing_of_a_day_on_which_the_exchange_is_closed(self, day: date) -> None:
        """Nothing can be seen of it, and the free plan refuses a range that reaches into it."""
        midnight_ms = start_of_day(day)
        noon_ms = midnight_ms + 12 * HOUR
        for asset in (AAPL, NDX):
            assert latest_range(asset, None, FREE, noon_ms, probe_today=True)[1] == midnight_ms
            assert (
                latest_range(asset, None, FREE, noon_ms - 3 * DAY, probe_today=True)[1] == noon_ms - 3 * DAY
            )
        assert latest_range(BTCUSD, None, FREE, noon_ms, probe_today=True)[1] == noon_ms


def assets(count: int, **fields: Any) -> list[Work]:
    return [
        Work(Asset(symbol=f"S{n}", polygon_ticker=f"C:S{n}", asset_type=FOREX, **fields))
        for n in range(count)
    ]


def sizes(calls: list[Call]) -> list[tuple[type[Call], int]]:
    return [(type(call), len(call.work)) for call in calls]


class TestSharedCalls:
    def test_one_grouped_call_serves_any_number(self) -> None:
        known = paid_without(Restriction.SNAPSHOT, Restriction.BARS)
        assert sizes(choose_calls(assets(600), {}, known, WEDNESDAY)) == [(GroupedDayCall, 600)]

    def test_snapshots_of_a_market_serve_250_each(self) -> None:
        known = Entitlements(end_of_day=False)
        known.saw(FOREX, WEDNESDAY, WEDNESDAY, market_open=True)
        known.refused(Restriction.SNAPSHOT, FOREX, "no", WEDNESDAY, ticker="C:EURUSD")
        calls = choose_calls(assets(251), {}, known, WEDNESDAY)
        assert sizes(calls) == [(MarketSnapshotCall, 250), (MarketSnapshotCall, 1)]

    def test_without_grouped_days_each_asks_for_its_own(self) -> None:
        known = paid_without(Restriction.SNAPSHOT, Restriction.BARS, Restriction.GROUPED)
        assert sizes(choose_calls(assets(2), {}, known, WEDNESDAY)) == [(PreviousDayCall, 1)] * 2

    def test_of_one_asset_alone_is_none_and_leaves_the_others_theirs(self) -> None:
        known = Entitlements(end_of_day=True)
        priced = [structs.replace(asset, bars=BarSize.NONE) for asset in (BTCUSD, EURUSD)]
        work = [Work(priced[0]), Work(priced[1]), *assets(1, bars=BarSize.NONE)]
        assert sizes(choose_calls(work, {}, known, WEDNESDAY)) == [(BarsCall, 1), (GroupedDayCall, 2)]

    def test_without_5_minute_bars_no_work_of_an_asset_is_left_out(self) -> None:
        known = paid_without(Restriction.SNAPSHOT, Restriction.BARS, Restriction.GROUPED)
        work = [Work(EURUSD), Work(EURUSD, WorkKind.BARS)]
        assert sizes(choose_calls(work, {}, known, WEDNESDAY)) == [(PreviousDayCall, 1)] * 2

    def test_without_bars_to_keep_a_day_that_is_shown_is_asked_for_by_bars(self) -> None:
        known = paid_without(Restriction.SNAPSHOT)
        assert sizes(choose_calls(assets(2, bars=BarSize.NONE), {}, known, WEDNESDAY)) == [(BarsCall, 1)] * 2

    def test_a_grouped_day_is_the_last_that_has_ended(self) -> None:
        known = paid_without(Restriction.SNAPSHOT, Restriction.BARS)
        (call,) = choose_calls(assets(2), {}, known, WEDNESDAY)
        assert isinstance(call, GroupedDayCall)
        assert call.day == date(2026, 11, 17)

    def test_stand_where_the_first_of_their_work_stood(self) -> None:
        known = paid_without(Restriction.SNAPSHOT)
        work = [Work(BTCUSD), *assets(1), Work(structs.replace(BTCUSD, symbol="ETH"))]
        assert sizes(choose_calls(work, {}, known, WEDNESDAY)) == [(SnapshotCall, 2), (BarsCall, 1)]
        assert sizes(choose_calls(work[1:], {}, known, WEDNESDAY)) == [(BarsCall, 1), (SnapshotCall, 1)]

    def test_pay_where_one_asset_can_share_a_call(self) -> None:
        known = paid_without(Restriction.SNAPSHOT)
        assert shares_calls([EURUSD, BTCUSD], known, WEDNESDAY)
        assert not shares_calls([EURUSD], known, WEDNESDAY)
        assert not shares_calls([], PAID, WEDNESDAY)


class TestRangesOfOneAsset:
    @pytest.mark.parametrize(("days", "calls"), [(34, 1), (35, 2)])
    def test_are_one_call_where_they_fit_a_page(self, days: int, calls: int) -> None:
        first = date(2026, 6, 1)
        middle, last = first + timedelta(days=9), first + timedelta(days=days - 1)
        work = [page(BTCUSD, first, middle), page(BTCUSD, middle + timedelta(days=1), last)]
        assert sizes(choose_calls(work, {}, PAID, WEDNESDAY)) == [(BarsCall, 2 // calls)] * calls

    def test_that_lie_within_one_another_end_with_the_longest(self) -> None:
        work = [
            page(BTCUSD, date(2026, 6, 1), date(2026, 6, 20)),
            page(BTCUSD, date(2026, 6, 2), date(2026, 6, 3)),
        ]
        (call,) = choose_calls(work, {}, PAID, WEDNESDAY)
        assert isinstance(call, BarsCall)
        assert call.end_ms == to_ms(datetime(2026, 6, 21, tzinfo=new_york_zone())) - 1

    def test_of_a_price_and_of_bars_that_are_alike_are_one_call_at_any_moment(self) -> None:
        """A range that begins with a whole bar is longer than a page by the part of a bar that is over."""
        known = paid_without(Restriction.SNAPSHOT, Restriction.MARKET_SNAPSHOT, asset_type=CRYPTO)
        for now_ms in (WEDNESDAY, WEDNESDAY + 1, WEDNESDAY + BAR - 1):
            calls = choose_calls([Work(BTCUSD), Work(BTCUSD, WorkKind.BARS)], {}, known, now_ms)
            assert calls == [
                BarsCall((Work(BTCUSD), Work(BTCUSD, WorkKind.BARS)), WEDNESDAY - PAGE, now_ms - 1)
            ]

    def test_within_one_that_a_day_of_25_hours_makes_longer_than_a_page_come_along_with_it(self) -> None:
        longest = page(BTCUSD, date(2026, 10, 5), date(2026, 11, 7))
        within = page(BTCUSD, date(2026, 10, 6), date(2026, 11, 7))
        beyond = page(BTCUSD, date(2026, 10, 6), date(2026, 11, 8))
        assert sizes(choose_calls([within, longest, beyond], {}, PAID, WEDNESDAY)) == [
            (BarsCall, 2),
            (BarsCall, 1),
        ]
        begins_alike = page(BTCUSD, date(2026, 10, 5), date(2026, 10, 6))
        assert sizes(choose_calls([begins_alike, longest], {}, PAID, WEDNESDAY)) == [(BarsCall, 2)]

    def test_stand_where_the_first_of_their_work_stood(self) -> None:
        other = structs.replace(BTCUSD, symbol="ETHUSD", polygon_ticker="X:ETHUSD")
        work = [
            page(BTCUSD, date(2026, 6, 5), date(2026, 6, 9)),
            page(other, date(2026, 6, 1), date(2026, 6, 9)),
            page(BTCUSD, date(2026, 6, 1), date(2026, 6, 4)),
        ]
        calls = choose_calls(work, {}, PAID, WEDNESDAY)
        assert [(call.work[0].asset.symbol, len(call.work)) for call in calls] == [
            ("BTCUSD", 2),
            ("ETHUSD", 1),
        ]


class TestTheRhythmOfStarts:
    @pytest.mark.parametrize(("off_ms", "follows"), [(30_000, True), (30_001, False)])
    @pytest.mark.parametrize("sign", [-1, 1])
    def test_is_one_where_two_starts_lie_an_interval_apart_within_a_tenth(
        self, off_ms: int, sign: int, follows: bool
    ) -> None:
        first = WEDNESDAY + 2 * MINUTE
        second = first + BAR + sign * off_ms
        expected = second + BAR if follows else second - second % BAR + BAR
        assert expected_next_start([first, second], BAR) == expected

    def test_goes_on_after_a_start_by_hand_and_at_the_very_moment_of_the_next(self) -> None:
        first = WEDNESDAY + MINUTE
        for later_ms, expected_ms in ((3 * MINUTE, BAR), (2 * BAR, 3 * BAR)):
            starts = [first, first + BAR, first + BAR + later_ms]
            assert expected_next_start(starts, BAR) == first + BAR + expected_ms

    def test_is_that_of_the_latest_two(self) -> None:
        starts = [WEDNESDAY, WEDNESDAY + BAR, WEDNESDAY + 7 * MINUTE, WEDNESDAY + 12 * MINUTE]
        assert expected_next_start(starts, BAR) == WEDNESDAY + 17 * MINUTE


@pytest.mark.parametrize(
    "text",
    ["EUR:USD", "bars", "history:A", "history:A:2026-01-01", "history:A:2026-01-01:soon", "history:A:1:2:3"],
)
def test_an_id_that_says_nothing_else_is_the_price_of_a_symbol_of_that_name(text: str) -> None:
    assert parse_work_id(text) == WorkId(text, WorkKind.PRICE)


def test_a_call_touches_each_of_its_classes_once() -> None:
    assert asset_types(SnapshotCall((Work(EURUSD), Work(BTCUSD), Work(EURUSD)))) == [FOREX, CRYPTO]
