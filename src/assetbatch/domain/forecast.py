"""When what waits in the queue will be done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil

import msgspec

from assetbatch.domain.assets import Asset
from assetbatch.domain.calls import choose_calls, share_of_shared
from assetbatch.domain.due import RUN_QUEUE_MS, assess, expected_next_start
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.models import SNAPSHOT_TICKERS, StoredAsset
from assetbatch.domain.queueing import CallLimit, Lane
from assetbatch.domain.records import CycleRecord
from assetbatch.domain.units import MINUTE_MS
from assetbatch.domain.work import Work

CALL_SECONDS_GUESS = 1.0
"""How long a call takes, as long as no cycle has measured it."""

CALLING_SECONDS = 50
"""How much of each minute run-queue makes calls: the rest is for starting, storing and ending in time."""


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """How many calls are ahead, and how long they take at the rate that is free for the queue."""

    calls: int
    calls_per_minute: float
    minutes: float
    done_ms: int


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What is configured of the calls.

    `priority_assets` need some every `interval_ms`; `assets` are all; `call_limit` says how many there are.
    """

    priority_assets: Sequence[Asset]
    assets: Sequence[Asset]
    interval_ms: int
    call_limit: CallLimit


class QueueLoad(msgspec.Struct, frozen=True, kw_only=True):
    """What the queue has to do and how fast it was.

    `queued` counts by lane what waits, is delayed or leased. `pages_elsewhere` counts pages of the past that
    are not in the queue yet; `calls_saved` of all pages cost no call, since the plan does not show them.
    `starts_ms` are the last starts of run-priority, `cycles` the last of run-queue.
    """

    queued: Mapping[Lane, int]
    pages_elsewhere: int = 0
    calls_saved: int = 0
    starts_ms: Sequence[int] = ()
    cycles: Sequence[CycleRecord] = ()


def forecast(
    budget: Budget, load: QueueLoad, known: Entitlements, stored: Mapping[str, StoredAsset], now_ms: int
) -> Forecast:
    """Return when all work of the load will be done; `stored` has the priority assets."""
    queued, interval_ms = load.queued, budget.interval_ms
    next_ms = expected_next_start(load.starts_ms or (now_ms,), interval_ms)
    one_by_one = queued[Lane.BARS] + queued[Lane.HISTORY]
    prices = sum(queued.values()) - one_by_one
    shared = round(prices * share_of_shared(budget.assets, known, now_ms))
    prices += -(-shared // SNAPSHOT_TICKERS) - shared
    limit, window_ms = budget.call_limit
    return estimate(
        calls=max(0, prices + one_by_one + load.pages_elsewhere - load.calls_saved),
        limit=limit,
        window_ms=window_ms,
        priority_calls=priority_calls(budget.priority_assets, stored, known, next_ms),
        interval_ms=interval_ms,
        call_seconds=seconds_of_a_call(budget.call_limit, load.cycles),
        now_ms=now_ms,
    )


def priority_calls(
    assets: Iterable[Asset], stored: Mapping[str, StoredAsset], known: Entitlements, at_ms: int
) -> int:
    """Return how many calls a priority cycle at `at_ms` will need: those for what will be due then."""
    due = [
        item for item in map(Work, assets) if assess(item, stored.get(item.asset.symbol), known, at_ms).due
    ]
    return len(choose_calls(due, stored, known, at_ms))


def seconds_of_a_call(call_limit: CallLimit, cycles: Iterable[CycleRecord]) -> float:
    """Return how long a call of these cycles took in the mean; 0 if only the limit decides how many there
    are."""
    if call_limit.limit / call_limit.window_ms * 1000 <= 1:
        return 0.0
    return _median([cycle.duration_ms / 1000 / cycle.calls for cycle in cycles if cycle.calls])


def calls_per_minute(
    call_limit: CallLimit, priority_calls: int, *, interval_ms: int, call_seconds: float
) -> float:
    """Return how many calls a minute are free for the queue.

    They are the `limit` of a window less what priority takes each `interval_ms`, and no more than one call
    after the other: `call_seconds` is 0 if only the limit counts.
    """
    allowed = call_limit.limit * MINUTE_MS / call_limit.window_ms
    # priority cannot take all of it for ever
    per_minute = max(allowed - priority_calls * MINUTE_MS / interval_ms, allowed / 100)
    return min(per_minute, CALLING_SECONDS / call_seconds) if call_seconds else per_minute


def turn_moments(
    lanes: Iterable[Lane],
    *,
    prices_at_once: int,
    free: int,
    free_at_ms: int,
    per_minute: float,
    window_ms: int,
    start_ms: int,
) -> Iterator[int]:
    """Yield about when the call for each item goes out, for items in the order in which they are served.

    One call brings `prices_at_once` prices, or one item of bars or history. From `start_ms` on `free` calls
    can be made at once; if none is free, as many at `free_at_ms` as `per_minute` leaves of a window, since
    calls that were made together are free together. So it goes on, each window.
    """
    first_ms = start_ms if free else max(start_ms, free_at_ms)
    each_window = per_minute * window_ms / MINUTE_MS
    at_once = free or max(1, int(each_window))
    prices = alone = 0
    for lane in lanes:
        if lane in (Lane.BARS, Lane.HISTORY):
            alone += 1
        else:
            prices += 1
        calls = alone + -(-prices // prices_at_once)
        yield first_ms + ceil(max(0, calls - at_once) / each_window) * window_ms


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2] if values else CALL_SECONDS_GUESS


def estimate(
    *,
    calls: int,
    limit: int,
    window_ms: int,
    priority_calls: int,
    interval_ms: int,
    call_seconds: float,
    now_ms: int,
) -> Forecast:
    """Return the forecast for a number of calls.

    The rate is that of `calls_per_minute`.
    """
    per_minute = calls_per_minute(
        CallLimit(limit, window_ms), priority_calls, interval_ms=interval_ms, call_seconds=call_seconds
    )
    minutes = calls / per_minute
    wait_ms = min(RUN_QUEUE_MS, interval_ms) / 2 if calls else 0  # until cron starts run-queue, in the mean
    return Forecast(
        calls=calls,
        calls_per_minute=round(per_minute, 2),
        minutes=round(minutes, 1),
        done_ms=round(now_ms + wait_ms + minutes * MINUTE_MS),
    )
