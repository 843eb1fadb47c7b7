"""The endpoints of the provider, one file each: the call in words, the request, what an answer or refusal
means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assetbatch.domain.calls import (
    BarsCall,
    Call,
    GroupedDayCall,
    MarketSnapshotCall,
    PreviousDayCall,
    SnapshotCall,
)
from assetbatch.refresh.endpoints.bars import BarsEndpoint
from assetbatch.refresh.endpoints.endpoint import Endpoint
from assetbatch.refresh.endpoints.grouped_day import GroupedDayEndpoint
from assetbatch.refresh.endpoints.market_snapshot import MarketSnapshotEndpoint
from assetbatch.refresh.endpoints.previous_day import PreviousDayEndpoint
from assetbatch.refresh.endpoints.snapshot import SnapshotEndpoint

ENDPOINTS: Mapping[type[Call], Endpoint[Any]] = {
    SnapshotCall: SnapshotEndpoint(),
    MarketSnapshotCall: MarketSnapshotEndpoint(),
    GroupedDayCall: GroupedDayEndpoint(),
    BarsCall: BarsEndpoint(),
    PreviousDayCall: PreviousDayEndpoint(),
}
"""The endpoint for each type of call."""


def endpoint_of(call: Call) -> Endpoint[Any]:
    """Return the endpoint that a call is for."""
    return ENDPOINTS[type(call)]


def describe(call: Call) -> str:
    """Return a call in words, for `--dry-run` and logs."""
    return endpoint_of(call).describe(call)
