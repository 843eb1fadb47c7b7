"""What is in the queue and when its turn is; taking work out of it. Asks Redis only."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from assetbatch.domain.calls import shares_calls
from assetbatch.domain.due import RUN_QUEUE_MS, RUN_QUEUE_SILENT_MS, expected_next_start
from assetbatch.domain.forecast import calls_per_minute, seconds_of_a_call, turn_moments
from assetbatch.domain.models import SNAPSHOT_TICKERS
from assetbatch.domain.queueing import Cancelled, ItemState, Lane, QueuedItem
from assetbatch.domain.records import Command, JobState
from assetbatch.domain.units import MINUTE_MS
from assetbatch.domain.work import parse_work_id
from assetbatch.services import Services
from assetbatch.state.history import CYCLES_FOR_FORECAST


class QueueEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An item of the queue and its turn.

    `place` counts what waits, from 1 for what is served next; None for what is leased or delayed. `turn_ms`
    is about when its call goes out, or the moment of its next attempt; None for what is being worked, and as
    long as nobody starts run-queue.
    """

    item: QueuedItem
    place: int | None = None
    turn_ms: int | None = None


def list_queue(
    services: Services, names: Collection[str] = (), lanes: Collection[Lane] = ()
) -> list[QueueEntry]:
    """Return what the queue holds: what is being worked, what waits in its order, what is delayed.

    `names` are symbols or ids, and `lanes` are classes; without any of them all items are returned. Nothing
    is taken.
    """
    items = services.queue.items()
    waiting = [item for item in items if item.state is ItemState.WAITING]
    moments: list[int | None] = list(_turns(services, items, waiting))
    places = {item.id: (n, moment) for n, (item, moment) in enumerate(zip(waiting, moments, strict=True), 1)}
    entries = []
    for item in items:
        if (names and not _is_named(item.id, names)) or (lanes and item.lane not in lanes):
            continue
        place, turn_ms = places.get(item.id, (None, None))
        if item.state is ItemState.DELAYED:
            turn_ms = item.until_ms
        entries.append(QueueEntry(item=item, place=place, turn_ms=turn_ms))
    return entries


def cancel(services: Services, names: Collection[str]) -> Cancelled:
    """Take the work of these symbols or ids out of the queue, or all work if none is named.

    What is being worked stays. The coverage of the bars says nothing else than before.
    """
    ids = [item.id for item in services.queue.items() if not names or _is_named(item.id, names)]
    return services.queue.cancel(ids)


def _is_named(item_id: str, names: Collection[str]) -> bool:
    return item_id in names or parse_work_id(item_id).symbol in names


def _turns(
    services: Services, items: Sequence[QueuedItem], waiting: Sequence[QueuedItem]
) -> Sequence[int | None]:
    """Return about when the call for each waiting item goes out; None as long as nobody starts run-queue."""
    if not waiting:
        return []
    now_ms = services.now_ms()
    job = services.history.job(Command.RUN_QUEUE)
    is_running = any(item.state is ItemState.LEASED for item in items)
    start_ms = now_ms if is_running else next_start(job, now_ms)
    if start_ms is None:
        return [None] * len(waiting)
    config, known, window = services.config, services.entitlements(), services.window.state()
    per_minute = calls_per_minute(
        config.call_limit,
        window.reserved,
        interval_ms=config.batch.interval_minutes * MINUTE_MS,
        call_seconds=seconds_of_a_call(
            config.call_limit, services.history.cycles(Command.RUN_QUEUE, CYCLES_FOR_FORECAST)
        ),
    )
    return list(
        turn_moments(
            (item.lane for item in waiting),
            prices_at_once=SNAPSHOT_TICKERS if shares_calls(config.assets, known, now_ms) else 1,
            free=window.remaining,
            free_at_ms=window.next_slot_for(start_ms),
            per_minute=per_minute,
            window_ms=config.call_limit.window_ms,
            start_ms=start_ms,
        )
    )


def next_start(job: JobState, now_ms: int) -> int | None:
    """Return when run-queue is expected to start next; None if it was not started for a while."""
    if job.last_started_ms is None or now_ms - job.last_started_ms > RUN_QUEUE_SILENT_MS:
        return None
    return max(now_ms, expected_next_start(job.starts_ms, RUN_QUEUE_MS))
