"""When a backfill will be there, and in which order its pages come."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.commands.backfill import (
    BackfillPlan,
    BackfillReport,
    SymbolBackfill,
    interleaved,
    plan_backfill,
)
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.coverage import record
from assetbatch.domain.entitlements import Entitlements, Restriction
from assetbatch.domain.forecast import Forecast, estimate
from assetbatch.domain.market_hours import start_of_day
from assetbatch.domain.models import CoveredInterval, IntervalFault, IntervalState, StoredAsset
from assetbatch.domain.ranges import calls_saved
from assetbatch.domain.units import DAY_MS, HOUR_MS
from assetbatch.domain.work import Work, WorkKind
from assetbatch.views.terminal.backfill import plan_lines

MINUTE = 60_000
NOW = 1_800_000_000_000


def forecast(
    calls: int, *, limit: int = 5, window_ms: int = MINUTE, priority: int = 0, call_seconds: float = 0.0
) -> Forecast:
    return estimate(
        calls=calls,
        limit=limit,
        window_ms=window_ms,
        priority_calls=priority,
        interval_ms=5 * MINUTE,
        call_seconds=call_seconds,
        now_ms=NOW,
    )


def told_of(symbols: list[SymbolBackfill]) -> BackfillReport:
    return BackfillReport(symbols=symbols, queued=0, waiting_for_room=0, forecast=forecast(0))


class TestForecast:
    def test_goes_by_the_free_budget(self) -> None:
        told = forecast(214)
        assert (told.calls, told.calls_per_minute, told.minutes) == (214, 5.0, 42.8)
        assert told.done_ms == NOW + 30_000 + round(42.8 * MINUTE)

    def test_leaves_priority_what_it_takes(self) -> None:
        assert forecast(44, priority=3).calls_per_minute == 4.4

    def test_on_an_unlimited_plan_goes_by_how_long_a_call_takes(self) -> None:
        told = forecast(500, limit=100, window_ms=1000, call_seconds=0.2)
        assert (told.calls_per_minute, told.minutes) == (250.0, 2.0)

    def test_of_nothing_is_now(self) -> None:
        assert forecast(0).done_ms == NOW

    @given(st.integers(1, 10_000), st.integers(1, 100), st.integers(0, 500))
    def test_ends_even_where_priority_wants_more_than_there_is(
        self, calls: int, limit: int, priority: int
    ) -> None:
        told = forecast(calls, limit=limit, priority=priority)
        assert NOW < told.done_ms < NOW + calls * 100 * MINUTE + MINUTE


@pytest.mark.parametrize(
    ("pages", "order"),
    [
        ({"A": 3, "B": 1}, ["A0", "B0", "A1", "A2"]),
        ({"A": 0, "B": 2}, ["B0", "B1"]),
        ({}, []),
    ],
)
def test_the_newest_pages_of_all_symbols_come_first(pages: dict[str, int], order: list[str]) -> None:
    def page(symbol: str, number: int) -> Work:
        asset = Asset(symbol=symbol, polygon_ticker=f"C:{symbol}", asset_type=AssetType.FOREX)
        day = date(2026, 1, 28 - number)
        return Work(asset, WorkKind.HISTORY, day, day)

    work = interleaved([[page(symbol, n) for n in range(count)] for symbol, count in pages.items()])
    assert [f"{item.asset.symbol}{28 - item.first_day.day}" for item in work if item.first_day] == order


def test_of_pages_that_find_no_room_none_is_worked_out() -> None:
    worked_out = []

    def pages(symbol: str) -> Iterator[Work]:
        asset = Asset(symbol=symbol, polygon_ticker=f"C:{symbol}", asset_type=AssetType.FOREX)
        for day in (date(2026, 1, 28), date(2026, 1, 27)):
            worked_out.append(symbol)
            yield Work(asset, WorkKind.HISTORY, day, day)

    found = islice(interleaved(pages(symbol) for symbol in "ABC"), 2)
    assert [item.asset.symbol for item in found] == ["A", "B"]
    assert len(worked_out) <= 3, "the first of each, at most"


class TestAPlan:
    """Of ten days of a market that never closes; the first has 25 hours."""

    BTC = Asset(symbol="BTCUSD", polygon_ticker="X:BTCUSD", asset_type=AssetType.CRYPTO)
    NOW = start_of_day(date(2026, 11, 18))
    WANTED = (start_of_day(date(2026, 11, 1)), start_of_day(date(2026, 11, 11)))

    def plan(
        self,
        gaps: list[tuple[int, int]],
        spans: tuple[CoveredInterval, ...] = (),
        known: Entitlements | None = None,
        *,
        again: bool = False,
    ) -> BackfillPlan:
        stored = {"BTCUSD": StoredAsset(symbol="BTCUSD", coverage=spans)}
        known = known or Entitlements(end_of_day=True)
        ranges = {"BTCUSD": self.WANTED}
        return plan_backfill([self.BTC], stored, {"BTCUSD": gaps}, known, ranges, self.NOW, again=again)

    def test_of_an_empty_table_wants_it_all(self) -> None:
        plan = self.plan([self.WANTED])
        assert [(item.first_day, item.last_day) for item in plan.work] == [
            (date(2026, 11, 1), date(2026, 11, 10))
        ]
        assert plan.intervals == {"BTCUSD": [CoveredInterval(*self.WANTED, IntervalState.REQUESTED)]}
        assert plan.symbols[0].complete == 0.0

    def test_of_what_the_plan_refuses_wants_it_all_and_expects_no_call(self) -> None:
        known = Entitlements(end_of_day=True)
        known.refused(Restriction.BARS, AssetType.CRYPTO, "no", self.NOW, ticker="X:BTCUSD")
        plan = self.plan([self.WANTED], known=known)
        (report,) = plan.symbols
        assert report.refused
        assert list(plan_lines(told_of([report]))) == [
            "BTCUSD: 0.0 % is there; your plan has no bars of it now"
        ]
        ids = [item.id for item in plan.work]
        assert len(ids) == 1
        for told, saved in ((known, 1), (Entitlements(end_of_day=True), 0)):
            assert calls_saved(ids, [self.BTC], {}, told, {}, self.NOW) == saved

    def test_takes_bars_that_others_have_stored_for_complete(self) -> None:
        plan = self.plan([])
        assert plan.work == []
        assert plan.intervals == {"BTCUSD": [CoveredInterval(*self.WANTED, IntervalState.ASKED)]}
        assert plan.symbols[0].complete == 1.0

    def test_wants_the_days_of_a_gap_and_no_others(self) -> None:
        day_ms = start_of_day(date(2026, 11, 5))
        plan = self.plan([(day_ms + HOUR_MS, day_ms + 2 * HOUR_MS)])
        start_ms, end_ms = self.WANTED
        states = [(one.start_ms, one.end_ms, one.state) for one in plan.intervals["BTCUSD"]]
        assert sorted(states) == [
            (start_ms, day_ms, IntervalState.ASKED),
            (day_ms, day_ms + DAY_MS, IntervalState.REQUESTED),
            (day_ms + DAY_MS, end_ms, IntervalState.ASKED),
        ]
        assert plan.symbols[0].complete == pytest.approx(1 - 1 / 241)

    def test_asks_for_nothing_that_was_asked_for(self) -> None:
        asked = CoveredInterval(*self.WANTED, IntervalState.ASKED, self.NOW)
        plan = self.plan([self.WANTED], (asked,))
        assert (plan.work, plan.intervals) == ([], {"BTCUSD": []})

    def test_insists_on_all_whatever_is_known_of_it_and_calls_nothing_missing_that_is_there(self) -> None:
        start_ms, end_ms = self.WANTED
        middle_ms = start_of_day(date(2026, 11, 6))
        asked = CoveredInterval(start_ms, middle_ms, IntervalState.ASKED, self.NOW)
        plan = self.plan([], (asked,), again=True)
        assert [(item.first_day, item.last_day) for item in plan.work] == [
            (date(2026, 11, 1), date(2026, 11, 10))
        ]
        assert plan.intervals["BTCUSD"] == [
            CoveredInterval(middle_ms, end_ms, IntervalState.REQUESTED),
            CoveredInterval(start_ms, middle_ms, IntervalState.AGAIN),
        ]
        assert (plan.symbols[0].complete, plan.symbols[0].new_pages) == (1.0, 1)

    def test_that_insists_again_shows_the_pages_that_are_left(self) -> None:
        again = CoveredInterval(*self.WANTED, IntervalState.AGAIN)
        plan = self.plan([], (again,), again=True)
        assert (len(plan.work), plan.symbols[0].new_pages) == (1, 0)

    def test_that_does_not_insist_leaves_alone_what_another_one_wants_again(self) -> None:
        again = CoveredInterval(*self.WANTED, IntervalState.AGAIN)
        assert self.plan([], (again,)).intervals == {"BTCUSD": []}

    @pytest.mark.parametrize(("hours", "calls"), [(5, 0), (6, 1)])
    def test_leaves_what_was_answered_with_nothing_for_six_hours(self, hours: int, calls: int) -> None:
        asked_ms = self.NOW - hours * HOUR_MS
        nothing = CoveredInterval(
            *self.WANTED, IntervalState.FAILED, asked_ms, "nothing", IntervalFault.UNCONFIRMED
        )
        plan = self.plan([self.WANTED], (nothing,))
        assert (len(plan.work), plan.symbols[0].complete) == (calls, 0.0)
        assert record((nothing,), plan.intervals["BTCUSD"]) == [nothing]

    def test_that_insists_forgets_what_was_answered_with_nothing(self) -> None:
        asked_ms = self.NOW - HOUR_MS
        nothing = CoveredInterval(
            *self.WANTED, IntervalState.FAILED, asked_ms, "nothing", IntervalFault.UNCONFIRMED
        )
        plan = self.plan([self.WANTED], (nothing,), again=True)
        assert len(plan.work) == 1
        assert record((nothing,), plan.intervals["BTCUSD"]) == [
            CoveredInterval(*self.WANTED, IntervalState.REQUESTED)
        ]

    def test_leaves_out_what_is_older_than_the_plan_shows(self) -> None:
        known = Entitlements(end_of_day=True)
        edge_ms = start_of_day(date(2026, 11, 8))
        known.refused(
            Restriction.HISTORY, AssetType.CRYPTO, "old", self.NOW - 1, ticker="X:BTCUSD", edge_ms=edge_ms
        )
        plan = self.plan([self.WANTED], known=known)
        assert plan.symbols[0].too_old_before_ms == edge_ms
        assert plan.intervals["BTCUSD"] == [
            CoveredInterval(self.WANTED[0], edge_ms, IntervalState.NOT_IN_PLAN),
            CoveredInterval(edge_ms, self.WANTED[1], IntervalState.REQUESTED),
        ]
