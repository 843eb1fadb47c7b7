"""What an answer or a refusal means, and what it teaches of the plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.domain.asset_classes import AssetType, Market
from assetbatch.domain.assets import Asset
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.calls import (
    BarsCall,
    Call,
    GroupedDayCall,
    SnapshotCall,
)
from assetbatch.domain.entitlements import Entitlements, Restriction
from assetbatch.domain.market_hours import day_of, to_ms
from assetbatch.domain.models import (
    BAR_MS,
    Bar,
    CoveredInterval,
    DayBar,
    IntervalFault,
    IntervalState,
    Price,
    StoredAsset,
)
from assetbatch.domain.queueing import Fault
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.status import Status
from assetbatch.domain.units import DAY_MS, HOUR_MS, MINUTE_MS
from assetbatch.domain.work import Work, WorkKind
from assetbatch.provider.answers import BarsAnswer, PreviousDay, PricesAnswer
from assetbatch.provider.refusals import Refusal
from assetbatch.refresh.endpoints import endpoint_of
from assetbatch.refresh.endpoints.bars import (
    answered_to,
    bars_findings,
    coverage_of,
    price_from_bars,
    unended_findings,
)
from assetbatch.refresh.endpoints.previous_day import previous_day_findings
from assetbatch.refresh.endpoints.prices import prices_findings
from assetbatch.refresh.interpretation import CONSEQUENCES, ClassRefusal, Findings, Page, refusal_findings

EURUSD = Asset(symbol="EURUSD", polygon_ticker="C:EURUSD", asset_type=AssetType.FOREX)
GBPUSD = Asset(symbol="GBPUSD", polygon_ticker="C:GBPUSD", asset_type=AssetType.FOREX)
AAPL = Asset(symbol="AAPL", polygon_ticker="AAPL", asset_type=AssetType.STOCKS)
BTCUSD = Asset(symbol="BTCUSD", polygon_ticker="X:BTCUSD", asset_type=AssetType.CRYPTO)
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

    def test_a_refusal_of_what_was_asked_shows_that_the_provider_is_at_work(self) -> None:
        silent = {kind for kind, consequence in CONSEQUENCES.items() if not consequence.at_work}
        assert silent == {
            RefusalKind.KEY,
            RefusalKind.TOO_MANY_CALLS,
            RefusalKind.PROVIDER_DOWN,
            RefusalKind.NONSENSE,
        }

    def test_a_provider_that_is_down_or_answers_nonsense_is_not_the_items_fault(self) -> None:
        faults = {kind for kind, consequence in CONSEQUENCES.items() if consequence.fault is Fault.PROVIDER}
        assert faults == {RefusalKind.PROVIDER_DOWN, RefusalKind.NONSENSE}


def answered(call: BarsCall, bars: list[Bar], **other: Any) -> BarsAnswer:
    return BarsAnswer(
        ticker="C:EURUSD",
        start_ms=call.start_ms,
        end_ms=call.end_ms,
        bars=bars,
        **{"refused": Counter(), **other},
    )


def slots(*steps: int, start_ms: int = MIDNIGHT - DAY_MS) -> list[Bar]:
    return [Bar(start_ms + step * BAR_MS, 1.0, 1.0, 1.0, 1.0) for step in steps]


class TestWhatTheLedgerLearns:
    """Of a day of bitcoin, whose market never closes."""

    WORK = (Work(BTCUSD),)
    START, END, NOW = MIDNIGHT - DAY_MS, MIDNIGHT, MIDNIGHT + DAY_MS
    CALL = BarsCall(WORK, START, END - 1)
    ALL = range(288)

    def told(
        self, answer: BarsAnswer, before: Sequence[CoveredInterval] = (), end_ms: int = END
    ) -> list[CoveredInterval]:
        return coverage_of(Market.CRYPTO, answer, before, self.START, end_ms, self.NOW)

    def without(self, first: int, last: int, **other: Any) -> BarsAnswer:
        """An answer that lacks the slots from `first` to `last`."""
        return answered(self.CALL, slots(*(n for n in self.ALL if not first <= n <= last)), **other)

    def test_of_elements_beyond_the_stretch_nothing(self) -> None:
        answer = answered(self.CALL, slots(*self.ALL), faulty_ms=(self.END,))
        assert self.told(answer) == [CoveredInterval(self.START, self.END, IntervalState.ASKED, self.NOW)]

    @pytest.mark.parametrize(
        ("days", "is_whole", "doubted_days"), [(29, False, 4), (31, False, 3), (31, True, 0)]
    )
    def test_what_is_missing_twice_beyond_a_month_is_doubted_while_pages_may_be_cut_there(
        self, days: int, *, is_whole: bool, doubted_days: int
    ) -> None:
        start_ms = self.END - 34 * DAY_MS
        answer = answered(self.CALL, slots(*range(days * 288), start_ms=start_ms))
        once = coverage_of(Market.CRYPTO, answer, (), start_ms, self.END, self.NOW)
        twice = coverage_of(Market.CRYPTO, answer, once, start_ms, self.END, self.NOW, is_whole=is_whole)
        doubted = [one for one in twice if one.fault is IntervalFault.UNCONFIRMED]
        assert sum(one.end_ms - one.start_ms for one in doubted) == doubted_days * DAY_MS

    def test_of_elements_before_the_stretch_nothing_and_of_those_within_it_all(self) -> None:
        start_ms, odd_ms = self.START + 10 * BAR_MS, self.START + 20 * BAR_MS
        answer = self.without(20, 20, faulty_ms=(odd_ms,))
        coverage = coverage_of(Market.CRYPTO, answer, (), start_ms, self.END, self.NOW)
        assert [(span.start_ms, span.end_ms, span.state) for span in coverage] == [
            (start_ms, odd_ms, IntervalState.ASKED),
            (odd_ms, odd_ms + BAR_MS, IntervalState.FAILED),
            (odd_ms + BAR_MS, self.END, IntervalState.ASKED),
        ]

    def test_a_full_answer_is_asked(self) -> None:
        answer = answered(self.CALL, slots(*self.ALL))
        assert self.told(answer) == [CoveredInterval(self.START, self.END, IntervalState.ASKED, self.NOW)]

    def test_nothing_of_an_empty_stretch(self) -> None:
        assert self.told(answered(self.CALL, []), end_ms=self.START) == []

    @pytest.mark.parametrize(
        ("field", "fault"), [("faulty_ms", IntervalFault.UNUSABLE_BAR), ("misplaced_ms", None)]
    )
    def test_a_slot_whose_element_was_of_no_use_has_failed_and_the_rest_is_asked(
        self, field: str, fault: IntervalFault | None
    ) -> None:
        slot_ms = self.START + 3 * BAR_MS
        coverage = self.told(self.without(3, 3, **{field: (slot_ms,)}))
        assert [(span.start_ms, span.end_ms, span.state, span.fault) for span in coverage] == [
            (self.START, slot_ms, IntervalState.ASKED, None),
            (slot_ms, slot_ms + BAR_MS, IntervalState.FAILED, fault),
            (slot_ms + BAR_MS, self.END, IntervalState.ASKED, None),
        ]
        assert coverage[1].error

    def test_neighbours_that_failed_alike_are_one(self) -> None:
        odd = tuple(self.START + step * BAR_MS for step in (3, 4, 5))
        assert len(self.told(self.without(3, 5, misplaced_ms=odd))) == 3

    def test_with_elements_that_cannot_be_placed_every_slot_without_a_bar_has_failed(self) -> None:
        coverage = self.told(self.without(3, 4, unplaced=1))
        assert [(span.start_ms, span.end_ms, span.error) for span in coverage if span.error] == [
            (
                self.START + 3 * BAR_MS,
                self.START + 5 * BAR_MS,
                "1 element of the answer could not be placed",
            )
        ]

    def test_with_elements_that_cannot_be_placed_slots_with_bars_are_asked(self) -> None:
        (span,) = self.told(answered(self.CALL, slots(*self.ALL), unplaced=1))
        assert span.state is IntervalState.ASKED

    def test_an_hour_without_bars_is_believed(self) -> None:
        assert [span.state for span in self.told(self.without(100, 111))] == [IntervalState.ASKED]

    def test_more_than_an_hour_within_bars_is_doubted_once(self) -> None:
        answer = self.without(100, 112)
        first = self.told(answer)
        assert [(span.state, span.fault) for span in first] == [
            (IntervalState.ASKED, None),
            (IntervalState.FAILED, IntervalFault.UNCONFIRMED),
            (IntervalState.ASKED, None),
        ]
        assert (first[1].start_ms, first[1].end_ms) == (
            self.START + 100 * BAR_MS,
            self.START + 113 * BAR_MS,
        )
        assert [span.state for span in self.told(answer, first)] == [IntervalState.ASKED]

    def test_only_what_came_twice_is_believed(self) -> None:
        came = (self.START + 100 * BAR_MS, self.START + 150 * BAR_MS)
        before = CoveredInterval(
            *came, IntervalState.FAILED, self.NOW, "any words", IntervalFault.UNCONFIRMED
        )
        coverage = self.told(self.without(120, 199), [before])
        assert [(s.start_ms, s.end_ms) for s in coverage if s.state is IntervalState.FAILED] == [
            (self.START + 150 * BAR_MS, self.START + 200 * BAR_MS)
        ]

    def test_a_failed_call_in_between_is_no_confirmation(self) -> None:
        before = [CoveredInterval(self.START, self.END, IntervalState.FAILED, self.NOW, "503")]
        coverage = self.told(self.without(100, 149), before)
        assert [span.fault for span in coverage] == [None, IntervalFault.UNCONFIRMED, None]

    @pytest.mark.parametrize(("first", "last"), [(0, 99), (200, 287)])
    def test_less_than_a_day_at_an_end_is_believed(self, first: int, last: int) -> None:
        assert [span.state for span in self.told(self.without(first, last))] == [IntervalState.ASKED]

    @pytest.mark.parametrize(
        ("first", "last", "neighbour"),
        [(0, 99, (START - DAY_MS, START)), (200, 287, (END, END + DAY_MS))],
    )
    def test_an_end_beside_what_is_known_is_within_bars(
        self, first: int, last: int, neighbour: tuple[int, int]
    ) -> None:
        known = [CoveredInterval(*neighbour, IntervalState.ASKED, self.NOW)]
        assert IntervalFault.UNCONFIRMED in {s.fault for s in self.told(self.without(first, last), known)}

    @pytest.mark.parametrize(
        ("first", "last", "known"),
        [
            (0, 99, CoveredInterval(START - DAY_MS, START - BAR_MS, IntervalState.ASKED, NOW)),
            (0, 99, CoveredInterval(START - DAY_MS, START, IntervalState.FAILED, NOW, "503")),
            (200, 287, CoveredInterval(END - HOUR_MS, END, IntervalState.ASKED, NOW)),
            (200, 287, CoveredInterval(END + BAR_MS, END + DAY_MS, IntervalState.ASKED, NOW)),
            (200, 287, CoveredInterval(END, END + DAY_MS, IntervalState.FAILED, NOW, "503")),
        ],
    )
    def test_an_end_beside_nothing_that_is_known_is_an_end(
        self, first: int, last: int, known: CoveredInterval
    ) -> None:
        assert [span.state for span in self.told(self.without(first, last), [known])] == [IntervalState.ASKED]

    def test_a_whole_day_without_any_is_doubted_once(self) -> None:
        empty = answered(self.CALL, [])
        (first,) = self.told(empty)
        assert (first.state, first.fault) == (IntervalState.FAILED, IntervalFault.UNCONFIRMED)
        (second,) = self.told(empty, [first])
        assert second.state is IntervalState.ASKED

    def test_closed_hours_are_no_hole(self) -> None:
        """Gold rests an hour each evening, and for two days at the weekend."""
        friday = to_ms(datetime(2026, 11, 13, 17, tzinfo=ZoneInfo("America/New_York")))
        sunday = friday + 49 * HOUR_MS
        bars = [Bar(at_ms, 1.0, 1.0, 1.0, 1.0) for at_ms in (friday - BAR_MS, sunday)]
        answer = answered(BarsCall(self.WORK, friday - BAR_MS, sunday), bars)
        (span,) = coverage_of(Market.METAL, answer, (), friday - BAR_MS, sunday + BAR_MS, self.NOW)
        assert span.state is IntervalState.ASKED

    @pytest.mark.parametrize(("steps", "doubted"), [(24, False), (25, True)])
    def test_a_hole_is_as_long_as_the_hours_that_were_open(self, steps: int, doubted: bool) -> None:
        """Gold rests from five to six: a hole of two hours from half past four has one that was open."""
        gap_ms = to_ms(datetime(2026, 11, 17, 16, 30, tzinfo=ZoneInfo("America/New_York")))
        after_ms = gap_ms + steps * BAR_MS
        bars = [Bar(at_ms, 1.0, 1.0, 1.0, 1.0) for at_ms in (gap_ms - BAR_MS, after_ms)]
        answer = answered(BarsCall(self.WORK, gap_ms - BAR_MS, after_ms), bars)
        coverage = coverage_of(Market.METAL, answer, (), gap_ms - BAR_MS, after_ms + BAR_MS, self.NOW)
        assert (IntervalFault.UNCONFIRMED in {span.fault for span in coverage}) is doubted

    @pytest.mark.parametrize(
        ("missing", "doubted"), [(12, False), (13, True), (39, True), (40, False), (76, False)]
    )
    def test_a_hole_of_a_stock_is_believed_that_is_seldom_traded(self, missing: int, doubted: bool) -> None:
        """A session has 78 bars. Less than half of them are those of a stock that is thin, or was halted."""
        opening = to_ms(datetime(2026, 11, 17, 9, 30, tzinfo=ZoneInfo("America/New_York")))
        steps = [0, *range(1 + missing, 78)]
        bars = [Bar(opening + step * BAR_MS, 1.0, 1.0, 1.0, 1.0) for step in steps]
        end_ms = opening + 78 * BAR_MS
        answer = answered(BarsCall((Work(AAPL),), opening, end_ms - 1), bars)
        coverage = coverage_of(Market.STOCK, answer, (), opening, end_ms, self.NOW)
        assert (IntervalFault.UNCONFIRMED in {span.fault for span in coverage}) is doubted

    def test_a_day_of_open_time_without_any_trade_of_a_thin_stock_is_doubted_once(self) -> None:
        opening = to_ms(datetime(2026, 11, 16, 9, 30, tzinfo=ZoneInfo("America/New_York")))
        end_ms = opening + 4 * DAY_MS + 78 * BAR_MS  # a week has 32.5 hours
        answer = answered(
            BarsCall((Work(AAPL),), opening, end_ms - 1),
            [Bar(at_ms, 1.0, 1.0, 1.0, 1.0) for at_ms in (opening, end_ms - BAR_MS)],
        )
        first = coverage_of(Market.STOCK, answer, (), opening, end_ms, self.NOW)
        assert IntervalFault.UNCONFIRMED in {span.fault for span in first}
        (second,) = coverage_of(Market.STOCK, answer, first, opening, end_ms, self.NOW)
        assert second.state is IntervalState.ASKED

    def test_a_day_without_any_at_an_end_is_doubted_and_a_bar_less_is_not(self) -> None:
        end_ms = self.END + BAR_MS
        call = BarsCall(self.WORK, self.START, end_ms - 1)
        for last_step, doubted in ((0, True), (1, False)):
            answer = answered(call, slots(*range(last_step + 1)))
            coverage = coverage_of(Market.CRYPTO, answer, (), self.START, end_ms, self.NOW)
            assert (coverage[-1].fault is IntervalFault.UNCONFIRMED) is doubted

    def test_a_faulty_bar_at_the_end_of_a_page_is_not_taken_for_the_next_pages(self) -> None:
        bar_ms = self.START + 2 * BAR_MS
        for field in ("faulty_ms", "misplaced_ms"):
            answer = answered(self.CALL, slots(2), next_url="next", **{field: (bar_ms + BAR_MS,)})
            to_ms = answered_to(self.CALL, answer, self.NOW, self.NOW)
            assert to_ms == bar_ms + 2 * BAR_MS
            assert self.told(answer, end_ms=to_ms)[-1].state is IntervalState.FAILED


class TestPages:
    """A range of a hundred hours, of which each page is to bring at least one."""

    START, END = MIDNIGHT - 100 * HOUR_MS, MIDNIGHT
    NOW = MIDNIGHT + 24 * HOUR_MS
    WORK = (Work(BTCUSD, WorkKind.BARS),)
    CALL = BarsCall(WORK, START, END - 1)
    KNOWN = Entitlements(end_of_day=False)

    def page(
        self, to_ms: int, before: Page | None = None, coverage: Sequence[CoveredInterval] = (), **other: Any
    ) -> Findings:
        """What a page is found to mean whose last bar ends at a moment."""
        bars = [Bar(to_ms - BAR_MS, 1.0, 1.0, 1.0, 1.0)] if to_ms > self.START else []
        answer = answered(self.CALL, bars, **{"next_url": "next", **other})
        stored = {"BTCUSD": StoredAsset(symbol="BTCUSD", coverage=tuple(coverage))}
        return bars_findings(self.CALL, self.WORK, before, answer, stored, self.KNOWN, self.NOW)

    def test_a_further_page_leaves_the_work_waiting(self) -> None:
        findings = self.page(self.START + 2 * HOUR_MS)
        assert not findings.results
        assert findings.next_page is not None
        assert (findings.next_page.from_ms, findings.next_page.number) == (self.START + 2 * HOUR_MS, 1)

    def test_the_last_page_ends_the_work_with_the_bars_of_all(self) -> None:
        first = self.page(self.START + 2 * HOUR_MS).next_page
        findings = self.page(self.END, first, next_url=None)
        assert findings.next_page is None
        assert [(result.status, result.bars) for result in findings.results] == [(Status.SUCCESS, 2)]

    def test_a_page_beyond_the_end_of_the_range_is_not_asked(self) -> None:
        findings = self.page(self.END)
        assert findings.next_page is None
        assert [result.status for result in findings.results] == [Status.SUCCESS]

    def test_a_page_that_brings_nothing_fails_the_rest_of_the_range(self) -> None:
        reached_ms = self.START + 2 * HOUR_MS
        findings = self.page(reached_ms, self.page(reached_ms).next_page)
        assert findings.next_page is None
        (result,) = findings.results
        assert (result.status, result.final, result.answers) == (Status.FAILED, False, 0)
        assert result.error == "the provider's pages lead nowhere: page 2 brought nothing"
        last = findings.coverage["BTCUSD"][-1]
        assert (last.start_ms, last.end_ms, last.state) == (reached_ms, self.END, IntervalState.FAILED)

    def test_pages_that_bring_too_little_fail(self) -> None:
        first = self.page(self.START + BAR_MS).next_page
        (result,) = self.page(self.START + 2 * BAR_MS, first).results
        assert result.status is Status.FAILED
        assert result.error is not None
        assert result.error.startswith(
            "the provider's pages do not end: 2 pages brought bars up to 2026-11-14"
        )

    def test_there_are_never_more_than_a_hundred(self) -> None:
        page: Page | None = None
        for number in range(1, 100):
            page = self.page(self.START + number * HOUR_MS, page).next_page
            assert page is not None
        (result,) = self.page(self.END - BAR_MS, page).results
        assert result.status is Status.FAILED

    def test_without_a_call_for_the_next_page_the_work_waits_while_pages_bring_enough(self) -> None:
        for reached_ms, fails in ((self.START + HOUR_MS, False), (self.START + HOUR_MS - BAR_MS, True)):
            page = self.page(reached_ms).next_page
            assert page is not None
            findings = unended_findings(self.WORK, page)
            assert [result.status for result in findings.results] == [Status.FAILED] * fails
            assert bool(findings.coverage) is fails

    def test_what_was_known_before_is_no_progress(self) -> None:
        known = [CoveredInterval(self.START, self.START + 3 * HOUR_MS, IntervalState.ASKED, self.NOW)]
        page = self.page(self.START + 2 * HOUR_MS, coverage=known).next_page
        assert page is not None
        assert unended_findings(self.WORK, page).results

    @pytest.mark.parametrize(
        ("odd", "failed"),
        [
            ({}, []),
            ({"faulty_ms": 121}, [24]),
            ({"misplaced_ms": 121}, [24]),
            ({"faulty_ms": 118}, []),  # in a bar that the first page has answered for
            ({"unplaced": 1}, [24]),  # it may have been the minute that is missing
        ],
    )
    def test_a_bar_in_which_a_page_ends_is_judged_by_all_its_minutes(
        self, odd: dict[str, int], failed: list[int]
    ) -> None:
        """The first page ends with minute 122 of the range, within its bar 24; minute 121 did not come."""
        work = [Work(msgspec.structs.replace(BTCUSD, bars=BarSize.ONE_MINUTE), WorkKind.BARS)]
        call = BarsCall(tuple(work), self.START, self.END - 1)
        stored = {"BTCUSD": StoredAsset(symbol="BTCUSD")}
        told = {
            name: value if name == "unplaced" else (self.START + value * MINUTE_MS,)
            for name, value in odd.items()
        }

        def of(first: int, end: int) -> list[Bar]:
            return [
                Bar(self.START + n * MINUTE_MS, 1.0, 1.0, 1.0, 1.0) for n in range(first, end) if n != 121
            ]

        one = answered(call, of(0, 123), size_ms=MINUTE_MS, next_url="next", **told)
        page = bars_findings(call, work, None, one, stored, self.KNOWN, self.NOW).next_page
        assert page is not None
        assert page.from_ms == self.START + 24 * BAR_MS
        two = answered(call, of(123, 6000), size_ms=MINUTE_MS)
        findings = bars_findings(call, work, page, two, stored, self.KNOWN, self.NOW)
        coverage = findings.coverage["BTCUSD"]
        assert [
            (one.start_ms - self.START) // BAR_MS for one in coverage if one.state is IntervalState.FAILED
        ] == failed
        assert (coverage[0].start_ms, coverage[-1].end_ms) == (page.from_ms, self.END)
        assert findings.bars["BTCUSD"][0].t_ms == page.from_ms
        assert [result.bars for result in findings.results] == [5999]

    def test_work_that_keeps_no_bars_would_begin_anew_and_fails(self) -> None:
        page = self.page(self.START + 10 * HOUR_MS).next_page
        assert page is not None
        work = [Work(msgspec.structs.replace(BTCUSD, bars=BarSize.NONE))]
        (result,) = unended_findings(work, page).results
        assert result.status is Status.FAILED


def priced(**prices: float) -> dict[str, Price]:
    return {
        ticker: Price(symbol=ticker, last_price=price, as_of_ms=MIDNIGHT) for ticker, price in prices.items()
    }


REFUSED = Refusal(RefusalKind.NOT_IN_PLAN, "not entitled")


class TestWhatASnapshotMeans:
    NOW = MIDNIGHT + 1000
    WORK = (Work(EURUSD), Work(GBPUSD), Work(BTCUSD))
    CALL = SnapshotCall(WORK)

    def found(self, stored: dict[str, StoredAsset] | None = None, **answer: Any) -> Findings:
        """What an answer means for euro, pound and bitcoin."""
        whole = {"prices": {}, "errors": {}, "empty": frozenset(), "refused": Counter(), **answer}
        return prices_findings(self.CALL, self.WORK, PricesAnswer(**whole), stored or {}, self.NOW)

    def statuses(self, findings: Findings) -> dict[str, Status]:
        return {result.work.asset.symbol: result.status for result in findings.results}

    def test_each_ticker_succeeds_or_fails_by_itself(self) -> None:
        findings = self.found(
            prices=priced(**{"C:EURUSD": 1.1}),
            errors={
                "C:GBPUSD": Refusal(RefusalKind.NONSENSE, "odd"),
                "X:BTCUSD": Refusal(RefusalKind.UNKNOWN_TICKER, "who?"),
            },
        )
        assert self.statuses(findings) == {
            "EURUSD": Status.SUCCESS,
            "GBPUSD": Status.FAILED,
            "BTCUSD": Status.NOT_FOUND,
        }
        assert [result.final for result in findings.results] == [False, False, True]
        assert [result.bars for result in findings.results] == [0, 0, 0], "a snapshot brings none"
        assert [result.error for result in findings.results] == [None, "odd", "who?"]

    def test_a_refusal_that_would_end_a_batch_fails_a_ticker(self) -> None:
        errors = {"X:BTCUSD": Refusal(RefusalKind.TOO_MANY_CALLS, "429")}
        assert self.statuses(self.found(errors=errors))["BTCUSD"] is Status.FAILED

    def test_one_refused_ticker_of_a_class_is_refused_alone(self) -> None:
        findings = self.found(prices=priced(**{"C:GBPUSD": 1.3}), errors={"C:EURUSD": REFUSED})
        assert not findings.refused_classes
        assert self.statuses(findings)["EURUSD"] is Status.NOT_ENTITLED

    def test_the_only_ticker_of_a_class_is_left_for_another_way_and_does_not_condemn_it(self) -> None:
        findings = self.found(errors={"X:BTCUSD": REFUSED})
        assert findings.refused_classes == [ClassRefusal(AssetType.CRYPTO, "not entitled", "X:BTCUSD")]
        assert "BTCUSD" not in self.statuses(findings)

    def test_a_class_is_refused_by_two_tickers(self) -> None:
        findings = self.found(errors={"C:EURUSD": REFUSED, "C:GBPUSD": REFUSED})
        assert findings.refused_classes == [ClassRefusal(AssetType.FOREX, "not entitled", None)]
        assert set(self.statuses(findings)) == {"BTCUSD"}

    def test_two_refused_indices_are_each_refused_alone_and_a_product_says_nothing_of_another(self) -> None:
        def asset(ticker: str, asset_type: AssetType) -> Asset:
            return Asset(symbol=ticker.removeprefix("I:"), polygon_ticker=ticker, asset_type=asset_type)

        indices = [Work(asset(ticker, AssetType.INDICES)) for ticker in ("I:SPX", "I:VIX")]
        stocks = [Work(asset(ticker, AssetType.STOCKS)) for ticker in ("AAPL", "SPY")]
        work = (*indices, *stocks, Work(EURUSD), Work(GBPUSD))
        answer = PricesAnswer(
            prices=priced(**{"C:EURUSD": 1.1}),
            errors={"I:SPX": REFUSED, "I:VIX": REFUSED, "AAPL": REFUSED, "SPY": REFUSED},
            empty=frozenset({"C:GBPUSD"}),
            refused=Counter(),
        )
        findings = prices_findings(SnapshotCall(work), work, answer, {}, self.NOW)
        assert findings.refused_classes == [
            ClassRefusal(AssetType.INDICES, "not entitled", "I:SPX"),
            ClassRefusal(AssetType.INDICES, "not entitled", "I:VIX"),
            ClassRefusal(AssetType.STOCKS, "not entitled", None),
        ]
        assert self.statuses(findings) == {"EURUSD": Status.SUCCESS, "GBPUSD": Status.NO_DATA}

    @pytest.mark.parametrize(("ahead_ms", "status"), [(60_000, Status.SUCCESS), (60_001, Status.FAILED)])
    def test_a_price_from_the_future_is_not_taken(self, ahead_ms: int, status: Status) -> None:
        price = Price(symbol="EURUSD", last_price=1.1, as_of_ms=self.NOW + ahead_ms)
        assert self.statuses(self.found(prices={"C:EURUSD": price}))["EURUSD"] is status

    def test_nothing_is_no_data_for_what_never_was_and_nothing_newer_for_what_is_stored(self) -> None:
        stored = {"EURUSD": StoredAsset(symbol="EURUSD", as_of_ms=1), "GBPUSD": StoredAsset(symbol="GBPUSD")}
        found = self.found(stored, empty=frozenset({"C:EURUSD", "C:GBPUSD", "X:BTCUSD"}))
        assert self.statuses(found) == {
            "EURUSD": Status.SUCCESS,
            "GBPUSD": Status.NO_DATA,
            "BTCUSD": Status.NO_DATA,
        }

    @pytest.mark.parametrize(
        ("hour", "stored", "is_cleared"),
        [
            (9, {}, True),
            (9, {"AAPL": StoredAsset(symbol="AAPL")}, True),
            (9, {"AAPL": StoredAsset(symbol="AAPL", as_of_ms=1)}, False),
            (10, {}, False),
        ],
    )
    def test_a_stock_without_any_price_is_asked_otherwise_while_its_exchange_is_closed(
        self, hour: int, stored: dict[str, StoredAsset], is_cleared: bool
    ) -> None:
        now_ms = to_ms(datetime(2026, 11, 17, hour, tzinfo=ZoneInfo("America/New_York")))
        work = (Work(AAPL), Work(EURUSD))
        answer = PricesAnswer(prices={}, errors={}, empty=frozenset({"AAPL", "C:EURUSD"}), refused=Counter())
        findings = prices_findings(SnapshotCall(work), work, answer, stored, now_ms)
        assert list(findings.cleared) == (["AAPL"] if is_cleared else [])
        assert ("AAPL" in self.statuses(findings)) is not is_cleared
        assert self.statuses(findings)["EURUSD"] is Status.NO_DATA
        day = GroupedDayCall(work[:1], AssetType.STOCKS, date(2026, 11, 16))
        (result,) = prices_findings(day, work[:1], answer, {}, now_ms).results
        assert result.status is Status.NO_DATA

    def test_an_answer_is_of_the_moment_it_was_asked_for_and_a_refusal_of_none(self) -> None:
        """What was asked for before a correction must not revert it."""
        assert self.found().asked_ms == self.NOW
        assert previous_day_findings(self.WORK, None, {}, self.NOW).asked_ms == self.NOW
        down = Refusal(RefusalKind.PROVIDER_DOWN, "503")
        assert refusal_findings(self.CALL, self.WORK, down, Fault.PROVIDER).asked_ms is None

    def test_what_cannot_be_true_is_counted(self) -> None:
        refused = Counter(quote=2, price=1, unasked=3, undecodable=1, empty=7, duplicate=9)
        assert self.found(refused=refused).prices_refused == 7


class TestWhatThePreviousDayMeans:
    WORK = (Work(EURUSD),)
    NOW = MIDNIGHT + 3 * HOUR_MS

    @pytest.mark.parametrize(
        ("as_of_ms", "taken_ms"),
        [
            (MIDNIGHT - 3 * DAY_MS, MIDNIGHT - 3 * DAY_MS),
            (MIDNIGHT, MIDNIGHT),
            (MIDNIGHT + DAY_MS, MIDNIGHT),
            (MIDNIGHT + DAY_MS + HOUR_MS, MIDNIGHT),
            (MIDNIGHT + DAY_MS + HOUR_MS + 1, None),
        ],
    )
    def test_a_day_that_has_not_ended_is_the_last_one_and_a_later_one_none(
        self, as_of_ms: int, taken_ms: int | None
    ) -> None:
        price = Price(symbol="EURUSD", last_price=1.1, as_of_ms=as_of_ms)
        answer = PreviousDay(price=price, bar=DayBar(day_of(as_of_ms - 1), 1.0, 1.2, 1.0, 1.1))
        (result,) = previous_day_findings(self.WORK, answer, {}, self.NOW).results
        assert (result.price.as_of_ms if result.price else None) == taken_ms
        assert result.status is (Status.SUCCESS if taken_ms else Status.FAILED)

    def test_none_is_no_data_or_nothing_newer(self) -> None:
        known = {"EURUSD": StoredAsset(symbol="EURUSD", as_of_ms=1)}
        for stored, status in (({}, Status.NO_DATA), (known, Status.SUCCESS)):
            (result,) = previous_day_findings(self.WORK, None, stored, self.NOW).results
            assert result.status is status


class TestWhatARefusalMeans:
    PAST = BarsCall((Work(BTCUSD),), MIDNIGHT - DAY_MS, MIDNIGHT - 1)
    NOW = MIDNIGHT + DAY_MS
    DOWN = Refusal(RefusalKind.PROVIDER_DOWN, "503")

    def found(
        self,
        call: Call,
        refusal: Refusal = DOWN,
        page: Page | None = None,
        *,
        now_ms: int = NOW,
        fault: Fault = Fault.ITEM,
    ) -> Findings:
        coverage = endpoint_of(call).refused_intervals(call, page, refusal, now_ms)
        return refusal_findings(call, call.work, refusal, fault, coverage=coverage)

    @pytest.mark.parametrize("kind", list(RefusalKind))
    def test_all_work_of_the_call_gets_its_consequence(self, kind: RefusalKind) -> None:
        findings = self.found(self.PAST, Refusal(kind, "why"))
        (result,) = findings.results
        expected = CONSEQUENCES[kind]
        assert (result.status, result.final, result.error) == (expected.status, expected.final, "why")
        coverage = (
            [CoveredInterval(MIDNIGHT - DAY_MS, MIDNIGHT, expected.interval, self.NOW, "why")]
            if expected.interval
            else []
        )
        assert findings.coverage == ({"BTCUSD": coverage} if coverage else {})

    def test_only_what_pages_have_not_brought_has_failed(self) -> None:
        answer = answered(self.PAST, [])
        page = Page(self.PAST, answer, MIDNIGHT - HOUR_MS, [], 1, MIDNIGHT - DAY_MS, self.NOW)
        findings = self.found(self.PAST, page=page)
        (span,) = findings.coverage["BTCUSD"]
        assert (span.start_ms, span.end_ms) == (MIDNIGHT - HOUR_MS, MIDNIGHT)

    def test_an_asset_that_keeps_no_bars_has_no_ledger_to_learn_of_it(self) -> None:
        work = (Work(msgspec.structs.replace(BTCUSD, bars=BarSize.NONE)),)
        call = BarsCall(work, self.PAST.start_ms, self.PAST.end_ms)
        assert self.found(call).coverage == {}

    def test_a_range_in_which_no_bar_has_ended_has_nothing_that_failed(self) -> None:
        call = BarsCall((Work(BTCUSD),), MIDNIGHT, MIDNIGHT + 59_999)
        assert self.found(call, now_ms=MIDNIGHT + 60_000).coverage == {}

    def test_a_range_failed_from_the_bar_in_which_it_begins(self) -> None:
        call = BarsCall((Work(BTCUSD),), MIDNIGHT + 1, MIDNIGHT + HOUR_MS)
        (span,) = self.found(call).coverage["BTCUSD"]
        assert (span.start_ms, span.end_ms) == (MIDNIGHT, MIDNIGHT + HOUR_MS)

    @pytest.mark.parametrize("answers", [0, 3])
    def test_it_is_known_after_how_many_answers_it_came(self, answers: int) -> None:
        work = self.PAST.work
        findings = refusal_findings(self.PAST, work, self.DOWN, Fault.PROVIDER, answers)
        assert [result.answers for result in findings.results] == [answers]

    def test_the_fault_is_the_one_that_was_found(self) -> None:
        for fault in Fault:
            findings = self.found(self.PAST, fault=fault)
            assert [result.fault for result in findings.results] == [fault]

    def test_nothing_of_an_answer_was_of_no_use_where_there_was_none(self) -> None:
        findings = self.found(self.PAST)
        assert (findings.bars_refused, findings.prices_refused) == (0, 0)

    def test_a_call_for_prices_leaves_the_ledger_alone(self) -> None:
        findings = self.found(SnapshotCall(WORK))
        assert findings.coverage == {}


class TestWhatBarsMean:
    NOW = MIDNIGHT + 12 * HOUR_MS
    CALL = BarsCall((Work(BTCUSD),), MIDNIGHT, NOW - 1)
    KNOWN = Entitlements(end_of_day=False)

    def found(self, answer: BarsAnswer, asset: Asset = BTCUSD, stored: StoredAsset | None = None) -> Findings:
        call = BarsCall((Work(asset),), self.CALL.start_ms, self.CALL.end_ms)
        of = {asset.symbol: stored} if stored else {}
        return bars_findings(call, call.work, None, answer, of, self.KNOWN, self.NOW)

    def test_a_forming_bar_gives_the_price_and_is_not_kept(self) -> None:
        last = self.NOW - self.NOW % BAR_MS - BAR_MS
        bars = [Bar(last - BAR_MS, 1.0, 1.0, 1.0, 1.0), Bar(last + BAR_MS, 2.0, 2.0, 2.0, 2.0)]
        call = BarsCall((Work(BTCUSD),), MIDNIGHT, last + BAR_MS + 60_000)
        now_ms = last + BAR_MS + 60_001
        answer = answered(call, bars)
        findings = bars_findings(call, call.work, None, answer, {}, self.KNOWN, now_ms)
        assert findings.bars == {"BTCUSD": bars[:1]}
        (result,) = findings.results
        assert result.price is not None
        assert (result.price.last_price, result.price.as_of_ms) == (2.0, now_ms)

    def test_a_bar_that_ends_with_its_range_is_kept(self) -> None:
        call = BarsCall((Work(BTCUSD),), MIDNIGHT, MIDNIGHT + BAR_MS - 1)
        bars = slots(0, start_ms=MIDNIGHT)
        for now_ms in (MIDNIGHT + BAR_MS, self.NOW):
            findings = bars_findings(call, call.work, None, answered(call, bars), {}, self.KNOWN, now_ms)
            assert findings.bars == {"BTCUSD": bars}

    def test_a_bar_that_was_forming_at_the_end_of_its_range_is_not_kept_however_late_the_answer(self) -> None:
        """A call waits for its slot: its range ends when it was planned."""
        end_ms = MIDNIGHT + BAR_MS + 60_000
        call = BarsCall((Work(BTCUSD),), MIDNIGHT, end_ms - 1)
        bars = slots(0, 1, start_ms=MIDNIGHT)
        findings = bars_findings(call, call.work, None, answered(call, bars), {}, self.KNOWN, self.NOW)
        assert findings.bars == {"BTCUSD": bars[:1]}
        assert [result.price.as_of_ms for result in findings.results if result.price] == [end_ms]

    def test_an_asset_that_keeps_no_bars_gets_its_price_only(self) -> None:
        asset = msgspec.structs.replace(BTCUSD, bars=BarSize.NONE)
        findings = self.found(answered(self.CALL, slots(0, start_ms=MIDNIGHT)), asset)
        assert (findings.bars, findings.coverage) == ({}, {})
        assert [(result.status, result.bars) for result in findings.results] == [(Status.SUCCESS, 0)]

    def test_refused_bars_are_counted(self) -> None:
        answer = answered(self.CALL, slots(0, start_ms=MIDNIGHT), refused=Counter(time=2, price=3))
        assert self.found(answer).bars_refused == 5

    def test_no_bar_is_no_data_for_what_never_was_and_nothing_newer_for_what_is_stored(self) -> None:
        for stored, status in (
            (None, Status.NO_DATA),
            (StoredAsset(symbol="BTCUSD", as_of_ms=1), Status.SUCCESS),
        ):
            (result,) = self.found(answered(self.CALL, []), stored=stored).results
            assert (result.status, result.price) == (status, None)

    @pytest.mark.parametrize("days", [0, 1])
    def test_a_page_of_the_past_is_on_record_as_far_as_it_is_before_the_plans_history(
        self, days: int
    ) -> None:
        known = Entitlements(end_of_day=False)
        known.refused(
            Restriction.HISTORY, AssetType.CRYPTO, "old", self.NOW - 1, ticker="X:BTCUSD", edge_ms=MIDNIGHT
        )
        work = (Work(BTCUSD, WorkKind.HISTORY, date(2026, 11, 18 - days), TODAY),)
        call = BarsCall(work, MIDNIGHT, self.NOW - 1)
        findings = bars_findings(call, work, None, answered(call, []), {}, known, self.NOW)
        too_old = [
            span for span in findings.coverage.get("BTCUSD", ()) if span.state is IntervalState.NOT_IN_PLAN
        ]
        assert (
            too_old
            == [CoveredInterval(MIDNIGHT - DAY_MS, MIDNIGHT, IntervalState.NOT_IN_PLAN, self.NOW)] * days
        )


class TestHowFarAnAnswerTells:
    """The moment up to which a slot without a bar is one that the provider has nothing for."""

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

    def test_is_the_end_of_the_last_whole_bar_of_a_range(self) -> None:
        past = BarsCall(WORK, MIDNIGHT - DAY_MS, MIDNIGHT - 2)
        assert self.told(past, None, self.NOON) == MIDNIGHT - BAR_MS

    def test_is_the_end_of_the_last_bar_where_the_provider_may_only_be_late(self) -> None:
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

    def test_leaves_out_what_is_later_than_anything_the_provider_has_shown_of_the_class(self) -> None:
        """A day that is not published yet, or a feed that has stood still for hours."""
        past = BarsCall(WORK, MIDNIGHT - 2 * DAY_MS, MIDNIGHT - 1)
        day_ms = MIDNIGHT - DAY_MS
        told = self.told(past, day_ms - BAR_MS, MIDNIGHT + 60_000, newest_ms=day_ms)
        assert told == day_ms + HOUR_MS

    def test_believes_after_two_days_that_there_is_nothing(self) -> None:
        past = BarsCall(WORK, MIDNIGHT - 2 * DAY_MS, MIDNIGHT - 1)
        assert self.told(past, None, MIDNIGHT + 2 * DAY_MS, newest_ms=0) == MIDNIGHT
        assert self.told(past, None, MIDNIGHT + 2 * DAY_MS - 1, newest_ms=0) == MIDNIGHT - BAR_MS


class TestThePriceThatFollowsFromBars:
    BARS = (
        Bar(MIDNIGHT - BAR_MS, 1.0, 9.0, 0.5, 1.1),
        Bar(MIDNIGHT, 1.2, 1.3, 1.15, 1.25),
        Bar(MIDNIGHT + BAR_MS, 1.25, 1.4, 1.2, 1.35),
    )

    def test_is_the_last_close_as_of_the_end_of_its_bar(self) -> None:
        price = price_from_bars(EURUSD, self.BARS, MIDNIGHT + 3 * BAR_MS)
        assert (price.last_price, price.as_of_ms) == (1.35, MIDNIGHT + 2 * BAR_MS)

    def test_of_a_forming_bar_is_as_of_the_moment_it_was_asked(self) -> None:
        asked_ms = MIDNIGHT + BAR_MS + 1000
        assert price_from_bars(EURUSD, self.BARS, asked_ms).as_of_ms == asked_ms

    def test_has_the_daily_values_of_its_new_york_day(self) -> None:
        price = price_from_bars(EURUSD, self.BARS, MIDNIGHT + 3 * BAR_MS)
        assert (price.daily_open, price.daily_high, price.daily_low, price.daily_close) == (
            1.2,
            1.4,
            1.15,
            1.35,
        )

    @pytest.mark.parametrize(
        "asset",
        [
            AAPL,
            Asset(symbol="NDX", polygon_ticker="I:NDX", asset_type=AssetType.INDICES),
        ],
    )
    def test_of_a_stock_or_an_index_has_no_daily_values_since_no_day_follows_from_bars(
        self, asset: Asset
    ) -> None:
        price = price_from_bars(asset, self.BARS, MIDNIGHT + 3 * BAR_MS)
        assert price == Price(symbol=asset.symbol, last_price=1.35, as_of_ms=MIDNIGHT + 2 * BAR_MS)

    def test_has_no_bid_and_ask(self) -> None:
        price = price_from_bars(EURUSD, self.BARS, MIDNIGHT + 3 * BAR_MS)
        assert (price.bid, price.ask) == (None, None)


class TestMinutesTellTheSameAsBars:
    """Of a week of forex, a weekend within it: what no bar of five minutes shows, no minute shows either."""

    START = MIDNIGHT - 5 * DAY_MS

    @given(
        runs=st.lists(st.tuples(st.integers(0, 5 * 1440), st.integers(1, 900)), max_size=12),
        thin=st.integers(1, 4),
        seen_ms=st.integers(0, 3 * HOUR_MS),
    )
    def test_whatever_is_missing(self, runs: list[tuple[int, int]], thin: int, seen_ms: int) -> None:
        end_ms = MIDNIGHT - 1
        now_ms = MIDNIGHT + seen_ms - 2 * HOUR_MS
        starts = sorted(
            {
                self.START + at * MINUTE_MS
                for first, count in runs
                for at in range(first, first + count)
                if at % thin == 0
            }
        )
        starts = [t_ms for t_ms in starts if t_ms + MINUTE_MS <= min(now_ms, end_ms + 1)]
        told = {}
        for size_ms in (MINUTE_MS, BAR_MS):
            asset = msgspec.structs.replace(
                EURUSD, bars=BarSize.ONE_MINUTE if size_ms == MINUTE_MS else BarSize.FIVE_MINUTES
            )
            bars = [
                Bar(t_ms, 1.0, 1.0, 1.0, 1.0) for t_ms in sorted({t_ms - t_ms % size_ms for t_ms in starts})
            ]
            work = (Work(asset, WorkKind.BARS),)
            call = BarsCall(work, self.START, end_ms)
            findings = bars_findings(
                call,
                work,
                None,
                answered(call, bars, size_ms=size_ms),
                {"EURUSD": StoredAsset(symbol="EURUSD")},
                Entitlements(end_of_day=False),
                now_ms,
            )
            told[size_ms] = findings.coverage, [result.status for result in findings.results]
        assert told[MINUTE_MS] == told[BAR_MS]
