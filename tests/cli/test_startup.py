"""Light at every start: which libraries a command loads, with real servers."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.failures.start import environment
from tests.world import World

LOADED = """
import json, sys
sys.argv = ["assetbatch", *{arguments!r}]
from assetbatch.cli import main
try:
    main()
except SystemExit as ended:
    code = ended.code
print("\\n" + json.dumps([code or 0, sorted(sys.modules)]))
"""

COLLECTED = """
import atexit, gc, sys

def at_the_very_end():
    print(sum(generation["collections"] for generation in gc.get_stats()) - before, len(gc.get_objects()))

atexit.register(at_the_very_end)
sys.argv = ["assetbatch", {command!r}]
from assetbatch.cli import main
before = sum(generation["collections"] for generation in gc.get_stats())
main()
"""

DATABASE, HTTP, TABLES, HTTP_SERVER = "psycopg", "requests", "rich", "waitress"
NEVER_IN_A_CYCLE = (TABLES, HTTP_SERVER, "tenacity", "apprise", "assetbatch.embedded", "assetbatch.sandbox")
IDLE_MODULES, CYCLE_MODULES, CHECK_MODULES = 62, 131, 107
"""Maximum numbers of our own modules that a start loads: each costs a quarter of a millisecond."""
PLANNING = (
    "assetbatch.domain.due",
    "assetbatch.refresh.engine",
    "assetbatch.commands.backfill",
    "assetbatch.refresh.batch",
    "assetbatch.refresh.interpretation",
    "zoneinfo",
)


def loaded(world: World, *arguments: str) -> set[str]:
    world.config()
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(arguments=list(arguments))],
        cwd=world.folder,
        env=environment(world),
        capture_output=True,
        text=True,
        check=True,
    )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code in (0, 1), done.stderr
    return set(modules)


def ours(found: set[str]) -> int:
    return sum(name.partition(".")[0] == "assetbatch" for name in found)


def test_an_idle_run_queue_loads_redis_and_the_configuration_only(free: World) -> None:
    found = loaded(free, "run-queue")
    assert {"redis", "yaml"} <= found
    assert found.isdisjoint({DATABASE, HTTP, TABLES, HTTP_SERVER, "urllib3", "tenacity", *PLANNING})
    assert found.isdisjoint(
        {"assetbatch.config.secret_commands", "assetbatch.cli.log_file"}
    )  # none is configured
    assert found.isdisjoint(NEVER_IN_A_CYCLE)
    assert ours(found) <= IDLE_MODULES


def test_an_idle_run_queue_asks_for_no_members_of_a_rule(free: World) -> None:
    free.document["secondary_assets"] = [{"every": "crypto", "bars": "none"}]
    found = loaded(free, "run-queue")
    assert found.isdisjoint({DATABASE, HTTP, "assetbatch.domain.rules", *PLANNING})
    assert ours(found) <= IDLE_MODULES


@pytest.mark.parametrize("command", ["run-queue", "run-priority"])
def test_a_start_looks_for_no_garbage(paid: World, command: str) -> None:
    paid.config()
    done = subprocess.run(
        [sys.executable, "-c", COLLECTED.format(command=command)],
        cwd=paid.folder,
        env=environment(paid),
        capture_output=True,
        text=True,
        check=True,
    )
    collections, objects_at_the_end = done.stdout.split()
    assert int(collections) == 0
    assert int(objects_at_the_end) < 100  # those of the end itself: no others are looked at


def test_run_queue_with_work_loads_what_it_needs(free: World) -> None:
    free.enqueue_secondary()
    assert {"redis", DATABASE, HTTP, "assetbatch.domain.due", "assetbatch.refresh.engine"} <= loaded(
        free, "run-queue"
    )


@pytest.mark.parametrize("command", ["enqueue-secondary", "run-queue", "run-priority", "status"])
def test_without_stocks_and_rules_nothing_of_them_is_loaded(free: World, command: str) -> None:
    free.enqueue_secondary()
    of_stocks = {"domain.nyse", "domain.listings", "domain.references", "state.reference_store"}
    of_stocks |= {"refresh.references", "provider.holidays", "provider.listings"}
    assert loaded(free, command).isdisjoint(f"assetbatch.{name}" for name in of_stocks)


def test_a_cycle_with_calls_loads_no_more_than_it_needs(paid: World) -> None:
    found = loaded(paid, "run-priority")
    assert {DATABASE, HTTP} <= found
    assert found.isdisjoint(NEVER_IN_A_CYCLE)
    assert ours(found) <= CYCLE_MODULES


def test_fresh_priority_assets_need_no_http(free: World) -> None:
    free.run_priority()
    found = loaded(free, "run-priority")
    assert DATABASE in found
    assert found.isdisjoint({HTTP, TABLES, "urllib3"})


@pytest.mark.parametrize("form", ["--json", "--check"])
def test_status_for_programs_loads_no_http_and_no_tables(free: World, form: str) -> None:
    found = loaded(free, "status", form)
    assert found.isdisjoint({HTTP, "urllib3", *NEVER_IN_A_CYCLE})
    assert ours(found) <= CHECK_MODULES


@pytest.mark.parametrize(
    "command", [["run-priority"], ["enqueue-secondary"], ["doctor"], ["status", "--html", "page"]]
)
def test_only_serve_loads_the_http_server(free: World, command: list[str]) -> None:
    assert HTTP_SERVER not in loaded(free, *command)


def test_the_dead_letters_need_no_database(free: World) -> None:
    assert loaded(free, "dead", "list").isdisjoint({DATABASE, HTTP, "rich.table"})


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_what_needs_no_configuration_loads_none(free: World, option: str) -> None:
    assert loaded(free, option).isdisjoint({"redis", "yaml", DATABASE, HTTP})


def test_a_start_builds_no_other_command(free: World) -> None:
    others = {
        f"assetbatch.cli.{name}" for name in ("status", "doctor", "history", "dead", "serve", "sandbox")
    }
    assert loaded(free, "run-queue").isdisjoint(others)
