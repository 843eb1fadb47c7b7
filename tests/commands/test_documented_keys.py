"""`docs/redis-keys.md` has each key that a whole cycle leaves in Redis, with its type and its expiry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.entitlements import Restriction
from assetbatch.domain.queueing import CallKind, Failure, Lane
from assetbatch.domain.references import Asked
from assetbatch.state.connection import RedisClient
from assetbatch.state.queue import Lease
from assetbatch.state.window import Grant
from tests.documented import REPOSITORY
from tests.world import World

from .conftest import MakeWorld

PAGE = (REPOSITORY / "docs" / "redis-keys.md").read_text(encoding="utf-8")
TYPES = {"sorted set": "zset"}
TRANSIENT = {"queue:mark:TOKEN"}
"""What is deleted at the end of the command that writes it."""


class Row(NamedTuple):
    """What the page says of a key."""

    key: str
    type: str
    is_kept: bool

    def is_about(self, name: str) -> bool:
        """Whether this is the name of such a key; names in capitals stand for a value."""
        pattern = re.sub(r"[A-Z]+", ".+", re.escape(self.key))
        return re.fullmatch(pattern, name) is not None


def rows() -> list[Row]:
    cells = r"^\| `([\w:]+)` \| ([\w ]+) \| (?:[^|]|\\\|)+ \| [^|]+ \| ([^|]+) \|$"
    found = [
        Row(key, TYPES.get(kind, kind), expiry == "never")
        for key, kind, expiry in re.findall(cells, PAGE, re.MULTILINE)
    ]
    assert len(found) == len(re.findall(r"^\| `[\w:]+` \|", PAGE, re.MULTILINE))
    return sorted(found, key=lambda row: -len(row.key))


@contextmanager
def everything_used(world: World) -> Iterator[RedisClient]:
    """All commands, and work that is left in every state that there is."""
    world.run_priority()
    world.enqueue_secondary()
    world.run_queue()
    world.enqueue_secondary()
    with world.services() as services:
        queue, window = services.queue, services.window
        lanes = [(f"{lane}{number}", lane) for lane in Lane for number in range(6)]
        queue.enqueue(lanes)
        lease = queue.take(4, 60, alone=0)
        assert isinstance(lease, Lease)
        leased, failed, gone, _ = (item.id for item in lease.items)
        queue.start(lease.token, [leased, failed, gone], 60)
        queue.fail(lease.token, [Failure(failed, "no"), Failure(gone, "no", final=True)])
        queue.told(queue.dead_letters(1))
        grants = [window.ask(CallKind.PRIORITY) for _ in range(window.call_limit.limit + 1)]
        assert isinstance(grants[0], Grant)
        services.history.waited(services.now_ms(), "a call")
        services.history.wanted_finer(["XAUUSD"], services.now_ms())
        window.block(1)
        services.spare_calls.rest(services.now_ms())
        known = services.entitlements()
        services.entitlement_store.remember(
            known.refused(Restriction.TODAY, AssetType.FOREX, "no", services.now_ms(), ticker="C:ANY")
        )
        services.reference_store.remember("holidays", Asked(services.now_ms()))
        services.reference_store.keep_special_days({})
        with services.locks.hold("run_queue", 60), services.locks.hold("run_priority", 60):
            yield services.redis


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    queue = {"max_concurrency": 2}
    return make_world(plan="starter", limit=20, document={"queue": queue, "events": {"stream_maxlen": 10}})


@pytest.mark.slow
def test_every_key_is_documented_with_its_type_and_expiry(world: World, prefix: str) -> None:
    seen = set()
    with everything_used(world) as client:
        found = {name: (client.type(name), client.pttl(name)) for name in client.scan_iter(count=1000)}
    for name, (kind, life_ms) in found.items():
        assert name.startswith((f"{prefix}:", "{assetbatch}:")), name
        rest = re.sub(r"^\{[^}]*\}:", "", name)
        row = next((row for row in rows() if row.is_about(rest)), None)
        assert row is not None, f"{rest} is not on the page"
        assert kind == row.type, name
        assert (life_ms == -1) is row.is_kept, name
        seen.add(row.key)
    assert {row.key for row in rows()} - seen == TRANSIENT
