"""Colours and cells that several views share."""

from __future__ import annotations

from assetbatch.domain.formatting import price
from assetbatch.domain.records import CycleOutcome
from assetbatch.domain.status import AssetState, Status
from assetbatch.health import HealthStatus

COLOURS: dict[str, str] = {
    **dict.fromkeys((Status.SUCCESS, CycleOutcome.OK, CycleOutcome.NOTHING), "green"),
    **dict.fromkeys((AssetState.FRESH, HealthStatus.HEALTHY), "green"),
    AssetState.DUE: "cyan",
    **dict.fromkeys((Status.DEFERRED, CycleOutcome.PARTIAL), "yellow"),
    **dict.fromkeys((AssetState.NEVER, HealthStatus.DEGRADED), "yellow"),
    HealthStatus.UNHEALTHY: "red",
}
"""The colour of a status, a state or an outcome; anything else is red."""


def asset_table_price(value: float | None) -> str:
    """Return a price cell; a dash without a price."""
    return "-" if value is None else price(value)


def share(complete: float | None) -> str:
    """Return a completeness in percent, never rounded up to 100; a dash without one."""
    if complete is None:
        return "-"
    return "100 %" if complete >= 1 else f"{min(99.9, complete * 100):.1f} %"
