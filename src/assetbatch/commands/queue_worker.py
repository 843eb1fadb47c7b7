"""Work the pending queue: take leases, and finish, fail or hand back each item."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from assetbatch.commands.common import (
    NOT_CONFIGURED,
    account,
    asset_report,
    enqueue_bars,
    enqueue_references,
    group_work,
    known_work,
    load_chunk,
    raise_if_down,
    running_engine,
)
from assetbatch.commands.result import judge, lease_seconds
from assetbatch.deadline import Deadline
from assetbatch.domain.calls import shares_calls
from assetbatch.domain.endings import ending_in_words
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.formatting import listed
from assetbatch.domain.metrics import CallMade
from assetbatch.domain.models import SNAPSHOT_TICKERS, StoredAsset
from assetbatch.domain.queueing import Denied, Empty, Failure, FailureOutcome, Fault
from assetbatch.domain.records import EndReason, Started
from assetbatch.domain.results import AssetReport, CycleResult
from assetbatch.domain.status import Status
from assetbatch.domain.work import PAGES, Work, WorkKind, parse_work_id, without_days
from assetbatch.refresh.batch import BatchReport, WorkChunk, WorkOwner, held_result
from assetbatch.refresh.engine import BatchRun, Engine
from assetbatch.refresh.inflight import calls_at_once
from assetbatch.refresh.interpretation import Result
from assetbatch.refresh.policy import QUEUE
from assetbatch.refresh.progress import Progress
from assetbatch.services import Services
from assetbatch.state.process_id import new_id
from assetbatch.state.queue import LEASED_AT_ONCE, Lease, Queue
from assetbatch.state.window import Grant

if TYPE_CHECKING:  # few starts meet any
    from assetbatch.domain.groups import Group
    from assetbatch.domain.references import Reference
    from assetbatch.refresh.references.run import ReferenceResult

log = logging.getLogger("assetbatch")

# Python code looks up a member of an enum, which costs time with thousands of assets.
_PRICE, _FRESH, _SUCCESS = WorkKind.PRICE, Status.FRESH, Status.SUCCESS

WITNESSES = 1
"""How many batches more may find the provider down after one in which a single item has failed; one more if
the provider has answered before. Then the run ends, and the rest of the queue keeps its attempts."""

MAX_ITEMS_TOGETHER = 20_000
"""Maximum number of items in one batch, on a plan whose calls run in parallel. They are taken while the calls
before theirs are out, and no earlier, so that other hosts find work too."""

_NO_NEWS = frozenset({Status.FRESH, Status.NO_DATA})
"""What is not told of a member of a group: of a whole market there are always some without a trade."""

WHAT_FOLLOWS = {
    FailureOutcome.RETRY: "tried again later",
    FailureOutcome.LOST: "taken over by another process meanwhile",
}
"""What people read of a failure."""


def work_queue(
    services: Services,
    deadline: Deadline,
    progress: Progress,
    result: CycleResult,
    calls: list[CallMade],
    started: Started,
) -> None:
    """Work the queue and fill in the result. Raise AssetbatchError if the cycle cannot go on."""
    services.load_members()
    known = services.entitlements()
    with running_engine(services, known, deadline, progress, result, calls, started) as engine:
        run = QueueRun(services, deadline, engine, known, progress, result, started.answered_ms)
        run.run()
        if run.is_empty:
            _, spare_calls = services.begin_queue_run()
            if spare_calls:
                from assetbatch.commands.verify import spend_spare_calls

                spend_spare_calls(services, engine, progress, result)
    judge(result, deadline)
    result.queue_size = services.queue.state().size
    if result.queue_size:
        result.start_again_seconds = round(run.pause_ms() / 1000)
    if not deadline.stopped:  # a call that was cut short says nothing of the provider
        raise_if_down(run.reports)


class QueueRun:
    """One run of the queue: take leases and work them, until there is a reason to end."""

    def __init__(
        self,
        services: Services,
        deadline: Deadline,
        engine: Engine,
        known: Entitlements,
        progress: Progress,
        result: CycleResult,
        answered_ms: int,
    ) -> None:
        """Prepare; `answered_ms` is when the provider last answered anybody before this run."""
        self._services = services
        self._deadline = deadline
        self._engine = engine
        self._known = known
        self._progress = progress
        self._result = result
        self._failures = _Failures(services.queue, engine, answered_ms)
        self._calls_at_once = calls_at_once(services.config.call_limit)
        self._outages = 0
        self._stored: dict[str, StoredAsset] = {}
        self._references: list[Reference] = []
        self._gone: list[str] = []
        self.reports: list[BatchReport] = []
        """What each batch has done."""
        self._ended: tuple[EndReason, Denied | None] = EndReason.OUT_OF_TIME, None

    def run(self) -> None:
        """Work until the queue is empty, the time is over, no call is free, or the provider is down."""
        is_down = False
        try:
            self._end(EndReason.OUT_OF_TIME)
            while lease := self._take_with_slot():
                if reason := self._work(lease):
                    self._end(reason)
                    break
            if self._deadline.stopped:
                self._end(EndReason.STOPPED)
            is_down = bool(self.reports) and all(report.provider_down for report in self.reports)
        finally:
            try:
                self._failures.decide_all()
            finally:
                self._failures.log(quietly=is_down)
                self._log_gone()

    def _log_gone(self) -> None:
        """Say once what had no place in the configuration, however many leases brought it."""
        if self._gone:
            from assetbatch.domain.item_words import work_in_words

            names = listed(list(map(work_in_words, self._gone)))
            log.warning("taken out of the queue: %s (%s)", names, NOT_CONFIGURED, extra={"is_event": True})

    @property
    def is_empty(self) -> bool:
        """Whether the run has ended because nothing waits."""
        return self._ended[0] is EndReason.EMPTY and not self._deadline.stopped

    def _take_with_slot(self) -> Lease | None:
        """Take work together with a slot for its first call, and wait for one within the deadline. Note why
        there is none."""
        token, has_ticket = new_id(), False
        while self._engine.time.left > 0:
            if self._progress.watched:
                self._progress.worked(len(self._result.assets), self._services.queue.state().size)
            taken = self._services.queue.take(
                self._count_worth_taking(),
                lease_seconds(self._deadline),
                self._services.window,
                token,
                alone=self._calls_in_turn(),
            )
            if isinstance(taken, Lease):
                return taken
            if isinstance(taken, Empty):
                self._end(EndReason.EMPTY)
                break
            is_first, has_ticket = not has_ticket, True
            if taken.wait_ms / 1000 > self._engine.time.left:
                self._end(EndReason.OUT_OF_CALLS, taken)
                break
            self._engine.reporter.waiting(taken, first=is_first)
            self._deadline.wait(taken.pause_seconds)
        if has_ticket:
            self._services.window.abandon_wait(token)
        return None

    def _count_worth_taking(self) -> int:
        """Return how many items to take at once: several if calls run in parallel or serve several assets."""
        is_parallel = self._calls_at_once > 1
        assets, now_ms = self._services.config.assets, self._services.now_ms()
        return SNAPSHOT_TICKERS if is_parallel or shares_calls(assets, self._known, now_ms) else 1

    def _calls_in_turn(self) -> int:
        """Return how many items that take a call each to take at once: as many as one of the parallel calls
        can work one after the other."""
        if self._calls_at_once == 1:
            return 1
        return min(SNAPSHOT_TICKERS, -(-self._engine.time.calls_that_fit // self._calls_at_once))

    def _work(self, lease: Lease) -> EndReason | None:
        """Work a lease and, if calls run in parallel, further ones beside it. Finish each item, fail it or
        hand it back. Return why the run ends after it, or None if it goes on."""
        self._stored.clear()
        self._references.clear()
        owner = _LeaseOwner(self._services, self._deadline, self._failures, self._result)
        owner.hold(lease)
        grant = lease.grant
        try:
            chunk = self._first_chunk(lease, owner)
            if chunk.work or not self._references:
                report, grant = self._work_chunk(chunk, owner, grant), None
                if reason := self._reason_to_end(report):
                    return reason
            if self._references:
                return self._reason_to_end(self._ask_references(owner, grant))
            return None
        finally:
            owner.release()

    def _first_chunk(self, lease: Lease, owner: _LeaseOwner) -> WorkChunk:
        """Return the work of a lease. After an error its slot is given back, which no batch owns yet."""
        try:
            return self._chunk([lease], owner)
        except BaseException:
            if lease.grant:
                self._services.window.cancel(lease.grant)
            raise

    def _work_chunk(self, chunk: WorkChunk, owner: _LeaseOwner, grant: Grant | None) -> BatchReport:
        with self._engine.begin(QUEUE, owner, grant) as batch:
            batch.add(chunk)
            batch.start_calls()
            while (more := self._next_chunk(batch, owner)) or batch.complete_next():
                if more:
                    batch.add(more)
                batch.start_calls()
        report = batch.report()
        self._complete(report, owner)
        return report

    def _ask_references(self, owner: _LeaseOwner, grant: Grant | None) -> BatchReport:
        """Ask for the reference data of these leases, after all work on assets."""
        from assetbatch.refresh.references.run import ReferenceRun

        report = ReferenceRun(self._services, self._engine, owner).ask(self._references, grant)
        self.reports.append(report)
        account(self._result, report)
        return report

    def _next_chunk(self, batch: BatchRun, owner: _LeaseOwner) -> WorkChunk | None:
        """Take further leases once a call for all work is in flight: they are prepared meanwhile. Each call
        acquires its own slot."""
        if self._calls_at_once == 1 or self._references or not batch.wants_work:
            return None
        leases = owner.take_more(self._calls_at_once, self._calls_in_turn())
        return self._chunk(leases, owner) if leases else None

    def _chunk(self, leases: Sequence[Lease], owner: _LeaseOwner) -> WorkChunk:
        """Return the work of these leases. Remove from the queue what the engine cannot work."""
        found = known_work(self._services, [item_id for lease in leases for item_id in lease.ids])
        work, gone = found.work, found.gone
        self._references += found.references
        if found.references:  # a listing may make pages needless: they are taken again after it
            pages = [item for item in work if item.kind is WorkKind.HISTORY]
            owner.hand_back(pages)
            work = [item for item in work if item not in pages]
        for group in found.groups:
            work += self._work_of_group(group, owner)
        self._gone += gone
        if found.needless:
            log.debug("no use any more: %s", ", ".join(found.needless))
        held = [item for item in work if item.asset.symbol in self._engine.held_symbols]
        owner.on_stored([held_result(item) for item in held])
        work = [item for item in work if item.asset.symbol not in self._engine.held_symbols]
        chunk, missing = load_chunk(self._services, self._result, work)
        owner.finish([*gone, *found.needless, *(item.id for item in missing)])
        self._stored.update(chunk.stored)
        return chunk

    def _work_of_group(self, group: Group, owner: _LeaseOwner) -> list[Work]:
        """Return the prices that a group stands for. One that stands for none any more leaves the queue."""
        work = owner.expand(group.id, group_work(self._services, self._known, group))
        if not work:
            owner.finish([group.id])
        return work

    def _complete(self, report: BatchReport, owner: _LeaseOwner) -> None:
        """Account for a batch, and queue the bars that its prices leave behind."""
        self.reports.append(report)
        account(self._result, report)
        # The attempt counts, or pages without an end would take every call of every start.
        owner.on_stored([done for done in report.results if done.status is Status.POSTPONED])
        worked = [
            done
            for done in report.results
            if done.status is not Status.DEFERRED
            and not (done.status in _NO_NEWS and owner.is_grouped(done.work.id))
        ]
        stored = self._stored
        self._result.assets += [asset_report(done, stored[done.work.asset.symbol]) for done in worked]
        of_refreshed = {
            (symbol := done.work.asset.symbol): stored[symbol]
            for done in worked
            if done.status is not _FRESH and done.work.kind is _PRICE
        }
        enqueue_bars(self._services, self._result, self._known, of_refreshed)

    def _end(self, reason: EndReason, denied: Denied | None = None) -> None:
        self._ended = reason, denied
        self._result.ended_because = ending_in_words(reason, denied)

    def pause_ms(self) -> int:
        """Return after how long another run can go on with what is left, once this one has ended."""
        reason, denied = self._ended
        services = self._services
        match reason:
            case EndReason.OUT_OF_CALLS if denied:
                return denied.wait_ms
            case EndReason.PROVIDER_DOWN:
                return services.queue.retry.delay_ms
            case EndReason.TOO_MANY_CALLS:
                window = services.window.state()
                return max(0, window.next_slot_ms - window.now_ms)
            case EndReason.EMPTY:
                return max(0, (services.queue.next_retry_ms() or 0) - services.now_ms())
        return 0

    def _reason_to_end(self, report: BatchReport) -> EndReason | None:
        """Return why the run ends after this batch, or None if it goes on."""
        if report.too_many_calls:
            return EndReason.TOO_MANY_CALLS
        if not report.provider_down:
            self._outages = 0
            return None
        self._outages += 1
        return EndReason.PROVIDER_DOWN if self._outages > self._witnesses(report) else None

    def _witnesses(self, report: BatchReport) -> int:
        """Return how many batches more may find the provider down.

        None, if several items have failed: then no item is at fault. One that failed alone may be, and would
        keep all others waiting as the first of every run: the next item is a witness for or against it.
        """
        statuses = [one.status for one in report.results] + [one.status for one in report.references]
        failed = statuses.count(Status.FAILED)
        return WITNESSES + (self._engine.answers > 0) if failed == 1 else 0


def fault_of(items: int, answers_before: int, answers: int) -> Fault:
    """Return whose fault it is that this many items failed one after the other. The arguments say how many
    calls of the run were answered before them, and how many until now.

    An outage is longer than a run: no run sees both its ends.
    """
    followed = answers > answers_before
    if followed and (answers_before or items == 1):
        return Fault.ITEM
    return Fault.PROVIDER if followed or items == 1 else Fault.NOBODY


class _Failures:
    """Records what fails in a run, and logs it at the end: one line for all items that failed alike.

    If the provider failed an item, the next answer or the end of the run decides whether the attempt counts.
    What waits for another transaction is recorded at the end, so that this run does not take it again.
    """

    def __init__(self, queue: Queue, engine: Engine, answered_ms: int) -> None:
        self._queue = queue
        self._engine = engine
        self._answered_before_ms = answered_ms
        self._alike: dict[tuple[str, bool], list[str]] = {}
        self._undecided: dict[int, list[tuple[str, Failure]]] = {}
        self._held: list[tuple[str, Failure]] = []

    def record(self, failures: Sequence[tuple[str, Failure, int]]) -> None:
        """Record the failures of leased items: each with the token of its lease, and how many calls were
        answered before it. Raise RedisError."""
        decided: list[tuple[str, Failure]] = []
        for token, failure, answers in failures:
            if failure.fault is Fault.ROW_HELD:
                self._held.append((token, msgspec.structs.replace(failure, fault=Fault.NOBODY)))
            elif failure.fault is Fault.PROVIDER:
                self._undecided.setdefault(answers, []).append((token, failure))
            else:
                decided.append((token, failure))
        self._fail(decided)
        for answers in [before for before in self._undecided if before < self._engine.answers]:
            self._decide(answers)

    def decide_all(self) -> None:
        """Record what was left for the end. Raise RedisError."""
        held, self._held = self._held, []
        self._fail(held)
        for answers in list(self._undecided):
            self._decide(answers)

    def _decide(self, answers_before: int) -> None:
        alike = self._undecided.pop(answers_before)
        fault = fault_of(len(alike), answers_before, self._engine.answers)
        self._fail([(token, msgspec.structs.replace(each, fault=fault)) for token, each in alike])

    def record_unsaved(self, failures: Sequence[tuple[str, Failure]]) -> None:
        """Record what the database could not store; the error that ends the run says so. Raise RedisError."""
        self._fail(failures, is_said=True)

    def _fail(self, failures: Sequence[tuple[str, Failure]], *, is_said: bool = False) -> None:
        by_token: dict[str, list[Failure]] = {}
        for token, failure in failures:
            by_token.setdefault(token, []).append(failure)
        for token, some in by_token.items():
            outcomes = self._queue.fail(token, some, self._answered_before_ms)
            for failure, outcome in zip(some, outcomes, strict=True):
                if outcome is not FailureOutcome.DEAD:  # the end of the run says what died
                    self.add(failure.id, f"{failure.error} ({WHAT_FOLLOWS[outcome]})", is_said=is_said)

    def add(self, item_id: str, words: str, *, is_said: bool = False) -> None:
        """Keep the failure of an item for the log; `is_said` if the error of the command says it."""
        self._alike.setdefault((words, is_said), []).append(item_id)

    def log(self, *, quietly: bool) -> None:
        """Log all failures; `quietly` if the error of the command says them, in an outage."""
        for (words, is_said), ids in self._alike.items():
            level = logging.INFO if quietly or is_said else logging.WARNING
            # Each run works other items: what fails for the same reason is the same failure.
            extra: dict[str, object] = {"symbols": list(map(without_days, ids)), "key": words}
            if len(ids) == 1 and (symbol := parse_work_id(ids[0]).symbol):
                extra["symbol"] = symbol
            log.log(level, "%s: %s", listed(ids), words, extra=extra)


class _GroupLease:
    """What is known of a leased group: the ids of its work that have no result yet, and what came."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.open = set(ids)
        self.failed: list[Result] = []
        self.is_answered = False
        """Whether any of its work did not fail."""
        self.is_handed_back = False
        """Whether some of its work is left to others."""

    def failure(self, group_id: str) -> tuple[Failure, int]:
        """Return how the whole group failed, and how many calls were answered before."""
        first = self.failed[0]
        is_final = all(done.final for done in self.failed)
        return Failure(group_id, first.error or first.status.value, is_final, first.fault), first.answers


