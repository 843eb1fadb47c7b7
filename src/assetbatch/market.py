"""The values that pass between the vendor and the store: bars and prices.

All moments are Unix milliseconds, UTC.
"""

from __future__ import annotations

import msgspec

BAR_MS = 300_000
"""Length of a bar: five minutes."""


class Bar(msgspec.Struct, frozen=True, gc=False):
    """One 5-minute bar; `t_ms` is its start, a multiple of `BAR_MS`; prices are positive and finite."""

    t_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None = None
    vwap: float | None = None
    trades: int | None = None

    @property
    def end_ms(self) -> int:
        """The moment from which the bar can no longer change by trading."""
        return self.t_ms + BAR_MS


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """The latest price of a symbol; absent values are None, never 0.

    `as_of_ms` is the moment the vendor's price is from (not the moment it was asked).
    The daily values belong to the New York day of `as_of_ms`.
    """

    symbol: str
    last_price: float
    as_of_ms: int
    bid: float | None = None
    ask: float | None = None
    daily_open: float | None = None
    daily_high: float | None = None
    daily_low: float | None = None
    daily_close: float | None = None


class StoredAsset(msgspec.Struct, frozen=True, kw_only=True):
    """What the store knows of a registered symbol; None where there is nothing yet.

    `last_sync_ms` is the last success, `status_at_ms` when `sync_status` was last written (failures too),
    `last_bar_ms` the start of the newest stored bar.
    """

    symbol: str
    last_price: float | None = None
    daily_open: float | None = None
    as_of_ms: int | None = None
    last_sync_ms: int | None = None
    sync_status: str | None = None
    status_at_ms: int | None = None
    error_message: str | None = None
    last_bar_ms: int | None = None
