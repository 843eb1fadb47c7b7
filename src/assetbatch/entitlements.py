"""What the plan of an API key lets be seen: the tier's expectation, corrected by what the vendor refused.

Pure: the time comes in as an argument. Days are New York days, as the vendor counts them.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from assetbatch.assets import AssetType
from assetbatch.hours import last_midnight

HOUR_MS = 3_600_000


class Lack(StrEnum):
    """Something a plan can be found not to include, per asset class."""

    SNAPSHOT = "snapshot"
    """`/v3/snapshot`: fall back to one range of bars per symbol."""
    TODAY = "today"
    """Data of the running day: ask up to the last New York midnight."""
    LAST_DAY = "last_day"
    """The day that has just ended is not published yet: ask up to the midnight before."""
    INTRADAY = "intraday"
    """5-minute bars: fall back to the previous day's bar."""


REMEMBERED_MS = {
    Lack.SNAPSHOT: 24 * HOUR_MS,
    Lack.TODAY: 24 * HOUR_MS,
    Lack.LAST_DAY: HOUR_MS,
    Lack.INTRADAY: 24 * HOUR_MS,
}
"""How long each lack is taken for granted before it is asked again."""


class KnownRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal and until when it is believed. `message` is the vendor's text."""

    lack: Lack
    asset_type: AssetType
    since_ms: int
    until_ms: int
    message: str


def refusal_now(lack: Lack, asset_type: AssetType, message: str, now_ms: int) -> KnownRefusal:
    """The memory of a refusal that has just come."""
    return KnownRefusal(
        lack=lack,
        asset_type=asset_type,
        since_ms=now_ms,
        until_ms=now_ms + REMEMBERED_MS[lack],
        message=message,
    )


class Entitlements:
    """What may be asked now. `end_of_day` is the tier's expectation that there are neither snapshots
    nor data of the running day (the vendor's free plan)."""

    def __init__(self, *, end_of_day: bool, refusals: Iterable[KnownRefusal] = ()) -> None:
        self._end_of_day = end_of_day
        self._refusals = {(refusal.lack, refusal.asset_type): refusal for refusal in refusals}

    def learn(self, refusal: KnownRefusal) -> None:
        """Takes a refusal into account from now on."""
        self._refusals[refusal.lack, refusal.asset_type] = refusal

    def lacks(self, lack: Lack, asset_type: AssetType, now_ms: int) -> KnownRefusal | None:
        """The refusal that is believed at this moment, if any."""
        refusal = self._refusals.get((lack, asset_type))
        return refusal if refusal and refusal.since_ms <= now_ms < refusal.until_ms else None

    def believed(self, now_ms: int) -> list[KnownRefusal]:
        """All refusals that are believed at this moment."""
        return [refusal for refusal in self._refusals.values() if now_ms < refusal.until_ms]

    def snapshots(self, asset_type: AssetType, now_ms: int) -> bool:
        """Whether a snapshot of this class is worth asking for."""
        return not self._end_of_day and not self.lacks(Lack.SNAPSHOT, asset_type, now_ms)

    def intraday(self, asset_type: AssetType, now_ms: int) -> bool:
        """Whether 5-minute bars of this class are worth asking for."""
        return not self.lacks(Lack.INTRADAY, asset_type, now_ms)

    def horizon_ms(self, asset_type: AssetType, now_ms: int) -> int:
        """The latest moment whose data this key may see: now, or the end of a New York day."""
        if not self._end_of_day and not self.lacks(Lack.TODAY, asset_type, now_ms):
            return now_ms
        midnight = last_midnight(now_ms)
        unpublished = self.lacks(Lack.LAST_DAY, asset_type, now_ms)
        if unpublished and last_midnight(unpublished.since_ms) == midnight:
            return last_midnight(midnight - 1)
        return midnight
