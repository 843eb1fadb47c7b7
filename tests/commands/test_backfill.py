"""Holes and the past: from an answer to the ledger, from the ledger to the calls."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pytest

from assetbatch.commands.backfill import BackfillReport, TakenBack, backfill, take_back
from assetbatch.commands.gaps import SymbolGaps, find_gaps
from assetbatch.domain.asset_classes import AssetType, Market
from assetbatch.domain.assets import AssetPriority
from assetbatch.domain.coverage import GapReason
from assetbatch.domain.entitlements import Restriction
from assetbatch.domain.market_hours import start_of_day
from assetbatch.domain.models import BAR_MS, Changes, CoveredInterval, IntervalState
from assetbatch.domain.pages import PageLength, length_in_words
from assetbatch.domain.queueing import Cancelled, Failure, Lane
from assetbatch.errors import ConfigError, UnreachableError
from assetbatch.health.collect import collect
from assetbatch.provider.answers import BarsAnswer
from assetbatch.provider.client import ProviderClient
from assetbatch.sandbox.spans import Counting
from assetbatch.state.queue import Lease
from assetbatch.views.terminal.backfill import queued_lines
from tests.world import PRIORITY, World

from .conftest import WEDNESDAY_MS, MakeWorld

DAY_MS = 86_400_000
MIDNIGHT = start_of_day(date(2026, 11, 18))
SUNDAY_MS = WEDNESDAY_MS + 4 * DAY_MS


def wanted(world: World, first: date, last: date | None = None, *, symbol: str = "BTCUSD") -> BackfillReport:
    with world.services() as services:
        return backfill(services, [symbol], first, last, dry_run=False)


def holes_of(world: World, symbol: str = "BTCUSD", from_day: date | None = None) -> SymbolGaps:
    with world.services() as services:
        (found,) = find_gaps(services, [symbol], start_of_day(from_day) if from_day else None)
    return found


def ranges(world: World) -> list[tuple[int, int]]:
    """The ranges of bars that arrived at the provider."""
    parts = [path.split("?")[0].split("/") for path in world.paths if "/range/" in path]
    return [(int(part[8]), int(part[9])) for part in parts]


def day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


def price_of(world: World, symbol: str) -> str:
    """The moment of the price that is stored."""
    update = world.last_update(symbol)
    assert update is not None
    return str(update["timestamp"])


class TestBackfill:
    @pytest.mark.slow
    @pytest.mark.usefixtures("years_of_bars")
    def test_two_years_of_a_market_that_never_closes_take_at_most_23_calls(self, free: World) -> None:
        free.know_that_today_is_refused()
        report = wanted(free, date(2024, 11, 19))
        assert len(report.symbols[0].pages) <= 22
        result = free.run_queue(seconds=90)
        assert (result.result, result.queue_size) == ("ok", 0)
        assert free.bars("BTCUSD") == 729 * 288
        assert len(free.paths) <= 23
        assert holes_of(free).complete == 1.0

    @pytest.mark.slow
    @pytest.mark.usefixtures("years_of_bars")
    @pytest.mark.parametrize(
        ("counting", "most_calls", "word"),
        [
            (Counting.STORED, 9, "forex: one call brings up to 48 days of bars"),
            (Counting.ELAPSED, 11, "forex: longer pages of bars are cut; one call asks for 34 days"),
        ],
    )
    def test_a_year_of_forex_takes_a_quarter_fewer_calls_where_longer_pages_come_whole(
        self, make_world: MakeWorld, counting: Counting, most_calls: int, word: str
    ) -> None:
        world = make_world(plan="basic", counting=counting)
        world.know_that_today_is_refused()
        report = wanted(world, date(2025, 11, 19), symbol="EURUSD")
        assert report.forecast.calls == 11
        result = world.run_queue(seconds=90)
        assert (result.result, result.queue_size) == ("ok", 0)
        assert len(world.paths) <= most_calls
        assert holes_of(world, "EURUSD").complete == 1.0
        with world.services() as services:
            assert word in [
                length_in_words(*found) for found in services.entitlements().market_lengths(services.now_ms())
            ]
            assert word in collect(services).plan["pages"]

    @pytest.mark.slow
    @pytest.mark.usefixtures("years_of_bars")
    def test_a_plan_with_calls_beside_each_other_saves_them_too(self, make_world: MakeWorld) -> None:
        world = make_world(plan="starter", limit=100, window_seconds=1, counting=Counting.STORED)
        for symbol in ("EURUSD", "GBPUSD"):
            assert len(wanted(world, date(2025, 11, 19), symbol=symbol).symbols[0].pages) == 11
        assert world.run_queue(seconds=90).queue_size == 0
        assert len(world.paths) <= 19
        assert all(holes_of(world, symbol).complete == 1.0 for symbol in ("EURUSD", "GBPUSD"))

    @pytest.mark.usefixtures("years_of_bars")
    def test_its_forecast_uses_the_length_that_was_learned(self, free: World) -> None:
        with free.services() as services:
            now_ms = services.now_ms()
            known = PageLength(of=Market.FOREX, since_ms=now_ms, until_ms=now_ms + DAY_MS, whole=True)
            services.entitlement_store.remember(known)
        report = wanted(free, date(2025, 11, 19), symbol="EURUSD")
        assert report.forecast.calls == len(report.symbols[0].pages) == 8

    @pytest.mark.usefixtures("years_of_bars")
    def test_leaves_what_was_published_since_to_the_latest_bars(self, paid: World) -> None:
        wanted(paid, date(2026, 10, 1))
        paid.run_queue(seconds=90)
        paid.clock.at_ms += 11 * 60_000
        report = wanted(paid, date(2026, 10, 1))
        assert (report.symbols[0].pages, report.symbols[0].complete) == ([], 1.0)
        paid.clock.at_ms += DAY_MS
        assert len(wanted(paid, date(2026, 10, 1)).symbols[0].pages) == 1

    @pytest.mark.usefixtures("years_of_bars")
    def test_fetches_nothing_again_however_often_it_is_asked(self, free: World) -> None:
        free.know_that_today_is_refused()
        wanted(free, date(2026, 9, 1))
        free.run_queue(seconds=90)
        calls = len(free.paths)
        report = wanted(free, date(2026, 9, 1))
        assert (report.queued, report.symbols[0].complete, report.forecast.calls) == (0, 1.0, 0)
        free.run_queue(seconds=90)
        assert len(free.paths) == calls

    @pytest.mark.usefixtures("years_of_bars")
    def test_asks_only_for_the_days_that_are_not_there(self, free: World) -> None:
        free.run_priority()
        wanted(free, date(2026, 9, 1))
        before = len(free.paths)
        free.run_queue(seconds=90)
        asked = ranges(free)[before:]
        first_day_there = MIDNIGHT - 34 * DAY_MS
        assert max(end_ms for _, end_ms in asked) < first_day_there + DAY_MS
        assert min(start_ms for start_ms, _ in asked) == start_of_day(date(2026, 9, 1))

    def test_once_more_queues_no_page_and_says_what_was_there(self, free: World) -> None:
        first = wanted(free, date(2026, 6, 1))
        again = wanted(free, date(2026, 6, 1))
        assert (first.queued_before, again.queued, again.queued_before) == (0, first.queued, first.queued)
        (line, *_) = queued_lines(again, dry_run=False)
        assert line == f"no new page to queue, {first.queued} in the queue already; run-queue fetches them"

    @pytest.mark.parametrize("dry_run", [False, True])
    def test_its_forecast_counts_pages_that_are_leased_or_delayed_once(
        self, free: World, dry_run: bool
    ) -> None:
        before = wanted(free, date(2026, 6, 1)).forecast.calls
        assert before > 3
        with free.services() as services:
            lease = services.queue.take(2, 60)
            assert isinstance(lease, Lease)
            services.queue.fail(lease.token, [Failure(lease.items[0].id, "no")])
            again = backfill(services, ["BTCUSD"], date(2026, 6, 1), None, dry_run=dry_run)
        assert again.forecast.calls == before

    def test_the_newest_page_comes_first(self, free: World) -> None:
        free.know_that_today_is_refused()
        wanted(free, date(2026, 6, 1))
        free.run_queue(seconds=90)
        starts = [start_ms for start_ms, _ in ranges(free)]
        assert starts == sorted(starts, reverse=True)

    @pytest.mark.slow
    @pytest.mark.usefixtures("years_of_bars")
    def test_survives_a_redis_that_has_lost_everything(self, free: World) -> None:
        free.know_that_today_is_refused()
        wanted(free, date(2026, 6, 1))
        with free.services() as services:
            names = services.redis.keys(f"{services.keys.prefix}*")
            services.redis.delete(*names)
        free.know_that_today_is_refused()
        assert free.enqueue_secondary().enqueued >= 4
        free.run_queue(seconds=90)
        free.run_priority()  # its range fills the latest page by itself
        assert holes_of(free).complete == 1.0

    def test_fills_half_of_the_queue_at_most_and_enqueue_secondary_goes_on(
        self, make_world: MakeWorld
    ) -> None:
        world = make_world(document={"queue": {"max_size": 8}})
        world.know_that_today_is_refused()
        report = wanted(world, date(2026, 1, 1))
        assert (report.queued, report.waiting_for_room) == (4, 6)
        world.run_queue(seconds=90)
        world.enqueue_secondary()
        with world.services() as services:
            assert services.queue.state().by_lane[Lane.HISTORY] == 1  # besides three prices
        world.run_queue(seconds=90)
        world.enqueue_secondary()
        with world.services() as services:
            assert services.queue.state().by_lane[Lane.HISTORY] == 4

    def test_of_a_symbol_that_is_not_configured_is_refused(self, free: World) -> None:
        with pytest.raises(ConfigError, match="NOSUCH is no enabled asset that keeps bars"):
            wanted(free, date(2026, 6, 1), symbol="NOSUCH")

    def test_of_weekends_alone_costs_nothing(self, free: World) -> None:
        report = wanted(free, date(2026, 11, 14), date(2026, 11, 14), symbol="EURUSD")
        assert (report.symbols[0].pages, report.symbols[0].complete) == ([], 1.0)

    def test_before_the_first_price_leaves_that_price_its_bars_at_a_weekend(self, free: World) -> None:
        free.clock.at_ms = SUNDAY_MS
        free.know_that_today_is_refused()
        wanted(free, date(2026, 11, 1), symbol="EURUSD")
        free.run_queue(seconds=90)
        assert free.run_priority().result == "ok"
        assert price_of(free, "EURUSD") == "2026-11-20T22:00:00.000+00:00"

    def test_whose_first_call_failed_leaves_the_first_price_its_bars_at_a_weekend(self, free: World) -> None:
        free.clock.at_ms = SUNDAY_MS
        free.know_that_today_is_refused()
        wanted(free, date(2026, 11, 1), symbol="EURUSD")
        free.provider.order("status=500", times=1, path_contains="EURUSD")
        with pytest.raises(UnreachableError):
            free.run_queue(seconds=90)
        assert free.run_priority().result == "ok"
        assert price_of(free, "EURUSD") == "2026-11-20T22:00:00.000+00:00"

    def test_of_a_day_that_failed_before_a_weekend_does_not_pass_for_its_price(self, free: World) -> None:
        free.clock.at_ms = SUNDAY_MS - 2 * DAY_MS
        free.run_priority()
        free.clock.at_ms = SUNDAY_MS - DAY_MS
        free.provider.order("status=500", times=3)
        with pytest.raises(UnreachableError):
            free.run_priority()
        free.clock.at_ms = SUNDAY_MS
        wanted(free, date(2026, 11, 1), symbol="EURUSD")
        free.run_priority()
        assert price_of(free, "EURUSD") == "2026-11-20T22:00:00.000+00:00"

    def test_bars_that_were_there_before_the_ledger_are_not_fetched(self, free: World) -> None:
        """As in a platform's adopted table: of ten days nine are there."""
        free.know_that_today_is_refused()
        start = start_of_day(date(2026, 6, 1))
        with psycopg.connect(free.database_url) as connection:
            connection.execute(
                "INSERT INTO market_data.ohlcv_5m (symbol_id, ts, open, high, low, close)"
                " SELECT s.id, t, 1, 1, 1, 1 FROM trading.symbols s,"
                " generate_series(to_timestamp(%s), to_timestamp(%s), '5 minutes') t"
                " WHERE s.symbol = 'BTCUSD' AND (t < to_timestamp(%s) OR t >= to_timestamp(%s))",
                [
                    start / 1000,
                    start / 1000 + 10 * 86400 - 300,
                    start / 1000 + 86400,
                    start / 1000 + 2 * 86400,
                ],
            )
        report = wanted(free, date(2026, 6, 1), date(2026, 6, 10))
        assert report.symbols[0].pages == [(date(2026, 6, 2), date(2026, 6, 2))]
        free.run_queue(seconds=90)
        assert ranges(free)[-1] == (start + DAY_MS, start + 2 * DAY_MS - 1)
        assert holes_of(free, from_day=date(2026, 6, 1)).complete is not None


