"""Which assets are due, and the fewest calls that refresh them. Pure: the time comes in as an argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

import msgspec

from assetbatch.assets import Asset, AssetType
from assetbatch.entitlements import HOUR_MS, Entitlements
from assetbatch.hours import last_midnight, last_open
from assetbatch.market import BAR_MS, SNAPSHOT_TICKERS, StoredAsset
from assetbatch.words import ago, moment

PAGE_MS = 34 * 86_400_000
"""What one page of 5-minute bars can hold: 50,000 base minutes are 34 days of a market that never closes."""

JITTER_MS = 30_000
"""Cron does not start on the millisecond: an asset is due this much before its frequency is over."""

NOT_FOUND_AGAIN_MS = 24 * HOUR_MS
NOT_ENTITLED_AGAIN_MS = 6 * HOUR_MS


class WorkKind(StrEnum):
    """What an item of the queue asks for."""

    PRICE = "price"
    BARS = "bars"
    """The latest bars, where a snapshot brings the price only."""
    HISTORY = "history"
    """A page of bars of the past."""


class Work(msgspec.Struct, frozen=True):
    """A price to refresh, the bars that a snapshot does not bring, or the bars of some New York days of the
    past: `first_day` to `last_day`, both inclusive, for HISTORY only."""

    asset: Asset
    kind: WorkKind = WorkKind.PRICE
    first_day: date | None = None
    last_day: date | None = None

    @property
    def id(self) -> str:
        """Its id in the queue: `SYMBOL`, `bars:SYMBOL` or `history:SYMBOL:2024-11-01:2024-12-04`."""
        symbol = self.asset.symbol
        match self.kind:
            case WorkKind.PRICE:
                return symbol
            case WorkKind.BARS:
                return f"bars:{symbol}"
            case WorkKind.HISTORY:
                return f"history:{symbol}:{self.first_day}:{self.last_day}"


class WorkId(NamedTuple):
    """What the id of an item says."""

    symbol: str
    kind: WorkKind
    first_day: date | None = None
    last_day: date | None = None


def parse_work_id(work_id: str) -> WorkId:
    """Reads an id made by `Work.id`; anything else is the price of a symbol of that name."""
    prefix, *rest = work_id.split(":")
    if prefix == "bars" and len(rest) == 1:
        return WorkId(rest[0], WorkKind.BARS)
    if prefix == "history" and len(rest) == 3:
        try:
            return WorkId(rest[0], WorkKind.HISTORY, date.fromisoformat(rest[1]), date.fromisoformat(rest[2]))
        except ValueError:
            pass
    return WorkId(work_id, WorkKind.PRICE)


class SnapshotCall(msgspec.Struct, frozen=True):
    """The latest prices of up to 250 assets in one call."""

    assets: tuple[Asset, ...]


class BarsCall(msgspec.Struct, frozen=True):
    """The 5-minute bars of one asset that start within `[start_ms, end_ms]` (both inclusive)."""

    asset: Asset
    start_ms: int
    end_ms: int

    @property
    def assets(self) -> tuple[Asset, ...]:
        """The one asset it refreshes."""
        return (self.asset,)


class PreviousDayCall(msgspec.Struct, frozen=True):
    """The last complete day's bar of one asset, where the plan has no intraday bars."""

    asset: Asset

    @property
    def assets(self) -> tuple[Asset, ...]:
        """The one asset it refreshes."""
        return (self.asset,)


Call = SnapshotCall | BarsCall | PreviousDayCall


class Verdict(msgspec.Struct, frozen=True):
    """Whether an asset is due at a moment, and why (or why not) in words."""

    asset: Asset
    due: bool
    reason: str


