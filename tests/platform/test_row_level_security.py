"""Row level security and triggers that skip rows: what was not stored is no success, and it is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from assetbatch.errors import AssetbatchError
from tests.world import World

from .proof import cycles, platform, problems
from .shapes import BITCOIN, ETHER, EURO, Json, Shape

SHAPE = Shape(file="32_row_level_security", priority=(BITCOIN, EURO), secondary=(ETHER,))

OPEN = """
CREATE SCHEMA trading; CREATE SCHEMA market_data; CREATE SCHEMA data_sources;
CREATE TABLE trading.symbols (
    id bigserial PRIMARY KEY, symbol text UNIQUE NOT NULL, metadata jsonb, updated_at timestamptz);
INSERT INTO trading.symbols (symbol) VALUES ('BTCUSD'), ('EURUSD'), ('ETHUSD');
"""

RECENT = """INSERT INTO market_data.ohlcv_5m (symbol_id, ts, open, high, low, close)
SELECT id, to_timestamp({} / 1000) - interval '2 days', 1, 1, 1, 1 FROM trading.symbols"""
"""A bar of each symbol, so that little is fetched."""

SKIP = """
CREATE FUNCTION trading.skip() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE TRIGGER skip BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION trading.skip();
"""


@pytest.fixture
def use_role(database_url: str, postgres_url: str) -> Iterator[Callable[[World], None]]:
    """Has the world go on as a role that is not the owner, with all rights that it needs."""
    role = f"trading_{uuid4().hex[:8]}"
    made: list[psycopg.Connection[Any]] = []

    def use(world: World) -> None:
        owner = psycopg.connect(world.database_url, autocommit=True)
        made.append(owner)
        owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'made-up'".encode())
        for schema in ("trading", "market_data", "data_sources"):
            owner.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}".encode())
            owner.execute(
                f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}".encode()
            )
            owner.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}".encode())
        url = f"postgresql://{role}:made-up@{world.database_url.split('@', 1)[1]}"
        world.document["database"] = {**world.document["database"], "url": url}

    yield use
    for owner in made:
        owner.execute(f"DROP OWNED BY {role}".encode())
        owner.execute(f"DROP ROLE {role}".encode())
        owner.close()


def price(world: World, symbol: str) -> Json | None:
    """The price that is stored of a symbol."""
    query = "SELECT metadata -> 'last_update' FROM trading.symbols WHERE symbol = %s"
    ((found,),) = world.rows(query, symbol)
    return found  # type: ignore[no-any-return]


def assert_nothing_is_called_a_success(world: World, symbols: set[str]) -> None:
    """Of these symbols nothing was stored: the cycles, the health document and `doctor` say so."""
    results = cycles(world)
    told = {asset.symbol: asset for result in results for asset in result.assets}
    assert {symbol for symbol in symbols if told[symbol].status == "success"} == set()
    assert all(told[symbol].detail for symbol in symbols if symbol in told), "no reason is given"
    assert results[0].exit_code == 1
    health, findings = problems(world)
    assert health["status"] == "unhealthy"
    grave = [problem["message"] for problem in health["problems"] if problem["severity"] == "critical"]
    assert any("BTCUSD" in message for message in grave), health["problems"]
    assert findings, "doctor is content"


def test_the_shape_without_a_policy_for_updates(
    world: World, ddl_dir: Path, use_role: Callable[[World], None]
) -> None:
    platform(world, SHAPE, (ddl_dir / "32_row_level_security.sql").read_text(encoding="utf-8"))
    world.init()
    use_role(world)
    assert_nothing_is_called_a_success(world, {"BTCUSD", "EURUSD", "ETHUSD"})
    assert world.rows("SELECT count(*) FROM market_data.ohlcv_5m") == [(0,)]
    assert price(world, "BTCUSD") is None


def test_doctor_names_row_level_security(
    world: World, ddl_dir: Path, use_role: Callable[[World], None]
) -> None:
    platform(world, SHAPE, (ddl_dir / "32_row_level_security.sql").read_text(encoding="utf-8"))
    world.init()
    use_role(world)
    _, findings = problems(world)
    assert any("row level security" in one.message and one.level == "error" for one in findings), findings


def test_a_policy_that_lets_one_symbol_be_updated_serves_it(
    world: World, use_role: Callable[[World], None]
) -> None:
    policies = (
        "ALTER TABLE trading.symbols ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY seen ON trading.symbols FOR SELECT USING (true);"
        "CREATE POLICY mine ON trading.symbols FOR UPDATE USING (symbol <> 'BTCUSD')"
    )
    platform(world, SHAPE, OPEN + policies)
    world.init()
    use_role(world)
    assert_nothing_is_called_a_success(world, {"BTCUSD"})
    assert price(world, "EURUSD") is not None
    assert world.bars("EURUSD") > 500
    assert price(world, "BTCUSD") is None
    assert world.bars("BTCUSD") == 0


@pytest.mark.parametrize("table", ["market_data.ohlcv_5m", "data_sources.data_sync_status"])
@pytest.mark.parametrize("policy", ["FOR SELECT USING (true)", "USING (true) WITH CHECK (false)"])
def test_policies_of_the_other_tables(
    world: World, use_role: Callable[[World], None], table: str, policy: str
) -> None:
    platform(world, SHAPE, OPEN)
    world.init()
    with psycopg.connect(world.database_url) as owner:
        owner.execute(RECENT.format(world.clock.at_ms).encode())
        owner.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY".encode())
        owner.execute(f"CREATE POLICY p ON {table} {policy}".encode())
    use_role(world)
    assert_nothing_is_called_a_success(world, {"BTCUSD", "EURUSD", "ETHUSD"})


@pytest.mark.parametrize(
    ("table", "event"),
    [
        ("trading.symbols", "UPDATE"),
        ("market_data.ohlcv_5m", "INSERT"),
        ("data_sources.data_sync_status", "INSERT OR UPDATE"),
    ],
)
def test_a_trigger_that_skips_rows(world: World, table: str, event: str) -> None:
    platform(world, SHAPE, OPEN)
    world.init()
    with psycopg.connect(world.database_url) as owner:
        owner.execute(RECENT.format(world.clock.at_ms).encode())
        owner.execute(SKIP.format(table=table, event=event).encode())
    assert_nothing_is_called_a_success(world, {"BTCUSD", "EURUSD", "ETHUSD"})


@pytest.mark.parametrize(
    ("table", "timing"),
    [("market_data.ohlcv_5m", "INSERT"), ("trading.symbols", "UPDATE")],
)
def test_a_check_at_the_commit_costs_only_its_symbol(world: World, table: str, timing: str) -> None:
    platform(world, SHAPE, OPEN)
    world.init()
    column = "symbol_id" if table.endswith("5m") else "id"
    with psycopg.connect(world.database_url) as owner:
        owner.execute(RECENT.format(world.clock.at_ms).encode())
        owner.execute(
            "CREATE FUNCTION trading.late() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$BEGIN IF NEW.{column} = 1 THEN RAISE 'ask the desk'; END IF; RETURN NEW; END$$".encode()
        )
        owner.execute(
            f"CREATE CONSTRAINT TRIGGER late AFTER {timing} ON {table} DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION trading.late()".encode()
        )
    assert_nothing_is_called_a_success(world, {"BTCUSD"})
    assert price(world, "EURUSD") is not None


def test_a_trigger_that_keeps_metadata_as_it_was(world: World) -> None:
    """The row is updated, and has no price."""
    platform(world, SHAPE, OPEN)
    world.init()
    with psycopg.connect(world.database_url) as owner:
        owner.execute(RECENT.format(world.clock.at_ms).encode())
        owner.execute(
            b"CREATE FUNCTION trading.keep() RETURNS trigger LANGUAGE plpgsql AS"
            b" $$BEGIN NEW.metadata = OLD.metadata; RETURN NEW; END$$"
        )
        owner.execute(
            b"CREATE TRIGGER keep BEFORE UPDATE ON trading.symbols"
            b" FOR EACH ROW EXECUTE FUNCTION trading.keep()"
        )
    assert_nothing_is_called_a_success(world, {"BTCUSD", "EURUSD", "ETHUSD"})


def test_a_trigger_that_skips_the_insertion_of_symbols_is_refused(world: World) -> None:
    """`init` cannot enter what it was told to, and says so."""
    platform(
        world,
        SHAPE,
        OPEN.replace(", ('ETHUSD')", "") + SKIP.format(table="trading.symbols", event="INSERT"),
    )
    with pytest.raises(AssetbatchError, match="ETHUSD") as caught:
        world.init()
    assert caught.value.exit_code == 2