class TestTheEdgeOfThePlan:
    @pytest.mark.slow
    @pytest.mark.usefixtures("years_of_bars")
    def test_ends_a_backfill_cleanly(self, free: World) -> None:
        free.know_that_today_is_refused()
        report = wanted(free, date(2024, 6, 1))
        result = free.run_queue(seconds=90)
        assert (result.result, result.queue_size) == ("ok", 0)
        assert not result.failed
        found = holes_of(free)
        assert found.complete == 1.0
        assert found.gaps[0].reason is GapReason.NOT_IN_PLAN
        assert day(found.gaps[0].end_ms) in ("2024-11-18", "2024-11-19")
        with free.services() as services:
            assert services.queue.state().dead == 0
        assert len(free.paths) <= len(report.symbols[0].pages) + 1

    def test_is_asked_once_for_all_symbols_of_a_class(self, free: World) -> None:
        free.know_that_today_is_refused()
        wanted(free, date(2024, 6, 1))
        free.run_queue(seconds=90)
        before = len(free.paths)
        report = wanted(free, date(2024, 6, 1), symbol="ETHUSD")
        assert report.symbols[0].too_old_before_ms is not None
        free.run_queue(seconds=90)
        refused = [call for call in ranges(free)[before:] if call[0] < start_of_day(date(2024, 11, 18))]
        assert refused == []

    def test_of_a_plan_without_intraday_bars_costs_one_call(self, make_world: MakeWorld) -> None:
        world = make_world()
        world.know_that_today_is_refused()
        wanted(world, date(2026, 6, 1))
        world.provider.order("status=403", times=1)
        with world.services() as services:
            known = services.entitlements()
            for kind in AssetType:
                services.entitlement_store.remember(
                    known.refused(Restriction.INTRADAY, kind, "no", services.now_ms(), ticker="X:BTCUSD")
                )
        result = world.run_queue(seconds=90)
        assert (result.calls, result.queue_size) == (0, 0)
        with world.services() as services:
            assert services.queue.state().dead == 0


