"""What is asked for stocks and indices: on which days, in which calls, and what a refusal says of others."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime
from typing import cast

import msgspec
import pytest
from msgspec import structs

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.calls import BarsCall, GroupedDayCall, PreviousDayCall, SnapshotCall, choose_calls
from assetbatch.domain.due import assess
from assetbatch.domain.entitlements import Entitlements, Restriction, restriction_in_words
from assetbatch.domain.market_hours import new_york_zone, to_ms
from assetbatch.domain.models import Bar, CoveredInterval, DayBar, IntervalState, Price, StoredAsset
from assetbatch.domain.reasons import Reason
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.status import Status
from assetbatch.domain.units import DAY_MS, HOUR_MS, MINUTE_MS
from assetbatch.domain.work import Work
from assetbatch.provider.answers import BarsAnswer, PricesAnswer
from assetbatch.provider.refusals import Refusal
from assetbatch.refresh.endpoints.bars import BarsEndpoint, bars_findings
from assetbatch.refresh.endpoints.grouped_day import GroupedDayEndpoint
from assetbatch.refresh.endpoints.prices import prices_findings
from assetbatch.refresh.learner import Learner
from assetbatch.refresh.reporter import Reporter
from assetbatch.state.entitlement_store import EntitlementStore
from tests.unit.test_learner import Recorder

STOCKS, INDICES = AssetType.STOCKS, AssetType.INDICES


def new_york(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=new_york_zone()))


def stock(ticker: str, bars: BarSize = BarSize.NONE) -> Asset:
    return Asset(symbol=ticker, polygon_ticker=ticker, asset_type=STOCKS, bars=bars)


def index(ticker: str) -> Asset:
    return Asset(symbol=ticker, polygon_ticker=f"I:{ticker}", asset_type=INDICES)


AAPL, SPY, BRK = stock("AAPL"), stock("SPY"), stock("BRK.B")
NDX, SPX, DJI = index("NDX"), index("SPX"), index("DJI")
TUESDAY = new_york("2026-11-17T00:00")
"""A day on which Monday's data can be seen."""
MONDAYS_CLOSE = new_york("2026-11-16T16:00")


def free() -> Entitlements:
    """The free plan, which has refused the running day today."""
    known = Entitlements(end_of_day=True)
    for asset_type in AssetType:
        known.refused(Restriction.TODAY, asset_type, "no", TUESDAY - HOUR_MS, ticker="ANY")
    return known


def at(as_of_ms: int, sync_ms: int | None = None, status: Status = Status.SUCCESS) -> StoredAsset:
    """A price that was refreshed some time after its moment."""
    sync_ms = as_of_ms + 9 * HOUR_MS if sync_ms is None else sync_ms
    return StoredAsset(
        symbol="AAPL",
        last_price=1.0,
        as_of_ms=as_of_ms,
        fetched_to_ms=as_of_ms,
        last_sync_ms=sync_ms,
        sync_status=status,
        status_at_ms=sync_ms,
    )


