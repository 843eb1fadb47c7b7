"""Longer pages of the past: whatever the provider counts, nothing is missing, and no call is more than
with 34 days."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from enum import StrEnum
from functools import cache

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assetbatch.commands.backfill import interleaved, plan_backfill
from assetbatch.domain.asset_classes import AssetType, Market
from assetbatch.domain.assets import Asset
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.calls import BarsCall, choose_calls
from assetbatch.domain.coverage import record, unanswered
from assetbatch.domain.due import assess
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.market_hours import (
    days_span,
    open_intervals,
    open_ms_between,
    start_of_day,
    years_before,
)
from assetbatch.domain.models import (
    BAR_MS,
    Bar,
    CoveredInterval,
    IntervalState,
    StoredAsset,
    floor_to_bar,
)
from assetbatch.domain.pages import LENGTH_KEPT_MS, PageLength
from assetbatch.domain.ranges import newest_to_ask
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.units import DAY_MS, HOUR_MS, MINUTE_MS
from assetbatch.domain.work import Work
from assetbatch.provider.answers import BarsAnswer
from assetbatch.refresh.endpoints.bars import BarsEndpoint, bars_findings, too_old
from assetbatch.refresh.interpretation import CONSEQUENCES, Page

NOW = start_of_day(date(2026, 11, 18)) + 10 * HOUR_MS
EURUSD = Asset(symbol="EURUSD", polygon_ticker="C:EURUSD", asset_type=AssetType.FOREX)
GBPUSD = Asset(symbol="GBPUSD", polygon_ticker="C:GBPUSD", asset_type=AssetType.FOREX)
GOLD = Asset(symbol="XAUUSD", polygon_ticker="C:XAUUSD", asset_type=AssetType.FOREX)
BTCUSD = Asset(symbol="BTCUSD", polygon_ticker="X:BTCUSD", asset_type=AssetType.CRYPTO)
ZZUSD = Asset(symbol="ZZUSD", polygon_ticker="X:ZZUSD", asset_type=AssetType.CRYPTO)
ASSETS = (EURUSD, GBPUSD, GOLD, BTCUSD, ZZUSD)


class Counting(StrEnum):
    """What the provider cuts an answer by."""

    STORED = "stored minutes"
    WALL = "minutes of time"
    MONTH = "a month"


@cache
def open_bars(market: Market) -> list[int]:
    """The starts of all bars of a market, of three years."""
    return [
        t_ms
        for opens_ms, closes_ms in open_intervals(market, NOW - 1_000 * DAY_MS, NOW)
        for t_ms in range(opens_ms, closes_ms, BAR_MS)
    ]


class Vendor:
    """Has a bar of five minutes for each five that are open, or for each of so many of a thin symbol.

    So many `minutes` of each were traded. Answers for more than 34 days leave out a hole, `(after, length)`.
    """

    def __init__(
        self,
        counting: Counting,
        *,
        silent: bool = False,
        thin: dict[str, int] | None = None,
        holidays: Sequence[tuple[int, int]] = (),
        begins_ms: int = 0,
        history_ms: int = 0,
        minutes: int = 5,
        hole_hours: tuple[int, int] | None = None,
    ) -> None:
        self.counting = counting
        self.silent = silent
        self.thin = thin or {}
        self.holidays = holidays
        self.begins_ms = begins_ms
        self.history_ms = history_ms
        self.minutes = minutes
        self.hole_hours = hole_hours
        self.calls = 0

    def __repr__(self) -> str:
        return f"Vendor({self.__dict__})"

    def bars(self, asset: Asset, start_ms: int, end_ms: int) -> list[int]:
        """The starts of the bars within `[start_ms, end_ms)`, of the size that the asset keeps."""
        all_bars = open_bars(asset.market)
        first = bisect_left(all_bars, max(floor_to_bar(start_ms), self.begins_ms))
        last = bisect_left(all_bars, end_ms)
        stride = self.thin.get(asset.symbol, 1)
        starts = all_bars[first + -first % stride : last : stride]
        for start, end in self.holidays:
            starts[bisect_left(starts, start) : bisect_left(starts, end)] = []
        if asset.bars is BarSize.ONE_MINUTE:
            starts = [t_ms + at * MINUTE_MS for t_ms in starts for at in range(self.minutes)]
        return starts[bisect_left(starts, start_ms) :]

    def answer(self, call: BarsCall, from_ms: int) -> BarsAnswer:
        """The bars from a moment on, cut as this provider cuts."""
        self.calls += 1
        asset = call.work[0].asset
        starts = self.bars(asset, from_ms, call.end_ms + 1)
        if self.hole_hours and call.end_ms - from_ms > 35 * DAY_MS:
            hole_ms = from_ms + self.hole_hours[0] * HOUR_MS
            filled_ms = hole_ms + self.hole_hours[1] * HOUR_MS
            starts[bisect_left(starts, hole_ms) : bisect_left(starts, filled_ms)] = []
        if self.counting is Counting.STORED:
            count = 50_000 if asset.bars is BarSize.ONE_MINUTE else -(-50_000 // self.minutes)
        else:
            length_ms = 50_000 * MINUTE_MS if self.counting is Counting.WALL else 30 * DAY_MS
            count = max(1, bisect_left(starts, from_ms + length_ms))  # no page is empty before the last
        rest = starts[count : count + 1]
        return BarsAnswer(
            ticker=asset.polygon_ticker,
            start_ms=call.start_ms,
            end_ms=call.end_ms,
            bars=[Bar(t_ms, 1.0, 1.0, 1.0, 1.0) for t_ms in starts[:count]],
            refused=Counter(),
            next_url=str(rest[0]) if rest and not self.silent else None,
            size_ms=asset.bars.ms,
        )


class Backfill:
    """A backfill of some assets, worked as the queue works it."""

    def __init__(
        self, vendor: Vendor, assets: Sequence[Asset], known: Entitlements, at_once: int = 1
    ) -> None:
        self.vendor, self.assets, self.known, self.at_once = vendor, assets, known, at_once
        self.now_ms = NOW
        self.stored = {
            asset.symbol: StoredAsset(symbol=asset.symbol, as_of_ms=NOW, last_bar_ms=NOW - BAR_MS)
            for asset in assets
        }
        self.brought: dict[str, set[int]] = {asset.symbol: set() for asset in assets}
        self.lengths: list[float] = []

    def run(self, first: date, last: date) -> None:
        """Request the days and work until nothing is left to ask for."""
        span = days_span(first, last)
        for asset in self.assets:  # what came since
            self.note(asset.symbol, [CoveredInterval(span[1], NOW, IntervalState.ASKED, NOW)])
        ranges = {asset.symbol: span for asset in self.assets}
        gaps = {asset.symbol: [span] for asset in self.assets}
        plan = plan_backfill(self.assets, self.stored, gaps, self.known, ranges, self.now_ms)
        for symbol, news in plan.intervals.items():
            self.note(symbol, news)
        queue = plan.work
        for _ in range(12):
            while queue:
                chunk, queue = queue[: self.at_once], queue[self.at_once :]
                self.work(chunk)
            self.now_ms += 7 * HOUR_MS
            queue = list(
                interleaved(
                    newest_to_ask(asset, self.stored[asset.symbol], self.known, self.now_ms)
                    for asset in self.assets
                )
            )
        assert not queue

    def note(self, symbol: str, news: Sequence[CoveredInterval]) -> None:
        before = self.stored[symbol]
        self.stored[symbol] = msgspec.structs.replace(before, coverage=tuple(record(before.coverage, news)))

    def work(self, chunk: Sequence[Work]) -> None:
        open_work = {item.id: item for item in chunk}
        for _ in range(2 * len(chunk) + 2):
            pending = [item for item in open_work.values() if self.is_due(item)]
            if not pending:
                return
            calls = choose_calls(pending, self.stored, self.known, self.now_ms)
            for call in calls if self.at_once > 1 else calls[:1]:
                assert isinstance(call, BarsCall)
                for done in self.call(call):
                    del open_work[done]
        raise AssertionError(f"{list(open_work)} would be postponed")

    def is_due(self, item: Work) -> bool:
        symbol = item.asset.symbol
        verdict = assess(item, self.stored[symbol], self.known, self.now_ms)
        if verdict.restriction:
            self.note(symbol, too_old(item, self.known, self.now_ms))
        return verdict.due

    def call(self, call: BarsCall) -> list[str]:
        """Make a call with all its pages; return the ids of the work that is done with it."""
        symbol = call.work[0].asset.symbol
        self.lengths.append((call.end_ms + 1 - call.start_ms) / DAY_MS)
        if call.start_ms < self.vendor.history_ms:
            self.vendor.calls += 1
            return self.refused(call)
        page: Page | None = None
        while True:
            from_ms = int(page.answer.next_url or 0) if page else call.start_ms
            answer = self.vendor.answer(call, from_ms)
            found = bars_findings(call, call.work, page, answer, self.stored, self.known, self.now_ms)
            for lesson in found.page_lessons:
                self.known.learn_page(lesson, self.now_ms)
            self.brought[symbol].update(bar.t_ms for bar in found.bars.get(symbol, ()))
            self.note(symbol, found.coverage.get(symbol, ()))
            page = found.next_page
            if page is None:
                return [result.work.id for result in found.results]

    def refused(self, call: BarsCall) -> list[str]:
        asset, endpoint = call.work[0].asset, BarsEndpoint()
        shown = endpoint.restriction(call, RefusalKind.TIMEFRAME, self.now_ms)
        if shown:
            self.known.refused(
                shown.restriction,
                asset.asset_type,
                "no",
                self.now_ms,
                ticker=asset.polygon_ticker,
                edge_ms=shown.edge_ms,
            )
            return []
        state = CONSEQUENCES[RefusalKind.TIMEFRAME].interval
        assert state
        interval = CoveredInterval(call.start_ms, call.end_ms + 1, state, self.now_ms, "no")
        self.note(asset.symbol, [interval])
        return [item.id for item in call.work]

    def missing(self, first: date, last: date) -> dict[str, int]:
        """How many bars did not come, and how much open time is not known, by symbol."""
        start_ms, end_ms = days_span(first, last)
        start_ms = max(start_ms, self.vendor.history_ms)
        found = {}
        for asset in self.assets:
            wanted = set(self.vendor.bars(asset, start_ms, end_ms))
            left = sum(
                open_ms_between(asset.market, one.start_ms, one.end_ms)
                for one in unanswered(self.stored[asset.symbol].coverage, start_ms, end_ms)
                if one.state is not IntervalState.NOT_IN_PLAN
            )
            if count := len(wanted - self.brought[asset.symbol]) + left:
                found[asset.symbol] = count
        return found


def nothing_known() -> Entitlements:
    return Entitlements(end_of_day=False)


def only_34_days(assets: Sequence[Asset]) -> Entitlements:
    """As if every longer page had been cut."""
    names = {*(asset.market for asset in assets), *(asset.polygon_ticker for asset in assets)}
    lengths = [
        PageLength(of=name, since_ms=NOW, until_ms=NOW + LENGTH_KEPT_MS, whole=False) for name in names
    ]
    return Entitlements(end_of_day=False, page_lengths=lengths)


def both(
    vendor: Vendor, assets: Sequence[Asset], first: date, last: date, at_once: int = 1
) -> tuple[Backfill, int, int]:
    """A backfill with longer pages, its calls, and those that it takes with 34 days."""
    counts = []
    for known in (only_34_days(assets), nothing_known()):
        vendor.calls = 0
        backfill = Backfill(vendor, assets, known, at_once)
        backfill.run(first, last)
        assert backfill.missing(first, last) == {}
        counts.append(vendor.calls)
    return backfill, counts[1], counts[0]


LAST = date(2026, 9, 18)
TWO_YEARS = LAST - timedelta(days=729)


@pytest.mark.parametrize("asset", [EURUSD, GOLD])
def test_a_quarter_of_the_calls_is_saved_where_the_provider_counts_what_it_has(asset: Asset) -> None:
    backfill, calls, with_34_days = both(Vendor(Counting.STORED), [asset], TWO_YEARS, LAST)
    assert with_34_days == 21
    assert calls <= 17
    assert max(backfill.lengths) > 45


def test_pages_leave_out_what_calls_in_flight_will_bring() -> None:
    span = days_span(date(2026, 6, 1), date(2026, 10, 30))
    known = nothing_known()
    backfill = Backfill(Vendor(Counting.STORED), [EURUSD], known)
    plan = plan_backfill([EURUSD], backfill.stored, {"EURUSD": [span]}, known, {"EURUSD": span}, NOW)
    backfill.note("EURUSD", plan.intervals["EURUSD"])
    first, *_ = choose_calls(plan.work, backfill.stored, known, NOW)
    assert isinstance(first, BarsCall)
    beside = choose_calls(plan.work, backfill.stored, known, NOW, in_flight=[first])
    assert not [
        one
        for one in beside
        if isinstance(one, BarsCall) and one.start_ms <= first.end_ms and first.start_ms <= one.end_ms
    ]
    assert beside


def test_a_coin_that_is_traded_seldom_takes_a_fraction_of_the_calls() -> None:
    vendor = Vendor(Counting.STORED, thin={"ZZUSD": 12})
    _, calls, with_34_days = both(vendor, [ZZUSD], TWO_YEARS, LAST)
    assert calls * 2 < with_34_days


@pytest.mark.parametrize("counting", [Counting.WALL, Counting.MONTH])
@pytest.mark.parametrize("silent", [False, True])
def test_a_cut_page_is_tried_once_and_costs_no_call(counting: Counting, *, silent: bool) -> None:
    backfill, calls, with_34_days = both(Vendor(counting, silent=silent), [EURUSD], TWO_YEARS, LAST)
    assert calls <= with_34_days
    assert sum(length > 36 for length in backfill.lengths) == 1


def test_a_holiday_before_the_cut_costs_no_call() -> None:
    holidays = [(1_786_460_400_000, 1_786_806_000_000)]  # four days, and then a weekend
    last = LAST - timedelta(days=4)
    _, calls, with_34_days = both(
        Vendor(Counting.WALL, holidays=holidays), [EURUSD], last - timedelta(days=64), last
    )
    assert calls <= with_34_days


def test_a_gap_that_a_longer_page_leaves_and_a_shorter_one_fills_takes_the_length_back() -> None:
    vendor = Vendor(Counting.STORED, hole_hours=(36 * 24, 48))
    backfill, calls, with_34_days = both(vendor, [EURUSD], TWO_YEARS, LAST)
    assert calls <= with_34_days
    assert sum(length > 36 for length in backfill.lengths) == 1


def test_a_hole_that_the_trial_did_not_show_costs_one_call() -> None:
    vendor = Vendor(Counting.STORED, hole_hours=(34 * 24, 2))  # on a Saturday at first
    last = LAST - timedelta(days=2)
    backfill, calls, with_34_days = both(vendor, [EURUSD], last - timedelta(days=138), last)
    assert calls == with_34_days + 1
    assert sum(length > 36 for length in backfill.lengths) == 2


HOLIDAYS = [
    (start_of_day(day) - 6 * HOUR_MS, start_of_day(day) + 18 * HOUR_MS)
    for day in (date(2024, 12, 25), date(2025, 1, 1), date(2025, 12, 25), date(2026, 1, 1))
]


@pytest.mark.parametrize("asset", [EURUSD, GOLD])
def test_holidays_do_not_end_what_longer_pages_save(asset: Asset) -> None:
    vendor = Vendor(Counting.STORED, holidays=HOLIDAYS)
    _, calls, with_34_days = both(vendor, [asset], TWO_YEARS, LAST)
    assert (calls, with_34_days) == (19, 23)


NO_HOLES: st.SearchStrategy[tuple[int, int] | None] = st.none()


@st.composite
def vendors(draw: st.DrawFn, holes: st.SearchStrategy[tuple[int, int] | None] = NO_HOLES) -> Vendor:
    holidays = [
        (NOW - (ago + days) * DAY_MS, NOW - ago * DAY_MS)
        for ago, days in draw(st.lists(st.tuples(st.integers(60, 400), st.integers(1, 4)), max_size=3))
    ]
    return Vendor(
        draw(st.sampled_from(Counting)),
        silent=draw(st.booleans()),
        thin={"ZZUSD": draw(st.sampled_from([1, 3, 12, 60])), "GBPUSD": draw(st.sampled_from([1, 4]))},
        holidays=holidays,
        begins_ms=draw(st.just(0) | st.integers(100, 400).map(lambda days: NOW - days * DAY_MS)),
        history_ms=draw(st.just(0) | st.just(years_before(NOW, 2) + DAY_MS)),
        minutes=draw(st.sampled_from([5, 5, 3, 1])),
        hole_hours=draw(holes),
    )


BACKFILLS = {
    "assets": st.lists(st.sampled_from(ASSETS), min_size=1, max_size=2, unique=True),
    "days": st.integers(1, 420) | st.integers(700, 800),
    "shift": st.integers(0, 20),
    "at_once": st.sampled_from([1, 1, 3]),
}


@settings(max_examples=60, deadline=None, report_multiple_bugs=False)
@given(vendor=vendors(), **BACKFILLS)
def test_nothing_is_missing_and_no_call_is_more_than_with_34_days(
    vendor: Vendor, assets: list[Asset], days: int, shift: int, at_once: int
) -> None:
    last = LAST - timedelta(days=shift)
    _, calls, with_34_days = both(vendor, assets, last - timedelta(days=days), last, at_once)
    assert calls <= with_34_days


@settings(max_examples=30, deadline=None, report_multiple_bugs=False)
@given(vendor=vendors(st.tuples(st.integers(34 * 24, 46 * 24), st.integers(52, 96))), **BACKFILLS)
def test_holes_of_longer_pages_are_filled_for_one_call_of_each_market_at_most(
    vendor: Vendor, assets: list[Asset], days: int, shift: int, at_once: int
) -> None:
    last = LAST - timedelta(days=shift)
    _, calls, with_34_days = both(vendor, assets, last - timedelta(days=days), last, at_once)
    assert calls <= with_34_days + len({asset.market for asset in assets})


@settings(max_examples=15, deadline=None, report_multiple_bugs=False)
@given(
    vendors(),
    st.sampled_from(ASSETS),
    st.integers(30, 150),
    st.integers(0, 20),
    st.sampled_from([1, 3]),
)
def test_pages_of_minutes_are_as_long_and_lose_nothing(
    vendor: Vendor, asset: Asset, days: int, shift: int, at_once: int
) -> None:
    last = LAST - timedelta(days=shift)
    in_minutes = msgspec.structs.replace(asset, bars=BarSize.ONE_MINUTE)
    _, calls, with_34_days = both(vendor, [in_minutes], last - timedelta(days=days), last, at_once)
    assert calls <= with_34_days
