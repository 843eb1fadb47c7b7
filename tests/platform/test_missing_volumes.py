"""A bar without volume where the platform's column takes no NULL."""

from __future__ import annotations

from typing import Any

import pytest

from assetbatch.domain.models import BAR_MS, Bar, Changes, Saved
from tests.world import World

from .kin import BARS, KEY, by_hand
from .kin import SYMBOLS as SYMBOLS_TABLE
from .proof import platform
from .shapes import Json, Shape

START_MS = 1_760_000_100_000


def shape(volume: str, configured: Json | None = None) -> Shape:
    bars = BARS.format(KEY, "").replace("volume float8", f"volume {volume}, vwap float8, trades int")
    return by_hand(SYMBOLS_TABLE, bars, configured={"bars": configured} if configured else {})


def saved(world: World, made: Shape) -> Saved:
    """Two bars of EURUSD, the second without anything but prices."""
    platform(world, made, made.ddl)
    world.init()
    bars = [
        Bar(START_MS, 1.0, 2.0, 1.0, 2.0, 7.0, 1.5, 3),
        Bar(START_MS + BAR_MS, 1.0, 2.0, 1.0, 2.0, None, None, None),
    ]
    with world.services() as services:
        return services.store.save(Changes(bars={"EURUSD": bars}), START_MS + 10 * BAR_MS)


def volumes(world: World) -> list[tuple[Any, ...]]:
    return world.rows("SELECT volume::float8, vwap, trades FROM market_data.ohlcv_5m ORDER BY ts")


@pytest.mark.parametrize(
    ("volume", "configured"),
    [
        ("float8 NOT NULL DEFAULT 0", None),
        ("numeric(20,8) NOT NULL DEFAULT 0", None),
        ("float8 NOT NULL", {"missing": {"volume": 0}}),
        ("float8 NOT NULL DEFAULT -1", {"missing": {"volume": 0}}),
    ],
)
def test_it_is_written_with_what_is_said(world: World, volume: str, configured: Json | None) -> None:
    assert saved(world, shape(volume, configured)).bars_new == 2
    assert volumes(world) == [(7.0, 1.5, 3), (0.0, None, None)]


def test_it_is_null_where_that_is_allowed(world: World) -> None:
    assert saved(world, shape("float8 DEFAULT 0")).bars_new == 2
    assert volumes(world) == [(7.0, 1.5, 3), (None, None, None)]


def test_it_alone_is_rejected_where_nobody_said_what_to_write(world: World) -> None:
    found = saved(world, shape("float8 NOT NULL"))
    assert (found.bars_new, found.rejected["EURUSD"].bars) == (1, 1)
    assert "volume" in found.rejected["EURUSD"].error
    assert volumes(world) == [(7.0, 1.5, 3)]