class TestTheFreePlan:
    def test_asks_for_the_day_of_all_stocks_in_one_call(self) -> None:
        now_ms = TUESDAY + 6 * MINUTE_MS
        (call,) = choose_calls([Work(AAPL), Work(SPY), Work(BRK)], {}, free(), now_ms)
        assert isinstance(call, GroupedDayCall)
        assert (call.asset_type, call.day, len(call.work)) == (STOCKS, date(2026, 11, 16), 3)

    def test_asks_so_for_a_single_stock_too_whose_close_no_minute_says(self) -> None:
        (call,) = choose_calls([Work(AAPL)], {}, free(), TUESDAY + HOUR_MS)
        assert isinstance(call, GroupedDayCall)

    def test_asks_for_ranges_of_stocks_that_keep_bars_and_of_indices(self) -> None:
        work = [Work(stock("AAPL", BarSize.FIVE_MINUTES)), Work(NDX)]
        calls = choose_calls(work, {}, free(), TUESDAY + HOUR_MS)
        assert [type(call) for call in calls] == [BarsCall, BarsCall]
        assert {call.end_ms for call in calls if isinstance(call, BarsCall)} == {TUESDAY - 1}

    @pytest.mark.parametrize(("minutes", "due"), [(0, False), (4, False), (5, True), (6, True)])
    @pytest.mark.parametrize("asset", [AAPL, NDX, stock("SPY", BarSize.ONE_MINUTE)])
    def test_asks_for_a_day_five_minutes_after_its_midnight(
        self, asset: Asset, minutes: int, due: bool
    ) -> None:
        fridays = at(new_york("2026-11-13T16:00"))
        verdict = assess(Work(asset), fridays, free(), TUESDAY + minutes * MINUTE_MS)
        assert (verdict.due, verdict.why.reason) == (due, Reason.NEWLY_VISIBLE if due else Reason.COMPLETE)

    def test_asks_for_currencies_at_midnight_as_ever(self) -> None:
        euro = Asset(symbol="EURUSD", polygon_ticker="C:EURUSD", asset_type=AssetType.FOREX)
        assert assess(Work(euro), at(new_york("2026-11-16T00:00")), free(), TUESDAY).due

    def test_finds_a_refresh_before_the_day_could_be_asked_for_no_refresh_of_it(self) -> None:
        before = at(new_york("2026-11-13T16:00"), TUESDAY + 2 * MINUTE_MS)
        verdict = assess(Work(AAPL), before, free(), TUESDAY + 5 * MINUTE_MS)
        assert verdict.why.reason is Reason.NEWLY_VISIBLE


class TestAClosedDay:
    """Nothing is asked for, and nothing is stale."""

    @pytest.mark.parametrize(
        ("close", "asked_up_to"),
        [
            ("2026-11-13T16:00", "2026-11-16T23:59"),  # a weekend
            ("2026-11-25T16:00", "2026-11-27T23:59"),  # Thanksgiving
            ("2026-11-27T13:00", "2026-11-30T23:59"),  # an early close, and a weekend
            ("2025-01-08T16:00", "2025-01-10T23:59"),  # the funeral of 9 January
            ("2026-04-02T16:00", "2026-04-06T23:59"),  # Good Friday, and a weekend
        ],
    )
    @pytest.mark.parametrize("asset", [AAPL, NDX, stock("SPY", BarSize.FIVE_MINUTES)])
    def test_leaves_the_last_close_complete(self, asset: Asset, close: str, asked_up_to: str) -> None:
        close_ms, until_ms = new_york(close), new_york(asked_up_to)
        stored = at(close_ms)
        for known in (Entitlements(end_of_day=True), Entitlements(end_of_day=False)):
            paid = known.may_ask_today(STOCKS, close_ms)
            first_ms = close_ms + 9 * HOUR_MS
            opens_ms = until_ms - 14 * HOUR_MS - 29 * MINUTE_MS if paid else until_ms  # 09:30 of the day
            for now_ms in range(first_ms, opens_ms, 97 * MINUTE_MS):
                verdict = assess(Work(asset), stored, known, now_ms)
                assert (verdict.due, verdict.why.reason) == (False, Reason.COMPLETE), now_ms

    @pytest.mark.parametrize(
        ("close", "after"),
        [
            ("2026-11-13T16:00", "2026-11-17T00:05"),
            ("2026-11-25T16:00", "2026-11-28T00:05"),  # Friday after Thanksgiving closes at 13:00
            ("2025-01-08T16:00", "2025-01-11T00:05"),
        ],
    )
    def test_ends_with_the_first_day_that_was_open(self, close: str, after: str) -> None:
        verdict = assess(Work(AAPL), at(new_york(close)), Entitlements(end_of_day=True), new_york(after))
        assert verdict.due


