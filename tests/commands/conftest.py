from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from assetbatch.config import Config, load
from assetbatch.database import Store
from assetbatch.domain.market_hours import to_ms
from tests.conftest import EMPTY, Prepare
from tests.world import PRIORITY, SECONDARY, SetClock, World, what_init_reads

WEDNESDAY_MS = to_ms(datetime(2026, 11, 18, 15, 0, 10, tzinfo=UTC))

MakeWorld = Callable[..., World]


@pytest.fixture
def clock() -> SetClock:
    return SetClock(WEDNESDAY_MS)


@cache
def usual() -> Config:
    """What a world without a document of its own has `init` read."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "config.yml"
        path.write_text(yaml.safe_dump({"priority_assets": PRIORITY, "secondary_assets": SECONDARY}))
        return load(path, {}, cwd=path.parent)


@pytest.fixture
def template(prepared: Prepare) -> str:
    """As `init` has left it. For each test anew it took 120 ms of CPU, a copy takes 20."""

    def make(url: str) -> None:
        tables, assets, derived = what_init_reads(usual())
        with Store.open(url, check_schema=False) as store:
            store.initialise(tables, assets, derived=derived)

    return prepared("usual", make)


@pytest.fixture
def years_of_bars() -> None:
    """Asked for by tests that are about pages: their market is as old as a real one, not two days, and the
    first bars of each of their assets take ten times as long."""


@pytest.fixture
def make_world(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    redis_url: str,
    database_url: str,
    prefix: str,
    clock: SetClock,
    template: str,
) -> Iterator[MakeWorld]:
    days = None if "years_of_bars" in request.fixturenames else 2
    made: list[World] = []

    def make(*, init: bool = True, now_ms: int | None = None, **options: Any) -> World:
        clock.at_ms = now_ms or clock.at_ms
        world = World(tmp_path, redis_url, database_url, prefix, clock, **{"days": days, **options})
        made.append(world)
        if init:
            world.init(usual() if template != EMPTY and world is made[0] else None)
        else:
            world.drop_tables()
        return world

    yield make
    for world in made:
        world.provider.stop()


@pytest.fixture
def free(make_world: MakeWorld) -> World:
    """The free plan: bars up to the last day, no snapshots."""
    return make_world(plan="basic")


@pytest.fixture
def paid(make_world: MakeWorld) -> World:
    """A paid plan: snapshots, bars up to now."""
    return make_world(plan="starter")
