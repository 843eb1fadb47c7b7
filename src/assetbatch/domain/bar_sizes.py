"""The sizes of bars that an asset may keep."""

from __future__ import annotations

from enum import StrEnum

from assetbatch.domain.units import MINUTE_MS


class BarSize(StrEnum):
    """Size of the bars that are kept, as the configuration writes it; NONE is false."""

    FIVE_MINUTES = "5m"
    ONE_MINUTE = "1m"
    NONE = "none"

    def __bool__(self) -> bool:
        return self is not BarSize.NONE

    @property
    def ms(self) -> int:
        """The length of a bar in milliseconds. Without bars a price follows from bars of five minutes."""
        return MINUTE_MS if self is BarSize.ONE_MINUTE else 5 * MINUTE_MS


def as_bar_size(written: BarSize | bool) -> BarSize:
    """Return the size that a configuration means: true is 5m, false is none."""
    if isinstance(written, BarSize):
        return written
    return BarSize.FIVE_MINUTES if written else BarSize.NONE