class TestADayThatIsNotPublished:
    """An unscheduled closure: there is nothing of that day, and nobody knows why."""

    def test_is_asked_for_after_longer_and_longer_pauses(self) -> None:
        known, now_ms, asked = free(), TUESDAY + 5 * MINUTE_MS, 0
        while now_ms < TUESDAY + DAY_MS:
            if known.last_day_end_ms(STOCKS, now_ms) == TUESDAY:
                asked += 1
                known.refused(Restriction.LAST_DAY, STOCKS, "no", now_ms, ticker="SPY", edge_ms=TUESDAY)
            now_ms += MINUTE_MS
        assert asked == 10

    @pytest.mark.parametrize("minutes", [5, 100, 23 * 60, 24 * 60 + 2])
    def test_holds_back_no_later_day(self, minutes: int) -> None:
        known = free()
        refused_ms = TUESDAY + minutes * MINUTE_MS
        known.refused(Restriction.LAST_DAY, STOCKS, "no", refused_ms, ticker="SPY", edge_ms=TUESDAY)
        assert known.last_day_end_ms(STOCKS, refused_ms + 1) == TUESDAY - DAY_MS
        wednesday = TUESDAY + DAY_MS
        assert known.last_day_end_ms(STOCKS, wednesday + 5 * MINUTE_MS) == wednesday

    def test_that_a_call_at_midnight_reaches_to_is_the_running_day(self) -> None:
        """The day before is asked for five minutes later, and so is no last day yet."""
        work = (Work(stock("AAPL", BarSize.FIVE_MINUTES)),)
        call = BarsCall(work, TUESDAY - DAY_MS, TUESDAY - 1)
        shown = BarsEndpoint().restriction(call, RefusalKind.TODAY_NOT_YET, TUESDAY)
        assert shown is not None
        assert shown.restriction is Restriction.TODAY
        later = BarsEndpoint().restriction(call, RefusalKind.TODAY_NOT_YET, TUESDAY + 5 * MINUTE_MS)
        assert later == (Restriction.LAST_DAY, TUESDAY)


