"""A grouped or previous day leaves rows, also of those that did not ask."""

from __future__ import annotations

from datetime import date

from tests.world import World

from .conftest import MakeWorld

NO_BARS = {"bars": "none"}
PRICED = [
    {"symbol": f"{name}USD", "polygon_ticker": f"C:{name}USD", "asset_type": "forex", **NO_BARS}
    for name in ("AUD", "EUR")
]
OTHER = {"symbol": "GBP/USD", "polygon_ticker": "C:GBPUSD", "asset_type": "forex", "enabled": False}
LAST_DAY = date(2026, 11, 17)


def days(world: World) -> dict[str, date]:
    return dict(
        world.rows(
            "SELECT s.symbol, d.day FROM market_data.ohlcv_1d d JOIN trading.symbols s ON s.id = d.symbol_id"
        )
    )


def test_a_grouped_day_is_kept_of_every_registered_symbol(make_world: MakeWorld) -> None:
    """Of one that is switched off and of one that only the platform has; of none that is not registered."""
    world = make_world(document={"priority_assets": [], "secondary_assets": [*PRICED, OTHER]})
    world.rows(
        "INSERT INTO trading.symbols (symbol, name, asset_type) VALUES ('NZDUSD', 'N', 'forex'),"
        " ('GBP/USD', 'P', 'forex') ON CONFLICT DO NOTHING RETURNING 1"
    )
    world.enqueue_secondary()
    world.run_queue()
    assert all("/grouped/" in path for path in world.paths)
    assert days(world) == dict.fromkeys(["AUDUSD", "EURUSD", "GBP/USD", "NZDUSD"], LAST_DAY)


def test_a_previous_day_is_kept(make_world: MakeWorld) -> None:
    world = make_world(document={"priority_assets": [], "secondary_assets": [PRICED[1]]})
    for path in ("/range/", "/grouped/"):
        world.provider.order("not-authorized-200", times=100, path_contains=path)
    for _ in range(2):
        world.enqueue_secondary()
        world.run_queue()
    assert "/prev" in world.paths[-1]
    assert days(world) == {"EURUSD": LAST_DAY}
    ((last, close),) = world.rows(
        "SELECT (s.metadata -> 'last_update' ->> 'last_price')::float8, d.close"
        " FROM market_data.ohlcv_1d d JOIN trading.symbols s ON s.id = d.symbol_id"
    )
    assert last == close


def test_the_same_day_again_writes_nothing(make_world: MakeWorld) -> None:
    world = make_world(document={"priority_assets": [], "secondary_assets": PRICED})
    world.enqueue_secondary()
    world.run_queue()
    before = world.rows("SELECT xmin::text, symbol_id FROM market_data.ohlcv_1d ORDER BY 2")
    world.rows("UPDATE data_sources.assetbatch_sync SET as_of = NULL, last_success_at = NULL RETURNING 1")
    world.rows("UPDATE trading.symbols SET metadata = '{}' RETURNING 1")
    world.enqueue_secondary()
    world.run_queue()
    assert len(world.paths) == 2
    assert world.rows("SELECT xmin::text, symbol_id FROM market_data.ohlcv_1d ORDER BY 2") == before
