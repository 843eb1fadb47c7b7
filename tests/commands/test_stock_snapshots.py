"""Stocks, indices and currencies in the snapshots of paid plans: one call, and each product for itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.entitlements import Restriction
from assetbatch.domain.market_hours import new_york_zone, to_ms
from assetbatch.health.collect import collect
from assetbatch.sandbox.plans import plan_of
from tests.world import World

from .conftest import MakeWorld

MINUTE = 60_000
HOUR = 60 * MINUTE
NO_BARS = {"bars": "none"}
ASSETS = [
    {"symbol": "XAUUSD", "asset_type": "forex", **NO_BARS},
    {"symbol": "EURUSD", "asset_type": "forex", **NO_BARS},
    {"symbol": "BTCUSD", "asset_type": "crypto", **NO_BARS},
    {"symbol": "AAPL", "asset_type": "stocks", **NO_BARS},
    {"symbol": "SPY", "asset_type": "stocks", **NO_BARS},
    {"symbol": "NDX", "asset_type": "indices", **NO_BARS},
    {"symbol": "SPX", "asset_type": "indices", **NO_BARS},
]


def new_york(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=new_york_zone()))


TUESDAY = new_york("2026-11-24T11:00:10")
DOCUMENT = {"priority_assets": ASSETS, "secondary_assets": []}


def calls(world: World, since: int = 0) -> list[str]:
    return [path.split("?")[0] for path in world.paths[since:]]


def tickers(world: World, since: int = 0) -> set[str]:
    """The tickers that snapshots and other calls were for."""
    asked = world.provider.arrivals[since:]
    listed = (one.query.get("ticker.any_of") or one.query.get("tickers") or one.path for one in asked)
    return {ticker for text in listed for ticker in text.split(",")}


def prices(world: World) -> dict[str, dict[str, Any] | None]:
    return {asset["symbol"]: world.last_update(asset["symbol"]) for asset in ASSETS}


def age_minutes(world: World, update: dict[str, Any] | None) -> float:
    assert update is not None
    return (world.clock.at_ms - to_ms(datetime.fromisoformat(update["timestamp"]))) / MINUTE


def delay_minutes(world: World) -> dict[str, float]:
    with world.services() as services:
        known = services.entitlements()
        return {kind.value: known.delay_ms(kind, world.clock.at_ms) / MINUTE for kind in AssetType}


def test_one_snapshot_brings_all_products_and_the_delay_of_each(make_world: MakeWorld) -> None:
    world = make_world(plan="starter", now_ms=TUESDAY, document=DOCUMENT)
    result = world.run_priority()
    assert calls(world) == ["/v3/snapshot"]
    assert len(tickers(world)) == len(ASSETS)
    assert {asset.status for asset in result.assets} == {"success"}
    found = prices(world)
    for symbol in ("AAPL", "SPY", "NDX", "SPX"):
        update = found[symbol]
        assert update is not None
        assert 15 <= age_minutes(world, update) < 17
        assert update["daily_low"] <= update["last_price"] <= update["daily_high"]
        assert (update["bid"], update["ask"]) == (None, None), "the plan has no quotes of stocks"
    assert age_minutes(world, found["EURUSD"]) < 1
    assert delay_minutes(world) == {"forex": 0, "crypto": 0, "stocks": 15, "indices": 15}
    with world.services() as services:
        health = collect(services)
    assert {(asset.symbol, asset.state.value) for asset in health.assets} == {
        (asset["symbol"], "fresh") for asset in ASSETS
    }
    assert max(asset.lag_seconds or 0 for asset in health.assets) < 120


def test_a_plan_with_trades_and_quotes_has_them_in_real_time(make_world: MakeWorld) -> None:
    world = make_world(plan="advanced", now_ms=TUESDAY, document=DOCUMENT)
    world.run_priority()
    update = prices(world)["AAPL"]
    assert update is not None
    assert age_minutes(world, update) < 2
    assert update["bid"] <= update["ask"]
    assert set(delay_minutes(world).values()) == {0}


def test_a_product_that_is_not_in_the_plan_teaches_nothing_of_another(make_world: MakeWorld) -> None:
    """The tier promises all; the key has stocks only, and the five free indices."""
    world = make_world(
        plan=plan_of("basic", "starter", "basic"), tier="starter", now_ms=TUESDAY, document=DOCUMENT
    )
    world.run_priority()
    world.clock.at_ms += 5 * MINUTE
    before = len(world.paths)
    world.run_priority()
    assert calls(world, before).count("/v3/snapshot") == 1, "of the stocks"
    with world.services() as services:
        known = services.entitlements()
        now_ms = world.clock.at_ms
        for kind in (AssetType.FOREX, AssetType.INDICES):
            assert known.lacks(Restriction.SNAPSHOT, kind, now_ms, "C:EURUSD") or not known.snapshots(
                kind, now_ms, "I:NDX"
            )
        assert known.snapshots(AssetType.STOCKS, now_ms)
        alone = known.lacks(Restriction.SNAPSHOT, AssetType.INDICES, now_ms, "I:NYA")
        assert alone is None, "each index is refused alone"
    found = prices(world)
    assert age_minutes(world, found["AAPL"]) < 25
    assert all(found[symbol] for symbol in ("XAUUSD", "EURUSD", "BTCUSD", "NDX"))
    assert found["SPX"] is None


def test_on_a_holiday_no_stock_is_asked_for_and_none_is_stale(make_world: MakeWorld) -> None:
    close = new_york("2026-11-25T16:20")  # the day before Thanksgiving
    world = make_world(plan="starter", now_ms=close, document=DOCUMENT)
    world.run_priority()
    before = prices(world)
    world.clock.at_ms = new_york("2026-11-25T17:40")
    world.run_priority()  # the last word on that day
    for at in ("2026-11-26T10:00", "2026-11-26T15:00", "2026-11-27T09:00"):
        world.clock.at_ms = new_york(at)
        since = len(world.paths)
        world.run_priority()
        assert tickers(world, since) <= {"C:XAUUSD", "C:EURUSD", "X:BTCUSD"}
        with world.services() as services:
            health = collect(services)
        assert {asset.state.value for asset in health.assets} == {"fresh"}
    assert prices(world)["AAPL"] is not None
    assert before["AAPL"] is not None
    world.clock.at_ms = new_york("2026-11-27T09:50")
    world.run_priority()
    after = prices(world)["AAPL"]
    assert after is not None
    assert age_minutes(world, after) < 17


@pytest.mark.parametrize("at", ["2026-11-25T03:50", "2026-11-26T12:00"])
def test_a_stock_without_any_price_has_that_of_the_last_day_where_snapshots_are_cleared(
    make_world: MakeWorld, at: str
) -> None:
    """It was registered in the night, or on a holiday."""
    world = make_world(plan="starter", now_ms=new_york(at), document=DOCUMENT)
    result = world.run_priority()
    assert {asset.status for asset in result.assets} == {"success"}
    grouped = [path for path in calls(world) if "grouped" in path]
    assert len(grouped) == 1, "for both stocks"
    update = prices(world)["AAPL"]
    assert update is not None
    assert update["daily_close"] == update["last_price"] > 0
    with world.services() as services:
        health = collect(services)
    assert {asset.state.value for asset in health.assets} == {"fresh"}
    since = len(world.paths)
    world.clock.at_ms += 5 * HOUR
    world.run_priority()
    assert not [path for path in world.paths[since:] if "AAPL" in path or "stocks" in path]


def test_markets_have_snapshots_of_their_own_where_unified_ones_are_refused(make_world: MakeWorld) -> None:
    world = make_world(plan="starter", now_ms=TUESDAY, document=DOCUMENT)
    world.run_priority()
    world.clock.at_ms += 6 * MINUTE
    world.provider.order("not-authorized-200", times=4, path_contains="/v3/snapshot")
    since = len(world.paths)
    world.run_priority()
    world.run_priority()  # a cycle makes no more calls than it has assets
    asked = calls(world, since)
    assert asked.count("/v3/snapshot") == 4, "together, then each product"
    assert set(asked) - {"/v3/snapshot"} == {
        "/v2/snapshot/locale/global/markets/forex/tickers",
        "/v2/snapshot/locale/global/markets/crypto/tickers",
        "/v2/snapshot/locale/us/markets/stocks/tickers",
        "/v3/snapshot/indices",
    }
    assert age_minutes(world, prices(world)["AAPL"]) < 17


def test_with_extended_hours_a_stock_is_asked_for_from_four_to_eight(make_world: MakeWorld) -> None:
    extended = {"symbol": "AAPL", "asset_type": "stocks", "extended_hours": True, **NO_BARS}
    world = make_world(
        plan="starter",
        now_ms=new_york("2026-11-24T08:00:10"),
        document={"priority_assets": [extended], "secondary_assets": []},
    )
    world.run_priority()
    early = world.last_update("AAPL")
    assert early is not None
    assert (15 <= age_minutes(world, early) < 17, early["daily_open"]) == (True, None)
    for hour in (18, 19):  # twice, since what is stored reaches beyond the session then
        world.clock.at_ms = new_york(f"2026-11-24T{hour}:00:10")
        world.run_priority()
        late = world.last_update("AAPL")
        assert late is not None
        assert 15 <= age_minutes(world, late) < 17
        assert late["daily_close"] != late["last_price"]
    with world.services() as services:
        (health,) = collect(services).assets
    assert (health.state.value, health.market, health.lag_seconds is not None) == ("fresh", "open", True)
