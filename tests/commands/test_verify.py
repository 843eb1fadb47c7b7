"""Stored bars are asked for again and compared, from the table to the provider and back."""

from __future__ import annotations

from datetime import date
from typing import Any

import psycopg
import pytest

from assetbatch.commands.backfill import backfill
from assetbatch.commands.gaps import find_gaps
from assetbatch.commands.result import new_result
from assetbatch.commands.verify import SymbolVerified, VerifyReport, differences, verify
from assetbatch.deadline import Deadline
from assetbatch.domain.models import Comparison, IntervalState
from assetbatch.domain.records import Command
from assetbatch.domain.units import DAY_MS
from assetbatch.health import collect
from assetbatch.refresh.progress import Progress
from assetbatch.views.prometheus import render
from assetbatch.views.terminal.backfill import gap_lines
from tests.world import World

from .conftest import MakeWorld

OCTOBER = date(2026, 10, 1), date(2026, 10, 3)
pytestmark = pytest.mark.usefixtures("years_of_bars")


@pytest.fixture
def filled(free: World) -> World:
    """Three days of a symbol are stored, as the provider has them."""
    fill(free)
    return free


def fill(world: World, symbol: str = "BTCUSD", *days: date) -> None:
    world.know_that_today_is_refused()
    with world.services() as services:
        backfill(services, [symbol], *(days or OCTOBER), dry_run=False)
    world.run_queue(seconds=90)


def run(
    world: World, *symbols: str, days: tuple[date | None, date | None] = OCTOBER, **options: Any
) -> VerifyReport:
    with world.services() as services, Deadline(60) as deadline:
        result = new_result(services, Command.RUN_QUEUE)
        return verify(services, deadline, Progress(), result, symbols or ("BTCUSD",), *days, **options)


def of(report: VerifyReport) -> SymbolVerified:
    (symbol,) = (one for one in report.symbols if one.pages)
    return symbol


def bars(world: World, table: str = "ohlcv_5m") -> list[tuple[Any, ...]]:
    return world.rows(f"SELECT * FROM market_data.{table} ORDER BY symbol_id, ts")


