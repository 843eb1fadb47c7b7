"""What a run of the queue does with calls that nobody else needs."""

from __future__ import annotations

import logging
from datetime import date
from pathlib import Path

import psycopg
import pytest

from assetbatch.commands.backfill import backfill
from assetbatch.domain.queueing import Lane
from assetbatch.domain.units import DAY_MS
from tests.world import World

from .conftest import MakeWorld

OCTOBER = date(2026, 10, 1), date(2026, 10, 3)
pytestmark = pytest.mark.usefixtures("years_of_bars")


@pytest.fixture
def due(make_world: MakeWorld) -> World:
    """Three days of bars are stored since a week; one of them is wrong."""
    world = make_world(limit=50, document={"verify": {"share": 1.0}})
    world.know_that_today_is_refused()
    with world.services() as services:
        backfill(services, ["BTCUSD"], *OCTOBER, dry_run=False)
    world.run_queue(seconds=90)
    world.clock.at_ms += 8 * DAY_MS
    with psycopg.connect(world.database_url) as connection:
        connection.execute("UPDATE market_data.ohlcv_5m SET high = high * 2 WHERE ts = '2026-10-02 10:00Z'")
    return world


def bars(world: World) -> list[tuple[object, ...]]:
    return world.rows("SELECT high FROM market_data.ohlcv_5m WHERE ts = '2026-10-02 10:00Z'")


def test_an_empty_queue_lets_stored_bars_be_verified(due: World, caplog: pytest.LogCaptureFixture) -> None:
    wrong, calls = bars(due), len(due.paths)
    caplog.set_level(logging.INFO, "assetbatch")
    result = due.run_queue()
    assert (result.result, result.calls, result.pages_verified) == ("nothing", 1, 1)
    assert (result.bars_compared, result.bars_changed, result.exit_code) == (864, 1, 0)
    assert result.ended_because == "empty"
    assert len(due.paths) == calls + 1
    assert bars(due) != wrong
    assert "BTCUSD: 1 of 864 bars differ from what was stored" in caplog.text


def test_what_was_verified_is_left_alone_for_a_week(due: World) -> None:
    due.run_queue()
    calls = len(due.paths)
    due.run_queue()
    assert len(due.paths) == calls


def test_a_queue_that_was_worked_off_does_so_too(due: World) -> None:
    with due.services() as services:
        services.queue.enqueue([("ETHUSD", Lane.HIGH)])
    result = due.run_queue()
    assert (result.pages_verified, [asset.symbol for asset in result.assets]) == (1, ["ETHUSD"])
    assert result.calls >= 2


def test_none_is_made_without_a_share(due: World) -> None:
    due.document["verify"]["share"] = 0
    calls = len(due.paths)
    assert due.run_queue().pages_verified == 0
    assert len(due.paths) == calls


def test_a_page_that_fails_is_no_failure_of_the_run(due: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "assetbatch")
    due.provider.order("status=500", times=None)
    result = due.run_queue()
    assert (result.exit_code, result.failed, result.calls) == (0, [], 1)
    assert "BTCUSD: " in caplog.text
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_a_database_that_is_down_is_no_failure_of_an_idle_run(due: World) -> None:
    due.document["database"] = {"url": "postgresql://nobody@127.0.0.1:1/none"}
    assert due.run_queue().exit_code == 0


def test_slots_that_priority_needs_are_kept(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world(limit=5, document={"verify": {"share": 1.0}})
    world.know_that_today_is_refused()
    with world.services() as services:
        backfill(services, ["BTCUSD"], *OCTOBER, dry_run=False)
    world.run_queue(seconds=90)
    world.clock.at_ms += 8 * DAY_MS
    with world.services() as services:
        now_ms = services.window.state().now_ms
        services.window.reserve(now_ms + 40_000, 5, 300_000)
    calls = len(world.paths)
    assert world.run_queue().pages_verified == 0
    assert len(world.paths) == calls
