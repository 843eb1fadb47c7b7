"""`enqueue-secondary`: queues the secondary assets that are due, then bars, then pages of the past."""

from __future__ import annotations

from assetbatch.commands.backfill import enqueue_missing_pages
from assetbatch.commands.common import enqueue, enqueue_bars, load, split_due, symbols
from assetbatch.commands.result import (
    LEASE_SLACK_SECONDS,
    AssetReport,
    CycleResult,
    new_result,
    planned,
    recorded,
    skipped,
)
from assetbatch.deadline import Deadline
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.queueing import Lane
from assetbatch.domain.records import ENQUEUE_SECONDARY
from assetbatch.domain.work import Work
from assetbatch.refresh.progress import Progress
from assetbatch.services import Services


def enqueue_secondary(
    services: Services, deadline: Deadline, progress: Progress, *, dry_run: bool = False
) -> CycleResult:
    """Puts every enabled secondary asset that is due into the queue, once; then the bars that snapshots
    have left behind; then, as far as half of the queue is free, pages of the past that are missing."""
    result = new_result(services, ENQUEUE_SECONDARY)
    known = services.entitlements()
    if dry_run:
        assets = services.config.enabled_secondary_assets
        work = [Work(asset) for asset in assets]
        stored = services.store.load(symbols(assets))
        due, _ = split_due(services, known, work, stored)
        return planned(result, [f"enqueue {item.id} as {item.asset.priority}" for item in due])
    with services.locks.hold(ENQUEUE_SECONDARY, deadline.seconds + LEASE_SLACK_SECONDS) as held:
        if not held:
            return skipped(services, result)
        services.history.start(ENQUEUE_SECONDARY, result.started_ms)
        progress.began()
        with recorded(services, result):
            result.assets = enqueue_due(services, result, known)
            result.queue_size = services.queue.state().size
            result.result = "partial" if result.dropped or result.failed else "nothing"
            if result.result == "nothing" and result.enqueued:
                result.result = "ok"
    return result


def enqueue_due(services: Services, result: CycleResult, known: Entitlements) -> list[AssetReport]:
    """Queue all work that PostgreSQL shows to be due: what a queue needs to be whole again after a loss.

    Returns reports of the secondary assets for which there is nothing to do.
    """
    work = [Work(asset) for asset in services.config.enabled_secondary_assets]
    stored = load(services, result, symbols(services.config.assets))
    due, rest = split_due(services, known, work, stored)
    with services.queue.derived():
        enqueue(services, result, [(item.id, Lane.of(item.asset.priority)) for item in due])
        fresh = {report.symbol for report in rest}
        enqueue_bars(services, result, known, {s: stored[s] for s in stored if s in fresh})
        result.enqueued += enqueue_missing_pages(services, services.config.assets, stored, known)
    return rest
