"""`run-priority`: one cycle over the priority assets."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from assetbatch.commands.common import (
    Intake,
    account,
    asset_report,
    enqueue_bars,
    plan_lines,
    raise_if_down,
    refreshing,
    symbols,
)
from assetbatch.commands.result import (
    LEASE_SLACK_SECONDS,
    CycleResult,
    judge,
    new_result,
    planned,
    recorded,
    skipped,
)
from assetbatch.deadline import Deadline
from assetbatch.domain.assets import Asset
from assetbatch.domain.calls import plan
from assetbatch.domain.due import assess, expected_next_start
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.formatting import listed
from assetbatch.domain.queueing import CallKind
from assetbatch.domain.records import RUN_PRIORITY
from assetbatch.domain.status import Status
from assetbatch.domain.units import MINUTE_MS
from assetbatch.domain.work import Work
from assetbatch.refresh.batch import BatchReport, Holder
from assetbatch.refresh.inflight import calls_at_once
from assetbatch.refresh.progress import Progress
from assetbatch.services import Services
from assetbatch.state.locks import Place

log = logging.getLogger("assetbatch")


def run_priority(
    services: Services, deadline: Deadline, progress: Progress, *, dry_run: bool = False
) -> CycleResult:
    """One cycle over the enabled priority assets in their order, at most one call per asset.

    A second start while one runs is skipped. At the end the slots that the next cycle will need are
    reserved in the window. Raises AssetbatchError where the cycle cannot be run at all.
    """
    result = new_result(services, RUN_PRIORITY)
    assets = services.config.enabled_priority_assets
    if not services.config.batch.priority_assets_enabled:
        result.result = "disabled"
        return result
    if dry_run:
        return planned(result, plan_lines(services, services.entitlements(), [Work(a) for a in assets]))
    with services.locks.hold(RUN_PRIORITY, deadline.seconds + LEASE_SLACK_SECONDS) as place:
        if not place:
            return skipped(services, result)
        started = services.history.start(RUN_PRIORITY, result.started_ms)
        progress.began()
        with recorded(services, result) as calls:
            known = services.entitlements()
            intake = Intake(services, result, known)
            portion = intake.portion([Work(asset) for asset in assets])
            with refreshing(services, known, deadline, progress, result, calls, started) as refresher:
                holder = _PlaceHolder(place)
                report = refresher.run(portion, CallKind.PRIORITY, one_call_each=True, holder=holder)
            account(result, report)
            reports = {asset.symbol: asset for asset in intake.rest}
            for done in report.results:
                symbol = done.work.asset.symbol
                reports[symbol] = asset_report(done, intake.stored.get(symbol))
            result.assets = [reports[asset.symbol] for asset in assets if asset.symbol in reports]
            _say_failures(report)
            judge(result, deadline)
            enqueue_bars(services, result, known, intake.stored)
            _reserve_next(services, known, assets, started.starts_ms, report.calls)
            if not deadline.stopped:  # a call that was cut short says nothing of the provider
                raise_if_down(result, [report])
    return result


class _PlaceHolder(Holder):
    """Makes no call once another start has the place of this one, which Redis had forgotten."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def starts(self, work: Sequence[Work]) -> Collection[str]:
        if self._place.keep():
            return ()
        names = listed([item.asset.symbol for item in work])
        log.warning("%s: left to another start, since redis has forgotten this one", names)
        return [item.id for item in work]


def _say_failures(report: BatchReport) -> None:
    """A line for each thing that kept assets from their prices; none that cron would mail where another line
    says it already: of a provider that is down, or wants no calls now."""
    said = report.provider_down or report.too_many_calls
    alike: dict[tuple[bool, str], list[str]] = {}
    for done in report.results:
        if done.status is not Status.SUCCESS:
            fine = done.status in (Status.POSTPONED, Status.FRESH)
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
    """Keeps free what the next priority cycle will need, computed from what will be due then; on a plan with
    plenty of calls, what this one has made."""
    interval_ms = services.config.batch.interval_minutes * MINUTE_MS
    at_ms = expected_next_start(starts_ms, interval_ms)
    if calls_at_once(services.config.call_limit) > 1:
        services.window.reserve(at_ms, calls, interval_ms)
        return
    stored = services.store.load(symbols(assets))
    due = [
        item for item in map(Work, assets) if assess(item, stored.get(item.asset.symbol), known, at_ms).due
    ]
    services.window.reserve(at_ms, len(plan(due, stored, known, at_ms)), interval_ms)
