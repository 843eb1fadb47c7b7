"""Colours and cells that several views share."""

from __future__ import annotations

from assetbatch.domain.formatting import price

COLOURS = {
    "success": "green",
    "ok": "green",
    "fresh": "green",
    "healthy": "green",
    "nothing": "green",
    "due": "cyan",
    "deferred": "yellow",
    "partial": "yellow",
    "degraded": "yellow",
    "never": "yellow",
    "stale": "red",
    "unhealthy": "red",
}
"""A state's colour; anything else is red."""


def asset_table_price(value: float | None) -> str:
    """A price cell; a dash where there is none."""
    return "-" if value is None else price(value)


def share(complete: float | None) -> str:
    """A completeness in percent, never rounded up to 100; a dash where there is none."""
    if complete is None:
        return "-"
    return "100 %" if complete >= 1 else f"{min(99.9, complete * 100):.1f} %"
