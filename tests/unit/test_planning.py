"""Which assets are due and which calls refresh them: pure decisions at given moments."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from assetbatch.domain.asset_classes import AssetType, Market
from assetbatch.domain.assets import Asset
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.calls import (
    BarsCall,
    Call,
    GroupedDayCall,
    MarketSnapshotCall,
    PreviousDayCall,
    SnapshotCall,
    choose_calls,
)
from assetbatch.domain.coverage import record, unanswered
from assetbatch.domain.due import Verdict, assess, bars_lag, expected_next_start
from assetbatch.domain.entitlements import Entitlements, KnownRestriction, Observation, Restriction
from assetbatch.domain.history_pages import history_ranges
from assetbatch.domain.market_hours import open_ms_between, start_of_day, to_ms
from assetbatch.domain.models import BAR_MS, CoveredInterval, IntervalFault, IntervalState, StoredAsset
from assetbatch.domain.pages import PAGE_DAYS, PAGE_MS, PageKind
from assetbatch.domain.pauses import FAILED_AGAIN_MS
from assetbatch.domain.ranges import askable, latest_range, pages_to_ask
from assetbatch.domain.status import Status
from assetbatch.domain.units import DAY_MS as DAY
from assetbatch.domain.work import PAGES, Work, WorkId, WorkKind, days_range, parse_work_id

KINDS = [kind for kind in WorkKind if kind is not WorkKind.REFERENCE]
FREE = Entitlements(end_of_day=True)
PAID = Entitlements(end_of_day=False)
MINUTE = 60_000
HOUR = 60 * MINUTE

EURUSD = Asset(symbol="EURUSD", polygon_ticker="C:EURUSD", asset_type=AssetType.FOREX)
XAUUSD = Asset(symbol="XAUUSD", polygon_ticker="C:XAUUSD", asset_type=AssetType.FOREX)
BTCUSD = Asset(symbol="BTCUSD", polygon_ticker="X:BTCUSD", asset_type=AssetType.CRYPTO)


def utc(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


def new_york(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York")))


WEDNESDAY = utc("2026-11-18T15:00")
SUNDAY = utc("2026-11-22T15:00")


TICKERS = ("C:EURUSD", "C:GBPUSD", "C:XAUUSD", "C:XAGUSD", "X:BTCUSD", "X:ETHUSD")


def refusal(
    lack: Restriction, asset_type: AssetType, since_ms: int, *, edge_ms: int | None = None
) -> KnownRestriction:
    """A refusal that is believed for a day, of two tickers of each market."""
    return KnownRestriction(
        restriction=lack,
        asset_type=asset_type,
        since_ms=since_ms,
        until_ms=since_ms + DAY,
        message="no",
        history_starts_ms=edge_ms,
        tickers=TICKERS,
    )


def due(asset: Asset, before: StoredAsset | None, known: Entitlements, now_ms: int) -> Verdict:
    return assess(Work(asset), before, known, now_ms)


def only_range(calls: list[Call]) -> tuple[int, int]:
    (call,) = calls
    assert isinstance(call, BarsCall)
    return call.start_ms, call.end_ms


def stored(
    symbol: str = "EURUSD", *, as_of_ms: int, synced_ms: int, last_bar_ms: int | None = None
) -> StoredAsset:
    return StoredAsset(
        symbol=symbol,
        last_price=1.0,
        as_of_ms=as_of_ms,
        last_sync_ms=synced_ms,
        sync_status=Status.SUCCESS,
        status_at_ms=synced_ms,
        last_bar_ms=last_bar_ms,
    )


def wanted_range(
    work: Work, before: StoredAsset | None, known: Entitlements, now_ms: int
) -> tuple[int, int] | None:
    """The range of a page of the past that goes out by itself."""
    found = history_ranges([work], before, known, now_ms, reach_out=False)
    return found[0][:2] if found else None


class TestDue:
    def test_an_asset_never_fetched_is_due_even_while_its_market_is_closed(self) -> None:
        assert due(EURUSD, None, PAID, SUNDAY).due
        assert due(EURUSD, StoredAsset(symbol="EURUSD"), FREE, SUNDAY).due

    def test_an_asset_is_due_when_its_frequency_is_over(self) -> None:
        before = stored(as_of_ms=WEDNESDAY - 5 * MINUTE, synced_ms=WEDNESDAY - 5 * MINUTE)
        assert due(EURUSD, before, PAID, WEDNESDAY).due
        assert not due(EURUSD, before, PAID, WEDNESDAY - 2 * MINUTE).due

    def test_cron_that_starts_a_moment_early_does_not_miss_a_turn(self) -> None:
        before = stored(as_of_ms=WEDNESDAY, synced_ms=WEDNESDAY + 1500)
        assert due(EURUSD, before, PAID, WEDNESDAY + 5 * MINUTE - 200).due

    def test_nothing_is_due_at_a_weekend_once_the_close_is_stored(self) -> None:
        close = new_york("2026-11-20T17:00")
        before = stored(as_of_ms=close, synced_ms=close + MINUTE)
        verdict = due(EURUSD, before, PAID, SUNDAY)
        assert not verdict.due
        assert verdict.why.text == "complete up to 2026-11-20 22:00 UTC"

    def test_a_close_that_is_missing_is_asked_for_with_doubling_pauses(self) -> None:
        close = new_york("2026-11-20T17:00")
        asked = []
        synced = close - MINUTE
        for minute in range(47 * 60):
            now = close + minute * MINUTE
            before = stored(as_of_ms=close - HOUR, synced_ms=synced)
            if due(EURUSD, before, PAID, now).due:
                asked.append(minute)
                synced = now
        assert asked == [1, 5, 10, 20, 40, 80]  # an answer an hour after the close is the last word

    def test_a_day_that_is_missing_on_the_free_plan_is_asked_for_until_the_next_one(self) -> None:
        midnight = new_york("2026-11-18T00:00")
        asked = []
        synced = midnight - HOUR
        for minute in range(24 * 60):
            now = midnight + minute * MINUTE
            before = stored("BTCUSD", as_of_ms=midnight - DAY, synced_ms=synced)
            if due(BTCUSD, before, FREE, now).due:
                asked.append(minute)
                synced = now
        assert asked == [0, 4, 8, 16, 32, 64, 128, 256, 512, 1024]

    def test_an_asset_whose_ledger_reaches_as_far_as_can_be_seen_is_fresh_though_its_last_bar_is_older(
        self,
    ) -> None:
        midnight = new_york("2026-11-18T00:00")
        before = stored(as_of_ms=midnight - 3 * HOUR, synced_ms=midnight - HOUR)
        asked = CoveredInterval(midnight - DAY, midnight, IntervalState.ASKED, midnight)
        assert due(EURUSD, before, FREE, WEDNESDAY).due
        assert not due(EURUSD, msgspec.structs.replace(before, coverage=(asked,)), FREE, WEDNESDAY).due

    def test_the_free_plan_is_fresh_when_complete_up_to_new_york_midnight(self) -> None:
        midnight = new_york("2026-11-18T00:00")
        before = stored("BTCUSD", as_of_ms=midnight, synced_ms=midnight + HOUR)
        assert not due(BTCUSD, before, FREE, WEDNESDAY).due
        assert due(BTCUSD, before, FREE, new_york("2026-11-19T00:00")).due

    def test_a_ticker_that_was_there_is_not_given_up_for_a_day_at_one_word(self) -> None:
        asked = []
        before = stored(as_of_ms=WEDNESDAY, synced_ms=WEDNESDAY)
        for minute in range(5, 3 * 24 * 60, 5):
            now = WEDNESDAY + minute * MINUTE
            if due(EURUSD, before, PAID, now).due:
                asked.append(minute)
                before = msgspec.structs.replace(before, sync_status=Status.NOT_FOUND, status_at_ms=now)
        assert asked == [5, 20, 40, 80, 160, 320, 640, 1280, 2560, 2560 + 1440]

    def test_gold_is_not_due_in_its_daily_break(self) -> None:
        in_break = new_york("2026-11-18T17:30")
        before = stored("XAUUSD", as_of_ms=new_york("2026-11-18T17:00"), synced_ms=in_break - 20 * MINUTE)
        assert not due(XAUUSD, before, PAID, in_break).due

    @pytest.mark.parametrize(
        ("status", "pause"), [(Status.NOT_FOUND, DAY), (Status.NOT_ENTITLED, DAY), (Status.NO_DATA, HOUR)]
    )
    def test_what_the_provider_refused_for_this_asset_is_asked_again_after_a_while(
        self, status: Status, pause: int
    ) -> None:
        before = StoredAsset(symbol="EURUSD", sync_status=status, status_at_ms=WEDNESDAY)
        assert not due(EURUSD, before, PAID, WEDNESDAY + pause - 1).due
        assert due(EURUSD, before, PAID, WEDNESDAY + pause).due

    def test_what_the_provider_has_no_bars_of_is_asked_again_after_6_hours(self) -> None:
        before = StoredAsset(symbol="EURUSD", sync_status=Status.NO_DATA, status_at_ms=WEDNESDAY)
        assert not due(EURUSD, before, FREE, WEDNESDAY + 6 * HOUR - 1).due
        assert due(EURUSD, before, FREE, WEDNESDAY + 6 * HOUR).due

    @pytest.mark.parametrize(
        ("asked", "again"),
        [
            ("2026-11-18T10:00", "2026-11-18T11:00"),
            ("2026-11-18T09:00", "2026-11-18T10:00"),
            ("2026-11-18T07:00", "2026-11-18T09:30"),
            ("2026-11-25T17:00", "2026-11-27T09:30"),  # over Thanksgiving
            ("2026-11-28T12:00", "2026-11-30T09:30"),
        ],
    )
    def test_a_stock_of_which_there_was_nothing_is_asked_again_when_the_exchange_opens(
        self, asked: str, again: str
    ) -> None:
        apple = Asset(symbol="AAPL", polygon_ticker="AAPL", asset_type=AssetType.STOCKS)
        before = StoredAsset(symbol="AAPL", sync_status=Status.NO_DATA, status_at_ms=new_york(asked))
        assert not due(apple, before, PAID, new_york(again) - 1).due
        assert due(apple, before, PAID, new_york(again)).due

    def test_a_failure_does_not_wait_for_the_frequency(self) -> None:
        failed = StoredAsset(
            symbol="EURUSD",
            as_of_ms=WEDNESDAY - HOUR,
            last_sync_ms=WEDNESDAY - HOUR,
            sync_status=Status.FAILED,
            status_at_ms=WEDNESDAY - 1,
        )
        assert due(EURUSD, failed, PAID, WEDNESDAY).due


class TestCalls:
    def test_snapshots_take_250_tickers_of_all_classes_in_one_call(self) -> None:
        assets = [
            Asset(
                symbol=f"S{n}",
                polygon_ticker=f"{'C' if n % 2 else 'X'}:S{n}",
                asset_type=AssetType.FOREX if n % 2 else AssetType.CRYPTO,
            )
            for n in range(501)
        ]
        calls = choose_calls([Work(asset) for asset in assets], {}, PAID, WEDNESDAY)
        assert [len(call.work) for call in calls] == [250, 250, 1]
        assert [item.asset for call in calls for item in call.work] == assets

    def test_without_snapshots_there_is_one_range_per_asset_in_order(self) -> None:
        calls = choose_calls([Work(XAUUSD), Work(EURUSD), Work(BTCUSD)], {}, FREE, WEDNESDAY)
        assert [type(call) for call in calls] == [BarsCall] * 3
        assert [call.work[0].asset for call in calls] == [XAUUSD, EURUSD, BTCUSD]

    def test_a_first_range_reaches_one_page_back_and_ends_where_the_free_plan_ends(self) -> None:
        midnight = new_york("2026-11-18T00:00")
        calls = choose_calls([Work(EURUSD)], {}, FREE, WEDNESDAY)
        assert only_range(calls) == (midnight - PAGE_MS, midnight - 1)

    def test_a_later_range_begins_with_the_day_of_the_last_stored_bar(self) -> None:
        last_bar = new_york("2026-11-16T13:05")
        before = stored(as_of_ms=last_bar + BAR_MS, synced_ms=last_bar, last_bar_ms=last_bar)
        start_ms, _ = only_range(choose_calls([Work(EURUSD)], {"EURUSD": before}, FREE, WEDNESDAY))
        assert start_ms == new_york("2026-11-16T00:00")

    def test_a_range_never_asks_for_more_than_a_page_holds(self) -> None:
        before = stored(as_of_ms=0, synced_ms=0, last_bar_ms=WEDNESDAY - 400 * DAY)
        calls = choose_calls([Work(EURUSD, WorkKind.BARS)], {"EURUSD": before}, PAID, WEDNESDAY)
        start_ms, end_ms = only_range(calls)
        assert end_ms - start_ms < PAGE_MS + BAR_MS

    def test_a_class_without_snapshots_does_not_keep_the_other_from_them(self) -> None:
        known = Entitlements(
            end_of_day=False, restrictions=[refusal(Restriction.SNAPSHOT, AssetType.FOREX, WEDNESDAY)]
        )
        calls = choose_calls([Work(EURUSD), Work(BTCUSD)], {}, known, WEDNESDAY)
        assert [type(call) for call in calls] == [BarsCall, SnapshotCall]

    def test_without_intraday_bars_the_previous_day_is_asked(self) -> None:
        known = Entitlements(
            end_of_day=True, restrictions=[refusal(Restriction.INTRADAY, AssetType.FOREX, WEDNESDAY)]
        )
        assert choose_calls([Work(EURUSD)], {}, known, WEDNESDAY) == [PreviousDayCall((Work(EURUSD),))]

    def test_without_intraday_bars_one_grouped_call_serves_a_whole_market(self) -> None:
        known = Entitlements(
            end_of_day=True,
            restrictions=[refusal(Restriction.INTRADAY, kind, WEDNESDAY) for kind in AssetType],
        )
        calls = choose_calls([Work(EURUSD), Work(BTCUSD), Work(XAUUSD)], {}, known, WEDNESDAY)
        assert calls == [
            GroupedDayCall((Work(EURUSD), Work(XAUUSD)), AssetType.FOREX, date(2026, 11, 17)),
            PreviousDayCall((Work(BTCUSD),)),
        ]

    def test_assets_that_keep_no_bars_share_a_grouped_call_where_only_ended_days_are_shown(self) -> None:
        priced = [Work(msgspec.structs.replace(asset, bars=BarSize.NONE)) for asset in (EURUSD, XAUUSD)]
        assert [type(call) for call in choose_calls(priced, {}, FREE, WEDNESDAY)] == [GroupedDayCall]
        assert [type(call) for call in choose_calls([Work(EURUSD), Work(XAUUSD)], {}, FREE, WEDNESDAY)] == [
            BarsCall,
            BarsCall,
        ]

    def test_a_grouped_call_after_a_weekend_asks_for_the_last_day_with_trading(self) -> None:
        priced = [Work(msgspec.structs.replace(asset, bars=BarSize.NONE)) for asset in (EURUSD, XAUUSD)]
        (call,) = choose_calls(priced, {}, FREE, SUNDAY)
        assert isinstance(call, GroupedDayCall)
        assert call.day == date(2026, 11, 20)

    def test_snapshots_of_a_market_are_tried_where_unified_ones_are_refused_and_today_was_seen(self) -> None:
        refused = refusal(Restriction.SNAPSHOT, AssetType.FOREX, WEDNESDAY - HOUR)
        seen = Observation(
            asset_type=AssetType.FOREX, at_ms=WEDNESDAY - 1, newest_ms=WEDNESDAY, today_at_ms=WEDNESDAY - 1
        )
        work = [Work(EURUSD), Work(XAUUSD)]
        known = Entitlements(end_of_day=False, restrictions=[refused])
        assert [type(call) for call in choose_calls(work, {}, known, WEDNESDAY)] == [BarsCall, BarsCall]
        known = Entitlements(end_of_day=False, restrictions=[refused], observations=[seen])
        assert choose_calls(work, {}, known, WEDNESDAY) == [MarketSnapshotCall(tuple(work), AssetType.FOREX)]

    def test_a_snapshot_without_other_products_has_all_classes_of_its_own(self) -> None:
        refused = refusal(Restriction.MIXED_SNAPSHOT, AssetType.FOREX, WEDNESDAY - HOUR)
        known = Entitlements(end_of_day=False, restrictions=[refused])
        work = [Work(EURUSD), Work(BTCUSD)]
        assert choose_calls(work, {}, known, WEDNESDAY) == [SnapshotCall(tuple(work))]

    def test_bars_work_asks_for_bars_where_prices_come_from_snapshots(self) -> None:
        calls = choose_calls([Work(EURUSD), Work(EURUSD, WorkKind.BARS)], {}, PAID, WEDNESDAY)
        assert [type(call) for call in calls] == [SnapshotCall, BarsCall]

    def test_prices_come_before_bars(self) -> None:
        calls = choose_calls([Work(EURUSD, WorkKind.BARS), Work(BTCUSD)], {}, PAID, WEDNESDAY)
        assert [type(call) for call in calls] == [SnapshotCall, BarsCall]

    def test_the_latest_range_fills_older_holes_that_fit_its_page(self) -> None:
        midnight = new_york("2026-11-18T00:00")
        begin = midnight - 100 * DAY
        hole = midnight - 20 * DAY
        coverage = (
            CoveredInterval(begin, hole, IntervalState.ASKED, begin),
            CoveredInterval(hole, hole + DAY, IntervalState.FAILED, WEDNESDAY - FAILED_AGAIN_MS, "HTTP 503"),
            CoveredInterval(hole + DAY, midnight - DAY, IntervalState.ASKED, begin),
        )
        before = StoredAsset(symbol="BTCUSD", last_bar_ms=midnight - DAY - BAR_MS, coverage=coverage)
        assert latest_range(BTCUSD, before, FREE, WEDNESDAY) == (hole, midnight)
        recent = (coverage[0], msgspec.structs.replace(coverage[1], asked_ms=WEDNESDAY - HOUR), coverage[2])
        before = msgspec.structs.replace(before, coverage=recent)
        assert latest_range(BTCUSD, before, FREE, WEDNESDAY) == (midnight - 2 * DAY, midnight)

    def test_the_first_range_of_the_queue_looks_whether_the_free_plan_shows_the_running_day(self) -> None:
        _, end_ms = only_range(choose_calls([Work(EURUSD)], {}, FREE, WEDNESDAY, probe_today=True))
        assert end_ms == WEDNESDAY - 1
        refused = Entitlements(
            end_of_day=True, restrictions=[refusal(Restriction.TODAY, AssetType.FOREX, WEDNESDAY)]
        )
        _, end_ms = only_range(choose_calls([Work(EURUSD)], {}, refused, WEDNESDAY, probe_today=True))
        assert end_ms == new_york("2026-11-18T00:00") - 1


def page(asset: Asset, first: date, last: date) -> Work:
    return Work(asset, WorkKind.HISTORY, first, last)


class TestThePast:
    KNOWN = StoredAsset(
        symbol="BTCUSD",
        last_bar_ms=new_york("2026-11-17T23:55"),
        coverage=(
            CoveredInterval(new_york("2026-01-01"), new_york("2026-03-01"), IntervalState.REQUESTED),
            CoveredInterval(new_york("2026-03-01"), new_york("2026-11-18"), IntervalState.ASKED, 1),
        ),
    )

    def test_pages_are_34_days_and_the_newest_comes_first(self) -> None:
        assert pages_to_ask(BTCUSD, self.KNOWN, FREE, WEDNESDAY) == [
            page(BTCUSD, date(2026, 1, 26), date(2026, 2, 28)),
            page(BTCUSD, date(2026, 1, 1), date(2026, 1, 25)),
        ]

    def test_a_page_asks_only_for_what_was_not_asked_for(self) -> None:
        work = page(BTCUSD, date(2026, 2, 20), date(2026, 3, 10))
        wanted = (new_york("2026-02-20"), new_york("2026-03-01"))
        assert wanted_range(work, self.KNOWN, FREE, WEDNESDAY) == wanted

    def test_a_page_that_was_asked_for_costs_nothing(self) -> None:
        work = page(BTCUSD, date(2026, 3, 1), date(2026, 3, 10))
        assert not assess(work, self.KNOWN, FREE, WEDNESDAY).due
        assert choose_calls([work], {"BTCUSD": self.KNOWN}, FREE, WEDNESDAY) == []

    def test_a_page_reaches_no_further_back_than_the_plan(self) -> None:
        edge = new_york("2026-02-10")
        known = Entitlements(
            end_of_day=True,
            restrictions=[refusal(Restriction.HISTORY, AssetType.CRYPTO, WEDNESDAY, edge_ms=edge)],
        )
        work = page(BTCUSD, date(2026, 2, 1), date(2026, 2, 20))
        assert wanted_range(work, self.KNOWN, known, WEDNESDAY) == (edge, new_york("2026-02-21"))
        older = page(BTCUSD, date(2026, 1, 1), date(2026, 2, 9))
        verdict = assess(older, self.KNOWN, known, WEDNESDAY)
        assert (verdict.due, verdict.why.text) == (False, "older than the plan's history")
        assert [work.first_day for work in pages_to_ask(BTCUSD, self.KNOWN, known, WEDNESDAY)] == [
            date(2026, 2, 10)
        ]

    def test_neighbouring_pages_that_fit_one_are_asked_for_in_one_call(self) -> None:
        work = [
            page(BTCUSD, date(2026, 2, 15), date(2026, 2, 20)),
            page(BTCUSD, date(2026, 2, 1), date(2026, 2, 14)),
        ]
        calls = choose_calls(work, {"BTCUSD": self.KNOWN}, FREE, WEDNESDAY)
        assert only_range(calls) == (new_york("2026-02-01"), new_york("2026-02-21") - 1)

    def test_a_bar_of_no_use_is_asked_for_again_after_pauses_that_double(self) -> None:
        start_ms, end_ms = self.KNOWN.coverage[0].start_ms, self.KNOWN.coverage[0].start_ms + BAR_MS
        for age_ms, pause_ms in (
            (0, FAILED_AGAIN_MS),
            (12 * HOUR, 12 * HOUR),
            (DAY, DAY),
            (200 * DAY, 30 * DAY),
        ):
            asked_ms = end_ms + age_ms
            faulty = CoveredInterval(
                start_ms, end_ms, IntervalState.FAILED, asked_ms, "any words", IntervalFault.UNUSABLE_BAR
            )
            stored = msgspec.structs.replace(self.KNOWN, coverage=(faulty,))
            assert askable(BTCUSD, stored, start_ms, end_ms, asked_ms + pause_ms - 1) == []
            assert askable(BTCUSD, stored, start_ms, end_ms, asked_ms + pause_ms) == [faulty]

    def test_nothing_of_the_past_is_asked_where_the_plan_has_no_intraday_bars(self) -> None:
        known = Entitlements(
            end_of_day=True, restrictions=[refusal(Restriction.INTRADAY, AssetType.CRYPTO, WEDNESDAY)]
        )
        assert pages_to_ask(BTCUSD, self.KNOWN, known, WEDNESDAY) == []
        work = page(BTCUSD, date(2026, 1, 1), date(2026, 1, 20))
        assert not assess(work, self.KNOWN, known, WEDNESDAY).due


ASSETS = (
    EURUSD,
    XAUUSD,
    BTCUSD,
    Asset(symbol="GBPUSD", polygon_ticker="C:GBPUSD", asset_type=AssetType.FOREX, bars=BarSize.NONE),
    Asset(symbol="CHFUSD", polygon_ticker="C:CHFUSD", asset_type=AssetType.FOREX, bars=BarSize.NONE),
)


@st.composite
def plannings(
    draw: st.DrawFn,
) -> tuple[list[Work], dict[str, StoredAsset], Entitlements, int, bool]:
    """Work that is due, what is stored of its assets, what is known of the plan, and a moment."""
    now = draw(st.integers(WEDNESDAY, WEDNESDAY + 10 * DAY))
    midnight = new_york("2026-11-18T00:00")
    refusals = [
        refusal(lack, kind, now - HOUR, edge_ms=edge)
        for lack, kind in draw(st.sets(st.sampled_from([(a, b) for a in Restriction for b in AssetType])))
        if lack is not Restriction.LAST_DAY
        for edge in [midnight - draw(st.integers(1, 120)) * DAY if lack is Restriction.HISTORY else None]
    ]
    observations = [
        Observation(
            asset_type=kind, at_ms=now - 1, newest_ms=now - 1, today_at_ms=now - draw(st.integers(1, DAY))
        )
        for kind in draw(st.sets(st.sampled_from(AssetType)))
    ]
    known = Entitlements(end_of_day=draw(st.booleans()), restrictions=refusals, observations=observations)
    before = {}
    for asset in ASSETS:
        news = [
            CoveredInterval(
                midnight - (day + days) * DAY, midnight - day * DAY, state, now - draw(st.integers(0, DAY))
            )
            for day, days, state in draw(
                st.lists(
                    st.tuples(st.integers(0, 100), st.integers(1, 50), st.sampled_from(IntervalState)),
                    max_size=4,
                )
            )
        ]
        before[asset.symbol] = StoredAsset(
            symbol=asset.symbol,
            last_bar_ms=draw(st.none() | st.just(midnight - draw(st.integers(1, 90)) * DAY)),
            coverage=tuple(record((), news)),
        )
    kinds = draw(
        st.lists(st.tuples(st.sampled_from(ASSETS), st.sampled_from(KINDS), st.integers(0, 90)), max_size=12)
    )
    work: dict[str, Work] = {}
    for asset, kind, ago in kinds:
        item = Work(asset, kind)
        if kind in PAGES:
            first = date.fromordinal(
                date(2026, 11, 17).toordinal() - ago - draw(st.integers(0, PAGE_DAYS - 1))
            )
            item = Work(asset, kind, first, date.fromordinal(date(2026, 11, 17).toordinal() - ago))
        if assess(item, before[asset.symbol], known, now).due:
            work[item.id] = item
    return list(work.values()), before, known, now, draw(st.booleans())


class TestEveryPlan:
    @given(plannings())
    def test_leaves_out_no_due_work_and_asks_for_none_twice(
        self, planning: tuple[list[Work], dict[str, StoredAsset], Entitlements, int, bool]
    ) -> None:
        work, before, known, now, probe = planning
        calls = choose_calls(work, before, known, now, probe_today=probe)
        assert sorted(item.id for call in calls for item in call.work) == sorted(item.id for item in work)

    def test_lets_work_wait_for_a_longer_page_that_ends_within_it(self) -> None:
        """Two backfills have queued days that overlap; the longer page that is tried ends before the last."""
        asked = CoveredInterval(
            start_of_day(date(2026, 9, 28)), start_of_day(date(2026, 11, 17)), IntervalState.REQUESTED
        )
        work = [
            Work(EURUSD, WorkKind.HISTORY, date(2026, 11, 1), date(2026, 11, 16)),
            Work(EURUSD, WorkKind.HISTORY, date(2026, 11, 16), date(2026, 11, 16)),
        ]
        before = {"EURUSD": StoredAsset(symbol="EURUSD", coverage=(asked,))}
        now_ms = start_of_day(date(2026, 11, 18))
        (call,) = choose_calls(work, before, PAID, now_ms, probe_today=False)
        assert isinstance(call, BarsCall)
        assert call.end_ms < start_of_day(date(2026, 11, 16))
        assert call.unfinished == {item.id for item in work}

    @given(plannings())
    def test_asks_nothing_that_is_known_to_be_refused(
        self, planning: tuple[list[Work], dict[str, StoredAsset], Entitlements, int, bool]
    ) -> None:
        work, before, known, now, probe = planning
        for call in choose_calls(work, before, known, now, probe_today=probe):
            for item in call.work:
                kind = item.asset.asset_type
                lacking = {
                    lack for lack in Restriction if known.lacks(lack, kind, now, item.asset.polygon_ticker)
                }
                match call:
                    case SnapshotCall():
                        assert Restriction.SNAPSHOT not in lacking
                        assert known.may_ask_today(kind, now)
                    case MarketSnapshotCall():
                        assert Restriction.MARKET_SNAPSHOT not in lacking
                        assert known.may_ask_today(kind, now)
                    case GroupedDayCall():
                        assert Restriction.GROUPED not in lacking
                        assert start_of_day(call.day) < known.last_day_end_ms(kind, now)
                    case BarsCall():
                        assert not lacking & {Restriction.INTRADAY, Restriction.BARS}
                        limit = (
                            now if probe and known.today_untested(kind, now) else known.ask_to_ms(kind, now)
                        )
                        assert call.end_ms < limit
                        assert call.start_ms >= min(
                            known.history_from_ms(kind, now), call.end_ms + 1 - BAR_MS
                        )
                    case PreviousDayCall():
                        assert Restriction.PREVIOUS_DAY not in lacking

    @given(plannings())
    def test_has_no_call_that_could_be_merged_into_another(
        self, planning: tuple[list[Work], dict[str, StoredAsset], Entitlements, int, bool]
    ) -> None:
        work, before, known, now, probe = planning
        calls = choose_calls(work, before, known, now, probe_today=probe)
        assert sum(isinstance(call, SnapshotCall) for call in calls) <= 1
        shared = [
            (type(c), c.asset_type) for c in calls if isinstance(c, MarketSnapshotCall | GroupedDayCall)
        ]
        assert len(shared) == len(set(shared))
        grouped = {c.asset_type for c in calls if isinstance(c, GroupedDayCall)}
        for call in calls:
            if isinstance(call, PreviousDayCall):
                assert call.work[0].asset.asset_type not in grouped
            for other in calls:
                if call is other or not (isinstance(call, BarsCall) and isinstance(other, BarsCall)):
                    continue
                if call.work[0].asset == other.work[0].asset:
                    joined = max(call.end_ms, other.end_ms) - min(call.start_ms, other.start_ms)
                    assert joined >= PAGE_MS

    @given(plannings())
    def test_has_no_range_larger_than_a_page_and_none_without_anything_to_ask_for(
        self, planning: tuple[list[Work], dict[str, StoredAsset], Entitlements, int, bool]
    ) -> None:
        work, before, known, now, probe = planning
        for call in choose_calls(work, before, known, now, probe_today=probe):
            if not isinstance(call, BarsCall):
                continue
            longest = PAGE_MS if call.kind is PageKind.SURE else 50 * DAY
            assert 0 <= call.end_ms - call.start_ms <= longest + HOUR  # a day of 25 hours
            if all(item.kind is WorkKind.HISTORY for item in call.work):
                asset = call.work[0].asset
                missing = unanswered(before[asset.symbol].coverage, call.start_ms, call.end_ms + 1)
                assert any(open_ms_between(asset.market, gap.start_ms, gap.end_ms) for gap in missing)

    @given(plannings())
    def test_puts_prices_before_bars(
        self, planning: tuple[list[Work], dict[str, StoredAsset], Entitlements, int, bool]
    ) -> None:
        work, before, known, now, probe = planning
        has_price = [
            any(item.kind is WorkKind.PRICE for item in call.work)
            for call in choose_calls(work, before, known, now, probe_today=probe)
        ]
        assert has_price == sorted(has_price, reverse=True)


@given(plannings())
def test_pages_of_the_past_are_due_and_cover_all_that_is_worth_a_call(
    planning: tuple[list[Work], dict[str, StoredAsset], Entitlements, int, bool],
) -> None:
    _, before, known, now, _ = planning
    for asset in ASSETS:
        for item in pages_to_ask(asset, before[asset.symbol], known, now):
            assert assess(item, before[asset.symbol], known, now).due
            start_ms, end_ms = days_range(item)
            assert end_ms - start_ms <= PAGE_MS + HOUR
            assert open_ms_between(Market(asset.market), start_ms, end_ms)


class TestBarsBehind:
    def test_bars_are_behind_when_the_frequency_asks_for_a_finished_one(self) -> None:
        asked = CoveredInterval(WEDNESDAY - DAY, WEDNESDAY, IntervalState.ASKED, WEDNESDAY)
        at = msgspec.structs.replace(stored(as_of_ms=WEDNESDAY, synced_ms=WEDNESDAY), coverage=(asked,))
        assert not bars_lag(EURUSD, at, PAID, WEDNESDAY + BAR_MS - 1)
        assert bars_lag(EURUSD, at, PAID, WEDNESDAY + BAR_MS)
        unknown = msgspec.structs.replace(at, sync_status=Status.NOT_FOUND)
        assert not bars_lag(EURUSD, unknown, PAID, WEDNESDAY + BAR_MS)

    def test_not_while_the_market_is_closed_and_the_last_bar_is_there(self) -> None:
        close = new_york("2026-11-20T17:00")
        asked = CoveredInterval(close - DAY, close, IntervalState.ASKED, close)
        at = msgspec.structs.replace(stored(as_of_ms=close, synced_ms=close), coverage=(asked,))
        assert not bars_lag(EURUSD, at, PAID, SUNDAY)

    def test_never_where_the_price_comes_from_the_bars_anyway(self) -> None:
        assert not bars_lag(EURUSD, StoredAsset(symbol="EURUSD"), FREE, WEDNESDAY)

    def test_never_for_an_asset_that_keeps_no_bars(self) -> None:
        priced = Asset(symbol="E", polygon_ticker="C:E", asset_type=AssetType.FOREX, bars=BarSize.NONE)
        assert not bars_lag(priced, StoredAsset(symbol="E"), PAID, WEDNESDAY)


class TestHorizon:
    def test_of_a_paid_plan_is_now(self) -> None:
        assert PAID.visible_until_ms(AssetType.FOREX, WEDNESDAY) == WEDNESDAY

    def test_of_the_free_plan_is_the_last_new_york_midnight_in_summer_and_winter(self) -> None:
        assert FREE.visible_until_ms(AssetType.FOREX, utc("2026-11-18T15:00")) == utc("2026-11-18T05:00")
        assert FREE.visible_until_ms(AssetType.FOREX, utc("2026-07-15T15:00")) == utc("2026-07-15T04:00")
        assert FREE.visible_until_ms(AssetType.FOREX, utc("2026-07-15T03:59")) == utc("2026-07-14T04:00")

    def test_of_a_paid_plan_that_was_refused_today_is_the_last_midnight_for_a_day(self) -> None:
        known = Entitlements(
            end_of_day=False, restrictions=[refusal(Restriction.TODAY, AssetType.FOREX, WEDNESDAY)]
        )
        assert known.visible_until_ms(AssetType.FOREX, WEDNESDAY) == new_york("2026-11-18T00:00")
        assert known.visible_until_ms(AssetType.CRYPTO, WEDNESDAY) == WEDNESDAY
        assert known.visible_until_ms(AssetType.FOREX, WEDNESDAY + DAY) == WEDNESDAY + DAY

    def test_falls_back_a_day_while_the_last_day_is_not_published_and_probes_again_after_a_pause(
        self,
    ) -> None:
        after_midnight = new_york("2026-11-18T00:10")
        known = Entitlements(end_of_day=True)
        midnight = new_york("2026-11-18T00:00")
        known.refused(
            Restriction.LAST_DAY, AssetType.FOREX, "no", after_midnight, ticker="C:EURUSD", edge_ms=midnight
        )
        assert known.visible_until_ms(AssetType.FOREX, after_midnight) == new_york("2026-11-17T00:00")
        assert known.visible_until_ms(AssetType.FOREX, after_midnight + 15 * MINUTE) == midnight


class TestTheNextStart:
    FIVE = 5 * MINUTE

    def test_follows_the_rhythm_of_the_last_starts(self) -> None:
        starts = [utc("2026-11-18T12:02"), utc("2026-11-18T12:07")]
        assert expected_next_start(starts, self.FIVE) == utc("2026-11-18T12:12")

    def test_a_start_by_hand_does_not_shift_the_rhythm(self) -> None:
        starts = [utc("2026-11-18T12:00"), utc("2026-11-18T12:05"), utc("2026-11-18T12:08")]
        assert expected_next_start(starts, self.FIVE) == utc("2026-11-18T12:10")

    def test_without_a_rhythm_it_is_where_cron_starts(self) -> None:
        assert expected_next_start([utc("2026-11-18T12:03")], self.FIVE) == utc("2026-11-18T12:05")

    @given(st.lists(st.integers(0, 10**9), min_size=1, max_size=6), st.integers(1, 1440))
    def test_always_lies_in_the_future_and_within_an_interval_and_a_tenth(
        self, starts: list[int], minutes: int
    ) -> None:
        starts = sorted(starts)
        interval = minutes * MINUTE
        assert 0 < expected_next_start(starts, interval) - starts[-1] <= interval


def test_a_work_id_says_what_it_asks_for() -> None:
    page = Work(EURUSD, WorkKind.HISTORY, date(2024, 11, 1), date(2024, 12, 4))
    assert page.id == "history:EURUSD:2024-11-01:2024-12-04"
    assert parse_work_id(page.id) == WorkId("EURUSD", WorkKind.HISTORY, page.first_day, page.last_day)
    assert parse_work_id(Work(EURUSD).id) == WorkId("EURUSD", WorkKind.PRICE)
    assert parse_work_id(Work(EURUSD, WorkKind.BARS).id) == WorkId("EURUSD", WorkKind.BARS)


@given(
    st.text(st.sampled_from("AB:/ 1-") | st.characters(categories=["L", "N", "P", "S"]), min_size=1)
    | st.sampled_from(
        [
            "bars:A",
            "price:A",
            "history:A:2026-01-01:2026-01-02",
            "history:A",
            "price:bars:A",
            "reference:A",
            "reference:holidays",
            "reference:listing:A",
        ]
    ),
    st.sampled_from(KINDS),
)
def test_an_id_means_the_same_work_whatever_the_symbol_holds(symbol: str, kind: WorkKind) -> None:
    days = (date(2024, 11, 1), date(2024, 12, 4)) if kind in PAGES else (None, None)
    work = Work(structs.replace(EURUSD, symbol=symbol), kind, *days)
    assert parse_work_id(work.id) == WorkId(symbol, kind, *days)
