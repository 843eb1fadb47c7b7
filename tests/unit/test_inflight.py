"""Calls side by side: how many, which, and that a refusal costs one."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import date
from typing import Any

import msgspec
import pytest

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.calls import BarsCall, GroupedDayCall, SnapshotCall
from assetbatch.domain.pages import PAGE_MS, PageKind
from assetbatch.domain.queueing import CallLimit
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.work import Work, WorkKind
from assetbatch.provider.refusals import Refusal
from assetbatch.refresh.batch import MAX_UNSAVED_BARS, Request
from assetbatch.refresh.inflight import MAX_IN_FLIGHT, InFlight, calls_at_once, has_room, may_start, shapes
from assetbatch.state.window import Grant

EURUSD = Work(Asset(symbol="EURUSD", polygon_ticker="C:EURUSD", asset_type=AssetType.FOREX))
BTCUSD = Work(Asset(symbol="BTCUSD", polygon_ticker="X:BTCUSD", asset_type=AssetType.CRYPTO))
FOREX_BARS = BarsCall((EURUSD,), 0, 1)
CRYPTO_BARS = BarsCall((BTCUSD,), 0, 1)
BOTH = SnapshotCall((EURUSD, BTCUSD))


@pytest.mark.parametrize(
    ("limit", "window_ms", "at_once"),
    [
        (5, 60_000, 1),
        (100, 60_000, 1),
        (600, 60_000, 1),
        (1800, 60_000, 3),
        (100, 1000, MAX_IN_FLIGHT),
        (1, 1, MAX_IN_FLIGHT),
    ],
)
def test_as_many_are_out_as_the_plan_has_calls_to_spare(limit: int, window_ms: int, at_once: int) -> None:
    assert calls_at_once(CallLimit(limit, window_ms)) == at_once


class TestMayStart:
    def test_one_of_what_no_answer_has_shown_yet(self) -> None:
        assert may_start(FOREX_BARS, (), [])
        assert not may_start(FOREX_BARS, (), [FOREX_BARS])

    def test_beside_another_of_another_class_or_endpoint(self) -> None:
        assert may_start(
            FOREX_BARS, (), [CRYPTO_BARS, GroupedDayCall((EURUSD,), AssetType.FOREX, date(2026, 1, 5))]
        )

    def test_any_number_of_what_was_answered(self) -> None:
        assert may_start(FOREX_BARS, shapes(FOREX_BARS), [FOREX_BARS, FOREX_BARS])

    def test_not_beside_the_first_page_of_the_past_of_its_market(self) -> None:
        page = Work(EURUSD.asset, WorkKind.HISTORY, date(2026, 1, 5), date(2026, 2, 6))
        other = Work(
            Asset(symbol="GBPUSD", polygon_ticker="C:GBPUSD", asset_type=AssetType.FOREX),
            WorkKind.HISTORY,
            date(2026, 1, 5),
            date(2026, 2, 6),
        )
        first, second = BarsCall((page,), 0, 1, PageKind.TRIED), BarsCall((other,), 0, 1)
        latest = shapes(FOREX_BARS)
        assert not may_start(second, latest, [first])
        assert may_start(FOREX_BARS, latest, [first])
        assert may_start(second, latest | shapes(first), [first])

    def test_not_where_a_part_of_it_is_out_for_the_first_time(self) -> None:
        of_forex = shapes(SnapshotCall((EURUSD,)))
        assert not may_start(BOTH, of_forex, [BOTH])
        assert may_start(BOTH, shapes(BOTH), [BOTH])


class TestHasRoom:
    FIVE = BarsCall((BTCUSD,), 0, PAGE_MS - 1)
    ONE = BarsCall((Work(msgspec.structs.replace(BTCUSD.asset, bars=BarSize.ONE_MINUTE)),), 0, PAGE_MS - 1)

    def test_for_as_many_pages_of_five_minutes_as_are_in_flight_at_once(self) -> None:
        assert has_room(self.FIVE, [self.FIVE] * (MAX_IN_FLIGHT - 1), 3 * MAX_UNSAVED_BARS)

    def test_for_two_pages_of_minutes_in_whatever_state(self) -> None:
        assert has_room(self.ONE, [self.ONE], 0)
        assert not has_room(self.ONE, [self.ONE, self.ONE], 0)
        assert not has_room(self.ONE, [self.ONE], 50_000)
        assert has_room(self.FIVE, [self.ONE], 50_000)

    def test_for_any_call_alone_and_for_prices(self) -> None:
        years = BarsCall(self.ONE.work, 0, 30 * PAGE_MS)
        assert has_room(years, [], 200_000)
        assert has_room(years, [BOTH], 200_000)


def grant(name: str) -> Grant:
    return Grant(name, 0.0)


class TestInFlight:
    def test_are_out_at_the_same_time(self) -> None:
        meeting = threading.Barrier(3, timeout=10)
        with closing(InFlight(3)) as in_flight:
            for number in range(3):
                in_flight.prepare()
                in_flight.start(
                    Request(FOREX_BARS, 0), grant(str(number)), meeting.wait
                )  # returns when all are there
            assert in_flight.is_full
            landed = [in_flight.next(10) for _ in range(3)]
        assert sorted(one.answer for one in landed if one) == [0, 1, 2]
        assert (in_flight.requests, in_flight.is_full) == ([], False)

    def test_a_single_one_is_made_in_the_callers_thread(self) -> None:
        with closing(InFlight(1)) as in_flight:
            in_flight.prepare()
            in_flight.start(Request(FOREX_BARS, 0), grant("a"), threading.current_thread)
            landed = in_flight.next(0)
        assert landed
        assert landed.answer is threading.main_thread()

    @pytest.mark.parametrize("most", [1, 2])
    def test_a_refusal_lands_like_an_answer(self, most: int) -> None:
        def refuse() -> Any:
            raise Refusal(RefusalKind.PROVIDER_DOWN, "no")

        with closing(InFlight(most)) as in_flight:
            in_flight.prepare()
            in_flight.start(Request(FOREX_BARS, 0), grant("a"), refuse)
            landed = in_flight.next(10)
        assert landed
        assert landed.refusal
        assert landed.refusal.kind is RefusalKind.PROVIDER_DOWN

    @pytest.mark.parametrize("most", [1, 2])
    def test_any_other_error_is_raised_where_the_answer_is_awaited(self, most: int) -> None:
        def fly() -> None:
            with closing(InFlight(most)) as in_flight:
                in_flight.prepare()
                in_flight.start(Request(FOREX_BARS, 0), grant("a"), lambda: 1 // 0)
                in_flight.next(10)

        with pytest.raises(ZeroDivisionError):
            fly()

    def test_nothing_has_landed_in_time(self) -> None:
        go = threading.Event()
        with closing(InFlight(2)) as in_flight:
            in_flight.prepare()
            in_flight.start(Request(FOREX_BARS, 0), grant("a"), lambda: go.wait(10))
            assert in_flight.next(0) is None
            assert len(in_flight.requests) == 1
            go.set()
            assert in_flight.next(10)
