"""Groups: which prices of members are one item of the queue, and when such an item is worth a call."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset, AssetPriority
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.groups import Group, as_items, parse_group, work_of
from assetbatch.domain.item_words import work_in_words
from assetbatch.domain.market_hours import to_ms
from assetbatch.domain.models import StoredAsset
from assetbatch.domain.queueing import Lane
from assetbatch.domain.status import Status
from assetbatch.domain.units import HOUR_MS
from assetbatch.domain.work import Work, parse_work_id

TUESDAY_MIDNIGHT = to_ms(datetime(2026, 11, 17, 5, 0, tzinfo=UTC))  # New York's
MONDAY_CLOSE = to_ms(datetime(2026, 11, 16, 21, 0, tzinfo=UTC))
NOW = TUESDAY_MIDNIGHT + 3 * HOUR_MS
FREE, PAID = Entitlements(end_of_day=True), Entitlements(end_of_day=False)
LOW = AssetPriority.LOW
STOCKS = Group(AssetType.STOCKS, LOW)


def stock(symbol: str, bars: BarSize = BarSize.NONE, priority: AssetPriority = LOW) -> Asset:
    return Asset(
        symbol=symbol, polygon_ticker=symbol, asset_type=AssetType.STOCKS, bars=bars, priority=priority
    )


def stored(asset: Asset, as_of_ms: int | None, asked_ms: int | None) -> StoredAsset:
    status = None if asked_ms is None else Status.SUCCESS
    return StoredAsset(
        symbol=asset.symbol,
        as_of_ms=as_of_ms,
        status_at_ms=asked_ms,
        last_sync_ms=asked_ms,
        sync_status=status,
    )


def items(
    due: list[Asset], *known: StoredAsset, members: list[Asset], of: Entitlements = FREE
) -> list[tuple[str, Lane]]:
    by_symbol = {asset.symbol: asset for asset in members}
    return as_items(list(map(Work, due)), by_symbol, {one.symbol: one for one in known}, of, NOW)


A, B, C = stock("A"), stock("B"), stock("C")


def test_an_id_can_be_read_again() -> None:
    assert STOCKS.id == "members:stocks:LOW"
    assert parse_group(STOCKS.id) == STOCKS


@pytest.mark.parametrize("text", ["A", "members:", "members:metals:LOW", "members:stocks:low", "price:A"])
def test_no_other_id_is_read(text: str) -> None:
    assert parse_group(text) is None


def test_an_id_is_told_in_words_and_has_no_symbol() -> None:
    assert work_in_words(STOCKS.id) == "prices of stocks, the LOW members of rules"
    assert parse_work_id(STOCKS.id).symbol == ""


def test_a_symbol_that_looks_like_a_group_has_an_id_of_its_own() -> None:
    asset = stock("members:stocks:LOW")
    assert parse_work_id(Work(asset).id).symbol == asset.symbol
    assert parse_group(Work(asset).id) is None


class TestItems:
    def test_wait_for_members_that_are_coming_where_one_call_brings_a_day_of_all(self) -> None:
        before = {one.symbol: stored(one, None, None) for one in (A, B)}
        for of, coming, expected in (
            (FREE, {AssetType.STOCKS}, []),
            (FREE, {AssetType.CRYPTO}, [(STOCKS.id, Lane.LOW)]),
            (PAID, {AssetType.STOCKS}, [(STOCKS.id, Lane.LOW)]),
        ):
            assert as_items([Work(A)], {"A": A, "B": B}, before, of, NOW, coming) == expected

    def test_members_of_a_class_are_one(self) -> None:
        assert items([A, B, C], members=[A, B, C]) == [(STOCKS.id, Lane.LOW)]

    def test_members_of_another_priority_are_another_one(self) -> None:
        urgent = stock("C", priority=AssetPriority.HIGH)
        found = items([A, urgent, B], members=[A, B, urgent])
        assert found == [(STOCKS.id, Lane.LOW), ("members:stocks:HIGH", Lane.HIGH)]

    def test_an_asset_of_the_configuration_is_its_own(self) -> None:
        assert items([A, B], members=[B]) == [("A", Lane.LOW), (STOCKS.id, Lane.LOW)]

    def test_a_member_that_needs_a_call_of_its_own_is_its_own(self) -> None:
        with_bars = stock("D", BarSize.FIVE_MINUTES)
        assert items([with_bars, A], members=[with_bars, A]) == [("D", Lane.LOW), (STOCKS.id, Lane.LOW)]

    def test_members_that_snapshots_bring_are_one_with_bars_or_without(self) -> None:
        with_bars = stock("D", BarSize.FIVE_MINUTES)
        assert items([with_bars, A], members=[with_bars, A], of=PAID) == [(STOCKS.id, Lane.LOW)]


class TestDay:
    """A is complete up to the day that can be seen, B had no trade on it."""

    COMPLETE = stored(A, TUESDAY_MIDNIGHT, TUESDAY_MIDNIGHT + HOUR_MS)

    def test_that_has_come_is_not_asked_for_again(self) -> None:
        thin = stored(B, MONDAY_CLOSE - 50 * HOUR_MS, TUESDAY_MIDNIGHT + HOUR_MS)
        assert items([B], self.COMPLETE, thin, members=[A, B]) == []

    def test_is_asked_for_by_a_member_that_was_not_asked_for_since(self) -> None:
        new = stored(B, None, None)
        assert items([B], self.COMPLETE, new, members=[A, B]) == [(STOCKS.id, Lane.LOW)]

    def test_is_asked_for_by_a_member_that_is_new_beside_one_that_was_asked_for(self) -> None:
        thin, new = stored(B, MONDAY_CLOSE - 50 * HOUR_MS, TUESDAY_MIDNIGHT + HOUR_MS), stored(C, None, None)
        assert items([B, C], self.COMPLETE, thin, new, members=[A, B, C]) == [(STOCKS.id, Lane.LOW)]

    def test_is_asked_for_by_a_member_that_was_asked_for_before_it_was_over(self) -> None:
        early = stored(B, MONDAY_CLOSE - 50 * HOUR_MS, TUESDAY_MIDNIGHT - HOUR_MS)
        assert items([B], self.COMPLETE, early, members=[A, B]) == [(STOCKS.id, Lane.LOW)]

    def test_that_nobody_has_is_asked_for_again(self) -> None:
        both = [stored(one, MONDAY_CLOSE - 50 * HOUR_MS, TUESDAY_MIDNIGHT + HOUR_MS) for one in (A, B)]
        assert items([A, B], *both, members=[A, B]) == [(STOCKS.id, Lane.LOW)]


def test_a_group_stands_for_what_a_shared_call_brings() -> None:
    members = [A, stock("D", BarSize.FIVE_MINUTES), stock("E", priority=AssetPriority.HIGH)]
    assert [work.id for work in work_of(STOCKS, members, FREE, NOW)] == ["A"]
