"""What the run commands have in common: the state of their assets, what is due, what goes into the queue."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from assetbatch.commands.result import AssetReport, CycleResult
from assetbatch.deadline import Deadline
from assetbatch.domain.assets import Asset
from assetbatch.domain.calls import describe, plan
from assetbatch.domain.due import assess, bars_to_queue
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.metrics import CallMade
from assetbatch.domain.models import StoredAsset
from assetbatch.domain.queueing import Lane
from assetbatch.domain.records import Started
from assetbatch.domain.status import Status
from assetbatch.domain.work import Work, WorkKind, parse_work_id
from assetbatch.errors import UnreachableError
from assetbatch.refresh.batch import BatchReport, Portion
from assetbatch.refresh.engine import Refresher
from assetbatch.refresh.interpretation import Result
from assetbatch.refresh.progress import Progress
from assetbatch.refresh.reporter import Reporter
from assetbatch.services import Services

log = logging.getLogger("assetbatch")


def symbols(assets: Sequence[Asset]) -> list[str]:
    """Their names, in their order."""
    return [asset.symbol for asset in assets]


def load(services: Services, result: CycleResult, symbols: Sequence[str]) -> dict[str, StoredAsset]:
    """What is stored of these symbols; what was stored but never published is published now."""
    stored = services.store.load(symbols)
    missed = services.events.publish_missed(stored.values())
    for price in missed:
        log.info("%s: published now, an earlier cycle has stored it only", price.symbol)
    result.published += len(missed)
    return stored


def known_work(services: Services, ids: Sequence[str]) -> tuple[list[Work], list[str]]:
    """The work that queue ids stand for, and the ids whose asset is not in the configuration (any more)."""
    by_symbol = services.config.assets_by_symbol
    work, gone = [], []
    for item_id in ids:
        parsed = parse_work_id(item_id)
        if parsed.symbol in by_symbol:
            work.append(Work(by_symbol[parsed.symbol], *parsed[1:]))
        else:
            gone.append(item_id)
    return work, gone


def enqueue(services: Services, result: CycleResult, items: Sequence[tuple[str, Lane]]) -> None:
    """Queues items; prices that found no room are named in the result and in the log."""
    if not items:
        return
    enqueued = services.queue.enqueue(items)
    result.enqueued += len(enqueued.added)
    # bars and pages that had to make room are queued again by themselves
    dropped = [item_id for item_id in enqueued.dropped if parse_work_id(item_id).kind is WorkKind.PRICE]
    result.dropped += dropped
    if dropped:
        log.warning(
            "the queue is full (%d): dropped %s (hint: raise queue.max_size, or enable fewer assets)",
            services.queue.max_size,
            ", ".join(dropped),
        )


def enqueue_bars(
    services: Services, result: CycleResult, known: Entitlements, stored: Mapping[str, StoredAsset]
) -> None:
    """Queues the bars that snapshots leave behind, after all prices."""
    now_ms = services.now_ms()
    by_symbol = services.config.assets_by_symbol
    items = [
        (Work(by_symbol[symbol], WorkKind.BARS).id, Lane.BARS)
        for symbol, of_symbol in stored.items()
        if bars_to_queue(by_symbol[symbol], of_symbol, known, now_ms)
    ]
    enqueue(services, result, items)


def split_due(
    services: Services, known: Entitlements, work: Sequence[Work], stored: Mapping[str, StoredAsset]
) -> tuple[list[Work], list[AssetReport]]:
    """The work that is due, in its order, and reports of the assets for which there is nothing to do:
    they are fresh, or not registered, so that an answer could not be stored."""
    now_ms = services.now_ms()
    due, rest = [], []
    reason = "not registered in the database (hint: run assetbatch init)"
    missing = dict.fromkeys(item.asset.symbol for item in work if item.asset.symbol not in stored)
    if missing:
        log.warning("%s: %s", ", ".join(missing), reason)
    for item in work:
        if item.asset.symbol not in stored:
            rest.append(AssetReport(symbol=item.asset.symbol, status=Status.FAILED.value, detail=reason))
            continue
        verdict = assess(item, stored[item.asset.symbol], known, now_ms)
        log.debug("%s: %s, %s", item.id, "due" if verdict.due else "fresh", verdict.why.text)
        too_old = verdict.restriction is not None and item.kind is WorkKind.HISTORY
        if verdict.due or too_old:  # what is too old goes on record as such, without a call
            due.append(item)
            continue
        before = stored[item.asset.symbol]
        rest.append(
            AssetReport(
                symbol=item.asset.symbol,
                status=Status.FRESH.value,
                kind=item.kind.value,
                last_price=before.last_price,
                as_of_ms=before.as_of_ms,
                detail=verdict.why.text,
                paused=verdict.paused,
            )
        )
    return due, rest


class Intake:
    """The work that a cycle has looked at so far, portion by portion."""

    def __init__(self, services: Services, result: CycleResult, known: Entitlements) -> None:
        self._services = services
        self._result = result
        self._known = known
        self.stored: dict[str, StoredAsset] = {}
        """What was stored of its assets."""
        self.rest: list[AssetReport] = []
        """Reports of those for which there is nothing to do."""

    def portion(self, work: Sequence[Work]) -> Portion:
        """What of this work is due. Raises RedisError or DatabaseError."""
        found = load(self._services, self._result, [item.asset.symbol for item in work])
        self.stored.update(found)
        due_at_ms = self._services.now_ms()
        due, rest = split_due(self._services, self._known, work, found)
        self.rest += rest
        return Portion(due, found, due_at_ms)


@contextmanager
def refreshing(
    services: Services,
    known: Entitlements,
    deadline: Deadline,
    progress: Progress,
    result: CycleResult,
    calls: list[CallMade],
    started: Started,
) -> Iterator[Refresher]:
    """The refresher of one cycle, whose calls and waits are accounted for however the cycle ends."""
    refresher = Refresher(
        provider=lambda: services.provider,
        store=lambda: services.store,
        window=services.window,
        entitlement_store=services.entitlement_store,
        events=services.events,
        known=known,
        now_ms=services.now_ms,
        deadline=deadline,
        slowest_call_seconds=None if started.slowest_call_ms is None else started.slowest_call_ms / 1000,
        reporter=Reporter(services.history, services.now_ms, progress),
    )
    try:
        yield refresher
    finally:
        result.calls = refresher.calls
        result.waits = refresher.reporter.waits
        calls += refresher.reporter.calls


def asset_report(result: Result, stored: StoredAsset | None) -> AssetReport:
    """What became of a piece of work, with the price that is known now."""
    price = result.price
    return AssetReport(
        symbol=result.work.asset.symbol,
        status=result.status,
        kind=result.work.kind,
        last_price=price.last_price if price else stored.last_price if stored else None,
        as_of_ms=price.as_of_ms if price else stored.as_of_ms if stored else None,
        bars=result.bars,
        detail=result.error,
    )


def account(result: CycleResult, report: BatchReport) -> None:
    """Adds what a batch did to the cycle's result."""
    result.bars_written += report.bars_new + report.bars_corrected
    result.bars_corrected += report.bars_corrected
    result.bars_refused += report.bars_refused
    result.bars_filled += report.bars_filled
    result.prices_refused += report.prices_refused
    result.published += report.published
    result.too_many_calls |= report.too_many_calls


def raise_if_down(result: CycleResult, reports: Sequence[BatchReport]) -> None:
    """Raises UnreachableError where every batch found the provider down."""
    if reports and all(report.provider_down for report in reports):
        reason = next(asset.detail for asset in result.failed if asset.status == Status.FAILED.value)
        raise UnreachableError(
            f"the API cannot be reached: {reason}",
            hint=reports[-1].down_hint or "is the network up, and provider.base_url right?",
        )


def plan_lines(services: Services, known: Entitlements, work: Sequence[Work]) -> list[str]:
    """What would be called for this work now, and why; fresh assets with the reason."""
    now_ms = services.now_ms()
    stored = services.store.load([item.asset.symbol for item in work])
    verdicts = {item.id: assess(item, stored.get(item.asset.symbol), known, now_ms) for item in work}
    due = [item for item in work if verdicts[item.id].due]
    lines: list[str] = []
    for call in plan(due, stored, known, now_ms):
        reasons = dict.fromkeys(verdicts[item.id].why.text for item in call.work)
        lines.append(f"call {len(lines) + 1}: {describe(call)} ({'; '.join(reasons)})")
    lines += [f"no call: {item_id} ({v.why.text})" for item_id, v in verdicts.items() if not v.due]
    return lines
