"""`verify` and `backfill --again` as people start them."""

from __future__ import annotations

import json
import re
import subprocess

import psycopg
import pytest

from tests.cli.test_commands import run
from tests.cli.test_holes_and_letters import days_ago
from tests.world import World

pytestmark = pytest.mark.usefixtures("years_of_bars")


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
    filled.provider.order("wrong-shape", times=None, path_contains="X:BTCUSD")
    done = run(filled, "verify", "BTCUSD", "--from", days_ago(20))
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[-1] == "1 call made"


def test_a_page_that_was_refused_as_one_call_too_many_is_left(filled: World) -> None:
    filled.provider.order("status=429", times=None)
    done = run(filled, "verify", "BTCUSD", "--from", days_ago(20))
    assert (done.returncode, done.stdout) == (
        0,
        "1 call made, 1 page left; it ended: the provider said too many calls\n",
    )


def test_a_symbol_that_is_not_configured_is_a_mistake(filled: World) -> None:
    assert run(filled, "verify", "NOSUCH").returncode == 2


def test_insisting_asks_for_what_is_stored(filled: World) -> None:
    done = run(filled, "backfill", "BTCUSD", "--from", days_ago(20), "--to", days_ago(20), "--again")
    assert "1 call to ask for all of it" in done.stdout
    assert "1 page queued" in done.stdout


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """What it says where it can do nothing: one line on stderr, and for a reader of its result at most a
    document with the same error."""
    (line,) = done.stderr.splitlines()
    if "--json" in done.args:
        document = json.loads(done.stdout)
        assert document["error"] in line
        assert document["calls"] >= 1
        assert {symbol["symbol"] for symbol in document["symbols"]} >= {"BTCUSD"}
    else:
        assert done.stdout == ""
    return line


FROM = ("--from", days_ago(20))
WAYS = {
    "all": (),
    "json": ("--json",),
    "one-call": ("--max-calls", "1"),
    "days": FROM,
    "days-json": (*FROM, "--json"),
    "days-of-a-symbol": (*FROM, "BTCUSD", "--max-calls", "1"),
}


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
class TestWithoutAnAnswer:
    """`verify` ends as run-queue does, whatever it was asked to do."""

    def test_a_closed_port_is_named(self, filled: World, options: tuple[str, ...]) -> None:
        closed = {"POLYGON_BASE_URL": "http://127.0.0.1:1"}
        done = run(filled, "verify", *options, **closed)
        assert done.returncode == 3
        assert "the API cannot be reached: " in one_line(done)
        assert "(hint: is the network up, and POLYGON_BASE_URL right?)" in done.stderr

    def test_an_outage_is_named(self, filled: World, options: tuple[str, ...]) -> None:
        filled.provider.order("status=503", times=None)
        done = run(filled, "verify", *options)
        assert done.returncode == 3
        assert "(hint: the fault is on its side: " in one_line(done)

    def test_a_refused_key_is_named(self, filled: World, options: tuple[str, ...]) -> None:
        filled.provider.order("status=401", times=None)
        done = run(filled, "verify", *options)
        assert done.returncode == 4
        assert "POLYGON_API_KEY" in one_line(done)
