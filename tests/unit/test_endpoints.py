"""The endpoints: a call in words, and what a refusal of it restricts."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, cast, get_args
from zoneinfo import ZoneInfo

import pytest

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.calls import (
    BarsCall,
    Call,
    GroupedDayCall,
    MarketSnapshotCall,
    PreviousDayCall,
    SnapshotCall,
)
from assetbatch.domain.entitlements import Restriction
from assetbatch.domain.market_hours import start_of_day, to_ms
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.units import DAY_MS, HOUR_MS
from assetbatch.domain.work import Work
from assetbatch.refresh.endpoints import ENDPOINTS, describe, endpoint_of
from assetbatch.refresh.endpoints.bars import history_edge
from assetbatch.refresh.endpoints.endpoint import ShownRestriction

EURUSD = Asset(symbol="EURUSD", polygon_ticker="C:EURUSD", asset_type=AssetType.FOREX)
BTCUSD = Asset(symbol="BTCUSD", polygon_ticker="X:BTCUSD", asset_type=AssetType.CRYPTO)
WORK = (Work(EURUSD),)
TODAY = date(2026, 11, 18)
MIDNIGHT = to_ms(datetime(2026, 11, 18, tzinfo=ZoneInfo("America/New_York")))
NOW = MIDNIGHT + 10 * HOUR_MS


def restriction(call: Call, kind: RefusalKind, now_ms: int) -> ShownRestriction | None:
    shown: ShownRestriction | None = endpoint_of(call).restriction(call, kind, now_ms)
    return shown


def test_every_type_of_call_has_its_endpoint() -> None:
    assert set(ENDPOINTS) == set(get_args(Call))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (SnapshotCall((Work(EURUSD), Work(BTCUSD))), "snapshot of 2 tickers"),
        (MarketSnapshotCall((Work(EURUSD),), AssetType.FOREX), "forex snapshot of 1 ticker"),
        (
            GroupedDayCall((Work(EURUSD),), AssetType.FOREX, date(2026, 11, 17)),
            "daily bars of all forex on 2026-11-17, for 1 ticker",
        ),
        (
            BarsCall((Work(EURUSD),), MIDNIGHT, NOW - 1),
            "5-minute bars of C:EURUSD, 2026-11-18 05:00 UTC to 2026-11-18 15:00 UTC",
        ),
        (PreviousDayCall((Work(EURUSD),)), "previous day of C:EURUSD"),
    ],
)
def test_a_call_in_words(call: Call, words: str) -> None:
    assert describe(call) == words


class TestWhatARefusalRestricts:
    NOW = MIDNIGHT + 10 * 3_600_000
    OLD = NOW - 60 * DAY_MS
    OLDEST = NOW - 800 * DAY_MS

    @pytest.mark.parametrize(
        ("call", "kind", "lack"),
        [
            (SnapshotCall(WORK), RefusalKind.NOT_IN_PLAN, Restriction.SNAPSHOT),
            (MarketSnapshotCall(WORK, AssetType.FOREX), RefusalKind.NOT_IN_PLAN, Restriction.MARKET_SNAPSHOT),
            (GroupedDayCall(WORK, AssetType.FOREX, TODAY), RefusalKind.TIMEFRAME, Restriction.GROUPED),
            (BarsCall(WORK, 0, NOW), RefusalKind.TODAY_NOT_YET, Restriction.TODAY),
            (BarsCall(WORK, 0, MIDNIGHT - 1), RefusalKind.TODAY_NOT_YET, Restriction.LAST_DAY),
            (BarsCall(WORK, OLD, OLD + DAY_MS), RefusalKind.TODAY_NOT_YET, None),
            (BarsCall(WORK, MIDNIGHT - DAY_MS, MIDNIGHT - 1), RefusalKind.TIMEFRAME, Restriction.INTRADAY),
            (BarsCall(WORK, OLDEST, OLDEST + DAY_MS), RefusalKind.TIMEFRAME, Restriction.HISTORY),
            (BarsCall(WORK, OLD, OLD + DAY_MS), RefusalKind.TIMEFRAME, None),
            (BarsCall(WORK, 0, NOW), RefusalKind.NOT_IN_PLAN, Restriction.BARS),
            (SnapshotCall(WORK), RefusalKind.TODAY_NOT_YET, Restriction.SNAPSHOT),
            (
                MarketSnapshotCall(WORK, AssetType.FOREX),
                RefusalKind.UNKNOWN_TICKER,
                Restriction.MARKET_SNAPSHOT,
            ),
            (GroupedDayCall(WORK, AssetType.FOREX, TODAY), RefusalKind.TODAY_NOT_YET, Restriction.LAST_DAY),
            (PreviousDayCall(WORK), RefusalKind.NOT_IN_PLAN, Restriction.PREVIOUS_DAY),
            (PreviousDayCall(WORK), RefusalKind.TIMEFRAME, None),
            (BarsCall(WORK, 0, NOW), RefusalKind.UNKNOWN_TICKER, None),
            (SnapshotCall(WORK), RefusalKind.PROVIDER_DOWN, None),
        ],
    )
    def test_about_the_plan(self, call: Call, kind: RefusalKind, lack: Restriction | None) -> None:
        shown = restriction(call, kind, self.NOW)
        assert (shown.restriction if shown else None) is lack

    @pytest.mark.parametrize(
        ("first", "edge"),
        [
            (date(2024, 11, 1), date(2024, 11, 18)),
            (date(2024, 11, 18), date(2024, 11, 19)),
            (date(2024, 11, 19), None),
        ],
    )
    def test_a_refused_history_begins_two_years_ago_or_a_day_later(
        self, first: date, edge: date | None
    ) -> None:
        last_ms = start_of_day(date(2024, 12, 5)) - 1
        assert history_edge(BarsCall(WORK, start_of_day(first), last_ms), self.NOW) == (
            start_of_day(edge) if edge else 0
        )

    @pytest.mark.parametrize(
        ("kind", "call", "edge"),
        [
            (
                RefusalKind.TODAY_NOT_YET,
                GroupedDayCall(WORK, AssetType.FOREX, date(2026, 11, 17)),
                date(2026, 11, 18),
            ),
            (RefusalKind.TODAY_NOT_YET, BarsCall(WORK, 0, MIDNIGHT - 1), TODAY),
            (RefusalKind.TIMEFRAME, BarsCall(WORK, OLDEST, OLDEST + DAY_MS), date(2024, 11, 18)),
            (RefusalKind.TODAY_NOT_YET, BarsCall(WORK, 0, NOW), None),
            (RefusalKind.NOT_IN_PLAN, SnapshotCall(WORK), None),
        ],
    )
    def test_the_moment_of_a_restriction(self, kind: RefusalKind, call: Call, edge: date | None) -> None:
        shown = restriction(call, kind, self.NOW)
        assert shown is not None
        assert shown.edge_ms == (start_of_day(edge) if edge else 0)

    def test_on_a_leap_day_a_history_of_two_years_begins_on_the_28th(self) -> None:
        now_ms = start_of_day(date(2028, 2, 29)) + HOUR_MS
        call = BarsCall(WORK, start_of_day(date(2026, 2, 1)), start_of_day(date(2026, 2, 10)))
        assert history_edge(call, now_ms) == start_of_day(date(2026, 2, 28))


@pytest.mark.parametrize(
    ("call", "kind", "lack"),
    [
        (BarsCall((Work(BTCUSD),), 0, MIDNIGHT), RefusalKind.TODAY_NOT_YET, Restriction.TODAY),
        (BarsCall((Work(BTCUSD),), 0, MIDNIGHT - 1), RefusalKind.TODAY_NOT_YET, Restriction.LAST_DAY),
        (BarsCall((Work(BTCUSD),), 0, NOW - 4 * DAY_MS + 1), RefusalKind.TODAY_NOT_YET, Restriction.LAST_DAY),
        (BarsCall((Work(BTCUSD),), 0, NOW - 4 * DAY_MS), RefusalKind.TODAY_NOT_YET, None),
        (BarsCall((Work(BTCUSD),), NOW - 41 * DAY_MS, NOW), RefusalKind.TIMEFRAME, Restriction.INTRADAY),
        (BarsCall((Work(BTCUSD),), NOW - 41 * DAY_MS - 1, NOW), RefusalKind.TIMEFRAME, None),
        (PreviousDayCall((Work(BTCUSD),)), RefusalKind.UNKNOWN_TICKER, None),
        (SnapshotCall((Work(BTCUSD),)), RefusalKind.KEY, None),
    ],
)
def test_where_a_refusal_turns_from_one_lack_into_another(
    call: Call, kind: RefusalKind, lack: Restriction | None
) -> None:
    shown = restriction(call, kind, NOW)
    assert (shown.restriction if shown else None) is lack


def test_the_day_before_a_leap_day_is_no_leap_day() -> None:
    now_ms = to_ms(datetime(2028, 2, 28, 12, tzinfo=ZoneInfo("America/New_York")))
    began = to_ms(datetime(2026, 2, 27, tzinfo=ZoneInfo("America/New_York")))
    edge = to_ms(datetime(2026, 2, 28, tzinfo=ZoneInfo("America/New_York")))
    assert history_edge(BarsCall((Work(BTCUSD),), began, edge), now_ms) == edge


def test_on_the_29th_of_another_month_and_in_another_february_the_day_is_the_same() -> None:
    for month, day in ((1, 29), (3, 29), (2, 27)):
        now_ms = to_ms(datetime(2028, month, day, 12, tzinfo=ZoneInfo("America/New_York")))
        edge = to_ms(datetime(2026, month, day, tzinfo=ZoneInfo("America/New_York")))
        assert history_edge(BarsCall((Work(BTCUSD),), edge - 1, edge), now_ms) == edge


class Recorder:
    """The client, the learner and the reporter in one: keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []

    def previous_day(self, ticker: str, symbol: str, *, deadline_seconds: float) -> None:
        self.heard.append((ticker, symbol, deadline_seconds))

    def answered(self, *arguments: object) -> None:
        self.heard.append(arguments)


class TestThePreviousDay:
    CALL = PreviousDayCall(WORK)

    def test_is_asked_of_its_ticker_within_the_time_that_is_left(self) -> None:
        provider = Recorder()
        endpoint_of(self.CALL).send(cast("Any", provider), self.CALL, None, 7.5)
        assert provider.heard == [("C:EURUSD", "EURUSD", 7.5)]

    def test_shows_that_the_plan_has_it_for_its_ticker(self) -> None:
        learner = Recorder()
        endpoint_of(self.CALL).observe(self.CALL, None, NOW, cast("Any", learner), cast("Any", learner))
        assert learner.heard == [(Restriction.PREVIOUS_DAY, AssetType.FOREX, "C:EURUSD")]
