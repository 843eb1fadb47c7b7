"""Which assets are due and which calls refresh them: pure decisions at given moments."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.assets import Asset, AssetPriority, AssetType
from assetbatch.entitlements import Entitlements, Lack, refusal_now
from assetbatch.hours import to_ms
from assetbatch.market import BAR_MS, StoredAsset
from assetbatch.planning import (
    PAGE_MS,
    BarsCall,
    PreviousDayCall,
    SnapshotCall,
    Work,
    WorkId,
    WorkKind,
    assess,
    behind,
    expected_next_start,
    parse_work_id,
    plan,
)

FREE = Entitlements(end_of_day=True)
PAID = Entitlements(end_of_day=False)
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

EURUSD = Asset(symbol="EURUSD", polygon_ticker="C:EURUSD", asset_type=AssetType.FOREX)
XAUUSD = Asset(symbol="XAUUSD", polygon_ticker="C:XAUUSD", asset_type=AssetType.FOREX)
BTCUSD = Asset(symbol="BTCUSD", polygon_ticker="X:BTCUSD", asset_type=AssetType.CRYPTO)


def utc(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


def new_york(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York")))


WEDNESDAY = utc("2026-11-18T15:00")
SUNDAY = utc("2026-11-22T15:00")


def stored(
    symbol: str = "EURUSD", *, as_of_ms: int, synced_ms: int, last_bar_ms: int | None = None
) -> StoredAsset:
    return StoredAsset(
        symbol=symbol,
        last_price=1.0,
        as_of_ms=as_of_ms,
        last_sync_ms=synced_ms,
        sync_status="success",
        status_at_ms=synced_ms,
        last_bar_ms=last_bar_ms,
    )


class TestDue:
    def test_an_asset_never_fetched_is_due_even_while_its_market_is_closed(self) -> None:
        assert assess(EURUSD, None, PAID, SUNDAY).due
        assert assess(EURUSD, StoredAsset(symbol="EURUSD"), FREE, SUNDAY).due

    def test_an_asset_is_due_when_its_frequency_is_over(self) -> None:
        before = stored(as_of_ms=WEDNESDAY - 5 * MINUTE, synced_ms=WEDNESDAY - 5 * MINUTE)
        assert assess(EURUSD, before, PAID, WEDNESDAY).due
        assert not assess(EURUSD, before, PAID, WEDNESDAY - MINUTE).due

    def test_cron_that_starts_a_moment_early_does_not_miss_a_turn(self) -> None:
        before = stored(as_of_ms=WEDNESDAY, synced_ms=WEDNESDAY + 1500)
        assert assess(EURUSD, before, PAID, WEDNESDAY + 5 * MINUTE - 200).due

    def test_nothing_is_due_at_a_weekend_once_the_close_is_stored(self) -> None:
        close = new_york("2026-11-20T17:00")
        before = stored(as_of_ms=close, synced_ms=close + MINUTE)
        verdict = assess(EURUSD, before, PAID, SUNDAY)
        assert not verdict.due
        assert verdict.reason == "complete up to 2026-11-20 22:00 UTC"

    def test_a_close_that_is_missing_is_asked_for_with_doubling_pauses(self) -> None:
        close = new_york("2026-11-20T17:00")
        asked = []
        synced = close - MINUTE
        for minute in range(47 * 60):
            now = close + minute * MINUTE
            before = stored(as_of_ms=close - HOUR, synced_ms=synced)
            if assess(EURUSD, before, PAID, now).due:
                asked.append(minute)
                synced = now
        assert asked == [1, 6, 12, 24, 48, 96, 192, 384, 768, 1536]

    def test_the_free_plan_is_fresh_when_complete_up_to_new_york_midnight(self) -> None:
        midnight = new_york("2026-11-18T00:00")
        before = stored("BTCUSD", as_of_ms=midnight, synced_ms=midnight + HOUR)
        assert not assess(BTCUSD, before, FREE, WEDNESDAY).due
        assert assess(BTCUSD, before, FREE, new_york("2026-11-19T00:00")).due

    def test_gold_is_not_due_in_its_daily_break(self) -> None:
        in_break = new_york("2026-11-18T17:30")
        before = stored("XAUUSD", as_of_ms=new_york("2026-11-18T17:00"), synced_ms=in_break - 20 * MINUTE)
        assert not assess(XAUUSD, before, PAID, in_break).due

    @pytest.mark.parametrize(
        ("status", "pause"), [("not_found", DAY), ("not_entitled", 6 * HOUR), ("no_data", HOUR)]
    )
    def test_what_the_vendor_refused_for_this_asset_is_asked_again_after_a_while(
        self, status: str, pause: int
    ) -> None:
        before = StoredAsset(symbol="EURUSD", sync_status=status, status_at_ms=WEDNESDAY)
        assert not assess(EURUSD, before, PAID, WEDNESDAY + pause - 1).due
        assert assess(EURUSD, before, PAID, WEDNESDAY + pause).due

    def test_a_failure_does_not_wait_for_the_frequency(self) -> None:
        failed = StoredAsset(
            symbol="EURUSD",
            as_of_ms=WEDNESDAY - HOUR,
            last_sync_ms=WEDNESDAY - HOUR,
            sync_status="failed",
            status_at_ms=WEDNESDAY - 1,
        )
        assert assess(EURUSD, failed, PAID, WEDNESDAY).due


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
        calls = plan([Work(asset) for asset in assets], {}, PAID, WEDNESDAY)
        assert [len(call.assets) for call in calls] == [250, 250, 1]
        assert [asset for call in calls for asset in call.assets] == assets

    def test_without_snapshots_there_is_one_range_per_asset_in_order(self) -> None:
        calls = plan([Work(XAUUSD), Work(EURUSD), Work(BTCUSD)], {}, FREE, WEDNESDAY)
        assert [call.asset for call in calls if isinstance(call, BarsCall)] == [XAUUSD, EURUSD, BTCUSD]

    def test_a_first_range_reaches_one_page_back_and_ends_where_the_free_plan_ends(self) -> None:
        (call,) = plan([Work(EURUSD)], {}, FREE, WEDNESDAY)
        midnight = new_york("2026-11-18T00:00")
        assert call == BarsCall(EURUSD, midnight - PAGE_MS, midnight - 1)

    def test_a_later_range_begins_with_the_day_of_the_last_stored_bar(self) -> None:
        last_bar = new_york("2026-11-16T13:05")
        before = stored(as_of_ms=last_bar + BAR_MS, synced_ms=last_bar, last_bar_ms=last_bar)
        (call,) = plan([Work(EURUSD)], {"EURUSD": before}, FREE, WEDNESDAY)
        assert isinstance(call, BarsCall)
        assert call.start_ms == new_york("2026-11-16T00:00")

    def test_a_range_never_asks_for_more_than_a_page_holds(self) -> None:
        before = stored(as_of_ms=0, synced_ms=0, last_bar_ms=WEDNESDAY - 400 * DAY)
        (call,) = plan([Work(EURUSD, WorkKind.BARS)], {"EURUSD": before}, PAID, WEDNESDAY)
        assert isinstance(call, BarsCall)
        assert call.end_ms - call.start_ms < PAGE_MS + BAR_MS

    def test_a_class_without_snapshots_does_not_keep_the_other_from_them(self) -> None:
        known = Entitlements(
            end_of_day=False, refusals=[refusal_now(Lack.SNAPSHOT, AssetType.FOREX, "no", WEDNESDAY)]
        )
        calls = plan([Work(EURUSD), Work(BTCUSD)], {}, known, WEDNESDAY)
        assert [type(call) for call in calls] == [BarsCall, SnapshotCall]

    def test_without_intraday_bars_the_previous_day_is_asked(self) -> None:
        known = Entitlements(
            end_of_day=True, refusals=[refusal_now(Lack.INTRADAY, AssetType.FOREX, "no", WEDNESDAY)]
        )
        assert plan([Work(EURUSD)], {}, known, WEDNESDAY) == [PreviousDayCall(EURUSD)]

    def test_bars_work_asks_for_bars_where_prices_come_from_snapshots(self) -> None:
        calls = plan([Work(EURUSD), Work(EURUSD, WorkKind.BARS)], {}, PAID, WEDNESDAY)
        assert [type(call) for call in calls] == [SnapshotCall, BarsCall]

    def test_prices_come_before_bars(self) -> None:
        calls = plan([Work(EURUSD, WorkKind.BARS), Work(BTCUSD)], {}, PAID, WEDNESDAY)
        assert [type(call) for call in calls] == [SnapshotCall, BarsCall]

    @given(
        st.lists(st.sampled_from([EURUSD, XAUUSD, BTCUSD]), unique=True),
        st.booleans(),
        st.sets(st.sampled_from([(lack, kind) for lack in Lack for kind in AssetType])),
        st.integers(WEDNESDAY, WEDNESDAY + 10 * DAY),
    )
    def test_every_due_asset_is_in_exactly_one_call_and_no_call_asks_what_is_refused(
        self, assets: list[Asset], end_of_day: bool, lacks: set[tuple[Lack, AssetType]], now: int
    ) -> None:
        known = Entitlements(
            end_of_day=end_of_day, refusals=[refusal_now(lack, kind, "no", now - 1) for lack, kind in lacks]
        )
        calls = plan([Work(asset) for asset in assets], {}, known, now)
        assert sorted(asset.symbol for call in calls for asset in call.assets) == sorted(
            asset.symbol for asset in assets
        )
        for call in calls:
            for asset in call.assets:
                kind = asset.asset_type
                if isinstance(call, SnapshotCall):
                    assert (Lack.SNAPSHOT, kind) not in lacks
                    assert not end_of_day
                if isinstance(call, BarsCall):
                    assert (Lack.INTRADAY, kind) not in lacks
                    assert call.end_ms < known.horizon_ms(kind, now)


class TestBarsBehind:
    def test_bars_are_behind_when_the_frequency_asks_for_a_finished_one(self) -> None:
        at = stored(as_of_ms=WEDNESDAY, synced_ms=WEDNESDAY, last_bar_ms=WEDNESDAY - BAR_MS)
        assert not behind(EURUSD, at, PAID, WEDNESDAY + BAR_MS - 1)
        assert behind(EURUSD, at, PAID, WEDNESDAY + BAR_MS)

    def test_not_while_the_market_is_closed_and_the_last_bar_is_there(self) -> None:
        close = new_york("2026-11-20T17:00")
        at = stored(as_of_ms=close, synced_ms=close, last_bar_ms=close - BAR_MS)
        assert not behind(EURUSD, at, PAID, SUNDAY)

    def test_never_where_the_price_comes_from_the_bars_anyway(self) -> None:
        assert not behind(EURUSD, StoredAsset(symbol="EURUSD"), FREE, WEDNESDAY)

    def test_never_for_an_asset_that_keeps_no_bars(self) -> None:
        priced = Asset(symbol="E", polygon_ticker="C:E", asset_type=AssetType.FOREX, bars=False)
        assert not behind(priced, StoredAsset(symbol="E"), PAID, WEDNESDAY)


class TestHorizon:
    def test_of_a_paid_plan_is_now(self) -> None:
        assert PAID.horizon_ms(AssetType.FOREX, WEDNESDAY) == WEDNESDAY

    def test_of_the_free_plan_is_the_last_new_york_midnight_in_summer_and_winter(self) -> None:
        assert FREE.horizon_ms(AssetType.FOREX, utc("2026-11-18T15:00")) == utc("2026-11-18T05:00")
        assert FREE.horizon_ms(AssetType.FOREX, utc("2026-07-15T15:00")) == utc("2026-07-15T04:00")
        assert FREE.horizon_ms(AssetType.FOREX, utc("2026-07-15T03:59")) == utc("2026-07-14T04:00")

    def test_of_a_paid_plan_that_was_refused_today_is_the_last_midnight_for_a_day(self) -> None:
        known = Entitlements(
            end_of_day=False, refusals=[refusal_now(Lack.TODAY, AssetType.FOREX, "no", WEDNESDAY)]
        )
        assert known.horizon_ms(AssetType.FOREX, WEDNESDAY) == new_york("2026-11-18T00:00")
        assert known.horizon_ms(AssetType.CRYPTO, WEDNESDAY) == WEDNESDAY
        assert known.horizon_ms(AssetType.FOREX, WEDNESDAY + DAY) == WEDNESDAY + DAY

    def test_falls_back_a_day_while_the_last_day_is_not_published_and_probes_again_in_an_hour(self) -> None:
        after_midnight = new_york("2026-11-18T00:10")
        known = Entitlements(
            end_of_day=True, refusals=[refusal_now(Lack.LAST_DAY, AssetType.FOREX, "no", after_midnight)]
        )
        assert known.horizon_ms(AssetType.FOREX, after_midnight) == new_york("2026-11-17T00:00")
        assert known.horizon_ms(AssetType.FOREX, after_midnight + HOUR) == new_york("2026-11-18T00:00")


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


def test_classes_rank_from_critical_to_low() -> None:
    assert [priority.rank for priority in AssetPriority] == [0, 1, 2, 3]
