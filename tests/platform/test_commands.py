"""The same by the commands as one types them: what they print, and how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_commands import run
from tests.world import RealClock, SetClock, World

from .kin import ADOPTED, REFUSED
from .parts import Parts, build
from .proof import (
    assert_bars,
    assert_rows,
    bars_of,
    broken_writers,
    look,
    platform,
    silent_readers,
    unexpected,
)
from .shapes import SHARED, Shape
from .snapshot import changes


@pytest.fixture
def clock() -> SetClock:
    """Processes take the real time, so the simulated provider does too."""
    return RealClock()


def ddl(shape: Shape, folder: Path) -> str:
    return (folder / f"{shape.file}.sql").read_text(encoding="utf-8") if shape.file else shape.ddl


@pytest.mark.parametrize("name", ["20", "31 with its tickers"])
def test_every_command_works_on_a_platform_and_all_else_is_as_it_was(
    world: World, ddl_dir: Path, name: str
) -> None:
    shape = SHARED[name]
    platform(world, shape, ddl(shape, ddl_dir))
    before = look(world, shape)
    had_bars = bars_of(world, shape) if shape.tables.bars in before.tables else {}
    for command in ("init", "run-priority", "enqueue-secondary", "run-queue", "holes"):
        done = run(world, command)
        assert done.returncode == 0, f"{command}: {done.stderr}"
    status: dict[str, Any] = json.loads(run(world, "status", "--json").stdout)
    assert {asset["state"] for asset in status["assets"]} == {"fresh"}
    doctor = json.loads(run(world, "doctor", "--json", "--no-call").stdout)
    assert [one for one in doctor["findings"] if one["level"] == "error"] == []
    after = look(world, shape, large=False)
    assert unexpected(changes(before, after), before, shape) == []
    assert_rows(before, after, world, shape, fetched=True)
    assert_bars(world, shape, had_bars)
    assert broken_writers(world, shape) == []
    assert silent_readers(world, shape) == []


@pytest.mark.parametrize("name", ["05", "13", "20 one is missing", "31"])
def test_init_ends_with_code_2_and_says_what_to_do(world: World, ddl_dir: Path, name: str) -> None:
    shape = SHARED[name]
    platform(world, shape, ddl(shape, ddl_dir))
    before = look(world, shape)
    for arguments in (["init", "--dry-run"], ["init"]):
        done = run(world, *arguments)
        said = done.stdout + done.stderr
        assert done.returncode == 2, said
        assert [word for word in shape.refused if word not in said] == []
    after = look(world, shape)
    assert (after.objects, after.rows) == (before.objects, before.rows)


PLANNED = {
    "a platform without a status": build(Parts(metadata="absent", symbols_key="none", bars="table")),
    "a status with nothing but a state": ADOPTED["a status with nothing but a state"],
    "nothing at all": Shape(),
}


@pytest.mark.parametrize("name", PLANNED)
def test_a_dry_run_names_all_that_init_then_adds_and_adds_nothing(world: World, name: str) -> None:
    shape = PLANNED[name]
    platform(world, shape, shape.ddl)
    before = look(world, shape)
    planned = run(world, "init", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    after = look(world, shape)
    assert (after.objects, after.rows) == (before.objects, before.rows)
    assert run(world, "init").returncode == 0
    now = look(world, shape)
    new = [change.thing for change in changes(before, now)]
    tables = {thing.name for thing in new if thing.kind == "relation"}
    named = [thing for thing in new if thing.kind in ("schema", "column") and thing.owner not in tables]
    names = {thing.name.removeprefix("data_sources.").removeprefix("trading.") for thing in named}
    names |= {table for table in shape.tables.all if table in tables}
    names |= {asset["symbol"] for asset in shape.priority} - {
        row.values.get(shape.tables.symbol) for row in before.rows.get(shape.tables.symbols, ())
    }
    assert [one for one in names if one not in planned.stdout] == []
    for thing in new:
        if thing.kind == "index" and thing.owner in before.tables:
            assert f"unique on {thing.owner}" in planned.stdout


def test_a_second_dry_run_plans_nothing(world: World) -> None:
    shape = PLANNED["a platform without a status"]
    platform(world, shape, shape.ddl)
    assert run(world, "init").returncode == 0
    planned = json.loads(run(world, "init", "--dry-run", "--json").stdout)
    assert planned["additions"] == []
    assert planned["refusals"] == []


def test_all_findings_are_said_at_once(world: World) -> None:
    shape = REFUSED["bars of mixed lengths"]
    base = "ALTER TABLE trading.symbols ADD COLUMN base text NOT NULL DEFAULT 'x';"
    platform(world, shape, f"{shape.ddl}; {base} ALTER TABLE trading.symbols ALTER COLUMN base DROP DEFAULT")
    done = run(world, "init")
    assert done.returncode == 2
    for word in ("timeframe", "base"):
        assert word in done.stderr
    assert all(line.count("hint:") == 1 for line in done.stderr.splitlines() if "ohlcv_5m" in line)
