"""A day of an asset's bars, hour by hour."""

from __future__ import annotations

from datetime import UTC, datetime

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.market_hours import to_ms
from assetbatch.domain.models import IntervalState
from assetbatch.domain.units import DAY_MS, HOUR_MS, MINUTE_MS
from assetbatch.health.hours import Covered, HourState, days_of

FREE = Entitlements(end_of_day=True)
PAID = Entitlements(end_of_day=False)
NOW_MS = to_ms(datetime(2026, 11, 18, 15, 10, tzinfo=UTC))  # a Wednesday, 10:10 in New York
MIDNIGHT_MS = to_ms(datetime(2026, 11, 18, 5, tzinfo=UTC))
BTCUSD = Asset(symbol="BTCUSD", polygon_ticker="X:BTCUSD", asset_type=AssetType.CRYPTO)
XAUUSD = Asset(symbol="XAUUSD", polygon_ticker="C:XAUUSD", asset_type=AssetType.FOREX)
LETTERS = {
    HourState.STORED: "s",
    HourState.CLOSED: "c",
    HourState.PENDING: "p",
    HourState.MISSING: "m",
    HourState.FAILED: "f",
}


def hours(
    *coverage: Covered, asset: Asset = BTCUSD, known: Entitlements = PAID, now_ms: int = NOW_MS
) -> tuple[int, str]:
    """The end of the day, and a letter for each hour."""
    day = days_of([asset], {asset.symbol: coverage}, known, now_ms)[asset.symbol]
    return day.end_ms, "".join(LETTERS[hour] for hour in day.hours)


def asked(start_ms: int, end_ms: int) -> Covered:
    return start_ms, end_ms, IntervalState.ASKED


def test_a_day_that_is_stored_ends_with_the_hour_in_which_bars_are_on_their_way() -> None:
    end_ms = to_ms(datetime(2026, 11, 18, 16, tzinfo=UTC))
    assert hours(asked(0, NOW_MS)) == (end_ms, "s" * 23 + "p")


def test_what_nobody_has_asked_for_is_missing_but_not_while_it_is_young() -> None:
    assert hours()[1] == "m" * 23 + "p"
    assert hours(asked(0, NOW_MS - 3 * HOUR_MS))[1] == "s" * 20 + "mmm" + "p"


def test_the_gravest_part_of_an_hour_decides() -> None:
    start_ms = to_ms(datetime(2026, 11, 18, 10, tzinfo=UTC))
    for part, letter in (
        (IntervalState.ASKED, "s"),
        (IntervalState.NOT_IN_PLAN, "p"),
        (IntervalState.NOT_WANTED, "p"),
        (IntervalState.REQUESTED, "m"),
        (IntervalState.FAILED, "f"),
        (IntervalState.REJECTED, "f"),
    ):
        within = (
            asked(0, start_ms),
            (start_ms, start_ms + 5 * MINUTE_MS, part),
            asked(start_ms + 5 * MINUTE_MS, NOW_MS),
        )
        assert hours(*within)[1] == "s" * 18 + letter + "s" * 4 + "p", part


def test_five_minutes_between_two_intervals_are_missing() -> None:
    gap_ms = to_ms(datetime(2026, 11, 18, 10, 55, tzinfo=UTC))
    assert hours(asked(0, gap_ms), asked(gap_ms + 5 * MINUTE_MS, NOW_MS))[1] == "s" * 18 + "m" + "s" * 4 + "p"


def test_an_hour_of_a_closed_market_is_closed_whatever_is_known() -> None:
    assert hours(asked(0, NOW_MS), asset=XAUUSD)[1].count("c") == 1  # the metals' daily break
    sunday_ms = to_ms(datetime(2026, 11, 22, 15, tzinfo=UTC))
    assert hours(asset=XAUUSD, now_ms=sunday_ms)[1] == "c" * 24


def test_a_plan_that_shows_ended_days_only_has_the_last_of_them() -> None:
    assert hours(asked(0, NOW_MS), known=FREE) == (MIDNIGHT_MS, "s" * 24)
    assert hours(asked(0, MIDNIGHT_MS - HOUR_MS), known=FREE) == (MIDNIGHT_MS, "s" * 23 + "m")


def test_an_asset_without_bars_has_no_hours() -> None:
    bare = Asset(symbol="X", polygon_ticker="X:XUSD", asset_type=AssetType.CRYPTO, bars=BarSize.NONE)
    assert days_of([bare, BTCUSD], {}, PAID, NOW_MS).keys() == {"BTCUSD"}


def test_alike_assets_are_worked_out_once() -> None:
    days = days_of(
        [BTCUSD, Asset(symbol="ETHUSD", polygon_ticker="X:ETHUSD", asset_type=AssetType.CRYPTO)],
        {"BTCUSD": [asked(0, NOW_MS)], "ETHUSD": [asked(NOW_MS - 9 * DAY_MS, NOW_MS + 1)]},
        PAID,
        NOW_MS,
    )
    assert days["BTCUSD"].hours is days["ETHUSD"].hours
