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
"""Pause until a gap that a failed call has left is asked for again, beyond the queue's own retries."""

UNUSABLE_AGAIN_AT_MOST_MS = 30 * DAY_MS
"""Maximum pause until an unusable bar is asked for again: the provider seldom mends one."""

REJECTED_AGAIN_MS = HOUR_MS
"""Minimum pause until something is asked for again that the database has refused. The pauses double, and
`init` ends them."""

REJECTED_AGAIN_AT_MOST_MS = 24 * HOUR_MS
"""Maximum of the same."""


NOTHING_AGAIN_MS = (7 * DAY_MS, 30 * DAY_MS, 180 * DAY_MS)
"""Pauses until something of the past is asked for again that an answer did not have: the provider fills holes
weeks to years later, or never. The last one counts for all further answers."""


def nothing_pause_ms(answers_before: int) -> int:
    """Return the pause after an answer that did not have something, as did so many answers in a row before
    it."""
    return NOTHING_AGAIN_MS[min(answers_before, len(NOTHING_AGAIN_MS) - 1)]


def doubling_ms(lasted_ms: int) -> int:
    """Return the pause after refusals in a row that have lasted for `lasted_ms`."""
    return min(REJECTED_AGAIN_AT_MOST_MS, max(REJECTED_AGAIN_MS, lasted_ms))


def worth_a_call(interval: CoveredInterval, now_ms: int, *paused: IntervalState) -> bool:
    """Return whether an interval is in none of the states that have pauses, or its pause is over.

    One that is wanted again has none before a call for it fails.
    """
    if interval.state is IntervalState.AGAIN and interval.error is None:
        return True
    return interval.state not in paused or now_ms - (interval.asked_ms or 0) >= failed_pause_ms(interval)


def failed_pause_ms(failed: CoveredInterval) -> int:
    """Return for how long a failed interval is left alone.

    The pauses of unusable bars double: they are as long as the bar was old when it was asked for. Those of
    bars that the database refuses double too.
    """
    if failed.state is IntervalState.REJECTED:
        return doubling_ms((failed.asked_ms or 0) - failed.start_ms)
    if failed.fault is not IntervalFault.UNUSABLE_BAR or failed.asked_ms is None:
        return FAILED_AGAIN_MS
    return min(UNUSABLE_AGAIN_AT_MOST_MS, max(FAILED_AGAIN_MS, failed.asked_ms - failed.end_ms))


NOT_FOUND_AGAIN_MS = 24 * HOUR_MS
"""Maximum pause until a ticker is asked for again that the provider does not know."""

NOT_ENTITLED_AGAIN_MS = 24 * HOUR_MS
"""Pause until something is asked for again that the plan lacks."""

NO_DATA_AGAIN_MS = 6 * HOUR_MS
"""Pause until bars are asked for again after an empty answer."""

NO_SNAPSHOT_AGAIN_MS = HOUR_MS
"""The same for a snapshot: the provider empties them after midnight."""

BARS_AGAIN_MS = HOUR_MS // 2
"""Pause until the latest bars whose call has failed are queued again."""


def rejection_pause_ms(stored: StoredAsset, now_ms: int) -> int:
    """Return for how long a symbol is left alone that the database refuses; 0 if that time is over."""
    if stored.rejected_ms is None:
        return 0
    since_ms = stored.rejected_ms if stored.rejected_since_ms is None else stored.rejected_since_ms
    pause_ms = doubling_ms(stored.rejected_ms - since_ms)
    return pause_ms if abs(now_ms - stored.rejected_ms) < pause_ms else 0


def no_data_pause_ms(*, by_snapshot: bool) -> int:
    """Return for how long an asset is left alone after an answer without a price."""
    return NO_SNAPSHOT_AGAIN_MS if by_snapshot else NO_DATA_AGAIN_MS


def not_found_pause_ms(stored: StoredAsset) -> int:
    """Return for how long it is believed that a ticker does not exist.

    After a success that is as long as the success lay back, so that the pauses double. Without one it is the
    maximum.
    """
    if stored.last_sync_ms is None or stored.status_at_ms is None:
        return NOT_FOUND_AGAIN_MS
    return min(NOT_FOUND_AGAIN_MS, max(DOUBTED_MS, stored.status_at_ms - stored.last_sync_ms))
