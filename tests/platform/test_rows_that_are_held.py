"""A row that another transaction holds costs only its own symbol."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from threading import Timer
from typing import Any

import psycopg
import pytest

from assetbatch.commands.run_priority import run_priority
from assetbatch.commands.run_queue import run_queue
from assetbatch.database import Store
from assetbatch.deadline import Deadline
from assetbatch.domain.market_hours import last_midnight
from assetbatch.domain.models import Changes, Outcome, Price
from assetbatch.domain.results import CycleResult
from assetbatch.domain.status import Status
from assetbatch.refresh.progress import Progress
from assetbatch.services import Services
from tests.commands.conftest import make_world, paid, template
from tests.world import World

__all__ = ["make_world", "paid", "template"]

SECONDS = 4
"""The deadline of a cycle here: what it may wait for the row."""

DAYS = 2
"""So much is fetched of each symbol: there are bars before it."""

BITCOIN = "(SELECT id FROM trading.symbols WHERE symbol = 'BTCUSD')"

SYNC, BARS = "data_sources.data_sync_status", "market_data.ohlcv_5m"

HELD = {
    "the symbol, to be updated": "SELECT FROM trading.symbols WHERE symbol = 'BTCUSD' FOR UPDATE",
    "the symbol, by an update": "UPDATE trading.symbols SET name = 'b' WHERE symbol = 'BTCUSD'",
    "its status": f"UPDATE {SYNC} SET error_message = 'theirs' WHERE ticker_id = {BITCOIN}",
    "one of its bars": f"UPDATE {BARS} SET close = close WHERE symbol_id = {BITCOIN}",
    "a bar that is being inserted": f"INSERT INTO {BARS} SELECT {BITCOIN}, '{{new}}', 1, 1, 1, 1",
}


@pytest.fixture
def world(make_world: Callable[..., World], wednesday_ms: int) -> World:
    """A platform that has a status and an old bar of each symbol in what will be fetched."""
    world = make_world(plan="basic", now_ms=wednesday_ms)
    world.know_that_today_is_refused()
    execute(
        world,
        f"INSERT INTO {SYNC} (ticker_id, provider_id, sync_status)"
        " SELECT s.id, p.id, 'in_progress' FROM trading.symbols s, data_sources.api_providers p",
        f"INSERT INTO {BARS} SELECT id, '{moment(world, DAYS)}', 1, 1, 1, 1 FROM trading.symbols",
    )
    return world


def moment(world: World, days: int) -> str:
    """A moment some days before the end of what is fetched."""
    at_ms = last_midnight(world.clock.at_ms) - days * 86_400_000
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()


def execute(world: World, *statements: str) -> None:
    with psycopg.connect(world.database_url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def run(world: World, command: Callable[[Services, Deadline, Progress], CycleResult]) -> CycleResult:
    """One start that has `SECONDS`, whose database knows so."""
    with Deadline(SECONDS) as deadline, Services(world.config(), deadline=deadline) as services:
        services.clock = world.clock  # type: ignore[assignment]  # the same two methods
        return command(services, deadline, Progress())


@pytest.fixture
def other(world: World) -> Iterator[psycopg.Connection[Any]]:
    with closing(psycopg.connect(world.database_url)) as connection:
        yield connection


@pytest.mark.parametrize("held", HELD)
def test_the_others_are_stored_and_it_fails_once(
    world: World, other: psycopg.Connection[Any], held: str
) -> None:
    other.execute(HELD[held].format(new=moment(world, 1)).encode())
    result = run(world, run_priority)
    told = {asset.symbol: asset.status for asset in result.assets}
    assert told == {"XAUUSD": "success", "EURUSD": "success", "BTCUSD": "failed"}
    assert (result.result, result.exit_code, result.calls) == ("partial", 1, 3)
    (failed,) = result.failed
    assert "locked by another transaction" in (failed.detail or "")
    assert [path for path in world.paths if "BTCUSD" in path] == [world.paths[2]]
    assert world.bars("EURUSD") == DAYS * 288
    assert world.last_update("XAUUSD") is not None


@pytest.mark.parametrize("held", ["the symbol, to be updated", "its status", "one of its bars"])
def test_it_is_asked_for_again_in_the_next_cycle(
    world: World, other: psycopg.Connection[Any], held: str
) -> None:
    other.execute(HELD[held].encode())
    run(world, run_priority)
    other.rollback()
    world.clock.at_ms += 5 * 60_000
    result = world.run_priority()
    assert (result.result, result.calls) == ("ok", 1)
    assert world.sync("BTCUSD") is not None
    assert world.bars("BTCUSD") == DAYS * 288


def test_a_row_that_becomes_free_in_time_is_written(world: World, other: psycopg.Connection[Any]) -> None:
    other.execute(HELD["the symbol, to be updated"].encode())
    timer = Timer(SECONDS / 4, other.rollback)
    timer.start()
    result = run(world, run_priority)
    timer.join()
    assert (result.result, result.calls) == ("ok", 3)
    assert world.bars("BTCUSD") == DAYS * 288


def test_rows_whose_key_is_held_by_a_foreign_key_are_free(
    world: World, other: psycopg.Connection[Any]
) -> None:
    other.execute("SELECT FROM trading.symbols FOR KEY SHARE")
    assert run(world, run_priority).result == "ok"


def test_an_item_of_the_queue_that_is_held_leaves_the_others_alone(
    world: World, other: psycopg.Connection[Any]
) -> None:
    other.execute(b"SELECT FROM trading.symbols WHERE symbol = 'GBPUSD' FOR UPDATE")
    world.enqueue_secondary()
    result = run(world, run_queue)
    told = {asset.symbol: asset.status for asset in result.assets}
    assert (told["ETHUSD"], told["GBPUSD"]) == ("success", "failed")
    assert len([path for path in world.paths if "GBPUSD" in path]) == 1
    again = run(world, run_queue)  # what there was no time for after the wait
    assert {asset.symbol for asset in [*result.assets, *again.assets]} == {"ETHUSD", "GBPUSD", "USDJPY"}
    assert world.bars("USDJPY") == DAYS * 288
    assert len([path for path in world.paths if "GBPUSD" in path]) == 1


def test_a_snapshot_of_several_is_stored_but_for_the_one(
    make_world: Callable[..., World], wednesday_ms: int
) -> None:
    world = make_world(plan="starter", now_ms=wednesday_ms)
    with closing(psycopg.connect(world.database_url)) as other:
        other.execute(HELD["the symbol, to be updated"].encode())
        result = run(world, run_priority)
    assert {asset.symbol: asset.status for asset in result.assets} == {
        "XAUUSD": "success",
        "EURUSD": "success",
        "BTCUSD": "failed",
    }
    assert result.calls == 1
    assert world.last_update("EURUSD") is not None


@pytest.mark.parametrize("seconds", [2, 4])
def test_the_last_save_of_a_start_has_time_for_all_the_others(
    world: World, other: psycopg.Connection[Any], seconds: float
) -> None:
    """What is kept back for it at the end of a command is little: it may not all go to waiting."""
    symbols = [f"S{number:03}USD" for number in range(249)]
    execute(
        world,
        "INSERT INTO trading.symbols (symbol, name, asset_type)"
        " SELECT 'S' || to_char(n, 'FM000') || 'USD', 'x', 'crypto' FROM generate_series(0, 248) n",
    )
    other.execute(b"SELECT FROM trading.symbols WHERE symbol = 'BTCUSD' FOR UPDATE")
    batch = Changes(
        prices=[
            Price(symbol=one, last_price=1.5, as_of_ms=world.clock.at_ms) for one in [*symbols, "BTCUSD"]
        ],
        outcomes=[Outcome(symbol=one, status=Status.SUCCESS) for one in [*symbols, "BTCUSD"]],
    )
    ends = time.monotonic() + seconds
    with Store.open(world.database_url, seconds_left=lambda: ends - time.monotonic()) as store:
        saved = store.save(batch, world.clock.at_ms)
    assert {price.symbol for price in saved.updated} == set(symbols)
    assert list(saved.rejected) == ["BTCUSD"]
    assert time.monotonic() < ends
