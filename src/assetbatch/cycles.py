"""The three run commands: each start is one bounded, locked, recorded cycle.

Every function takes the services it needs and a Bound, and returns a CycleResult; errors that end a
cycle are raised after they have been recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from assetbatch.assets import Asset
from assetbatch.batch import BatchReport, Holder, Result, Status
from assetbatch.bounds import LAST_RESORT_SECONDS, Bound, boot_seconds
from assetbatch.entitlements import Entitlements
from assetbatch.errors import AssetbatchError, UnreachableError
from assetbatch.history import top_up
from assetbatch.market import SNAPSHOT_TICKERS, StoredAsset
from assetbatch.metrics import CallMade, Outcome, measure
from assetbatch.planning import (
    Work,
    WorkKind,
    assess,
    bars_to_queue,
    describe,
    expected_next_start,
    parse_work_id,
    plan,
    shares_calls,
)
from assetbatch.refresh import Refresher, time_for_calls
from assetbatch.report import WAITS_FOR, Progress, Reporter
from assetbatch.services import Services
from assetbatch.state.journal import ENQUEUE_SECONDARY, RUN_PRIORITY, RUN_QUEUE, CycleRecord
from assetbatch.state.queue import Empty, Failure, Lease, Line
from assetbatch.state.window import CallKind, Refused, new_call_id
from assetbatch.words import span

log = logging.getLogger("assetbatch")

DOWN_BATCHES = 2
"""After so many batches in a row that found the vendor down, a queue run ends: the rest is spared."""

LEASE_SLACK_SECONDS = LAST_RESORT_SECONDS
"""How much longer than its command's bound a lease or lock lives: by then no holder can be alive, and
a dead one's ends by itself before the next start but one."""

LEASE_CHECK_SECONDS = 5.0
"""A process that has slept for longer (a paused machine) asks whether its leased work is still its own."""

DRY_RUN_ITEMS = 250

WHAT_FOLLOWS = {
    "retry": "tried again later",
    "dead": "a dead letter now",
    "lost": "taken over by another process meanwhile",
}

TOO_MANY_CALLS = "the vendor said too many calls"


class AssetReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one piece of work. `status` is a batch.Status, `kind` a planning.WorkKind."""

    symbol: str
    status: str
    kind: str = WorkKind.PRICE.value
    last_price: float | None = None
    as_of_ms: int | None = None
    bars: int = 0
    detail: str | None = None


class CycleResult(msgspec.Struct, kw_only=True):
    """The outcome of one start.

    `result` is ok, nothing, postponed, partial, failed, stopped, skipped, disabled or planned.
    """

    command: str
    cycle_id: str
    result: str
    started_ms: int
    duration_ms: int = 0
    calls: int = 0
    waits: int = 0
    bars_written: int = 0
    bars_corrected: int = 0
    """How many of the written bars were stored before with other values."""
    bars_refused: int = 0
    """Bars of the answers that cannot be true."""
    published: int = 0
    assets: list[AssetReport] = msgspec.field(default_factory=list)
    plan: list[str] = msgspec.field(default_factory=list)
    enqueued: int = 0
    dropped: list[str] = msgspec.field(default_factory=list)
    queue_size: int | None = None
    ended_because: str | None = None
    error: str | None = None
    too_many_calls: bool = False
    """The vendor refused a call with 429: the window is full for everybody."""

    @property
    def failed(self) -> list[AssetReport]:
        """The assets that did not get what they were due."""
        fine = (Status.SUCCESS.value, Status.POSTPONED.value, Status.FRESH.value)
        return [asset for asset in self.assets if asset.status not in fine]

    @property
    def exit_code(self) -> int:
        """0 all done, nothing to do or skipped; 1 some assets failed or found no room in the queue."""
        return 1 if self.result in ("partial", "failed") or self.dropped else 0


@contextmanager
def _recorded(services: Services, result: CycleResult) -> Iterator[list[CallMade]]:
    """Writes the end of a cycle into the journal and the metrics, however it ends; yields the list that its
    calls go to."""
    began = boot_seconds()
    error: AssetbatchError | None = None
    calls: list[CallMade] = []
    try:
        yield calls
    except AssetbatchError as raised:
        error = raised
        raised.cycle = result
        raise
    finally:
        result.duration_ms = round((boot_seconds() - began) * 1000)
        if error:
            result.result = "failed"
            result.error = error.message
        record = CycleRecord(
            started_ms=result.started_ms,
            duration_ms=result.duration_ms,
            result=result.result,
            refreshed=sum(asset.status == Status.SUCCESS.value for asset in result.assets),
            failed=len(result.failed),
            fresh=sum(asset.status == Status.FRESH.value for asset in result.assets),
            calls=result.calls,
            error=error.message if error else TOO_MANY_CALLS if result.too_many_calls else None,
        )
        try:
            services.journal.finish(result.command, record)
            services.metrics.record(measure(_outcome(services, result), calls))
        except AssetbatchError:
            if not error:
                raise


def _outcome(services: Services, result: CycleResult) -> Outcome:
    ended_ms = services.now_ms()
    ages: dict[str, float] = {}
    if result.command == RUN_PRIORITY:
        prices = [asset for asset in result.assets if asset.as_of_ms is not None]
        ages = {asset.symbol: (ended_ms - (asset.as_of_ms or 0)) / 1000 for asset in prices}
    return Outcome(
        command=result.command,
        result=result.result,
        ended_ms=ended_ms,
        duration_ms=result.duration_ms,
        statuses=[asset.status for asset in result.assets],
        totals={
            "waits": result.waits,
            "bars_written": result.bars_written,
            "bars_corrected": result.bars_corrected,
            "bars_refused": result.bars_refused,
            "published": result.published,
            "enqueued": result.enqueued,
            "dropped": len(result.dropped),
        },
        queue_size=result.queue_size,
        ages_seconds=ages,
    )


def _new_result(services: Services, command: str) -> CycleResult:
    return CycleResult(
        command=command, cycle_id=services.cycle_id, result="nothing", started_ms=services.now_ms()
    )


def run_priority(
    services: Services, bound: Bound, progress: Progress, *, dry_run: bool = False
) -> CycleResult:
    """One cycle over the enabled priority assets in their order, at most one call per asset.

    A second start while one runs is skipped. At the end the slots that the next cycle will need are
    reserved in the window. Raises AssetbatchError where the cycle cannot be run at all.
    """
    result = _new_result(services, RUN_PRIORITY)
    assets = services.config.enabled_priority_assets
    if not services.config.batch.priority_assets_enabled:
        result.result = "disabled"
        return result
    if dry_run:
        return _planned(result, _plan_lines(services, services.entitlements(), [Work(a) for a in assets]))
    with services.locks.hold(RUN_PRIORITY, bound.seconds + LEASE_SLACK_SECONDS) as held:
        if not held:
            return _skipped(services, result)
        starts_ms = services.journal.start(RUN_PRIORITY, result.started_ms)
        progress.began()
        with _recorded(services, result) as calls:
            known = services.entitlements()
            stored = _load(services, result, _symbols(assets))
            due, rest = _due(services, known, [Work(asset) for asset in assets], stored)
            with _refreshing(services, known, bound, progress, result, calls) as refresher:
                report = refresher.run(due, stored, CallKind.PRIORITY, max_calls=len(due), one_call_each=True)
            _account(result, report)
            reports = {asset.symbol: asset for asset in rest}
            for done in report.results:
                symbol = done.work.asset.symbol
                reports[symbol] = _asset_report(done, stored.get(symbol))
            result.assets = [reports[asset.symbol] for asset in assets]
            _say_failures(report)
            _judge(result, bound)
            _enqueue_bars(services, result, known, stored)
            _reserve_next(services, known, assets, starts_ms)
            _raise_if_down(result, [report] if due else [])
    return result


def run_queue(services: Services, bound: Bound, progress: Progress, *, dry_run: bool = False) -> CycleResult:
    """Works the pending queue until it is empty, the time is over or no call is free within it.

    Raises AssetbatchError where the cycle cannot be run at all; leased work is handed back then.
    """
    result = _new_result(services, RUN_QUEUE)
    if dry_run:
        work, lines = _known_work(services, services.queue.peek(DRY_RUN_ITEMS))
        return _planned(result, _plan_lines(services, services.entitlements(), work) + lines)
    holders = services.config.queue.max_concurrency
    with services.locks.hold(RUN_QUEUE, bound.seconds + LEASE_SLACK_SECONDS, holders) as held:
        if not held:
            return _skipped(services, result)
        services.journal.start(RUN_QUEUE, result.started_ms)
        progress.began()
        with _recorded(services, result) as calls:
            known = services.entitlements()
            with _refreshing(services, known, bound, progress, result, calls) as refresher:
                reports = _drain(services, bound, refresher, known, progress, result)
            _judge(result, bound)
            result.queue_size = services.queue.state().size
            _raise_if_down(result, reports)
    return result


def _say_failures(report: BatchReport) -> None:
    """A line for each thing that kept assets from their prices; none that cron would mail where another line
    says it already: of a vendor that is down, or wants no calls now."""
    said = report.vendor_down or report.too_many_calls
    alike: dict[tuple[bool, str], list[str]] = {}
    for done in report.results:
        if done.status is not Status.SUCCESS:
            fine = done.status in (Status.POSTPONED, Status.FRESH)
            alike.setdefault((fine, done.error or done.status), []).append(done.work.asset.symbol)
    for (fine, error), symbols in alike.items():
        level = logging.INFO if fine or said else logging.WARNING
        extra = {"symbol": symbols[0]} if len(symbols) == 1 else {}
        log.log(level, "%s: %s", ", ".join(symbols), error, extra=extra)


def _skipped(services: Services, result: CycleResult) -> CycleResult:
    services.journal.skip(result.command)
    result.result = "skipped"
    return result


def _known_work(services: Services, ids: Sequence[str]) -> tuple[list[Work], list[str]]:
    """The work that queue ids stand for, and the ids whose asset is not in the configuration (any more)."""
    by_symbol = {asset.symbol: asset for asset in services.config.assets}
    work, gone = [], []
    for item_id in ids:
        parsed = parse_work_id(item_id)
        if parsed.symbol in by_symbol:
            work.append(Work(by_symbol[parsed.symbol], *parsed[1:]))
        else:
            gone.append(item_id)
    return work, gone


def _drain(
    services: Services,
    bound: Bound,
    refresher: Refresher,
    known: Entitlements,
    progress: Progress,
    result: CycleResult,
) -> list[BatchReport]:
    """Takes and works until a reason to end; each batch is accounted for in `result` as it ends."""
    reports: list[BatchReport] = []
    downs = 0
    token = new_call_id()
    waited = False
    result.ended_because = "out of time"
    while time_for_calls(bound) > 0 and not bound.stopped:
        if progress.watched:
            progress.worked(len(result.assets), services.queue.state().size)
        now_ms = services.now_ms()
        lease_seconds = bound.remaining() + LEASE_SLACK_SECONDS
        count = SNAPSHOT_TICKERS if shares_calls(services.config.assets, known, now_ms) else 1
        taken = services.queue.take(count, lease_seconds, services.window, token)
        if isinstance(taken, Empty):
            result.ended_because = "empty"
            break
        if isinstance(taken, Refused):
            if taken.wait_ms / 1000 > time_for_calls(bound):
                result.ended_because = f"out of calls for {span(taken.wait_ms)}: {WAITS_FOR[taken.reason]}"
                waited = True
                break
            refresher.reporter.waiting(taken, first=not waited)
            waited = True
            bound.wait(taken.wait_ms / 1000 + 0.001)
            continue
        waited, token = False, new_call_id()
        report = _work_lease(services, bound, refresher, known, taken, result)
        reports.append(report)
        if report.too_many_calls:
            result.ended_because = TOO_MANY_CALLS
            break
        downs = downs + 1 if report.vendor_down else 0
        if downs >= DOWN_BATCHES:
            result.ended_because = "the vendor is down"
            break
    if bound.stopped:
        result.ended_because = "stopped"
    if waited:
        services.window.leave(token)
    return reports


class _LeaseHolder(Holder):
    """Holds the leases of one take: renews them, and settles each item as soon as its result is stored."""

    def __init__(self, services: Services, bound: Bound, lease: Lease) -> None:
        self._services = services
        self._bound = bound
        self._token = lease.token
        self._open = {item.id for item in lease.items}
        self._held_since = boot_seconds()

    def lost(self, pending: Sequence[Work]) -> Collection[str]:
        if boot_seconds() - self._held_since < LEASE_CHECK_SECONDS:
            return ()
        self._held_since = boot_seconds()
        seconds = self._bound.remaining() + LEASE_SLACK_SECONDS
        gone = self._services.queue.extend(self._token, [item.id for item in pending], seconds)
        if gone:
            log.warning("taken over by another process meanwhile: %s", ", ".join(gone))
        self._open -= set(gone)
        return gone

    def stored(self, results: Sequence[Result]) -> None:
        # An answer without data is an answer: enqueue-secondary asks again when that may have changed.
        fine = (Status.SUCCESS, Status.FRESH, Status.NO_DATA)
        answered = [done for done in results if done.status in fine]
        for done in answered:
            if done.status is Status.NO_DATA:
                log.warning("%s: %s", done.work.id, done.error, extra=_of(done.work))
        self.finish([done.work.id for done in answered])
        failures = [
            Failure(done.work.id, done.error or done.status.value, done.final)
            for done in results
            if done not in answered
        ]
        words = self._services.queue.fail(self._token, failures)
        for failure, word in zip(failures, words, strict=True):
            symbol = parse_work_id(failure.id).symbol
            what = WHAT_FOLLOWS[word]
            log.warning("%s: %s (%s)", failure.id, failure.error, what, extra={"symbol": symbol})
        self._open -= {failure.id for failure in failures}

    def not_stored(self, results: Sequence[Result], error: str) -> None:
        # An attempt is counted, or a row that the database always refuses would cost a call at every start.
        self._services.queue.fail(self._token, [Failure(done.work.id, error) for done in results])
        self._open -= {done.work.id for done in results}

    def finish(self, ids: Sequence[str]) -> None:
        """Takes work off the books."""
        self._services.queue.finish(self._token, ids)
        self._open -= set(ids)

    def release(self) -> None:
        """Hands back what is left, its attempt not counted."""
        self._services.queue.release(self._token, sorted(self._open))


def _work_lease(
    services: Services,
    bound: Bound,
    refresher: Refresher,
    known: Entitlements,
    lease: Lease,
    result: CycleResult,
) -> BatchReport:
    """Works what a take brought and settles every item: finished, failed or handed back."""
    work, gone = _known_work(services, [item.id for item in lease.items])
    if gone:
        log.warning("taken out of the queue: %s (hint: not in the configuration any more)", ", ".join(gone))
    holder = _LeaseHolder(services, bound, lease)
    try:
        stored = _load(services, result, [item.asset.symbol for item in work])
        due, rest = _due(services, known, work, stored)
        due_ids = {item.id for item in due}
        holder.finish([*gone, *(item.id for item in work if item.id not in due_ids)])
        report = refresher.run(
            due, stored, CallKind.QUEUE, max_calls=2 * len(due) + 2, grant=lease.grant, holder=holder
        )
        _account(result, report)
        worked = [done for done in report.results if not done.status.open]
        result.assets += rest
        result.assets += [_asset_report(done, stored.get(done.work.asset.symbol)) for done in worked]
        refreshed = {done.work.asset.symbol for done in worked if done.work.kind is WorkKind.PRICE}
        _enqueue_bars(services, result, known, {s: stored[s] for s in stored if s in refreshed})
        return report
    finally:
        holder.release()


def enqueue_secondary(
    services: Services, bound: Bound, progress: Progress, *, dry_run: bool = False
) -> CycleResult:
    """Puts every enabled secondary asset that is due into the queue, once; then the bars that snapshots
    have left behind; then, as far as half of the queue is free, pages of the past that are missing."""
    result = _new_result(services, ENQUEUE_SECONDARY)
    known = services.entitlements()
    assets = services.config.enabled_secondary_assets
    work = [Work(asset) for asset in assets]
    if dry_run:
        stored = services.store.load(_symbols(assets))
        due, _ = _due(services, known, work, stored)
        return _planned(result, [f"enqueue {item.id} as {item.asset.priority}" for item in due])
    with services.locks.hold(ENQUEUE_SECONDARY, bound.seconds + LEASE_SLACK_SECONDS) as held:
        if not held:
            return _skipped(services, result)
        services.journal.start(ENQUEUE_SECONDARY, result.started_ms)
        progress.began()
        with _recorded(services, result):
            stored = _load(services, result, _symbols(services.config.assets))
            due, result.assets = _due(services, known, work, stored)
            _enqueue(services, result, [(item.id, Line.of(item.asset.priority)) for item in due])
            fresh = {report.symbol for report in result.assets}
            _enqueue_bars(services, result, known, {s: stored[s] for s in stored if s in fresh})
            result.enqueued += top_up(services, services.config.assets, stored, known)
            result.queue_size = services.queue.state().size
            result.result = "partial" if result.dropped or result.failed else "nothing"
            if result.result == "nothing" and result.enqueued:
                result.result = "ok"
    return result


def _of(work: Work) -> dict[str, str]:
    """What a log line carries besides its words."""
    return {"symbol": work.asset.symbol}


def _symbols(assets: Sequence[Asset]) -> list[str]:
    return [asset.symbol for asset in assets]


def _load(services: Services, result: CycleResult, symbols: Sequence[str]) -> dict[str, StoredAsset]:
    """What is stored of these symbols; what was stored but never published is published now."""
    stored = services.store.load(symbols)
    missed = services.events.make_good(stored.values())
    for price in missed:
        log.info("%s: published now, an earlier cycle has stored it only", price.symbol)
    result.published += len(missed)
    return stored


def _enqueue(services: Services, result: CycleResult, items: Sequence[tuple[str, Line]]) -> None:
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


def _enqueue_bars(
    services: Services, result: CycleResult, known: Entitlements, stored: Mapping[str, StoredAsset]
) -> None:
    """Queues the bars that snapshots leave behind, after all prices."""
    now_ms = services.now_ms()
    items = [
        (Work(asset, WorkKind.BARS).id, Line.BARS)
        for asset in services.config.assets
        if asset.symbol in stored and bars_to_queue(asset, stored[asset.symbol], known, now_ms)
    ]
    _enqueue(services, result, items)


def _due(
    services: Services, known: Entitlements, work: Sequence[Work], stored: Mapping[str, StoredAsset]
) -> tuple[list[Work], list[AssetReport]]:
    """The work that is due, in its order, and reports of the assets for which there is nothing to do:
    they are fresh, or not registered, so that an answer could not be stored."""
    now_ms = services.now_ms()
    due, rest = [], []
    for item in work:
        if item.asset.symbol not in stored:
            reason = "not registered in the database (hint: run assetbatch init)"
            log.warning("%s: %s", item.asset.symbol, reason, extra=_of(item))
            rest.append(AssetReport(symbol=item.asset.symbol, status=Status.FAILED.value, detail=reason))
            continue
        verdict = assess(item, stored[item.asset.symbol], known, now_ms)
        log.debug("%s: %s, %s", item.id, "due" if verdict.due else "fresh", verdict.reason)
        too_old = verdict.refusal is not None and item.kind is WorkKind.HISTORY
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
                detail=verdict.reason,
            )
        )
    return due, rest


@contextmanager
def _refreshing(
    services: Services,
    known: Entitlements,
    bound: Bound,
    progress: Progress,
    result: CycleResult,
    calls: list[CallMade],
) -> Iterator[Refresher]:
    """The refresher of one cycle, whose calls and waits are accounted for however the cycle ends."""
    refresher = Refresher(
        vendor=lambda: services.vendor,
        store=lambda: services.store,
        window=services.window,
        plan_memory=services.plan_memory,
        events=services.events,
        known=known,
        now_ms=services.now_ms,
        bound=bound,
        reporter=Reporter(services.journal, services.now_ms, progress),
    )
    try:
        yield refresher
    finally:
        result.calls = refresher.calls
        result.waits = refresher.reporter.waits
        calls += refresher.reporter.calls


def _asset_report(result: Result, stored: StoredAsset | None) -> AssetReport:
    price = result.price
    return AssetReport(
        symbol=result.work.asset.symbol,
        status=result.status.value,
        kind=result.work.kind.value,
        last_price=price.last_price if price else stored.last_price if stored else None,
        as_of_ms=price.as_of_ms if price else stored.as_of_ms if stored else None,
        bars=result.bars,
        detail=result.error,
    )


def _account(result: CycleResult, report: BatchReport) -> None:
    result.bars_written += report.bars_new + report.bars_corrected
    result.bars_corrected += report.bars_corrected
    result.bars_refused += report.bars_refused
    result.published += report.published
    result.too_many_calls |= report.too_many_calls


def _reserve_next(
    services: Services, known: Entitlements, assets: Sequence[Asset], starts_ms: Sequence[int]
) -> None:
    """Keeps free what the next priority cycle will need, computed from what will be due then."""
    interval_ms = services.config.batch.interval_minutes * 60_000
    at_ms = expected_next_start(starts_ms, interval_ms)
    stored = services.store.load(_symbols(assets))
    due = [
        item for item in map(Work, assets) if assess(item, stored.get(item.asset.symbol), known, at_ms).due
    ]
    services.window.reserve(at_ms, len(plan(due, stored, known, at_ms)), interval_ms)


def _judge(result: CycleResult, bound: Bound) -> None:
    """The cycle's result in a word, from what became of its assets."""
    refreshed = [asset for asset in result.assets if asset.status == Status.SUCCESS.value]
    if bound.stopped:
        result.result = "stopped"
    elif result.failed:
        result.result = "partial" if refreshed else "failed"
    else:
        postponed = any(asset.status == Status.POSTPONED.value for asset in result.assets)
        result.result = "postponed" if postponed else "ok" if refreshed else "nothing"


