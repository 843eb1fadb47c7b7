"""The sizes of bars: those that an asset may keep, and those that follow from them."""

from __future__ import annotations

from enum import StrEnum

from assetbatch.domain.units import HOUR_MS, MINUTE_MS


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


class DerivedSize(StrEnum):
    """Size of the bars that are made of bars of five minutes when they are read."""

    QUARTER = "15m"
    HOUR = "1h"
    FOUR_HOURS = "4h"

    @property
    def ms(self) -> int:
        """The length of a bar in milliseconds; it divides a day."""
        return {self.QUARTER: 15 * MINUTE_MS, self.HOUR: HOUR_MS, self.FOUR_HOURS: 4 * HOUR_MS}[self]
