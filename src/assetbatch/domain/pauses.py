"""How long work is left alone after a failure, an empty answer or a refusal."""

from __future__ import annotations

from assetbatch.domain.entitlements import DOUBTED_MS
from assetbatch.domain.models import (
    CoveredInterval,
    IntervalFault,
    IntervalState,
    StoredAsset,
)
from assetbatch.domain.units import DAY_MS, HOUR_MS

FAILED_AGAIN_MS = 6 * HOUR_MS
"""When a hole that a failed call has left is asked for again, beyond the queue's own retries."""

UNUSABLE_AGAIN_AT_MOST_MS = 30 * DAY_MS
"""The longest pause until a slot is asked for again whose bar was of no use: the provider seldom mends
one."""

REJECTED_AGAIN_MS = HOUR_MS

REJECTED_AGAIN_AT_MOST_MS = 24 * HOUR_MS
"""The first and the longest pause until something is asked for again that the database has refused; between
them the pauses double. `init` ends them."""


def doubling_ms(lasted_ms: int) -> int:
    """The pause after refusals in a row that have lasted so long."""
    return min(REJECTED_AGAIN_AT_MOST_MS, max(REJECTED_AGAIN_MS, lasted_ms))


def worth_a_call(stretch: CoveredInterval, now_ms: int, *paused: IntervalState) -> bool:
    """Whether a stretch is in none of the states that have pauses, or its pause is over."""
    return stretch.state not in paused or now_ms - (stretch.asked_ms or 0) >= failed_pause_ms(stretch)


def failed_pause_ms(failed: CoveredInterval) -> int:
    """How long a failed stretch is left alone; a slot whose bar was of no use for as long as it was old when
    it was asked for, so that the pauses double, and so with bars that the database refuses."""
    if failed.state is IntervalState.REJECTED:
        return doubling_ms((failed.asked_ms or 0) - failed.start_ms)
    if failed.fault is not IntervalFault.UNUSABLE_BAR or failed.asked_ms is None:
        return FAILED_AGAIN_MS
    return min(UNUSABLE_AGAIN_AT_MOST_MS, max(FAILED_AGAIN_MS, failed.asked_ms - failed.end_ms))


NOT_FOUND_AGAIN_MS = 24 * HOUR_MS

NOT_ENTITLED_AGAIN_MS = 24 * HOUR_MS

NO_DATA_AGAIN_MS = 6 * HOUR_MS

BARS_AGAIN_MS = HOUR_MS // 2
"""When the latest bars whose calls have failed are queued again."""


def rejection_pause_ms(stored: StoredAsset, now_ms: int) -> int:
    """How long a symbol is left alone that the database refuses, where that time is not over; else 0."""
    if stored.rejected_ms is None:
        return 0
    since_ms = stored.rejected_ms if stored.rejected_since_ms is None else stored.rejected_since_ms
    pause_ms = doubling_ms(stored.rejected_ms - since_ms)
    return pause_ms if abs(now_ms - stored.rejected_ms) < pause_ms else 0


def not_found_pause_ms(stored: StoredAsset) -> int:
    """How long it is believed that a ticker does not exist: after a success for as long as that lay back, so
    that the pauses double; else for as long as can be."""
    if stored.last_sync_ms is None or stored.status_at_ms is None:
        return NOT_FOUND_AGAIN_MS
    return min(NOT_FOUND_AGAIN_MS, max(DOUBTED_MS, stored.status_at_ms - stored.last_sync_ms))