def spoil(world: World, *statements: str) -> None:
    with psycopg.connect(world.database_url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def rows(world: World) -> list[tuple[Any, ...]]:
    return world.rows(
        "SELECT compared, changed, appeared, vanished, nothing, checks, verified_at IS NOT NULL"
        " FROM data_sources.assetbatch_verified ORDER BY start_ts"
    )


CHANGE = "UPDATE market_data.ohlcv_5m SET high = high * 1.25 WHERE ts = '2026-10-02 10:00Z'"
LOSE = "DELETE FROM market_data.ohlcv_5m WHERE ts = '2026-10-02 11:00Z'"


def test_what_is_equal_is_not_written(filled: World) -> None:
    before = filled.rows("SELECT xmin::text FROM market_data.ohlcv_5m ORDER BY ts")
    report = run(filled)
    assert (report.calls, report.pages_left, report.ended_because) == (1, 0, None)
    assert of(report).found == Comparison(compared=864, slots=864)
    assert filled.rows("SELECT xmin::text FROM market_data.ohlcv_5m ORDER BY ts") == before
    assert rows(filled) == [(864, 0, 0, 0, 0, 1, True)]


def test_what_the_provider_has_mended_is_stored_and_counted(filled: World) -> None:
    truth = bars(filled)
    spoil(filled, CHANGE, LOSE)
    symbol = of(run(filled))
    found = symbol.found
    assert (found.compared, found.changed, found.appeared, found.vanished) == (864, 1, 1, 0)
    assert found.largest == pytest.approx(0.2)  # what was stored was a quarter higher
    assert bars(filled) == truth
    assert rows(filled) == [(864, 1, 1, 0, 0, 1, True)]
    (words,) = differences(symbol)
    assert words == (
        "BTCUSD: 2 of 864 bars differ from what was stored "
        "(1 changed, by 20.00% at most, 1 appeared, 0 vanished)"
    )


def test_a_bar_that_does_not_come_is_kept_marked_and_counted_once(filled: World) -> None:
    stored = bars(filled)
    filled.provider.order("hole=2026-10-02", times=2)
    assert of(run(filled)).found.vanished == 288
    assert of(run(filled)).found.vanished == 0
    assert bars(filled) == stored
    marks = "SELECT count(*), min(ts)::text, min(bar_size) FROM data_sources.assetbatch_vanished"
    assert filled.rows(marks)[0][0] == 288
    assert of(run(filled)).found.differed == 0
    assert filled.rows(marks)[0][0] == 0  # all of it has come again


def test_minutes_are_compared_and_the_bars_of_five_follow(make_world: MakeWorld) -> None:
    world = make_world()
    world.document["priority_assets"] = [
        {"symbol": "BTCUSD", "polygon_ticker": "X:BTCUSD", "asset_type": "crypto", "bars": "1m"}
    ]
    fill(world)
    truth, minutes = bars(world), bars(world, "ohlcv_1m")
    spoil(
        world,
        "UPDATE market_data.ohlcv_1m SET close = close * 2, high = high * 2 WHERE ts = '2026-10-02 10:04Z'",
        CHANGE,
    )
    found = of(run(world)).found
    assert (found.compared, found.changed, found.slots) == (len(minutes), 1, len(truth))
    assert bars(world, "ohlcv_1m") == minutes
    assert bars(world) == truth


def test_parts_of_an_answer_that_are_of_no_use_verify_nothing(filled: World) -> None:
    stored = bars(filled)
    filled.provider.order("zeros", times=1)
    assert of(run(filled)).found == Comparison()
    assert bars(filled) == stored
    assert rows(filled) == [(0, 0, 0, 0, 0, 0, False)]


def test_a_page_that_fails_is_said_and_waits_behind_the_others(filled: World) -> None:
    fill(filled, "BTCUSD", date(2026, 8, 1), date(2026, 8, 2))
    filled.clock.at_ms += 8 * DAY_MS
    filled.provider.order("wrong-shape", times=1)
    report = run(filled, days=(None, None), max_calls=1)
    assert (of(report).pages, bool(of(report).errors)) == ([(date(2026, 8, 1), date(2026, 8, 2))], True)
    assert rows(filled) == [(0, 0, 0, 0, 0, 0, False)]
    assert of(run(filled, days=(None, None), max_calls=1)).pages == [OCTOBER]


def test_the_page_that_was_asked_for_least_recently_comes_first(filled: World) -> None:
    fill(filled, "BTCUSD", date(2026, 8, 1), date(2026, 8, 2))
    filled.clock.at_ms += 1000
    report = run(filled, days=(None, None), max_calls=1)
    assert report.ended_because == "1 call made"
    assert report.pages_left == 1
    first = of(report).pages
    filled.clock.at_ms += 1000
    assert of(run(filled, days=(None, None), max_calls=1)).pages != first
    filled.clock.at_ms += 1000
    assert of(run(filled, days=(None, None), max_calls=1)).pages == first


def test_without_days_what_is_not_a_week_old_is_left_alone(free: World) -> None:
    free.know_that_today_is_refused()
    free.run_priority()
    report = run(free, days=(None, None), dry_run=True)
    assert max(last for symbol in report.symbols for _, last in symbol.pages) <= date(2026, 11, 11)


def test_where_more_than_one_percent_differs_everything_is_asked_for_again(filled: World) -> None:
    fill(filled, "BTCUSD", date(2026, 8, 1), date(2026, 8, 2))
    truth = bars(filled)
    spoil(filled, "UPDATE market_data.ohlcv_5m SET close = close * 1.01, high = high * 1.01")
    symbol = of(run(filled))
    assert symbol.doubted
    assert (
        list(differences(symbol))[1] == "BTCUSD: more than 1 % differs: everything of it is asked for again"
    )
    with filled.services() as services:
        coverage = services.store.load(["BTCUSD"])["BTCUSD"].coverage
        (problem,) = [one for one in collect(services).problems if "differed" in one.message]
    assert problem.message.startswith("BTCUSD: more than 1 % of the verified bars differed")
    assert IntervalState.AGAIN in {one.state for one in coverage}
    filled.enqueue_secondary()
    filled.run_queue(seconds=90)
    assert set(truth) < set(bars(filled))
    with filled.services() as services:
        tally = services.store.tallies(["BTCUSD"], services.now_ms())["BTCUSD"]
        coverage = services.store.load(["BTCUSD"])["BTCUSD"].coverage
        health = collect(services)
        (gaps,) = find_gaps(services, ["BTCUSD"], None)
    assert not any("differed" in one.message for one in health.problems)
    assert (health.verification.asked_again, health.verification.changed) == ([], tally.changed)
    (asset,) = (one for one in health.assets if one.symbol == "BTCUSD")
    assert asset.differences == tally.changed
    assert asset.verified == round(gaps.verified or 0, 6)
    assert 0 < (health.verification.share or 0) < asset.verified  # the others are not verified yet
    (headline, *_) = gap_lines([gaps])
    assert f" verified within 90 days, {tally.changed:,} bars changed (by " in headline
    assert f"assetbatch_bars_verified_ratio {health.verification.share!r}" in render(health, {})
    assert not tally.is_doubted
    assert tally.changed >= 5 * 288
    assert IntervalState.AGAIN not in {one.state for one in coverage}


def test_a_slot_that_priority_needs_is_not_taken(make_world: MakeWorld) -> None:
    world = make_world(limit=5)
    fill(world)
    with world.services() as services:
        services.redis.delete(services.window.keys[0])
        now_ms = services.window.state().now_ms
        services.window.reserve(now_ms + 65_000, 5, 300_000)
    calls = len(world.paths)
    report = run(world, max_calls=3)
    assert (report.calls, len(world.paths)) == (0, calls)
    assert "kept for the next priority cycle" in (report.ended_because or "")
