"""What is refreshed: an asset and its priority in the queue, and the rule that stands for many."""

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


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of the configuration. Its options apply to each member.

    `exchange` (codes of ISO 10383), `kind` (the provider's types of tickers) and `quote` (the currency of a
    pair) narrow the market; empty ones do not.
    """

    every: AssetType
    exchange: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    quote: tuple[str, ...] = ()
    priority: AssetPriority = AssetPriority.MEDIUM
    update_frequency_seconds: int = 300
    enabled: bool = True
    bars: BarSize = BarSize.FIVE_MINUTES
    extended_hours: bool = False
    years_of_days: int = 0
    """Years of days of the past that are asked for, a market's day in one call."""

    @property
    def key(self) -> str:
        """What tells it from other rules: `stocks/XNAS,XNYS/CS,ETF`. Options do not count."""
        parts = [",".join(sorted(some)) for some in (self.exchange, self.kind, self.quote)]
        return "/".join([self.every.value, *(part for part in parts if part)])

    def member(self, symbol: str, ticker: str, name: str | None = None) -> Asset:
        """Return the asset that a member is."""
        return Asset(
            symbol=symbol,
            polygon_ticker=ticker,
            asset_type=self.every,
            name=name,
            priority=self.priority,
            update_frequency_seconds=self.update_frequency_seconds,
            bars=self.bars if class_of(ticker).has_bars else BarSize.NONE,
            extended_hours=self.extended_hours,
        )
