"""What the health document says of given figures."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from msgspec import structs

from assetbatch.config import Config
from assetbatch.config.settings import BatchSettings
from assetbatch.domain.asset_classes import AssetType, Market
from assetbatch.domain.assets import Asset, AssetPriority
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.entitlements import Entitlements, Restriction
from assetbatch.domain.forecast import Forecast
from assetbatch.domain.formatting import iso
from assetbatch.domain.listings import Listing, ListingState
from assetbatch.domain.market_hours import to_ms
from assetbatch.domain.models import BAR_MS, CoveredInterval, IntervalState, StoredAsset
from assetbatch.domain.queueing import DeadLetter, Lane, QueueState
from assetbatch.domain.ranges import MOST_FINER
from assetbatch.domain.reasons import Reason
from assetbatch.domain.records import Command, CycleRecord, JobState
from assetbatch.domain.splits import BACK, KnownSplit, Split, SplitKind, SplitState
from assetbatch.domain.status import AssetState, Status
from assetbatch.health import (
    Alert,
    AssetHealth,
    JobHealth,
    Metric,
    Problem,
    Severity,
    Situation,
    alerts_of,
    asset_health,
    is_stale,
    job_health,
    metrics_of,
    problems_of,
    verdict,
)
from assetbatch.health.assets import Stillness, newest_of_markets, stillness
from assetbatch.health.collect import cycles_of, fresh_percent, plan_of, queue_of
from assetbatch.health.jobs import too_frequent
from assetbatch.health.problems import assets_not_well
from assetbatch.state.window import WindowState
from tests.documented import shows

FREE = Entitlements(end_of_day=True)
PAID = Entitlements(end_of_day=False)
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEDNESDAY = to_ms(datetime(2026, 11, 18, 15, tzinfo=UTC))
SUNDAY_OPENING = to_ms(datetime(2026, 11, 22, 22, tzinfo=UTC))
EURUSD = Asset(symbol="EURUSD", polygon_ticker="C:EURUSD", asset_type=AssetType.FOREX)
EMPTY = QueueState(
    now_ms=WEDNESDAY, size=0, by_lane=dict.fromkeys(Lane, 0), leased=0, delayed=0, dead=0, oldest_ms=None
)


def job(**fields: object) -> JobState:
    return JobState(
        **{
            "last_started_ms": WEDNESDAY,
            "last_finished_ms": WEDNESDAY,
            "last_result": "ok",
            "last_error": None,
            "last_refreshed_ms": None,
            "skipped": 0,
            "starts_ms": (),
            **fields,
        }  # type: ignore[arg-type]  # a test's shorthand
    )


def cycle(age_ms: int = 0, **fields: object) -> CycleRecord:
    return CycleRecord(
        started_ms=WEDNESDAY - age_ms,
        duration_ms=1200,
        result="ok",
        **fields,  # type: ignore[arg-type]  # a test's shorthand
    )


NOTHING = structs.replace(cycle(fresh=3), result="nothing")
JOBS = {Command.RUN_PRIORITY: job(), Command.RUN_QUEUE: job(), Command.ENQUEUE_SECONDARY: job()}
ENABLED = Config(priority_assets=(EURUSD,))


def problems(**changes: object) -> list[Problem]:
    """Of a situation in which all is well but for the changes."""
    well = {"assets": [], "jobs": JOBS, "dead": [], "queue": EMPTY, "config": ENABLED, "now_ms": WEDNESDAY}
    return problems_of(Situation(**{**well, **changes}))  # type: ignore[arg-type]  # a test's shorthand


def of_assets(assets: list[AssetHealth]) -> Situation:
    return Situation(assets, JOBS, [], EMPTY, ENABLED, WEDNESDAY)


class TestStaleness:
    def test_begins_after_two_frequencies_and_a_minute(self) -> None:
        assert not is_stale(EURUSD, WEDNESDAY - 11 * MINUTE, PAID, WEDNESDAY)
        assert is_stale(EURUSD, WEDNESDAY - 11 * MINUTE - 1, PAID, WEDNESDAY)

    def test_a_weekend_makes_nothing_stale(self) -> None:
        friday = SUNDAY_OPENING - 48 * HOUR
        assert not is_stale(EURUSD, friday, PAID, SUNDAY_OPENING + 11 * MINUTE)
        assert is_stale(EURUSD, friday, PAID, SUNDAY_OPENING + 12 * MINUTE)

    def test_the_free_plans_day_is_not_stale_until_the_new_one_could_have_been_fetched(self) -> None:
        midnight = to_ms(datetime(2026, 11, 18, 5, tzinfo=UTC))
        assert not is_stale(EURUSD, midnight - 20 * HOUR, FREE, midnight + 11 * MINUTE)
        assert is_stale(EURUSD, midnight - 20 * HOUR, FREE, midnight + 12 * MINUTE)

    def test_counts_from_the_last_close_where_the_plans_day_ended_in_a_weekend(self) -> None:
        friday = SUNDAY_OPENING - 48 * HOUR
        monday_midnight = SUNDAY_OPENING + 7 * HOUR
        assert not is_stale(EURUSD, friday, FREE, monday_midnight + 11 * MINUTE)
        assert is_stale(EURUSD, friday, FREE, monday_midnight + 11 * MINUTE + 1)

    def test_follows_the_assets_own_frequency(self) -> None:
        hourly = structs.replace(EURUSD, update_frequency_seconds=3600)
        assert not is_stale(hourly, WEDNESDAY - 121 * MINUTE, PAID, WEDNESDAY)
        assert is_stale(hourly, WEDNESDAY - 121 * MINUTE - 1, PAID, WEDNESDAY)


BTCUSD = Asset(symbol="BTCUSD", polygon_ticker="X:BTCUSD", asset_type=AssetType.CRYPTO)


AAPL = Asset(symbol="AAPL", polygon_ticker="AAPL", asset_type=AssetType.STOCKS)
NDX = Asset(symbol="NDX", polygon_ticker="I:NDX", asset_type=AssetType.INDICES)


def refreshed(asset: Asset, as_of_ms: int, now_ms: int) -> StoredAsset:
    """An asset whose last refresh has just succeeded, with a price of then."""
    return StoredAsset(
        symbol=asset.symbol,
        last_price=1.1,
        as_of_ms=as_of_ms,
        last_sync_ms=now_ms,
        sync_status=Status.SUCCESS,
        status_at_ms=now_ms,
    )


def paid_that_has_seen(asset_type: AssetType, newest_ms: int, now_ms: int) -> Entitlements:
    known = Entitlements(end_of_day=False)
    known.saw(asset_type, newest_ms, now_ms, market_open=True)
    return known


class TestAHolidayOfTheStockExchange:
    """Thanksgiving 2026 is a Thursday, and the Friday after it closes early."""

    CLOSE = to_ms(datetime(2026, 11, 25, 21, tzinfo=UTC))

    @pytest.mark.parametrize("asset", [AAPL, NDX])
    @pytest.mark.parametrize("known", [FREE, PAID])
    def test_makes_nothing_stale_that_was_complete_at_the_close_before(
        self, asset: Asset, known: Entitlements
    ) -> None:
        free = known is FREE
        midnight = to_ms(datetime(2026, 11, 26, 5, tzinfo=UTC))
        stored = refreshed(
            asset, midnight if free else self.CLOSE, midnight + 6 * MINUTE if free else self.CLOSE + MINUTE
        )
        opening = to_ms(datetime(2026, 11, 27, 14, 30, tzinfo=UTC))
        for at_ms in range(stored.last_sync_ms or 0, opening, 30 * MINUTE):
            health = asset_health(asset, stored, known, at_ms, stored.as_of_ms or 0)
            assert (health.state, health.market) == (AssetState.FRESH, "closed"), iso(at_ms)
            assert health.lag_seconds == 0

    def test_lets_a_stock_be_stale_after_it(self) -> None:
        stored = refreshed(AAPL, self.CLOSE, self.CLOSE + MINUTE)
        opening = to_ms(datetime(2026, 11, 27, 14, 30, tzinfo=UTC))
        assert not is_stale(AAPL, self.CLOSE, PAID, opening + 11 * MINUTE)
        assert is_stale(AAPL, self.CLOSE, PAID, opening + 12 * MINUTE)
        late = asset_health(AAPL, stored, PAID, opening + 12 * MINUTE)
        assert (late.state, late.market) == (AssetState.STALE, "open")

    def test_keeps_the_price_of_a_late_trade_and_misses_nothing_of_the_evening(self) -> None:
        stored = refreshed(AAPL, self.CLOSE + 2 * HOUR, self.CLOSE + 2 * HOUR + MINUTE)
        health = asset_health(AAPL, stored, PAID, self.CLOSE + 10 * HOUR)
        assert (health.state, health.cause, health.lag_seconds) == (AssetState.FRESH, Reason.COMPLETE, 0)


class TestAPriceThatStandsStill:
    def test_is_stale_after_an_hour_if_others_of_its_market_move(self) -> None:
        known = paid_that_has_seen(AssetType.FOREX, WEDNESDAY, WEDNESDAY)
        for age_ms, state in ((HOUR - 1, "fresh"), (HOUR, "stale")):
            stored = refreshed(EURUSD, WEDNESDAY - age_ms, WEDNESDAY)
            health = asset_health(EURUSD, stored, known, WEDNESDAY, WEDNESDAY)
            assert health.state == state
        assert health.reason == (
            "the provider answers, but its price has not moved since 2026-11-18 14:00 UTC"
        )

    def test_is_no_alarm_of_a_stock_which_may_be_halted_or_thin(self) -> None:
        now_ms = to_ms(datetime(2026, 11, 18, 19, tzinfo=UTC))
        known = paid_that_has_seen(AssetType.STOCKS, now_ms, now_ms)
        stored = refreshed(AAPL, now_ms - 2 * HOUR, now_ms)
        health = asset_health(AAPL, stored, known, now_ms, now_ms)
        assert (health.state, health.cause) == (AssetState.FRESH, Reason.HALTED_OR_THIN)
        assert health.reason == "no trade since 2026-11-18 17:00 UTC: halted, or seldom traded"

    def test_of_a_stock_is_not_behind_what_was_asked_for(self) -> None:
        now_ms = to_ms(datetime(2026, 11, 18, 19, tzinfo=UTC))
        known = paid_that_has_seen(AssetType.STOCKS, now_ms, now_ms)
        stored = refreshed(AAPL, now_ms - 2 * HOUR, now_ms - 3 * MINUTE)
        assert asset_health(AAPL, stored, known, now_ms, now_ms).lag_seconds == 180
        known.saw(AssetType.STOCKS, now_ms, now_ms, market_open=True, delayed=True)
        assert asset_health(AAPL, stored, known, now_ms, now_ms).lag_seconds == 180
        index = refreshed(NDX, now_ms - 2 * HOUR, now_ms - 3 * MINUTE)
        assert asset_health(NDX, index, known, now_ms, now_ms).lag_seconds == 7200

    @pytest.mark.parametrize(("frequency_seconds", "patience_ms"), [(1500, HOUR), (3600, 121 * MINUTE)])
    def test_is_stale_not_before_two_of_its_frequencies_and_a_minute(
        self, frequency_seconds: int, patience_ms: int
    ) -> None:
        asset = structs.replace(EURUSD, update_frequency_seconds=frequency_seconds)
        known = paid_that_has_seen(AssetType.FOREX, WEDNESDAY, WEDNESDAY)
        for age_ms, stands in ((patience_ms - 1, False), (patience_ms, True)):
            stored = refreshed(asset, WEDNESDAY - age_ms, WEDNESDAY)
            assert (stillness(asset, stored, known, WEDNESDAY, WEDNESDAY) is Stillness.UNEXPLAINED) is stands

    def test_is_given_the_plans_delay_besides(self) -> None:
        known = paid_that_has_seen(AssetType.CRYPTO, WEDNESDAY - 15 * MINUTE, WEDNESDAY)
        for age_ms, stands in ((75 * MINUTE - 1, False), (75 * MINUTE, True)):
            stored = refreshed(BTCUSD, WEDNESDAY - age_ms, WEDNESDAY)
            assert (stillness(BTCUSD, stored, known, WEDNESDAY, WEDNESDAY) is Stillness.UNEXPLAINED) is stands

    def test_counts_up_to_its_last_refresh(self) -> None:
        known = paid_that_has_seen(AssetType.CRYPTO, WEDNESDAY, WEDNESDAY)
        then = refreshed(BTCUSD, WEDNESDAY - 5 * HOUR, WEDNESDAY - 4 * HOUR - 1)
        assert stillness(BTCUSD, then, known, WEDNESDAY, WEDNESDAY) is not Stillness.UNEXPLAINED

    @pytest.mark.parametrize("absent", ["as_of_ms", "last_sync_ms"])
    def test_is_none_where_there_is_no_price_or_no_refresh(self, absent: str) -> None:
        known = paid_that_has_seen(AssetType.CRYPTO, WEDNESDAY, WEDNESDAY)
        stored = structs.replace(refreshed(BTCUSD, WEDNESDAY - 5 * HOUR, WEDNESDAY), **{absent: None})
        assert stillness(BTCUSD, stored, known, WEDNESDAY, WEDNESDAY) is not Stillness.UNEXPLAINED

    def test_may_be_a_holiday_if_nothing_of_its_market_moves(self) -> None:
        then = WEDNESDAY - 5 * HOUR
        known = paid_that_has_seen(AssetType.FOREX, WEDNESDAY, WEDNESDAY)
        stored = refreshed(EURUSD, then, WEDNESDAY)
        for newest_ms, state in ((0, "fresh"), (then + HOUR - 1, "fresh"), (then + HOUR, "stale")):
            assert asset_health(EURUSD, stored, known, WEDNESDAY, newest_ms).state == state

    def test_metals_are_judged_beside_metals(self) -> None:
        moments = {"XAUUSD": WEDNESDAY - 5 * HOUR, "XAGUSD": WEDNESDAY - 4 * HOUR, "EURUSD": WEDNESDAY}
        metals = [
            Asset(symbol=symbol, polygon_ticker=f"C:{symbol}", asset_type=AssetType.FOREX)
            for symbol in ("XAUUSD", "XAGUSD")
        ]
        stored = {s: StoredAsset(symbol=s, as_of_ms=at_ms) for s, at_ms in moments.items()}
        newest = newest_of_markets([*metals, EURUSD, BTCUSD], stored)
        assert newest == {Market.METAL: WEDNESDAY - 4 * HOUR, Market.FOREX: WEDNESDAY}

    @pytest.mark.parametrize("asset", [EURUSD, BTCUSD])
    def test_is_quiet_where_its_bars_were_asked_for_and_are_empty(self, asset: Asset) -> None:
        then = WEDNESDAY - 5 * HOUR
        known = paid_that_has_seen(asset.asset_type, WEDNESDAY, WEDNESDAY)
        stored = refreshed(asset, then, WEDNESDAY)
        for asked_to_ms, last_bar_ms, state in (
            (WEDNESDAY - HOUR + 1, then - 2 * BAR_MS, "fresh"),
            (WEDNESDAY - HOUR, then - 2 * BAR_MS, "stale"),
            (WEDNESDAY - HOUR + 1, then + BAR_MS, "stale"),
            (WEDNESDAY - HOUR + 1, None, "fresh"),
        ):
            asked = CoveredInterval(then - DAY, asked_to_ms, IntervalState.ASKED, WEDNESDAY)
            known_bars = structs.replace(stored, coverage=(asked,), last_bar_ms=last_bar_ms)
            health = asset_health(asset, known_bars, known, WEDNESDAY, WEDNESDAY)
            assert health.state == state
            assert health.reason.startswith("quiet since 2026-11-18 10:00 UTC") is (state == "fresh")

    @pytest.mark.parametrize(("later_ms", "state"), [(0, "fresh"), (BAR_MS, "stale")])
    def test_is_quiet_from_the_bar_on_that_it_is_of(self, later_ms: int, state: str) -> None:
        then = WEDNESDAY - 5 * HOUR
        known = paid_that_has_seen(AssetType.CRYPTO, WEDNESDAY, WEDNESDAY)
        asked = CoveredInterval(then + later_ms, WEDNESDAY, IntervalState.ASKED, WEDNESDAY)
        stored = structs.replace(refreshed(BTCUSD, then + 1, WEDNESDAY), coverage=(asked,))
        assert asset_health(BTCUSD, stored, known, WEDNESDAY).state == state

    def test_is_quiet_where_an_older_answer_told_all_up_to_its_bar(self) -> None:
        then = WEDNESDAY - 5 * HOUR
        known = paid_that_has_seen(AssetType.CRYPTO, WEDNESDAY, WEDNESDAY)
        older = CoveredInterval(then - DAY, then, IntervalState.ASKED, then)
        newer = CoveredInterval(then, WEDNESDAY, IntervalState.ASKED, WEDNESDAY)
        stored = structs.replace(refreshed(BTCUSD, then + 1, WEDNESDAY), coverage=(older, newer))
        assert asset_health(BTCUSD, stored, known, WEDNESDAY).state == "fresh"

    @pytest.mark.parametrize("state", [IntervalState.FAILED, IntervalState.REQUESTED])
    def test_is_not_quiet_where_no_answer_has_told_so(self, state: IntervalState) -> None:
        then = WEDNESDAY - 5 * HOUR
        known = paid_that_has_seen(AssetType.CRYPTO, WEDNESDAY, WEDNESDAY)
        coverage = (
            CoveredInterval(then - DAY, then - HOUR, IntervalState.ASKED),
            CoveredInterval(then - HOUR, WEDNESDAY, state, then),
        )
        stored = structs.replace(refreshed(BTCUSD, then, WEDNESDAY), coverage=coverage)
        assert asset_health(BTCUSD, stored, known, WEDNESDAY).state == "stale"

    def test_says_nothing_where_no_snapshot_was_asked(self) -> None:
        """The tier promises snapshots; the price is that of the last bar of a day that has ended."""
        midnight = WEDNESDAY - 10 * HOUR
        stored = refreshed(BTCUSD, midnight, WEDNESDAY)
        assert asset_health(BTCUSD, stored, PAID, WEDNESDAY).cause is not Reason.NOT_MOVING
        shown = paid_that_has_seen(AssetType.CRYPTO, WEDNESDAY, WEDNESDAY)
        of_a_bar = structs.replace(stored, last_bar_ms=midnight - BAR_MS)
        assert asset_health(BTCUSD, of_a_bar, shown, WEDNESDAY).cause is not Reason.NOT_MOVING
        assert asset_health(BTCUSD, stored, shown, WEDNESDAY).cause is Reason.NOT_MOVING

    def test_is_no_holiday_of_crypto(self) -> None:
        then = WEDNESDAY - 5 * HOUR
        known = paid_that_has_seen(AssetType.CRYPTO, then, WEDNESDAY)
        assert asset_health(BTCUSD, refreshed(BTCUSD, then, WEDNESDAY), known, WEDNESDAY).state == "stale"

    def test_is_as_it_should_be_over_a_weekend_and_right_after_it(self) -> None:
        closing = SUNDAY_OPENING - 48 * HOUR
        for as_of_ms, now_ms in (
            (closing - 2 * HOUR, SUNDAY_OPENING - HOUR),
            (closing, SUNDAY_OPENING + 59 * MINUTE),
        ):
            known = paid_that_has_seen(AssetType.FOREX, now_ms, now_ms)
            state = asset_health(EURUSD, refreshed(EURUSD, as_of_ms, now_ms), known, now_ms).state
            assert state == "fresh"

    def test_is_complete_where_prices_come_from_bars(self) -> None:
        then = WEDNESDAY - 5 * HOUR
        known = paid_that_has_seen(AssetType.CRYPTO, then, WEDNESDAY)
        for lack in (Restriction.SNAPSHOT, Restriction.MARKET_SNAPSHOT):
            known.refused(lack, AssetType.CRYPTO, "", WEDNESDAY, ticker="X:BTCUSD")
        assert asset_health(BTCUSD, refreshed(BTCUSD, then, WEDNESDAY), known, WEDNESDAY).state != "stale"


class TestAnAsset:
    def test_that_failed_shows_why(self) -> None:
        stored = StoredAsset(
            symbol="EURUSD",
            last_price=1.1,
            daily_open=1.0,
            as_of_ms=WEDNESDAY - HOUR,
            last_sync_ms=WEDNESDAY - HOUR,
            sync_status=Status.FAILED,
            status_at_ms=WEDNESDAY,
            error_message="503",
        )
        health = asset_health(EURUSD, stored, PAID, WEDNESDAY)
        assert (health.state, health.error, health.age_seconds, health.change_percent) == (
            "failed",
            "503",
            3600.0,
            10.0,
        )

    def test_that_is_well_shows_all_there_is_to_know(self) -> None:
        begin = WEDNESDAY - 20 * HOUR
        asked = CoveredInterval(begin, WEDNESDAY, IntervalState.ASKED, WEDNESDAY)
        stored = StoredAsset(
            symbol="EURUSD",
            last_price=1.08557,
            daily_open=1.08545,
            as_of_ms=WEDNESDAY - 61_250,
            last_sync_ms=WEDNESDAY - 60_000,
            sync_status=Status.SUCCESS,
            status_at_ms=WEDNESDAY,
            coverage=(asked,),
        )
        health = asset_health(structs.replace(EURUSD, priority=AssetPriority.HIGH), stored, PAID, WEDNESDAY)
        assert health == AssetHealth(
            symbol="EURUSD",
            priority=AssetPriority.HIGH,
            asset_type="forex",
            last_price=1.08557,
            change_percent=0.011,
            as_of="2026-11-18T14:58:58.750+00:00",
            age_seconds=61.2,
            lag_seconds=61.2,
            market="open",
            state=AssetState.FRESH,
            cause=Reason.REFRESHED,
            reason="refreshed 60 s ago",
            error=None,
            complete=1.0,
            complete_since="2026-11-17T19:00:00.000+00:00",
            verified=0.0,
        )

    def test_without_a_price_has_no_age_and_no_change(self) -> None:
        health = asset_health(EURUSD, StoredAsset(symbol="EURUSD", last_price=1.1), PAID, WEDNESDAY)
        assert (health.state, health.as_of, health.age_seconds, health.lag_seconds) == (
            "never",
            None,
            None,
            None,
        )
        assert (health.change_percent, health.complete, health.complete_since) == (None, None, None)

    @pytest.mark.parametrize("absent", ["as_of_ms", "last_sync_ms"])
    def test_that_never_had_a_price_or_a_success_was_never_fetched(self, absent: str) -> None:
        stored = structs.replace(refreshed(EURUSD, WEDNESDAY, WEDNESDAY), **{absent: None})
        assert asset_health(EURUSD, stored, PAID, WEDNESDAY).state == "never"

    def test_is_due_and_then_stale(self) -> None:
        for age_ms, state in ((3 * MINUTE, "fresh"), (6 * MINUTE, "due"), (12 * MINUTE, "stale")):
            then = WEDNESDAY - age_ms
            health = asset_health(EURUSD, refreshed(EURUSD, then, then), PAID, WEDNESDAY)
            assert health.state == state

    def test_that_the_plan_lacks_says_so_whatever_was_stored(self) -> None:
        known = Entitlements(end_of_day=True)
        for lack in (Restriction.BARS, Restriction.PREVIOUS_DAY):
            known.refused(lack, AssetType.FOREX, "", WEDNESDAY, ticker="C:EURUSD")
        health = asset_health(EURUSD, refreshed(EURUSD, WEDNESDAY, WEDNESDAY), known, WEDNESDAY)
        assert (health.state, health.reason) == ("not_entitled", "not in the plan; asked again once a day")

    def test_is_behind_by_what_its_market_and_the_plan_could_show(self) -> None:
        close = SUNDAY_OPENING - 48 * HOUR
        saturday = close + 20 * HOUR
        for as_of_ms, behind in ((close - 90_000, 90.0), (close, 0.0), (close + MINUTE, 0.0)):
            stored = refreshed(EURUSD, as_of_ms, saturday)
            assert asset_health(EURUSD, stored, PAID, saturday).lag_seconds == behind
        assert asset_health(EURUSD, stored, PAID, saturday).market == "closed"
        midnight = WEDNESDAY - 10 * HOUR
        stored = refreshed(BTCUSD, midnight - MINUTE, WEDNESDAY)
        assert asset_health(BTCUSD, stored, FREE, WEDNESDAY).lag_seconds == 60.0

    @pytest.mark.parametrize(
        ("frequency_seconds", "on_its_way_ms"), [(300, 30 * MINUTE), (900, 30 * MINUTE), (3600, 120 * MINUTE)]
    )
    def test_is_complete_though_the_latest_bars_are_on_their_way(
        self, frequency_seconds: int, on_its_way_ms: int
    ) -> None:
        asset = structs.replace(BTCUSD, update_frequency_seconds=frequency_seconds)
        begin = WEDNESDAY - 10 * HOUR
        for late_ms, complete in ((0, True), (5 * MINUTE, False)):
            asked = CoveredInterval(
                begin, WEDNESDAY - on_its_way_ms - late_ms, IntervalState.ASKED, WEDNESDAY
            )
            stored = structs.replace(refreshed(asset, WEDNESDAY, WEDNESDAY), coverage=(asked,))
            assert (asset_health(asset, stored, PAID, WEDNESDAY).complete == 1.0) is complete

    def test_of_a_plan_of_ended_days_waits_for_nothing_that_is_on_its_way(self) -> None:
        midnight = WEDNESDAY - 10 * HOUR
        asked = CoveredInterval(midnight - 3 * HOUR, midnight - HOUR, IntervalState.ASKED, midnight)
        stored = structs.replace(refreshed(BTCUSD, midnight, WEDNESDAY), coverage=(asked,))
        health = asset_health(BTCUSD, stored, FREE, WEDNESDAY)
        assert (health.complete, health.complete_since) == (0.666667, iso(midnight - 3 * HOUR))

    def test_that_keeps_no_bars_has_none_to_be_complete(self) -> None:
        asked = CoveredInterval(WEDNESDAY - HOUR, WEDNESDAY, IntervalState.ASKED, WEDNESDAY)
        stored = structs.replace(refreshed(BTCUSD, WEDNESDAY, WEDNESDAY), coverage=(asked,))
        health = asset_health(structs.replace(BTCUSD, bars=BarSize.NONE), stored, PAID, WEDNESDAY)
        assert (health.complete, health.complete_since) == (None, None)

    def test_without_a_row_says_what_to_run(self) -> None:
        health = asset_health(EURUSD, None, PAID, WEDNESDAY)
        assert (health.state, health.reason) == ("never", "not registered: run assetbatch init")


class TestMetrics:
    def test_the_success_rate_is_that_of_the_last_hours_due_assets(self) -> None:
        cycles = [cycle(refreshed=2, failed=1), cycle(30 * MINUTE, refreshed=1), cycle(2 * HOUR, failed=9)]
        assert metrics_of(cycles, EMPTY, 0, WEDNESDAY)["batch.priority.success_rate"] == 75.0

    def test_the_hour_includes_its_first_moment(self) -> None:
        for age_ms, rate in ((HOUR, 50.0), (HOUR + 1, 100.0)):
            cycles = [cycle(refreshed=1), cycle(age_ms, failed=1)]
            assert metrics_of(cycles, EMPTY, 0, WEDNESDAY)["batch.priority.success_rate"] == rate

    def test_the_success_rate_has_two_digits(self) -> None:
        cycles = [cycle(refreshed=2, failed=1)]
        assert metrics_of(cycles, EMPTY, 0, WEDNESDAY)["batch.priority.success_rate"] == 66.67

    def test_a_cycle_that_broke_off_after_failures_counts_those(self) -> None:
        cycles = [cycle(refreshed=3, failed=1, error="redis is gone")]
        assert metrics_of(cycles, EMPTY, 0, WEDNESDAY)["batch.priority.success_rate"] == 75.0

    def test_the_others_are_the_last_cycles_duration_the_queue_and_the_waits(self) -> None:
        cycles = [cycle(), structs.replace(cycle(MINUTE), duration_ms=9)]
        metrics = metrics_of(cycles, structs.replace(EMPTY, size=4), 7, WEDNESDAY)
        assert metrics == {
            "batch.priority.success_rate": 100.0,
            "batch.priority.refreshes": 0.0,
            "batch.priority.latency_ms": 1200.0,
            "queue.size": 4.0,
            "api.rate_limit_waits": 7.0,
            "api.priority_waits": 0.0,
        }
        assert metrics_of([], EMPTY, 0, WEDNESDAY)["batch.priority.latency_ms"] == 0.0

    def test_it_is_full_when_nothing_was_due(self) -> None:
        assert metrics_of([cycle(fresh=3)], EMPTY, 0, WEDNESDAY)["batch.priority.success_rate"] == 100.0

    def test_a_cycle_that_broke_off_counts_as_a_failure(self) -> None:
        metrics = metrics_of([cycle(error="no database")], EMPTY, 0, WEDNESDAY)
        assert metrics["batch.priority.success_rate"] == 0.0
        metrics = metrics_of([cycle(error="no database"), cycle(refreshed=1)], EMPTY, 0, WEDNESDAY)
        assert metrics["batch.priority.success_rate"] == 50.0

    def test_alerts_are_beyond_the_thresholds_not_at_them(self) -> None:
        at = {
            "batch.priority.success_rate": 90.0,
            "batch.priority.refreshes": 10.0,
            "batch.priority.latency_ms": 30_000.0,
            "queue.size": 500.0,
            "api.priority_waits": 10.0,
        }
        beyond = {
            "batch.priority.success_rate": 89.9,
            "batch.priority.refreshes": 10.0,
            "batch.priority.latency_ms": 30_001.0,
            "queue.size": 501.0,
            "api.priority_waits": 11.0,
        }
        assert alerts_of(at, Config(), []) == []
        assert alerts_of(beyond, Config(), []) == [
            Alert(Metric.SUCCESS_RATE, 89.9, 90.0, Severity.CRITICAL),
            Alert(Metric.LATENCY, 30_001.0, 30_000.0, Severity.WARNING),
            Alert(Metric.QUEUE_SIZE, 501.0, 500.0, Severity.WARNING),
            Alert(Metric.WAITS, 11.0, 10.0, Severity.WARNING),
        ]

    @pytest.mark.parametrize(
        ("cycles", "severity"),
        [
            ([cycle(refreshed=3), cycle(error="the API cannot be reached")], "warning"),
            ([cycle(fresh=3), cycle(refreshed=3), cycle(failed=3)], "warning"),
            ([cycle(fresh=3), cycle(failed=3), cycle(refreshed=3)], "critical"),
            ([cycle(refreshed=2, failed=1)], "critical"),
            ([cycle(refreshed=3, error="redis is gone"), cycle(refreshed=3)], "critical"),
            ([NOTHING, cycle(error="a lock was not free in time")], "warning"),
            ([NOTHING, cycle(error="no database"), cycle(refreshed=3)], "warning"),
            ([NOTHING, cycle(error="no database"), cycle(failed=3)], "critical"),
            ([cycle(error="no database"), NOTHING], "critical"),
            ([structs.replace(NOTHING, result="stopped"), cycle(error="no database")], "critical"),
        ],
    )
    def test_a_success_rate_that_has_healed_is_no_more_than_a_warning(
        self, cycles: list[CycleRecord], severity: str
    ) -> None:
        metrics = {
            **metrics_of([], EMPTY, 0, WEDNESDAY),
            "batch.priority.success_rate": 50.0,
            "batch.priority.refreshes": 10.0,
        }
        assert [alert.severity for alert in alerts_of(metrics, Config(), cycles)] == [severity]

    def test_the_success_rate_is_judged_on_ten_refreshes(self) -> None:
        for refreshed, alerts in ((7, []), (8, [Metric.SUCCESS_RATE])):
            cycles = [cycle(refreshed=refreshed, failed=2)]
            metrics = metrics_of(cycles, EMPTY, 0, WEDNESDAY)
            assert [alert.metric for alert in alerts_of(metrics, Config(), cycles)] == alerts

    @pytest.mark.parametrize(
        ("good", "rate"),
        [
            ([cycle(refreshed=3)] * 2, 40.0),
            ([cycle(refreshed=3)] * 3, 100.0),
            ([NOTHING, NOTHING, cycle(refreshed=3)], 100.0),
            ([NOTHING] * 5, 0.0),  # the assets that failed may be left alone
            ([cycle(refreshed=3), cycle(refreshed=3, error="redis is gone"), cycle(refreshed=3)], 47.37),
            ([cycle(refreshed=3), cycle(), cycle(refreshed=3)], 40.0),  # one that was skipped says nothing
        ],
    )
    def test_the_success_rate_forgets_what_went_wrong_before_three_good_cycles(
        self, good: list[CycleRecord], rate: float
    ) -> None:
        cycles = [*good, *[cycle(failed=3)] * 3]
        assert metrics_of(cycles, EMPTY, 0, WEDNESDAY)["batch.priority.success_rate"] == rate

    def test_a_low_success_rate_is_no_alert_after_two_good_cycles_in_a_row(self) -> None:
        failed = [cycle(failed=3)] * 4
        for head, alerts in (
            ([cycle(refreshed=3)], 1),
            ([cycle(refreshed=3)] * 2, 0),
            ([NOTHING, cycle(refreshed=3)], 0),
            ([cycle(refreshed=3), cycle(failed=3), cycle(refreshed=3)], 1),
        ):
            metrics = metrics_of([*head, *failed], EMPTY, 0, WEDNESDAY)
            assert metrics["batch.priority.success_rate"] < 90
            assert len(alerts_of(metrics, Config(), [*head, *failed])) == alerts

    def test_a_cycle_that_broke_off_is_forgotten_after_three_that_found_nothing_to_do(self) -> None:
        cycles = [NOTHING, NOTHING, NOTHING, *[cycle(error="no database")] * 9]
        assert metrics_of(cycles, EMPTY, 0, WEDNESDAY)["batch.priority.success_rate"] == 100.0

    def test_waits_are_an_alert_only_where_priority_waits(self) -> None:
        cycles = [cycle(n * MINUTE, waits=1) for n in range(12)] + [cycle(2 * HOUR, waits=50)]
        metrics = metrics_of(cycles, EMPTY, 400, WEDNESDAY)
        assert (metrics[Metric.WAITS], metrics[Metric.PRIORITY_WAITS]) == (400, 12)
        assert alerts_of(metrics, Config(), cycles) == [Alert(Metric.WAITS, 12.0, 10.0, Severity.WARNING)]
        assert alerts_of(metrics_of([], EMPTY, 400, WEDNESDAY), Config(), []) == []

    def test_the_share_of_fresh_assets_counts_those_that_are_due(self) -> None:
        states = list(map(AssetState, ["fresh", "due", "stale", "never", "failed", "fresh"]))
        stored = refreshed(EURUSD, WEDNESDAY, WEDNESDAY)
        one = asset_health(EURUSD, stored, PAID, WEDNESDAY)
        assert fresh_percent([structs.replace(one, state=state) for state in states]) == 50.0
        assert fresh_percent([structs.replace(one, state=state) for state in states[1:4]]) == 33.33


class TestTheQueue:
    def test_has_its_figures_under_their_public_names(self) -> None:
        lanes = {Lane.CRITICAL: 1, Lane.HIGH: 2, Lane.MEDIUM: 3, Lane.LOW: 4, Lane.BARS: 5, Lane.HISTORY: 6}
        state = QueueState(
            now_ms=WEDNESDAY,
            size=25,
            by_lane=lanes,
            leased=3,
            delayed=1,
            dead=2,
            oldest_ms=WEDNESDAY - 61_270,
        )
        ahead = Forecast(calls=12, calls_per_minute=5.0, minutes=2.4, done_ms=WEDNESDAY + 174_600)
        assert queue_of(state, Config(), ahead) == {
            "total_items": 25,
            "by_priority": {"CRITICAL": 1, "HIGH": 2, "MEDIUM": 3, "LOW": 15},
            "bars": 5,
            "history": 6,
            "oldest_item_age_seconds": 61.3,
            "leased": 3,
            "delayed": 1,
            "dead": 2,
            "max_size": Config().queue.max_size,
            "calls_ahead": 12,
            "done_in_seconds": 175,
        }

    def test_that_is_empty_has_no_age_and_no_end(self) -> None:
        shown = queue_of(EMPTY, Config(), None)
        assert (shown["oldest_item_age_seconds"], shown["calls_ahead"], shown["done_in_seconds"]) == (
            None,
            0,
            None,
        )


class TestThePlan:
    def test_shows_its_limit_and_up_to_when_it_shows_data(self) -> None:
        window = WindowState(WEDNESDAY, 5, 60_000, 2, WEDNESDAY, 0, 0)
        config = Config(priority_assets=(EURUSD,), secondary_assets=(BTCUSD,))
        known = Entitlements(end_of_day=False)
        refusal = known.refused(Restriction.TODAY, AssetType.CRYPTO, "no", WEDNESDAY, ticker="X:BTCUSD")
        shown = plan_of(config, window, known, [refusal], WEDNESDAY)
        assert (shown["limit"], shown["window_seconds"]) == (5, 60.0)
        assert shown["data_up_to"] == {"forex": iso(WEDNESDAY), "crypto": iso(WEDNESDAY - 10 * HOUR)}
        assert [words.split(";")[0] for words in shown["refusals"]] == [
            "your plan has no crypto data of the running day"
        ]


class TestTheLastCycles:
    def test_are_five_of_each_command_the_newest_first(self) -> None:
        cycles = {
            Command.RUN_PRIORITY: [cycle(n * MINUTE) for n in range(6)],
            Command.RUN_QUEUE: [cycle(90_240, refreshed=1, failed=2, fresh=3, calls=4)],
        }
        shown = cycles_of(cycles, WEDNESDAY)
        ages = [(one["command"], one["age_seconds"]) for one in shown]
        assert ages == [
            ("run-priority", 0.0),
            ("run-priority", 60.0),
            ("run-queue", 90.2),
            ("run-priority", 120.0),
            ("run-priority", 180.0),
            ("run-priority", 240.0),
        ]
        assert shown[2] == {
            "command": "run-queue",
            "command_old": "run_queue",
            "started": iso(WEDNESDAY - 90_240),
            "age_seconds": 90.2,
            "duration_ms": 1200,
            "result": "ok",
            "refreshed": 1,
            "failed": 2,
            "fresh": 3,
            "calls": 4,
            "calling_ms": 0,
            "waits": 0,
        }


class TestAJob:
    def test_that_has_not_ended_is_running_until_its_bound_and_then_has_died(self) -> None:
        started = job(last_started_ms=WEDNESDAY, last_finished_ms=WEDNESDAY - 1)
        assert job_health(Command.RUN_QUEUE, started, ENABLED, WEDNESDAY + 89_000).last_result == "running"
        assert job_health(Command.RUN_QUEUE, started, ENABLED, WEDNESDAY + 90_000).last_result == "died"

    @pytest.mark.parametrize(("max_cycle_seconds", "bound_seconds"), [(10, 90), (300, 330)])
    def test_has_the_bound_of_its_configuration_but_at_least_a_minute_and_a_half(
        self, max_cycle_seconds: int, bound_seconds: int
    ) -> None:
        config = structs.replace(
            ENABLED, batch=structs.replace(ENABLED.batch, max_cycle_seconds=max_cycle_seconds)
        )
        started = job(last_finished_ms=None)
        now_ms = WEDNESDAY + bound_seconds * 1000
        assert job_health(Command.RUN_QUEUE, started, config, now_ms - 1).last_result == "running"
        assert job_health(Command.RUN_QUEUE, started, config, now_ms).last_result == "died"

    def test_that_ended_within_the_millisecond_of_its_start_has_ended(self) -> None:
        assert job_health(Command.RUN_QUEUE, job(), ENABLED, WEDNESDAY).last_result == "ok"

    def test_that_never_started_is_expected_when_cron_would_start_it(self) -> None:
        never = job(last_started_ms=None, last_finished_ms=None, last_result=None)
        assert job_health(Command.RUN_PRIORITY, never, ENABLED, WEDNESDAY + MINUTE) == JobHealth(
            id=Command.RUN_PRIORITY,
            id_old="run_priority",
            name="refresh the priority assets",
            trigger="every 5 minutes",
            last_started=None,
            last_finished=None,
            last_result=None,
            last_error=None,
            next_run=iso(WEDNESDAY + 5 * MINUTE),
            skipped=0,
        )

    @pytest.mark.parametrize(
        ("command", "minutes", "trigger"),
        [
            (Command.RUN_PRIORITY, 15, "every 15 minutes"),
            (Command.RUN_QUEUE, 1, "every minute"),
            (Command.ENQUEUE_SECONDARY, 10, "every 10 minutes"),
        ],
    )
    def test_that_starts_by_its_rhythm_is_expected_an_interval_later(
        self, command: Command, minutes: int, trigger: str
    ) -> None:
        config = Config(
            priority_assets=(EURUSD,), batch=BatchSettings(interval_minutes=15, enqueue_interval_minutes=10)
        )
        interval_ms = minutes * MINUTE
        starts = job(starts_ms=(WEDNESDAY + 7 - interval_ms, WEDNESDAY + 7))
        for after_ms, intervals in ((0, 1), (interval_ms - 1, 1), (interval_ms, 2), (2 * interval_ms - 1, 2)):
            health = job_health(command, starts, config, WEDNESDAY + 7 + after_ms)
            assert health.next_run == iso(WEDNESDAY + 7 + intervals * interval_ms)
            assert health.trigger == trigger

    def test_that_missed_starts_is_expected_at_the_next_one_of_its_rhythm(self) -> None:
        starts = (WEDNESDAY - 10 * MINUTE, WEDNESDAY - 5 * MINUTE, WEDNESDAY)
        health = job_health(Command.RUN_PRIORITY, job(starts_ms=starts), ENABLED, WEDNESDAY + 118 * MINUTE)
        assert health.next_run == iso(WEDNESDAY + 120 * MINUTE)


class TestFrequencies:
    def test_that_cron_cannot_keep_are_named_by_their_assets(self) -> None:
        often = [structs.replace(EURUSD, symbol=f"S{n}", update_frequency_seconds=60 + n) for n in range(5)]
        batch = BatchSettings(interval_minutes=2, enqueue_interval_minutes=10)
        found = too_frequent(
            Config(priority_assets=(EURUSD, *often), secondary_assets=(EURUSD,), batch=batch)
        )
        assert found == [
            "S0, S1, S2 and 2 more: update_frequency_seconds 60 cannot be kept, batch.interval_minutes is 2",
            "EURUSD: update_frequency_seconds 300 cannot be kept, batch.enqueue_interval_minutes is 10",
        ]

    def test_that_cron_can_keep_are_not(self) -> None:
        off = structs.replace(EURUSD, update_frequency_seconds=1, enabled=False)
        assert too_frequent(Config(priority_assets=(EURUSD, off), secondary_assets=(EURUSD, off))) == []
        assert too_frequent(Config()) == []


class TestProblems:
    def test_stored_bars_that_differ_too_often_are_named_while_they_are_asked_for_again(self) -> None:
        (problem,) = problems(asked_again={"BTCUSD": WEDNESDAY - HOUR, "ETHUSD": WEDNESDAY})
        assert problem.message.startswith("BTCUSD, ETHUSD: more than 1 % of the verified bars differed")
        assert problem.severity == "warning"

    def test_hosts_that_keep_bars_of_different_sizes(self) -> None:
        (problem,) = problems(finer={"BTCUSD": MOST_FINER, "ETHUSD": MOST_FINER - 1})
        assert problem.message.startswith("BTCUSD: more bars are kept here or elsewhere")
        assert problem.severity == "warning"

    def test_splits_in_doubt_are_named_with_their_days(self) -> None:
        one = Split(date(2026, 11, 16), 1, 4, SplitKind.FORWARD)
        found = problems(
            splits=[
                ("AAPL", KnownSplit(one, SplitState.CONFLICT)),
                ("SPY", KnownSplit(one, SplitState.APPLIED)),
            ]
        )
        assert [(problem.message.partition(":")[0], problem.severity) for problem in found] == [
            ("AAPL on 2026-11-16", "warning"),
            ("SPY on 2026-11-16", "warning"),
        ]

    def test_a_correction_of_a_split_by_hand_is_said_to_last_only_after_a_week(self) -> None:
        one = Split(date(2026, 11, 16), 1, 4, SplitKind.FORWARD)
        states = (SplitState.CONFLICT, SplitState.APPLIED)
        found = problems(splits=[("AAPL", KnownSplit(one, state)) for state in states])
        assert all("until a week after its day" in (problem.hint or "") for problem in found)
        assert (len(found), BACK) == (2, timedelta(days=7))

    def test_cron_that_has_stopped_starting_us(self) -> None:
        late = job(last_started_ms=WEDNESDAY - 11 * MINUTE)
        (problem,) = problems_of(
            Situation([], {**JOBS, Command.RUN_PRIORITY: late}, [], EMPTY, ENABLED, WEDNESDAY)
        )
        assert problem.message == "run-priority was last started 11 min ago, it should be every 5 min"
        assert problem.severity == "critical"

    def test_cron_that_has_left_out_one_start_has_not_stopped_yet(self) -> None:
        late = job(last_started_ms=WEDNESDAY - 10 * MINUTE - 30_000)
        assert problems(jobs={**JOBS, Command.RUN_PRIORITY: late}) == []
        later = job(last_started_ms=WEDNESDAY - 10 * MINUTE - 30_001)
        assert problems(jobs={**JOBS, Command.RUN_PRIORITY: later}) != []

    def test_a_start_that_died(self) -> None:
        died = job(last_started_ms=WEDNESDAY - 2 * MINUTE, last_finished_ms=WEDNESDAY - 3 * MINUTE)
        for command, severity in ((Command.RUN_PRIORITY, "critical"), (Command.RUN_QUEUE, "warning")):
            (problem,) = problems(jobs={**JOBS, command: died})
            assert problem.message == f"the {command} of 2026-11-18 14:58 UTC died before its end"
            assert problem.severity == severity

    def test_a_redis_that_was_emptied_is_no_cron_that_never_started(self) -> None:
        never = dict.fromkeys(JOBS, job(last_started_ms=None))
        known = asset_health(EURUSD, refreshed(EURUSD, WEDNESDAY, WEDNESDAY), PAID, WEDNESDAY)
        (problem,) = problems(jobs=never, assets=[known])
        assert "redis has no record of a run-priority" in problem.message
        (problem,) = problems(jobs=never)
        assert problem.message == "run-priority has never been started"

    @pytest.mark.parametrize("other", [Command.RUN_QUEUE, Command.ENQUEUE_SECONDARY])
    def test_a_redis_that_knows_other_commands_was_not_emptied(self, other: Command) -> None:
        others = {**dict.fromkeys(JOBS, job(last_started_ms=None)), other: job()}
        known = asset_health(EURUSD, refreshed(EURUSD, WEDNESDAY, WEDNESDAY), PAID, WEDNESDAY)
        (problem,) = problems(jobs=others, assets=[known])
        assert problem.message == "run-priority has never been started"

    def test_a_queue_in_which_assets_found_no_room(self) -> None:
        names = tuple(f"S{n}" for n in range(10))
        last = cycle(5 * MINUTE, dropped=34, dropped_names=names)
        (problem,) = problems(last_enqueued=last)
        assert problem.message == (
            "the queue is full (at most 1,000): 34 assets found no room at 2026-11-18 14:55 UTC: "
            "S0, S1, S2, S3, S4, S5, S6, S7, S8, S9 and 24 more"
        )
        assert problems(last_enqueued=cycle()) == []

    def test_nobody_starts_a_sandbox_by_cron(self) -> None:
        config = Config(priority_assets=(EURUSD,), secondary_assets=(BTCUSD,), sandbox=True)
        long_ago = job(last_started_ms=WEDNESDAY - 24 * HOUR)
        waiting = structs.replace(EMPTY, size=3)
        assert problems(jobs=dict.fromkeys(JOBS, long_ago), queue=waiting, config=config) == []

    @pytest.mark.parametrize(
        ("command", "result", "words", "severity"),
        [
            (Command.RUN_PRIORITY, "failed", "the last run-priority failed: no key", "critical"),
            (Command.RUN_PRIORITY, "stopped", "the last run-priority was cut short: no key", "warning"),
            (Command.ENQUEUE_SECONDARY, "failed", "the last enqueue-secondary failed: no key", "warning"),
        ],
    )
    def test_a_command_that_ended_with_an_error(
        self, command: Command, result: str, words: str, severity: str
    ) -> None:
        jobs = {**JOBS, command: job(last_result=result, last_error="no key")}
        (problem,) = problems(jobs=jobs)
        assert (problem.message, problem.severity) == (words, severity)

    @pytest.mark.parametrize(
        ("last_started_ms", "known_since_ms", "said"),
        [
            (None, WEDNESDAY - HOUR, None),  # it was installed this morning
            (None, WEDNESDAY - HOUR - 1, "enqueue-secondary was never started"),
            (WEDNESDAY - HOUR, WEDNESDAY - 20 * HOUR, None),
            (WEDNESDAY - 4 * HOUR, WEDNESDAY - 20 * HOUR, "enqueue-secondary was last started 4 h ago"),
        ],
    )
    def test_secondary_assets_that_nobody_queues(
        self, last_started_ms: int | None, known_since_ms: int, said: str | None
    ) -> None:
        jobs = {**JOBS, Command.ENQUEUE_SECONDARY: job(last_started_ms=last_started_ms)}
        config = Config(priority_assets=(EURUSD,), secondary_assets=(structs.replace(EURUSD, symbol="X"),))
        found = problems(jobs=jobs, config=config, known_since_ms=known_since_ms)
        assert [problem.message for problem in found] == ([said] if said else [])

    def test_secondary_assets_that_need_it_seldom_are_queued_seldom(self) -> None:
        config = Config(secondary_assets=(structs.replace(EURUSD, update_frequency_seconds=3600),))
        for hours, said in ((3, 0), (4, 1)):
            started = job(last_started_ms=WEDNESDAY - hours * HOUR)
            assert len(problems(jobs={**JOBS, Command.ENQUEUE_SECONDARY: started}, config=config)) == said

    def test_dead_letters_with_their_last_error(self) -> None:
        queue = structs.replace(EMPTY, dead=1)
        letter = DeadLetter("ETHUSDT", Lane.MEDIUM, 3, WEDNESDAY, "Ticker not found.")
        (problem,) = problems(dead=[letter], queue=queue)
        assert problem.message == "1 dead letter, the latest: ETHUSDT (Ticker not found.)"

    def test_priority_assets_get_a_line_each_and_others_alike_share_one(self) -> None:
        failed = StoredAsset(
            symbol="x", sync_status=Status.NO_DATA, status_at_ms=1, error_message="nothing there"
        )
        assets = [
            asset_health(structs.replace(EURUSD, symbol=f"S{n}", priority=priority), failed, PAID, WEDNESDAY)
            for n, priority in enumerate([AssetPriority.CRITICAL] + [AssetPriority.LOW] * 5)
        ]
        assert [problem.message for problem in list(assets_not_well(of_assets(assets)))] == [
            "S0: no data (nothing there)",
            "S1, S2, S3 and 2 more: no data (nothing there)",
        ]

    def test_the_gravest_first(self) -> None:
        failed = job(last_result="failed", last_error="no key", last_started_ms=None)
        problems = problems_of(
            Situation([], {**JOBS, Command.RUN_PRIORITY: failed}, [], EMPTY, ENABLED, WEDNESDAY)
        )
        assert [problem.severity for problem in problems] == ["critical", "warning"]

    def test_assets_that_nobody_registered(self) -> None:
        gold = structs.replace(EURUSD, symbol="XAUUSD", priority=AssetPriority.CRITICAL)
        secondary = structs.replace(EURUSD, symbol="GBPUSD", priority=AssetPriority.LOW)
        unknown = [asset_health(asset, None, PAID, WEDNESDAY) for asset in (gold, secondary)]
        for assets, severity in ((unknown, "critical"), (unknown[1:], "warning")):
            (problem,) = problems(assets=assets)
            assert (problem.severity, problem.hint) == (severity, "run assetbatch init")
        assert problem.message == "GBPUSD: not registered in the database"

    def test_a_queue_run_that_failed(self) -> None:
        jobs = {**JOBS, Command.RUN_QUEUE: job(last_result="failed", last_error="the disk is full")}
        (problem,) = problems(jobs=jobs)
        assert (problem.message, problem.severity) == (
            "the last run-queue failed: the disk is full",
            "warning",
        )

    def test_work_that_waits_for_a_run_queue_that_is_not_started(self) -> None:
        waiting = structs.replace(EMPTY, size=3)
        jobs = {**JOBS, Command.RUN_QUEUE: job(last_started_ms=WEDNESDAY - 11 * MINUTE)}
        (problem,) = problems(jobs=jobs, queue=waiting)
        assert problem.message == "3 items in the queue, and run-queue was last started 11 min ago"

    @pytest.mark.parametrize(
        ("last_started_ms", "size", "said"),
        [
            (WEDNESDAY - 10 * MINUTE, 3, None),
            (WEDNESDAY - 10 * MINUTE - 1, 0, None),
            (
                WEDNESDAY - 10 * MINUTE - 1,
                1,
                "1 item in the queue, and run-queue was last started 10 min ago",
            ),
            (None, 2, "2 items in the queue, and run-queue was never started"),
        ],
    )
    def test_work_waits_in_vain_after_ten_minutes_without_a_start(
        self, last_started_ms: int | None, size: int, said: str | None
    ) -> None:
        jobs = {**JOBS, Command.RUN_QUEUE: job(last_started_ms=last_started_ms)}
        found = problems(jobs=jobs, queue=structs.replace(EMPTY, size=size))
        assert [problem.message for problem in found] == ([said] if said else [])

    @pytest.mark.parametrize(("waits_ms", "is_told"), [(2 * MINUTE, False), (2 * MINUTE + 1, True)])
    def test_a_first_start_has_two_minutes_from_the_first_work_on(self, waits_ms: int, is_told: bool) -> None:
        jobs = {**JOBS, Command.RUN_QUEUE: job(last_started_ms=None)}
        queue = structs.replace(EMPTY, size=17, oldest_ms=WEDNESDAY - waits_ms)
        assert bool(problems(jobs=jobs, queue=queue)) == is_told

    def test_nothing_is_said_of_secondary_assets_where_there_are_none_or_nothing_is_known_yet(self) -> None:
        jobs = {**JOBS, Command.ENQUEUE_SECONDARY: job(last_started_ms=None)}
        assert problems(jobs=jobs, known_since_ms=WEDNESDAY - 20 * HOUR) == []
        config = Config(priority_assets=(EURUSD,), secondary_assets=(BTCUSD,))
        assert problems(jobs=jobs, config=config) == []

    def test_what_is_fresh_due_or_was_never_fetched_is_no_problem(self) -> None:
        one = asset_health(EURUSD, refreshed(EURUSD, WEDNESDAY, WEDNESDAY), PAID, WEDNESDAY)
        well = [
            structs.replace(one, state=state)
            for state in (AssetState.FRESH, AssetState.DUE, AssetState.NEVER)
        ]
        assert list(assets_not_well(of_assets(well))) == []

    def test_what_comes_after_an_asset_that_is_well_is_named_all_the_same(self) -> None:
        well = asset_health(EURUSD, refreshed(EURUSD, WEDNESDAY, WEDNESDAY), PAID, WEDNESDAY)
        failed = structs.replace(well, symbol="GBPUSD", state=AssetState.FAILED, error="HTTP 503")
        (problem,) = problems(assets=[well, failed])
        assert (problem.message, problem.severity) == ("GBPUSD: failed (HTTP 503)", "warning")

    def test_a_stale_priority_asset_is_critical_with_the_age_of_its_price_and_the_reason(self) -> None:
        critical = structs.replace(EURUSD, priority=AssetPriority.CRITICAL)
        then = WEDNESDAY - 3 * HOUR
        asset = asset_health(critical, refreshed(critical, then, then), PAID, WEDNESDAY)
        assert list(assets_not_well(of_assets([asset]))) == [
            Problem("EURUSD: stale, its price is 3 h old (refreshed 3 h ago)", None, Severity.CRITICAL)
        ]

    def test_what_failed_without_a_word_is_named_by_its_state_alone(self) -> None:
        failed = StoredAsset(symbol="x", sync_status=Status.NOT_FOUND, status_at_ms=1)
        asset = asset_health(EURUSD, failed, PAID, WEDNESDAY)
        assert list(assets_not_well(of_assets([asset]))) == [Problem("EURUSD: not found")]

    @pytest.mark.parametrize("status", [Status.NOT_FOUND, Status.NO_DATA])
    def test_a_stock_that_was_never_listed_is_named_as_that_with_advice(self, status: Status) -> None:
        index = structs.replace(AAPL, symbol="NDX", polygon_ticker="NDX")
        unlisted = Listing(state=ListingState.UNLISTED, asked_ms=1)
        of = StoredAsset(symbol="NDX", sync_status=status, status_at_ms=1, listing=unlisted)
        (problem,) = assets_not_well(of_assets([asset_health(index, of, PAID, WEDNESDAY)]))
        shows(problem.message, "…: the provider lists no stock …")
        assert problem.message == "NDX: the provider lists no stock NDX"
        assert "polygon_ticker: I:NDX, asset_type: indices" in (problem.hint or "")
        had_a_price = structs.replace(of, as_of_ms=WEDNESDAY - DAY)
        (problem,) = assets_not_well(of_assets([asset_health(index, had_a_price, PAID, WEDNESDAY)]))
        assert "lists no stock" not in problem.message

    def test_no_start_is_missed_where_priority_is_switched_off(self) -> None:
        jobs = {**JOBS, Command.RUN_PRIORITY: job(last_started_ms=None)}
        assert problems(jobs=jobs, config=Config()) == []

    def test_the_verdict_is_that_of_the_gravest(self) -> None:
        assert verdict([], []) == "healthy"
        assert verdict([Problem("x")], []) == "degraded"
        assert verdict([Problem("x"), Problem("y", None, Severity.CRITICAL)], []) == "unhealthy"
        assert verdict([], [Alert(Metric.QUEUE_SIZE, 2.0, 1.0, Severity.WARNING)]) == "degraded"
        assert (
            verdict([Problem("x")], [Alert(Metric.SUCCESS_RATE, 2.0, 1.0, Severity.CRITICAL)]) == "unhealthy"
        )
