"""Whole cycles over a simulated week: a weekend, the end of summer time, both plans, faults of every kind.

The week begins on Wednesday, 28 October 2026, in New York, whose summer time ends on Sunday, 1 November.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from assetbatch.commands.gaps import SymbolGaps, find_gaps
from assetbatch.domain.asset_classes import Market
from assetbatch.domain.coverage import GapReason
from assetbatch.domain.market_hours import is_open, start_of_day
from assetbatch.errors import AssetbatchError
from assetbatch.health import collect
from assetbatch.provider.client import ProviderClient
from assetbatch.sandbox.faults import FAULTS
from assetbatch.secret import Secret
from tests.world import KEY, SetClock, World

MINUTE = 60_000
HOUR = 60 * MINUTE
START = start_of_day(date(2026, 10, 28))
END = start_of_day(date(2026, 11, 5))
FRIDAY_EVENING = start_of_day(date(2026, 10, 30)) + 18 * HOUR
SUNDAY_EVENING = start_of_day(date(2026, 11, 1)) + 18 * HOUR  # 17:00, the day having 25 hours
STEP = HOUR

ASSETS: dict[str, list[dict[str, Any]]] = {
    "priority_assets": [
        {"symbol": "XAUUSD", "polygon_ticker": "C:XAUUSD", "asset_type": "forex"},
        {"symbol": "EURUSD", "polygon_ticker": "C:EURUSD", "asset_type": "forex"},
        {"symbol": "BTCUSD", "polygon_ticker": "X:BTCUSD", "asset_type": "crypto"},
    ],
    "secondary_assets": [
        {"symbol": "GBPUSD", "polygon_ticker": "C:GBPUSD", "asset_type": "forex", "priority": "HIGH"},
        {"symbol": "ETHUSD", "polygon_ticker": "X:ETHUSD", "asset_type": "crypto"},
        {"symbol": "NOSUCH", "polygon_ticker": "X:NOSUCHUSD", "asset_type": "crypto", "priority": "LOW"},
    ],
}
WITH_BARS = ("XAUUSD", "EURUSD", "BTCUSD", "GBPUSD", "ETHUSD")
TICKERS = {
    "XAUUSD": "C:XAUUSD",
    "EURUSD": "C:EURUSD",
    "BTCUSD": "X:BTCUSD",
    "GBPUSD": "C:GBPUSD",
    "ETHUSD": "X:ETHUSD",
}

# Faults that hold a connection for seconds have tests of their own (tests/provider).
QUICK_FAULTS = sorted(FAULTS.keys() - {"drip-headers", "drip-body", "huge", "gzip-bomb", "delayed"})


@pytest.fixture
def clock() -> SetClock:
    return SetClock(START)


@pytest.fixture
def make_week(
    tmp_path: Path, redis_url: str, database_url: str, prefix: str, clock: SetClock
) -> Iterator[Any]:
    made: list[World] = []

    def make(plan: str, **document: Any) -> World:
        # Without a limit: the window goes by the time of Redis, and a week passes here within a minute.
        settings = {**ASSETS, "queue": {"retry_delay_seconds": 0}, **document}
        world = World(
            tmp_path, redis_url, database_url, prefix, clock, plan=plan, limit=None, document=settings
        )
        made.append(world)
        world.init()
        return world

    yield make
    for world in made:
        world.provider.stop()


def step(world: World, *, tolerant: bool = False) -> None:
    """What cron starts in an hour, at its beginning."""
    for command in (world.run_priority, world.enqueue_secondary, world.run_queue):
        try:
            command()
        except AssetbatchError:
            if not tolerant:
                raise


def truth(world: World, symbol: str, start_ms: int, end_ms: int) -> dict[int, tuple[float, ...]]:
    """The bars that the provider has, asked for directly."""
    with ProviderClient(world.provider.base_url, Secret(KEY)) as client:
        answer = client.bars(TICKERS[symbol], start_ms, end_ms - 1)
    return {bar.t_ms: (bar.open, bar.high, bar.low, bar.close) for bar in answer.bars if bar.end_ms <= end_ms}


def table(world: World, symbol: str, start_ms: int, end_ms: int) -> dict[int, tuple[float, ...]]:
    """The bars that are stored."""
    rows = world.rows(
        "SELECT (extract(epoch FROM o.ts) * 1000)::int8, o.open, o.high, o.low, o.close"
        " FROM market_data.ohlcv_5m o JOIN trading.symbols s ON s.id = o.symbol_id"
        " WHERE s.symbol = %s AND o.ts >= to_timestamp(%s) AND o.ts < to_timestamp(%s)",
        symbol,
        start_ms / 1000,
        end_ms / 1000,
    )
    return {row[0]: tuple(row[1:]) for row in rows}


def holes(world: World) -> list[SymbolGaps]:
    with world.services() as services:
        return find_gaps(services, WITH_BARS, None)


def ranges(world: World) -> list[tuple[str, int, int]]:
    """Ticker, start and end of each range of bars that arrived."""
    found = []
    for path in world.paths:
        parts = path.split("?")[0].split("/")
        if "range" in parts:
            found.append((parts[4], int(parts[8]), int(parts[9])))
    return found


@pytest.mark.timeout(240)
def test_a_week_on_the_free_plan(make_week: Any, clock: SetClock) -> None:
    world: World = make_week("basic")
    while clock.at_ms < END:
        step(world)
        clock.at_ms += STEP
    clock.at_ms -= STEP
    until = END - 24 * HOUR  # the last complete day
    for symbol in WITH_BARS:
        assert table(world, symbol, START, until) == truth(world, symbol, START, until), symbol
    sunday = start_of_day(date(2026, 11, 1))
    assert len(table(world, "BTCUSD", sunday, sunday + 25 * HOUR)) == 300
    # a range a day for each symbol, and one look a day and class whether the running day is shown
    assert len(ranges(world)) <= 9 * len(WITH_BARS) + 9 * 2 + 9 * 4
    saturday = range(FRIDAY_EVENING + 7 * HOUR, SUNDAY_EVENING)
    forex = [(ticker, end) for ticker, _, end in ranges(world) if ticker.startswith("C:")]
    assert sum(end + 1 in saturday for _, end in forex) <= 2
    for found in holes(world):
        assert found.complete == 1.0, found
        assert {hole.reason for hole in found.gaps} <= {GapReason.NOTHING, GapReason.NOT_PUBLISHED}


@pytest.mark.timeout(240)
def test_a_week_on_a_paid_plan(make_week: Any, clock: SetClock) -> None:
    world: World = make_week("starter")
    alarms: list[str] = []
    weekend_bars = 0
    while clock.at_ms < END:
        before = len(ranges(world))
        step(world)
        if FRIDAY_EVENING + HOUR < clock.at_ms < SUNDAY_EVENING - HOUR:
            weekend_bars += sum(ticker.startswith("C:") for ticker, _, _ in ranges(world)[before:])
            if clock.at_ms % (6 * HOUR) == 0:
                with world.services() as services:
                    health = collect(services)
                alarms += [asset.symbol for asset in health.assets if asset.state == "stale"]
        clock.at_ms += STEP
    assert alarms == []
    assert weekend_bars == 0
    assert not is_open(Market.FOREX, FRIDAY_EVENING)
    for symbol in WITH_BARS:
        until = END - 2 * HOUR
        assert table(world, symbol, START, until) == truth(world, symbol, START, until), symbol
    assert GapReason.FAILED not in {hole.reason for found in holes(world) for hole in found.gaps}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("plan", ["basic", "starter"])
def test_after_days_of_faults_of_every_kind_the_table_is_the_providers_truth(
    make_week: Any, clock: SetClock, plan: str
) -> None:
    world: World = make_week(plan)
    draw = random.Random(7)
    faults = iter(QUICK_FAULTS * 20)
    while clock.at_ms < START + 3 * 24 * HOUR:
        if draw.random() < 0.9:
            world.provider.order(next(faults), times=1)
        step(world, tolerant=True)
        clock.at_ms += STEP
    world.provider.faults.clear()
    with world.services() as services:  # a 429 has closed the window for some time
        services.redis.delete(*services.window.keys[1:2])
    while clock.at_ms < START + 6 * 24 * HOUR:
        step(world, tolerant=True)
        clock.at_ms += 2 * HOUR
    end = start_of_day(date(2026, 11, 2))
    for symbol in WITH_BARS:
        assert table(world, symbol, START, end) == truth(world, symbol, START, end), symbol
    for found in holes(world):
        reasons = {hole.reason for hole in found.gaps if hole.end_ms <= end}
        assert reasons <= {GapReason.NOTHING}, found
    with world.services() as services:
        dead = {letter.id for letter in services.queue.dead_letters(100)}
    assert dead <= {"NOSUCH", "history:NOSUCH"}
