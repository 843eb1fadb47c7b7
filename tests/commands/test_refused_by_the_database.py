"""What the database refuses: one symbol fails, the others do not notice, and its calls are not repeated."""

from __future__ import annotations

import psycopg

from assetbatch.state.connection import RedisClient
from tests.world import Listener, World

MINUTE_MS = 60_000
SYMBOLS = ("XAUUSD", "EURUSD", "BTCUSD")


def refuse(world: World, table: str, column: str) -> None:
    """Have a trigger raise for each row of BTCUSD in a table."""
    with psycopg.connect(world.database_url, autocommit=True) as connection:
        ((btc,),) = connection.execute("SELECT id FROM trading.symbols WHERE symbol = 'BTCUSD'").fetchall()
        connection.execute(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
            f" IF NEW.{column} = {btc} THEN RAISE EXCEPTION 'not this one'; END IF;"
            " RETURN NEW; END$$".encode()
        )
        connection.execute(
            f"CREATE TRIGGER no BEFORE INSERT OR UPDATE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION no()".encode()
        )


def allow(world: World, table: str) -> None:
    with psycopg.connect(world.database_url, autocommit=True) as connection:
        connection.execute(f"DROP TRIGGER no ON {table}".encode())


def statuses(world: World) -> list[str | None]:
    return [sync[0] if (sync := world.sync(symbol)) else None for symbol in SYMBOLS]


def test_the_others_are_stored_and_published(free: World, redis_client: RedisClient) -> None:
    refuse(free, "market_data.ohlcv_5m", "symbol_id")
    listener = Listener(redis_client, SYMBOLS)
    result = free.run_priority()
    heard = [channel.rpartition(":")[2] for channel, _ in listener.heard()]
    listener.close()
    assert sorted(heard) == ["EURUSD", "XAUUSD"]
    assert statuses(free) == ["success", "success", "failed"]
    assert (result.result, result.exit_code, result.calls) == ("partial", 1, 3)
    assert result.bars_refused == 2 * 288
    (failed,) = result.failed
    assert (failed.symbol, "not this one" in (failed.detail or "")) == ("BTCUSD", True)


def test_its_call_is_not_repeated_at_the_next_starts(free: World) -> None:
    refuse(free, "market_data.ohlcv_5m", "symbol_id")
    free.run_priority()
    for _ in range(3):
        free.clock.at_ms += 5 * MINUTE_MS
        assert free.run_priority().calls == 0
        free.enqueue_secondary()
    assert not [path for path in free.paths[3:] if "BTCUSD" in path]


def test_it_is_asked_for_again_after_init(free: World) -> None:
    refuse(free, "market_data.ohlcv_5m", "symbol_id")
    free.run_priority()
    allow(free, "market_data.ohlcv_5m")
    free.clock.at_ms += 5 * MINUTE_MS
    free.init()
    result = free.run_priority()
    assert (result.result, result.calls) == ("ok", 1)
    assert statuses(free) == ["success"] * 3
    assert free.bars("BTCUSD") == 2 * 288


def test_a_snapshot_is_not_asked_for_what_the_database_refuses(paid: World) -> None:
    refuse(paid, "trading.symbols", "id")
    paid.run_priority()
    assert statuses(paid) == ["success", "success", "failed"]
    paid.clock.at_ms += 5 * MINUTE_MS
    result = paid.run_priority()
    assert [(asset.symbol, asset.status) for asset in result.assets][2] == ("BTCUSD", "fresh")
    assert result.published == 2


def test_bars_that_are_refused_leave_the_price_of_a_snapshot_alone(paid: World) -> None:
    refuse(paid, "market_data.ohlcv_5m", "symbol_id")
    assert paid.run_priority().result == "ok"
    result = paid.run_queue()
    assert [(asset.symbol, asset.kind) for asset in result.failed] == [("BTCUSD", "bars")]
    assert statuses(paid) == ["success"] * 3
    before = len(paid.paths)
    for _ in range(3):
        paid.clock.at_ms += 5 * MINUTE_MS
        assert paid.run_priority().result == "ok"
        paid.run_queue()
    assert not [path for path in paid.paths[before:] if "range" in path and "BTCUSD" in path]
