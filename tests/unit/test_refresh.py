"""The decisions of a batch: what follows from an answer or a refusal."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from assetbatch.assets import Asset, AssetType
from assetbatch.entitlements import Lack
from assetbatch.hours import to_ms
from assetbatch.market import BAR_MS, Bar
from assetbatch.planning import BarsCall, PreviousDayCall, SnapshotCall
from assetbatch.refresh import CONSEQUENCES, Status, lack_shown_by, price_from_bars
from assetbatch.vendor.refusals import RefusalKind

EURUSD = Asset(symbol="EURUSD", polygon_ticker="C:EURUSD", asset_type=AssetType.FOREX)
MIDNIGHT = to_ms(datetime(2026, 11, 18, tzinfo=ZoneInfo("America/New_York")))


class TestConsequences:
    def test_every_kind_of_refusal_has_one(self) -> None:
        assert set(CONSEQUENCES) == set(RefusalKind)

    def test_errors_are_not_swallowed_into_no_data(self) -> None:
        assert Status.NO_DATA not in {consequence.status for consequence in CONSEQUENCES.values()}
        assert Status.SUCCESS not in {consequence.status for consequence in CONSEQUENCES.values()}

    def test_only_what_another_try_cannot_help_is_final(self) -> None:
        final = {kind for kind, consequence in CONSEQUENCES.items() if consequence.final}
        assert final == {
            RefusalKind.NOT_IN_PLAN,
            RefusalKind.TODAY_NOT_YET,
            RefusalKind.TIMEFRAME,
            RefusalKind.UNKNOWN_TICKER,
        }

    def test_key_and_429_end_the_batch(self) -> None:
        ends = {kind for kind, consequence in CONSEQUENCES.items() if consequence.ends_batch}
        assert ends == {RefusalKind.KEY, RefusalKind.TOO_MANY_CALLS}


class TestWhatARefusalTeaches:
    NOW = MIDNIGHT + 10 * 3_600_000

    @pytest.mark.parametrize(
        ("call", "kind", "lack"),
        [
            (SnapshotCall((EURUSD,)), RefusalKind.NOT_IN_PLAN, Lack.SNAPSHOT),
            (BarsCall(EURUSD, 0, NOW), RefusalKind.TODAY_NOT_YET, Lack.TODAY),
            (BarsCall(EURUSD, 0, MIDNIGHT - 1), RefusalKind.TODAY_NOT_YET, Lack.LAST_DAY),
            (BarsCall(EURUSD, 0, MIDNIGHT - 1), RefusalKind.TIMEFRAME, Lack.INTRADAY),
            (BarsCall(EURUSD, 0, NOW), RefusalKind.NOT_IN_PLAN, None),
            (PreviousDayCall(EURUSD), RefusalKind.TIMEFRAME, None),
            (SnapshotCall((EURUSD,)), RefusalKind.VENDOR_DOWN, None),
        ],
    )
    def test_about_the_plan(
        self, call: SnapshotCall | BarsCall | PreviousDayCall, kind: RefusalKind, lack: Lack | None
    ) -> None:
        assert lack_shown_by(call, kind) is lack


class TestThePriceThatFollowsFromBars:
    BARS = (
        Bar(MIDNIGHT - BAR_MS, 1.0, 9.0, 0.5, 1.1),
        Bar(MIDNIGHT, 1.2, 1.3, 1.15, 1.25),
        Bar(MIDNIGHT + BAR_MS, 1.25, 1.4, 1.2, 1.35),
    )

    def test_is_the_last_close_as_of_the_end_of_its_bar(self) -> None:
        price = price_from_bars("EURUSD", self.BARS, MIDNIGHT + 3 * BAR_MS)
        assert (price.last_price, price.as_of_ms) == (1.35, MIDNIGHT + 2 * BAR_MS)

    def test_of_a_forming_bar_is_as_of_the_moment_it_was_asked(self) -> None:
        asked_ms = MIDNIGHT + BAR_MS + 1000
        assert price_from_bars("EURUSD", self.BARS, asked_ms).as_of_ms == asked_ms

    def test_has_the_daily_values_of_its_new_york_day(self) -> None:
        price = price_from_bars("EURUSD", self.BARS, MIDNIGHT + 3 * BAR_MS)
        assert (price.daily_open, price.daily_high, price.daily_low, price.daily_close) == (
            1.2,
            1.4,
            1.15,
            1.35,
        )

    def test_has_no_bid_and_ask(self) -> None:
        price = price_from_bars("EURUSD", self.BARS, MIDNIGHT + 3 * BAR_MS)
        assert (price.bid, price.ask) == (None, None)
