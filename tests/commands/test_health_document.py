"""The health document as `collect` reads it from a real Redis and a real PostgreSQL."""

from __future__ import annotations

import pytest

from assetbatch.database import Store
from assetbatch.domain.formatting import iso
from assetbatch.domain.queueing import CallKind, Failure, Lane
from assetbatch.domain.records import Command
from assetbatch.errors import DatabaseError
from assetbatch.health import Health, collect
from assetbatch.state.connection import RedisClient
from assetbatch.state.queue import Lease
from tests.world import SetClock, World

from .conftest import MakeWorld

HOUR_MS = 3_600_000


def health_of(world: World) -> Health:
    with world.services() as services:
        return collect(services)


def test_after_a_cycle_all_is_well_and_the_window_has_its_calls(free: World, clock: SetClock) -> None:
    free.run_priority()
    health = health_of(free)
    assert (health.status, health.problems, health.alerts) == ("healthy", [], [])
    assert (health.window["used"], health.api_calls_remaining) == (3, 97)
    assert health.next_slot_in_seconds == 0
    assert health.checked_at == iso(clock.at_ms)
    assert health.last_priority_update is not None
    assert [asset.state for asset in health.assets[:3]] == ["fresh"] * 3
    assert not health.database_error
    assert {
        name: health.metrics[name] for name in ("plan.refusals", "starts.skipped", "queue.dead_letters")
    } == {
        "plan.refusals": 0.0,
        "starts.skipped": 0.0,
        "queue.dead_letters": 0.0,
    }
    assert health.metrics["assets.fresh_percent"] == 50.0  # the secondary ones have not been asked for
    assert health.queue["done_in_seconds"] is None


def test_a_full_window_says_when_its_next_slot_is_free(make_world: MakeWorld) -> None:
    world = make_world(limit=3)
    world.run_priority()
    health = health_of(world)
    assert health.api_calls_remaining == 0
    assert 1 < health.next_slot_in_seconds <= 61


def test_what_waits_is_forecast(free: World) -> None:
    free.enqueue_secondary()
    health = health_of(free)
    assert (health.queue["total_items"], health.queue["calls_ahead"]) == (3, 3)
    assert health.queue["done_in_seconds"] is not None


def test_a_database_that_cannot_be_read_is_a_problem_and_no_asset_is_shown(
    free: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise DatabaseError("postgresql cannot be reached", hint="is it running?")

    free.run_priority()
    monkeypatch.setattr(Store, "load", down)
    health = health_of(free)
    assert (health.status, health.database_error, health.assets) == ("unhealthy", True, [])
    assert ("postgresql cannot be reached", "is it running?", "critical") in [
        (problem.message, problem.hint, problem.severity) for problem in health.problems
    ]


def test_with_work_in_the_queue_a_database_that_cannot_be_read_leaves_no_forecast(
    free: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise DatabaseError("postgresql cannot be reached")

    free.enqueue_secondary()
    monkeypatch.setattr(Store, "load", down)
    assert health_of(free).queue["done_in_seconds"] is None


def test_a_redis_that_takes_no_writes_is_a_problem(free: World, redis_client: RedisClient) -> None:
    free.run_priority()
    limit = redis_client.config_get("maxmemory")["maxmemory"]
    redis_client.config_set("maxmemory", 1)
    try:
        health = health_of(free)
    finally:
        redis_client.config_set("maxmemory", limit)
    assert health.status == "unhealthy"
    assert "redis is full" in health.problems[0].message


def test_dead_letters_and_skipped_starts_are_counted_and_the_latest_three_named(free: World) -> None:
    with free.services() as services:
        services.history.skip(Command.ENQUEUE_SECONDARY)
        symbols = [f"S{n}" for n in range(4)]
        services.queue.enqueue([(symbol, Lane.LOW) for symbol in symbols])
        lease = services.queue.take(4, 60)
        assert isinstance(lease, Lease)
        failures = [Failure(symbol, "no such ticker", final=True) for symbol in symbols]
        services.queue.fail(lease.token, failures)
    free.run_priority()
    health = health_of(free)
    assert (health.metrics["queue.dead_letters"], health.metrics["starts.skipped"]) == (4.0, 1.0)
    (problem,) = [problem for problem in health.problems if "dead letter" in problem.message]
    assert problem.message.count("no such ticker") == 3


def test_secondary_assets_are_missed_since_the_first_cycle_that_is_remembered(
    free: World, clock: SetClock
) -> None:
    free.run_priority()
    for _ in range(2):
        clock.at_ms += 2 * HOUR_MS
        free.run_priority()
    assert "enqueue-secondary was never started" in [problem.message for problem in health_of(free).problems]


def test_the_plans_refusals_are_shown(free: World) -> None:
    free.know_that_today_is_refused()
    health = health_of(free)
    assert health.metrics["plan.refusals"] == 2.0
    assert len(health.plan["refusals"]) == 2


def test_calls_of_the_window_are_counted_whoever_made_them(free: World) -> None:
    with free.services() as services:
        services.window.ask(CallKind.QUEUE)
        services.window.reserve(services.window.state().now_ms, 2, 300_000)
    assert health_of(free).window == {
        "used": 1,
        "reserved_for_priority": 2,
        "pause": None,
        "pause_begun": True,
    }