def assess(asset: Asset, stored: StoredAsset | None, known: Entitlements, now_ms: int) -> Verdict:
    """An asset is due when something newer than what is stored can exist and may be seen.

    Never fetched: due, even while its market is closed. Refused or unknown to the vendor: after a
    while. Complete up to what can be seen: not due. Otherwise by its frequency while its market is
    open, and with doubling pauses after it has closed (the vendor may publish the end late).
    """
    if stored is not None and stored.status_at_ms is not None:
        since_status = now_ms - stored.status_at_ms
        if stored.sync_status == "not_found" and since_status < NOT_FOUND_AGAIN_MS:
            return Verdict(asset, False, "the vendor does not know this ticker; asked again once a day")
        if stored.sync_status == "not_entitled" and since_status < NOT_ENTITLED_AGAIN_MS:
            return Verdict(asset, False, "not in the plan; asked again every 6 hours")
        if stored.sync_status == "no_data" and since_status < HOUR_MS:
            return Verdict(asset, False, "the vendor had nothing; asked again every hour")
    if stored is None or stored.as_of_ms is None or stored.last_sync_ms is None:
        return Verdict(asset, True, "never fetched")
    horizon = known.horizon_ms(asset.asset_type, now_ms)
    visible = last_open(asset.market, min(now_ms, horizon))
    if stored.as_of_ms >= visible:
        return Verdict(asset, False, f"complete up to {moment(visible)}")
    since_sync = now_ms - stored.last_sync_ms
    frequency_ms = asset.update_frequency_seconds * 1000
    frequency_ms -= min(JITTER_MS, frequency_ms // 10)
    if visible == now_ms:
        return Verdict(asset, since_sync >= frequency_ms, f"refreshed {ago(since_sync)}")
    if stored.last_sync_ms < visible:
        return Verdict(asset, True, f"data up to {moment(visible)} can be seen now")
    if since_sync >= max(frequency_ms, stored.last_sync_ms - visible):
        return Verdict(asset, True, f"the end before {moment(visible)} was missing; asked again")
    return Verdict(asset, False, f"nothing newer than {moment(stored.as_of_ms)} was there; asked again later")


def behind(asset: Asset, stored: StoredAsset, known: Entitlements, now_ms: int) -> bool:
    """Whether a snapshot leaves this asset's bars behind: at least one finished bar that its frequency
    asks for is not stored. Without snapshots the price comes from the bars and nothing is left over."""
    if not asset.bars or not known.snapshots(asset.asset_type, now_ms):
        return False
    if not known.intraday(asset.asset_type, now_ms):
        return False
    visible = last_open(asset.market, min(now_ms, known.horizon_ms(asset.asset_type, now_ms)))
    stored_to = 0 if stored.last_bar_ms is None else stored.last_bar_ms + BAR_MS
    return visible - stored_to >= max(BAR_MS, asset.update_frequency_seconds * 1000)


def plan(
    work: Sequence[Work], stored: Mapping[str, StoredAsset], known: Entitlements, now_ms: int
) -> list[Call]:
    """The fewest calls for this work, prices before bars and otherwise in its order: one snapshot for up
    to 250 prices of the classes that have it, one range of bars (or the previous day) for each other."""
    calls: list[Call] = []
    by_snapshot = [
        item.asset
        for item in work
        if item.kind is WorkKind.PRICE and known.snapshots(item.asset.asset_type, now_ms)
    ]
    chunks = {
        by_snapshot[i].symbol: tuple(by_snapshot[i : i + SNAPSHOT_TICKERS])
        for i in range(0, len(by_snapshot), SNAPSHOT_TICKERS)
    }
    snapshot_symbols = {asset.symbol for asset in by_snapshot}
    for item in sorted(work, key=lambda item: item.kind is WorkKind.BARS):
        asset = item.asset
        if item.kind is WorkKind.BARS or asset.symbol not in snapshot_symbols:
            calls.append(single_call(asset, stored.get(asset.symbol), known, now_ms))
        elif asset.symbol in chunks:
            calls.append(SnapshotCall(chunks[asset.symbol]))
    return calls


def single_call(asset: Asset, stored: StoredAsset | None, known: Entitlements, now_ms: int) -> Call:
    """The call that refreshes one asset where there is no snapshot.

    The range begins at the New York midnight before the last stored bar (so the day's open, high and
    low and the vendor's corrections of today come along; rows are free, calls are not) and at most
    one page back.
    """
    if not known.intraday(asset.asset_type, now_ms):
        return PreviousDayCall(asset)
    horizon = known.horizon_ms(asset.asset_type, now_ms)
    earliest = horizon - PAGE_MS
    if stored is None or stored.last_bar_ms is None:
        start = earliest
    else:
        start = max(earliest, last_midnight(min(stored.last_bar_ms, horizon - 1)))
    start -= start % BAR_MS
    return BarsCall(asset, start, horizon - 1)


def expected_next_start(starts_ms: Sequence[int], interval_ms: int) -> int:
    """When the next priority cycle will start, from the last starts (ascending, the present one last).

    The rhythm of the latest two starts that lie an interval apart (within a tenth) counts, so a start by
    hand in between does not shift it; without one, the next multiple of the interval, as cron starts.
    """
    last = starts_ms[-1]
    for earlier, later in reversed(list(pairwise(starts_ms))):
        if abs(later - earlier - interval_ms) <= interval_ms // 10:
            return later + ((last - later) // interval_ms + 1) * interval_ms
    return last - last % interval_ms + interval_ms


def describe(call: Call) -> str:
    """A call in words, for `--dry-run` and logs."""
    match call:
        case SnapshotCall(assets):
            return f"snapshot of {len(assets)} ticker{'s' if len(assets) != 1 else ''}"
        case BarsCall(asset, start_ms, end_ms):
            return f"5-minute bars of {asset.polygon_ticker}, {moment(start_ms)} to {moment(end_ms)}"
        case PreviousDayCall(asset):
            return f"previous day of {asset.polygon_ticker}"


def asset_types(call: Call) -> list[AssetType]:
    """The classes a call touches, each once."""
    return list(dict.fromkeys(asset.asset_type for asset in call.assets))
