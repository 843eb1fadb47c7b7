"""Works the pending queue: takes leases and settles every item."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from assetbatch.commands.common import (
    Intake,
    account,
    asset_report,
    enqueue_bars,
    known_work,
    raise_if_down,
    refreshing,
)
from assetbatch.commands.result import LEASE_SLACK_SECONDS, TOO_MANY_CALLS, CycleResult, judge
from assetbatch.deadline import Deadline
from assetbatch.domain.calls import shares_calls
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.formatting import format_duration, listed
from assetbatch.domain.metrics import CallMade
from assetbatch.domain.models import SNAPSHOT_TICKERS
from assetbatch.domain.queueing import CallKind, Denied, Empty, Failure, Fault
from assetbatch.domain.records import Started
from assetbatch.domain.status import Status
from assetbatch.domain.work import Work, WorkKind, parse_work_id
from assetbatch.refresh.batch import BatchReport, Holder, Portion, held_result
from assetbatch.refresh.engine import Refresher
from assetbatch.refresh.inflight import calls_at_once
from assetbatch.refresh.interpretation import Result
from assetbatch.refresh.progress import Progress
from assetbatch.refresh.reporter import WAITS_FOR
from assetbatch.services import Services
from assetbatch.state.process_id import new_id
from assetbatch.state.queue import Lease, Queue

log = logging.getLogger("assetbatch")

DOWN_BATCHES = 2
"""After so many batches in a row that found the provider down, a queue run ends: the rest is spared. After an
answer there is one more, as a witness that the others fail by themselves."""

MOST_TOGETHER = 20_000
"""So many items at most are worked together on a plan whose calls go out side by side: taken when their calls
can go out, so that other hosts find work too."""

WHAT_FOLLOWS = {
    "retry": "tried again later",
    "dead": "a dead letter now",
    "lost": "taken over by another process meanwhile",
}


def work_queue(
    services: Services,
    deadline: Deadline,
    progress: Progress,
    result: CycleResult,
    calls: list[CallMade],
    started: Started,
) -> None:
    """Works the queue and fills in the result; raises AssetbatchError where the cycle cannot go on."""
    known = services.entitlements()
    down = False
    with refreshing(services, known, deadline, progress, result, calls, started) as refresher:
        failures = _Failures(services.queue, refresher, started.answered_ms)
        try:
            reports = _drain(services, deadline, refresher, known, progress, result, failures)
            down = bool(reports) and all(report.provider_down for report in reports)
        finally:
            try:
                failures.settle()
            finally:
                failures.say(quietly=down)
    judge(result, deadline)
    result.queue_size = services.queue.state().size
    if not deadline.stopped:  # a call that was cut short says nothing of the provider
        raise_if_down(result, reports)


def _drain(
    services: Services,
    deadline: Deadline,
    refresher: Refresher,
    known: Entitlements,
    progress: Progress,
    result: CycleResult,
    failures: _Failures,
) -> list[BatchReport]:
    """Takes and works until a reason to end; each batch is accounted for in `result` as it ends."""
    reports: list[BatchReport] = []
    downs = 0
    token = new_id()
    waited = False
    result.ended_because = "out of time"
    while refresher.time_for_calls() > 0:
        if progress.watched:
            progress.worked(len(result.assets), services.queue.state().size)
        now_ms = services.now_ms()
        lease_seconds = deadline.remaining() + LEASE_SLACK_SECONDS
        wide = calls_at_once(services.config.call_limit) > 1
        count = SNAPSHOT_TICKERS if wide or shares_calls(services.config.assets, known, now_ms) else 1
        alone = _alone(services, refresher)
        taken = services.queue.take(count, lease_seconds, services.window, token, alone=alone)
        if isinstance(taken, Empty):
            result.ended_because = "empty"
            break
        if isinstance(taken, Denied):
            if taken.wait_ms / 1000 > refresher.time_for_calls():
                result.ended_because = (
                    f"out of calls for {format_duration(taken.wait_ms)}: {WAITS_FOR[taken.reason]}"
                )
                waited = True
                break
            refresher.reporter.waiting(taken, first=not waited)
            waited = True
            deadline.wait(taken.pause_seconds)
            continue
        waited, token = False, new_id()
        report = _work_leases(services, deadline, refresher, known, taken, result, failures)
        reports.append(report)
        if report.too_many_calls:
            result.ended_because = TOO_MANY_CALLS
            break
        downs = downs + 1 if report.provider_down else 0
        if downs >= DOWN_BATCHES + (refresher.answers > 0):
            result.ended_because = "the provider is down"
            break
    if deadline.stopped:
        result.ended_because = "stopped"
    if waited:
        services.window.abandon_wait(token)
    return reports


def _alone(services: Services, refresher: Refresher) -> int:
    """How many items that take a call each are worth taking at once: as many as one of the calls that go out
    side by side can follow the other."""
    at_once = calls_at_once(services.config.call_limit)
    return 1 if at_once == 1 else min(SNAPSHOT_TICKERS, -(-refresher.calls_that_fit() // at_once))


def fault_of(items: int, answers_before: int, answers: int) -> Fault:
    """Whose fault it is that so many items failed one after the other, where so many calls of the run were
    answered before them, and so many until now. An outage is longer than a run: no run sees both its ends."""
    followed = answers > answers_before
    if followed and (answers_before or items == 1):
        return Fault.ITEM
    return Fault.PROVIDER if followed or items == 1 else Fault.NOBODY


class _Failures:
    """What failed in a queue run: recorded, and said at its end, a line for all items that failed alike.

    Where the provider failed an item, the next answer or the end of the run decides whether the attempt
    counts. What waits for another transaction is recorded at the end, so that this run does not take it
    again.
    """

    def __init__(self, queue: Queue, refresher: Refresher, answered_ms: int) -> None:
        self._queue = queue
        self._refresher = refresher
        self._answered_before_ms = answered_ms
        self._alike: dict[tuple[str, bool], list[str]] = {}
        self._undecided: dict[int, list[tuple[str, Failure]]] = {}
        self._held: list[tuple[str, Failure]] = []

    def record(self, failures: Sequence[tuple[str, Failure, int]]) -> None:
        """Takes leased items off the books as failed: each with the token of its lease, and how many calls
        were answered before it. Raises RedisError."""
        decided: list[tuple[str, Failure]] = []
        for token, failure, answers in failures:
            if failure.fault is Fault.ROW_HELD:
                self._held.append((token, msgspec.structs.replace(failure, fault=Fault.NOBODY)))
            elif failure.fault is Fault.PROVIDER:
                self._undecided.setdefault(answers, []).append((token, failure))
            else:
                decided.append((token, failure))
        self._fail(decided)
        for answers in [before for before in self._undecided if before < self._refresher.answers]:
            self._decide(answers)

    def settle(self) -> None:
        """Records what was left for the end. Raises RedisError."""
        held, self._held = self._held, []
        self._fail(held)
        for answers in list(self._undecided):
            self._decide(answers)

    def _decide(self, answers_before: int) -> None:
        alike = self._undecided.pop(answers_before)
        fault = fault_of(len(alike), answers_before, self._refresher.answers)
        self._fail([(token, msgspec.structs.replace(each, fault=fault)) for token, each in alike])

    def record_unsaved(self, failures: Sequence[tuple[str, Failure]]) -> None:
        """The same for what the database could not store, which the error that ends the run says. Raises
        RedisError."""
        self._fail(failures, is_said=True)

    def _fail(self, failures: Sequence[tuple[str, Failure]], *, is_said: bool = False) -> None:
        by_token: dict[str, list[Failure]] = {}
        for token, failure in failures:
            by_token.setdefault(token, []).append(failure)
        for token, some in by_token.items():
            words = self._queue.fail(token, some, self._answered_before_ms)
            for failure, word in zip(some, words, strict=True):
                self.add(failure.id, f"{failure.error} ({WHAT_FOLLOWS[word]})", is_said=is_said)

    def add(self, item_id: str, words: str, *, is_said: bool = False) -> None:
        """Notes an item's failure; `is_said` where the command's error says it."""
        self._alike.setdefault((words, is_said), []).append(item_id)

    def say(self, *, quietly: bool) -> None:
        """Logs it; `quietly` where the command's error says it already, of a provider that is down."""
        for (words, is_said), ids in self._alike.items():
            level = logging.INFO if quietly or is_said else logging.WARNING
            extra = {"symbol": parse_work_id(ids[0]).symbol} if len(ids) == 1 else {}
            log.log(level, "%s: %s", listed(ids), words, extra=extra)


