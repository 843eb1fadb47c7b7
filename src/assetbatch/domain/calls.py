"""The types of calls, and the choice of the fewest calls for work that is due."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date

import msgspec

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.coverage import record
from assetbatch.domain.entitlements import (
    Entitlements,
    Restriction,
)
from assetbatch.domain.market_hours import day_of, last_open
from assetbatch.domain.models import (
    SNAPSHOT_TICKERS,
    CoveredInterval,
    IntervalState,
    StoredAsset,
)
from assetbatch.domain.pages import PAGE_MS, PageKind
from assetbatch.domain.ranges import BarsRange, latest_range, verify_range
from assetbatch.domain.work import PAGES, Work, WorkKind


class SnapshotCall(msgspec.Struct, frozen=True):
    """The latest prices of up to 250 assets of all classes in one call."""

    work: tuple[Work, ...]

    @property
    def is_mixed(self) -> bool:
        """Whether it is for assets of several products."""
        return len({item.asset.asset_class.product for item in self.work}) > 1


class MarketSnapshotCall(msgspec.Struct, frozen=True):
    """The latest prices of up to 250 assets of one class, if the plan has only snapshots of markets."""

    work: tuple[Work, ...]
    asset_type: AssetType


class GroupedDayCall(msgspec.Struct, frozen=True):
    """The bars of one New York day of a whole market: the prices of all its assets that need no 5-minute
    bars, or have none in the plan."""

    work: tuple[Work, ...]
    asset_type: AssetType
    day: date


class BarsCall(msgspec.Struct, frozen=True):
    """The 5-minute bars of one asset that start within `[start_ms, end_ms]` (inclusive): at most a page.

    `unfinished` are the ids of work that waits for a further call after this one.
    """

    work: tuple[Work, ...]
    start_ms: int
    end_ms: int
    kind: PageKind = PageKind.SURE
    sure_ms: int = 0
    """Up to where a longer page comes whole; 0 for as long as any page does."""
    unfinished: frozenset[str] = frozenset()


class PreviousDayCall(msgspec.Struct, frozen=True):
    """The bar of the last complete day of one asset, if the plan has no bars of it within the day."""

    work: tuple[Work, ...]


Call = SnapshotCall | MarketSnapshotCall | GroupedDayCall | BarsCall | PreviousDayCall
"""A call names the work that it does. The last two types are for a single asset."""


PricesCall = SnapshotCall | MarketSnapshotCall | GroupedDayCall


def choose_calls(
    work: Sequence[Work],
    stored: Mapping[str, StoredAsset],
    known: Entitlements,
    now_ms: int,
    *,
    probe_today: bool = False,
    in_flight: Iterable[Call] = (),
) -> list[Call]:
    """Return the fewest calls for work that is due, prices before bars and otherwise in its order.

    One snapshot for up to 250 prices; one grouped call for all prices of a market that need no 5-minute
    bars; for the rest one range of bars each, ranges of one asset that fit a page merged into one. With
    `probe_today` a first range reaches to now where nobody knows whether the plan shows the running day.
    Pages of the past leave out what calls in flight will bring.
    """
    drafts: list[tuple[int, Call]] = []  # with the position of the first work of each
    shared: dict[tuple[object, ...], list[tuple[int, Work]]] = {}
    single: list[tuple[int, Work]] = []
    price = WorkKind.PRICE  # looked up once: thousands of assets have a price
    ordered = sorted(work, key=lambda item: item.kind is not price)
    for position, item in enumerate(ordered):
        key = shared_call(item.asset, known, now_ms) if item.kind is price else None
        if key:
            shared.setdefault(key, []).append((position, item))
        else:
            single.append((position, item))
    for (sort, *details), members in shared.items():
        if sort is GroupedDayCall and len(members) == 1 and not _has_days_of_its_own(members[0][1].asset):
            single += members  # a call of its own costs the same
            continue
        if sort is SnapshotCall:
            details = []  # a product keeps calls apart, and is no part of them
        size = len(members) if sort is GroupedDayCall else SNAPSHOT_TICKERS
        for at in range(0, len(members), size):
            chunk = members[at : at + size]
            make: Callable[..., Call] = sort  # type: ignore[assignment]  # the first part of a key is its class
            drafts.append((chunk[0][0], make(tuple(item for _, item in chunk), *details)))
    by_symbol: dict[str, list[tuple[int, Work]]] = {}
    for position, item in single:
        by_symbol.setdefault(item.asset.symbol, []).append((position, item))
    coming: dict[str, list[tuple[int, int]]] = {}
    for call in in_flight:
        if isinstance(call, BarsCall):
            coming.setdefault(call.work[0].asset.symbol, []).append((call.start_ms, call.end_ms + 1))
    for symbol, members in by_symbol.items():
        drafts += _ranges_of(
            members, stored.get(symbol), known, now_ms, probe_today=probe_today, coming=coming.get(symbol, ())
        )
    return [call for _, call in sorted(drafts, key=lambda draft: draft[0])]


def shared_call(asset: Asset, known: Entitlements, now_ms: int) -> tuple[object, ...] | None:
    """Return the key of the call that brings the price of this asset along with others, or None if none
    does."""
    asset_type, ticker = asset.asset_type, asset.polygon_ticker
    if known.snapshots(asset_type, now_ms, ticker):
        if known.mixes_products(asset_type, now_ms):
            return (SnapshotCall,)
        return (SnapshotCall, asset.asset_class.product)
    if known.market_snapshots(asset_type, now_ms, ticker):
        return (MarketSnapshotCall, asset_type)
    if goes_by_day(asset, known, now_ms):
        visible = last_open(asset.market, known.last_day_end_ms(asset_type, now_ms))
        return (GroupedDayCall, asset_type, day_of(visible - 1))
    return None


def _has_days_of_its_own(asset: Asset) -> bool:
    """Return whether the bar of a day does not follow from its minutes: that of a stock has the prices of the
    session, which minutes beside the session do not change."""
    return asset.asset_class.has_trading_days


def goes_by_day(asset: Asset, known: Entitlements, now_ms: int) -> bool:
    """Return whether a grouped day brings the price of an asset that no snapshot brings."""
    asset_type = asset.asset_type
    if asset.asset_class.grouped_market is None or known.lacks(Restriction.GROUPED, asset_type, now_ms):
        return False
    ticker = asset.polygon_ticker
    only_days = not known.intraday(asset_type, now_ms, ticker) or known.is_cleared(ticker)
    return only_days or (not asset.bars and not known.may_ask_today(asset_type, now_ms))


def shares_calls(assets: Iterable[Asset], known: Entitlements, now_ms: int) -> bool:
    """Return whether one call can serve several of these assets, so that they are worth taking together."""
    return any(shared_call(asset, known, now_ms) for asset in assets)


def share_of_shared(assets: Sequence[Asset], known: Entitlements, now_ms: int) -> float:
    """Return the share (0 to 1) of these assets whose prices come along with others in one call."""
    if not assets:
        return 0.0
    return sum(shared_call(asset, known, now_ms) is not None for asset in assets) / len(assets)


def _ranges_of(
    members: Sequence[tuple[int, Work]],
    stored: StoredAsset | None,
    known: Entitlements,
    now_ms: int,
    *,
    probe_today: bool,
    coming: Sequence[tuple[int, int]],
) -> list[tuple[int, Call]]:
    """Return the calls for the work of one asset, each with the position of its first work. `coming` are the
    intervals of bars that calls in flight will bring."""
    asset = members[0][1].asset
    if not known.intraday(asset.asset_type, now_ms, asset.polygon_ticker):
        return [(position, PreviousDayCall((item,))) for position, item in members]
    positions = {item.id: position for position, item in members}
    latest = [item for _, item in members if item.kind not in PAGES]
    ranges = [
        BarsRange(*latest_range(item.asset, stored, known, now_ms, probe_today=probe_today), (item,))
        for item in latest
    ]
    to_verify = [item for _, item in members if item.kind is WorkKind.VERIFY]
    ranges += [
        BarsRange(*found, (item,))
        for item in to_verify
        if (found := verify_range(item, stored, known, now_ms))
    ]
    history = [item for _, item in members if item.kind is WorkKind.HISTORY]
    if history:
        from assetbatch.domain.history_pages import history_ranges

        if stored and coming:
            asked = [CoveredInterval(*interval, IntervalState.ASKED, now_ms) for interval in coming]
            stored = msgspec.structs.replace(stored, coverage=record(stored.coverage, asked))
        # What waits for the latest bars must not wait for a longer page, which may be cut.
        ranges += history_ranges(history, stored, known, now_ms, reach_out=not ranges)
    return _pages_of(ranges, positions)


def _pages_of(ranges: list[BarsRange], positions: Mapping[str, int]) -> list[tuple[int, Call]]:
    """Return one call for all ranges of an asset that end within a page from the first start, so that no two
    calls fit one page. Each has the position of its first work."""
    drafts: list[tuple[int, Call]] = []
    ranges = sorted(ranges, key=lambda found: (found.start_ms, -found.end_ms, positions[found.work[0].id]))
    while ranges:
        first = ranges[0]
        # A range may be longer than a page: it has a day of 25 hours, or begins with a whole bar.
        limit_ms = max(first.start_ms + PAGE_MS, first.end_ms)
        page = [found for found in ranges if found.end_ms <= limit_ms]
        call = BarsCall(
            tuple(item for found in page for item in found.work),
            first.start_ms,
            max(found.end_ms for found in page) - 1,
            first.kind,
            first.sure_ms,
            frozenset(item.id for found in page for item in found.unfinished),
        )
        drafts.append((min(positions[item.id] for item in call.work), call))
        ranges = [found for found in ranges if found.end_ms > limit_ms]
    return drafts


def asset_types(call: Call) -> list[AssetType]:
    """Return the classes of the assets of a call, each once."""
    return list(dict.fromkeys(item.asset.asset_type for item in call.work))
