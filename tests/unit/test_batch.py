"""What becomes of the work of a batch: what is asked, is pending, is to be stored and is reported."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest
from msgspec import structs

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.calls import BarsCall, SnapshotCall
from assetbatch.domain.due import Verdict
from assetbatch.domain.entitlements import Entitlements, KnownRestriction, Restriction
from assetbatch.domain.market_hours import start_of_day
from assetbatch.domain.models import (
    BAR_MS,
    Bar,
    CoveredInterval,
    IntervalState,
    Outcome,
    Price,
    Rejection,
    RejectionCause,
    Saved,
    StoredAsset,
)
from assetbatch.domain.queueing import Fault
from assetbatch.domain.reasons import Explanation, Reason
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.status import Status
from assetbatch.domain.units import DAY_MS, HOUR_MS
from assetbatch.domain.work import Work, WorkKind
from assetbatch.provider.answers import BarsAnswer
from assetbatch.provider.refusals import Refusal
from assetbatch.refresh.batch import Batch, Request, WorkChunk, WorkOwner
from assetbatch.refresh.interpretation import Findings, Page, Result
from assetbatch.refresh.policy import PRIORITY, QUEUE, Policy

NOW = start_of_day(date(2026, 11, 18)) + 10 * HOUR_MS
START = NOW - 100 * HOUR_MS
BTC = Work(Asset(symbol="BTCUSD", polygon_ticker="X:BTCUSD", asset_type=AssetType.CRYPTO))
ETH = Work(Asset(symbol="ETHUSD", polygon_ticker="X:ETHUSD", asset_type=AssetType.CRYPTO))
SOL = Work(Asset(symbol="SOLUSD", polygon_ticker="X:SOLUSD", asset_type=AssetType.CRYPTO))
BARS = Work(BTC.asset, WorkKind.BARS)
OLD = Work(BTC.asset, WorkKind.HISTORY, date(2024, 11, 10), date(2024, 11, 20))
BOTH = SnapshotCall((BTC, ETH))
RANGE = BarsCall((BTC,), START, NOW - 1)
DUE = Verdict(True, Explanation(Reason.NEVER_FETCHED))
UP_TO_DATE = Verdict(False, Explanation(Reason.BARS_UP_TO_DATE))


def batch(*work: Work, policy: Policy = QUEUE, known: Entitlements | None = None) -> Batch:
    """One that has this work, of assets of which nothing is stored yet."""
    state = Batch(policy, known or Entitlements(end_of_day=False), 0.0)
    stored = {item.asset.symbol: StoredAsset(symbol=item.asset.symbol) for item in work}
    state.add(WorkChunk(work, stored))
    return state


def bar(t_ms: int) -> Bar:
    return Bar(t_ms, 1.0, 1.0, 1.0, 1.0)


def price(work: Work) -> Price:
    return Price(symbol=work.asset.symbol, last_price=1.0, as_of_ms=NOW)


def success(work: Work, *, bars: int = 0) -> Result:
    return Result(work=work, status=Status.SUCCESS, price=price(work), bars=bars)


def page_of(call: BarsCall, reached_ms: int) -> Page:
    answer = BarsAnswer(
        ticker="X:BTCUSD",
        start_ms=call.start_ms,
        end_ms=call.end_ms,
        bars=[],
        refused=Counter(),
        next_url="next",
    )
    return Page(call, answer, reached_ms, [], 1, call.start_ms, NOW)


def with_a_page(*work: Work, reached_ms: int = START + 50 * HOUR_MS, policy: Policy = QUEUE) -> Batch:
    """A batch whose range has brought its first page."""
    state = batch(*work, policy=policy)
    request = Request(RANGE, NOW)
    state.choose([RANGE], NOW, 0)
    state.begin(request)
    state.apply(RANGE, Findings(asked_ms=NOW, next_page=page_of(RANGE, reached_ms)))
    state.end(request)
    return state


def statuses(state: Batch) -> list[tuple[str, Status]]:
    return [(result.work.id, result.status) for result in state.report().results]


class TestWorkOfABatch:
    def test_is_open_and_pending_until_its_call_is_out(self) -> None:
        state = batch(BTC, ETH, SOL)
        assert state.open == state.pending == [BTC, ETH, SOL]
        state.begin(Request(BOTH, NOW))
        assert (state.open, state.pending) == ([BTC, ETH, SOL], [SOL])
        assert not state.is_all_in_flight
        state.begin(Request(SnapshotCall((SOL,)), NOW))
        assert state.is_all_in_flight

    def test_that_its_call_has_not_settled_waits_for_another(self) -> None:
        state = batch(BTC, ETH)
        request = Request(BOTH, NOW)
        state.begin(request)
        state.apply(BOTH, Findings(asked_ms=NOW, results=[success(BTC)]))
        state.end(request)
        assert state.pending == [ETH]

    def test_is_out_where_nothing_is_left(self) -> None:
        state = batch(BTC)
        state.apply(BOTH, Findings(results=[success(BTC)]))
        assert state.is_all_in_flight
        assert state.of(BOTH) == []

    def test_may_come_in_chunks(self) -> None:
        state = batch(BTC, ETH)
        state.add(WorkChunk([SOL], {}))
        assert state.open == [BTC, ETH, SOL]

    def test_of_an_asset_that_is_known_already_leaves_what_is_known(self) -> None:
        state = batch(BTC)
        newer = StoredAsset(symbol="BTCUSD", as_of_ms=NOW)
        other = StoredAsset(symbol="SOLUSD", as_of_ms=NOW)
        state.add(WorkChunk([BARS, SOL], {"BTCUSD": newer, "SOLUSD": other}))
        assert state.stored["BTCUSD"].as_of_ms is None
        assert state.stored["SOLUSD"] is other

    def test_that_joins_has_no_call_chosen_yet(self) -> None:
        state = batch(BTC)
        state.choose([BOTH], NOW, 0)
        state.add(WorkChunk([SOL], {}))
        assert state.must_choose(NOW, 0)

    def test_that_is_somebody_elses_is_asked_and_said_no_more(self) -> None:
        state = batch(BTC, ETH)
        state.choose([BOTH], NOW, 0)
        state.abandon(["BTCUSD"])
        assert state.open == [ETH]
        assert state.must_choose(NOW, 0), "the call was planned for it too"
        assert state.report().results == []

    def test_of_which_none_is_lost_keeps_its_plan(self) -> None:
        state = batch(BTC)
        state.choose([BOTH], NOW, 0)
        state.abandon([])
        assert not state.must_choose(NOW, 0)

    def test_that_is_lost_has_no_further_page(self) -> None:
        state = with_a_page(BTC, ETH)
        state.abandon(["ETHUSD"])
        assert state.next_page(NOW) is not None
        state.abandon(["BTCUSD"])
        assert state.next_page(NOW) is None


class TestWhatIsAskedNext:
    @pytest.mark.parametrize("away_ms", [1000, -1000])
    def test_is_planned_again_after_a_second_or_a_lesson(self, away_ms: int) -> None:
        state = batch(BTC)
        assert state.must_choose(NOW, 0), "nothing is planned yet"
        state.choose([BOTH], NOW, 3)
        assert not state.must_choose(NOW + away_ms, 3)
        assert state.must_choose(NOW + away_ms + (1 if away_ms > 0 else -1), 3)
        assert state.must_choose(NOW, 4)

    def test_is_the_first_planned_call_that_may_start(self) -> None:
        state = batch(BTC, ETH, SOL)
        other = SnapshotCall((SOL,))
        state.choose([BOTH, other], NOW, 0)
        assert state.next_chosen(lambda _call: True) == Request(BOTH, NOW)
        assert state.next_chosen(lambda call: call is other) == Request(other, NOW)
        assert state.next_chosen(lambda _call: False) is None

    def test_is_no_call_twice(self) -> None:
        state = batch(BTC, ETH, SOL)
        other = SnapshotCall((SOL,))
        state.choose([BOTH, other], NOW, 0)
        state.begin(Request(BOTH, NOW))
        assert state.next_chosen(lambda _call: True) == Request(other, NOW)
        assert state.report().calls == 1

    def test_is_the_next_page_of_a_range_that_was_begun(self) -> None:
        state = with_a_page(BTC, ETH)
        request = state.next_page(NOW + 5)
        assert request is not None
        assert (request.call, request.chosen_ms) == (RANGE, NOW + 5)
        assert request.page is not None
        assert request.page.from_ms == START + 50 * HOUR_MS

    def test_in_a_cycle_of_priority_assets_is_each_assets_own_call_first(self) -> None:
        state = with_a_page(BTC, ETH, policy=PRIORITY)
        assert state.next_page(NOW) is None
        state.begin(Request(SnapshotCall((ETH,)), NOW))
        assert state.next_page(NOW) is not None

    def test_work_whose_page_waits_is_not_planned_for_and_is_not_out(self) -> None:
        state = with_a_page(BTC)
        assert (state.open, state.pending) == ([BTC], [])
        assert not state.is_all_in_flight

    def test_a_page_that_is_out_waits_no_more(self) -> None:
        state = with_a_page(BTC)
        request = state.next_page(NOW)
        assert request is not None
        state.begin(request)
        assert state.next_page(NOW) is None
        assert state.is_all_in_flight
        assert state.report().calls == 2
        state.apply(RANGE, Findings(results=[success(BTC)]))
        state.end(request)
        assert state.open == []

    def test_a_page_that_is_out_leaves_the_plan_and_other_pages_alone(self) -> None:
        state = with_a_page(BTC, ETH)
        other = BarsCall((ETH,), START, NOW - 1)
        state.apply(other, Findings(next_page=page_of(other, START + HOUR_MS)))
        state.choose([BOTH], NOW, 0)
        request = state.next_page(NOW)
        assert request is not None
        state.begin(request)
        following = state.next_page(NOW)
        assert following is not None
        assert following.call is other
        assert not state.must_choose(NOW, 0)


class TestWhetherWorkIsDue:
    """The engine assesses; the batch takes the verdict over."""

    REFUSAL = KnownRestriction(
        restriction=Restriction.INTRADAY,
        asset_type=AssetType.CRYPTO,
        since_ms=NOW - 1,
        until_ms=NOW + DAY_MS,
        message="not in the plan",
    )

    def test_due_work_stays_open_and_counts_once(self) -> None:
        state = batch(BTC, ETH)
        for _ in range(2):
            state.judge(BTC, DUE)
        assert (state.open, state.work_count) == ([BTC, ETH], 1)

    def test_a_price_that_the_plan_refused_before_is_left_alone(self) -> None:
        state = batch(BTC)
        state.judge(BTC, Verdict(False, Explanation(Reason.NOT_IN_PLAN), self.REFUSAL, paused=True))
        (result,) = state.report().results
        assert result == Result(
            work=BTC, status=Status.FRESH, error="not in the plan; asked again once a day", paused=True
        )
        assert state.work_count == 0

    def test_a_price_that_comes_a_second_time_is_judged_anew(self) -> None:
        state = batch(BTC)
        state.judge(BTC, DUE)
        state.fail(BOTH, Status.FAILED, "503")
        state.add(WorkChunk([BTC], {}))
        state.judge(BTC, Verdict(False, Explanation(Reason.NOT_IN_PLAN), self.REFUSAL, paused=True))
        assert [result.status for result in state.report().results] == [Status.FAILED, Status.FRESH]

    def test_only_due_work_has_calls(self) -> None:
        state = batch(BTC, ETH, policy=PRIORITY)
        assert not state.has_calls_left
        state.judge(BTC, DUE)
        assert state.has_calls_left
        state.begin(Request(BOTH, NOW))
        assert not state.has_calls_left


class TestWhereNoFurtherCallIsMade:
    def test_what_is_pending_stays_due(self) -> None:
        state = batch(BTC, ETH, SOL)
        state.choose([BOTH], NOW, 0)
        assert not state.is_closed
        state.close("out of calls")
        assert state.is_closed
        assert statuses(state) == [(one, Status.DEFERRED) for one in ("BTCUSD", "ETHUSD", "SOLUSD")]
        assert {result.error for result in state.report().results} == {"out of calls"}
        assert state.next_chosen(lambda _call: True) is None

    def test_a_call_that_is_out_may_still_settle_its_work(self) -> None:
        state = batch(BTC, ETH, SOL)
        request = Request(BOTH, NOW)
        state.begin(request)
        state.close("stopped")
        assert statuses(state) == [("SOLUSD", Status.DEFERRED)]
        state.apply(BOTH, Findings(results=[success(BTC)]))
        state.end(request)
        assert statuses(state) == [
            ("BTCUSD", Status.SUCCESS),
            ("ETHUSD", Status.DEFERRED),
            ("SOLUSD", Status.DEFERRED),
        ]

    def test_the_first_reason_counts(self) -> None:
        state = batch(BTC, ETH)
        request = Request(BOTH, NOW)
        state.begin(request)
        state.close("out of calls", Status.POSTPONED)
        state.close("stopped")
        state.end(request)
        assert {(result.status, result.error) for result in state.report().results} == {
            (Status.POSTPONED, "out of calls")
        }

    def test_a_range_that_was_begun_waits(self) -> None:
        state = with_a_page(BTC, ETH)
        state.close("stopped")
        assert statuses(state) == [("BTCUSD", Status.DEFERRED), ("ETHUSD", Status.DEFERRED)]
        assert state.next_page(NOW) is None

    def test_a_range_waits_for_the_next_cycle_where_its_page_brought_enough(self) -> None:
        state = with_a_page(BTC)
        state.close("out of calls", Status.POSTPONED)
        assert statuses(state) == [("BTCUSD", Status.POSTPONED)]

    def test_a_range_fails_where_the_cycle_is_over_and_its_page_brought_too_little(self) -> None:
        state = with_a_page(BTC, reached_ms=START + BAR_MS)
        state.close("out of calls", Status.POSTPONED)
        assert statuses(state) == [("BTCUSD", Status.FAILED)]

    def test_a_range_whose_cycle_was_only_stopped_never_fails(self) -> None:
        state = with_a_page(BTC, reached_ms=START + BAR_MS)
        state.close("stopped")
        assert statuses(state) == [("BTCUSD", Status.DEFERRED)]


class TestWhatIsSettled:
    def test_by_a_failed_call_is_all_its_work_that_is_open(self) -> None:
        state = batch(BTC, ETH, SOL)
        state.apply(BOTH, Findings(results=[success(BTC)]))
        state.fail(BOTH, Status.FAILED, "503", fault=Fault.PROVIDER)
        first, second = state.report().results
        assert first.status is Status.SUCCESS
        assert second == Result(
            work=ETH, status=Status.FAILED, error="503", final=False, fault=Fault.PROVIDER
        )
        assert state.open == [SOL]

    def test_by_a_failed_call_is_the_items_own_fault_and_final_where_that_is_said(self) -> None:
        state = batch(BTC)
        state.apply(
            BOTH, Findings(results=[Result(work=BTC, status=Status.NOT_FOUND, error="who?", final=True)])
        )
        (result,) = state.report().results
        assert (result.final, result.fault) == (True, Fault.ITEM)

    def test_without_a_call_is_fresh(self) -> None:
        state = batch(BTC)
        state.judge(BTC, UP_TO_DATE)
        (result,) = state.report().results
        assert result == Result(work=BTC, status=Status.FRESH, error="bars up to date")

    def refusal(self, lack: Restriction) -> KnownRestriction:
        return KnownRestriction(
            restriction=lack,
            asset_type=AssetType.CRYPTO,
            since_ms=NOW - 1,
            until_ms=NOW + DAY_MS,
            message="not in the plan",
        )

    def test_a_due_price_is_not_entitled_once_this_cycle_has_shown_that_the_plan_refuses_it(self) -> None:
        state = batch(BTC)
        state.judge(BTC, DUE)
        state.judge(BTC, Verdict(False, Explanation(Reason.NOT_IN_PLAN), self.refusal(Restriction.BARS)))
        (result,) = state.report().results
        assert (result.status, result.final, result.error) == (Status.NOT_ENTITLED, True, "not in the plan")

    @pytest.mark.parametrize("lack", [Restriction.BARS, Restriction.HISTORY])
    def test_a_page_of_the_past_ends_cleanly_and_is_on_record_where_it_is_too_old(
        self, lack: Restriction
    ) -> None:
        known = Entitlements(end_of_day=False)
        known.refused(
            Restriction.HISTORY,
            AssetType.CRYPTO,
            "old",
            NOW - 1,
            ticker="X:BTCUSD",
            edge_ms=start_of_day(date(2024, 11, 18)),
        )
        state = batch(OLD, known=known)
        state.judge(OLD, Verdict(False, Explanation(Reason.TOO_OLD), self.refusal(lack)))
        (result,) = state.report().results
        assert (result.status, result.error) == (Status.FRESH, "older than the plan's history")
        assert not result.final
        span = CoveredInterval(
            start_of_day(date(2024, 11, 10)),
            start_of_day(date(2024, 11, 18)),
            IntervalState.NOT_IN_PLAN,
            NOW - 1,
        )
        expected = [span] if lack is Restriction.HISTORY else []
        assert list(state.stored["BTCUSD"].coverage) == expected
        assert state.take_unsaved(0.0)[1].coverage == ({"BTCUSD": expected} if expected else {})


class TestWhatIsStored:
    def test_is_what_has_come_since_the_last_time(self) -> None:
        state = batch(BTC, ETH)
        state.apply(BOTH, Findings(asked_ms=NOW, results=[success(BTC)], bars={"BTCUSD": [bar(START)]}))
        results, first = state.take_unsaved(0.0)
        assert results == [success(BTC)]
        assert first.prices == [price(BTC)]
        assert first.outcomes == [Outcome("BTCUSD", Status.SUCCESS)]
        assert first.bars == {"BTCUSD": [bar(START)]}
        assert first.asked_ms == {"BTCUSD": NOW, "ETHUSD": NOW}
        again, second = state.take_unsaved(0.0)
        assert (again, second.is_empty, second.asked_ms) == ([], True, {})

    def test_of_several_answers_are_all_bars_and_spans_in_turn(self) -> None:
        state = batch(BTC)
        asked = CoveredInterval(START, START + HOUR_MS, IntervalState.ASKED, NOW)
        failed = CoveredInterval(START + HOUR_MS, NOW, IntervalState.FAILED, NOW, "503")
        for at_ms, span in ((START, asked), (START + HOUR_MS, failed)):
            state.apply(RANGE, Findings(bars={"BTCUSD": [bar(at_ms)]}, coverage={"BTCUSD": [span]}))
        _, to_save = state.take_unsaved(0.0)
        assert to_save.bars == {"BTCUSD": [bar(START), bar(START + HOUR_MS)]}
        assert to_save.coverage == {"BTCUSD": [asked, failed]}
        assert state.stored["BTCUSD"].coverage == (asked, failed), "the next plan knows them"

    def test_of_an_asset_without_a_row_no_span_is(self) -> None:
        state = Batch(QUEUE, Entitlements(end_of_day=False), 0.0)
        state.add(WorkChunk([BTC], {}))
        state.apply(
            RANGE, Findings(coverage={"BTCUSD": [CoveredInterval(START, NOW, IntervalState.ASKED, NOW)]})
        )
        assert state.take_unsaved(0.0)[1].coverage == {}

    def test_of_an_asset_with_no_span_is_none(self) -> None:
        state = batch(BTC)
        state.apply(RANGE, Findings(coverage={"BTCUSD": []}))
        assert state.take_unsaved(0.0)[1].coverage == {}

    def test_counts_as_of_the_first_time_it_was_asked_for(self) -> None:
        state = batch(BTC, ETH)
        state.apply(BOTH, Findings(asked_ms=NOW))
        state.apply(RANGE, Findings(asked_ms=NOW + 5))
        state.apply(SnapshotCall((ETH,)), Findings(asked_ms=None))
        assert state.take_unsaved(0.0)[1].asked_ms == {"BTCUSD": NOW, "ETHUSD": NOW}

    @pytest.mark.parametrize("work", [BARS, OLD])
    def test_of_work_on_bars_is_neither_a_price_nor_an_outcome(self, work: Work) -> None:
        state = batch(work)
        state.apply(RANGE, Findings(results=[success(work, bars=3)]))
        results, to_save = state.take_unsaved(0.0)
        assert results == [success(work, bars=3)]
        assert (to_save.prices, to_save.outcomes, to_save.from_bars) == ([], [], set())

    def test_of_a_price_that_bars_have_brought_says_so(self) -> None:
        state = batch(BTC, ETH)
        state.apply(BOTH, Findings(results=[success(BTC, bars=1), success(ETH)]))
        assert state.take_unsaved(0.0)[1].from_bars == {"BTCUSD"}

    def test_of_a_failure_is_the_outcome_alone(self) -> None:
        state = batch(BTC)
        state.fail(BOTH, Status.FAILED, "503")
        _, to_save = state.take_unsaved(0.0)
        assert (to_save.prices, to_save.outcomes) == ([], [Outcome("BTCUSD", Status.FAILED, "503")])

    def test_of_what_is_fresh_or_deferred_is_nothing(self) -> None:
        state = batch(BTC, ETH)
        state.judge(BTC, UP_TO_DATE)
        state.close("out of calls")
        results, to_save = state.take_unsaved(0.0)
        assert [result.status for result in results] == [Status.FRESH]
        assert to_save.is_empty


class TestHowMuchIsUnsaved:
    def test_nothing_is_never_flushed(self) -> None:
        assert not batch(BTC).should_flush(3600.0)

    def many(self, results: int) -> Batch:
        work = [Work(structs.replace(BTC.asset, symbol=f"S{number}")) for number in range(results)]
        state = batch(*work)
        state.apply(BOTH, Findings(results=[success(item) for item in work]))
        return state

    def test_so_many_results_are_much(self) -> None:
        assert not self.many(499).has_much_unsaved
        assert not self.many(499).should_flush(0.0)
        assert self.many(500).has_much_unsaved
        assert self.many(500).should_flush(0.0)

    def test_results_that_are_stored_are_not(self) -> None:
        state = self.many(500)
        state.take_unsaved(0.0)
        assert not state.should_flush(0.0)
        state.add(WorkChunk([BTC], {}))
        state.apply(BOTH, Findings(results=[success(BTC)]))
        assert not state.should_flush(0.0)

    def test_so_many_bars_of_all_assets_are_much(self) -> None:
        state = batch(BTC, ETH)
        half = [bar(START)] * 10_000
        state.apply(BOTH, Findings(bars={"BTCUSD": half, "ETHUSD": half[1:]}))
        assert not state.has_much_unsaved
        assert not state.should_flush(0.0)
        state.apply(BOTH, Findings(bars={"ETHUSD": half[:1]}))
        assert state.has_much_unsaved
        assert state.should_flush(0.0)

    def test_whatever_is_unsaved_for_so_long_is_stored_and_not_much(self) -> None:
        state = batch(BTC, ETH)
        state.apply(BOTH, Findings(results=[success(BTC)]))
        assert not state.should_flush(1.5)
        assert state.should_flush(2.0)
        assert not state.has_much_unsaved
        state.take_unsaved(2.0)
        state.apply(BOTH, Findings(bars={"ETHUSD": [bar(START)]}))
        assert not state.should_flush(2.0), "the time counts from the last save"

    def test_symbols_of_results_bars_and_coverage_are(self) -> None:
        state = batch(BTC, ETH)
        state.apply(BOTH, Findings(results=[success(BTC)]))
        assert state.unsaved_symbols == {"BTCUSD"}
        state.apply(BOTH, Findings(bars={"ETHUSD": [bar(START)]}))
        assert state.unsaved_symbols == {"BTCUSD", "ETHUSD"}
        state.take_unsaved(0.0)
        assert state.unsaved_symbols == set()


class TestWhatTheDatabaseRefuses:
    def refused(self, result: Result, rejection: Rejection, *, updated: bool = False) -> Result:
        """What is left of a result after a rejection of its symbol."""
        state = batch(result.work)
        state.apply(RANGE, Findings(results=[result]))
        results, _ = state.take_unsaved(0.0)
        saved = Saved(
            updated=[price(result.work)] if updated else [],
            unknown=[],
            rejected={result.work.asset.symbol: rejection},
        )
        (after,) = state.saved(results, saved)
        assert state.report().results == [after]
        return after

    def test_fails_for_good(self) -> None:
        after = self.refused(success(BTC), Rejection(error="too long", price=True))
        assert after == Result(
            work=BTC, status=Status.FAILED, error="the database refuses it: too long", final=True
        )

    def test_keeps_a_price_that_is_stored(self) -> None:
        after = self.refused(success(BTC, bars=1), Rejection(error="no", bars=1), updated=True)
        assert (after.status, after.price) == (Status.FAILED, price(BTC))

    @pytest.mark.parametrize(
        ("result", "rejection", "concerned"),
        [
            (success(BTC), Rejection(error="no", bars=1, price=False, failed=True), False),
            (success(BTC), Rejection(error="no", price=True, failed=False), True),
            (success(BTC, bars=1), Rejection(error="no", bars=1, price=False, failed=True), True),
            (success(BTC, bars=1), Rejection(error="no", bars=1, price=True, failed=False), False),
            (success(BARS), Rejection(error="no", price=True, failed=False), False),
            (success(BARS), Rejection(error="no", bars=1, price=False, failed=True), True),
        ],
    )
    def test_is_a_matter_of_the_work_that_brought_it(
        self, result: Result, rejection: Rejection, concerned: bool
    ) -> None:
        after = self.refused(result, rejection)
        assert (after.status is Status.FAILED) is concerned
        assert concerned or after is result

    def test_leaves_alone_what_was_fresh(self) -> None:
        fresh = Result(work=BTC, status=Status.FRESH)
        assert self.refused(fresh, Rejection(error="no", price=True)) is fresh

    def test_of_one_asset_costs_no_other(self) -> None:
        state = batch(BTC, ETH)
        state.apply(BOTH, Findings(results=[success(BTC), success(ETH)]))
        results, _ = state.take_unsaved(0.0)
        rejected = {"ETHUSD": Rejection(error="no", price=True)}
        after = state.saved(results, Saved(updated=[price(BTC)], unknown=[], rejected=rejected))
        assert [result.status for result in after] == [Status.SUCCESS, Status.FAILED]
        assert state.report().results == after

    def test_is_nothing_as_a_rule(self) -> None:
        state = batch(BTC, ETH)
        state.apply(BOTH, Findings(results=[success(BTC), success(ETH)]))
        results, _ = state.take_unsaved(0.0)
        assert state.saved(results, Saved(updated=[], unknown=[])) == results == [success(BTC), success(ETH)]


class TestARowThatAnotherTransactionHolds:
    def held(self, state: Batch, symbol: str) -> None:
        rejection = Rejection(error="held", price=True, cause=RejectionCause.LOCKED)
        state.saved([], Saved(updated=[], unknown=[], rejected={symbol: rejection}))

    def test_ends_the_work_of_its_symbol_and_leaves_the_rest(self) -> None:
        state = batch(BTC, ETH)
        state.choose([BOTH], NOW, 0)
        self.held(state, "BTCUSD")
        (result,) = state.report().results
        assert (result.work, result.status, result.fault) == (BTC, Status.FAILED, Fault.ROW_HELD)
        assert state.pending == [ETH]
        assert state.must_choose(NOW, 0), "the call was chosen for both"

    def test_ends_a_range_that_was_begun(self) -> None:
        state = with_a_page(BTC, ETH)
        self.held(state, "BTCUSD")
        assert state.next_page(NOW) is None
        assert [result.work for result in state.report().results] == [BTC]

    def test_leaves_the_range_of_another_symbol_alone(self) -> None:
        state = with_a_page(BTC, ETH)
        self.held(state, "ETHUSD")
        assert state.next_page(NOW) is not None
        assert [result.work for result in state.report().results] == [ETH]


class TestTheReport:
    def test_has_the_results_in_the_order_of_the_work(self) -> None:
        state = batch(BTC, ETH)
        state.add(WorkChunk([SOL], {}))
        state.apply(BOTH, Findings(results=[success(SOL), success(ETH), success(BTC)]))
        assert [work for work, _ in statuses(state)] == ["BTCUSD", "ETHUSD", "SOLUSD"]

    def test_adds_up_what_was_refused_and_stored(self) -> None:
        state = batch(BTC, ETH)
        for _ in range(2):
            state.apply(BOTH, Findings(bars_refused=3, prices_refused=5))
            saved = Saved(
                updated=[price(BTC), price(ETH)],
                unknown=[],
                bars_new=7,
                bars_changed=11,
                rejected={"BTCUSD": Rejection(error="no", bars=13), "ETHUSD": Rejection(error="no", bars=17)},
            )
            assert state.saved([], saved) == []
        report = state.report()
        assert (report.bars_refused, report.prices_refused) == (2 * (3 + 13 + 17), 10)
        assert (report.bars_new, report.bars_corrected, report.published) == (14, 22, 4)

    def test_of_nothing_has_nothing(self) -> None:
        report = batch(BTC).report()
        numbers = (report.calls, report.bars_new, report.bars_corrected, report.bars_refused)
        assert numbers == (0, 0, 0, 0)
        assert (report.prices_refused, report.published, report.provider_down) == (0, 0, False)
        assert (report.outage_hint, report.too_many_calls, report.results) == (None, False, [])

    @pytest.mark.parametrize(
        ("calls", "outages", "answers", "is_down"),
        [(0, 0, 0, False), (1, 1, 0, True), (2, 2, 0, True), (2, 1, 0, False), (1, 1, 1, False)],
    )
    def test_finds_the_provider_down_where_every_call_did(
        self, calls: int, outages: int, answers: int, is_down: bool
    ) -> None:
        state = batch(BTC)
        for _ in range(calls):
            state.begin(Request(BOTH, NOW))
        for _ in range(outages):
            state.refused(Refusal(RefusalKind.PROVIDER_DOWN, "503"))
        for _ in range(answers):
            state.answered(BOTH, Findings())
        assert state.report().provider_down is is_down

    def test_tells_of_a_refused_rate_and_what_to_do_where_the_provider_is_down(self) -> None:
        state = batch(BTC)
        state.refused(Refusal(RefusalKind.TOO_MANY_CALLS, "slow down"))
        outage = Refusal(RefusalKind.PROVIDER_DOWN, "503")
        outage.hint = "look at the status page"
        state.refused(outage)
        report = state.report()
        assert (report.too_many_calls, report.outage_hint) == (True, "look at the status page")
        assert report.refused_key is None

    def test_tells_what_the_provider_says_of_a_refused_key(self) -> None:
        state = batch(BTC)
        state.refused(Refusal(RefusalKind.KEY, "unknown key"))
        assert state.report().refused_key == "unknown key"


def test_who_owns_nothing_loses_nothing() -> None:
    owner = WorkOwner()
    assert (list(owner.lost_leases([BTC])), list(owner.hand_back([BTC]))) == ([], [])
