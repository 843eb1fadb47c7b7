"""`enqueue-secondary`: queue the secondary assets that are due, then bars, then pages of the past."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from assetbatch.commands.backfill import enqueue_missing_pages, missing_pages
from assetbatch.commands.common import (
    UNREGISTERED,
    ask_again,
    asset_report,
    bars_left,
    enqueue,
    enqueue_bars,
    enqueue_references,
    load,
    reference_items,
    references_left,
    symbols,
    unregistered,
)
from assetbatch.commands.result import (
    lease_seconds,
    log_unended,
    new_result,
    planned,
    recorded,
    skipped,
)
from assetbatch.deadline import Deadline
from assetbatch.domain.assets import Asset
from assetbatch.domain.due import assess
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.formatting import listed, plural
from assetbatch.domain.models import StoredAsset
from assetbatch.domain.queueing import Lane
from assetbatch.domain.records import Command, CycleOutcome
from assetbatch.domain.results import AssetReport, CycleResult
from assetbatch.domain.status import Status
from assetbatch.domain.units import MINUTE_MS
from assetbatch.domain.work import Work
from assetbatch.errors import NOTICE
from assetbatch.refresh.interpretation import Result
from assetbatch.refresh.progress import Progress
from assetbatch.services import Services
from assetbatch.state.history import CYCLES_KEPT

if TYPE_CHECKING:  # few starts meet any
    from assetbatch.domain.references import Reference

log = logging.getLogger("assetbatch")

EMPTIED = "redis was emptied or is another server; no price and no bar is lost"
KEPT = "attempts, dead letters and metrics begin anew; assetbatch doctor looks at the persistence of redis"
CLOCKS_APART_MS = MINUTE_MS
"""How far the clocks of Redis and PostgreSQL may be apart."""


def enqueue_secondary(
    services: Services, deadline: Deadline, progress: Progress, *, dry_run: bool = False
) -> CycleResult:
    """Put every enabled secondary asset that is due into the queue, once; then the reference data that are
    due, and the bars that snapshots have left behind; then, as far as half of the queue is free, pages of the
    past that are missing."""
    result = new_result(services, Command.ENQUEUE_SECONDARY)
    known = services.entitlements()
    if dry_run:
        return planned(result, _plan(services, known))
    with services.locks.hold(Command.ENQUEUE_SECONDARY, lease_seconds(deadline)) as held:
        if not held:
            return skipped(services, result)
        started = services.history.start(Command.ENQUEUE_SECONDARY, result.started_ms)
        log_unended(started)
        progress.began()
        with recorded(services, result):
            result.assets = enqueue_due(services, result, known)
            result.queue_size = services.queue.state().size
            result.result = CycleOutcome.PARTIAL if result.dropped or result.failed else CycleOutcome.NOTHING
            if result.result is CycleOutcome.NOTHING and result.enqueued:
                result.result = CycleOutcome.OK
    return result


def enqueue_due(services: Services, result: CycleResult, known: Entitlements) -> list[AssetReport]:
    """Queue all work that PostgreSQL shows to be due: what a queue needs to be whole again after a loss.

    Return reports of the secondary assets for which there is nothing to do.
    """
    if services.queue.state().leased:  # before this server is known: what it was not there for is no fault
        services.dead_processes.free()
    services.load_members()
    stored = load(services, result, symbols(services.config.assets))
    due, rest = due_prices(services, known, services.config.enabled_secondary_assets, stored)
    was_emptied = not services.queue.was_derived() and is_older(
        stored.values(), remembered_since_ms(services, result)
    )
    with services.queue.derived():
        enqueue(services, result, price_items(services, due, stored, known))
        fresh = {report.symbol for report in rest}
        enqueue_references(services, result, references_left(services, stored))
        enqueue_bars(services, result, known, {s: stored[s] for s in stored if s in fresh})
        result.enqueued += enqueue_missing_pages(services, services.config.assets, stored, known)
    if was_emptied:
        log.log(NOTICE, "%s: %s queued again (hint: %s)", EMPTIED, plural(result.enqueued, "item"), KEPT)
    return rest


def _plan(services: Services, known: Entitlements) -> list[str]:
    """Return what a start would queue now: a line for each price and bars, and how many pages of the past."""
    services.load_members()
    assets = services.config.assets
    stored = ask_again(services, services.store.load(symbols(assets)), dry_run=True)
    due, rest = due_prices(services, known, services.config.enabled_secondary_assets, stored)
    fresh = {report.symbol for report in rest}
    bars = bars_left(services, known, {symbol: one for symbol, one in stored.items() if symbol in fresh})
    pages = missing_pages(services, assets, stored, known)
    single = [*reference_items(references_left(services, stored)), *((item.id, Lane.BARS) for item in bars)]
    queued = services.queue.known([*(item_id for item_id, _ in single), *(item.id for item in pages)])
    items = [*price_items(services, due, stored, known), *(one for one in single if one[0] not in queued)]
    lines = [f"enqueue {words} as {lane}" for words, lane in _in_words(items)]
    if new := sum(item.id not in queued for item in pages):
        lines.append(f"enqueue {plural(new, 'page')} of the past as {Lane.HISTORY}")
    if services.config.enabled_rules:
        from assetbatch.commands.members import foreseen

        lines += [outlook.words for outlook in foreseen(services)]
    return lines


def _in_words(items: Sequence[tuple[str, Lane]]) -> list[tuple[str, Lane]]:
    """Return items of the queue in words, in the order in which their lanes are served. The days of a market
    are one line."""
    from assetbatch.domain.item_words import work_in_words
    from assetbatch.domain.references import days_in_words, parse_reference

    lines: dict[tuple[str, Lane], list[Reference]] = {}
    for item_id, lane in sorted(items, key=lambda item: item[1].rank):
        reference = parse_reference(item_id)
        market = reference.market if reference else ""
        of_line = lines.setdefault((market or work_in_words(item_id), lane), [])
        of_line += [reference] if reference and market else []
    return [(days_in_words(days) if days else words, lane) for (words, lane), days in lines.items()]


def price_items(
    services: Services, due: Sequence[Work], stored: Mapping[str, StoredAsset], known: Entitlements
) -> list[tuple[str, Lane]]:
    """Return the items of the queue for prices that are due."""
    members = services.config.members_by_symbol
    if not members:
        return [(item.id, Lane.of(item.asset.priority)) for item in due]
    from assetbatch.domain.groups import as_items

    coming = services.classes_looked_up_first()
    return as_items(due, members, stored, known, services.now_ms(), coming)


def is_older(stored: Iterable[StoredAsset], remembered_since_ms: int) -> bool:
    """Return whether PostgreSQL has results from before the first start that Redis remembers."""
    first_ms = min((one.status_at_ms for one in stored if one.status_at_ms), default=remembered_since_ms)
    return first_ms < remembered_since_ms - CLOCKS_APART_MS


def remembered_since_ms(services: Services, result: CycleResult) -> int:
    """Return when the first start was that Redis remembers: this one at the latest. 0 if it keeps as many
    cycles as it may: then it has forgotten the first ones by itself."""
    moments = [result.started_ms]
    for command in Command:
        cycles = services.history.cycles(command)
        if len(cycles) == CYCLES_KEPT:
            return 0
        moments += [*services.history.job(command).starts_ms, *(cycle.started_ms for cycle in cycles)]
    return min(moments)


def due_prices(
    services: Services, known: Entitlements, assets: Sequence[Asset], stored: Mapping[str, StoredAsset]
) -> tuple[list[Work], list[AssetReport]]:
    """Return the prices that are due, in their order, and reports of the assets for which there is nothing to
    do: they are fresh, or not registered."""
    now_ms = services.now_ms()
    is_told = log.isEnabledFor(logging.DEBUG)  # else thousands of texts would be made for nobody
    due, rest = [], []
    for item in map(Work, assets):
        before = stored.get(item.asset.symbol)
        if before is None:
            rest.append(unregistered(item))
            continue
        verdict = assess(item, before, known, now_ms)
        if is_told:
            log.debug("%s: %s, %s", item.id, "due" if verdict.due else "fresh", verdict.why.text)
        if verdict.due:
            due.append(item)
        else:
            fresh = Result(work=item, status=Status.FRESH, error=verdict.why.text, paused=verdict.paused)
            rest.append(asset_report(fresh, before))
    missing = [report.symbol for report in rest if report.status == Status.FAILED]
    if missing:
        log.warning("%s: %s", listed(missing), UNREGISTERED, extra={"symbols": missing})
    return due, rest