class TestBeyondThePlan:
    """The free plan is expected to show two years, until a refusal shows where its history begins."""

    def test_is_told_and_counted_apart(self, free: World) -> None:
        report = wanted(free, date(2020, 1, 1))
        (symbol,) = report.symbols
        assert report.expected_from_ms == start_of_day(date(2024, 11, 18))
        assert len(symbol.pages) == 22
        assert all(last >= date(2024, 11, 18) for _, last in symbol.pages)
        assert len(symbol.doubtful_pages) > 50
        assert (report.queued, report.waiting_for_room, report.new_calls) == (22, 0, 22)
        assert report.forecast.calls == 23  # one finds out

    def test_is_counted_alike_by_status(self, free: World) -> None:
        free.know_that_today_is_refused()
        with free.services() as services:
            names = ["BTCUSD", "ETHUSD", "EURUSD"]
            report = backfill(services, names, date(2020, 1, 1), None, dry_run=False)
            assert report.forecast.calls == report.queued + 2
            assert collect(services).queue["calls_ahead"] == report.forecast.calls
            refusal = services.entitlements().refused(
                Restriction.HISTORY,
                AssetType.CRYPTO,
                "no",
                services.now_ms(),
                ticker="X:BTCUSD",
                edge_ms=report.expected_from_ms or 0,
            )
            services.entitlement_store.remember(refusal)
            assert collect(services).queue["calls_ahead"] == report.queued + 1  # crypto's are settled

    def test_is_as_many_calls_in_a_dry_run(self, free: World) -> None:
        with free.services() as services:
            report = backfill(services, ["BTCUSD"], date(2020, 1, 1), None, dry_run=True)
        assert (report.forecast.calls, report.new_calls) == (23, 22)

    def test_is_nothing_for_a_plan_that_shows_all(self, paid: World) -> None:
        report = wanted(paid, date(2020, 1, 1))
        assert (report.expected_from_ms, report.symbols[0].doubtful_pages) == (None, [])

    def test_is_left_out_once_a_refusal_has_shown_it(self, free: World) -> None:
        with free.services() as services:
            refusal = services.entitlements().refused(
                Restriction.HISTORY,
                AssetType.CRYPTO,
                "no",
                services.now_ms(),
                ticker="X:BTCUSD",
                edge_ms=start_of_day(date(2021, 1, 1)),
            )
            services.entitlement_store.remember(refusal)
        report = wanted(free, date(2020, 1, 1))
        assert report.symbols[0].doubtful_pages == []
        assert report.symbols[0].pages[-1][0] == date(2021, 1, 1)


