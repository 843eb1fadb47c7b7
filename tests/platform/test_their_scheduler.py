"""`data_sync_status` is written by a scheduler of the platform too: its words and clocks decide nothing."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.commands.conftest import make_world, template
from tests.world import PRIORITY, World

from .proof import problems

__all__ = ["make_world", "template"]

MINUTE_MS = 60_000
SYMBOLS = ("XAUUSD", "EURUSD", "BTCUSD")

THEIRS = {
    "a word of theirs": "UPDATE {} SET sync_status = 'in_progress'",
    "an error of theirs": "UPDATE {} SET sync_status = 'failed', error_message = 'no'",
    "a success of theirs, in the future": "UPDATE {} SET sync_status = 'success',"
    " last_sync_timestamp = now() + interval '1 day'",
    "a success of theirs, long ago": "UPDATE {} SET sync_status = 'success',"
    " last_sync_timestamp = '2020-01-01'",
    "no success": "UPDATE {} SET last_sync_timestamp = NULL",
    "a clock that is behind": "UPDATE {} SET updated_at = now() - interval '6 hours',"
    " last_sync_timestamp = now() - interval '6 hours'",
    "a clock that is ahead": "UPDATE {} SET updated_at = now() + interval '6 hours'",
    "an endless time": "UPDATE {} SET updated_at = 'infinity', last_sync_timestamp = 'infinity'",
    "no rows": "DELETE FROM {}",
}


def execute(world: World, statement: str) -> None:
    with psycopg.connect(world.database_url) as connection:
        connection.execute(statement.format("data_sources.data_sync_status").encode())


PRICES_ONLY = {"priority_assets": [{**asset, "bars": False} for asset in PRIORITY], "secondary_assets": []}


@pytest.fixture(params=["basic", "starter"])
def world(request: pytest.FixtureRequest, make_world: Callable[..., World], wednesday_ms: int) -> World:
    """On either plan, without bars: one call for all."""
    return make_world(plan=request.param, now_ms=wednesday_ms, document=PRICES_ONLY)


@pytest.fixture
def paid(make_world: Callable[..., World], wednesday_ms: int) -> World:
    return make_world(plan="starter", now_ms=wednesday_ms, document=PRICES_ONLY)


@pytest.fixture
def free(make_world: Callable[..., World], wednesday_ms: int) -> World:
    """With bars, as many as there are."""
    return make_world(plan="basic", now_ms=wednesday_ms)


@pytest.mark.parametrize("theirs", THEIRS)
def test_what_they_write_makes_nothing_due_that_is_not(world: World, theirs: str) -> None:
    world.run_priority()
    execute(world, THEIRS[theirs])
    world.clock.at_ms += MINUTE_MS
    result = world.run_priority()
    assert (result.result, result.calls) == ("nothing", 0)


@pytest.mark.parametrize("theirs", ["a word of theirs", "no rows"])
def test_what_they_write_makes_no_bars_due_that_are_there(free: World, theirs: str) -> None:
    free.run_priority()
    execute(free, THEIRS[theirs])
    free.clock.at_ms += 30 * MINUTE_MS
    assert free.run_priority().calls == 0
    free.enqueue_secondary()
    free.run_queue()
    assert not [path for path in free.paths[3:] if any(symbol in path for symbol in SYMBOLS)]


@pytest.mark.parametrize("theirs", THEIRS)
def test_what_they_write_keeps_nothing_from_being_due(paid: World, theirs: str) -> None:
    paid.run_priority()
    execute(paid, THEIRS[theirs])
    paid.clock.at_ms += 5 * MINUTE_MS
    result = paid.run_priority()
    assert [asset.status for asset in result.assets] == ["success"] * 3


def test_a_success_of_theirs_is_none_of_ours(world: World) -> None:
    execute(
        world,
        "INSERT INTO {}"
        " (ticker_id, provider_id, sync_status, last_sync_timestamp, updated_at)"
        " SELECT s.id, p.id, 'success', now(), now() FROM trading.symbols s, data_sources.api_providers p",
    )
    assert [asset.status for asset in world.run_priority().assets] == ["success"] * 3


def test_a_failure_of_theirs_is_none_of_ours(world: World) -> None:
    execute(
        world,
        "INSERT INTO {} (ticker_id, provider_id, sync_status, updated_at)"
        " SELECT s.id, p.id, 'not_found', now() FROM trading.symbols s, data_sources.api_providers p",
    )
    assert [asset.status for asset in world.run_priority().assets] == ["success"] * 3


@pytest.mark.parametrize("word", ["in_progress", "RUNNING", "paused by ops", ""])
def test_a_word_of_theirs_is_shown_and_is_no_alarm(world: World, word: str) -> None:
    world.run_priority()
    world.enqueue_secondary()
    world.run_queue()
    execute(world, f"UPDATE {{}} SET sync_status = '{word}'")
    health, findings = problems(world)
    assert (health["status"], health["problems"], health["alerts"]) == ("healthy", [], [])
    assert [one for one in findings if one.level == "error"] == []
    if word:
        assert all(word in str(asset) for asset in health["assets"])


def test_their_writing_under_way_is_waited_for_and_then_counts_for_their_readers(world: World) -> None:
    """Ours is written after theirs: the row says what we did last."""
    world.run_priority()
    execute(world, THEIRS["a word of theirs"])
    world.clock.at_ms += 24 * 60 * MINUTE_MS
    world.run_priority()
    for symbol in SYMBOLS:
        sync = world.sync(symbol)
        assert sync is not None
        assert sync[0] == "success"
