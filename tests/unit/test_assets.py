"""What an asset is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from assetbatch.assets import Asset, AssetPriority
from assetbatch.hours import Market


def asset(**changes: Any) -> Asset:
    return msgspec.convert(
        {"symbol": "EURUSD", "polygon_ticker": "C:EURUSD", "asset_type": "forex", **changes}, Asset
    )


def test_only_symbol_ticker_and_type_are_needed() -> None:
    plain = asset()
    assert (plain.name, plain.priority, plain.update_frequency_seconds) == (None, AssetPriority.MEDIUM, 300)
    assert plain.enabled
    assert plain.bars


@pytest.mark.parametrize(
    ("ticker", "kind", "market"),
    [
        ("C:EURUSD", "forex", Market.FOREX),
        ("C:USDJPY", "forex", Market.FOREX),
        ("C:XAUUSD", "forex", Market.METAL),
        ("C:XAGEUR", "forex", Market.METAL),
        ("C:XPTUSD", "forex", Market.METAL),
        ("C:XPDUSD", "forex", Market.METAL),
        ("X:BTCUSD", "crypto", Market.CRYPTO),
        ("X:XAUTUSD", "crypto", Market.CRYPTO),  # a gold token trades as the crypto it is
    ],
)
def test_the_ticker_decides_whose_hours_an_asset_follows(ticker: str, kind: str, market: Market) -> None:
    assert asset(polygon_ticker=ticker, asset_type=kind).market is market


@pytest.mark.parametrize(
    "changes",
    [
        {"symbol": "eurusd"},
        {"symbol": ""},
        {"symbol": "A" * 33},
        {"symbol": "A B"},
        {"symbol": "A\n"},
        {"symbol": "A:B"},
        {"polygon_ticker": "EURUSD"},
        {"polygon_ticker": "c:EURUSD"},
        {"polygon_ticker": "C:EURUSD\n"},
        {"polygon_ticker": "C:EUR/USD"},
        {"asset_type": "FOREX"},
        {"priority": 1},
        {"update_frequency_seconds": 0},
        {"update_frequency_seconds": True},
        {"enabled": "yes"},
        {"unknown": 1},
    ],
)
def test_an_asset_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        asset(**changes)


def test_an_asset_does_not_change() -> None:
    with pytest.raises(AttributeError):
        asset().symbol = "OTHER"  # type: ignore[misc]  # the mistake itself