class TestWhichAssets:
    def test_are_all_of_a_class(self, free: World) -> None:
        with free.services() as services:
            report = backfill(
                services, [], date(2026, 9, 1), None, dry_run=True, classes=[AssetPriority.CRITICAL]
            )
        assert [symbol.symbol for symbol in report.symbols] == ["XAUUSD", "EURUSD", "BTCUSD"]

    def test_are_all_if_none_is_named(self, free: World) -> None:
        with free.services() as services:
            report = backfill(services, [], date(2026, 9, 1), None, dry_run=True)
        assert len(report.symbols) == 6

    def test_must_be_some(self, free: World) -> None:
        free.document["secondary_assets"] = []
        with (
            free.services() as services,
            pytest.raises(ConfigError, match="no enabled asset of class LOW keeps bars"),
        ):
            backfill(services, [], date(2026, 9, 1), None, dry_run=True, classes=[AssetPriority.LOW])


class TestTakingBack:
    def take_back(self, world: World, *, dry_run: bool = False) -> TakenBack:
        with world.services() as services:
            return take_back(services, ["BTCUSD"], dry_run=dry_run)

    def pages_queued(self, world: World) -> int:
        with world.services() as services:
            return services.queue.by_lane()[Lane.HISTORY]

    def test_empties_the_queue_of_its_pages_and_they_do_not_come_back(self, free: World) -> None:
        free.know_that_today_is_refused()
        pages = len(wanted(free, date(2026, 1, 1)).symbols[0].pages)
        done = self.take_back(free)
        assert len(done.queue.cancelled) == pages
        assert done.symbols["BTCUSD"][-1][0] == date(2026, 1, 1)
        free.enqueue_secondary()
        assert self.pages_queued(free) == 0

    def test_lets_no_missing_bar_look_asked(self, free: World) -> None:
        wanted(free, date(2026, 1, 1))
        self.take_back(free)
        reasons = {gap.reason for gap in holes_of(free).gaps}
        assert GapReason.NOT_WANTED in reasons
        assert GapReason.NOTHING not in reasons

    def test_again_or_without_a_backfill_changes_nothing(self, free: World) -> None:
        assert self.take_back(free).symbols == {"BTCUSD": []}
        wanted(free, date(2026, 1, 1))
        assert self.take_back(free).symbols["BTCUSD"] != []
        assert self.take_back(free) == TakenBack(
            symbols={"BTCUSD": []}, queue=Cancelled(cancelled=(), leased=(), unknown=())
        )

    def test_of_a_dry_run_changes_nothing(self, free: World) -> None:
        pages = len(wanted(free, date(2026, 1, 1)).symbols[0].pages)
        assert self.take_back(free, dry_run=True).symbols["BTCUSD"] != []
        assert self.pages_queued(free) == pages
        assert GapReason.NOT_WANTED not in {gap.reason for gap in holes_of(free).gaps}

    def test_is_taken_back_by_another_backfill(self, free: World) -> None:
        before = wanted(free, date(2026, 1, 1)).symbols[0].pages
        self.take_back(free)
        assert wanted(free, date(2026, 1, 1)).symbols[0].pages == before
        assert self.pages_queued(free) == len(before)

    @pytest.mark.usefixtures("years_of_bars")
    def test_keeps_what_is_stored_and_the_interval_after_it_is_not_asked_for(self, free: World) -> None:
        """A backfill of last winter whose first page has come: the months since are a gap between bars."""
        free.know_that_today_is_refused()
        free.run_priority()
        wanted(free, date(2026, 1, 1), date(2026, 3, 31))
        with free.services() as services:
            lease = services.queue.take(1, 60)
            assert isinstance(lease, Lease)
            services.queue.release(lease.token, [lease.items[0].id])
            newest = lease.items[0].id
            others = [item.id for item in services.queue.items() if item.id != newest]
            services.queue.cancel(others)
        free.run_queue(seconds=90)
        bars = free.bars("BTCUSD")
        assert bars > 0
        self.take_back(free)
        free.enqueue_secondary()
        assert self.pages_queued(free) == 0
        assert free.bars("BTCUSD") == bars
        assert holes_of(free).complete == 1.0

    @pytest.mark.usefixtures("years_of_bars")
    def test_leaves_a_page_that_is_worked_to_its_end(self, free: World) -> None:
        free.know_that_today_is_refused()
        wanted(free, date(2026, 6, 1), date(2026, 6, 30))
        with free.services() as services:
            lease = services.queue.take(1, 60)
            assert isinstance(lease, Lease)
            done = take_back(services, ["BTCUSD"], dry_run=False)
            assert done.queue.leased == (lease.items[0].id,)
            services.queue.release(lease.token, done.queue.leased)
        result = free.run_queue(seconds=90)  # it is queued again, and nobody wants it
        assert (result.calls, result.queue_size) == (0, 0)

    def test_of_a_page_whose_call_fails_afterwards_stays_taken_back(self, free: World) -> None:
        free.know_that_today_is_refused()
        wanted(free, date(2026, 6, 1), date(2026, 6, 30))
        stored = CoveredInterval(
            start_of_day(date(2026, 6, 1)), start_of_day(date(2026, 7, 1)), IntervalState.FAILED, 1, "no"
        )
        self.take_back(free)
        with free.services() as services:
            services.store.save(Changes(coverage={"BTCUSD": [stored]}), services.now_ms())
        assert GapReason.FAILED not in {gap.reason for gap in holes_of(free).gaps}


