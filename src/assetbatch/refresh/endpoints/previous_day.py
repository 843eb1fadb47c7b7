"""The previous day: the last complete day's bar of one asset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from assetbatch.domain.calls import PreviousDayCall
from assetbatch.domain.entitlements import Entitlements, Restriction
from assetbatch.domain.models import Price, StoredAsset
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.work import Work
from assetbatch.refresh.endpoints.endpoint import Endpoint, ShownRestriction
from assetbatch.refresh.interpretation import Findings, Page, previous_day_findings

if TYPE_CHECKING:
    from assetbatch.provider.client import ProviderClient
    from assetbatch.refresh.learner import Learner
    from assetbatch.refresh.reporter import Reporter


class PreviousDayEndpoint(Endpoint[PreviousDayCall]):
    """The price of one asset, if the plan has no bars of it within the day."""

    def describe(self, call: PreviousDayCall) -> str:
        """Return the call in words."""
        return f"previous day of {call.work[0].asset.polygon_ticker}"

    def send(
        self, provider: ProviderClient, call: PreviousDayCall, _page: Page | None, seconds: float
    ) -> Price | None:
        """Make one request."""
        asset = call.work[0].asset
        return provider.previous_day(asset.polygon_ticker, asset.symbol, deadline_seconds=seconds)

    def observe(
        self,
        call: PreviousDayCall,
        _answer: Price | None,
        _now_ms: int,
        learner: Learner,
        _reporter: Reporter,
    ) -> None:
        """Tell that the plan has the endpoint for this ticker."""
        asset = call.work[0].asset
        learner.answered(Restriction.PREVIOUS_DAY, asset.asset_type, asset.polygon_ticker)

    def findings(
        self,
        _call: PreviousDayCall,
        work: Sequence[Work],
        _page: Page | None,
        answer: Price | None,
        stored: Mapping[str, StoredAsset],
        _known: Entitlements,
        now_ms: int,
    ) -> Findings:
        """Return the price of the day, or that there is none."""
        return previous_day_findings(work, answer, stored, now_ms)

    def restriction(self, _call: PreviousDayCall, kind: RefusalKind, _now_ms: int) -> ShownRestriction | None:
        """Return that the plan lacks the endpoint."""
        return ShownRestriction(Restriction.PREVIOUS_DAY) if kind is RefusalKind.NOT_IN_PLAN else None
