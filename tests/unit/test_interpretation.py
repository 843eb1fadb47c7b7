"""The decisions of a batch: what follows from an answer or a refusal."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from assetbatch.assets import Asset, AssetType
from assetbatch.entitlements import DAY_MS, HOUR_MS, Lack
from assetbatch.hours import start_of_day, to_ms
from assetbatch.interpretation import CONSEQUENCES, answered_to, ledger_of, price_from_bars
from assetbatch.learning import history_edge, lack_shown_by
from assetbatch.market import BAR_MS, Bar, SpanState
from assetbatch.planning import (
    BarsCall,
    Call,
    GroupedDayCall,
    MarketSnapshotCall,
    PreviousDayCall,
    SnapshotCall,
    Work,
)
from assetbatch.status import Status
from assetbatch.vendor.answers import BarsAnswer
from assetbatch.vendor.refusals import RefusalKind

EURUSD = Asset(symbol="EURUSD", polygon_ticker="C:EURUSD", asset_type=AssetType.FOREX)
WORK = (Work(EURUSD),)
TODAY = date(2026, 11, 18)
MIDNIGHT = to_ms(datetime(2026, 11, 18, tzinfo=ZoneInfo("America/New_York")))


class TestConsequences:
    def test_every_kind_of_refusal_has_one(self) -> None:
        assert set(CONSEQUENCES) == set(RefusalKind)

    def test_errors_are_not_swallowed_into_no_data(self) -> None:
        assert Status.NO_DATA not in {consequence.status for consequence in CONSEQUENCES.values()}
        assert Status.SUCCESS not in {consequence.status for consequence in CONSEQUENCES.values()}

    def test_only_what_another_try_cannot_help_is_final(self) -> None:
        final = {kind for kind, consequence in CONSEQUENCES.items() if consequence.final}
        assert final == {
            RefusalKind.NOT_IN_PLAN,
            RefusalKind.TODAY_NOT_YET,
            RefusalKind.TIMEFRAME,
            RefusalKind.UNKNOWN_TICKER,
        }

    def test_key_and_429_end_the_batch(self) -> None:
        ends = {kind for kind, consequence in CONSEQUENCES.items() if consequence.ends_batch}
        assert ends == {RefusalKind.KEY, RefusalKind.TOO_MANY_CALLS}


class TestWhatARefusalTeaches:
    NOW = MIDNIGHT + 10 * 3_600_000
    OLD = NOW - 60 * DAY_MS
    OLDEST = NOW - 800 * DAY_MS

    @pytest.mark.parametrize(
        ("call", "kind", "lack"),
        [
            (SnapshotCall(WORK), RefusalKind.NOT_IN_PLAN, Lack.SNAPSHOT),
            (MarketSnapshotCall(WORK, AssetType.FOREX), RefusalKind.NOT_IN_PLAN, Lack.MARKET_SNAPSHOT),
            (GroupedDayCall(WORK, AssetType.FOREX, TODAY), RefusalKind.TIMEFRAME, Lack.GROUPED),
            (BarsCall(WORK, 0, NOW), RefusalKind.TODAY_NOT_YET, Lack.TODAY),
            (BarsCall(WORK, 0, MIDNIGHT - 1), RefusalKind.TODAY_NOT_YET, Lack.LAST_DAY),
            (BarsCall(WORK, OLD, OLD + DAY_MS), RefusalKind.TODAY_NOT_YET, None),
            (BarsCall(WORK, MIDNIGHT - DAY_MS, MIDNIGHT - 1), RefusalKind.TIMEFRAME, Lack.INTRADAY),
            (BarsCall(WORK, OLDEST, OLDEST + DAY_MS), RefusalKind.TIMEFRAME, Lack.HISTORY),
            (BarsCall(WORK, OLD, OLD + DAY_MS), RefusalKind.TIMEFRAME, None),
            (BarsCall(WORK, 0, NOW), RefusalKind.NOT_IN_PLAN, Lack.BARS),
            (SnapshotCall(WORK), RefusalKind.TODAY_NOT_YET, Lack.SNAPSHOT),
            (MarketSnapshotCall(WORK, AssetType.FOREX), RefusalKind.UNKNOWN_TICKER, Lack.MARKET_SNAPSHOT),
            (GroupedDayCall(WORK, AssetType.FOREX, TODAY), RefusalKind.TODAY_NOT_YET, Lack.LAST_DAY),
            (PreviousDayCall(WORK), RefusalKind.NOT_IN_PLAN, Lack.PREVIOUS_DAY),
            (PreviousDayCall(WORK), RefusalKind.TIMEFRAME, None),
            (BarsCall(WORK, 0, NOW), RefusalKind.UNKNOWN_TICKER, None),
            (SnapshotCall(WORK), RefusalKind.VENDOR_DOWN, None),
        ],
    )
    def test_about_the_plan(self, call: Call, kind: RefusalKind, lack: Lack | None) -> None:
        assert lack_shown_by(call, kind, self.NOW) is lack

    @pytest.mark.parametrize(
        ("first", "edge"),
        [
            (date(2024, 11, 1), date(2024, 11, 18)),
            (date(2024, 11, 18), date(2024, 11, 19)),
            (date(2024, 11, 19), None),
        ],
    )
    def test_a_refused_history_begins_two_years_ago_or_a_day_later(
        self, first: date, edge: date | None
    ) -> None:
        last_ms = start_of_day(date(2024, 12, 5)) - 1
        assert history_edge(BarsCall(WORK, start_of_day(first), last_ms), self.NOW) == (
            start_of_day(edge) if edge else 0
        )


def answered(call: BarsCall, bars: list[Bar], **other: Any) -> BarsAnswer:
    return BarsAnswer(
        ticker="C:EURUSD",
        start_ms=call.start_ms,
        end_ms=call.end_ms,
        bars=bars,
        **{"refused": Counter(), **other},
    )


class TestWhatTheLedgerLearns:
    CALL = BarsCall(WORK, MIDNIGHT - DAY_MS, MIDNIGHT - 1)
    START, END, NOW = MIDNIGHT - DAY_MS, MIDNIGHT, MIDNIGHT + DAY_MS

    def test_a_slot_whose_bar_was_of_no_use_has_failed_and_the_rest_is_asked(self) -> None:
        faulty = self.START + 3 * BAR_MS
        answer = answered(self.CALL, [], faulty_ms=(faulty,))
        spans = ledger_of(answer, self.START, self.END, self.NOW)
        assert [(span.start_ms, span.end_ms, span.state) for span in spans] == [
            (self.START, faulty, SpanState.ASKED),
            (faulty, faulty + BAR_MS, SpanState.FAILED),
            (faulty + BAR_MS, self.END, SpanState.ASKED),
        ]

    def test_with_elements_that_cannot_be_placed_nothing_is_known_to_be_missing(self) -> None:
        answer = answered(self.CALL, [], refused=Counter(undecodable=1))
        (span,) = ledger_of(answer, self.START, self.END, self.NOW)
        assert (span.state, span.error) == (SpanState.FAILED, "1 element of the answer could not be read")

    def test_a_faulty_bar_at_the_end_of_a_page_is_not_taken_for_the_next_pages(self) -> None:
        bar_ms = self.START + 2 * BAR_MS
        answer = answered(
            self.CALL,
            [Bar(bar_ms, 1.0, 1.0, 1.0, 1.0)],
            faulty_ms=(bar_ms + BAR_MS,),
            next_url="https://api.massive.com/next",
        )
        to_ms = answered_to(self.CALL, answer, self.NOW, self.NOW)
        assert to_ms == bar_ms + 2 * BAR_MS
        assert ledger_of(answer, self.START, to_ms, self.NOW)[-1].state is SpanState.FAILED


class TestHowFarAnAnswerTells:
    """The moment up to which a slot without a bar is one that the vendor has nothing for."""

    NOON = MIDNIGHT + 12 * 3_600_000
    TO_NOW = BarsCall(WORK, MIDNIGHT, NOON - 1)

    def told(
        self,
        call: BarsCall,
        last_bar_ms: int | None,
        now_ms: int,
        *,
        more: bool = False,
        newest_ms: int | None = None,
    ) -> int:
        bars = [] if last_bar_ms is None else [Bar(last_bar_ms, 1.0, 1.0, 1.0, 1.0)]
        answer = answered(call, bars, next_url="https://api.massive.com/next" if more else None)
        return answered_to(call, answer, now_ms, now_ms if newest_ms is None else newest_ms)

    def test_is_the_end_of_a_range_in_the_past(self) -> None:
        past = BarsCall(WORK, MIDNIGHT - DAY_MS, MIDNIGHT - 1)
        assert self.told(past, None, self.NOON) == MIDNIGHT

    def test_is_the_end_of_the_last_bar_where_the_vendor_may_only_be_late(self) -> None:
        assert self.told(self.TO_NOW, self.NOON - 2 * BAR_MS, self.NOON) == self.NOON - BAR_MS
        assert self.told(self.TO_NOW, self.NOON - 20 * BAR_MS, self.NOON) == self.NOON - 5 * BAR_MS

    def test_never_counts_the_forming_bar(self) -> None:
        now_ms = self.NOON + 60_000
        call = BarsCall(WORK, MIDNIGHT, now_ms - 1)
        assert self.told(call, self.NOON, now_ms) == self.NOON

    def test_is_the_end_of_the_last_bar_while_more_pages_are_to_come(self) -> None:
        past = BarsCall(WORK, MIDNIGHT - DAY_MS, MIDNIGHT - 1)
        bar_ms = MIDNIGHT - DAY_MS + 7 * BAR_MS
        assert self.told(past, bar_ms, self.NOON, more=True) == bar_ms + BAR_MS
        assert self.told(past, None, self.NOON, more=True) == past.start_ms

    def test_leaves_out_what_is_later_than_anything_the_vendor_has_shown_of_the_class(self) -> None:
        """A day that is not published yet, or a feed that has stood still for hours."""
        past = BarsCall(WORK, MIDNIGHT - 2 * DAY_MS, MIDNIGHT - 1)
        day_ms = MIDNIGHT - DAY_MS
        told = self.told(past, day_ms - BAR_MS, MIDNIGHT + 60_000, newest_ms=day_ms)
        assert told == day_ms + HOUR_MS

    def test_believes_after_two_days_that_there_is_nothing(self) -> None:
        past = BarsCall(WORK, MIDNIGHT - 2 * DAY_MS, MIDNIGHT - 1)
        assert self.told(past, None, MIDNIGHT + 2 * DAY_MS, newest_ms=0) == MIDNIGHT


class TestThePriceThatFollowsFromBars:
    BARS = (
        Bar(MIDNIGHT - BAR_MS, 1.0, 9.0, 0.5, 1.1),
        Bar(MIDNIGHT, 1.2, 1.3, 1.15, 1.25),
        Bar(MIDNIGHT + BAR_MS, 1.25, 1.4, 1.2, 1.35),
    )

    def test_is_the_last_close_as_of_the_end_of_its_bar(self) -> None:
        price = price_from_bars("EURUSD", self.BARS, MIDNIGHT + 3 * BAR_MS)
        assert (price.last_price, price.as_of_ms) == (1.35, MIDNIGHT + 2 * BAR_MS)

    def test_of_a_forming_bar_is_as_of_the_moment_it_was_asked(self) -> None:
        asked_ms = MIDNIGHT + BAR_MS + 1000
        assert price_from_bars("EURUSD", self.BARS, asked_ms).as_of_ms == asked_ms

    def test_has_the_daily_values_of_its_new_york_day(self) -> None:
        price = price_from_bars("EURUSD", self.BARS, MIDNIGHT + 3 * BAR_MS)
        assert (price.daily_open, price.daily_high, price.daily_low, price.daily_close) == (
            1.2,
            1.4,
            1.15,
            1.35,
        )

    def test_has_no_bid_and_ask(self) -> None:
        price = price_from_bars("EURUSD", self.BARS, MIDNIGHT + 3 * BAR_MS)
        assert (price.bid, price.ask) == (None, None)
