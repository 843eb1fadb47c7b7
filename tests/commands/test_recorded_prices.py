"""Real recorded prices, served over HTTP by the simulated provider, arrive in PostgreSQL to the last
digit."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from .conftest import MakeWorld

DAY_MS = 86_400_000
CRYPTO = ("BTC", "ETH", "LTC")
FILES = [
    "BTCEUR",
    "BTCUSD",
    "BTCUSDT",
    "BTCUSD_201610",
    "BTCUSD_201709",
    "BTCUSD_201712",
    "ETHUSD",
    "ETHUSD_201709",
    "EURUSD",
    "EURUSD_201804",
    "GBPUSD",
    "LTCUSD",
    "NZDUSD",
    "USDJPY",
    "XAUUSD",
]


def recorded(path: Path) -> list[tuple[Any, ...]]:
    """(t_ms, open, high, low, close, volume) of each row, as the decimal text reads."""
    with path.open() as file:
        return [
            (
                int(row["t_ms"]),
                *(float(row[name]) for name in ("open", "high", "low", "close")),
                float(row["volume"]) if row["volume"] else None,
            )
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("name", FILES)
def test_recorded_bars_arrive_to_the_last_digit(make_world: MakeWorld, shared_dir: Path, name: str) -> None:
    folder = shared_dir / "data" / "bars_5m"
    rows = recorded(folder / f"{name}.csv")
    symbol = name.partition("_")[0]
    crypto = symbol.startswith(CRYPTO)
    asset = {
        "symbol": symbol,
        "polygon_ticker": f"{'X' if crypto else 'C'}:{symbol}",
        "asset_type": "crypto" if crypto else "forex",
    }
    world = make_world(
        plan="basic",
        replay=folder,
        replay_weeks=0,
        document={"priority_assets": [asset], "secondary_assets": []},
        now_ms=rows[-1][0] + 36 * 3_600_000,
    )
    result = world.run_priority()
    assert result.result == "ok"
    stored = world.rows(
        "SELECT (extract(epoch FROM ts) * 1000)::int8, open, high, low, close, volume "
        "FROM market_data.ohlcv_5m WHERE ts >= to_timestamp(%s / 1000.0) ORDER BY ts",
        rows[0][0],
    )
    assert stored == rows
    update = world.last_update(symbol)
    assert update is not None
    assert update["last_price"] == rows[-1][4]
