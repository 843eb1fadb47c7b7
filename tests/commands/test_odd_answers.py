"""Answers that are not what was asked for, by the commands and over real HTTP: nothing untrue is stored."""

from __future__ import annotations

from collections import Counter

import pytest

from assetbatch.commands.gaps import find_gaps
from assetbatch.domain.coverage import GapReason
from tests.world import World

from .conftest import MakeWorld

PAGE_BARS = 34 * 288


@pytest.fixture
def free(make_world: MakeWorld) -> World:
    """The free plan with bitcoin only, whose market never closes; today's data are known to be refused."""
    asset = {"symbol": "BTCUSD", "polygon_ticker": "X:BTCUSD", "asset_type": "crypto"}
    world = make_world(plan="basic", document={"priority_assets": [asset], "secondary_assets": []})
    world.know_that_today_is_refused()
    return world


def missing(world: World) -> dict[GapReason, int]:
    """Return how many bars are missing by reason, of what the plan shows."""
    with world.services() as services:
        (found,) = find_gaps(services, ["BTCUSD"], None)
    bars: Counter[GapReason] = Counter()
    for hole in found.gaps:
        bars[hole.reason] += hole.bars
    del bars[GapReason.NOT_PUBLISHED]
    return dict(bars)


def complete(world: World) -> float | None:
    with world.services() as services:
        (found,) = find_gaps(services, ["BTCUSD"], None)
    return found.complete


@pytest.mark.usefixtures("years_of_bars")
def test_another_tickers_answer_is_not_stored_and_asked_for_again(free: World) -> None:
    free.provider.order("other-ticker", times=1)
    result = free.run_priority()
    assert (result.result, result.calls) == ("failed", 1)
    assert (free.bars("BTCUSD"), free.last_update("BTCUSD")) == (0, None)
    assert missing(free) == {GapReason.FAILED: PAGE_BARS}
    assert free.run_priority().result == "ok"
    assert (free.bars("BTCUSD"), missing(free)) == (PAGE_BARS, {})


@pytest.mark.usefixtures("years_of_bars")
def test_a_bar_off_the_grid_is_refused_and_the_others_are_complete(free: World) -> None:
    free.provider.order("off-grid", times=1)
    result = free.run_priority()
    assert (result.result, result.bars_refused) == ("ok", 1)
    assert (free.bars("BTCUSD"), missing(free), complete(free)) == (PAGE_BARS, {}, 1.0)


@pytest.mark.usefixtures("years_of_bars")
def test_what_came_in_another_unit_leaves_its_slots_failed(free: World) -> None:
    free.provider.order("nanoseconds", times=1)
    result = free.run_priority()
    assert result.bars_refused == PAGE_BARS // 2
    assert missing(free) == {GapReason.FAILED: PAGE_BARS // 2}
    assert complete(free) == 0.5


@pytest.mark.usefixtures("years_of_bars")
def test_a_hole_within_bars_is_believed_when_it_came_twice(free: World) -> None:
    free.provider.order("hole=2026-11-01", times=1)
    free.run_priority()
    free.provider.order("hole=2026-11-01", times=1)
    assert missing(free) == {GapReason.FAILED: 288}
    free.clock.at_ms += 24 * 3_600_000
    assert free.run_priority().calls == 1  # the next range of the latest bars has it again
    assert missing(free) == {GapReason.NOTHING: 288}


@pytest.mark.usefixtures("years_of_bars")
def test_a_hole_that_came_once_is_filled(free: World) -> None:
    free.provider.order("hole=2026-11-01", times=1)
    free.run_priority()
    free.clock.at_ms += 24 * 3_600_000
    assert free.run_priority().calls == 1
    assert (missing(free), free.bars("BTCUSD")) == ({}, PAGE_BARS + 288)


def test_a_quote_that_cannot_be_one_fails_its_ticker_and_no_other(paid: World) -> None:
    paid.provider.order("crossed", times=1)
    result = paid.run_priority()
    statuses = {asset.symbol: asset.status for asset in result.assets}
    assert statuses == {"XAUUSD": "failed", "EURUSD": "failed", "BTCUSD": "success"}
    assert (result.prices_refused, result.published) == (2, 1)
    assert paid.last_update("EURUSD") is None


def test_a_ticker_refused_alone_in_a_snapshot_leaves_its_class_and_gets_its_bars(
    make_world: MakeWorld,
) -> None:
    world = make_world(plan="starter")
    world.document["priority_assets"] = world.document["priority_assets"][-1:]
    world.provider.order("ticker-errors=NOT_ENTITLED", times=1)
    result = world.run_priority()
    with world.services() as services:
        known, now_ms = services.entitlements(), services.now_ms()
        crypto = services.config.enabled_priority_assets[0].asset_type
        assert known.snapshots(crypto, now_ms, "X:ETHUSD")
        assert not known.snapshots(crypto, now_ms, "X:BTCUSD")
    assert [asset.status for asset in result.assets] == ["postponed"]
    assert world.run_priority().result == "ok"
    assert world.bars("BTCUSD") > 0