class TestADayOfAllStocks:
    """One call a day: what it leaves out was not traded."""

    NOW = TUESDAY + 6 * MINUTE_MS
    CALL = GroupedDayCall((Work(AAPL), Work(SPY)), STOCKS, date(2026, 11, 16))
    BAR = DayBar(date(2026, 11, 16), 1.0, 1.0, 1.0, 1.0)

    @pytest.fixture
    def known(self) -> Entitlements:
        return free()

    @pytest.fixture
    def told(self, known: Entitlements) -> Recorder:
        return Recorder()

    def observe(self, known: Entitlements, told: Recorder, answer: PricesAnswer, now_ms: int = NOW) -> None:
        learner = Learner(known, cast("EntitlementStore", told), cast("Reporter", told))
        GroupedDayEndpoint().observe(self.CALL, answer, now_ms, learner, cast("Reporter", told))

    def answer(self, **days: DayBar) -> PricesAnswer:
        prices: dict[str, Price] = {
            ticker: Price(symbol=ticker, last_price=1.0, as_of_ms=MONDAYS_CLOSE)
            for ticker in ("AAPL", "SPY")
            if ticker in days
        }
        return PricesAnswer(prices=prices, errors={}, empty=frozenset(), refused=Counter(), days=days)

    def test_leaves_a_stock_that_was_not_traded_alone_until_the_next_day(
        self, known: Entitlements, told: Recorder
    ) -> None:
        stored = at(new_york("2026-11-13T16:00"), self.NOW + 100)
        assert assess(Work(AAPL), stored, known, self.NOW + HOUR_MS).due
        self.observe(known, told, self.answer(SPY=self.BAR))
        for hours in (1, 5, 23):
            verdict = assess(Work(AAPL), stored, known, self.NOW + hours * HOUR_MS)
            assert (verdict.due, verdict.why.reason) == (False, Reason.NOT_TRADED)
        assert assess(Work(AAPL), stored, known, self.NOW + DAY_MS).due

    def test_that_lacks_most_stocks_may_not_be_whole(self, known: Entitlements, told: Recorder) -> None:
        stored = at(new_york("2026-11-13T16:00"), self.NOW + 100)
        self.observe(known, told, self.answer(OTHER=self.BAR))
        assert assess(Work(AAPL), stored, known, self.NOW + HOUR_MS).due

    def test_says_nothing_of_a_stock_that_was_refreshed_before_it(
        self, known: Entitlements, told: Recorder
    ) -> None:
        stored = at(new_york("2026-11-13T16:00"), self.NOW - 1)
        self.observe(known, told, self.answer(SPY=self.BAR))
        assert assess(Work(AAPL), stored, known, self.NOW + HOUR_MS).due
        assert assess(Work(AAPL), None, known, self.NOW + HOUR_MS).due

    def test_leaves_a_stock_without_any_price_alone_until_the_next_day(
        self, known: Entitlements, told: Recorder
    ) -> None:
        self.observe(known, told, self.answer(SPY=self.BAR))
        stored = StoredAsset(symbol="AAPL", sync_status=Status.NO_DATA, status_at_ms=self.NOW + 100)
        verdict = assess(Work(AAPL), stored, known, self.NOW + 10 * HOUR_MS)
        assert (verdict.due, verdict.paused, verdict.why.reason) == (False, True, Reason.NOT_TRADED)
        assert assess(Work(AAPL), stored, known, self.NOW + DAY_MS).due

    @pytest.mark.parametrize(("useless", "has_come"), [(0, True), (1, False)])
    def test_has_come_if_most_of_its_rows_are_bars(
        self, known: Entitlements, useless: int, *, has_come: bool
    ) -> None:
        answer = msgspec.structs.replace(self.answer(SPY=self.BAR), useless_days=useless)
        findings = GroupedDayEndpoint().findings(self.CALL, self.CALL.work, None, answer, {}, known, self.NOW)
        assert (findings.market_day is not None) is has_come

    def test_that_has_nothing_is_not_published_yet(self, known: Entitlements, told: Recorder) -> None:
        self.observe(known, told, self.answer())
        assert known.last_day_end_ms(STOCKS, self.NOW) == new_york("2026-11-16T00:00")
        assert known.last_day_end_ms(INDICES, self.NOW) == TUESDAY
        findings = GroupedDayEndpoint().findings(
            self.CALL, self.CALL.work, None, self.answer(), {}, known, self.NOW
        )
        assert findings.results == ()
        (call,) = choose_calls(self.CALL.work, {}, known, self.NOW)
        assert isinstance(call, GroupedDayCall)
        assert call.day == date(2026, 11, 13)
        assert known.last_day_end_ms(STOCKS, self.NOW + 15 * MINUTE_MS) == TUESDAY

    def test_that_has_nothing_although_a_range_had_is_no_news(
        self, known: Entitlements, told: Recorder
    ) -> None:
        known.saw(STOCKS, MONDAYS_CLOSE, self.NOW, market_open=False)
        self.observe(known, told, self.answer())
        assert known.last_day_end_ms(STOCKS, self.NOW) == TUESDAY

    def test_is_remembered_beside_what_else_was_seen(self, known: Entitlements, told: Recorder) -> None:
        self.observe(known, told, self.answer(SPY=self.BAR))
        known.saw(STOCKS, MONDAYS_CLOSE, self.NOW + HOUR_MS, market_open=False)
        assert known.whole_day_at_ms(STOCKS, MONDAYS_CLOSE) == self.NOW
        assert known.whole_day_at_ms(STOCKS, TUESDAY + 1) is None