class _LeaseHolder(Holder):
    """Holds leases: counts their attempts, and settles each item as soon as its result is stored."""

    def __init__(self, services: Services, deadline: Deadline, failures: _Failures) -> None:
        self._services = services
        self._failures = failures
        self._deadline = deadline
        self._open: dict[str, str] = {}

    def hold(self, lease: Lease) -> None:
        """A further lease."""
        self._open.update((item.id, lease.token) for item in lease.items)

    def starts(self, work: Sequence[Work]) -> Collection[str]:
        seconds = self._deadline.remaining() + LEASE_SLACK_SECONDS
        gone: list[str] = []
        for token, ids in self._by_token(item.id for item in work):
            gone += self._services.queue.start(token, ids, seconds)
        if gone:
            log.warning("taken over by another process meanwhile: %s", ", ".join(gone))
        self._forget(gone)
        return gone

    def hand_back(self, work: Sequence[Work]) -> Collection[str]:
        ids = [item.id for item in work]
        for token, some in self._by_token(ids):
            self._services.queue.release(token, some)
        self._forget(ids)
        return ids

    def stored(self, results: Sequence[Result]) -> None:
        # An answer without data is an answer: enqueue-secondary asks again when that may have changed.
        fine = (Status.SUCCESS, Status.FRESH, Status.NO_DATA)
        for done in results:
            if done.status is Status.NO_DATA:
                self._failures.add(done.work.id, done.error or "")
        self.finish([done.work.id for done in results if done.status in fine])
        self._fail(
            (Failure(done.work.id, done.error or done.status.value, done.final, done.fault), done.answers)
            for done in results
            if done.status not in fine
        )

    def not_stored(self, results: Sequence[Result], error: str) -> None:
        by_id = {done.work.id: Failure(done.work.id, error, fault=Fault.NOBODY) for done in results}
        self._failures.record_unsaved(
            [(token, by_id[item_id]) for token, ids in self._by_token(by_id) for item_id in ids]
        )
        self._forget(by_id)

    def _fail(self, failures: Iterable[tuple[Failure, int]]) -> None:
        by_id = {failure.id: (failure, answers) for failure, answers in failures}
        held = [(token, *by_id[item_id]) for token, ids in self._by_token(by_id) for item_id in ids]
        self._failures.record(held)
        self._forget(by_id)

    def finish(self, ids: Sequence[str]) -> None:
        """Takes work off the books."""
        for token, some in self._by_token(ids):
            self._services.queue.finish(token, some)
        self._forget(ids)

    def release(self) -> None:
        """Hands back what is left, no attempt counted."""
        for token, ids in self._by_token(sorted(self._open)):
            self._services.queue.release(token, ids)

    def _by_token(self, ids: Iterable[str]) -> list[tuple[str, list[str]]]:
        """The ids of each lease; those that are not held any more are left out."""
        found: dict[str, list[str]] = {}
        for item_id in ids:
            if item_id in self._open:
                found.setdefault(self._open[item_id], []).append(item_id)
        return list(found.items())

    def _forget(self, ids: Iterable[str]) -> None:
        for item_id in ids:
            self._open.pop(item_id, None)