def _is_done(done: Result) -> bool:
    """Return whether an item has no use any more: enqueue-secondary queues it again when that may have
    changed.

    An answer without data is an answer. So is the refusal of a price by the plan: it is remembered, told
    once, and asked again after a day.
    """
    if done.status is Status.NOT_ENTITLED:
        return done.work.kind not in PAGES
    return done.status in (Status.SUCCESS, Status.FRESH, Status.NO_DATA)


class _LeaseOwner(WorkOwner):
    """Owns the leases of one batch: counts attempts, and completes each item once its result is stored.

    An item is a piece of work, or a group, which is complete with the last of its work.
    """

    def __init__(
        self, services: Services, deadline: Deadline, failures: _Failures, result: CycleResult
    ) -> None:
        self._services = services
        self._result = result
        self._failures = failures
        self._deadline = deadline
        self._open: dict[str, str] = {}
        self._groups: dict[str, _GroupLease] = {}
        self._group_of: dict[str, str] = {}
        self._calls_left = MAX_ITEMS_TOGETHER // SNAPSHOT_TICKERS - 1  # one for the first lease

    def hold(self, lease: Lease) -> None:
        """Own a further lease."""
        self._open.update(dict.fromkeys(lease.ids, lease.token))

    def expand(self, group_id: str, work: Sequence[Work]) -> list[Work]:
        """Let a leased group stand for this work; return what of it has no item of its own here."""
        own = [item for item in work if item.id not in self._open]
        self._groups[group_id] = _GroupLease(item.id for item in own)
        self._group_of.update((item.id, group_id) for item in own)
        return own

    def is_grouped(self, work_id: str) -> bool:
        """Return whether work belongs to a group."""
        return work_id in self._group_of

    def take_more(self, calls: int, alone: int) -> list[Lease]:
        """Take and own further leases without slots: the items of up to `calls` calls, and for each of them
        at most `alone` items that take a call each. Once nothing waits, take no more."""
        leases: list[Lease] = []
        calls = min(calls, self._calls_left)
        self._calls_left -= calls
        while calls > 0:
            some = min(calls, LEASED_AT_ONCE // SNAPSHOT_TICKERS)
            seconds = lease_seconds(self._deadline)
            taken = self._services.queue.take(some * SNAPSHOT_TICKERS, seconds, alone=some * alone)
            if not isinstance(taken, Lease):
                self._calls_left = 0
                break
            self.hold(taken)
            leases.append(taken)
            calls -= some
        return leases

    def lost_leases(self, work: Sequence[Work]) -> Collection[str]:
        items = {(work_id := item.id): self._item_of(work_id) for item in work}
        self.start([*dict.fromkeys(items.values())])
        return [work_id for work_id, item_id in items.items() if item_id not in self._open]

    def start(self, ids: Sequence[str]) -> Collection[str]:
        """Count an attempt of these items, whose call goes out now. Return those that somebody else has taken
        over."""
        seconds = lease_seconds(self._deadline)
        gone: list[str] = []
        for token, some in self._by_token(ids):
            gone += self._services.queue.start(token, some, seconds)
        if gone:
            log.warning(
                "taken over by another process meanwhile: %s", ", ".join(gone), extra={"is_event": True}
            )
        self._forget(gone)
        return gone

    def hand_back(self, work: Sequence[Work]) -> Collection[str]:
        ids = [item.id for item in work]
        self._release(ids)
        for item_id in ids:
            if group := self._groups.get(self._group_of.get(item_id, "")):
                group.open.discard(item_id)
                group.is_handed_back = True
        self._settle()
        return ids

    def on_stored(self, results: Sequence[Result]) -> None:
        if self._groups:
            self._note_of_groups(results)
        others = [done for done in results if done.status is not _SUCCESS]
        for done in others:
            # In a group it is ordinary: not every member is traded.
            if done.status is Status.NO_DATA and done.work.id not in self._group_of:
                self._failures.add(done.work.id, done.error or "")
        self.finish([done.work.id for done in results if _is_done(done)])
        self._fail(
            (Failure(done.work.id, done.error or done.status.value, done.final, done.fault), done.answers)
            for done in others
            if not _is_done(done)
        )
        self._settle()

    def _note_of_groups(self, results: Sequence[Result]) -> None:
        for done in results:
            work_id = done.work.id
            if group := self._groups.get(self._group_of.get(work_id, "")):
                group.open.discard(work_id)
                if _is_done(done):
                    group.is_answered = True
                else:
                    group.failed.append(done)

    def on_reference(self, result: ReferenceResult) -> None:
        """Complete the item of a call for reference data. What the plan refuses is remembered, so that its
        item has no use any more."""
        enqueue_references(self._services, self._result, result.follows)
        if result.status in (Status.SUCCESS, Status.NOT_ENTITLED):
            self.finish([result.reference.id])
        else:
            final = result.status is Status.NOT_FOUND
            failure = Failure(result.reference.id, result.detail, final, result.fault)
            self._fail([(failure, result.answers)])
        if result.status is not Status.NOT_ENTITLED:
            self._result.assets.append(
                AssetReport(
                    symbol=result.reference.name,
                    status=result.status,
                    kind=WorkKind.REFERENCE,
                    detail=result.detail or None,
                )
            )

    def on_store_failed(self, results: Sequence[Result], error: str) -> None:
        ids = dict.fromkeys(self._item_of(done.work.id) for done in results)
        by_id = {item_id: Failure(item_id, error, fault=Fault.NOBODY) for item_id in ids}
        self._failures.record_unsaved(
            [(token, by_id[item_id]) for token, some in self._by_token(by_id) for item_id in some]
        )
        self._forget(by_id)

    def _settle(self) -> None:
        """Complete the groups whose work has all its results: hand back what others have to go on with, fail
        what brought nothing."""
        for group_id, group in list(self._groups.items()):
            if group.open:
                continue
            if group.is_handed_back:
                self._release([group_id])
                self._forget([group_id])
            elif group.failed and not group.is_answered:
                self._fail([group.failure(group_id)])
            else:
                self.finish([group_id])

    def _fail(self, failures: Iterable[tuple[Failure, int]]) -> None:
        by_id = {failure.id: (failure, answers) for failure, answers in failures}
        held = [(token, *by_id[item_id]) for token, ids in self._by_token(by_id) for item_id in ids]
        self._failures.record(held)
        self._forget(by_id)

    def finish(self, ids: Sequence[str]) -> None:
        """Remove finished work from the queue and from the owner's leases."""
        for token, some in self._by_token(ids):
            self._services.queue.finish(token, some)
        self._forget(ids)

    def release(self) -> None:
        """Hand back what is left; no attempt is counted."""
        self._release(sorted(self._open))

    def _release(self, ids: Iterable[str]) -> None:
        for token, some in self._by_token(ids):
            self._services.queue.release(token, some)
            self._forget(some)

    def _item_of(self, work_id: str) -> str:
        """Return the id of the item that work belongs to."""
        return self._group_of.get(work_id, work_id)

    def _by_token(self, ids: Iterable[str]) -> list[tuple[str, list[str]]]:
        """Return the ids of each lease. Ids that are not owned any more are left out."""
        found: dict[str, list[str]] = {}
        token_of = self._open.get
        for item_id in ids:
            if token := token_of(item_id):
                found.setdefault(token, []).append(item_id)
        return list(found.items())

    def _forget(self, ids: Iterable[str]) -> None:
        for item_id in ids:
            self._open.pop(item_id, None)
            self._groups.pop(item_id, None)
