"""What is refreshed: an asset, and its priority in the queue."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from assetbatch.domain.asset_classes import AssetClass, AssetType, Market, class_of
from assetbatch.domain.bar_sizes import BarSize


class AssetPriority(StrEnum):
    """Class of work, the most urgent first; the priority assets are CRITICAL."""

    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"


class Asset(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One configured symbol, spelt as the platform spells it.

    `polygon_ticker` is the provider's name with its obligatory prefix (`C:EURUSD`, `X:BTCUSD`, `I:NDX`); a
    stock has none. `update_frequency_seconds` is how old a price may become while its market is open. `bars`
    is the size of the bars that are kept. With `extended_hours` they are those of the longer hours of its
    class.
    """

    symbol: str
    polygon_ticker: str
    asset_type: AssetType
    name: str | None = None
    priority: AssetPriority = AssetPriority.MEDIUM
    update_frequency_seconds: int = 300
    enabled: bool = True
    bars: BarSize = BarSize.FIVE_MINUTES
    extended_hours: bool = False

    @property
    def asset_class(self) -> AssetClass:
        """What sets its class apart."""
        return class_of(self.polygon_ticker)

    @property
    def market(self) -> Market:
        """Whose hours it follows."""
        of = class_of(self.polygon_ticker)
        return of.extended_market or of.market if self.extended_hours else of.market
