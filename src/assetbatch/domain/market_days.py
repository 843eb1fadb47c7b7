"""Days of the past of whole markets: which are missing for the members of rules."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import date, timedelta

from assetbatch.domain.asset_classes import AssetType, class_of_type
from assetbatch.domain.assets import Rule
from assetbatch.domain.entitlements import Entitlements, Restriction
from assetbatch.domain.market_hours import day_of, sessions, years_before
from assetbatch.domain.models import AnsweredDay
from assetbatch.domain.pauses import nothing_pause_ms


def is_useful(bars: int, useless: int) -> bool:
    """Return whether an answer with so many sound bars, and so many useless rows, is what a day of a market
    was.

    A few rows of thousands may be useless for ever. Half of them, or no row at all of a day of trading, is an
    answer that may be better another time.
    """
    return bars > useless


def left_alone(days: Iterable[AnsweredDay], now_ms: int) -> set[date]:
    """Return which of the days that were answered are not asked for now: those that came, and those whose
    answers were of no use for as long as their pause lasts."""
    return {
        one.day for one in days if one.bars > 0 or abs(now_ms - one.asked_ms) < nothing_pause_ms(-one.bars)
    }


def wanted_from(rules: Iterable[Rule], asset_type: AssetType, now_ms: int) -> date | None:
    """Return the first day that the rules for a class want of its whole market; None if they want none."""
    years = max((rule.years_of_days for rule in rules if rule.every is asset_type), default=0)
    if not years or class_of_type(asset_type).grouped_market is None:
        return None
    return day_of(years_before(now_ms, years))


def missing_days(
    asset_type: AssetType, first: date, answered: Collection[date], known: Entitlements, now_ms: int
) -> Iterator[date]:
    """Yield the days of a market that were not answered, newest first.

    The newest day that can be seen is left out: it comes with the prices.
    """
    if known.lacks(Restriction.GROUPED, asset_type, now_ms):
        return
    market = class_of_type(asset_type).market
    day = day_of(known.last_day_end_ms(asset_type, now_ms) - 1) - timedelta(days=1)
    while day >= first:
        if day not in answered and sessions(market, day):
            yield day
        day -= timedelta(days=1)
