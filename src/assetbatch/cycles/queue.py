"""`run-queue`: works what waits. A start that finds nothing waiting loads little and asks Redis only."""

from __future__ import annotations

from assetbatch.bounds import Bound
from assetbatch.cycles.result import (
    LEASE_SLACK_SECONDS,
    CycleResult,
    judge,
    new_result,
    planned,
    recorded,
    skipped,
)
from assetbatch.progress import Progress
from assetbatch.services import Services
from assetbatch.state.journal import RUN_QUEUE

DRY_RUN_ITEMS = 250


def run_queue(services: Services, bound: Bound, progress: Progress, *, dry_run: bool = False) -> CycleResult:
    """Works the pending queue until it is empty, the time is over or no call is free within it.

    Raises AssetbatchError where the cycle cannot be run at all; leased work is handed back then.
    """
    result = new_result(services, RUN_QUEUE)
    if dry_run:
        from assetbatch.cycles.work import known_work, plan_lines

        work, lines = known_work(services, services.queue.peek(DRY_RUN_ITEMS))
        return planned(result, plan_lines(services, services.entitlements(), work) + lines)
    holders = services.config.queue.max_concurrency
    with services.locks.hold(RUN_QUEUE, bound.seconds + LEASE_SLACK_SECONDS, holders) as held:
        if not held:
            return skipped(services, result)
        started = services.journal.start(RUN_QUEUE, result.started_ms)
        progress.began()
        with recorded(services, result) as calls:
            if services.queue.state().size:
                from assetbatch.cycles.draining import work_queue

                work_queue(services, bound, progress, result, calls, started)
            else:
                result.ended_because = "empty"
                result.queue_size = 0
                judge(result, bound)
    return result