class TestARefusedDayOfAllStocks:
    CALL = GroupedDayCall((Work(AAPL), Work(SPY)), STOCKS, date(2026, 11, 16))

    @pytest.mark.parametrize(
        ("shown_days_ago", "minutes", "restriction"),
        [
            (1, 5, Restriction.LAST_DAY),
            (4, 110, Restriction.LAST_DAY),
            (1, 121, Restriction.GROUPED),
            (6, 5, Restriction.GROUPED),
            (None, 5, Restriction.GROUPED),
        ],
    )
    def test_is_not_believed_at_once_if_days_were_shown_lately(
        self, shown_days_ago: int | None, minutes: int, restriction: Restriction
    ) -> None:
        """Without grouped days each of thousands of stocks would cost a call."""
        known, told, now_ms = free(), Recorder(), TUESDAY + minutes * MINUTE_MS
        if shown_days_ago is not None:
            known.saw_day(STOCKS, TUESDAY - DAY_MS, TUESDAY - shown_days_ago * DAY_MS)
        learner = Learner(known, cast("EntitlementStore", told), cast("Reporter", told))
        shown = GroupedDayEndpoint().restriction(self.CALL, RefusalKind.NOT_IN_PLAN, now_ms)
        assert shown is not None
        learner.refused(self.CALL, shown, "no", now_ms)
        assert told.said[0][0] is restriction
        calls = choose_calls(self.CALL.work, {}, known, now_ms)
        assert {type(call) for call in calls} == {
            GroupedDayCall if restriction is Restriction.LAST_DAY else BarsCall
        }


class TestARefusedIndex:
    def test_is_its_own_matter_however_many_there_are(self) -> None:
        known = free()
        for restriction in (Restriction.BARS, Restriction.PREVIOUS_DAY, Restriction.INTRADAY):
            for refused in (SPX, DJI, index("RUT"), index("VIX")):
                known.refused(restriction, INDICES, "no", TUESDAY, ticker=refused.polygon_ticker)
        now_ms = TUESDAY + HOUR_MS
        assert not known.intraday(INDICES, now_ms, "I:SPX")
        assert not assess(Work(SPX), None, known, now_ms).due
        assert known.intraday(INDICES, now_ms, "I:NDX")
        assert assess(Work(NDX), None, known, now_ms).due
        (call,) = choose_calls([Work(NDX)], {}, known, now_ms)
        assert isinstance(call, BarsCall)

    @pytest.mark.parametrize(
        ("refused", "again", "by_today", "due"),
        [
            ("2026-11-20T00:06", "2026-11-21T00:07", False, True),  # Friday's session can be seen
            ("2026-11-21T00:07", "2026-11-22T00:08", False, False),
            ("2026-11-21T00:07", "2026-11-23T12:00", False, False),
            ("2026-11-21T00:07", "2026-11-24T00:05", False, True),
            ("2026-11-20T12:00", "2026-11-21T12:01", True, False),
            ("2026-11-20T12:00", "2026-11-23T09:00", True, True),
        ],
    )
    def test_is_not_tried_again_before_another_session(
        self, refused: str, again: str, by_today: bool, due: bool
    ) -> None:
        stored = StoredAsset(symbol="SPX", sync_status=Status.NOT_ENTITLED, status_at_ms=new_york(refused))
        known = Entitlements(end_of_day=not by_today)
        assert assess(Work(SPX), stored, known, new_york(again)).due is due

    def test_is_told_by_its_name(self) -> None:
        known = free()
        for refused in (SPX, DJI):
            found = known.refused(Restriction.BARS, INDICES, "no", TUESDAY, ticker=refused.polygon_ticker)
        assert restriction_in_words(found).startswith("your plan has no bars of I:SPX, I:DJI by range")

    def test_of_a_snapshot_condemns_no_other(self) -> None:
        refusal = Refusal(RefusalKind.NOT_IN_PLAN, "no")
        work = (Work(SPX), Work(DJI))
        errors = {item.asset.polygon_ticker: refusal for item in work}
        answer = PricesAnswer(prices={}, errors=errors, empty=frozenset(), refused=Counter())
        findings = prices_findings(SnapshotCall(work), work, answer, {}, TUESDAY)
        assert [one.ticker for one in findings.refused_classes] == ["I:SPX", "I:DJI"]
        assert findings.results == []


