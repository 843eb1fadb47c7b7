"""Stocks and indices on the free plan, with the simulated provider: which calls a night costs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from assetbatch.domain.market_hours import new_york_zone, to_ms
from assetbatch.health import HealthStatus, Severity, collect
from assetbatch.views import nagios
from tests.world import SetClock, World

from .conftest import MakeWorld

MINUTE = 60_000
GOLD = {"symbol": "XAUUSD", "polygon_ticker": "C:XAUUSD", "asset_type": "forex"}


def stock(symbol: str, **settings: Any) -> dict[str, Any]:
    return {"symbol": symbol, "asset_type": "stocks", "bars": "none", **settings}


def index(symbol: str) -> dict[str, Any]:
    return {"symbol": symbol, "polygon_ticker": f"I:{symbol}", "asset_type": "indices"}


SECONDARY = [
    stock("AAPL"),
    stock("MSFT"),
    stock("BRK.B"),
    stock("TSLA", bars="5m"),
    index("NDX"),
    index("SPX"),
]


def new_york(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=new_york_zone()))


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """Wednesday 00:06 in New York; Tuesday is the last day that is shown."""
    return make_world(
        plan="basic",
        now_ms=new_york("2026-11-18T00:06"),
        document={"priority_assets": [], "secondary_assets": SECONDARY},
    )


def starts(world: World, count: int = 4) -> list[str]:
    """Start the queue as cron does, each minute. Return the endpoints and tickers that were asked, in
    order."""
    since = len(world.paths)
    for _ in range(count):
        world.enqueue_secondary()
        world.run_queue()
        world.clock.at_ms += MINUTE
    return [path.split("?")[0] for path in world.paths[since:]]


def closes(world: World) -> dict[str, tuple[Any, ...]]:
    return {
        symbol: (day, close)
        for symbol, day, close in world.rows(
            "SELECT DISTINCT ON (s.symbol) s.symbol, d.day::text, d.close FROM market_data.ohlcv_1d d"
            " JOIN trading.symbols s ON s.id = d.symbol_id ORDER BY s.symbol, d.day DESC"
        )
    }


def test_a_night_costs_one_call_for_all_stocks_without_bars(world: World, clock: SetClock) -> None:
    first = starts(world)
    grouped = "/v2/aggs/grouped/locale/us/market/stocks/2026-11-17"
    assert first.count(grouped) == 1
    assert [path for path in first if "AAPL" in path or "MSFT" in path] == []
    assert {symbol: day for symbol, (day, _) in closes(world).items()} == dict.fromkeys(
        ("AAPL", "MSFT", "BRK.B", "TSLA"), "2026-11-17"
    )
    update = world.last_update("AAPL")
    assert update is not None
    assert to_ms(datetime.fromisoformat(update["timestamp"])) == new_york("2026-11-17T16:00")
    assert float(update["last_price"]) == float(closes(world)["AAPL"][1])
    for time in ("2026-11-18T09:31", "2026-11-18T16:20", "2026-11-18T23:58"):
        clock.at_ms = new_york(time)
        assert [path for path in starts(world, 2) if "SPX" not in path and "TSLA" not in path] == []
    clock.at_ms = new_york("2026-11-19T00:01")
    assert starts(world, 3) == []
    clock.at_ms = new_york("2026-11-19T00:05")
    assert starts(world).count(grouped.replace("17", "18")) == 1


@pytest.mark.parametrize(
    "time", ["2026-11-21T00:06", "2026-11-21T11:00", "2026-11-22T15:00", "2026-11-26T12:00"]
)
@pytest.mark.parametrize("bars", ["5m", "none"])
def test_a_closed_day_after_some_days_off_has_no_refused_call(
    make_world: MakeWorld, clock: SetClock, time: str, bars: str
) -> None:
    """From Tuesday to Saturday, Sunday or Thanksgiving: what was missed is asked for, and nothing else."""
    assets = [stock("AAPL", bars=bars), stock("TSLA", bars=bars), {**index("NDX"), "bars": bars}]
    world = make_world(
        plan="basic",
        now_ms=new_york("2026-11-17T15:00"),
        document={"priority_assets": [], "secondary_assets": assets},
    )
    starts(world)
    before = len(world.provider.arrivals)
    clock.at_ms = new_york(time)
    starts(world)
    missed = world.provider.arrivals[before:]
    assert [one.path for one in missed if one.status != 200] == []
    assert [one for one in missed if "/aggs/" in one.path] != []
    last = "2026-11-20" if time < "2026-11-26" else "2026-11-25"
    for symbol in ("AAPL", "TSLA", "NDX"):
        update = world.last_update(symbol)
        assert update is not None
        assert to_ms(datetime.fromisoformat(update["timestamp"])) == new_york(f"{last}T16:00")
    before = len(world.provider.arrivals)
    clock.at_ms += 6 * 3_600_000
    starts(world)
    assert [one.path for one in world.provider.arrivals[before:] if "/aggs/" in one.path] == []


def test_a_refused_index_costs_two_calls_a_day_and_condemns_none(world: World, clock: SetClock) -> None:
    first = starts(world)
    assert sum("I:SPX" in path for path in first) == 2
    assert sum("I:NDX" in path for path in first) >= 1
    assert world.last_update("NDX") is not None
    assert world.last_update("SPX") is None
    clock.at_ms = new_york("2026-11-18T12:00")
    assert starts(world, 2) == []
    clock.at_ms = new_york("2026-11-19T00:08")
    assert sum("I:SPX" in path for path in starts(world)) <= 2
    update = world.last_update("NDX")
    assert update is not None
    assert to_ms(datetime.fromisoformat(update["timestamp"])) == new_york("2026-11-18T16:00")


@pytest.mark.parametrize("bars", ["5m", "none"])
def test_a_refused_index_is_advice_and_no_failure(make_world: MakeWorld, clock: SetClock, bars: str) -> None:
    world = make_world(
        plan="basic",
        now_ms=new_york("2026-11-18T00:06"),
        document={
            "priority_assets": [],
            "secondary_assets": [{**index(symbol), "bars": bars} for symbol in ("NDX", "SPX", "DJI")],
        },
    )
    for _ in range(2):
        starts(world)
        with world.services() as services:
            health = collect(services)
            assert services.queue.dead_letters(9) == []
            code, line = nagios.render(health, services.config)
        (advice,) = [one for one in health.problems if "SPX" in one.message]
        assert (advice.message, advice.severity) == ("SPX, DJI: not in your plan", Severity.ADVICE)
        assert (health.status, code) == (HealthStatus.HEALTHY, 0), health.problems
        assert line.startswith("ASSETBATCH OK - 1 of 3 assets fresh")
        clock.at_ms += 24 * 3_600_000


def test_bars_beside_the_session_are_asked_for_when_they_become_wanted(
    make_world: MakeWorld, clock: SetClock
) -> None:
    """Once, and after a change to and fro only those of the time between."""
    world = make_world(
        plan="basic",
        now_ms=new_york("2026-11-18T00:06"),
        days=40,
        document={"priority_assets": [], "secondary_assets": [stock("TSLA", bars="5m")]},
    )

    def ranges(extended: bool) -> list[str]:
        world.document["secondary_assets"] = [stock("TSLA", bars="5m", extended_hours=extended)]
        return [path for path in starts(world) if "/range/" in path]

    def first_and_last() -> list[tuple[str, str]]:
        return world.rows(
            "SELECT min(t)::text, max(t)::text FROM (SELECT (o.ts AT TIME ZONE 'America/New_York') AS t"
            " FROM market_data.ohlcv_5m o JOIN trading.symbols s ON s.id = o.symbol_id"
            " WHERE s.symbol = 'TSLA') x GROUP BY t::date ORDER BY 1"
        )

    assert ranges(extended=False) != []
    assert {(first[11:16], last[11:16]) for first, last in first_and_last()} == {("09:30", "15:55")}
    assert ranges(extended=True) != []
    days = first_and_last()
    assert len(days) > 20
    assert all(first[11:16] < "04:30" and last[11:16] > "19:30" for first, last in days)
    for extended in (True, False, True, False):
        assert ranges(extended=extended) == []
    clock.at_ms = new_york("2026-11-19T00:06")
    assert ranges(extended=False) != []
    assert first_and_last()[-1][0][11:16] == "09:30"
    again = ranges(extended=True)
    assert [path for path in again if int(path.split("/")[-2]) < new_york("2026-11-17T00:00")] == []
    first, last = first_and_last()[-1]
    assert (first[11:16] < "04:30", last[11:16] > "19:30") == (True, True)
    assert ranges(extended=True) == []


def test_bars_beside_the_session_are_kept_only_where_they_are_wanted(make_world: MakeWorld) -> None:
    world = make_world(
        plan="basic",
        now_ms=new_york("2026-11-18T00:06"),
        document={
            "priority_assets": [],
            "secondary_assets": [stock("TSLA", bars="5m"), stock("NVDA", bars="5m", extended_hours=True)],
        },
    )
    starts(world)
    times = {
        symbol: (first, last)
        for symbol, first, last in world.rows(
            "SELECT s.symbol, min((o.ts AT TIME ZONE 'America/New_York')::time)::text,"
            " max((o.ts AT TIME ZONE 'America/New_York')::time)::text FROM market_data.ohlcv_5m o"
            " JOIN trading.symbols s ON s.id = o.symbol_id GROUP BY 1"
        )
    }
    assert times == {"TSLA": ("09:30:00", "15:55:00"), "NVDA": ("04:00:00", "19:55:00")}


@pytest.mark.parametrize("closed", ["2026-11-26T12:00", "2026-11-21T11:00", "2025-01-09T12:00"])
def test_nothing_is_asked_on_a_closed_day(make_world: MakeWorld, closed: str, clock: SetClock) -> None:
    """Thanksgiving, a Saturday, and the day of a funeral."""
    now_ms = new_york(closed)
    world = make_world(
        plan="basic", now_ms=now_ms, document={"priority_assets": [GOLD], "secondary_assets": SECONDARY[:5]}
    )
    starts(world)
    clock.at_ms += 3 * 3_600_000
    assert starts(world, 2) == []
