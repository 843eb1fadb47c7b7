"""Colours and cells that several views share."""

from __future__ import annotations

from assetbatch.domain.formatting import price
from assetbatch.views.tones import Tone, tone_of

_COLOURS = {Tone.PLAIN: "", Tone.GOOD: "green", Tone.INFO: "cyan", Tone.WARN: "yellow", Tone.BAD: "red"}


def colour_of(word: str) -> str:
    """Return the colour of a status, a severity, a state or an outcome."""
    return _COLOURS[tone_of(word)]


def asset_table_price(value: float | None) -> str:
    """Return a price cell; a dash without a price."""
    return "-" if value is None else price(value)


def share(complete: float | None) -> str:
    """Return a completeness in percent, never rounded up to 100; a dash without one."""
    if complete is None:
        return "-"
    return "100 %" if complete >= 1 else f"{min(99.9, complete * 100):.1f} %"
