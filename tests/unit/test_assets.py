"""What an asset is."""

from __future__ import annotations

import pytest

from assetbatch.domain.asset_classes import AssetType, Market
from assetbatch.domain.assets import Asset, AssetPriority


def asset(ticker: str = "C:EURUSD", kind: AssetType = AssetType.FOREX) -> Asset:
    return Asset(symbol="EURUSD", polygon_ticker=ticker, asset_type=kind)


def test_only_symbol_ticker_and_type_are_needed() -> None:
    plain = asset()
    assert (plain.name, plain.priority, plain.update_frequency_seconds) == (None, AssetPriority.MEDIUM, 300)
    assert plain.enabled
    assert plain.bars


@pytest.mark.parametrize(
    ("ticker", "kind", "market"),
    [
        ("C:EURUSD", AssetType.FOREX, Market.FOREX),
        ("C:USDJPY", AssetType.FOREX, Market.FOREX),
        ("C:XAUUSD", AssetType.FOREX, Market.METAL),
        ("C:XAGEUR", AssetType.FOREX, Market.METAL),
        ("C:XPTUSD", AssetType.FOREX, Market.METAL),
        ("C:XPDUSD", AssetType.FOREX, Market.METAL),
        ("X:BTCUSD", AssetType.CRYPTO, Market.CRYPTO),
        ("AAPL", AssetType.STOCKS, Market.STOCK),
        ("I:NDX", AssetType.INDICES, Market.INDEX),
        ("X:XAUTUSD", AssetType.CRYPTO, Market.CRYPTO),  # a gold token trades as the crypto it is
    ],
)
def test_the_ticker_decides_whose_hours_an_asset_follows(
    ticker: str, kind: AssetType, market: Market
) -> None:
    assert asset(ticker, kind).market is market


def test_a_stock_with_extended_hours_follows_the_longer_ones() -> None:
    apple = Asset(symbol="AAPL", polygon_ticker="AAPL", asset_type=AssetType.STOCKS, extended_hours=True)
    assert apple.market is Market.STOCK_EXTENDED


def test_an_asset_does_not_change() -> None:
    with pytest.raises(AttributeError):
        asset().symbol = "OTHER"  # type: ignore[misc]  # the mistake itself
