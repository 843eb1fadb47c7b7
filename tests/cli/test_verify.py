"""`verify` and `backfill --again` as people start them."""

from __future__ import annotations

import json
import re

import psycopg
import pytest

from tests.cli.test_commands import run
from tests.cli.test_holes_and_letters import days_ago
from tests.world import RealClock, SetClock, World

pytestmark = pytest.mark.usefixtures("years_of_bars")


@pytest.fixture
def clock() -> SetClock:
    """Processes take the real time, so the simulated provider does too."""
    return RealClock()


@pytest.fixture
def filled(free: World) -> World:
    """A day of the last month is stored."""
    free.know_that_today_is_refused()
    run(free, "backfill", "BTCUSD", "--from", days_ago(20), "--to", days_ago(20))
    assert run(free, "run-queue").returncode == 0
    return free


def test_says_that_all_is_equal(filled: World) -> None:
    done = run(filled, "verify", "BTCUSD", "--from", days_ago(20))
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert re.fullmatch(r"BTCUSD: [\d,]+ bars compared, all equal; 1 page \(.* to .*\)", first)
    assert last == "1 call made"
    assert "verified within 90 days, nothing differed" in run(filled, "holes", "BTCUSD").stdout


def test_says_what_differs_and_how_much(filled: World) -> None:
    with psycopg.connect(filled.database_url) as connection:
        connection.execute(
            "DELETE FROM market_data.ohlcv_5m WHERE ts IN (SELECT min(ts) FROM market_data.ohlcv_5m)"
        )
    document = json.loads(run(filled, "verify", "BTCUSD", "--from", days_ago(20), "--json").stdout)
    (symbol,) = document["symbols"]
    assert (symbol["appeared"], symbol["changed"], symbol["vanished"], symbol["errors"]) == (1, 0, 0, [])
    status = json.loads(run(filled, "status", "--json").stdout)["verification"]
    assert (status["appeared"], status["changed"]) == (1, 0)


def test_a_dry_run_names_the_pages_and_calls_nobody(filled: World) -> None:
    calls = len(filled.paths)
    done = run(filled, "verify", "--from", days_ago(20), "--dry-run")
    assert "BTCUSD: 1 page (" in done.stdout
    assert len(filled.paths) == calls


def test_a_page_without_a_usable_answer_is_a_failure(filled: World) -> None:
    filled.provider.order("status=500", times=1, path_contains="X:BTCUSD")
    filled.provider.order("wrong-shape", times=None, path_contains="X:BTCUSD")
    assert run(filled, "verify", "BTCUSD", "--from", days_ago(20)).returncode in (1, 3)


def test_a_symbol_that_is_not_configured_is_a_mistake(filled: World) -> None:
    assert run(filled, "verify", "NOSUCH").returncode == 2


def test_insisting_asks_for_what_is_stored(filled: World) -> None:
    done = run(filled, "backfill", "BTCUSD", "--from", days_ago(20), "--to", days_ago(20), "--again")
    assert "1 call to ask for all of it" in done.stdout
    assert "1 page queued" in done.stdout
