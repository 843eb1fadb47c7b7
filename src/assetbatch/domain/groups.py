"""Groups: the prices of many members of rules as one item of the queue.

One call brings the prices of many members. An item for each of them would fill the queue, and a run that
takes some of them would make the same call again for the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset, AssetPriority
from assetbatch.domain.calls import GroupedDayCall, shared_call
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.market_hours import day_of, last_open, start_of_day
from assetbatch.domain.models import StoredAsset
from assetbatch.domain.queueing import Lane
from assetbatch.domain.work import GROUP_PREFIX, Work


class Group(NamedTuple):
    """The members of a class with one priority, whose prices come in shared calls."""

    asset_type: AssetType
    priority: AssetPriority

    @property
    def id(self) -> str:
        """The id in the queue: `members:stocks:LOW`."""
        return f"{GROUP_PREFIX}{self.asset_type.value}:{self.priority.value}"

    def has(self, asset: Asset) -> bool:
        """Return whether a member belongs to it."""
        return asset.asset_type is self.asset_type and asset.priority is self.priority


def parse_group(item_id: str) -> Group | None:
    """Read an id made by `Group.id`; return None for any other."""
    if not item_id.startswith(GROUP_PREFIX):
        return None
    asset_type, _, priority = item_id.removeprefix(GROUP_PREFIX).partition(":")
    try:
        return Group(AssetType(asset_type), AssetPriority(priority))
    except ValueError:
        return None


def work_of(group: Group, members: Iterable[Asset], known: Entitlements, now_ms: int) -> list[Work]:
    """Return the prices that a group stands for now: those that a shared call brings."""
    return [Work(asset) for asset in members if group.has(asset) and shared_call(asset, known, now_ms)]


def as_items(
    due: Sequence[Work],
    members: Mapping[str, Asset],
    stored: Mapping[str, StoredAsset],
    known: Entitlements,
    now_ms: int,
    coming: Collection[AssetType] = (),
) -> list[tuple[str, Lane]]:
    """Return the items of the queue for prices that are due, in their order. The prices of `members` (by
    symbol) that shared calls bring are one item for each group; all others are an item each.

    A group is left out once the day of its market has come: the members that were not in it had no trade, and
    another call would say the same. It is left out too while more members of its class are `coming`: one call
    brings the day for all of them.
    """
    items: list[tuple[str, Lane]] = []
    grouped: dict[Group, list[Work]] = {}
    for work in due:
        asset = work.asset
        if asset.symbol not in members or shared_call(asset, known, now_ms) is None:
            items.append((work.id, Lane.of(asset.priority)))
            continue
        group = Group(asset.asset_type, asset.priority)
        if group not in grouped:
            grouped[group] = []
            items.append((group.id, Lane.of(asset.priority)))
        grouped[group].append(work)
    of_group: dict[Group, list[Asset]] = {}
    waiting = set()
    for group, some in grouped.items():
        if group.asset_type in coming and _comes_by_day(some[0].asset, known, now_ms):
            waiting.add(group.id)
            continue
        if not all(_was_asked_for_its_day(work.asset, stored, known, now_ms) for work in some):
            continue
        if not of_group:
            for symbol, asset in members.items():
                if symbol in stored:
                    of_group.setdefault(Group(asset.asset_type, asset.priority), []).append(asset)
        if any(_has_its_day(asset, stored[asset.symbol], known, now_ms) for asset in of_group[group]):
            waiting.add(group.id)
    return [item for item in items if item[0] not in waiting]


def _comes_by_day(asset: Asset, known: Entitlements, now_ms: int) -> bool:
    key = shared_call(asset, known, now_ms)
    return key is not None and key[0] is GroupedDayCall


def _was_asked_for_its_day(
    asset: Asset, stored: Mapping[str, StoredAsset], known: Entitlements, now_ms: int
) -> bool:
    """Return whether a price that comes by the days of a market was asked for since the day that can be seen
    was over."""
    asked_ms = stored[asset.symbol].status_at_ms if asset.symbol in stored else None
    if asked_ms is None or not _comes_by_day(asset, known, now_ms):
        return False
    day = day_of(_visible_ms(asset, known, now_ms) - 1)
    return asked_ms >= start_of_day(day + timedelta(days=1))


def _has_its_day(asset: Asset, stored: StoredAsset, known: Entitlements, now_ms: int) -> bool:
    return (stored.as_of_ms or 0) >= _visible_ms(asset, known, now_ms)


def _visible_ms(asset: Asset, known: Entitlements, now_ms: int) -> int:
    return last_open(asset.market, known.last_day_end_ms(asset.asset_type, now_ms))
