"""The snapshot: the latest prices of up to 250 assets of all classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assetbatch.domain.calls import SnapshotCall
from assetbatch.domain.entitlements import Restriction
from assetbatch.domain.formatting import plural
from assetbatch.domain.refusals import RefusalKind
from assetbatch.refresh.endpoints.endpoint import ShownRestriction
from assetbatch.refresh.endpoints.prices import PricesEndpoint, symbols_by_ticker

if TYPE_CHECKING:
    from assetbatch.provider.answers import PricesAnswer
    from assetbatch.provider.client import ProviderClient
    from assetbatch.refresh.interpretation import Page


class SnapshotEndpoint(PricesEndpoint[SnapshotCall]):
    """Prices of all classes in one call."""

    shows_today = True
    restricts = Restriction.SNAPSHOT

    def restriction(self, call: SnapshotCall, kind: RefusalKind, now_ms: int) -> ShownRestriction | None:
        """Return the restriction of the endpoint. Of a call for several products it is that of such calls:
        nothing shows which of the products is refused."""
        shown = super().restriction(call, kind, now_ms)
        return ShownRestriction(Restriction.MIXED_SNAPSHOT) if shown and call.is_mixed else shown

    def describe(self, call: SnapshotCall) -> str:
        """Return the call in words."""
        return f"snapshot of {plural(len(call.work), 'ticker')}"

    def send(
        self, provider: ProviderClient, call: SnapshotCall, _page: Page | None, seconds: float
    ) -> PricesAnswer:
        """Make one request."""
        return provider.snapshot(symbols_by_ticker(call.work), deadline_seconds=seconds)