@pytest.mark.usefixtures("years_of_bars")
class TestInsisting:
    OCTOBER = date(2026, 10, 1), date(2026, 10, 3)

    def insist(self, world: World) -> BackfillReport:
        with world.services() as services:
            return backfill(services, ["BTCUSD"], *self.OCTOBER, dry_run=False, again=True)

    def bars(self, world: World) -> list[tuple[Any, ...]]:
        return world.rows("SELECT * FROM market_data.ohlcv_5m ORDER BY symbol_id, ts")

    def test_brings_what_the_provider_has_corrected_or_added(self, free: World) -> None:
        free.know_that_today_is_refused()
        wanted(free, *self.OCTOBER)
        free.run_queue(seconds=90)
        truth, calls, complete = self.bars(free), len(free.paths), holes_of(free).complete
        with psycopg.connect(free.database_url) as connection:
            connection.execute("UPDATE market_data.ohlcv_5m SET close = high WHERE ts = '2026-10-02 10:00Z'")
            connection.execute("DELETE FROM market_data.ohlcv_5m WHERE ts = '2026-10-02 11:00Z'")
        assert self.bars(free) != truth
        assert self.insist(free).queued == 1
        assert holes_of(free).complete == complete
        free.run_queue(seconds=90)
        assert self.bars(free) == truth
        assert len(free.paths) == calls + 1

    def test_counts_each_page_as_a_call_however_long_a_page_may_be(self, free: World) -> None:
        free.know_that_today_is_refused()
        days = date(2025, 11, 19), date(2026, 10, 31)
        for _ in range(2):  # asks for the rest by the length that it has learned
            wanted(free, *days, symbol="EURUSD")
            free.run_queue(seconds=90)
        with free.services() as services:
            assert services.entitlements().page_kind(Market.FOREX, "C:EURUSD", services.now_ms()) == "proven"
            for dry_run in (True, False):
                report = backfill(services, ["EURUSD"], *days, dry_run=dry_run, again=True)
                assert report.forecast.calls == len(report.symbols[0].pages) == 10
            assert collect(services).queue["calls_ahead"] == 10
        calls = len(free.paths)
        free.run_queue(seconds=90)
        assert len(free.paths) == calls + 10

    def test_is_taken_back_without_a_trace(self, free: World) -> None:
        free.know_that_today_is_refused()
        wanted(free, *self.OCTOBER)
        free.run_queue(seconds=90)
        self.insist(free)
        with free.services() as services:
            take_back(services, ["BTCUSD"], dry_run=False)
            assert services.queue.state().size == 0
            stored = services.store.load(["BTCUSD"])["BTCUSD"]
        assert {interval.state for interval in stored.coverage} <= {
            IntervalState.ASKED,
            IntervalState.NOT_WANTED,
        }

    def test_of_a_page_that_fails_keeps_what_was_answered(self, free: World) -> None:
        free.know_that_today_is_refused()
        wanted(free, *self.OCTOBER)
        free.run_queue(seconds=90)
        self.insist(free)
        free.provider.order("wrong-shape", times=None)
        free.run_queue()
        with free.services() as services:
            stored = services.store.load(["BTCUSD"])["BTCUSD"]
        (again,) = [one for one in stored.coverage if one.state is IntervalState.AGAIN]
        assert again.asked_ms == free.clock.at_ms
        assert again.error is not None


