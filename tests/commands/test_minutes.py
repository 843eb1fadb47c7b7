"""An asset that keeps minutes: the same calls, and the same bars of five minutes as of any other."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest

from assetbatch.commands.backfill import backfill
from assetbatch.domain.ranges import asked_less_from
from assetbatch.health import collect
from tests.world import World

from .conftest import MakeWorld
from .test_odd_answers import missing

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def asset(symbol: str, bars: str, ticker: str = "X:BTCUSD") -> dict[str, Any]:
    return {"symbol": symbol, "polygon_ticker": ticker, "asset_type": "crypto", "bars": bars}


def rows(world: World, symbol: str, table: str = "ohlcv_5m") -> list[tuple[Any, ...]]:
    return world.rows(
        f"SELECT o.ts, open, high, low, close, volume, trades, vwap FROM market_data.{table} o"
        " JOIN trading.symbols s ON s.id = o.symbol_id WHERE s.symbol = %s ORDER BY 1",
        symbol,
    )


def assert_alike(world: World, one: str = "BTCUSD", other: str = "BTC-USD") -> None:
    """The vendor rounds each average to cents, so that of five averages is off by half a cent at most."""
    bars, others = rows(world, one), rows(world, other)
    assert [bar[:-1] for bar in bars] == [bar[:-1] for bar in others]
    for bar, same in zip(bars, others, strict=True):
        assert bar[-1] == pytest.approx(same[-1], abs=0.0101)
    assert bars


@pytest.fixture
def both(make_world: MakeWorld) -> World:
    """Two names of bitcoin, of which one keeps minutes; the free plan."""
    assets = [asset("BTCUSD", "1m"), asset("BTC-USD", "5m")]
    world = make_world(plan="basic", document={"priority_assets": assets, "secondary_assets": []})
    world.know_that_today_is_refused()
    return world


def ranges(world: World, since: int = 0) -> list[tuple[str, str]]:
    """Minutes of a bar, and the range."""
    found = [re.search(r"/range/(\d)/minute/(\d+/\d+)", path) for path in world.paths[since:]]
    return [(one[1], one[2]) for one in found if one]


def test_the_same_range_gives_the_same_bars(both: World) -> None:
    both.run_priority()
    (one, first), (five, second) = ranges(both)
    assert ((one, five), first) == (("1", "5"), second)
    assert len(rows(both, "BTCUSD", "ohlcv_1m")) > 4 * len(rows(both, "BTCUSD"))
    assert rows(both, "BTC-USD", "ohlcv_1m") == []
    assert_alike(both)
    assert both.last_update("BTCUSD") == both.last_update("BTC-USD")


def test_day_by_day_the_bars_stay_the_same(both: World) -> None:
    for _ in range(3):
        both.run_priority()
        both.clock.at_ms += DAY_MS
    assert_alike(both)


def test_up_to_now_the_bars_are_the_same(make_world: MakeWorld) -> None:
    assets = [asset("BTCUSD", "1m"), asset("BTC-USD", "5m")]
    world = make_world(plan="starter", document={"priority_assets": assets, "secondary_assets": []})
    world.provider.order("not-authorized-200", times=1000, path_contains="/snapshot")
    for _ in range(8):
        world.run_priority()
        world.clock.at_ms += 7 * 60_000
    world.run_priority()
    assert_alike(world)


@pytest.mark.parametrize(
    "fault",
    [
        "off-grid",
        "nanoseconds",
        "duplicates",
        "unordered",
        "next-url-empty",
        "hole=2026-11-17",
    ],
)
def test_whatever_is_wrong_in_an_answer_the_bars_are_the_same_in_the_end(both: World, fault: str) -> None:
    both.provider.order(fault, times=2, path_contains="/range/")
    for _ in range(4):
        both.run_priority()
        both.enqueue_secondary()
        both.run_queue()
        both.clock.at_ms += 7 * HOUR_MS
    assert_alike(both)


@pytest.mark.usefixtures("years_of_bars")
def test_two_months_take_the_same_calls(make_world: MakeWorld) -> None:
    calls = {}
    for size in ("5m", "1m"):
        document = {"priority_assets": [asset("BTCUSD", size)], "secondary_assets": []}
        world = make_world(plan="basic", document=document)
        world.drop_tables()
        world.init()
        world.know_that_today_is_refused()
        with world.services() as services:
            services.redis.flushdb()
        world.know_that_today_is_refused()
        before = len(world.paths)
        with world.services() as services:
            backfill(services, ["BTCUSD"], date(2026, 9, 10), None, dry_run=False)
        world.run_queue(60)
        calls[size] = [bounds for _, bounds in ranges(world, before)]
        assert missing(world) == {}
    assert calls["1m"] == calls["5m"]
    assert len(calls["1m"]) == 3


class TestAChangeOfTheSize:
    @pytest.fixture
    def world(self, make_world: MakeWorld) -> World:
        """A year ago only five minutes were kept."""
        document = {"priority_assets": [asset("BTCUSD", "5m")], "secondary_assets": []}
        world = make_world(plan="basic", document=document)
        world.know_that_today_is_refused()
        world.run_priority()
        world.clock.at_ms += DAY_MS
        world.run_priority()
        return world

    def keep(self, world: World, size: str) -> None:
        world.document["priority_assets"] = [asset("BTCUSD", size)]

    def cycles(self, world: World) -> int:
        before = len(world.paths)
        for _ in range(2):
            world.run_priority()
            world.enqueue_secondary()
            world.run_queue()
        return len(world.paths) - before

    def test_to_minutes_asks_for_the_past_once_more(self, world: World) -> None:
        """What the next range of the latest bars brings is left to that."""
        bars = rows(world, "BTCUSD")
        self.keep(world, "1m")
        self.cycles(world)
        world.clock.at_ms += DAY_MS
        self.cycles(world)
        assert [bar[:-1] for bar in rows(world, "BTCUSD")][: len(bars)] == [bar[:-1] for bar in bars]
        minutes = rows(world, "BTCUSD", "ohlcv_1m")
        assert (minutes[0][0], len(minutes)) == (bars[0][0], 4 * 1440)
        assert self.cycles(world) == 0

    def test_to_five_minutes_asks_for_nothing_and_keeps_the_minutes(self, world: World) -> None:
        self.keep(world, "1m")
        self.cycles(world)
        minutes = rows(world, "BTCUSD", "ohlcv_1m")
        self.keep(world, "5m")
        assert self.cycles(world) == 0
        assert rows(world, "BTCUSD", "ohlcv_1m") == minutes

    def test_to_none_and_back_leaves_no_gap_and_asks_for_nothing_twice(self, world: World) -> None:
        self.keep(world, "1m")
        self.cycles(world)
        since = rows(world, "BTCUSD")[0][0]
        self.keep(world, "none")
        for _ in range(3):
            world.clock.at_ms += DAY_MS
            self.cycles(world)
        before = len(world.paths)
        self.keep(world, "1m")
        world.clock.at_ms += DAY_MS
        self.cycles(world)
        minutes = [row[0] for row in rows(world, "BTCUSD", "ohlcv_1m")]
        assert (minutes[0], len(minutes)) == (since, (minutes[-1] - since).total_seconds() / 60 + 1)
        assert len(rows(world, "BTCUSD")) == len(minutes) // 5
        asked = [(size, int(bounds.partition("/")[2])) for size, bounds in ranges(world, before)]
        since_ms = since.timestamp() * 1000
        # The days before there was a market are asked for twice.
        assert [size for size, end_ms in asked if end_ms > since_ms] == ["1"]
        assert self.cycles(world) == 0

    def test_that_another_host_does_not_make_is_said_and_comes_to_an_end(self, make_world: MakeWorld) -> None:
        world = make_world(
            plan="starter", document={"priority_assets": [asset("BTCUSD", "5m")], "secondary_assets": []}
        )
        asked = []
        for _ in range(6):
            for size in ("5m", "1m"):
                world.clock.at_ms += 10 * 60_000
                self.keep(world, size)
                before = len(world.paths)
                self.cycles(world)
                spans = [bounds.split("/") for _, bounds in ranges(world, before)]
                asked.append(max((int(end) - int(start) for start, end in spans), default=0))
        assert max(asked[-4:]) < DAY_MS
        with world.services() as services:
            (problem,) = [one for one in collect(services).problems if "on another host" in one.message]
        assert problem.message.startswith("BTCUSD: more bars are kept here or elsewhere")

    @pytest.mark.parametrize("dry_run", [True, False])
    def test_a_backfill_counts_the_pages_that_it_takes(self, world: World, dry_run: bool) -> None:
        self.keep(world, "1m")
        with world.services() as services:
            (report,) = backfill(services, ["BTCUSD"], date(2026, 11, 10), None, dry_run=dry_run).symbols
        assert len(report.pages) == 1


@pytest.mark.parametrize("again", [False, True])
def test_a_backfill_over_closed_days_leaves_what_was_asked_for_in_minutes(
    make_world: MakeWorld, *, again: bool
) -> None:
    euro = {"symbol": "EURUSD", "polygon_ticker": "C:EURUSD", "asset_type": "forex", "bars": "1m"}
    world = make_world(plan="basic", document={"priority_assets": [euro], "secondary_assets": []})
    world.know_that_today_is_refused()
    world.run_priority()
    with world.services() as services:
        backfill(services, ["EURUSD"], date(2026, 10, 3), date(2026, 11, 8), dry_run=False, again=again)
        euro_stored = services.store.load(["EURUSD"])["EURUSD"]
        assert asked_less_from(services.config.assets_by_symbol["EURUSD"], euro_stored) is None


@pytest.mark.usefixtures("years_of_bars")
def test_a_dry_run_counts_the_pages_that_the_change_to_minutes_asks_for(make_world: MakeWorld) -> None:
    world = make_world(
        plan="basic", document={"priority_assets": [asset("BTCUSD", "5m")], "secondary_assets": []}
    )
    world.know_that_today_is_refused()
    with world.services() as services:
        backfill(services, ["BTCUSD"], date(2026, 6, 1), None, dry_run=False)
    world.run_queue(seconds=90)
    assert world.enqueue_secondary(dry_run=True).plan == []
    world.document["priority_assets"] = [asset("BTCUSD", "1m")]
    plan = world.enqueue_secondary(dry_run=True).plan
    done = world.enqueue_secondary()
    assert done.enqueued > 2
    assert plan == [f"enqueue {done.enqueued} pages of the past as HISTORY"]
    assert world.enqueue_secondary(dry_run=True).plan == []
