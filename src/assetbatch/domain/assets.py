"""What is refreshed: an asset, its type, its class in the queue."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

import msgspec

from assetbatch.domain.currencies import METALS
from assetbatch.domain.market_hours import Market


class AssetType(StrEnum):
    """The vendor's two currency markets."""

    FOREX = "forex"
    CRYPTO = "crypto"


class AssetPriority(StrEnum):
    """Class of work, the most urgent first; the priority assets are CRITICAL."""

    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """One configured symbol, spelt as the platform spells it.

    `polygon_ticker` is the vendor's name with its obligatory prefix (`C:EURUSD`, `X:BTCUSD`).
    `update_frequency_seconds` is how old a price may become while its market is open.
    """

    symbol: str
    polygon_ticker: str
    asset_type: AssetType
    name: str | None = None
    priority: AssetPriority = AssetPriority.MEDIUM
    update_frequency_seconds: int = 300
    enabled: bool = True
    bars: bool = True

    @property
    def market(self) -> Market:
        """Whose hours it follows."""
        return market_of(self.polygon_ticker)


@lru_cache(maxsize=2**14)
def market_of(ticker: str) -> Market:
    """The market of a ticker: crypto, spot metals or forex."""
    if ticker.startswith("X:"):
        return Market.CRYPTO
    return Market.METAL if ticker.startswith(tuple(f"C:{metal}" for metal in METALS)) else Market.FOREX
