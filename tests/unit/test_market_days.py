"""Which days of the past of a whole market are missing."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import islice

import pytest

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Rule
from assetbatch.domain.entitlements import Entitlements, KnownRestriction, Restriction
from assetbatch.domain.market_days import is_useful, left_alone, missing_days, wanted_from
from assetbatch.domain.market_hours import to_ms
from assetbatch.domain.models import AnsweredDay
from assetbatch.domain.units import DAY_MS

NOW = to_ms(datetime(2026, 11, 28, 12, 0, tzinfo=UTC))  # the Saturday after Thanksgiving
FREE = Entitlements(end_of_day=True)
STOCKS = AssetType.STOCKS


def rule(years: int, every: AssetType = STOCKS) -> Rule:
    return Rule(every=every, years_of_days=years)


class TestWanted:
    def test_begin_as_long_ago_as_the_rule_that_wants_most(self) -> None:
        rules = [rule(1), rule(2), rule(9, AssetType.CRYPTO)]
        assert wanted_from(rules, STOCKS, NOW) == date(2024, 11, 28)

    def test_are_none_where_no_rule_wants_any(self) -> None:
        assert wanted_from([rule(0), rule(1, AssetType.CRYPTO)], STOCKS, NOW) is None
        assert wanted_from([], STOCKS, NOW) is None

    def test_are_none_of_a_class_that_has_no_day_of_its_market(self) -> None:
        assert wanted_from([rule(2, AssetType.INDICES)], AssetType.INDICES, NOW) is None


@pytest.mark.parametrize(
    ("bars", "useless", "useful"),
    [(12_400, 100, True), (1, 0, True), (2, 1, True), (1, 1, False), (0, 12_500, False), (0, 0, False)],
)
def test_an_answer_is_useful_if_most_of_its_rows_are_sound(bars: int, useless: int, *, useful: bool) -> None:
    assert is_useful(bars, useless) is useful


@pytest.mark.parametrize(("bars", "days"), [(0, 7), (-1, 30), (-2, 180), (-3, 180), (-40, 180)])
def test_a_day_is_left_alone_for_longer_after_each_answer_of_no_use(bars: int, days: int) -> None:
    day = date(2026, 3, 2)
    for late_ms, alone in ((-1, {day}), (0, set())):
        answered = AnsweredDay(day, NOW - days * DAY_MS - late_ms, bars)
        assert left_alone([answered], NOW) == alone


def test_a_day_that_came_is_left_alone_for_ever() -> None:
    day = date(2024, 12, 2)
    assert left_alone([AnsweredDay(day, 0, 1)], NOW) == {day}


class TestMissing:
    def test_are_the_days_of_trading_newest_first_without_the_one_of_the_prices(self) -> None:
        """Friday's comes with the prices, Thursday was a holiday."""
        found = list(islice(missing_days(STOCKS, date(2024, 1, 1), (), FREE, NOW), 3))
        assert found == [date(2026, 11, 25), date(2026, 11, 24), date(2026, 11, 23)]

    def test_are_none_before_the_first_day(self) -> None:
        assert list(missing_days(STOCKS, date(2026, 11, 24), (), FREE, NOW)) == [
            date(2026, 11, 25),
            date(2026, 11, 24),
        ]

    def test_leave_out_what_was_answered(self) -> None:
        answered = {date(2026, 11, 24)}
        assert list(missing_days(STOCKS, date(2026, 11, 23), answered, FREE, NOW)) == [
            date(2026, 11, 25),
            date(2026, 11, 23),
        ]

    def test_are_none_where_the_plan_has_no_day_of_a_market(self) -> None:
        refused = KnownRestriction(
            restriction=Restriction.GROUPED,
            asset_type=STOCKS,
            since_ms=NOW - 1,
            until_ms=NOW + 1,
            message="no",
        )
        known = Entitlements(end_of_day=True, restrictions=[refused])
        assert list(missing_days(STOCKS, date(2024, 1, 1), (), known, NOW)) == []