def _work_leases(
    services: Services,
    deadline: Deadline,
    refresher: Refresher,
    known: Entitlements,
    taken: Lease,
    result: CycleResult,
    failures: _Failures,
) -> BatchReport:
    """Works what was taken and, where calls go out side by side, more of what waits as they can; settles
    every item: finished, failed or handed back."""
    holder = _LeaseHolder(services, deadline, failures)
    intake = Intake(services, result, known)

    def portion_of(leases: Sequence[Lease]) -> Portion:
        work, gone = known_work(services, [item.id for lease in leases for item in lease.items])
        if gone:
            names = ", ".join(gone)
            log.warning("taken out of the queue: %s (hint: not in the configuration any more)", names)
        held = [item for item in work if item.asset.symbol in refresher.held]
        holder.stored([held_result(item) for item in held])
        work = [item for item in work if item.asset.symbol not in refresher.held]
        portion = intake.portion(work)
        due_ids = {item.id for item in portion.work}
        holder.finish([*gone, *(item.id for item in work if item.id not in due_ids)])
        return portion

    holder.hold(taken)
    try:
        try:
            portion = portion_of([taken])
        except BaseException:
            if taken.grant:  # nobody will call with it
                services.window.cancel(taken.grant)
            raise
        report = refresher.run(
            portion,
            CallKind.QUEUE,
            more=map(portion_of, _further(services, deadline, refresher, holder)),
            grant=taken.grant,
            holder=holder,
        )
        account(result, report)
        # the attempt counts, or pages without an end would take every call of every start
        holder.stored([done for done in report.results if done.status is Status.POSTPONED])
        worked = [done for done in report.results if done.status is not Status.DEFERRED]
        stored = intake.stored
        result.assets += intake.rest
        result.assets += [asset_report(done, stored.get(done.work.asset.symbol)) for done in worked]
        refreshed = {done.work.asset.symbol for done in worked if done.work.kind is WorkKind.PRICE}
        enqueue_bars(services, result, known, {s: stored[s] for s in stored if s in refreshed})
        return report
    finally:
        holder.release()


def _further(
    services: Services, deadline: Deadline, refresher: Refresher, holder: _LeaseHolder
) -> Iterator[Sequence[Lease]]:
    """What is taken besides for the calls that go out beside the first: each time as much as they can bring.
    Each call asks for its slot when it goes."""
    at_once = calls_at_once(services.config.call_limit)
    if at_once == 1:
        return
    leases = _leases(services, deadline, refresher, holder)
    while some := list(islice(leases, at_once)):
        yield some


def _leases(
    services: Services, deadline: Deadline, refresher: Refresher, holder: _LeaseHolder
) -> Iterator[Lease]:
    """Takes after the first, as long as something waits."""
    for _ in range(MOST_TOGETHER // SNAPSHOT_TICKERS - 1):
        seconds = deadline.remaining() + LEASE_SLACK_SECONDS
        taken = services.queue.take(SNAPSHOT_TICKERS, seconds, alone=_alone(services, refresher))
        if not isinstance(taken, Lease):
            return
        holder.hold(taken)
        yield taken
