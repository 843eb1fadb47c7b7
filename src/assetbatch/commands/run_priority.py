"""`run-priority`: run one cycle over the priority assets."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from assetbatch.commands.common import (
    account,
    asset_report,
    enqueue_bars,
    load_chunk,
    plan_lines,
    raise_if_down,
    running_engine,
    symbols,
)
from assetbatch.commands.result import (
    judge,
    lease_seconds,
    log_unended,
    new_result,
    planned,
    recorded,
    skipped,
)
from assetbatch.deadline import Deadline
from assetbatch.domain.assets import Asset
from assetbatch.domain.due import expected_next_start
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.forecast import priority_calls
from assetbatch.domain.formatting import listed
from assetbatch.domain.records import Command, CycleOutcome
from assetbatch.domain.results import CycleResult
from assetbatch.domain.status import Status
from assetbatch.domain.units import MINUTE_MS
from assetbatch.domain.work import Work
from assetbatch.refresh.batch import BatchReport, WorkOwner
from assetbatch.refresh.inflight import calls_at_once
from assetbatch.refresh.policy import PRIORITY
from assetbatch.refresh.progress import Progress
from assetbatch.services import Services
from assetbatch.state.locks import Place

log = logging.getLogger("assetbatch")


def run_priority(
    services: Services, deadline: Deadline, progress: Progress, *, dry_run: bool = False
) -> CycleResult:
    """Run one cycle over the enabled priority assets in their order, with at most one call for each.

    Skip a second start while one runs. At the end, reserve the slots that the next cycle will need. Raise
    AssetbatchError if the cycle cannot be run at all.
    """
    result = new_result(services, Command.RUN_PRIORITY)
    assets = services.config.enabled_priority_assets
    if not services.config.batch.priority_assets_enabled:
        result.result = CycleOutcome.DISABLED
        return result
    if dry_run:
        return planned(result, plan_lines(services, services.entitlements(), [Work(a) for a in assets]))
    with services.locks.hold(Command.RUN_PRIORITY, lease_seconds(deadline)) as place:
        if not place:
            return skipped(services, result)
        started = services.history.start(Command.RUN_PRIORITY, result.started_ms)
        log_unended(started)
        progress.began()
        with recorded(services, result) as calls:
            known = services.entitlements()
            chunk, _ = load_chunk(services, result, [Work(asset) for asset in assets])
            with running_engine(services, known, deadline, progress, result, calls, started) as engine:
                report = engine.run(chunk, PRIORITY, _LockOwner(place))
            account(result, report)
            result.assets += [
                asset_report(done, chunk.stored[done.work.asset.symbol]) for done in report.results
            ]
            order = {asset.symbol: position for position, asset in enumerate(assets)}
            result.assets.sort(key=lambda asset: order[asset.symbol])
            _log_failures(report)
            judge(result, deadline)
            enqueue_bars(services, result, known, chunk.stored)
            _reserve_next(services, known, assets, started.starts_ms, report.calls)
            if not deadline.stopped:  # a call that was cut short says nothing of the provider
                raise_if_down([report])
    return result


class _LockOwner(WorkOwner):
    """Lets no call go out once another start has the lock of this one, which Redis had forgotten."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def lost_leases(self, work: Sequence[Work]) -> Collection[str]:
        if self._place.keep():
            return ()
        names = listed([item.asset.symbol for item in work])
        log.warning(
            "%s: left to another start, since redis has forgotten this one", names, extra={"is_event": True}
        )
        return [item.id for item in work]


def _log_failures(report: BatchReport) -> None:
    """Log a line for each reason that kept assets from their prices. Cron mails no line of an outage or of
    too many calls, which other lines report."""
    said = report.provider_down or report.too_many_calls
    alike: dict[tuple[bool, str], list[str]] = {}
    for done in report.results:
        if done.status not in (Status.SUCCESS, Status.FRESH):
            fine = done.status is Status.POSTPONED
            alike.setdefault((fine, done.error or done.status), []).append(done.work.asset.symbol)
    for (fine, error), names in alike.items():
        level = logging.INFO if fine or said else logging.WARNING
        extra: dict[str, object] = {"symbols": names}
        if len(names) == 1:
            extra["symbol"] = names[0]
        log.log(level, "%s: %s", listed(names), error, extra=extra)


def _reserve_next(
    services: Services, known: Entitlements, assets: Sequence[Asset], starts_ms: Sequence[int], calls: int
) -> None:
    """Reserve the slots that the next priority cycle will need: the calls for what will be due then, or on a
    plan with plenty of calls as many as this cycle has made."""
    interval_ms = services.config.batch.interval_minutes * MINUTE_MS
    at_ms = expected_next_start(starts_ms, interval_ms)
    if calls_at_once(services.config.call_limit) > 1:
        services.window.reserve(at_ms, calls, interval_ms)
        return
    needed = priority_calls(assets, services.store.load(symbols(assets)), known, at_ms)
    services.window.reserve(at_ms, needed, interval_ms)
