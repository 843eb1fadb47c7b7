"""The contents of a plan, and the provider's words for what it does not include."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from assetbatch.domain.market_hours import day_of, last_midnight, start_of_day, years_before

NOT_ENTITLED = "You are not entitled to this data. Please upgrade your plan at https://massive.com/pricing"
TODAY_NOT_YET = (
    "Attempted to request today's data before end of day. "
    "Please upgrade your plan at https://massive.com/pricing"
)
NO_TIMEFRAME = (
    "Your plan doesn't include this data timeframe. Please upgrade your plan at https://massive.com/pricing"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """The rights of a key.

    It allows `limit` requests in any `window_seconds` (None: unlimited). `realtime` allows today's data,
    the snapshots, quotes and conversions. `history_years` is how far back bars go (None: all). `intraday`
    allows bars shorter than a day. `kinds` are the provider's asset classes in the plan.
    """

    name: str
    limit: int | None
    window_seconds: float = 60.0
    realtime: bool = True
    history_years: int | None = None
    intraday: bool = True
    kinds: frozenset[str] = frozenset({"fx", "crypto"})


PLANS = {
    "basic": Plan("basic", limit=5, realtime=False, history_years=2),
    "starter": Plan("starter", limit=None),
}
"""The two plans that differ in what they allow, by name."""


def history_start(plan: Plan, now_ms: int) -> int | None:
    """Return the first moment of the plan's history, a New York midnight, or None if it has all history."""
    return None if plan.history_years is None else years_before(now_ms, plan.history_years)


def refuse_range(plan: Plan, now_ms: int, from_ms: int, to_ms: int, *, intraday: bool) -> str | None:
    """Return the provider's message if the plan does not include bars of `[from_ms, to_ms]`, else None."""
    oldest_ms = history_start(plan, now_ms)
    if (intraday and not plan.intraday) or (oldest_ms is not None and from_ms < oldest_ms):
        return NO_TIMEFRAME
    if not plan.realtime:
        tomorrow_ms = start_of_day(day_of(now_ms) + timedelta(days=1))
        if to_ms >= tomorrow_ms:
            return NO_TIMEFRAME  # what users saw for dates in the future
        if to_ms >= last_midnight(now_ms):
            return TODAY_NOT_YET
    return None
