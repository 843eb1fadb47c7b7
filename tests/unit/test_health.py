"""What the health document says of given figures."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec import structs

from assetbatch.assets import Asset, AssetPriority, AssetType
from assetbatch.config import Config
from assetbatch.entitlements import Entitlements, Lack
from assetbatch.health import (
    Problem,
    alerts_of,
    asset_health,
    is_stale,
    job_health,
    metrics_of,
    problems_of,
    problems_of_assets,
    verdict,
)
from assetbatch.health.assets import newest_of_markets
from assetbatch.hours import Market, to_ms
from assetbatch.market import BAR_MS, Span, SpanState, StoredAsset
from assetbatch.state.journal import ENQUEUE_SECONDARY, RUN_PRIORITY, RUN_QUEUE, CycleRecord, JobState
from assetbatch.state.queue import DeadLetter, Line, QueueState
from assetbatch.words import iso

FREE = Entitlements(end_of_day=True)
PAID = Entitlements(end_of_day=False)
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEDNESDAY = to_ms(datetime(2026, 11, 18, 15, tzinfo=UTC))
SUNDAY_OPENING = to_ms(datetime(2026, 11, 22, 22, tzinfo=UTC))
EURUSD = Asset(symbol="EURUSD", polygon_ticker="C:EURUSD", asset_type=AssetType.FOREX)
EMPTY = QueueState(
    now_ms=WEDNESDAY, size=0, by_line=dict.fromkeys(Line, 0), leased=0, delayed=0, dead=0, oldest_ms=None
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


JOBS = {RUN_PRIORITY: job(), RUN_QUEUE: job(), ENQUEUE_SECONDARY: job()}
ENABLED = Config(priority_assets=(EURUSD,))


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


BTCUSD = Asset(symbol="BTCUSD", polygon_ticker="X:BTCUSD", asset_type=AssetType.CRYPTO)


def refreshed(asset: Asset, as_of_ms: int, now_ms: int) -> StoredAsset:
    """An asset whose last refresh has just succeeded, with a price of then."""
    return StoredAsset(
        symbol=asset.symbol,
        last_price=1.1,
        as_of_ms=as_of_ms,
        last_sync_ms=now_ms,
        sync_status="success",
        status_at_ms=now_ms,
    )


def paid_that_has_seen(asset_type: AssetType, newest_ms: int, now_ms: int) -> Entitlements:
    known = Entitlements(end_of_day=False)
    known.saw(asset_type, newest_ms, now_ms, market_open=True)
    return known


class TestAPriceThatStandsStill:
    def test_is_stale_after_an_hour_if_others_of_its_market_move(self) -> None:
        known = paid_that_has_seen(AssetType.FOREX, WEDNESDAY, WEDNESDAY)
        for age_ms, state in ((HOUR - 1, "fresh"), (HOUR, "stale")):
            stored = refreshed(EURUSD, WEDNESDAY - age_ms, WEDNESDAY)
            health = asset_health(EURUSD, stored, known, WEDNESDAY, WEDNESDAY)
            assert health.state == state
        assert health.reason == ("the vendor answers, but its price has not moved since 2026-11-18 14:00 UTC")

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
            asked = Span(then - DAY, asked_to_ms, SpanState.ASKED, WEDNESDAY)
            known_bars = structs.replace(stored, spans=(asked,), last_bar_ms=last_bar_ms)
            health = asset_health(asset, known_bars, known, WEDNESDAY, WEDNESDAY)
            assert health.state == state
            assert health.reason.startswith("quiet since 2026-11-18 10:00 UTC") is (state == "fresh")

    @pytest.mark.parametrize("state", [SpanState.FAILED, SpanState.WANTED])
    def test_is_not_quiet_where_no_answer_has_told_so(self, state: SpanState) -> None:
        then = WEDNESDAY - 5 * HOUR
        known = paid_that_has_seen(AssetType.CRYPTO, WEDNESDAY, WEDNESDAY)
        spans = (Span(then - DAY, then - HOUR, SpanState.ASKED), Span(then - HOUR, WEDNESDAY, state, then))
        stored = structs.replace(refreshed(BTCUSD, then, WEDNESDAY), spans=spans)
        assert asset_health(BTCUSD, stored, known, WEDNESDAY).state == "stale"

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
        for lack in (Lack.SNAPSHOT, Lack.MARKET_SNAPSHOT):
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
            sync_status="failed",
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

    def test_without_a_row_says_what_to_run(self) -> None:
        health = asset_health(EURUSD, None, PAID, WEDNESDAY)
        assert (health.state, health.reason) == ("never", "not registered: run assetbatch init")


class TestMetrics:
    def test_the_success_rate_is_that_of_the_last_hours_due_assets(self) -> None:
        cycles = [cycle(refreshed=2, failed=1), cycle(30 * MINUTE, refreshed=1), cycle(2 * HOUR, failed=9)]
        assert metrics_of(cycles, EMPTY, 0, WEDNESDAY)["batch.priority.success_rate"] == 75.0

    def test_it_is_full_when_nothing_was_due(self) -> None:
        assert metrics_of([cycle(fresh=3)], EMPTY, 0, WEDNESDAY)["batch.priority.success_rate"] == 100.0

    def test_a_cycle_that_broke_off_counts_as_a_failure(self) -> None:
        metrics = metrics_of([cycle(error="no database")], EMPTY, 0, WEDNESDAY)
        assert metrics["batch.priority.success_rate"] == 0.0

    def test_alerts_are_beyond_the_thresholds_not_at_them(self) -> None:
        at = {
            "batch.priority.success_rate": 90.0,
            "batch.priority.latency_ms": 30_000.0,
            "queue.size": 500.0,
            "api.rate_limit_waits": 10.0,
        }
        beyond = {
            "batch.priority.success_rate": 89.9,
            "batch.priority.latency_ms": 30_001.0,
            "queue.size": 501.0,
            "api.rate_limit_waits": 11.0,
        }
        assert alerts_of(at, Config()) == []
        assert [alert.metric for alert in alerts_of(beyond, Config())] == list(beyond)


class TestAJob:
    def test_that_has_not_ended_is_running_until_its_bound_and_then_has_died(self) -> None:
        started = job(last_started_ms=WEDNESDAY, last_finished_ms=WEDNESDAY - 1)
        assert job_health(RUN_QUEUE, started, ENABLED, WEDNESDAY + 89_000).last_result == "running"
        assert job_health(RUN_QUEUE, started, ENABLED, WEDNESDAY + 90_000).last_result == "died"

    def test_that_missed_starts_is_expected_at_the_next_one_of_its_rhythm(self) -> None:
        starts = (WEDNESDAY - 10 * MINUTE, WEDNESDAY - 5 * MINUTE, WEDNESDAY)
        health = job_health(RUN_PRIORITY, job(starts_ms=starts), ENABLED, WEDNESDAY + 118 * MINUTE)
        assert health.next_run == iso(WEDNESDAY + 120 * MINUTE)


class TestProblems:
    def test_cron_that_has_stopped_starting_us(self) -> None:
        late = job(last_started_ms=WEDNESDAY - 16 * MINUTE)
        (problem,) = problems_of([], {**JOBS, RUN_PRIORITY: late}, [], EMPTY, ENABLED, WEDNESDAY)
        assert problem.message == "run-priority was last started 16 min ago, it should be every 5 min"
        assert problem.severity == "critical"

    @pytest.mark.parametrize(
        ("last_started_ms", "known_since_ms", "said"),
        [
            (None, WEDNESDAY - 3 * HOUR, None),  # it was installed this morning
            (None, WEDNESDAY - 3 * HOUR - 1, "enqueue-secondary was never started"),
            (WEDNESDAY - 2 * HOUR, WEDNESDAY - 20 * HOUR, None),
            (WEDNESDAY - 4 * HOUR, WEDNESDAY - 20 * HOUR, "enqueue-secondary was last started 4 h ago"),
        ],
    )
    def test_secondary_assets_that_nobody_queues(
        self, last_started_ms: int | None, known_since_ms: int, said: str | None
    ) -> None:
        jobs = {**JOBS, ENQUEUE_SECONDARY: job(last_started_ms=last_started_ms)}
        config = Config(priority_assets=(EURUSD,), secondary_assets=(structs.replace(EURUSD, symbol="X"),))
        found = problems_of([], jobs, [], EMPTY, config, WEDNESDAY, known_since_ms)
        assert [problem.message for problem in found] == ([said] if said else [])

    def test_dead_letters_with_their_last_error(self) -> None:
        queue = structs.replace(EMPTY, dead=1)
        letter = DeadLetter("ETHUSDT", Line.MEDIUM, 3, WEDNESDAY, "Ticker not found.")
        (problem,) = problems_of([], JOBS, [letter], queue, ENABLED, WEDNESDAY)
        assert problem.message == "1 dead letter, the latest: ETHUSDT (Ticker not found.)"

    def test_priority_assets_get_a_line_each_and_others_alike_share_one(self) -> None:
        failed = StoredAsset(symbol="x", sync_status="no_data", status_at_ms=1, error_message="nothing there")
        assets = [
            asset_health(structs.replace(EURUSD, symbol=f"S{n}", priority=priority), failed, PAID, WEDNESDAY)
            for n, priority in enumerate([AssetPriority.CRITICAL] + [AssetPriority.LOW] * 5)
        ]
        assert [problem.message for problem in problems_of_assets(assets)] == [
            "S0: no data (nothing there)",
            "S1, S2, S3 and 2 more: no data (nothing there)",
        ]

    def test_the_gravest_first(self) -> None:
        failed = job(last_result="failed", last_error="no key", last_started_ms=None)
        problems = problems_of([], {**JOBS, RUN_PRIORITY: failed}, [], EMPTY, ENABLED, WEDNESDAY)
        assert [problem.severity for problem in problems] == ["critical", "warning"]

    def test_assets_that_nobody_registered(self) -> None:
        gold = structs.replace(EURUSD, symbol="XAUUSD", priority=AssetPriority.CRITICAL)
        secondary = structs.replace(EURUSD, symbol="GBPUSD", priority=AssetPriority.LOW)
        unknown = [asset_health(asset, None, PAID, WEDNESDAY) for asset in (gold, secondary)]
        for assets, severity in ((unknown, "critical"), (unknown[1:], "warning")):
            (problem,) = problems_of(assets, JOBS, [], EMPTY, ENABLED, WEDNESDAY)
            assert (problem.severity, problem.hint) == (severity, "run assetbatch init")
        assert problem.message == "GBPUSD: not registered in the database"

    def test_a_queue_run_that_failed(self) -> None:
        jobs = {**JOBS, RUN_QUEUE: job(last_result="failed", last_error="the disk is full")}
        (problem,) = problems_of([], jobs, [], EMPTY, ENABLED, WEDNESDAY)
        assert (problem.message, problem.severity) == (
            "the last run-queue failed: the disk is full",
            "warning",
        )

    def test_work_that_waits_for_a_run_queue_that_is_not_started(self) -> None:
        waiting = structs.replace(EMPTY, size=3)
        jobs = {**JOBS, RUN_QUEUE: job(last_started_ms=WEDNESDAY - 11 * MINUTE)}
        (problem,) = problems_of([], jobs, [], waiting, ENABLED, WEDNESDAY)
        assert problem.message == "3 items in the queue, and run-queue was last started 11 min ago"

    def test_no_start_is_missed_where_priority_is_switched_off(self) -> None:
        jobs = {**JOBS, RUN_PRIORITY: job(last_started_ms=None)}
        assert problems_of([], jobs, [], EMPTY, Config(), WEDNESDAY) == []

    def test_the_verdict_is_that_of_the_gravest(self) -> None:
        assert verdict([], []) == "healthy"
        assert verdict([Problem("x")], []) == "degraded"
        assert verdict([Problem("x"), Problem("y", None, "critical")], []) == "unhealthy"
