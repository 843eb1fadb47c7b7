"""The snapshot of a market: the latest prices of up to 250 assets of one class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assetbatch.domain.calls import MarketSnapshotCall
from assetbatch.domain.entitlements import Restriction
from assetbatch.domain.formatting import plural
from assetbatch.refresh.endpoints.prices import PricesEndpoint, symbols_by_ticker

if TYPE_CHECKING:
    from assetbatch.provider.answers import PricesAnswer
    from assetbatch.provider.client import ProviderClient
    from assetbatch.refresh.interpretation import Page


class MarketSnapshotEndpoint(PricesEndpoint[MarketSnapshotCall]):
    """Prices of one class in one call, if the plan has no snapshot of all classes."""

    shows_today = True
    restricts = Restriction.MARKET_SNAPSHOT

    def describe(self, call: MarketSnapshotCall) -> str:
        """Return the call in words."""
        return f"{call.asset_type} snapshot of {plural(len(call.work), 'ticker')}"

    def send(
        self, provider: ProviderClient, call: MarketSnapshotCall, _page: Page | None, seconds: float
    ) -> PricesAnswer:
        """Make one request."""
        symbols = symbols_by_ticker(call.work)
        return provider.market_snapshot(call.asset_type, symbols, deadline_seconds=seconds)
