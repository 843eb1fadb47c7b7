"""A day of the shipped crontab over the shipped assets, on each plan: nothing is stale between two starts.

The commands are the real ones, started at the minutes that crontab.example names. The clock is set, and goes
on while a command runs. run-queue starts before enqueue-secondary, which is the worst order.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from assetbatch.config import TIERS, Config
from assetbatch.domain.market_hours import next_open, to_ms
from assetbatch.health import asset_health
from assetbatch.health.assets import newest_of_markets
from assetbatch.health.jobs import too_frequent
from assetbatch.services import Services
from tests.conftest import REPOSITORY
from tests.world import SetClock, World

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
START = to_ms(datetime(2026, 11, 18, 14, 0, tzinfo=UTC))  # a Wednesday; New York's midnight is at 5:00
QUEUE_SECONDS = 12.0
"""Long enough for the calls of a minute, too short to wait for the next one in real time."""

HOURS = {"free": 16, "starter": 16, "developer": 1, "advanced": 1}
"""Until an hour after the end of New York's day. The simulated provider shows the last three the same, so the
day of one of them says it all."""

ORDER = ("run-priority", "run-queue", "enqueue-secondary")


class GoingClock(SetClock):
    """Is set at the beginning of a minute, and goes on from there."""

    def __init__(self, at_ms: int) -> None:
        super().__init__(at_ms)
        self._since = time.monotonic()

    def set(self, at_ms: int) -> None:
        self.at_ms = at_ms
        self._since = time.monotonic()

    def now_ms(self) -> int:
        return self.at_ms + round((time.monotonic() - self._since) * 1000)


class CrontabWorld(World):
    """The window and the queue go by the set clock, too. The configuration is read once."""

    def config(self) -> Config:
        if self._read is None:
            self._read = super().config()
        return self._read

    _read: Config | None = None

    @contextmanager
    def services(self) -> Iterator[Services]:
        with super().services() as services:
            services.window._clock = self.clock.now_ms
            services.queue._clock = self.clock.now_ms
            yield services


def minutes_of(field: str) -> range:
    """The minutes of an hour that a field of a crontab names: `*` or `*/5`."""
    step = re.fullmatch(r"\*(?:/(\d+))?", field)
    assert step, field
    return range(0, 60, int(step[1] or 1))


def crontab() -> dict[str, range]:
    """The minutes at which crontab.example starts each command."""
    lines = re.findall(
        r"^(\S+)((?: +\*){4}) .*\$AB.* (run-priority|run-queue|enqueue-secondary)\b",
        (REPOSITORY / "crontab.example").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert len(lines) == 3
    return {command: minutes_of(minutes) for minutes, _, command in lines}


@pytest.fixture
def clock() -> GoingClock:
    return GoingClock(START)


@pytest.fixture
def make_day(
    tmp_path: Path, redis_url: str, database_url: str, prefix: str, clock: GoingClock
) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(tier: str, document: dict[str, Any]) -> World:
        plan = "basic" if tier == "free" else "starter"
        # the simulated provider counts calls by the real time, in which a minute takes no time here
        limits = {"tier": tier, "calls_per_minute": TIERS[tier].rate_limit}
        settings = {**document, "rate_limiting": limits}
        world = CrontabWorld(
            tmp_path, redis_url, database_url, prefix, clock, plan=plan, limit=None, document=settings
        )
        made.append(world)
        world.init()
        return world

    yield make
    for world in made:
        world.provider.stop()


class Seen(NamedTuple):
    """The state of each asset at a moment, and the assets that were not refreshed in time: within their
    frequency and the minute until what is queued is worked."""

    states: dict[str, str]
    late: list[str]


def look(services: Services) -> Seen:
    assets, known, now_ms = services.config.assets, services.entitlements(), services.now_ms()
    stored = services.store.load([asset.symbol for asset in assets])
    newest = newest_of_markets(assets, stored)
    states, late = {}, []
    for asset in assets:
        of_asset = stored.get(asset.symbol)
        health = asset_health(asset, of_asset, known, now_ms, newest.get(asset.market, 0))
        states[asset.symbol] = health.state.value
        if of_asset and of_asset.last_sync_ms:
            opened_ms = min(now_ms, next_open(asset.market, of_asset.last_sync_ms))
            since_ms = max(of_asset.last_sync_ms, opened_ms)
            if now_ms - since_ms > asset.update_frequency_seconds * SECOND + MINUTE:
                late.append(asset.symbol)
    return Seen(states, late)


def shipped() -> dict[str, Any]:
    """The assets of config.yml."""
    document = yaml.safe_load((REPOSITORY / "config.yml").read_text(encoding="utf-8"))
    return {key: document[key] for key in ("priority_assets", "secondary_assets")}


def live(world: World, clock: GoingClock, table: dict[str, range], hours: int) -> dict[int, Seen]:
    """Start what the crontab says for so many hours. Return what is seen before the starts of each minute."""
    seen = {}
    with world.services() as services:
        for minute in range(hours * 60):
            clock.set(START + minute * MINUTE + SECOND)  # cron starts a moment later
            starts = [command for command in ORDER if minute % 60 in table[command]]
            if starts == ["run-queue"] and not services.queue.state().size:
                continue  # nothing is refreshed, so what is stale now is so before the next start
            seen[minute] = look(services)
            for command in starts:
                match command:
                    case "run-priority":
                        world.run_priority()
                    case "run-queue":
                        world.run_queue(QUEUE_SECONDS)
                    case "enqueue-secondary":
                        world.enqueue_secondary()
    return seen


def stale(seen: dict[int, Seen]) -> dict[int, list[str]]:
    """The assets that are stale, by the minute."""
    found = {minute: [s for s, state in of.states.items() if state == "stale"] for minute, of in seen.items()}
    return {minute: symbols for minute, symbols in found.items() if symbols}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("tier", HOURS)  # each limit of calls: two tiers have a second name
def test_nothing_is_stale_between_two_starts_and_every_price_is_refreshed_in_time(
    make_day: Callable[..., World], clock: GoingClock, tier: str
) -> None:
    world = make_day(tier, shipped())
    assert too_frequent(world.config()) == []
    seen = live(world, clock, crontab(), HOURS[tier])
    assert stale(seen) == {}
    settled = [of for minute, of in seen.items() if minute >= 30]
    assert {state for of in settled for state in of.states.values()} <= {"fresh", "due"}
    if tier != "free":  # where a day's end is all there is to see
        assert [of.late for of in settled if of.late] == []


def test_with_half_an_hour_between_two_enqueue_secondary_something_would_be_stale(
    make_day: Callable[..., World], clock: GoingClock
) -> None:
    """That the simulation would show it."""
    world = make_day("starter", shipped())
    seen = live(world, clock, crontab() | {"enqueue-secondary": minutes_of("*/30")}, 1)
    assert {symbol for symbols in stale(seen).values() for symbol in symbols} == {
        "ETHUSD",
        "GBPUSD",
        "USDJPY",
        "XAGUSD",
    }