@pytest.mark.usefixtures("years_of_bars")
class TestHoles:
    def test_what_the_provider_has_nothing_for_is_known_as_such(self, free: World) -> None:
        """The simulated market leaves out bars without a quote, and a whole holiday."""
        free.know_that_today_is_refused()
        wanted(free, date(2025, 12, 20), date(2026, 1, 5), symbol="EURUSD")
        free.run_queue(seconds=90)
        found = holes_of(free, "EURUSD", date(2025, 12, 20))
        before = [hole for hole in found.gaps if hole.start_ms < start_of_day(date(2026, 1, 5))]
        assert {hole.reason for hole in before} <= {GapReason.NOTHING}

    def test_what_may_not_be_seen_yet_is_not_published(self, free: World) -> None:
        free.run_priority()
        (hole,) = holes_of(free).gaps
        assert hole.reason is GapReason.NOT_PUBLISHED
        assert (hole.start_ms, hole.end_ms) == (MIDNIGHT, WEDNESDAY_MS - WEDNESDAY_MS % BAR_MS)

    @pytest.mark.slow
    def test_a_call_that_failed_leaves_a_hole_that_is_asked_for_again(self, free: World) -> None:
        free.know_that_today_is_refused()
        wanted(free, date(2026, 6, 1), date(2026, 6, 30))
        free.provider.order("wrong-shape", times=1)
        free.document["queue"] = {"retry_delay_seconds": 0}
        free.run_queue(seconds=90)
        found = holes_of(free)
        assert (found.gaps[0].reason, found.gaps[0].bars) == (GapReason.FAILED, 30 * 288)
        with free.services() as services:  # the page that waits for its retry is taken out
            lease = services.queue.take(1, 60)
            assert isinstance(lease, Lease)
            assert [item.id for item in lease.items] == ["history:BTCUSD:2026-06-01:2026-06-30"]
            services.queue.finish(lease.token, [lease.items[0].id])
        free.enqueue_secondary()
        with free.services() as services:  # a failure is not asked for again at once
            assert "history:BTCUSD:2026-06-01:2026-06-30" not in services.queue.peek(10)
        free.clock.at_ms += 7 * 3_600_000
        free.enqueue_secondary()
        free.run_queue(seconds=90)
        assert GapReason.FAILED not in {hole.reason for hole in holes_of(free).gaps}
        free.enqueue_secondary()
        with free.services() as services:
            assert services.queue.state().dead == 0

    def test_a_bar_that_cannot_be_true_leaves_a_hole_and_no_lie(
        self, free: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ask = ProviderClient.bars

        def with_two_faulty_bars(*arguments: Any, **options: Any) -> BarsAnswer:
            answer = ask(*arguments, **options)
            faulty = (answer.bars[7].t_ms, answer.bars[8].t_ms)
            bars = [bar for bar in answer.bars if bar.t_ms not in faulty]
            return msgspec.structs.replace(answer, bars=bars, faulty_ms=faulty, refused=Counter(price=2))

        free.know_that_today_is_refused()
        wanted(free, date(2026, 10, 1), date(2026, 10, 31))
        monkeypatch.setattr(ProviderClient, "bars", with_two_faulty_bars)
        result = free.run_queue(seconds=90)
        assert (result.bars_written, result.bars_refused) == (31 * 288 - 2, 2)
        hole = holes_of(free).gaps[0]
        assert (hole.reason, hole.bars, hole.error) == (
            GapReason.FAILED,
            2,
            "the provider's bar is of no use",
        )

    @pytest.mark.slow
    def test_days_that_the_machine_was_off_for_longer_than_a_page_are_asked_for(self, free: World) -> None:
        free.run_priority()
        free.clock.at_ms += 60 * DAY_MS
        free.run_priority()
        assert {hole.reason for hole in holes_of(free).gaps} >= {GapReason.NOT_ASKED}
        free.know_that_today_is_refused()
        free.enqueue_secondary()
        free.run_queue(seconds=90)
        assert GapReason.NOT_ASKED not in {hole.reason for hole in holes_of(free).gaps}
        assert holes_of(free).complete == 1.0


class TestAnEmptyPage:
    def test_of_an_open_market_is_doubted_once(self, free: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """One odd answer must not leave a hole for ever; two are believed."""
        ask = ProviderClient.bars

        def empty(*arguments: Any, **options: Any) -> BarsAnswer:
            return msgspec.structs.replace(ask(*arguments, **options), bars=[])

        free.know_that_today_is_refused()
        wanted(free, date(2026, 6, 1), date(2026, 6, 30))
        with monkeypatch.context() as odd:
            odd.setattr(ProviderClient, "bars", empty)
            free.run_queue(seconds=90)
        assert holes_of(free).gaps[0].reason is GapReason.FAILED
        free.clock.at_ms += 7 * 3_600_000
        with monkeypatch.context() as odd:
            odd.setattr(ProviderClient, "bars", empty)
            free.enqueue_secondary()
            free.run_queue(seconds=90)
        assert holes_of(free).gaps[0].reason is GapReason.NOTHING


def test_pages_of_an_asset_that_keeps_no_bars_any_more_cost_nothing(free: World) -> None:
    free.know_that_today_is_refused()
    wanted(free, date(2026, 6, 1))
    free.document["priority_assets"] = [
        {**asset, "bars": asset["symbol"] != "BTCUSD"} for asset in free.document["priority_assets"]
    ]
    result = free.run_queue(seconds=90)
    assert (result.calls, result.queue_size) == (0, 0)


@pytest.mark.usefixtures("years_of_bars")
class TestPages:
    def test_a_page_beyond_the_last_bar_of_a_range_is_not_asked_for(self, free: World) -> None:
        free.know_that_today_is_refused()
        free.provider.order("next-url-empty", times=1)
        wanted(free, date(2026, 10, 1), date(2026, 10, 31))
        result = free.run_queue(seconds=90)
        assert (result.result, result.calls, free.bars("BTCUSD")) == ("ok", 1, 31 * 288)

    @pytest.mark.usefixtures("two_pages")
    def test_a_range_that_comes_in_pages_is_followed_a_slot_each(self, free: World) -> None:
        free.know_that_today_is_refused()
        wanted(free, date(2026, 10, 1), date(2026, 10, 31))
        result = free.run_queue(seconds=90)
        assert (result.result, result.calls) == ("ok", 2)
        with free.services() as services:
            assert services.window.state().used == 2
        assert free.bars("BTCUSD") == 31 * 288
        assert holes_of(free).gaps[0].start_ms == start_of_day(date(2026, 11, 1))

    @pytest.fixture
    def two_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Five thousand bars a page: a month comes in two."""
        defaults = ProviderClient.bars.__kwdefaults__
        assert defaults
        monkeypatch.setitem(defaults, "limit", 25_000)

    @pytest.fixture
    def short_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A hundred bars a page: 34 days come in a hundred pages."""
        defaults = ProviderClient.bars.__kwdefaults__
        assert defaults
        monkeypatch.setitem(defaults, "limit", 500)

    @pytest.mark.usefixtures("short_pages")
    @pytest.mark.parametrize("assets", [1, 3])
    def test_pages_that_never_end_fail_in_a_priority_cycle_too(
        self, free: World, monkeypatch: pytest.MonkeyPatch, assets: int
    ) -> None:
        """Each cycle has one call an asset: the first page comes again and again."""
        ask = ProviderClient.bars

        def endless(*arguments: Any, **options: Any) -> BarsAnswer:
            answer = ask(*arguments, **options)
            return msgspec.structs.replace(answer, bars=answer.bars[:50], next_url="http://127.0.0.1/next")

        monkeypatch.setattr(ProviderClient, "bars", endless)
        free.know_that_today_is_refused()
        free.document["priority_assets"] = PRIORITY[-assets:]
        results = [free.run_priority() for _ in range(2)]
        assert results[-1].result == "failed"
        assert [result.calls for result in results] == [assets] * 2
        for asset in results[-1].failed:
            assert asset.detail is not None
            assert asset.detail.startswith("the provider's pages do not end: 1 page brought bars up to")
        sync = free.sync("BTCUSD")
        assert sync is not None
        assert sync[0] == "failed"

    def test_pages_never_take_the_call_of_another_priority_asset(
        self, free: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ask = ProviderClient.bars

        def endless(*arguments: Any, **options: Any) -> BarsAnswer:
            answer = ask(*arguments, **options)
            if answer.ticker != "C:XAUUSD":
                return answer
            return msgspec.structs.replace(answer, bars=[], next_url="http://127.0.0.1/next")

        monkeypatch.setattr(ProviderClient, "bars", endless)
        free.know_that_today_is_refused()
        result = free.run_priority()
        assert {asset.symbol: asset.status for asset in result.assets} == {
            "XAUUSD": "failed",
            "EURUSD": "success",
            "BTCUSD": "success",
        }

    @pytest.mark.usefixtures("short_pages")
    def test_a_range_of_many_pages_counts_an_attempt_and_lets_the_others_go_on(self, free: World) -> None:
        free.know_that_today_is_refused()
        free.enqueue_secondary()
        result = free.run_queue(seconds=90)
        assert {asset.symbol: asset.status for asset in result.assets} == dict.fromkeys(
            ("ETHUSD", "GBPUSD", "USDJPY"), "postponed"
        )
        with free.services() as services:
            assert services.queue.state().delayed == 3
        assert free.bars("ETHUSD") == 400

    @pytest.mark.usefixtures("short_pages")
    def test_pages_that_do_not_get_ahead_have_failed(
        self, free: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        free.know_that_today_is_refused()
        monkeypatch.setattr(
            ProviderClient,
            "next_page",
            lambda _, page, **__: msgspec.structs.replace(page, next_url=f"{page.next_url}&again=1"),
        )
        wanted(free, date(2026, 10, 1), date(2026, 10, 31))
        free.document["queue"] = {"retry_max_attempts": 1}
        result = free.run_queue(seconds=90)
        assert (result.result, result.calls) == ("failed", 2)
        assert [asset.detail for asset in result.failed] == [
            "the provider's pages lead nowhere: page 2 brought nothing"
        ]

    @pytest.mark.usefixtures("two_pages")
    def test_a_page_on_another_host_is_not_fetched_and_leaves_a_hole(self, free: World) -> None:
        free.know_that_today_is_refused()
        free.provider.order("next-url", times=1)
        wanted(free, date(2026, 10, 1), date(2026, 10, 31))
        free.document["queue"] = {"retry_max_attempts": 1}
        result = free.run_queue(seconds=90)
        assert result.result == "failed"
        found = holes_of(free)
        assert GapReason.NOTHING not in {hole.reason for hole in found.gaps}


@pytest.mark.usefixtures("years_of_bars")
def test_a_week_off_the_air_is_one_call_a_symbol(free: World) -> None:
    free.run_priority()
    before = len(free.paths)
    free.clock.at_ms += timedelta(days=7) // timedelta(milliseconds=1)
    assert free.run_priority().calls == 3
    assert len(free.paths) == before + 3
    assert holes_of(free).complete == 1.0
