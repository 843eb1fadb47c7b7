"""`init` as one types it: the plan with --dry-run, refusals as code 2, and what is said of adopted tables."""

from __future__ import annotations

import json

import psycopg
import pytest

from tests.commands.conftest import MakeWorld
from tests.documented import shows
from tests.world import World

from .test_commands import run

BARS = (
    "CREATE SCHEMA market_data; CREATE TABLE market_data.ohlcv_5m (ticker_id bigint, bar_time timestamptz,"
    " open float8, high float8, low float8, close float8, volume float8, vwap float8, n int8{})"
)


@pytest.fixture
def bare(make_world: MakeWorld) -> World:
    """Without any table."""
    return make_world(init=False)


def change(world: World, statement: str) -> None:
    with psycopg.connect(world.database_url) as connection:
        connection.execute(statement.encode())


def tables(world: World) -> list[str]:
    found = world.rows(
        "SELECT schemaname || '.' || tablename FROM pg_tables"
        " WHERE schemaname IN ('trading', 'market_data', 'data_sources') ORDER BY 1"
    )
    return [name for (name,) in found]


def test_a_dry_run_prints_the_plan_and_changes_nothing(bare: World) -> None:
    change(bare, BARS.format(", UNIQUE (ticker_id, bar_time)"))
    planned = run(bare, "init", "--dry-run")
    assert (planned.returncode, planned.stderr) == (0, "")
    assert "  table trading.symbols\n" in planned.stdout
    assert "  row trading.symbols: XAUUSD, EURUSD, BTCUSD, ETHUSD, GBPUSD, USDJPY\n" in planned.stdout
    assert "  market_data.ohlcv_5m.bar_time is used as ts\n" in planned.stdout
    assert tables(bare) == ["market_data.ohlcv_5m"]

    done = run(bare, "init")
    assert done.returncode == 0
    assert "market_data.ohlcv_5m.bar_time is used as ts\n" in done.stdout
    again = run(bare, "init", "--dry-run", "--json")
    document = json.loads(again.stdout)
    assert (document["additions"], document["refusals"], document["warnings"]) == ([], [], [])
    assert document["names"]["bars"]["columns"]["ts"] == "bar_time"


def test_a_dry_run_where_nothing_is_to_be_done_says_so(free: World) -> None:
    assert run(free, "init", "--dry-run").stdout == "nothing would be changed\n"


def test_a_refusal_is_code_2_with_a_line_for_each_reason(bare: World) -> None:
    change(
        bare,
        BARS.format(", timeframe text, venue text NOT NULL, PRIMARY KEY (ticker_id, bar_time, timeframe)"),
    )
    done = run(bare, "init")
    assert (done.returncode, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    shows(first, "… tells rows apart by (…), not by (…) alone")
    assert "market_data.ohlcv_5m tells rows apart by (ticker_id, bar_time, timeframe)" in first
    assert "hint: say which rows are ours: database: {tables: {bars: {timeframe: 5m}}}" in first
    assert "market_data.ohlcv_5m.venue is NOT NULL without a default" in second
    assert tables(bare) == ["market_data.ohlcv_5m"]


def test_ids_of_another_table_are_refused_with_its_name(bare: World) -> None:
    change(
        bare,
        "CREATE SCHEMA trading; CREATE TABLE trading.symbols (id bigint PRIMARY KEY, symbol text UNIQUE);"
        + BARS.format(", UNIQUE (ticker_id, bar_time)")
        + "; CREATE TABLE market_data.tickers (id bigint PRIMARY KEY);"
        "ALTER TABLE market_data.ohlcv_5m ADD FOREIGN KEY (ticker_id) REFERENCES market_data.tickers",
    )
    done = run(bare, "init")
    assert done.returncode == 2
    shows(done.stderr, "… refers to …, not to …: its ids belong to other rows")
    assert "set database.tables.symbols.table: market_data.tickers" in done.stderr


def test_a_dry_run_that_refuses_is_code_2_too(bare: World) -> None:
    change(bare, BARS.format(", venue text NOT NULL, UNIQUE (ticker_id, bar_time)"))
    planned = run(bare, "init", "--dry-run", "--json")
    assert planned.returncode == 2
    (refusal,) = json.loads(planned.stdout)["refusals"]
    assert refusal["what"] == "market_data.ohlcv_5m.venue"
    assert refusal["why"] == "is NOT NULL without a default"
    assert "SET DEFAULT ..." in refusal["remedy"]


def test_months_are_part_of_the_plan(bare: World) -> None:
    planned = json.loads(run(bare, "init", "--dry-run", "--partition", "month", "--json").stdout)
    (bars,) = [one for one in planned["additions"] if one["what"].startswith("market_data.ohlcv_5m")]
    assert "PARTITION BY RANGE" in bars["sql"]


class TestRules:
    RULE = {"every": "crypto", "quote": "USD", "priority": "LOW", "bars": "none"}  # noqa: RUF012

    def test_are_looked_up(self, bare: World) -> None:
        bare.document["secondary_assets"] = [self.RULE]
        planned = run(bare, "init", "--dry-run")
        assert "rule crypto/USD: about 700 members, 1 call a day to look them up" in planned.stdout
        done = run(bare, "init")
        assert (done.returncode, done.stderr) == (0, "")
        assert "rule crypto/USD: 24 members (24 new, 0 gone), 1 call" in done.stdout
        again = json.loads(run(bare, "init", "--json").stdout)
        assert again["rules"][0]["members"] == 24
        assert again["rules"][0]["calls"] == 0

    def test_that_find_no_room_in_the_queue_are_told_the_way_out(self, bare: World) -> None:
        bare.document["secondary_assets"] = [{**self.RULE, "bars": "5m"}]
        bare.document["queue"] = {"max_size": 10}
        bare.document["alerts"] = {"queue_size_max": 10}
        done = run(bare, "init")
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("rule ")]
        assert line.endswith(
            "1 call (hint: queue.max_size is 10, too few for their prices; "
            "with `bars: none` one call a day brings all)"
        )

    def test_are_left_to_the_queue_without_a_provider(self, bare: World) -> None:
        bare.document["secondary_assets"] = [self.RULE]
        bare.document["provider"] = {"base_url": "http://127.0.0.1:9"}
        done = run(bare, "init")
        assert done.returncode == 0
        assert "rule crypto/USD: 0 members (0 new, 0 gone), 0 calls; not all are looked up yet" in done.stdout
