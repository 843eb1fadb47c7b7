"""What the members of a rule will take."""

from __future__ import annotations

from typing import Any

import pytest

from assetbatch.commands.init import RuleReport
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Rule
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.outlook import Outlook, outlook
from assetbatch.domain.queueing import CallLimit
from assetbatch.domain.rules import RIGHT_HINT

FREE, PAID = Entitlements(end_of_day=True), Entitlements(end_of_day=False)
FIVE_A_MINUTE = CallLimit(5, 60_000)
NOW = 1_764_500_000_000


def of(members: int | None = 12_500, days: int = 0, known: Entitlements = FREE, **rule: Any) -> Outlook:
    options = {"every": AssetType.STOCKS, "bars": BarSize.NONE, **rule}
    return outlook(Rule(**options), members, days, known, FIVE_A_MINUTE, 1000, NOW)


def test_one_call_a_day_keeps_a_whole_market_on_the_free_plan() -> None:
    found = of()
    assert (found.lookup_calls, found.price_calls, found.is_day_shared) == (13, 1, True)


def test_the_words_say_what_a_call_brings() -> None:
    assert "13 calls a day to look them up, 1 call a day for all prices; the first fill" in of().words
    assert "13 calls a day to look them up, 50 calls for all prices; the first fill" in of(known=PAID).words
    assert of().words.endswith("3 min or more")


def test_two_years_of_days_take_a_hundred_minutes() -> None:
    found = of(days=502)
    assert (found.calls, found.rows) == (516, 12_500 * 504)
    assert 100 * 60 < found.seconds < 105 * 60


def test_snapshots_bring_250_members_each() -> None:
    found = of(known=PAID)
    assert (found.price_calls, found.is_day_shared) == (50, False)


def test_bars_take_a_call_for_each_member_on_the_free_plan() -> None:
    found = of(bars=BarSize.FIVE_MINUTES)
    assert found.price_calls == 12_500
    assert found.words.endswith(
        "(hint: queue.max_size is 1,000, too few for their prices; "
        "with `bars: none` one call a day brings all)"
    )


def test_no_way_out_is_named_that_the_plan_does_not_have() -> None:
    found = of(every=AssetType.INDICES)
    assert found.hint == "queue.max_size is 1,000, too few for their prices"


def test_a_rule_that_nothing_fits_is_asked_about() -> None:
    assert of(0).hint == of(None, exchange=("NYSE",)).hint == RIGHT_HINT


@pytest.mark.parametrize("is_complete", [True, False])
def test_init_names_the_way_out_too(is_complete: bool) -> None:
    hint = of(bars=BarSize.FIVE_MINUTES).hint
    done = RuleReport(
        rule="stocks", members=4000, new=4000, gone=0, calls=4, is_complete=is_complete, hint=hint
    )
    assert done.words.endswith("with `bars: none` one call a day brings all)")


def test_before_the_first_look_the_number_is_an_estimate() -> None:
    found = of(None, exchange=("XNYS",), kind=("CS",))
    assert not found.is_counted
    assert found.words.startswith("rule stocks/XNYS/CS: about 1,700 members, 2 calls a day to look them up")