class TestRefusedStocks:
    def test_condemn_the_others_if_there_are_two(self) -> None:
        bars = BarSize.FIVE_MINUTES
        known, now_ms = free(), TUESDAY + HOUR_MS
        known.refused(Restriction.BARS, STOCKS, "no", TUESDAY, ticker="AAPL")
        assert known.intraday(STOCKS, now_ms, "SPY")
        known.refused(Restriction.BARS, STOCKS, "no", TUESDAY, ticker="BRK.B")
        (call,) = choose_calls([Work(stock("SPY", bars))], {}, known, now_ms)
        assert isinstance(call, GroupedDayCall)
        known.refused(Restriction.GROUPED, STOCKS, "no", TUESDAY, ticker="SPY")
        (call,) = choose_calls([Work(stock("SPY", bars))], {}, known, now_ms)
        assert isinstance(call, PreviousDayCall)
        for ticker in ("AAPL", "BRK.B"):
            known.refused(Restriction.PREVIOUS_DAY, STOCKS, "no", TUESDAY, ticker=ticker)
        assert assess(Work(stock("SPY", bars)), None, known, now_ms).why.reason is Reason.NOT_IN_PLAN
        assert assess(Work(NDX), None, known, now_ms).due


class TestBarsBesideTheSession:
    CALL_START, CALL_END = new_york("2026-11-27T00:00"), new_york("2026-11-28T00:00")
    """The Friday after Thanksgiving, which closes at 13:00, and at 17:00 with extended hours."""
    TIMES = ("04:00", "09:25", "09:30", "12:55", "13:00", "15:55", "16:55")

    def kept(self, asset: Asset) -> tuple[list[str], float, int]:
        bars = [
            Bar(new_york(f"2026-11-27T{time}"), n + 1.0, n + 1.0, n + 1.0, n + 1.0)
            for n, time in enumerate(self.TIMES)
        ]
        call = BarsCall((Work(asset),), self.CALL_START, self.CALL_END - 1)
        answer = BarsAnswer(
            ticker=asset.polygon_ticker,
            start_ms=call.start_ms,
            end_ms=call.end_ms,
            bars=bars,
            refused=Counter(),
        )
        now_ms = self.CALL_END + HOUR_MS
        findings = bars_findings(call, call.work, None, answer, {}, free(), now_ms)
        starts = {bar.t_ms: time for bar, time in zip(bars, self.TIMES, strict=True)}
        price = findings.results[0].price
        assert price is not None
        stored = findings.bars[asset.symbol]
        return [starts[bar.t_ms] for bar in stored], price.last_price, price.as_of_ms

    def test_are_not_kept(self) -> None:
        times, last_price, as_of_ms = self.kept(stock("AAPL", BarSize.FIVE_MINUTES))
        assert times == ["09:30", "12:55"]
        assert (last_price, as_of_ms) == (4.0, new_york("2026-11-27T13:00"))

    def test_are_kept_with_extended_hours(self) -> None:
        asset = structs.replace(stock("AAPL", BarSize.FIVE_MINUTES), extended_hours=True)
        times, last_price, as_of_ms = self.kept(asset)
        assert times == list(self.TIMES)
        assert (last_price, as_of_ms) == (7.0, new_york("2026-11-27T17:00"))

    def test_of_currencies_are_kept_as_ever(self) -> None:
        euro = Asset(symbol="EURUSD", polygon_ticker="C:EURUSD", asset_type=AssetType.FOREX)
        assert self.kept(euro)[0] == list(self.TIMES)

    def test_are_no_reason_to_ask_again(self) -> None:
        """The pages of a session that was asked for are complete, whatever came beside it."""
        covered = (CoveredInterval(self.CALL_START, self.CALL_END, IntervalState.ASKED),)
        stored = structs.replace(at(new_york("2026-11-27T13:00")), coverage=covered)
        asset = stock("AAPL", BarSize.FIVE_MINUTES)
        assert not assess(Work(asset), stored, free(), self.CALL_END + HOUR_MS).due