def _raise_if_down(result: CycleResult, reports: Sequence[BatchReport]) -> None:
    if reports and all(report.vendor_down for report in reports):
        reason = next(asset.detail for asset in result.failed if asset.status == Status.FAILED.value)
        raise UnreachableError(
            f"the API cannot be reached: {reason}",
            hint="is the network up, and provider.base_url right?",
        )


def _planned(result: CycleResult, lines: list[str]) -> CycleResult:
    result.result = "planned"
    result.plan = lines
    return result


def _plan_lines(services: Services, known: Entitlements, work: Sequence[Work]) -> list[str]:
    """What would be called for this work now, and why; fresh assets with the reason."""
    now_ms = services.now_ms()
    stored = services.store.load([item.asset.symbol for item in work])
    verdicts = {item.id: assess(item, stored.get(item.asset.symbol), known, now_ms) for item in work}
    due = [item for item in work if verdicts[item.id].due]
    lines: list[str] = []
    for call in plan(due, stored, known, now_ms):
        reasons = dict.fromkeys(verdicts[item.id].reason for item in call.work)
        lines.append(f"call {len(lines) + 1}: {describe(call)} ({'; '.join(reasons)})")
    lines += [f"no call: {item_id} ({v.reason})" for item_id, v in verdicts.items() if not v.due]
    return lines
